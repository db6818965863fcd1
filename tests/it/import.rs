//! What the old system left, brought in: in each of its forms the same ledger as applying the events; duplicates and
//! conflicting documents, averages without lists, refusals, and that repeating it posts nothing.

mod compare;
pub mod documents;
mod files;
mod index;

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::event::example;
use crate::support::{Event, Login, RECORDSET, World};
use documents::{Folder, HARVESTED, as_hit, average, real_documents, recordset, search};

const DAY: &str = "2020-02-16";
const OTHER: &str = "91c5eec8-0cdc-4be2-9a99-a15ae5ec3edc";

/// The ledger's rows, with the hash over them.
async fn content(world: &World) -> String {
    world
        .value(
            "SELECT string_agg(concat_ws(' ', day, delta_rows, terms_complete, encode(content_hash, 'hex')), E'\\n' ORDER BY day)
             FROM daybook.entry",
        )
        .await
}

/// What applying the events of the real day gives.
async fn applied() -> String {
    let world = World::new().await;
    world.load_real_day().await;
    world
        .run(&["apply", "--day", DAY, "--no-project"])
        .await
        .assert_exit(0);
    let applied = content(&world).await;
    world.end().await;
    applied
}

impl World {
    async fn import(&self, arguments: &[&str]) -> crate::support::program::Ended {
        self.run(&[&["import", "--no-project"], arguments].concat())
            .await
    }

    /// Imports into a ledger without a source, which must then hold the real day.
    async fn import_the_real_day(arguments: &[&str], applied: &str) {
        let world = Self::new().await;
        let ended = world.import(arguments).await.assert_exit(0);
        ended.tells(&[
            "entry 1 (import)",
            "9,991 interactions, 383,011,472 records",
        ]);
        assert_eq!(content(&world).await, applied, "{arguments:?}");
        world.assert_sound().await;
        world.import(arguments).await.assert_exit(0).tells(&[
            "already imported as entry 1",
            "1 already imported, 0 refused",
        ]);
        assert_eq!(world.entries().await, 1);
        world.end().await;
    }
}

#[tokio::test]
async fn the_real_day_is_the_same_from_each_kind_of_file_as_from_its_events() {
    let applied = applied().await;
    let folder = Folder::new();
    let mut documents = real_documents();
    // a: as the collector logged them.
    let lines = folder.lines(
        "telem-output-structures-2020-02-17-00-00-00.log",
        &documents,
    );
    World::import_the_real_day(&[&lines], &applied).await;
    // a: a dump of the index, in another order, packed, with what else the index held.
    documents.sort_by_key(|document| {
        document["recordset_id"]
            .as_str()
            .unwrap()
            .chars()
            .rev()
            .collect::<String>()
    });
    let mut dump: Vec<Value> = documents.iter().map(as_hit).collect();
    dump.push(json!({ "_index": "stats", "_type": "api", "_id": "x", "_source": { "recordset_id": RECORDSET, "harvest_date": "2020-02-17T00:00:01.5", "records_count": 7 } }));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for hit in &dump {
        writeln!(packed, "{hit}").unwrap();
    }
    let dump = folder.write("dump.ndjson.gz", packed.finish().unwrap());
    World::import_the_real_day(&[&dump], &applied).await;
    // b: the backup.
    let backup = folder.0.join("stats_backup.zip");
    write_backup(&backup, &documents);
    World::import_the_real_day(&[backup.to_str().unwrap()], &applied).await;
    // c: the aggregation object, packed and not.
    let object = folder.write("stats-dict-object.json", example("expected.json.gz"));
    World::import_the_real_day(&["--day", DAY, &object], &applied).await;
    let published =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("example-objects/real-day/expected.json.gz");
    World::import_the_real_day(&["--day", DAY, published.to_str().unwrap()], &applied).await;
}

fn write_backup(path: &Path, documents: &[Value]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    for (n, document) in documents.iter().enumerate() {
        let (recordset, date) = (
            document["recordset_id"].as_str().unwrap(),
            document["harvest_date"].as_str().unwrap(),
        );
        zip.start_file(
            format!("stats_backup/search/{recordset}/{date}.json.gz"),
            options,
        )
        .unwrap();
        // Plain in spite of the name, as the old backup wrote them; a few are what they are called.
        if n % 100 == 0 {
            let mut packed = flate2::write::GzEncoder::new(&mut zip, flate2::Compression::fast());
            write!(packed, "{document}").unwrap();
            packed.finish().unwrap();
        } else {
            write!(zip, "{document}").unwrap();
        }
    }
    zip.start_file(
        format!("stats_backup/api/{RECORDSET}/2020-02-17T00:00:00.json.gz"),
        options,
    )
    .unwrap();
    write!(zip, "{{}}").unwrap();
    zip.finish().unwrap();
}

#[tokio::test]
async fn duplicate_documents_count_once_and_conflicting_ones_refuse_their_day_alone() {
    let folder = Folder::new();
    let conflicting = folder.lines(
        "old.log",
        &[
            search(RECORDSET, HARVESTED, 2, 30),
            search(OTHER, HARVESTED, 1, 7),
            search(RECORDSET, HARVESTED, 3, 20),
            search(OTHER, HARVESTED, 1, 7),
            search(OTHER, "2020-02-16", 1, 4),
        ],
    );
    let world = World::new().await;
    let ended = world.import(&[&conflicting]).await.assert_exit(1);
    let ended = ended.tells(&[
        &format!("2020-02-16  recordset {RECORDSET} has conflicting documents:\n  {conflicting}:1: 2 interactions, 30 records\n  {conflicting}:3: 3 interactions, 20 records\n"),
        "2020-02-15  entry 1 (import), 1 cell: 1 document → 1 interaction, 4 records",
        "5 documents: 1 duplicate, 1 conflicting recordset",
        "2 days, 2020-02-15 to 2020-02-16: 1 posted, 0 already imported, 1 refused",
    ]);
    ended.says(&[
        "2020-02-16 is refused: its documents conflict on 1 recordset",
        "--on-conflict first, last or max",
        "1 of 2 days refused: 2020-02-16",
    ]);
    let figures = "SELECT concat_ws(' ', exit_code, outcome, figures->'days_refused', figures->'duplicates') FROM daybook.run";
    assert_eq!(
        world.value(figures).await,
        "1 partly refused [\"2020-02-16\"] 1"
    );
    world.end().await;
    for (rule, sums) in [("first", "3 37"), ("last", "4 27"), ("max", "3 37")] {
        let world = World::new().await;
        world
            .import(&[&conflicting, "--on-conflict", rule])
            .await
            .assert_exit(0);
        let of_day = format!(
            "SELECT concat_ws(' ', sum(count), sum(total)) FROM daybook.interaction_delta WHERE day = '{DAY}'"
        );
        assert_eq!(world.value(&of_day).await, sums, "{rule}");
        world.assert_sound().await;
        world.end().await;
    }
}

#[tokio::test]
async fn averages_without_lists_are_taken_and_marked() {
    let folder = Folder::new();
    let old = folder.lines(
        "march.log",
        &[
            average(RECORDSET, "2017-03-05", 4, 90),
            search(OTHER, "2017-03-06", 1, 7),
        ],
    );
    let world = World::new().await;
    world.import(&[&old]).await.assert_exit(0).tells(&[
        "4 interactions, 90 records; terms incomplete in 1 document",
        "1 without all terms",
    ]);
    let marked = "SELECT string_agg(concat_ws(' ', day, terms_complete), ', ' ORDER BY day) FROM daybook.entry";
    assert_eq!(world.value(marked).await, "2017-03-04 f, 2017-03-05 t");
    world.assert_sound().await;
    world.run(&["project"]).await.assert_exit(0);
    assert_eq!(world.documents("").await.len(), 2);
    world.run(&["verify"]).await.assert_exit(0);
    // What replaces them is taken as well.
    let better = folder.lines("better.log", &[search(RECORDSET, "2017-03-05", 5, 91)]);
    world
        .import(&[&better, "--replace"])
        .await
        .assert_exit(0)
        .tells(&["entry 3 (import), 1 cell"]);
    let net = "SELECT concat_ws(' ', sum(count), sum(total)) FROM daybook.interaction_delta WHERE day = '2017-03-04'";
    assert_eq!(world.value(net).await, "5 91");
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_day_that_ledger_or_source_has_is_refused_with_both_figures_unless_it_is_to_be_replaced()
{
    let folder = Folder::new();
    let old = folder.lines("old.log", &[search(RECORDSET, HARVESTED, 2, 30)]);
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, DAY, RECORDSET, 5),
            Event::search(2, DAY, RECORDSET, 6),
        ])
        .await;
    // The source has it.
    let refused = world.import(&[&old]).await.assert_exit(1);
    refused.says(&[
        "2020-02-16 is refused: the source has 2 events of it, and the documents have 2 interactions, 30 records",
        "--replace posts the difference",
    ]);
    assert_eq!(world.entries().await, 0);
    // Both have it.
    world
        .run(&["apply", "--day", DAY, "--no-project"])
        .await
        .assert_exit(0);
    let refused = world.import(&[&old]).await.assert_exit(1);
    refused.says(&["the ledger has 2 interactions, 11 records of it (apply 1), the source has 2 events of it, and the documents have 2 interactions, 30 records"]);
    world.import(&[&old, "--replace", "--dry-run"]).await.assert_exit(0).tells(&[
        "2020-02-16  1 recordset differs:",
        &format!("recordset {RECORDSET}: 2 interactions, 30 records in the documents; 2 interactions, 11 records in the ledger"),
        "would post: import, 1 cell: 1 document → 2 interactions, 30 records; adds +0 interactions, +19 records to the ledger",
        "1 would be posted",
    ]);
    assert_eq!(world.entries().await, 1);
    world
        .import(&[&old, "--replace"])
        .await
        .assert_exit(0)
        .tells(&["entry 2 (import), 1 cell"]);
    let difference = "SELECT concat_ws(' ', count, total, queries) FROM daybook.interaction_delta WHERE entry_id = 2";
    assert_eq!(world.value(difference).await, "0 19 {\"\": 19}");
    world
        .import(&[&old, "--replace"])
        .await
        .assert_exit(0)
        .tells(&["already imported as entry 2"]);
    // Imported with other content.
    let other = folder.lines("other.log", &[search(RECORDSET, HARVESTED, 2, 31)]);
    let refused = world.import(&[&other]).await.assert_exit(1);
    refused.says(&[
        "the ledger has 2 interactions, 30 records of it (import 2)",
        "the documents have 2 interactions, 31 records",
    ]);
    world
        .run(&["apply", "--day", DAY, "--replace", "--no-project"])
        .await
        .assert_exit(0);
    assert_eq!(
        world
            .value("SELECT sum(total) FROM daybook.interaction_delta")
            .await,
        "11"
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_ledger_whose_source_is_gone_takes_the_old_documents_all_the_same() {
    let folder = Folder::new();
    let old = folder.lines("old.log", &[search(RECORDSET, HARVESTED, 2, 30)]);
    let world = World::new().await;
    world.execute("DROP TABLE stats, queries").await;
    let login = Login::new(&world).await;
    world
        .execute(&format!("GRANT daybook_job TO {}", login.role))
        .await;
    let ended = world
        .run_with(
            &[("DAYBOOK_LEDGER_URL", &login.ledger_url)],
            &["import", &old],
        )
        .await
        .assert_exit(0);
    ended.tells(&[
        "entry 1 (import)",
        "the source was not checked: the source (database ",
    ]);
    login.end(world).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_named_by_its_place_and_refuses_its_day() {
    let folder = Folder::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut document = search(RECORDSET, HARVESTED, 1, 5);
        change(&mut document);
        document.to_string()
    };
    let lines = [
        search(OTHER, "2020-02-16", 1, 4).to_string(),
        "not JSON".to_owned(),
        with(&|document| document["recordset_id"] = json!("nobody")),
        with(&|document| document["harvest_date"] = json!("2020-02-30")),
        with(&|document| document["records"]["search"]["total"] = json!(-1)),
        with(&|document| document["records"]["search"]["total"] = json!(1.5)),
        with(&|document| {
            document["records"]["search"]["queries"][0]["term"] = json!("q".repeat(1025));
        }),
        with(&|document| document["records"]["search"]["queries"][0]["term"] = json!("\0")),
        with(&|document| document["records"]["liked"] = json!({})),
        with(&|_| {}).replace("\"count\":1,", "\"count\":1,\"count\":2,"),
        with(&|_| {}).replace("\"search\":{", "\"search\":{\"count\":1},\"search\":{"),
        format!(
            "{{\"harvest_date\":\"{HARVESTED}\",\"recordset_id\":\"{RECORDSET}\",\"records\":{deep}}}"
        ),
        format!("{{\"recordset_id\":{deep}}}"),
        "[[]]".to_owned(),
    ];
    let old = folder.write("old.log", lines.join("\n"));
    let world = World::new().await;
    let ended = world.import(&[&old]).await.assert_exit(1);
    let at = |line: usize, message: &str| format!("{old}:{line}  cannot be read: {message}");
    let expected = [
        at(
            2,
            "it is not JSON (an unexpected character): it starts 'not JSON'",
        ),
        at(3, "recordset id 'nobody' is not a UUID"),
        at(4, "harvest_date: '2020-02-30' is not a date"),
        at(5, "records.search: total: -1 is not a non-negative integer"),
        at(
            6,
            "records.search: total: 1.5 is not a non-negative integer",
        ),
        at(7, "records.search: queries: a term of 1025 bytes"),
        at(8, "records.search: queries: a term holds the character NUL"),
        at(9, "records.liked is not a stat type"),
        at(10, "records.search: duplicate field `count`"),
        at(11, "records: the key 'search' occurs twice"),
        at(12, "records: invalid type"),
        at(13, "it has no harvest_date"),
        format!("{old}:14:2  cannot be read: it cannot be read: an array instead of an object"),
    ];
    let ended = ended.tells(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    let ended = ended.tells(&["2020-02-15  entry 1 (import)", "13 unreadable"]);
    ended.says(&[
        "2020-02-16 is refused: 9 documents of it cannot be read",
        "1 of 2 days refused: 2020-02-16",
    ]);
    assert_eq!(
        world
            .value("SELECT string_agg(day::text, ' ') FROM daybook.entry")
            .await,
        "2020-02-15"
    );
    world.end().await;
}

#[tokio::test]
async fn a_dry_run_gives_the_whole_verdict_and_posts_nothing() {
    let folder = Folder::new();
    let object = folder.write("object.json", format!("{{\"{RECORDSET}\":{{\"records\":{{\"view\":{{\"count\":1,\"total\":1,\"items\":{{\"a\":1}},\"queries\":{{}},\"geocodes\":{{\"null\":1}}}}}}}}}}"));
    let world = World::new().await;
    world
        .import(&["--day", "2020-02-10", &object])
        .await
        .assert_exit(0);
    let documents = [
        search(RECORDSET, HARVESTED, 1, 5),
        search(RECORDSET, HARVESTED, 1, 5),
        search(RECORDSET, "2020-02-14", 1, 6),
        search(RECORDSET, "2020-02-14", 2, 6),
        average(RECORDSET, "2020-02-15", 2, 7),
        search(RECORDSET, "2020-02-11", 2, 7),
    ];
    let old = folder.lines("old.log", &documents);
    let ended = world
        .import(&[&old, "--dry-run", "--json"])
        .await
        .assert_exit(1);
    let summary = &ended.messages_of("import_summary")[0];
    let expected = json!({
        "message_type": "import_summary", "dry_run": true, "documents": 6, "days": 4, "first_day": "2020-02-10", "last_day": DAY,
        "duplicates": 1, "conflicting": 1, "unreadable": 0, "terms_incomplete": 1, "of_other_kinds": 0, "left_out": 0,
        "days_missing": [{ "from": "2020-02-11", "to": "2020-02-12" }, { "from": "2020-02-15", "to": "2020-02-15" }],
        "days_posted": 2, "days_already_imported": 0, "days_equal": 0, "days_refused": ["2020-02-10", "2020-02-13"],
        "count": 3, "total": 12, "source_not_looked_at": null,
    });
    assert_eq!(summary, &expected);
    let conflict = &ended.messages_of("import_conflict")[0];
    assert_eq!(
        (&conflict["day"], &conflict["versions"][1]["count"]),
        (&json!("2020-02-13"), &json!(2))
    );
    assert_eq!(world.entries().await, 1);
    let some = world
        .import(&[&old, "--dry-run", "--from", "2020-02-14", "--json"])
        .await
        .assert_exit(0);
    let summary = &some.messages_of("import_summary")[0];
    assert_eq!(
        (&summary["days"], &summary["left_out"]),
        (&json!(2), &json!(3))
    );
    world.end().await;
}

#[tokio::test]
async fn ended_in_the_middle_and_run_again_it_has_each_day_once() {
    let folder = Folder::new();
    let days: Vec<Value> = (10..18)
        .map(|day| search(RECORDSET, &format!("2020-02-{day}"), 1, day))
        .collect();
    let old = folder.lines("old.log", &days);
    let undisturbed = World::new().await;
    undisturbed.run(&["import", &old]).await.assert_exit(0);
    for failpoint in [
        "post.rows_written:3",
        "post.before_commit:5",
        "post.committed:2",
        "run.ending",
    ] {
        let world = World::new().await;
        let ended = world
            .run_with(&[("DAYBOOK_FAILPOINT", failpoint)], &["import", &old])
            .await;
        assert_eq!(ended.code, None, "{failpoint}");
        world
            .run_when_unlocked(&["import", &old])
            .await
            .assert_exit(0);
        assert_eq!(
            content(&world).await,
            content(&undisturbed).await,
            "{failpoint}"
        );
        assert_eq!(
            world.documents("-totals").await,
            undisturbed.documents("-totals").await,
            "{failpoint}"
        );
        world.assert_sound().await;
        world.end().await;
    }
    undisturbed.end().await;
}

#[tokio::test]
async fn a_day_that_takes_more_memory_than_there_may_be_is_the_same_entry() {
    let folder = Folder::new();
    let document = |n: i64| {
        let terms = |prefix: &str| -> Vec<String> {
            (0..80)
                .map(|term| format!("{prefix}{n}-{term}-{}", "x".repeat(900)))
                .collect()
        };
        let queries: Vec<Value> = terms("q")
            .iter()
            .map(|term| json!({ "term": term, "count": 1 }))
            .collect();
        let geocodes: Vec<Value> = terms("g")
            .iter()
            .map(|city| json!({ "geo": { "city": city }, "count": 1 }))
            .collect();
        let cell = json!({ "count": 80, "total": 80, "items": [], "queries": queries, "geocodes": geocodes });
        json!({ "recordset_id": recordset(n), "harvest_date": HARVESTED, "records": { "search": cell } })
    };
    let large = folder.lines("large.log", &(0..40).map(document).collect::<Vec<_>>());
    let (whole, spilled) = (World::new().await, World::new().await.with_little_memory());
    whole.import(&[&large]).await.assert_exit(0);
    let ended = spilled.import(&["-vv", &large]).await.assert_exit(0);
    ended.says(&["the memory limit is reached: wrote a temporary file"]);
    assert_eq!(content(&spilled).await, content(&whole).await);
    // And what it is replaced by is compared in batches.
    let small = folder.lines("small.log", &[search(&recordset(39), HARVESTED, 1, 3)]);
    spilled.import(&["--replace", &small]).await.assert_exit(0);
    assert_eq!(
        spilled
            .value("SELECT concat_ws(' ', sum(count), sum(total)) FROM daybook.interaction_delta")
            .await,
        "1 3"
    );
    spilled.assert_sound().await;
    whole.end().await;
    spilled.end().await;
}

#[tokio::test]
async fn a_backup_whose_members_are_damaged_or_misnamed_says_which() {
    let folder = Folder::new();
    let path = folder.0.join("stats_backup.zip");
    let document = search(RECORDSET, HARVESTED, 1, 5);
    let good = search(OTHER, "2020-02-20", 1, 5);
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, text) in [
        (
            format!("stats_backup/search/{RECORDSET}/2020-02-18.json.gz"),
            document.to_string().into_bytes(),
        ),
        (
            format!("stats_backup/search/{RECORDSET}/2020-02-19.json.gz"),
            b"\x1f\x8b cut short".to_vec(),
        ),
        (
            format!("stats_backup/search/{RECORDSET}/2020-02-22.json.gz"),
            b"{".to_vec(),
        ),
        (
            format!("stats_backup/search/{OTHER}/2020-02-20.json.gz"),
            good.to_string().into_bytes(),
        ),
        (
            format!("stats_backup/digest/{OTHER}/2020-02-20.json.gz"),
            b"{}".to_vec(),
        ),
    ] {
        zip.start_file(name, options).unwrap();
        zip.write_all(&text).unwrap();
    }
    zip.finish().unwrap();
    let path = path.to_str().unwrap();
    let world = World::new().await;
    let ended = world.import(&[path]).await.assert_exit(1);
    let member = |name: &str, message: &str| {
        format!("{path}:stats_backup/search/{RECORDSET}/{name}.json.gz  cannot be read: {message}")
    };
    let misnamed = format!(
        "its name does not match its content: recordset {RECORDSET}, harvest_date {HARVESTED}"
    );
    let ended = ended.tells(&[
        &member("2020-02-18", &misnamed),
        &member("2020-02-19", "it cannot be unpacked: "),
        &member("2020-02-22", "it cannot be read: EOF"),
        "2020-02-19  entry 1 (import)",
        "1 of other kinds skipped",
    ]);
    ended.says(&["3 of 4 days refused: 2020-02-16, 2020-02-18, 2020-02-21"]);
    let none = folder.write("none.zip", "no zip at all");
    world
        .import(&[&none])
        .await
        .assert_exit(1)
        .tells(&[&format!("{none}:1  cannot be read: it is not JSON")]);
    let cut = folder.write("cut.zip", "PK\x03\x04 cut short");
    world
        .import(&[&cut])
        .await
        .assert_exit(1)
        .says(&[&format!("reading {cut} failed")]);
    world
        .import(&["/nowhere/old.log"])
        .await
        .assert_exit(2)
        .says(&["/nowhere/old.log cannot be read"]);
    world.end().await;
}

#[tokio::test]
async fn the_example_of_an_old_document_becomes_the_example_row() {
    const RECORD: &str = "0000012b-9bb8-42f4-ad3b-c958cb22ae45";
    let example = |file: &str| -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("example-objects")
            .join(file);
        let text = std::fs::read_to_string(path).unwrap();
        serde_json::from_str(
            &text
                .replace("{record_id}", RECORD)
                .replace("{recordset_id}", RECORDSET),
        )
        .unwrap()
    };
    let folder = Folder::new();
    let old = folder.lines("old.log", &[example("old-daily-document.json")]);
    let world = World::new().await;
    world.import(&[&old]).await.assert_exit(0);
    assert_eq!(
        world
            .json("SELECT row_to_json(d) FROM daybook.interaction_delta d")
            .await,
        example("delta-row.json")
    );
    world.end().await;
}
