//! The example objects are what the program makes.

use std::path::Path;

use serde_json::Value;

use crate::support::{Event, RECORDSET, World};

const RECORD: &str = "0000012b-9bb8-42f4-ad3b-c958cb22ae45";

/// A file of example-objects, with ids in place of the placeholders.
fn example(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("example-objects")
        .join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(
        &text
            .replace("{record_id}", RECORD)
            .replace("{recordset_id}", RECORDSET),
    )
    .expect("JSON")
}

#[tokio::test]
async fn the_example_event_becomes_the_example_row_and_documents() {
    let world = World::new().await;
    let event = example("view-event.json");
    let text = |name: &str| event[name].as_str().map(str::to_owned);
    world
        .log(&[Event {
            id: event["id"].as_i64().unwrap(),
            date: text("date").unwrap(),
            stat_type: text("type"),
            record_type: text("record_type"),
            payload: Some(event["payload"].to_string()),
            ip_geocode: Some(event["ip_geocode"].to_string()),
            query_id: event["query_id"].as_i64(),
        }])
        .await;
    world
        .run(&["apply", "--day", "2020-02-16"])
        .await
        .assert_exit(0);

    let row = world
        .value("SELECT row_to_json(d) FROM daybook.interaction_delta d")
        .await;
    assert_eq!(
        serde_json::from_str::<Value>(&row).unwrap(),
        example("delta-row.json")
    );
    let [(id, version, document)] = &world.documents("").await[..] else {
        panic!("one document")
    };
    assert_eq!((id, *version), (&format!("2020-02-16:{RECORDSET}"), 1));
    assert_eq!(document, &example("daily-document.json"));
    let [(id, version, document)] = &world.documents("-totals").await[..] else {
        panic!("one document")
    };
    assert_eq!((id.as_str(), *version), (RECORDSET, 1));
    assert_eq!(document, &example("totals-document.json"));
    let terms = world.documents("-terms").await;
    for (dimension, name) in [
        ("countries", "country-document.json"),
        ("items", "item-document.json"),
    ] {
        let mut of_dimension = terms
            .iter()
            .filter(|(.., document)| document["dimension"] == dimension);
        let (_, version, document) = of_dimension.next().expect("a document");
        assert_eq!((*version, document), (1, &example(name)));
        assert!(of_dimension.next().is_none());
    }
    world.end().await;
}
