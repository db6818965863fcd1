//! Reads the events of a day from the source's tables `stats` and `queries`.
//!
//! Everything is read in one READ ONLY, REPEATABLE READ transaction, so that rows, fingerprint and rejected rows belong
//! to the same state. Rows are streamed: a day is never in memory as a whole.

mod characters;
mod kept;
mod row;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::mpsc;

use self::characters::{Characters, Converter};
use crate::day::{Day, Period, TimeZone};
use crate::error::Error;
use crate::event::{Rejection, SourceRow};
use crate::postgres::copy_out::Decoder;
use crate::postgres::{self, Connection, Context as _, Database};

/// Identifies a day's rows at little cost: their number, their highest id, and order-independent sums over the ids and
/// over hashes of the short fields (type, record type, geocode, query hash). Of the payload, it covers only the stored
/// size: reading payloads would cost as much as reading the day. Days with the same fingerprint are taken to be equal,
/// so editing a payload without changing its size goes unnoticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    pub rows: i64,
    /// The whole fingerprint as stored: `rows:highest id:sum of ids:sum of squared ids:sum of hashes`.
    pub text: String,
}

/// The source tables, read in the ledger's time zone.
#[derive(Debug)]
pub struct Source {
    connection: Connection,
    converter: Converter,
    zone: TimeZone,
    tables: Tables,
    date_is_zoned: bool,
    in_transaction: bool,
}

/// The tables' qualified names, for statements.
#[derive(Debug)]
struct Tables {
    stats: String,
    queries: String,
}

/// One day of the source, in one transaction.
#[derive(Debug)]
pub struct DaySnapshot<'s> {
    source: &'s mut Source,
    day: Day,
}

/// Some of a day's rows, still encoded, and how to read their characters.
#[derive(Debug)]
pub struct Batch {
    messages: Vec<Bytes>,
    characters: Characters,
}

impl Batch {
    /// `decoder` must follow the stream that the rows belong to.
    async fn new(
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

/// Reads the rows that [`DaySnapshot::send_rows`] sends.
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
                    Error::failed(format!("reading the source's events of {}", self.day))
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
        Err(Error::failed(format!(
            "reading the source's events of {day}: the stream ended early, after {read} rows"
        )))
    }
}

/// A rejected event's row as JSON.
#[derive(Debug)]
pub struct KeptRow {
    pub source_id: i64,
    /// The row with all its columns and the query's hash, as JSON that a column of type json accepts.
    pub json: String,
}

impl Source {
    /// Connects, and checks that daybook can read the tables.
    pub async fn open(database: &Database, zone: TimeZone, name: &str) -> Result<Self, Error> {
        let mut connection = database.connect(name).await?;
        // JIT compilation is not worth it for any statement here.
        sqlx::raw_sql("SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'jit'")
            .execute(&mut connection)
            .await
            .context("preparing the connection to the source")?;
        let path = SearchPath::of_login(&mut connection).await?;
        let tables = Tables {
            stats: path.find(&mut connection, "stats", database).await?,
            queries: path.find(&mut connection, "queries", database).await?,
        };
        let date_is_zoned = check_tables(&mut connection, &tables, database).await?;
        let converter = Converter::of(&mut connection, database).await?;
        Ok(Self {
            connection,
            converter,
            zone,
            tables,
            date_is_zoned,
            in_transaction: false,
        })
    }

    /// Starts a transaction for reading a day. It ends when the next one starts, or with the connection.
    pub async fn day(&mut self, day: Day) -> Result<DaySnapshot<'_>, Error> {
        self.begin(&format!("starting to read {day} from the source"))
            .await?;
        Ok(DaySnapshot { source: self, day })
    }

    async fn begin(&mut self, what: &str) -> Result<(), Error> {
        let statements = if std::mem::replace(&mut self.in_transaction, false) {
            "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        } else {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        };
        sqlx::raw_sql(statements)
            .execute(&mut self.connection)
            .await
            .context(what)?;
        self.in_transaction = true;
        Ok(())
    }

    /// Those of the days that have no events, earliest first. Looks for one event of each day, with a time limit.
    pub async fn days_without_events(&mut self, days: &[Day]) -> Result<Vec<Day>, Error> {
        let what = "looking for days without events in the source";
        self.begin(what).await?;
        // Without an index on the date, each day is a scan of the table.
        sqlx::raw_sql("SET LOCAL statement_timeout = '10s'")
            .execute(&mut self.connection)
            .await
            .context(what)?;
        let (from, to): (Vec<String>, Vec<String>) =
            days.iter().map(|day| self.bounds(*day).into()).unzip();
        // ORDER BY makes the server use the index: a scan of the table might find the one event last.
        let sql = format!(
            "SELECT k.day FROM unnest($1::date[], $2::text[], $3::text[]) AS k (day, first, next)
             LEFT JOIN LATERAL (SELECT true AS found FROM {stats} s
                                WHERE s.date >= k.first::{date} AND s.date < k.next::{date}
                                ORDER BY s.date LIMIT 1) e ON true
             WHERE e.found IS NULL ORDER BY k.day",
            stats = self.tables.stats,
            date = self.date_type()
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(days)
            .bind(from)
            .bind(to)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| {
                let code = error
                    .as_database_error()
                    .and_then(sqlx::error::DatabaseError::code);
                let took_too_long = code.as_deref() == Some("57014");
                let failure = postgres::query_error(error, what);
                if took_too_long {
                    failure.hint("create an index on stats.date, which makes this fast")
                } else {
                    failure
                }
            })
    }

    /// The days from the source's first event to its last; none if it has no events. Dates outside the range of days,
    /// such as infinity, are ignored.
    pub async fn period(&mut self) -> Result<Option<Period>, Error> {
        const WHAT: &str = "looking for the source's first day";
        self.begin(WHAT).await?;
        let in_utc = if self.date_is_zoned {
            ""
        } else {
            " AT TIME ZONE 'UTC'"
        };
        let sql = format!(
            "SELECT min(date){in_utc} AS first, max(date){in_utc} AS last FROM {stats}
             WHERE date >= '1970-01-02' AND date < '9998-12-30'",
            stats = self.tables.stats
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut self.connection)
            .await
            .context(WHAT)?;
        let first = row
            .try_get("first")
            .context("reading the date of the source's first event")?;
        let last = row
            .try_get("last")
            .context("reading the date of the source's last event")?;
        let zone = if self.date_is_zoned {
            self.zone
        } else {
            TimeZone::UTC
        };
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(None);
        };
        Ok(Period::new(zone.day_of(first), zone.day_of(last)))
    }

    /// The gaps of at least `long` days in a period on which the source has no events, earliest first.
    pub async fn long_gaps(&mut self, period: Period, long: usize) -> Result<Vec<Period>, Error> {
        let what = format!(
            "looking for days without events from {} to {}",
            period.from(),
            period.to()
        );
        // Split the period into blocks of half that length: each long gap contains at least one whole block. So it is
        // enough to check each block, and to search from both ends of the empty ones.
        let block = long.div_ceil(2);
        let days: Vec<Day> = period.days().step_by(block).collect();
        let of_block = |first: Day| Period::new(first, first.plus(block - 1).min(period.to()));
        let blocks: Vec<Period> = days.into_iter().filter_map(of_block).collect();
        self.begin(&what).await?;
        let mut gaps: Vec<Period> = Vec::new();
        for block in blocks {
            if gaps.last().is_some_and(|gap| gap.contains(block.from()))
                || self.first_event(block).await?.is_some()
            {
                continue;
            }
            let before = Period::new(period.from(), block.from().previous());
            let after = Period::new(block.to().next(), period.to());
            let last_before = match before {
                Some(before) => self.last_event(before).await?,
                None => None,
            };
            let first_after = match after {
                Some(after) => self.first_event(after).await?,
                None => None,
            };
            let gap = Period::new(
                last_before.map_or(period.from(), Day::next),
                first_after.map_or(period.to(), Day::previous),
            );
            gaps.extend(gap.filter(|gap| gap.day_count() >= long));
        }
        Ok(gaps)
    }

    async fn first_event(&mut self, period: Period) -> Result<Option<Day>, Error> {
        self.outermost_event(period, "").await
    }

    async fn last_event(&mut self, period: Period) -> Result<Option<Day>, Error> {
        self.outermost_event(period, "DESC").await
    }

    async fn outermost_event(
        &mut self,
        period: Period,
        direction: &str,
    ) -> Result<Option<Day>, Error> {
        let what = format!(
            "looking for events from {} to {}",
            period.from(),
            period.to()
        );
        let (in_utc, zone) = if self.date_is_zoned {
            ("", self.zone)
        } else {
            (" AT TIME ZONE 'UTC'", TimeZone::UTC)
        };
        self.begin(&what).await?;
        let sql = format!(
            "SELECT s.date{in_utc} FROM {} s WHERE {} ORDER BY s.date {direction} LIMIT 1",
            self.tables.stats,
            self.condition_of(period)
        );
        let date = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_optional(&mut self.connection)
            .await
            .context(what)?;
        Ok(date.map(|date| zone.day_of(date)))
    }

    /// The ids of the first events of a period, at most `most`.
    pub async fn ids_of(&mut self, period: Period, most: usize) -> Result<Vec<i64>, Error> {
        let what = format!(
            "looking for the events from {} to {}",
            period.from(),
            period.to()
        );
        let condition = self.condition_of(period);
        self.begin(&what).await?;
        let stats = &self.tables.stats;
        let sql = format!(
            "SELECT s.id::bigint FROM {stats} s WHERE {condition} ORDER BY s.date, s.id LIMIT {most}"
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut self.connection)
            .await
            .context(what)
    }

    /// The ids of at most `most` events that belong to no day: without a date, dated before the first possible day, or
    /// dated after the day `after`.
    pub async fn ids_out_of_time(&mut self, after: Day, most: usize) -> Result<Vec<i64>, Error> {
        const WHAT: &str = "looking for events whose dates are on no day";
        self.begin(WHAT).await?;
        let ([_, next], date, stats) = (self.bounds(after), self.date_type(), &self.tables.stats);
        let any_of = [
            "s.date < '1970-01-02'".to_owned(),
            format!("s.date >= '{next}'::{date}"),
            "s.date IS NULL".to_owned(),
        ];
        // A query of its own lets each condition use the index.
        let each = any_of.map(|condition| {
            format!("(SELECT s.id::bigint AS id FROM {stats} s WHERE {condition} LIMIT {most})")
        });
        let sql = format!(
            "SELECT id FROM ({}) ids ORDER BY id LIMIT {most}",
            each.join(" UNION ALL ")
        );
        let ids = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut self.connection)
            .await;
        ids.context(WHAT)
    }

    fn condition_of(&self, period: Period) -> String {
        let ([from, _], [_, next]) = (self.bounds(period.from()), self.bounds(period.to()));
        let date = self.date_type();
        format!("s.date >= '{from}'::{date} AND s.date < '{next}'::{date}")
    }

    fn condition(&self, day: Day) -> String {
        let ([from, to], date) = (self.bounds(day), self.date_type());
        format!("s.date >= '{from}'::{date} AND s.date < '{to}'::{date}")
    }

    /// The first instants of a day and of the next one. A `timestamp` without time zone is read in the ledger's zone,
    /// so its bounds are the dates themselves.
    fn bounds(&self, day: Day) -> [String; 2] {
        [day, day.next()].map(|day| {
            if self.date_is_zoned {
                self.zone
                    .start_of(day)
                    .format("%Y-%m-%dT%H:%M:%S+00")
                    .to_string()
            } else {
                day.to_string()
            }
        })
    }

    fn date_type(&self) -> &'static str {
        if self.date_is_zoned {
            "timestamptz"
        } else {
            "timestamp"
        }
    }
}

impl DaySnapshot<'_> {
    pub fn day(&self) -> Day {
        self.day
    }

    pub async fn fingerprint(&mut self) -> Result<Fingerprint, Error> {
        // The squares are of the ids modulo a prime below 2^31, so that each fits in a bigint; the sums are numeric.
        // Each hash includes the id, so that values exchanged between rows are noticed. pg_column_size reads only the
        // header of a payload. Rows are counted before the join, so that a duplicate query is an error.
        let sql = format!(
            "WITH event AS (
                 SELECT s.id::bigint AS id, s.query_id,
                        hashtext(concat_ws('|', s.id, pg_column_size(s.payload), quote_nullable(s.type::text),
                                           quote_nullable(s.record_type::text), s.ip_geocode::text))::bigint AS hash
                 FROM {stats} s WHERE {})
             SELECT count(*) AS rows, concat_ws(':', count(*), coalesce(max(id), 0), coalesce(sum(id), 0),
                    coalesce(sum((id % 2147483647) * (id % 2147483647)), 0),
                    coalesce(sum(hash), 0)
                        + (SELECT coalesce(sum(hashtext(concat_ws('|', e.id, q.query_hash::text))::bigint), 0)
                           FROM event e JOIN {queries} q ON q.id = e.query_id)) AS text
             FROM event",
            self.source.condition(self.day),
            stats = self.source.tables.stats,
            queries = self.source.tables.queries
        );
        let what = format!("reading the source's fingerprint of {}", self.day);
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut self.source.connection)
            .await
            .context(what.as_str())?;
        Ok(Fingerprint {
            rows: row.try_get("rows").context(what.as_str())?,
            text: row.try_get("text").context(what.as_str())?,
        })
    }

    /// Sends the day's rows, in no particular order and still encoded, to be read by [`Rows`]. Ends early if the
    /// receiver is gone; the connection is then unusable.
    pub async fn send_rows(&mut self, batches: mpsc::Sender<Batch>) -> Result<(), Error> {
        const BATCH_BYTES: usize = 256 << 10;
        const BATCH_ROWS: usize = 1000;
        const LARGE_BYTES: usize = 4 * BATCH_BYTES;
        let what = format!("reading the source's events of {}", self.day);
        let columns = [
            "s.type",
            "s.record_type",
            "s.payload",
            "s.ip_geocode",
            "q.query_hash",
        ];
        let sql = format!(
            "COPY (SELECT s.id::bigint, {}
                   FROM {stats} s LEFT JOIN {queries} q ON q.id = s.query_id WHERE {})
             TO STDOUT (FORMAT binary)",
            columns
                .map(|column| self
                    .source
                    .converter
                    .unconverted(&format!("{column}::text")))
                .join(", "),
            self.source.condition(self.day),
            stats = self.source.tables.stats,
            queries = self.source.tables.queries
        );
        let Source {
            connection,
            converter,
            ..
        } = &mut *self.source;
        let mut messages = connection.copy_out_raw(&sql).await.context(what.as_str())?;
        let (mut decoder, mut batch, mut bytes) = (Decoder::default(), Vec::new(), 0);
        while let Some(message) = messages.try_next().await.context(what.as_str())? {
            bytes += message.len();
            batch.push(message);
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_ROWS {
                let batch = Batch::new(std::mem::take(&mut batch), converter, &mut decoder).await?;
                // A row may be larger than all batches that may wait. Then it waits alone.
                let places = if bytes >= LARGE_BYTES {
                    batches.max_capacity()
                } else {
                    1
                };
                let Ok(mut permits) = batches.reserve_many(places).await else {
                    return Ok(());
                };
                if let Some(permit) = permits.next() {
                    permit.send(batch);
                }
                bytes = 0;
            }
        }
        // If the receiver is gone, it has an error of its own to report.
        let _ = batches
            .send(Batch::new(batch, converter, &mut decoder).await?)
            .await;
        Ok(())
    }

    /// Calls `take` with the rows of these ids, in no particular order, as JSON to store.
    pub async fn keep(
        &mut self,
        ids: &[i64],
        mut take: impl AsyncFnMut(KeptRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let what = format!("reading the rejected events of {}", self.day);
        let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        // row_to_json copies json unchanged, including what jsonb would refuse. COPY takes no parameters, and sends
        // bytes that are not UTF-8.
        let sql = format!(
            "COPY (SELECT s.id::bigint, {}
                   FROM {stats} s LEFT JOIN {queries} q ON q.id = s.query_id
                   CROSS JOIN LATERAL (SELECT s.*, q.query_hash) r WHERE s.id = ANY ('{{{ids}}}') AND {})
             TO STDOUT (FORMAT binary)",
            self.source.converter.unconverted("row_to_json(r)::text"),
            self.source.condition(self.day),
            stats = self.source.tables.stats,
            queries = self.source.tables.queries
        );
        let Source {
            connection,
            converter,
            ..
        } = &mut *self.source;
        let mut decoder = Decoder::default();
        let mut messages = connection.copy_out_raw(&sql).await.context(what.as_str())?;
        while let Some(message) = messages.try_next().await.context(what.as_str())? {
            let fields = decoder.row(&message);
            let row = fields.and_then(|fields| fields.map(row::kept_row).transpose());
            if let Some((source_id, json)) =
                row.map_err(|error| Error::failed(what.as_str()).caused_by(error))?
            {
                converter.learn(std::iter::once(json)).await?;
                let json = kept::row(converter.characters().pieces(json));
                take(KeptRow { source_id, json }).await?;
            }
        }
        Ok(())
    }
}

/// The columns that daybook reads, by table, with the types it can read.
const COLUMNS: [(&str, &str, &[&str]); 9] = [
    ("stats", "id", &["bigint", "integer"]),
    (
        "stats",
        "date",
        &["timestamp without time zone", "timestamp with time zone"],
    ),
    ("stats", "type", &["text", "character varying"]),
    ("stats", "record_type", &["text", "character varying"]),
    ("stats", "payload", &["json", "jsonb"]),
    ("stats", "ip_geocode", &["json", "jsonb"]),
    ("stats", "query_id", &["bigint", "integer"]),
    ("queries", "id", &["bigint", "integer"]),
    (
        "queries",
        "query_hash",
        &["text", "character varying", "uuid"],
    ),
];

fn missing(what: &str, database: &Database) -> Error {
    Error::failed(format!("the source ({}) has no {what}", database.place())).hint("point DAYBOOK_SOURCE_URL at the database with the search API's tables stats and queries; a schema other than public goes into the URL as ?options=-c%20search_path%3DNAME")
}

/// The schemas in which the login finds tables, in order, as set for the login, for its role or in the URL.
struct SearchPath {
    schemas: Vec<String>,
    /// The schema with the login's own name, if the path contains it only through `$user`.
    own: Option<String>,
}

impl SearchPath {
    /// Reads the login's search path. Everything else in the session uses daybook's own.
    async fn of_login(connection: &mut Connection) -> Result<Self, Error> {
        const WHAT: &str = "looking up where the source's login finds its tables";
        sqlx::raw_sql("RESET search_path")
            .execute(&mut *connection)
            .await
            .context(WHAT)?;
        let schemas = sqlx::query_scalar("SELECT pg_catalog.current_schemas(true)")
            .fetch_one(&mut *connection)
            .await;
        sqlx::raw_sql(postgres::SEARCH_PATH)
            .execute(&mut *connection)
            .await
            .context(WHAT)?;
        let own = sqlx::query_scalar(
            "SELECT current_user::text FROM pg_settings WHERE name = 'search_path' AND strpos(reset_val, '$user') > 0",
        )
        .fetch_optional(connection)
        .await
        .context(WHAT)?;
        Ok(Self {
            schemas: schemas.context(WHAT)?,
            own,
        })
    }

    /// The table's qualified name. If the login finds a table only because a schema has the login's name, it does not
    /// take precedence over another one: its owner may not be the one who logs the events.
    async fn find(
        &self,
        connection: &mut Connection,
        table: &str,
        database: &Database,
    ) -> Result<String, Error> {
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT n.nspname::text, format('%I.%I', n.nspname, c.relname)
             FROM unnest($1::text[]) WITH ORDINALITY AS p (schema, place)
             JOIN pg_namespace n ON n.nspname = p.schema
             JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
             ORDER BY p.place",
        )
        .bind(&self.schemas)
        .bind(table)
        .fetch_all(connection)
        .await
        .context(format!("looking for {table} in the source"))?;
        match &found[..] {
            [] => Err(missing(
                &format!("table {table} with a column id"),
                database,
            )),
            [(own, first), (_, second), ..] if self.own.as_ref() == Some(own) => {
                Err(Error::failed(format!(
                    "the source ({}) has two tables {table} to choose from: {first} and {second}",
                    database.place()
                ))
                .hint("name the schema in DAYBOOK_SOURCE_URL: ?options=-c%20search_path%3DNAME"))
            }
            [(_, name), ..] => Ok(name.clone()),
        }
    }
}

/// Checks that each column exists and has a type that daybook can read. Returns whether dates have a time zone.
async fn check_tables(
    connection: &mut Connection,
    tables: &Tables,
    database: &Database,
) -> Result<bool, Error> {
    let mut date_is_zoned = false;
    for (table, column, types) in COLUMNS {
        let full_name = if table == "stats" {
            &tables.stats
        } else {
            &tables.queries
        };
        let found: Option<(String, bool)> = sqlx::query_as(
            "SELECT format_type(a.atttypid, NULL), has_column_privilege(a.attrelid, a.attname, 'SELECT')
             FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped",
        )
        .bind(full_name)
        .bind(column)
        .fetch_optional(&mut *connection)
        .await
        .context(format!("looking for {table}.{column} in the source"))?;
        let place = database.place();
        let Some((found, may_read)) = found else {
            return Err(missing(&format!("column {table}.{column}"), database));
        };
        if !types.contains(&found.as_str()) {
            let expected = types.join(" or ");
            return Err(Error::failed(format!(
                "the source's column {table}.{column} is of type {found}, expected {expected} ({place})"
            )));
        }
        if !may_read {
            return Err(Error::failed(format!(
                "no permission to read {table}.{column} in the source ({place})"
            ))
            .hint(format!(
                "as the table's owner: GRANT SELECT ON {table} TO the role that daybook logs in as"
            )));
        }
        if column == "date" {
            date_is_zoned = found.ends_with("with time zone");
        }
    }
    Ok(date_is_zoned)
}

impl Source {
    /// Closes the connection, so that the server does not log an unexpected end. Not needed for correctness.
    pub async fn close(self) {
        // The transaction was read-only, so an error while closing does not matter.
        self.connection.close().await;
        self.converter.close().await;
    }
}
