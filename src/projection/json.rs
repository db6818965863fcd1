//! Documents are written by hand, so that their bytes depend on nothing but what they say.

use std::fmt::Arguments;
use std::io::Write as _;

pub(super) fn put(out: &mut Vec<u8>, text: Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}

pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is written to memory");
}
