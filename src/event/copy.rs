//! A row of the source, from the binary COPY stream in which it arrives.

use super::{Reason, RecordType, Rejection, SourceRow, StatType, kept};
use crate::copy::{Fields, OutOfStep};

/// Fields of a row.
pub(super) const FIELDS: usize = 6;

/// The row that fields make; a rejection where a column that counts holds bytes that are not UTF-8, as a database in
/// SQL_ASCII may hold them.
pub(super) fn row(fields: Fields<'_, FIELDS>) -> Result<Result<SourceRow<'_>, Rejection>, OutOfStep> {
    let [row_id, stat_type, record_type, payload, geocode, query_hash] = fields;
    let source_id = id(row_id)?;
    // What is no text is none of the record types that are counted.
    let record_type = record_type.and_then(|bytes| str::from_utf8(bytes).ok());
    let is_counted = record_type.and_then(RecordType::of).is_some();
    let columns = [("type", stat_type), ("payload", payload), ("ip_geocode", geocode), ("query_hash", query_hash)];
    let mut texts = [None; 4];
    for (text, (column, bytes)) in texts.iter_mut().zip(columns) {
        *text = match bytes.map(str::from_utf8).transpose() {
            Ok(text) => text,
            Err(_) if !is_counted || column == "query_hash" && !counts_queries(stat_type) => None,
            Err(error) => {
                let bytes = bytes.unwrap_or_default();
                return Ok(Err(not_utf8(source_id, column, bytes, error.valid_up_to())));
            }
        };
    }
    let [stat_type, payload, geocode, query_hash] = texts;
    Ok(Ok(SourceRow { id: source_id, stat_type, record_type, payload, geocode, query_hash }))
}

fn counts_queries(stat_type: Option<&[u8]>) -> bool {
    let name = stat_type.and_then(|bytes| str::from_utf8(bytes).ok());
    name.and_then(StatType::of).is_none_or(StatType::counts_queries)
}

fn not_utf8(source_id: i64, column: &str, bytes: &[u8], place: usize) -> Rejection {
    let (start, byte) = (kept::excerpt_of_bytes(bytes), bytes.get(place).copied().unwrap_or_default());
    let message = format!("{column} is not UTF-8: byte {place} is 0x{byte:02x}: it starts '{start}'");
    Rejection { source_id, reason: Reason::NotUtf8, message }
}

fn id(field: Option<&[u8]>) -> Result<i64, OutOfStep> {
    let bytes = field.ok_or(OutOfStep("a row whose id is NULL"))?;
    bytes.try_into().map(i64::from_be_bytes).map_err(|_| OutOfStep("an id that is no bigint"))
}

/// A rejected event's id and row, from the stream in which they are read again.
pub(super) fn kept_row([row_id, json]: Fields<'_, 2>) -> Result<(i64, &[u8]), OutOfStep> {
    Ok((id(row_id)?, json.ok_or(OutOfStep("a row that is NULL"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 8] = 9_i64.to_be_bytes();

    #[test]
    fn fields_make_a_row_or_an_error() {
        let row_of = |id, hash| row([id, Some(b"view"), None, Some(b"{}"), None, hash]);
        let read = row_of(Some(&ID), Some(b"")).unwrap().unwrap();
        assert_eq!((read.id, read.stat_type, read.record_type, read.payload), (9, Some("view"), None, Some("{}")));
        assert_eq!((read.geocode, read.query_hash), (None, Some("")));
        assert_eq!(row_of(None, None).unwrap_err(), OutOfStep("a row whose id is NULL"));
        assert_eq!(row_of(Some(b"short"), None).unwrap_err(), OutOfStep("an id that is no bigint"));
    }

    #[test]
    fn bytes_that_are_not_utf8_reject_the_event_where_they_would_be_counted_and_only_there() {
        const BAD: Option<&[u8]> = Some(b"Oc\xc3\xa4 \xff");
        let good: Fields<'_, FIELDS> =
            [Some(&ID), Some(b"search"), Some(b"records"), Some(b"{}"), Some(b"null"), Some(b"q")];
        for (place, column) in [(1, "type"), (3, "payload"), (4, "ip_geocode"), (5, "query_hash")] {
            let mut fields = good;
            fields[place] = BAD;
            let rejection = row(fields).unwrap().unwrap_err();
            assert_eq!((rejection.source_id, rejection.reason), (9, Reason::NotUtf8));
            let said = format!(r"{column} is not UTF-8: byte 5 is 0xff: it starts 'Ocä \xff'");
            assert_eq!(rejection.message, said);
            // No event of another record type is looked at.
            fields[2] = Some(b"recordsets");
            assert!(row(fields).unwrap().is_ok(), "{column}");
        }
        // A record type that is no text is another one, and of a view no query is counted.
        let mut fields = good;
        fields[2] = BAD;
        assert_eq!(row(fields).unwrap().unwrap().record_type, None);
        let mut fields = good;
        fields[1] = Some(b"view");
        fields[5] = BAD;
        assert_eq!(row(fields).unwrap().unwrap().query_hash, None);
    }
}
