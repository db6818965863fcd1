//! Writes JSON by hand, so that the bytes of a document depend only on its content.
//!
//! A run writes many documents, so their fixed parts are appended without formatting.

use uuid::Uuid;

pub(super) use crate::ledger::map::put_string;

pub(super) fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends the name of a field, and `before` in front of it.
pub(super) fn put_name(out: &mut Vec<u8>, before: &str, name: &str) {
    put(out, before);
    put(out, "\"");
    put(out, name);
    put(out, "\":");
}

pub(super) fn put_number(out: &mut Vec<u8>, number: i64) {
    put(out, itoa::Buffer::new().format(number));
}

pub(super) fn put_uuid(out: &mut Vec<u8>, uuid: Uuid) {
    put(
        out,
        uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()),
    );
}
