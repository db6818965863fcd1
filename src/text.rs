//! Formatting of numbers and durations.

use std::fmt;
use std::time::Duration;

use serde::Serializer;

/// Serializes a duration as seconds.
pub fn as_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// A number with commas between thousands.
#[derive(Clone, Copy, Debug)]
pub struct Grouped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Grouped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.0.to_string();
        let (sign, digits) = plain
            .strip_prefix('-')
            .map_or(("", plain.as_str()), |digits| ("-", digits));
        let mut text = sign.to_owned();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A number of things, in the singular or the plural.
pub fn counted(n: impl TryInto<i64>, one: &str, many: &str) -> String {
    let n = n.try_into().unwrap_or(i64::MAX);
    format!("{} {}", Grouped(n), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown = [0, 7, 999, 1000, 383_011_472, -1000, i64::MIN].map(|n| Grouped(n).to_string());
        assert_eq!(
            shown,
            [
                "0",
                "7",
                "999",
                "1,000",
                "383,011,472",
                "-1,000",
                "-9,223,372,036,854,775,808"
            ]
        );
    }
}
