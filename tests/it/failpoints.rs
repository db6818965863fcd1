//! Every failpoint in the sources: the process is ended there, the command is run again plainly, and ledger and documents
//! are as if nothing had happened.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{Event, RECORDSET, World};

/// Failpoints that are walked at the same time.
const AT_ONCE: usize = 4;

/// The names in the sources: whatever stands between `failpoint::reach("` and `")`.
pub fn failpoints() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let found = text
                    .split("failpoint::reach(\"")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next());
                names.extend(found.map(str::to_owned));
            }
        }
    }
    names
}

/// A world with five days to apply, some with rejected events, one of them quiet.
async fn world() -> World {
    let world = World::new().await;
    let other = "91c5eec8-0cdc-4be2-9a99-a15ae5ec3edc";
    let events = [
        Event::search(1, "2020-02-12", RECORDSET, 5),
        Event::view(2, "2020-02-12", "record-a", RECORDSET),
        Event::view(3, "2020-02-13", "record-a", other),
        Event {
            payload: Some("[]".to_owned()),
            ..Event::search(4, "2020-02-13", RECORDSET, 1)
        },
        Event::search(5, "2020-02-15", other, 7),
        Event::view(6, "2020-02-16", "record-b", RECORDSET),
    ];
    world.log(&events).await;
    world
}

/// All that must come out the same: the journal without times and run ids (which the hash of a header covers), the
/// rejected events, and the documents of all projections with their versions.
async fn digest(world: &World) -> (String, String, Vec<Vec<(String, i64, Value)>>) {
    let journal =
        "SELECT string_agg(concat_ws(' ', entry_id, day, kind, source_fingerprint, source_counted, source_rejected,
                       delta_rows, encode(content_hash, 'hex')), E'\n' ORDER BY entry_id) FROM daybook.entry";
    let rejected = "SELECT string_agg(concat_ws(' ', entry_id, source_id, reason, event), E'\n' ORDER BY source_id)
                    FROM daybook.rejected_event";
    let mut documents = Vec::new();
    for suffix in ["", "-totals", "-terms"] {
        documents.push(world.documents(suffix).await);
    }
    (
        world.value(journal).await,
        world.value(rejected).await,
        documents,
    )
}

/// The commands: apply some days, apply late events, reverse an entry, rebuild.
const STEPS: [&[&str]; 4] = [
    &["apply", "--from", "2020-02-12", "--to", "2020-02-16"],
    &["apply", "--day", "2020-02-12"],
    &["reverse", "2", "--reason", "not to be counted"],
    &["rebuild"],
];

async fn before_step(world: &World, step: usize) {
    if step == 1 {
        world
            .log(&[Event::view(7, "2020-02-12", "record-c", RECORDSET)])
            .await;
    }
}

/// All that is there after each step. The last one makes the documents anew, so what was wrong before must show before.
type Digests = Vec<(String, String, Vec<Vec<(String, i64, Value)>>)>;

/// Runs the steps; at a failpoint, the process ends in the first step that reaches it, and that step is run again.
async fn walk(name: Option<&str>, world: &World) -> (Digests, bool) {
    let (mut digests, mut reached) = (Vec::new(), false);
    for (step, arguments) in STEPS.into_iter().enumerate() {
        before_step(world, step).await;
        // Asked for once it was reached, it would be reached again.
        let settings: Vec<(&str, &str)> = name
            .filter(|_| !reached)
            .map(|name| ("DAYBOOK_FAILPOINT", name))
            .into_iter()
            .collect();
        let ended = world.run_with(&settings, arguments).await;
        if ended.code.is_none() {
            reached = true;
            let again = world.run_when_unlocked(arguments).await;
            if arguments[0] == "reverse" && again.code == Some(1) {
                // It was posted, and nothing is reversed twice: what is left to do is to advance.
                again.says(&["entry 2 was already reversed by entry 7"]);
                world.run(&["project"]).await.assert_exit(0);
            } else {
                again.assert_exit(0);
            }
        } else {
            ended.assert_exit(0);
        }
        digests.push(digest(world).await);
    }
    (digests, reached)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_anywhere_leaves_nothing_that_a_plain_rerun_does_not_put_right() {
    let undisturbed = world().await;
    let (expected, _) = walk(None, &undisturbed).await;
    undisturbed.end().await;

    let mut names = failpoints();
    // Exports and their import are walked in a world that has them (exchange.rs).
    names.retain(|name| !name.starts_with("export.") && !name.starts_with("copy."));
    assert!(
        names.len() > 15,
        "the failpoints are found in the sources: {names:?}"
    );
    let mut walks = JoinSet::new();
    let mut not_reached = Vec::new();
    let mut walked = |done: Option<Result<Option<String>, _>>| {
        if let Some(name) =
            done.and_then(|done: Result<_, tokio::task::JoinError>| done.expect("the walk"))
        {
            not_reached.push(name);
        }
    };
    for name in names {
        if walks.len() >= AT_ONCE {
            walked(walks.join_next().await);
        }
        let expected = expected.clone();
        walks.spawn(async move {
            let world = world().await;
            let (found, reached) = walk(Some(&name), &world).await;
            assert_eq!(found, expected, "after the process ended at {name}");
            world.end().await;
            (!reached).then_some(name)
        });
    }
    while !walks.is_empty() {
        walked(walks.join_next().await);
    }
    assert!(not_reached.is_empty(), "no step reached {not_reached:?}");
}
