//! Exports and their import: an exact copy, hashes included, or nothing, whatever is done to the file in between.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failpoints::failpoints;
use crate::support::history::{ENTRIES, LAST_DAY};
use crate::support::{Login, World};

/// A folder that is gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn of(world: &World) -> Self {
        let path = std::env::temp_dir().join(format!("daybook-exchange-{}", world.prefix));
        std::fs::create_dir(&path).expect("create a folder");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0
            .join(name)
            .to_str()
            .expect("a path in UTF-8")
            .to_owned()
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("read the folder");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .into_string()
                    .expect("a name in UTF-8")
            })
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The past, a reversal, and rejected events as odd as JSON can be.
async fn exporting_world() -> World {
    let world = World::with_history().await;
    world
        .run(&[
            "reverse",
            "3",
            "--reason",
            "bots, \"all\" of them\n☂",
            "--no-project",
        ])
        .await
        .assert_exit(0);
    world
        .tamper_and_rehash(
            r#"INSERT INTO daybook.rejected_event VALUES
                 (3, 12, 'bad_payload', 'odd', E'{"a": 1,\n\n  "a": "\\u0000 \\ud83d\\ude00 ☂", "b": 1e400}'),
                 (3, -4, 'bad_payload', 'odd "too"', '[]')"#,
        )
        .await;
    world
}

/// A world to import into.
async fn empty_world() -> World {
    World::new().await
}

/// Every table to the byte: of the runs, those that posted.
async fn tables(world: &World) -> Vec<String> {
    let mut tables = Vec::new();
    let of_entries = "WHERE run_id IN (SELECT run_id FROM daybook.entry)";
    for (table, which) in [
        ("ledger", ""),
        ("run_start", of_entries),
        ("run_end", of_entries),
        ("entry", ""),
        ("interaction_delta", ""),
        ("rejected_event", ""),
    ] {
        let rows = format!(
            "SELECT string_agg(t::text, E'\n' ORDER BY t::text) FROM daybook.{table} t {which}"
        );
        tables.push(world.value(&rows).await);
    }
    tables
}

async fn assert_empty(world: &World, ledger: &str) {
    assert_eq!(
        world.value("SELECT l::text FROM daybook.ledger l").await,
        ledger
    );
    for table in ["entry", "interaction_delta", "rejected_event"] {
        assert_eq!(
            world
                .value(&format!("SELECT count(*) FROM daybook.{table}"))
                .await,
            "0",
            "{table}"
        );
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).expect("read the export")
}

#[tokio::test]
async fn a_copy_is_exact_and_is_a_ledger_like_any_other() {
    let (world, copy) = (exporting_world().await, empty_world().await);
    let folder = Folder::of(&world);
    let mut exports = Vec::new();
    for name in ["ledger.ndjson", "ledger.ndjson.gz", "ledger.ndjson.zst"] {
        let told = world
            .run(&["export", "--output", &folder.file(name), "--json"])
            .await
            .assert_exit(0);
        let told = &told.messages_of("exported")[0]["exported"];
        assert_eq!(
            (&told["entries"], &told["whole"], &told["rejected_events"]),
            (&json!(8), &json!(true), &json!(2))
        );
        exports.push(told["sha256"].clone());
    }
    assert!(exports.iter().all(|sha256| *sha256 == exports[0]));
    assert_eq!(
        folder.names(),
        ["ledger.ndjson", "ledger.ndjson.gz", "ledger.ndjson.zst"]
    );
    let plain = read(&folder.file("ledger.ndjson"));
    assert_eq!(world.run(&["export"]).await.assert_exit(0).stdout, plain);
    for (name, magic) in [
        ("ledger.ndjson.gz", &b"\x1f\x8b"[..]),
        ("ledger.ndjson.zst", b"\x28\xb5\x2f\xfd"),
    ] {
        let bytes = std::fs::read(folder.file(name)).unwrap();
        assert!(
            bytes.starts_with(magic) && bytes.len() < plain.len(),
            "{name}"
        );
        let another = empty_world().await;
        another
            .run(&["import", &folder.file(name)])
            .await
            .assert_exit(0);
        assert_eq!(tables(&another).await, tables(&world).await, "{name}");
        another.end().await;
    }

    let told = copy
        .run(&["import", &folder.file("ledger.ndjson")])
        .await
        .assert_exit(0);
    told.tells(&[
        "8 entries",
        "2 rejected events imported",
        "`daybook project`",
    ]);
    assert_eq!(tables(&copy).await, tables(&world).await);
    copy.assert_sound().await;
    assert_eq!(copy.run(&["export"]).await.assert_exit(0).stdout, plain);
    // Once more, it is there already.
    let told = copy
        .run(&["import", &folder.file("ledger.ndjson.gz")])
        .await
        .assert_exit(0);
    told.tells(&["already has the entries up to 8: nothing was imported"]);

    for world in [&world, &copy] {
        world.run(&["project"]).await.assert_exit(0);
    }
    copy.assert_documents(&world.projections().await).await;
    copy.run(&["verify", "--ledger", "--projections"])
        .await
        .assert_exit(0);
    // It goes on where the other ends, and an older export is then there already as well.
    copy.run(&["reverse", "7", "--reason", "x"])
        .await
        .assert_exit(0)
        .tells(&["entry 9 (reversal)"]);
    copy.run(&["import", &folder.file("ledger.ndjson")])
        .await
        .assert_exit(0)
        .tells(&["already"]);
    assert_eq!(copy.entries().await, 9);
    // A ledger that has diverged is not a copy any more.
    world
        .run(&["reverse", "6", "--reason", "x", "--no-project"])
        .await
        .assert_exit(0);
    world
        .run(&["export", "-o", &folder.file("ledger.ndjson")])
        .await
        .assert_exit(0);
    let refused = copy
        .run(&["import", &folder.file("ledger.ndjson")])
        .await
        .assert_exit(1);
    refused.says(&["has 9 entries already", "a separate database"]);
    world.end().await;
    copy.end().await;
}

#[tokio::test]
async fn the_format_is_as_it_is_documented() {
    let world = exporting_world().await;
    let export = world.run(&["export"]).await.assert_exit(0).stdout;
    let lines: Vec<Value> = export
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let [header, .., end] = &lines[..] else {
        panic!("no lines")
    };
    let text = include_str!("../../docs/exchange.md");
    let documented = |object: &Value, of: &str| {
        for key in object.as_object().expect("an object").keys() {
            assert!(
                text.contains(&format!("`{key}`")),
                "{of}: {key} is not in docs/exchange.md"
            );
        }
    };
    documented(header, "header");
    documented(end, "last line");
    assert_eq!(
        (
            &header["entries"],
            &header["first_entry"],
            &header["last_entry"]
        ),
        (&json!(8), &json!(1), &json!(8))
    );
    let mut order = Vec::new();
    for line in &lines[1..] {
        let (kind, content) = line.as_object().unwrap().iter().next().expect("one key");
        documented(line, "line");
        documented(content, kind);
        order.push(kind.as_str());
    }
    order.dedup();
    assert_eq!(order[..4], ["run", "entry", "delta", "entry"]);
    assert_eq!(order[order.len() - 2..], ["delta", "end"]);
    let posted_at = lines
        .iter()
        .find_map(|line| line["entry"]["posted_at"].as_str())
        .expect("an entry");
    assert_eq!(
        (posted_at.len(), &posted_at[19..20]),
        ("2020-02-16T00:00:00.000000Z".len(), ".")
    );
    // A day of it is not a copy.
    let day = world
        .run(&["export", "--day", LAST_DAY])
        .await
        .assert_exit(0)
        .stdout;
    let header: Value = serde_json::from_str(day.lines().next().expect("a header")).expect("JSON");
    assert_eq!(
        (&header["whole"], &header["entries"], &header["from"]),
        (&json!(false), &json!(1), &json!(LAST_DAY))
    );
    assert_eq!(
        day.lines()
            .filter(|line| line.starts_with("{\"run\""))
            .count(),
        1
    );
    let from_the_second = world
        .run(&["export", "--from", "2020-02-13", "--to", LAST_DAY])
        .await
        .assert_exit(0)
        .stdout;
    assert_eq!(
        from_the_second
            .lines()
            .filter(|line| line.starts_with("{\"entry\""))
            .count(),
        3
    );
    let folder = Folder::of(&world);
    let (file, copy) = (folder.file("day.ndjson"), empty_world().await);
    std::fs::write(&file, day).unwrap();
    let refused = copy.run(&["import", &file]).await.assert_exit(1);
    refused.says(&[
        "it contains only some days of ledger",
        "export without --day, --from and --to",
    ]);
    world.end().await;
    copy.end().await;
}

/// The export with one of its lines changed.
fn changed(
    export: &str,
    starts_with: &str,
    nth: usize,
    change: impl Fn(&str) -> String,
) -> Vec<u8> {
    let mut seen = 0;
    let mut lines = Vec::new();
    for line in export.lines() {
        let is_it = line.starts_with(starts_with);
        seen += usize::from(is_it);
        lines.push(if is_it && seen == nth {
            change(line)
        } else {
            line.to_owned() + "\n"
        });
    }
    assert!(seen >= nth, "there are fewer lines {starts_with}");
    let bytes = lines.concat().into_bytes();
    assert_ne!(bytes, export.as_bytes(), "nothing was changed");
    bytes
}

fn replaced<'a>(from: &'a str, to: &'a str) -> impl Fn(&str) -> String + 'a {
    move |line| line.replacen(from, to, 1) + "\n"
}

/// A header with another hash.
fn other_hash(key: &str) -> impl Fn(&str) -> String + '_ {
    move |line| {
        let parsed: Value = serde_json::from_str(line).expect("JSON");
        line.replace(
            parsed["entry"][key].as_str().expect("a hash"),
            &"0".repeat(64),
        ) + "\n"
    }
}

/// An export in every way that it must not be, and what is then said.
fn damages(export: &str) -> Vec<(Vec<u8>, &'static str)> {
    let (entry, delta) = ("{\"entry\"", "{\"delta\"");
    let twice = |line: &str| format!("{line}\n{line}\n");
    let none = |_: &str| String::new();
    vec![
        // Not whole.
        (
            export[..export.len() - 1].into(),
            "is cut off: the file is incomplete",
        ),
        (export[..export.len() / 2].into(), "the file is incomplete"),
        (
            changed(export, "{\"end\"", 1, none),
            "without its last line: it is incomplete",
        ),
        (
            format!("{export}{{}}\n").into(),
            "it continues after its last line",
        ),
        (changed(export, delta, 3, none), "rows, but its header says"),
        (
            changed(export, entry, 8, none),
            "a row of entry 7 is out of order",
        ),
        (
            changed(export, "{\"rejected\"", 1, none),
            "entry 3: its rejected events give the rejected_hash",
        ),
        (
            changed(export, "{\"run\"", 1, none),
            "which is not in the file",
        ),
        // Out of order.
        (
            changed(export, entry, 2, twice),
            "entry 2 follows entry 2: entries have no gaps",
        ),
        (changed(export, delta, 2, twice), "is out of order"),
        (
            changed(export, "{\"rejected\"", 1, twice),
            "rejected event -4 of entry 3 is out of order",
        ),
        (changed(export, "{\"run\"", 1, twice), "comes twice"),
        (
            changed(export, "{\"daybook_export\"", 1, |line| {
                format!(
                    "{line}\n{}",
                    export.lines().nth(9).unwrap().to_owned() + "\n"
                )
            }),
            "before the first entry",
        ),
        // Changed.
        (
            changed(export, entry, 4, replaced("\"correction\"", "\"apply\"")),
            "entry 4: its header gives the entry_hash",
        ),
        (
            changed(export, entry, 5, other_hash("previous_hash")),
            "entry 5 does not carry the hash of entry 4",
        ),
        (
            changed(export, entry, 5, other_hash("entry_hash")),
            "entry 5: its header gives the entry_hash",
        ),
        (
            changed(export, entry, 5, other_hash("content_hash")),
            "entry 5: its header gives the entry_hash",
        ),
        (
            changed(
                export,
                entry,
                1,
                replaced("\"content_hash\":\"", "\"content_hash\":\"x"),
            ),
            "is not a hash: 64 hexadecimal digits in lower case at column",
        ),
        (
            changed(export, delta, 1, replaced("\"count\":1", "\"count\":2")),
            "entry 1: its rows give the content_hash",
        ),
        (
            changed(
                export,
                delta,
                1,
                replaced("\"count_balance\":1", "\"count_balance\":3"),
            ),
            "entry 1: its rows give",
        ),
        (
            changed(export, entry, 5, other_hash("rejected_hash")),
            "entry 5: its header gives the entry_hash",
        ),
        (
            changed(export, "{\"rejected\"", 2, replaced("odd", "even")),
            "entry 3: its rejected events give the rejected_hash",
        ),
        (
            changed(
                export,
                "{\"run\"",
                1,
                replaced("\"started_by\":\"", "\"started_by\":\"not "),
            ),
            "its bytes give the SHA-256",
        ),
        (
            changed(export, "{\"run\"", 1, replaced("\"done\"", "\"well done\"")),
            "its bytes give the SHA-256",
        ),
        (
            changed(
                export,
                "{\"end\"",
                1,
                replaced("\"entries\":8", "\"entries\":9"),
            ),
            "it has 8 entries, but its last line says 9",
        ),
        (
            changed(
                export,
                "{\"daybook_export\"",
                1,
                replaced("\"UTC\"", "\"Europe/Vienna\""),
            ),
            "it belongs to another ledger",
        ),
        // Not to be read.
        (
            changed(
                export,
                "{\"daybook_export\"",
                1,
                replaced("\"daybook_export\":2", "\"daybook_export\":3"),
            ),
            "its format version is 3, but this program reads 2",
        ),
        (
            changed(
                export,
                "{\"daybook_export\"",
                1,
                replaced("\"schema_version\":", "\"schema_version\":9"),
            ),
            "exported from a ledger with schema version 93",
        ),
        (
            changed(
                export,
                "{\"daybook_export\"",
                1,
                replaced("\"UTC\"", "\"Mars\""),
            ),
            "its time zone is unknown to this program: 'Mars'",
        ),
        (
            changed(
                export,
                "{\"daybook_export\"",
                1,
                replaced("\"whole\"", "\"hole\""),
            ),
            "its header cannot be read: unknown field `hole`",
        ),
        (
            changed(export, delta, 1, replaced("\"total\":", "\"total\":x")),
            "expected value at column",
        ),
        (
            changed(
                export,
                delta,
                1,
                replaced("\"total\":", "\"total\":99999999999999999999"),
            ),
            "expected i64",
        ),
        (
            changed(export, delta, 1, replaced("{\"delta\"", "{\"theta\"")),
            "unknown variant `theta`",
        ),
        (
            changed(
                export,
                delta,
                1,
                replaced("\"first_day\":\"", "\"first_day\":\"99999-"),
            ),
            "line ",
        ),
        (
            changed(export, entry, 1, |line| format!("{}\n", &line[..60])),
            "EOF while parsing",
        ),
        (
            export.replacen("odd", "\u{0}", 1).into(),
            "control character",
        ),
        ([export.as_bytes(), b"\xff\n"].concat(), "valid UTF-8"),
        (
            b"{\"daybook_export\": {}}\n".to_vec(),
            "does not start like an export",
        ),
    ]
}

#[tokio::test]
async fn a_file_that_is_not_as_it_was_written_is_refused_and_nothing_is_left() {
    let (world, copy) = (exporting_world().await, empty_world().await);
    let folder = Folder::of(&world);
    let ledger = copy.value("SELECT l::text FROM daybook.ledger l").await;
    let file = folder.file("ledger.ndjson");
    world
        .run(&["export", "--output", &file])
        .await
        .assert_exit(0);
    let export = read(&file);
    let mut wrong = Vec::new();
    for (bytes, says) in damages(&export) {
        std::fs::write(&file, bytes).unwrap();
        let ended = copy.run(&["import", &file]).await;
        if ended.code != Some(1)
            || !ended.stderr.contains(says)
            || !ended.stderr.contains("othing was imported")
        {
            wrong.push(format!(
                "'{says}' is missing in ({:?}) {}",
                ended.code, ended.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_empty(&copy, &ledger).await;

    // What is compressed, cut off or with a bit that is another.
    for name in ["ledger.ndjson.gz", "ledger.ndjson.zst"] {
        let file = folder.file(name);
        world
            .run(&["export", "--output", &file])
            .await
            .assert_exit(0);
        let bytes = std::fs::read(&file).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        let mut end = bytes.clone();
        end[bytes.len() - 1] ^= 1;
        for broken in [
            &bytes[..bytes.len() / 3],
            &bytes[..bytes.len() - 1],
            &bytes[..6],
            &flipped,
            &end,
        ] {
            std::fs::write(&file, broken).unwrap();
            copy.run(&["import", &file])
                .await
                .assert_exit(1)
                .says(&["othing was imported"]);
        }
    }
    copy.run(&["import", &folder.file("none")])
        .await
        .assert_exit(2)
        .says(&["check the name and the permissions of the file"]);
    copy.run(&["import", &folder.file("")])
        .await
        .assert_exit(2)
        .says(&["cannot be read"]);
    assert_empty(&copy, &ledger).await;
    // After all that, the whole one is taken.
    std::fs::write(&file, &export).unwrap();
    copy.run(&["import", &file]).await.assert_exit(0);
    assert_eq!(tables(&copy).await, tables(&world).await);
    world.end().await;
    copy.end().await;
}

#[tokio::test]
async fn a_process_that_ends_while_it_exports_or_imports_leaves_all_or_nothing() {
    let world = exporting_world().await;
    let folder = Folder::of(&world);
    let file = folder.file("ledger.ndjson.zst");
    let of = |command: &str| {
        failpoints()
            .into_iter()
            .filter(|name| name.starts_with(command))
            .collect::<Vec<_>>()
    };
    for name in of("export.") {
        let ended = world
            .run_with(
                &[("DAYBOOK_FAILPOINT", &name)],
                &["export", "--output", &file],
            )
            .await;
        assert_eq!(ended.code, None, "{name} was not reached");
        assert!(
            !Path::new(&file).exists(),
            "{name} left a file that looks whole"
        );
    }
    world
        .run(&["export", "--output", &file])
        .await
        .assert_exit(0);
    let expected = tables(&world).await;
    for name in of("copy.") {
        let copy = empty_world().await;
        let ledger = copy.value("SELECT l::text FROM daybook.ledger l").await;
        let ended = copy
            .run_with(&[("DAYBOOK_FAILPOINT", &name)], &["import", &file])
            .await;
        assert_eq!(ended.code, None, "{name} was not reached");
        if name == "copy.committed" {
            copy.run_when_unlocked(&["import", &file])
                .await
                .assert_exit(0)
                .tells(&["already"]);
        } else {
            assert_empty(&copy, &ledger).await;
            copy.run_when_unlocked(&["import", &file])
                .await
                .assert_exit(0);
        }
        assert_eq!(tables(&copy).await, expected, "{name}");
        copy.end().await;
    }
    world.end().await;
}

#[tokio::test]
async fn who_may_not_and_what_cannot_be_written_is_told() {
    let (world, copy) = (World::with_history().await, empty_world().await);
    let folder = Folder::of(&world);
    let file = folder.file("ledger.ndjson");
    let refused = world
        .run(&["export", "--output", &folder.file("none/ledger.ndjson")])
        .await
        .assert_exit(1);
    refused.says(&["the file was not written", "check that the folder exists"]);
    world
        .run(&["export", "--output", folder.0.to_str().unwrap()])
        .await
        .assert_exit(1)
        .says(&["is a directory"]);
    assert_eq!(folder.names(), [""; 0]);
    world
        .run(&["export", "--output", &file])
        .await
        .assert_exit(0);

    // The job's role may read and insert: it exports, and cannot make a ledger another one.
    let login = Login::new(&copy).await;
    copy.execute(&format!("GRANT daybook_job TO {}", login.role))
        .await;
    let as_login = [("DAYBOOK_LEDGER_URL", login.ledger_url.as_str())];
    let refused = copy
        .run_with(&as_login, &["import", &file])
        .await
        .assert_exit(1);
    refused.says(&[
        "only the owner of the ledger",
        "the login that ran `daybook migrate`",
    ]);
    copy.run_with(&as_login, &["export"]).await.assert_exit(0);
    // A trigger of somebody else's skips the row of the ledger, without an error.
    copy.execute(
        "CREATE FUNCTION public.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER a_skip BEFORE UPDATE ON daybook.ledger FOR EACH ROW EXECUTE FUNCTION public.skip()",
    )
    .await;
    copy.run(&["import", &file]).await.assert_exit(1).says(&[
        "0 rows of daybook.ledger were updated instead of one; nothing was imported",
        "`daybook verify --ledger` reports what is wrong",
    ]);
    copy.run(&["verify", "--ledger"])
        .await
        .assert_exit(4)
        .tells(&["a_skip"]);
    copy.execute("DROP TRIGGER a_skip ON daybook.ledger; DROP FUNCTION public.skip()")
        .await;
    // A ledger without entries has a copy as well.
    copy.run(&["export", "--output", &folder.file("empty.ndjson")])
        .await
        .assert_exit(0);
    let another = empty_world().await;
    another
        .run(&["import", &folder.file("empty.ndjson")])
        .await
        .assert_exit(0)
        .tells(&["0 entries"]);
    assert_eq!(tables(&another).await, tables(&copy).await);
    another
        .run(&["import", &file])
        .await
        .assert_exit(0)
        .tells(&[&format!("{ENTRIES} entries")]);
    another.end().await;
    // Another ledger's.
    copy.run(&["apply", "--day", LAST_DAY, "--no-project"])
        .await
        .assert_exit(0);
    copy.run(&["import", &file])
        .await
        .assert_exit(1)
        .says(&["has 1 entry already", "a separate database"]);
    login.end(copy).await;
    world.end().await;
}
