//! Streams the daily documents of many days, several days at the same time.
//!
//! Days are divided, not recordsets: the ledger's rows lie in the order of their days, so that each is read once.

use std::collections::VecDeque;
use std::num::NonZero;

use tokio::task::JoinSet;

use super::documents::{Entries, Sink, stream_day};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::ledger::{DayTouched, Ledger, Reader};

/// Readers of days, at most.
const MOST_READERS: usize = 4;

/// Days of a block, at most.
const MOST_DAYS: usize = 30;

/// Days between two marks, at least: a mark makes everything durable, and a new cluster state.
const DAYS_BETWEEN_MARKS: usize = if cfg!(debug_assertions) { 2 } else { 30 };

/// Takes the documents of whole days.
pub(super) trait DaySink: Sink + Send + 'static {
    /// A day is over.
    fn end_day(&mut self);
    /// A block of days is over.
    fn end_block(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Streams the documents of days into sinks that `make` makes, given their number. Returns the sinks.
///
/// From time to time, `ended` receives a sink whose block is over, and the day up to which all documents are in sinks whose
/// block is over.
pub(super) async fn stream_days<S: DaySink>(
    ledger: &Ledger,
    days: Vec<DayTouched>,
    entries: Entries,
    make: impl Fn(usize) -> S,
    mut ended: impl AsyncFnMut(&S, Option<Day>) -> Result<(), Error>,
) -> Result<Vec<S>, Error> {
    let readers = open_readers(ledger, days.len()).await?;
    let number = readers.len();
    let mut blocks = Blocks::of(days, number);
    let mut idle: Vec<(Reader, S)> = readers
        .into_iter()
        .map(|reader| (reader, make(number)))
        .collect();
    let (mut sinks, mut running) = (Vec::new(), JoinSet::new());
    loop {
        while let Some((reader, sink)) = idle.pop() {
            match blocks.next() {
                Some((place, block)) => {
                    running.spawn(stream_block(reader, sink, place, block, entries));
                }
                None => sinks.push(sink),
            }
        }
        let Some(block) = running.join_next().await else {
            return Ok(sinks);
        };
        let (reader, sink, place) = block.map_err(|error| {
            Error::new(ErrorKind::Internal, "reading days was aborted").caused_by(error)
        })??;
        ended(&sink, blocks.end(place)).await?;
        idle.push((reader, sink));
    }
}

async fn stream_block<S: DaySink>(
    mut reader: Reader,
    mut sink: S,
    place: usize,
    block: Vec<DayTouched>,
    entries: Entries,
) -> Result<(Reader, S, usize), Error> {
    for touched in block {
        stream_day(&mut reader, touched, entries, &mut sink).await?;
        sink.end_day();
    }
    sink.end_block().await?;
    Ok((reader, sink, place))
}

/// How many days are read at the same time: one for each processor.
pub(super) fn side_by_side() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    processors.min(MOST_READERS)
}

/// Opens connections: at least one, and no more than the server allows or days need.
async fn open_readers(ledger: &Ledger, days: usize) -> Result<Vec<Reader>, Error> {
    const NAME: &str = "daybook reading days";
    let wanted = side_by_side().min(days);
    let mut readers = vec![Reader::open(ledger, NAME).await?];
    Reader::open_more(&mut readers, wanted, ledger, NAME).await;
    Ok(readers)
}

/// The days that are left, in blocks; and which blocks are over.
struct Blocks {
    left: VecDeque<DayTouched>,
    readers: usize,
    /// Of each block that was given out: its last day, its number of days, and whether it is over.
    given_out: Vec<(Day, usize, bool)>,
    /// The blocks before this one are marked.
    marked: usize,
}

impl Blocks {
    fn of(days: Vec<DayTouched>, readers: usize) -> Self {
        Self {
            left: days.into(),
            readers,
            given_out: Vec::new(),
            marked: 0,
        }
    }

    /// The next block, and its place. The last ones are small, so that all readers end at about the same time.
    fn next(&mut self) -> Option<(usize, Vec<DayTouched>)> {
        let share = self.left.len() / (2 * self.readers);
        let days = share.clamp(1, MOST_DAYS).min(self.left.len());
        let block: Vec<DayTouched> = self.left.drain(..days).collect();
        let last = block.last()?.day;
        self.given_out.push((last, block.len(), false));
        Some((self.given_out.len() - 1, block))
    }

    /// A block is over. Returns the day up to which every block is, if that is to be marked.
    fn end(&mut self, place: usize) -> Option<Day> {
        self.given_out[place].2 = true;
        let over: Vec<(Day, usize)> = self.given_out[self.marked..]
            .iter()
            .take_while(|(.., is_over)| *is_over)
            .map(|(last, days, _)| (*last, *days))
            .collect();
        let days: usize = over.iter().map(|(_, days)| days).sum();
        if days < DAYS_BETWEEN_MARKS {
            return None;
        }
        self.marked += over.len();
        over.last().map(|(last, _)| *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(number: u32) -> Vec<DayTouched> {
        let last: Day = "2020-12-31".parse().unwrap();
        (0..number)
            .rev()
            .map(|back| DayTouched {
                day: last.minus(back),
                posted_before: false,
            })
            .collect()
    }

    #[test]
    fn every_day_is_in_one_block_and_the_last_blocks_are_small() {
        for number in [0, 1, 2, 7, 50] {
            let mut blocks = Blocks::of(days(number), 3);
            let (mut given, mut last) = (Vec::new(), 0);
            while let Some((place, block)) = blocks.next() {
                assert_eq!(place, blocks.given_out.len() - 1);
                last = block.len();
                given.extend(block.into_iter().map(|touched| touched.day));
            }
            let expected: Vec<Day> = days(number).iter().map(|touched| touched.day).collect();
            assert_eq!(given, expected);
            assert!(last <= 1);
        }
    }

    #[test]
    fn a_mark_never_passes_a_block_that_is_still_being_written() {
        let all = days(20);
        let mut blocks = Blocks::of(all.clone(), 2);
        let mut given = 0;
        for place in 0..3 {
            let (at, block) = blocks.next().unwrap();
            assert_eq!(at, place);
            given += block.len();
        }
        assert_eq!(blocks.end(1), None);
        assert_eq!(blocks.end(2), None);
        assert_eq!(blocks.end(0), Some(all[given - 1].day));
        let (place, block) = blocks.next().unwrap();
        assert!(block.len() >= DAYS_BETWEEN_MARKS);
        given += block.len();
        assert_eq!(blocks.end(place), Some(all[given - 1].day));
    }
}
