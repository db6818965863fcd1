//! `stats-terms`: one document per recordset, dimension and term, its all-time figures; and the setting that says which
//! terms.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::history::{DECREASED_DAY, ENTRIES, LAST_DAY, TAKEN_BACK, THIRD, steps};
use crate::support::program::{Ended, command};
use crate::support::proxy::{Proxy, Reply};
use crate::support::{Event, RECORDSET, World};

/// Everything that has a document with the setting that an installation has by default.
const DEFAULT: &str = "dimension = 'countries' OR dimension = 'items' AND stat_type = 'view'";

/// What the documents must be, summed up in SQL alone: id → (version, source). Of the terms that are `covered`.
async fn sums_in_sql(world: &World, covered: &str) -> BTreeMap<String, (i64, Value)> {
    let sums = world
        .json(&format!(
            r"WITH country AS (
                  SELECT t.*, CASE WHEN term LIKE '{{%' AND jsonb_typeof(term::jsonb -> 'country') = 'string'
                                   THEN term::jsonb ->> 'country' ELSE '' END AS country
                  FROM daybook.interaction_term_delta t WHERE dimension = 'geocodes'),
              listed AS (
                  SELECT recordset_id, record_type, stat_type, dimension, term, n, entry_id FROM daybook.interaction_term_delta
                  UNION ALL SELECT recordset_id, record_type, stat_type, 'countries', country, n, entry_id FROM country),
              cell AS (
                  SELECT recordset_id, dimension, term, record_type, stat_type, sum(n) AS n, max(entry_id) AS entry_id
                  FROM listed WHERE {covered} GROUP BY 1, 2, 3, 4, 5),
              record_type AS (
                  SELECT recordset_id, dimension, term, max(entry_id) AS entry_id, record_type,
                         jsonb_object_agg(stat_type, jsonb_build_object(
                             CASE WHEN stat_type IN ('seen', 'view') THEN 'count' ELSE 'total' END, n))
                             FILTER (WHERE n <> 0) AS figures
                  FROM cell GROUP BY 1, 2, 3, 5),
              document AS (
                  SELECT recordset_id, dimension, term, max(entry_id) AS entry_id,
                         coalesce(jsonb_object_agg(record_type, figures) FILTER (WHERE figures IS NOT NULL), '{{}}') AS figures
                  FROM record_type GROUP BY 1, 2, 3)
              SELECT jsonb_object_agg(
                  translate(encode(
                      substring(uuid_send(recordset_id) FOR 3) || convert_to(left(dimension, 1), 'UTF8') || substring(sha256(
                          uuid_send(recordset_id) || convert_to(dimension || E'
' || term, 'UTF8')) FOR 12), 'base64'), '+/=', '-_'),
                  jsonb_build_object('recordset_id', recordset_id, 'dimension', dimension, 'entry_id', entry_id,
                      'term', CASE WHEN dimension IN ('queries', 'countries') THEN nullif(term, '') ELSE term END)
                  || CASE WHEN dimension = 'geocodes' AND term LIKE '{{%' THEN (
                         SELECT coalesce(jsonb_object_agg(key, value), '{{}}') FROM jsonb_each(term::jsonb)
                         WHERE key IN ('country', 'region', 'city') AND jsonb_typeof(value) = 'string')
                     WHEN dimension = 'countries' AND term <> '' THEN jsonb_build_object('country', term)
                     ELSE '{{}}' END
                  || figures)
              FROM document"
        ))
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
        world.live(&step, &[]).await;
        assert_eq!(
            documents(&world).await,
            sums_in_sql(&world, "true").await,
            "after each advance"
        );
    }
    let documents = documents(&world).await;
    let figures = |recordset: &str, dimension: &str, term: Value| {
        let is_it = |source: &Value| {
            (
                &source["recordset_id"],
                &source["dimension"],
                &source["term"],
            ) == (&json!(recordset), &json!(dimension), &term)
        };
        let (_, source) = documents
            .values()
            .find(|(_, source)| is_it(source))
            .expect("a document");
        let mut figures = source.clone();
        for field in [
            "recordset_id",
            "dimension",
            "term",
            "country",
            "region",
            "city",
        ] {
            figures.as_object_mut().unwrap().remove(field);
        }
        figures
    };
    // Seen on the first day and on the last one, viewed on two days in between.
    assert_eq!(
        figures(RECORDSET, "items", json!("record-1")),
        json!({ "entry_id": ENTRIES, "records": { "seen": { "count": 2 }, "view": { "count": 2 } } })
    );
    // 5 and 11 records were found by the same query; 4 by none.
    assert_eq!(
        figures(RECORDSET, "queries", json!("hash-1"))["records"]["search"],
        json!({ "total": 16 })
    );
    assert_eq!(
        figures(RECORDSET, "queries", Value::Null),
        json!({ "entry_id": 5, "records": { "search": { "total": 4 } } })
    );
    // A geocode without a country, and one with another.
    assert_eq!(
        figures(RECORDSET, "countries", json!("Canada"))["records"],
        json!({ "search": { "total": 11 }, "view": { "count": 1 } })
    );
    assert_eq!(
        figures(RECORDSET, "countries", Value::Null)["records"],
        json!({ "seen": { "count": 2 } })
    );
    // Posted and reversed: the document stays, without figures.
    assert_eq!(
        figures(THIRD, "items", json!(TAKEN_BACK)),
        json!({ "entry_id": 6 })
    );
    world.end().await;
}

#[tokio::test]
async fn by_default_they_are_those_of_countries_and_of_viewed_records() {
    let world = World::before_history().await;
    for step in steps() {
        world.live(&step, &["--no-project"]).await;
    }
    let by_default = async |arguments: &[&str]| {
        let mut command = world.command(arguments);
        let output = command.env_remove("DAYBOOK_TERMS").output().await;
        Ended::from(output.expect("run the program")).assert_exit(0)
    };
    by_default(&["project"]).await;
    let expected = sums_in_sql(&world, DEFAULT).await;
    assert_eq!(documents(&world).await, expected);
    by_default(&["verify"]).await;
    by_default(&["rebuild", "--only", "terms"]).await;
    assert_eq!(documents(&world).await, expected);
    world.end().await;
}

#[tokio::test]
async fn the_countries_of_a_recordset_add_up_to_its_totals_whatever_the_geocodes_are() {
    let world = World::new().await;
    let geocodes = [
        r#"{"country":"Germany","city":"Berlin"}"#,
        r#"{"country":"Germany","city":"Bonn"}"#,
        r#"{"country":"Côte d'Ivoire"}"#,
        r#"{"country":"null"}"#,
        r#"{"country":"a \"b\" \\ \t"}"#,
        r#"{"country":""}"#,
        r#"{"country":null}"#,
        r#"{"country":7}"#,
        r#"{"country":{"country":"Germany"}}"#,
        r#"["country"]"#,
        r#""Germany""#,
        "null",
    ];
    let days = ["2020-02-10", "2020-02-11"];
    let mut events = Vec::new();
    for (id, (day, geocode)) in (1..).zip(
        days.iter()
            .flat_map(|day| geocodes.map(|geocode| (day, geocode))),
    ) {
        let of = |event: Event| Event {
            ip_geocode: Some(geocode.to_owned()),
            ..event
        };
        events.push(of(Event::search(2 * id, day, RECORDSET, id)));
        events.push(of(Event::view(2 * id + 1, day, "record-1", RECORDSET)));
    }
    world.log(&events).await;
    world
        .run(&["apply", "--from", days[0], "--to", days[1]])
        .await
        .assert_exit(0);
    let documents = documents(&world).await;
    assert_eq!(documents, sums_in_sql(&world, "true").await);
    let countries: BTreeMap<Option<&str>, &Value> = documents
        .values()
        .filter(|(_, source)| source["dimension"] == "countries")
        .map(|(_, source)| (source["term"].as_str(), &source["records"]))
        .collect();
    let names = [
        None,
        Some("Côte d'Ivoire"),
        Some("Germany"),
        Some("a \"b\" \\ \t"),
        Some("null"),
    ];
    assert_eq!(countries.keys().copied().collect::<Vec<_>>(), names);
    let sum = |figure: &str| -> i64 {
        let figures = countries.values().map(|records| records.pointer(figure));
        figures
            .map(|figure| figure.unwrap().as_i64().unwrap())
            .sum()
    };
    let totals = &world.documents("-totals").await[0].2["records"];
    assert_eq!(totals["search"]["total"], sum("/search/total"));
    assert_eq!(totals["view"]["count"], sum("/view/count"));

    // A country that no geocode has is not the ledger's; verifying finds it, and nothing else.
    let (id, (_, mut extra)) = documents
        .into_iter()
        .find(|(_, (_, source))| source["term"] == "Germany")
        .unwrap();
    extra["term"] = json!("Prussia");
    let path = format!("{}-terms/_doc/{}?refresh", world.prefix, id.to_lowercase());
    world.elastic(Method::PUT, &path, Some(extra)).await;
    let found = world
        .run(&["verify", "--projections", "--repair"])
        .await
        .assert_exit(0);
    found.tells(&["extra", &id.to_lowercase()]);
    assert_eq!(
        self::documents(&world).await,
        sums_in_sql(&world, "true").await
    );
    world.end().await;
}

/// There are too many terms for memory sooner in a test than in a release.
const TOO_MANY_TERMS: i64 = 120;
const IN_A_FILE: &str = "sums continue in a temporary file";

#[tokio::test]
async fn many_terms_are_added_up_as_few() {
    let world = World::with_projections().await;
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
    let applied = world
        .run(&["-vv", "apply", "--from", "2020-03-01", "--to", "2020-03-02"])
        .await
        .assert_exit(0);
    applied.says(&[IN_A_FILE]);
    let expected = sums_in_sql(&world, "true").await;
    assert_eq!(documents(&world).await, expected);
    let rebuilt = world.run(&["-vv", "rebuild"]).await.assert_exit(0);
    rebuilt.says(&[IN_A_FILE]);
    assert_eq!(documents(&world).await, expected);
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
            "query": { "term": { "dimension": "geocodes" } },
            "aggs": { "places": { "terms": { "field": place }, "aggs": { "records": { "sum": { "field": "records.search.total" } } } } },
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
    for (value, known) in [
        (
            "item",
            "'item' is unknown: give some of countries, geocodes, items, queries",
        ),
        ("", "'' is unknown"),
        ("items,none", "'none' is unknown"),
        (
            "items:views",
            "'views' is not a stat type of items: after the colon, give some of seen, view",
        ),
    ] {
        // It is refused before anything is connected to.
        let settings = [
            (
                "DAYBOOK_LEDGER_URL",
                "postgres://nobody@127.0.0.1:9/nothing",
            ),
            ("DAYBOOK_TERMS", value),
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
    let off = [("DAYBOOK_TERMS", "none")];
    world.run_with(&off, &["project"]).await.assert_exit(0);
    assert_eq!(world.indices().await, ["-g000001", "-totals-g000001"]);
    world.run_with(&off, &["verify"]).await.assert_exit(0);
    let refused = world
        .run_with(&off, &["rebuild", "--only", "terms"])
        .await
        .assert_exit(2);
    refused.says(&["-terms is turned off by DAYBOOK_TERMS"]);
    world.end().await;
}

#[tokio::test]
async fn a_changed_setting_is_refused_until_the_terms_are_rebuilt() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    let recommended = "run `daybook rebuild --only terms`";
    let changed = [("DAYBOOK_TERMS", "queries:seen+search,items:seen")];
    let told = "was made for the terms 'countries,geocodes,items,queries', the settings ask for 'items:seen,queries:search+seen'";
    world
        .run_with(&changed, &["project"])
        .await
        .assert_exit(1)
        .says(&[
            "-terms was made for",
            recommended,
            "or set DAYBOOK_TERMS to 'countries,geocodes,items,queries' again",
        ]);
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
    status.tells(&[told]);
    let found = world
        .run_with(&changed, &["verify", "--projections"])
        .await
        .assert_exit(4);
    found.tells(&["-terms was made for", recommended]);

    world
        .run_with(&changed, &["rebuild", "--only", "terms"])
        .await
        .assert_exit(0);
    let covered = "dimension = 'items' AND stat_type = 'seen' OR dimension = 'queries' AND stat_type IN ('seen', 'search')";
    let expected = sums_in_sql(&world, covered).await;
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
