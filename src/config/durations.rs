//! Settings that are durations.

use std::str::FromStr;
use std::time::Duration;

/// How far two clocks may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSkew(Duration);

impl ClockSkew {
    const MOST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for ClockSkew {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = duration(text)?;
        if time > Self::MOST {
            return Err(format!(
                "'{text}' is out of range: give a time of up to 366d"
            ));
        }
        Ok(Self(time))
    }
}

/// How long something may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(Duration);

impl Timeout {
    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(24 * 60 * 60);

    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = duration(text)?;
        if time < Self::LEAST || time > Self::MOST {
            return Err(format!(
                "'{text}' is out of range: give a time from 100ms to 24h"
            ));
        }
        Ok(Self(time))
    }
}

/// Parses a number with a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let milliseconds_per_unit = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let number = digits.parse::<u64>().ok();
    let milliseconds = number
        .zip(milliseconds_per_unit)
        .and_then(|(number, unit)| number.checked_mul(unit));
    milliseconds.map(Duration::from_millis).ok_or_else(|| {
        format!("'{text}' is not a time: give a number with its unit, such as 30s, 5m, 2h or 1d")
    })
}
