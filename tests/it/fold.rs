//! `fold` counts events in files, `apply --deltas` posts what it has counted: the same entry, to the byte, as the one that
//! `apply` posts from the source's table. What does not belong together, or is damaged, is refused and named.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::counting::odd::log_odd_events;
use crate::counting::world_of_json;
use crate::support::program::{Ended, LITTLE_MEMORY, command};
use crate::support::{Event, RECORDSET, World};

const DAY: &str = "2020-02-16";

/// Comes before [`RECORDSET`] in the order of the ledger.
const OTHER: &str = "00000000-0000-4000-8000-000000000001";

/// Comes after it.
#[cfg(feature = "parquet")]
const SECOND: &str = "0e162e0a-bf3e-4710-9357-44258ca12abb";

/// A folder that is gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("daybook-fold-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).expect("create a folder");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0
            .join(name)
            .to_str()
            .expect("a path in UTF-8")
            .to_owned()
    }

    /// Writes lines to a file, compressed if its name says so.
    fn write(&self, name: &str, lines: &[String]) -> String {
        let path = self.path(name);
        let text = lines.join("\n") + "\n";
        let file = std::fs::File::create(&path).unwrap();
        match Path::new(name).extension().and_then(|end| end.to_str()) {
            Some("gz") => GzEncoder::new(file, flate2::Compression::fast())
                .write_all(text.as_bytes())
                .unwrap(),
            Some("zst") => {
                let mut encoder = zstd::Encoder::new(file, 1).unwrap();
                encoder.write_all(text.as_bytes()).unwrap();
                encoder.finish().unwrap();
            }
            _ => std::fs::write(&path, text).unwrap(),
        }
        path
    }

    /// The file names in one of its folders.
    fn names(&self, name: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(name)).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn manifest(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.path(&format!("{name}/manifest.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The lines of a file of deltas.
    fn lines(&self, name: &str) -> String {
        let packed = std::fs::read(self.path(name)).unwrap();
        String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap()
    }
}

impl Folder {
    /// Counts two searches and an event that cannot be counted.
    async fn small_set(&self, name: &str, first_id: i64, options: &[&str]) -> String {
        let line = |id, stat_type: &str, recordset: &str| {
            format!(
                r#"{{"id":{id},"date":"{DAY} 12:00:00","type":"{stat_type}","record_type":"records","payload":{{"{recordset}":5}}}}"#
            )
        };
        let lines = [
            line(first_id, "search", RECORDSET),
            line(first_id + 1, "search", OTHER),
            line(first_id + 2, "none", RECORDSET),
        ];
        let (file, set) = (
            self.write(&format!("{name}.ndjson"), &lines),
            self.path(name),
        );
        let day = if options.contains(&"--day") {
            &[][..]
        } else {
            &["--day", DAY]
        };
        fold(&[&[file.as_str(), "--output", &set], day, options].concat())
            .await
            .assert_exit(0);
        set
    }

    /// Copies a set, changing the text of one of its files and, to go with it, the manifest.
    fn changed(
        &self,
        set: &str,
        name: &str,
        file: &str,
        change: impl Fn(&str) -> String,
    ) -> String {
        let changed = self.path(name);
        std::fs::create_dir(&changed).unwrap();
        for file in self.names(set) {
            std::fs::copy(
                self.path(&format!("{set}/{file}")),
                format!("{changed}/{file}"),
            )
            .unwrap();
        }
        let path = format!("{changed}/{file}");
        if file == "manifest.json" {
            let text = std::fs::read_to_string(&path).unwrap();
            let changed = change(&text);
            assert_ne!(changed, text);
            std::fs::write(&path, changed).unwrap();
            return self.path(name);
        }
        let before = self.lines(&format!("{set}/{file}"));
        let text = change(&before);
        assert_ne!(text, before);
        self.replace(name, file, &zstd::encode_all(text.as_bytes(), 1).unwrap());
        changed
    }

    /// Copies a set, compressing its delta rows so that reading them takes a lot of memory.
    fn packed_with_a_large_window(&self, set: &str, name: &str) -> String {
        let file = "deltas.ndjson.zst";
        let changed = self.changed(set, name, file, |text| format!("{text}\n"));
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        let lines = self.lines(&format!("{set}/{file}"));
        std::io::Write::write_all(&mut encoder, lines.as_bytes()).unwrap();
        self.replace(name, file, &encoder.finish().unwrap());
        changed
    }

    /// Replaces a file of a set, and what the manifest says about it.
    fn replace(&self, name: &str, file: &str, packed: &[u8]) {
        let changed = self.path(name);
        std::fs::write(format!("{changed}/{file}"), packed).unwrap();
        let mut manifest = self.manifest(name);
        let digest = &mut manifest[if file.starts_with("deltas") {
            "deltas"
        } else {
            "rejects"
        }];
        digest["bytes"] = packed.len().into();
        digest["sha256"] = format!("{:x}", Sha256::digest(packed)).into();
        std::fs::write(format!("{changed}/manifest.json"), manifest.to_string()).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `fold` without any setting.
async fn fold(arguments: &[&str]) -> Ended {
    let arguments = [&["fold"], arguments].concat();
    command(&[], &arguments).output().await.unwrap().into()
}

/// The events of a world's source, as its database writes rows as JSON, or with JSON as text.
async fn events_of(world: &World, as_text: bool) -> Vec<String> {
    let columns = if as_text {
        "s.id, s.date, s.type, s.record_type, s.payload::text, s.ip_geocode::text"
    } else {
        "s.*"
    };
    let all = world
        .value(&format!(
            "SELECT string_agg(replace(row_to_json(r)::text, E'\\n', ' '), E'\\n' ORDER BY r.id)
             FROM (SELECT {columns}, q.query_hash FROM stats s LEFT JOIN queries q ON q.id = s.query_id) r"
        ))
        .await;
    all.lines().map(str::to_owned).collect()
}

/// A ledger without any source.
async fn without_source() -> World {
    let world = World::new().await;
    world.execute("DROP TABLE stats, queries").await;
    world
}

/// What two ledgers have in common if they count the same.
async fn entry(world: &World) -> String {
    let sql = "SELECT concat_ws(' ', kind, day, source_events, source_counted, source_ignored, source_rejected, delta_rows,
                    encode(content_hash, 'hex'), (SELECT string_agg(concat_ws(' ', source_id, reason, message), E'\n' ORDER BY source_id)
                                                  FROM daybook.rejected_event r WHERE r.entry_id = e.entry_id))
               FROM daybook.entry e ORDER BY entry_id DESC LIMIT 1";
    world.value(sql).await
}

const REJECTED_HASH: &str = "SELECT encode(rejected_hash, 'hex') FROM daybook.entry";

/// Applies the day from the table.
async fn apply(world: &World) -> Ended {
    world.run(&["apply", "--day", DAY, "--no-project"]).await
}

/// Posts what was counted.
async fn post(world: &World, sets: &[&str]) -> Ended {
    let arguments = [
        &["apply", "--day", DAY, "--no-project", "--json", "--deltas"],
        sets,
    ]
    .concat();
    world.run(&arguments).await
}

/// Counts events in shards of a file each, and returns the directories.
async fn fold_in_shards(folder: &Folder, events: &[String], shards: usize) -> Vec<String> {
    let mut directories = Vec::new();
    for shard in 0..shards {
        let own: Vec<String> = events.iter().skip(shard).step_by(shards).cloned().collect();
        let end = ["ndjson", "ndjson.gz", "ndjson.zst"][shard % 3];
        let file = folder.write(&format!("shard-{shard}.{end}"), &own);
        let directory = folder.path(&format!("part-{shard}"));
        fold(&["--day", DAY, &file, "--output", &directory])
            .await
            .assert_exit(0);
        directories.push(directory);
    }
    directories
}

#[tokio::test]
async fn the_published_day_counted_in_files_is_the_entry_of_the_table() {
    let (table, folder) = (World::new().await, Folder::new());
    table.load_real_day().await;
    apply(&table).await.assert_exit(0);
    let events = events_of(&table, false).await;

    // In one process.
    let file = folder.write("events.ndjson", &events);
    let whole = folder.path("whole");
    let counted = fold(&["--day", DAY, &file, "--output", &whole, "--json"])
        .await
        .assert_exit(0);
    let message = &counted.messages_of("folded")[0];
    assert_eq!(
        (&message["events"], &message["cells"]),
        (&23.into(), &3082.into())
    );
    assert_eq!(
        folder.names("whole"),
        ["deltas.ndjson.zst", "manifest.json", "rejected.ndjson.zst"]
    );
    let one = without_source().await;
    let posted = post(&one, &[&whole]).await.assert_exit(0);
    assert_eq!(posted.messages_of("day")[0]["kind"], "apply");
    assert_eq!(entry(&one).await, entry(&table).await);

    // In several, merged in several passes, whose figures add up: the same bytes.
    let parts = fold_in_shards(&folder, &events, 9).await;
    let merged = folder.path("merged");
    let mut arguments = vec!["--merge", "--day", DAY, "--output", &merged];
    arguments.extend(parts.iter().map(String::as_str));
    fold(&arguments).await.assert_exit(0);
    for file in ["deltas.ndjson.zst", "rejected.ndjson.zst"] {
        let of = |set| std::fs::read(folder.path(&format!("{set}/{file}"))).unwrap();
        assert!(of("merged") == of("whole"), "{file}");
    }
    let (mut of_parts, of_whole) = (folder.manifest("merged"), folder.manifest("whole"));
    assert_eq!(of_parts["parts"], 9);
    of_parts["parts"] = 1.into();
    assert_eq!(of_parts, of_whole);

    // What was merged and its parts are the same events.
    let mut both = vec![merged.as_str()];
    both.extend(parts.iter().map(String::as_str));
    let several = without_source().await;
    post(&several, &both)
        .await
        .assert_exit(1)
        .says(&["merged has the events of all the other directories"]);

    // Posted without merging first.
    post(
        &several,
        &parts.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await
    .assert_exit(0);
    assert_eq!(entry(&several).await, entry(&table).await);
    let counted_by = "SELECT reason FROM daybook.entry";
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        several.value(counted_by).await,
        format!("counted by daybook fold {version} in 9 parts")
    );
    // The documents are those of the table, too.
    for world in [&table, &several] {
        world.run(&["project"]).await.assert_exit(0);
    }
    several.assert_sources(&table.projections().await).await;
    several
        .run(&["verify", "--ledger", "--projections"])
        .await
        .assert_exit(0);
    for world in [table, one, several] {
        world.end().await;
    }
}

#[tokio::test]
async fn a_cell_that_is_divided_over_rows_is_the_same_from_files_and_from_the_table() {
    let (table, files) = (World::with_the_real_day().await, without_source().await);
    let (table, files) = (table.dividing(), files.dividing());
    let folder = Folder::new();
    apply(&table).await.assert_exit(0);
    let parts = fold_in_shards(&folder, &events_of(&table, false).await, 3).await;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    post(&files, &parts).await.assert_exit(0);
    let rows = "SELECT count(*) > 3082 AND max(part) > 10 FROM daybook.interaction_delta";
    assert_eq!(table.value(rows).await, "true");
    assert_eq!(entry(&files).await, entry(&table).await);
    for world in [table, files] {
        world.end().await;
    }
}

/// The directories of one range, or of each.
fn ranges(parts: &[String], numbers: std::ops::Range<usize>) -> Vec<String> {
    let of_part = |part: &String| {
        let numbers = numbers.clone();
        let part = part.clone();
        numbers.map(move |number| format!("{part}/range-{number}"))
    };
    parts.iter().flat_map(of_part).collect()
}

#[tokio::test]
async fn ranges_of_recordsets_are_merged_independently_and_posted_as_one_day() {
    const RANGES: usize = 3;
    let (table, folder) = (World::with_the_real_day().await, Folder::new());
    table
        .log(&[Event {
            stat_type: Some("none".to_owned()),
            ..Event::search(900_000_000, DAY, RECORDSET, 1)
        }])
        .await;
    apply(&table).await.assert_exit(0);
    let events = events_of(&table, false).await;
    let mut parts = Vec::new();
    for (number, events) in events.chunks(9).enumerate() {
        let file = folder.write(&format!("{number}.ndjson"), events);
        let part = folder.path(&format!("part-{number}"));
        fold(&["--day", DAY, &file, "--ranges", "3", "--output", &part])
            .await
            .assert_exit(0)
            .tells(&[" in 3 ranges"]);
        parts.push(part);
    }
    let merge = async |sets: &[String], name: &str| {
        let output = folder.path(name);
        let mut arguments = vec!["--merge", "--output", &output];
        arguments.extend(sets.iter().map(String::as_str));
        fold(&arguments).await
    };
    let mut merged = Vec::new();
    for number in 0..RANGES {
        let name = format!("merged-{number}");
        merge(&ranges(&parts, number..number + 1), &name)
            .await
            .assert_exit(0);
        let manifest = folder.manifest(&name);
        assert_eq!(
            manifest["range"],
            serde_json::json!({"number": number, "of": 3})
        );
        assert_eq!(manifest["events"], 24);
        merged.push(folder.path(&name));
    }
    // Each has some of the cells, and all of them are those of a day that was counted at once.
    let rows = |name: &str| folder.lines(&format!("{name}/deltas.ndjson.zst"));
    let in_turn: String = (0..RANGES).map(|n| rows(&format!("merged-{n}"))).collect();
    assert!((0..RANGES).all(|n| !rows(&format!("merged-{n}")).is_empty()));
    let file = folder.write("events.ndjson", &events);
    let whole = folder.path("whole");
    fold(&["--day", DAY, &file, "--output", &whole])
        .await
        .assert_exit(0);
    assert_eq!(in_turn, rows("whole"));
    merge(&merged, "again").await.assert_exit(0);
    let mut again = folder.manifest("again");
    assert_eq!(again["parts"], 3);
    again["parts"] = 1.into();
    assert_eq!(again, folder.manifest("whole"));

    // What does not make up a day is refused.
    let ledger = without_source().await;
    for (sets, said) in [
        (&merged[1..2], "it has only range 1 of 3 of the recordsets"),
        (&merged[1..], "and range 0 is missing"),
        (&merged[..2], "and range 2 is missing"),
        (
            &[
                merged[0].clone(),
                merged[1].clone(),
                format!("{}/range-2", parts[0]),
            ][..],
            "range 2 of 3 was counted from other events than range 0",
        ),
        (
            &[merged[0].clone(), whole.clone()][..],
            "it has all of the recordsets, but",
        ),
        (
            &[&merged[..], &merged[..1]].concat()[..],
            "has the same events as",
        ),
        (
            &[&merged[..], &ranges(&parts, 0..1)[..]].concat()[..],
            "has the events of all the other directories",
        ),
    ] {
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        post(&ledger, &sets).await.assert_exit(1).says(&[said]);
    }
    let sets: Vec<&str> = merged.iter().map(String::as_str).collect();
    post(&ledger, &sets).await.assert_exit(0);
    assert_eq!(entry(&ledger).await, entry(&table).await);
    assert_eq!(
        ledger.value(REJECTED_HASH).await,
        table.value(REJECTED_HASH).await
    );
    let reason = ledger.value("SELECT reason FROM daybook.entry").await;
    assert!(reason.ends_with("in 3 parts"), "{reason}");
    for world in [table, ledger] {
        world.end().await;
    }
}

#[tokio::test]
async fn ranges_that_an_interrupted_run_has_left_are_replaced_and_others_kept() {
    let folder = Folder::new();
    folder.small_set("set", 1, &["--ranges", "4"]).await;
    let (events, set) = (folder.path("set.ndjson"), folder.path("set"));
    let fold_again = async |ranges: &str, output: &str| {
        fold(&[
            "--day", DAY, &events, "--ranges", ranges, "--output", output,
        ])
        .await
    };
    fold_again("4", &set)
        .await
        .assert_exit(2)
        .says(&["range-0 already holds deltas"]);
    fold_again("2", &set)
        .await
        .assert_exit(2)
        .says(&["set is not empty: it contains range-"]);
    // The first range is completed last.
    std::fs::remove_file(format!("{set}/range-0/manifest.json")).unwrap();
    fold_again("4", &set).await.assert_exit(0);
    assert_eq!(
        folder.names("set"),
        ["range-0", "range-1", "range-2", "range-3"]
    );
    for set in folder.names("set") {
        assert_eq!(folder.names(&format!("set/{set}")).len(), 3);
    }
    // Nothing remains of a run that failed.
    let cut = folder.write("cut.ndjson", &["{".to_owned()]);
    let failed = folder.path("failed");
    fold(&["--day", DAY, &cut, "--ranges", "2", "--output", &failed])
        .await
        .assert_exit(1);
    assert!(!Path::new(&failed).exists());
}

#[tokio::test]
async fn odd_events_are_counted_and_rejected_in_files_as_they_are_in_the_table() {
    let (table, folder) = (world_of_json().await, Folder::new());
    log_odd_events(&table).await;
    apply(&table).await.assert_exit(0);
    for (as_text, shards) in [(true, 1), (true, 3), (false, 1)] {
        let folder = Folder::new();
        let parts = fold_in_shards(&folder, &events_of(&table, as_text).await, shards).await;
        let ledger = without_source().await;
        post(
            &ledger,
            &parts.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await
        .assert_exit(0);
        let (found, expected) = (entry(&ledger).await, entry(&table).await);
        if as_text {
            assert_eq!(found, expected);
        } else {
            // As a JSON value, null is the same as NULL.
            let null = "payload is null, not an object: it starts 'null'";
            let expected = expected.replace(null, "payload is NULL, expected an object");
            assert_eq!(found, expected);
        }
        ledger.run(&["verify", "--ledger"]).await.assert_exit(0);
        ledger.end().await;
    }
    // The rows are kept whole: as JSON values they are the rows of the table.
    table
        .execute("DELETE FROM stats WHERE payload::text = 'null'")
        .await;
    let copy = World::new().await;
    copy.execute("DROP TABLE stats, queries").await;
    copy.create_source_of("timestamptz", "json").await;
    log_odd_events(&copy).await;
    copy.execute("DELETE FROM stats WHERE payload::text = 'null'")
        .await;
    apply(&copy).await.assert_exit(0);
    let file = folder.write("events.ndjson", &events_of(&copy, false).await);
    let whole = folder.path("whole");
    let skipped = fold(&["--day", DAY, &file, "--output", &whole])
        .await
        .assert_exit(0);
    skipped.tells(&["; skipped 2 events of other days"]);
    let ledger = without_source().await;
    post(&ledger, &[&whole]).await.assert_exit(0);
    assert_eq!(
        ledger.value(REJECTED_HASH).await,
        copy.value(REJECTED_HASH).await
    );
    for world in [table, copy, ledger] {
        world.end().await;
    }
}

/// Searches with many long geocodes: some 6 MB of terms, and events that cannot be counted.
async fn log_long_geocodes(world: &World) {
    world
        .execute(&format!(
            "INSERT INTO queries SELECT n, md5(n::text) FROM generate_series(0, 99) n;
             INSERT INTO stats (id, date, type, record_type, payload, ip_geocode, query_id)
               SELECT n, '{DAY} 12:00Z', CASE WHEN n % 1000 = 0 THEN 'none' ELSE 'search' END, 'records',
                      jsonb_build_object(lpad(to_hex(n % 500), 8, '0') || '-0000-4000-8000-000000000000', n),
                      jsonb_build_object('city', n || repeat('x', 900)), n % 100
               FROM generate_series(1, 3200) n"
        ))
        .await;
}

#[tokio::test]
async fn a_day_that_exceeds_the_memory_is_counted_in_temporary_files_to_the_same_entry() {
    let (table, folder) = (World::new().await, Folder::new());
    log_long_geocodes(&table).await;
    apply(&table).await.assert_exit(0);
    let file = folder.write("events.ndjson.zst", &events_of(&table, false).await);
    let (in_runs, whole) = (folder.path("runs"), folder.path("whole"));
    let little_memory = ["fold", "--day", DAY, &file, "--output", &in_runs, "-vv"];
    let ended = command(&[LITTLE_MEMORY], &little_memory).output().await;
    Ended::from(ended.unwrap())
        .assert_exit(0)
        .says(&["the memory limit is reached: wrote a temporary file"]);
    fold(&["--day", DAY, &file, "--output", &whole])
        .await
        .assert_exit(0);
    assert_eq!(folder.manifest("runs"), folder.manifest("whole"));
    assert_eq!(folder.names("runs"), folder.names("whole"));
    let ledger = without_source().await.with_little_memory();
    // Posting has the same limit.
    let posted = post(&ledger, &[&in_runs]).await.assert_exit(0);
    assert!(
        posted.messages_of("day")[0]["spilled_bytes"].as_u64() > Some(0),
        "{}",
        posted.stdout
    );
    assert_eq!(entry(&ledger).await, entry(&table).await);
    for world in [table, ledger] {
        world.end().await;
    }
}

#[tokio::test]
async fn a_day_counted_again_converges_whether_from_deltas_or_from_the_table() {
    let (world, folder) = (World::new().await, Folder::new());
    world.log_query(1, "q").await;
    let with_query = |event| Event {
        query_id: Some(1),
        ..event
    };
    let first = [1, 2].map(|id| with_query(Event::search(id, DAY, RECORDSET, 5)));
    world.log(&first).await;
    let fold_as = async |name: &str| {
        let file = folder.write(&format!("{name}.ndjson"), &events_of(&world, false).await);
        let set = folder.path(name);
        fold(&["--day", DAY, &file, "--output", &set])
            .await
            .assert_exit(0);
        set
    };
    let two = fold_as("two").await;
    post(&world, &[&two])
        .await
        .assert_exit(0)
        .tells(&["\"outcome\":\"posted\""]);
    // Again, from either.
    for again in [
        post(&world, &[&two]).await,
        apply(&world).await,
        apply(&world).await,
    ] {
        again.assert_exit(0).tells(&["already"]);
    }
    assert_eq!(world.entries().await, 1);

    // A late event is a correction, whoever notices it first.
    world
        .log(&[with_query(Event::search(3, DAY, RECORDSET, 7))])
        .await;
    let three = fold_as("three").await;
    post(&world, &[&three])
        .await
        .assert_exit(0)
        .tells(&["\"kind\":\"correction\""]);
    let reason = "SELECT reason FROM daybook.entry WHERE entry_id = 2";
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        world.value(reason).await,
        format!(
            "the day was last posted from 2 events, and the deltas count 3; counted by daybook fold {version} in 1 part"
        )
    );
    apply(&world)
        .await
        .assert_exit(0)
        .tells(&["already applied"]);
    // So is an event that was edited.
    world
        .execute(&format!(
            "UPDATE stats SET payload = jsonb_build_object('{RECORDSET}', 9000) WHERE id = 3"
        ))
        .await;
    apply(&world)
        .await
        .assert_exit(0)
        .tells(&["entry 3 (correction)"]);
    let edited = fold_as("edited").await;
    post(&world, &[&edited])
        .await
        .assert_exit(0)
        .tells(&["already_applied"]);

    // Fewer events are refused, also none at all.
    let none = folder.path("none");
    let empty = folder.write("none.ndjson", &[]);
    fold(&["--day", DAY, &empty, "--output", &none])
        .await
        .assert_exit(0);
    let new = without_source().await;
    post(&new, &[&none]).await.assert_exit(1).says(&[
        "the deltas count no events of 2020-02-16",
        "add --accept-decrease",
    ]);
    new.end().await;
    for (set, said) in [
        (
            &two,
            "the deltas count 2 events of 2020-02-16, but there were 3 events when entry 3 was posted",
        ),
        (
            &none,
            "the deltas count 0 events of 2020-02-16, but there were 3 events",
        ),
    ] {
        post(&world, &[set])
            .await
            .assert_exit(1)
            .says(&[said, "--deltas DIR --accept-decrease"]);
    }
    assert_eq!(world.entries().await, 3);
    world
        .run(&[
            "apply",
            "--day",
            DAY,
            "--no-project",
            "--accept-decrease",
            "--deltas",
            &two,
        ])
        .await
        .assert_exit(0)
        .tells(&["entry 4 (correction)"]);
    world.run(&["verify", "--ledger"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn what_does_not_belong_together_or_is_damaged_is_refused_by_name() {
    let (world, folder) = (without_source().await, Folder::new());
    let good = folder.small_set("good", 1, &[]).await;
    let other_day = folder
        .small_set("other-day", 4, &["--day", "2020-02-17"])
        .await;
    let other_zone = folder
        .small_set("other-zone", 4, &["--time-zone", "America/New_York"])
        .await;
    let swapped = |text: &str| {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines.into_iter().rev().collect()
    };
    let twice = |text: &str| {
        text.split_inclusive('\n')
            .flat_map(|line| [line, line])
            .collect()
    };
    let (deltas, manifest) = ("deltas.ndjson.zst", "manifest.json");
    let rules = folder.changed("good", "rules", manifest, |text| {
        text.replace("\"rule_version\": 1", "\"rule_version\": 2")
    });
    let version = folder.changed("good", "version", manifest, |text| {
        text.replace("\"daybook_deltas\": 1", "\"daybook_deltas\": 9")
    });
    let figures = folder.changed("good", "figures", manifest, |text| {
        text.replace("\"counted\": 2", "\"counted\": 3")
    });
    let sums = folder.changed("good", "sums", manifest, |text| {
        text.replace("\"interactions\": 2", "\"interactions\": 3")
    });
    let parts = folder.changed("good", "parts", manifest, |text| {
        text.replace("\"parts\": 1", "\"parts\": 18446744073709551615")
    });
    let program = folder.changed("good", "program", manifest, |text| {
        text.replace("\"tool_version\": \"", "\"tool_version\": \"\u{202e}")
    });
    let endless = folder.changed("good", "endless", manifest, |text| {
        text.to_owned() + &" ".repeat(1 << 16)
    });
    let unsorted = folder.changed("good", "unsorted", deltas, swapped);
    let duplicates = folder.changed("good", "duplicates", deltas, twice);
    let fewer = folder.changed("good", "fewer", deltas, |text| {
        text.split_inclusive('\n').take(1).collect()
    });
    let control = folder.changed("good", "control", deltas, |text| {
        text.replace("\"total\":5", "\"total\":6")
    });
    let cut_line = folder.changed("good", "cut-line", deltas, |text| {
        text[..text.len() - 3].to_owned()
    });
    let no_row = folder.changed("good", "no-row", deltas, |text| {
        text.replace("recordset_id", "recordset")
    });
    let no_manifest = folder.changed("good", "no-manifest", deltas, swapped);
    std::fs::remove_file(format!("{no_manifest}/{manifest}")).unwrap();
    let damage = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let set = folder.changed("good", name, deltas, swapped);
        std::fs::copy(format!("{good}/{manifest}"), format!("{set}/{manifest}")).unwrap();
        let mut bytes = std::fs::read(format!("{good}/{deltas}")).unwrap();
        change(&mut bytes);
        std::fs::write(format!("{set}/{deltas}"), bytes).unwrap();
        set
    };
    let truncated = damage("truncated", &|bytes| bytes.truncate(bytes.len() - 1));
    let flipped = damage("flipped", &|bytes| bytes[9] ^= 1);
    let window = folder.packed_with_a_large_window("good", "window");

    // Both commands refuse it, and name it.
    for (set, said) in [
        (&other_day, "it is of 2020-02-17, not of 2020-02-16"),
        (
            &rules,
            "version 2 of the counting rules, but this program has version 1",
        ),
        (&version, "its format version is 9"),
        (
            &figures,
            "3 events, but 3 counted, 0 ignored and 1 rejected",
        ),
        (&sums, "add up to 2 interactions and 10 records, but"),
        (&unsorted, "line 2 is out of order"),
        (
            &duplicates,
            "line 2 repeats recordset 00000000-0000-4000-8000-000000000001, records, search",
        ),
        (&fewer, "it has 1 lines, but the manifest says 2"),
        (
            &control,
            "its control sums do not hold: count 1, total 6, items 0, queries 5, geocodes 5",
        ),
        (&cut_line, "is cut off"),
        (&no_row, "line 1 does not start as daybook writes it"),
        (&no_manifest, "it has no manifest.json"),
        (&truncated, "bytes, but the manifest says"),
        (&flipped, "its SHA-256 is"),
        (&parts, "it says that it has 18446744073709551615 parts"),
        (&program, "its tool_version is not a version of daybook"),
        (&endless, "it is too large"),
        (&window, "requires too much memory"),
        (&folder.path("nowhere"), "cannot be read: No such file"),
    ] {
        let name = Path::new(set).file_name().unwrap().to_str().unwrap();
        let merged = folder.path("merged");
        let merging = fold(&["--merge", "--day", DAY, set, "--output", &merged]).await;
        assert!(matches!(merging.code, Some(1 | 2)), "{name}: {merging:?}");
        assert!(merging.stderr.contains(said), "{name}: {}", merging.stderr);
        assert!(!Path::new(&merged).exists(), "{name}");
        let posting = post(&world, &[set]).await;
        assert!(matches!(posting.code, Some(1 | 2)), "{name}: {posting:?}");
        assert!(posting.stderr.contains(said), "{name}: {}", posting.stderr);
        if set != &sums {
            assert!(posting.stderr.contains(name), "{name}: {}", posting.stderr);
        }
    }
    // Sets that do not go together.
    let rejected_again = folder.changed("good", "rejected-again", manifest, |text| {
        text.replace("\"fingerprint\": \"3:3:6:", "\"fingerprint\": \"3:9:12:")
    });
    for (set, said) in [
        (&other_day, "it is of 2020-02-17, but"),
        (
            &other_zone,
            "its day is one of the time zone America/New_York, but that of",
        ),
        (&good, "has the same events as"),
        (
            &rejected_again,
            "is about an event that another file also has",
        ),
    ] {
        let merged = folder.path("merged");
        fold(&["--merge", &good, set, "--output", &merged])
            .await
            .assert_exit(1)
            .says(&[said, set]);
        let said = said.replace(
            "is about an event that another file also has",
            "event 3 of 2020-02-16 was rejected twice",
        );
        post(&world, &[&good, set])
            .await
            .assert_exit(1)
            .says(&[&said]);
        // A dry run finds it, too.
        let deltas = ["--deltas", &good, set];
        world
            .run(&[&["apply", "--dry-run", "--day", DAY], &deltas[..]].concat())
            .await
            .assert_exit(1)
            .says(&[&said]);
    }
    post(&world, &[&other_zone]).await.assert_exit(1).says(&[
        "other-zone is refused: its day is one of the time zone America/New_York, not of UTC",
        "--time-zone UTC",
    ]);
    assert_eq!(world.entries().await, 0);
    post(&world, &[&good]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn an_output_directory_must_be_empty_and_holds_nothing_after_a_failure() {
    let folder = Folder::new();
    let set = folder.small_set("set", 1, &[]).await;
    let file = folder.path("set.ndjson");
    let day = ["--day", DAY];
    fold(&[&day[..], &[&file, "--output", &set]].concat())
        .await
        .assert_exit(2)
        .says(&["already holds deltas"]);
    let full = folder.path("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(format!("{full}/notes"), "").unwrap();
    fold(&[&day[..], &[&file, "--output", &full]].concat())
        .await
        .assert_exit(2)
        .says(&["is not empty: it contains notes"]);
    assert_eq!(folder.names("full"), ["notes"]);

    // An interrupted run's files are replaced.
    let left = folder.path("left");
    std::fs::create_dir(&left).unwrap();
    for name in [
        "deltas.ndjson.zst",
        "run-0.unfinished",
        "manifest.json.7.unfinished",
    ] {
        std::fs::write(format!("{left}/{name}"), "half").unwrap();
    }
    fold(&[&day[..], &[&file, "--output", &left]].concat())
        .await
        .assert_exit(0);
    assert_eq!(folder.names("left"), folder.names("set"));
    assert_eq!(folder.manifest("left"), folder.manifest("set"));

    // Files that are not events.
    let cut = folder.write("cut.ndjson.gz", &[std::fs::read_to_string(&file).unwrap()]);
    let packed = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &packed[..packed.len() / 2]).unwrap();
    let zip = folder.path("zip");
    std::fs::write(&zip, b"PK\x03\x04").unwrap();
    let array = folder.write("array.json", &["[".to_owned()]);
    let new = folder.path("new/deeper");
    for (file, code, said) in [
        (
            &folder.path("missing"),
            2,
            "missing cannot be read: No such file",
        ),
        (&cut, 1, "cut.ndjson.gz, line 1, cannot be read"),
        (&zip, 2, "zip is a zip archive"),
        (
            &array,
            1,
            "array.json, line 1 is not an event: it starts '['",
        ),
    ] {
        fold(
            &[
                &day[..],
                &[&set.replace("set", "set.ndjson"), file, "--output", &new],
            ]
            .concat(),
        )
        .await
        .assert_exit(code)
        .says(&[said]);
        assert!(!Path::new(&new).exists());
    }
    fold(&[&file, "--output", &new])
        .await
        .assert_exit(2)
        .says(&["--day"]);
    fold(&[&day[..], &[&file, "--time-zone", "Mars", "--output", &new]].concat())
        .await
        .assert_exit(2)
        .says(&["'Mars' is not a time zone"]);
}

#[tokio::test]
async fn a_file_is_read_once() {
    let folder = Folder::new();
    folder.small_set("set", 1, &[]).await;
    let (file, link) = (folder.path("set.ndjson"), folder.path("link"));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let new = folder.path("new");
    for files in [[&file, &file], [&file, &link]] {
        let [one, two] = files;
        fold(&["--day", DAY, one, two, "--output", &new])
            .await
            .assert_exit(2)
            .says(&["are one file", two, "give each file once"]);
        assert!(!Path::new(&new).exists());
    }
    fold(&["--day", DAY, "-", "-", "--output", &new])
        .await
        .assert_exit(2)
        .says(&["- and - are one file"]);

    // A pipe cannot be opened twice.
    let pipe = folder.path("pipe");
    nix::unistd::mkfifo(pipe.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (events, into) = (std::fs::read(&file).unwrap(), pipe.clone());
    let writing = std::thread::spawn(move || std::fs::write(into, events).unwrap());
    fold(&["--day", DAY, &pipe, "--output", &new])
        .await
        .assert_exit(0);
    writing.join().unwrap();
    assert_eq!(folder.manifest("new"), folder.manifest("set"));
}

#[tokio::test]
async fn events_arrive_on_stdin_too_and_their_bytes_need_not_be_text() {
    let (table, folder) = (World::new().await, Folder::new());
    // What a source in SQL_ASCII sends.
    let file = [
        br#"{"id":7,"date":"2020-02-16T00:00:00Z","type":"view","record_type":"records","payload":{"a":""#.as_slice(),
        RECORDSET.as_bytes(),
        b"\"},\"ip_geocode\":{\"city\":\"Oc\xc3\xa4 \xff\"},\"query_hash\":null}",
    ]
    .concat();
    let set = folder.path("set");
    let mut child = command(&[], &["fold", "--day", DAY, "-", "--output", &set])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, &file)
        .await
        .unwrap();
    drop(stdin);
    Ended::from(child.wait_with_output().await.unwrap()).assert_exit(0);
    post(&table, &[&set]).await.assert_exit(0);
    let rejected = "SELECT concat_ws(' ', source_id, reason, message, event->'ip_geocode'->>'city') FROM daybook.rejected_event";
    assert_eq!(
        table.value(rejected).await,
        r#"7 not_utf8 ip_geocode is not UTF-8: byte 14 is 0xff: it starts '{\"city\":\"Ocä \xff\"}' Ocä \xff"#
    );
    table.end().await;
}

const SCALING: &str = include_str!("../../docs/scaling.md");

/// The commands of a section of the page.
fn commands_of(section: &str) -> &str {
    let text = SCALING.split_once(section).expect("a section").1;
    let block = text.split_once("```sh\n").expect("a block").1;
    block.split_once("```").expect("the end of a block").0
}

#[tokio::test]
async fn the_page_on_scaling_counts_and_posts_a_day_in_several_processes() {
    let (table, folder) = (World::with_the_real_day().await, Folder::new());
    apply(&table).await.assert_exit(0);
    let program = Path::new(env!("CARGO_BIN_EXE_daybook")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let events = events_of(&table, false).await;
    let has_parallel = std::process::Command::new("parallel")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    let in_ci = std::env::var_os("CI").is_some();
    assert!(
        has_parallel || !in_ci,
        "GNU parallel is missing: apt-get install parallel"
    );
    for (section, is_there) in [
        ("### With xargs", true),
        ("### With GNU parallel", has_parallel),
        ("### Merging in several processes", has_parallel),
    ] {
        if !is_there {
            continue;
        }
        let here = Folder::new();
        for (number, events) in events.chunks(5).enumerate() {
            here.write(&format!("events-{number}.ndjson.gz"), events);
        }
        let ledger = without_source().await;
        let script = commands_of(section);
        let ended: Ended = tokio::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(&here.0)
            .env_clear()
            .envs(ledger.settings())
            .env("PATH", &path)
            .env("HOME", &folder.0)
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .unwrap()
            .into();
        ended.assert_exit(0);
        assert_eq!(entry(&ledger).await, entry(&table).await, "{section}");
        ledger.end().await;
    }
    table.end().await;
}

/// Files that Arrow (Snappy, dates as INT96) and DuckDB (zstd, dates without zone) have written of the same four events.
#[cfg(feature = "parquet")]
#[tokio::test]
async fn parquet_is_read_as_others_write_it() {
    let folder = Folder::new();
    let event =
        |id, date: &str, rest: &str| format!(r#"{{"id":{id},"date":"{date}+00:00",{rest}}}"#);
    let view = format!(
        r#""type":"view","record_type":"records","payload":{{"rec": "{SECOND}"}},"ip_geocode":null,"query_hash":null"#
    );
    let lines = [
        event(
            1,
            "2020-02-16T12:00:00",
            &format!(
                r#""type":"search","record_type":"records","payload":{{"{SECOND}": 5}},"ip_geocode":{{"city": "São"}},"query_hash":"q1""#
            ),
        ),
        event(2, "2020-02-16T23:59:59.999999", &view),
        event(3, "2020-02-17T00:00:00", &view),
        event(
            4,
            "2020-02-16T01:00:00",
            r#""type":"teleport","record_type":"records","payload":{},"ip_geocode":null,"query_hash":"a\"b""#,
        ),
    ];
    let file = folder.write("events.ndjson", &lines);
    let expected = folder.path("expected");
    fold(&["--day", DAY, &file, "--output", &expected])
        .await
        .assert_exit(0);
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fold");
    for name in ["arrow", "duckdb"] {
        let file = files.join(format!("{name}.parquet"));
        let file = file.to_str().unwrap();
        let set = folder.path(name);
        fold(&["--day", DAY, file, "--output", &set])
            .await
            .assert_exit(0)
            .tells(&[
                "3 events of 2020-02-16 (2 counted, 0 ignored, 1 rejected)",
                "skipped 1 event of other days",
            ]);
        let deltas = |set: &str| folder.lines(&format!("{set}/deltas.ndjson.zst"));
        assert_eq!(deltas(name), deltas("expected"));
        assert_eq!(
            folder.manifest(name)["fingerprint"],
            folder.manifest("expected")["fingerprint"]
        );
        // DuckDB's dates have no zone, and so has what is kept of them.
        let rejected = |set: &str| {
            folder
                .lines(&format!("{set}/rejected.ndjson.zst"))
                .replace("+00:00", "")
        };
        assert_eq!(rejected(name), rejected("expected"));

        // In a zone, an instant and a time without zone are not the same.
        let set = folder.path(&format!("{name}-berlin"));
        let outside = if name == "arrow" {
            "skipped 2 events"
        } else {
            "skipped 1 event"
        };
        fold(&[
            "--day",
            DAY,
            "--time-zone",
            "Europe/Berlin",
            file,
            "--output",
            &set,
        ])
        .await
        .assert_exit(0)
        .tells(&[outside]);

        // A file that is cut off, and one in a stream.
        let bytes = std::fs::read(file).unwrap();
        let cut = folder.path(&format!("{name}-cut.parquet"));
        std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
        let nothing = folder.path("nothing");
        fold(&["--day", DAY, &cut, "--output", &nothing])
            .await
            .assert_exit(1)
            .says(&["cut.parquet cannot be read as Parquet"]);
    }
}
