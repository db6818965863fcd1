//! A day of odd events, each legal JSON and each found in a log some day: what becomes of every one of them.
//!
//! Columns of type json, which keep what jsonb would change or refuse.

use serde_json::Value;

use super::{DAY, world_of_json};
use crate::support::{Event, World};

/// The expected result of an event: its interactions and records, or why it is not counted.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Counted(i64, i64),
    Ignored,
    Rejected(&'static str),
}
use Fate::{Counted, Ignored, Rejected};

/// One event and what becomes of it.
struct Odd(&'static str, String, &'static str, Option<i64>, Fate);

const ONE: &str = "00000000-0000-4000-8000-000000000001";
const TWO: &str = "00000000-0000-4000-8000-000000000002";
const QUERIES: [(i64, &str, usize); 6] = [
    (1, "h1", 1),
    (2, "q", 1024),
    (3, "q", 1025),
    (4, r#"a"b\c"#, 1),
    (5, "", 1),
    (6, "h ü", 1),
];

/// Searches by what stands for the number.
fn searches() -> Vec<Odd> {
    let not_natural = Rejected("not_a_natural_number");
    let too_large = Rejected("number_too_large");
    [
        ("3", Counted(1, 3)),
        ("12.0", Counted(1, 12)),
        ("1.2e1", Counted(1, 12)),
        ("-0", Counted(1, 0)),
        ("0", Counted(1, 0)),
        ("1e12", Counted(1, 1_000_000_000_000)),
        ("9007199254740993.0", too_large),
        ("9223372036854775807", too_large),
        ("9223372036854775808", too_large),
        ("1e-400", not_natural),
        ("12.00000000000000000001", not_natural),
        ("1.5", not_natural),
        ("-1", not_natural),
        (r#""7""#, not_natural),
        ("true", not_natural),
        ("null", not_natural),
        ("[1]", not_natural),
    ]
    .into_iter()
    .map(|(number, fate)| {
        Odd(
            "search",
            format!(r#"{{"{ONE}": {number}}}"#),
            "{}",
            Some(1),
            fate,
        )
    })
    .collect()
}

/// Searches by the form of their payload.
fn payloads() -> Vec<Odd> {
    let (no_object, no_uuid) = (
        Rejected("payload_not_an_object"),
        Rejected("recordset_not_a_uuid"),
    );
    [
        (format!(r#"{{"{ONE}": 1, "{ONE}": 5}}"#), Counted(1, 5)),
        (format!(r#"{{"{ONE}": "x", "{ONE}": 5}}"#), Counted(1, 5)),
        // One recordset in three spellings.
        (
            r#"{"00000000-0000-4000-8000-00000000000A": 2, "00000000-0000-4000-8000-00000000000a": 3, "0000000000004000800000000000000a": 4}"#.to_owned(),
            Counted(3, 9),
        ),
        (r#"{"\u0030\u0030000000-0000-4000-8000-000000000001": 3}"#.to_owned(), Counted(1, 3)),
        ("{}".to_owned(), Counted(0, 0)),
        (r#"{"not-a-uuid": 3}"#.to_owned(), no_uuid),
        (format!(r#"{{"{{{ONE}}}": 3}}"#), no_uuid),
        ("[1]".to_owned(), no_object),
        ("null".to_owned(), no_object),
        (r#""x""#.to_owned(), no_object),
    ]
    .into_iter()
    .map(|(payload, fate)| Odd("search", payload, "{}", Some(1), fate))
    .collect()
}

/// Views by their payload.
fn views() -> Vec<Odd> {
    let (no_uuid, too_long) = (Rejected("recordset_not_a_uuid"), Rejected("term_too_long"));
    let of = |keys: &[&str]| {
        let members: Vec<String> = keys
            .iter()
            .map(|key| format!(r#""{key}": "{ONE}""#))
            .collect();
        format!("{{{}}}", members.join(", "))
    };
    [
        (of(&["a"]), Counted(1, 1)),
        (format!(r#"{{"a": "{ONE}", "a": "{TWO}"}}"#), Counted(1, 1)),
        (of(&[r"\u00e9", "é"]), Counted(1, 1)),
        // In the order of bytes, of UTF-16 units and of length these are not the same.
        (of(&["é", "😀", "zz", "aaa", "\u{ffff}"]), Counted(5, 5)),
        (
            of(&["a b  c", r#"q\"uote"#, r"back\\slash", r"sl\/ash"]),
            Counted(4, 4),
        ),
        (of(&[""]), Counted(1, 1)),
        (of(&[&"k".repeat(1024)]), Counted(1, 1)),
        (of(&[&"k".repeat(1025)]), too_long),
        (of(&[&"é".repeat(513)]), too_long),
        (of(&[r"a\u0000b"]), Rejected("term_holds_nul")),
        (of(&[r"\ud800"]), Rejected("payload_not_an_object")),
        (r#"{"a": null}"#.to_owned(), no_uuid),
        (r#"{"a": 5}"#.to_owned(), no_uuid),
        (format!(r#"{{"a": "{}"}}"#, &ONE[1..]), no_uuid),
        (format!(r#"{{"a": "{ONE} "}}"#), no_uuid),
    ]
    .into_iter()
    .map(|(payload, fate)| Odd("view", payload, "{}", Some(1), fate))
    .collect()
}

/// Events by their geocode and their query.
fn origins() -> Vec<Odd> {
    let long = Box::leak(format!(r#"{{"c": "{}"}}"#, "x".repeat(1020)).into_boxed_str());
    let one = Counted(1, 1);
    [
        (
            "seen",
            r#"{"country": "US", "region": "TX", "city": "New  York"}"#,
            Some(2),
            one,
        ),
        (
            "seen",
            r#"{"city": "New  York", "region": "TX", "country": "US"}"#,
            Some(3),
            Rejected("term_too_long"),
        ),
        // Of a view no query is counted.
        (
            "view",
            r#"{"city": "New  York", "region": "TX", "country": "US"}"#,
            Some(3),
            one,
        ),
        ("seen", r#"{"country": null, "city": "São"}"#, Some(4), one),
        (
            "seen",
            r#"{"country": null, "country": "BR"}"#,
            Some(5),
            one,
        ),
        ("seen", "null", Some(6), one),
        ("seen", " null ", Some(6), one),
        (
            "seen",
            r#"{"lat": 1.50, "n": 1e2, "a": [1, {"z":1,"b":true}]}"#,
            Some(99),
            one,
        ),
        ("seen", r#""x""#, None, one),
        (
            "seen",
            r#"{"c": "a\u0000b"}"#,
            None,
            Rejected("term_holds_nul"),
        ),
        ("seen", r#"{"c": "a\u00e9\/\u0001\n\u007f"}"#, None, one),
        ("seen", long, None, Rejected("term_too_long")),
        (
            "seen",
            "{\"é\": \"1\", \"z\": \"2\", \"\u{ffff}\": \"3\", \"😀\": \"4\"}",
            None,
            one,
        ),
        ("download", "{\n \"country\":\t\"US\"}", Some(1), one),
    ]
    .into_iter()
    .map(|(stat_type, geocode, query_id, fate)| {
        let payload = if stat_type == "download" {
            format!(r#"{{"{ONE}": 1}}"#)
        } else {
            format!(r#" {{ "a" : "{ONE}" }} "#)
        };
        Odd(stat_type, payload, geocode, query_id, fate)
    })
    .collect()
}

/// Events by their type and record type.
fn types() -> Vec<(Event, Fate)> {
    let unknown = Rejected("unknown_type");
    [
        (Some("teleport"), Some("records"), unknown),
        (None, Some("records"), unknown),
        (Some("Search"), Some("records"), unknown),
        (Some("search"), Some("publishers"), Ignored),
        (Some("search"), None, Ignored),
        (Some("teleport"), Some("x"), Ignored),
        (Some("search"), Some("mediarecords"), Counted(1, 1)),
    ]
    .into_iter()
    .map(|(stat_type, record_type, fate)| {
        let [stat_type, record_type] = [stat_type, record_type].map(|name| name.map(str::to_owned));
        (
            Event {
                stat_type,
                record_type,
                ..Event::search(0, DAY, ONE, 1)
            },
            fate,
        )
    })
    .collect()
}

/// All of them, with ids.
fn events() -> Vec<(Event, Fate)> {
    let mut events: Vec<(Event, Fate)> = [searches(), payloads(), views(), origins()]
        .into_iter()
        .flatten()
        .map(|Odd(stat_type, payload, geocode, query_id, fate)| {
            let (payload, ip_geocode) = (Some(payload), Some(geocode.to_owned()));
            (
                Event {
                    payload,
                    ip_geocode,
                    query_id,
                    ..Event::new(0, DAY, stat_type, &Value::Null)
                },
                fate,
            )
        })
        .chain(types())
        .collect();
    events.push((
        Event {
            payload: None,
            ..Event::search(0, DAY, ONE, 1)
        },
        Rejected("payload_not_an_object"),
    ));
    // The first and the last moment of the day, and those beside it.
    for (instant, fate) in [
        ("2020-02-16T00:00:00Z", Counted(1, 1)),
        ("2020-02-16T23:59:59.999999Z", Counted(1, 1)),
    ] {
        events.push((
            Event {
                date: instant.to_owned(),
                ..Event::search(0, DAY, ONE, 1)
            },
            fate,
        ));
    }
    for (id, (event, _)) in (1..).zip(&mut events) {
        event.id = id;
    }
    events
}

/// Logs them, their queries, and events of the days before and after.
pub(crate) async fn log_odd_events(world: &World) {
    for (id, text, times) in QUERIES {
        world.log_query(id, &text.repeat(times)).await;
    }
    let events = events();
    let logged: Vec<Event> = events.iter().map(|(event, _)| event.clone()).collect();
    world.log(&logged).await;
    for (id, instant) in [
        (1001, "2020-02-17T00:00:00Z"),
        (1002, "2020-02-15T23:59:59.999999Z"),
    ] {
        world
            .log(&[Event {
                date: instant.to_owned(),
                ..Event::search(id, DAY, ONE, 1)
            }])
            .await;
    }
}

#[tokio::test]
async fn every_odd_event_of_a_day_is_counted_ignored_or_rejected_as_the_rules_say() {
    let world = world_of_json().await;
    log_odd_events(&world).await;
    let events = events();
    let ended = world
        .run(&["apply", "--day", DAY, "--json"])
        .await
        .assert_exit(0);

    let fates = |is: fn(&Fate) -> bool| events.iter().filter(|(_, fate)| is(fate)).count();
    let rejected = fates(|fate| matches!(fate, Rejected(_)));
    let (counted, ignored) = (
        fates(|fate| matches!(fate, Counted(..))),
        fates(|fate| matches!(fate, Ignored)),
    );
    let expected = format!(
        "{} events: {counted} counted, {ignored} ignored, {rejected} rejected",
        events.len()
    );
    assert_eq!(world.accounts().await, expected);
    let reasons: Vec<String> = events
        .iter()
        .filter_map(|(event, fate)| {
            if let Rejected(why) = fate {
                Some(format!("{} {why}", event.id))
            } else {
                None
            }
        })
        .collect();
    let found = "SELECT string_agg(source_id || ' ' || reason, ', ' ORDER BY source_id) FROM daybook.rejected_event";
    assert_eq!(world.value(found).await, reasons.join(", "));
    let sums = events.iter().fold((0, 0), |sums, (_, fate)| match fate {
        Counted(interactions, records) => (sums.0 + interactions, sums.1 + records),
        _ => sums,
    });
    let day = &ended.messages_of("day")[0];
    assert_eq!(
        (day["interactions"].as_i64(), day["records"].as_i64()),
        (Some(sums.0), Some(sums.1))
    );
    // Whatever was rejected is kept as it was logged, also what SQL's functions on JSON would stumble over.
    let changed = "SELECT string_agg(source_id::text, ' ') FROM daybook.rejected_event JOIN stats ON id = source_id
                   WHERE position(format('\"payload\":%s,', coalesce(payload::text, 'null')) IN event::text) = 0
                      OR position(format('\"ip_geocode\":%s,', ip_geocode) IN event::text) = 0";
    assert_eq!(world.value(changed).await, "");
    world.assert_sound().await;
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}
