//! The characters in the source's text.
//!
//! Postgres converts what it sends to UTF-8, and a single character without a counterpart in UTF-8 fails the whole
//! statement. So a source in another encoding sends its raw bytes. They are converted here, character by character; the
//! server is asked once for each character that occurs. A source in SQL_ASCII does not know its encoding: its bytes are
//! taken for UTF-8.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::postgres::{Connection, Context as _, Database};

/// The server's names of two encodings.
const UTF8: &str = "UTF8";
const SQL_ASCII: &str = "SQL_ASCII";

/// How to read the bytes of text.
#[derive(Clone, Debug)]
pub(super) enum Characters {
    /// UTF-8, or assumed to be.
    Utf8,
    /// In another encoding of the server.
    Other(Arc<Encoding>),
}

/// An encoding other than UTF-8. In each of them, a byte below 128 is the ASCII character.
#[derive(Clone, Debug)]
pub(super) struct Encoding {
    name: String,
    /// The non-ASCII characters that have occurred, in UTF-8; none where UTF-8 has no counterpart.
    known: HashMap<Vec<u8>, Option<String>>,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// Bytes that are not a character, or one that UTF-8 does not have.
    Bytes(&'a [u8]),
}

impl Characters {
    /// Decodes bytes to text, or returns the index of the first byte that is not text.
    pub(super) fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, str>, usize> {
        match self {
            Self::Other(_) if !bytes.is_ascii() => self.convert(bytes).map(Cow::Owned),
            _ => str::from_utf8(bytes)
                .map(Cow::Borrowed)
                .map_err(|error| error.valid_up_to()),
        }
    }

    fn convert(&self, bytes: &[u8]) -> Result<String, usize> {
        let mut text = String::with_capacity(bytes.len() * 2);
        let mut pieces = self.pieces(bytes);
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Bytes(piece) => return Err(bytes.len() - pieces.rest.len() - piece.len()),
            }
        }
        Ok(text)
    }

    /// Splits bytes into characters and bytes that are not text.
    pub(super) fn pieces<'a>(&'a self, bytes: &'a [u8]) -> Pieces<'a> {
        Pieces {
            characters: self,
            rest: bytes,
        }
    }

    /// What is wrong with bytes that are not text, for a message.
    pub(super) fn complaint(&self) -> String {
        match self {
            Self::Utf8 => "is not UTF-8".to_owned(),
            Self::Other(encoding) => format!("cannot be converted from {} to UTF-8", encoding.name),
        }
    }
}

/// Iterator over the parts of a text.
#[derive(Clone, Debug)]
pub(super) struct Pieces<'a> {
    characters: &'a Characters,
    rest: &'a [u8],
}

impl Pieces<'_> {
    /// The number of bytes left.
    pub(super) fn length(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let (piece, length) = match self.characters {
            Characters::Utf8 => {
                let chunk = self.rest.utf8_chunks().next()?;
                if chunk.valid().is_empty() {
                    (Piece::Bytes(chunk.invalid()), chunk.invalid().len())
                } else {
                    (Piece::Text(chunk.valid()), chunk.valid().len())
                }
            }
            Characters::Other(encoding) => encoding.first_piece(self.rest)?,
        };
        self.rest = &self.rest[length..];
        Some(piece)
    }
}

impl Encoding {
    fn new(name: String) -> Self {
        Self {
            name,
            known: HashMap::new(),
        }
    }

    /// The first part of `bytes`, and its length.
    fn first_piece<'a>(&'a self, bytes: &'a [u8]) -> Option<(Piece<'a>, usize)> {
        let end = bytes
            .iter()
            .position(|byte| !byte.is_ascii())
            .unwrap_or(bytes.len());
        let (character, text) = match str::from_utf8(&bytes[..end]) {
            Ok("") | Err(_) => {
                let character = self.first_character(bytes)?;
                (
                    character,
                    self.known.get(character).and_then(Option::as_deref),
                )
            }
            ascii => (&bytes[..end], ascii.ok()),
        };
        Some((
            text.map_or(Piece::Bytes(character), Piece::Text),
            character.len(),
        ))
    }

    /// The first character of `bytes`.
    fn first_character<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        // The bytes that shift to another character set in Extended Unix Code.
        const SHIFT_2: u8 = 0x8e;
        const SHIFT_3: u8 = 0x8f;
        let length = match (self.name.as_str(), *bytes.first()?) {
            (name, 0x80..) if name.starts_with("EUC_") => match (name, bytes[0]) {
                ("EUC_TW", SHIFT_2) => 4,
                ("EUC_CN", _) => 2,
                (_, SHIFT_3) => 3,
                _ => 2,
            },
            _ => 1,
        };
        Some(&bytes[..length.min(bytes.len())])
    }

    /// The characters of a text that have not occurred before.
    fn unknown_in<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = &'t [u8]> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let skipped = rest.iter().position(|byte| !byte.is_ascii())?;
            let character = self.first_character(&rest[skipped..])?;
            rest = &rest[skipped + character.len()..];
            Some(character)
        })
        .filter(|character| !self.known.contains_key(*character))
    }
}

/// Finds out how to convert the source's characters.
#[derive(Debug)]
pub(super) struct Converter {
    /// The server's name for the encoding of the database.
    encoding: String,
    characters: Characters,
    /// The connection for asking the server while rows arrive over another one; none if it is not needed.
    connection: Option<Connection>,
}

impl Converter {
    /// For the database that the connection leads to.
    pub(super) async fn of(
        connection: &mut Connection,
        database: &Database,
    ) -> Result<Self, Error> {
        let encoding = sqlx::query_scalar("SELECT getdatabaseencoding()::text")
            .fetch_one(connection)
            .await;
        let encoding: String =
            encoding.context("asking for the encoding of the source's database")?;
        if matches!(encoding.as_str(), UTF8 | SQL_ASCII) {
            return Ok(Self {
                encoding,
                characters: Characters::Utf8,
                connection: None,
            });
        }
        let connection = Some(database.connect("daybook source characters").await?);
        let characters = Characters::Other(Arc::new(Encoding::new(encoding.clone())));
        Ok(Self {
            encoding,
            characters,
            connection,
        })
    }

    /// SQL for the bytes of a text as stored.
    pub(super) fn unconverted(&self, text: &str) -> String {
        match self.encoding.as_str() {
            UTF8 => text.to_owned(),
            // This converts to the encoding that the text already has: the server copies it unchanged.
            encoding => format!("convert_to({text}, '{encoding}')"),
        }
    }

    /// Whether texts must be passed to [`learn`](Self::learn) before they can be read.
    pub(super) fn must_learn(&self) -> bool {
        self.connection.is_some()
    }

    /// How to read the texts that were learned.
    pub(super) fn characters(&self) -> &Characters {
        &self.characters
    }

    /// Asks the server for the characters of these texts.
    pub(super) async fn learn<'t>(
        &mut self,
        texts: impl Iterator<Item = &'t [u8]>,
    ) -> Result<(), Error> {
        let (Characters::Other(encoding), Some(connection)) =
            (&mut self.characters, &mut self.connection)
        else {
            return Ok(());
        };
        let unknown: BTreeSet<&[u8]> = texts.flat_map(|text| encoding.unknown_in(text)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let Encoding { name, known } = Arc::make_mut(encoding);
        let mut groups = vec![Vec::from_iter(unknown)];
        while let Some(group) = groups.pop() {
            match (ask(connection, name, &group).await?, &group[..]) {
                (Some(texts), _) => {
                    known.extend(
                        group
                            .iter()
                            .map(|character| character.to_vec())
                            .zip(texts.into_iter().map(Some)),
                    );
                }
                (None, [character]) => drop(known.insert(character.to_vec(), None)),
                // At least one of them cannot be converted.
                (None, several) => {
                    let (first, second) = several.split_at(several.len() / 2);
                    groups.extend([first.to_vec(), second.to_vec()]);
                }
            }
        }
        Ok(())
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            connection.close().await;
        }
    }
}

/// The characters in UTF-8, as the server converts them; none if it fails for one of them.
async fn ask(
    connection: &mut Connection,
    encoding: &str,
    characters: &[&[u8]],
) -> Result<Option<Vec<String>>, Error> {
    const UNTRANSLATABLE: &str = "22P05";
    const NOT_IN_REPERTOIRE: &str = "22021";
    let what = format!("converting characters of the source from {encoding}");
    let sql = "SELECT convert_from(c.bytes, $2::name) FROM unnest($1::bytea[]) WITH ORDINALITY AS c (bytes, place)
               ORDER BY c.place";
    let asked = sqlx::query_scalar(sql)
        .bind(characters)
        .bind(encoding)
        .fetch_all(connection)
        .await;
    match asked {
        Ok(texts) if texts.len() == characters.len() => Ok(Some(texts)),
        Ok(texts) => Err(Error::new(
            ErrorKind::PostgresRefused,
            format!(
                "{what}: the server returned {} of {}",
                texts.len(),
                characters.len()
            ),
        )),
        Err(error) => {
            let code = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code);
            match code.as_deref() {
                Some(UNTRANSLATABLE | NOT_IN_REPERTOIRE) => Ok(None),
                _ => Err(error).context(what),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn characters(name: &str, known: &[(&[u8], Option<&str>)]) -> Characters {
        let known = known
            .iter()
            .map(|(bytes, text)| (bytes.to_vec(), text.map(str::to_owned)))
            .collect();
        Characters::Other(Arc::new(Encoding {
            name: name.to_owned(),
            known,
        }))
    }

    #[test]
    fn texts_are_converted_character_by_character_and_the_first_bad_byte_is_told() {
        let latin = characters(
            "WIN1252",
            &[(b"\xe9", Some("é")), (b"\x80", Some("€")), (b"\x81", None)],
        );
        assert_eq!(latin.decode(b"plain").unwrap(), "plain");
        assert_eq!(latin.decode(b"caf\xe9 5\x80").unwrap(), "café 5€");
        // Bytes that would be valid UTF-8 are still read in the source's encoding.
        assert_eq!(latin.decode(b"caf\xe9\x81").unwrap_err(), 4);
        let pieces: Vec<Piece<'_>> = latin.pieces(b"a\xe9\x81b").collect();
        assert_eq!(
            pieces,
            [
                Piece::Text("a"),
                Piece::Text("é"),
                Piece::Bytes(b"\x81"),
                Piece::Text("b")
            ]
        );
        assert_eq!(Characters::Utf8.decode(b"Oc\xc3\xa4 \xff").unwrap_err(), 5);
    }

    #[test]
    fn characters_of_several_bytes_are_told_apart() {
        let of = |name: &str, text: &'static [u8]| {
            Encoding::new(name.to_owned())
                .unknown_in(text)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("LATIN1", b"a\xe9\xe8b"), [b"\xe9", b"\xe8"]);
        let japanese: [&[u8]; 3] = [b"\xc6\xfc", b"\x8e\xb1", b"\x8f\xb0\xa1"];
        assert_eq!(of("EUC_JP", b"a\xc6\xfcb\x8e\xb1\x8f\xb0\xa1"), japanese);
        let taiwanese: [&[u8]; 2] = [b"\x8e\xa2\xa1\xa1", b"\xc4\xa1"];
        assert_eq!(of("EUC_TW", b"\x8e\xa2\xa1\xa1\xc4\xa1"), taiwanese);
        // A truncated character is an error, not a panic.
        assert_eq!(of("EUC_JP", b"\x8f\xb0"), [b"\x8f\xb0"]);
    }
}
