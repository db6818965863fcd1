//! Complete delta sets, opened for reading.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::fingerprint::EventSums;
use super::lines::{Lines, Source, refused, unreadable};
use super::manifest::{FILE, FileDigest, Manifest, RowSums};
use super::range::RecordsetRange;
use super::row::{RejectedRow, Row, SourceId};
use crate::aggregate::{Aggregation, Cell, Figures};
use crate::day::{Day, TimeZone};
use crate::error::{Error, ErrorKind};
use crate::event::{RULE_VERSION, Reason};
use crate::hash::Hash;
use crate::source::Fingerprint;

/// The largest manifest accepted, in bytes. One has about a thousand.
const LARGEST_MANIFEST: u64 = 1 << 16;

/// Delta sets of different events of one day. Either they have all of the recordsets, or all have one range of them.
#[derive(Debug)]
pub struct DeltaSets {
    day: Day,
    zone: TimeZone,
    /// The one that they all have.
    range: Option<RecordsetRange>,
    sets: Vec<DeltaSet>,
}

#[derive(Debug)]
struct DeltaSet {
    path: PathBuf,
    manifest: Manifest,
}

/// A rejected event.
#[derive(Debug)]
pub struct Rejected {
    pub source_id: i64,
    pub reason: Reason,
    pub message: String,
    /// The event as JSON.
    pub event: String,
}

impl DeltaSets {
    /// Opens directories, and checks their digests and that they belong together.
    pub fn open(directories: &[PathBuf]) -> Result<Self, Error> {
        let mut sets: Vec<DeltaSet> = Vec::new();
        let mut of_events: HashMap<(String, Option<RecordsetRange>), PathBuf> = HashMap::new();
        for path in directories {
            let set = DeltaSet::open(path)?;
            if let Some(first) = sets.first() {
                first.check_belongs_to(&set)?;
            }
            let Manifest {
                events,
                fingerprint,
                range,
                ..
            } = &set.manifest;
            if let Some(other) = of_events.insert((fingerprint.clone(), *range), path.clone())
                && *events > 0
            {
                return Err(Error::new(
                    ErrorKind::InputUnusable,
                    format!(
                        "{} has the same events as {}",
                        path.display(),
                        other.display()
                    ),
                )
                .hint("give each directory once, and only one of a job that ran twice"));
            }
            sets.push(set);
        }
        let range = check_ranges(&sets)?;
        let Some(DeltaSet { manifest, path }) = sets.first() else {
            return Err(Error::usage("no directory with deltas was given"));
        };
        let zone = manifest.time_zone.parse().map_err(|error| {
            refused(path, "its time zone is unknown to this program").caused_by(error)
        });
        Ok(Self {
            day: manifest.day,
            zone: zone?,
            range,
            sets,
        })
    }

    /// Fails if they are of another day or zone.
    pub fn check_expected(&self, day: Option<Day>, zone: Option<TimeZone>) -> Result<(), Error> {
        let first = self.sets.first().map_or(Path::new(""), |set| &set.path);
        if let Some(day) = day.filter(|day| *day != self.day) {
            let found = self.day;
            return Err(refused(first, &format!("it is of {found}, not of {day}"))
                .hint("give the directories of one day, and that day"));
        }
        if let Some(zone) = zone.filter(|zone| *zone != self.zone) {
            let what = format!(
                "its day is one of the time zone {}, not of {zone}",
                self.zone
            );
            return Err(
                refused(first, &what).hint(format!("count the events with --time-zone {zone}"))
            );
        }
        Ok(())
    }

    /// Fails if ranges of recordsets are missing.
    pub fn check_whole(&self) -> Result<(), Error> {
        let (Some(range), Some(first)) = (self.range, self.sets.first()) else {
            return Ok(());
        };
        Err(refused(
            &first.path,
            &format!("it has only {range} of the recordsets"),
        )
        .hint("give the directories of all ranges"))
    }

    pub fn day(&self) -> Day {
        self.day
    }

    pub(super) fn range(&self) -> Option<RecordsetRange> {
        self.range
    }

    pub(super) fn zone(&self) -> TimeZone {
        self.zone
    }

    pub(super) fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.sets.iter().map(|set| &set.manifest)
    }

    pub(super) fn deltas(&self) -> Vec<Source> {
        let source = |set: &DeltaSet| set.source(&set.manifest.deltas);
        self.sets.iter().map(source).collect()
    }

    pub(super) fn rejects(&self) -> Vec<Source> {
        let source = |set: &DeltaSet| set.source(&set.manifest.rejects);
        self.sets.iter().map(source).collect()
    }

    /// Sets that together have each event once: every range of recordsets has the figures of all events.
    fn with_each_event(&self) -> impl Iterator<Item = &DeltaSet> {
        let range = self.sets.first().and_then(|set| set.manifest.range);
        let has_it = move |set: &&DeltaSet| set.manifest.range == range;
        self.sets.iter().filter(has_it)
    }

    /// How many events were counted, ignored and rejected.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for set in self.with_each_event() {
            figures.join(set.manifest.figures());
        }
        figures.interactions = self
            .manifests()
            .fold(0, |sum, manifest| manifest.interactions.saturating_add(sum));
        figures
    }

    /// The fingerprint of all events.
    pub fn fingerprint(&self) -> Result<Fingerprint, Error> {
        Ok(self.events()?.fingerprint())
    }

    pub(super) fn events(&self) -> Result<EventSums, Error> {
        let mut events = EventSums::default();
        for set in self.with_each_event() {
            events.join(&set.sums_of_events()?);
        }
        Ok(events)
    }

    /// In how many parts the events were counted.
    pub(super) fn parts(&self) -> u64 {
        self.with_each_event().map(|set| set.manifest.parts).sum()
    }

    /// By what they were counted, for people.
    pub fn counted_by(&self) -> String {
        let mut versions: Vec<&str> = self
            .manifests()
            .map(|manifest| manifest.tool_version.as_str())
            .collect();
        versions.sort_unstable();
        versions.dedup();
        let parts = crate::text::counted(self.parts(), "part", "parts");
        format!("daybook fold {} in {parts}", versions.join(", "))
    }

    /// Adds all rows to an aggregation.
    pub fn add_to(&self, aggregation: &mut Aggregation) -> Result<(), Error> {
        for set in &self.sets {
            let mut lines = Lines::<Cell>::open(&set.source(&set.manifest.deltas))?;
            let mut sums = RowSums::default();
            while lines.head().is_some() {
                let row = Row::parse(lines.line()?).map(|row| {
                    sums.add(row.count, row.total);
                    aggregation.add_counted(row.counted())
                });
                match row {
                    Ok(Ok(())) => lines.advance()?,
                    Ok(Err(error)) => {
                        let overflows =
                            |overflow| lines.refused("overflows a sum").caused_by(overflow);
                        return Err(error.report(overflows));
                    }
                    Err(wrong) => return Err(lines.refused(&wrong)),
                }
            }
            set.manifest
                .check_sums(sums)
                .map_err(|wrong| refused(&set.path, &wrong))?;
        }
        aggregation.account(self.figures());
        Ok(())
    }

    /// Opens the rejected events of all sets, one set after the other.
    pub fn rejected(&self) -> RejectedEvents<'_> {
        RejectedEvents {
            day: self.day,
            sets: self.sets.iter(),
            lines: None,
            seen: HashSet::new(),
        }
    }

    /// Reads the rejected events of all sets, and fails as posting them would.
    pub fn check_rejected(&self) -> Result<(), Error> {
        let mut rejected = self.rejected();
        while rejected.next()?.is_some() {}
        Ok(())
    }
}

/// Rejected events, read one at a time.
pub struct RejectedEvents<'a> {
    day: Day,
    sets: std::slice::Iter<'a, DeltaSet>,
    lines: Option<Lines<SourceId>>,
    /// Ids of all sets so far.
    seen: HashSet<i64>,
}

impl RejectedEvents<'_> {
    /// The next event; none at the end.
    pub fn next(&mut self) -> Result<Option<Rejected>, Error> {
        loop {
            if let Some(lines) = &mut self.lines
                && lines.head().is_some()
            {
                let rejected = RejectedRow::parse(lines.line()?).map(|row| Rejected {
                    source_id: row.source_id,
                    reason: row.reason,
                    message: row.message.into_owned(),
                    event: row.event.into_owned(),
                });
                let rejected = match rejected {
                    Ok(rejected) => rejected,
                    Err(wrong) => return Err(lines.refused(&wrong)),
                };
                lines.advance()?;
                if !self.seen.insert(rejected.source_id) {
                    return Err(Error::new(
                        ErrorKind::InputUnusable,
                        format!(
                            "event {} of {} was rejected twice: nothing was posted",
                            rejected.source_id, self.day
                        ),
                    )
                    .hint("count each event once"));
                }
                return Ok(Some(rejected));
            }
            let Some(set) = self.sets.next() else {
                return Ok(None);
            };
            self.lines = Some(Lines::open(&set.source(&set.manifest.rejects))?);
        }
    }
}

impl DeltaSet {
    fn open(path: &Path) -> Result<Self, Error> {
        let text = match read_manifest(path) {
            Ok(text) if text.len() as u64 > LARGEST_MANIFEST => {
                return Err(refused(
                    path,
                    &format!("its {FILE} is not a manifest of deltas: it is too large"),
                ));
            }
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_dir() => {
                return Err(refused(
                    path,
                    &format!("it has no {FILE}: it is not complete, or not made by `daybook fold`"),
                ));
            }
            Err(error) => {
                let what = format!("{} cannot be read", path.display());
                return Err(Error::usage(what)
                    .caused_by(error)
                    .hint("give directories that `daybook fold` has written"));
            }
        };
        let manifest = Manifest::parse(&text).map_err(|wrong| refused(path, &wrong))?;
        if manifest.rule_version != RULE_VERSION {
            let what = format!(
                "its events were counted by version {} of the counting rules, but this program has version {RULE_VERSION}",
                manifest.rule_version
            );
            return Err(
                refused(path, &what).hint("use the same version of daybook to count and to post")
            );
        }
        let set = Self {
            path: path.to_owned(),
            manifest,
        };
        set.check_digest(&set.manifest.deltas)?;
        set.check_digest(&set.manifest.rejects)?;
        Ok(set)
    }

    fn source(&self, file: &FileDigest) -> Source {
        Source {
            path: self.path.join(&file.name),
            rows: file.rows,
        }
    }

    fn sums_of_events(&self) -> Result<EventSums, Error> {
        let sums = self.manifest.sums_of_events();
        sums.map_err(|wrong| refused(&self.path, &wrong))
    }

    fn check_digest(&self, said: &FileDigest) -> Result<(), Error> {
        let path = self.path.join(&said.name);
        let digest = || -> io::Result<(u64, Hash)> {
            let (mut file, mut digest) = (File::open(&path)?, Sha256::new());
            let (mut buffer, mut bytes) = (vec![0; 1 << 18], 0);
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok((bytes, digest.into())),
                    read => {
                        digest.update(&buffer[..read]);
                        bytes += read as u64;
                    }
                }
            }
        };
        let (bytes, sha256) = digest().map_err(|error| unreadable(&path, error))?;
        if bytes != said.bytes {
            let what = format!("it has {bytes} bytes, but the manifest says {}", said.bytes);
            return Err(refused(&path, &what));
        }
        if sha256 != said.sha256 {
            let what = format!(
                "its SHA-256 is {sha256}, but the manifest says {}",
                said.sha256
            );
            return Err(refused(&path, &what));
        }
        Ok(())
    }

    /// Fails if the other set is of another day or zone, or of other ranges.
    fn check_belongs_to(&self, other: &Self) -> Result<(), Error> {
        let (one, two) = (&self.manifest, &other.manifest);
        let first = self.path.display();
        let what = if one.day != two.day {
            format!("it is of {}, but {first} of {}", two.day, one.day)
        } else if one.time_zone != two.time_zone {
            format!(
                "its day is one of the time zone {}, but that of {first} one of {}",
                two.time_zone, one.time_zone
            )
        } else if one.range.map(|range| range.of) != two.range.map(|range| range.of) {
            let of = |range: Option<RecordsetRange>| {
                range.map_or_else(
                    || "all of the recordsets".to_owned(),
                    |range| range.to_string(),
                )
            };
            let what = format!(
                "it has {}, but {first} has {}",
                of(two.range),
                of(one.range)
            );
            return Err(refused(&other.path, &what).hint("count all parts with the same --ranges"));
        } else {
            return Ok(());
        };
        Err(refused(&other.path, &what).hint("give directories of one day and one time zone"))
    }
}

fn read_manifest(directory: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = File::open(directory.join(FILE))?;
    file.take(LARGEST_MANIFEST + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// The range that all sets have; none if they have all of the recordsets. Fails if they have some of the ranges, or ranges
/// of different events.
fn check_ranges(sets: &[DeltaSet]) -> Result<Option<RecordsetRange>, Error> {
    let mut by_range: BTreeMap<Option<RecordsetRange>, Vec<&DeltaSet>> = BTreeMap::new();
    for set in sets {
        by_range.entry(set.manifest.range).or_default().push(set);
    }
    let mut first: Option<(EventSums, [i64; 3])> = None;
    let mut number = 0;
    for (range, sets) in &by_range {
        refuse_a_sum_of_others(sets)?;
        let Some(range) = range else { continue };
        if by_range.len() > 1 && range.number != number {
            return Err(is_missing(sets[0], number));
        }
        number += 1;
        let found = sums_of(sets)?;
        if *first.get_or_insert(found) != found {
            let what = format!("{range} was counted from other events than range 0");
            return Err(refused(&sets[0].path, &what)
                .hint("give every range of every directory that was counted"));
        }
    }
    match by_range.first_key_value() {
        Some((Some(range), sets)) if by_range.len() > 1 && number < range.of => {
            Err(is_missing(sets[0], number))
        }
        Some((Some(range), _)) if range.of > 1 && by_range.len() == 1 => Ok(Some(*range)),
        _ => Ok(None),
    }
}

fn is_missing(set: &DeltaSet, number: u32) -> Error {
    let what = set.manifest.range.map_or_else(String::new, |range| {
        format!("it has {range} of the recordsets, and range {number} is missing")
    });
    refused(&set.path, &what).hint("give the directories of one range or of all")
}

/// Sums over all events of sets of one range, and how many were counted, ignored and rejected.
fn sums_of(sets: &[&DeltaSet]) -> Result<(EventSums, [i64; 3]), Error> {
    let (mut events, mut figures) = (EventSums::default(), Figures::default());
    for set in sets {
        events.join(&set.sums_of_events()?);
        figures.join(set.manifest.figures());
    }
    let figures = [figures.counted, figures.ignored, figures.rejected];
    Ok((events, figures))
}

/// A directory to which the others were merged, given beside them, would count every event twice.
fn refuse_a_sum_of_others(sets: &[&DeltaSet]) -> Result<(), Error> {
    let sums = sets.iter().map(|set| set.sums_of_events());
    let sums = sums.collect::<Result<Vec<_>, _>>()?;
    let mut all = EventSums::default();
    for sums in &sums {
        all.join(sums);
    }
    for (set, sums) in sets.iter().zip(&sums) {
        let mut twice = *sums;
        twice.join(sums);
        if sets.len() > 1 && sums.rows() > 0 && twice == all {
            return Err(Error::new(
                ErrorKind::InputUnusable,
                format!(
                    "{} has the events of all the other directories",
                    set.path.display()
                ),
            )
            .hint("give either what was merged or its parts"));
        }
    }
    Ok(())
}
