//! The hash of an entry's rejected events, the same that `daybook.rejected_hash_of` computes.

use sha2::{Digest as _, Sha256};

use crate::hash::Hash;

/// Adds an event to the hash of its entry. Events must be added in the order of their ids.
pub fn add(of_entry: &mut Sha256, source_id: i64, reason: &str, message: &str, event: &str) {
    let (message, event) = (Hash::sha256(message), Hash::sha256(event));
    of_entry.update(Hash::sha256(format!(
        "{source_id}\n{reason}\n{message}\n{event}"
    )));
}
