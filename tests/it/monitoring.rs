//! What an operator's tools see of runs: metrics, pings, the summary in the log.

#![expect(clippy::float_cmp, reason = "samples are written as they were read")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::support::{Event, RECORDSET, World, promtool};

const DAY: &str = "2020-02-16";
const ALERTS: &str = include_str!("../../observability/alerts.yml");
const DASHBOARD: &str = include_str!("../../observability/dashboard.json");
const UNIT: &str = include_str!("../../systemd/daybook-failed@.service");

/// The samples of a text in Prometheus's exposition format, by name and labels without the first, which all have.
fn samples(text: &str) -> BTreeMap<(String, String), f64> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once('{').expect("labels");
        let (labels, value) = rest.rsplit_once("} ").expect("a value");
        let labels = labels.split_once(',').map_or("", |(_, own)| own);
        let value = value.parse().expect("a number");
        let former = samples.insert((name.to_owned(), labels.to_owned()), value);
        assert_eq!(former, None, "twice: {line}");
    }
    samples
}

/// The samples of a file that Prometheus finds nothing wrong with.
async fn read(file: &Path) -> BTreeMap<(String, String), f64> {
    let text = std::fs::read_to_string(file).unwrap();
    promtool::run(&["check", "metrics"], &text).await;
    samples(&text)
}

/// The names of metrics that a text has.
fn named(text: &str) -> BTreeSet<String> {
    let names = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("daybook_"));
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_metrics_tell_of_good_runs_and_of_failed_ones() {
    let world = World::new().await.with_metrics();
    let file = world.metrics.clone().unwrap();
    world
        .log(&[
            Event::search(1, DAY, RECORDSET, 5),
            Event::search(2, DAY, "not a recordset", 5),
        ])
        .await;
    world.run(&["apply", "--day", DAY]).await.assert_exit(0);
    let good = read(&file).await;
    let value = |name: &str, labels: &str| good[&(name.to_owned(), labels.to_owned())];
    for (name, labels, expected) in [
        (
            "daybook_info",
            concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""),
            1.0,
        ),
        ("daybook_gaps", "", 0.0),
        ("daybook_rejected_events", "", 1.0),
        ("daybook_newest_entry", "", 1.0),
        ("daybook_failed_runs", "", 0.0),
        ("daybook_last_run_exit_code", "", 0.0),
        ("daybook_last_run_day_checks", "", 1.0),
        ("daybook_last_run_events", "", 2.0),
        ("daybook_last_run_rejected_events", "", 1.0),
        ("daybook_last_run_documents", "projection=\"daily\"", 1.0),
        ("daybook_last_run_retries", "projection=\"totals\"", 0.0),
        (
            "daybook_projection_entries_behind",
            "projection=\"terms\"",
            0.0,
        ),
    ] {
        assert_eq!(value(name, labels), expected, "{name}");
    }
    for (name, labels) in [
        ("daybook_day_lag", ""),
        ("daybook_last_run_seconds", ""),
        ("daybook_last_run_stage_seconds", "stage=\"read\""),
        ("daybook_last_run_stage_seconds", "stage=\"post\""),
        ("daybook_last_run_stage_seconds", "stage=\"daily\""),
        ("daybook_last_run_bytes", "projection=\"daily\""),
    ] {
        assert!(value(name, labels) > 0.0, "{name} {labels}");
    }
    let success = "SELECT extract(epoch FROM date_trunc('milliseconds', max(finished_at)))::float8::text FROM daybook.run";
    let success: f64 = world.value(success).await.parse().unwrap();
    assert_eq!(value("daybook_last_success_timestamp_seconds", ""), success);
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o644
    );

    // A failed run: nothing answers where Elasticsearch should be.
    world
        .log(&[Event::search(3, "2020-02-17", RECORDSET, 5)])
        .await;
    world
        .run_with(
            &[("DAYBOOK_ELASTICSEARCH_URL", "http://127.0.0.1:1")],
            &["apply", "--day", "2020-02-17"],
        )
        .await
        .assert_exit(3);
    let failed = read(&file).await;
    let value = |name: &str, labels: &str| failed[&(name.to_owned(), labels.to_owned())];
    assert_eq!(value("daybook_last_run_exit_code", ""), 3.0);
    assert_eq!(value("daybook_failed_runs", ""), 1.0);
    assert_eq!(value("daybook_last_success_timestamp_seconds", ""), success);
    assert_eq!(value("daybook_last_run_events", ""), 1.0);
    assert_eq!(
        value("daybook_projection_entries_behind", "projection=\"daily\""),
        1.0
    );

    // Another command repairs it; a dry run and a look change nothing.
    world.run(&["project"]).await.assert_exit(0);
    let behind = (
        "daybook_projection_entries_behind".to_owned(),
        "projection=\"daily\"".to_owned(),
    );
    assert_eq!(read(&file).await[&behind], 0.0);
    std::fs::remove_file(&file).unwrap();
    world.run(&["status"]).await.assert_exit(0);
    world
        .run(&["apply", "--day", DAY, "--dry-run"])
        .await
        .assert_exit(0);
    assert!(!file.exists());

    // Alerts and dashboard use no others.
    let metrics: BTreeSet<String> = good.into_keys().map(|(name, _)| name).collect();
    for (what, text) in [("alerts", ALERTS), ("dashboard", DASHBOARD)] {
        let named = named(text);
        assert!(named.len() >= 6, "{what}: {named:?}");
        assert!(
            named.is_subset(&metrics),
            "{what}: {:?}",
            named.difference(&metrics)
        );
    }
    let shown = named(DASHBOARD);
    assert!(
        metrics.is_subset(&shown),
        "not on the dashboard: {:?}",
        metrics.difference(&shown)
    );
    world.end().await;
}

#[tokio::test]
async fn a_projection_that_fails_leaves_the_figures_of_the_others() {
    let world = World::new().await.with_metrics();
    let file = world.metrics.clone().unwrap();
    world.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
    world.run(&["apply", "--day", DAY]).await.assert_exit(0);
    let settings = format!("{}-totals/_settings", world.prefix);
    let block = json!({ "index.blocks.write": true });
    world.elastic(Method::PUT, &settings, Some(block)).await;
    world.log(&[Event::search(2, DAY, RECORDSET, 5)]).await;
    for command in [
        &["apply", "--day", DAY][..],
        &["reverse", "2", "--reason", "a test"],
    ] {
        world.run(command).await.assert_exit(3);
        let metrics = read(&file).await;
        for (name, projection, expected) in [
            ("daybook_last_run_documents", "daily", 1.0),
            ("daybook_projection_entries_behind", "daily", 0.0),
            ("daybook_projection_entries_behind", "terms", 0.0),
        ] {
            let labels = format!("projection=\"{projection}\"");
            assert_eq!(
                metrics[&(name.to_owned(), labels)],
                expected,
                "{name} {command:?}"
            );
        }
        let behind = "daybook_projection_entries_behind".to_owned();
        assert!(metrics[&(behind, "projection=\"totals\"".to_owned())] > 0.0);
    }
    world.end().await;
}

#[tokio::test]
async fn a_file_of_metrics_that_cannot_be_written_does_not_fail_the_run() {
    let world = World::new().await;
    let setting = ("DAYBOOK_METRICS_FILE", "/nowhere/daybook.prom");
    world
        .run_with(&[setting], &["apply", "--day", DAY])
        .await
        .assert_exit(0)
        .says(&["no metrics were written", "/nowhere/daybook.prom"]);
    world.end().await;
}

/// A server that keeps what it is asked for, and answers with a status.
async fn listener(status: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ping/uuid", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = String::new();
            let mut buffer = [0; 4096];
            loop {
                let read = stream.read(&mut buffer).await.unwrap_or_default();
                request += &String::from_utf8_lossy(&buffer[..read]);
                let length = request
                    .to_ascii_lowercase()
                    .split_once("content-length: ")
                    .and_then(|(_, rest)| rest.lines().next()?.parse().ok())
                    .unwrap_or(0);
                let body = request.split_once("\r\n\r\n").map(|(_, body)| body.len());
                if read == 0 || body.is_some_and(|body| body >= length) {
                    break;
                }
            }
            let (head, body) = request.split_once("\r\n\r\n").unwrap_or_default();
            let line = head.lines().next().unwrap_or_default();
            kept.lock().await.push(format!("{line}|{body}"));
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, requests)
}

#[tokio::test]
async fn a_run_pings_when_it_starts_and_how_it_ended() {
    let world = World::new().await;
    let (url, requests) = listener(200).await;
    let setting = ("DAYBOOK_PING_URL", url.as_str());
    world
        .run_with(&[setting], &["apply", "--day", DAY])
        .await
        .assert_exit(0);
    let asked = std::mem::take(&mut *requests.lock().await);
    assert_eq!(
        asked,
        [
            "POST /ping/uuid/start HTTP/1.1|",
            "POST /ping/uuid HTTP/1.1|"
        ]
    );
    world
        .run_with(
            &[setting, ("DAYBOOK_LEDGER_URL", "postgres://127.0.0.1:1/d")],
            &["apply"],
        )
        .await
        .assert_exit(75);
    let asked = std::mem::take(&mut *requests.lock().await);
    assert_eq!(asked[0], "POST /ping/uuid/start HTTP/1.1|");
    assert!(
        asked[1].starts_with(
            "POST /ping/uuid/fail HTTP/1.1|exit code 75: cannot connect to the ledger"
        ),
        "{asked:?}"
    );
    // Only the runs of the timer: nobody waits for the others.
    for arguments in [
        &["status"][..],
        &["project"],
        &["apply", "--day", DAY, "--dry-run"],
    ] {
        world.run_with(&[setting], arguments).await.assert_exit(0);
    }
    assert_eq!(*requests.lock().await, [""; 0]);
    world.end().await;
}

#[tokio::test]
async fn a_service_that_does_not_take_pings_does_not_fail_the_run_and_its_address_stays_secret() {
    let world = World::new().await;
    let (refusing, _) = listener(404).await;
    for (url, words) in [
        (refusing.as_str(), "404"),
        ("http://127.0.0.1:1/ping/uuid", "Connection refused"),
    ] {
        let ended = world
            .run_with(&[("DAYBOOK_PING_URL", url)], &["apply", "--day", DAY])
            .await
            .assert_exit(0);
        let ended = ended.says(&["no ping was sent", "127.0.0.1", words]);
        assert!(!ended.stderr.contains("uuid"), "{}", ended.stderr);
    }
    let ended = world
        .run_with(&[("DAYBOOK_PING_URL", "hc-ping.com/uuid")], &["apply"])
        .await
        .assert_exit(2);
    ended.says(&["the address for pings cannot be used", "DAYBOOK_PING_URL"]);
    world.end().await;
}

#[tokio::test]
async fn each_run_ends_with_a_summary_whose_figures_are_fields() {
    let world = World::new().await;
    world.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
    let ended = world
        .run(&["apply", "--day", DAY, "-v"])
        .await
        .assert_exit(0);
    let lines = ended.stderr.lines();
    let summaries: Vec<&str> = lines.filter(|line| line.contains("run ended")).collect();
    assert_eq!(summaries.len(), 1, "{}", ended.stderr);
    for field in [
        "command=\"apply\"",
        "exit_code=0",
        "days=1",
        "entries=1",
        "events=1",
        "rejected=0",
        "retries=0",
        "run_id=",
        "documents=",
        "bytes=",
        "seconds=",
    ] {
        assert!(summaries[0].contains(field), "{field}: {}", summaries[0]);
    }
    world.end().await;
}

#[tokio::test]
async fn each_panel_of_the_dashboard_shows_something_of_a_run() {
    let world = World::new().await.with_metrics();
    world.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
    world.run(&["apply", "--day", DAY]).await.assert_exit(0);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{panel}");
        let expressions = targets
            .iter()
            .map(|target| target["expr"].as_str().unwrap());
        queries.extend(expressions.map(|query| query.replace("$prefix", &world.prefix)));
    }
    let metrics = std::fs::read_to_string(world.metrics.as_ref().unwrap()).unwrap();
    promtool::assert_found(metrics, &queries).await;
    world.end().await;
}

/// The shell code of the unit for failures, with `curl` and `journalctl` that write down what they get.
#[tokio::test]
async fn the_unit_for_failures_posts_or_mails_what_the_journal_has() {
    let code = UNIT
        .split_once("ExecStart=/bin/sh -euc '")
        .and_then(|(_, rest)| rest.split_once("'\n"))
        .expect("shell code")
        .0;
    let code = code
        .replace("\\\n", "\n")
        .replace("$$", "$")
        .replace("%%", "%")
        .replace("\\\\", "\\");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("failed-unit");
    std::fs::create_dir_all(&folder).unwrap();
    let tool = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    tool("journalctl", "#!/bin/sh\necho \"lines of $*\"\n");
    tool("curl", "#!/bin/sh\necho \"curl $*\"; cat\n");
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let run = async |settings: &[(&str, &str)]| {
        let output = tokio::process::Command::new("/bin/sh")
            .args(["-euc", &code])
            .env_clear()
            .env("PATH", &path)
            .envs([
                ("POST_URL", ""),
                ("MAIL_TO", ""),
                ("MAIL_FROM", "daybook"),
                ("MAIL_HOST", "localhost"),
            ])
            .env("UNIT", "a.service")
            .envs(settings.iter().copied())
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&[]).await, "");
    let posted = run(&[("POST_URL", "https://h/topic")]).await;
    assert!(
        posted.contains("https://h/topic")
            && posted.contains("a.service has failed\n\nlines of --unit=a.service"),
        "{posted}"
    );
    let mailed = run(&[("MAIL_TO", "you@h")]).await;
    assert!(
        mailed.contains("smtp://localhost")
            && mailed.contains("Subject: a.service has failed\n\nlines of"),
        "{mailed}"
    );
    std::fs::remove_dir_all(folder).unwrap();
}
