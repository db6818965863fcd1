//! What terms may hold. Whatever it is, it goes through ledger, hashes and documents unharmed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    DAY, apply, assert_the_ledger_gives_the_same_documents, cells_of, documented_cells_of, post,
    world_of_json,
};
use crate::support::{Event, RECORDSET, World};

/// A search that found `n` records, from somewhere.
fn search_from(geocode: &str, id: i64, n: i64) -> Event {
    Event {
        ip_geocode: Some(geocode.to_owned()),
        ..Event::search(id, DAY, RECORDSET, n)
    }
}

/// The terms of a list in a document, with their counts.
fn terms_of(list: &Value) -> BTreeMap<String, i64> {
    let terms = list.as_array().expect("a list of terms");
    terms
        .iter()
        .map(|term| {
            (
                term["term"].as_str().expect("a text").to_owned(),
                term["count"].as_i64().expect("a number"),
            )
        })
        .collect()
}

#[tokio::test]
async fn odd_geocodes_are_counted_and_given_back_as_they_are() {
    let deep = format!("{}{}", r#"{"a":["#.repeat(50), "]}".repeat(50));
    let geocodes = [
        r#""Gainesville""#,
        "17",
        "-29.65",
        "true",
        "[]",
        "{}",
        r#"["US",["Florida",null],{"city":"Gainesville"}]"#,
        // The same key with values of different types, which an index that looked inside would refuse.
        r#"{"city":"Gainesville"}"#,
        r#"{"city":{"name":"Gainesville"}}"#,
        r#"{"city":["Gainesville"]}"#,
        r#"{"city":7}"#,
        // Keys that Elasticsearch gives a meaning to, or has none for.
        r#"{"city.name":"Gainesville"}"#,
        r#"{"":"empty"}"#,
        r#"{"":{"":[{"":null}]}}"#,
        r#"{" ":1,".":2,"..":3,".a":4,"a.":5,"a..b":6}"#,
        r#"{"_id":"x","_source":{"count":1},"geo":2}"#,
        &deep,
    ];
    let world = World::new().await;
    let events: Vec<Event> = (1..)
        .zip(geocodes)
        .map(|(id, geocode)| search_from(geocode, id, id))
        .collect();
    apply(&world, &events).await;

    let ledger = cells_of(&world, RECORDSET).await;
    assert_eq!(ledger["records search"]["count"], geocodes.len());
    let ledger = ledger["records search"]["geocodes"]
        .as_object()
        .expect("a map")
        .clone();
    let documented = documented_cells_of(&world, RECORDSET).await;
    let documented = documented["records search"]["geocodes"]
        .as_array()
        .expect("a list");
    assert_eq!(
        (ledger.len(), documented.len()),
        (geocodes.len(), geocodes.len())
    );
    for (n, geocode) in (1..).zip(geocodes) {
        assert_eq!(ledger[geocode], n, "{geocode} in the ledger");
        let geo: Value = serde_json::from_str(geocode).unwrap();
        assert!(
            documented.contains(&json!({ "geo": geo, "count": n })),
            "{geocode} in the document"
        );
    }
    world.assert_sound().await;
    assert_the_ledger_gives_the_same_documents(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_number_in_a_geocode_keeps_its_value() {
    let geocodes = [
        r#"{"latitude":29.6516339999999999}"#,
        r#"{"latitude":29.6516340000000001}"#,
        r#"{"network":12345678901234567890123}"#,
        r#"{"network":12345678901234567890124}"#,
    ];
    let world = World::new().await;
    let events: Vec<Event> = (1..)
        .zip(geocodes)
        .map(|(id, geocode)| search_from(geocode, id, id))
        .collect();
    post(&world, &events).await;
    let ledger = cells_of(&world, RECORDSET).await;
    let expected: Value = (1..)
        .zip(geocodes)
        .map(|(n, geocode)| (geocode.to_owned(), json!(n)))
        .collect();
    assert_eq!(ledger["records search"]["geocodes"], expected);
    world.end().await;
}

#[tokio::test]
async fn unusual_characters_go_through_ledger_hashes_and_documents_unharmed() {
    const TEXTS: [&str; 20] = [
        "\"quoted\" and 'quoted' and `quoted`",
        "back\\slash, \\n, \\u0041, \\\\",
        "\u{1}\u{2}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{e}\u{1b}\u{1f}",
        "\u{7f}\u{80}\u{9f}",
        "\u{2028}\u{2029}\u{feff}\u{200d}",
        "\u{202e}backwards",
        "😀 👩‍👩‍👧 🏳️‍🌈",
        "\u{ffff}\u{fffe}\u{fffd}\u{10ffff}",
        "\u{e9}",
        // The same to a reader, another text to a computer.
        "e\u{301}",
        "ß",
        "İı",
        " ",
        "null",
        "{}",
        "%s %% $1 ?",
        "</script><!--",
        "a/b",
        "\u{1}",
        "日本語",
    ];
    let world = World::new().await;
    let mut events = Vec::new();
    for (id, text) in (1..).zip(TEXTS) {
        world.log_query(id, &text.replace('\'', "''")).await;
        events.push(Event {
            payload: Some(json!({ text: RECORDSET }).to_string()),
            ip_geocode: Some(json!({ text: text }).to_string()),
            query_id: Some(id),
            ..Event::new(id, DAY, "seen", &json!({}))
        });
    }
    apply(&world, &events).await;

    let each: BTreeMap<String, i64> = TEXTS.into_iter().map(|text| (text.to_owned(), 1)).collect();
    let geos: BTreeMap<String, i64> = TEXTS
        .into_iter()
        .map(|text| (json!({ text: text }).to_string(), 1))
        .collect();
    let expected =
        json!({ "count": 20, "total": 20, "items": each, "queries": each, "geocodes": geos });
    assert_eq!(cells_of(&world, RECORDSET).await["records seen"], expected);
    world.assert_sound().await;

    let documented = documented_cells_of(&world, RECORDSET).await["records seen"].clone();
    assert_eq!(terms_of(&documented["items"]), each);
    assert_eq!(terms_of(&documented["queries"]), each);
    let listed = documented["geocodes"].as_array().unwrap();
    let listed: BTreeMap<String, i64> = listed
        .iter()
        .map(|geo| (geo["geo"].to_string(), geo["count"].as_i64().unwrap()))
        .collect();
    assert_eq!(listed, geos);
    assert_the_ledger_gives_the_same_documents(&world).await;
    world.end().await;
}

#[tokio::test]
async fn an_empty_record_id_is_a_term_like_any_other() {
    let world = World::new().await;
    apply(&world, &[Event::view(1, DAY, "", RECORDSET)]).await;
    assert_eq!(
        cells_of(&world, RECORDSET).await["records view"]["items"],
        json!({ "": 1 })
    );
    let documented = documented_cells_of(&world, RECORDSET).await;
    assert_eq!(
        documented["records view"]["items"],
        json!([{ "term": "", "count": 1 }])
    );
    assert_the_ledger_gives_the_same_documents(&world).await;
    world.end().await;
}

#[tokio::test]
async fn terms_of_1024_bytes_are_the_longest_taken() {
    // Characters of two bytes each: bytes are what is counted.
    let longest = "é".repeat(512);
    let geocode = format!(r#"{{"c":"{}"}}"#, "é".repeat(508));
    assert_eq!((longest.len(), geocode.len()), (1024, 1024));
    let world = World::new().await;
    world.log_query(7, &longest).await;
    let seen = Event {
        query_id: Some(7),
        ip_geocode: Some(geocode.clone()),
        ..Event::new(1, DAY, "seen", &json!({ &longest: RECORDSET }))
    };
    apply(&world, &[seen]).await;

    assert_eq!(
        world.accounts().await,
        "1 events: 1 counted, 0 ignored, 0 rejected"
    );
    let each = json!({ longest.as_str(): 1 });
    assert_eq!(
        cells_of(&world, RECORDSET).await["records seen"],
        json!({ "count": 1, "total": 1, "items": each, "queries": each, "geocodes": { geocode: 1 } })
    );
    let documented = documented_cells_of(&world, RECORDSET).await;
    assert_eq!(
        documented["records seen"]["items"],
        json!([{ "term": longest, "count": 1 }])
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn the_length_of_a_geocode_is_that_of_its_term_not_of_its_spelling() {
    let world = world_of_json().await;
    let blanks = " ".repeat(2000);
    post(
        &world,
        &[search_from(&format!(r#"{{"city":{blanks}"Ocala"}}"#), 1, 5)],
    )
    .await;
    let ledger = cells_of(&world, RECORDSET).await;
    assert_eq!(
        ledger["records search"]["geocodes"],
        json!({ r#"{"city":"Ocala"}"#: 5 })
    );
    world.end().await;
}

#[tokio::test]
async fn a_view_counts_however_long_the_hash_of_its_query_is() {
    // A view counts no query, so the hash makes no term that could be too long.
    let world = World::new().await;
    world.log_query(7, &"x".repeat(1025)).await;
    let view = Event {
        query_id: Some(7),
        ..Event::view(1, DAY, "rec", RECORDSET)
    };
    post(&world, &[view]).await;
    assert_eq!(
        world.accounts().await,
        "1 events: 1 counted, 0 ignored, 0 rejected"
    );
    world.end().await;
}
