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
async fn a_transaction_that_stays_open_across_the_apply_of_its_days_is_picked_up_by_the_next_run_to_the_event() {
    let world = World::new().await;
    let (older, newer) = (days_ago(2), days_ago(1));
    let view = |id: i64, day: &str| Event::view(id, day, &format!("record-{id}"), RECORDSET);
    // Its ids lie between and beyond those that are committed before it.
    let mut writer = world.sql().await;
    sqlx::raw_sql("BEGIN").execute(&mut writer).await.expect("begin");
    for event in [view(2, &older), view(5, &newer), view(9, &newer)] {
        sqlx::raw_sql(AssertSqlSafe(event.insert())).execute(&mut writer).await.expect("insert an event");
    }
    // And one that comes to nothing.
    let mut failing = world.sql().await;
    let insert = format!("BEGIN; {}", view(7, &newer).insert());
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut failing).await.expect("insert an event");
    world.log(&[view(1, &older), view(3, &older), view(4, &newer), view(6, &newer)]).await;

    world.run(&["apply", "--day", &older]).await.expect(0);
    world.run(&["apply"]).await.expect(0);
    let without = "1 apply: record-1=1 record-3=1; 2 apply: record-4=1 record-6=1";
    assert_eq!(world.value(ADDED).await, without);

    sqlx::raw_sql("COMMIT").execute(&mut writer).await.expect("commit");
    sqlx::raw_sql("ROLLBACK").execute(&mut failing).await.expect("roll back");
    world.run(&["apply"]).await.expect(0);
    let with = format!("{without}; 3 correction: record-2=1; 4 correction: record-5=1 record-9=1");
    assert_eq!(world.value(ADDED).await, with);
    world.run(&["apply"]).await.expect(0);
    assert_eq!(world.value(ADDED).await, with);

    let views: Vec<_> =
        world.documents("").await.iter().map(|document| document.2["records"]["view"]["total"].clone()).collect();
    assert_eq!(views, [3, 4]);
    assert_eq!(world.documents("-totals").await[0].2["records"]["view"]["total"], 7);
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn the_source_s_server_keeps_no_snapshot_while_projections_are_brought_up_to_date() {
    let world = World::new().await;
    let day = days_ago(1);
    world.log(&[Event::search(1, &day, RECORDSET, 5)]).await;
    let hold = world.hold_at(Place::Projecting).await;
    let program = world.command(&["apply", "--day", &day]).spawn().expect("start the program");
    world.until_held().await;
    world
        .until(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'daybook source')",
        )
        .await;
    drop(hold);
    let ended = program.wait_with_output().await.expect("wait for the program");
    assert!(ended.status.success(), "{ended:?}");
    world.end().await;
}
