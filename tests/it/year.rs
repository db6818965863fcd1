//! A year of a ledger's life: late events, purges of the source, an import of what the old system counted, days that were
//! reversed. What it comes to is compared with a recount, in SQL that shares nothing with the program, of the events as
//! they happened.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::support::World;

/// The first day that the source ever had: the quarter before is in old documents only.
const FIRST_IN_SOURCE: &str = "2019-04-01";
/// A day that stays reversed.
const TAKEN_BACK: &str = "2019-07-15";

#[tokio::test]
async fn after_a_year_the_ledger_and_the_documents_are_what_an_independent_recount_finds() {
    let world = world_of_the_year().await;
    let mut from_old_documents = false;
    let months = 5..=16;
    for month in months {
        let until = format!("{}-{:02}-01", 2019 + (month - 1) / 12, (month - 1) % 12 + 1);
        arrive(&world, &until).await;
        apply_until(&world, &until).await;
        match month {
            6 => {
                // Reversed and applied anew; reversed and the reversal reversed.
                reverse(&world, "2019-04-10", "the counts looked wrong").await;
                world
                    .run(&["apply", "--day", "2019-04-10", "--no-project"])
                    .await
                    .assert_exit(0);
                reverse(&world, "2019-05-05", "by mistake").await;
                reverse(&world, "2019-05-05", "it was right").await;
                world.run(&["project"]).await.assert_exit(0);
            }
            7 => {
                import_the_first_quarter(&world).await;
                from_old_documents = true;
            }
            8 => reverse(&world, TAKEN_BACK, "a robot's").await,
            9 => {
                world
                    .execute("DELETE FROM stats WHERE date < '2019-06-01 00:00Z'")
                    .await;
            }
            13 => {
                world
                    .execute("DELETE FROM stats WHERE date < '2019-10-01 00:00Z'")
                    .await;
            }
            _ => {}
        }
    }
    assert!(from_old_documents);
    let kinds = "SELECT string_agg(kind || ' ' || n, ', ' ORDER BY kind) FROM (SELECT kind, count(*) AS n FROM daybook.entry GROUP BY kind) k";
    let kinds = world.value(kinds).await;
    assert!(
        kinds.starts_with("apply 275, correction ") && kinds.ends_with("import 90, reversal 4"),
        "{kinds}"
    );

    world
        .execute(&format!(
            "DELETE FROM truth.stats WHERE date >= '{TAKEN_BACK} 00:00Z' AND date < '{TAKEN_BACK} 24:00Z'"
        ))
        .await;
    for (ledger, recount) in [
        ("recount.ledger_cell", "recount.cell"),
        ("recount.ledger_term", "recount.term"),
    ] {
        // A day that nets to nothing has rows all the same.
        let zero = if ledger == "recount.ledger_cell" {
            "count <> 0"
        } else {
            "n <> 0"
        };
        let differing = format!(
            "WITH ledger AS (SELECT * FROM {ledger} WHERE {zero}), recount AS (SELECT * FROM {recount})
             SELECT jsonb_agg(d) FROM (
                 SELECT 'too much in the ledger' AS what, l.* FROM (TABLE ledger EXCEPT ALL TABLE recount) l
                 UNION ALL SELECT 'missing in the ledger', r.* FROM (TABLE recount EXCEPT ALL TABLE ledger) r) d"
        );
        assert_eq!(world.value(&differing).await, "", "{ledger}");
    }
    world.assert_sound().await;

    world.run(&["project"]).await.assert_exit(0);
    let of_days = recounted(&world, "day || ':' || recordset_id").await;
    assert_eq!(documents(&world, "").await, of_days);
    let of_recordsets = recounted(&world, "recordset_id::text").await;
    let totals = documents(&world, "-totals").await;
    assert_eq!(
        totals.keys().collect::<Vec<_>>(),
        of_recordsets.keys().collect::<Vec<_>>()
    );
    for (id, cells) in totals {
        for (cell, sums) in cells {
            let recounted = &of_recordsets[&id][&cell];
            assert_eq!(
                (&sums["count"], &sums["total"]),
                (&recounted["count"], &recounted["total"]),
                "{id} {cell}"
            );
        }
    }
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

async fn world_of_the_year() -> World {
    let world = World::new().await;
    for (id, hash) in [(1, "one query"), (2, "another query"), (3, "a third")] {
        world.log_query(id, hash).await;
    }
    world.execute(include_str!("year/truth.sql")).await;
    let recount = include_str!("property/recount.sql");
    world
        .execute(&format!("SET search_path = truth, public; {recount}"))
        .await;
    world
}

/// Lets the events reach the source that do so before a date.
async fn arrive(world: &World, until: &str) {
    world
        .execute(&format!(
            "INSERT INTO stats (id, date, type, record_type, payload, ip_geocode, query_id)
             SELECT id, date, type, record_type, payload, ip_geocode, query_id FROM truth.stats
             WHERE arrives < '{until}' AND date >= '{FIRST_IN_SOURCE} 00:00Z'
               AND NOT EXISTS (SELECT FROM truth.arrived a WHERE a.id = truth.stats.id);
             INSERT INTO truth.arrived SELECT id FROM truth.stats WHERE arrives < '{until}' ON CONFLICT DO NOTHING"
        ))
        .await;
}

/// Applies every day of the source's before a date, also those that are posted already: their late events.
async fn apply_until(world: &World, until: &str) {
    let last = world
        .value(&format!(
            "SELECT least('{until}'::date - 1, '2019-12-31'::date)"
        ))
        .await;
    world
        .run(&[
            "apply",
            "--no-project",
            "--from",
            FIRST_IN_SOURCE,
            "--to",
            &last,
        ])
        .await
        .assert_exit(0);
}

async fn reverse(world: &World, day: &str, reason: &str) {
    let newest = format!("SELECT max(entry_id) FROM daybook.entry WHERE day = '{day}'");
    let entry_id = world.value(&newest).await;
    world
        .run(&["reverse", &entry_id, "--reason", reason, "--no-project"])
        .await
        .assert_exit(0);
}

/// Imports the old system's documents of the first quarter; every tenth is there twice.
async fn import_the_first_quarter(world: &World) {
    let mut lines = String::new();
    for (place, (id, cells)) in recounted(world, "day || ':' || recordset_id")
        .await
        .into_iter()
        .enumerate()
    {
        let (day, recordset) = id.split_once(':').expect("day and recordset");
        if day >= FIRST_IN_SOURCE {
            break;
        }
        let harvest_date = day
            .parse::<chrono::NaiveDate>()
            .unwrap()
            .succ_opt()
            .unwrap()
            .to_string();
        let line = old_document(recordset, &harvest_date, &cells).to_string() + "\n";
        lines += &line.repeat(if place % 10 == 0 { 2 } else { 1 });
    }
    let file = std::env::temp_dir().join(format!("{}.ndjson", world.database));
    std::fs::write(&file, lines).expect("write the old documents");
    let path = file.to_str().expect("a path");
    let ended = world
        .run(&["import", path, "--no-project", "--json"])
        .await
        .assert_exit(0);
    std::fs::remove_file(&file).expect("remove the old documents");
    let summary = &ended.messages_of("import_summary")[0];
    assert!(summary["duplicates"].as_u64() > Some(40), "{summary}");
}

/// A document as the old collector wrote it.
fn old_document(recordset: &str, harvest_date: &str, cells: &Cells) -> Value {
    let mut document = json!({ "recordset_id": recordset, "harvest_date": harvest_date });
    for record_type in ["records", "mediarecords"] {
        for stat_type in ["download", "mapping", "search", "seen", "view"] {
            let zero =
                json!({ "count": 0, "total": 0, "items": {}, "queries": {}, "geocodes": {} });
            let cell = cells
                .get(&format!("{record_type} {stat_type}"))
                .unwrap_or(&zero);
            let list = |name: &str, term: &dyn Fn(&str) -> Value, key: &str| -> Vec<Value> {
                let terms = cell[name].as_object().expect("a map");
                terms
                    .iter()
                    .map(|(text, n)| json!({ key: term(text), "count": n }))
                    .collect()
            };
            let query = |text: &str| {
                if text.is_empty() {
                    Value::Null
                } else {
                    text.into()
                }
            };
            document[record_type][stat_type] = json!({
                "count": cell["count"], "total": cell["total"],
                "items": list("items", &|text| text.into(), "term"),
                "queries": list("queries", &query, "term"),
                "geocodes": list("geocodes", &|text| serde_json::from_str(text).expect("JSON"), "geo"),
            });
        }
    }
    document
}

/// Sums and terms by cell.
type Cells = Map<String, Value>;

/// The recount, grouped by what an expression gives.
async fn recounted(world: &World, group: &str) -> BTreeMap<String, Cells> {
    let cells = world
        .json(&format!(
            "SELECT jsonb_object_agg(id, cells) FROM (
                 SELECT id, jsonb_object_agg(cell, sums || terms) AS cells FROM (
                     SELECT {group} AS id, record_type || ' ' || stat_type AS cell,
                            jsonb_build_object('count', sum(count), 'total', sum(total)) AS sums
                     FROM recount.cell GROUP BY 1, 2) c
                 JOIN (
                     SELECT id, cell, '{{\"items\": {{}}, \"queries\": {{}}, \"geocodes\": {{}}}}'::jsonb
                            || coalesce(jsonb_object_agg(dimension, map) FILTER (WHERE dimension IS NOT NULL), '{{}}') AS terms
                     FROM (
                         SELECT id, record_type || ' ' || stat_type AS cell, dimension, jsonb_object_agg(term, n) AS map
                         FROM (SELECT {group} AS id, record_type, stat_type, dimension, term, sum(n) AS n
                               FROM recount.term GROUP BY 1, 2, 3, 4, 5) t
                         GROUP BY 1, 2, 3
                         UNION ALL
                         SELECT DISTINCT {group}, record_type || ' ' || stat_type, NULL, NULL::jsonb FROM recount.cell) m
                     GROUP BY 1, 2) t USING (id, cell)
                 GROUP BY id) d"
        ))
        .await;
    let Value::Object(groups) = cells else {
        panic!("no groups: {cells}")
    };
    groups
        .into_iter()
        .map(|(id, cells)| (id, cells.as_object().expect("cells").clone()))
        .collect()
}

/// What the documents behind an alias say, in the recount's form; without cells, and documents, that net to nothing.
async fn documents(world: &World, suffix: &str) -> BTreeMap<String, Cells> {
    let mut found = BTreeMap::new();
    for (id, _, source) in world.documents(suffix).await {
        let mut cells = Map::new();
        for record_type in ["records", "mediarecords"] {
            for (stat_type, cell) in source[record_type].as_object().expect("cells") {
                if cell["count"] != 0 {
                    cells.insert(format!("{record_type} {stat_type}"), as_recounted(cell));
                }
            }
        }
        if !cells.is_empty() {
            found.insert(id, cells);
        }
    }
    found
}

fn as_recounted(cell: &Value) -> Value {
    let mut sums = json!({ "count": cell["count"], "total": cell["total"] });
    for (name, key) in [("items", "term"), ("queries", "term"), ("geocodes", "geo")] {
        let Some(list) = cell[name].as_array() else {
            continue;
        };
        let term = |entry: &Value| match &entry[key] {
            Value::Null if name == "queries" => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        sums[name] = list
            .iter()
            .map(|entry| (term(entry), entry["count"].clone()))
            .collect::<Map<_, _>>()
            .into();
    }
    sums
}
