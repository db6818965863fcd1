//! The alerts of observability/alerts.yml: Prometheus's own tool evaluates them on the metrics that the program writes.

use std::collections::BTreeSet;

use crate::commands::days_ago;
use crate::support::promtool::{self, Scenario, assert_alerts};
use crate::support::{Event, RECORDSET, World};

const ALERTS: &str = include_str!("../../observability/alerts.yml");
const TESTS: &str = include_str!("../../observability/alerts_test.yml");
const RUNBOOK: &str = include_str!("../../docs/runbook.md");

/// The names of the alerts.
fn alerts() -> BTreeSet<&'static str> {
    let lines = ALERTS.lines();
    lines
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect()
}

async fn log(world: &World, id: i64, days: u64, recordset: &str) {
    let event = Event::search(id, &days_ago(days), recordset, 5);
    world.log(&[event]).await;
}

/// The metrics as they are now, when they have been so for some time, and the alerts that fire then.
fn scenario(world: &World, name: &str, after: &'static str, firing: &[&str]) -> Scenario {
    let metrics = std::fs::read_to_string(world.metrics.as_ref().unwrap()).unwrap();
    Scenario::new(name, metrics, after, firing)
}

#[tokio::test]
async fn each_alert_fires_in_the_state_that_it_is_about_and_in_no_other() {
    let mut scenarios = Vec::new();

    let well = World::new().await.with_metrics();
    log(&well, 1, 1, RECORDSET).await;
    well.run(&["apply"]).await.assert_exit(0);
    scenarios.push(scenario(&well, "all is well", "26h", &[]));
    scenarios.push(scenario(
        &well,
        "no run since",
        "28h",
        &["DaybookNotSucceeding"],
    ));
    // A ledger that cannot be reached leaves the file as it is.
    let nowhere = ("DAYBOOK_LEDGER_URL", "postgres://127.0.0.1:1/d");
    well.run_with(&[nowhere], &["apply"]).await.assert_exit(75);
    scenarios.push(scenario(
        &well,
        "the ledger is down",
        "28h",
        &["DaybookNotSucceeding"],
    ));
    // Late events, and nothing answers where Elasticsearch should be.
    log(&well, 2, 1, RECORDSET).await;
    let silent = ("DAYBOOK_ELASTICSEARCH_URL", "http://127.0.0.1:1");
    well.run_with(&[silent], &["apply"]).await.assert_exit(3);
    let name = "Elasticsearch is down";
    scenarios.push(scenario(&well, name, "2h", &[]));
    let firing = ["DaybookProjectionBehind", "DaybookRunFailed"];
    scenarios.push(scenario(&well, name, "3h", &firing));
    // The next run is the way out.
    well.run(&["apply"]).await.assert_exit(0);
    scenarios.push(scenario(&well, "Elasticsearch is up again", "26h", &[]));
    log(&well, 3, 1, "not a recordset").await;
    well.run(&["apply"]).await.assert_exit(0);
    let firing = ["DaybookEventsRejected"];
    scenarios.push(scenario(&well, "an event was rejected", "5m", &firing));

    let late = World::new().await.with_metrics();
    log(&late, 1, 2, RECORDSET).await;
    late.run(&["apply", "--day", &days_ago(2)])
        .await
        .assert_exit(0);
    scenarios.push(scenario(&late, "yesterday is missing", "2h", &[]));
    scenarios.push(scenario(
        &late,
        "yesterday is missing",
        "3h",
        &["DaybookDaysBehind"],
    ));

    let torn = World::new().await.with_metrics();
    for days in [3, 1] {
        torn.run(&["apply", "--day", &days_ago(days)])
            .await
            .assert_exit(0);
    }
    scenarios.push(scenario(&torn, "a day has no entry", "3h", &[]));
    scenarios.push(scenario(
        &torn,
        "a day has no entry",
        "25h",
        &["DaybookGaps"],
    ));

    // The first run of all posts, and ends before there is any document.
    let first = World::new().await.with_metrics();
    log(&first, 1, 1, RECORDSET).await;
    first.run_with(&[silent], &["apply"]).await.assert_exit(3);
    let firing = ["DaybookNotSucceeding", "DaybookRunFailed"];
    scenarios.push(scenario(&first, "no run has succeeded yet", "3h", &firing));

    let nothing = Scenario::new("no file", String::new(), "1h", &["DaybookMetricsMissing"]);
    scenarios.push(nothing);

    assert_alerts(&scenarios).await;
    let fired: BTreeSet<&str> = scenarios
        .iter()
        .flat_map(|scenario| scenario.firing.iter().map(String::as_str))
        .collect();
    assert_eq!(fired, alerts());
    for world in [well, late, torn, first] {
        world.end().await;
    }
}

#[tokio::test]
async fn the_rules_are_sound_and_their_own_tests_pass() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/observability");
    promtool::run(&["check", "rules", &format!("{folder}/alerts.yml")], "").await;
    promtool::run(&["test", "rules", &format!("{folder}/alerts_test.yml")], "").await;
    for alert in alerts() {
        let (before, firing) = (
            format!("alertname: {alert}\n        exp_alerts: []\n"),
            format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels:\n"),
        );
        assert!(
            TESTS.contains(&before) && TESTS.contains(&firing),
            "{alert}"
        );
    }
}

/// The runbook says what to do about each alert, and names no other.
#[test]
fn the_runbook_has_each_alert() {
    let section = RUNBOOK
        .split_once("\n## Alerts\n")
        .expect("the section Alerts")
        .1;
    let section = section.split("\n## ").next().unwrap();
    let entries = section.split("\n### ").skip(1);
    let mut explained = BTreeSet::new();
    for entry in entries {
        let (alert, text) = entry.split_once('\n').unwrap();
        for part in ["- Means: ", "- State: ", "- Do: "] {
            assert!(text.contains(part), "{alert} lacks '{part}'");
        }
        let link = format!("runbook: docs/runbook.md#{}\n", alert.to_lowercase());
        assert!((ALERTS.to_owned() + "\n").contains(&link), "{link}");
        explained.insert(alert);
    }
    assert_eq!(explained, alerts());
}
