//! Sums up to what a bigint holds and beyond, and queries that stand twice.

use serde_json::json;

use super::{DAY, SECOND, cells_of};
use crate::import::documents::{Folder, HARVESTED, search};
use crate::support::{Event, RECORDSET, World};

/// The largest number of records that an event may name.
const MOST: i64 = 1_000_000_000_000;
/// The day after [`DAY`].
const NEXT: &str = "2020-02-17";

#[tokio::test]
async fn no_event_makes_its_day_or_a_later_one_fail_however_large_its_number() {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, DAY, RECORDSET, i64::MAX),
            Event::search(2, DAY, RECORDSET, MOST),
            Event::search(3, DAY, RECORDSET, MOST),
            Event::search(4, NEXT, RECORDSET, i64::MAX),
            Event::search(5, NEXT, RECORDSET, MOST),
        ])
        .await;
    world
        .run(&["apply", "--from", DAY, "--to", NEXT])
        .await
        .assert_exit(0);
    let rejected = "SELECT string_agg(source_id || ' ' || reason, ', ' ORDER BY source_id) FROM daybook.rejected_event";
    assert_eq!(
        world.value(rejected).await,
        "1 number_too_large, 4 number_too_large"
    );
    assert_eq!(
        world.documents("-totals").await[0].2["records"]["search"],
        json!({ "count": 3, "total": 3 * MOST })
    );
    // Nor does one that comes late.
    world
        .log(&[
            Event::search(6, DAY, RECORDSET, i64::MAX),
            Event::search(7, DAY, RECORDSET, MOST),
        ])
        .await;
    world
        .run(&["apply", "--day", DAY, "--no-project"])
        .await
        .assert_exit(0);
    assert_eq!(
        world
            .value("SELECT sum(total) FROM daybook.day_total")
            .await,
        (4 * MOST).to_string()
    );
    world.assert_sound().await;
    world.end().await;
}

/// A world with an imported day that one recordset's searches have found so many records on.
async fn imported(total: i64) -> World {
    let world = World::new().await;
    let folder = Folder::new();
    let file = folder.lines("old.ndjson", &[search(RECORDSET, HARVESTED, 1, total)]);
    world
        .run(&["import", "--no-project", &file])
        .await
        .assert_exit(0);
    world
}

#[tokio::test]
async fn the_largest_sum_that_a_bigint_holds_is_posted() {
    let world = imported(i64::MAX - MOST).await;
    world.log(&[Event::search(1, NEXT, RECORDSET, MOST)]).await;
    world.run(&["apply", "--day", NEXT]).await.assert_exit(0);
    assert_eq!(
        cells_of(&world, RECORDSET).await["records search"]["queries"],
        json!({ "": MOST })
    );
    let documents = world.documents("-totals").await;
    assert_eq!(
        documents[0].2["records"]["search"],
        json!({ "count": 2, "total": i64::MAX })
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_day_that_takes_a_balance_beyond_a_bigint_fails_and_leaves_the_days_before() {
    let world = imported(i64::MAX).await;
    world
        .log(&[
            Event::search(2, NEXT, SECOND, 5),
            Event::search(3, NEXT, RECORDSET, 1),
        ])
        .await;
    world
        .run(&["apply", "--day", NEXT])
        .await
        .assert_exit(1)
        .says(&[NEXT, RECORDSET, "records, search", "nothing was posted"]);
    assert_eq!(
        world
            .value("SELECT string_agg(day::text, ' ') FROM daybook.entry")
            .await,
        DAY
    );
    assert_eq!(
        world
            .value("SELECT count(*) FROM daybook.interaction_delta")
            .await,
        "1"
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_query_that_stands_twice_fails_the_day_instead_of_doubling_its_events() {
    let world = World::new().await;
    world
        .execute("ALTER TABLE queries DROP CONSTRAINT queries_pkey")
        .await;
    world.log_query(7, "one hash").await;
    world.log_query(7, "another hash").await;
    let search = Event {
        query_id: Some(7),
        ..Event::search(1, DAY, RECORDSET, 5)
    };
    world
        .log(&[search, Event::search(2, DAY, RECORDSET, 5)])
        .await;
    world
        .run(&["apply", "--day", DAY])
        .await
        .assert_exit(1)
        .says(&[
            DAY,
            "2 events",
            "3 were read",
            "nothing was posted",
            "duplicate ids in the table queries",
        ]);
    assert_eq!(world.entries().await, 0);
    world.end().await;
}
