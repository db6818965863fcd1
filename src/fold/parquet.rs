//! Events as Parquet: the columns of the source, read in batches of rows.
//!
//! `type`, `record_type`, `payload`, `ip_geocode` and `query_hash` are texts, payload and geocode as JSON. `date` is a
//! timestamp (with or without zone, as the file says), a date or a text. Every column must be there, so that a query that
//! was not joined is noticed.

use std::fs::File;
use std::path::Path;

use chrono::{DateTime, Days, NaiveDateTime, Utc};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::date::{DayInZone, Moment};
use super::event::{FileEvent, Take, unreadable};
use crate::error::{Error, ErrorKind};

/// The columns in the order in which they are read.
const COLUMNS: [&str; 7] = [
    "id",
    "date",
    "type",
    "record_type",
    "payload",
    "ip_geocode",
    "query_hash",
];

/// Rows to read at a time.
const ROWS: usize = 1024;

/// A value of a column.
#[derive(Clone, Debug)]
enum Value {
    Null,
    Integer(i64),
    /// `timestamp with time zone`.
    Instant(DateTime<Utc>),
    /// `timestamp` without time zone.
    Local(NaiveDateTime),
    /// Outside the range of dates.
    OnNoDay,
    Text(ByteArray),
}

/// What a number in the column `date` means.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Days,
    Time { unit: TimeUnit, is_utc: bool },
}

/// Reads the events of the day. Returns how many are not.
pub(super) fn read(path: &Path, day: DayInZone, take: &mut Take<'_>) -> Result<i64, Error> {
    let name = path.display().to_string();
    let failed = |error: ParquetError| {
        Error::new(
            ErrorKind::InputUnusable,
            format!("{name} cannot be read as Parquet"),
        )
        .caused_by(error)
        .hint("get a complete copy of the file; it may be compressed with Snappy, gzip or zstd")
    };
    let file = File::open(path).map_err(|error| unreadable(&name, error))?;
    let file = SerializedFileReader::new(file).map_err(failed)?;
    let columns = Columns::find(file.metadata().file_metadata().schema_descr()).map_err(|wrong| {
        Error::new(ErrorKind::InputUnusable, format!("{name} does not hold events: {wrong}"))
            .hint("write the columns id, date, type, record_type, payload and ip_geocode (as JSON text) and query_hash")
    })?;
    let (mut outside, mut row) = (0, 0_u64);
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).map_err(failed)?;
        let mut readers = columns.readers(&*group).map_err(failed)?;
        loop {
            let batch = columns.batch(&mut readers).map_err(failed)?;
            let rows = batch[0].len();
            if rows == 0 {
                break;
            }
            for place in 0..rows {
                row += 1;
                let event = Event(batch.each_ref().map(|values| &values[place]));
                if event.take(day, take).map_err(|wrong| match wrong {
                    Wrong::Column(what) => Error::new(
                        ErrorKind::InputUnusable,
                        format!("{name}, row {row} is not an event: {what}"),
                    ),
                    Wrong::Taking(error) => error,
                })? {
                    continue;
                }
                outside += 1;
            }
        }
    }
    let said = file.metadata().file_metadata().num_rows();
    if u64::try_from(said) != Ok(row) {
        return Err(Error::new(
            ErrorKind::InputUnusable,
            format!("{name} is damaged: it should have {said} rows, but {row} can be read"),
        )
        .hint("get a complete copy of the file"));
    }
    Ok(outside)
}

/// Where the columns are, and how dates are stored.
struct Columns {
    places: [usize; COLUMNS.len()],
    descriptions: [ColumnDescPtr; COLUMNS.len()],
    clock: Option<Clock>,
}

impl Columns {
    /// Finds the columns; the error says what is wrong with them.
    fn find(schema: &SchemaDescriptor) -> Result<Self, String> {
        let find = |name: &str| {
            let is_it = |column: &ColumnDescPtr| {
                matches!(column.path().parts(), [only] if only == name)
                    && column.max_rep_level() == 0
            };
            let place = schema.columns().iter().position(is_it);
            place.ok_or_else(|| {
                let fields = schema.root_schema().get_fields();
                if fields.iter().any(|field| field.name() == name) {
                    format!("the column {name} is nested")
                } else {
                    format!("there is no column {name}")
                }
            })
        };
        let mut places = [0; COLUMNS.len()];
        for (place, name) in places.iter_mut().zip(COLUMNS) {
            *place = find(name)?;
        }
        let descriptions = places.map(|place| schema.column(place));
        let [id, date, texts @ ..] = &descriptions;
        let is_unsigned = matches!(
            id.converted_type(),
            ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64
        );
        if is_unsigned || !matches!(id.physical_type(), Physical::INT64 | Physical::INT32) {
            return Err(format!("id is of type {}, expected an integer", shown(id)));
        }
        for text in texts {
            if text.physical_type() != Physical::BYTE_ARRAY {
                return Err(format!(
                    "{} is of type {}, expected text",
                    text.name(),
                    shown(text)
                ));
            }
        }
        let clock = clock(date)?;
        Ok(Self {
            places,
            descriptions,
            clock,
        })
    }

    fn readers(
        &self,
        group: &dyn RowGroupReader,
    ) -> Result<[ColumnReader; COLUMNS.len()], ParquetError> {
        let readers = self.places.map(|place| group.get_column_reader(place));
        let readers = readers.into_iter().collect::<Result<Vec<_>, _>>()?;
        readers
            .try_into()
            .map_err(|_| ParquetError::General("a column is missing".to_owned()))
    }

    /// The next rows of each column; none at the end.
    fn batch(
        &self,
        readers: &mut [ColumnReader; COLUMNS.len()],
    ) -> Result<[Vec<Value>; COLUMNS.len()], ParquetError> {
        let mut batch = [const { Vec::new() }; COLUMNS.len()];
        for ((values, reader), description) in batch.iter_mut().zip(readers).zip(&self.descriptions)
        {
            *values = self.values(reader, description)?;
        }
        if batch.iter().any(|values| values.len() != batch[0].len()) {
            return Err(ParquetError::General(
                "the columns have different numbers of rows".to_owned(),
            ));
        }
        Ok(batch)
    }

    fn values(
        &self,
        reader: &mut ColumnReader,
        column: &ColumnDescPtr,
    ) -> Result<Vec<Value>, ParquetError> {
        let is_date = column.name() == "date";
        let number = |n: i64| match self.clock.filter(|_| is_date) {
            Some(clock) => clock.read(n),
            None => Value::Integer(n),
        };
        match reader {
            ColumnReader::Int32ColumnReader(reader) => {
                next(reader, column, |n| number(i64::from(n)))
            }
            ColumnReader::Int64ColumnReader(reader) => next(reader, column, number),
            ColumnReader::Int96ColumnReader(reader) => next(reader, column, |n| {
                DateTime::from_timestamp_micros(n.to_micros())
                    .map_or(Value::OnNoDay, Value::Instant)
            }),
            ColumnReader::ByteArrayColumnReader(reader) => next(reader, column, Value::Text),
            _ => Err(ParquetError::General(format!(
                "{} is of an unexpected type",
                column.name()
            ))),
        }
    }
}

fn shown(column: &ColumnDescPtr) -> String {
    match column.logical_type_ref() {
        Some(logical) => format!("{logical:?} ({})", column.physical_type()),
        None => column.physical_type().to_string(),
    }
}

/// How the column `date` stores numbers; none if it does not, or says itself what they are.
fn clock(date: &ColumnDescPtr) -> Result<Option<Clock>, String> {
    let time = |unit, is_utc| Ok(Some(Clock::Time { unit, is_utc }));
    match (
        date.physical_type(),
        date.logical_type_ref(),
        date.converted_type(),
    ) {
        (Physical::BYTE_ARRAY | Physical::INT96, ..) => Ok(None),
        (Physical::INT64, Some(LogicalType::Timestamp(timestamp)), _) => {
            time(timestamp.unit, timestamp.is_adjusted_to_u_t_c)
        }
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MILLIS) => time(TimeUnit::MILLIS, true),
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MICROS) => time(TimeUnit::MICROS, true),
        (Physical::INT32, Some(LogicalType::Date), _)
        | (Physical::INT32, None, ConvertedType::DATE) => Ok(Some(Clock::Days)),
        _ => Err(format!(
            "date is of type {}, expected a timestamp, a date or text",
            shown(date)
        )),
    }
}

impl Clock {
    fn read(self, n: i64) -> Value {
        let instant = match self {
            Self::Days => {
                let epoch = DateTime::UNIX_EPOCH.date_naive();
                let days = Days::new(n.unsigned_abs());
                let date = if n < 0 {
                    epoch.checked_sub_days(days)
                } else {
                    epoch.checked_add_days(days)
                };
                return date
                    .and_then(|date| date.and_hms_opt(0, 0, 0))
                    .map_or(Value::OnNoDay, Value::Local);
            }
            Self::Time { unit, .. } => match unit {
                TimeUnit::MILLIS => DateTime::from_timestamp_millis(n),
                TimeUnit::MICROS => DateTime::from_timestamp_micros(n),
                TimeUnit::NANOS => Some(DateTime::from_timestamp_nanos(n)),
            },
        };
        match (self, instant) {
            (_, None) => Value::OnNoDay,
            (Self::Time { is_utc: false, .. }, Some(instant)) => Value::Local(instant.naive_utc()),
            (_, Some(instant)) => Value::Instant(instant),
        }
    }
}

/// The next values of a column.
fn next<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    column: &ColumnDescPtr,
    value: impl Fn(T::T) -> Value,
) -> Result<Vec<Value>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (records, ..) = reader.read_records(ROWS, Some(&mut levels), None, &mut values)?;
    let mut values = values.into_iter().map(value);
    if column.max_def_level() == 0 {
        return Ok(values.take(records).collect());
    }
    let is_there = |level: &i16| *level == column.max_def_level();
    let next = |level| {
        if is_there(level) {
            values.next()
        } else {
            Some(Value::Null)
        }
    };
    levels
        .iter()
        .map_while(next)
        .map(Ok)
        .collect::<Result<Vec<_>, _>>()
}

/// Why a row was not taken.
enum Wrong {
    Column(String),
    Taking(Error),
}

/// The values of a row.
struct Event<'a>([&'a Value; COLUMNS.len()]);

impl Event<'_> {
    /// Hands on the event if it is of the day. Returns whether it is.
    fn take(&self, day: DayInZone, take: &mut Take<'_>) -> Result<bool, Wrong> {
        let [id, date, texts @ ..] = &self.0;
        let Value::Integer(id) = id else {
            return Err(Wrong::Column("it has no id".to_owned()));
        };
        let moment = match date {
            Value::Instant(instant) => Moment::Instant(*instant),
            Value::Local(local) => Moment::Civil(local.date()),
            Value::Text(text) => {
                let text = String::from_utf8_lossy(text.data());
                Moment::parse(&text).ok_or_else(|| {
                    let text = crate::event::excerpt(&text);
                    Wrong::Column(format!(
                        "date is '{text}', expected a text such as 2020-02-16T12:00:00Z"
                    ))
                })?
            }
            Value::Null | Value::OnNoDay | Value::Integer(_) => Moment::OnNoDay,
        };
        if !day.contains(moment) {
            return Ok(false);
        }
        let event = FileEvent {
            id: *id,
            columns: texts.map(|value| match value {
                Value::Text(text) => Some(text.data()),
                _ => None,
            }),
            json: &|| self.json(),
        };
        take(&event).map_err(Wrong::Taking)?;
        Ok(true)
    }

    /// The row as the source's database writes it, payload and geocode as JSON values.
    fn json(&self) -> Vec<u8> {
        let mut json = vec![b'{'];
        for (name, value) in COLUMNS.iter().zip(self.0) {
            if json.len() > 1 {
                json.push(b',');
            }
            put_text(&mut json, name.as_bytes());
            json.push(b':');
            let date = |format: NaiveDateTime, zone: &str| {
                format!("{}{zone}", format.format("%Y-%m-%dT%H:%M:%S%.f"))
            };
            match value {
                Value::Null | Value::OnNoDay => json.extend_from_slice(b"null"),
                Value::Integer(n) => json.extend_from_slice(n.to_string().as_bytes()),
                Value::Instant(instant) => {
                    put_text(&mut json, date(instant.naive_utc(), "+00:00").as_bytes());
                }
                Value::Local(local) => put_text(&mut json, date(*local, "").as_bytes()),
                Value::Text(text) => {
                    let is_json = matches!(*name, "payload" | "ip_geocode")
                        && serde_json::from_slice::<serde::de::IgnoredAny>(text.data()).is_ok();
                    if is_json {
                        json.extend_from_slice(text.data());
                    } else {
                        put_text(&mut json, text.data());
                    }
                }
            }
        }
        json.push(b'}');
        json
    }
}

/// Appends a JSON string. Bytes that are not UTF-8 stay as they are.
fn put_text(json: &mut Vec<u8>, text: &[u8]) {
    json.push(b'"');
    for chunk in text.utf8_chunks() {
        let escaped = serde_json::Value::from(chunk.valid()).to_string();
        json.extend_from_slice(&escaped.as_bytes()[1..escaped.len() - 1]);
        json.extend_from_slice(chunk.invalid());
    }
    json.push(b'"');
}
