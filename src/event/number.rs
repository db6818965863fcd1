//! Numbers of records: JSON numbers that are non-negative integers, read exactly.
//!
//! `12.0` and `1.2e1` are 12. A float would also take 12.00000000000000000001 or 1e-400 for integers, so the digits are
//! looked at instead.

use super::{Defect, Reason, excerpt};

/// Reads the token of a JSON value as a number of records.
pub(super) fn read(token: &str) -> Result<i64, Defect> {
    if !token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return Err(not_natural(token));
    }
    if token.bytes().all(|b| b.is_ascii_digit()) {
        return token.parse().map_err(|_| too_large(token));
    }
    read_decimal(token)
}

/// Reads a JSON number with a sign, a fraction or an exponent.
fn read_decimal(token: &str) -> Result<i64, Defect> {
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        // An exponent beyond an i64 is as good as infinite.
        Some((mantissa, digits)) => {
            let limit = if digits.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
            (mantissa, digits.parse::<i64>().map_or(limit, |exponent| exponent.clamp(i64::MIN / 2, i64::MAX / 2)))
        }
        None => (token, 0),
    };
    let (negative, magnitude) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));

    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let Some(last) = digits.iter().rposition(|digit| *digit != b'0') else {
        return Ok(0);
    };
    if negative {
        return Err(not_natural(token));
    }
    // The value is the digits up to the last that is not 0, times ten to the power of `zeros`.
    let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let zeros = exponent.saturating_sub(length(fraction.len())).saturating_add(length(digits.len() - 1 - last));
    if zeros < 0 {
        return Err(not_natural(token));
    }
    let zeros = u32::try_from(zeros).map_err(|_| too_large(token))?;
    let significant = digits[..=last]
        .iter()
        .try_fold(0_i64, |value, digit| value.checked_mul(10)?.checked_add(i64::from(digit - b'0')));
    significant.and_then(|value| 10_i64.checked_pow(zeros)?.checked_mul(value)).ok_or_else(|| too_large(token))
}

fn not_natural(token: &str) -> Defect {
    Defect::new(Reason::NotANaturalNumber, format!("{} is not a non-negative integer", excerpt(token)))
}

fn too_large(token: &str) -> Defect {
    Defect::new(
        Reason::NumberTooLarge,
        format!("{} is more than {}, the largest number taken", excerpt(token), i64::MAX),
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
            assert_eq!(read(token), Ok(value), "{token}");
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
            assert_eq!(read(token).map_err(|defect| defect.reason), Err(reason), "{token}");
        }
    }
}
