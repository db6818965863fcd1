//! From a running old index.

use reqwest::Method;
use serde_json::Value;

use super::documents::{lines_of, real_documents, recordset, search};
use super::{DAY, applied, content};
use crate::support::proxy::Reply;
use crate::support::{Proxy, RECORDSET, World};

#[tokio::test]
async fn the_real_day_is_the_same_from_a_running_index_with_all_of_it_doubled() {
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
        .expect(0)
        .tells(&["3,230 documents → 9,991 interactions, 383,011,472 records; 1,615 doubled"]);
    assert_eq!(content(&world).await, applied);
    let reason = world.value("SELECT reason FROM daybook.entry").await;
    assert!(reason.starts_with(&format!("imported from index {index} of http://")), "{reason}");
    // Going on where it was left: what is there is passed over.
    world.import(&["--from-index", &address]).await.expect(0).tells(&[
        "2020-02-16  already imported as entry 1",
        "2020-02-19  entry 2 (import), 1 cell: 2 documents → 1 interaction, 5 records; 1 doubled",
        "missing between the first and the last day: 2020-02-17 to 2020-02-18",
    ]);
    world.assert_sound().await;
    // A cluster that has no points in time is read by scroll.
    let by_scroll = World::new().await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy
        .answer(|request, _| request.line.contains("_pit").then(|| Reply::new(400, r#"{"error":"no handler found"}"#)));
    let through_proxy = format!("{}/{index}", proxy.url().trim_end_matches('/'));
    by_scroll.import(&["--from-index", &through_proxy]).await.expect(0);
    assert_eq!(content(&by_scroll).await, content(&world).await);
    assert!(proxy.requests().iter().any(|request| request.line.contains("_search/scroll")), "{:?}", proxy.requests());
    by_scroll.end().await;
    let nowhere = format!("{}/{index}-not-there", world.elasticsearch_url.trim_end_matches('/'));
    world
        .import(&["--from-index", &nowhere])
        .await
        .expect(1)
        .says(&["no such index", "check the address of --from-index"]);
    world.end().await;
}

impl World {
    /// Puts documents into an index as the old collector did: one by one in effect, with ids at random.
    async fn fill_old_index(&self, index: &str, documents: &[Value]) {
        for some in documents.chunks(500) {
            let lines = lines_of(some.iter().map(|document| format!("{{\"index\":{{}}}}\n{document}")));
            let answer = self.elastic_text(Method::POST, &format!("{index}/_bulk?refresh=true"), Some(lines)).await;
            assert!(answer.contains("\"errors\":false"), "{answer}");
        }
    }
}

/// Killed while it reads the index, what was complete by then is posted and passed over.
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
    let ended = world.import(&["--from-index", &address]).await.expect(1);
    ended
        .tells(&["2020-02-09  entry 1 (import)"])
        .says(&["the point in time is gone", "days that are imported are passed over"]);
    assert_eq!(world.entries().await, 1);
    world
        .import(&["--from-index", &address])
        .await
        .expect(0)
        .tells(&["2020-02-09  already imported as entry 1", "3 posted, 1 already imported"]);
    world.assert_sound().await;
    world.end().await;
}
