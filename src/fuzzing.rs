//! Inputs for fuzzing, in unit tests only: good inputs, damaged. `script/soak` runs the tests whose names contain `fuzz`
//! for as long as it is told.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::{Index, select};

/// Pieces that parsers are sensitive to.
const PIECES: [&[u8]; 20] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b",",
    b":",
    b"\n",
    b"\0",
    b"-1",
    b"1e400",
    b"1.0",
    b"null",
    b"\xff",
    b"\xc3\xa9",
    b"99999999999999999999",
    b"{\"a\":",
];

/// How an input is damaged.
#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Remove(Index),
    Flip(Index, u8),
    Insert(Index, &'static [u8]),
    /// A part stands there twice.
    Repeat(Index, Index),
}

/// One of some good inputs, damaged in a few places, or not at all.
pub fn damaged(seeds: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let damage = proptest::prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        any::<Index>().prop_map(Damage::Remove),
        any::<(Index, u8)>().prop_map(|(at, with)| Damage::Flip(at, with)),
        (any::<Index>(), select(&PIECES[..])).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        any::<(Index, Index)>().prop_map(|(from, to)| Damage::Repeat(from, to)),
    ];
    (select(seeds), vec(damage, 0..6)).prop_map(|(seed, damages)| {
        damages
            .into_iter()
            .fold(seed.to_vec(), |bytes, damage| damage.apply(bytes))
    })
}

impl Damage {
    fn apply(self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.is_empty() {
            return bytes;
        }
        let length = bytes.len();
        match self {
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Remove(at) => {
                bytes.remove(at.index(length));
            }
            Self::Flip(at, with) => bytes[at.index(length)] ^= with,
            Self::Insert(at, piece) => {
                let at = at.index(length);
                bytes.splice(at..at, piece.iter().copied());
            }
            Self::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(to..to, part);
            }
        }
        bytes
    }
}
