//! `stats-terms`: one document per cell, dimension and term, its all-time count; and the setting that says which terms.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::history::{DECREASED_DAY, ENTRIES, LAST_DAY, TAKEN_BACK, THIRD, steps};
use crate::support::program::{Ended, command};
use crate::support::proxy::{Proxy, Reply};
use crate::support::{Event, RECORDSET, World};

const EVERY_DIMENSION: [&str; 2] = ["--terms-dimensions", "items,geocodes,queries"];

/// What the documents must be, summed up in SQL alone: id → (version, source).
async fn sums_in_sql(world: &World) -> BTreeMap<String, (i64, Value)> {
    let sums = world
        .json(
            r"SELECT jsonb_object_agg(
                  translate(encode(substring(sha256(uuid_send(recordset_id) || convert_to(
                      E'\n' || record_type || E'\n' || stat_type || E'\n' || dimension || E'\n' || term, 'UTF8')) FOR 16), 'base64'),
                      '+/=', '-_'),
                  jsonb_build_object('recordset_id', recordset_id, 'record_type', record_type, 'stat_type', stat_type,
                      'dimension', dimension, 'count', count, 'entry_id', entry_id,
                      'term', CASE WHEN dimension = 'queries' THEN nullif(term, '') ELSE term END)
                  || CASE WHEN dimension = 'geocodes' AND term LIKE '{%' THEN jsonb_strip_nulls(jsonb_build_object(
                      'country', term::jsonb -> 'country', 'region', term::jsonb -> 'region', 'city', term::jsonb -> 'city'))
                     ELSE '{}' END)
              FROM (SELECT recordset_id, record_type, stat_type, dimension, term, sum(n) AS count, max(entry_id) AS entry_id
                    FROM daybook.interaction_term_delta GROUP BY 1, 2, 3, 4, 5) t",
        )
        .await;
    let sums: BTreeMap<String, Value> = serde_json::from_value(sums).expect("an object");
    sums.into_iter()
        .map(|(id, source)| (id, (source["entry_id"].as_i64().expect("a number"), source)))
        .collect()
}

async fn documents(world: &World) -> BTreeMap<String, (i64, Value)> {
    let stored = world.stored("-terms").await;
    let source = |text: &str| serde_json::from_str(text).expect("JSON");
    stored
        .into_iter()
        .map(|document| (document.id, (document.version, source(&document.source))))
        .collect()
}

#[tokio::test]
async fn every_document_is_what_the_entries_list_summed_up_and_as_of_the_last_that_lists_it() {
    let world = World::before_history().await;
    for step in steps() {
        world.live(&step, &EVERY_DIMENSION).await;
        assert_eq!(
            documents(&world).await,
            sums_in_sql(&world).await,
            "after each advance"
        );
    }
    let documents = documents(&world).await;
    let stands = |recordset: &str, stat_type: &str, dimension: &str, term: Value| {
        let about = json!([recordset, "records", stat_type, dimension, term]);
        let fields = [
            "recordset_id",
            "record_type",
            "stat_type",
            "dimension",
            "term",
        ];
        let is_it = |source: &Value| {
            fields
                .iter()
                .zip(about.as_array().unwrap())
                .all(|(field, value)| source[field] == *value)
        };
        let (_, source) = documents
            .values()
            .find(|(_, source)| is_it(source))
            .expect("a document");
        (
            source["count"].as_i64().unwrap(),
            source["entry_id"].as_i64().unwrap(),
        )
    };
    // Seen on the first day and on the last one.
    assert_eq!(
        stands(RECORDSET, "seen", "items", json!("record-1")),
        (2, ENTRIES)
    );
    // 5 and 11 records were found by the same query; 4 by none.
    assert_eq!(
        stands(RECORDSET, "search", "queries", json!("hash-1")),
        (16, 3)
    );
    assert_eq!(stands(RECORDSET, "search", "queries", Value::Null), (4, 5));
    // Posted, and taken back again: listed with nothing, not forgotten.
    assert_eq!(stands(THIRD, "view", "items", json!(TAKEN_BACK)), (0, 6));
    world.end().await;
}

/// A cell has too many terms for memory sooner in a test than in a release.
const TOO_MANY_TERMS: i64 = 60;

#[tokio::test]
async fn a_rebuild_sums_up_cells_with_many_terms_as_those_with_few() {
    let world = World::with_history().await;
    let view = |id, day, record: i64| {
        Event::view(
            id,
            day,
            &format!("{record:08}-0000-4000-8000-00000000beef"),
            RECORDSET,
        )
    };
    let of_new_days: Vec<Event> = (0..TOO_MANY_TERMS)
        .flat_map(|n| {
            [
                view(100 + 2 * n, "2020-03-01", n),
                view(101 + 2 * n, "2020-03-02", n / 2),
            ]
        })
        .collect();
    world.log(&of_new_days).await;
    world
        .run(&[
            "apply",
            "--from",
            "2020-03-01",
            "--to",
            "2020-03-02",
            "--no-project",
        ])
        .await
        .assert_exit(0);
    let all_dimensions = [("DAYBOOK_TERMS_DIMENSIONS", "items,geocodes,queries")];
    let rebuilt = world
        .run_with(&all_dimensions, &["-vv", "rebuild"])
        .await
        .assert_exit(0);
    rebuilt.says(&["too many terms for memory: left to the server"]);
    let documents = documents(&world).await;
    assert_eq!(documents, sums_in_sql(&world).await);
    let views = documents
        .values()
        .filter(|(_, source)| source["stat_type"] == "view" && source["dimension"] == "items");
    assert!(views.count() >= usize::try_from(TOO_MANY_TERMS).unwrap());
    world.end().await;
}

#[tokio::test]
async fn a_look_up_that_fails_in_the_cluster_tells_why_and_nothing_is_added_to_what_is_not_known() {
    let world = World::with_projections().await;
    let before = documents(&world).await;
    world
        .log(&[Event::search(100, "2020-02-15", RECORDSET, 1000)])
        .await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.answer(|request, body| {
        let ids = serde_json::from_str::<Value>(body).ok()?["ids"].as_array()?.len();
        let cause = json!({ "error": { "type": "no_shard_available_action_exception", "reason": "all gone" } });
        request.line.contains("_mget").then(|| Reply::new(200, json!({ "docs": vec![cause; ids] }).to_string()))
    });
    let through_proxy = [("DAYBOOK_ELASTICSEARCH_URL", proxy.url())];
    let behind = world
        .run_with(&through_proxy, &["apply", "--day", "2020-02-15"])
        .await
        .assert_exit(3);
    behind.says(&[
        "could not look one up",
        "no_shard_available_action_exception",
        "make sure that the cluster is not red",
    ]);
    assert_eq!(documents(&world).await, before);
    world.run(&["project"]).await.assert_exit(0);
    world.run(&["verify", "--projections"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn totals_can_be_broken_down_by_country_region_and_city() {
    let world = World::with_projections().await;
    for place in ["country", "region", "city"] {
        let body = json!({
            "size": 0,
            "query": { "term": { "stat_type": "search" } },
            "aggs": { "places": { "terms": { "field": place }, "aggs": { "records": { "sum": { "field": "count" } } } } },
        });
        let answer = world
            .elastic(
                Method::POST,
                &format!("{}-terms/_search", world.prefix),
                Some(body),
            )
            .await;
        let buckets = answer["aggregations"]["places"]["buckets"]
            .as_array()
            .expect("buckets");
        let found: BTreeMap<String, f64> = buckets
            .iter()
            .map(|bucket| {
                (
                    bucket["key"].as_str().unwrap().to_owned(),
                    bucket["records"]["value"].as_f64().unwrap(),
                )
            })
            .collect();
        let expected = world
            .json(&format!(
                "SELECT jsonb_object_agg(place, n) FROM (
                     SELECT term::jsonb ->> '{place}' AS place, sum(n) AS n FROM daybook.interaction_term_delta
                     WHERE dimension = 'geocodes' AND stat_type = 'search' GROUP BY 1) t"
            ))
            .await;
        let expected: BTreeMap<String, f64> = serde_json::from_value(expected).unwrap();
        assert_eq!((&found, found.len()), (&expected, 2), "{place}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_setting_that_names_no_dimension_or_stat_type_is_refused() {
    for (setting, value, known) in [
        (
            "DAYBOOK_TERMS_DIMENSIONS",
            "item",
            "'item' is unknown: give some of items, geocodes, queries",
        ),
        ("DAYBOOK_TERMS_DIMENSIONS", "", "'' is unknown"),
        (
            "DAYBOOK_TERMS_DIMENSIONS",
            "items,none",
            "'none' is unknown",
        ),
        (
            "DAYBOOK_TERMS_STAT_TYPES",
            "views",
            "'views' is unknown: give some of search, mapping, download, seen, view",
        ),
    ] {
        // It is refused before anything is connected to.
        let settings = [
            (
                "DAYBOOK_LEDGER_URL",
                "postgres://nobody@127.0.0.1:9/nothing",
            ),
            (setting, value),
        ];
        let ended = command(&settings, &["project"])
            .output()
            .await
            .expect("run the program");
        Ended::from(ended)
            .assert_exit(2)
            .says(&["setting of stats-terms", known]);
    }
}

#[tokio::test]
async fn none_makes_no_index_of_terms() {
    let world = World::with_history().await;
    for setting in ["DAYBOOK_TERMS_DIMENSIONS", "DAYBOOK_TERMS_STAT_TYPES"] {
        let off = [(setting, "none")];
        world.run_with(&off, &["project"]).await.assert_exit(0);
        assert_eq!(
            world.indices().await,
            ["-g000001", "-totals-g000001"],
            "{setting}"
        );
        world.run_with(&off, &["verify"]).await.assert_exit(0);
        let refused = world
            .run_with(&off, &["rebuild", "--only", "terms"])
            .await
            .assert_exit(2);
        refused.says(&["-terms is turned off by DAYBOOK_TERMS_DIMENSIONS"]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_changed_setting_is_refused_until_the_terms_are_rebuilt() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    let recommended = "run `daybook rebuild --only terms`";
    let changed = [
        ("DAYBOOK_TERMS_DIMENSIONS", "queries,items"),
        ("DAYBOOK_TERMS_STAT_TYPES", "seen,search"),
    ];
    for one in changed {
        world
            .run_with(&[one], &["project"])
            .await
            .assert_exit(1)
            .says(&["-terms was made for", recommended]);
    }
    world
        .log(&[Event::search(100, LAST_DAY, RECORDSET, 3)])
        .await;
    let applied = world
        .run_with(&changed, &["apply", "--day", LAST_DAY])
        .await
        .assert_exit(3);
    applied.says(&["-terms was made for", recommended]);
    assert_eq!(
        world.entries().await,
        ENTRIES + 1,
        "the day is posted all the same"
    );
    assert_eq!(
        world.stored("-terms").await,
        before[2],
        "the terms are as they were"
    );
    let status = world.run_with(&changed, &["status"]).await.assert_exit(0);
    status.tells(&["-terms was made for"]);
    let found = world
        .run_with(&changed, &["verify", "--projections"])
        .await
        .assert_exit(4);
    found.tells(&["-terms was made for", recommended]);

    world
        .run_with(&changed, &["rebuild", "--only", "terms"])
        .await
        .assert_exit(0);
    let scope = |source: &Value| {
        let text = |field: &str| source[field].as_str().unwrap().to_owned();
        ["items", "queries"].contains(&&*text("dimension"))
            && ["seen", "search"].contains(&&*text("stat_type"))
    };
    let expected: BTreeMap<_, _> = sums_in_sql(&world)
        .await
        .into_iter()
        .filter(|(_, (_, source))| scope(source))
        .collect();
    assert_eq!(documents(&world).await, expected);
    world
        .log(&[Event::search(101, DECREASED_DAY, RECORDSET, 3)])
        .await;
    world
        .run_with(&changed, &["apply", "--day", DECREASED_DAY])
        .await
        .assert_exit(0);
    world.run_with(&changed, &["verify"]).await.assert_exit(0);
    assert_eq!(
        world.generation("").await,
        "g000001",
        "the others were left alone"
    );
    world.end().await;
}
