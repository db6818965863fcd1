//! Clocks that are wrong, days that are posted before they are over, dates that no event can have, and how long a day is
//! looked at again.

use chrono::Days;

use crate::support::{Event, RECORDSET, World};

const SECONDS_PER_DAY: i64 = 24 * 3600;

fn in_days(days: i64) -> String {
    (daybook::clock::now() + chrono::TimeDelta::days(days))
        .date_naive()
        .to_string()
}

fn days_ago(days: u64) -> String {
    (daybook::clock::now().date_naive() - Days::new(days)).to_string()
}

/// The entries with a kind, as days from today on.
async fn journal(world: &World, kind: &str) -> String {
    let today = in_days(0);
    world
        .value(&format!(
            "SELECT string_agg((day - '{today}'::date)::text, ' ' ORDER BY entry_id) FROM daybook.entry WHERE kind = '{kind}'"
        ))
        .await
}

#[tokio::test]
async fn nothing_is_posted_while_this_machine_s_clock_and_the_server_s_disagree() {
    let world = World::new().await;
    world
        .log(&[Event::search(1, &days_ago(1), RECORDSET, 5)])
        .await;
    // A second more than what is told: an answer takes a moment.
    for (seconds, apart) in [
        (30 * SECONDS_PER_DAY + 60, "30 d 0 h apart"),
        (-7300, "2 h 1 min apart"),
        (320, "5 min apart"),
    ] {
        let seconds = seconds.to_string();
        let offset = [("DAYBOOK_CLOCK_OFFSET", seconds.as_str())];
        for command in [
            &["apply", "--no-project"][..],
            &["apply", "--dry-run"],
            &["collect-stats"],
            &["reverse", "1", "--reason", "a test", "--no-project"],
        ] {
            let refused = world.run_with(&offset, command).await.assert_exit(75);
            refused.says(&[
                "this machine's clock says 20",
                "the ledger's server 20",
                apart,
                "--max-clock-skew",
            ]);
        }
        let status = world.run_with(&offset, &["status"]).await.assert_exit(0);
        status.tells(&[
            "this machine's clock says 20",
            "nothing is posted until they agree",
        ]);
    }
    assert_eq!(
        world.value("SELECT count(*) FROM daybook.run_start").await,
        "0"
    );
    assert_eq!(world.entries().await, 0);
    // A little they always disagree, and how much is a setting.
    world
        .run_with(&[("DAYBOOK_CLOCK_OFFSET", "-240")], &["apply", "--dry-run"])
        .await
        .assert_exit(0);
    let narrow = [
        ("DAYBOOK_CLOCK_OFFSET", "-240"),
        ("DAYBOOK_MAX_CLOCK_SKEW", "3m"),
    ];
    world
        .run_with(&narrow, &["apply", "--dry-run"])
        .await
        .assert_exit(75);
    for (nonsense, told) in [
        ("5", "'5' is not a time"),
        ("5w", "such as 30s"),
        ("9999d", "up to 366d"),
    ] {
        world
            .run(&["apply", "--max-clock-skew", nonsense])
            .await
            .assert_exit(2)
            .says(&[told]);
    }
    world.end().await;
}

#[tokio::test]
async fn days_that_were_posted_under_a_wrong_clock_are_named_and_their_events_counted_once_they_are_over()
 {
    let world = World::new().await;
    world
        .run(&["apply", "--day", &days_ago(1), "--no-project"])
        .await
        .assert_exit(0);
    // Somebody insists, and a month of days is posted that have not happened.
    let offset = (30 * SECONDS_PER_DAY).to_string();
    let wrong = [
        ("DAYBOOK_CLOCK_OFFSET", offset.as_str()),
        ("DAYBOOK_MAX_CLOCK_SKEW", "31d"),
    ];
    world
        .run_with(&wrong, &["apply", "--no-project"])
        .await
        .assert_exit(0);
    assert_eq!(world.entries().await, 31);
    let (first, last) = (in_days(1), in_days(29));
    world
        .run(&["status"])
        .await
        .assert_exit(0)
        .tells(&[&format!("{first} to {last}, 29 days, with entries")]);
    let found = world.run(&["verify", "--ledger"]).await.assert_exit(4);
    found.tells(&[
        &format!("{first} to {last}: has entries and has not begun yet"),
        "daybook reverse",
    ]);

    // Yesterday's events are noticed all the same, and those of the others when they are over.
    world
        .log(&[
            Event::search(1, &days_ago(1), RECORDSET, 5),
            Event::search(2, &in_days(0), RECORDSET, 5),
        ])
        .await;
    world.run(&["apply", "--no-project"]).await.assert_exit(0);
    assert_eq!(journal(&world, "correction").await, "-1");
    let offset = (2 * SECONDS_PER_DAY).to_string();
    let later = [
        ("DAYBOOK_CLOCK_OFFSET", offset.as_str()),
        ("DAYBOOK_MAX_CLOCK_SKEW", "31d"),
    ];
    world
        .run_with(&later, &["apply", "--no-project"])
        .await
        .assert_exit(0);
    assert_eq!(journal(&world, "correction").await, "-1 0");
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_day_that_was_posted_while_it_was_open_is_looked_at_again_when_it_is_over() {
    let world = World::new().await;
    let today = in_days(0);
    world.log(&[Event::search(1, &today, RECORDSET, 5)]).await;
    world
        .run(&["apply", "--day", &today, "--day-open", "--no-project"])
        .await
        .assert_exit(0);
    world.log(&[Event::search(2, &today, RECORDSET, 5)]).await;
    // Only then.
    world.run(&["apply", "--no-project"]).await.assert_exit(0);
    assert_eq!(journal(&world, "correction").await, "");
    let tomorrow = [
        ("DAYBOOK_CLOCK_OFFSET", "90000"),
        ("DAYBOOK_MAX_CLOCK_SKEW", "2d"),
    ];
    world
        .run_with(&tomorrow, &["apply", "--no-project"])
        .await
        .assert_exit(0);
    assert_eq!(journal(&world, "correction").await, "0");
    world.end().await;
}

#[tokio::test]
async fn a_machine_that_was_off_for_weeks_looks_again_at_the_days_that_were_fresh_when_it_last_ran()
{
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, &days_ago(30), RECORDSET, 5),
            Event::search(2, &days_ago(23), RECORDSET, 5),
        ])
        .await;
    world
        .run(&[
            "apply",
            "--from",
            &days_ago(31),
            "--to",
            &days_ago(22),
            "--no-project",
        ])
        .await
        .assert_exit(0);
    // It was three weeks ago that it did.
    world
        .execute(
            "ALTER TABLE daybook.run_start DISABLE TRIGGER USER;
             UPDATE daybook.run_start SET started_at = started_at - interval '21 days';
             ALTER TABLE daybook.run_start ENABLE TRIGGER USER",
        )
        .await;
    let late = |id, days| Event::search(id, &days_ago(days), RECORDSET, 5);
    world
        .log(&[late(3, 30), late(4, 28), late(5, 23), late(6, 10)])
        .await;
    world.run(&["apply", "--no-project"]).await.assert_exit(0);
    // 21 days ago those of 28 days ago and later had been over for less than seven days.
    assert_eq!(journal(&world, "correction").await, "-28 -23");
    let caught_up = (1..22)
        .rev()
        .map(|days| format!("-{days}"))
        .collect::<Vec<_>>()
        .join(" ");
    assert!(journal(&world, "apply").await.ends_with(&caught_up));
    // Now they have been looked at.
    world.log(&[late(7, 23), late(8, 7)]).await;
    world.run(&["apply", "--no-project"]).await.assert_exit(0);
    assert_eq!(journal(&world, "correction").await, "-28 -23 -7");
    world.end().await;
}

#[tokio::test]
async fn a_day_that_is_refused_counts_as_looked_at_and_one_that_failed_does_not() {
    let world = World::new().await;
    for (id, day) in [(1, 2), (2, 2), (3, 1), (4, 1)] {
        world
            .log(&[Event::search(id, &days_ago(day), RECORDSET, 5)])
            .await;
    }
    world
        .run(&[
            "apply",
            "--from",
            &days_ago(2),
            "--to",
            &days_ago(1),
            "--no-project",
        ])
        .await
        .assert_exit(0);
    let read = "SELECT string_agg(figures->>'days_read', ' ' ORDER BY started_at) FROM daybook.run";
    let both = format!(r#"[["{}", "{}"]]"#, days_ago(2), days_ago(1));
    assert_eq!(world.value(read).await, both);
    // One day has lost an event; of the other the rows cannot be read.
    world.execute("DELETE FROM stats WHERE id = 1").await;
    world
        .execute("ALTER TABLE queries DROP CONSTRAINT queries_pkey; INSERT INTO queries VALUES (7, 'a'), (7, 'b')")
        .await;
    world
        .log(&[Event {
            query_id: Some(7),
            ..Event::search(5, &days_ago(1), RECORDSET, 5)
        }])
        .await;
    world
        .run(&["apply", "--no-project"])
        .await
        .assert_exit(1)
        .says(&["2 of 2 days failed"]);
    assert_eq!(
        world.value(read).await,
        format!(r#"{both} [["{0}", "{0}"]]"#, days_ago(2))
    );
    world.end().await;
}

#[tokio::test]
async fn an_event_of_1970_does_not_make_the_days_since_then_days_to_post() {
    let world = World::new().await;
    let recent =
        (1..=3).map(|days| Event::search(days, &days_ago(days.unsigned_abs()), RECORDSET, 5));
    let mut events: Vec<Event> = recent.collect();
    events.push(Event::search(666, "1970-01-02", RECORDSET, 5));
    let dated = |id, date: &str| Event {
        date: date.to_owned(),
        ..Event::search(id, &days_ago(1), RECORDSET, 5)
    };
    events.extend([
        dated(71, "infinity"),
        dated(72, "-infinity"),
        dated(73, "4000-01-01 BC"),
        dated(74, "9999-12-31"),
    ]);
    world.log(&events).await;
    let gap = format!(
        "1970-01-03 to {}  skipped: the source has no events",
        days_ago(4)
    );
    for _ in 0..2 {
        let ended = world
            .run(&["apply", "--all", "--no-project"])
            .await
            .assert_exit(0);
        ended.tells(&[
            &gap,
            "1970-01-02 to 1970-01-02  skipped: 1 event dated a year or more before all later ones: id 666",
            "--include-gaps",
            "ids 71, 72, 73, 74",
        ]);
        assert_eq!(journal(&world, "apply").await, "-3 -2 -1");
    }
    assert_eq!(world.value("SELECT count(*) FROM daybook.gap").await, "0");
    let messages = world
        .run(&["apply", "--all", "--no-project", "--json"])
        .await
        .assert_exit(0);
    assert_eq!(
        messages.messages_of("strays_left_out")[0]["source_ids"],
        serde_json::json!([666])
    );
    assert_eq!(
        messages.messages_of("gap_left_out")[0]["from"],
        "1970-01-03"
    );
    assert_eq!(
        messages.messages_of("events_out_of_time")[0]["source_ids"],
        serde_json::json!([71, 72, 73, 74])
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn the_timer_does_not_run_into_years_without_events_either() {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, &days_ago(2), RECORDSET, 5),
            Event::search(2, "1970-01-02", RECORDSET, 5),
        ])
        .await;
    // A person posted it, and with it made the ledger begin in 1970.
    world
        .run(&["apply", "--day", "1970-01-02", "--no-project"])
        .await
        .assert_exit(0);
    let ended = world.run(&["apply", "--no-project"]).await.assert_exit(0);
    ended.tells(&[&format!(
        "1970-01-03 to {}  skipped: the source has no events on these",
        days_ago(3)
    )]);
    let recent = "SELECT string_agg(day::text, ' ' ORDER BY entry_id) FROM daybook.entry WHERE day > '1970-01-02'";
    assert_eq!(
        world.value(recent).await,
        [days_ago(2), days_ago(1)].join(" ")
    );
    world.end().await;
}

#[tokio::test]
async fn a_year_without_events_is_posted_if_somebody_asks_for_it() {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, &days_ago(370), RECORDSET, 5),
            Event::search(2, &days_ago(1), RECORDSET, 5),
        ])
        .await;
    let days = |arguments: &'static [&'static str]| {
        let world = &world;
        async move {
            let arguments = [&["apply", "--all", "--dry-run", "--json"][..], arguments].concat();
            world
                .run(&arguments)
                .await
                .assert_exit(0)
                .messages_of("day_dry_run")
                .len()
        }
    };
    assert_eq!(days(&[]).await, 1);
    assert_eq!(days(&["--include-gaps"]).await, 370);
    // Of less than a year nothing is left out.
    world
        .execute(&format!(
            "UPDATE stats SET date = '{}' WHERE id = 1",
            days_ago(366)
        ))
        .await;
    assert_eq!(days(&[]).await, 366);
    world.end().await;
}
