//! Rows on their way from the connection, which receives them, to the thread that counts them.

use bytes::Bytes;

use super::characters::{Characters, Converter};
use super::row;
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::event::{Rejection, SourceRow};
use crate::postgres::copy_out::Decoder;

/// Some of a day's rows, still encoded, and how to read their characters.
#[derive(Debug)]
pub struct Batch {
    messages: Vec<Bytes>,
    characters: Characters,
}

impl Batch {
    /// `decoder` must follow the stream that the rows belong to.
    pub(super) async fn new(
        messages: Vec<Bytes>,
        converter: &mut Converter,
        decoder: &mut Decoder<{ row::FIELDS }>,
    ) -> Result<Self, Error> {
        if converter.must_learn() {
            // An error in the stream is reported by the thread that counts the rows.
            let rows = messages
                .iter()
                .filter_map(|message| decoder.row(message).ok().flatten());
            let texts: Vec<&[u8]> = rows
                .flat_map(|[_, columns @ ..]| columns)
                .flatten()
                .collect();
            converter.learn(texts.into_iter()).await?;
        }
        Ok(Self {
            messages,
            characters: converter.characters().clone(),
        })
    }
}

/// Reads the rows that [`super::DaySnapshot::send_rows`] sends.
#[derive(Debug)]
pub struct Rows {
    day: Day,
    decoder: Decoder<{ row::FIELDS }>,
    read: i64,
}

impl Rows {
    pub fn of(day: Day) -> Self {
        Self {
            day,
            decoder: Decoder::default(),
            read: 0,
        }
    }

    /// Calls `take` with each row of a batch, or with the rejection of a row that is not text.
    pub fn read(
        &mut self,
        batch: &Batch,
        mut take: impl FnMut(Result<SourceRow<'_>, Rejection>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for message in &batch.messages {
            let fields = self.decoder.row(message);
            let texts = |fields| row::Texts::of(fields, &batch.characters);
            let texts = fields
                .and_then(|fields| fields.map(texts).transpose())
                .map_err(|error| {
                    Error::new(
                        ErrorKind::PostgresRefused,
                        format!("reading the source's events of {}", self.day),
                    )
                    .caused_by(error)
                })?;
            if let Some(texts) = texts {
                take(texts.decode())?;
                self.read += 1;
            }
        }
        Ok(())
    }

    /// The number of rows. Fails if the stream was incomplete.
    pub fn finish(self) -> Result<i64, Error> {
        let Self { day, decoder, read } = self;
        if decoder.is_complete() {
            return Ok(read);
        }
        Err(Error::new(
            ErrorKind::PostgresRefused,
            format!(
                "reading the source's events of {day}: the stream ended early, after {read} rows"
            ),
        ))
    }
}
