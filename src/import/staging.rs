//! Keeps documents until it is known which of them count, in a temporary table of the ledger's database.
//!
//! They come in any order, over years, with duplicates, and would not fit in memory. The table ends with its
//! connection.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::document::Document;
use super::verdict::OnConflict;
use crate::aggregate::Sums;
use crate::day::Day;
use crate::error::{Error, ErrorKind};
use crate::hash::Hash;
use crate::ledger::Ledger;
use crate::postgres::{Connection, Context as _, query_error};

/// The staged documents.
#[derive(Debug)]
pub(super) struct Staging {
    connection: Connection,
    /// The number of the newest document.
    seq: i64,
    /// Documents to send, in the format of COPY.
    rows: String,
}

/// Bytes to collect before sending.
const CHUNK_BYTES: usize = 4 << 20;

/// The staged documents of a day.
#[derive(Debug, PartialEq, Eq)]
pub struct StagedDay {
    pub documents: i64,
    pub recordsets: i64,
    /// Documents with the same content as another one.
    pub duplicates: i64,
    /// Recordsets whose documents conflict.
    pub conflicting: i64,
    /// Of the documents that count, those whose terms do not add up to their totals.
    pub incomplete: i64,
    /// Sums over the documents that count.
    pub sums: Sums,
    /// Identifies their content.
    pub fingerprint: String,
    /// The inputs that they come from, by index.
    pub inputs: Vec<i32>,
}

/// A recordset whose documents of a day conflict.
#[derive(Debug, Serialize)]
pub struct Conflict {
    pub day: Day,
    pub recordset_id: Uuid,
    pub versions: Vec<Version>,
}

/// One version of a recordset and day.
#[derive(Debug, Serialize, Deserialize)]
pub struct Version {
    /// The location of the first document with this content.
    pub place: String,
    pub count: i64,
    pub total: i64,
    /// The number of documents with this content.
    pub documents: i64,
}

impl Staging {
    /// Opens the connection and creates the table.
    pub(super) async fn open(ledger: &Ledger) -> Result<Self, Error> {
        let mut connection = ledger.database.connect("daybook importing").await?;
        sqlx::raw_sql(
            "CREATE TEMP TABLE import_document (
                 seq bigint PRIMARY KEY, input integer NOT NULL, day date NOT NULL, recordset_id uuid NOT NULL,
                 digest bytea NOT NULL, is_empty boolean NOT NULL, terms_complete boolean NOT NULL,
                 count bigint NOT NULL, total bigint NOT NULL, place text NOT NULL, body text NOT NULL);
             CREATE INDEX import_document_by_day ON import_document (day, recordset_id, seq)",
        )
        .execute(&mut connection)
        .await
        .context("creating a temporary table for the documents")?;
        Ok(Self {
            connection,
            seq: 0,
            rows: String::new(),
        })
    }

    pub(super) async fn add(
        &mut self,
        input: i32,
        place: &str,
        document: &Document,
    ) -> Result<(), Error> {
        let body = document.body();
        let digest = Hash::sha256(&body);
        let Document {
            day,
            recordset_id,
            count,
            total,
            ..
        } = document;
        let (is_empty, complete) = (body == "[]", document.terms_are_complete());
        self.seq += 1;
        let seq = self.seq;
        self.rows += &format!(
            "{seq}\t{input}\t{day}\t{recordset_id}\t\\\\x{digest}\t{is_empty}\t{complete}\t{count}\t{total}\t"
        );
        append_escaped(&mut self.rows, place);
        self.rows.push('\t');
        append_escaped(&mut self.rows, &body);
        self.rows.push('\n');
        if self.rows.len() >= CHUNK_BYTES {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Sends the collected documents.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        const WHAT: &str = "writing documents to the temporary table";
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let mut copy = self
            .connection
            .copy_in_raw("COPY pg_temp.import_document FROM STDIN")
            .await
            .context(WHAT)?;
        if let Err(error) = copy.send(rows.as_bytes()).await {
            return Err(query_error(error, WHAT));
        }
        copy.finish().await.map(drop).context(WHAT)
    }

    /// The days of staged documents after one day and before another, earliest first.
    pub(super) async fn days(
        &mut self,
        after: Option<Day>,
        before: Option<Day>,
    ) -> Result<Vec<Day>, Error> {
        const WHAT: &str = "finding the days of the documents";
        sqlx::raw_sql("ANALYZE pg_temp.import_document")
            .execute(&mut self.connection)
            .await
            .context(WHAT)?;
        sqlx::query_scalar(
            "SELECT DISTINCT day FROM pg_temp.import_document
             WHERE day > coalesce($1, '-infinity'::date) AND day < coalesce($2, 'infinity'::date) ORDER BY day",
        )
        .bind(after)
        .bind(before)
        .fetch_all(&mut self.connection)
        .await
        .context(WHAT)
    }

    /// The figures of a day.
    pub(super) async fn day(
        &mut self,
        day: Day,
        rule: Option<OnConflict>,
    ) -> Result<StagedDay, Error> {
        let what = format!("adding up the documents of {day}");
        let sql = format!(
            "WITH chosen AS ({}),
                  version AS (SELECT recordset_id, count(*) AS documents, count(DISTINCT digest) AS versions
                              FROM pg_temp.import_document WHERE day = $1 GROUP BY recordset_id)
             SELECT v.*, c.*
             FROM (SELECT sum(documents)::bigint AS documents, count(*) AS recordsets,
                          sum(documents - versions)::bigint AS duplicates,
                          count(*) FILTER (WHERE versions > 1) AS conflicting FROM version) v
             CROSS JOIN (
                 SELECT count(*) FILTER (WHERE NOT d.terms_complete) AS incomplete,
                        sum(d.count)::text AS count_sum, sum(d.total)::text AS total_sum,
                        encode(sha256(coalesce(string_agg(uuid_send(d.recordset_id) || d.digest, ''::bytea
                            ORDER BY d.recordset_id) FILTER (WHERE NOT d.is_empty), ''::bytea)), 'hex') AS fingerprint,
                        array_agg(DISTINCT d.input) AS inputs
                 FROM chosen JOIN pg_temp.import_document d USING (seq)) c",
            chosen(rule)
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(day)
            .fetch_one(&mut self.connection)
            .await
            .context(&what)?;
        let number = |column| -> Result<i128, Error> {
            let text: Option<String> = row.try_get(column).context(&what)?;
            let text = text.unwrap_or_else(|| "0".to_owned());
            text.parse().map_err(|error| {
                Error::new(ErrorKind::Internal, format!("{what}: {text} is not a sum"))
                    .caused_by(error)
            })
        };
        Ok(StagedDay {
            documents: row
                .try_get::<Option<i64>, _>("documents")
                .context(&what)?
                .unwrap_or(0),
            recordsets: row.try_get("recordsets").context(&what)?,
            duplicates: row
                .try_get::<Option<i64>, _>("duplicates")
                .context(&what)?
                .unwrap_or(0),
            conflicting: row.try_get("conflicting").context(&what)?,
            incomplete: row.try_get("incomplete").context(&what)?,
            sums: Sums {
                count: number("count_sum")?,
                total: number("total_sum")?,
            },
            fingerprint: format!(
                "import:{}",
                row.try_get::<String, _>("fingerprint").context(&what)?
            ),
            inputs: row
                .try_get::<Option<_>, _>("inputs")
                .context(&what)?
                .unwrap_or_default(),
        })
    }

    /// Passes each recordset whose documents of a day conflict to `take`, with all versions.
    pub(super) async fn conflicts(
        &mut self,
        day: Day,
        mut take: impl FnMut(&Conflict),
    ) -> Result<(), Error> {
        let what = format!("finding conflicting documents of {day}");
        let mut rows = sqlx::query(
            "SELECT recordset_id, json_agg(json_build_object('place', place, 'count', count, 'total', total,
                        'documents', documents) ORDER BY first)::text AS versions
             FROM (SELECT recordset_id, min(seq) AS first, (array_agg(place ORDER BY seq))[1] AS place,
                          min(count) AS count, min(total) AS total, count(*) AS documents
                   FROM pg_temp.import_document WHERE day = $1 GROUP BY recordset_id, digest) v
             GROUP BY recordset_id HAVING count(*) > 1 ORDER BY recordset_id",
        )
        .bind(day)
        .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.context(&what)? {
            let versions: &str = row.try_get("versions").context(&what)?;
            let versions = serde_json::from_str(versions)
                .map_err(|error| Error::new(ErrorKind::Internal, &what).caused_by(error))?;
            take(&Conflict {
                day,
                recordset_id: row.try_get("recordset_id").context(&what)?,
                versions,
            });
        }
        Ok(())
    }

    /// Sums over the documents of a day that count, for some recordsets.
    pub(super) async fn sums_of(
        &mut self,
        day: Day,
        rule: Option<OnConflict>,
        recordsets: &[Uuid],
    ) -> Result<HashMap<Uuid, Sums>, Error> {
        let sql = format!(
            "WITH chosen AS ({})
             SELECT d.recordset_id, d.count, d.total FROM chosen JOIN pg_temp.import_document d USING (seq)
             WHERE d.recordset_id = ANY ($2)",
            chosen(rule)
        );
        let query = sqlx::query_as(AssertSqlSafe(sql))
            .bind(day)
            .bind(recordsets);
        let rows: Vec<(Uuid, i64, i64)> = query
            .fetch_all(&mut self.connection)
            .await
            .context(format!("adding up the documents of {day}"))?;
        let sums = |(id, count, total): (Uuid, i64, i64)| {
            (
                id,
                Sums {
                    count: count.into(),
                    total: total.into(),
                },
            )
        };
        Ok(rows.into_iter().map(sums).collect())
    }

    /// Passes the bodies of the documents of a day that count to `take`, in the order of recordsets, starting at one.
    pub(super) async fn bodies(
        &mut self,
        day: Day,
        rule: Option<OnConflict>,
        mut take: impl FnMut(Uuid, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let what = format!("reading the staged documents of {day}");
        let sql = format!(
            "WITH chosen AS ({})
             SELECT d.recordset_id, d.body FROM chosen JOIN pg_temp.import_document d USING (seq)
             WHERE NOT d.is_empty ORDER BY d.recordset_id",
            chosen(rule)
        );
        let mut rows = sqlx::query(AssertSqlSafe(sql))
            .bind(day)
            .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.context(&what)? {
            take(
                row.try_get("recordset_id").context(&what)?,
                row.try_get("body").context(&what)?,
            )?;
        }
        Ok(())
    }
}

/// The documents of a day that count: one for each recordset.
fn chosen(rule: Option<OnConflict>) -> String {
    let order = match rule {
        // Without a rule, a day with conflicting documents is refused.
        None | Some(OnConflict::First) => "seq",
        Some(OnConflict::Last) => "seq DESC",
        Some(OnConflict::Max) => "total DESC, count DESC, seq DESC",
    };
    format!(
        "SELECT DISTINCT ON (recordset_id) seq FROM pg_temp.import_document WHERE day = $1 ORDER BY recordset_id, {order}"
    )
}

/// Appends a text in the format of COPY. Replaces NUL, which Postgres cannot store.
fn append_escaped(row: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => row.push_str("\\\\"),
            '\t' => row.push_str("\\t"),
            '\n' => row.push_str("\\n"),
            '\r' => row.push_str("\\r"),
            '\0' => row.push(char::REPLACEMENT_CHARACTER),
            other => row.push(other),
        }
    }
}
