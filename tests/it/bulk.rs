//! Bulk writing, where `accidents` does not look: a document that Elasticsearch refuses, one that somebody has changed or
//! deleted, compressed requests.

use reqwest::Method;
use serde_json::json;

use crate::support::{Contents, Event, Proxy, RECORDSET, World};

const APPLY: [&str; 3] = ["apply", "--day", "2020-02-16"];

async fn with_an_event() -> World {
    let world = World::new().await;
    world
        .log(&[Event::view(1, "2020-02-16", "record", RECORDSET)])
        .await;
    world
}

#[tokio::test]
async fn a_document_that_elasticsearch_refuses_is_named_with_the_reason() {
    let world = with_an_event().await;
    world.run(&APPLY).await.assert_exit(0);
    // The same index, in which a recordset must be a date.
    let index = format!("{}-totals-g000001", world.prefix);
    let mut mappings = world
        .elastic(Method::GET, &format!("{index}/_mapping"), None)
        .await[&index]["mappings"]
        .clone();
    mappings["properties"]["recordset_id"] = json!({ "type": "date" });
    world.elastic(Method::DELETE, &index, None).await;
    let body =
        json!({ "aliases": { format!("{}-totals", world.prefix): {} }, "mappings": mappings });
    world.elastic(Method::PUT, &index, Some(body)).await;
    world
        .log(&[Event::view(2, "2020-02-16", "another", RECORDSET)])
        .await;
    let says = [
        format!(
            "document {RECORDSET} was refused by {}-totals",
            world.prefix
        ),
        "`daybook rebuild`".to_owned(),
    ];
    world
        .run(&APPLY)
        .await
        .assert_exit(3)
        .says(&says.each_ref().map(String::as_str));
    world
        .run(&["project"])
        .await
        .assert_exit(1)
        .says(&says.each_ref().map(String::as_str));
    world.run(&["rebuild"]).await.assert_exit(0);
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn a_document_that_somebody_has_changed_or_deleted_is_written_all_the_same() {
    let (world, undisturbed) = (with_an_event().await, with_an_event().await);
    for world in [&world, &undisturbed] {
        world.run(&APPLY).await.assert_exit(0);
        world
            .log(&[Event::view(2, "2020-02-16", "another", RECORDSET)])
            .await;
    }
    let id = format!("2020-02-16:{RECORDSET}");
    // Many changes by hand: the version of one document is now far ahead of the ledger, the other is gone.
    for _ in 0..5 {
        let edit = json!({ "doc": { "entry_id": 0 } });
        world
            .elastic(
                Method::POST,
                &format!("{}/_update/{id}?refresh", world.prefix),
                Some(json!({ "doc": { "day": "1999-01-01" } })),
            )
            .await;
        world
            .elastic(
                Method::POST,
                &format!("{}/_update/{id}?refresh", world.prefix),
                Some(edit),
            )
            .await;
    }
    world
        .elastic(
            Method::DELETE,
            &format!("{}-totals/_doc/{RECORDSET}", world.prefix),
            None,
        )
        .await;
    for world in [&world, &undisturbed] {
        world.run(&APPLY).await.assert_exit(0);
    }
    world.run(&["verify"]).await.assert_exit(0);
    let source = |documents: Vec<(String, i64, serde_json::Value)>| {
        documents
            .into_iter()
            .map(|(id, _, source)| (id, source))
            .collect::<Vec<_>>()
    };
    for suffix in ["", "-totals"] {
        assert_eq!(
            source(world.documents(suffix).await),
            source(undisturbed.documents(suffix).await)
        );
    }
    undisturbed.end().await;
    world.end().await;
}

#[tokio::test]
async fn compressed_requests_write_the_same_documents() {
    let (plain, compressed) = (
        World::with_the_real_day().await,
        World::with_the_real_day().await,
    );
    let (wire, narrow_wire) = (
        Proxy::tcp(&plain.elasticsearch_url).await,
        Proxy::tcp(&plain.elasticsearch_url).await,
    );
    plain
        .run_with(&[("DAYBOOK_ELASTICSEARCH_URL", wire.url())], &APPLY)
        .await
        .assert_exit(0);
    let gzip = [
        ("DAYBOOK_ELASTICSEARCH_URL", narrow_wire.url()),
        ("DAYBOOK_ELASTICSEARCH_GZIP", "true"),
    ];
    compressed.run_with(&gzip, &APPLY).await.assert_exit(0);
    assert!(
        narrow_wire.passed() < wire.passed() / 2,
        "{} of {} bytes",
        narrow_wire.passed(),
        wire.passed()
    );
    Contents::of(&compressed)
        .await
        .assert_same_as(&Contents::of(&plain).await, "compressed");
    plain.end().await;
    compressed.end().await;
}

#[tokio::test]
async fn compressed_answers_are_asked_for_only_if_the_setting_says_so() {
    let world = World::with_history().await;
    for (gzip, asked_for) in [("false", &[][..]), ("true", &["accept-encoding: gzip"])] {
        let wire = Proxy::http(&world.elasticsearch_url).await;
        let settings = [
            ("DAYBOOK_ELASTICSEARCH_URL", wire.url()),
            ("DAYBOOK_ELASTICSEARCH_GZIP", gzip),
        ];
        world.run_with(&settings, &["rebuild"]).await.assert_exit(0);
        let requests = wire.requests();
        assert!(requests.len() > 10, "{requests:?}");
        for request in requests {
            let asks = request
                .headers
                .lines()
                .filter(|header| header.starts_with("accept-encoding"))
                .collect::<Vec<_>>();
            assert_eq!(asks, asked_for, "{}", request.line);
        }
    }
    world.end().await;
}
