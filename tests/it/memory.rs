//! A day that takes more memory than there may be: spilled to temporary files, posted as one entry, the same to the byte.

use serde_json::Value;

use crate::support::World;
use crate::support::program::{Ended, LITTLE_MEMORY};

const DAY: &str = "2020-02-16";
const DAY_BEFORE: &str = "2020-02-15";

/// The least that the program accepts.
const LEAST: [&str; 2] = ["--memory", "128M"];

/// Many long geocodes: some 6 MB of terms. Late events bring more of them.
async fn log_long_geocodes(world: &World, from: i64, to: i64) {
    world
        .execute(&format!(
            "INSERT INTO stats (id, date, type, record_type, payload, ip_geocode)
               SELECT n, '{DAY} 12:00Z', 'search', 'records',
                      jsonb_build_object(lpad(to_hex(n % 500), 8, '0') || '-0000-4000-8000-000000000000', n),
                      jsonb_build_object('city', n || repeat('x', 900))
               FROM generate_series({from}, {to}) n"
        ))
        .await;
    world
        .execute(&format!(
            "INSERT INTO stats (id, date, type, record_type, payload) VALUES (-{to}, '{DAY} 12:00Z', 'none', 'records', '{{}}')"
        ))
        .await;
}

/// The `day` message of a run.
async fn day(world: &World, arguments: &[&str]) -> Value {
    let ended = world
        .run(
            &[
                &["apply", "--no-project", "--json", "--day", DAY],
                arguments,
            ]
            .concat(),
        )
        .await
        .assert_exit(0);
    ended
        .messages()
        .into_iter()
        .find(|message| message["day"] == DAY)
        .expect("a message about the day")
}

const CONTENT: &str =
    "SELECT string_agg(encode(content_hash, 'hex'), ' ' ORDER BY entry_id) FROM daybook.entry";

#[tokio::test]
async fn a_day_that_exceeds_the_memory_is_the_entry_that_it_is_when_counted_in_memory() {
    let (whole, spilled) = (World::new().await, World::new().await.with_little_memory());
    for (from, to) in [(1, 3_200), (3_201, 3_400)] {
        for world in [&whole, &spilled] {
            log_long_geocodes(world, from, to).await;
        }
        let in_memory = day(&whole, &[]).await;
        assert_eq!(in_memory["spilled_bytes"], 0);
        let tried = day(&spilled, &["--dry-run"]).await;
        let in_files = day(&spilled, &[]).await;
        assert!(in_files["spilled_bytes"].as_u64() > Some(0), "{in_files}");
        for figure in [
            "kind",
            "events",
            "counted",
            "rejected",
            "cells",
            "interactions",
            "records",
        ] {
            assert_eq!(in_memory[figure], in_files[figure], "{figure}");
            assert_eq!(in_memory[figure], tried[figure], "{figure} of the dry run");
        }
    }
    assert_eq!(whole.value(CONTENT).await, spilled.value(CONTENT).await);
    assert_eq!(
        spilled
            .value("SELECT count(*) FROM daybook.rejected_event")
            .await,
        "2"
    );
    spilled
        .run(&["verify", "--ledger", "--source"])
        .await
        .assert_exit(0);

    // A batch that takes something away is refused, and what the batches before it have written goes with it.
    spilled.execute("UPDATE stats SET payload = '{}' WHERE id = 3299; INSERT INTO stats (id, date, type, record_type, payload) SELECT 30000, date, type, record_type, '{}' FROM stats WHERE id = 1").await;
    let refused = spilled
        .run(&["apply", "--no-project", "--day", DAY])
        .await
        .assert_exit(1);
    for told in ["now count less than was posted", "--accept-decrease"] {
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    assert_eq!(whole.value(CONTENT).await, spilled.value(CONTENT).await);
    assert_eq!(
        spilled
            .value("SELECT max(entry_id) FROM daybook.interaction_delta")
            .await,
        "2"
    );
    whole.end().await;
    spilled.end().await;
}

/// What a process may map to write to: an allocation beyond it fails, and ends the program.
const LIMIT: &str = "--data=160000000";

#[tokio::test]
async fn one_event_of_many_recordsets_and_many_large_rejected_events_keep_within_the_memory() {
    let world = World::new().await;
    world
        .execute(&format!(
            "INSERT INTO stats (id, date, type, record_type, payload)
               SELECT 1, '{DAY} 12:00Z', 'search', 'records',
                      jsonb_object_agg(lpad(to_hex(n), 8, '0') || '-0000-4000-8000-000000000000', n)
               FROM generate_series(1, 60000) n;
             INSERT INTO stats (id, date, type, record_type, payload)
               SELECT n, '{DAY} 12:00Z', 'search', 'records', to_jsonb(repeat('x', 8000000)) FROM generate_series(2, 11) n"
        ))
        .await;
    let mut limited = tokio::process::Command::new("prlimit");
    limited
        .arg(LIMIT)
        .arg(env!("CARGO_BIN_EXE_daybook"))
        .args(["apply", "--no-project", "--day", DAY])
        .args(LEAST);
    let ended: Ended = limited
        .env_clear()
        .envs(world.settings())
        .output()
        .await
        .expect("run the program")
        .into();
    ended.assert_exit(0);
    assert_eq!(
        world.accounts().await,
        "11 events: 1 counted, 0 ignored, 10 rejected"
    );
    let kept = "SELECT concat_ws(' ', count(*), sum(length(event->>'payload'))) FROM daybook.rejected_event";
    assert_eq!(world.value(kept).await, "10 80000000");
    let posted = "SELECT concat_ws(' ', count(*), sum(total)) FROM daybook.interaction_delta";
    assert_eq!(world.value(posted).await, "60000 1800030000");
    world.end().await;
}

#[tokio::test]
async fn documents_are_the_same_whether_the_rows_of_a_day_are_still_in_memory_or_have_to_be_read_back()
 {
    let (whole, spilled) = (World::new().await, World::new().await.with_little_memory());
    // Daily documents are made of them, and those of terms.
    for (world, kept) in [(&whole, 2), (&spilled, 0)] {
        log_long_geocodes(world, 1, 3_200).await;
        // To the first entry's terms nothing is added.
        world
            .run(&["apply", "--day", DAY_BEFORE])
            .await
            .assert_exit(0);
        let ended = world
            .run(&["apply", "--day", DAY, "-vv"])
            .await
            .assert_exit(0);
        assert_eq!(
            ended.stderr.matches("instead of reading them back").count(),
            kept,
            "{}",
            ended.stderr
        );
    }
    for (suffix, least) in [("", 500), ("-terms", 3_700)] {
        let (kept, read) = (
            whole.documents(suffix).await,
            spilled.documents(suffix).await,
        );
        assert!(
            kept.len() >= least,
            "{} documents of stats{suffix}",
            kept.len()
        );
        assert!(
            kept == read,
            "documents of stats{suffix} differ between a day that was spilled and one in memory"
        );
    }
    whole.end().await;
    spilled.end().await;
}

#[tokio::test]
async fn a_directory_for_temporary_files_that_does_not_exist_or_is_full_is_named_and_nothing_is_posted()
 {
    let world = World::new().await.with_little_memory();
    log_long_geocodes(&world, 1, 3_200).await;
    let apply = ["apply", "--no-project", "--day", DAY];
    let missing = [&apply[..], &["--temp-dir", "/does-not-exist"]].concat();
    let ended = world.run(&missing).await.assert_exit(2);
    let told = "/does-not-exist is not a directory for temporary files";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);

    // A limit on the size of files stands for a full disk: 10 blocks of 512 bytes or 1 KiB.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("a path in UTF-8");
    let mut limited = tokio::process::Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 10; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_daybook"))
        .args(apply)
        .args(["--temp-dir", path]);
    let ended: Ended = limited
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(world.settings())
        .envs([LITTLE_MEMORY])
        .output()
        .await
        .expect("run the program")
        .into();
    let ended = ended.assert_exit(1);
    for told in [
        "counting exceeds the memory limit, and the temporary files in",
        path,
        "more are needed; nothing was posted: File too large",
        "set --temp-dir (DAYBOOK_TEMP_DIR)",
    ] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    assert_eq!(world.value("SELECT count(*) FROM daybook.entry").await, "0");

    // With room it is posted, and leaves nothing in the directory.
    let with_room = [&apply[..], &["--temp-dir", path]].concat();
    world.run(&with_room).await.assert_exit(0);
    let left = std::fs::read_dir(path).expect("the directory").count();
    assert_eq!(left, 0, "files in {path}");
    world.end().await;
}

#[tokio::test]
async fn a_size_of_memory_that_is_none_or_too_little_is_a_mistake_that_names_it() {
    let world = World::new().await;
    for (size, told) in [
        ("lots", "'lots' is not a memory size"),
        ("64M", "the minimum is 128M"),
        ("99999999999G", "not a memory size"),
    ] {
        let ended = world.run(&["apply", "--memory", size]).await.assert_exit(2);
        assert!(ended.stderr.contains(told), "{size}: {}", ended.stderr);
    }
    world
        .run_with(
            &[("DAYBOOK_MEMORY", "1G")],
            &["apply", "--day", DAY, "--no-project"],
        )
        .await
        .assert_exit(0);
    world.end().await;
}
