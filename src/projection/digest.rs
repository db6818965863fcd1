//! A digest of documents in any order. It shows whether a new index holds what was sent to it, without looking up each
//! document.

use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::elastic::Client;
use crate::elastic::batch::Document;
use crate::elastic::scroll::Scroll;
use crate::elastic::search::Hit;
use crate::error::{Error, ErrorKind};
use crate::projection::index::Index;

/// Bytes of a page of documents, usually and at most. Two pages are in memory at once.
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
    sum: [u64; 4],
}

impl Digest {
    fn add(&mut self, document: Document<'_>) {
        self.documents += 1;
        self.add_to_sum(hash(document));
    }

    fn add_to_sum(&mut self, parts: [u64; 4]) {
        for (sum, part) in self.sum.iter_mut().zip(parts) {
            *sum = sum.wrapping_add(part);
        }
    }
}

fn hash(
    Document {
        id,
        version,
        source,
    }: Document<'_>,
) -> [u64; 4] {
    let mut hash = Sha256::new();
    hash.update((id.len() as u64).to_be_bytes());
    hash.update(id);
    hash.update(version.to_be_bytes());
    hash.update(source);
    let mut parts = [0; 4];
    for (part, bytes) in parts.iter_mut().zip(hash.finalize().chunks_exact(8)) {
        *part = bytes
            .iter()
            .fold(0, |part, byte| part << 8 | u64::from(*byte));
    }
    parts
}

/// Documents that were replaced when they were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replaced {
    /// What this adds to the sum of the hashes.
    sum: [u64; 4],
}

impl Replaced {
    pub(super) fn note(&mut self, document: Document<'_>, sent: Document<'_>) {
        let parts = hash(sent).into_iter().zip(hash(document));
        for (sum, (sent, document)) in self.sum.iter_mut().zip(parts) {
            *sum = sum.wrapping_add(sent).wrapping_sub(document);
        }
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
        self.digest.documents += others.digest.documents;
        self.digest.add_to_sum(others.digest.sum);
    }

    /// Accounts for documents that were replaced when they were sent.
    pub(super) fn replace(&mut self, replaced: Replaced) {
        self.digest.add_to_sum(replaced.sum);
    }

    /// Whether an index holds exactly these documents with these versions, byte for byte.
    ///
    /// The index must have been refreshed. `at` receives the number of documents read so far.
    pub(super) async fn are_in(
        &self,
        index: &Index,
        client: &Client,
        mut at: impl FnMut(u64),
    ) -> Result<bool, Error> {
        let (mut scroll, mut page) =
            Scroll::begin(client, &index.physical, self.page(), json!(true)).await?;
        let mut held = Digest::default();
        loop {
            // Fetch the next page while this one is read.
            let turning = tokio::spawn(async move {
                let next = scroll.next().await;
                (scroll, next)
            });
            let documents = page.documents::<&RawValue>()?;
            let is_last = documents.is_empty();
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
            at(held.documents);
            let turned = turning.await.map_err(|error| {
                Error::new(ErrorKind::Internal, "a comparison was aborted").caused_by(error)
            });
            let (left, next) = turned?;
            (scroll, page) = (left, next?);
            if is_last || held.documents > self.digest.documents {
                break;
            }
        }
        scroll.end().await;
        Ok(held == self.digest)
    }

    /// Documents per page: as many as usually fit, but no more than fit if all are as long as the longest.
    fn page(&self) -> usize {
        let usual = PAGE_BYTES * self.digest.documents / self.bytes.max(1);
        let documents = usual
            .min(LARGEST_PAGE_BYTES / self.longest.max(1))
            .clamp(1, PAGE_DOCUMENTS);
        usize::try_from(documents).unwrap_or(1)
    }
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

    #[test]
    fn a_page_fits_into_memory_whatever_the_documents() {
        let page = |sizes: &[usize]| {
            let mut sent = SentDigest::default();
            for size in sizes {
                sent.add(Document {
                    id: "a",
                    version: 1,
                    source: &vec![b' '; *size],
                });
            }
            sent.page()
        };
        assert_eq!(page(&[]), 1);
        assert_eq!(page(&[100; 10]), usize::try_from(PAGE_DOCUMENTS).unwrap());
        assert_eq!(page(&[1 << 20; 10]), 8);
        assert_eq!(page(&[vec![8 << 20], vec![100; 10_000]].concat()), 2);
    }
}
