//! A row of the source, from the binary COPY stream in which it arrives.

use super::SourceRow;
use crate::copy::{Fields, OutOfStep};

/// Fields of a row.
pub(super) const FIELDS: usize = 6;

/// The row that fields make.
pub(super) fn row(
    [row_id, stat_type, record_type, payload, geocode, query_hash]: Fields<'_, FIELDS>,
) -> Result<SourceRow<'_>, OutOfStep> {
    Ok(SourceRow {
        id: id(row_id)?,
        stat_type: text(stat_type)?,
        record_type: text(record_type)?,
        payload: text(payload)?,
        geocode: text(geocode)?,
        query_hash: text(query_hash)?,
    })
}

fn id(field: Option<&[u8]>) -> Result<i64, OutOfStep> {
    let bytes = field.ok_or(OutOfStep("a row whose id is NULL"))?;
    bytes.try_into().map(i64::from_be_bytes).map_err(|_| OutOfStep("an id that is no bigint"))
}

fn text(field: Option<&[u8]>) -> Result<Option<&str>, OutOfStep> {
    field.map(std::str::from_utf8).transpose().map_err(|_| OutOfStep("text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_make_a_row_or_an_error() {
        let id = 9_i64.to_be_bytes();
        let row_of = |id, hash| row([id, Some(b"view"), None, Some(b"{}"), None, hash]);
        let read = row_of(Some(&id), Some(b"")).unwrap();
        assert_eq!((read.id, read.stat_type, read.record_type, read.payload), (9, Some("view"), None, Some("{}")));
        assert_eq!((read.geocode, read.query_hash), (None, Some("")));
        assert_eq!(row_of(None, None).unwrap_err(), OutOfStep("a row whose id is NULL"));
        assert_eq!(row_of(Some(b"short"), None).unwrap_err(), OutOfStep("an id that is no bigint"));
        assert_eq!(row_of(Some(&id), Some(b"\xff")).unwrap_err(), OutOfStep("text that is not UTF-8"));
    }
}
