//! Events as NDJSON: one JSON object a line, with the columns of the source.
//!
//! The columns are `id`, `date`, `type`, `record_type`, `payload`, `ip_geocode` and `query_hash`; others are ignored. A
//! column that is missing is NULL, because many writers leave out what is NULL. Payload and geocode are JSON values, or
//! strings that contain JSON. What cannot be attributed to an event (a line that is not an object, an event without an id)
//! is an error: the file is not what it should be, and nothing may be lost silently.

use std::borrow::Cow;
use std::io::{BufRead, Read as _};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::date::{DayInZone, Moment};
use super::event::{FileEvent, Take, unreadable};
use crate::error::{Error, ErrorKind};
use crate::text::Grouped;

/// The columns as they are spelled in the line.
#[derive(Deserialize)]
struct Columns<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    date: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "type")]
    stat_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    record_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ip_geocode: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    query_hash: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    query_id: Option<&'a RawValue>,
}

/// Tells null from a missing key.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// What the events of a file say about their queries.
#[derive(Default)]
struct Queries {
    /// The first line whose event names a query by its id.
    named_by_id: Option<u64>,
    /// Whether any event has a hash, or says that there is none.
    have_hashes: bool,
}

/// Reads the events of the day. Returns how many are not.
pub(super) fn read(
    name: &str,
    mut file: Box<dyn BufRead + Send>,
    day: DayInZone,
    longest_line: u64,
    take: &mut Take<'_>,
) -> Result<i64, Error> {
    let (mut line, mut number, mut outside) = (Vec::new(), 0_u64, 0);
    let mut queries = Queries::default();
    loop {
        line.clear();
        number += 1;
        let read = (&mut file)
            .take(longest_line)
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(&format!("{name}, line {number},"), error))?;
        if read == 0 {
            break;
        }
        let is_whole = line.last() == Some(&b'\n');
        if !is_whole && line.len() as u64 >= longest_line {
            return Err(Error::new(
                ErrorKind::InputUnusable,
                format!(
                    "{name}, line {number} is longer than {} bytes, a quarter of the memory limit",
                    Grouped(longest_line)
                ),
            )
            .hint("raise --memory if it is an event; one event a line is expected"));
        }
        let mut text = line.trim_ascii();
        if number == 1 {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        if text.is_empty() {
            continue;
        }
        let event = Line::parse(text, &mut queries, number);
        let starting = || {
            let text = String::from_utf8_lossy(text);
            format!("it starts '{}'", crate::event::excerpt(&text))
        };
        let event = event.map_err(|wrong| match wrong {
            Wrong::NotJson(error) if !is_whole && error.is_eof() => {
                refused(name, number, "it ends in the middle: the file is cut off")
            }
            Wrong::NotJson(error) => refused(name, number, &starting()).caused_by(error),
            Wrong::NotAnObject => refused(name, number, &starting()),
            Wrong::Column(what) => refused(name, number, &what),
        })?;
        if !day.contains(event.moment) {
            outside += 1;
            continue;
        }
        take(&FileEvent {
            id: event.id,
            columns: event.columns.each_ref().map(|column| column.as_deref()),
            json: &|| text.to_vec(),
        })?;
    }
    if let (Some(line), false) = (queries.named_by_id, queries.have_hashes) {
        return Err(Error::new(ErrorKind::InputUnusable, format!(
            "{name} has query_id (line {line}), but no event of it has query_hash: its queries would be lost"
        ))
        .hint("join the table queries when you write the file, and give its query_hash; null if there is none"));
    }
    Ok(outside)
}

fn refused(name: &str, number: u64, what: &str) -> Error {
    Error::new(ErrorKind::InputUnusable, format!("{name}, line {number} is not an event: {what}")).hint(
        "give one JSON object a line with id, date, type, record_type, payload, ip_geocode and query_hash",
    )
}

/// Why a line is not an event.
enum Wrong {
    NotAnObject,
    NotJson(serde_json::Error),
    Column(String),
}

/// An event as a line holds it.
struct Line<'a> {
    id: i64,
    moment: Moment,
    columns: [Option<Cow<'a, [u8]>>; 5],
}

impl<'a> Line<'a> {
    fn parse(bytes: &'a [u8], queries: &mut Queries, number: u64) -> Result<Self, Wrong> {
        // An array would be taken for its columns in order.
        if !bytes.starts_with(b"{") {
            return Err(Wrong::NotAnObject);
        }
        // Bytes that are not UTF-8 can only be part of a string, and are replaced to find where each column is.
        let text =
            str::from_utf8(bytes).map_or_else(|_| Cow::Owned(substituted(bytes)), Cow::Borrowed);
        let columns: Columns<'_> = serde_json::from_str(&text).map_err(Wrong::NotJson)?;
        if columns.query_id.is_some_and(|id| id.get() != NULL) {
            queries.named_by_id.get_or_insert(number);
        }
        queries.have_hashes |= columns.query_hash.is_some();
        // The text has the same length as the bytes, so a value is at the same place in both.
        let in_bytes = |value: &RawValue| {
            let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
            &bytes[start..start + value.get().len()]
        };
        let json = |value: Option<&RawValue>| {
            let value = value.filter(|value| value.get() != NULL)?;
            Some(json_text(in_bytes(value)))
        };
        let string = |name: &str, value: Option<&RawValue>| {
            let Some(value) = value.filter(|value| value.get() != NULL) else {
                return Ok(None);
            };
            string_text(in_bytes(value))
                .map(Some)
                .ok_or_else(|| Wrong::Column(format!("{name} is {}, expected text", shown(value))))
        };
        Ok(Self {
            id: id(columns.id)?,
            moment: moment(columns.date)?,
            columns: [
                string("type", columns.stat_type)?,
                string("record_type", columns.record_type)?,
                json(columns.payload),
                json(columns.ip_geocode),
                string("query_hash", columns.query_hash)?,
            ],
        })
    }
}

const NULL: &str = "null";

fn shown(value: &RawValue) -> String {
    crate::event::excerpt(value.get()).to_string()
}

fn id(value: Option<&RawValue>) -> Result<i64, Wrong> {
    let value = value.ok_or_else(|| Wrong::Column("it has no id".to_owned()))?;
    value.get().parse().map_err(|_| {
        Wrong::Column(format!(
            "id is {}, expected an integer of 64 bits",
            shown(value)
        ))
    })
}

/// An event without a date is on no day.
fn moment(value: Option<&RawValue>) -> Result<Moment, Wrong> {
    let value = value.ok_or_else(|| Wrong::Column("it has no date".to_owned()))?;
    if value.get() == NULL {
        return Ok(Moment::OnNoDay);
    }
    let text = serde_json::from_str::<Cow<'_, str>>(value.get()).ok();
    text.and_then(|text| Moment::parse(&text)).ok_or_else(|| {
        Wrong::Column(format!(
            "date is {}, expected a text such as 2020-02-16T12:00:00Z",
            shown(value)
        ))
    })
}

/// The text with a question mark for each byte that is not part of a character.
fn substituted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// The JSON of a payload or geocode: the value itself, or what a string contains if that is JSON.
fn json_text(value: &[u8]) -> Cow<'_, [u8]> {
    match string_text(value) {
        Some(text) if is_json(&text) => text,
        _ => Cow::Borrowed(value),
    }
}

/// Whether a text is JSON rather than a word. What starts as an object, an array or a string is taken for one, so that a
/// defect within it is reported.
fn is_json(text: &[u8]) -> bool {
    match text.trim_ascii_start().first() {
        Some(b'{' | b'[' | b'"') => true,
        Some(b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
            serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
        }
        _ => false,
    }
}

/// What a JSON string contains; none if the value is something else.
fn string_text(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let content = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !content.contains(&b'\\') {
        return Some(Cow::Borrowed(content));
    }
    // A string with both escapes and bytes that are not UTF-8 stays as it is: its event is rejected for the bytes.
    match str::from_utf8(value) {
        Ok(text) => {
            let text: String = serde_json::from_str(text).ok()?;
            Some(Cow::Owned(text.into_bytes()))
        }
        Err(_) => Some(Cow::Borrowed(content)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prop_assert;

    use super::*;

    const DAY: &str = "2020-02-16";
    const LONGEST_LINE: u64 = 1000;

    type Read = Vec<(i64, [Option<String>; 5])>;

    fn read_all(file: &[u8]) -> Result<(Read, i64), String> {
        let day = DayInZone::new(DAY.parse().unwrap(), crate::day::TimeZone::UTC);
        let mut events = Vec::new();
        let outside = read(
            "events",
            Box::new(std::io::Cursor::new(file.to_vec())),
            day,
            LONGEST_LINE,
            &mut |event| {
                let columns = event
                    .columns
                    .map(|column| column.map(|text| String::from_utf8_lossy(text).into_owned()));
                events.push((event.id, columns));
                Ok(())
            },
        );
        outside
            .map(|outside| (events, outside))
            .map_err(|error| error.message())
    }

    fn one(columns: &str) -> [Option<String>; 5] {
        let line = format!(r#"{{"id":7,"date":"2020-02-16T12:00:00Z"{columns}}}"#);
        let (mut events, outside) = read_all(line.as_bytes()).unwrap();
        assert_eq!((events.len(), outside), (1, 0));
        events.remove(0).1
    }

    #[test]
    fn an_event_has_the_columns_of_the_source() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            one(
                r#","type":"vi\u0065w","record_type":"records","payload":{ "a": 1e0 },"ip_geocode":"{\"c\":\"é\"}","query_hash":"q","etag":[1]"#
            ),
            [
                some("view"),
                some("records"),
                some(r#"{ "a": 1e0 }"#),
                some(r#"{"c":"é"}"#),
                some("q")
            ]
        );
        // What is missing or null is NULL; JSON's null has to be given as text.
        assert_eq!(one(r#","type":null,"payload":null"#), [const { None }; 5]);
        assert_eq!(one(r#","payload":"null""#)[2], some("null"));
        // A string that is not JSON is a value by itself.
        for (value, text) in [
            (r#""x""#, r#""x""#),
            (r#""nothing""#, r#""nothing""#),
            (r#""\"x\"""#, r#""x""#),
            (r#""12""#, "12"),
            (r#""{broken""#, "{broken"),
            ("5", "5"),
        ] {
            let columns = one(&format!(r#","payload":{value},"ip_geocode":{value}"#));
            assert_eq!((&columns[2], &columns[3]), (&some(text), &some(text)));
        }
    }

    #[test]
    fn events_of_other_days_are_counted_and_blank_lines_skipped() {
        let file = "\u{feff}{\"id\":1,\"date\":\"2020-02-16\"}\n\r\n{\"id\":2,\"date\":\"2020-02-17\"}\n{\"id\":3,\"date\":null}";
        let (events, outside) = read_all(file.as_bytes()).unwrap();
        assert_eq!((events.len(), events[0].0, outside), (1, 1, 2));
    }

    #[test]
    fn a_line_that_is_not_an_event_is_an_error_that_names_it() {
        let good = r#"{"id":1,"date":"2020-02-16"}"#;
        for (line, said) in [
            ("[1]", "line 2 is not an event: it starts '[1]'"),
            ("{\"id\":1,", "it ends in the middle: the file is cut off"),
            (r#"{"date":"2020-02-16"}"#, "it has no id"),
            (
                r#"{"id":"x","date":"2020-02-16"}"#,
                r#"id is \"x\", expected an integer"#,
            ),
            (r#"{"id":1.5,"date":"2020-02-16"}"#, "id is 1.5"),
            (r#"{"id":1}"#, "it has no date"),
            (
                r#"{"id":1,"date":1581811200000}"#,
                "date is 1581811200000, expected a text",
            ),
            (r#"{"id":1,"date":"16 Feb"}"#, "date is"),
            (
                r#"{"id":1,"date":"2020-02-16","type":5}"#,
                "type is 5, expected text",
            ),
            (
                r#"{"id":1,"date":"2020-02-16","query_id":9}"#,
                "has query_id (line 2), but no event of it has query_hash",
            ),
        ] {
            let error = read_all(format!("{good}\n{line}").as_bytes()).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
        let long = format!("{good}\n{}", good.replace('}', &" ".repeat(1000)));
        let error = read_all(long.as_bytes()).unwrap_err();
        assert!(
            error.contains("line 2 is longer than 1,000 bytes"),
            "{error}"
        );
        let with_hash = format!(
            "{good}\n{}\n{}",
            r#"{"id":1,"date":"2020-02-16","query_id":9}"#,
            r#"{"id":1,"date":"2020-02-16","query_hash":null}"#
        );
        assert!(read_all(with_hash.as_bytes()).is_ok());
    }

    #[test]
    fn bytes_that_are_not_utf8_stay_in_their_column() {
        let file = b"{\"id\":1,\"date\":\"2020-02-16\",\"type\":\"view\",\"payload\":{\"\xff\xc3\":\"x\"},\"query_hash\":\"\xc3\xa4\xff\"}";
        let day = DayInZone::new(DAY.parse().unwrap(), crate::day::TimeZone::UTC);
        let mut columns = Vec::new();
        read(
            "events",
            Box::new(std::io::Cursor::new(file.to_vec())),
            day,
            LONGEST_LINE,
            &mut |event| {
                columns = event
                    .columns
                    .map(|column| column.map(<[u8]>::to_vec))
                    .to_vec();
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(columns[0], Some(b"view".to_vec()));
        assert_eq!(columns[2], Some(b"{\"\xff\xc3\":\"x\"}".to_vec()));
        assert_eq!(columns[4], Some(b"\xc3\xa4\xff".to_vec()));
    }

    /// Whatever a file holds, no line gives more than one event.
    #[test]
    fn fuzz_lines() {
        crate::fuzzing::check("events", |file| {
            if let Ok((events, outside)) = read_all(file) {
                let lines = file.split(|byte| *byte == b'\n').count();
                prop_assert!(events.len() + usize::try_from(outside).unwrap() <= lines);
            }
            Ok(())
        });
    }
}
