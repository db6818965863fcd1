//! Prometheus's `promtool`: checks files of metrics, and says which alerts fire on what they hold.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Where script/test puts it, if it is not installed.
const FETCHED: &str = "target/promtool/promtool";

/// The time between two samples, and between two evaluations of the alerts.
const INTERVAL: &str = "5m";
/// As many samples: more than a day.
const SAMPLES: u32 = 400;

/// A file of metrics that stays as it is for some time, and the alerts that fire then.
#[derive(Debug)]
pub struct Scenario {
    name: String,
    /// The text of the file; empty if there is none.
    metrics: String,
    /// When it was written, in seconds since 1970.
    written_at: f64,
    /// How long ago that is, as Prometheus writes durations.
    after: &'static str,
    /// Alerts that fire.
    pub firing: Vec<String>,
    /// Whether others may fire as well.
    pub others: bool,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("promtool"));
    let found = installed
        .chain([root().join(FETCHED)])
        .find(|file| file.exists());
    found.expect("promtool: run script/test, which gets it")
}

/// Runs it. Panics with what it prints, if it refuses what it gets.
pub async fn run(arguments: &[&str], stdin: &str) {
    let mut tool = Command::new(program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run promtool");
    let mut input = tool.stdin.take().expect("a pipe");
    input.write_all(stdin.as_bytes()).await.expect("write");
    drop(input);
    let output = tool.wait_with_output().await.expect("promtool ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "promtool {}: {}{}",
        arguments.join(" "),
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Lets the rules of observability/alerts.yml be evaluated on each scenario.
pub async fn assert_alerts(scenarios: &[Scenario]) {
    evaluate(scenarios.iter().map(Scenario::test).collect()).await;
}

/// Lets queries be evaluated on the text of a file that was just written: each finds something.
pub async fn assert_found(metrics: String, queries: &[String]) {
    let scenario = Scenario::new("queries", metrics, "5m", &[]);
    let found = |query| format!("count({query}) > bool 0");
    let checks: Vec<Value> = queries
        .iter()
        .map(|query| scenario.check(&found(query), &json!([{ "labels": "{}", "value": 1 }])))
        .collect();
    evaluate(vec![scenario.with(&checks)]).await;
}

async fn evaluate(tests: Vec<Value>) {
    let rules = root().join("observability/alerts.yml");
    // JSON is YAML, too.
    let file = json!({ "rule_files": [rules], "evaluation_interval": INTERVAL, "tests": tests });
    let path = std::env::temp_dir().join(format!("daybook-alerts-{}.yml", uuid::Uuid::new_v4()));
    std::fs::write(&path, file.to_string()).expect("write");
    run(&["test", "rules", path.to_str().expect("a path")], "").await;
    std::fs::remove_file(path).expect("remove");
}

impl Scenario {
    /// A file that was written just now.
    pub fn new(name: &str, metrics: String, after: &'static str, firing: &[&str]) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds do not matter here"
        )]
        let written_at = daybook::clock::now().timestamp() as f64;
        Self {
            name: name.to_owned(),
            metrics,
            written_at,
            after,
            firing: firing.iter().map(|&alert| alert.to_owned()).collect(),
            others: false,
        }
    }

    fn test(&self) -> Value {
        let checks: Vec<Value> = if self.others {
            self.firing.iter().map(|alert| self.fires(alert)).collect()
        } else {
            vec![self.fire_alone()]
        };
        self.with(&checks)
    }

    fn with(&self, checks: &[Value]) -> Value {
        let series: Vec<Value> = self.series().collect();
        json!({ "name": self.name, "interval": INTERVAL, "input_series": series, "promql_expr_test": checks })
    }

    /// The samples of the file, each of them again and again. The clock of the test starts at 0, when the file was written.
    fn series(&self) -> impl Iterator<Item = Value> {
        let lines = self.metrics.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let mut value: f64 = value.parse().expect("a number");
            if series.contains("_timestamp_seconds{") {
                value -= self.written_at;
            }
            json!({ "series": series, "values": format!("{value}x{SAMPLES}") })
        })
    }

    fn fires(&self, alert: &str) -> Value {
        let expression = format!("group(ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}})");
        self.check(&expression, &json!([{ "labels": "{}", "value": 1 }]))
    }

    fn fire_alone(&self) -> Value {
        let firing = self.firing.iter();
        let samples: Value = firing
            .map(|alert| json!({ "labels": format!("{{alertname=\"{alert}\"}}"), "value": 1 }))
            .collect();
        self.check(
            "group by (alertname) (ALERTS{alertstate=\"firing\"})",
            &samples,
        )
    }

    fn check(&self, expression: &str, samples: &Value) -> Value {
        json!({ "expr": expression, "eval_time": self.after, "exp_samples": samples })
    }
}
