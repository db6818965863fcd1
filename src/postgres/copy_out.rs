//! Decodes the binary COPY stream in which Postgres sends rows.
//!
//! The server sends one message per row; the first also contains the header. Any other message is an error, because a
//! stream that is out of step must not be used.

use bytes::Buf as _;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// An unexpected message in a COPY stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the COPY stream is out of step: {0}")]
pub struct OutOfStep(pub &'static str);

/// The encoded fields of a row; none where one is NULL.
pub type Fields<'a, const N: usize> = [Option<&'a [u8]>; N];

/// Decodes messages one after the other. Rows have `N` fields.
#[derive(Debug, Default)]
pub struct Decoder<const N: usize> {
    header_seen: bool,
    trailer_seen: bool,
}

impl<const N: usize> Decoder<N> {
    /// The row in a message; none in the last message.
    pub fn row<'a>(&mut self, mut message: &'a [u8]) -> Result<Option<Fields<'a, N>>, OutOfStep> {
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
            fields if usize::try_from(fields) == Ok(N) => {
                let mut row = [None; N];
                for value in &mut row {
                    *value = field(&mut message)?;
                }
                Some(row)
            }
            _ => return Err(OutOfStep("a row with another number of fields")),
        };
        if message.has_remaining() {
            return Err(OutOfStep("more than one row in a message"));
        }
        Ok(row)
    }

    /// Whether the end of the stream was reached.
    pub fn is_complete(&self) -> bool {
        self.trailer_seen
    }

    fn skip_header(&mut self, message: &mut &[u8]) -> Result<(), OutOfStep> {
        let rest = message
            .strip_prefix(SIGNATURE)
            .ok_or(OutOfStep("no header"))?;
        // Flags and the length of an extension, both 0 in all existing versions.
        *message = rest
            .strip_prefix(&[0; 8])
            .ok_or(OutOfStep("a header with unknown flags"))?;
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
    let (value, rest) = message
        .split_at_checked(length)
        .ok_or(OutOfStep("a field cut short"))?;
    *message = rest;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prop_assert;

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
    fn fields_are_borrowed_from_their_messages() {
        let first = [header(), tuple(&[Some(b"view"), None, Some(b"")])].concat();
        let mut decoder = Decoder::<3>::default();
        assert_eq!(
            decoder.row(&first).unwrap(),
            Some([Some(&b"view"[..]), None, Some(b"")])
        );
        assert_eq!(decoder.row(&tuple(&[None; 3])).unwrap(), Some([None; 3]));
        assert!(!decoder.is_complete());
        assert_eq!(decoder.row(&[0xff, 0xff]).unwrap(), None);
        assert!(decoder.is_complete());
        assert_eq!(
            decoder.row(&[0xff, 0xff]).unwrap_err(),
            OutOfStep("data after the end")
        );
    }

    #[test]
    fn a_stream_out_of_step_is_an_error_never_a_panic() {
        let whole = [header(), tuple(&[Some(b"view"), None])].concat();
        for cut in 0..whole.len() {
            assert!(
                Decoder::<2>::default().row(&whole[..cut]).is_err(),
                "cut at {cut}"
            );
        }
        assert!(Decoder::<2>::default().row(&whole).is_ok());
        assert!(Decoder::<3>::default().row(&whole).is_err());
        let two = [header(), tuple(&[None; 2]), tuple(&[None; 2])].concat();
        assert_eq!(
            Decoder::<2>::default().row(&two).unwrap_err(),
            OutOfStep("more than one row in a message")
        );
    }

    /// Whatever arrives, a row that is decoded is exactly what the message says.
    #[test]
    fn fuzz_messages() {
        crate::fuzzing::check("copy-messages", |message| {
            for header_seen in [true, false] {
                let mut decoder = Decoder::<2> {
                    header_seen,
                    trailer_seen: false,
                };
                match decoder.row(message) {
                    Ok(Some(fields)) => prop_assert!(message.ends_with(&tuple(&fields))),
                    Ok(None) => {
                        prop_assert!(decoder.is_complete() && message.ends_with(&[0xff, 0xff]));
                    }
                    Err(OutOfStep(_)) => {}
                }
            }
            Ok(())
        });
    }
}
