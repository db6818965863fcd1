//! A page of the documents of an index, as Elasticsearch returns it. `benches/mapping.rs` uses it as well.

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub struct Page<'a> {
    #[serde(rename = "_scroll_id")]
    pub scroll_id: String,
    #[serde(borrow)]
    pub hits: Hits<'a>,
}

#[derive(Deserialize)]
pub struct Hits<'a> {
    #[serde(borrow)]
    pub hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
pub struct Hit<'a> {
    #[serde(rename = "_id")]
    pub id: &'a str,
    #[serde(rename = "_version")]
    pub version: i64,
    #[serde(rename = "_source", borrow)]
    pub source: &'a RawValue,
}
