//! Witnesses: hashes of entries, kept where the database's owners cannot change them.
//!
//! An entry's hash covers its header, which contains the hashes of its rows and of the entry before. So if the
//! recomputed hash of an entry equals its witness, the ledger is unchanged up to that entry.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use super::audit::Header;
use super::finding::Finding;
use crate::error::Error;
use crate::hash::Hash;
use crate::ledger::EntryId;

/// An entry with the hash that it had earlier. Written `ENTRY=HASH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witnessed {
    entry_id: EntryId,
    entry_hash: Hash,
}

impl Witnessed {
    fn new(entry_id: EntryId, hash: &str) -> Result<Self, String> {
        let entry_hash = hash
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| format!("'{hash}' is not an entry_hash: 64 hexadecimal digits"))?;
        Ok(Self {
            entry_id,
            entry_hash,
        })
    }

    /// What is wrong if the ledger does not have this entry with this hash.
    pub(super) fn check(&self, headers: &[Header]) -> Option<Finding> {
        let Self {
            entry_id,
            entry_hash,
        } = self;
        let number = entry_id.number();
        let place = headers.binary_search_by_key(&number, |header| header.entry_id);
        let what = match place.ok().map(|place| headers[place].entry_hash) {
            Some(hash) if hash == Some(*entry_hash) => return None,
            Some(hash) => {
                let hash = hash.map_or_else(|| "none".to_owned(), |hash| hash.to_string());
                format!(
                    "it was witnessed with the entry_hash {entry_hash}, but its header gives {hash}"
                )
            }
            None => {
                let newest = headers.last().map_or(0, |header| header.entry_id);
                format!(
                    "it was witnessed with the entry_hash {entry_hash}, but is not there: the newest is {newest}"
                )
            }
        };
        let remedy = "this is not the ledger of the witness: restore that one from a backup";
        Some(Finding::new(
            format!("entry {entry_id}"),
            &format!("{what}; {remedy}"),
        ))
    }
}

impl FromStr for Witnessed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (entry, hash) = text
            .split_once('=')
            .ok_or_else(|| format!("'{text}' is not of the form ENTRY=HASH"))?;
        Self::new(entry.trim().parse()?, hash.trim())
    }
}

/// A line of JSON from any command. Lines without an entry and its hash are skipped.
#[derive(Deserialize)]
struct Message {
    entry_id: Option<EntryId>,
    entry_hash: Option<String>,
}

/// Reads a file with lines `ENTRY=HASH`, or with messages from `--json`.
pub fn read_file(path: &Path) -> Result<BTreeSet<Witnessed>, Error> {
    let unreadable = |error| {
        Error::usage(format!("{} cannot be read", path.display()))
            .caused_by(error)
            .hint("check the name of the file, and that it may be read and is text")
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut found = BTreeSet::new();
    for (number, line) in (1..).zip(std::io::BufReader::new(file).lines()) {
        let read = read_line(line.map_err(unreadable)?.trim());
        found.extend(read.map_err(|wrong| {
            Error::usage(format!("{}, line {number}: {wrong}", path.display()))
                .hint("give lines ENTRY=HASH, or what `daybook log --json` or `daybook apply --json` printed")
        })?);
    }
    if found.is_empty() {
        return Err(Error::usage(format!(
            "{} contains no entry with its hash",
            path.display()
        ))
        .hint(
            "give lines ENTRY=HASH, or what `daybook log --json` or `daybook apply --json` printed",
        ));
    }
    Ok(found)
}

fn read_line(line: &str) -> Result<Option<Witnessed>, String> {
    if line.is_empty() {
        return Ok(None);
    }
    if !line.starts_with('{') {
        return line.parse().map(Some);
    }
    let message: Message =
        serde_json::from_str(line).map_err(|error| format!("not a message of daybook: {error}"))?;
    match (message.entry_id, message.entry_hash) {
        (Some(entry_id), Some(hash)) => Witnessed::new(entry_id, &hash).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_entry_with_its_hash_or_a_message_or_an_error() {
        let hash = "0123456789abcdef".repeat(4);
        let seen = Some(Witnessed {
            entry_id: "7".parse().unwrap(),
            entry_hash: hash.parse().unwrap(),
        });
        for line in [
            format!("7={hash}"),
            format!("7 = {}", hash.to_uppercase()),
            format!(
                r#"{{"message_type":"day","day":"2020-02-16","entry_id":7,"entry_hash":"{hash}","kind":"apply"}}"#
            ),
        ] {
            assert_eq!(read_line(&line), Ok(seen.clone()), "{line}");
        }
        let nothing = [
            r#"{"message_type":"day","entry_id":7,"outcome":"already_applied"}"#,
            r#"{"entry_id":null,"entry_hash":null}"#,
            "",
        ];
        for line in nothing {
            assert_eq!(read_line(line), Ok(None), "{line}");
        }
        for (line, wrong) in [
            ("7", "'7' is not of the form ENTRY=HASH"),
            ("0=aa", "'0' is not an entry id"),
            ("7=aa", "'aa' is not an entry_hash"),
            (
                r#"{"entry_id":7,"entry_hash":"aa"}"#,
                "'aa' is not an entry_hash",
            ),
            (r#"{"entry_id":7"#, "not a message of daybook"),
        ] {
            assert!(read_line(line).unwrap_err().contains(wrong), "{line}");
        }
    }
}
