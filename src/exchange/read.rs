//! Reads an export line by line, checks each line against the previous ones, and prepares it for the ledger.

use std::io::{self, BufRead, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::format::{Header, Line, START};
use super::sequence::{self, Sequence};
use crate::error::{Error, ErrorKind};
use crate::ledger::copy_in::Rows;
use crate::ledger::copy_out::{RejectedRow, RunRow};
use crate::ledger::{Entry, EntryId};
use crate::unpack;

/// The longest line accepted: longer than any row that the server accepts.
const LONGEST_LINE: u64 = 1 << 30;

/// Rejected events in one piece.
const EVENTS: usize = 100;

/// A part of the file, in its order.
#[derive(Debug)]
pub(super) enum Piece {
    Run(RunRow),
    Entry(Box<Entry>),
    Rows(Rows),
    Rejected(Vec<RejectedRow>),
    /// The file was read to its end, and is complete.
    End,
}

/// Whether a file starts like an export of daybook.
pub fn is_export(path: &Path) -> Result<bool, Error> {
    let mut start = Vec::new();
    let reading =
        unpack::open(path).and_then(|file| file.take(START.len() as u64).read_to_end(&mut start));
    reading.map_err(|error| unreadable(path, error))?;
    Ok(start == START.as_bytes())
}

/// A file whose header was read.
pub(super) struct Export {
    path: PathBuf,
    lines: Lines<Box<dyn BufRead + Send>>,
    pub(super) header: Header,
}

impl Export {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = unpack::open(path).map_err(|error| unreadable(path, error))?;
        Self::new(path, file)
    }

    fn new(path: &Path, file: Box<dyn BufRead + Send>) -> Result<Self, Error> {
        let mut lines = Lines::new(file, LONGEST_LINE);
        let first = lines.next().map_err(|error| unreadable(path, error))?;
        let header = first
            .ok_or_else(|| "it is empty".to_owned())
            .and_then(sequence::header);
        let header = header.map_err(|wrong| refused(path, &wrong))?;
        Ok(Self {
            path: path.to_owned(),
            lines,
            header,
        })
    }

    /// Sends the pieces of the file. Stops early, without an error, if the receiver is gone.
    pub(super) fn read(self, sender: &mpsc::Sender<Piece>) -> Result<(), Error> {
        let Self {
            path,
            mut lines,
            header,
        } = self;
        let path = path.as_path();
        let mut sequence = Sequence::new(header);
        let mut pieces = Pieces {
            sender,
            entry_id: EntryId::NONE,
            rows: Rows::new(),
            events: Vec::new(),
        };
        loop {
            let digest = lines.digest.clone();
            let number = lines.number + 1;
            let text = match lines.next() {
                Ok(Some(text)) => text,
                Ok(None) => {
                    return Err(refused(
                        path,
                        &format!(
                            "it ends after line {}, without its last line: it is incomplete",
                            lines.number
                        ),
                    ));
                }
                Err(error) => return Err(unreadable(path, error)),
            };
            let wrong = |what: String| refused(path, &format!("line {number}: {what}"));
            let line: Line<'_> =
                serde_json::from_str(text).map_err(|error| wrong(unlike_a_line(&error)))?;
            sequence.take(&line, || digest.into()).map_err(wrong)?;
            let is_end = matches!(line, Line::End(_));
            if pieces.hand_on(line).is_none() {
                return Ok(());
            }
            if is_end {
                break;
            }
        }
        match lines.next() {
            Ok(None) => {}
            Ok(Some(_)) => return Err(refused(path, "it continues after its last line")),
            Err(error) => return Err(unreadable(path, error)),
        }
        // Only now is the file known to be complete.
        let _ = sender.blocking_send(Piece::End);
        Ok(())
    }
}

/// The parser's message without its line number, because the parser sees only one line.
fn unlike_a_line(error: &serde_json::Error) -> String {
    error
        .to_string()
        .replace(" at line 1 column ", " at column ")
}

/// Collects lines into pieces.
struct Pieces<'s> {
    sender: &'s mpsc::Sender<Piece>,
    entry_id: EntryId,
    rows: Rows,
    events: Vec<RejectedRow>,
}

impl Pieces<'_> {
    /// Returns `None` if the receiver is gone.
    fn hand_on(&mut self, line: Line<'_>) -> Option<()> {
        match line {
            Line::Run(run) => self.send(Piece::Run(run.into())),
            Line::Entry(entry) => {
                self.flush()?;
                self.entry_id = entry.entry_id;
                self.send(Piece::Entry(Box::new(entry)))
            }
            Line::Delta(delta) => {
                self.rows.add(self.entry_id, &delta.fields());
                if self.rows.are_many() {
                    self.flush()
                } else {
                    Some(())
                }
            }
            Line::Rejected(event) => {
                self.events.push(event.into());
                if self.events.len() >= EVENTS {
                    self.flush()
                } else {
                    Some(())
                }
            }
            Line::End(_) => self.flush(),
        }
    }

    fn flush(&mut self) -> Option<()> {
        if !self.rows.is_empty() {
            let rows = std::mem::take(&mut self.rows);
            self.send(Piece::Rows(rows))?;
        }
        if !self.events.is_empty() {
            let events = std::mem::take(&mut self.events);
            self.send(Piece::Rejected(events))?;
        }
        Some(())
    }

    fn send(&self, piece: Piece) -> Option<()> {
        self.sender.blocking_send(piece).ok()
    }
}

/// The lines of a file, and the hash of those read so far.
struct Lines<R> {
    file: R,
    longest: u64,
    line: String,
    number: u64,
    digest: Sha256,
}

impl<R: BufRead> Lines<R> {
    fn new(file: R, longest: u64) -> Self {
        Self {
            file,
            longest,
            line: String::new(),
            number: 0,
            digest: Sha256::new(),
        }
    }

    /// The next line, without its line feed; `None` at the end of the file.
    fn next(&mut self) -> io::Result<Option<&str>> {
        self.line.clear();
        let mut limited = (&mut self.file).take(self.longest);
        let number = self.number + 1;
        let wrong = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {number} {what}"))
        };
        if limited
            .read_line(&mut self.line)
            .map_err(|error| io::Error::new(error.kind(), format!("line {number}: {error}")))?
            == 0
        {
            return Ok(None);
        }
        self.number = number;
        self.digest.update(&self.line);
        match self.line.strip_suffix('\n') {
            Some(line) => Ok(Some(line)),
            None if self.line.len() as u64 >= self.longest => Err(wrong("is too long")),
            None => Err(wrong("is cut off: the file is incomplete")),
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let what = format!("{} cannot be read; nothing was imported", path.display());
    let failure = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
            Error::usage(what).hint("check the name and the permissions of the file")
        }
        _ => Error::new(ErrorKind::InputUnusable, what).hint(WHOLE_COPY),
    };
    failure.caused_by(error)
}

const WHOLE_COPY: &str = "get a complete copy of the file, or export it again";

fn refused(path: &Path, wrong: &str) -> Error {
    Error::new(
        ErrorKind::InputUnusable,
        format!(
            "{} is refused, nothing was imported: {wrong}",
            path.display()
        ),
    )
    .hint(WHOLE_COPY)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::{prop_assert, prop_assert_eq};

    use super::*;
    use crate::exchange::format::End;
    use crate::fuzzing;

    /// The pieces of a file.
    fn pieces(file: &[u8]) -> Result<Vec<Piece>, Error> {
        let (sender, mut receiver) = mpsc::channel(file.len() + 2);
        let file = Box::new(Cursor::new(file.to_vec()));
        Export::new(Path::new("export.ndjson"), file)?.read(&sender)?;
        let mut pieces = Vec::new();
        while let Ok(piece) = receiver.try_recv() {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// The start of the last line.
    fn last_line(file: &[u8]) -> usize {
        let before = file.strip_suffix(b"\n").unwrap_or(file);
        before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1)
    }

    /// The same file with a last line whose hash is right, if it has a last line.
    fn with_right_hash(file: &[u8]) -> Option<Vec<u8>> {
        let (before, last) = file.split_at(last_line(file));
        let Ok(Line::End(end)) = serde_json::from_slice(last) else {
            return None;
        };
        let sha256 = Sha256::new_with_prefix(before).into();
        let last = serde_json::to_string(&Line::End(End { sha256, ..end })).unwrap();
        Some([before, last.as_bytes(), b"\n"].concat())
    }

    /// A file is taken as complete only if all bytes before its last line are as they were written.
    #[test]
    fn fuzz_exports() {
        let good = fuzzing::corpus("exports");
        fuzzing::check("exports", |file| {
            if let Ok(pieces) = pieces(file) {
                prop_assert!(matches!(pieces.last(), Some(Piece::End)));
                let before = &file[..last_line(file)];
                prop_assert!(good.iter().any(|good| &good[..last_line(good)] == before));
            }
            Ok(())
        });
    }

    /// Whatever a file holds, even with the right hash: what is handed on has entries without gaps, each with its rows.
    #[test]
    fn fuzz_lines_of_exports() {
        fuzzing::check("exports", |file| {
            let Some(Ok(pieces)) = with_right_hash(file).map(|file| pieces(&file)) else {
                return Ok(());
            };
            let entries: Vec<&Entry> = pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Entry(entry) => Some(entry.as_ref()),
                    _ => None,
                })
                .collect();
            for (entry, next) in entries.iter().zip(entries.iter().skip(1)) {
                prop_assert_eq!(next.entry_id, entry.entry_id.next());
                prop_assert_eq!(next.previous_hash, entry.entry_hash);
            }
            Ok(())
        });
    }

    #[test]
    fn a_line_that_is_too_long_or_has_no_end_is_an_error_that_names_it() {
        let next = |text: &'static str| {
            let mut lines = Lines::new(text.as_bytes(), 4);
            assert_eq!(lines.next().unwrap(), Some("one"));
            lines
                .next()
                .map(|line| line.map(str::to_owned))
                .map_err(|error| error.to_string())
        };
        assert_eq!(next("one\ntwo\n"), Ok(Some("two".to_owned())));
        assert_eq!(next("one\n"), Ok(None));
        assert_eq!(next("one\nthree\n"), Err("line 2 is too long".to_owned()));
        assert_eq!(
            next("one\ntw"),
            Err("line 2 is cut off: the file is incomplete".to_owned())
        );
    }
}
