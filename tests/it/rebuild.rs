//! Rebuilding: new indices from the ledger alone, while others read, post, interrupt and kill; and back again.

use std::num::NonZero;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Child;

use crate::support::history::{ENTRIES, steps};
use crate::support::hold::{Place, signal};
use crate::support::indices::{ALIASES, Stored};
use crate::support::program::Ended;
use crate::support::proxy::{Proxy, Reply};
use crate::support::{Event, RECORDSET, World};

/// A day after all others.
const NEW_DAY: &str = "2020-02-15";

impl World {
    /// Starts the program and leaves it running.
    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("start the program")
    }

    /// Posts a new day with one search, leaving the projections as they are.
    async fn post_new_day(&self) {
        self.log(&[Event::search(100, NEW_DAY, RECORDSET, 1000)])
            .await;
        self.run(&["apply", "--day", NEW_DAY, "--no-project"])
            .await
            .assert_exit(0);
    }

    /// Settings of an index that matter: without its names and its time of birth.
    pub(crate) async fn settings_of(&self, index: &str) -> Value {
        let answer = self
            .elastic(
                Method::GET,
                &format!("{index}/_settings?flat_settings=true"),
                None,
            )
            .await;
        let mut settings = answer[index]["settings"].clone();
        for own in [
            "index.uuid",
            "index.creation_date",
            "index.provided_name",
            "index.version.created",
        ] {
            settings.as_object_mut().expect("settings").remove(own);
        }
        settings
    }

    /// What tells an index from one of the same name that was made later.
    async fn uuid_of(&self, index: &str) -> String {
        let answer = self
            .elastic(
                Method::GET,
                &format!("{index}/_settings?flat_settings=true"),
                None,
            )
            .await;
        answer[index]["settings"]["index.uuid"]
            .as_str()
            .expect("a uuid")
            .to_owned()
    }

    /// The generation behind each alias.
    async fn generations(&self) -> [String; 3] {
        [
            self.generation("").await,
            self.generation("-totals").await,
            self.generation("-terms").await,
        ]
    }

    /// The indices of the alias of totals.
    async fn totals_indices(&self) -> Vec<String> {
        let mut indices = self.indices().await;
        indices.retain(|index| index.starts_with("-totals"));
        indices
    }
}

async fn ended(program: Child) -> Ended {
    program
        .wait_with_output()
        .await
        .expect("wait for the program")
        .into()
}

#[tokio::test]
async fn advancing_and_rebuilding_give_the_same_documents_to_the_byte() {
    let world = World::before_history().await;
    for step in steps() {
        world.live(&step, &[]).await;
    }
    let advanced = world.projections().await;
    let rebuilt = world.run(&["rebuild"]).await.assert_exit(0);
    rebuilt.tells(&[
        "10 documents through entry 7",
        "3 documents through entry 7",
        "21 documents through entry 7",
    ]);
    world.assert_documents(&advanced).await;

    assert_eq!(
        world.generations().await,
        ["g000002"; 3],
        "each alias stands for the new index and nothing else"
    );
    for alias in ALIASES.map(|suffix| format!("{}{suffix}", world.prefix)) {
        let [old, new] = [format!("{alias}-g000001"), format!("{alias}-g000002")];
        let mut expected = world.checkpoint(&old).await;
        expected["generation"] = json!(2);
        assert_eq!(world.checkpoint(&new).await, expected);
        assert_eq!(
            world.settings_of(&new).await,
            world.settings_of(&old).await,
            "replicas and refreshing as they were"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn what_was_sent_is_compared_all_at_once_and_where_something_went_astray_one_by_one() {
    let world = World::with_projections().await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    let through_proxy = [("DAYBOOK_ELASTICSEARCH_URL", proxy.url())];
    world
        .run_with(&through_proxy, &["rebuild"])
        .await
        .assert_exit(0);
    let asked = |what: &str| {
        proxy
            .requests()
            .iter()
            .filter(|request| request.line.contains(what))
            .count()
    };
    // Two pages of each index at the least, and of terms, of which a page of a debug build does not hold all, three.
    assert!(
        asked("POST /_search/scroll") >= 7 && asked("allow_partial") == 0 && asked("_mget") == 0,
        "{:?}",
        proxy.requests()
    );
    // Ranges of days side by side.
    let daily = format!("{}-g000002/_search?scroll=", world.prefix);
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    assert!(asked(&daily) >= processors.min(2), "{:?}", proxy.requests());

    let serving = world.generations().await;
    for index in ["-g", "-totals-g", "-terms-g"] {
        let astray = format!("/{}{index}", world.prefix);
        proxy.answer(move |request, body| {
            // As if it had been taken.
            let documents = vec![json!({ "index": { "status": 201 } }); body.lines().count() / 2];
            let lost = request.line.contains(&astray) && request.line.contains("_bulk");
            lost.then(|| Reply::new(200, json!({ "items": documents }).to_string()))
        });
        let refused = world
            .run_with(&through_proxy, &["rebuild"])
            .await
            .assert_exit(1);
        refused.says(&[
            "the index differs from what was sent to it: comparing each document",
            "differs from the ledger in",
            "missing in",
            &format!("{}{index}", world.prefix),
        ]);
    }
    assert_eq!(world.generations().await, serving);
    world.end().await;
}

#[tokio::test]
async fn the_first_generation_can_be_built_too_after_a_dry_run_that_built_nothing() {
    let world = World::with_history().await;
    let runs = world.value("SELECT count(*) FROM daybook.run").await;
    let said = world.run(&["rebuild", "--dry-run"]).await.assert_exit(0);
    said.tells(&["-totals-g000001, through entry 7; served from [] until then"]);
    assert_eq!(world.indices().await, [""; 0]);
    assert_eq!(world.value("SELECT count(*) FROM daybook.run").await, runs);

    world.run(&["rebuild"]).await.assert_exit(0);
    world.run(&["verify", "--projections"]).await.assert_exit(0);
    assert_eq!(world.generations().await, ["g000001"; 3]);
    let [indices, documents] = [
        world.indices().await.len(),
        world.stored("-terms").await.len(),
    ];
    world
        .run(&["rebuild", "--dry-run"])
        .await
        .assert_exit(0)
        .tells(&["-terms-g000002", "served from ["]);
    assert_eq!(
        [
            world.indices().await.len(),
            world.stored("-terms").await.len()
        ],
        [indices, documents]
    );
    world.end().await;
}

#[tokio::test]
async fn only_what_is_named_is_rebuilt_in_as_many_shards_and_with_as_many_generations_as_asked() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    for (options, left) in [
        (
            &["--shards", "2"][..],
            &["-totals-g000001", "-totals-g000002"][..],
        ),
        (
            &["--keep", "2"],
            &["-totals-g000001", "-totals-g000002", "-totals-g000003"],
        ),
        (&[], &["-totals-g000003", "-totals-g000004"]),
        (&["--keep", "0"], &["-totals-g000005"]),
    ] {
        let arguments = [&["rebuild", "--only", "totals"], options].concat();
        world.run(&arguments).await.assert_exit(0);
        assert_eq!(world.totals_indices().await, left, "{options:?}");
        assert_eq!(
            world.generation("-totals").await,
            left.last().unwrap().trim_start_matches("-totals-")
        );
        world.assert_documents(&before).await;
        let settings = world
            .settings_of(&format!("{}{}", world.prefix, left.last().unwrap()))
            .await;
        let shards = if options.contains(&"--shards") {
            "2"
        } else {
            "1"
        };
        assert_eq!(settings["index.number_of_shards"], shards);
    }
    assert_eq!(
        [world.generation("").await, world.generation("-terms").await],
        ["g000001", "g000001"]
    );
    world.end().await;
}

#[tokio::test]
async fn a_rollback_serves_the_kept_generation_which_the_next_run_brings_up_to_date() {
    let world = World::with_projections().await;
    let nothing_kept = world.run(&["rebuild", "--rollback"]).await.assert_exit(1);
    nothing_kept.says(&[
        "there is no generation of",
        "before the one that serves",
        "`daybook rebuild` keeps the previous generation",
    ]);

    world.run(&["rebuild"]).await.assert_exit(0);
    world.post_new_day().await;
    world.run(&["project"]).await.assert_exit(0);
    let newest = world.projections().await;
    let back = world.run(&["rebuild", "--rollback"]).await.assert_exit(0);
    back.tells(&["-totals-g000001 again, through entry 7; `daybook project` brings it up to date"]);
    assert_eq!(world.generations().await, ["g000001"; 3]);
    assert_ne!(
        world.projections().await,
        newest,
        "it is as it was when it was replaced"
    );
    world
        .run(&["status"])
        .await
        .assert_exit(0)
        .tells(&["at entry 7, 1 behind: run `daybook project`"]);

    world.run(&["project"]).await.assert_exit(0);
    world.assert_documents(&newest).await;
    world
        .run(&["rebuild", "--rollback"])
        .await
        .assert_exit(1)
        .says(&["there is no generation of"]);
    assert_eq!(world.generations().await, ["g000001"; 3]);
    world.end().await;
}

#[tokio::test]
async fn a_rollback_finds_what_was_kept_if_what_served_is_gone() {
    let world = World::with_projections().await;
    world
        .run(&["rebuild", "--only", "totals"])
        .await
        .assert_exit(0);
    let of_all = world.run(&["rebuild", "--rollback"]).await.assert_exit(1);
    of_all.says(&["there is no generation of", "give the same --only"]);
    world
        .elastic(
            Method::DELETE,
            &format!("{}-totals-g000002", world.prefix),
            None,
        )
        .await;
    world
        .run(&["rebuild", "--rollback", "--only", "totals"])
        .await
        .assert_exit(0);
    assert_eq!(world.generation("-totals").await, "g000001");
    world.run(&["verify", "--projections"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn an_index_that_lacks_nearly_all_is_rebuilt_also_in_several_runs_and_the_others_are_advanced()
 {
    let world = World::new().await;
    let day = |n: i64| format!("2020-01-{n:02}");
    let events: Vec<Event> = (1..=30)
        .map(|n| Event::view(n, &day(n), &format!("record-{n}"), RECORDSET))
        .collect();
    world.log(&events).await;
    world
        .run(&["apply", "--from", &day(1), "--to", &day(30), "--no-project"])
        .await
        .assert_exit(0);

    // Killed after the first mark; the next run goes on from there.
    world
        .run_with(&[("DAYBOOK_FAILPOINT", "rebuild.marked")], &["project"])
        .await;
    world.until_gone().await;
    let left = format!("{}-g000001", world.prefix);
    let uuid = world.uuid_of(&left).await;
    let names = |ended: &Ended, kind: &str| -> Vec<String> {
        ended
            .messages_of(kind)
            .iter()
            .map(|message| message["projection"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = world.run(&["project", "--json"]).await.assert_exit(0);
    assert_eq!(names(&all, "rebuilt"), ["daily", "totals", "terms"]);
    assert!(names(&all, "projected").is_empty());
    assert_eq!(
        world.uuid_of(&left).await,
        uuid,
        "it is the same index still"
    );

    world
        .elastic(
            Method::DELETE,
            &format!("{}-terms-g000001", world.prefix),
            None,
        )
        .await;
    world.post_new_day().await;
    let one = world.run(&["project", "--json"]).await.assert_exit(0);
    assert_eq!(
        (names(&one, "rebuilt"), names(&one, "projected")),
        (vec!["terms".into()], vec!["daily".into(), "totals".into()])
    );
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn while_a_rebuild_runs_others_post_but_do_not_rebuild() {
    let world = World::with_projections().await;
    let hold = world.hold_at(Place::Projecting).await;
    let running = world.start(&["rebuild"]);
    world.until_held().await;

    let status = world.run(&["status"]).await.assert_exit(0);
    status.tells(&[
        "running now      daybook rebuild",
        "last run         rebuild at",
        "still running",
    ]);
    for others in [
        &["rebuild"][..],
        &["rebuild", "--rollback"],
        &["verify", "--projections"],
    ] {
        let refused = world.run(others).await.assert_exit(11);
        refused.says(&[
            "another run holds the ledger's lock: daybook rebuild",
            "server process",
        ]);
    }
    world.post_new_day().await;
    drop(hold);
    let done = ended(running).await.assert_exit(0);
    done.tells(&["11 documents through entry 8"]);
    let caught_up = world.projections().await;
    world.run(&["verify", "--projections"]).await.assert_exit(0);

    // The old generation, advanced instead.
    world.run(&["rebuild", "--rollback"]).await.assert_exit(0);
    world.run(&["project"]).await.assert_exit(0);
    world.assert_documents(&caught_up).await;
    world.end().await;
}

/// Rebuilds plainly after something has gone wrong: everything is as it should be, and what was left is gone.
async fn rebuild_plainly(world: &World, expected: &[Vec<Stored>; 3]) {
    world.run(&["rebuild"]).await.assert_exit(0);
    world.assert_documents(expected).await;
    let indices = world.indices().await;
    assert_eq!(
        indices.len(),
        6,
        "of each alias one serves and one is kept: {indices:?}"
    );
}

#[tokio::test]
async fn an_interrupted_rebuild_leaves_the_old_generation_serving_and_the_next_one_deletes_what_it_left()
 {
    let world = World::with_projections().await;
    let before = world.projections().await;
    for (name, exit) in [("INT", Some(130)), ("KILL", None)] {
        for place in [Place::Reading, Place::Projecting] {
            let hold = world.hold_at(place).await;
            let rebuild = world.start(&["rebuild"]);
            world.until_held().await;
            signal(name, &rebuild).await;
            let rebuild = ended(rebuild).await;
            assert_eq!(rebuild.code, exit, "SIG{name} at {place:?}: {rebuild:?}");
            drop(hold);
            world.until_gone().await;
            if exit.is_some() {
                rebuild.says(&["`daybook rebuild --resume`, with the same --only, continues"]);
            } else {
                let status = world.run(&["status"]).await.assert_exit(0);
                status.tells(&["it was killed; `daybook rebuild --resume`"]);
            }

            assert_eq!(
                world.generations().await,
                ["g000001"; 3],
                "SIG{name} at {place:?}"
            );
            world.assert_documents(&before).await;
        }
    }
    rebuild_plainly(&world, &before).await;
    world.end().await;
}

#[tokio::test]
async fn a_rebuild_that_crashes_between_two_indices_leaves_nothing_that_the_next_one_does_not_delete()
 {
    let world = World::with_projections().await;
    let before = world.projections().await;
    for failpoint in [
        "index.created:2",
        "rebuild.documents_written:3",
        "rebuild.caught_up:2",
    ] {
        let crashed = world
            .run_with(&[("DAYBOOK_FAILPOINT", failpoint)], &["rebuild"])
            .await;
        assert_eq!(crashed.code, None, "{failpoint}: {crashed:?}");
        world.until_gone().await;
        assert_eq!(world.generations().await, ["g000001"; 3], "{failpoint}");
        world.assert_documents(&before).await;
    }
    rebuild_plainly(&world, &before).await;
    world.end().await;
}

#[tokio::test]
async fn a_resumed_rebuild_goes_on_with_the_indices_that_were_left() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    // Some days are in the new index, and marked as done. How many depends on which reader is faster.
    world
        .run_with(&[("DAYBOOK_FAILPOINT", "rebuild.marked")], &["rebuild"])
        .await;
    world.until_gone().await;
    let left = format!("{}-g000002", world.prefix);
    let uuid = world.uuid_of(&left).await;
    let building = world.checkpoint(&left).await["building"].clone();
    let done = building["done_through_day"].as_str().expect("a mark");
    let done: Vec<&str> = before[0]
        .iter()
        .map(|document| document.id.as_str())
        .filter(|id| id.split(':').next() <= Some(done))
        .collect();
    let found = world
        .elastic(
            Method::POST,
            &format!("{left}/_mget?filter_path=docs.found"),
            Some(json!({ "ids": done })),
        )
        .await;
    let found = found["docs"].as_array().expect("documents");
    assert!(!done.is_empty() && found.len() == done.len());
    assert!(found.iter().all(|document| document["found"] == true));

    // This time it gets to the third index.
    world
        .run_with(
            &[("DAYBOOK_FAILPOINT", "rebuild.documents_written:3")],
            &["rebuild", "--resume"],
        )
        .await;
    world.until_gone().await;
    assert_eq!(world.uuid_of(&left).await, uuid);
    assert_eq!(world.checkpoint(&left).await["building"]["complete"], true);

    world.post_new_day().await;
    world
        .run(&["rebuild", "--resume"])
        .await
        .assert_exit(0)
        .tells(&["11 documents through entry 8"]);
    assert_eq!(
        world.uuid_of(&left).await,
        uuid,
        "it is the same index still"
    );
    assert_eq!(world.generations().await, ["g000002"; 3]);
    let resumed = world.projections().await;
    assert_ne!(resumed, before);
    world.run(&["rebuild", "--rollback"]).await.assert_exit(0);
    world.run(&["project"]).await.assert_exit(0);
    world.assert_documents(&resumed).await;
    world.end().await;
}

#[tokio::test]
async fn a_rebuild_that_crashed_while_it_caught_up_can_be_resumed() {
    let world = World::with_projections().await;
    let hold = world.hold_at(Place::Projecting).await;
    let rebuild = world
        .command(&["rebuild"])
        .env("DAYBOOK_FAILPOINT", "rebuild.caught_up")
        .spawn()
        .unwrap();
    world.until_held().await;
    world.post_new_day().await;
    drop(hold);
    assert_eq!(ended(rebuild).await.code, None);
    world.until_gone().await;

    world.run(&["rebuild", "--resume"]).await.assert_exit(0);
    assert_eq!(world.generations().await, ["g000002"; 3]);
    let resumed = world.projections().await;
    world.run(&["rebuild", "--rollback"]).await.assert_exit(0);
    world.run(&["project"]).await.assert_exit(0);
    world.assert_documents(&resumed).await;
    world.end().await;
}

/// What a reader sums up of an alias: its documents, and the records found by searches in them.
async fn sum(world: &World, suffix: &str) -> (i64, f64) {
    let body = json!({
        "size": 0, "track_total_hits": true, "aggs": { "found": { "sum": { "field": "records.search.total" } } },
    });
    let answer = world
        .elastic(
            Method::POST,
            &format!("{}{suffix}/_search", world.prefix),
            Some(body),
        )
        .await;
    let is_whole = answer["_shards"]["failed"] == 0 && answer["timed_out"] == false;
    let found = answer["aggregations"]["found"]["value"]
        .as_f64()
        .filter(|_| is_whole);
    let found = found.unwrap_or_else(|| panic!("a read of '{suffix}' failed: {answer}"));
    (
        answer["hits"]["total"]["value"].as_i64().expect("a number"),
        found,
    )
}

#[tokio::test]
async fn no_reader_sees_anything_but_what_the_ledger_held_before_or_holds_now() {
    let world = World::with_projections().await;
    let before = [sum(&world, "").await, sum(&world, "-totals").await];
    // 1,000 records more, in a document of the day and in one of the recordset that is there already.
    world.post_new_day().await;
    let now = [
        (before[0].0 + 1, before[0].1 + 1000.0),
        (before[1].0, before[1].1 + 1000.0),
    ];

    let rebuilding = async {
        for _ in 0..2 {
            world.run(&["rebuild"]).await.assert_exit(0);
        }
    };
    let (mut seen, mut reads) = (before, 0);
    let reading = async {
        loop {
            for ((seen, now), suffix) in seen.iter_mut().zip(now).zip(["", "-totals"]) {
                let sum = sum(&world, suffix).await;
                assert!(
                    sum == *seen || sum == now,
                    "{sum:?} of '{suffix}', after {seen:?}"
                );
                *seen = sum;
                reads += 1;
            }
        }
    };
    tokio::select! {
        () = rebuilding => {}
        () = reading => {}
    }
    assert_eq!(seen, now);
    assert!(reads > 20, "{reads} reads");
    world.end().await;
}

#[tokio::test]
async fn days_that_are_posted_while_rebuilds_run_are_in_every_document_at_the_end() {
    let world = World::with_projections().await;
    let events: Vec<Event> = (15..=20)
        .map(|day| Event::view(day + 100, &format!("2020-02-{day}"), "record-1", RECORDSET))
        .collect();
    world.log(&events).await;
    let posting = async {
        for event in &events {
            world
                .run(&["apply", "--day", &event.date[..10]])
                .await
                .assert_exit(0);
        }
    };
    let rebuilding = async {
        for _ in 0..2 {
            world.run(&["rebuild"]).await.assert_exit(0);
        }
    };
    tokio::join!(posting, rebuilding);
    assert_eq!(world.entries().await, ENTRIES + 6);
    world.run(&["verify"]).await.assert_exit(0);
    let advanced = world.projections().await;
    world.run(&["rebuild"]).await.assert_exit(0);
    world.assert_documents(&advanced).await;
    world.end().await;
}
