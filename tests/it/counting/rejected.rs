//! Events that no rule can count: kept whole in the ledger, with the reason, and counted not at all.

use serde_json::{Value, json};

use super::{DAY, SECOND, THIRD, apply, cells, cells_of, post, world_of_json};
use crate::support::{Event, RECORDSET, World};

/// A rejected event as the ledger keeps it.
#[derive(serde::Deserialize)]
struct Rejected {
    entry_id: i64,
    source_id: i64,
    reason: String,
    message: String,
    event: Value,
}

/// The rejected events, by their source id.
async fn rejected(world: &World) -> Vec<Rejected> {
    // json, as jsonb would refuse what some of the events hold.
    let all = "SELECT coalesce(json_agg(r ORDER BY source_id), '[]') FROM daybook.rejected_event r";
    serde_json::from_value(world.json(all).await).expect("rejected events")
}

/// An event of a type with this payload.
fn with_payload(id: i64, stat_type: &str, payload: Option<&str>) -> Event {
    Event {
        payload: payload.map(str::to_owned),
        ..Event::new(id, DAY, stat_type, &Value::Null)
    }
}

/// Applies a day of defective events and checks that each is rejected for its reason, in words that name what was found,
/// and that nothing is counted.
async fn assert_rejected(world: World, defective: &[(Event, &str, &str)]) {
    let events: Vec<Event> = (1..)
        .zip(defective)
        .map(|(id, (event, ..))| Event {
            id,
            ..event.clone()
        })
        .collect();
    post(&world, &events).await;

    let n = defective.len();
    assert_eq!(
        world.accounts().await,
        format!("{n} events: 0 counted, 0 ignored, {n} rejected")
    );
    assert_eq!(cells(&world).await, "0");
    let rejected = rejected(&world).await;
    assert_eq!(rejected.len(), n);
    for (rejected, (event, (_, reason, said))) in rejected.iter().zip(events.iter().zip(defective))
    {
        assert_eq!((rejected.entry_id, rejected.source_id), (1, event.id));
        assert_eq!(rejected.reason, *reason, "{}: {event:?}", rejected.message);
        assert!(
            rejected.message.contains(said),
            "'{said}' is missing in: {}",
            rejected.message
        );
        let payload: Option<Value> = event
            .payload
            .as_ref()
            .map(|text| serde_json::from_str(text).expect("JSON"));
        assert_eq!(rejected.event["payload"], payload.unwrap_or_default());
        assert_eq!(
            (&rejected.event["id"], &rejected.event["type"]),
            (&json!(event.id), &json!(event.stat_type))
        );
    }
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_payload_that_is_not_an_object_is_rejected() {
    let reason = "payload_not_an_object";
    let mut defective = Vec::new();
    for stat_type in ["view", "seen", "search", "mapping", "download"] {
        for (payload, said) in [
            (None, "payload is NULL"),
            (Some("null"), "payload is null, not an object"),
            (Some("[]"), "payload is an array"),
            (
                Some(r#"[{"00038086-3303-4b89-b2d6-1b84e7598f0e": 5}]"#),
                "payload is an array",
            ),
            (
                Some(r#""00038086-3303-4b89-b2d6-1b84e7598f0e""#),
                "payload is a string",
            ),
            (
                Some("12"),
                "payload is a number, not an object: it starts '12'",
            ),
            (Some("true"), "payload is a boolean"),
        ] {
            defective.push((with_payload(0, stat_type, payload), reason, said));
        }
    }
    assert_rejected(World::new().await, &defective).await;
}

#[tokio::test]
async fn a_recordset_id_that_is_no_uuid_is_rejected_as_value_and_as_key() {
    let reason = "recordset_not_a_uuid";
    let mut defective = Vec::new();
    for (value, said) in [
        (r#""not a uuid""#, "not a uuid"),
        (r#""""#, "recordset id"),
        (
            r#""00038086-3303-4b89-b2d6-1b84e7598f0""#,
            "00038086-3303-4b89-b2d6-1b84e7598f0 ",
        ),
        (r#""00038086-3303-4b89-b2d6-1b84e7598f0g""#, "1b84e7598f0g"),
        (r#"" 0038086-3303-4b89-b2d6-1b84e7598f0e""#, " 0038086"),
        (r#""{00038086-3303-4b89-b2d6-1b84e7598f0e}""#, "{00038086"),
        (
            r#""urn:uuid:00038086-3303-4b89-b2d6-1b84e7598f0e""#,
            "urn:uuid:",
        ),
        ("5", "5"),
        ("null", "null"),
        (r#"["00038086-3303-4b89-b2d6-1b84e7598f0e"]"#, "["),
    ] {
        let as_value = format!(r#"{{"rec": {value}}}"#);
        for stat_type in ["view", "seen"] {
            defective.push((with_payload(0, stat_type, Some(&as_value)), reason, said));
        }
        if value.starts_with('"') {
            let as_key = format!("{{{value}: 5}}");
            for stat_type in ["search", "mapping", "download"] {
                defective.push((with_payload(0, stat_type, Some(&as_key)), reason, said));
            }
        }
    }
    assert_rejected(World::new().await, &defective).await;
}

#[tokio::test]
async fn a_number_of_records_that_is_no_natural_number_is_rejected() {
    let mut defective = Vec::new();
    for (n, reason) in [
        (r#""12""#, "not_a_natural_number"),
        ("1.5", "not_a_natural_number"),
        ("0.00000000000000000001", "not_a_natural_number"),
        ("12.00000000000000000001", "not_a_natural_number"),
        ("-1", "not_a_natural_number"),
        ("-1.5", "not_a_natural_number"),
        ("true", "not_a_natural_number"),
        ("false", "not_a_natural_number"),
        ("null", "not_a_natural_number"),
        ("[12]", "not_a_natural_number"),
        (r#"{"n": 12}"#, "not_a_natural_number"),
        ("1000000000001", "number_too_large"),
        ("1000000000000.5", "not_a_natural_number"),
        ("1000000000001.0", "number_too_large"),
        ("9223372036854775807", "number_too_large"),
        ("9223372036854775808", "number_too_large"),
        ("9223372036854775808.0", "number_too_large"),
        (
            "100000000000000000000000000000000000000000",
            "number_too_large",
        ),
    ] {
        for stat_type in ["search", "mapping", "download"] {
            let payload = format!(r#"{{"{RECORDSET}": {n}}}"#);
            defective.push((
                with_payload(0, stat_type, Some(&payload)),
                reason,
                RECORDSET,
            ));
        }
    }
    assert_rejected(World::new().await, &defective).await;
}

#[tokio::test]
async fn a_number_with_a_large_exponent_is_rejected_and_kept_to_the_letter() {
    let world = world_of_json().await;
    let payload = format!(r#"{{"{RECORDSET}":   1e99999999999}}"#);
    post(&world, &[with_payload(1, "search", Some(&payload))]).await;
    let kept = "SELECT format('%s: %s', reason, event->'payload') FROM daybook.rejected_event";
    assert_eq!(
        world.value(kept).await,
        format!("number_too_large: {payload}")
    );
    world.end().await;
}

#[tokio::test]
async fn an_unknown_type_is_rejected() {
    let defective = [
        None,
        Some(""),
        Some("viewed"),
        Some("View"),
        Some("view "),
        Some("it's \"new\"\n"),
    ]
    .map(|stat_type| {
        let event = Event {
            stat_type: stat_type.map(str::to_owned),
            ..Event::view(0, DAY, "rec", RECORDSET)
        };
        let said = match stat_type {
            None => "type is NULL",
            // A message is one line, whatever it quotes.
            Some("it's \"new\"\n") => r#"it\'s \"new\"\n"#,
            Some(name) => name,
        };
        (event, "unknown_type", said)
    });
    assert_rejected(World::new().await, &defective).await;
}

#[tokio::test]
async fn a_term_of_more_than_1024_bytes_is_rejected() {
    let world = World::new().await;
    let reason = "term_too_long";
    let too_long = format!("{}x", "é".repeat(512));
    world.log_query(7, &too_long).await;
    let record = json!({ &too_long: RECORDSET });
    let city = json!({ "c": "é".repeat(508) + "x" }).to_string();
    assert_eq!((too_long.len(), city.len()), (1025, 1025));
    let mut defective = Vec::new();
    for stat_type in ["view", "seen"] {
        defective.push((
            Event::new(0, DAY, stat_type, &record),
            reason,
            "record id of 1025 bytes",
        ));
    }
    for stat_type in ["seen", "search", "mapping", "download"] {
        let payload = if stat_type == "seen" {
            json!({ "rec": RECORDSET })
        } else {
            json!({ RECORDSET: 5 })
        };
        let behind = Event {
            query_id: Some(7),
            ..Event::new(0, DAY, stat_type, &payload)
        };
        let from = Event {
            ip_geocode: Some(city.clone()),
            ..Event::new(0, DAY, stat_type, &payload)
        };
        defective.push((behind, reason, "query hash of 1025 bytes"));
        defective.push((from, reason, "ip_geocode of 1025 bytes"));
    }
    assert_rejected(world, &defective).await;
}

#[tokio::test]
async fn a_term_with_nul_is_rejected_and_kept_to_the_letter() {
    let world = world_of_json().await;
    let view = Event::view(1, DAY, "rec\0ord", RECORDSET);
    let search = Event {
        ip_geocode: Some(r#"{"city":   "Gaines\u0000ville"}"#.to_owned()),
        ..Event::search(2, DAY, RECORDSET, 5)
    };
    let key = Event {
        ip_geocode: Some(r#"{"a": [{"ci\u0000ty": 5}]}"#.to_owned()),
        ..Event::search(3, DAY, RECORDSET, 5)
    };
    // Text that looks like NUL and is not.
    let backslash = Event::view(4, DAY, r"rec\u0000ord", RECORDSET);
    post(
        &world,
        &[view.clone(), search.clone(), key.clone(), backslash],
    )
    .await;

    assert_eq!(
        world.accounts().await,
        "4 events: 1 counted, 0 ignored, 3 rejected"
    );
    let counted = cells_of(&world, RECORDSET).await;
    assert_eq!(
        counted["records view"]["items"],
        json!({ r"rec\u0000ord": 1 })
    );
    assert_eq!(cells(&world).await, "1");
    for (event, what) in [
        (view, "record id"),
        (search, "ip_geocode"),
        (key, "ip_geocode"),
    ] {
        let of_event = |column: &str| {
            format!(
                "SELECT {column} FROM daybook.rejected_event WHERE source_id = {}",
                event.id
            )
        };
        assert_eq!(world.value(&of_event("reason")).await, "term_holds_nul");
        let message = world.value(&of_event("message")).await;
        assert!(
            message.contains(what) && message.contains("NUL"),
            "{message}"
        );
        let kept = world.value(&of_event("event")).await;
        assert!(
            kept.contains(&format!(
                r#""payload":{}"#,
                event.payload.expect("a payload")
            )),
            "{kept}"
        );
        assert!(
            kept.contains(&format!(
                r#""ip_geocode":{}"#,
                event.ip_geocode.expect("a geocode")
            )),
            "{kept}"
        );
    }
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn text_that_is_not_unicode_is_rejected_and_kept_to_the_letter() {
    // A json column accepts half of a surrogate pair, which is not a character.
    let world = world_of_json().await;
    let payload = format!(r#"{{"rec\ud800": "{RECORDSET}"}}"#);
    let view = with_payload(1, "view", Some(&payload));
    let search = Event {
        ip_geocode: Some(r#"{"city": "\udc00"}"#.to_owned()),
        ..Event::search(2, DAY, RECORDSET, 5)
    };
    post(&world, &[view, search]).await;

    assert_eq!(
        world.accounts().await,
        "2 events: 0 counted, 0 ignored, 2 rejected"
    );
    for (id, reason, column, text) in [
        (1, "payload_not_an_object", "payload", payload.as_str()),
        (
            2,
            "geocode_unreadable",
            "ip_geocode",
            r#"{"city": "\udc00"}"#,
        ),
    ] {
        let rejected = format!(
            "SELECT concat_ws(' ', reason, event) FROM daybook.rejected_event WHERE source_id = {id}"
        );
        let rejected = world.value(&rejected).await;
        assert!(rejected.starts_with(reason), "{rejected}");
        assert!(
            rejected.contains(&format!(r#""{column}":{text}"#)),
            "{rejected}"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn a_geocode_nested_too_deeply_to_be_read_is_rejected_and_kept() {
    let world = World::new().await;
    let geocode = "[".repeat(200) + &"]".repeat(200);
    let search = Event {
        ip_geocode: Some(geocode.clone()),
        ..Event::search(1, DAY, RECORDSET, 5)
    };
    post(&world, &[search]).await;
    let kept = "SELECT concat_ws(' ', reason, event->'ip_geocode') FROM daybook.rejected_event";
    assert_eq!(
        world.value(kept).await,
        format!("geocode_unreadable {geocode}")
    );
    world.end().await;
}

#[tokio::test]
async fn json_nested_deeper_than_the_ledger_s_server_can_read_is_rejected_and_kept_as_text() {
    let world = world_of_json().await;
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let payload = |id, levels| {
        with_payload(
            id,
            "search",
            Some(&format!(r#"{{"{RECORDSET}": {}}}"#, deep(levels))),
        )
    };
    let view = with_payload(2, "view", Some(&format!(r#"{{"rec": {}}}"#, deep(30_000))));
    let from = Event {
        ip_geocode: Some(deep(30_000)),
        ..Event::search(3, DAY, RECORDSET, 5)
    };
    let events = [
        payload(1, 30_000),
        view,
        from,
        payload(4, 998),
        Event::search(5, DAY, RECORDSET, 5),
    ];
    // A server that was given a larger stack takes them.
    let inserts: Vec<String> = events.iter().map(Event::insert).collect();
    world
        .execute(&format!(
            "SET max_stack_depth = '6MB'; {}",
            inserts.join(";")
        ))
        .await;
    world.run(&["apply", "--day", DAY]).await.assert_exit(0);

    assert_eq!(
        world.accounts().await,
        "5 events: 1 counted, 0 ignored, 4 rejected"
    );
    let reasons = "SELECT string_agg(source_id || ' ' || reason, ', ' ORDER BY source_id) FROM daybook.rejected_event";
    assert_eq!(
        world.value(reasons).await,
        "1 not_a_natural_number, 2 recordset_not_a_uuid, 3 geocode_unreadable, 4 not_a_natural_number"
    );
    // As a string where it is too deep for JSON, else as it is.
    for (id, column) in [
        (1, "payload"),
        (2, "payload"),
        (3, "ip_geocode"),
        (4, "payload"),
    ] {
        let kept =
            format!("SELECT event->>'{column}' FROM daybook.rejected_event WHERE source_id = {id}");
        let logged = format!("SELECT {column} FROM stats WHERE id = {id}");
        assert_eq!(
            world.value(&kept).await,
            world.value(&logged).await,
            "event {id}"
        );
    }
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn one_bad_payload_entry_rejects_the_whole_event_and_half_counts_nothing() {
    let world = World::new().await;
    let good = [
        Event::search(1, DAY, RECORDSET, 5),
        Event::view(2, DAY, "rec", RECORDSET),
    ];
    let long = "x".repeat(1025);
    let bad = [
        // jsonb orders keys by length and bytes: the bad entry comes first, in the middle, last.
        Event::new(
            3,
            DAY,
            "search",
            &json!({ RECORDSET: "bad", SECOND: 10, THIRD: 10 }),
        ),
        Event::new(
            4,
            DAY,
            "search",
            &json!({ RECORDSET: 10, SECOND: -1, THIRD: 10 }),
        ),
        Event::new(
            5,
            DAY,
            "mapping",
            &json!({ RECORDSET: 10, SECOND: 10, THIRD: 1.5 }),
        ),
        Event::new(
            6,
            DAY,
            "download",
            &json!({ RECORDSET: 10, "not a uuid": 10 }),
        ),
        Event::new(
            7,
            DAY,
            "view",
            &json!({ "a": RECORDSET, "b": "not a uuid", "c": SECOND }),
        ),
        Event::new(8, DAY, "seen", &json!({ "a": RECORDSET, long: SECOND })),
        // All entries are good, what they share is not.
        Event {
            ip_geocode: Some(json!("x".repeat(1023)).to_string()),
            ..Event::new(9, DAY, "search", &json!({ RECORDSET: 10, SECOND: 10 }))
        },
    ];
    apply(&world, &[&good[..], &bad].concat()).await;

    assert_eq!(
        world.accounts().await,
        "9 events: 2 counted, 0 ignored, 7 rejected"
    );
    let ids: Vec<i64> = rejected(&world)
        .await
        .iter()
        .map(|rejected| rejected.source_id)
        .collect();
    assert_eq!(ids, [3, 4, 5, 6, 7, 8, 9]);
    let totals = "SELECT string_agg(concat_ws(' ', recordset_id, stat_type, count, total), ', ' ORDER BY stat_type)
                  FROM daybook.interaction_delta";
    assert_eq!(
        world.value(totals).await,
        format!("{RECORDSET} search 1 5, {RECORDSET} view 1 1")
    );
    assert_eq!(world.documents("").await.len(), 1);
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_rejected_event_is_kept_with_all_columns_of_its_row() {
    let world = World::new().await;
    world
        .execute("ALTER TABLE stats ADD COLUMN ip inet, ADD COLUMN source text DEFAULT 'portal'")
        .await;
    world.log_query(7, "some query").await;
    let bad = Event {
        date: format!("{DAY}T23:59:59.999999Z"),
        query_id: Some(7),
        ..Event::new(
            123,
            DAY,
            "viewed",
            &json!({ "rec": RECORDSET, "more": [1, "two", null] }),
        )
    };
    post(&world, &[bad]).await;
    assert_eq!(
        rejected(&world).await[0].event,
        json!({
            "id": 123, "date": "2020-02-16T23:59:59.999999+00:00", "type": "viewed", "record_type": "records",
            "payload": { "rec": RECORDSET, "more": [1, "two", null] },
            "ip_geocode": { "country": "United States", "region": "Florida", "city": "Gainesville" },
            "query_id": 7, "query_hash": "some query", "ip": null, "source": "portal",
        })
    );
    world.end().await;
}

#[tokio::test]
async fn a_payload_is_kept_to_the_letter_repeated_keys_and_all() {
    let world = world_of_json().await;
    let payload = format!(r#"{{ "{RECORDSET}" : 1,  "{RECORDSET}":"1" , "\u0041": 1e2 }}"#);
    post(&world, &[with_payload(1, "search", Some(&payload))]).await;
    assert_eq!(
        world
            .value("SELECT event->'payload' FROM daybook.rejected_event")
            .await,
        payload
    );
    world.end().await;
}

#[tokio::test]
async fn a_rejected_event_is_kept_once_by_the_first_entry_that_met_it() {
    let world = World::new().await;
    let bad = |id| Event {
        stat_type: Some("viewed".to_owned()),
        ..Event::view(id, DAY, "rec", RECORDSET)
    };
    post(&world, &[bad(1), Event::search(2, DAY, RECORDSET, 5)]).await;
    // Late events: one to be counted, one to be rejected; then one to be rejected alone.
    post(&world, &[bad(3), Event::search(4, DAY, RECORDSET, 5)]).await;
    assert_eq!(
        world.accounts().await,
        "4 events: 2 counted, 0 ignored, 2 rejected"
    );
    post(&world, &[bad(5)]).await;
    assert_eq!(
        world.accounts().await,
        "5 events: 2 counted, 0 ignored, 3 rejected"
    );

    let kept: Vec<(i64, i64)> = rejected(&world)
        .await
        .iter()
        .map(|event| (event.source_id, event.entry_id))
        .collect();
    assert_eq!(kept, [(1, 1), (3, 2), (5, 3)]);
    let entries = "SELECT string_agg(concat_ws(' ', kind, delta_rows), ', ' ORDER BY entry_id) FROM daybook.entry";
    assert_eq!(
        world.value(entries).await,
        "apply 1, correction 1, correction 0"
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_message_quotes_an_excerpt_of_what_was_found_not_all_of_it() {
    let world = World::new().await;
    let huge = "x".repeat(100_000);
    let text = json!(huge).to_string();
    let events = [
        with_payload(1, "view", Some(&text)),
        with_payload(2, "view", Some(&json!({ "rec": huge }).to_string())),
        with_payload(3, "search", Some(&json!({ huge.as_str(): 5 }).to_string())),
        with_payload(4, "search", Some(&json!({ RECORDSET: huge }).to_string())),
        Event {
            stat_type: Some(huge.clone()),
            ..Event::view(5, DAY, "rec", RECORDSET)
        },
        Event {
            ip_geocode: Some(text.clone()),
            ..Event::view(6, DAY, "rec", RECORDSET)
        },
        Event::view(7, DAY, &huge, RECORDSET),
    ];
    post(&world, &events).await;
    let long = "SELECT string_agg(format('%s: %s characters', source_id, length(message)), ', ' ORDER BY source_id)
                FROM daybook.rejected_event WHERE length(message) > 500";
    assert_eq!(world.value(long).await, "");
    assert_eq!(
        world.accounts().await,
        "7 events: 0 counted, 0 ignored, 7 rejected"
    );
    world.end().await;
}
