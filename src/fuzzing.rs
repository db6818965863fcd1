//! Fuzzing of what reads other programs' bytes, in unit tests only. The folder `tests/corpus/FORMAT` has inputs of each
//! format: good ones, and those that once were a problem. `script/soak` runs the tests whose names contain `fuzz` for as
//! long as it is told.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

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

/// Checks that something holds for each input of a format's corpus, and for these inputs damaged in a few places.
#[track_caller]
pub fn check(format: &str, holds: impl Fn(&[u8]) -> Result<(), TestCaseError>) {
    let corpus = corpus(format);
    for input in &corpus {
        run(1, format, Just(input.clone()), &holds);
    }
    run(Config::default().cases, format, damaged(corpus), &holds);
}

/// Checks a number of inputs. A panic is a failure, too.
#[track_caller]
fn run(
    cases: u32,
    format: &str,
    inputs: impl Strategy<Value = Vec<u8>>,
    holds: impl Fn(&[u8]) -> Result<(), TestCaseError>,
) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    match TestRunner::new(config).run(&inputs, |input| holds(&input)) {
        Ok(()) => {}
        Err(TestError::Fail(why, input)) => panic!(
            "{why}\nfor this input, which belongs into tests/corpus/{format} once that is mended: b\"{}\"",
            input.escape_ascii()
        ),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// The inputs of a format.
pub fn corpus(format: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(format);
    let files =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// One of some inputs, damaged in a few places, or not at all.
fn damaged(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = proptest::prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        any::<Index>().prop_map(Damage::Remove),
        any::<(Index, u8)>().prop_map(|(at, with)| Damage::Flip(at, with)),
        (any::<Index>(), select(&PIECES[..])).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        any::<(Index, Index)>().prop_map(|(from, to)| Damage::Repeat(from, to)),
    ];
    (select(inputs), vec(damage, 0..6)).prop_map(|(input, damages)| {
        damages
            .into_iter()
            .fold(input, |bytes, damage| damage.apply(bytes))
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
