//! The ledger by itself, as the database's owner and an auditor meet it: what cannot be changed, what is found when it was
//! changed all the same, what the views answer, and how the schema comes and goes.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::postgres::{PgConnection, PgDatabaseError};
use sqlx::{AssertSqlSafe, Row as _};

use crate::support::{Event, Login, RECORDSET, World};

const TABLES: [&str; 6] = [
    "ledger",
    "run_start",
    "run_end",
    "entry",
    "interaction_delta",
    "rejected_event",
];
const OTHER_RECORDSET: &str = "0e162e0a-bf3e-4710-9357-44258ca12abb";

/// Three days, a correction of the first and a day from before: five entries, one of them of a quiet day.
async fn five_entries() -> World {
    let world = World::new().await;
    world.log_query(1, "abcdef").await;
    let with_query = |event: Event| Event {
        query_id: Some(1),
        ..event
    };
    world
        .log(&[
            Event::search(1, "2020-02-16", RECORDSET, 5),
            with_query(Event::search(2, "2020-02-16", RECORDSET, 7)),
            Event::view(3, "2020-02-16", "record-1", RECORDSET),
            with_query(Event::new(
                4,
                "2020-02-16",
                "seen",
                &json!({ "record-1": OTHER_RECORDSET }),
            )),
            Event::new(5, "2020-02-16", "nonsense", &json!({})),
            Event::search(6, "2020-02-17", RECORDSET, 11),
            Event::search(7, "2020-02-17", OTHER_RECORDSET, 13),
        ])
        .await;
    world
        .run(&[
            "apply",
            "--from",
            "2020-02-16",
            "--to",
            "2020-02-18",
            "--no-project",
        ])
        .await
        .assert_exit(0);
    world
        .log(&[
            Event::search(8, "2020-02-16", RECORDSET, 17),
            Event::search(9, "2020-02-14", RECORDSET, 19),
        ])
        .await;
    for day in ["2020-02-16", "2020-02-14"] {
        world
            .run(&["apply", "--day", day, "--no-project"])
            .await
            .assert_exit(0);
    }
    let journal = "SELECT string_agg(concat_ws(' ', entry_id, day, kind, delta_rows), ', ' ORDER BY entry_id) FROM daybook.entry";
    assert_eq!(
        world.value(journal).await,
        "1 2020-02-16 apply 3, 2 2020-02-17 apply 2, 3 2020-02-18 apply 0, 4 2020-02-16 correction 1, 5 2020-02-14 apply 1"
    );
    world
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The server's refusal of a statement: code and message.
async fn refusal(connection: &mut PgConnection, sql: &str) -> (String, String) {
    let error = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .expect_err(sql);
    let error = error
        .as_database_error()
        .unwrap_or_else(|| panic!("{sql}: {error}"))
        .downcast_ref::<PgDatabaseError>();
    (error.code().to_owned(), error.message().to_owned())
}

#[tokio::test]
async fn the_balances_of_days_that_one_run_posts_go_on_from_day_to_day() {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, "2020-02-15", RECORDSET, 100),
            Event::search(2, "2020-02-16", RECORDSET, 5),
            Event::search(3, "2020-02-16", OTHER_RECORDSET, 7),
            Event::search(4, "2020-02-17", OTHER_RECORDSET, 11),
            Event::search(5, "2020-02-18", RECORDSET, 13),
            Event::search(6, "2020-02-18", OTHER_RECORDSET, 17),
        ])
        .await;
    // Its balances are those of another run, which the next one has to look up.
    world
        .run(&["apply", "--day", "2020-02-15", "--no-project"])
        .await
        .assert_exit(0);
    world
        .run(&[
            "apply",
            "--from",
            "2020-02-16",
            "--to",
            "2020-02-18",
            "--no-project",
        ])
        .await
        .assert_exit(0);
    let balances = |recordset: &str| {
        format!(
            "SELECT string_agg(concat_ws(' ', entry_id, count_balance, total_balance, first_day, last_day), ', ' ORDER BY entry_id)
             FROM daybook.interaction_delta WHERE recordset_id = '{recordset}'"
        )
    };
    assert_eq!(
        world.value(&balances(RECORDSET)).await,
        "1 1 100 2020-02-15 2020-02-15, 2 2 105 2020-02-15 2020-02-16, 4 3 118 2020-02-15 2020-02-18"
    );
    assert_eq!(
        world.value(&balances(OTHER_RECORDSET)).await,
        "2 1 7 2020-02-16 2020-02-16, 3 2 18 2020-02-16 2020-02-17, 4 3 35 2020-02-16 2020-02-18"
    );
    world.run(&["verify", "--ledger"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn no_row_of_any_table_can_be_changed_or_deleted_not_even_by_the_owner_or_a_replica() {
    const RESTRICT_VIOLATION: &str = "23001";
    let world = five_entries().await;
    let mut owner = world.sql().await;
    let superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    assert_eq!(world.value(superuser).await, "true");
    for role in ["origin", "local", "replica"] {
        execute(
            &mut owner,
            &format!("SET session_replication_role = {role}"),
        )
        .await;
        for table in TABLES {
            assert_ne!(
                world
                    .value(&format!("SELECT count(*) FROM daybook.{table}"))
                    .await,
                "0"
            );
            let column = match table {
                "ledger" => "time_zone",
                "run_start" | "run_end" => "run_id",
                _ => "entry_id",
            };
            for (operation, statement) in [
                (
                    "UPDATE",
                    format!("UPDATE daybook.{table} SET {column} = {column}"),
                ),
                ("DELETE", format!("DELETE FROM daybook.{table}")),
                ("TRUNCATE", format!("TRUNCATE daybook.{table} CASCADE")),
            ] {
                let (code, message) = refusal(&mut owner, &statement).await;
                assert_eq!(code, RESTRICT_VIOLATION, "{role}: {statement}: {message}");
                assert!(
                    message.ends_with(&format!("is immutable: {operation} refused")),
                    "{message}"
                );
            }
        }
    }
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn the_role_of_the_job_can_apply_and_is_permitted_nothing_else() {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    let world = World::new().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    let login = Login::new(&world).await;
    let role = &login.role;
    world
        .execute(&format!(
            "GRANT daybook_job TO {role}; GRANT SELECT ON stats, queries TO {role}"
        ))
        .await;
    let as_job = [("DAYBOOK_LEDGER_URL", login.ledger_url.as_str())];

    world
        .run_with(&as_job, &["apply", "--day", "2020-02-16"])
        .await
        .assert_exit(0);
    assert_eq!(
        world.value("SELECT posted_by FROM daybook.entry").await,
        *role
    );
    assert_eq!(world.documents("").await.len(), 1);
    world
        .log(&[Event::search(2, "2020-02-16", RECORDSET, 6)])
        .await;
    world
        .run_with(&as_job, &["apply", "--day", "2020-02-16"])
        .await
        .assert_exit(0);
    assert_eq!(
        world
            .value("SELECT max(total_balance) FROM daybook.interaction_delta")
            .await,
        "11"
    );
    for arguments in [
        &["status"][..],
        &["log"],
        &["show", "1"],
        &["totals", RECORDSET],
    ] {
        world.run_with(&as_job, arguments).await.assert_exit(0);
    }

    let mut job = crate::support::world::connect(&login.ledger_url).await;
    for table in TABLES {
        let column = if table == "ledger" {
            "time_zone"
        } else {
            "run_id"
        };
        let column = if matches!(table, "interaction_delta" | "rejected_event") {
            "entry_id"
        } else {
            column
        };
        for statement in [
            format!("UPDATE daybook.{table} SET {column} = {column}"),
            format!("DELETE FROM daybook.{table}"),
            format!("TRUNCATE daybook.{table} CASCADE"),
            format!("ALTER TABLE daybook.{table} DISABLE TRIGGER ALL"),
        ] {
            let (code, message) = refusal(&mut job, &statement).await;
            assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{statement}: {message}");
        }
    }
    drop(job);
    login.end(world).await;
}

/// Posts a copy of entry 1 with this id and this previous hash.
fn copy_of_entry_1(entry_id: i64, previous_hash: &str) -> String {
    format!(
        "INSERT INTO daybook.entry (entry_id, day, kind, run_id, rule_version, tool_version, source_events, source_counted,
             source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete, content_hash, previous_hash, posted_by, posted_at)
         SELECT {entry_id}, day, kind, run_id, rule_version, tool_version, source_events, source_counted, source_ignored,
             source_rejected, source_fingerprint, delta_rows, terms_complete, content_hash, {previous_hash}, posted_by, posted_at
         FROM daybook.entry WHERE entry_id = 1"
    )
}

#[tokio::test]
async fn the_database_takes_no_entry_but_the_next_one_of_the_chain() {
    const SERIALIZATION_FAILURE: &str = "40001";
    let world = five_entries().await;
    let mut owner = world.sql().await;
    for replication_role in ["origin", "replica"] {
        execute(
            &mut owner,
            &format!("SET session_replication_role = {replication_role}"),
        )
        .await;
        for (entry_id, previous_hash, complaint) in [
            (
                7,
                "NULL",
                "entry 7 does not follow entry 5: entry ids have no gaps",
            ),
            (5, "NULL", "entry 5 does not follow entry 5"),
            (
                6,
                "content_hash",
                "entry 6 does not carry the hash of entry 5",
            ),
            (
                6,
                "daybook.genesis_hash()",
                "entry 6 does not carry the hash of entry 5",
            ),
        ] {
            let (code, message) =
                refusal(&mut owner, &copy_of_entry_1(entry_id, previous_hash)).await;
            assert_eq!(code, SERIALIZATION_FAILURE, "{message}");
            assert!(message.contains(complaint), "{message}");
        }
    }
    // The same statement with the right id is taken: it was the id and the hash that were refused.
    execute(&mut owner, "BEGIN").await;
    execute(&mut owner, &copy_of_entry_1(6, "NULL")).await;
    execute(&mut owner, "ROLLBACK").await;
    let unbroken = "SELECT count(*) = max(entry_id) AND min(entry_id) = 1 FROM daybook.entry";
    assert_eq!(world.value(unbroken).await, "true");
    world.end().await;
}

/// What an auditor's `SELECT * FROM daybook.entry_check` finds once this was done with the triggers off: entry by entry,
/// the columns that are true. Nothing of it stays.
async fn found_after(world: &World, tampering: &str) -> String {
    let mut owner = world.sql().await;
    let switch = |to: &str| {
        ["entry", "interaction_delta", "rejected_event"]
            .map(|table| format!("ALTER TABLE daybook.{table} {to} TRIGGER ALL"))
            .join(";")
    };
    execute(&mut owner, "BEGIN").await;
    execute(&mut owner, &switch("DISABLE")).await;
    execute(&mut owner, tampering).await;
    execute(&mut owner, &switch("ENABLE")).await;
    let rows = sqlx::query("SELECT * FROM daybook.entry_check ORDER BY entry_id")
        .fetch_all(&mut owner)
        .await
        .unwrap_or_else(|error| panic!("{tampering}: {error}"));
    execute(&mut owner, "ROLLBACK").await;
    let findings = [
        "content_differs",
        "rows_differ",
        "totals_differ",
        "rejected_differs",
        "header_differs",
        "chain_differs",
        "gap_before",
    ];
    let lines = rows.iter().filter_map(|row| {
        let found: Vec<&str> = findings
            .into_iter()
            .filter(|finding| row.get(*finding))
            .collect();
        let entry_id: i64 = row.get("entry_id");
        (!found.is_empty()).then(|| format!("{entry_id}: {}", found.join(" ")))
    });
    lines.collect::<Vec<_>>().join(", ")
}

/// The columns of a table.
async fn columns(world: &World, table: &str) -> BTreeSet<String> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
    )
    .bind(format!("daybook.{table}"))
    .fetch_all(&mut world.sql().await)
    .await
    .unwrap();
    columns.into_iter().collect()
}

#[tokio::test]
async fn an_untouched_ledger_has_nothing_for_the_auditor() {
    let world = five_entries().await;
    assert_eq!(found_after(&world, "SELECT").await, "");
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_delta_row_edited_behind_the_triggers_is_found_whichever_column_it_was() {
    let world = five_entries().await;
    let edits = [
        ("recordset_id", "gen_random_uuid()"),
        ("record_type", "'mediarecords'"),
        ("stat_type", "'mapping'"),
        ("day", "day + 1"),
        ("count", "count + 1"),
        ("total", "total + 1"),
        ("items", r#"items || '{"record-2": 0}'"#),
        ("queries", r#"queries || '{"abcdef": 8}'"#),
        ("geocodes", "'{}'"),
        ("count_balance", "count_balance - 1"),
        ("total_balance", "total_balance - 1"),
        ("first_day", "first_day - 1"),
        ("last_day", "last_day + 10"),
        ("part", "1, count = 0, total = 0"),
    ];
    for (column, value) in edits {
        let edit = format!(
            "UPDATE daybook.interaction_delta SET {column} = {value}, last_day = greatest(last_day, day + 1)
             WHERE entry_id = 2 AND recordset_id = '{RECORDSET}'"
        );
        let edit = match column {
            "day" => edit,
            _ => edit.replace(", last_day = greatest(last_day, day + 1)", ""),
        };
        let found = match column {
            "record_type" | "stat_type" | "count" | "total" | "part" => {
                "2: content_differs totals_differ"
            }
            _ => "2: content_differs",
        };
        assert_eq!(found_after(&world, &edit).await, found, "{column}");
    }
    // To which entry a row belongs is told by the entries themselves.
    let moved = format!(
        "UPDATE daybook.interaction_delta SET entry_id = 1 WHERE recordset_id = '{OTHER_RECORDSET}' AND entry_id = 2"
    );
    assert_eq!(
        found_after(&world, &moved).await,
        "1: content_differs rows_differ totals_differ, 2: content_differs rows_differ totals_differ"
    );
    let mut edited: BTreeSet<String> = edits.map(|(column, _)| column.to_owned()).into();
    edited.insert("entry_id".to_owned());
    assert_eq!(edited, columns(&world, "interaction_delta").await);
    world.end().await;
}

#[tokio::test]
async fn a_delta_row_taken_away_or_slipped_in_is_found() {
    let world = five_entries().await;
    for (tampering, found) in [
        (
            "DELETE FROM daybook.interaction_delta WHERE entry_id = 4".to_owned(),
            "4: content_differs rows_differ totals_differ",
        ),
        (
            format!("DELETE FROM daybook.interaction_delta WHERE entry_id = 1 AND recordset_id = '{OTHER_RECORDSET}'"),
            "1: content_differs rows_differ totals_differ",
        ),
        (
            "INSERT INTO daybook.interaction_delta
             SELECT recordset_id, 'mediarecords', stat_type, 3, day, count, total, items, queries, geocodes, count_balance,
                 total_balance, first_day, last_day
             FROM daybook.interaction_delta WHERE entry_id = 5"
                .to_owned(),
            "3: content_differs rows_differ totals_differ",
        ),
    ] {
        assert_eq!(found_after(&world, &tampering).await, found, "{tampering}");
    }
    world.end().await;
}

#[tokio::test]
async fn an_entry_s_header_edited_behind_the_triggers_is_found_whichever_field_it_was() {
    let world = five_entries().await;
    let another_run = "(SELECT run_id FROM daybook.run_start WHERE run_id <> (SELECT run_id FROM daybook.entry WHERE entry_id = 2) LIMIT 1)";
    let edits = [
        ("day", "day - 1", "2: header_differs"),
        ("kind", "'correction'", "2: header_differs"),
        ("run_id", another_run, "2: header_differs"),
        ("rule_version", "2", "2: header_differs"),
        ("tool_version", "'9.9.9'", "2: header_differs"),
        (
            "source_events",
            "source_events + 1, source_ignored = source_ignored + 1",
            "2: header_differs",
        ),
        (
            "source_counted",
            "source_counted - 1, source_ignored = source_ignored + 1",
            "2: header_differs",
        ),
        (
            "source_ignored",
            "source_ignored + 1, source_counted = source_counted - 1",
            "2: header_differs",
        ),
        (
            "source_rejected",
            "source_rejected + 1, source_counted = source_counted - 1",
            "2: header_differs",
        ),
        (
            "source_fingerprint",
            "source_fingerprint || '0'",
            "2: header_differs",
        ),
        (
            "delta_rows",
            "delta_rows + 1",
            "2: rows_differ header_differs",
        ),
        ("terms_complete", "NOT terms_complete", "2: header_differs"),
        ("totals", "totals - 0", "2: totals_differ header_differs"),
        (
            "content_hash",
            "previous_hash",
            "2: content_differs header_differs",
        ),
        (
            "rejected_hash",
            "content_hash",
            "2: rejected_differs header_differs",
        ),
        (
            "previous_hash",
            "content_hash",
            "2: header_differs chain_differs",
        ),
        (
            "entry_hash",
            "content_hash",
            "2: header_differs, 3: chain_differs",
        ),
        ("reason", "''", "2: header_differs"),
        ("posted_by", "'somebody'", "2: header_differs"),
        (
            "posted_at",
            "posted_at + interval '1 microsecond'",
            "2: header_differs",
        ),
        ("reverses", "1, kind = 'reversal'", "2: header_differs"),
    ];
    for (column, value, found) in edits {
        let edit = format!("UPDATE daybook.entry SET {column} = {value} WHERE entry_id = 2");
        assert_eq!(found_after(&world, &edit).await, found, "{edit}");
    }
    let mut edited: BTreeSet<String> = edits.map(|(column, ..)| column.to_owned()).into();
    edited.insert("entry_id".to_owned());
    assert_eq!(edited, columns(&world, "entry").await);
    world.end().await;
}

#[tokio::test]
async fn an_entry_rewritten_together_with_its_hashes_is_given_away_by_the_next_one() {
    let world = five_entries().await;
    let rewritten = "UPDATE daybook.interaction_delta SET count = count + 1 WHERE entry_id = 2;
         UPDATE daybook.entry SET content_hash = daybook.content_hash_of(2), totals = daybook.totals_of(2) WHERE entry_id = 2;
         UPDATE daybook.entry e SET entry_hash = daybook.entry_hash_of(e) WHERE entry_id = 2";
    assert_eq!(found_after(&world, rewritten).await, "3: chain_differs");
    world.end().await;
}

#[tokio::test]
async fn an_entry_taken_out_of_the_chain_is_found() {
    let world = five_entries().await;
    let take_out = |entry_id: i64| {
        format!(
            "DELETE FROM daybook.interaction_delta WHERE entry_id = {entry_id};
             DELETE FROM daybook.rejected_event WHERE entry_id = {entry_id};
             DELETE FROM daybook.entry WHERE entry_id = {entry_id}"
        )
    };
    assert_eq!(
        found_after(&world, &take_out(1)).await,
        "2: chain_differs gap_before"
    );
    assert_eq!(
        found_after(&world, &take_out(3)).await,
        "4: chain_differs gap_before"
    );
    // Renumbering the entries after it closes the gap, and breaks what it must not.
    let renumbered = format!(
        "{}; UPDATE daybook.interaction_delta SET entry_id = entry_id - 1 WHERE entry_id > 3;
         UPDATE daybook.rejected_event SET entry_id = entry_id - 1 WHERE entry_id > 3;
         UPDATE daybook.entry SET entry_id = entry_id - 1 WHERE entry_id > 3",
        take_out(3)
    );
    assert_eq!(
        found_after(&world, &renumbered).await,
        "3: header_differs chain_differs, 4: header_differs"
    );
    world.end().await;
}

#[tokio::test]
async fn the_newest_entry_s_header_taken_away_from_its_rows_is_found() {
    let world = five_entries().await;
    let found = found_after(&world, "DELETE FROM daybook.entry WHERE entry_id = 5").await;
    assert!(found.starts_with("5:"), "found: '{found}'");
    world.end().await;
}

#[tokio::test]
async fn a_ledger_given_another_identity_or_time_zone_does_not_fit_its_first_entry() {
    let world = five_entries().await;
    for column in [
        "ledger_id = gen_random_uuid()",
        "time_zone = 'Europe/Berlin'",
    ] {
        let edit = format!(
            "ALTER TABLE daybook.ledger DISABLE TRIGGER ALL; UPDATE daybook.ledger SET {column};
             ALTER TABLE daybook.ledger ENABLE TRIGGER ALL"
        );
        assert_eq!(
            found_after(&world, &edit).await,
            "1: chain_differs",
            "{column}"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn rows_whose_maps_do_not_sum_up_are_found() {
    let world = five_entries().await;
    for (cell, edit) in [
        ("search", "total = total + 1"),
        ("search", r#"items = '{"record-1": 1}'"#),
        ("search", "queries = '{}'"),
        ("search", "geocodes = '{}'"),
        ("seen", "count = count + 1"),
        ("seen", "items = '{}'"),
        ("seen", r#"queries = '{"abcdef": 2}'"#),
        ("view", "count = count + 1"),
        ("view", r#"items = '{"record-1": 2}'"#),
        ("view", r#"queries = '{"abcdef": 1}'"#),
        ("view", r#"geocodes = '{"null": 3}'"#),
    ] {
        let mut owner = world.sql().await;
        let edit = format!(
            "BEGIN; ALTER TABLE daybook.interaction_delta DISABLE TRIGGER ALL;
             UPDATE daybook.interaction_delta SET {edit} WHERE entry_id = 1 AND stat_type = '{cell}'"
        );
        execute(&mut owner, &edit).await;
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT concat_ws(' ', entry_id, stat_type) FROM daybook.control_sum_violation",
        )
        .fetch_all(&mut owner)
        .await
        .unwrap();
        assert_eq!(found, [format!("1 {cell}")], "{edit}");
        execute(&mut owner, "ROLLBACK").await;
    }
    world.end().await;
}

#[tokio::test]
async fn balances_are_the_running_sums_of_the_rows_in_the_order_of_the_entries() {
    let world = five_entries().await;
    let wrong = "SELECT count(*) FROM (
             SELECT d.*, sum(count) OVER w AS counts, sum(total) OVER w AS totals, min(day) OVER w AS first, max(day) OVER w AS last
             FROM daybook.interaction_delta d WINDOW w AS (PARTITION BY recordset_id, record_type, stat_type ORDER BY entry_id)) d
         WHERE (count_balance, total_balance, first_day, last_day) IS DISTINCT FROM (counts, totals, first, last)";
    assert_eq!(world.value(wrong).await, "0");
    let of_cell = format!(
        "SELECT string_agg(concat_ws(' ', entry_id, count_balance, total_balance, first_day, last_day), ', ' ORDER BY entry_id)
         FROM daybook.interaction_delta WHERE recordset_id = '{RECORDSET}' AND stat_type = 'search'"
    );
    assert_eq!(
        world.value(&of_cell).await,
        "1 2 12 2020-02-16 2020-02-16, 2 3 23 2020-02-16 2020-02-17, 4 4 40 2020-02-16 2020-02-17, 5 5 59 2020-02-14 2020-02-17"
    );
    let totals = "SELECT count(*) FROM daybook.recordset_total t FULL JOIN (
             SELECT recordset_id, record_type, stat_type, sum(count) AS count, sum(total) AS total, min(day) AS first_day,
                 max(day) AS last_day, max(entry_id) AS entry_id
             FROM daybook.interaction_delta GROUP BY recordset_id, record_type, stat_type) s
         USING (recordset_id, record_type, stat_type)
         WHERE (t.count, t.total, t.first_day, t.last_day, t.entry_id)
             IS DISTINCT FROM (s.count, s.total, s.first_day, s.last_day, s.entry_id)";
    assert_eq!(world.value(totals).await, "0");
    world.end().await;
}

/// The names that a query finds, sorted.
async fn names(world: &World, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql)
        .fetch_all(&mut world.sql().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn every_table_view_and_function_explains_itself_and_so_does_every_column_of_a_table() {
    let world = World::new().await;
    let silent_relations = names(
        &world,
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'daybook'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
           AND relname <> 'schema_version' AND obj_description(oid, 'pg_class') IS NULL ORDER BY 1",
    )
    .await;
    assert_eq!(silent_relations, [""; 0]);
    let silent_functions = names(
        &world,
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'daybook'::regnamespace
           AND obj_description(oid, 'pg_proc') IS NULL ORDER BY 1",
    )
    .await;
    assert_eq!(silent_functions, [""; 0]);
    let silent_columns = names(
        &world,
        "SELECT format('%s.%s', relname, attname) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
         WHERE relnamespace = 'daybook'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'schema_version'
           AND attnum > 0 AND NOT attisdropped AND col_description(c.oid, attnum) IS NULL ORDER BY 1",
    )
    .await;
    assert_eq!(silent_columns, [""; 0]);
    world.end().await;
}

#[tokio::test]
async fn every_column_of_a_view_explains_itself() {
    let world = World::new().await;
    let silent = names(
        &world,
        "SELECT format('%s.%s', relname, attname) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
         WHERE relnamespace = 'daybook'::regnamespace AND relkind IN ('v', 'm') AND attnum > 0
           AND NOT attisdropped AND col_description(c.oid, attnum) IS NULL ORDER BY 1",
    )
    .await;
    assert_eq!(silent, [""; 0]);
    world.end().await;
}

#[tokio::test]
async fn a_gap_is_a_day_that_nobody_applied_and_not_a_quiet_one() {
    let world = five_entries().await;
    let gaps = "SELECT string_agg(day::text, ' ' ORDER BY day) FROM daybook.gap";
    // The 18th is quiet; nobody applied the 15th.
    assert_eq!(world.value(gaps).await, "2020-02-15");
    world
        .run(&["apply", "--day", "2020-02-15", "--no-project"])
        .await
        .assert_exit(0);
    assert_eq!(world.value(gaps).await, "");
    assert_eq!(
        world
            .value("SELECT max(delta_rows) FROM daybook.entry WHERE day = '2020-02-15'")
            .await,
        "0"
    );
    world.end().await;
}

#[tokio::test]
async fn migrating_twice_does_nothing_the_second_time() {
    let world = World::unmigrated().await;
    let first = world.run(&["migrate", "--json"]).await.assert_exit(0);
    let versions = "SELECT string_agg(concat_ws(' ', version, applied_on), ', ' ORDER BY version) FROM daybook.schema_version";
    let applied = world.value(versions).await;
    let second = world.run(&["migrate", "--json"]).await.assert_exit(0);
    let (first, second) = (
        &first.messages_of("migrated")[0],
        &second.messages_of("migrated")[0],
    );
    assert_eq!(first["ledger_id"], second["ledger_id"]);
    assert_eq!(first["time_zone"], "UTC");
    assert_eq!(
        first["applied"].as_array().map(Vec::len).unwrap() as u64,
        first["version"]
    );
    assert_eq!(second["applied"], json!([]));
    assert_eq!(world.value(versions).await, applied);
    let third = world
        .run(&["migrate", "--time-zone", "UTC"])
        .await
        .assert_exit(0);
    assert!(third.stdout.contains("nothing to do"), "{}", third.stdout);
    world
        .run(&["migrate", "--time-zone", "Europe/Berlin"])
        .await
        .assert_exit(2)
        .says(&[
            "the ledger's time zone is UTC, not Europe/Berlin",
            "leave --time-zone out",
        ]);
    world.end().await;
}

#[tokio::test]
async fn two_migrations_at_the_same_moment_make_one_ledger() {
    let world = World::unmigrated().await;
    let (one, other) = tokio::join!(world.run(&["migrate"]), world.run(&["migrate"]));
    for ended in [&one, &other] {
        assert!(matches!(ended.code, Some(0 | 11)), "{ended:?}");
    }
    assert!([one.code, other.code].contains(&Some(0)));
    assert_eq!(
        world.value("SELECT count(*) FROM daybook.ledger").await,
        "1"
    );
    let each_ran_once = "SELECT count(*) = count(DISTINCT version) AND count(*) = max(version) FROM daybook.schema_version";
    assert_eq!(world.value(each_ran_once).await, "true");
    world.run(&["migrate"]).await.assert_exit(0);
    world.run(&["status"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_left_alone_and_the_way_out_is_named() {
    let world = World::new().await;
    world
        .execute(
            "INSERT INTO daybook.schema_version (version, name, applied_on, checksum)
             SELECT 999, 'from_the_future', applied_on, checksum FROM daybook.schema_version WHERE version = 1",
        )
        .await;
    for arguments in [
        &["apply", "--day", "2020-02-16"][..],
        &["project"],
        &["status"],
        &["migrate"],
    ] {
        let ended = world.run(arguments).await.assert_exit(1);
        ended.says(&["999", "newer daybook", "use that one"]);
    }
    assert_eq!(
        world.value("SELECT count(*) FROM daybook.run_start").await,
        "0"
    );
    world.end().await;
}

#[tokio::test]
async fn a_schema_of_an_older_program_asks_for_a_migration() {
    let world = World::new().await;
    let newest: i32 = world
        .value("SELECT max(version) FROM daybook.schema_version")
        .await
        .parse()
        .unwrap();
    world
        .execute("DELETE FROM daybook.schema_version WHERE version = (SELECT max(version) FROM daybook.schema_version)")
        .await;
    for arguments in [
        &["apply", "--day", "2020-02-16"][..],
        &["project"],
        &["status"],
        &["log"],
    ] {
        let versions = format!("of version {}, this program needs {newest}", newest - 1);
        world
            .run(arguments)
            .await
            .assert_exit(1)
            .says(&[&versions, "run `daybook migrate`"]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused_before_anything_is_made_in_it() {
    let world = World::unmigrated().await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = format!("{}_{}", world.database, encoding.to_lowercase());
        let create = format!(
            "CREATE DATABASE {database} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        );
        world.execute(&create).await;
        let url = crate::support::world::with_database(&world.ledger_url, &database);
        let refused = world
            .run_with(&[("DAYBOOK_LEDGER_URL", &url)], &["migrate"])
            .await
            .assert_exit(1);
        refused.says(&[
            &format!("the ledger's database has the encoding {encoding}: the ledger needs UTF8"),
            "ENCODING 'UTF8'",
        ]);
        let mut connection = crate::support::world::connect(&url).await;
        let schemas: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pg_namespace WHERE nspname = 'daybook'")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        assert_eq!(schemas, 0, "{encoding}");
        drop(connection);
        world
            .execute(&format!("DROP DATABASE {database} WITH (FORCE)"))
            .await;
    }
    world.end().await;
}
