//! What a projection does besides writing documents: when it records how far it is, and what it does with a document that
//! the cluster does not take.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::history::ENTRIES;
use crate::support::proxy::{Proxy, Reply};
use crate::support::{Event, RECORDSET, World};

#[tokio::test]
async fn empty_days_cost_one_checkpoint_of_each_projection_and_nothing_else() {
    let world = World::with_projections().await;
    world
        .run(&[
            "apply",
            "--from",
            "2020-03-01",
            "--to",
            "2020-04-09",
            "--no-project",
        ])
        .await
        .assert_exit(0);
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    let through_proxy = [("DAYBOOK_ELASTICSEARCH_URL", proxy.url())];
    let projected = world
        .run_with(&through_proxy, &["project", "--json"])
        .await
        .assert_exit(0);
    for message in projected.messages_of("projected") {
        assert_eq!(
            (&message["from"], &message["through"]),
            (&json!(ENTRIES), &json!(ENTRIES + 40)),
            "{message}"
        );
    }
    let asked = |what: &str| {
        proxy
            .requests()
            .iter()
            .filter(|request| request.line.contains(what))
            .count()
    };
    assert_eq!(asked("PUT "), 3, "{:?}", proxy.requests());
    for other in ["_bulk", "_mget", "_refresh"] {
        assert_eq!(asked(other), 0, "{:?}", proxy.requests());
    }
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn entries_with_rows_cost_one_checkpoint_of_each_projection_too() {
    let world = World::with_history().await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    world
        .run_with(&[("DAYBOOK_ELASTICSEARCH_URL", proxy.url())], &["project"])
        .await
        .assert_exit(0);
    let recorded = proxy
        .requests()
        .iter()
        .filter(|request| request.line.ends_with("/_mapping") && request.line.starts_with("PUT"))
        .count();
    assert_eq!(recorded, 3, "{:?}", proxy.requests());
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

/// A request of more is refused.
const LIMIT: usize = 12_000;

/// In front of a cluster that takes no larger requests than that.
async fn narrow(world: &World) -> Proxy {
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.answer(|request, _| (request.body_bytes > LIMIT).then(|| Reply::new(413, "")));
    proxy
}

/// Records of one recordset that were seen: a document of some 40 bytes for each.
fn seen(id: i64, day: &str, records: usize) -> Event {
    let payload: serde_json::Map<String, Value> = (0..records)
        .map(|n| (format!("{n:08}-0000-4000-8000-{id:012}"), RECORDSET.into()))
        .collect();
    Event::new(id, day, "seen", &payload.into())
}

impl World {
    async fn document(&self, day: &str) -> Value {
        let path = format!("{}/_doc/{day}%3A{RECORDSET}", self.prefix);
        self.elastic(Method::GET, &path, None).await["_source"].clone()
    }
}

#[tokio::test]
async fn a_document_that_is_too_large_for_the_cluster_is_published_without_its_lists() {
    let world = World::new().await;
    let [small, large, later] = ["2020-02-10", "2020-02-11", "2020-02-12"];
    world
        .log(&[seen(1, small, 3), seen(2, large, 500), seen(3, later, 4)])
        .await;
    let narrow = narrow(&world).await;
    let through_narrow = [
        ("DAYBOOK_ELASTICSEARCH_URL", narrow.url()),
        ("DAYBOOK_TERMS", "geocodes"),
    ];
    let wide = [("DAYBOOK_TERMS", "geocodes")];
    let applied = world
        .run_with(&through_narrow, &["apply", "--from", small, "--to", later])
        .await
        .assert_exit(0);
    let id = format!("{large}:{RECORDSET}");
    applied
        .tells(&["3 documents", "1 too large and written without lists"])
        .says(&[&id, "too large for Elasticsearch"]);

    let short = world.document(large).await;
    assert_eq!(short["lists_omitted"], true);
    let cell = |items: Value| json!({ "count": 500, "total": 500, "items": items, "queries": [], "geocodes": [] });
    assert_eq!(
        short["records"]["seen"],
        cell(json!([])),
        "counts and totals always"
    );
    for day in [small, later] {
        let whole = world.document(day).await;
        assert!(
            whole.get("lists_omitted").is_none()
                && whole["records"]["seen"]["items"][0]["count"] == 1,
            "{whole}"
        );
    }
    let told = [
        "1 document is too large for Elasticsearch and without lists",
        &id,
        "raise http.max_content_length, then run `daybook rebuild --only stats`",
    ];
    world
        .run_with(&wide, &["status"])
        .await
        .assert_exit(0)
        .tells(&told);
    let status = world
        .run_with(&wide, &["--json", "status"])
        .await
        .assert_exit(0);
    let status = &status.messages_of("projection_status")[0];
    assert_eq!(
        (&status["lists_omitted"], &status["behind"]),
        (&json!(1), &json!(0)),
        "{status}"
    );

    // Whoever compares knows of it, and makes the same document.
    world.run_with(&wide, &["verify"]).await.assert_exit(0);
    let advanced = world.stored("").await;
    for arguments in [&["rebuild"][..], &["verify", "--projections", "--repair"]] {
        let ended = world
            .run_with(&through_narrow, arguments)
            .await
            .assert_exit(0);
        assert!(
            !ended.stderr.contains("comparing each document"),
            "{}",
            ended.stderr
        );
        assert_eq!(world.stored("").await, advanced, "{arguments:?}");
    }
    // Interrupted, and compared one by one.
    let crash = [
        &through_narrow[..],
        &[("DAYBOOK_FAILPOINT", "rebuild.complete")],
    ]
    .concat();
    world
        .run_with(&crash, &["rebuild", "--only", "stats"])
        .await;
    world.until_gone().await;
    world
        .run_with(&through_narrow, &["rebuild", "--only", "stats", "--resume"])
        .await
        .assert_exit(0);
    assert_eq!(world.stored("").await, advanced);

    // One that is lost is written again in the same way.
    world
        .elastic(
            Method::DELETE,
            &format!("{}/_doc/{}", world.prefix, id.replace(':', "%3A")),
            None,
        )
        .await;
    world
        .run_with(&through_narrow, &["verify", "--projections", "--repair"])
        .await
        .assert_exit(0);
    assert_eq!(world.stored("").await, advanced);
    // A correction of the day is published like the day.
    world.log(&[seen(4, large, 501)]).await;
    world
        .run_with(&through_narrow, &["apply", "--day", large])
        .await
        .assert_exit(0);
    assert_eq!(
        world.document(large).await["records"]["seen"]["count"],
        1001
    );
    assert_eq!(world.document(large).await["lists_omitted"], true);
    world.run_with(&wide, &["verify"]).await.assert_exit(0);

    // A document without lists that would not be too large is a wrong one.
    let mut stripped = world.document(small).await;
    stripped["lists_omitted"] = true.into();
    stripped["records"]["seen"]["items"] = json!([]);
    let path = format!(
        "{}/_doc/{small}%3A{RECORDSET}?version=1&version_type=external_gte",
        world.prefix
    );
    world.elastic(Method::PUT, &path, Some(stripped)).await;
    let found = world
        .run_with(&wide, &["verify", "--projections"])
        .await
        .assert_exit(4);
    found.tells(&["1 different", &format!("{small}:{RECORDSET}")]);
    world
        .run_with(&wide, &["verify", "--projections", "--repair"])
        .await
        .assert_exit(0);

    // Where the cluster takes more, a rebuild publishes all of it.
    world
        .run_with(&wide, &["rebuild", "--only", "stats"])
        .await
        .assert_exit(0);
    let whole = world.document(large).await;
    assert_eq!(
        whole["records"]["seen"]["items"].as_array().map(Vec::len),
        Some(1001)
    );
    assert!(whole.get("lists_omitted").is_none());
    world.run_with(&wide, &["verify"]).await.assert_exit(0);
    let status = world.run_with(&wide, &["status"]).await.assert_exit(0);
    assert!(!status.stdout.contains("too large"), "{}", status.stdout);
    world.end().await;
}

#[tokio::test]
async fn a_document_that_alone_takes_more_memory_than_the_cluster_grants_is_too_large_as_well() {
    let world = World::new().await;
    world.log(&[seen(1, "2020-02-10", 500)]).await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    let rejection = json!({ "error": { "type": "es_rejected_execution_exception", "reason":
        "rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0, all_bytes=0, coordinating_operation_bytes=20000, max_coordinating_bytes=12000]" } });
    let rule = rejection.to_string();
    proxy.answer(move |request, _| {
        (request.body_bytes > LIMIT).then(|| Reply::new(429, rule.clone()))
    });
    let settings = [
        ("DAYBOOK_ELASTICSEARCH_URL", proxy.url()),
        ("DAYBOOK_TERMS", "none"),
    ];
    world
        .run_with(&settings, &["apply", "--day", "2020-02-10"])
        .await
        .assert_exit(0);
    assert_eq!(world.document("2020-02-10").await["lists_omitted"], true);
    world.end().await;
}

#[tokio::test]
async fn a_document_that_is_too_large_even_without_lists_is_named_with_the_setting_that_helps() {
    let world = World::new().await;
    world.log(&[seen(1, "2020-02-10", 1)]).await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.answer(|request, _| request.line.contains("_bulk").then(|| Reply::new(413, "")));
    let through_proxy = [("DAYBOOK_ELASTICSEARCH_URL", proxy.url())];
    let refused = world
        .run_with(&through_proxy, &["apply", "--day", "2020-02-10"])
        .await
        .assert_exit(3);
    refused.says(&[
        "more than Elasticsearch takes in one request",
        "raise http.max_content_length",
    ]);
    world.run(&["project"]).await.assert_exit(0);
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}
