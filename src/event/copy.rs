//! Decodes the binary COPY stream in which the source's rows arrive.
//!
//! The server sends one message per row, the header glued to the first. A message that does not fit that is an error:
//! a stream out of step must not be counted.

use bytes::Buf;

use super::SourceRow;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const FIELDS: i16 = 6;

/// A COPY stream that is not what was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the COPY stream is out of step: {0}")]
pub(super) struct OutOfStep(&'static str);

/// Keeps track of where in the stream a message stands.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    header_seen: bool,
    trailer_seen: bool,
}

impl Decoder {
    /// The row in a message; none in the last one.
    pub(super) fn row<'a>(&mut self, mut message: &'a [u8]) -> Result<Option<SourceRow<'a>>, OutOfStep> {
        if self.trailer_seen {
            return Err(OutOfStep("data after the end"));
        }
        if !self.header_seen {
            self.skip_header(&mut message)?;
        }
        if message.remaining() < 2 {
            return Err(OutOfStep("a message without a row"));
        }
        let row = match message.get_i16() {
            -1 => {
                self.trailer_seen = true;
                None
            }
            FIELDS => Some(SourceRow {
                id: id(field(&mut message)?)?,
                stat_type: text(field(&mut message)?)?,
                record_type: text(field(&mut message)?)?,
                payload: text(field(&mut message)?)?,
                geocode: text(field(&mut message)?)?,
                query_hash: text(field(&mut message)?)?,
            }),
            _ => return Err(OutOfStep("a row with another number of fields")),
        };
        if message.has_remaining() {
            return Err(OutOfStep("more than one row in a message"));
        }
        Ok(row)
    }

    /// Whether the stream came to its proper end.
    pub(super) fn is_complete(&self) -> bool {
        self.trailer_seen
    }

    fn skip_header(&mut self, message: &mut &[u8]) -> Result<(), OutOfStep> {
        let rest = message.strip_prefix(SIGNATURE).ok_or(OutOfStep("no header"))?;
        // Flags and the length of an extension, both 0 in all versions there are.
        *message = rest.strip_prefix(&[0; 8]).ok_or(OutOfStep("a header with unknown flags"))?;
        self.header_seen = true;
        Ok(())
    }
}

fn field<'a>(message: &mut &'a [u8]) -> Result<Option<&'a [u8]>, OutOfStep> {
    if message.remaining() < 4 {
        return Err(OutOfStep("a row cut short"));
    }
    let length = message.get_i32();
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| OutOfStep("a field of negative length"))?;
    let (value, rest) = message.split_at_checked(length).ok_or(OutOfStep("a field cut short"))?;
    *message = rest;
    Ok(Some(value))
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

    fn header() -> Vec<u8> {
        [SIGNATURE, &[0; 8]].concat()
    }

    fn tuple(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = i16::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
        for field in fields {
            let length = field.map_or(-1, |field| i32::try_from(field.len()).unwrap());
            bytes.extend(length.to_be_bytes());
            bytes.extend(field.unwrap_or_default());
        }
        bytes
    }

    #[test]
    fn rows_are_borrowed_from_their_messages() {
        let id = 9_i64.to_be_bytes();
        let first = [header(), tuple(&[Some(&id), Some(b"view"), None, Some(b"{}"), None, Some(b"")])].concat();
        let mut decoder = Decoder::default();
        let row = decoder.row(&first).unwrap().unwrap();
        assert_eq!((row.id, row.stat_type, row.record_type, row.payload), (9, Some("view"), None, Some("{}")));
        assert_eq!((row.geocode, row.query_hash), (None, Some("")));
        assert!(!decoder.is_complete());
        assert!(decoder.row(&[0xff, 0xff]).unwrap().is_none());
        assert!(decoder.is_complete());
        assert_eq!(decoder.row(&[0xff, 0xff]).unwrap_err(), OutOfStep("data after the end"));
    }

    #[test]
    fn a_stream_out_of_step_is_an_error_never_a_panic() {
        let id = 9_i64.to_be_bytes();
        let whole = [header(), tuple(&[Some(&id), Some(b"view"), None, Some(b"{}"), None, Some(b"\xff")])].concat();
        for cut in 0..=whole.len() {
            assert!(Decoder::default().row(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let null_id = [header(), tuple(&[None; 6])].concat();
        assert_eq!(Decoder::default().row(&null_id).unwrap_err(), OutOfStep("a row whose id is NULL"));
        let seven = [header(), tuple(&[None; 7])].concat();
        assert!(Decoder::default().row(&seven).is_err());
    }
}
