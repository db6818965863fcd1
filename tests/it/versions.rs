//! Versions of Elasticsearch that daybook is not made for. (script/test runs some of the other tests on 7.17 as well.)

use crate::support::proxy::{Proxy, Reply};
use crate::support::{Event, RECORDSET, World};

#[tokio::test]
async fn an_elasticsearch_of_an_unsupported_version_is_refused_with_its_version() {
    let world = World::new().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.answer(|request, _| {
        let nodes = r#"{"nodes": {"a": {"version": "8.19.0"}, "b": {"version": "6.8.23"}}}"#;
        request
            .line
            .contains("/_nodes")
            .then(|| Reply::new(200, nodes))
    });
    let settings = [("DAYBOOK_ELASTICSEARCH_URL", proxy.url())];
    let says = ["is of version 6.8.23", "use Elasticsearch 8 or 9, or 7.17"];
    world
        .run_with(&settings, &["apply", "--day", "2020-02-16"])
        .await
        .assert_exit(3)
        .says(&says);
    world
        .run_with(&settings, &["project"])
        .await
        .assert_exit(1)
        .says(&says);
    world
        .run_with(&settings, &["rebuild"])
        .await
        .assert_exit(1)
        .says(&says);
    world
        .run_with(&settings, &["verify", "--projections"])
        .await
        .assert_exit(1)
        .says(&says);
    let indices = world
        .elastic(
            reqwest::Method::GET,
            &format!("{}*/_mapping?expand_wildcards=all", world.prefix),
            None,
        )
        .await;
    assert_eq!(indices, serde_json::json!({}), "nothing was written to it");
    world.end().await;
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_the_version_is_served_all_the_same() {
    let world = World::new().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.answer(|request, _| {
        request
            .line
            .contains("/_nodes")
            .then(|| Reply::new(403, r#"{"error": "no"}"#))
    });
    world
        .run_with(
            &[("DAYBOOK_ELASTICSEARCH_URL", proxy.url())],
            &["apply", "--day", "2020-02-16"],
        )
        .await
        .assert_exit(0);
    world.end().await;
}
