//! A digest of documents in any order. It shows whether a new index holds what was sent to it, without looking up each
//! document.

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use twox_hash::XxHash3_128;

use super::progress::{Progress, SharedProgress};

use crate::elastic::Client;
use crate::elastic::batch::Document;
use crate::elastic::scroll::Scroll;
use crate::elastic::search::Hit;
use crate::error::{Error, ErrorKind};
use crate::projection::index::Index;

/// Bytes of the pages of documents that are read at the same time, usually and at most. While they are read, as many
/// again arrive.
const PAGE_BYTES: u64 = 8 << 20;
const LARGEST_PAGE_BYTES: u64 = 16 << 20;
/// The most documents that Elasticsearch returns at once by default.
const PAGE_DOCUMENTS: u64 = if cfg!(debug_assertions) { 16 } else { 10_000 };

/// The documents that were sent to an index.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentDigest {
    digest: Digest,
    bytes: u64,
    longest: u64,
}

/// The number of documents and the sum of their hashes (a multiset hash). The order does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digest {
    documents: u64,
    sum: u128,
}

impl Digest {
    fn add(&mut self, document: Document<'_>) {
        self.documents += 1;
        self.sum = self.sum.wrapping_add(hash(document));
    }

    /// Adds another's.
    fn add_all(&mut self, others: Self) {
        self.documents += others.documents;
        self.sum = self.sum.wrapping_add(others.sum);
    }
}

/// Faults are accidents, so that it need not resist who looks for documents with the same hash.
fn hash(
    Document {
        id,
        version,
        source,
    }: Document<'_>,
) -> u128 {
    let mut hash = XxHash3_128::new();
    hash.write(&(id.len() as u64).to_be_bytes());
    hash.write(id.as_bytes());
    hash.write(&version.to_be_bytes());
    hash.write(source);
    hash.finish_128()
}

/// Documents that were replaced when they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replaced {
    /// What this adds to the sum of the hashes.
    sum: u128,
}

impl Replaced {
    pub(super) fn note(&mut self, document: Document<'_>, sent: Document<'_>) {
        let changed = hash(sent).wrapping_sub(hash(document));
        self.sum = self.sum.wrapping_add(changed);
    }
}

impl SentDigest {
    pub(super) fn add(&mut self, document: Document<'_>) {
        let bytes = document.source.len() as u64;
        self.bytes += bytes;
        self.longest = self.longest.max(bytes);
        self.digest.add(document);
    }

    /// Adds what others have sent.
    pub(super) fn add_all(&mut self, others: Self) {
        self.bytes += others.bytes;
        self.longest = self.longest.max(others.longest);
        self.digest.add_all(others.digest);
    }

    /// Accounts for documents that were replaced when they were sent.
    pub(super) fn replace(&mut self, replaced: Replaced) {
        self.digest.sum = self.digest.sum.wrapping_add(replaced.sum);
    }

    /// Whether an index holds exactly these documents with these versions, byte for byte.
    ///
    /// The index must have been refreshed. `slices` are queries, each for other documents, and together for all of them:
    /// they are read side by side.
    pub(super) async fn are_in<P: Progress + Send + 'static>(
        &self,
        index: &Index,
        client: &Client,
        slices: Vec<Value>,
        progress: P,
    ) -> Result<bool, Error> {
        let stage = format!("comparing {}", index.physical);
        let progress = Arc::new(SharedProgress::begin(progress, &stage, None));
        let page = self.page(slices.len() as u64);
        let mut reading = JoinSet::new();
        for query in slices {
            let slice = Slice {
                client: client.clone(),
                physical: index.physical.clone(),
                query,
                page,
                enough: self.digest.documents,
                progress: Arc::clone(&progress),
            };
            reading.spawn(slice.digest());
        }
        let mut held = Digest::default();
        while let Some(slice) = reading.join_next().await {
            held.add_all(slice.map_err(aborted)??);
        }
        progress.end();
        Ok(held == self.digest)
    }

    /// How many slices can be read side by side, at most `most`: as many as pages of the longest document fit.
    pub(super) fn slices(&self, most: usize) -> usize {
        let fit = LARGEST_PAGE_BYTES / self.longest.max(1);
        usize::try_from(fit).map_or(most, |fit| fit.clamp(1, most.max(1)))
    }

    /// Documents per page of each slice: as many as usually fit, but no more than fit if all are as long as the longest.
    fn page(&self, slices: u64) -> usize {
        let slices = slices.max(1);
        let usual = PAGE_BYTES / slices * self.digest.documents / self.bytes.max(1);
        let documents = usual
            .min(LARGEST_PAGE_BYTES / slices / self.longest.max(1))
            .clamp(1, PAGE_DOCUMENTS);
        usize::try_from(documents).unwrap_or(1)
    }
}

/// The documents of an index that match a query.
struct Slice<P> {
    client: Client,
    physical: String,
    query: Value,
    /// Documents per page.
    page: usize,
    /// With more than these, the index differs anyway.
    enough: u64,
    progress: Arc<SharedProgress<P>>,
}

impl<P: Progress + Send + 'static> Slice<P> {
    async fn digest(self) -> Result<Digest, Error> {
        let Self {
            client,
            physical,
            query,
            page,
            enough,
            progress,
        } = self;
        let (mut scroll, mut page) =
            Scroll::begin(&client, &physical, page, json!(true), query).await?;
        let mut held = Digest::default();
        loop {
            // Fetch the next page while this one is read.
            let turning = tokio::spawn(async move {
                let next = scroll.next().await;
                (scroll, next)
            });
            let documents = page.documents::<&RawValue>()?;
            let read = documents.len() as u64;
            for Hit {
                id,
                version,
                source,
            } in documents
            {
                held.add(Document {
                    id: &id,
                    version,
                    source: source.get().as_bytes(),
                });
            }
            progress.add(read, 0);
            let (left, next) = turning.await.map_err(aborted)?;
            (scroll, page) = (left, next?);
            if read == 0 || held.documents > enough {
                break;
            }
        }
        scroll.end().await;
        Ok(held)
    }
}

fn aborted(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "a comparison was aborted").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(documents: &[(&str, i64, &str)]) -> Digest {
        let mut digest = Digest::default();
        for (id, version, source) in documents {
            digest.add(Document {
                id,
                version: *version,
                source: source.as_bytes(),
            });
        }
        digest
    }

    #[test]
    fn the_order_does_not_matter_and_everything_else_does() {
        let expected = digest(&[("a", 1, "{}"), ("b", 2, "{1}")]);
        assert_eq!(digest(&[("b", 2, "{1}"), ("a", 1, "{}")]), expected);
        for other in [
            &[("a", 1, "{}"), ("b", 2, "{2}")][..],
            &[("a", 1, "{}"), ("b", 3, "{1}")],
            &[("a", 1, "{}"), ("c", 2, "{1}")],
            &[("a", 2, "{}"), ("b", 1, "{1}")],
            &[("a", 1, "{1}"), ("b", 2, "{}")],
            &[("a", 1, "{}")],
            &[("a", 1, "{}"), ("b", 2, "{1}"), ("b", 2, "{1}")],
            &[],
        ] {
            assert_ne!(digest(other), expected, "{other:?}");
        }
    }

    #[test]
    fn what_was_sent_in_place_of_a_document_counts_instead_of_it() {
        let (whole, short) = ("{\"list\":[1]}", "{\"list\":[]}");
        let document = |source: &'static str| Document {
            id: "b",
            version: 2,
            source: source.as_bytes(),
        };
        let mut replaced = Replaced::default();
        replaced.note(document(whole), document(short));
        let mut sent = SentDigest {
            digest: digest(&[("a", 1, "{}"), ("b", 2, whole)]),
            ..SentDigest::default()
        };
        sent.replace(replaced);
        assert_eq!(sent.digest, digest(&[("a", 1, "{}"), ("b", 2, short)]));
    }

    fn sent(sizes: &[usize]) -> SentDigest {
        let mut sent = SentDigest::default();
        for size in sizes {
            sent.add(Document {
                id: "a",
                version: 1,
                source: &vec![b' '; *size],
            });
        }
        sent
    }

    #[test]
    fn large_documents_are_not_read_side_by_side() {
        let slices = |sizes: &[usize]| sent(sizes).slices(4);
        assert_eq!(slices(&[]), 4);
        assert_eq!(slices(&[100, 4 << 20]), 4);
        assert_eq!(slices(&[100, 5 << 20]), 3);
        assert_eq!(slices(&[9 << 20]), 1);
        assert_eq!(slices(&[17 << 20]), 1);
        assert_eq!(sent(&[100]).slices(0), 1);
    }

    #[test]
    fn a_page_fits_into_memory_whatever_the_documents() {
        let page = |sizes: &[usize], slices| sent(sizes).page(slices);
        assert_eq!(page(&[], 1), 1);
        assert_eq!(
            page(&[100; 10], 2),
            usize::try_from(PAGE_DOCUMENTS).unwrap()
        );
        assert_eq!(page(&[1 << 20; 10], 1), 8);
        assert_eq!(page(&[1 << 20; 10], 2), 4);
        assert_eq!(page(&[vec![8 << 20], vec![100; 10_000]].concat(), 1), 2);
        assert_eq!(page(&[vec![8 << 20], vec![100; 10_000]].concat(), 4), 1);
    }
}
