//! A row of the source, from the binary COPY stream.

use std::borrow::Cow;

use super::characters::Characters;
use super::kept;
use crate::event::{Reason, RecordType, Rejection, SourceRow, StatType};
use crate::postgres::copy_out::{Fields, OutOfStep};

/// Number of fields in a row.
pub(super) const FIELDS: usize = 6;

/// A row's columns as text.
#[derive(Debug)]
pub struct Texts<'a> {
    id: i64,
    characters: &'a Characters,
    /// Type, record type, payload, geocode and query hash.
    columns: [Option<Column<'a>>; FIELDS - 1],
}

/// A column's text, or why it is not text.
type Column<'a> = Result<Cow<'a, str>, NotText<'a>>;

/// The bytes of a column, and the index of the first that is not text.
#[derive(Debug)]
struct NotText<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl<'a> Texts<'a> {
    /// From the fields of a row.
    pub(super) fn of(
        fields: Fields<'a, FIELDS>,
        characters: &'a Characters,
    ) -> Result<Self, OutOfStep> {
        let [row_id, columns @ ..] = fields;
        let text = |bytes| {
            characters
                .decode(bytes)
                .map_err(|place| NotText { bytes, place })
        };
        Ok(Self {
            id: id(row_id)?,
            characters,
            columns: columns.map(|bytes| bytes.map(text)),
        })
    }

    /// An event that comes from elsewhere: its type, record type, payload, geocode and query hash, assumed to be UTF-8.
    pub fn of_utf8(id: i64, columns: [Option<&'a [u8]>; FIELDS - 1]) -> Self {
        static UTF8: Characters = Characters::Utf8;
        let text = |bytes| UTF8.decode(bytes).map_err(|place| NotText { bytes, place });
        Self {
            id,
            characters: &UTF8,
            columns: columns.map(|bytes| bytes.map(text)),
        }
    }

    /// The row, or a rejection if a column that matters is not text.
    pub fn decode(&self) -> Result<SourceRow<'_>, Rejection> {
        let [stat_type, record_type, payload, geocode, query_hash] =
            self.columns.each_ref().map(Option::as_ref);
        // A record type that is not text is not one of those that are counted.
        if text(record_type).is_some_and(|name| name.parse::<RecordType>().is_ok()) {
            let counts_queries = text(stat_type)
                .and_then(|name| name.parse().ok())
                .is_none_or(StatType::counts_queries);
            let query = counts_queries.then_some(("query_hash", query_hash));
            let counting = [
                ("type", stat_type),
                ("payload", payload),
                ("ip_geocode", geocode),
            ]
            .into_iter()
            .chain(query);
            for (name, column) in counting {
                if let Some(Err(not_text)) = column {
                    return Err(self.rejection(name, not_text));
                }
            }
        }
        Ok(SourceRow {
            id: self.id,
            stat_type: text(stat_type),
            record_type: text(record_type),
            payload: text(payload),
            geocode: text(geocode),
            query_hash: text(query_hash),
        })
    }

    fn rejection(&self, column: &str, NotText { bytes, place }: &NotText<'_>) -> Rejection {
        let byte = bytes.get(*place).copied().unwrap_or_default();
        let (complaint, start) = (
            self.characters.complaint(),
            kept::excerpt(self.characters.pieces(bytes)),
        );
        let message =
            format!("{column} {complaint}: byte {place} is 0x{byte:02x}: it starts '{start}'");
        Rejection {
            source_id: self.id,
            reason: Reason::NotUtf8,
            message,
        }
    }
}

fn text<'t>(column: Option<&'t Column<'_>>) -> Option<&'t str> {
    column?.as_deref().ok()
}

fn id(field: Option<&[u8]>) -> Result<i64, OutOfStep> {
    let bytes = field.ok_or(OutOfStep("a row whose id is NULL"))?;
    bytes
        .try_into()
        .map(i64::from_be_bytes)
        .map_err(|_| OutOfStep("an id that is not a bigint"))
}

/// A rejected event's id and row, from the stream in which it is read again.
pub(super) fn kept_row([row_id, json]: Fields<'_, 2>) -> Result<(i64, &[u8]), OutOfStep> {
    Ok((id(row_id)?, json.ok_or(OutOfStep("a row that is NULL"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 8] = 9_i64.to_be_bytes();

    fn texts(fields: Fields<'_, FIELDS>) -> Texts<'_> {
        Texts::of(fields, &Characters::Utf8).unwrap()
    }

    #[test]
    fn fields_make_a_row_or_an_error() {
        let fields = |id, hash| [id, Some(&b"view"[..]), None, Some(b"{}"), None, hash];
        let texts = texts(fields(Some(&ID), Some(b"")));
        let read = texts.decode().unwrap();
        assert_eq!(
            (read.id, read.stat_type, read.record_type, read.payload),
            (9, Some("view"), None, Some("{}"))
        );
        assert_eq!((read.geocode, read.query_hash), (None, Some("")));
        for (id, error) in [
            (None, "a row whose id is NULL"),
            (Some(&b"short"[..]), "an id that is not a bigint"),
        ] {
            assert_eq!(
                Texts::of(fields(id, None), &Characters::Utf8).unwrap_err(),
                OutOfStep(error)
            );
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_reject_the_event_where_they_would_be_counted_and_only_there() {
        const BAD: Option<&[u8]> = Some(b"Oc\xc3\xa4 \xff");
        let good: Fields<'_, FIELDS> = [
            Some(&ID),
            Some(b"search"),
            Some(b"records"),
            Some(b"{}"),
            Some(b"null"),
            Some(b"q"),
        ];
        for (place, column) in [
            (1, "type"),
            (3, "payload"),
            (4, "ip_geocode"),
            (5, "query_hash"),
        ] {
            let mut fields = good;
            fields[place] = BAD;
            let rejection = texts(fields).decode().unwrap_err();
            assert_eq!(
                (rejection.source_id, rejection.reason),
                (9, Reason::NotUtf8)
            );
            let said = format!(r"{column} is not UTF-8: byte 5 is 0xff: it starts 'Ocä \xff'");
            assert_eq!(rejection.message, said);
            // Events of other record types are not checked.
            fields[2] = Some(b"recordsets");
            assert!(texts(fields).decode().is_ok(), "{column}");
        }
        // A record type that is not text is not counted, and neither is the query of a view.
        let mut fields = good;
        fields[2] = BAD;
        assert_eq!(texts(fields).decode().unwrap().record_type, None);
        let mut fields = good;
        fields[1] = Some(b"view");
        fields[5] = BAD;
        assert_eq!(texts(fields).decode().unwrap().query_hash, None);
    }
}
