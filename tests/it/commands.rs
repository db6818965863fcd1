//! The commands as an operator and a script use them: which days an apply chooses, what is printed, and where settings come
//! from. Days are counted from today, as the timer does.

use chrono::Days;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::program::{self, Ended};
use crate::support::{Contents, Event, RECORDSET, World};

/// So many days before today, in UTC.
pub fn days_ago(days: u64) -> String {
    (daybook::clock::now().date_naive() - Days::new(days)).to_string()
}

pub fn search(id: i64, days: u64, n: i64) -> Event {
    Event::search(id, &days_ago(days), RECORDSET, n)
}

/// The journal: how many days ago each entry's day was, and its kind.
pub async fn journal(world: &World) -> String {
    let today = days_ago(0);
    let journal = format!(
        "SELECT string_agg(concat_ws(' ', '{today}'::date - day, kind), ', ' ORDER BY entry_id) FROM daybook.entry"
    );
    world.value(&journal).await
}

#[tokio::test]
async fn an_empty_ledger_starts_with_yesterday() {
    let world = World::new().await;
    world
        .log(&[search(1, 0, 1), search(2, 1, 2), search(3, 2, 3)])
        .await;
    world.run(&["apply"]).await.assert_exit(0);
    assert_eq!(journal(&world).await, "1 apply");
    assert_eq!(
        world
            .value("SELECT total FROM daybook.interaction_delta")
            .await,
        "2"
    );
    assert_eq!(world.documents("").await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn apply_catches_up_with_every_closed_day_and_picks_up_late_events() {
    let world = World::new().await;
    world
        .log(&[search(1, 5, 1), search(2, 3, 2), search(3, 0, 99)])
        .await;
    world
        .run(&["apply", "--day", &days_ago(5)])
        .await
        .assert_exit(0);
    world.log(&[search(4, 5, 10)]).await;
    world.run(&["apply"]).await.assert_exit(0);
    // The quiet days have entries too, and today has none.
    assert_eq!(
        journal(&world).await,
        "5 apply, 5 correction, 4 apply, 3 apply, 2 apply, 1 apply"
    );
    let totals =
        "SELECT string_agg(total::text, ' ' ORDER BY entry_id) FROM daybook.interaction_delta";
    assert_eq!(world.value(totals).await, "1 10 2");
    let (daily, totals) = (world.documents("").await, world.documents("-totals").await);
    assert_eq!(daily.len(), 2);
    assert_eq!(
        (daily[0].1, &daily[0].2["records"]["search"]["total"]),
        (2, &json!(11))
    );
    assert_eq!(
        totals[0].2["records"]["search"],
        json!({ "count": 3, "total": 13 })
    );
    let ended = world.run(&["apply"]).await.assert_exit(0);
    assert_eq!(ended.stdout.matches("already applied").count(), 5);
    world.end().await;
}

#[tokio::test]
async fn days_that_ended_in_the_last_seven_days_are_looked_at_again_or_as_many_as_are_asked_for() {
    let world = World::new().await;
    world.log(&[search(1, 9, 1)]).await;
    world
        .run(&[
            "apply",
            "--from",
            &days_ago(9),
            "--to",
            &days_ago(1),
            "--no-project",
        ])
        .await
        .assert_exit(0);
    world
        .log(&[
            search(2, 9, 1),
            search(3, 8, 1),
            search(4, 7, 1),
            search(5, 2, 1),
        ])
        .await;
    world.run(&["apply"]).await.assert_exit(0);
    let nine = (1..=9)
        .rev()
        .map(|days| format!("{days} apply"))
        .collect::<Vec<_>>()
        .join(", ");
    assert_eq!(
        journal(&world).await,
        format!("{nine}, 7 correction, 2 correction")
    );
    world
        .run(&["apply", "--lookback", "8"])
        .await
        .assert_exit(0);
    assert_eq!(
        journal(&world).await,
        format!("{nine}, 7 correction, 2 correction, 8 correction")
    );
    world
        .run(&["apply", "--lookback", "9"])
        .await
        .assert_exit(0);
    assert_eq!(
        world
            .value("SELECT sum(total) FROM daybook.day_total")
            .await,
        "5"
    );
    world.end().await;
}

#[tokio::test]
async fn all_is_every_closed_day_from_the_source_s_first_event_on() {
    let world = World::new().await;
    world
        .log(&[search(1, 4, 1), search(2, 2, 2), search(3, 0, 99)])
        .await;
    world.run(&["apply", "--all"]).await.assert_exit(0);
    assert_eq!(journal(&world).await, "4 apply, 3 apply, 2 apply, 1 apply");
    world.run(&["apply", "--all"]).await.assert_exit(0);
    assert_eq!(journal(&world).await, "4 apply, 3 apply, 2 apply, 1 apply");
    world.end().await;
}

#[tokio::test]
async fn all_of_an_empty_source_is_nothing() {
    let world = World::new().await;
    let ended = world
        .run(&["apply", "--all", "--json"])
        .await
        .assert_exit(0);
    assert_eq!(ended.messages_of("nothing_to_do").len(), 1);
    assert_eq!(journal(&world).await, "");
    world.end().await;
}

#[tokio::test]
async fn a_date_range_includes_both_ends() {
    let world = World::new().await;
    world
        .log(&[
            search(1, 6, 1),
            search(2, 5, 2),
            search(3, 3, 3),
            search(4, 1, 4),
        ])
        .await;
    world
        .run(&["apply", "--from", &days_ago(5), "--to", &days_ago(3)])
        .await
        .assert_exit(0);
    assert_eq!(journal(&world).await, "5 apply, 4 apply, 3 apply");
    // An end that is left out is the source's first day, or the last closed one.
    world
        .run(&["apply", "--to", &days_ago(5)])
        .await
        .assert_exit(0);
    world
        .run(&["apply", "--from", &days_ago(2)])
        .await
        .assert_exit(0);
    assert_eq!(
        journal(&world).await,
        "5 apply, 4 apply, 3 apply, 6 apply, 2 apply, 1 apply"
    );
    world.end().await;
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_post_and_posts_nothing() {
    let world = World::new().await;
    world
        .log(&[search(1, 2, 5), search(2, 2, 7), search(3, 1, 11)])
        .await;
    let days = ["--from", &days_ago(2), "--to", &days_ago(1)];
    let dry_run = [&["apply", "--dry-run", "--json"][..], &days].concat();
    // It does without Elasticsearch.
    let ended: Ended = program::command(&world.settings()[..1], &dry_run)
        .output()
        .await
        .unwrap()
        .into();
    let would_post = ended.assert_exit(0).messages_of("day_dry_run");
    assert_eq!(would_post.len(), 2);
    assert_eq!(would_post[0]["entry_id"], Value::Null);
    for table in ["entry", "interaction_delta", "run_start"] {
        assert_eq!(
            world
                .value(&format!("SELECT count(*) FROM daybook.{table}"))
                .await,
            "0",
            "{table}"
        );
    }
    let indices = world
        .elastic(
            Method::GET,
            &format!("{}*?expand_wildcards=all", world.prefix),
            None,
        )
        .await;
    assert_eq!(indices, json!({}));
    let text = world
        .run(&[&["apply", "--dry-run"][..], &days].concat())
        .await
        .assert_exit(0);
    assert!(
        text.stdout.contains("would post: apply: 2 events"),
        "{}",
        text.stdout
    );

    let posts = world
        .run(&[&["apply", "--json"][..], &days].concat())
        .await
        .assert_exit(0)
        .messages_of("day");
    for (would, does) in would_post.iter().zip(&posts) {
        for field in [
            "day",
            "kind",
            "events",
            "counted",
            "ignored",
            "rejected",
            "cells",
            "interactions",
            "records",
        ] {
            assert_eq!(would[field], does[field], "{field}");
        }
    }
    world.log(&[search(4, 2, 1)]).await;
    let ended = world
        .run(&[&["apply", "--dry-run"][..], &days].concat())
        .await
        .assert_exit(0);
    assert!(
        ended.stdout.contains("would post: correction: 3 events"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("already applied as entry 2"),
        "{}",
        ended.stdout
    );
    assert_eq!(world.value("SELECT count(*) FROM daybook.entry").await, "2");
    world.end().await;
}

#[tokio::test]
async fn posting_and_projecting_may_be_two_steps() {
    let (two_steps, one_step) = (World::new().await, World::new().await);
    for world in [&two_steps, &one_step] {
        world.log(&[search(1, 2, 5), search(2, 1, 7)]).await;
    }
    let days = ["--from", &days_ago(2), "--to", &days_ago(1)];
    two_steps
        .run(&[&["apply", "--no-project"][..], &days].concat())
        .await
        .assert_exit(0);
    let indices = two_steps
        .elastic(
            Method::GET,
            &format!("{}*?expand_wildcards=all", two_steps.prefix),
            None,
        )
        .await;
    assert_eq!(indices, json!({}));
    for expected in ["2 documents for entries 1 to 2", "up to date with entry 2"] {
        let ended = two_steps.run(&["project"]).await.assert_exit(0);
        assert!(ended.stdout.contains(expected), "{}", ended.stdout);
    }
    one_step
        .run(&[&["apply"][..], &days].concat())
        .await
        .assert_exit(0);
    let expected = Contents::of(&one_step).await;
    Contents::of(&two_steps)
        .await
        .assert_same_as(&expected, "in two steps");
    one_step.end().await;
    two_steps.end().await;
}

#[tokio::test]
async fn collect_stats_collects_the_day_before_the_date() {
    let world = World::new().await;
    world
        .log(&[
            search(1, 9, 1),
            search(2, 5, 2),
            search(3, 4, 3),
            search(4, 1, 4),
            search(5, 0, 99),
        ])
        .await;
    world
        .run(&["collect-stats", "-d", &days_ago(4)])
        .await
        .assert_exit(0);
    assert_eq!(journal(&world).await, "5 apply");
    assert_eq!(world.documents("").await[0].2["harvest_date"], days_ago(4));
    world
        .run(&["collect-stats", "--date", &days_ago(8), "--mapping"])
        .await
        .assert_exit(0);
    assert_eq!(journal(&world).await, "5 apply, 9 apply");
    // Without a date it is now, and so it collects yesterday.
    world.run(&["collect-stats", "-m"]).await.assert_exit(0);
    assert_eq!(journal(&world).await, "5 apply, 9 apply, 1 apply");
    world
        .run(&["collect-stats", "-d", "*"])
        .await
        .assert_exit(0);
    assert_eq!(
        journal(&world).await,
        "5 apply, 9 apply, 1 apply, 8 apply, 7 apply, 6 apply, 4 apply, 3 apply, 2 apply"
    );
    assert_eq!(
        world
            .value("SELECT sum(total) FROM daybook.day_total")
            .await,
        "10"
    );
    let commands = "SELECT string_agg(DISTINCT command, ' ') FROM daybook.run";
    assert_eq!(world.value(commands).await, "collect-stats");
    // Tomorrow's date means today, which is not over.
    let tomorrow = (daybook::clock::now().date_naive() + Days::new(1)).to_string();
    let ended = world
        .run(&["collect-stats", "-d", &tomorrow])
        .await
        .assert_exit(2);
    ended.says(&[&format!("{} is not over yet", days_ago(0))]);
    world.end().await;
}

#[tokio::test]
async fn collect_stats_takes_the_command_line_of_the_old_units_and_scripts() {
    let world = World::new().await;
    world.log(&[search(1, 1, 1), search(2, 4, 2)]).await;
    // The old unit's own line.
    let ended = world
        .run(&["--journal", "-v", "collect-stats"])
        .await
        .assert_exit(0);
    ended.says(&["option=\"--journal\"", "ignored: logs go to the journal"]);
    assert_eq!(journal(&world).await, "1 apply");
    let date = days_ago(3);
    let compact = date.replace('-', "");
    let moment = format!("{date}T09:00:00");
    let with_space = format!("{date} 09:00:00.123456");
    for (when, mapping) in [
        (&*date, &[][..]),
        (&compact, &["--mapping"]),
        (&moment, &["--no-mapping"]),
        (&with_space, &["--mapping", "--no-mapping"]),
        ("*", &["-m"]),
    ] {
        let ended = world
            .run(&[&["-vv", "collect-stats", "-d", when], mapping].concat())
            .await
            .assert_exit(0);
        if let Some(last) = mapping.last() {
            let last = if *last == "-m" { "--mapping" } else { last };
            ended.says(&[
                &format!("option=\"{last}\""),
                "ignored: indices and mappings are created when",
            ]);
        }
    }
    // The day before the date, once, and then what '*' means besides.
    assert_eq!(journal(&world).await, "1 apply, 4 apply, 3 apply, 2 apply");
    world.end().await;
}

#[tokio::test]
async fn what_idb_takes_before_its_command_is_ignored_and_told_and_never_taken_by_another_command()
{
    let world = World::new().await;
    let json = std::env::temp_dir().join(format!("{}.json", world.prefix));
    std::fs::write(&json, r#"{ "postgres": { "password": "planted-secret" } }"#).unwrap();
    let json = json.to_str().unwrap();
    let options: [&[&str]; 11] = [
        &["--journal"],
        &["--no-journal"],
        &["--env", "prod"],
        &["--logfile", "/var/log/idb/stats.log"],
        &["--config", json],
        &["--idb-uuid", "872733a2-67a3-4c54-aa76-862735a5f334"],
        &["--idb-apikey", "planted-secret"],
        &["--idb-dbpass", "planted-secret"],
        &["--idb-storage-access-key", "planted-secret"],
        &["--idb-storage-secret-key", "planted-secret"],
        &["--idb-crypt-key", "planted-secret"],
    ];
    let together = [&options.concat()[..], &["-v", "collect-stats"]].concat();
    let ended = world.run(&together).await.assert_exit(0);
    for option in options.map(|option| option[0]) {
        // The last of the two counts.
        let is_said = ended.stderr.contains(&format!("option=\"{option}\""));
        assert_eq!(is_said, option != "--journal", "{option}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("planted-secret"), "{}", ended.stderr);
    let quiet = world
        .run(&[&options.concat()[..], &["collect-stats"]].concat())
        .await
        .assert_exit(0);
    assert_eq!(quiet.stderr, "");
    for option in options {
        // It is not an option of other commands, nor accepted after this one.
        let refused = world
            .run(&[option, &["status"]].concat())
            .await
            .assert_exit(2);
        refused.says(&[if option[0] == "--config" {
            json
        } else {
            option[0]
        }]);
        if option[0] != "--config" {
            world
                .run(&[&["collect-stats"], option].concat())
                .await
                .assert_exit(2)
                .says(&[option[0]]);
        }
    }
    std::fs::remove_file(json).unwrap();
    world.end().await;
}

#[tokio::test]
async fn collect_stats_refuses_what_is_no_date_and_says_what_is() {
    let world = World::new().await;
    for date in [
        "yesterday",
        "2020-02-30",
        "18.02.2020",
        "2020-02-18T25:00",
        "",
        "**",
    ] {
        let ended = world
            .run(&["collect-stats", "-d", date])
            .await
            .assert_exit(2);
        ended.says(&[&format!("'{date}'"), "20200217", "'*'"]);
    }
    for date in ["1970-01-01", "9999-12-31"] {
        world
            .run(&["collect-stats", "-d", date])
            .await
            .assert_exit(2)
            .says(&["out of range"]);
    }
    assert_eq!(journal(&world).await, "");
    world.end().await;
}

/// Two entries, one of them with a rejected event, and a gap between them.
async fn to_look_at() -> World {
    let world = World::new().await;
    world
        .log(&[
            search(1, 3, 5),
            search(2, 1, 7),
            Event::new(3, &days_ago(1), "nonsense", &json!({})),
        ])
        .await;
    for days in [3, 1] {
        world
            .run(&["apply", "--day", &days_ago(days)])
            .await
            .assert_exit(0);
    }
    world
}

#[tokio::test]
async fn every_line_of_json_is_an_object_with_its_type() {
    let world = to_look_at().await;
    for (arguments, types) in [
        (
            &["status"][..],
            &[
                "ledger_status",
                "run_status",
                "projection_status",
                "projection_status",
                "projection_status",
            ][..],
        ),
        (&["log"], &["entry", "entry"]),
        (&["show", "2"], &["entry_shown"]),
        (&["totals", RECORDSET], &["totals"]),
        (&["migrate"], &["migrated", "roles_granted"]),
        (&["migrate", "--print-roles"], &["roles"]),
        (&["project"], &["projected", "projected", "projected"]),
        (
            &["apply", "--day", &days_ago(1)],
            &["day", "projected", "projected", "projected"],
        ),
        (
            &["apply", "--day", &days_ago(1), "--dry-run"],
            &["day_dry_run"],
        ),
        (
            &["collect-stats", "-d", &days_ago(0)],
            &["day", "projected", "projected", "projected"],
        ),
    ] {
        for arguments in [
            [arguments, &["--json"]].concat(),
            [&["--json"], arguments].concat(),
        ] {
            let messages = world.run(&arguments).await.assert_exit(0).messages();
            let found: Vec<&str> = messages
                .iter()
                .map(|message| message["message_type"].as_str().unwrap())
                .collect();
            assert_eq!(found, types, "{arguments:?}");
            assert!(messages.iter().all(Value::is_object));
        }
    }
    let failure = world
        .run(&["show", "99", "--json"])
        .await
        .assert_exit(1)
        .messages();
    assert_eq!(failure.len(), 1);
    assert_eq!(failure[0]["message_type"], "error");
    assert_eq!(
        (&failure[0]["exit_code"], &failure[0]["hint"]),
        (&json!(1), &json!("`daybook log` lists the entries"))
    );
    world.end().await;
}

#[tokio::test]
async fn status_tells_where_everything_stands() {
    let world = World::new().await;
    let nothing = world.run(&["status"]).await.assert_exit(0).stdout;
    for words in [
        "applied          nothing yet: `daybook apply`",
        "no index yet: `daybook project` creates it",
    ] {
        assert!(nothing.contains(words), "{nothing}");
    }
    world.end().await;

    let world = to_look_at().await;
    let text = world.run(&["status"]).await.assert_exit(0).stdout;
    for words in [
        &world.value("SELECT ledger_id FROM daybook.ledger").await,
        &format!(
            "applied          {} to {}, newest entry 2",
            days_ago(3),
            days_ago(1)
        ),
        &format!(
            "1 day has no entry: {}; run `daybook apply --day DAY`",
            days_ago(2)
        ),
        "1 event: SELECT * FROM daybook.rejected_event",
        "last run         apply at",
        "exit 0, done",
        &format!("up to date with entry 2 ({}-g000001)", world.prefix),
    ] {
        assert!(text.contains(words), "'{words}' is missing in {text}");
    }
    let status = world.run(&["status", "--json"]).await.assert_exit(0);
    let ledger = &status.messages_of("ledger_status")[0];
    assert_eq!(
        (&ledger["newest_entry"], &ledger["days_behind"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(
        (&ledger["gaps"], &ledger["running"]),
        (&json!([days_ago(2)]), &Value::Null)
    );
    world.log(&[search(9, 2, 1)]).await;
    world
        .run(&["apply", "--day", &days_ago(2), "--no-project"])
        .await
        .assert_exit(0);
    let behind = world
        .run(&["status", "--json"])
        .await
        .assert_exit(0)
        .messages_of("projection_status");
    assert!(
        behind.iter().all(|projection| projection["behind"] == 1),
        "{behind:?}"
    );
    // Without Elasticsearch it tells of the ledger.
    let ended: Ended = program::command(&world.settings()[..1], &["status"])
        .output()
        .await
        .unwrap()
        .into();
    assert!(
        ended
            .assert_exit(0)
            .stdout
            .contains("no Elasticsearch is configured")
    );
    world.end().await;
}

#[tokio::test]
async fn log_and_show_tell_of_the_entries() {
    let world = World::new().await;
    let empty = world.run(&["log"]).await.assert_exit(0).stdout;
    assert!(
        empty.contains("no entries yet: `daybook apply` posts the first"),
        "{empty}"
    );
    world.end().await;

    let world = to_look_at().await;
    let text = world.run(&["log"]).await.assert_exit(0).stdout;
    assert_eq!(text.lines().count(), 3, "{text}");
    let newest = world
        .run(&["log", "-n", "1", "--json"])
        .await
        .assert_exit(0)
        .messages();
    assert_eq!(
        (newest.len(), &newest[0]["entry_id"], &newest[0]["day"]),
        (1, &json!(2), &json!(days_ago(1)))
    );

    let text = world.run(&["show", "2"]).await.assert_exit(0).stdout;
    for words in [
        &format!("entry 2: apply of {}", days_ago(1)),
        "2 events: 1 counted, 0 ignored, 1 rejected",
        "event 3 (unknown_type): type is 'nonsense'",
        &world
            .value("SELECT encode(entry_hash, 'hex') FROM daybook.entry WHERE entry_id = 2")
            .await,
    ] {
        assert!(text.contains(words), "'{words}' is missing in {text}");
    }
    let shown = &world
        .run(&["show", "2", "--json"])
        .await
        .assert_exit(0)
        .messages()[0];
    assert_eq!(shown["totals"][0]["total"], 7);
    assert_eq!(shown["rejected_events"][0]["source_id"], 3);
    world.end().await;
}

#[tokio::test]
async fn totals_are_the_same_as_text_and_as_json() {
    let world = to_look_at().await;
    let text = world
        .run(&["totals", RECORDSET])
        .await
        .assert_exit(0)
        .stdout;
    let json = world
        .run(&["totals", RECORDSET, "--json"])
        .await
        .assert_exit(0);
    let totals = &json.messages()[0]["totals"];
    assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), totals);
    assert_eq!(totals[RECORDSET]["records"]["search"]["total"], 12);
    let of_day = world
        .run(&["totals", RECORDSET, "--to", &days_ago(2), "--json"])
        .await
        .assert_exit(0);
    assert_eq!(
        of_day.messages()[0]["totals"][RECORDSET]["records"]["search"]["total"],
        5
    );
    let unknown = "11111111-1111-4111-8111-111111111111";
    let ended = world
        .run(&["totals", unknown])
        .await
        .assert_exit(0)
        .says(&["has nothing for this recordset"]);
    let object: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(object[unknown]["records"]["view"]["count"], 0);
    world.end().await;
}

#[tokio::test]
async fn every_command_explains_itself() {
    let help = async |arguments: &[&str]| -> String {
        let ended: Ended = program::command(&[], arguments)
            .output()
            .await
            .unwrap()
            .into();
        let ended = ended.assert_exit(0);
        assert_eq!(ended.stderr, "");
        ended.stdout
    };
    let top = help(&["--help"]).await;
    assert!(
        top.contains("Examples:") && top.contains("Exit codes:"),
        "{top}"
    );
    let commands: Vec<&str> = top
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 8 && commands.contains(&"apply"), "{top}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let text = help(&[command, "--help"]).await;
        let description = text.lines().next().unwrap();
        assert!(
            description.len() > 10 && text.contains(&format!("Usage: daybook {command}")),
            "{text}"
        );
        assert!(help(&[command, "-h"]).await.starts_with(description));
        assert!(help(&["help", command]).await.starts_with(description));
    }
    for command in ["apply", "collect-stats", "totals"] {
        assert!(
            help(&[command, "--help"])
                .await
                .contains(&format!("  daybook {command} "))
        );
    }
    assert_eq!(
        help(&["--version"]).await,
        format!("daybook {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// As `| head -1` does.
#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let world = to_look_at().await;
    for arguments in [
        &["status"][..],
        &["log"],
        &["log", "--json"],
        &["show", "1"],
        &["totals", RECORDSET],
        &["apply", "--dry-run", "--day", &days_ago(1)],
        &["--help"],
    ] {
        let mut child = world.command(arguments).spawn().unwrap();
        drop(child.stdout.take());
        let ended: Ended = child.wait_with_output().await.unwrap().into();
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn log_lines_name_the_run_and_the_day() {
    let world = World::new().await;
    world.log(&[search(1, 3, 1), search(2, 2, 2)]).await;
    let applied = world.run(&["apply", "--all", "-v"]).await.assert_exit(0);
    let run_id = world
        .value("SELECT run_id FROM daybook.run_start WHERE command = 'apply'")
        .await;
    for days in [3, 2] {
        let spans = format!(
            "run{{command=\"apply\" run_id={run_id}}}:day{{day={}}}: ",
            days_ago(days)
        );
        assert!(
            applied.stderr.contains(&spans),
            "{spans}\n{}",
            applied.stderr
        );
    }
    world.end().await;
}
