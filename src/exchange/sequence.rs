//! Checks the order of lines. No IO.
//!
//! Checks what the file alone can show: entries without gaps, each with the hash of the previous one; rows in order and
//! as many as the headers say; an end that matches. The import checks the rest on the server.

use std::collections::HashSet;

use uuid::Uuid;

use super::format::{Delta, End, Header, Line, Sums, VERSION, Version};
use crate::hash::Hash;
use crate::ledger::{Entry, EntryId};

/// The position in the file, and what must follow.
#[derive(Debug)]
pub(super) struct Sequence {
    header: Header,
    runs: HashSet<Uuid>,
    entry: Option<Current>,
    sums: Sums,
}

/// The entry whose rows are being read.
#[derive(Debug)]
struct Current {
    entry_id: EntryId,
    entry_hash: Hash,
    delta_rows: u64,
    rows: u64,
    /// The cell of the last row, and which part of it.
    row: Option<((Uuid, String, String), i16)>,
    /// The id of the last rejected event.
    rejected: Option<i64>,
}

/// Reads the first line.
pub(super) fn header(line: &str) -> Result<Header, String> {
    let version: Version = serde_json::from_str(line)
        .map_err(|_| "it does not start like an export of daybook".to_owned())?;
    if version.daybook_export != VERSION {
        let version = version.daybook_export;
        return Err(format!(
            "its format version is {version}, but this program reads {VERSION}: use the daybook that wrote it, or a later one"
        ));
    }
    serde_json::from_str(line).map_err(|error| format!("its header cannot be read: {error}"))
}

impl Sequence {
    pub(super) fn new(header: Header) -> Self {
        Self {
            header,
            runs: HashSet::new(),
            entry: None,
            sums: Sums::default(),
        }
    }

    /// Checks the next line; the error says what is wrong with it. `hash` computes that of all bytes before it.
    pub(super) fn take(
        &mut self,
        line: &Line<'_>,
        hash: impl FnOnce() -> Hash,
    ) -> Result<(), String> {
        match line {
            Line::Run(run) if self.entry.is_some() => {
                Err(format!("run {} comes after an entry", run.run_id))
            }
            Line::Run(run) if !self.runs.insert(run.run_id) => {
                Err(format!("run {} comes twice", run.run_id))
            }
            Line::Run(_) => Ok(()),
            Line::Entry(entry) => self.take_entry(entry),
            Line::Delta(delta) => self.take_delta(delta),
            Line::Rejected(event) => self.take_rejected(event.source_id),
            Line::End(end) => self.take_end(end, hash()),
        }
    }

    fn take_entry(&mut self, entry: &Entry) -> Result<(), String> {
        self.end_entry()?;
        let Entry { entry_id, .. } = entry;
        let before = self
            .entry
            .as_ref()
            .map_or(EntryId::NONE, |before| before.entry_id);
        if *entry_id != before.next() {
            return Err(format!(
                "entry {entry_id} follows entry {before}: entries have no gaps"
            ));
        }
        let of_entry_before = self
            .entry
            .as_ref()
            .map(|before| before.entry_hash)
            .or(self.header.previous_hash);
        if of_entry_before.is_some_and(|hash| hash != entry.previous_hash) {
            return Err(format!(
                "entry {entry_id} does not carry the hash of entry {before}"
            ));
        }
        if !self.runs.contains(&entry.run_id) {
            return Err(format!(
                "entry {entry_id} belongs to run {}, which is not in the file",
                entry.run_id
            ));
        }
        let delta_rows = u64::try_from(entry.delta_rows)
            .map_err(|_| format!("entry {entry_id} has a negative number of rows"))?;
        self.entry = Some(Current {
            entry_id: *entry_id,
            entry_hash: entry.entry_hash,
            delta_rows,
            rows: 0,
            row: None,
            rejected: None,
        });
        self.sums.entries += 1;
        Ok(())
    }

    fn take_delta(&mut self, delta: &Delta<'_>) -> Result<(), String> {
        let Some(current) = &mut self.entry else {
            return Err("a row comes before the first entry".to_owned());
        };
        let entry_id = current.entry_id;
        let cell = (
            delta.recordset_id,
            delta.record_type.clone().into_owned(),
            delta.stat_type.clone().into_owned(),
        );
        let follows = match &current.row {
            Some((before, part)) if *before == cell => part.checked_add(1) == Some(delta.part),
            Some((before, _)) => *before < cell && delta.part == 0,
            None => delta.part == 0,
        };
        if current.rejected.is_some() || !follows {
            return Err(format!(
                "a row of entry {entry_id} is out of order ({}, {}, {})",
                cell.0, cell.1, cell.2
            ));
        }
        if current.rows == current.delta_rows {
            return Err(format!(
                "entry {entry_id} has more rows than the {} of its header",
                current.delta_rows
            ));
        }
        current.row = Some((cell, delta.part));
        current.rows += 1;
        self.sums.delta_rows += 1;
        Ok(())
    }

    fn take_rejected(&mut self, source_id: i64) -> Result<(), String> {
        let Some(current) = &mut self.entry else {
            return Err("a rejected event comes before the first entry".to_owned());
        };
        if current.rejected.is_some_and(|before| before >= source_id) {
            return Err(format!(
                "rejected event {source_id} of entry {} is out of order",
                current.entry_id
            ));
        }
        current.rejected = Some(source_id);
        self.sums.rejected_events += 1;
        Ok(())
    }

    fn take_end(&self, end: &End, sha256: Hash) -> Result<(), String> {
        self.end_entry()?;
        let found = self.sums;
        for (what, found, said) in [
            ("entries", found.entries, end.entries),
            ("rows", found.delta_rows, end.delta_rows),
            (
                "rejected events",
                found.rejected_events,
                end.rejected_events,
            ),
        ] {
            if found != said {
                return Err(format!(
                    "it has {found} {what}, but its last line says {said}"
                ));
            }
        }
        if sha256 != end.sha256 {
            return Err(format!(
                "its bytes give the SHA-256 {sha256}, but its last line says {}",
                end.sha256
            ));
        }
        let last = self.entry.as_ref();
        let (last_entry, last_hash) = (
            last.map(|entry| entry.entry_id),
            last.map(|entry| entry.entry_hash),
        );
        if self.header.last_entry != last_entry || self.header.last_hash != last_hash {
            return Err("its last entry is not the one that its header names".to_owned());
        }
        Ok(())
    }

    /// Checks that the entry has all its rows.
    fn end_entry(&self) -> Result<(), String> {
        match &self.entry {
            Some(Current {
                entry_id,
                delta_rows,
                rows,
                ..
            }) if rows != delta_rows => Err(format!(
                "entry {entry_id} has {rows} rows, but its header says {delta_rows}"
            )),
            _ => Ok(()),
        }
    }
}
