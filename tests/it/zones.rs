//! Days in time zones: a day is a civil date, whatever its length, and each instant belongs to exactly one.

use std::collections::BTreeMap;

use daybook::day::{Day, TimeZone};

use crate::support::{Event, RECORDSET, World};

/// Consecutive days, and the instants that belong to them.
type Days<'a> = &'a [(&'a str, &'a [&'a str])];

/// A ledger with its days in this zone, and a source with dates of this type.
async fn world_in(zone: &str, date_type: &str) -> World {
    let world = World::unmigrated().await;
    world
        .run(&["migrate", "--time-zone", zone])
        .await
        .assert_exit(0);
    world.create_source_of(date_type, "jsonb").await;
    // Days are the ledger's: neither the server's zone nor a role's has a say.
    world
        .execute(&format!(
            "ALTER DATABASE {} SET TimeZone = 'Asia/Kathmandu'",
            world.database
        ))
        .await;
    world
}

/// Logs an event at each of the instants, applies all of the days, and checks that each day holds its own.
///
/// Each event views a record that is named for the event's instant: the day's items are its instants.
async fn assert_days(zone: &str, date_type: &str, ranges: &[Days<'_>]) {
    let world = world_in(zone, date_type).await;
    let days: Vec<_> = ranges.concat();
    let instants = days.iter().flat_map(|(_, instants)| instants.iter());
    let events: Vec<Event> = (1..)
        .zip(instants)
        .map(|(id, instant)| Event {
            date: (*instant).to_owned(),
            ..Event::view(id, "2000-01-01", instant, RECORDSET)
        })
        .collect();
    world.log(&events).await;
    for range in ranges {
        let (first, last) = (range[0].0, range[range.len() - 1].0);
        let apply = ["apply", "--from", first, "--to", last, "--no-project"];
        world.run(&apply).await.assert_exit(0);
    }

    let found = world
        .json(
            "SELECT jsonb_object_agg(e.day, (SELECT coalesce(jsonb_agg(t.term), '[]')
                 FROM daybook.interaction_term_delta t WHERE t.entry_id = e.entry_id AND t.dimension = 'items'))
             FROM daybook.entry e",
        )
        .await;
    let sorted = |instants: &[&str]| {
        let mut sorted: Vec<String> = instants.iter().map(ToString::to_string).collect();
        sorted.sort_unstable();
        sorted
    };
    let mut found: BTreeMap<String, Vec<String>> = serde_json::from_value(found).expect("days");
    for instants in found.values_mut() {
        instants.sort_unstable();
    }
    let expected: BTreeMap<String, Vec<String>> = days
        .iter()
        .map(|(day, instants)| ((*day).to_owned(), sorted(instants)))
        .collect();
    assert_eq!(found, expected, "{zone}, {date_type}");
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_day_is_from_its_first_microsecond_to_its_last() {
    let days: Days<'_> = &[
        ("2020-02-15", &["2020-02-15T23:59:59.999999Z"]),
        (
            "2020-02-16",
            &["2020-02-16T00:00:00Z", "2020-02-16T23:59:59.999999Z"],
        ),
        ("2020-02-17", &["2020-02-17T00:00:00Z"]),
    ];
    assert_days("UTC", "timestamptz", &[days]).await;
    // Here the zone that is written is not even read.
    assert_days("UTC", "timestamp", &[days]).await;
}

#[tokio::test]
async fn a_ledger_that_names_no_zone_has_its_days_in_utc() {
    let world = World::new().await;
    assert_eq!(
        world.value("SELECT time_zone FROM daybook.ledger").await,
        "UTC"
    );
    // Just before midnight in UTC, the next day in Berlin already.
    let event = Event {
        date: "2020-02-16T23:30:00Z".to_owned(),
        ..Event::search(1, "2020-02-16", RECORDSET, 5)
    };
    world.log(&[event]).await;
    world
        .run(&["apply", "--day", "2020-02-16"])
        .await
        .assert_exit(0);
    assert_eq!(
        world.accounts().await,
        "1 events: 1 counted, 0 ignored, 0 rejected"
    );
    world.end().await;
}

#[tokio::test]
async fn the_days_on_which_the_clocks_change_have_23_and_25_hours_in_berlin() {
    let of_23_hours: Days<'_> = &[
        ("2020-03-28", &["2020-03-28T22:59:59.999999Z"]),
        (
            "2020-03-29",
            &[
                "2020-03-28T23:00:00Z",
                "2020-03-29T01:00:00Z",
                "2020-03-29T21:59:59.999999Z",
            ],
        ),
        ("2020-03-30", &["2020-03-29T22:00:00Z"]),
    ];
    let of_25_hours: Days<'_> = &[
        ("2020-10-24", &["2020-10-24T21:59:59.999999Z"]),
        // Half past two comes twice.
        (
            "2020-10-25",
            &[
                "2020-10-24T22:00:00Z",
                "2020-10-25T00:30:00Z",
                "2020-10-25T01:30:00Z",
                "2020-10-25T22:59:59.999999Z",
            ],
        ),
        ("2020-10-26", &["2020-10-25T23:00:00Z"]),
    ];
    assert_days("Europe/Berlin", "timestamptz", &[of_23_hours, of_25_hours]).await;
}

#[tokio::test]
async fn the_days_on_which_the_clocks_change_have_23_and_25_hours_in_new_york() {
    let of_23_hours: Days<'_> = &[
        ("2020-03-07", &["2020-03-08T04:59:59.999999Z"]),
        (
            "2020-03-08",
            &[
                "2020-03-08T05:00:00Z",
                "2020-03-08T07:00:00Z",
                "2020-03-09T03:59:59.999999Z",
            ],
        ),
        ("2020-03-09", &["2020-03-09T04:00:00Z"]),
    ];
    let of_25_hours: Days<'_> = &[
        ("2020-10-31", &["2020-11-01T03:59:59.999999Z"]),
        (
            "2020-11-01",
            &[
                "2020-11-01T04:00:00Z",
                "2020-11-01T05:30:00Z",
                "2020-11-01T06:30:00Z",
                "2020-11-02T04:59:59.999999Z",
            ],
        ),
        ("2020-11-02", &["2020-11-02T05:00:00Z"]),
    ];
    assert_days(
        "America/New_York",
        "timestamptz",
        &[of_23_hours, of_25_hours],
    )
    .await;
}

#[tokio::test]
async fn dates_without_a_zone_are_read_in_the_zone_of_the_ledger() {
    // Civil times as the clocks on the wall show them, on days on which the clocks of one of the zones change: half past
    // two is skipped in spring, comes twice in autumn, and is of the day either way.
    let spring: Days<'_> = &[
        ("2020-03-07", &["2020-03-07 23:59:59.999999"]),
        (
            "2020-03-08",
            &[
                "2020-03-08 00:00:00",
                "2020-03-08 02:30:00",
                "2020-03-08 23:59:59.999999",
            ],
        ),
        ("2020-03-09", &["2020-03-09 00:00:00"]),
    ];
    let autumn: Days<'_> = &[
        ("2020-10-24", &["2020-10-24 23:59:59.999999"]),
        (
            "2020-10-25",
            &[
                "2020-10-25 00:00:00",
                "2020-10-25 02:30:00",
                "2020-10-25 23:59:59.999999",
            ],
        ),
        ("2020-10-26", &["2020-10-26 00:00:00"]),
    ];
    for zone in ["Europe/Berlin", "America/New_York"] {
        assert_days(zone, "timestamp", &[spring, autumn]).await;
    }
}

#[tokio::test]
async fn a_day_without_midnight_starts_when_the_clocks_have_jumped() {
    // In Beirut it was 23:59:59 and then 01:00:00.
    let days: Days<'_> = &[
        (
            "2021-03-27",
            &["2021-03-26T22:00:00Z", "2021-03-27T21:59:59.999999Z"],
        ),
        (
            "2021-03-28",
            &["2021-03-27T22:00:00Z", "2021-03-28T20:59:59.999999Z"],
        ),
        ("2021-03-29", &["2021-03-28T21:00:00Z"]),
    ];
    assert_days("Asia/Beirut", "timestamptz", &[days]).await;
}

#[tokio::test]
async fn a_day_with_two_midnights_starts_at_the_first() {
    // In Havana it was 00:59:59 and then 00:00:00 once more.
    let days: Days<'_> = &[
        ("2020-10-31", &["2020-11-01T03:59:59.999999Z"]),
        (
            "2020-11-01",
            &[
                "2020-11-01T04:00:00Z",
                "2020-11-01T04:59:59.999999Z",
                "2020-11-01T05:00:00Z",
                "2020-11-02T04:59:59.999999Z",
            ],
        ),
        ("2020-11-02", &["2020-11-02T05:00:00Z"]),
    ];
    assert_days("America/Havana", "timestamptz", &[days]).await;
}

#[tokio::test]
async fn a_day_whose_last_hour_comes_twice_has_both() {
    // In São Paulo it was 23:59:59 and then 23:00:00 once more.
    let days: Days<'_> = &[
        (
            "2019-02-16",
            &[
                "2019-02-16T02:00:00Z",
                "2019-02-17T01:59:59.999999Z",
                "2019-02-17T02:59:59.999999Z",
            ],
        ),
        (
            "2019-02-17",
            &["2019-02-17T03:00:00Z", "2019-02-18T02:59:59.999999Z"],
        ),
        ("2019-02-18", &["2019-02-18T03:00:00Z"]),
    ];
    assert_days("America/Sao_Paulo", "timestamptz", &[days]).await;
}

#[tokio::test]
async fn a_day_that_a_zone_skipped_is_a_quiet_day() {
    // Samoa changed sides of the date line: the 29th was followed by the 31st.
    let days: Days<'_> = &[
        (
            "2011-12-29",
            &["2011-12-29T10:00:00Z", "2011-12-30T09:59:59.999999Z"],
        ),
        ("2011-12-30", &[]),
        ("2011-12-31", &["2011-12-30T10:00:00Z"]),
    ];
    assert_days("Pacific/Apia", "timestamptz", &[days]).await;
}

#[tokio::test]
async fn late_events_at_the_edges_of_the_hour_that_comes_twice_are_picked_up_by_the_look_back() {
    // Three days with their last moments; then what comes late, all of the day of 25 hours between the others.
    for (date_type, last_moments, late) in [
        (
            "timestamptz",
            [
                "2020-10-24T21:59:59.999999Z",
                "2020-10-25T22:59:59.999999Z",
                "2020-10-26T22:59:59.999999Z",
            ],
            &[
                "2020-10-24T22:00:00Z",
                "2020-10-25T00:00:00Z",
                "2020-10-25T00:59:59.999999Z",
                "2020-10-25T01:00:00Z",
                "2020-10-25T01:59:59.999999Z",
            ][..],
        ),
        (
            "timestamp",
            [
                "2020-10-24 23:59:59.999999",
                "2020-10-25 23:59:59.999999",
                "2020-10-26 23:59:59.999999",
            ],
            &[
                "2020-10-25 00:00:00",
                "2020-10-25 02:00:00",
                "2020-10-25 02:59:59.999999",
            ],
        ),
    ] {
        let world = world_in("Europe/Berlin", date_type).await;
        let at = |id: i64, instant: &str| Event {
            date: instant.to_owned(),
            ..Event::view(id, "2000-01-01", instant, RECORDSET)
        };
        let events: Vec<Event> = (1..)
            .zip(last_moments)
            .map(|(id, instant)| at(id, instant))
            .collect();
        world.log(&events).await;
        world
            .run(&[
                "apply",
                "--from",
                "2020-10-24",
                "--to",
                "2020-10-26",
                "--no-project",
            ])
            .await
            .assert_exit(0);
        let events: Vec<Event> = (4..)
            .zip(late)
            .map(|(id, instant)| at(id, instant))
            .collect();
        world.log(&events).await;
        world
            .run(&[
                "apply",
                "--from",
                "2020-10-24",
                "--to",
                "2020-10-26",
                "--no-project",
            ])
            .await
            .assert_exit(0);

        let corrections = "SELECT string_agg(concat_ws(' ', day, source_events), ', ') FROM daybook.entry WHERE kind = 'correction'";
        assert_eq!(
            world.value(corrections).await,
            format!("2020-10-25 {}", late.len() + 1),
            "{date_type}"
        );
        let added = "SELECT string_agg(t.term, ' ' ORDER BY t.term) FROM daybook.interaction_term_delta t
                     JOIN daybook.entry e USING (entry_id) WHERE e.kind = 'correction' AND t.dimension = 'items'";
        assert_eq!(world.value(added).await, late.join(" "), "{date_type}");
        world.assert_sound().await;
        world.end().await;
    }
}

/// The day before today, by the clocks of a zone.
fn yesterday_in(zone: &str) -> Day {
    zone.parse::<TimeZone>()
        .expect("a zone")
        .day_of(daybook::clock::now())
        .previous()
}

#[tokio::test]
async fn yesterday_is_the_ledger_s_and_not_that_of_greenwich() {
    // Between them lie 25 hours: at any time, it is another day in one of them than in the other.
    for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago"] {
        for command in [&["apply", "--no-project"][..], &["collect-stats"]] {
            let world = world_in(zone, "timestamptz").await;
            let before = yesterday_in(zone);
            world.run(command).await.assert_exit(0);
            let posted = world
                .value("SELECT string_agg(day::text, ' ') FROM daybook.entry")
                .await;
            let possible = [before, yesterday_in(zone)].map(|day| day.to_string());
            assert!(
                possible.contains(&posted),
                "{zone}, {command:?}: {posted}, not {possible:?}"
            );
            world.end().await;
        }
    }
}

#[tokio::test]
async fn collect_stats_collects_the_day_of_25_hours_before_its_date() {
    let world = world_in("Europe/Berlin", "timestamptz").await;
    let instants = [
        "2020-10-24T21:59:59.999999Z",
        "2020-10-24T22:00:00Z",
        "2020-10-25T22:59:59.999999Z",
        "2020-10-25T23:00:00Z",
    ];
    let events: Vec<Event> = (1..)
        .zip(instants)
        .map(|(id, instant)| Event {
            date: instant.to_owned(),
            ..Event::view(id, "2000-01-01", instant, RECORDSET)
        })
        .collect();
    world.log(&events).await;
    world
        .run(&["collect-stats", "-d", "2020-10-26"])
        .await
        .assert_exit(0);
    assert_eq!(
        world
            .value("SELECT concat_ws(' ', day, source_events) FROM daybook.entry")
            .await,
        "2020-10-25 2"
    );
    let documents = world.documents("").await;
    assert_eq!(documents.len(), 1);
    assert_eq!(
        documents[0].2["harvest_date"]
            .as_str()
            .map(|date| &date[..10]),
        Some("2020-10-26")
    );
    assert_eq!(documents[0].2["records"]["view"]["total"], 2);
    world.end().await;
}

#[tokio::test]
async fn a_ledger_keeps_the_zone_it_was_created_with() {
    let world = World::unmigrated().await;
    world
        .run(&["migrate", "--time-zone", "Europe/Berlin"])
        .await
        .assert_exit(0);
    let refused = world
        .run(&["migrate", "--time-zone", "America/New_York"])
        .await;
    refused
        .assert_exit(2)
        .says(&["Europe/Berlin", "America/New_York"]);
    // The same zone again, or none, changes nothing.
    world
        .run(&["migrate", "--time-zone", "Europe/Berlin"])
        .await
        .assert_exit(0);
    let again = world.run(&["migrate", "--json"]).await.assert_exit(0);
    assert_eq!(
        again.messages_of("migrated")[0]["time_zone"],
        "Europe/Berlin"
    );
    assert_eq!(
        world
            .value("SELECT string_agg(time_zone, ' ') FROM daybook.ledger")
            .await,
        "Europe/Berlin"
    );
    world.end().await;
}

#[tokio::test]
async fn a_name_that_is_no_zone_is_refused_and_creates_nothing() {
    let world = World::unmigrated().await;
    for nonsense in ["Europe/Atlantis", "berlin", "UTC+1", "+01:00", ""] {
        let refused = world.run(&["migrate", "--time-zone", nonsense]).await;
        refused.assert_exit(2).says(&["--time-zone"]);
    }
    assert_eq!(
        world
            .value("SELECT count(*) FROM pg_namespace WHERE nspname = 'daybook'")
            .await,
        "0"
    );
    world.end().await;
}
