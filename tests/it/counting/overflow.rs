//! Days that cannot be counted: sums beyond a bigint, and queries that stand twice. Nothing of them is posted.

use serde_json::json;

use super::{DAY, SECOND, cells_of};
use crate::support::{Event, RECORDSET, World};

/// More than half of what a bigint holds: 9,223,372,036,854,775,807.
const VERY_MANY: i64 = 9_000_000_000_000_000_000;

#[tokio::test]
async fn a_day_whose_sums_overflow_fails_with_the_cell_and_posts_nothing() {
    let world = World::new().await;
    world.log_query(2, "one query").await;
    world.log_query(3, "another query").await;
    // Each from a place and a query of its own: it is the sum of the cell that overflows, not one of a term.
    let very_many = |id| Event {
        query_id: Some(id),
        ip_geocode: Some(json!({ "city": id }).to_string()),
        ..Event::search(id, DAY, RECORDSET, VERY_MANY)
    };
    world.log(&[Event::search(1, DAY, SECOND, 5), very_many(2), very_many(3)]).await;
    world.run(&["apply", "--day", DAY]).await.expect(1).says(&[
        DAY,
        RECORDSET,
        "records, search",
        "nothing was posted",
    ]);
    assert_eq!(world.entries().await, 0);
    assert_eq!(world.value("SELECT count(*) FROM daybook.interaction_delta").await, "0");
    world.end().await;
}

#[tokio::test]
async fn the_largest_sum_that_a_bigint_holds_is_posted() {
    let world = World::new().await;
    let rest = i64::MAX - VERY_MANY;
    world.log(&[Event::search(1, DAY, RECORDSET, VERY_MANY), Event::search(2, DAY, RECORDSET, rest)]).await;
    world.run(&["apply", "--day", DAY]).await.expect(0);
    assert_eq!(cells_of(&world, RECORDSET).await["records search"]["queries"], json!({ "": i64::MAX }));
    let documents = world.documents("-totals").await;
    assert_eq!(documents[0].2["records"]["search"], json!({ "count": 2, "total": i64::MAX }));
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_day_that_takes_a_balance_beyond_a_bigint_fails_and_leaves_the_days_before() {
    let (first, second) = ("2020-02-16", "2020-02-17");
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, first, RECORDSET, VERY_MANY),
            Event::search(2, second, SECOND, 5),
            Event::search(3, second, RECORDSET, VERY_MANY),
        ])
        .await;
    world.run(&["apply", "--day", first]).await.expect(0);
    world.run(&["apply", "--day", second]).await.expect(1).says(&[
        second,
        RECORDSET,
        "records, search",
        "nothing was posted",
    ]);
    assert_eq!(world.value("SELECT string_agg(day::text, ' ') FROM daybook.entry").await, first);
    assert_eq!(world.value("SELECT count(*) FROM daybook.interaction_delta").await, "1");
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn late_events_that_overflow_the_day_fail_and_leave_it_as_posted() {
    let world = World::new().await;
    world.log(&[Event::search(1, DAY, RECORDSET, VERY_MANY)]).await;
    world.run(&["apply", "--day", DAY]).await.expect(0);
    world.log(&[Event::search(2, DAY, RECORDSET, VERY_MANY)]).await;
    world.run(&["apply", "--day", DAY]).await.expect(1).says(&[
        DAY,
        RECORDSET,
        "records, search",
        "nothing was posted",
    ]);
    assert_eq!(world.entries().await, 1);
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_query_that_stands_twice_fails_the_day_instead_of_doubling_its_events() {
    let world = World::new().await;
    world.execute("ALTER TABLE queries DROP CONSTRAINT queries_pkey").await;
    world.log_query(7, "one hash").await;
    world.log_query(7, "another hash").await;
    let search = Event { query_id: Some(7), ..Event::search(1, DAY, RECORDSET, 5) };
    world.log(&[search, Event::search(2, DAY, RECORDSET, 5)]).await;
    world.run(&["apply", "--day", DAY]).await.expect(1).says(&[
        DAY,
        "2 events",
        "3 were read",
        "nothing was posted",
        "twice in the table queries",
    ]);
    assert_eq!(world.entries().await, 0);
    world.end().await;
}
