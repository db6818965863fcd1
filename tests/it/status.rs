//! `daybook status` about the past: days that only the ledger knows any more, and days that were posted more than once.

use serde_json::{Value, json};

use crate::support::{Event, RECORDSET, World};

/// What status says of the ledger.
async fn ledger_status(world: &World, settings: &[(&str, &str)]) -> Value {
    world
        .run_with(settings, &["status", "--json"])
        .await
        .assert_exit(0)
        .messages_of("ledger_status")
        .remove(0)
}

/// A ledger in Berlin of four days, one of them quiet, whose source has dates of this type.
async fn four_days(date_type: &str) -> World {
    let world = World::unmigrated().await;
    world
        .run(&["migrate", "--time-zone", "Europe/Berlin"])
        .await
        .assert_exit(0);
    world.create_source_of(date_type, "jsonb").await;
    let at = |id: i64, date: &str| Event {
        date: date.to_owned(),
        ..Event::search(id, "2020-10-24", RECORDSET, id)
    };
    // The first and the last moment of a day of 25 hours, and what is next to them.
    let dates = match date_type {
        "timestamp" => [
            "2020-10-24 23:59:59.999999",
            "2020-10-25 00:00:00",
            "2020-10-25 23:59:59.999999",
            "2020-10-27 00:00:00",
        ],
        _ => [
            "2020-10-24T21:59:59.999999Z",
            "2020-10-24T22:00:00Z",
            "2020-10-25T22:59:59.999999Z",
            "2020-10-26T23:00:00Z",
        ],
    };
    let events: Vec<Event> = (1..).zip(dates).map(|(id, date)| at(id, date)).collect();
    world.log(&events).await;
    world
        .run(&[
            "apply",
            "--from",
            "2020-10-24",
            "--to",
            "2020-10-27",
            "--no-project",
        ])
        .await
        .assert_exit(0);
    world
}

#[tokio::test]
async fn days_whose_events_are_purged_are_sealed_and_quiet_days_are_not() {
    for date_type in ["timestamptz", "timestamp"] {
        let world = four_days(date_type).await;
        let none = json!({ "days": 0, "first": null, "last": null });
        assert_eq!(
            ledger_status(&world, &[]).await["sealed"],
            none,
            "{date_type}"
        );

        world.execute("DELETE FROM stats WHERE id = 1").await;
        let one = json!({ "days": 1, "first": "2020-10-24", "last": "2020-10-24" });
        assert_eq!(
            ledger_status(&world, &[]).await["sealed"],
            one,
            "{date_type}"
        );
        world.execute("DELETE FROM stats WHERE id = 2").await;
        assert_eq!(
            ledger_status(&world, &[]).await["sealed"],
            one,
            "{date_type}: one event of the next day is left"
        );
        world.execute("DELETE FROM stats WHERE id = 3").await;
        let two = json!({ "days": 2, "first": "2020-10-24", "last": "2020-10-25" });
        assert_eq!(
            ledger_status(&world, &[]).await["sealed"],
            two,
            "{date_type}"
        );
        world.execute("DELETE FROM stats").await;
        let all = json!({ "days": 3, "first": "2020-10-24", "last": "2020-10-27" });
        assert_eq!(
            ledger_status(&world, &[]).await["sealed"],
            all,
            "{date_type}"
        );
        let text = world.run(&["status"]).await.assert_exit(0);
        text.tells(&["sealed           3 days, 2020-10-24 to 2020-10-27: no longer in the source, kept as posted"]);

        // What was decided about a day in full is not sealed: the ledger has no events of it either.
        world
            .run(&[
                "apply",
                "--day",
                "2020-10-25",
                "--accept-decrease",
                "--no-project",
            ])
            .await
            .assert_exit(0);
        let sealed = &ledger_status(&world, &[]).await["sealed"];
        assert_eq!(sealed["days"], 2, "{date_type}");
        world.end().await;
    }
}

#[tokio::test]
async fn without_the_source_status_says_so_and_tells_the_rest() {
    let world = four_days("timestamptz").await;
    let elsewhere = [(
        "DAYBOOK_SOURCE_URL",
        "postgres://nobody@127.0.0.1:1/nowhere",
    )];
    let status = ledger_status(&world, &elsewhere).await;
    assert_eq!(
        (&status["sealed"], &status["last_day"]),
        (&Value::Null, &json!("2020-10-27"))
    );
    let problem = status["source_problem"].as_str().expect("a problem");
    assert!(
        problem.starts_with("cannot connect to the source (database nowhere on 127.0.0.1:1"),
        "{problem}"
    );
    let text = world.run_with(&elsewhere, &["status"]).await.assert_exit(0);
    text.tells(&[
        "source           not checked: cannot connect to the source",
        "applied          2020-10-24 to 2020-10-27",
    ]);

    world.execute("DROP TABLE stats").await;
    let text = world.run(&["status"]).await.assert_exit(0);
    text.tells(&[
        "source           not checked: the source",
        "has no table stats with a column id",
        "last run         apply",
    ]);
    world.end().await;
}

#[tokio::test]
async fn days_that_were_posted_more_than_once_are_numbered_by_what_became_of_them() {
    let world = four_days("timestamptz").await;
    let figures = |status: &Value| {
        ["days_corrected", "days_imported", "days_taken_back"].map(|name| status[name].clone())
    };
    assert_eq!(
        figures(&ledger_status(&world, &[]).await),
        [0, 0, 0].map(Value::from)
    );
    let text = world.run(&["status"]).await.assert_exit(0).stdout;
    assert!(!text.contains("corrected"), "{text}");

    world
        .log(&[Event::search(5, "2020-10-24", RECORDSET, 5)])
        .await;
    world
        .run(&["apply", "--day", "2020-10-24", "--no-project"])
        .await
        .assert_exit(0);
    let decided = |entry_id: i64, day: &str, kind: &str, reverses: &str| {
        format!(
            "INSERT INTO daybook.entry (entry_id, day, kind, reverses, run_id, rule_version, tool_version, source_events,
                 source_counted, source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete, content_hash,
                 reason)
             SELECT {entry_id}, '{day}', '{kind}', {reverses}, run_id, 1, '1', 0, 0, 0, 0, '', 0, true,
                 daybook.content_hash_of({entry_id}), 'a test'
             FROM daybook.entry WHERE entry_id = 1"
        )
    };
    // The quiet day is reversed; then the reversal is reversed.
    world
        .execute(&decided(6, "2020-10-26", "reversal", "3"))
        .await;
    world
        .execute(&decided(7, "2020-10-20", "import", "NULL"))
        .await;
    assert_eq!(
        figures(&ledger_status(&world, &[]).await),
        [1, 1, 1].map(Value::from)
    );
    world
        .run(&["status"])
        .await
        .assert_exit(0)
        .tells(&["days             1 corrected, 1 imported, 1 reversed"]);
    world
        .execute(&decided(8, "2020-10-26", "reversal", "6"))
        .await;
    assert_eq!(
        figures(&ledger_status(&world, &[]).await),
        [1, 1, 0].map(Value::from)
    );
    world.end().await;
}
