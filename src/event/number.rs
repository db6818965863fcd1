//! Numbers of records: JSON numbers that are non-negative integers up to a limit, read exactly.
//!
//! `12.0` and `1.2e1` are 12. A float would accept 12.00000000000000000001 and 1e-400 as integers, so the digits are
//! checked instead.

use super::{Defect, Reason, excerpt};

/// Reads the token of a JSON value as a number of records, at most `most`.
pub(super) fn read(token: &str, most: i64) -> Result<i64, Defect> {
    if !token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Err(not_natural(token));
    }
    let number = if token.bytes().all(|b| b.is_ascii_digit()) {
        token.parse().ok()
    } else {
        read_decimal(token)?
    };
    number
        .filter(|number| *number <= most)
        .ok_or_else(|| too_large(token, most))
}

/// Reads a JSON number with a sign, a fraction or an exponent; `None` if it exceeds an i64.
fn read_decimal(token: &str) -> Result<Option<i64>, Defect> {
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        // An exponent beyond an i64 can be treated as infinite.
        Some((mantissa, digits)) => {
            let limit = if digits.starts_with('-') {
                i64::MIN / 2
            } else {
                i64::MAX / 2
            };
            (
                mantissa,
                digits
                    .parse::<i64>()
                    .map_or(limit, |exponent| exponent.clamp(i64::MIN / 2, i64::MAX / 2)),
            )
        }
        None => (token, 0),
    };
    let (negative, magnitude) = mantissa
        .strip_prefix('-')
        .map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));

    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let Some(last) = digits.iter().rposition(|digit| *digit != b'0') else {
        return Ok(Some(0));
    };
    if negative {
        return Err(not_natural(token));
    }
    // The value is the digits up to the last that is not 0, times ten to the power of `zeros`.
    let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let zeros = exponent
        .saturating_sub(length(fraction.len()))
        .saturating_add(length(digits.len() - 1 - last));
    if zeros < 0 {
        return Err(not_natural(token));
    }
    let Ok(zeros) = u32::try_from(zeros) else {
        return Ok(None);
    };
    let significant = digits[..=last].iter().try_fold(0_i64, |value, digit| {
        value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
    });
    Ok(significant.and_then(|value| 10_i64.checked_pow(zeros)?.checked_mul(value)))
}

fn not_natural(token: &str) -> Defect {
    Defect::new(
        Reason::NotANaturalNumber,
        format!("{} is not a non-negative integer", excerpt(token)),
    )
}

fn too_large(token: &str, most: i64) -> Defect {
    Defect::new(
        Reason::NumberTooLarge,
        format!(
            "{} is more than {most}, the largest number allowed",
            excerpt(token)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_taken_however_they_are_written() {
        for (token, value) in [
            ("0", 0),
            ("12", 12),
            ("12.0", 12),
            ("12.000", 12),
            ("1.2e1", 12),
            ("120e-1", 12),
            ("0.0012E+4", 12),
            ("-0", 0),
            ("-0.0e7", 0),
            ("0e99999999999", 0),
            ("0e-99999999999", 0),
            ("9223372036854775807", i64::MAX),
            ("9223372036854775807.0", i64::MAX),
            ("9007199254740993.0", 9_007_199_254_740_993),
        ] {
            assert_eq!(read(token, i64::MAX), Ok(value), "{token}");
        }
    }

    #[test]
    fn everything_else_is_rejected() {
        for (token, reason) in [
            ("\"12\"", Reason::NotANaturalNumber),
            ("1.5", Reason::NotANaturalNumber),
            ("12.00000000000000000001", Reason::NotANaturalNumber),
            ("1e-400", Reason::NotANaturalNumber),
            ("1e-99999999999", Reason::NotANaturalNumber),
            ("-1", Reason::NotANaturalNumber),
            ("-1e2", Reason::NotANaturalNumber),
            ("true", Reason::NotANaturalNumber),
            ("null", Reason::NotANaturalNumber),
            ("[1]", Reason::NotANaturalNumber),
            ("9223372036854775808", Reason::NumberTooLarge),
            ("1e19", Reason::NumberTooLarge),
            ("1e99999999999", Reason::NumberTooLarge),
        ] {
            assert_eq!(
                read(token, i64::MAX).map_err(|defect| defect.reason),
                Err(reason),
                "{token}"
            );
        }
    }

    #[test]
    fn a_number_beyond_the_limit_is_too_large_however_it_is_written() {
        for token in ["1000", "1000.0", "1e3", "10.00e2"] {
            assert_eq!(read(token, 1000), Ok(1000), "{token}");
            assert_eq!(
                read(token, 999).map_err(|defect| defect.reason),
                Err(Reason::NumberTooLarge),
                "{token}"
            );
        }
    }
}
