//! On a ledger of ten years, a question about a day, a recordset, an entry or a record is answered by way of an index.

use serde_json::Value;

use super::questions::{Question, Reads, document};
use crate::support::World;

/// The tables that grow with the ledger. Rejected events are few, and reading them all may well be the best plan.
const GROWING: [&str; 2] = ["interaction_delta", "entry"];

/// The tables that a plan reads from one end to the other.
fn read_through<'p>(node: &'p Value, is_limited: bool, found: &mut Vec<&'p str>) {
    let text = |key: &str| node[key].as_str().unwrap_or_default();
    let relation = text("Relation Name");
    let by_index = match text("Node Type") {
        // Under a limit, the index gives the order, and the scan ends early.
        "Index Scan" | "Index Only Scan" => node["Index Cond"].is_string() || is_limited,
        // What it reads is told by the bitmap below it.
        "Bitmap Heap Scan" => true,
        "Bitmap Index Scan" => {
            if !node["Index Cond"].is_string() {
                found.push(text("Index Name"));
            }
            true
        }
        _ => false,
    };
    if GROWING.contains(&relation) && !by_index {
        found.push(relation);
    }
    let limits = text("Node Type") == "Limit";
    for below in node["Plans"].as_array().into_iter().flatten() {
        read_through(below, limits, found);
    }
}

#[tokio::test]
async fn on_a_ledger_of_ten_years_the_plans_stay_on_indexes() {
    let world = World::new().await;
    world.execute(include_str!("ten_years.sql")).await;
    assert_eq!(world.entries().await, 3650);
    assert_eq!(
        world
            .value("SELECT count(*) FROM daybook.interaction_delta")
            .await,
        "146000"
    );
    assert_eq!(
        world
            .value("SELECT count(*) FROM daybook.balance_violation")
            .await,
        "0"
    );

    for Question {
        heading,
        reads,
        query: sql,
        ..
    } in document()
    {
        let plan: Value = world.json_plan(&sql).await;
        let mut found = Vec::new();
        read_through(&plan[0]["Plan"], false, &mut found);
        match reads {
            Reads::ByIndex => assert_eq!(found, [""; 0], "{heading}: {sql}\n{plan:#}"),
            Reads::EveryHeader => {
                assert!(
                    found.contains(&"entry"),
                    "{heading} need not be marked: {plan:#}"
                );
                found.retain(|table| *table != "entry");
                assert_eq!(found, [""; 0], "{heading}: {sql}\n{plan:#}");
            }
            Reads::WholeLedger => {
                assert!(
                    found.contains(&"interaction_delta"),
                    "{heading} need not be marked: {plan:#}"
                );
            }
        }
    }

    // The source holds nothing of all this any more.
    let status = world.run(&["status"]).await.assert_exit(0);
    status.tells(&["sealed           3,650 days, 2015-01-01 to 2024-12-28: no longer in the source, kept as posted"]);
    world.end().await;
}

impl World {
    /// How the server would answer a query.
    async fn json_plan(&self, sql: &str) -> Value {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {sql}"));
        let plan: sqlx::types::Json<Value> = sqlx::query_scalar(explain)
            .fetch_one(&mut self.sql().await)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        plan.0
    }
}
