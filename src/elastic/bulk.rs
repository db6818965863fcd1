//! Bulk writing: sends batches of documents, several at a time, and accounts for each document.
//!
//! Every write is absolute and carries its version, so sending a document twice changes nothing, for example after a
//! time-out. Only documents that were not accepted are sent again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;

use super::answer::Answer;
use super::batch::{Batch, BatchItem, Document};
use super::client::Client;
use super::look_up::multi_get;
use super::outcome::{BulkAnswer, Cause, FILTER, Outcome};
use super::remedy::Remedy;
use crate::error::{Error, ErrorKind};
use crate::failpoint;
use elasticsearch::http::Method;

const BATCHES_IN_FLIGHT: usize = 3;

const WRITTEN_BY_OTHERS: &str =
    "somebody else is writing to the index: stop them, then run `daybook project`";

/// Attempts to send a batch, and the waits between them: they double from the first to the longest, with jitter.
const ATTEMPTS: u32 = 9;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A cluster that cannot be reached is given up sooner than one that is busy.
const ATTEMPTS_WITHOUT_ANSWER: u32 = 4;

/// What a writer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// Documents that are now correct in the index.
    pub documents: u64,
    /// Of these, documents that the index already held in a newer version.
    pub already_newer: u64,
    /// Of these, documents that somebody else had changed, overwritten.
    pub overwritten: u64,
    /// Of these, documents that were too large and were written without their lists.
    pub lists_omitted: u64,
    /// The size of the smallest of those with its lists, in bytes.
    #[serde(skip)]
    pub lists_omitted_from: Option<u64>,
    /// Bytes sent.
    pub bytes: u64,
    /// Requests that were repeated.
    pub retries: u64,
}

impl Written {
    fn add(&mut self, other: Self) {
        self.documents += other.documents;
        self.already_newer += other.already_newer;
        self.overwritten += other.overwritten;
        self.lists_omitted += other.lists_omitted;
        self.lists_omitted_from = self
            .lists_omitted_from
            .into_iter()
            .chain(other.lists_omitted_from)
            .min();
        self.bytes += other.bytes;
        self.retries += other.retries;
    }
}

/// Shortens documents that are too large for Elasticsearch.
pub trait Shorten: fmt::Debug + Send + Sync {
    /// The source to write instead; `None` if the document cannot be shortened.
    fn shorten(&self, document: Document<'_>) -> Option<Vec<u8>>;
}

/// Writes documents to one index.
#[derive(Debug)]
pub struct BulkWriter {
    target: Target,
    most_in_flight: usize,
    batch: Batch,
    in_flight: JoinSet<Result<Written, Error>>,
    written: Written,
}

/// Where a batch goes.
#[derive(Clone, Debug)]
struct Target {
    client: Client,
    name: String,
    /// Whether the name must be that of an alias: Elasticsearch would create an index for a name that it does not know.
    require_alias: bool,
    shorten: Option<Arc<dyn Shorten>>,
}

impl BulkWriter {
    /// A writer to the index behind an alias.
    pub fn to_alias(client: &Client, alias: &str) -> Self {
        let target = Target {
            client: client.clone(),
            name: alias.to_owned(),
            require_alias: true,
            shorten: None,
        };
        Self::new(target, BATCHES_IN_FLIGHT)
    }

    /// A writer to an existing index by its own name, with at most `most_in_flight` concurrent requests.
    pub fn to_index(client: &Client, index: &str, most_in_flight: usize) -> Self {
        let target = Target {
            client: client.clone(),
            name: index.to_owned(),
            require_alias: false,
            shorten: None,
        };
        Self::new(target, most_in_flight.max(1))
    }

    fn new(target: Target, most_in_flight: usize) -> Self {
        Self {
            target,
            most_in_flight,
            batch: Batch::with_room(),
            in_flight: JoinSet::new(),
            written: Written::default(),
        }
    }

    /// The same writer, which shortens documents that are too large.
    pub fn shortening(mut self, shorten: Option<Arc<dyn Shorten>>) -> Self {
        self.target.shorten = shorten;
        self
    }

    /// The batch that is being filled: documents are written directly into it.
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Sends the batch if it is full. Waits while enough batches are in flight.
    pub async fn send_if_full(&mut self) -> Result<(), Error> {
        if self.batch.is_full() {
            self.send_off().await
        } else {
            Ok(())
        }
    }

    /// Waits until every document so far is in the index.
    pub async fn flush(&mut self) -> Result<Written, Error> {
        if self.batch.documents().len() > 0 {
            self.send_off().await?;
        }
        while !self.in_flight.is_empty() {
            self.join_one().await?;
        }
        Ok(self.written)
    }

    async fn send_off(&mut self) -> Result<(), Error> {
        while self.in_flight.len() >= self.most_in_flight {
            self.join_one().await?;
        }
        let batch = std::mem::replace(&mut self.batch, Batch::with_room());
        let target = self.target.clone();
        self.in_flight
            .spawn(async move { target.deliver(batch).await });
        Ok(())
    }

    async fn join_one(&mut self) -> Result<(), Error> {
        match self.in_flight.join_next().await {
            Some(Ok(written)) => self.written.add(written?),
            Some(Err(error)) => {
                return Err(
                    Error::new(ErrorKind::Internal, "a bulk request was aborted").caused_by(error),
                );
            }
            None => {}
        }
        Ok(())
    }
}

/// What remains to be done after a request.
#[derive(Default)]
struct Remainder {
    written: u64,
    conflicts: Vec<BatchItem>,
    again: Vec<BatchItem>,
    last_cause: String,
}

impl Target {
    /// Delivers all documents of a batch, or fails.
    async fn deliver(&self, batch: Batch) -> Result<Written, Error> {
        let mut total = Written::default();
        // The parts of batches that were too large.
        let mut waiting = vec![batch];
        while let Some(batch) = waiting.pop() {
            waiting.extend(self.deliver_or_split(batch, &mut total).await?);
        }
        Ok(total)
    }

    /// Delivers a batch. Returns smaller ones instead if Elasticsearch finds it too large.
    async fn deliver_or_split(
        &self,
        batch: Batch,
        total: &mut Written,
    ) -> Result<Vec<Batch>, Error> {
        let (mut body, mut items) = batch.into_parts();
        let what = format!("writing {} documents to {}", items.len(), self.name);
        let mut attempt = 1;
        loop {
            total.bytes += body.len() as u64;
            failpoint::reach("bulk.before_request");
            let path = self.bulk_path();
            let cause = match self.client.send_lines(&path, body.clone()).await {
                Ok(answer) if answer.says_too_large() => return self.split(&body, &items, total),
                Ok(answer) if matches!(answer.status, 429 | 502 | 503 | 504) => answer.error(&what),
                Ok(answer) if !answer.is_success() => return Err(answer.error(&what)),
                Ok(answer) => {
                    failpoint::reach("bulk.answered");
                    let remainder = self.sort_out(&answer, &body, items, &what)?;
                    total.documents += remainder.written;
                    self.resolve_conflicts(&body, &remainder.conflicts, total)
                        .await?;
                    if remainder.again.is_empty() {
                        return Ok(Vec::new());
                    }
                    (body, items) = Batch::of(&body, &remainder.again).into_parts();
                    Error::new(
                        ErrorKind::ElasticsearchBusy,
                        format!("{what}: {}", remainder.last_cause),
                    )
                    .hint("Elasticsearch is overloaded: run `daybook project` later to catch up")
                }
                Err(no_answer) if attempt < ATTEMPTS_WITHOUT_ANSWER && no_answer.is_brief() => {
                    no_answer.during(&what)
                }
                Err(no_answer) => return Err(no_answer.during(&what)),
            };
            if attempt == ATTEMPTS {
                return Err(cause);
            }
            tracing::debug!(
                attempt,
                documents = items.len(),
                cause = cause.message(),
                "repeating a bulk request"
            );
            tokio::time::sleep(wait_after(attempt)).await;
            total.retries += 1;
            attempt += 1;
        }
    }

    fn bulk_path(&self) -> String {
        format!(
            "/{}/_bulk?require_alias={}&filter_path={FILTER}",
            self.name, self.require_alias
        )
    }

    /// The halves of a batch, the first one last; for a single document, a shortened one.
    fn split(
        &self,
        body: &Bytes,
        items: &[BatchItem],
        total: &mut Written,
    ) -> Result<Vec<Batch>, Error> {
        let [only] = items else {
            let (first, second) = items.split_at(items.len() / 2);
            return Ok(vec![Batch::of(body, second), Batch::of(body, first)]);
        };
        let document @ Document {
            id,
            version,
            source,
        } = only.document(body);
        let bytes = source.len();
        let shortened = self
            .shorten
            .as_ref()
            .and_then(|shorten| shorten.shorten(document));
        let Some(shortened) = shortened.filter(|shortened| shortened.len() < bytes) else {
            return Err(Error::new(ErrorKind::DocumentTooLarge, format!(
                "document {id} of {} has {bytes} bytes, which is more than Elasticsearch takes in one request",
                self.name
            ))
            .hint("raise http.max_content_length in elasticsearch.yml, and the limit of any proxy in front of it"));
        };
        tracing::warn!(
            document = id,
            index = self.name,
            bytes,
            "too large for Elasticsearch: written without its lists"
        );
        total.add(Written {
            lists_omitted: 1,
            lists_omitted_from: Some(bytes as u64),
            ..Written::default()
        });
        let mut batch = Batch::default();
        batch.push(id, version, |out| out.extend_from_slice(&shortened));
        Ok(vec![batch])
    }

    fn sort_out(
        &self,
        answer: &Answer,
        body: &[u8],
        items: Vec<BatchItem>,
        what: &str,
    ) -> Result<Remainder, Error> {
        let outcomes = answer.read::<BulkAnswer>(what)?.outcomes();
        if outcomes.len() != items.len() {
            return Err(Error::new(
                ErrorKind::ElasticsearchRefused,
                format!("{what}: the answer is about {} documents", outcomes.len()),
            ));
        }
        let mut remainder = Remainder::default();
        for (item, outcome) in items.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Written => remainder.written += 1,
                Outcome::Conflict => remainder.conflicts.push(item),
                Outcome::Retry(cause) => {
                    remainder.last_cause = cause.to_string();
                    remainder.again.push(item);
                }
                Outcome::Blocked(status, cause) => return Err(self.blocked(status, &cause, what)),
                Outcome::Refused(cause) => {
                    let id = item.document(body).id;
                    return Err(Error::new(
                        ErrorKind::DocumentRefused,
                        format!("document {id} was refused by {}: {cause}", self.name),
                    )
                    .hint("if somebody changed the index, `daybook rebuild` replaces it"));
                }
            }
        }
        Ok(remainder)
    }

    fn blocked(&self, status: u16, cause: &Cause, what: &str) -> Error {
        Remedy::of_block(status).error(format!("{what}: {cause}"), self.client.wording())
    }

    /// A conflict counts as "already newer" only if the stored document is as of this entry or a later one. A document
    /// that was edited by hand has a higher version and older content: it is overwritten at its own version.
    async fn resolve_conflicts(
        &self,
        body: &Bytes,
        conflicts: &[BatchItem],
        total: &mut Written,
    ) -> Result<(), Error> {
        if conflicts.is_empty() {
            return Ok(());
        }
        let what = format!(
            "checking {} documents of {} that have a higher version",
            conflicts.len(),
            self.name
        );
        let ids: Vec<&str> = conflicts
            .iter()
            .map(|item| item.document(body).id)
            .collect();
        let looked_up = multi_get(
            &self.client,
            &self.name,
            &ids,
            "_source_includes=entry_id",
            what,
        )
        .await?;
        for (item, stored) in conflicts.iter().zip(looked_up.documents::<Value>()?) {
            let as_of = stored
                .source
                .and_then(|source| source.get("entry_id").and_then(Value::as_i64));
            if stored.found && as_of.is_some_and(|entry_id| entry_id >= item.version) {
                total.already_newer += 1;
            } else {
                let version = stored.found.then_some(stored.version);
                self.repair(body, item, version).await?;
                total.overwritten += 1;
            }
            total.documents += 1;
        }
        Ok(())
    }

    /// Overwrites a document at the version that it is stored with.
    ///
    /// A conflicting document that is not stored was deleted by somebody. The index forgets a deletion at a refresh
    /// (`gc_deletes`), and then accepts the document at its proper version. But it tells the age of a deletion by a clock
    /// that advances only every 200 ms, so a deletion of just now may outlive a refresh.
    async fn repair(
        &self,
        body: &Bytes,
        item: &BatchItem,
        stored: Option<i64>,
    ) -> Result<(), Error> {
        const REFRESHES: u32 = 10;
        const BETWEEN: Duration = Duration::from_millis(100);
        let id = item.document(body).id;
        let what = format!("repairing document {id} of {}", self.name);
        let version = stored.unwrap_or(item.version);
        tracing::warn!(
            document = id,
            index = self.name,
            version,
            "somebody else changed a document: overwritten"
        );
        let attempts = if stored.is_some() { 1 } else { REFRESHES };
        for attempt in 1..=attempts {
            if attempt > 1 {
                tokio::time::sleep(BETWEEN).await;
            }
            if stored.is_none() {
                self.forget_deletions().await?;
            }
            if self.overwrite(body, item, version, &what).await? {
                return Ok(());
            }
        }
        Err(Error::new(
            ErrorKind::IndexEdited,
            format!("{what} failed: the index holds a higher version"),
        )
        .hint(WRITTEN_BY_OTHERS))
    }

    async fn forget_deletions(&self) -> Result<(), Error> {
        let what = format!("refreshing {} after somebody deleted a document", self.name);
        let path = format!("/{}/_refresh", self.name);
        let refreshing = self.client.request(Method::Post, &path, None, &what);
        refreshing.await.map(drop)
    }

    /// Writes a document at a version. Returns whether the index took it, or holds a higher version.
    async fn overwrite(
        &self,
        body: &Bytes,
        item: &BatchItem,
        version: i64,
        what: &str,
    ) -> Result<bool, Error> {
        let Document { id, source, .. } = item.document(body);
        let mut batch = Batch::default();
        batch.push(id, version, |out| out.extend_from_slice(source));
        let path = self.bulk_path();
        let sending = self.client.send_lines(&path, batch.into_parts().0);
        let answer = sending.await.map_err(|error| error.during(what))?;
        if !answer.is_success() {
            return Err(answer.error(what));
        }
        match answer.read::<BulkAnswer>(what)?.outcomes().next() {
            Some(Outcome::Written) => Ok(true),
            Some(Outcome::Conflict) => Ok(false),
            Some(Outcome::Retry(cause)) => Err(Error::new(
                ErrorKind::ElasticsearchBusy,
                format!("{what}: {cause}"),
            )
            .hint("Elasticsearch is overloaded: run `daybook project` later to catch up")),
            Some(Outcome::Blocked(status, cause)) => Err(self.blocked(status, &cause, what)),
            outcome => Err(Error::new(
                ErrorKind::IndexEdited,
                format!("{what} failed: {outcome:?}"),
            )
            .hint(WRITTEN_BY_OTHERS)),
        }
    }
}

/// Doubles with each attempt, up to the longest wait. A random part of at least half is used, so that writers do not
/// retry in step.
fn wait_after(attempt: u32) -> Duration {
    let whole = FIRST_WAIT
        .saturating_mul(1 << attempt.min(16))
        .min(LONGEST_WAIT);
    whole.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        for attempt in 1..100 {
            assert!(wait_after(attempt) <= LONGEST_WAIT);
        }
        assert!(wait_after(6) > wait_after(1));
    }
}
