//! Batches: documents in the form in which a bulk request sends them.

use bytes::Bytes;

/// The size at which a batch is sent.
const USUAL_BYTES: usize = 6 << 20;

/// A document as the index should hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    pub id: &'a str,
    /// The last entry that it contains.
    pub version: i64,
    /// Its source, on one line.
    pub source: &'a [u8],
}

/// Documents as a bulk request sends them: an action line and a source each.
#[derive(Debug, Default)]
pub struct Batch {
    body: Vec<u8>,
    items: Vec<BatchItem>,
}

/// Where a document's action line, source and end are in the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchItem {
    action: usize,
    id_length: usize,
    source: usize,
    end: usize,
    pub(super) version: i64,
}

const BEFORE_ID: &[u8] = br#"{"index":{"_id":""#;

impl Batch {
    /// An empty batch that grows to its usual size without being moved. Its unused part takes no memory.
    pub(super) fn with_room() -> Self {
        Self {
            body: Vec::with_capacity(USUAL_BYTES + USUAL_BYTES / 8),
            items: Vec::new(),
        }
    }

    /// Appends a document. `write_source` appends its source, on one line.
    pub fn push(&mut self, id: &str, version: i64, write_source: impl FnOnce(&mut Vec<u8>)) {
        let source = self.push_action(id, version);
        write_source(&mut self.body);
        self.close(source);
    }

    /// The same, for a source that may fail: then nothing is appended.
    pub fn try_push<E>(
        &mut self,
        id: &str,
        version: i64,
        write_source: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let item = self.push_action(id, version);
        let made = write_source(&mut self.body);
        match made {
            Ok(()) => self.close(item),
            Err(_) => self.body.truncate(item.action),
        }
        made
    }

    /// The id is not escaped: the ids of daybook contain nothing that JSON would have to escape.
    fn push_action(&mut self, id: &str, version: i64) -> BatchItem {
        debug_assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')),
            "{id}"
        );
        let body = &mut self.body;
        let action = body.len();
        body.extend_from_slice(BEFORE_ID);
        body.extend_from_slice(id.as_bytes());
        body.extend_from_slice(br#"","version":"#);
        body.extend_from_slice(itoa::Buffer::new().format(version).as_bytes());
        body.extend_from_slice(b",\"version_type\":\"external_gte\"}}\n");
        BatchItem {
            action,
            id_length: id.len(),
            source: body.len(),
            end: body.len(),
            version,
        }
    }

    fn close(&mut self, item: BatchItem) {
        self.body.push(b'\n');
        self.items.push(BatchItem {
            end: self.body.len(),
            ..item
        });
    }

    /// Removes the last document.
    pub fn pop(&mut self) {
        if let Some(item) = self.items.pop() {
            self.body.truncate(item.action);
        }
    }

    /// The last document.
    pub fn last(&self) -> Option<Document<'_>> {
        self.items.last().map(|item| item.document(&self.body))
    }

    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Whether it should be sent; larger ones are not faster.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= USUAL_BYTES
    }

    /// The body of a bulk request, and where its documents are.
    pub(super) fn into_parts(self) -> (Bytes, Vec<BatchItem>) {
        (self.body.into(), self.items)
    }

    /// The documents, in the order in which they were appended.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = Document<'_>> {
        self.items.iter().map(|item| item.document(&self.body))
    }

    /// A batch of some of the documents in a body.
    pub(super) fn of<'i>(body: &[u8], items: impl IntoIterator<Item = &'i BatchItem>) -> Self {
        let mut batch = Self::default();
        for item in items {
            let action = batch.body.len();
            batch.body.extend_from_slice(&body[item.action..item.end]);
            let source = action + (item.source - item.action);
            batch.items.push(BatchItem {
                action,
                source,
                end: batch.body.len(),
                ..*item
            });
        }
        batch
    }
}

impl BatchItem {
    pub(super) fn document(self, body: &[u8]) -> Document<'_> {
        let id = self.action + BEFORE_ID.len();
        Document {
            id: str::from_utf8(&body[id..id + self.id_length]).expect("it was appended as a str"),
            version: self.version,
            source: &body[self.source..self.end - 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn part_of_a_batch_is_the_same_documents_again() {
        let mut batch = Batch::default();
        for n in 0..3 {
            batch.push(&format!("d{n}"), n, |out| put(out, n));
        }
        batch.pop();
        batch.push("d2", 2, |out| put(out, 2));
        let part = Batch::of(&batch.body, &batch.items[1..]);
        let text = str::from_utf8(&part.body).unwrap();
        let action = r#"{"index":{"_id":"d1","version":1,"version_type":"external_gte"}}"#;
        assert!(
            text.starts_with(&format!("{action}\n{{\"n\":1}}\n")) && text.ends_with("{\"n\":2}\n"),
            "{text}"
        );
        let source = |n: i64| format!("{{\"n\":{n}}}").into_bytes();
        let expected = [("d1", 1, source(1)), ("d2", 2, source(2))];
        let documents: Vec<_> = part
            .documents()
            .map(|document| (document.id, document.version, document.source.to_vec()))
            .collect();
        assert_eq!(documents, expected);
    }

    fn put(out: &mut Vec<u8>, n: i64) {
        write!(out, "{{\"n\":{n}}}").unwrap();
    }
}
