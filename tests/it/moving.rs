//! docs/moving.md, followed word by word on an old-style index with duplicates documents, and the requests of docs/reading.md:
//! every block of a page is run in its order, and must come to what is said of it here. A block that is new, gone or changed in
//! its first line fails.

mod machine;
mod page;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::auditing::ask;
use crate::support::program::Ended;
use crate::support::{Event, RECORDSET, World};
use machine::{Machine, OLD_LINE, new_unit};
use page::{Block, Language, MOVING, READING, blocks, date, with_dates_of_now};

const OTHER: &str = "0e162e0a-bf3e-4710-9357-44258ca12abb";

/// A step of the reader's, and how it goes.
#[derive(Debug)]
enum Did {
    Typed(Ended),
    Asked(Vec<String>),
    Sent(Value),
}

impl Did {
    #[track_caller]
    fn typed(self, exit: i32) -> Ended {
        let Self::Typed(ended) = self else {
            panic!("{self:?} is not typed")
        };
        ended.assert_exit(exit)
    }

    #[track_caller]
    fn asked(self) -> Vec<String> {
        let Self::Asked(rows) = self else {
            panic!("{self:?} is not a query")
        };
        rows
    }

    /// The answer of Elasticsearch, of all shards.
    #[track_caller]
    fn sent(self) -> Value {
        let Self::Sent(answer) = self else {
            panic!("{self:?} is not a request")
        };
        assert_eq!(answer["error"], Value::Null, "{answer}");
        assert_eq!(
            answer["_shards"]["failed"].as_i64().unwrap_or(0),
            0,
            "{answer}"
        );
        answer
    }
}

/// The page's reader: takes its blocks one by one.
struct Reader {
    world: World,
    machine: Machine,
    blocks: std::vec::IntoIter<Block>,
}

impl Reader {
    /// Does what the next block says, which begins with `name`.
    async fn next(&mut self, name: &str) -> Did {
        let block = self
            .blocks
            .next()
            .unwrap_or_else(|| panic!("the page ends before '{name}'"));
        assert_eq!(block.name(), name, "the next block of the page");
        let text = with_dates_of_now(&block.text);
        match block.language {
            Language::Shell => Did::Typed(self.typed(&text).await),
            Language::Sql => Did::Asked(
                ask(&mut self.world.sql().await, &text)
                    .await
                    .unwrap_or_else(|error| panic!("{text}: {error}")),
            ),
            Language::Http => Did::Sent(self.sent(&text).await),
            Language::Unit => {
                let line = text
                    .lines()
                    .find_map(|line| line.strip_prefix("ExecStart="))
                    .expect("an ExecStart=");
                Did::Typed(self.typed(line).await)
            }
        }
    }

    async fn typed(&self, commands: &str) -> Ended {
        let commands = commands
            .replace(
                "postgres://OWNER@db.example.org/daybook",
                &self.world.ledger_url,
            )
            .replace(
                "http://old.example.org:9200/stats",
                &self.world.address_of(&self.old()),
            );
        self.machine.run(&self.world, &commands).await
    }

    async fn sent(&self, request: &str) -> Value {
        let World { prefix, .. } = &self.world;
        let request = request
            .replace("daybook-stats", prefix)
            .replace("stats-api", &format!("{prefix}api"))
            .replace("POST stats", &format!("POST {prefix}"))
            .replace("GET stats/", &format!("GET {}/", self.old()))
            .replace(
                "\"index\": \"stats\"",
                &format!("\"index\": \"{}\"", self.old()),
            );
        let (line, body) = request.split_once('\n').unwrap_or((&request, ""));
        let (method, path) = line.split_once(' ').expect("METHOD PATH");
        let body: Option<Value> =
            (!body.is_empty()).then(|| serde_json::from_str(body).expect("a body of JSON"));
        if path.starts_with("_reindex") && !self.world.has_reindex().await {
            return self.world.copied(&body.expect("what is copied")).await;
        }
        self.world
            .elastic(method.parse().expect("a method"), path, body)
            .await
    }

    /// The name of the old index.
    fn old(&self) -> String {
        format!("{}old", self.world.prefix)
    }
}

impl World {
    fn address_of(&self, index: &str) -> String {
        format!("{}/{index}", self.elasticsearch_url.trim_end_matches('/'))
    }

    /// Whether the cluster can copy indices: the distribution that the tests run on lacks the module.
    async fn has_reindex(&self) -> bool {
        let modules = self
            .elastic(
                Method::GET,
                "_nodes/plugins?filter_path=nodes.*.modules.name",
                None,
            )
            .await;
        modules.to_string().contains("\"reindex\"")
    }

    /// What `_reindex` does, on a cluster that lacks it.
    async fn copied(&self, what: &Value) -> Value {
        let text = |pointer: &str| {
            what.pointer(pointer)
                .and_then(Value::as_str)
                .expect("a name of an index")
                .to_owned()
        };
        let found = json!({ "size": 10000, "query": what["source"]["query"] });
        let found = self
            .elastic(
                Method::POST,
                &format!("{}/_search", text("/source/index")),
                Some(found),
            )
            .await;
        let documents = found["hits"]["hits"]
            .as_array()
            .expect("hits")
            .iter()
            .map(|hit| &hit["_source"]);
        self.index_all(&text("/dest/index"), documents).await;
        json!({ "failures": [] })
    }

    /// Indexes documents as the old collector did: with ids at random.
    async fn index_all<'a>(&self, index: &str, documents: impl Iterator<Item = &'a Value>) {
        let lines: Vec<String> = documents
            .map(|document| format!("{{\"index\":{{}}}}\n{document}\n"))
            .collect();
        let path = format!("{index}/_bulk?refresh=true");
        let answer = self
            .elastic_text(Method::POST, &path, Some(lines.concat()))
            .await;
        assert!(answer.contains("\"errors\":false"), "{answer}");
    }
}

/// The events of a day of the page, with an id of its own each.
fn events(day: &str) -> Vec<Event> {
    let (now, id) = (date(day), day[8..].parse::<i64>().unwrap() * 100);
    vec![
        Event::search(id + 1, &now, RECORDSET, id),
        Event::search(id + 2, &now, OTHER, 7),
        Event::view(id + 3, &now, "record-1", RECORDSET),
    ]
}

/// What the old collector wrote of days: made by daybook of the same events, without what only daybook writes.
async fn old_documents(days: &[&str]) -> Vec<Value> {
    let world = World::new().await;
    for day in days {
        world.log(&events(day)).await;
        world
            .run(&["apply", "--no-project", "--day", &date(day)])
            .await
            .assert_exit(0);
    }
    world.run(&["project"]).await.assert_exit(0);
    let mut documents: Vec<Value> = world
        .documents("")
        .await
        .into_iter()
        .map(|(_, _, source)| source)
        .collect();
    for document in &mut documents {
        let document = document.as_object_mut().unwrap();
        document.retain(|field, _| {
            ["recordset_id", "harvest_date", "records", "mediarecords"].contains(&field.as_str())
        });
    }
    world.end().await;
    documents
}

/// The old system as it was found: the source has days from the 15th on, the old index from the 10th on, with the 11th and
/// the 16th duplicates, the 12th lost, and documents of another kind beside.
async fn old_system() -> Reader {
    let world = World::unmigrated().await;
    world.create_source().await;
    for day in ["2020-02-15", "2020-02-16", "2020-02-17", "2020-02-18"] {
        world.log(&events(day)).await;
    }
    let at_midnight = format!("{}T00:00:00Z", date("2020-02-17"));
    let lost = Event {
        date: at_midnight,
        ..Event::search(1799, &date("2020-02-17"), RECORDSET, 3)
    };
    let odd = Event::new(1699, &date("2020-02-16"), "nonsense", &json!({}));
    world.log(&[lost, odd]).await;

    let machine = Machine::new(&world);
    let reader = Reader {
        world,
        machine,
        blocks: blocks(MOVING),
    };
    let mapping = json!({ "mappings": { "properties": {
        "recordset_id": { "type": "keyword" }, "harvest_date": { "type": "date" },
    } } });
    reader
        .world
        .elastic(Method::PUT, &reader.old(), Some(mapping))
        .await;
    let of_days = [
        "2020-02-10",
        "2020-02-11",
        "2020-02-13",
        "2020-02-14",
        "2020-02-15",
        "2020-02-16",
        "2020-02-17",
        "2020-02-18",
    ];
    let documents = old_documents(&of_days).await;
    let twice = [date("2020-02-12"), date("2020-02-17")];
    let again = documents
        .iter()
        .filter(|document| twice.iter().any(|date| document["harvest_date"] == **date));
    reader
        .world
        .index_all(&reader.old(), documents.iter().chain(again))
        .await;
    let other_kinds = [7, 8].map(|records| {
        json!({ "recordset_id": RECORDSET, "harvest_date": format!("{}T02:00:00.123456", date("2020-02-18")),
                "records_count": records, "mediarecords_count": 1 })
    });
    reader
        .world
        .index_all(&reader.old(), other_kinds.iter())
        .await;
    reader
}

#[tokio::test]
async fn the_page_is_followed_word_by_word_on_an_old_index_with_duplicate_documents() {
    let mut reader = old_system().await;
    look_at_the_old_days(&mut reader).await;
    fill_the_ledger(&mut reader).await;
    copy_other_kinds(&mut reader).await;
    try_the_readers_requests(&mut reader).await;
    switch_over(&mut reader).await;
    go_back(&mut reader).await;
    let rest: Vec<String> = reader.blocks.by_ref().map(|block| block.text).collect();
    assert!(rest.is_empty(), "blocks that nobody runs: {rest:?}");
    reader.world.end().await;
}

async fn look_at_the_old_days(reader: &mut Reader) {
    // The zone is the server's, whatever that is.
    let zone = reader.next("SHOW timezone;").await.asked();
    assert_eq!((zone.len(), zone[0].as_str()), (2, "TimeZone"));
    let of_type = "SELECT format_type(atttypid, NULL) AS type FROM pg_attribute WHERE attrelid = 'stats'::regclass AND attname = 'date';";
    assert_eq!(
        reader.next(of_type).await.asked()[1],
        "timestamp with time zone"
    );
    assert!(reader.next("SELECT count(*) AS events,").await.asked()[1].starts_with("14 | "));
    let at_midnight = "SELECT date::date AS day, count(*) AS events FROM stats WHERE date = date_trunc('day', date) GROUP BY 1 ORDER BY 1;";
    assert_eq!(
        reader.next(at_midnight).await.asked()[1..],
        [format!("{} | 1", date("2020-02-17"))]
    );
}

async fn fill_the_ledger(reader: &mut Reader) {
    reader
        .next("daybook --ledger-url 'postgres://OWNER@db.example.org/daybook' migrate --time-zone UTC")
        .await
        .typed(0);
    reader
        .next("daybook status")
        .await
        .typed(0)
        .tells(&["days in UTC", "nothing yet"]);
    reader
        .next("daybook apply --all --dry-run")
        .await
        .typed(0)
        .tells(&[&date("2020-02-15"), "would post: apply: 3 events"]);
    reader
        .next("daybook apply --all --no-project")
        .await
        .typed(0)
        .tells(&["entry 4 (apply)", "1 rejected"]);
    let status = reader
        .next("daybook status")
        .await
        .typed(0)
        .tells(&[&date("2020-02-18")]);
    for line in ["behind ", "gaps "] {
        assert!(
            !status.stdout.lines().any(|told| told.starts_with(line)),
            "{}",
            status.stdout
        );
    }
    let rejected = reader
        .next("SELECT reason, count(*) AS events, min(source_id) AS first, min(message) AS example")
        .await;
    assert!(rejected.asked()[1].starts_with("unknown_type | 1 | 1699 | "));

    let first_day = reader
        .next("SELECT min(date)::date AS first_day FROM stats;")
        .await
        .asked();
    assert_eq!(first_day[1], date("2020-02-15"));
    let dry =
        "daybook import --from-index http://old.example.org:9200/stats --to 2020-02-14 --dry-run";
    let dry = reader.next(dry).await.typed(0);
    let dry = dry.tells(&["4 days", "4 would be posted", "duplicate"]);
    dry.tells(&[&format!(
        "missing between the first and the last day: {}",
        date("2020-02-12")
    )]);
    let import = "daybook import --from-index http://old.example.org:9200/stats --to 2020-02-14 --no-project";
    reader
        .next(import)
        .await
        .typed(0)
        .tells(&["entry 8 (import)"]);
    // Repeating it posts nothing.
    reader
        .typed(&with_dates_of_now(import))
        .await
        .assert_exit(0)
        .tells(&["4 already imported"]);
    // The event at midnight is the one thing that the old system lacks; duplicates documents count once.
    let compared = reader
        .next("daybook compare --from-index http://old.example.org:9200/stats")
        .await
        .typed(4);
    compared.tells(&[
        &format!("{}  the same", date("2020-02-11")),
        &format!("{}  differs", date("2020-02-17")),
        RECORDSET,
        "7 the same, 1 different",
    ]);
}

async fn copy_other_kinds(reader: &mut Reader) {
    assert_eq!(
        reader.next("PUT stats-api").await.sent()["acknowledged"],
        true
    );
    assert_eq!(
        reader.next("POST _reindex?refresh=true").await.sent()["failures"],
        json!([])
    );
    assert_eq!(reader.next("GET stats/_count").await.sent()["count"], 2);
    assert_eq!(reader.next("GET stats-api/_count").await.sent()["count"], 2);
}

/// What the ledger says of a recordset's searches: for each month of the harvest date and recordset, the records involved.
async fn searches_by_month(world: &World) -> BTreeMap<(String, String), i64> {
    let sql = "SELECT to_char(date_trunc('month', day + 1), 'YYYY-MM-DD'), recordset_id, sum(total) FROM daybook.interaction_delta
               WHERE record_type = 'records' AND stat_type = 'search' GROUP BY 1, 2";
    let rows = ask(&mut world.sql().await, sql).await.unwrap();
    rows[1..]
        .iter()
        .map(|row| {
            let fields: Vec<&str> = row.split(" | ").collect();
            (
                (fields[0].to_owned(), fields[1].to_owned()),
                fields[2].parse().unwrap(),
            )
        })
        .collect()
}

/// The sum of a bucket.
fn sum_of(bucket: &Value) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "sums of a few numbers")]
    let sum = bucket["search"]["value"].as_f64().expect("a sum") as i64;
    sum
}

fn buckets(of: &Value) -> &[Value] {
    of["buckets"].as_array().expect("buckets")
}

fn name(bucket: &Value) -> String {
    bucket["key_as_string"]
        .as_str()
        .or(bucket["key"].as_str())
        .expect("a key")
        .to_owned()
}

async fn try_the_readers_requests(reader: &mut Reader) {
    reader.next("daybook project").await.typed(0);
    reader.next("daybook verify").await.typed(0);
    let world_has = searches_by_month(&reader.world).await;
    assert_eq!(
        world_has.values().sum::<i64>(),
        8 * 7 + (10 + 11 + 13 + 14 + 15 + 16 + 17 + 18) * 100 + 3
    );

    let answer = reader.next("POST daybook-stats/_search").await.sent();
    let mut found = BTreeMap::new();
    for month in buckets(&answer["aggregations"]["fdh"]["dh"]) {
        for recordset in buckets(&month["rs"]) {
            found.insert((name(month), name(recordset)), sum_of(recordset));
            assert!(
                recordset["search_count"]["value"].as_f64()
                    >= recordset["viewed_records"]["value"].as_f64()
            );
        }
    }
    let of_recordset = world_has
        .iter()
        .filter(|((_, recordset), _)| recordset == RECORDSET);
    assert_eq!(
        found,
        of_recordset.map(|(key, sum)| (key.clone(), *sum)).collect()
    );

    let of_moving = std::mem::replace(&mut reader.blocks, blocks(READING));
    let rows_of = |answer: &Value| -> Vec<((String, String), i64)> {
        let rows = buckets(&answer["aggregations"]["rows"]);
        let text =
            |bucket: &Value, name: &str| bucket["key"][name].as_str().expect("a key").to_owned();
        rows.iter()
            .map(|row| ((text(row, "month"), text(row, "recordset")), sum_of(row)))
            .collect()
    };
    let composite = reader.blocks.as_slice()[0].text.clone();
    let answer = reader.next("POST stats/_search").await.sent();
    assert_eq!(
        rows_of(&answer).into_iter().collect::<BTreeMap<_, _>>(),
        world_has
    );
    // Page by page, as the page says.
    let (mut paged, mut after) = (BTreeMap::new(), None);
    loop {
        let after_key = after
            .map(|key: Value| format!("\"after\": {key}, "))
            .unwrap_or_default();
        let page = composite.replace("\"size\": 10000", &format!("{after_key}\"size\": 1"));
        let answer = Did::Sent(reader.sent(&page).await).sent();
        paged.extend(rows_of(&answer));
        match answer["aggregations"]["rows"].get("after_key") {
            Some(key) => after = Some(key.clone()),
            None => break,
        }
    }
    assert_eq!(paged, world_has);

    // In parts, which together are all.
    let parts = reader.blocks.as_slice()[0].text.clone();
    let mut in_parts = BTreeMap::new();
    let first = reader.next("POST stats/_search").await;
    let mut answers = vec![first.sent()];
    for partition in 1..4 {
        let part = parts.replace("\"partition\": 0", &format!("\"partition\": {partition}"));
        answers.push(Did::Sent(reader.sent(&part).await).sent());
    }
    for answer in &answers {
        for recordset in buckets(&answer["aggregations"]["rs"]) {
            for month in buckets(&recordset["dh"]) {
                in_parts.insert((name(month), name(recordset)), sum_of(month));
            }
        }
    }
    assert_eq!(in_parts, world_has);
    // All events of this world are from one country, and it is another.
    let of_germany = reader.next("POST stats-terms/_search").await.sent();
    assert_eq!(of_germany["hits"]["hits"], json!([]));
    let viewed = reader.next("POST stats-terms/_search").await.sent();
    let viewed: i64 = viewed["hits"]["hits"]
        .as_array()
        .expect("hits")
        .iter()
        .map(|hit| hit["sort"][0].as_i64().expect("a figure"))
        .sum();
    let countries = reader.next("POST stats-terms/_search").await.sent();
    let [country] = buckets(&countries["aggregations"]["countries"]) else {
        panic!("one bucket: {countries}")
    };
    assert_eq!(country["key"], "United States");
    assert!(viewed > 0 && country["viewed"]["value"].as_f64() > Some(0.0));
    assert!(reader.blocks.next().is_none(), "blocks that nobody runs");
    reader.blocks = of_moving;
}

async fn switch_over(reader: &mut Reader) {
    const TIMER: &str = "idb-interaction-telemetry-aggregator.timer";
    const SERVICE: &str = "idb-interaction-telemetry-aggregator.service";
    reader
        .next(&format!("systemctl disable --now {TIMER}"))
        .await
        .typed(0);
    assert_eq!(
        reader.machine.told(),
        [
            format!("systemctl disable --now {TIMER}"),
            "systemctl list-timers idb-*".to_owned()
        ]
    );
    reader
        .next("daybook apply")
        .await
        .typed(0)
        .tells(&["already applied"]);
    let compare =
        "daybook compare --from-index http://old.example.org:9200/stats --from 2020-02-18";
    reader.next(compare).await.typed(0).tells(&["the same"]);
    reader
        .next("daybook verify --from 2020-02-18")
        .await
        .typed(0);
    reader
        .next("cp systemd/idb-interaction-telemetry-aggregator.* /etc/systemd/system/")
        .await
        .typed(0)
        .tells(&["already applied"]);
    assert_eq!(
        reader.machine.told(),
        [
            "systemctl daemon-reload".to_owned(),
            format!("systemctl start {SERVICE}")
        ]
    );
    for kind in ["service", "timer"] {
        assert_eq!(reader.machine.unit(kind), new_unit(kind));
    }
    reader
        .next(&format!("journalctl -u {SERVICE} -n 30"))
        .await
        .typed(0)
        .tells(&["exit 0, done"]);
    assert_eq!(
        reader.machine.told(),
        [format!("journalctl -u {SERVICE} -n 30")]
    );
    let ended = reader
        .next("daybook --journal -v collect-stats -d 2020-02-19")
        .await
        .typed(0);
    ended.tells(&["already applied"]).says(&["ignored"]);
    reader
        .next("[Service]")
        .await
        .typed(0)
        .tells(&["already applied"])
        .says(&["--journal"]);
    let count = reader.next("POST daybook-stats/_count").await.sent();
    assert_eq!(count["count"], 2);
    reader
        .next(&format!("systemctl enable --now {TIMER}"))
        .await
        .typed(0);
    assert_eq!(
        reader.machine.told(),
        [
            format!("systemctl enable --now {TIMER}"),
            "systemctl list-timers idb-*".to_owned()
        ]
    );
}

async fn go_back(reader: &mut Reader) {
    const TIMER: &str = "idb-interaction-telemetry-aggregator.timer";
    reader
        .next(&format!("systemctl disable --now {TIMER}"))
        .await
        .typed(0);
    assert_eq!(
        reader.machine.told(),
        [
            format!("systemctl disable --now {TIMER}"),
            "systemctl daemon-reload".to_owned(),
            format!("systemctl enable --now {TIMER}"),
        ]
    );
    assert!(reader.machine.unit("service").contains(OLD_LINE));
    assert!(reader.machine.unit("timer").contains("9:00:00"));
    reader
        .next("/home/stats/.virtualenvs/idb-backend/bin/idb -v collect-stats -d 2020-02-20")
        .await
        .typed(0);
    assert_eq!(
        reader.machine.told(),
        [format!("idb -v collect-stats -d {}", date("2020-02-20"))]
    );
    reader.next("DROP SCHEMA daybook CASCADE;").await.asked();
    assert_eq!(
        reader
            .world
            .value("SELECT count(*) FROM pg_namespace WHERE nspname = 'daybook'")
            .await,
        "0"
    );

    let listed = reader
        .next("GET _cat/indices/daybook-stats*?expand_wildcards=all&format=json&h=index")
        .await
        .sent();
    let mut of_daybook: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["index"].as_str().unwrap())
        .collect();
    // The world's prefix begins the names of the old indices as well, which daybook-stats does not.
    let (old, api) = (reader.old(), format!("{}api", reader.world.prefix));
    of_daybook.retain(|index| *index != old && *index != api);
    of_daybook.sort_unstable();
    let deleted = reader.blocks.as_slice()[0]
        .text
        .replace("daybook-stats", &reader.world.prefix);
    let mut deleted: Vec<&str> = deleted.trim_start_matches("DELETE ").split(',').collect();
    deleted.sort_unstable();
    assert_eq!(deleted, of_daybook);
    let delete =
        "DELETE daybook-stats-g000001,daybook-stats-totals-g000001,daybook-stats-terms-g000001";
    assert_eq!(reader.next(delete).await.sent()["acknowledged"], true);
    assert_eq!(
        reader
            .world
            .elastic(Method::GET, &format!("{old}/_count"), None)
            .await["count"],
        8 * 2 + 4 + 2
    );
}
