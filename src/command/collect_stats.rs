//! `daybook collect-stats`: the command line of the collector that daybook replaces, for units and scripts that call it.
//!
//! It accepts all options of `idb collect-stats`, so only the program's name has to be changed. Options without a meaning
//! here are ignored; `-v` logs them.

use std::path::PathBuf;
use std::str::FromStr;

use chrono::{NaiveDate, NaiveTime};
use secrecy::SecretString;

use super::apply;
use crate::clock;
use crate::config::{Settings, SettingsArgs};
use crate::day::Day;
use crate::error::{Error, Exit};
use crate::ledger::Ledger;
use crate::output::Output;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A time in DATE is ignored: 2020-02-17, 20200217, 2020-02-17T09:00:00 and '2020-02-17 09:00' are the
same date.

Options that idb takes before its command are accepted and ignored (-v lists them): --journal,
--no-journal, --env, --logfile, --config with a JSON file, --idb-dbpass and the other --idb- options.

Examples:
  daybook collect-stats                    collect yesterday
  daybook collect-stats -d 2020-02-17      collect 2020-02-16
  daybook collect-stats -d '*'             collect every closed day
  daybook --journal -v collect-stats       the line of the old systemd unit")]
pub struct CollectStatsArgs {
    /// Collect the day before this date; '*' for every day [default: today]
    #[arg(short, long, value_name = "DATE")]
    date: Option<Date>,

    /// Ignored: indices and mappings are created on demand
    #[arg(short, long, overrides_with = "no_mapping")]
    mapping: bool,

    /// Ignored, as --mapping is
    #[arg(long, overrides_with = "mapping")]
    no_mapping: bool,
}

/// Options that the old program accepts before its command. daybook ignores them.
#[derive(Debug, Default, clap::Args)]
pub struct OptionsOfIdb {
    #[arg(long, hide = true, overrides_with = "no_journal")]
    journal: bool,

    #[arg(long, hide = true, overrides_with = "journal")]
    no_journal: bool,

    #[arg(long, hide = true, value_name = "NAME")]
    env: Option<String>,

    #[arg(long, hide = true, value_name = "FILE")]
    logfile: Option<PathBuf>,

    #[arg(long, hide = true, value_name = "UUID")]
    idb_uuid: Option<SecretString>,

    #[arg(long, hide = true, value_name = "KEY")]
    idb_apikey: Option<SecretString>,

    #[arg(long, hide = true, value_name = "PASSWORD")]
    idb_dbpass: Option<SecretString>,

    #[arg(long, hide = true, value_name = "KEY")]
    idb_storage_access_key: Option<SecretString>,

    #[arg(long, hide = true, value_name = "KEY")]
    idb_storage_secret_key: Option<SecretString>,

    #[arg(long, hide = true, value_name = "KEY")]
    idb_crypt_key: Option<SecretString>,
}

impl OptionsOfIdb {
    /// Ignores the options, and a configuration file of the old program; logs that.
    pub fn ignore(&self, settings: &mut SettingsArgs) {
        for (option, instead) in self.given() {
            tracing::info!(option, "ignored: {instead}");
        }
        if settings
            .config
            .as_ref()
            .is_some_and(is_configuration_of_idb)
            && let Some(file) = settings.config.take()
        {
            let file = file.display().to_string();
            tracing::info!(
                option = "--config",
                file,
                "ignored, as it is idb's: {SETTINGS}"
            );
        }
    }

    /// Refuses the options, for all other commands.
    pub fn refuse(&self) -> Result<(), Error> {
        match self.given().first() {
            None => Ok(()),
            Some((option, _)) => Err(Error::usage(format!(
                "{option} is an option of idb, which only `daybook collect-stats` accepts"
            ))
            .hint("leave it out; `daybook --help` lists the options")),
        }
    }

    /// The options that were given, each with what replaces it.
    fn given(&self) -> Vec<(&'static str, &'static str)> {
        const JOURNAL: &str = "logs go to the journal when stderr does, else to stderr";
        [
            (self.journal, "--journal", JOURNAL),
            (self.no_journal, "--no-journal", JOURNAL),
            (self.env.is_some(), "--env", SETTINGS),
            (self.logfile.is_some(), "--logfile", JOURNAL),
            (self.idb_uuid.is_some(), "--idb-uuid", SETTINGS),
            (self.idb_apikey.is_some(), "--idb-apikey", SETTINGS),
            (self.idb_dbpass.is_some(), "--idb-dbpass", SETTINGS),
            (
                self.idb_storage_access_key.is_some(),
                "--idb-storage-access-key",
                SETTINGS,
            ),
            (
                self.idb_storage_secret_key.is_some(),
                "--idb-storage-secret-key",
                SETTINGS,
            ),
            (self.idb_crypt_key.is_some(), "--idb-crypt-key", SETTINGS),
        ]
        .into_iter()
        .filter_map(|(is_given, option, instead)| is_given.then_some((option, instead)))
        .collect()
    }
}

const SETTINGS: &str =
    "daybook has settings of its own for the databases: DAYBOOK_LEDGER_URL and so on";

/// Whether a file contains a JSON object, which is not valid TOML.
fn is_configuration_of_idb(file: &PathBuf) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.trim_start().starts_with('{'))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Date {
    Every,
    /// The day before the given date.
    Before(Day),
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Every);
        }
        let date = calendar_date(text).ok_or_else(|| {
            format!(
                "'{text}' is not a date: give it as 2020-02-17, 20200217 or 2020-02-17T09:00:00, or '*' for every day"
            )
        })?;
        let before = date
            .pred_opt()
            .ok_or_else(|| format!("{date} has no day before it"))?;
        Day::new(before)
            .map(Self::Before)
            .map_err(|error| error.to_string())
    }
}

/// Parses an ISO 8601 date, or date and time: with or without separators, with T or a space before the time, which may have
/// fractions of a second and an offset. As in the old program, the offset does not change the date.
fn calendar_date(text: &str) -> Option<NaiveDate> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time.trim_start())),
        None => match text.split_at_checked(8) {
            Some((date, time)) if !time.is_empty() && is_digits(text) => (date, Some(time)),
            _ => (text, None),
        },
    };
    let format = match date.as_bytes() {
        [_, _, _, _, b'-', _, _, b'-', _, _] => "%Y-%m-%d",
        [_, _, _, _, b'/', _, _, b'/', _, _] => "%Y/%m/%d",
        [_, _, _, _, _, _, _, _] => "%Y%m%d",
        _ => return None,
    };
    // chrono also accepts signs and spaces.
    let is_plain = date
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'/');
    let date = is_plain
        .then(|| NaiveDate::parse_from_str(date, format).ok())
        .flatten()?;
    time.is_none_or(is_time).then_some(date)
}

/// Whether a text is an ISO 8601 time of day, with or without an offset.
fn is_time(text: &str) -> bool {
    let (time, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text[..at].trim_end(), &text[at..]),
        None => (text, "Z"),
    };
    let is_offset = match offset.split_at_checked(1) {
        Some(("Z" | "z", rest)) => rest.is_empty(),
        Some((_, hours)) => {
            is_digits(&hours.replacen(':', "", 1)) && matches!(hours.len(), 2 | 4 | 5)
        }
        None => false,
    };
    let time = time.replace(',', ".");
    let time = if time.len() == 2 { time + ":00" } else { time };
    // chrono also accepts seconds with one digit.
    let formats = match time
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(time.len())
    {
        6 => &["%H%M%S%.f"][..],
        4 => &["%H%M"],
        _ => &["%H:%M", "%H:%M:%S%.f"],
    };
    is_offset
        && formats
            .iter()
            .any(|format| NaiveTime::parse_from_str(&time, format).is_ok())
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Runs the command.
pub async fn run(
    options: CollectStatsArgs,
    settings: &Settings,
    output: Output,
) -> Result<Exit, Error> {
    for (is_given, option) in [
        (options.mapping, "--mapping"),
        (options.no_mapping, "--no-mapping"),
    ] {
        if is_given {
            tracing::info!(
                option,
                "ignored: indices and mappings are created when they are needed"
            );
        }
    }
    let mut translated = apply::ApplyArgs::default();
    match options.date {
        Some(Date::Every) => translated.all = true,
        Some(Date::Before(day)) => translated.day = Some(day),
        None => {
            let zone = Ledger::open(&settings.ledger).await?.zone;
            translated.day = Some(zone.day_of(clock::now()).previous());
        }
    }
    apply::run_as("collect-stats", translated, settings, output).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_may_be_written_in_any_form_of_iso_8601_and_the_day_before_it_is_collected() {
        let day_before = Date::Before("2020-02-29".parse().unwrap());
        for date in ["2020-03-01", "20200301", "2020/03/01"] {
            assert_eq!(date.parse(), Ok(day_before), "{date}");
            for separator in ["T", " ", "t"] {
                for time in [
                    "09",
                    "09:00",
                    "09:00:00",
                    "23:59:59.999999",
                    "09:00:00,5",
                    "0900",
                    "090000",
                ] {
                    for offset in ["", "Z", "+00:00", "-0500", "+02", " +0200"] {
                        let text = format!("{date}{separator}{time}{offset}");
                        assert_eq!(text.parse(), Ok(day_before), "{text}");
                    }
                }
            }
        }
        for text in ["202003010900", "20200301090000"] {
            assert_eq!(text.parse(), Ok(day_before), "{text}");
        }
        assert_eq!("*".parse(), Ok(Date::Every));
    }

    #[test]
    fn what_is_no_date_is_named_with_the_forms_that_are_taken() {
        for text in [
            "",
            " ",
            "**",
            "today",
            "2020",
            "2020-03",
            "2020-02-30",
            "20200230",
            "2020-13-01",
            "01-03-2020",
            "2020-3-1",
            "+020-03-01",
            "2020-03-01T",
            "2020-03-01T25:00",
            "2020-03-01 09:00:00 CET",
            "2020-03-01T09:00:00+",
            "202003010",
            "2020-03-01-09",
            "2020-03-01Ž",
            "２０２０-03-01",
            "20200301T0",
            "2020-03-01T09:00Z0",
            "2020030109000",
        ] {
            let refusal = text.parse::<Date>().unwrap_err();
            assert!(
                refusal.contains(&format!("'{text}'")) && refusal.contains("20200217"),
                "{text}: {refusal}"
            );
        }
        for text in ["1970-01-01", "1969-12-31", "9999-12-31"] {
            assert!(
                text.parse::<Date>().unwrap_err().contains("out of range"),
                "{text}"
            );
        }
    }
}
