//! docs/auditing.md: each of its queries is run, by a login that may do nothing but audit, on a ledger whose answers are
//! known, and its plan is looked at on a ledger of ten years.

mod plans;
pub mod questions;

use sqlx::postgres::{PgConnection, PgDatabaseError};
use sqlx::{AssertSqlSafe, Column, Row as _, ValueRef as _};

use self::questions::{Question, document};
use crate::support::world::connect;
use crate::support::{Event, Login, RECORDSET, World};

const SECOND: &str = "0e162e0a-bf3e-4710-9357-44258ca12abb";
const ANSWERS: &str = include_str!("auditing/answers.txt");

/// A ledger with its days in Berlin: days posted in time, with a rejected and an ignored event, quiet, and late; a gap; late
/// events, and some that were taken out of the source; an imported day, and one that was reversed. An event has come since.
async fn known_ledger() -> World {
    let world = World::unmigrated().await;
    world
        .run(&["migrate", "--time-zone", "Europe/Berlin"])
        .await
        .assert_exit(0);
    world.create_source().await;
    world.log_query(1, "hash-1").await;
    world.log_query(2, "hash-2").await;
    let by_query = |query_id: i64, event: Event| Event {
        query_id: Some(query_id),
        ..event
    };
    let of_canada = |event: Event| Event {
        ip_geocode: Some(r#"{"country": "Canada", "region": "Ontario"}"#.to_owned()),
        ..event
    };
    let of_media = |record_type: &str, event: Event| Event {
        record_type: Some(record_type.to_owned()),
        ..event
    };
    let both = serde_json::json!({ RECORDSET: 7, SECOND: 11 });
    let seen =
        serde_json::json!({ "record-1": RECORDSET, "record-2": RECORDSET, "record-9": SECOND });
    world
        .log(&[
            by_query(1, Event::search(1, "2020-02-15", RECORDSET, 5)),
            Event::view(2, "2020-02-15", "record-1", RECORDSET),
            // In Berlin it is the 16th already.
            Event {
                date: "2020-02-15T23:30:00Z".to_owned(),
                ..Event::view(3, "2020-02-15", "record-1", RECORDSET)
            },
            of_canada(by_query(2, Event::new(4, "2020-02-16", "seen", &seen))),
            Event {
                ip_geocode: None,
                ..by_query(1, Event::new(5, "2020-02-16", "search", &both))
            },
            Event::new(6, "2020-02-16", "nonsense", &serde_json::json!({})),
            of_canada(of_media(
                "mediarecords",
                Event::view(7, "2020-02-16", "medium-1", SECOND),
            )),
            of_media(
                "publishers",
                Event::view(8, "2020-02-16", "publisher-1", SECOND),
            ),
            Event::view(9, "2020-02-19", "record-2", RECORDSET),
            Event::view(10, "2020-02-19", "record-2", RECORDSET),
            Event::new(
                11,
                "2020-02-19",
                "mapping",
                &serde_json::json!({ SECOND: 9 }),
            ),
        ])
        .await;
    for day in ["2020-02-15", "2020-02-16", "2020-02-17", "2020-02-19"] {
        world
            .run(&["apply", "--day", day, "--no-project"])
            .await
            .assert_exit(0);
    }
    world
        .log(&[
            Event::view(12, "2020-02-16", "record-2", RECORDSET),
            Event::search(13, "2020-02-16", SECOND, 2),
        ])
        .await;
    world
        .run(&["apply", "--day", "2020-02-16", "--no-project"])
        .await
        .assert_exit(0);
    world.execute("DELETE FROM stats WHERE id = 10").await;
    world
        .run(&[
            "apply",
            "--day",
            "2020-02-19",
            "--accept-decrease",
            "--no-project",
        ])
        .await
        .assert_exit(0);
    world.execute(include_str!("auditing/decisions.sql")).await;
    world
        .execute(include_str!("auditing/known_times.sql"))
        .await;
    world
        .log(&[Event::search(14, "2020-02-16", SECOND, 4)])
        .await;
    world
}

/// A login that may audit.
async fn auditor_of(world: &World) -> Login {
    let login = Login::new(world).await;
    world
        .execute(&format!("GRANT daybook_auditor TO {}", login.role))
        .await;
    login
}

/// The rows that a query gives, as text: the names of the columns, then a line a row.
pub async fn ask(connection: &mut PgConnection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .fetch_all(connection)
        .await?;
    let Some(first) = rows.first() else {
        return Ok(vec!["(no row)".to_owned()]);
    };
    let names: Vec<&str> = first.columns().iter().map(Column::name).collect();
    let mut lines = vec![names.join(" | ")];
    for row in &rows {
        let values: Vec<String> = (0..row.len())
            .map(|place| {
                let value = row.try_get_raw(place).unwrap();
                if value.is_null() {
                    "-".to_owned()
                } else {
                    value.as_str().unwrap().to_owned()
                }
            })
            .collect();
        lines.push(values.join(" | "));
    }
    Ok(lines)
}

/// The answers to all questions of the document, each under its heading.
async fn answers(auditor: &mut PgConnection) -> Vec<String> {
    let mut answers = Vec::new();
    for Question { heading, sql, .. } in document() {
        let rows = ask(auditor, &sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        answers.push(format!("## {heading}\n{}\n", rows.join("\n")));
    }
    answers
}

#[tokio::test]
async fn every_question_has_the_answer_that_is_known() {
    let world = known_ledger().await;
    let login = auditor_of(&world).await;
    world
        .execute(&format!("GRANT SELECT ON stats, queries TO {}", login.role))
        .await;
    let mut auditor = connect(&login.ledger_url).await;
    let answers = answers(&mut auditor).await.join("\n");
    assert!(
        answers == ANSWERS,
        "other answers than those in tests/it/auditing/answers.txt:\n{answers}"
    );
    world.assert_sound().await;
    drop(auditor);
    login.end(world).await;
}

#[tokio::test]
async fn what_is_changed_behind_the_triggers_is_told_by_the_questions_that_are_meant_for_it() {
    let world = known_ledger().await;
    let mut owner = world.sql().await;
    for (edit, headings) in [
        (
            "UPDATE daybook.interaction_delta SET total_balance = total_balance + 1 WHERE entry_id = 5 AND stat_type = 'search'",
            "Trial balance: do the balances agree with the sums?, Trial balance: do the balances agree with the sums?, \
             Are the hashes of an entry right?, Is the whole chain right?, Are the schema's functions and triggers as they were migrated?",
        ),
        (
            "UPDATE daybook.interaction_delta SET geocodes = '{}' WHERE entry_id = 1 AND stat_type = 'search'",
            "What are the totals of a period, by country?, Trial balance: do the balances agree with the sums?, \
             Is the whole chain right?, Are the schema's functions and triggers as they were migrated?",
        ),
        (
            "DELETE FROM daybook.interaction_delta WHERE entry_id = 5 AND stat_type = 'search'",
            "What are the totals of a period, by recordset?, What are the totals of a period, by country?, \
             Trial balance: do the balances agree with the sums?, \
             Are the hashes of an entry right?, Are the hashes of an entry right?, Is the whole chain right?, \
             Are the schema's functions and triggers as they were migrated?, Does a day agree with its source?",
        ),
        (
            "UPDATE daybook.entry SET posted_by = 'nobody' WHERE entry_id = 5",
            "What did a day add to a recordset, and why?, Who ran what, and when?, Are the hashes of an entry right?, \
             Is the whole chain right?, Are the schema's functions and triggers as they were migrated?",
        ),
        (
            "UPDATE daybook.entry SET entry_hash = content_hash WHERE entry_id = 4",
            "Are the hashes of an entry right?, Is the whole chain right?, Are the schema's functions and triggers as they were migrated?",
        ),
    ] {
        let tampering = format!(
            "BEGIN; ALTER TABLE daybook.interaction_delta DISABLE TRIGGER ALL; ALTER TABLE daybook.entry DISABLE TRIGGER ALL; {edit}"
        );
        sqlx::raw_sql(AssertSqlSafe(tampering))
            .execute(&mut owner)
            .await
            .expect("tamper");
        let answers = answers(&mut owner).await;
        sqlx::raw_sql("ROLLBACK")
            .execute(&mut owner)
            .await
            .expect("roll back");
        let changed: Vec<&str> = answers
            .iter()
            .filter(|answer| !ANSWERS.contains(answer.as_str()))
            .map(|answer| answer[3..].lines().next().unwrap())
            .collect();
        assert_eq!(changed.join(", "), headings, "{edit}");
    }
    drop(owner);
    world.end().await;
}

#[tokio::test]
async fn an_auditor_may_read_the_ledger_and_nothing_else() {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    let world = known_ledger().await;
    let login = auditor_of(&world).await;
    let mut auditor = connect(&login.ledger_url).await;
    let refused = |error: sqlx::Error| {
        let error = error
            .into_database_error()
            .expect("a refusal")
            .downcast::<PgDatabaseError>();
        assert_eq!(error.code(), INSUFFICIENT_PRIVILEGE, "{error}");
        error.message().to_owned()
    };
    for question in document() {
        match ask(&mut auditor, &question.sql).await {
            Ok(_) => assert!(!question.sql.contains("stats s"), "{}", question.sql),
            // The source is somebody else's.
            Err(error) => assert_eq!(
                refused(error),
                "permission denied for table stats",
                "{}",
                question.sql
            ),
        }
    }
    let of_kind = |kind: &str| {
        format!(
            "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
             WHERE relnamespace = 'daybook'::regnamespace AND relkind = '{kind}'"
        )
    };
    let (tables, views) = (
        world.value(&of_kind("r")).await,
        world.value(&of_kind("v")).await,
    );
    for relation in tables.split(' ').chain(views.split(' ')) {
        ask(
            &mut auditor,
            &format!("SELECT * FROM daybook.{relation} LIMIT 1"),
        )
        .await
        .expect("an auditor may read");
    }
    for table in tables.split(' ') {
        for statement in [
            format!("INSERT INTO daybook.{table} DEFAULT VALUES"),
            format!("DELETE FROM daybook.{table}"),
            format!("TRUNCATE daybook.{table} CASCADE"),
            format!("ALTER TABLE daybook.{table} DISABLE TRIGGER ALL"),
        ] {
            refused(ask(&mut auditor, &statement).await.expect_err(&statement));
        }
    }
    for statement in [
        "UPDATE daybook.entry SET reason = ''",
        "UPDATE daybook.interaction_delta SET count = 0",
        "CREATE TABLE daybook.notes ()",
    ] {
        refused(ask(&mut auditor, statement).await.expect_err(statement));
    }
    drop(auditor);
    let as_auditor = [("DAYBOOK_LEDGER_URL", login.ledger_url.as_str())];
    world.run_with(&as_auditor, &["log"]).await.assert_exit(0);
    world
        .run_with(
            &as_auditor,
            &["apply", "--day", "2020-02-18", "--no-project"],
        )
        .await
        .assert_exit(1);
    assert_eq!(world.entries().await, 8);
    login.end(world).await;
}

#[tokio::test]
async fn the_recount_agrees_with_a_real_day_whether_its_dates_have_a_zone_or_not() {
    const REAL_DAY: &str = "2020-02-16";
    for date_type in ["timestamptz", "timestamp"] {
        let world = World::unmigrated().await;
        world
            .run(&["migrate", "--time-zone", "America/New_York"])
            .await
            .assert_exit(0);
        world.create_source_of(date_type, "json").await;
        world.load_real_day().await;
        world
            .run(&["apply", "--day", REAL_DAY, "--no-project"])
            .await
            .assert_exit(0);
        let mut auditor = world.sql().await;
        let mut answers = Vec::new();
        for Question { heading, sql, .. } in document() {
            if heading == "Before you begin" || heading == "Does a day agree with its source?" {
                answers.push(ask(&mut auditor, &sql).await.unwrap());
            }
        }
        let (events, differences) = (&answers[1], &answers[2]);
        let [now, then] = events[1].split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{events:?}")
        };
        assert_eq!(now, then, "{date_type}");
        assert_ne!(now, "0", "{date_type}");
        assert_eq!(differences[..], ["(no row)"], "{date_type}");
        // An event more, and it shows.
        world
            .log(&[Event::search(1 << 40, REAL_DAY, RECORDSET, 5)])
            .await;
        let sql = document().pop().unwrap().sql;
        assert_eq!(
            ask(&mut auditor, &sql).await.unwrap().len(),
            2,
            "{date_type}"
        );
        drop(auditor);
        world.end().await;
    }
}
