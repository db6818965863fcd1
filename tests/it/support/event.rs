//! Events for tests.

use serde_json::{Value, json};

/// A row of the source table. `..Event::search("…")` fills in what a test does not care about.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: i64,
    /// With a zone: `2020-02-16T12:00:00Z`.
    pub date: String,
    pub stat_type: Option<String>,
    pub record_type: Option<String>,
    /// JSON text, so that a test can write what a JSON library would not.
    pub payload: Option<String>,
    pub ip_geocode: Option<String>,
    pub query_id: Option<i64>,
}

impl Event {
    /// An event at noon of a day.
    pub fn new(id: i64, day: &str, stat_type: &str, payload: &Value) -> Self {
        Self {
            id,
            date: format!("{day}T12:00:00Z"),
            stat_type: Some(stat_type.to_owned()),
            record_type: Some("records".to_owned()),
            payload: Some(payload.to_string()),
            ip_geocode: Some(
                json!({ "country": "United States", "region": "Florida", "city": "Gainesville" })
                    .to_string(),
            ),
            query_id: None,
        }
    }

    /// A search that found `n` records of one recordset.
    pub fn search(id: i64, day: &str, recordset: &str, n: i64) -> Self {
        Self::new(id, day, "search", &json!({ recordset: n }))
    }

    /// A view of one record.
    pub fn view(id: i64, day: &str, record: &str, recordset: &str) -> Self {
        Self::new(id, day, "view", &json!({ record: recordset }))
    }
}

impl Event {
    /// The INSERT statement.
    pub fn insert(&self) -> String {
        let text = |value: &Option<String>| {
            value.as_ref().map_or("NULL".to_owned(), |text| {
                format!("'{}'", text.replace('\'', "''"))
            })
        };
        format!(
            "INSERT INTO stats (id, date, type, record_type, payload, ip_geocode, query_id)
             VALUES ({}, '{}', {}, {}, {}, {}, {})",
            self.id,
            self.date,
            text(&self.stat_type),
            text(&self.record_type),
            text(&self.payload),
            text(&self.ip_geocode),
            self.query_id.map_or("NULL".to_owned(), |id| id.to_string()),
        )
    }
}

/// The lines of a file of the published day.
pub fn example_lines(file: &str) -> Vec<String> {
    example(file).lines().map(str::to_owned).collect()
}

/// A file of the published day, decompressed.
pub fn example(file: &str) -> String {
    use std::io::Read as _;

    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("example-objects/real-day")
        .join(file);
    let mut text = String::new();
    let packed =
        std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    flate2::read::GzDecoder::new(packed)
        .read_to_string(&mut text)
        .expect("unpack");
    text
}
