//! Random days: whatever events a day has, and however many of them come late, the ledger's net of the day is what a
//! recount in SQL finds in the source.
//!
//! The events are drawn from few recordsets, records, geocodes and queries, so that they meet in the same cells and terms,
//! and events of every kind that is ignored or rejected are mixed in. A failure prints its seed and the smallest events
//! found. `PROPTEST_CASES=200` draws more.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{Days, NaiveDate};
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, TestCaseError};
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use proptest::{option, prop_assert_eq, prop_oneof};
use tokio::runtime::Runtime;

use crate::support::{Event, World};

/// Enough for every kind of event to come up in most runs, few enough not to be waited for.
const CASES: u32 = 8;

/// A failing day is applied again for every step of shrinking it.
const SHRINKING_STEPS: u32 = 100;

#[test]
fn the_net_of_a_random_day_is_its_recount_where_the_source_has_jsonb() {
    check_random_days("jsonb");
}

#[test]
fn the_net_of_a_random_day_is_its_recount_where_the_source_has_json() {
    check_random_days("json");
}

/// Applies random days of one ledger, a day per case.
fn check_random_days(json_type: &'static str) {
    let mut config = Config {
        source_file: Some(file!()),
        max_shrink_iters: SHRINKING_STEPS,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    let runtime = Runtime::new().expect("a runtime");
    let world = runtime.block_on(world_of(json_type));
    let case = AtomicI64::new(0);
    let events = || vec(event(json_type), 0..16);
    let outcome = TestRunner::new(config).run(&(events(), events()), |(events, late)| {
        let case = case.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(check_day(&world, case, events, late))
    });
    let failure = outcome.err().map(|failure| failure.to_string());
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    runtime.block_on(async {
        world.assert_sound().await;
        world.end().await;
    });
}

/// A world with the queries that events refer to, and with the recount.
async fn world_of(json_type: &str) -> World {
    let mut world = World::new().await;
    // One of the two worlds divides its cells.
    world.divides = json_type == "json";
    world.execute("DROP TABLE stats, queries").await;
    world.create_source_of("timestamptz", json_type).await;
    world.execute(include_str!("property/recount.sql")).await;
    for (id, hash) in [
        (1, "one query"),
        (2, "another query"),
        (3, ""),
        (TOO_LONG, &"x".repeat(1025)),
    ] {
        world.log_query(id, hash).await;
    }
    world
}

/// The query whose hash is too long to be a term.
const TOO_LONG: i64 = 4;

/// Applies a day, with its late events once more, and compares the ledger with the recount each time.
async fn check_day(
    world: &World,
    case: i64,
    events: Vec<Event>,
    late: Vec<Event>,
) -> Result<(), TestCaseError> {
    let first = NaiveDate::from_ymd_opt(2001, 1, 1).expect("a date");
    let day = (first + Days::new(case.unsigned_abs())).to_string();
    let of_day = |(id, event): (i64, Event)| Event {
        id,
        date: event.date.replace("DAY", &day),
        ..event
    };
    let ids = case * 100;
    let events: Vec<Event> = (ids..).zip(events).map(of_day).collect();
    let late: Vec<Event> = (ids + 50..).zip(late).map(of_day).collect();

    world.log(&events).await;
    prop_assert_eq!(apply(world, &day).await, "apply");
    compare(world, &day).await?;
    world.log(&late).await;
    prop_assert_eq!(
        apply(world, &day).await,
        if late.is_empty() {
            "already_applied"
        } else {
            "correction"
        }
    );
    compare(world, &day).await?;
    prop_assert_eq!(apply(world, &day).await, "already_applied");
    Ok(())
}

/// Applies a day: the kind of the entry that it posts, or why it does not.
async fn apply(world: &World, day: &str) -> String {
    let ended = world
        .run(&["apply", "--day", day, "--no-project", "--json"])
        .await
        .assert_exit(0);
    let report = &ended.messages_of("day")[0];
    let what = report.get("kind").unwrap_or(&report["outcome"]);
    what.as_str().expect("a text").to_owned()
}

/// Compares what the ledger holds of a day with the recount: cells, terms, and what became of the events.
async fn compare(world: &World, day: &str) -> Result<(), TestCaseError> {
    for (ledger, recount) in [
        ("recount.ledger_cell", "recount.cell"),
        ("recount.ledger_term", "recount.term"),
        ("recount.ledger_term_by_view", "recount.term"),
    ] {
        let differing = format!(
            "WITH ledger AS (SELECT * FROM {ledger} WHERE day = '{day}'), recount AS (SELECT * FROM {recount} WHERE day = '{day}')
             SELECT jsonb_agg(d) FROM (
                 SELECT 'too much in the ledger' AS what, l.* FROM (TABLE ledger EXCEPT ALL TABLE recount) l
                 UNION ALL SELECT 'missing in the ledger', r.* FROM (TABLE recount EXCEPT ALL TABLE ledger) r) d"
        );
        prop_assert_eq!(
            world.value(&differing).await,
            "",
            "{} and {}",
            ledger,
            recount
        );
    }
    // A day without events has no figures to recount.
    let recounted = format!(
        "SELECT coalesce((SELECT concat_ws(' ', events, counted, ignored, rejected, rejected_ids) FROM recount.figures
             WHERE day = '{day}'), '0 0 0 0')"
    );
    let kept = format!(
        "SELECT concat_ws(' ', source_events, source_counted, source_ignored, source_rejected, (
             SELECT array_agg(source_id ORDER BY source_id) FROM daybook.rejected_event JOIN daybook.entry USING (entry_id)
             WHERE day = '{day}'))
         FROM daybook.entry WHERE day = '{day}' ORDER BY entry_id DESC LIMIT 1"
    );
    prop_assert_eq!(world.value(&kept).await, world.value(&recounted).await);
    Ok(())
}

/// An event of any kind. Its JSON is text, as no library would write it.
fn event(json_type: &str) -> BoxedStrategy<Event> {
    let to_the_letter = json_type == "json";
    let time = select(vec!["00:00:00", "12:00:00", "23:59:59.999999"]);
    let stat_type = prop_oneof![
        30 => select(vec!["view", "seen", "search", "mapping", "download"]).prop_map(Some),
        1 => select(vec![None, Some("viewed"), Some("")]),
    ];
    let record_type = prop_oneof![
        20 => select(vec!["records", "mediarecords"]).prop_map(Some),
        1 => select(vec![None, Some("recordsets"), Some("Records")]),
    ];
    let payloads = (object(item(to_the_letter)), object(number()), bad_payload());
    let query_id = prop_oneof![
        15 => option::of(select(vec![1, 2, 3, 99])),
        1 => Just(Some(TOO_LONG)),
    ];
    (
        time,
        stat_type,
        record_type,
        payloads,
        geocode(to_the_letter),
        query_id,
    )
        .prop_map(
            |(time, stat_type, record_type, (items, numbers, bad), ip_geocode, query_id)| {
                let fitting = if matches!(stat_type, Some("view" | "seen")) {
                    items
                } else {
                    numbers
                };
                Event {
                    id: 0,
                    date: format!("DAYT{time}Z"),
                    stat_type: stat_type.map(str::to_owned),
                    record_type: record_type.map(str::to_owned),
                    payload: bad.unwrap_or(Some(fitting)),
                    ip_geocode,
                    query_id,
                }
            },
        )
        .boxed()
}

/// An object of a few members, repeated keys not excluded.
fn object(member: impl Strategy<Value = (String, String)>) -> impl Strategy<Value = String> {
    vec(member, 0..5).prop_map(|members| {
        let members: Vec<String> = members
            .iter()
            .map(|(key, value)| format!("{key}: {value}"))
            .collect();
        format!("{{{}}}", members.join(", "))
    })
}

/// In place of most payloads none, and now and then a bad one.
fn bad_payload() -> impl Strategy<Value = Option<Option<String>>> {
    let bad = select(vec![
        None,
        Some("null"),
        Some("[]"),
        Some("[{}]"),
        Some("\"text\""),
        Some("12"),
        Some("false"),
    ]);
    prop_oneof![
        30 => Just(None),
        1 => bad.prop_map(|bad| Some(bad.map(str::to_owned))),
    ]
}

/// Two recordsets, the first in different spellings.
const RECORDSETS: [&str; 4] = [
    r#""00038086-3303-4b89-b2d6-1b84e7598f0e""#,
    r#""00038086-3303-4B89-B2D6-1B84E7598F0E""#,
    r#""0003808633034b89b2d61b84e7598f0e""#,
    r#""f9f1b2c4-0000-4000-8000-00000000abcd""#,
];

/// A member of the payload of a view.
fn item(to_the_letter: bool) -> impl Strategy<Value = (String, String)> {
    let too_long = format!("\"{}\"", "x".repeat(1025));
    let mut bad_records = vec![too_long];
    if to_the_letter {
        bad_records.extend([r#""a\u0000b""#, r#""\ud800""#].map(str::to_owned));
    }
    let record = prop_oneof![
        60 => select(vec![r#""a""#, r#""\u0061""#, r#""b""#, r#""""#, r#""\"é😀\\\n""#]).prop_map(str::to_owned),
        1 => select(bad_records),
    ];
    let recordset = prop_oneof![
        60 => select(RECORDSETS.to_vec()),
        1 => select(vec![r#""not a uuid""#, r#""""#, "5", "null", "{}"]),
    ];
    (record, recordset.prop_map(str::to_owned))
}

/// A member of the payload of a search.
fn number() -> impl Strategy<Value = (String, String)> {
    let recordset = prop_oneof![
        60 => select(RECORDSETS.to_vec()),
        1 => select(vec![r#""not a uuid""#, r#""""#]),
    ];
    let n = prop_oneof![
        60 => select(vec!["0", "1", "2", "12", "12.0", "1.2e1", "0.0", "1000000000000"]),
        1 => select(vec![r#""12""#, "1.5", "-1", "true", "null", "[1]", "9223372036854775808", "1e30"]),
    ];
    (recordset.prop_map(str::to_owned), n.prop_map(str::to_owned))
}

/// A geocode: three places in different spellings, oddities, none; now and then a bad one.
fn geocode(to_the_letter: bool) -> impl Strategy<Value = Option<String>> {
    let good = select(vec![
        None,
        Some("null"),
        Some(r#"{"country":"US","region":"FL","city":"Ocala"}"#),
        Some(r#"{"city": "Oc\u0061la", "region": "FL", "country": "US"}"#),
        Some(r#"{"city":"Miami","country":"US","region":"FL","city":"Ocala"}"#),
        Some(r#"{"city":"Miami","country":"US","region":"FL"}"#),
        // Its keys are in another order by length than by bytes.
        Some(r#"{"b":1,"aa":"\t\"é\"","B":null}"#),
        Some(r#""Ocala""#),
        Some("{}"),
    ]);
    let mut bad = vec![format!("\"{}\"", "x".repeat(1023))];
    if to_the_letter {
        bad.extend([r#"{"city":"\u0000"}"#, r#"{"city":"\udc00"}"#].map(str::to_owned));
    }
    prop_oneof![
        30 => good.prop_map(|geocode| geocode.map(str::to_owned)),
        1 => select(bad).prop_map(Some),
    ]
}
