//! The table of messages in docs/runbook.md: each of its failures is made, and ends with the code and says the words that stand
//! there. Then `daybook doctor` finds it, or `daybook status` reports it, and an alert fires on the metrics that the run has left,
//! as the table says. A row without a case fails, and so does a case without a row.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use reqwest::Method;
use serde_json::json;

use crate::support::hold::{Place, signal};
use crate::support::program::{self, Ended};
use crate::support::promtool::{Scenario, assert_alerts};
use crate::support::proxy::{Proxy, Reply};
use crate::support::world::with_database;
use crate::support::{Event, Login, RECORDSET, World};

const HANDBOOK: &str = include_str!("../../docs/runbook.md");

const DAY: &str = "2020-02-16";
const APPLY: [&str; 3] = ["apply", "--day", DAY];
const DOCTOR: [&str; 2] = ["doctor", "--json"];
const STATUS: [&str; 2] = ["status", "--json"];
const POST: [&str; 4] = ["apply", "--day", DAY, "--no-project"];

/// How many failures are made at a time.
const AT_ONCE: usize = 4;

/// A row of the table.
struct Row {
    failure: &'static str,
    code: i32,
    /// The kind of the error, if it has one.
    kind: Option<&'static str>,
    /// What is said, in its order.
    words: Vec<&'static str>,
    /// The command that finds it afterwards.
    found_by: Option<&'static str>,
    /// The alert that fires.
    alert: Option<String>,
}

/// A failure, and what the commands that look for failures say in the same circumstances.
struct Failed {
    ended: Ended,
    doctor: Ended,
    status: Ended,
}

fn rows() -> Vec<Row> {
    let section = HANDBOOK
        .split_once("\n## Messages\n")
        .expect("the section Messages")
        .1;
    let table = section
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1);
    let rows = table.take_while(|line| line.starts_with('|')).map(|line| {
        let cells = line
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'));
        let cells = cells.unwrap().replace("| |", "|  |").replace("| |", "|  |");
        let cells: Vec<&str> = cells.leak().split(" | ").map(str::trim).collect();
        let [failure, code, kind, message, found_by, alert, remedy] = cells[..] else {
            panic!("not seven columns: {line}")
        };
        let [kind, alert] = [kind, alert].map(|link| link.strip_prefix('[')?.split_once(']'));
        assert!(!remedy.is_empty(), "no way out: {line}");
        let words = message
            .trim_matches('`')
            .split('…')
            .map(str::trim)
            .collect();
        Row {
            failure,
            code: code.parse().expect("an exit code"),
            kind: kind.map(|(kind, _)| kind),
            words,
            found_by: Some(found_by.trim_matches('`')).filter(|command| !command.is_empty()),
            alert: alert.map(|(name, _)| format!("Daybook{name}")),
        }
    });
    rows.collect()
}

/// Makes a failure in a world with one event and a ledger.
type Case = fn(&World) -> BoxFuture<'_, Failed>;

const CASES: &[(&str, Case)] = &[
    ("no setting names a ledger", |_| {
        Box::pin(async { bare(&[], &APPLY).await })
    }),
    ("the ledger's URL is not a Postgres URL", |world| {
        with(world, "DAYBOOK_LEDGER_URL", "mysql://u@h/d", &APPLY)
    }),
    ("no setting names Elasticsearch", |world| {
        Box::pin(async { bare(&world.settings()[..1], &APPLY).await })
    }),
    ("the address of Elasticsearch is not a URL", |world| {
        with(world, "DAYBOOK_ELASTICSEARCH_URL", "ftp://h", &APPLY)
    }),
    ("the prefix is not valid in an index name", |world| {
        with(world, "DAYBOOK_INDEX_PREFIX", "Stats", &APPLY)
    }),
    ("the configuration file does not exist", |world| {
        with(world, "DAYBOOK_CONFIG", "/nowhere.toml", &APPLY)
    }),
    ("the configuration file has an unknown key", |world| {
        Box::pin(unknown_key(world))
    }),
    ("an unknown dimension of `stats-terms`", |world| {
        with(world, "DAYBOOK_TERMS", "colours", &APPLY)
    }),
    (
        "the directory for temporary files does not exist",
        |world| with(world, "DAYBOOK_TEMP_DIR", "/does/not/exist", &APPLY),
    ),
    ("the memory limit is too low", |world| {
        with(world, "DAYBOOK_MEMORY", "1M", &APPLY)
    }),
    ("an unknown option", |world| {
        run(world, &["apply", "--dry-rum"])
    }),
    ("an option of `idb` before another command", |world| {
        run(world, &["--journal", "apply"])
    }),
    ("an invalid date", |world| {
        run(world, &["apply", "--day", "16.02.2020"])
    }),
    ("the last day is before the first", |world| {
        run(world, &["apply", "--from", "2020-02-17", "--to", DAY])
    }),
    ("the day is not over", |world| {
        Box::pin(async { fail(world, &[], &["apply", "--day", &in_days(0)]).await })
    }),
    ("the day has not begun", |world| {
        Box::pin(async { fail(world, &[], &["apply", "--day", &in_days(2)]).await })
    }),
    ("the time zone is unknown", |world| {
        run(world, &["migrate", "--time-zone", "Mars/Olympus"])
    }),
    ("the ledger has another time zone", |world| {
        run(world, &["migrate", "--time-zone", "Europe/Berlin"])
    }),
    ("the database has no ledger", |world| {
        after(world, "DROP SCHEMA daybook CASCADE", &APPLY)
    }),
    ("the ledger is newer than the program", |world| {
        let newer = "INSERT INTO daybook.schema_version (version, name, applied_on, checksum)
                     SELECT version + 1000, name, applied_on, checksum FROM daybook.schema_version";
        after(world, newer, &APPLY)
    }),
    ("Postgres refuses the password", |world| {
        Box::pin(async {
            let wrong = with_password(&world.ledger_url);
            fail(world, &[("DAYBOOK_LEDGER_URL", &wrong)], &APPLY).await
        })
    }),
    ("the database does not exist", |world| {
        Box::pin(async {
            let nowhere = with_database(&world.ledger_url, "daybook_test_nowhere");
            fail(world, &[("DAYBOOK_LEDGER_URL", &nowhere)], &APPLY).await
        })
    }),
    ("the login may not use the ledger", |world| {
        Box::pin(as_login(world, ""))
    }),
    ("the source has no tables", |world| {
        after(world, "DROP TABLE stats", &APPLY)
    }),
    ("a column of the source has another type", |world| {
        after(world, "ALTER TABLE stats ALTER payload TYPE text", &APPLY)
    }),
    ("the login may not read the source", |world| {
        Box::pin(as_login(world, "GRANT daybook_job TO"))
    }),
    ("the source has fewer events than were posted", |world| {
        Box::pin(async {
            world.log(&[Event::search(2, DAY, RECORDSET, 7)]).await;
            world.run(&POST).await.assert_exit(0);
            after(world, "DELETE FROM stats WHERE id = 2", &POST).await
        })
    }),
    ("the source has events of an imported day", |world| {
        Box::pin(async {
            import(world, &[5], "--replace").await.assert_exit(0);
            fail(world, &[], &POST).await
        })
    }),
    ("the entry does not exist", |world| {
        run(world, &["show", "99"])
    }),
    ("an entry is reversed twice", |world| {
        Box::pin(async {
            world.run(&POST).await.assert_exit(0);
            let reverse = ["reverse", "1", "--reason", "a test", "--no-project"];
            world.run(&reverse).await.assert_exit(0);
            fail(world, &[], &reverse).await
        })
    }),
    ("conflicting documents", |world| {
        Box::pin(async {
            world.execute("DELETE FROM stats").await;
            let ended = import(world, &[5, 6], "--dry-run").await;
            found(world, &[], ended).await
        })
    }),
    ("an export goes into a ledger with other entries", |world| {
        Box::pin(export_into_another(world))
    }),
    ("there is no previous index to switch back to", |world| {
        Box::pin(async {
            world.run(&APPLY).await.assert_exit(0);
            fail(world, &[], &["rebuild", "--rollback"]).await
        })
    }),
    ("another run is posting", |world| {
        Box::pin(async {
            let mut other = world.sql().await;
            sqlx::raw_sql("SELECT pg_advisory_lock(x'646179626f6f6b'::bigint)")
                .execute(&mut other)
                .await
                .unwrap();
            fail(world, &[], &APPLY).await
        })
    }),
    ("Postgres is down", |world| {
        Box::pin(async {
            let proxy = Proxy::tcp(&world.ledger_url).await;
            proxy.cut().await;
            fail(world, &[("DAYBOOK_LEDGER_URL", proxy.url())], &APPLY).await
        })
    }),
    ("Elasticsearch is down while a day is applied", |world| {
        Box::pin(without_elasticsearch(world, &APPLY))
    }),
    (
        "Elasticsearch is down while documents are written",
        |world| Box::pin(without_elasticsearch(world, &["project"])),
    ),
    ("Elasticsearch refuses the password", |world| {
        Box::pin(async {
            let wrong = with_password(&world.elasticsearch_url);
            fail(world, &[("DAYBOOK_ELASTICSEARCH_URL", &wrong)], &APPLY).await
        })
    }),
    ("Elasticsearch refuses the user", |world| {
        answered(world, 403, r#"{"error": "not you"}"#, "/")
    }),
    ("Elasticsearch is too old", |world| {
        answered(
            world,
            200,
            r#"{"nodes": {"a": {"version": "6.8.23"}}}"#,
            "/_nodes",
        )
    }),
    ("an index has the alias's name", |world| {
        Box::pin(async {
            world.elastic(Method::PUT, &world.prefix, None).await;
            fail(world, &[], &APPLY).await
        })
    }),
    ("the alias points to two indices", |world| {
        Box::pin(async {
            index_behind_the_alias(world, "one").await;
            index_behind_the_alias(world, "two").await;
            fail(world, &[], &APPLY).await
        })
    }),
    ("the index behind the alias is not daybook's", |world| {
        Box::pin(async {
            index_behind_the_alias(world, "theirs").await;
            fail(world, &[], &APPLY).await
        })
    }),
    ("the index belongs to another ledger", |world| {
        Box::pin(async {
            world.run(&APPLY).await.assert_exit(0);
            let other = World::new().await.with_metrics_of(world);
            // Clones of one template are, to daybook, the same ledger.
            other
                .execute("UPDATE daybook.ledger SET ledger_id = gen_random_uuid()")
                .await;
            other.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
            let ended = fail(&other, &[("DAYBOOK_INDEX_PREFIX", &world.prefix)], &APPLY).await;
            other.end().await;
            ended
        })
    }),
    ("the index has entries that the ledger lacks", |world| {
        Box::pin(async {
            world.run(&APPLY).await.assert_exit(0);
            world
                .run(&["apply", "--day", "2020-02-17"])
                .await
                .assert_exit(0);
            let restored = World::new().await.with_metrics_of(world);
            restored.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
            let ended = fail(
                &restored,
                &[("DAYBOOK_INDEX_PREFIX", &world.prefix)],
                &APPLY,
            )
            .await;
            restored.end().await;
            ended
        })
    }),
    ("the settings of `stats-terms` were changed", |world| {
        Box::pin(async {
            world.run(&APPLY).await.assert_exit(0);
            fail(world, &[("DAYBOOK_TERMS", "queries")], &APPLY).await
        })
    }),
    ("a document is too large for Elasticsearch", |world| {
        answered(world, 413, "", "/_bulk")
    }),
    ("Elasticsearch stays overloaded", |world| {
        answered(
            world,
            429,
            r#"{"error": {"type": "es_rejected_execution_exception"}}"#,
            "/_mapping",
        )
    }),
    ("the disk of Elasticsearch is nearly full", |world| {
        Box::pin(blocked(world, "read_only_allow_delete"))
    }),
    ("somebody has blocked the index", |world| {
        Box::pin(blocked(world, "write"))
    }),
    ("an event cannot be counted", |world| {
        after(world, "UPDATE stats SET payload = '[]'", &APPLY)
    }),
    ("a document was edited", |world| {
        Box::pin(async {
            world.run(&APPLY).await.assert_exit(0);
            let path = format!("{}/_update/{DAY}:{RECORDSET}?refresh=true", world.prefix);
            let edited = json!({ "doc": { "records": { "search": { "total": 6 } } } });
            world.elastic(Method::POST, &path, Some(edited)).await;
            fail(world, &[], &["verify", "--projections"]).await
        })
    }),
    ("the run was interrupted", |world| {
        Box::pin(async {
            world.run(&POST).await.assert_exit(0);
            let hold = world.hold_at(Place::Projecting).await;
            let program = world.command(&["project"]).spawn().unwrap();
            world.until_held().await;
            signal("INT", &program).await;
            let ended = program.wait_with_output().await.unwrap().into();
            drop(hold);
            found(world, &[], ended).await
        })
    }),
];

#[tokio::test]
async fn every_failure_of_the_table_ends_and_speaks_as_the_table_says() {
    let rows = rows();
    assert!(rows.len() >= 30, "{} rows", rows.len());
    let told: BTreeSet<&str> = rows.iter().map(|row| row.failure).collect();
    let made: BTreeSet<&str> = CASES.iter().map(|(failure, _)| *failure).collect();
    assert_eq!(told, made, "the rows of the table, and the cases here");
    let well = metrics_of_a_good_run().await;
    let mut scenarios: Vec<Scenario> = stream::iter(&rows)
        .map(|row| check(row, &well))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let runs = scenarios
        .iter()
        .filter(|scenario| !scenario.firing.is_empty());
    assert!(runs.count() > 35);
    scenarios.push(Scenario::new("before any failure", well, "3h", &[]));
    assert_alerts(&scenarios).await;
}

/// The metrics of a ledger with which nothing is wrong.
async fn metrics_of_a_good_run() -> String {
    let world = World::new().await.with_metrics();
    world.run(&["apply"]).await.assert_exit(0);
    let text = std::fs::read_to_string(world.metrics.as_ref().unwrap()).unwrap();
    world.end().await;
    text
}

/// Makes the failure of a row. Returns the metrics afterwards. Those before are of a good run.
async fn check(row: &Row, before: &str) -> Scenario {
    let world = World::new().await.with_metrics();
    let metrics = world.metrics.clone().unwrap();
    std::fs::write(&metrics, before).unwrap();
    world.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
    let (_, make) = CASES
        .iter()
        .find(|(failure, _)| *failure == row.failure)
        .expect("a case");
    let Failed {
        ended,
        doctor,
        status,
    } = make(&world).await;
    assert_eq!(
        ended.code,
        Some(row.code),
        "{}: {}{}",
        row.failure,
        ended.stdout,
        ended.stderr
    );
    // What verify finds, and what apply rejects, is a result and not an error.
    let text = if matches!(row.code, 0 | 4) {
        &ended.stdout
    } else {
        &ended.stderr
    };
    if let Some(kind) = row.kind.filter(|kind| *kind != "interrupted") {
        let anchor = format!("docs/runbook.md#{kind}\n");
        assert!(
            ended.stderr.contains(&anchor),
            "{}: {}",
            row.failure,
            ended.stderr
        );
    }
    let mut rest = text.as_str();
    for words in &row.words {
        let found = rest
            .find(words)
            .unwrap_or_else(|| panic!("{}: no '{words}' in {text}", row.failure));
        rest = &rest[found + words.len()..];
    }
    match row.found_by {
        Some("doctor") => assert_doctor_finds(row, &doctor),
        Some("status") => assert_status_reports(row, &status),
        Some(other) => panic!("{}: {other}", row.failure),
        // Nothing is wrong but the command.
        None => {}
    }
    let scenario = left(row, std::fs::read_to_string(&metrics).unwrap());
    world.end().await;
    scenario
}

/// The metrics that a run has left, and the alert. The day of the tests is long ago, so days are missing, too.
fn left(row: &Row, metrics: String) -> Scenario {
    let after = match row.alert.as_deref() {
        Some("DaybookNotSucceeding") => "28h",
        _ => "3h",
    };
    let firing: Vec<&str> = row.alert.as_deref().into_iter().collect();
    let mut scenario = Scenario::new(row.failure, metrics, after, &firing);
    scenario.others = true;
    scenario
}

fn assert_doctor_finds(row: &Row, doctor: &Ended) {
    assert_eq!(doctor.code, Some(1), "{}: {}", row.failure, doctor.stdout);
    let kind = row.kind.expect("a kind");
    let checks = doctor.messages_of("check");
    let found = checks
        .iter()
        .find(|check| check["level"] == "failed" && check["kind"] == kind);
    let found = found.unwrap_or_else(|| panic!("{}: {checks:#?}", row.failure));
    assert!(found["message"].is_string(), "{found}");
}

fn assert_status_reports(row: &Row, status: &Ended) {
    let messages = status.messages();
    let any = |field: &str, value: serde_json::Value| {
        messages.iter().any(|message| message[field] == value)
    };
    let reports = match row.kind {
        Some("locked") => messages
            .iter()
            .any(|message| message["running"].is_string()),
        Some(kind) => any("error_kind", json!(kind)) || any("problem_kind", json!(kind)),
        // What is rejected, or found by a verification.
        None if row.code == 0 => any("rejected_events", json!(1)),
        None => any("exit_code", json!(row.code)),
    };
    assert!(reports, "{}: {messages:#?}", row.failure);
}

/// The program with these settings only.
async fn bare(settings: &[(&str, &str)], arguments: &[&str]) -> Failed {
    let run = async |arguments: &[&str]| -> Ended {
        let mut command = program::command(settings, arguments);
        command.output().await.unwrap().into()
    };
    Failed {
        ended: run(arguments).await,
        doctor: run(&DOCTOR).await,
        status: run(&STATUS).await,
    }
}

/// Runs a command that fails, then what finds out why.
async fn fail(world: &World, settings: &[(&str, &str)], arguments: &[&str]) -> Failed {
    found(world, settings, world.run_with(settings, arguments).await).await
}

/// What the other commands find after a failure.
async fn found(world: &World, settings: &[(&str, &str)], ended: Ended) -> Failed {
    let doctor = world.run_with(settings, &DOCTOR);
    let (doctor, status) = tokio::join!(doctor, world.run_with(settings, &STATUS));
    Failed {
        ended,
        doctor,
        status,
    }
}

fn run<'a>(world: &'a World, arguments: &'static [&'static str]) -> BoxFuture<'a, Failed> {
    Box::pin(fail(world, &[], arguments))
}

fn with<'a>(
    world: &'a World,
    setting: &'static str,
    value: &'static str,
    arguments: &'static [&'static str],
) -> BoxFuture<'a, Failed> {
    Box::pin(async move { fail(world, &[(setting, value)], arguments).await })
}

/// Runs SQL as the owner first.
fn after<'a>(
    world: &'a World,
    sql: &'static str,
    arguments: &'static [&'static str],
) -> BoxFuture<'a, Failed> {
    Box::pin(async move {
        world.execute(sql).await;
        fail(world, &[], arguments).await
    })
}

/// Where Elasticsearch answers requests of a path itself.
fn answered<'a>(
    world: &'a World,
    status: u16,
    body: &'static str,
    path: &'static str,
) -> BoxFuture<'a, Failed> {
    Box::pin(async move {
        let proxy = Proxy::http(&world.elasticsearch_url).await;
        proxy.answer(move |request, _| {
            request
                .line
                .contains(path)
                .then(|| Reply::new(status, body))
        });
        fail(world, &[("DAYBOOK_ELASTICSEARCH_URL", proxy.url())], &APPLY).await
    })
}

async fn without_elasticsearch(world: &World, arguments: &[&str]) -> Failed {
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.cut().await;
    fail(
        world,
        &[("DAYBOOK_ELASTICSEARCH_URL", proxy.url())],
        arguments,
    )
    .await
}

/// Applies while the index behind the alias has this block.
async fn blocked(world: &World, block: &str) -> Failed {
    world.run(&APPLY).await.assert_exit(0);
    let settings = json!({ format!("index.blocks.{block}"): true });
    let mut id = 1;
    loop {
        id += 1;
        world.log(&[Event::search(id, DAY, RECORDSET, 5)]).await;
        world
            .elastic(
                Method::PUT,
                &format!("{}/_settings", world.prefix),
                Some(settings.clone()),
            )
            .await;
        let ended = world.run(&APPLY).await;
        // A cluster whose disk is not full takes its own block away again, every half minute.
        if ended.code != Some(0) {
            return found(world, &[], ended).await;
        }
    }
}

async fn index_behind_the_alias(world: &World, name: &str) {
    let aliases = json!({ "aliases": { world.prefix.as_str(): {} } });
    world
        .elastic(
            Method::PUT,
            &format!("{}-{name}", world.prefix),
            Some(aliases),
        )
        .await;
}

/// Applies as a login that may do nothing but what it is granted.
async fn as_login(world: &World, grant: &str) -> Failed {
    let login = Login::new(world).await;
    if !grant.is_empty() {
        world.execute(&format!("{grant} {}", login.role)).await;
    }
    let failed = fail(world, &[("DAYBOOK_LEDGER_URL", &login.ledger_url)], &APPLY).await;
    world
        .execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", login.role))
        .await;
    failed
}

async fn unknown_key(world: &World) -> Failed {
    let file = in_a_file(world, "toml", "ledger_adress = 'postgres://h/d'\n");
    let failed = fail(world, &[("DAYBOOK_CONFIG", &file)], &APPLY).await;
    std::fs::remove_file(file).unwrap();
    failed
}

/// Imports documents of one recordset and the day, with these totals.
async fn import(world: &World, totals: &[i64], option: &str) -> Ended {
    let documents = totals.iter().map(|total| {
        let cell = json!({ "count": 1, "total": total });
        json!({ "recordset_id": RECORDSET, "harvest_date": "2020-02-17", "records": { "search": cell } })
    });
    let lines: Vec<String> = documents.map(|document| format!("{document}\n")).collect();
    let file = in_a_file(world, "log", &lines.concat());
    let ended = world.run(&["import", "--no-project", option, &file]).await;
    std::fs::remove_file(file).unwrap();
    ended
}

async fn export_into_another(world: &World) -> Failed {
    world.run(&POST).await.assert_exit(0);
    let file = std::env::temp_dir().join(format!("{}.ndjson", world.prefix));
    let file = file.to_str().unwrap();
    world
        .run(&["export", "--output", file])
        .await
        .assert_exit(0);
    let other = World::new().await;
    other
        .run(&["apply", "--day", "2020-02-17", "--no-project"])
        .await
        .assert_exit(0);
    let failed = fail(&other, &[], &["import", file]).await;
    std::fs::remove_file(file).unwrap();
    other.end().await;
    failed
}

fn in_a_file(world: &World, ending: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("{}.{ending}", world.prefix));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn with_password(url: &str) -> String {
    let mut url: url::Url = url.parse().unwrap();
    url.set_password(Some("not-the-password")).unwrap();
    url.into()
}

fn in_days(days: u64) -> String {
    (daybook::clock::now().date_naive() + chrono::Days::new(days)).to_string()
}
