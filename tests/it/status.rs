//! `daybook status`, for people and for monitors: what comes first, days that only the ledger knows any more, days that were
//! posted more than once. `daybook log`: filters and pages.

use serde_json::{Value, json};

use crate::commands::days_ago;
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
    let counted = "SELECT concat(sum(count), ' interactions, ', sum(total), ' records involved') FROM daybook.interaction_delta";
    text.tells(&[
        "source           not checked: cannot connect to the source",
        "applied          2020-10-24 to 2020-10-27",
        &format!("counted          {}", world.value(counted).await),
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

/// A world whose days up to this many days ago are applied.
async fn applied_until(days: u64) -> World {
    let world = World::new().await;
    let (first, last) = (days_ago(days + 1), days_ago(days));
    world
        .log(&[
            Event::search(1, &first, RECORDSET, 5),
            Event::search(2, &last, RECORDSET, 5),
        ])
        .await;
    world
        .run(&["apply", "--from", &first, "--to", &last])
        .await
        .assert_exit(0);
    world
}

/// The lines of the status, each by its label.
async fn labels(world: &World) -> Vec<String> {
    let text = world.run(&["status"]).await.assert_exit(0).stdout;
    text.lines()
        .map(|line| {
            line.split("  ")
                .next()
                .unwrap_or(line)
                .replace(&world.prefix, "stats")
        })
        .collect()
}

#[tokio::test]
async fn the_worst_comes_first() {
    let world = applied_until(3).await;
    let usual = [
        "ledger",
        "applied",
        "counted",
        "last run",
        "stats",
        "stats-totals up",
        "stats-terms",
    ];
    let labels_of = async || labels(&world).await.join("|");
    let fine = labels_of().await;
    assert!(
        fine.starts_with("behind|ledger|applied|counted|last run|stats|"),
        "{fine}"
    );
    assert_eq!(fine.split('|').count(), usual.len() + 1, "{fine}");

    // An index that is lost, and a run that fails for good.
    let index = format!("{}-totals-g*?expand_wildcards=all", world.prefix);
    world.elastic(reqwest::Method::DELETE, &index, None).await;
    let day = days_ago(3);
    let apply = ["apply", "--no-project", "--day", &day];
    world.log(&[Event::search(3, &day, RECORDSET, 5)]).await;
    world.run(&apply).await.assert_exit(0);
    world.execute("DELETE FROM stats WHERE id = 3").await;
    world.run(&apply).await.assert_exit(1);
    let text = world.run(&["status"]).await.assert_exit(0).stdout;
    let place = |words: &str| {
        let mut lines = text.lines();
        lines
            .position(|line| line.contains(words))
            .unwrap_or_else(|| panic!("{words}: {text}"))
    };
    let first_fine = place("days in UTC");
    for problem in [
        "behind     ",
        "exit 1 (source-decreased), ",
        "no index yet",
        "1 behind",
    ] {
        assert!(place(problem) < first_fine, "{problem}: {text}");
    }
    assert!(place("applied    ") > first_fine, "{text}");
    world.end().await;
}

#[tokio::test]
async fn a_monitor_gets_one_line_and_an_exit_code() {
    let world = applied_until(3).await;
    let check = async |settings: &[(&str, &str)], arguments: &[&str]| {
        let ended = world.run_with(settings, arguments).await;
        assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
        assert_eq!(ended.stderr, "");
        ended
    };
    let of = |arguments: &[&'static str]| [&["status"][..], arguments].concat();
    check(&[], &of(&["--check"])).await.assert_exit(1).tells(&[
        "DAYBOOK CRITICAL - behind: 2 closed days: run `daybook apply` | days_behind=2;;1 gaps=0;;0 entries_behind=0;;0",
    ]);
    let fine = check(&[], &of(&["--max-lag", "2"])).await.assert_exit(0);
    assert!(
        fine.stdout
            .starts_with(&format!("DAYBOOK OK - applied through {}", days_ago(3))),
        "{}",
        fine.stdout
    );
    check(&[], &of(&["--max-lag", "1", "--check"]))
        .await
        .assert_exit(1);
    // What cannot be asked is a problem, and no other exit code.
    let nowhere = "postgres://nobody@127.0.0.1:1/nowhere";
    check(&[("DAYBOOK_LEDGER_URL", nowhere)], &of(&["--check"]))
        .await
        .assert_exit(1)
        .tells(&["DAYBOOK CRITICAL - postgres-unreachable: cannot connect to the ledger"]);
    check(
        &[("DAYBOOK_ELASTICSEARCH_URL", "http://127.0.0.1:1")],
        &of(&["--max-lag", "9"]),
    )
    .await
    .assert_exit(1)
    .tells(&[
        "DAYBOOK CRITICAL - ",
        "no connection",
        " | days_behind=2;;9",
    ]);
    // In JSON, with all that it rests on.
    let ended = world
        .run(&["status", "--check", "--json"])
        .await
        .assert_exit(1);
    let told = ended.messages_of("status_check").remove(0);
    assert_eq!(
        (&told["ok"], &told["days_behind"], &told["entries_behind"]),
        (&json!(false), &json!(2), &json!(0))
    );
    assert_eq!(ended.messages_of("projection_status").len(), 3);
    world.end().await;
}

#[tokio::test]
async fn the_journal_is_filtered_and_paged() {
    const OTHER: &str = "11111111-2222-4333-8444-555555555555";
    let world = World::new().await;
    let days: Vec<String> = (16..=20).map(|day| format!("2020-02-{day}")).collect();
    let events: Vec<Event> = (1..)
        .zip(&days)
        .map(|(id, day)| Event::search(id, day, if id == 2 { OTHER } else { RECORDSET }, 5))
        .collect();
    world.log(&events).await;
    world
        .run(&[
            "apply",
            "--from",
            &days[0],
            "--to",
            &days[4],
            "--no-project",
        ])
        .await
        .assert_exit(0);
    world.log(&[Event::search(9, &days[0], RECORDSET, 5)]).await;
    world
        .run(&["apply", "--day", &days[0], "--no-project"])
        .await
        .assert_exit(0);
    world
        .run(&["reverse", "2", "--reason", "a test", "--no-project"])
        .await
        .assert_exit(0);
    let last_run = world
        .value("SELECT run_id FROM daybook.entry WHERE entry_id = 7")
        .await;
    let log = async |arguments: &[&str]| -> Vec<i64> {
        let arguments = [&["log", "--json"], arguments].concat();
        let entries = world
            .run(&arguments)
            .await
            .assert_exit(0)
            .messages_of("entry");
        let ids = entries
            .iter()
            .map(|entry| entry["entry_id"].as_i64().unwrap());
        ids.collect()
    };
    assert_eq!(log(&[]).await, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(log(&["--day", &days[0]]).await, [6, 1]);
    assert_eq!(log(&["--kind", "apply", "--limit", "2"]).await, [5, 4]);
    assert_eq!(
        log(&["--kind", "correction", "--kind", "reversal"]).await,
        [7, 6]
    );
    assert_eq!(log(&["--recordset", OTHER]).await, [7, 2]);
    assert_eq!(log(&["--run", &last_run]).await, [7]);
    assert_eq!(log(&["--before", "3"]).await, [2, 1]);
    assert_eq!(
        log(&[
            "--kind",
            "apply",
            "--recordset",
            RECORDSET,
            "--before",
            "5",
            "-n",
            "1"
        ])
        .await,
        [4]
    );
    world
        .run(&["log", "--limit", "3"])
        .await
        .assert_exit(0)
        .tells(&["there are more: --before 5"]);
    let last = world
        .run(&["log", "--limit", "3", "--before", "4"])
        .await
        .assert_exit(0);
    assert!(!last.stdout.contains("there are more"), "{}", last.stdout);
    world
        .run(&["log", "--kind", "import"])
        .await
        .assert_exit(0)
        .tells(&["no entry matches"]);
    world.end().await;
}
