//! Imports an export: an empty ledger becomes an exact copy of the exported one, or stays empty.

use std::path::Path;

use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::format::Header;
use super::read::{Export, Piece};
use crate::day::TimeZone;
use crate::error::{Error, ErrorKind};
use crate::hash::Hash;
use crate::ledger::copy_in::CopyIn;
use crate::ledger::copy_out::{Identity, Snapshot};
use crate::ledger::lock::Run;
use crate::ledger::{Entry, EntryId, Ledger, Reader, migrations};
use crate::text::counted;

/// Pieces of the file that may be queued for writing.
const PIECES_IN_FLIGHT: usize = 4;

/// The result of an import.
#[derive(Debug)]
pub enum Import {
    /// The ledger had all entries already.
    AlreadyThere {
        ledger_id: Uuid,
        last_entry: EntryId,
    },
    /// The ledger is now a copy.
    Imported(Imported),
}

/// What was imported.
#[derive(Debug, Default, Serialize)]
pub struct Imported {
    pub ledger_id: Uuid,
    pub time_zone: String,
    pub last_entry: Option<EntryId>,
    pub last_hash: Option<Hash>,
    pub entries: u64,
    pub delta_rows: i64,
    pub rejected_events: u64,
}

/// An export whose header was checked: it can be imported.
pub struct Incoming<'p> {
    path: &'p Path,
    export: Export,
}

impl<'p> Incoming<'p> {
    /// Opens the file and checks its header.
    pub fn open(path: &'p Path) -> Result<Self, Error> {
        let export = Export::open(path)?;
        check_header(path, &export.header)?;
        Ok(Self { path, export })
    }

    /// Makes the ledger a copy of the exported one. Changes nothing if it already has these entries.
    pub async fn import_into(self, ledger: &Ledger, run: &mut Run) -> Result<Import, Error> {
        let Self { path, export } = self;
        let header = export.header.clone();
        if is_there_already(ledger, &header).await? {
            let last = header.last_entry.unwrap_or(EntryId::NONE);
            return Ok(Import::AlreadyThere {
                ledger_id: header.ledger_id,
                last_entry: last,
            });
        }
        let (sender, pieces) = mpsc::channel(PIECES_IN_FLIGHT);
        let reading = tokio::task::spawn_blocking(move || export.read(&sender));
        let copied = copy(ledger, run, &header, pieces).await;
        let read = reading.await;
        // An error from writing concerns an earlier part of the file than one from reading.
        let (copy, imported) = copied?;
        read.map_err(|error| broken_off(path).caused_by(error))??;
        let Some(copy) = copy else {
            return Err(broken_off(path));
        };
        copy.commit(run).await?;
        Ok(Import::Imported(imported))
    }
}

fn check_header(path: &Path, header: &Header) -> Result<(), Error> {
    let (name, known) = (path.display(), migrations::embedded_version());
    if !header.whole {
        return Err(Error::new(
            ErrorKind::InputUnusable,
            format!(
                "{name} is refused, nothing was imported: it contains only some days of ledger {}",
                header.ledger_id
            ),
        )
        .hint("only a complete export can be imported: export without --day, --from and --to"));
    }
    if header.schema_version > known {
        let version = header.schema_version;
        return Err(Error::new(ErrorKind::LedgerVersion, format!("{name} is refused, nothing was imported: it was exported from a ledger with schema version {version}, but this program only knows versions up to {known}"))
            .hint("import it with the daybook that exported it, or a later one"));
    }
    let zone: Result<TimeZone, _> = header.time_zone.parse();
    zone.map(drop).map_err(|error| {
        Error::new(
            ErrorKind::InputUnusable,
            format!(
                "{name} is refused, nothing was imported: its time zone is unknown to this program"
            ),
        )
        .caused_by(error)
    })
}

fn broken_off(path: &Path) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!(
            "reading {} was aborted; nothing was imported",
            path.display()
        ),
    )
}

/// Whether the ledger has all entries of the export. Fails if it has others.
async fn is_there_already(ledger: &Ledger, header: &Header) -> Result<bool, Error> {
    let mut reader = Reader::open(ledger, "daybook reading").await?;
    let head = reader.head().await?;
    if head == EntryId::NONE {
        return Ok(false);
    }
    let identity = Snapshot::take(ledger, None, "daybook reading")
        .await?
        .identity()
        .await?;
    let last = header.last_entry.unwrap_or(EntryId::NONE);
    if identity.ledger_id == header.ledger_id
        && (last == EntryId::NONE || reader.entry_hash(last).await? == header.last_hash)
    {
        return Ok(true);
    }
    let (ledger_id, entries) = (
        identity.ledger_id,
        counted(head.number(), "entry", "entries"),
    );
    let hint =
        "create a separate database for the copy, run `daybook migrate` there, and import into it";
    Err(Error::new(ErrorKind::ImportRefused, format!(
        "this ledger ({ledger_id}) has {entries} already: an export is imported into an empty one"
    ))
    .hint(hint))
}

/// Writes the pieces as they arrive. Returns no copy if the last one is missing.
async fn copy(
    ledger: &Ledger,
    run: &Run,
    header: &Header,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<(Option<CopyIn>, Imported), Error> {
    let Header {
        ledger_id,
        time_zone,
        last_entry,
        last_hash,
        ..
    } = header.clone();
    let other = Identity {
        ledger_id,
        time_zone: time_zone.clone(),
        created_at: header.ledger_created_at,
    };
    let mut copy = CopyIn::begin(ledger, run, &other).await?;
    let mut imported = Imported {
        ledger_id,
        time_zone,
        last_entry,
        last_hash,
        ..Imported::default()
    };
    let mut current: Option<Box<Entry>> = None;
    while let Some(piece) = pieces.recv().await {
        let entry_id = current
            .as_ref()
            .map_or(EntryId::NONE, |entry| entry.entry_id);
        match piece {
            Piece::Run(run) => copy.add_run(&run).await?,
            Piece::Entry(entry) => {
                match current.take() {
                    Some(before) => copy.end_entry(&before).await?,
                    None => check_genesis(&mut copy, entry.previous_hash).await?,
                }
                copy.add_entry(&entry).await?;
                imported.entries += 1;
                imported.delta_rows += entry.delta_rows;
                current = Some(entry);
            }
            Piece::Rows(rows) => copy.add_rows(entry_id, rows).await?,
            Piece::Rejected(events) => {
                copy.add_rejected(entry_id, &events).await?;
                imported.rejected_events += events.len() as u64;
            }
            Piece::End => {
                if let Some(last) = current.take() {
                    copy.end_entry(&last).await?;
                }
                return Ok((Some(copy), imported));
            }
        }
    }
    Ok((None, imported))
}

async fn check_genesis(copy: &mut CopyIn, previous_hash: Hash) -> Result<(), Error> {
    let genesis = copy.genesis_hash().await?;
    if genesis == previous_hash {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InputUnusable, format!(
        "the first entry carries the hash {previous_hash}, but this ledger id and time zone give {genesis}: it belongs to another ledger; nothing was imported"
    ))
    .hint("its header was changed: get a complete copy of the file, or export it again"))
}
