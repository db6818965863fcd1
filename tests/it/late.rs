//! Events that become visible only after their day was applied: whose transaction stayed open all the while.

use chrono::Days;
use sqlx::AssertSqlSafe;

use crate::support::hold::Place;
use crate::support::{Event, RECORDSET, World};

fn days_ago(days: u64) -> String {
    (daybook::clock::now().date_naive() - Days::new(days)).to_string()
}

/// What each entry adds, by day: the records that its views are of.
const ADDED: &str = "SELECT string_agg(format('%s %s: %s', e.entry_id, e.kind, added.items), '; ' ORDER BY e.entry_id)
     FROM daybook.entry e CROSS JOIN LATERAL (
         SELECT string_agg(term || '=' || n, ' ' ORDER BY term) AS items FROM daybook.interaction_term_delta t
         WHERE t.entry_id = e.entry_id AND t.dimension = 'items') added";

#[tokio::test]
async fn a_transaction_that_stays_open_across_the_apply_of_its_days_is_picked_up_by_the_next_run_to_the_event()
 {
    let world = World::new().await;
    let (older, newer) = (days_ago(2), days_ago(1));
    let view = |id: i64, day: &str| Event::view(id, day, &format!("record-{id}"), RECORDSET);
    // Its ids lie between and beyond those that are committed before it.
    let mut writer = world.sql().await;
    sqlx::raw_sql("BEGIN")
        .execute(&mut writer)
        .await
        .expect("begin");
    for event in [view(2, &older), view(5, &newer), view(9, &newer)] {
        sqlx::raw_sql(AssertSqlSafe(event.insert()))
            .execute(&mut writer)
            .await
            .expect("insert an event");
    }
    // And one that adds nothing.
    let mut failing = world.sql().await;
    let insert = format!("BEGIN; {}", view(7, &newer).insert());
    sqlx::raw_sql(AssertSqlSafe(insert))
        .execute(&mut failing)
        .await
        .expect("insert an event");
    world
        .log(&[
            view(1, &older),
            view(3, &older),
            view(4, &newer),
            view(6, &newer),
        ])
        .await;

    world.run(&["apply", "--day", &older]).await.assert_exit(0);
    world.run(&["apply"]).await.assert_exit(0);
    let without = "1 apply: record-1=1 record-3=1; 2 apply: record-4=1 record-6=1";
    assert_eq!(world.value(ADDED).await, without);

    sqlx::raw_sql("COMMIT")
        .execute(&mut writer)
        .await
        .expect("commit");
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut failing)
        .await
        .expect("roll back");
    world.run(&["apply"]).await.assert_exit(0);
    let with = format!("{without}; 3 correction: record-2=1; 4 correction: record-5=1 record-9=1");
    assert_eq!(world.value(ADDED).await, with);
    world.run(&["apply"]).await.assert_exit(0);
    assert_eq!(world.value(ADDED).await, with);

    let views: Vec<_> = world
        .documents("")
        .await
        .iter()
        .map(|document| document.2["records"]["view"]["total"].clone())
        .collect();
    assert_eq!(views, [3, 4]);
    assert_eq!(
        world.documents("-totals").await[0].2["records"]["view"]["total"],
        7
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn the_source_s_server_keeps_no_snapshot_while_projections_are_brought_up_to_date() {
    let world = World::new().await;
    let day = days_ago(1);
    world.log(&[Event::search(1, &day, RECORDSET, 5)]).await;
    let hold = world.hold_at(Place::Projecting).await;
    let program = world
        .command(&["apply", "--day", &day])
        .spawn()
        .expect("start the program");
    world.until_held().await;
    world
        .until(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'daybook source')",
        )
        .await;
    drop(hold);
    let ended = program
        .wait_with_output()
        .await
        .expect("wait for the program");
    assert!(ended.status.success(), "{ended:?}");
    world.end().await;
}

/// The net of the only cell's terms: each dimension's map of what its entries add up to.
const NET: &str =
    "SELECT string_agg(format('%s %s=%s', dimension, term, n), '; ' ORDER BY dimension, term COLLATE \"C\") FROM (
     SELECT dimension, term, sum(n) AS n FROM daybook.interaction_term_delta GROUP BY 1, 2) t WHERE n <> 0";

#[tokio::test]
async fn what_a_row_refers_to_is_noticed_when_it_is_filled_in_after_the_day_was_applied() {
    let world = World::new().await;
    let day = days_ago(1);
    let nowhere = |event: Event| Event {
        ip_geocode: None,
        query_id: Some(7),
        ..event
    };
    world
        .log(&[
            nowhere(Event::search(1, &day, RECORDSET, 5)),
            nowhere(Event::view(2, &day, "record", RECORDSET)),
        ])
        .await;
    world.run(&["apply"]).await.assert_exit(0);
    assert_eq!(
        world.value(NET).await,
        "geocodes null=6; items record=1; queries =5"
    );
    world
        .run(&["apply"])
        .await
        .assert_exit(0)
        .tells(&["already applied as entry 1"]);

    // The query is logged by another writer, behind the event; the geocode is looked up at night.
    world.log_query(7, "hash").await;
    world
        .run(&["apply"])
        .await
        .assert_exit(0)
        .tells(&["entry 2 (correction)"]);
    assert_eq!(
        world.value(NET).await,
        "geocodes null=6; items record=1; queries hash=5"
    );
    world
        .execute(r#"UPDATE stats SET ip_geocode = '{"city": "Ocala"}' WHERE id = 1"#)
        .await;
    world
        .run(&["apply"])
        .await
        .assert_exit(0)
        .tells(&["entry 3 (correction)"]);
    let ocala = r#"geocodes null=1; geocodes {"city":"Ocala"}=5; items record=1; queries hash=5"#;
    assert_eq!(world.value(NET).await, ocala);

    // Two rows exchange theirs: the set of them is the same.
    world
        .execute(
            "UPDATE stats SET ip_geocode = (SELECT o.ip_geocode FROM stats o WHERE o.id = 3 - stats.id) WHERE id < 3",
        )
        .await;
    world
        .run(&["apply"])
        .await
        .assert_exit(0)
        .tells(&["entry 4 (correction)"]);
    let exchanged =
        r#"geocodes null=5; geocodes {"city":"Ocala"}=1; items record=1; queries hash=5"#;
    assert_eq!(world.value(NET).await, exchanged);
    let reason = world
        .value("SELECT reason FROM daybook.entry WHERE entry_id = 4")
        .await;
    assert!(
        reason.contains("the source's 2 events") && reason.contains("geocodes"),
        "{reason}"
    );

    // A payload and a type that somebody put right.
    world
        .execute("UPDATE stats SET payload = payload || jsonb_build_object('other', payload->'record') WHERE id = 2")
        .await;
    world
        .run(&["apply"])
        .await
        .assert_exit(0)
        .tells(&["entry 5 (correction)"]);
    world
        .execute("UPDATE stats SET type = 'mapping' WHERE id = 1")
        .await;
    world
        .run(&["apply"])
        .await
        .assert_exit(1)
        .says(&["now count less than was posted", "--accept-decrease"]);
    world
        .execute("UPDATE stats SET type = 'search' WHERE id = 1")
        .await;
    world
        .run(&["apply"])
        .await
        .assert_exit(0)
        .tells(&["already applied as entry 5"]);

    let searched = &world.documents("").await[0].2["records"]["search"];
    assert_eq!(
        searched["queries"],
        serde_json::json!([{ "term": "hash", "count": 5 }])
    );
    world.assert_sound().await;
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}
