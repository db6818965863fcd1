//! Documents as the old system wrote them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::support::event::example;

pub const HARVESTED: &str = "2020-02-17";

/// A folder of its own for a test's files; gone at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("daybook-import-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn lines(&self, name: &str, documents: &[Value]) -> String {
        self.write(name, lines_of(documents.iter().map(Value::to_string)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Each on a line of its own.
pub fn lines_of(lines: impl Iterator<Item = String>) -> String {
    lines.flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// A daily document as the old collector wrote it, of a search with so many records.
pub fn search(recordset: &str, harvested: &str, count: i64, total: i64) -> Value {
    let terms = |name: &str, term: Value| json!([{ name: term, "count": total }]);
    json!({
        "recordset_id": recordset,
        "harvest_date": harvested,
        "records": { "search": {
            "count": count, "total": total, "items": [],
            "queries": terms("term", Value::Null), "geocodes": terms("geo", json!({ "region": "Florida", "country": "United States" })),
        } },
    })
}

/// A document of a day that was averaged by hand.
pub fn average(recordset: &str, harvested: &str, count: i64, total: i64) -> Value {
    let cell = |count, total| json!({ "count": count, "total": total });
    json!({
        "recordset_id": recordset, "harvest_date": harvested,
        "records": { "search": cell(count, total), "view": cell(0, 0) }, "mediarecords": { "search": cell(0, 0) },
    })
}

/// The real day as the daily documents that the old collector wrote of it.
pub fn real_documents() -> Vec<Value> {
    let object: BTreeMap<String, Value> =
        serde_json::from_str(&example("expected.json.gz")).unwrap();
    let list = |map: &Value, name: &str, term: &dyn Fn(&str) -> Value| -> Vec<Value> {
        let mut list: Vec<Value> = map
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, n)| json!({ name: term(key), "count": n }))
            .collect();
        // What the old system did not sort, and what it listed with 0.
        list.reverse();
        if name == "term" && !list.is_empty() {
            list.push(json!({ "term": "a query that found nothing", "count": 0 }));
        }
        list
    };
    let as_float = |n: &Value| -> Value { serde_json::from_str(&format!("{n}.0")).unwrap() };
    let as_text = |key: &str| json!(key);
    let as_query = |key: &str| {
        if key.is_empty() {
            Value::Null
        } else {
            json!(key)
        }
    };
    let as_geo = |key: &str| serde_json::from_str(key).unwrap();
    let document = |(recordset, record_types): (&String, &Value)| {
        let mut document = Map::from_iter([
            ("recordset_id".to_owned(), json!(recordset)),
            ("harvest_date".to_owned(), json!(HARVESTED)),
        ]);
        for (record_type, stat_types) in record_types.as_object().unwrap() {
            let mut cells = Map::new();
            for (stat_type, cell) in stat_types.as_object().unwrap() {
                let cell = json!({
                    "count": as_float(&cell["count"]), "total": cell["total"],
                    "items": list(&cell["items"], "term", &as_text), "queries": list(&cell["queries"], "term", &as_query),
                    "geocodes": list(&cell["geocodes"], "geo", &as_geo),
                });
                cells.insert(stat_type.clone(), cell);
            }
            document.insert(record_type.clone(), cells.into());
        }
        Value::from(document)
    };
    object.iter().map(document).collect()
}

/// In the envelope of a hit, under an id of its own.
pub fn as_hit(document: &Value) -> Value {
    let id = uuid::Uuid::new_v4().simple().to_string();
    json!({ "_index": "stats-2.5.0", "_type": "search", "_id": id, "_score": 1.0, "_source": document })
}

/// Of a number.
pub fn recordset(n: i64) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}
