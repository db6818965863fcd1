//! Applying a day again, however often and by however many at the same moment, changes nothing: one entry, the same
//! documents at the same versions. Only one run works at a time, and the others say which.

use futures_util::future::join_all;

use crate::support::program::Ended;
use crate::support::{Contents, Event, Proxy, RECORDSET, World};

const DAY: &str = "2020-02-16";
const LEDGER: &str = "DAYBOOK_LEDGER_URL";
const APPLY: [&str; 3] = ["apply", "--day", DAY];

/// The key of the ledger's lock: "daybook" in ASCII.
const LOCK_KEY: &str = "x'646179626f6f6b'::bigint";

#[tokio::test]
async fn the_real_day_applied_ten_times_is_one_entry_and_the_same_documents() {
    let world = World::with_the_real_day().await;
    world.run(&APPLY).await.assert_exit(0);
    let once = Contents::of(&world).await;
    assert_eq!(once.entries(), 1);
    for time in 2..=10 {
        let ended = world.run(&APPLY).await.assert_exit(0);
        assert!(
            ended.stdout.contains("already applied as entry 1"),
            "{}",
            ended.stdout
        );
        if matches!(time, 2 | 10) {
            Contents::of(&world)
                .await
                .assert_same_as(&once, &format!("applied {time} times"));
        }
    }
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn the_old_collector_s_command_line_posts_nothing_more_either() {
    let world = World::new().await;
    world.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
    world.run(&APPLY).await.assert_exit(0);
    let once = Contents::of(&world).await;
    world
        .run(&["collect-stats", "-d", "2020-02-17"])
        .await
        .assert_exit(0);
    world
        .run(&["apply", "--from", DAY, "--to", DAY])
        .await
        .assert_exit(0);
    Contents::of(&world)
        .await
        .assert_same_as(&once, "collected as well");
    world.end().await;
}

/// A server takes a moment to end the session of a run that has ended, and on a busy machine more than that.
#[tokio::test]
async fn a_command_that_follows_another_at_once_finds_the_lock_free() {
    let world = World::unmigrated().await;
    world.create_source().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    let proxy = Proxy::tcp(&world.ledger_url).await;
    proxy.keep_goodbyes();
    let on_time = "0";
    let an_hour_late = "-3600";
    let reverse = ["reverse", "1", "--reason", "not to be counted"];
    let as_is = "SELECT 1";
    for (sql, arguments, clock, code) in [
        (as_is, &["migrate"][..], on_time, 0),
        (as_is, &APPLY, an_hour_late, 75),
        (
            "ALTER TABLE daybook.run_start RENAME TO away",
            &APPLY,
            on_time,
            1,
        ),
        (
            "ALTER TABLE daybook.away RENAME TO run_start",
            &APPLY,
            on_time,
            0,
        ),
        (
            // Its day is posted all the same.
            "ALTER TABLE daybook.run_end RENAME TO away",
            &APPLY,
            on_time,
            0,
        ),
        (
            "ALTER TABLE daybook.away RENAME TO run_end",
            &["project"],
            on_time,
            0,
        ),
        (as_is, &reverse, on_time, 0),
        // It is reversed already.
        (as_is, &reverse, on_time, 1),
        (as_is, &["rebuild"], on_time, 0),
        (as_is, &["rebuild"], on_time, 0),
        (as_is, &["verify"], on_time, 0),
        (as_is, &APPLY, on_time, 0),
    ] {
        world.execute(sql).await;
        let settings = [(LEDGER, proxy.url()), ("DAYBOOK_CLOCK_OFFSET", clock)];
        let ended = world.run_with(&settings, arguments).await;
        assert_eq!(ended.code, Some(code), "{sql}, {arguments:?}: {ended:?}");
    }
    world.end().await;
}

/// Starts so many at the same moment; each ends with 0, or with 11 naming the one that works.
async fn apply_at_once(world: &World, processes: usize) -> Vec<Ended> {
    let ended = join_all((0..processes).map(|_| world.run(&APPLY))).await;
    assert!(
        ended.iter().any(|ended| ended.code == Some(0)),
        "{ended:#?}"
    );
    for ended in &ended {
        match ended.code {
            Some(0) => {}
            Some(11) => {
                let says = &ended.stderr;
                assert!(
                    says.contains("another run holds the ledger's lock: "),
                    "{says}"
                );
                assert!(says.contains("run the command again"), "{says}");
                let names_it = says.contains("daybook apply ") && says.contains("server process ");
                assert!(
                    names_it || says.contains("a run that has just ended"),
                    "{says}"
                );
                assert_eq!(ended.stdout, "");
            }
            _ => panic!("{ended:#?}"),
        }
    }
    ended
}

#[tokio::test]
async fn two_and_five_processes_at_the_same_moment_post_one_entry() {
    let alone = World::with_the_real_day().await;
    alone.run(&APPLY).await.assert_exit(0);
    let alone_has = Contents::of(&alone).await;
    alone.end().await;
    for processes in [2, 5] {
        let world = World::with_the_real_day().await;
        let ended = apply_at_once(&world, processes).await;
        let posted = ended
            .iter()
            .filter(|ended| ended.stdout.contains("entry 1 (apply)"));
        assert_eq!(posted.count(), 1, "{ended:#?}");
        let has = Contents::of(&world).await;
        has.assert_same_as(&alone_has, &format!("{processes} at once"));
        // And once more, when the day is there already.
        apply_at_once(&world, processes).await;
        let has = Contents::of(&world).await;
        has.assert_same_as(&alone_has, &format!("{processes} at once, again"));
        world.assert_sound().await;
        world.end().await;
    }
}

#[tokio::test]
async fn days_applied_by_many_at_once_are_each_posted_once() {
    let world = World::new().await;
    let days = ["2020-02-16", "2020-02-17", "2020-02-18", "2020-02-19"];
    for (id, day) in (1..).zip(days) {
        world.log(&[Event::search(id, day, RECORDSET, 5)]).await;
    }
    let applies = days.iter().chain(&days).map(async |day| {
        world
            .run_when_unlocked(&["apply", "--day", day])
            .await
            .assert_exit(0);
    });
    join_all(applies).await;
    let journal = "SELECT string_agg(day::text, ' ' ORDER BY day) FROM daybook.entry";
    assert_eq!(world.value(journal).await, days.join(" "));
    let balance = "SELECT concat_ws(' ', count, total) FROM daybook.recordset_total";
    assert_eq!(world.value(balance).await, "4 20");
    assert_eq!(world.documents("").await.len(), 4);
    assert_eq!(
        world.documents("-totals").await[0].2["records"]["search"]["total"],
        20
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_run_that_meets_the_lock_posts_nothing_and_says_who_holds_it() {
    let world = World::new().await;
    world.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
    let mut holder = world.sql().await;
    let take = format!(
        "SET application_name = 'the auditor of this test'; SELECT pg_advisory_lock({LOCK_KEY})"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(take))
        .execute(&mut holder)
        .await
        .unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut holder)
        .await
        .unwrap();
    let server_process = format!("server process {pid}");
    for arguments in [
        &APPLY[..],
        &["apply"],
        &["collect-stats", "-d", "2020-02-17"],
        &["project"],
        &["migrate"],
    ] {
        let ended = world.run(arguments).await.assert_exit(11);
        ended.says(&[
            "another run holds the ledger's lock: the auditor of this test",
            &server_process,
            "let it finish",
        ]);
    }
    assert_eq!(
        world.value("SELECT count(*) FROM daybook.run_start").await,
        "0"
    );
    let status = world.run(&["status"]).await.assert_exit(0);
    assert!(
        status.stdout.contains("the auditor of this test"),
        "{}",
        status.stdout
    );
    // What only looks does not need the lock.
    world
        .run(&["apply", "--day", DAY, "--dry-run"])
        .await
        .assert_exit(0);
    drop(holder);
    world.run_when_unlocked(&APPLY).await.assert_exit(0);
    assert_eq!(world.value("SELECT count(*) FROM daybook.entry").await, "1");
    world.end().await;
}
