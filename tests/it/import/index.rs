//! From a running old index.

use reqwest::Method;
use serde_json::Value;

use super::documents::{Folder, lines_of, real_documents, recordset, search};
use super::{DAY, applied, content};
use crate::support::proxy::Reply;
use crate::support::{Proxy, RECORDSET, World};

#[tokio::test]
async fn the_real_day_is_the_same_from_a_running_index_with_all_of_it_twice() {
    let applied = applied().await;
    let world = World::new().await;
    let index = format!("{}-old", world.prefix);
    let mut documents = real_documents();
    documents.push(search(RECORDSET, "2020-02-20", 1, 5));
    world.fill_old_index(&index, &documents).await;
    world.fill_old_index(&index, &documents).await;
    let address = format!("{}/{index}", world.elasticsearch_url.trim_end_matches('/'));
    let of_the_day = ["--from-index", &address, "--to", DAY];
    world
        .import(&of_the_day)
        .await
        .assert_exit(0)
        .tells(&["3,230 documents → 9,991 interactions, 383,011,472 records; 1,615 duplicates"]);
    assert_eq!(content(&world).await, applied);
    let reason = world.value("SELECT reason FROM daybook.entry").await;
    assert!(
        reason.starts_with(&format!("imported from index {index} of http://")),
        "{reason}"
    );
    // Resumed: what is posted already is skipped.
    world.import(&["--from-index", &address]).await.assert_exit(0).tells(&[
        "2020-02-16  already imported as entry 1",
        "2020-02-19  entry 2 (import), 1 cell: 2 documents → 1 interaction, 5 records; 1 duplicate",
        "missing between the first and the last day: 2020-02-17 to 2020-02-18",
    ]);
    world.assert_sound().await;
    // A cluster that has no points in time is read by scroll.
    let by_scroll = World::new().await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.answer(|request, _| {
        request
            .line
            .contains("_pit")
            .then(|| Reply::new(400, r#"{"error":"no handler found"}"#))
    });
    let through_proxy = format!("{}/{index}", proxy.url().trim_end_matches('/'));
    by_scroll
        .import(&["--from-index", &through_proxy])
        .await
        .assert_exit(0);
    assert_eq!(content(&by_scroll).await, content(&world).await);
    assert!(
        proxy
            .requests()
            .iter()
            .any(|request| request.line.contains("_search/scroll")),
        "{:?}",
        proxy.requests()
    );
    by_scroll.end().await;
    let nowhere = format!(
        "{}/{index}-not-there",
        world.elasticsearch_url.trim_end_matches('/')
    );
    world
        .import(&["--from-index", &nowhere])
        .await
        .assert_exit(1)
        .says(&["no such index", "check the address of --from-index"]);
    world.end().await;
}

/// Row 29 of the cases. An old cluster makes an index of whatever is sent to it under a name that it does not know.
#[tokio::test]
async fn nothing_is_sent_to_an_old_cluster_that_it_could_take_for_a_document() {
    let world = World::new().await;
    let index = format!("{}-old", world.prefix);
    world
        .fill_old_index(&index, &[search(RECORDSET, "2020-02-17", 1, 5)])
        .await;
    let old = Proxy::http(&world.elasticsearch_url).await;
    old.answer(|request, _| {
        let is_root = request.line == "GET /";
        is_root.then(|| Reply::new(200, r#"{"version":{"number":"5.5.2"}}"#))
    });
    let at = |index: &str| format!("{}/{index}", old.url().trim_end_matches('/'));
    let misspelt = format!("{index}-misspelt");
    world
        .import(&["--from-index", &at(&misspelt)])
        .await
        .assert_exit(1)
        .says(&["no such index"]);
    let sent = |old: &Proxy| {
        old.requests()
            .iter()
            .map(|request| request.line.clone())
            .collect::<Vec<_>>()
    };
    assert!(
        sent(&old).iter().all(|line| line.starts_with("GET ")),
        "{:?}",
        sent(&old)
    );
    // Nor is a pattern that matches nothing.
    world
        .import(&["--from-index", &at(&format!("{misspelt}*"))])
        .await
        .assert_exit(1)
        .says(&["the index does not exist"]);
    world
        .import(&["--from-index", &at(&index)])
        .await
        .assert_exit(0)
        .tells(&["entry 1 (import)"]);
    let reads = |line: &str| {
        line.starts_with("GET ")
            || ["/_count", "/_search?", "/_search/scroll"]
                .iter()
                .any(|path| line.contains(path))
    };
    assert!(
        sent(&old).iter().all(|line| reads(line)),
        "{:?}",
        sent(&old)
    );
    // What others keep in theirs is not looked through for hours.
    let other = format!("{}-other", world.prefix);
    world
        .elastic(
            Method::POST,
            &format!("{other}/_doc?refresh=true"),
            Some(serde_json::json!({ "title": "x" })),
        )
        .await;
    let ended = world
        .import(&["--from-index", &at(&other)])
        .await
        .assert_exit(1);
    ended.says(&[
        "it holds no documents of the old system, which have recordset_id and harvest_date: it has the fields title",
    ]);
    // Of days of which it has none, nothing is found.
    let ended = world
        .import(&["--from-index", &at(&index), "--from", "2021-01-01"])
        .await
        .assert_exit(1);
    ended
        .says(&["nothing to import was found: it holds no documents with {\"harvest_date\":{\"gte\":\"2021-01-02\"}}"]);
    world.end().await;
}

#[tokio::test]
async fn the_address_of_an_old_index_need_not_stand_on_the_command_line() {
    let world = World::new().await;
    let index = format!("{}-old", world.prefix);
    world
        .fill_old_index(&index, &[search(RECORDSET, "2020-02-17", 1, 5)])
        .await;
    let old = Proxy::http(&world.elasticsearch_url).await;
    let address = format!("{}/{index}", old.url().trim_end_matches('/'));
    let secret = old
        .url()
        .parse::<url::Url>()
        .unwrap()
        .password()
        .expect("the stack's password")
        .to_owned();
    let folder = Folder::new();
    folder.write("from-index", format!("{address}\n"));
    let import = ["import", "--no-project", "--dry-run", "-vv", "--from-index"];
    let credentials = folder.0.to_str().unwrap();
    for setting in [
        ("DAYBOOK_FROM_INDEX", address.as_str()),
        ("CREDENTIALS_DIRECTORY", credentials),
    ] {
        let ended = world
            .run_with(&[setting], &import)
            .await
            .assert_exit(0)
            .tells(&["1 would be posted"]);
        assert!(
            !format!("{}{}", ended.stdout, ended.stderr).contains(&secret),
            "{}",
            ended.stderr
        );
    }
    let compare = world
        .run_with(
            &[("DAYBOOK_FROM_INDEX", &address)],
            &["compare", "--from-index"],
        )
        .await
        .assert_exit(4);
    compare.tells(&["2020-02-16  not in the ledger"]);
    let ended = world.run(&import).await.assert_exit(2);
    ended.says(&[
        "--from-index was given without an address",
        "DAYBOOK_FROM_INDEX",
        "the credential from-index",
    ]);
    world.end().await;
}

impl World {
    /// The address of an index of this world.
    pub fn old_index(&self, index: &str) -> String {
        format!("{}/{index}", self.elasticsearch_url.trim_end_matches('/'))
    }

    /// Puts documents into an index as the old collector did: one by one in effect, with ids at random.
    pub async fn fill_old_index(&self, index: &str, documents: &[Value]) {
        for some in documents.chunks(500) {
            let lines = lines_of(
                some.iter()
                    .map(|document| format!("{{\"index\":{{}}}}\n{document}")),
            );
            let answer = self
                .elastic_text(
                    Method::POST,
                    &format!("{index}/_bulk?refresh=true"),
                    Some(lines),
                )
                .await;
            assert!(answer.contains("\"errors\":false"), "{answer}");
        }
    }
}

/// Killed while it reads the index, it has posted what was complete by then, and the next run skips that.
#[tokio::test]
async fn an_index_is_posted_day_by_day_while_it_is_read() {
    let world = World::new().await;
    let index = format!("{}-old", world.prefix);
    let days: Vec<Value> = (10..14)
        .flat_map(|day| (0..60).map(move |n| (day, n)))
        .map(|(day, n)| search(&recordset(n), &format!("2020-02-{day}"), 1, 5))
        .collect();
    world.fill_old_index(&index, &days).await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    let mut pages = 0;
    proxy.answer(move |request, _| {
        let is_page = request.line.starts_with("POST /_search");
        pages += u32::from(is_page);
        (is_page && pages == 2).then(|| Reply::new(404, r#"{"error":"the point in time is gone"}"#))
    });
    let address = format!("{}/{index}", proxy.url().trim_end_matches('/'));
    let ended = world
        .import(&["--from-index", &address])
        .await
        .assert_exit(1);
    ended.tells(&["2020-02-09  entry 1 (import)"]).says(&[
        "the point in time is gone",
        "days already imported are skipped",
    ]);
    assert_eq!(world.entries().await, 1);
    world
        .import(&["--from-index", &address])
        .await
        .assert_exit(0)
        .tells(&[
            "2020-02-09  already imported as entry 1",
            "3 posted, 1 already imported",
        ]);
    world.assert_sound().await;
    world.end().await;
}
