//! Those who read the indices, with requests of the form that they send: each answer is what plain SQL says over the source.
//!
//! They send dates as moments, months, years, milliseconds and date math, over an alias alone, and over it and an index of
//! somebody else's documents at once, where a shard that fails turns into a silent 0.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::history::{SECOND, THIRD};
use crate::support::{Event, RECORDSET, World};

/// The published day and two more: their documents are of three months in two years.
const DAYS: [&str; 3] = ["2019-12-31", "2020-02-16", "2020-02-29"];

/// What the events of the source say, by the rules of the old system. `named` is the day under which readers find it.
const SOURCE_IN_SQL: &str = "
    CREATE MATERIALIZED VIEW interaction AS
    SELECT e.day, e.day + 1 AS named, e.record_type, e.type AS stat_type, e.ip_geocode ->> 'country' AS country,
           CASE WHEN by_record THEN p.value #>> '{}' ELSE p.key END AS recordset_id,
           CASE WHEN by_record THEN p.key END AS item,
           CASE WHEN by_record THEN 1 ELSE (p.value #>> '{}')::bigint END AS n
    FROM (SELECT (date AT TIME ZONE 'UTC')::date AS day, type IN ('view', 'seen') AS by_record, * FROM stats) e,
         jsonb_each(e.payload) p
    WHERE e.record_type IN ('records', 'mediarecords');
    CREATE MATERIALIZED VIEW document AS SELECT DISTINCT recordset_id, day, named FROM interaction";

async fn world() -> World {
    let world = World::new().await;
    world.load_real_day().await;
    let country = |name: &str, event: Event| Event {
        ip_geocode: Some(
            json!({ "country": name, "region": "a region", "city": "a city" }).to_string(),
        ),
        ..event
    };
    let [before, _, after] = DAYS;
    world
        .log(&[
            Event::new(9001, before, "search", &json!({ RECORDSET: 5, SECOND: 7 })),
            Event::view(9002, before, "record-1", RECORDSET),
            country("Germany", Event::search(9003, after, THIRD, 11)),
            country("Germany", Event::search(9004, after, RECORDSET, 13)),
            country("Germany", Event::search(9005, after, RECORDSET, 2)),
            Event {
                ip_geocode: None,
                ..Event::new(9006, after, "download", &json!({ SECOND: 3 }))
            },
            Event::new(
                9007,
                after,
                "seen",
                &json!({ "record-1": RECORDSET, "record-2": RECORDSET }),
            ),
            Event {
                record_type: Some("mediarecords".to_owned()),
                ..Event::view(9008, after, "medium-1", SECOND)
            },
        ])
        .await;
    world.execute(SOURCE_IN_SQL).await;
    for day in DAYS {
        world.run(&["apply", "--day", day]).await.assert_exit(0);
    }
    world
}

/// Somebody else's documents, of long before.
async fn another_index(world: &World) -> String {
    let name = format!("{}-others", world.prefix);
    let mappings = json!({ "properties": { "recordset_id": { "type": "keyword" }, "harvest_date": { "type": "date" } } });
    world
        .elastic(Method::PUT, &name, Some(json!({ "mappings": mappings })))
        .await;
    let document = json!({ "harvest_date": "1900-01-01", "recordset_id": "api", "requests": 7 });
    world
        .elastic(
            Method::PUT,
            &format!("{name}/_doc/1?refresh"),
            Some(document),
        )
        .await;
    name
}

/// A request, how to read its answer, and SQL whose one value the answer is.
struct Asked {
    path: String,
    body: Option<Value>,
    read: fn(&Value) -> Value,
    sql: String,
}

fn search(body: Value, read: fn(&Value) -> Value, sql: impl Into<String>) -> Asked {
    Asked {
        path: "_search?track_total_hits=true".to_owned(),
        body: Some(body),
        read,
        sql: sql.into(),
    }
}

fn hits(answer: &Value) -> Value {
    answer["hits"]["total"]["value"].clone()
}

fn value(answer: &Value) -> Value {
    whole(&answer["aggregations"]["figure"]["value"])
}

/// Elasticsearch adds up in floating point.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the sums of a test are small"
)]
fn whole(number: &Value) -> Value {
    json!(number.as_f64().map(|number| number as i64))
}

const DOCUMENTS: &str = "SELECT count(*) FROM document WHERE ";

impl World {
    /// Asks and compares, over whatever the names stand for.
    async fn assert_answered(&self, names: &str, asked: &Asked) {
        let Asked {
            path,
            body,
            read,
            sql,
        } = asked;
        let method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let answer = self
            .elastic(method, &format!("{names}/{path}"), body.clone())
            .await;
        let question = format!(
            "{names}/{path} {}",
            body.as_ref().map(Value::to_string).unwrap_or_default()
        );
        assert_eq!(answer["_shards"]["failed"], 0, "{question}: {answer}");
        let expected = self.json(&format!("SELECT to_jsonb(({sql}))")).await;
        assert!(
            expected != Value::Null && expected != 0 && expected != json!({}),
            "nothing is asked for: {sql}"
        );
        assert_eq!(read(&answer), expected, "{question}");
    }

    /// The same over the alias alone, and together with somebody else's index.
    async fn assert_all_answered(&self, suffix: &str, asked: &[Asked]) {
        let alias = format!("{}{suffix}", self.prefix);
        let both = format!("{alias},{}", another_index(self).await);
        for asked in asked {
            self.assert_answered(&alias, asked).await;
            self.assert_answered(&both, asked).await;
        }
    }
}

/// Ranges over a date, each with what it is in SQL.
fn ranges() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({ "gte": "2017-03-01T00:00:00.000Z" }),
            "named >= '2017-03-01'",
        ),
        (
            json!({ "gte": "2020-01-01T05:00:00.000Z" }),
            "named > '2020-01-01'",
        ),
        (
            json!({ "gte": "2020-01-01T00:00:00" }),
            "named >= '2020-01-01'",
        ),
        (
            json!({ "gte": "2019-12-31T00:00:00Z", "lte": "2020-02-17T00:00:00Z" }),
            "named <= '2020-02-17'",
        ),
        (
            json!({ "gte": "2020-02-17T00:00:00.000+00:00" }),
            "named >= '2020-02-17'",
        ),
        (
            json!({ "gte": "2020-02-17T02:00:00+05:00" }),
            "named >= '2020-02-17'",
        ),
        (
            json!({ "gte": "2020-02-17T00:00:00-05:00" }),
            "named > '2020-02-17'",
        ),
        (
            json!({ "gte": "2020-02-17", "time_zone": "-06:00" }),
            "named > '2020-02-17'",
        ),
        (json!({ "gte": "2020-01" }), "named >= '2020-01-01'"),
        (json!({ "gt": "2020-01" }), "named > '2020-01-01'"),
        (
            json!({ "gte": "2020-01", "lte": "2020-03" }),
            "named >= '2020-01-01' AND named <= '2020-03-01'",
        ),
        (
            json!({ "gte": "2019-12", "lt": "2020-02" }),
            "named < '2020-02-01'",
        ),
        (json!({ "gte": "2020" }), "named >= '2020-01-01'"),
        (
            json!({ "gte": "2019", "lte": "2020" }),
            "named <= '2020-01-01'",
        ),
        (
            json!({ "gte": 1_581_897_600_000_i64 }),
            "named >= '2020-02-17'",
        ),
        (json!({ "gte": "1581897600001" }), "named > '2020-02-17'"),
        (
            json!({ "gte": "2020-02-17||/M", "lt": "2020-02-17||+1M/M" }),
            "named >= '2020-02-01' AND named < '2020-03-01'",
        ),
        (
            json!({ "gte": "now-100y/d", "lte": "now" }),
            "named >= '1970-01-01'",
        ),
        (
            json!({ "gte": "2020-02-16", "lte": "2020-02-17" }),
            "named >= '2020-02-16' AND named <= '2020-02-17'",
        ),
        (
            json!({ "gte": "17/02/2020", "format": "dd/MM/yyyy" }),
            "named >= '2020-02-17'",
        ),
    ]
}

#[tokio::test]
async fn every_reader_is_answered_what_the_source_says() {
    let world = world().await;
    dates_are_taken_in_every_form(&world).await;
    months_and_recordsets_are_added_up(&world).await;
    several_questions_at_once_and_pages_of_buckets_are_answered_in_full(&world).await;
    a_copy_page_by_page_has_every_document_once(&world).await;
    terms_are_sorted_by_figure_and_added_up_by_place(&world).await;
    world.end().await;
}

async fn dates_are_taken_in_every_form(world: &World) {
    let mut daily = Vec::new();
    for (range, sql) in ranges() {
        let filter = json!({ "bool": { "filter": [{ "range": { "harvest_date": range } }] } });
        daily.push(search(
            json!({ "size": 0, "query": filter }),
            hits,
            DOCUMENTS.to_owned() + sql,
        ));
        // The day itself lies a day before that.
        let query = json!({ "range": { "day": range } });
        daily.push(search(
            json!({ "size": 0, "query": query, "aggs": { "figure": { "sum": { "field": "records.search.total" } } } }),
            value,
            format!(
                "SELECT sum(n)::bigint FROM interaction WHERE record_type = 'records' AND stat_type = 'search' AND {}",
                sql.replace("named", "day")
            ),
        ));
    }
    for (date, sql) in [
        (json!("2020-02-17"), "named = '2020-02-17'"),
        (json!("2020-02-17T00:00:00.000Z"), "named = '2020-02-17'"),
        (json!(1_581_897_600_000_i64), "named = '2020-02-17'"),
        (json!("2020-01"), "named = '2020-01-01'"),
    ] {
        for query in ["term", "match"] {
            let query = json!({ query: { "harvest_date": date } });
            daily.push(search(
                json!({ "size": 0, "query": query }),
                hits,
                DOCUMENTS.to_owned() + sql,
            ));
        }
    }
    for (query, sql) in [
        ("harvest_date:2020-02-17", "named = '2020-02-17'"),
        ("harvest_date:[2020-02 TO 2020-03]", "named >= '2020-02-01'"),
        (
            "harvest_date:[2020-01-01 TO 2020-02-17}",
            "named < '2020-02-17'",
        ),
        (
            "harvest_date:[\"2020-02-17T00:00:00.000Z\" TO *]",
            "named >= '2020-02-17'",
        ),
        ("harvest_date:>2020-01", "named >= '2020-02-01'"),
        ("harvest_date:2020", "named = '2020-01-01'"),
        (
            "harvest_date:[1581897600000 TO 1581897600000]",
            "named = '2020-02-17'",
        ),
        (
            "recordset_id:0e162e0a-bf3e-4710-9357-44258ca12abb AND harvest_date:2020-01",
            "recordset_id = '0e162e0a-bf3e-4710-9357-44258ca12abb' AND named = '2020-01-01'",
        ),
        ("day:[2020-02-16 TO 2020-03]", "day >= '2020-02-16'"),
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let count = |answer: &Value| answer["count"].clone();
        let sql = DOCUMENTS.to_owned() + sql;
        daily.push(Asked {
            path: format!("_count?q={encoded}"),
            body: None,
            read: count,
            sql: sql.clone(),
        });
        daily.push(Asked {
            path: format!("_search?size=0&track_total_hits=true&q={encoded}"),
            body: None,
            read: hits,
            sql: sql.clone(),
        });
        let query = json!({ "query": { "query_string": { "query": query } } });
        daily.push(Asked {
            path: "_count".to_owned(),
            body: Some(query),
            read: count,
            sql,
        });
    }
    world.assert_all_answered("", &daily).await;

    let recordsets = |condition: &str| {
        format!(
            "SELECT count(*) FROM (SELECT recordset_id FROM document GROUP BY 1 HAVING {condition}) t"
        )
    };
    let totals: Vec<Asked> = [
        (
            json!({ "range": { "last_day": { "gte": "2020-02-29T00:00:00.000Z" } } }),
            "max(day) >= '2020-02-29'",
        ),
        (
            json!({ "range": { "last_day": { "gte": "2020-02" } } }),
            "max(day) >= '2020-02-01'",
        ),
        (
            json!({ "range": { "first_day": { "lte": "2020" } } }),
            "min(day) <= '2020-01-01'",
        ),
        (
            json!({ "term": { "first_day": 1_577_750_400_000_i64 } }),
            "min(day) = '2019-12-31'",
        ),
        (
            json!({ "query_string": { "query": "first_day:[2020-02 TO *]" } }),
            "min(day) >= '2020-02-01'",
        ),
    ]
    .into_iter()
    .map(|(query, condition)| {
        search(
            json!({ "size": 0, "query": query }),
            hits,
            recordsets(condition),
        )
    })
    .collect();
    world.assert_all_answered("-totals", &totals).await;
}

/// Recordset → month → sum, without what is nothing.
fn months_of_recordsets(answer: &Value) -> Value {
    let mut sums = json!({});
    for recordset in buckets(answer, "recordsets") {
        for month in buckets_of(recordset, "months") {
            let sum = whole(&month["figure"]["value"]);
            if sum != 0 {
                sums[recordset["key"].as_str().unwrap()]
                    [month["key_as_string"].as_str().unwrap()] = sum;
            }
        }
    }
    sums
}

/// The same, from months with recordsets below them.
fn recordsets_of_months(answer: &Value) -> Value {
    let mut sums = json!({});
    for month in buckets(answer, "months") {
        for recordset in buckets_of(month, "recordsets") {
            let sum = whole(&recordset["figure"]["value"]);
            if sum != 0 {
                sums[recordset["key"].as_str().unwrap()]
                    [month["key_as_string"].as_str().unwrap()] = sum;
            }
        }
    }
    sums
}

fn buckets<'a>(answer: &'a Value, name: &str) -> &'a Vec<Value> {
    buckets_of(&answer["aggregations"], name)
}

fn buckets_of<'a>(of: &'a Value, name: &str) -> &'a Vec<Value> {
    of[name]["buckets"]
        .as_array()
        .unwrap_or_else(|| panic!("no buckets of {name}: {of}"))
}

/// Recordset → month → records that searches found.
const SEARCHED_BY_MONTH: &str = "
    SELECT jsonb_object_agg(recordset_id, months) FROM (
        SELECT recordset_id, jsonb_object_agg(month, n) AS months FROM (
            SELECT recordset_id, to_char(named, 'YYYY-MM-01') AS month, sum(n)::bigint AS n FROM interaction
            WHERE record_type = 'records' AND stat_type = 'search' GROUP BY 1, 2 HAVING sum(n) > 0) t
        GROUP BY 1) t";

async fn months_and_recordsets_are_added_up(world: &World) {
    let sum = json!({ "figure": { "sum": { "field": "records.search.total" } } });
    let months = |below: Value| {
        json!({ "months": { "aggs": below, "date_histogram": {
            "field": "harvest_date", "calendar_interval": "month", "format": "yyyy-MM-dd", "min_doc_count": 1,
        } } })
    };
    let recordsets = |below: Value| json!({ "recordsets": { "aggs": below, "terms": { "field": "recordset_id", "size": 10_000 } } });
    // From the time when it began to count until now, as the portal asks.
    let since = json!({ "bool": { "filter": [{ "range": { "harvest_date": {
        "gte": "2015-01-16T00:00:00.000Z", "lte": "2030-01-01T00:00:00.000Z",
    } } }] } });
    let of_one = json!({ "bool": { "filter": [
        { "term": { "recordset_id": RECORDSET } },
        { "range": { "harvest_date": { "gte": "2020-01-01T00:00:00.000Z", "lte": "2020-03-01T00:00:00.000Z" } } },
    ] } });
    let every_figure: Value = ["view", "seen", "search", "download", "mapping"]
        .into_iter()
        .flat_map(|stat_type| {
            ["count", "total"].map(|figure| format!("records.{stat_type}.{figure}"))
        })
        .map(|field| (field.clone(), json!({ "sum": { "field": field } })))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let figures = |answer: &Value| {
        let aggregations = answer["aggregations"].as_object().expect("figures");
        aggregations
            .iter()
            .map(|(field, sum)| (field.clone(), whole(&sum["value"])))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let newest = |answer: &Value| answer["hits"]["hits"][0]["_source"]["harvest_date"].clone();
    let span = |answer: &Value| {
        let of = |name: &str| answer["aggregations"][name]["value_as_string"].clone();
        json!([of("first"), of("last")])
    };
    let asked = [
        search(
            json!({ "size": 0, "query": since, "aggs": recordsets(months(sum.clone())) }),
            months_of_recordsets,
            SEARCHED_BY_MONTH,
        ),
        search(
            json!({ "size": 0, "query": since, "aggs": months(recordsets(sum.clone())) }),
            recordsets_of_months,
            SEARCHED_BY_MONTH,
        ),
        search(
            json!({ "size": 0, "query": of_one, "aggs": every_figure }),
            figures,
            format!(
                "SELECT jsonb_object_agg(field, n) FROM (
                     SELECT 'records.' || t || '.' || f AS field,
                            (SELECT CASE f WHEN 'count' THEN count(*) ELSE coalesce(sum(n), 0) END::bigint FROM interaction
                             WHERE recordset_id = '{RECORDSET}' AND record_type = 'records' AND stat_type = t) AS n
                     FROM unnest('{{view,seen,search,download,mapping}}'::text[]) t, unnest('{{count,total}}'::text[]) f) s"
            ),
        ),
        search(
            json!({ "size": 1, "sort": [{ "harvest_date": { "order": "desc" } }, "recordset_id"] }),
            newest,
            "SELECT max(named)::text FROM document",
        ),
        search(
            json!({ "size": 0, "query": since, "aggs": {
                "first": { "min": { "field": "harvest_date" } }, "last": { "max": { "field": "harvest_date" } },
            } }),
            span,
            "SELECT jsonb_build_array(min(named)::text || 'T00:00:00.000Z', max(named)::text || 'T00:00:00.000Z') FROM document",
        ),
        search(
            json!({ "size": 0, "query": { "match_phrase": { "records.seen.items.term": "record-2" } } }),
            hits,
            "SELECT count(DISTINCT (recordset_id, day)) FROM interaction WHERE stat_type = 'seen' AND item = 'record-2'",
        ),
    ];
    world.assert_all_answered("", &asked).await;
    // As clients of before version 7 read it.
    let as_a_number = Asked {
        path: "_search?rest_total_hits_as_int=true&size=0".to_owned(),
        body: Some(
            json!({ "query": { "range": { "harvest_date": { "gte": "2020-02-17T00:00:00.000Z" } } } }),
        ),
        read: |answer| answer["hits"]["total"].clone(),
        sql: format!("{DOCUMENTS} named >= '2020-02-17'"),
    };
    world.assert_all_answered("", &[as_a_number]).await;
}

async fn several_questions_at_once_and_pages_of_buckets_are_answered_in_full(world: &World) {
    let header = json!({ "index": [world.prefix, another_index(world).await] });
    let search = json!({ "size": 0, "track_total_hits": true,
        "query": { "range": { "harvest_date": { "gte": "2020-02-17T00:00:00.000Z" } } } });
    let lines = format!("{header}\n{search}\n{header}\n{search}\n");
    let answer: Value = serde_json::from_str(
        &world
            .elastic_text(Method::POST, "_msearch", Some(lines))
            .await,
    )
    .expect("JSON");
    let expected = world
        .json(&format!("{DOCUMENTS} named >= '2020-02-17'"))
        .await;
    for response in answer["responses"].as_array().expect("responses") {
        assert_eq!(
            (&response["_shards"]["failed"], &hits(response)),
            (&json!(0), &expected),
            "{response}"
        );
    }

    // Where all of them at once would be more buckets than a cluster allows.
    let mut sums = json!({});
    let mut after = None;
    loop {
        let mut composite = json!({ "size": 500, "sources": [
            { "recordset": { "terms": { "field": "recordset_id" } } },
            { "month": { "date_histogram": { "field": "harvest_date", "calendar_interval": "month", "format": "yyyy-MM-dd" } } },
        ] });
        if let Some(after) = after {
            composite["after"] = after;
        }
        let body = json!({ "size": 0, "aggs": { "pages": {
            "composite": composite, "aggs": { "figure": { "sum": { "field": "records.search.total" } } },
        } } });
        let answer = world
            .elastic(
                Method::POST,
                &format!("{}/_search", world.prefix),
                Some(body),
            )
            .await;
        assert_eq!(answer["_shards"]["failed"], 0, "{answer}");
        for bucket in buckets(&answer, "pages") {
            let key = |name: &str| bucket["key"][name].as_str().expect("a key");
            let sum = whole(&bucket["figure"]["value"]);
            if sum != 0 {
                sums[key("recordset")][key("month")] = sum;
            }
        }
        match answer["aggregations"]["pages"].get("after_key") {
            Some(key) => after = Some(key.clone()),
            None => break,
        }
    }
    assert_eq!(
        sums,
        world.json(&format!("SELECT ({SEARCHED_BY_MONTH})")).await
    );
}

async fn a_copy_page_by_page_has_every_document_once(world: &World) {
    let expected: BTreeSet<(String, String)> = serde_json::from_value(
        world
            .json("SELECT jsonb_agg(jsonb_build_array(recordset_id, named::text)) FROM document")
            .await,
    )
    .expect("pairs");
    let both = format!("{},{}", world.prefix, another_index(world).await);
    // As dumping tools and clients' scan helpers read, and as scripts that repair a period do.
    let of_the_period =
        json!({ "range": { "harvest_date": { "gte": "2020-01-01T00:00:00.000Z" } } });
    for (names, body) in [
        (
            &world.prefix,
            json!({ "query": { "match_all": {} }, "fields": ["*"], "_source": true, "size": 500 }),
        ),
        (&world.prefix, json!({ "sort": "_doc", "size": 1000 })),
        (
            &both,
            json!({ "query": { "bool": { "filter": [of_the_period] } }, "size": 700, "version": true }),
        ),
    ] {
        let mut copied = BTreeSet::new();
        let mut page = world
            .elastic(
                Method::POST,
                &format!("{names}/_search?scroll=5m"),
                Some(body),
            )
            .await;
        loop {
            assert_eq!(page["_shards"]["failed"], 0, "{page}");
            let hits = page["hits"]["hits"].as_array().expect("hits");
            if hits.is_empty() {
                break;
            }
            for hit in hits {
                let text = |field: &str| hit["_source"][field].as_str().expect("text").to_owned();
                let (recordset, named) = (text("recordset_id"), text("harvest_date"));
                assert!(copied.insert((recordset, named)), "{hit} comes twice");
            }
            let next = json!({ "scroll": "5m", "scroll_id": page["_scroll_id"] });
            page = world
                .elastic(Method::POST, "_search/scroll", Some(next))
                .await;
        }
        let scroll = json!({ "scroll_id": page["_scroll_id"] });
        world
            .elastic(Method::DELETE, "_search/scroll", Some(scroll))
            .await;
        assert!(
            copied == expected,
            "{} of {} documents",
            copied.len(),
            expected.len()
        );
    }
}

async fn terms_are_sorted_by_figure_and_added_up_by_place(world: &World) {
    let of = |dimension: &str, filters: Value| {
        let mut filter = vec![json!({ "term": { "dimension": dimension } })];
        filter.extend(filters.as_array().expect("filters").iter().cloned());
        json!({ "bool": { "filter": filter } })
    };
    let ranked = |field: &str, query: Value| json!({ "size": 10_000, "query": query, "sort": [{ field: "desc" }, "recordset_id"] });
    let sum = |field: &str| json!({ "figure": { "sum": { "field": field } } });
    let of_germany = of("countries", json!([{ "term": { "country": "Germany" } }]));
    let of_medium = of("items", json!([{ "term": { "term": "medium-1" } }]));
    let of_nowhere = json!({ "bool": {
        "must_not": { "exists": { "field": "term" } }, "filter": { "term": { "dimension": "countries" } },
    } });
    let mut asked = vec![
        search(
            ranked("records.search.total", of_germany),
            |answer| {
                let rank = |hit: &Value| json!([hit["_source"]["recordset_id"], hit["sort"][0]]);
                hits_of(answer).iter().map(rank).collect()
            },
            "SELECT jsonb_agg(jsonb_build_array(recordset_id, n) ORDER BY n DESC, recordset_id) FROM (
                 SELECT recordset_id, sum(n)::bigint AS n FROM interaction
                 WHERE record_type = 'records' AND stat_type = 'search' AND country = 'Germany' GROUP BY 1) t",
        ),
        search(
            json!({ "size": 0, "query": of("countries", json!([])), "aggs": sum("records.search.total") }),
            value,
            "SELECT sum(n)::bigint FROM interaction WHERE record_type = 'records' AND stat_type = 'search'",
        ),
        search(
            json!({ "size": 0, "query": of_medium, "aggs": sum("mediarecords.view.count") }),
            value,
            "SELECT count(*) FROM interaction WHERE record_type = 'mediarecords' AND item = 'medium-1'",
        ),
        search(
            json!({ "size": 0, "query": of_nowhere, "aggs": sum("records.download.total") }),
            value,
            "SELECT sum(n)::bigint FROM interaction WHERE record_type = 'records' AND stat_type = 'download' AND country IS NULL",
        ),
    ];
    // Count and total of a view are the same, and readers may use either.
    for field in ["records.view.count", "records.view.total"] {
        let viewed = of("items", json!([{ "exists": { "field": field } }]));
        asked.push(search(
            ranked(field, viewed),
            // Records with the same figure come in any order.
            |answer| {
                hits_of(answer)
                    .iter()
                    .map(|hit| hit["sort"][0].clone())
                    .collect()
            },
            "SELECT jsonb_agg(n ORDER BY n DESC) FROM (
                 SELECT count(*) AS n FROM interaction WHERE record_type = 'records' AND stat_type = 'view'
                 GROUP BY recordset_id, item) t",
        ));
        let countries = json!({ "countries": {
            "terms": { "field": "country", "missing": "", "size": 1000 }, "aggs": sum(field),
        } });
        asked.push(search(
            json!({ "size": 0, "query": of("countries", json!([])), "aggs": countries }),
            |answer| {
                let of_country = |bucket: &Value| {
                    let country = bucket["key"].as_str().expect("text").to_owned();
                    (country, whole(&bucket["figure"]["value"]))
                };
                buckets(answer, "countries")
                    .iter()
                    .map(of_country)
                    .filter(|(_, figure)| *figure != 0)
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            },
            "SELECT jsonb_object_agg(country, n) FROM (
                 SELECT coalesce(country, '') AS country, count(*) AS n FROM interaction
                 WHERE record_type = 'records' AND stat_type = 'view' GROUP BY 1) t",
        ));
    }
    let alias = format!("{}-terms", world.prefix);
    for asked in asked {
        world.assert_answered(&alias, &asked).await;
    }
}

fn hits_of(answer: &Value) -> &Vec<Value> {
    answer["hits"]["hits"].as_array().expect("hits")
}

#[tokio::test]
async fn a_pattern_matches_what_serves_once_and_no_other_generation() {
    let world = World::with_projections().await;
    let sums = async |names: &str| {
        let body = json!({ "size": 0, "track_total_hits": true, "aggs": {
            "figure": { "sum": { "field": "records.search.total" } }, "indices": { "terms": { "field": "_index" } },
        } });
        let answer = world
            .elastic(Method::POST, &format!("{names}/_search"), Some(body))
            .await;
        assert_eq!(answer["_shards"]["failed"], 0, "{answer}");
        let indices: Vec<String> = buckets(&answer, "indices")
            .iter()
            .map(|bucket| bucket["key"].as_str().unwrap().to_owned())
            .collect();
        (
            value(&answer),
            hits(&answer),
            indices.into_iter().collect::<BTreeSet<_>>(),
        )
    };
    let alias = |suffix: &str| format!("{}{suffix}", world.prefix);
    let one_by_one = format!("{},{},{}", alias(""), alias("-totals"), alias("-terms"));
    for generation in ["g000001", "g000002"] {
        let (sum, documents, _) = sums(&one_by_one).await;
        assert!(sum.as_i64() > Some(0), "{sum}");
        let serving: BTreeSet<String> = ["", "-totals", "-terms"]
            .map(|suffix| format!("{}-{generation}", alias(suffix)))
            .into();
        assert_eq!(
            sums(&alias("*")).await,
            (sum, documents, serving),
            "{generation}"
        );
        assert_eq!(
            sums(&alias("")).await.2,
            [format!("{}-{generation}", alias(""))].into()
        );
        assert_eq!(
            sums(&alias("-tot*")).await.2,
            [format!("{}-{generation}", alias("-totals"))].into()
        );
        let hidden = world
            .elastic(Method::GET, &format!("{}/_count", alias("-g*")), None)
            .await;
        assert_eq!(hidden["count"], 0, "{hidden}");
        // One more that is kept, and one that was left half way.
        world.run(&["rebuild"]).await.assert_exit(0);
        world
            .run_with(&[("DAYBOOK_FAILPOINT", "rebuild.compared")], &["rebuild"])
            .await;
        world.until_gone().await;
    }
    world.end().await;
}
