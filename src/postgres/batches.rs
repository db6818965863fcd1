//! Passes the messages of COPY streams to another thread, in batches: it computes while the server sends.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio::sync::mpsc;

use super::Connection;
use super::copy_out::{Decoder, Fields, OutOfStep};

/// Large enough to be worth sending, small enough to keep several waiting.
const BATCH_BYTES: usize = 1 << 20;
const BATCHES_WAITING: usize = 4;

/// Messages of a stream, and whether they are its last.
struct Batch {
    messages: Vec<Bytes>,
    is_last: bool,
}

/// The side that reads from the server.
pub struct BatchSender<'a> {
    sender: mpsc::Sender<Batch>,
    rows: u64,
    done: &'a mut dyn FnMut(u64),
}

/// The side that computes.
pub struct BatchReceiver(mpsc::Receiver<Batch>);

/// Both sides. `done` is told the number of rows that were read.
pub fn batches(done: &mut dyn FnMut(u64)) -> (BatchSender<'_>, BatchReceiver) {
    let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
    let sender = BatchSender {
        sender,
        rows: 0,
        done,
    };
    (sender, BatchReceiver(receiver))
}

impl BatchSender<'_> {
    /// Sends a whole stream. Returns false if the other side has given up: it knows why.
    pub async fn stream(
        &mut self,
        connection: &mut Connection,
        statement: &str,
    ) -> Result<bool, sqlx::Error> {
        let mut stream = connection.copy_out_raw(statement).await?;
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while let Some(message) = stream.try_next().await? {
            bytes += message.len();
            messages.push(message);
            if bytes >= BATCH_BYTES {
                bytes = 0;
                if !self.batch(std::mem::take(&mut messages), false).await {
                    return Ok(false);
                }
            }
        }
        Ok(self.batch(messages, true).await)
    }

    async fn batch(&mut self, messages: Vec<Bytes>, is_last: bool) -> bool {
        // The last message of a stream has no row.
        self.rows += messages.len().saturating_sub(usize::from(is_last)) as u64;
        (self.done)(self.rows);
        let batch = Batch { messages, is_last };
        self.sender.send(batch).await.is_ok()
    }
}

impl BatchReceiver {
    /// Calls `take` with the fields of each row of all streams. A stream that breaks off is an error.
    pub fn for_each<const N: usize, E: From<OutOfStep>>(
        mut self,
        mut take: impl FnMut(&Fields<'_, N>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut decoder = Decoder::<N>::default();
        while let Some(Batch { messages, is_last }) = self.0.blocking_recv() {
            for message in messages {
                if let Some(fields) = decoder.row(&message)? {
                    take(&fields)?;
                }
            }
            if is_last && !std::mem::take(&mut decoder).is_complete() {
                return Err(OutOfStep("it ends too early").into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01a";
    const SECOND: &[u8] = b"\0\x01\0\0\0\x01b";
    const END: &[u8] = b"\xff\xff";

    /// What the computing side is given of streams, each in one batch, how it ends, and the last number of rows told.
    async fn passed(streams: &[&[&'static [u8]]]) -> (Vec<u8>, Result<(), OutOfStep>, u64) {
        let mut told = 0;
        let mut done = |rows| told = rows;
        let (mut sender, receiver) = batches(&mut done);
        for messages in streams {
            let messages = messages.iter().map(|message| Bytes::from_static(message));
            assert!(sender.batch(messages.collect(), true).await);
        }
        drop(sender);
        let computing = tokio::task::spawn_blocking(|| {
            let mut given = Vec::new();
            let ended = receiver.for_each(|[field]: &Fields<'_, 1>| {
                given.extend_from_slice(field.unwrap_or_default());
                Ok(())
            });
            (given, ended)
        });
        let (given, ended) = computing.await.unwrap();
        (given, ended, told)
    }

    #[tokio::test]
    async fn all_rows_of_all_streams_are_passed_and_counted() {
        let streams: [&[&[u8]]; 2] = [&[FIRST, SECOND, END], &[FIRST, END]];
        assert_eq!(passed(&streams).await, (b"aba".to_vec(), Ok(()), 3));
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_an_error() {
        for messages in [&[][..], &[FIRST][..], &[FIRST, SECOND]] {
            let (_, ended, _) = passed(&[messages]).await;
            assert_eq!(ended, Err(OutOfStep("it ends too early")), "{messages:?}");
        }
    }
}
