//! The memory limit, and the shares of it.

use std::str::FromStr;

/// The memory limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(usize);

impl Memory {
    /// The default, as it is written.
    pub const DEFAULT: &str = "512M";

    const MIB: usize = 1 << 20;
    /// Memory that the program needs besides counting: code, connections, buffered rows.
    const FOR_THE_REST: usize = 96 * Self::MIB;
    const LEAST: usize = 128 * Self::MIB;

    /// The limit, in bytes.
    pub fn bytes(self) -> u64 {
        self.0 as u64
    }

    /// The share for counting, in bytes. Lists that grow by doubling leave holes of two thirds of their size.
    pub fn for_counting(self) -> usize {
        counting_bytes_of_a_test().unwrap_or((self.0 - Self::FOR_THE_REST) / 5 * 3)
    }

    /// The maximum size of a line with an event, in bytes. Its columns are copied if they contain escapes.
    pub fn for_a_line(self) -> usize {
        self.0 / 4
    }

    /// The maximum size of a response with documents, in bytes. While one is processed, the next one arrives.
    pub fn for_an_answer(self) -> usize {
        self.0 / 4
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'M' | b'm') => (&text[..text.len() - 1], Self::MIB),
            Some(b'G' | b'g') => (&text[..text.len() - 1], 1024 * Self::MIB),
            _ => (text, 1),
        };
        let bytes = digits
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_mul(unit));
        let bytes =
            bytes.ok_or_else(|| format!("'{text}' is not a memory size: give it as 512M or 2G"))?;
        if bytes < Self::LEAST {
            return Err(format!(
                "'{text}' is too little memory: the minimum is {}M",
                Self::LEAST / Self::MIB
            ));
        }
        Ok(Self(bytes))
    }
}

/// What a test says by `DAYBOOK_COUNTING_BYTES`, so that a small day exceeds the memory.
#[cfg(debug_assertions)]
fn counting_bytes_of_a_test() -> Option<usize> {
    std::env::var("DAYBOOK_COUNTING_BYTES").ok()?.parse().ok()
}

/// No test says anything to a release.
#[cfg(not(debug_assertions))]
#[inline(always)]
fn counting_bytes_of_a_test() -> Option<usize> {
    None
}
