//! `daybook doctor`: what it finds, that its hints lead on, that it changes nothing and never hangs.

use std::time::Duration;

use daybook::clock::Stopwatch;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::commands::days_ago;
use crate::support::journey::{Newcomer, assert_steps, command_in, follow};
use crate::support::program::{self, Ended};
use crate::support::proxy::{Proxy, Reply};
use crate::support::{Event, Login, RECORDSET, World};

const DAY: &str = "2020-02-16";
const LEDGER: &str = "DAYBOOK_LEDGER_URL";
const ELASTICSEARCH: &str = "DAYBOOK_ELASTICSEARCH_URL";

/// A world whose days up to yesterday are applied.
async fn in_order() -> World {
    let world = World::new().await;
    let yesterday = days_ago(1);
    world
        .log(&[Event::search(1, &yesterday, RECORDSET, 5)])
        .await;
    world.run(&["apply"]).await.assert_exit(0);
    world
}

/// The checks that did not end well.
fn troubles(ended: &Ended) -> Vec<Value> {
    let mut checks = ended.messages_of("check");
    checks.retain(|check| check["level"] != "ok");
    checks
}

/// The result of one check.
#[track_caller]
fn check(ended: &Ended, area: &str, name: &str) -> Value {
    let checks = ended.messages_of("check");
    let found = checks
        .iter()
        .find(|check| check["area"] == area && check["check"] == name);
    found
        .unwrap_or_else(|| panic!("{area} {name} is not in {checks:#?}"))
        .clone()
}

#[track_caller]
fn assert_trouble(ended: &Ended, area: &str, name: &str, level: &str, words: &str) -> String {
    let check = check(ended, area, name);
    assert_eq!(check["level"], level, "{check}");
    let message = check["message"].as_str().unwrap();
    assert!(message.contains(words), "'{words}' is not in {check}");
    check["hint"].as_str().expect("a hint").to_owned()
}

async fn doctor(world: &World, settings: &[(&str, &str)]) -> Ended {
    world.run_with(settings, &["doctor", "--json"]).await
}

#[tokio::test]
async fn where_all_is_well_nothing_is_found_and_nothing_is_changed() {
    let world = in_order().await;
    let written = "SELECT (SELECT count(*) FROM daybook.run_start) || ' ' || (SELECT count(*) FROM daybook.entry)";
    let before = world.value(written).await;
    // Even a run that posts does not keep it from looking, and it takes no lock itself.
    let mut posting = world.sql().await;
    sqlx::raw_sql(
        "SELECT pg_advisory_lock(x'646179626f6f6b'::bigint + n) FROM generate_series(0, 2) n",
    )
    .execute(&mut posting)
    .await
    .unwrap();
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    let ended = doctor(&world, &[(ELASTICSEARCH, proxy.url())])
        .await
        .assert_exit(0);
    let troubles: Vec<Value> = troubles(&ended)
        .into_iter()
        // Not every server has LZ4.
        .filter(|check| check["area"] != "machine" && check["check"] != "compression")
        .collect();
    assert_eq!(troubles, [json!(null); 0]);
    for area in ["ledger", "source", "elasticsearch", "documents", "machine"] {
        let of_area = |message: &&Value| message["area"] == area;
        assert!(ended.messages().iter().any(|m| of_area(&m)), "{area}");
    }
    assert_eq!(ended.messages_of("doctor")[0]["failed"], 0);
    for request in proxy.requests() {
        let only_reads = request.line.starts_with("GET ")
            || request.line == "POST /_security/user/_has_privileges";
        assert!(only_reads, "{}", request.line);
    }
    assert_eq!(world.value(written).await, before);
    let text = world.run(&["doctor", "--quiet"]).await.assert_exit(0);
    assert!(!text.stdout.contains("ok       ledger"), "{}", text.stdout);
    world.run(&["doctor"]).await.tells(&[
        "ok       ledger         reachable    database",
        "ok       documents      stats",
        " 0 failed",
    ]);
    world.end().await;
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_named_within_seconds() {
    let world = in_order().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(silent.accept().await.unwrap());
        }
    });
    let postgres = format!("postgres://u:p@127.0.0.1:{port}/d");
    let elasticsearch = format!("http://127.0.0.1:{port}");
    let source = "DAYBOOK_SOURCE_URL";
    let cases = [
        (
            vec![(LEDGER, &postgres), (source, &world.ledger_url)],
            vec!["ledger"],
        ),
        (vec![(source, &postgres)], vec!["source"]),
        (vec![(ELASTICSEARCH, &elasticsearch)], vec!["elasticsearch"]),
        (
            vec![
                (LEDGER, &postgres),
                (source, &postgres),
                (ELASTICSEARCH, &elasticsearch),
            ],
            vec!["ledger", "source", "elasticsearch"],
        ),
    ];
    // All at the same time: each takes as long as the time limit.
    let examining = cases.map(async |(settings, silent)| {
        let settings: Vec<(&str, &str)> = settings
            .into_iter()
            .map(|(name, value)| (name, value.as_str()))
            .collect();
        let started = Stopwatch::start();
        let ended = doctor(&world, &settings).await.assert_exit(1);
        assert!(started.elapsed() < Duration::from_secs(10), "{silent:?}");
        let failed: Vec<Value> = troubles(&ended)
            .into_iter()
            .filter(|check| check["level"] == "failed")
            .map(|check| {
                let kind = check["kind"].as_str().unwrap();
                assert!(kind.ends_with("-unreachable"), "{check}");
                check["area"].clone()
            })
            .collect();
        assert_eq!(failed, silent);
    });
    futures_util::future::join_all(examining).await;
    answering.abort();
    world.end().await;
}

#[tokio::test]
async fn a_server_that_hangs_in_the_middle_delays_nothing_else() {
    let world = in_order().await;
    // A statement that waits for somebody's lock.
    let mut other = world.sql().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE daybook.schema_version, daybook.entry")
        .execute(&mut other)
        .await
        .unwrap();
    let started = Stopwatch::start();
    let ended = doctor(&world, &[]).await.assert_exit(1);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_trouble(
        &ended,
        "ledger",
        "answers",
        "failed",
        "did not answer within",
    );
    assert_eq!(check(&ended, "ledger", "reachable")["level"], "ok");
    assert_eq!(check(&ended, "elasticsearch", "version")["level"], "ok");
    drop(other);
    world.end().await;
}

/// The program, and settings in the environment.
struct WithVariables(Vec<(String, String)>);

impl Newcomer for WithVariables {
    async fn run(&self, arguments: &[&str]) -> Ended {
        let settings: Vec<(&str, &str)> = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut command = program::command(&settings, arguments);
        command.output().await.unwrap().into()
    }

    fn set(&mut self, _: &str, variable: &str, value: &str) {
        self.0.push((variable.to_owned(), value.to_owned()));
    }
}

#[tokio::test]
async fn its_hints_lead_from_nothing_to_a_first_applied_day() {
    let world = World::unmigrated().await;
    let mut newcomer = WithVariables(Vec::new());
    newcomer.set("", "DAYBOOK_INDEX_PREFIX", &world.prefix);
    let done = follow(&world, &mut newcomer).await;
    assert_steps(
        &done,
        &[
            "DAYBOOK_LEDGER_URL",
            "migrate",
            "tables stats",
            "DAYBOOK_ELASTICSEARCH_URL",
            "apply",
        ],
    );
    world.end().await;
}

#[tokio::test]
async fn what_a_login_lacks_in_postgres_is_named_with_the_statement_that_grants_it() {
    let world = in_order().await;
    let login = Login::new(&world).await;
    let as_login = [(LEDGER, login.ledger_url.as_str())];
    let mut granted = Vec::new();
    loop {
        let ended = doctor(&world, &as_login).await;
        if ended.code == Some(0) {
            break;
        }
        let failed = troubles(&ended)
            .into_iter()
            .find(|check| check["level"] == "failed")
            .unwrap();
        assert_eq!(failed["kind"], "postgres-privilege-missing", "{failed}");
        let hint = failed["hint"].as_str().unwrap();
        let (_, grant) = hint.split_once(": ").unwrap();
        world.execute(grant).await;
        granted.push(grant.to_owned());
        assert!(granted.len() < 5, "{granted:?}");
    }
    assert_eq!(granted.len(), 2, "{granted:?}");
    // Rows that the login would not see.
    world
        .execute("ALTER TABLE stats ENABLE ROW LEVEL SECURITY")
        .await;
    let ended = doctor(&world, &as_login).await.assert_exit(1);
    let hint = assert_trouble(
        &ended,
        "source",
        "privileges",
        "failed",
        "would hide events",
    );
    world.execute(hint.split_once(": ").unwrap().1).await;
    doctor(&world, &as_login).await.assert_exit(0);
    // One privilege of many.
    world
        .execute("REVOKE INSERT ON daybook.entry FROM daybook_job")
        .await;
    let ended = doctor(&world, &as_login).await.assert_exit(1);
    assert_trouble(
        &ended,
        "ledger",
        "privileges",
        "failed",
        "INSERT ON daybook.entry",
    );
    login.end(world).await;
}

#[tokio::test]
async fn what_a_user_lacks_in_elasticsearch_is_named() {
    let world = World::secure().await;
    let as_user = async |user: &str| {
        let url = world.servers.elasticsearch_url_of(user);
        doctor_in_time(&world, &[(ELASTICSEARCH, &url)]).await
    };
    let ended = as_user("daybook_project").await.assert_exit(0);
    assert_eq!(check(&ended, "elasticsearch", "privileges")["level"], "ok");
    assert_eq!(check(&ended, "elasticsearch", "encryption")["level"], "ok");
    let ended = as_user("daybook_status").await.assert_exit(1);
    let hint = assert_trouble(
        &ended,
        "elasticsearch",
        "privileges",
        "failed",
        "daybook_status lacks manage, write on",
    );
    assert!(hint.contains("PUT /_security/role/daybook {"), "{hint}");
    world.end().await;
}

/// What it finds once the encrypted servers answer in time: they are slow beside many other tests.
async fn doctor_in_time(world: &World, settings: &[(&str, &str)]) -> Ended {
    for _ in 0..20 {
        let ended = doctor(world, settings).await;
        let checks = ended.messages_of("check");
        let has = |area: &str, name: &str| {
            let mut named = checks.iter().filter(|check| check["area"] == area);
            named.any(|check| check["check"] == name)
        };
        let mut areas = ["ledger", "source", "elasticsearch"].iter();
        if areas.all(|area| has(area, "certificate") && !has(area, "answers")) {
            return ended;
        }
    }
    panic!("the encrypted servers do not answer in time");
}

#[tokio::test]
async fn a_certificate_that_expires_soon_is_reported() {
    let world = World::secure().await;
    let ended = doctor_in_time(&world, &[]).await.assert_exit(0);
    let mut expiry = String::new();
    for area in ["ledger", "source", "elasticsearch"] {
        let found = check(&ended, area, "certificate");
        assert_eq!(found["level"], "ok", "{found}");
        let message = found["message"].as_str().unwrap();
        expiry = message.split_once("until ").unwrap().1.to_owned();
    }
    let expiry = chrono::NaiveDateTime::parse_from_str(&expiry, "%Y-%m-%d %H:%M UTC").unwrap();
    // This machine's clock, some three weeks before.
    let left = chrono::TimeDelta::days(20) + chrono::TimeDelta::hours(12);
    let soon = expiry.and_utc() - daybook::clock::now() - left;
    let offset = soon.num_seconds().to_string();
    let then = ("DAYBOOK_CLOCK_OFFSET", offset.as_str());
    let ended = doctor_in_time(&world, &[then]).await;
    for area in ["ledger", "source", "elasticsearch"] {
        let hint = assert_trouble(
            &ended,
            area,
            "certificate",
            "warning",
            "for another 20 days",
        );
        assert!(hint.contains("renew it"), "{hint}");
    }
    // Nobody looks at a certificate with this mode.
    let mut ledger: url::Url = world.ledger_url.parse().unwrap();
    ledger.set_query(Some("sslmode=require"));
    let ended = doctor(&world, &[(LEDGER, ledger.as_str())]).await;
    let checks = ended.messages_of("check");
    let of_ledger = |check: &&Value| check["area"] == "ledger" && check["check"] == "certificate";
    assert_eq!(checks.iter().find(of_ledger), None);
    world.end().await;
}

#[tokio::test]
async fn a_misspelt_setting_is_found() {
    let world = World::new().await;
    let misspelt = [("DAYBOOK_INDEX_PREFX", "stats")];
    let ended = doctor(&world, &misspelt).await.assert_exit(0);
    assert_trouble(
        &ended,
        "settings",
        "settings",
        "warning",
        "DAYBOOK_INDEX_PREFX",
    );
    world.end().await;
}

#[tokio::test]
async fn a_missing_index_on_dates_is_found_with_the_statement_that_creates_it() {
    let world = World::new().await;
    world.execute("DROP INDEX stats_by_date").await;
    let ended = doctor(&world, &[]).await.assert_exit(0);
    let hint = assert_trouble(&ended, "source", "index", "warning", "no index on date");
    world.execute(hint.split_once(": ").unwrap().1).await;
    let ended = doctor(&world, &[]).await.assert_exit(0);
    assert_eq!(check(&ended, "source", "index")["level"], "ok");
    world.end().await;
}

#[tokio::test]
async fn clocks_that_differ_are_found() {
    let world = World::new().await;
    let ended = doctor(&world, &[("DAYBOOK_CLOCK_OFFSET", "-7200")])
        .await
        .assert_exit(1);
    assert_trouble(&ended, "ledger", "clocks", "failed", " apart");
    world.end().await;
}

#[tokio::test]
async fn a_cluster_without_shards_or_room_is_found() {
    let world = in_order().await;
    let answered = async |replies: Vec<(&'static str, Value)>| {
        let proxy = Proxy::http(&world.elasticsearch_url).await;
        proxy.answer(move |request, _| {
            let reply = replies.iter().find(|(path, _)| request.line.contains(path));
            reply.map(|(_, body)| Reply::new(200, body.to_string()))
        });
        doctor(&world, &[(ELASTICSEARCH, proxy.url())]).await
    };
    let red = ("/_cluster/health", json!({ "status": "red" }));
    let ended = answered(vec![red]).await.assert_exit(0);
    let of_others = "red: shards of other indices";
    assert_trouble(&ended, "elasticsearch", "health", "warning", of_others);
    let shards = json!({ "0": { "status": "green" }, "1": { "status": "red" } });
    let index = format!("{}-totals-g000001", world.prefix);
    let indices = json!({ &index: { "shards": shards } });
    let red = json!({ "status": "red", "indices": indices });
    let ended = answered(vec![("/_cluster/health", red)])
        .await
        .assert_exit(1);
    let named = format!("red: no node has shard 1 of {index},");
    let hint = assert_trouble(&ended, "elasticsearch", "health", "failed", &named);
    assert!(hint.ends_with("`daybook rebuild --only totals`"), "{hint}");
    // The servers of the tests have no watermarks.
    let with_free = |bytes: u64| {
        let total = json!({ "total_in_bytes": 1 << 30, "available_in_bytes": bytes });
        let node = json!({ "name": "one", "fs": { "total": total } });
        let disk = "cluster.routing.allocation.disk.watermark";
        let marks = json!({ format!("{disk}.low"): "85%", format!("{disk}.flood_stage"): "95%" });
        vec![
            ("/_nodes/stats/fs", json!({ "nodes": { "a": node } })),
            (
                "/_cluster/settings",
                json!({ "persistent": {}, "defaults": marks }),
            ),
        ]
    };
    let ended = answered(with_free(1 << 20)).await.assert_exit(1);
    assert_trouble(
        &ended,
        "elasticsearch",
        "disk",
        "failed",
        "the disk of node one is beyond the flood-stage watermark",
    );
    let ended = answered(with_free(100 << 20)).await.assert_exit(0);
    assert_trouble(
        &ended,
        "elasticsearch",
        "disk",
        "warning",
        "a rebuild needs",
    );
    let ended = answered(with_free(1 << 29)).await.assert_exit(0);
    assert_eq!(check(&ended, "elasticsearch", "disk")["level"], "ok");
    world.end().await;
}

#[tokio::test]
async fn an_index_template_that_interferes_is_found() {
    let world = World::new().await;
    let template = json!({
        "index_patterns": [format!("{}*", world.prefix)], "priority": 500,
        "template": { "mappings": { "_source": { "excludes": ["records"] } } },
    });
    let path = format!("_index_template/{}", world.prefix);
    world.elastic(Method::PUT, &path, Some(template)).await;
    let ended = doctor(&world, &[]).await.assert_exit(0);
    world.elastic(Method::DELETE, &path, None).await;
    assert_trouble(
        &ended,
        "elasticsearch",
        "templates",
        "warning",
        &world.prefix,
    );
    world.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_index_is_found() {
    let world = in_order().await;
    let settings = format!("{}/_settings", world.prefix);
    let block = async |value: Value| {
        let body = json!({ "index.blocks.write": value });
        world.elastic(Method::PUT, &settings, Some(body)).await;
    };
    block(json!(true)).await;
    let ended = doctor(&world, &[]).await.assert_exit(1);
    let hint = assert_trouble(
        &ended,
        "documents",
        "stats",
        "failed",
        "somebody has blocked",
    );
    assert!(hint.contains("index.blocks.write\": null"), "{hint}");
    block(json!(null)).await;
    doctor(&world, &[]).await.assert_exit(0);

    world.log(&[Event::search(2, DAY, RECORDSET, 5)]).await;
    world
        .run(&["apply", "--day", DAY, "--no-project"])
        .await
        .assert_exit(0);
    let ended = doctor(&world, &[]).await.assert_exit(0);
    let hint = assert_trouble(&ended, "documents", "totals", "warning", "lacks 1 entry");
    world.run(&command_in(&hint).unwrap()).await.assert_exit(0);
    let ended = doctor(&world, &[]).await;
    assert_eq!(check(&ended, "documents", "totals")["level"], "ok");
    world.end().await;
}
