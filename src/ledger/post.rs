//! The only writer of new entries. It only inserts.
//!
//! A posting is one transaction: rows with their balances, rejected events, and the header. It has its own connection,
//! because a failed COPY makes a connection unusable. After a commit, the run keeps the connection and the balances
//! for its next posting; otherwise the connection is closed.

use std::sync::Arc;

use sha2::Sha256;
use sqlx::Row as _;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::entry::{EntryId, EntryKind};
use super::handle::Ledger;
use super::insert_rows;
use super::known_balances::{BalancesAsOf, KnownBalances};
use super::lock::{LastPosting, Run, TOOL_VERSION};
use super::posted_rows::PostedRows;
use super::row_bytes::{self, Balance, Encoded};
use crate::aggregate::{Cell, DayDeltas, Figures, Overflow};
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::event::{RULE_VERSION, Reason};
use crate::failpoint;
use crate::hash::Hash;
use crate::postgres::{Connection, Context as _, query_error};

/// Maximum number of encoded chunks that wait to be sent.
const CHUNKS_IN_FLIGHT: usize = 4;

/// An entry that is being posted. If it is dropped before the commit, nothing is posted.
#[derive(Debug)]
pub struct Posting {
    connection: Connection,
    entry_id: EntryId,
    day: Day,
    /// Balances that need not be looked up, and those of the rows so far.
    balances: KnownBalances,
    /// Hash of the rows so far.
    content: Sha256,
    delta_rows: u64,
    cells: u64,
    last: Option<Cell>,
    terms: Terms,
    /// All rows, if they were added at once and should stay in memory.
    kept: Option<Arc<DayDeltas>>,
}

/// Whether the maps of each row sum to its total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Terms {
    /// They must.
    MustBeComplete,
    /// They need not, but do so far.
    Complete,
    /// They do not.
    Incomplete,
}

/// What the caller says about an entry as a whole.
#[derive(Debug)]
pub struct Header {
    pub kind: EntryKind,
    /// The entry that a reversal reverses.
    pub reverses: Option<EntryId>,
    /// How many rows of the source were counted, ignored and rejected.
    pub figures: Figures,
    pub fingerprint: String,
    /// The reason, as text for people.
    pub reason: Option<String>,
}

/// A rejected event with its row.
#[derive(Debug)]
pub struct RejectedEvent<'a> {
    pub source_id: i64,
    pub reason: Reason,
    /// What is wrong with the event.
    pub message: &'a str,
    /// The row as JSON.
    pub row: String,
}

/// A committed entry.
#[derive(Debug)]
pub struct Posted {
    pub entry_id: EntryId,
    /// Hash of its header. Kept outside the database, it is a witness that `verify --expect` checks.
    pub entry_hash: Hash,
    /// Number of its cells.
    pub cells: u64,
    /// The entry with its rows, if they were kept.
    pub posted_rows: Option<PostedRows>,
}

impl Posting {
    /// Starts posting the entry after `after`, the newest entry when the caller decided what to post. Fails if another
    /// entry was posted since.
    pub async fn begin(
        ledger: &Ledger,
        run: &mut Run,
        after: EntryId,
        day: Day,
    ) -> Result<Self, Error> {
        let what = format!("starting to post {day}");
        let (mut connection, known) = begin_transaction(ledger, run, &what).await?;
        let head: Option<EntryId> = sqlx::query_scalar("SELECT max(entry_id) FROM daybook.entry")
            .fetch_one(&mut connection)
            .await
            .context(what)?;
        let head = head.unwrap_or(EntryId::NONE);
        if head != after {
            return Err(Error::new(ErrorKind::PostedMeanwhile, format!(
                "posting {day}: entry {head} was posted meanwhile by another run: nothing was posted"
            ))
            .hint("run the command again: it will take that entry into account"));
        }
        failpoint::reach("post.begun");
        let (entry_id, content) = (head.next(), Sha256::default());
        let balances = known.map(|known| known.at(head)).unwrap_or_default();
        Ok(Self {
            connection,
            entry_id,
            day,
            balances,
            content,
            delta_rows: 0,
            cells: 0,
            last: None,
            terms: Terms::MustBeComplete,
            kept: None,
        })
    }

    /// Accepts rows whose maps do not sum to their totals, and marks the entry if it has any. Needed for old documents
    /// that lack terms, and for entries that correct or reverse them.
    pub fn take_incomplete_terms(&mut self) {
        self.terms = Terms::Complete;
    }

    /// Adds all rows of the entry, which must be the first of its day, and keeps them in memory for making documents.
    pub async fn add_all_rows(&mut self, deltas: DayDeltas) -> Result<(), Error> {
        let deltas = Arc::new(deltas);
        self.kept = (self.delta_rows == 0).then(|| Arc::clone(&deltas));
        self.add(deltas).await
    }

    /// Adds rows. In the order of cells, they must follow those added before.
    pub async fn add_rows(&mut self, deltas: DayDeltas) -> Result<(), Error> {
        self.kept = None;
        self.add(Arc::new(deltas)).await
    }

    async fn add(&mut self, deltas: Arc<DayDeltas>) -> Result<(), Error> {
        let Self { entry_id, day, .. } = *self;
        let what = format!("posting {day}");
        if let Some(cell) = deltas.control_sum_violation() {
            if self.terms == Terms::MustBeComplete {
                let what =
                    format!("the control sums of {day} do not hold for {cell}: nothing was posted");
                return Err(Error::new(ErrorKind::Internal, what)
                    .hint("this is a defect of daybook: please report it with the day's events"));
            }
            self.terms = Terms::Incomplete;
        }
        let (Some(first), Some(last)) = (deltas.rows().first(), deltas.rows().last()) else {
            return Ok(());
        };
        if self.last.is_some_and(|before| before >= first.cell) {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("{what}: {} is out of order: nothing was posted", first.cell),
            )
            .hint("this is a defect of daybook: please report it"));
        }
        self.last = Some(last.cell);
        let cells = deltas.rows().len() as u64;
        tracing::info!(%day, entry_id = entry_id.number(), cells, "posting rows");
        let before = balances(&mut self.connection, &deltas, &self.balances)
            .await
            .context(format!("{what}: looking up balances"))?;
        for (row, before) in deltas.rows().iter().zip(&before) {
            // An overflow fails below, and with it the posting.
            if let Some(balance) = row_bytes::advance(day, row, *before) {
                self.balances.keep(row.cell, balance);
            }
        }
        let content = std::mem::take(&mut self.content);
        let new = NewRows {
            entry_id,
            day,
            deltas,
            before,
        };
        let (copied, Encoded { content, rows }) = new.write(&mut self.connection, content).await?;
        self.content = content;
        self.delta_rows += rows;
        self.cells += cells;
        failpoint::reach("post.rows_written");
        if copied != rows {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("{what}: {copied} of {rows} rows arrived: nothing was posted"),
            ));
        }
        Ok(())
    }

    /// Writes the header, and returns its hash. The database sets who posts, when, and the remaining hashes.
    async fn write_header(&mut self, run: &Run, header: Header) -> Result<Hash, Error> {
        let Self { entry_id, day, .. } = *self;
        let content_hash = Hash::from(std::mem::take(&mut self.content));
        let entry_hash = sqlx::query_scalar(
            "INSERT INTO daybook.entry (entry_id, day, kind, reverses, run_id, rule_version, tool_version, source_events,
                 source_counted, source_ignored, source_rejected, source_fingerprint, delta_rows,
                 terms_complete, content_hash, reason)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             RETURNING entry_hash",
        )
        .bind(entry_id)
        .bind(day)
        .bind(header.kind.name())
        .bind(header.reverses)
        .bind(run.run_id())
        .bind(RULE_VERSION)
        .bind(TOOL_VERSION)
        .bind(header.figures.events())
        .bind(header.figures.counted)
        .bind(header.figures.ignored)
        .bind(header.figures.rejected)
        .bind(&header.fingerprint)
        .bind(i64::try_from(self.delta_rows).unwrap_or(i64::MAX))
        .bind(self.terms != Terms::Incomplete)
        .bind(content_hash)
        .bind(&header.reason)
        .fetch_one(&mut self.connection)
        .await
        .context(format!("posting {day}: writing the header of entry {entry_id}"))?;
        failpoint::reach("post.header_written");
        Ok(entry_hash)
    }

    /// Stores rejected events.
    pub async fn keep_rejected(&mut self, events: &[RejectedEvent<'_>]) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO daybook.rejected_event (entry_id, source_id, reason, message, event)
             SELECT $1, source_id, reason, message, event::json
             FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) AS r (source_id, reason, message, event)",
        )
        .bind(self.entry_id)
        .bind(events.iter().map(|event| event.source_id).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.reason.code()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.message).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.row.as_str()).collect::<Vec<_>>())
        .execute(&mut self.connection)
        .await
        .map(drop)
        .context(format!("posting {}: keeping rejected events", self.day))
    }

    /// Writes the header and commits the entry, provided that the run still holds its lock. All rows and rejected events
    /// must have been added: the header contains their hashes.
    pub async fn commit(mut self, run: &mut Run, header: Header) -> Result<Posted, Error> {
        let entry_hash = self.write_header(run, header).await?;
        // The last check of the lock. From here on, only the primary key of entries stops a second writer.
        run.check_lock().await?;
        failpoint::reach("post.before_commit");
        let committing = sqlx::raw_sql("COMMIT").execute(&mut self.connection).await;
        committing.context(format!("committing the posting of {}", self.day))?;
        failpoint::reach("post.committed");
        let Self {
            connection,
            entry_id,
            day,
            cells,
            kept,
            balances,
            ..
        } = self;
        run.keep_last_posting(LastPosting {
            connection,
            balances: BalancesAsOf { entry_id, balances },
        });
        let posted_rows = kept.map(|deltas| PostedRows::new(entry_id, day, deltas));
        Ok(Posted {
            entry_id,
            entry_hash,
            cells,
            posted_rows,
        })
    }
}

/// Begins a transaction on the connection of the run's last posting, or else on a new one. Returns also the balances
/// after the last posting.
async fn begin_transaction(
    ledger: &Ledger,
    run: &mut Run,
    what: &str,
) -> Result<(Connection, Option<BalancesAsOf>), Error> {
    let mut known = None;
    if let Some(mut last) = run.take_last_posting() {
        known = Some(last.balances);
        if sqlx::raw_sql("BEGIN")
            .execute(&mut last.connection)
            .await
            .is_ok()
        {
            return Ok((last.connection, known));
        }
    }
    // There was none, or the server closed it while it was idle. Nothing had been sent over it.
    let mut connection = ledger
        .database
        .connect(&format!("daybook posting {}", run.run_id()))
        .await?;
    sqlx::raw_sql("BEGIN")
        .execute(&mut connection)
        .await
        .context(what)?;
    Ok((connection, known))
}

/// Number of cells in a query for balances: an entry may have a million cells.
const LOOKED_UP_AT_ONCE: usize = 1 << 14;

/// The balance of each row's cell before the entry. Those that are not known are looked up.
async fn balances(
    connection: &mut Connection,
    deltas: &DayDeltas,
    known: &KnownBalances,
) -> Result<Vec<Option<Balance>>, sqlx::Error> {
    let rows = deltas.rows();
    let mut balances: Vec<_> = rows.iter().map(|row| known.get(row.cell)).collect();
    let unknown: Vec<usize> = (0..rows.len())
        .filter(|place| balances[*place].is_none())
        .collect();
    for places in unknown.chunks(LOOKED_UP_AT_ONCE) {
        let cells: Vec<Cell> = places.iter().map(|place| rows[*place].cell).collect();
        for (place, balance) in places.iter().zip(balances_of(connection, &cells).await?) {
            balances[*place] = balance;
        }
    }
    Ok(balances)
}

async fn balances_of(
    connection: &mut Connection,
    cells: &[Cell],
) -> Result<Vec<Option<Balance>>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT k.place, b.count_balance, b.total_balance, b.first_day, b.last_day
         FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS k (recordset_id, record_type, stat_type, place)
         CROSS JOIN LATERAL (
             SELECT d.count_balance, d.total_balance, d.first_day, d.last_day FROM daybook.interaction_delta d
             WHERE d.recordset_id = k.recordset_id AND d.record_type = k.record_type AND d.stat_type = k.stat_type
             ORDER BY d.entry_id DESC LIMIT 1) b",
    )
    .bind(cells.iter().map(|cell| cell.recordset_id).collect::<Vec<Uuid>>())
    .bind(cells.iter().map(|cell| cell.record_type.name()).collect::<Vec<_>>())
    .bind(cells.iter().map(|cell| cell.stat_type.name()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut balances = vec![None; cells.len()];
    for row in rows {
        let place: i64 = row.try_get("place")?;
        let balance = Balance {
            count: row.try_get("count_balance")?,
            total: row.try_get("total_balance")?,
            first_day: row.try_get("first_day")?,
            last_day: row.try_get("last_day")?,
        };
        // Ordinality counts from 1.
        if let Some(slot) = usize::try_from(place - 1)
            .ok()
            .and_then(|place| balances.get_mut(place))
        {
            *slot = Some(balance);
        }
    }
    Ok(balances)
}

/// Rows of an entry that are not written yet.
struct NewRows {
    entry_id: EntryId,
    day: Day,
    deltas: Arc<DayDeltas>,
    /// The balance of each row's cell before the entry.
    before: Vec<Option<Balance>>,
}

impl NewRows {
    /// Writes the rows. Returns how many arrived, and what was made of the deltas, whose hash continues `content`.
    async fn write(
        self,
        connection: &mut Connection,
        content: Sha256,
    ) -> Result<(u64, Encoded), Error> {
        let (entry_id, day) = (self.entry_id, self.day);
        let what = format!("posting {day}: writing the rows of entry {entry_id}");
        if !insert_rows::are_few(&self.deltas) {
            return self.copy(connection, content, &what).await;
        }
        let (columns, encoded) = insert_rows::Columns::of(day, &self.deltas, &self.before, content)
            .map_err(|error| overflow(&what, error))?;
        let inserting = columns.insert(connection, entry_id, day).await;
        Ok((inserting.context(what)?, encoded))
    }

    /// Sends the rows while another thread encodes them.
    async fn copy(
        self,
        connection: &mut Connection,
        content: Sha256,
        what: &str,
    ) -> Result<(u64, Encoded), Error> {
        let (sender, mut chunks) = mpsc::channel::<Vec<u8>>(CHUNKS_IN_FLIGHT);
        let encoding = tokio::task::spawn_blocking(move || -> Result<Encoded, Overflow> {
            let Self {
                entry_id,
                day,
                deltas,
                before,
            } = self;
            row_bytes::encode(entry_id, day, &deltas, &before, content, |chunk| {
                sender.blocking_send(chunk).is_ok()
            })
        });
        let mut copy = connection
            .copy_in_raw(row_bytes::COPY_STATEMENT)
            .await
            .context(what)?;
        while let Some(chunk) = chunks.recv().await {
            if let Err(error) = copy.send(&chunk).await {
                return Err(query_error(error, what));
            }
        }
        // The encoder has closed the channel: it is done, or a balance overflowed.
        let encoded = encoding
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, what).caused_by(error))?
            .map_err(|error| overflow(what, error))?;
        let arrived = copy.finish().await.context(what)?;
        Ok((arrived, encoded))
    }
}

fn overflow(what: &str, error: Overflow) -> Error {
    let what = format!("{what}: a balance overflows, nothing was posted");
    Error::new(ErrorKind::FigureTooLarge, what).caused_by(error)
}
