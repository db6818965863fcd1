//! Reversed entries: every term is negated, once; what this means for documents, the timer and verification.

use serde_json::json;

use crate::commands::days_ago;
use crate::support::history::{ENTRIES, FIRST_DAY, LAST_DAY};
use crate::support::{Event, RECORDSET, World};

/// The day of entry 3 of the past.
const DAY: &str = "2020-02-12";

/// The net of days in the ledger, to the term.
async fn net(world: &World, which: &str) -> String {
    world
        .value(&format!(
            "SELECT string_agg(n::text, E'\n' ORDER BY n) FROM (
                 SELECT day, recordset_id, record_type, stat_type, '' AS dimension, '' AS term, sum(count) AS count, sum(total) AS total
                 FROM daybook.interaction_delta WHERE {which} GROUP BY 1, 2, 3, 4 HAVING sum(count) <> 0 OR sum(total) <> 0
                 UNION ALL
                 SELECT day, recordset_id, record_type, stat_type, dimension, term, 0, sum(n)
                 FROM daybook.interaction_term_delta WHERE {which} GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(n) <> 0) n"
        ))
        .await
}

/// Panics unless the documents are what a rebuild makes, and everything verifies.
async fn assert_as_rebuilt(world: &World) {
    world.run(&["verify"]).await.assert_exit(0);
    let advanced = world.projections().await;
    world.run(&["rebuild"]).await.assert_exit(0);
    world.assert_documents(&advanced).await;
}

#[tokio::test]
async fn a_reversal_leaves_nothing_of_its_entry_and_everything_of_the_others() {
    let world = World::with_projections().await;
    let others = net(&world, "entry_id <> 3").await;
    let before = net(&world, "true").await;
    let tried = world
        .run(&["reverse", "3", "--reason", "bots", "--dry-run", "--json"])
        .await
        .assert_exit(0);
    assert_eq!(
        tried.messages_of("reversal_dry_run")[0]["entry_id"],
        json!(null)
    );
    assert_eq!(world.entries().await, ENTRIES);

    let told = world
        .run(&["reverse", "3", "--reason", " bots ", "--json"])
        .await
        .assert_exit(0);
    let told = &told.messages_of("reversed")[0];
    assert_eq!(
        (&told["entry_id"], &told["day"], &told["reverses"]),
        (&json!(8), &json!(DAY), &json!(3))
    );
    assert_eq!(
        (&told["cells"], &told["interactions"], &told["records"]),
        (&json!(4), &json!(-4), &json!(-16))
    );
    let header = "SELECT concat_ws('|', kind, reverses, source_events, source_fingerprint, terms_complete, reason)
                  FROM daybook.entry WHERE entry_id = 8";
    assert_eq!(world.value(header).await, "reversal|3|0||t|bots");
    assert_eq!(net(&world, "entry_id IN (3, 8)").await, "");
    assert_eq!(net(&world, "true").await, others);
    world.assert_sound().await;
    assert_as_rebuilt(&world).await;
    // What was there is there as zeros.
    let daily = world.documents("").await;
    let of_day = daily
        .iter()
        .find(|(id, ..)| *id == format!("{DAY}:{RECORDSET}"))
        .expect("the day's document");
    assert_eq!(of_day.2["records"]["search"]["total"], 0);
    let told = world.run(&["verify", "--source"]).await.assert_exit(0);
    told.tells(&["the ledger agrees; 1 reversed"]);
    world
        .run(&["log"])
        .await
        .assert_exit(0)
        .tells(&["reverses entry 3", "reversed by entry 8"]);
    world
        .run(&["show", "3"])
        .await
        .assert_exit(0)
        .tells(&["reversed by    entry 8"]);
    world
        .run(&["show", "8"])
        .await
        .assert_exit(0)
        .tells(&["reverses       entry 3", "reason         bots"]);

    // Once.
    let refused = world
        .run(&["reverse", "3", "--reason", "again"])
        .await
        .assert_exit(1);
    refused.says(&[
        "entry 3 was already reversed by entry 8",
        "`daybook reverse 8",
        "`daybook apply --day 2020-02-12`",
    ]);
    assert_eq!(world.entries().await, ENTRIES + 1);

    // The day's events, counted anew.
    world
        .run(&["apply", "--day", DAY])
        .await
        .assert_exit(0)
        .tells(&["entry 9 (correction)"]);
    assert_eq!(net(&world, "true").await, before);
    world
        .run(&["apply", "--day", DAY])
        .await
        .assert_exit(0)
        .tells(&["already applied as entry 9"]);
    assert_as_rebuilt(&world).await;

    // Restored as well, it counts twice, and that is said.
    let told = world
        .run(&["reverse", "8", "--reason", "no bots"])
        .await
        .assert_exit(0);
    told.tells(&[
        "it restores entry 3, which entry 8 had reversed",
        "still counts (entry 9)",
    ]);
    let found = world.run(&["verify", "--source"]).await.assert_exit(4);
    found.tells(&["2020-02-12: a fresh count of its 4 events differs"]);
    world
        .run(&["reverse", "10", "--reason", "a mistake"])
        .await
        .assert_exit(0);
    assert_eq!(net(&world, "true").await, before);
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_reversal_of_a_reversal_leaves_the_day_as_if_it_had_never_been_taken_back() {
    let world = World::with_projections().await;
    let before = net(&world, "true").await;
    world
        .run(&["reverse", "7", "--reason", "one"])
        .await
        .assert_exit(0);
    world
        .run(&["reverse", "8", "--reason", "two"])
        .await
        .assert_exit(0)
        .tells(&["it restores entry 7"]);
    assert_eq!(net(&world, "true").await, before);
    world
        .run(&["apply", "--day", LAST_DAY])
        .await
        .assert_exit(0)
        .tells(&["already applied as entry 7"]);
    assert_as_rebuilt(&world).await;

    // Purged, it keeps what it has; late, it gets what came.
    world
        .execute("CREATE TABLE purged AS TABLE stats; DELETE FROM stats WHERE id IN (15, 16)")
        .await;
    world
        .run(&["apply", "--day", LAST_DAY])
        .await
        .assert_exit(0)
        .tells(&["the source no longer has its 2 events"]);
    world
        .run(&["verify", "--source"])
        .await
        .assert_exit(0)
        .tells(&["1 no longer in the source"]);
    world
        .execute("DELETE FROM stats; INSERT INTO stats TABLE purged")
        .await;
    world
        .log(&[Event::search(50, LAST_DAY, RECORDSET, 4)])
        .await;
    world
        .run(&["apply", "--day", LAST_DAY])
        .await
        .assert_exit(0)
        .tells(&["entry 10 (correction): 3 events", "4 records"]);
    assert_as_rebuilt(&world).await;

    // A reversal can be reversed as well.
    world
        .run(&["reverse", "10", "--reason", "three"])
        .await
        .assert_exit(0);
    world
        .run(&["verify", "--source"])
        .await
        .assert_exit(0)
        .tells(&["1 reversed"]);
    world.end().await;
}

#[tokio::test]
async fn the_timer_leaves_a_day_alone_that_was_taken_back() {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, &days_ago(2), RECORDSET, 5),
            Event::search(2, &days_ago(1), RECORDSET, 7),
        ])
        .await;
    world
        .run(&["apply", "--from", &days_ago(2), "--to", &days_ago(1)])
        .await
        .assert_exit(0);
    world
        .run(&["reverse", "1", "--reason", "bots"])
        .await
        .assert_exit(0);
    world
        .log(&[
            Event::search(3, &days_ago(2), RECORDSET, 11),
            Event::search(4, &days_ago(1), RECORDSET, 13),
        ])
        .await;
    world
        .run(&["apply"])
        .await
        .assert_exit(0)
        .tells(&["entry 4 (correction)", "13 records"]);
    assert_eq!(world.entries().await, 4);
    // Restored, late events are late again; reversed a second time, the day is left alone again.
    world
        .run(&["reverse", "3", "--reason", "no bots"])
        .await
        .assert_exit(0);
    world
        .run(&["reverse", "5", "--reason", "bots after all"])
        .await
        .assert_exit(0);
    world.run(&["apply"]).await.assert_exit(0);
    assert_eq!(world.entries().await, 6);
    world
        .run(&["reverse", "6", "--reason", "no bots"])
        .await
        .assert_exit(0);
    world
        .run(&["apply"])
        .await
        .assert_exit(0)
        .tells(&["entry 8 (correction)", "11 records"]);
    assert_as_rebuilt(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_reversal_of_terms_that_are_incomplete_is_marked_as_well() {
    let world = World::new().await;
    world
        .execute(&format!(
            "BEGIN;
             INSERT INTO daybook.run_start (run_id, command, version) VALUES (gen_random_uuid(), 'import', '0');
             INSERT INTO daybook.interaction_delta VALUES ('{RECORDSET}', 'records', 'view', 1, '{FIRST_DAY}', 3, 3, '{{}}', '{{}}',
                 '{{\"null\": 2}}', 3, 3, '{FIRST_DAY}', '{FIRST_DAY}');
             INSERT INTO daybook.entry (entry_id, day, kind, run_id, rule_version, tool_version, source_events, source_counted,
                 source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete, content_hash)
             SELECT 1, '{FIRST_DAY}', 'import', run_id, 1, '0', 0, 0, 0, 0, '', 1, false, daybook.content_hash_of(1)
             FROM daybook.run_start;
             COMMIT"
        ))
        .await;
    world
        .log(&[Event::view(1, FIRST_DAY, "record-1", RECORDSET)])
        .await;
    let told = world
        .run(&["verify", "--ledger", "--source"])
        .await
        .assert_exit(0);
    told.tells(&["1 imported, 1 of them also in the source"]);
    world
        .run(&["reverse", "1", "--reason", "wrong file"])
        .await
        .assert_exit(0);
    assert_eq!(net(&world, "true").await, "");
    assert_eq!(
        world
            .value("SELECT terms_complete FROM daybook.entry WHERE entry_id = 2")
            .await,
        "false"
    );
    assert_as_rebuilt(&world).await;
    // What the source has of it counts now.
    world
        .run(&["apply", "--day", FIRST_DAY])
        .await
        .assert_exit(0)
        .tells(&["entry 3 (correction)", "1 record,"]);
    assert_as_rebuilt(&world).await;
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_reversed_is_refused() {
    let world = World::with_history().await;
    let refused = world
        .run(&["reverse", "8", "--reason", "x", "--no-project"])
        .await
        .assert_exit(1);
    refused.says(&[
        "there is no entry 8 to reverse: the newest is 7",
        "`daybook log`",
    ]);
    for (arguments, says) in [
        (&["reverse", "3"][..], "--reason"),
        (
            &["reverse", "3", "--reason", "  "],
            "the reason must not be empty",
        ),
        (&["reverse", "0", "--reason", "x"], "not an entry id"),
        (&["reverse", "--reason", "x"], "ENTRY"),
    ] {
        world.run(arguments).await.assert_exit(2).says(&[says]);
    }
    // Rows that were tampered with cannot be negated.
    let row = format!("entry_id = 3 AND recordset_id = '{RECORDSET}' AND stat_type = 'search'");
    world
        .execute(&format!(
            "ALTER TABLE daybook.interaction_delta DISABLE TRIGGER ALL; DELETE FROM daybook.interaction_delta WHERE {row}"
        ))
        .await;
    let refused = world
        .run(&["reverse", "3", "--reason", "x", "--no-project"])
        .await
        .assert_exit(1);
    refused.says(&[
        "entry 3 has 3 rows, but its header says 4",
        "`daybook verify --ledger`",
    ]);
    assert_eq!(world.entries().await, ENTRIES);
    world.end().await;
}
