//! Files in whatever form they were left: what they are is told by what they hold.

use std::io::Write as _;

use serde_json::{Value, json};

use super::documents::{Folder, HARVESTED, as_hit, lines_of, recordset, search};
use super::{DAY, OTHER};
use crate::support::{RECORDSET, World};

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    for (name, bytes) in members {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn answer(documents: &[Value], total: &Value) -> Value {
    let hits: Vec<Value> = documents.iter().map(as_hit).collect();
    json!({
        "took": 3, "timed_out": false, "_shards": { "total": 5, "successful": 5, "failed": 0 },
        "hits": { "total": total, "max_score": 1.0, "hits": hits },
    })
}

/// Row 28 of the cases, and what else a tool may write.
#[tokio::test]
async fn a_file_is_read_in_whatever_form_it_was_saved() {
    let documents = [
        search(RECORDSET, HARVESTED, 2, 30),
        search(OTHER, HARVESTED, 1, 7),
    ];
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    let lines = lines_of(documents.iter().map(Value::to_string));
    let one_by_one: String = documents.iter().map(pretty).collect();
    let array = json!(documents);
    let forms: Vec<(&str, Vec<u8>)> = vec![
        ("one a line", lines.clone().into_bytes()),
        ("a byte order mark", format!("\u{feff}{lines}").into_bytes()),
        ("pretty-printed", one_by_one.into_bytes()),
        ("a pretty-printed array", pretty(&array).into_bytes()),
        ("an array on one line", array.to_string().into_bytes()),
        (
            "a search answer",
            answer(&documents, &json!(2)).to_string().into_bytes(),
        ),
        (
            "a pretty-printed search answer",
            pretty(&answer(
                &documents,
                &json!({ "value": 2, "relation": "eq" }),
            ))
            .into_bytes(),
        ),
        ("gzip under another name", gzipped(lines.as_bytes())),
        (
            "zstd under another name",
            zstd::encode_all(lines.as_bytes(), 1).unwrap(),
        ),
        (
            "a zip under another name",
            zipped(&[
                ("data/", b""),
                ("data/dump", lines.as_bytes()),
                ("README", b"read me"),
            ]),
        ),
        (
            "a packed file in a zip",
            zipped(&[("dump.json.gz", &gzipped(lines.as_bytes()))]),
        ),
    ];
    let folder = Folder::new();
    let world = World::new().await;
    for (form, bytes) in forms {
        let file = folder.write("saved", bytes);
        let ended = world.import(&["--dry-run", &file]).await;
        assert_eq!(
            ended.code,
            Some(0),
            "{form}: {} {}",
            ended.stdout,
            ended.stderr
        );
        ended.tells(&["would post: import, 2 cells: 2 documents → 3 interactions, 37 records"]);
    }
    // Half an answer would be half a day.
    let some = folder.write("some.json", answer(&documents, &json!(1615)).to_string());
    world
        .import(&["--dry-run", &some])
        .await
        .assert_exit(1)
        .tells(&["some.json:1  cannot be read: the search response holds 2 of 1615 documents"]);
    let wide: Vec<u8> = format!("\u{feff}{lines}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let wide = folder.write("wide.json", wide);
    world.import(&[&wide]).await.assert_exit(1).says(&[
        "reading ",
        "wide.json failed: it is in UTF-16",
        "iconv -f UTF-16 -t UTF-8",
    ]);
    world.end().await;
}

/// Row 26 of the cases.
#[tokio::test]
async fn documents_without_counts_are_imported_with_zeros_and_marked() {
    let empty = json!({ "search": {}, "download": {}, "mapping": {}, "seen": {}, "view": {} });
    let mut records = empty.clone();
    records["search"]["total"] = json!(5000);
    let old = json!({ "harvest_date": "2015-03-02", "recordset_id": RECORDSET, "records": records, "mediarecords": empty });
    let folder = Folder::new();
    let file = folder.lines("old.log", &[old]);
    let world = World::new().await;
    world.import(&[&file]).await.assert_exit(0).tells(&[
        "2015-03-01  entry 1 (import), 1 cell: 1 document → 0 interactions, 5,000 records; terms incomplete in 1 document",
    ]);
    let row = "SELECT concat_ws(' ', day, terms_complete, count, total, queries)
               FROM daybook.entry JOIN daybook.interaction_delta USING (entry_id, day)";
    assert_eq!(world.value(row).await, "2015-03-01 f 0 5000 {}");
    world.assert_sound().await;
    world
        .run(&["compare", &file])
        .await
        .assert_exit(0)
        .tells(&["2015-03-01  the same"]);
    world.end().await;
}

/// Row 27 of the cases.
#[tokio::test]
async fn a_packed_aggregation_object_wants_its_day() {
    let cell = json!({ "count": 1, "total": 5, "items": {}, "queries": { "q": 5 }, "geocodes": { "null": 5 } });
    let object = json!({ RECORDSET: { "records": { "search": cell } }, OTHER: { "records": { "search": cell } } });
    let text = serde_json::to_string_pretty(&object).unwrap();
    let folder = Folder::new();
    let files = [
        folder.write(
            "object.zip",
            zipped(&[("stats-dict-object.json", text.as_bytes())]),
        ),
        folder.write("object.json.gz", gzipped(text.as_bytes())),
        folder.write(
            "object.json.zst",
            zstd::encode_all(text.as_bytes(), 1).unwrap(),
        ),
        folder.write("object.json", format!("\u{feff}{text}")),
    ];
    let world = World::new().await;
    for file in &files {
        world
            .import(&[file])
            .await
            .assert_exit(1)
            .tells(&["an aggregation object of a whole day is imported with --day"]);
        world
            .import(&["--dry-run", "--day", DAY, file])
            .await
            .assert_exit(0)
            .tells(&["would post: import, 2 cells: 2 documents → 2 interactions, 10 records"]);
    }
    // The wrong way round.
    let document = folder.lines("document.log", &[search(RECORDSET, HARVESTED, 1, 5)]);
    let ended = world
        .import(&["--day", DAY, &document])
        .await
        .assert_exit(1);
    ended.tells(&[
        "it is a daily document, not an aggregation object",
        "import it without --day",
    ]);
    let broken = folder.write("broken.json", &text[..text.len() - 10]);
    world
        .import(&["--day", DAY, &broken])
        .await
        .assert_exit(1)
        .says(&["2020-02-16 is refused"]);
    assert_eq!(world.entries().await, 0);
    world.end().await;
}

#[tokio::test]
async fn the_same_defect_is_told_a_hundred_times_and_then_counted() {
    let defective = |n: i64| {
        let mut document = search(&recordset(n), HARVESTED, 1, 5);
        document["records"]["search"]["total"] = json!(-n - 1);
        document
    };
    let folder = Folder::new();
    let many = folder.lines("many.log", &(0..130).map(defective).collect::<Vec<_>>());
    let world = World::new().await;
    let ended = world.import(&[&many]).await.assert_exit(1);
    let told = ended
        .stdout
        .lines()
        .filter(|line| line.contains("cannot be read: records.search"))
        .count();
    assert_eq!(told, 100, "{}", ended.stdout);
    ended.tells(&[
        "30 more documents cannot be read for similar reasons: records.search: total: -1",
        "130 unreadable",
    ]);
    let ended = world.import(&["--json", &many]).await.assert_exit(1);
    assert_eq!(ended.messages_of("import_unreadable").len(), 130);
    // Text that is not JSON at all is reported once.
    let table = folder.write("table.csv", "id,date\n".repeat(5000));
    let ended = world.import(&[&table]).await.assert_exit(1);
    ended.tells(&[
        "table.csv:1  cannot be read: it is not JSON (an unexpected character; skipped up to line 5000)",
        "1 unreadable",
    ]);
    // So are recordsets with conflicting documents.
    let twice = |n: i64| {
        [
            search(&recordset(n), HARVESTED, 1, 5),
            search(&recordset(n), HARVESTED, 1, 6),
        ]
    };
    let conflicting = folder.lines("twice.log", &(0..120).flat_map(twice).collect::<Vec<_>>());
    let ended = world.import(&[&conflicting]).await.assert_exit(1);
    assert_eq!(
        ended.stdout.matches(" has conflicting documents:").count(),
        100,
        "{}",
        ended.stdout
    );
    ended.tells(&["2020-02-16  20 more recordsets have conflicting documents"]);
    world.end().await;
}

#[tokio::test]
async fn a_file_in_which_nothing_is_found_is_no_success() {
    let folder = Folder::new();
    let world = World::new().await;
    for (name, bytes) in [
        ("empty.log", Vec::new()),
        ("list.json", b"[]".to_vec()),
        (
            "other.zip",
            zipped(&[
                ("picture.png", b"\x89PNG"),
                ("stats/api/x/2020-02-17.json.gz", b"{}"),
            ]),
        ),
        ("none.json", answer(&[], &json!(0)).to_string().into_bytes()),
    ] {
        let file = folder.write(name, bytes);
        let ended = world.import(&[&file]).await.assert_exit(1);
        ended.says(&[
            "nothing to import was found in",
            name,
            "expected daily documents",
        ]);
        world
            .run(&["compare", &file])
            .await
            .assert_exit(1)
            .says(&["nothing to import was found in"]);
    }
    let other_days = folder.lines("days.log", &[search(RECORDSET, HARVESTED, 1, 5)]);
    world
        .import(&["--from", "2020-03-01", &other_days])
        .await
        .assert_exit(1)
        .says(&["1 of days outside the requested range"]);
    world.end().await;
}
