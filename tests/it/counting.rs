//! The counting rules: each row of their table and each exception, in the ledger and in the documents.

pub(crate) mod odd; // a day of odd events, one behind the other: what becomes of each
mod overflow; // sums up to what a bigint holds and beyond, and a source that cannot be trusted
mod rejected; // events that no rule can count: kept whole, counted not at all
mod terms; // what a term may hold: odd geocodes, unusual characters, the longest there is

use serde_json::{Map, Value, json};

use crate::support::{Event, RECORDSET, World};

const DAY: &str = "2020-02-16";

/// The term of the geocode that events have unless a test gives another.
const GAINESVILLE: &str = r#"{"city":"Gainesville","country":"United States","region":"Florida"}"#;

/// Recordsets beside [`RECORDSET`].
const SECOND: &str = "0e162e0a-bf3e-4710-9357-44258ca12abb";
const THIRD: &str = "f9f1b2c4-0000-4000-8000-00000000abcd";

/// A world whose source keeps its JSON to the letter, in columns of type json.
pub(crate) async fn world_of_json() -> World {
    let world = World::new().await;
    world.execute("DROP TABLE stats, queries").await;
    world.create_source_of("timestamptz", "json").await;
    world
}

/// Logs events of the day and applies it.
async fn apply(world: &World, events: &[Event]) {
    world.log(events).await;
    world.run(&["apply", "--day", DAY]).await.assert_exit(0);
}

/// Logs events of the day and posts it, for tests that look at no documents.
async fn post(world: &World, events: &[Event]) {
    world.log(events).await;
    world
        .run(&["apply", "--day", DAY, "--no-project"])
        .await
        .assert_exit(0);
}

/// `apply` makes documents of what it has in memory, a rebuild of what the ledger has: they are the same to the byte.
async fn assert_the_ledger_gives_the_same_documents(world: &World) {
    let applied = world.projections().await;
    world.run(&["rebuild"]).await.assert_exit(0);
    world.assert_documents(&applied).await;
}

/// The cells that the ledger has of a recordset: `"records view"` and so on.
async fn cells_of(world: &World, recordset: &str) -> Value {
    world
        .json(&format!(
            "SELECT coalesce(jsonb_object_agg(record_type || ' ' || stat_type, jsonb_build_object('count', count,
                 'total', total, 'items', items, 'queries', queries, 'geocodes', geocodes)), '{{}}')
             FROM daybook.interaction_delta WHERE recordset_id = '{recordset}'"
        ))
        .await
}

/// How many cells the ledger has.
async fn cells(world: &World) -> String {
    world
        .value("SELECT count(*) FROM daybook.interaction_delta")
        .await
}

/// The cells of a recordset's document that are not zero, named as in [`cells_of`].
async fn documented_cells_of(world: &World, recordset: &str) -> Value {
    let zero = json!({ "count": 0, "total": 0, "items": [], "queries": [], "geocodes": [] });
    let documents = world.documents("").await;
    let (_, _, document) = documents
        .into_iter()
        .find(|(_, _, document)| document["recordset_id"] == recordset)
        .expect("a document of the recordset");
    let mut cells = Map::new();
    for record_type in ["records", "mediarecords"] {
        for (stat_type, cell) in document[record_type].as_object().expect("stat types") {
            if *cell != zero {
                cells.insert(format!("{record_type} {stat_type}"), cell.clone());
            }
        }
    }
    cells.into()
}

/// The geocode of Gainesville, listed `n` times in a document.
fn gainesville(n: i64) -> Value {
    json!([{ "geo": serde_json::from_str::<Value>(GAINESVILLE).expect("JSON"), "count": n }])
}

#[tokio::test]
async fn a_view_counts_the_record_and_where_it_was_viewed_from_but_no_query() {
    let world = World::new().await;
    world.log_query(7, "some query").await;
    let records = Event::new(
        1,
        DAY,
        "view",
        &json!({ "rec-a": RECORDSET, "rec-b": RECORDSET, "rec-c": SECOND }),
    );
    let mediarecords = Event {
        record_type: Some("mediarecords".to_owned()),
        ..Event::view(2, DAY, "media-a", RECORDSET)
    };
    let again = Event::view(3, DAY, "rec-a", RECORDSET);
    let with_query = |event| Event {
        query_id: Some(7),
        ..event
    };
    apply(&world, &[records, mediarecords, again].map(with_query)).await;

    assert_eq!(
        cells_of(&world, RECORDSET).await,
        json!({
            "records view": { "count": 3, "total": 3, "items": { "rec-a": 2, "rec-b": 1 }, "queries": {}, "geocodes": { GAINESVILLE: 3 } },
            "mediarecords view": { "count": 1, "total": 1, "items": { "media-a": 1 }, "queries": {}, "geocodes": { GAINESVILLE: 1 } },
        })
    );
    assert_eq!(
        cells_of(&world, SECOND).await,
        json!({ "records view": { "count": 1, "total": 1, "items": { "rec-c": 1 }, "queries": {}, "geocodes": { GAINESVILLE: 1 } } })
    );
    let of_a_and_b = json!([{ "term": "rec-a", "count": 2 }, { "term": "rec-b", "count": 1 }]);
    let of_media = json!([{ "term": "media-a", "count": 1 }]);
    assert_eq!(
        documented_cells_of(&world, RECORDSET).await,
        json!({
            "records view": { "count": 3, "total": 3, "items": of_a_and_b, "queries": [], "geocodes": gainesville(3) },
            "mediarecords view": { "count": 1, "total": 1, "items": of_media, "queries": [], "geocodes": gainesville(1) },
        })
    );
    assert_eq!(
        world.accounts().await,
        "3 events: 3 counted, 0 ignored, 0 rejected"
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_seen_record_counts_the_record_the_query_and_where_it_was_seen_from() {
    let world = World::new().await;
    world.log_query(7, "some query").await;
    let seen = |id, record_type: &str, payload: &Value| Event {
        record_type: Some(record_type.to_owned()),
        query_id: Some(7),
        ..Event::new(id, DAY, "seen", payload)
    };
    let events = [
        seen(
            1,
            "records",
            &json!({ "rec-a": RECORDSET, "rec-b": RECORDSET }),
        ),
        seen(2, "records", &json!({ "rec-a": RECORDSET })),
        seen(3, "mediarecords", &json!({ "media-a": RECORDSET })),
    ];
    apply(&world, &events).await;

    assert_eq!(
        cells_of(&world, RECORDSET).await,
        json!({
            "records seen": { "count": 3, "total": 3, "items": { "rec-a": 2, "rec-b": 1 }, "queries": { "some query": 3 }, "geocodes": { GAINESVILLE: 3 } },
            "mediarecords seen": { "count": 1, "total": 1, "items": { "media-a": 1 }, "queries": { "some query": 1 }, "geocodes": { GAINESVILLE: 1 } },
        })
    );
    let of_a_and_b = json!([{ "term": "rec-a", "count": 2 }, { "term": "rec-b", "count": 1 }]);
    let of_media = json!([{ "term": "media-a", "count": 1 }]);
    let query = |n| json!([{ "term": "some query", "count": n }]);
    assert_eq!(
        documented_cells_of(&world, RECORDSET).await,
        json!({
            "records seen": { "count": 3, "total": 3, "items": of_a_and_b, "queries": query(3), "geocodes": gainesville(3) },
            "mediarecords seen": { "count": 1, "total": 1, "items": of_media, "queries": query(1), "geocodes": gainesville(1) },
        })
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn search_mapping_and_download_count_once_and_total_the_records_they_found() {
    for stat_type in ["search", "mapping", "download"] {
        let world = World::new().await;
        world.log_query(7, "some query").await;
        let event = |id, record_type: &str, payload: &Value| Event {
            record_type: Some(record_type.to_owned()),
            query_id: Some(7),
            ..Event::new(id, DAY, stat_type, payload)
        };
        let events = [
            event(1, "records", &json!({ RECORDSET: 40, SECOND: 1 })),
            event(2, "records", &json!({ RECORDSET: 2 })),
            event(3, "mediarecords", &json!({ RECORDSET: 5 })),
        ];
        apply(&world, &events).await;

        let names =
            ["records", "mediarecords"].map(|record_type| format!("{record_type} {stat_type}"));
        let [records, mediarecords] = &names;
        assert_eq!(
            cells_of(&world, RECORDSET).await,
            json!({
                records: { "count": 2, "total": 42, "items": {}, "queries": { "some query": 42 }, "geocodes": { GAINESVILLE: 42 } },
                mediarecords: { "count": 1, "total": 5, "items": {}, "queries": { "some query": 5 }, "geocodes": { GAINESVILLE: 5 } },
            })
        );
        assert_eq!(
            cells_of(&world, SECOND).await,
            json!({ records: { "count": 1, "total": 1, "items": {}, "queries": { "some query": 1 }, "geocodes": { GAINESVILLE: 1 } } })
        );
        let query = |n| json!([{ "term": "some query", "count": n }]);
        assert_eq!(
            documented_cells_of(&world, RECORDSET).await,
            json!({
                records: { "count": 2, "total": 42, "items": [], "queries": query(42), "geocodes": gainesville(42) },
                mediarecords: { "count": 1, "total": 5, "items": [], "queries": query(5), "geocodes": gainesville(5) },
            })
        );
        world.assert_sound().await;
        world.end().await;
    }
}

#[tokio::test]
async fn any_other_record_type_is_ignored_whatever_the_event_holds() {
    let world = World::new().await;
    let others = [
        None,
        Some(""),
        Some("recordsets"),
        Some("Records"),
        Some("records "),
        Some("publishers"),
    ];
    let mut events: Vec<Event> = (1..)
        .zip(others)
        .map(|(id, record_type)| Event {
            record_type: record_type.map(str::to_owned),
            ..Event::search(id, DAY, RECORDSET, 5)
        })
        .collect();
    // Not even a defect is looked at.
    events.push(Event {
        record_type: Some("recordsets".to_owned()),
        stat_type: Some("no such type".to_owned()),
        payload: None,
        ..Event::search(7, DAY, RECORDSET, 5)
    });
    events.push(Event::search(8, DAY, RECORDSET, 1));
    post(&world, &events).await;

    assert_eq!(
        world.accounts().await,
        "8 events: 1 counted, 7 ignored, 0 rejected"
    );
    assert_eq!(
        cells_of(&world, RECORDSET).await["records search"]["total"],
        1
    );
    assert_eq!(cells(&world).await, "1");
    assert_eq!(
        world
            .value("SELECT count(*) FROM daybook.rejected_event")
            .await,
        "0"
    );
    world.end().await;
}

#[tokio::test]
async fn no_geocode_and_a_geocode_of_json_null_are_the_term_null() {
    let world = World::new().await;
    let from = |id, geocode: Option<&str>| Event {
        ip_geocode: geocode.map(str::to_owned),
        ..Event::search(id, DAY, RECORDSET, 10)
    };
    // The text "null" is a place of that name; an object of nulls is a place about which nothing is known.
    let text = r#""null""#;
    let nulls = r#"{"city":null,"country":null,"region":null}"#;
    apply(
        &world,
        &[
            from(1, None),
            from(2, Some("null")),
            from(3, Some(text)),
            from(4, Some(nulls)),
        ],
    )
    .await;

    assert_eq!(
        cells_of(&world, RECORDSET).await["records search"]["geocodes"],
        json!({ "null": 20, text: 10, nulls: 10 })
    );
    assert_eq!(
        documented_cells_of(&world, RECORDSET).await["records search"]["geocodes"],
        json!([
            { "geo": null, "count": 20 },
            { "geo": "null", "count": 10 },
            { "geo": { "city": null, "country": null, "region": null }, "count": 10 },
        ])
    );
    world.end().await;
}

#[tokio::test]
async fn a_geocode_is_one_term_however_its_keys_are_ordered_and_its_text_is_spelled() {
    let world = world_of_json().await;
    let spelled = [
        r#"{"region": "Florida", "country": "United States", "city": "Gainesville"}"#,
        r#"{"city":"Gainesville","region":"Florida","country":"United States"}"#,
        "{ \"city\" :\t\"G\\u0061inesville\",\n \"country\": \"United States\", \"region\": \"Florida\" }",
        // The last of a repeated key wins.
        r#"{"city": "Ocala", "country": "United States", "region": "Florida", "city": "Gainesville"}"#,
    ];
    let nested = r#"{"b": {"d": 1, "c": [{"f": 2, "e": 3}]}, "a": 4}"#;
    let events: Vec<Event> = (1..)
        .zip(spelled.into_iter().chain([nested]))
        .map(|(id, geocode)| Event {
            ip_geocode: Some(geocode.to_owned()),
            ..Event::view(id, DAY, "rec", RECORDSET)
        })
        .collect();
    post(&world, &events).await;

    assert_eq!(
        cells_of(&world, RECORDSET).await["records view"]["geocodes"],
        json!({ GAINESVILLE: 4, r#"{"a":4,"b":{"c":[{"e":3,"f":2}],"d":1}}"#: 1 })
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn no_query_is_the_empty_term_in_the_ledger_and_null_in_the_documents() {
    let world = World::new().await;
    world.log_query(7, "some query").await;
    let behind = |id, query_id| Event {
        query_id,
        ..Event::search(id, DAY, RECORDSET, 10)
    };
    let never_logged = Some(99);
    apply(
        &world,
        &[behind(1, None), behind(2, never_logged), behind(3, Some(7))],
    )
    .await;

    assert_eq!(
        cells_of(&world, RECORDSET).await["records search"]["queries"],
        json!({ "": 20, "some query": 10 })
    );
    assert_eq!(
        documented_cells_of(&world, RECORDSET).await["records search"]["queries"],
        json!([{ "term": null, "count": 20 }, { "term": "some query", "count": 10 }])
    );
    assert_the_ledger_gives_the_same_documents(&world).await;
    world.end().await;
}

#[tokio::test]
async fn an_integer_is_one_however_it_is_written() {
    let world = world_of_json().await;
    let written = [
        "12",
        "12.0",
        "12.000",
        "1.2e1",
        "120E-1",
        "1000000000000.0",
        "1e12",
        "-0",
        "0.0",
    ];
    let events: Vec<Event> = (1..)
        .zip(written)
        .map(|(id, n)| Event {
            payload: Some(format!(r#"{{"{RECORDSET}": {n}}}"#)),
            ..Event::search(id, DAY, RECORDSET, 0)
        })
        .collect();
    apply(&world, &events).await;

    assert_eq!(
        world.accounts().await,
        "9 events: 9 counted, 0 ignored, 0 rejected"
    );
    // Two of them are the largest that is taken.
    let total = 5 * 12 + 2 * 1_000_000_000_000_i64;
    let cell = json!({ "count": 9, "total": total, "items": {}, "queries": { "": total }, "geocodes": { GAINESVILLE: total } });
    assert_eq!(cells_of(&world, RECORDSET).await["records search"], cell);
    assert_eq!(
        documented_cells_of(&world, RECORDSET).await["records search"]["total"],
        total
    );
    world.end().await;
}

#[tokio::test]
async fn an_interaction_that_found_nothing_counts_and_lists_no_term() {
    let world = World::new().await;
    world.log_query(7, "a query that finds something").await;
    world.log_query(8, "a query that finds nothing").await;
    let something = Event {
        query_id: Some(7),
        ..Event::new(1, DAY, "search", &json!({ RECORDSET: 3, SECOND: 0 }))
    };
    let nothing = Event {
        query_id: Some(8),
        ip_geocode: Some(r#"{"country":"Atlantis"}"#.to_owned()),
        ..Event::search(2, DAY, RECORDSET, 0)
    };
    apply(&world, &[something, nothing]).await;

    assert_eq!(
        cells_of(&world, RECORDSET).await,
        json!({ "records search": {
            "count": 2, "total": 3, "items": {}, "queries": { "a query that finds something": 3 }, "geocodes": { GAINESVILLE: 3 },
        } })
    );
    assert_eq!(
        cells_of(&world, SECOND).await,
        json!({ "records search": { "count": 1, "total": 0, "items": {}, "queries": {}, "geocodes": {} } })
    );
    assert_eq!(
        documented_cells_of(&world, SECOND).await,
        json!({ "records search": { "count": 1, "total": 0, "items": [], "queries": [], "geocodes": [] } })
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_key_repeated_in_a_payload_counts_once_with_its_last_value() {
    let world = world_of_json().await;
    let holding = |id, stat_type, payload: String| Event {
        payload: Some(payload),
        ..Event::new(id, DAY, stat_type, &json!({}))
    };
    let events = [
        // A value that does not count may even be a bad one.
        holding(
            1,
            "search",
            format!(
                r#"{{"{RECORDSET}": "bad", "{SECOND}": 5, "{RECORDSET}": 1, "{RECORDSET}": 3}}"#
            ),
        ),
        holding(
            2,
            "view",
            format!(r#"{{"rec": "{RECORDSET}", "rec": "{SECOND}"}}"#),
        ),
        // The same key, spelled with an escape.
        holding(
            3,
            "seen",
            format!(r#"{{"rec": "{RECORDSET}", "r\u0065c": "{RECORDSET}"}}"#),
        ),
    ];
    post(&world, &events).await;

    assert_eq!(
        cells_of(&world, RECORDSET).await,
        json!({
            "records search": { "count": 1, "total": 3, "items": {}, "queries": { "": 3 }, "geocodes": { GAINESVILLE: 3 } },
            "records seen": { "count": 1, "total": 1, "items": { "rec": 1 }, "queries": { "": 1 }, "geocodes": { GAINESVILLE: 1 } },
        })
    );
    assert_eq!(
        cells_of(&world, SECOND).await,
        json!({
            "records search": { "count": 1, "total": 5, "items": {}, "queries": { "": 5 }, "geocodes": { GAINESVILLE: 5 } },
            "records view": { "count": 1, "total": 1, "items": { "rec": 1 }, "queries": {}, "geocodes": { GAINESVILLE: 1 } },
        })
    );
    assert_eq!(
        world.accounts().await,
        "3 events: 3 counted, 0 ignored, 0 rejected"
    );
    world.end().await;
}

#[tokio::test]
async fn a_recordset_is_the_same_however_its_uuid_is_spelled() {
    let world = World::new().await;
    let upper = RECORDSET.to_uppercase();
    let plain = RECORDSET.replace('-', "");
    // Two keys are two interactions, also where they name one recordset.
    let search = Event::new(
        1,
        DAY,
        "search",
        &json!({ RECORDSET: 1, &upper: 10, &plain: 100 }),
    );
    let view = Event::new(2, DAY, "view", &json!({ "rec-a": upper, "rec-b": plain }));
    post(&world, &[search, view]).await;

    let found = cells_of(&world, RECORDSET).await;
    assert_eq!(
        (
            &found["records search"]["count"],
            &found["records search"]["total"]
        ),
        (&json!(3), &json!(111))
    );
    assert_eq!(
        found["records view"]["items"],
        json!({ "rec-a": 1, "rec-b": 1 })
    );
    assert_eq!(cells(&world).await, "2");
    world.end().await;
}

#[tokio::test]
async fn an_empty_payload_is_a_counted_event_without_interactions() {
    let world = World::new().await;
    let events = ["view", "seen", "search", "mapping", "download"]
        .map(|stat_type| Event::new(0, DAY, stat_type, &json!({})));
    let events: Vec<Event> = (1..)
        .zip(events)
        .map(|(id, event)| Event { id, ..event })
        .collect();
    world.log(&events).await;
    let ended = world
        .run(&["apply", "--day", DAY, "--json"])
        .await
        .assert_exit(0);

    let day = &ended.messages_of("day")[0];
    assert_eq!(
        (&day["events"], &day["counted"], &day["interactions"]),
        (&json!(5), &json!(5), &json!(0))
    );
    assert_eq!(
        world.accounts().await,
        "5 events: 5 counted, 0 ignored, 0 rejected"
    );
    assert_eq!(cells(&world).await, "0");
    assert!(world.documents("").await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_day_without_events_is_posted_as_an_entry_without_rows() {
    let world = World::new().await;
    let (before, after) = ("2020-02-15", "2020-02-17");
    world
        .log(&[
            Event::search(1, before, RECORDSET, 5),
            Event::search(2, after, RECORDSET, 5),
        ])
        .await;
    apply(&world, &[]).await;

    let entry = "SELECT concat_ws(' ', entry_id, day, kind, delta_rows) FROM daybook.entry";
    assert_eq!(world.value(entry).await, format!("1 {DAY} apply 0"));
    assert_eq!(
        world.accounts().await,
        "0 events: 0 counted, 0 ignored, 0 rejected"
    );
    assert_eq!(cells(&world).await, "0");
    assert!(world.documents("").await.is_empty());
    // The quiet day is applied once, and no gap between its neighbours.
    world
        .run(&["apply", "--from", before, "--to", after])
        .await
        .assert_exit(0);
    assert_eq!(world.entries().await, 3);
    assert_eq!(world.value("SELECT count(*) FROM daybook.gap").await, "0");
    world.assert_sound().await;
    world.end().await;
}
