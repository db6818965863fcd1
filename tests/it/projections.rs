//! What a projection does besides writing documents: when it records how far it is.

use serde_json::json;

use crate::support::history::ENTRIES;
use crate::support::proxy::Proxy;
use crate::support::World;

#[tokio::test]
async fn empty_days_cost_one_checkpoint_of_each_projection_and_nothing_else() {
    let world = World::with_projections().await;
    world.run(&["apply", "--from", "2020-03-01", "--to", "2020-04-09", "--no-project"]).await.expect(0);
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    let through_proxy = [("DAYBOOK_ELASTICSEARCH_URL", proxy.url())];
    let projected = world.run_with(&through_proxy, &["project", "--json"]).await.expect(0);
    for message in projected.messages_of("projected") {
        assert_eq!((&message["from"], &message["through"]), (&json!(ENTRIES), &json!(ENTRIES + 40)), "{message}");
    }
    let asked = |what: &str| proxy.requests().iter().filter(|request| request.line.contains(what)).count();
    assert_eq!(asked("PUT "), 3, "{:?}", proxy.requests());
    for other in ["_bulk", "_mget", "_refresh"] {
        assert_eq!(asked(other), 0, "{:?}", proxy.requests());
    }
    world.run(&["verify"]).await.expect(0);
    world.end().await;
}

#[tokio::test]
async fn entries_with_rows_cost_one_checkpoint_of_each_projection_too() {
    let world = World::with_history().await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    world.run_with(&[("DAYBOOK_ELASTICSEARCH_URL", proxy.url())], &["project"]).await.expect(0);
    let recorded = proxy
        .requests()
        .iter()
        .filter(|request| request.line.ends_with("/_mapping") && request.line.starts_with("PUT"))
        .count();
    assert_eq!(recorded, 3, "{:?}", proxy.requests());
    world.run(&["verify"]).await.expect(0);
    world.end().await;
}
