//! The published day, 2020-02-16, against what it must add up to: in the ledger, in the documents and through `totals`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sqlx::Row as _;

use crate::support::{World, event::example};

const DAY: &str = "2020-02-16";

/// The published aggregation object: recordset → record type → stat type → cell.
fn expected() -> BTreeMap<String, Value> {
    serde_json::from_str(&example("expected.json.gz")).expect("the published object")
}

async fn applied() -> World {
    let world = World::new().await;
    world.load_real_day().await;
    world.run(&["apply", "--day", DAY]).await.assert_exit(0);
    world
}

/// A cell that counts nothing, which the ledger has no row for.
fn zero() -> Value {
    json!({ "count": 0, "total": 0, "items": {}, "queries": {}, "geocodes": {} })
}

#[tokio::test]
async fn the_ledger_holds_the_published_object_cell_by_cell() {
    let world = applied().await;
    let rows = sqlx::query(
        "SELECT recordset_id::text AS recordset, record_type, stat_type, jsonb_build_object('count', count, 'total', total,
             'items', items, 'queries', queries, 'geocodes', geocodes) AS cell FROM daybook.interaction_delta",
    )
    .fetch_all(&mut world.sql().await)
    .await
    .unwrap();
    let mut ledger: BTreeMap<(String, String, String), Value> = rows
        .iter()
        .map(|row| {
            (
                (
                    row.get("recordset"),
                    row.get("record_type"),
                    row.get("stat_type"),
                ),
                row.get("cell"),
            )
        })
        .collect();
    let mut cells = 0;
    for (recordset, record_types) in expected() {
        for (record_type, stat_types) in record_types.as_object().unwrap() {
            for (stat_type, cell) in stat_types.as_object().unwrap() {
                let found =
                    ledger.remove(&(recordset.clone(), record_type.clone(), stat_type.clone()));
                assert_eq!(
                    &found.unwrap_or_else(zero),
                    cell,
                    "{recordset} {record_type} {stat_type}"
                );
                cells += 1;
            }
        }
    }
    assert_eq!((cells, ledger.len()), (16_150, 0));
    world.end().await;
}

#[tokio::test]
async fn plain_sql_gives_the_published_sums() {
    let world = applied().await;
    let sums = "SELECT string_agg(format('%s %s %s', stat_type, count, total), ', ' ORDER BY stat_type) FROM daybook.day_total";
    assert_eq!(
        world.value(sums).await,
        "mapping 2862 121677381, search 6503 261333465, seen 626 626"
    );
    let terms = "SELECT sum(n) FROM daybook.interaction_term_delta WHERE dimension = 'geocodes'";
    assert_eq!(
        world.value(terms).await,
        (121_677_381 + 261_333_465 + 626).to_string()
    );
    let balances = "SELECT sum(total) FROM daybook.recordset_total WHERE stat_type = 'search'";
    assert_eq!(world.value(balances).await, "261333465");
    let accounts = "SELECT concat_ws(' ', source_events, source_counted, source_ignored, source_rejected) FROM daybook.entry";
    assert_eq!(world.value(accounts).await, "23 23 0 0");
    world.end().await;
}

#[tokio::test]
async fn the_daily_documents_hold_the_published_object_term_by_term() {
    let world = applied().await;
    let documents = world.documents("").await;
    let mut expected = expected();
    assert_eq!(documents.len(), expected.len());
    for (id, version, document) in documents {
        let recordset = document["recordset_id"].as_str().unwrap();
        assert_eq!((id, version), (format!("{DAY}:{recordset}"), 1));
        assert_eq!(
            (&document["day"], &document["harvest_date"]),
            (&json!(DAY), &json!("2020-02-17"))
        );
        assert_eq!(document["entry_id"], 1);
        let expected = expected.remove(recordset).expect("a published recordset");
        for record_type in ["records", "mediarecords"] {
            for (stat_type, cell) in expected[record_type].as_object().unwrap() {
                assert_eq!(
                    &as_maps(&document[record_type][stat_type]),
                    cell,
                    "{recordset} {record_type} {stat_type}"
                );
            }
        }
    }
    world.end().await;
}

/// A document's cell with its lists as the maps that they were made from.
fn as_maps(cell: &Value) -> Value {
    let map = |list: &str, name: &str| -> Map<String, Value> {
        let terms = cell[list].as_array().unwrap();
        let as_term = |term: &Value| match term {
            Value::Null if list == "queries" => String::new(),
            Value::String(text) if list != "geocodes" => text.clone(),
            json => json.to_string(),
        };
        let map: Map<_, _> = terms
            .iter()
            .map(|term| (as_term(&term[name]), term["count"].clone()))
            .collect();
        assert_eq!(map.len(), terms.len(), "a term is listed once");
        map
    };
    json!({
        "count": cell["count"], "total": cell["total"],
        "items": map("items", "term"), "queries": map("queries", "term"), "geocodes": map("geocodes", "geo"),
    })
}

#[tokio::test]
async fn the_totals_documents_hold_the_sums_of_each_recordset() {
    let world = applied().await;
    let documents = world.documents("-totals").await;
    let mut expected = expected();
    assert_eq!(documents.len(), expected.len());
    for (id, version, document) in documents {
        let expected = expected.remove(&id).expect("a published recordset");
        assert_eq!((version, &document["recordset_id"]), (1, &json!(id)));
        assert_eq!(
            (&document["first_day"], &document["last_day"]),
            (&json!(DAY), &json!(DAY))
        );
        for record_type in ["records", "mediarecords"] {
            for (stat_type, cell) in expected[record_type].as_object().unwrap() {
                let sums = json!({ "count": cell["count"], "total": cell["total"] });
                assert_eq!(
                    document[record_type][stat_type], sums,
                    "{id} {record_type} {stat_type}"
                );
            }
        }
    }
    world.end().await;
}

#[tokio::test]
async fn totals_gives_the_published_object_of_a_recordset() {
    let world = applied().await;
    let expected = expected();
    // One with search, mapping and seen; the first; one that was only searched for.
    for recordset in [
        "0e162e0a-bf3e-4710-9357-44258ca12abb",
        expected.keys().next().unwrap(),
        expected.keys().last().unwrap(),
    ] {
        let all_time = world.run(&["totals", recordset]).await.assert_exit(0);
        let object: Value = serde_json::from_str(&all_time.stdout).unwrap();
        assert_eq!(object, json!({ recordset: expected[recordset] }));
        let of_day = world
            .run(&["totals", recordset, "--from", DAY, "--to", DAY])
            .await
            .assert_exit(0);
        assert_eq!(of_day.stdout, all_time.stdout);
        let after = world
            .run(&["totals", recordset, "--from", "2020-02-17", "--json"])
            .await
            .assert_exit(0);
        assert_eq!(
            after.messages()[0]["totals"][recordset]["records"]["search"],
            zero()
        );
    }
    world.end().await;
}
