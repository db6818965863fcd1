//! Damage to the indices: each is noticed, named, and put right by the command that the message recommends.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::history::{DECREASED_DAY, ENTRIES, LAST_DAY, steps};
use crate::support::indices::{ALIASES, Stored};
use crate::support::{Event, RECORDSET, World};

impl World {
    /// A request to Elasticsearch that must succeed.
    async fn change(&self, method: Method, path: &str, body: Value) {
        self.request(method, path, Some(body.to_string())).await;
    }

    async fn delete(&self, path: &str) {
        self.request(Method::DELETE, path, None).await;
    }

    async fn request(&self, method: Method, path: &str, body: Option<String>) {
        let answer = self.elastic_text(method, path, body).await;
        assert!(!answer.contains("\"error\""), "{path}: {answer}");
    }

    /// Puts documents into an index, at their versions.
    async fn put(&self, index: &str, documents: Vec<Stored>) {
        for Stored {
            id,
            version,
            source,
        } in documents
        {
            let id = id.replace(':', "%3A");
            let path = format!("{index}/_doc/{id}?version={version}&version_type=external_gte");
            self.request(Method::PUT, &path, Some(source)).await;
        }
    }

    /// The mappings of an index, with all that it says of itself.
    async fn mappings(&self, index: &str) -> Value {
        let answer = self
            .elastic(Method::GET, &format!("{index}/_mapping"), None)
            .await;
        answer[index]["mappings"].clone()
    }

    /// Lets an alias stand for another index than it did.
    async fn point(&self, suffix: &str, index: &str) {
        let alias = format!("{}{suffix}", self.prefix);
        let mut actions = vec![json!({ "add": { "index": index, "alias": alias } })];
        for old in self.behind(suffix).await {
            actions.push(json!({ "remove": { "index": old, "alias": alias } }));
        }
        self.change(Method::POST, "_aliases", json!({ "actions": actions }))
            .await;
    }

    /// Takes the ledger back to an older state, as restoring a backup would.
    async fn restore_ledger(&self, newest_entry: i64) {
        for table in ["interaction_delta", "entry"] {
            let trigger = |change: &str| {
                format!("ALTER TABLE daybook.{table} {change} TRIGGER refuse_change")
            };
            self.execute(&trigger("DISABLE")).await;
            self.execute(&format!(
                "DELETE FROM daybook.{table} WHERE entry_id > {newest_entry}"
            ))
            .await;
            self.execute(&trigger("ENABLE ALWAYS")).await;
        }
    }

    /// Panics unless whoever looks at the damage or runs into it is told what it is and what to do: apply posts its day
    /// all the same, and a verification goes on to compare what can be compared.
    async fn assert_named(&self, damage: &str, recommended: &str) {
        self.run(&["project"])
            .await
            .assert_exit(1)
            .says(&[damage, recommended]);
        self.run(&["apply", "--day", LAST_DAY])
            .await
            .assert_exit(3)
            .says(&[damage, recommended]);
        self.run(&["status"]).await.assert_exit(0).tells(&[damage]);
        self.run(&["verify", "--projections"])
            .await
            .assert_exit(4)
            .tells(&[damage, recommended]);
    }
}

#[tokio::test]
async fn an_index_that_was_deleted_is_made_again() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    // A generation that is kept must not be in the way.
    world
        .run(&["rebuild", "--only", "totals"])
        .await
        .assert_exit(0);
    for index in ["-g000001", "-totals-g000002"] {
        world.delete(&format!("{}{index}", world.prefix)).await;
    }
    world
        .run(&["status"])
        .await
        .assert_exit(0)
        .tells(&["-totals no index yet: `daybook project` creates it"]);
    world
        .run(&["verify"])
        .await
        .assert_exit(4)
        .tells(&["-totals there is no index: run `daybook project`"]);
    world.run(&["project"]).await.assert_exit(0);
    world.assert_documents(&before).await;
    world.end().await;
}

#[tokio::test]
async fn an_alias_that_was_removed_is_given_an_index_again() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    let path = format!("{0}-terms-g000001/_alias/{0}-terms", world.prefix);
    world.delete(&path).await;
    world
        .run(&["verify"])
        .await
        .assert_exit(4)
        .tells(&["-terms there is no index: run `daybook project`"]);
    world.run(&["project"]).await.assert_exit(0);
    world.assert_documents(&before).await;
    world.end().await;
}

#[tokio::test]
async fn an_old_copy_that_was_restored_catches_up() {
    let world = World::before_history().await;
    let [first, second, rest @ ..] = &steps();
    for step in [first, second] {
        world.live(step, &[]).await;
    }
    let mut copies = Vec::new();
    for suffix in ALIASES {
        let mappings = world
            .mappings(&format!("{}{suffix}-g000001", world.prefix))
            .await;
        copies.push((suffix, mappings, world.stored(suffix).await));
    }
    for step in rest {
        world.live(step, &[]).await;
    }
    let before = world.projections().await;
    for (suffix, mappings, documents) in copies {
        let restored = format!("{}{suffix}-restored", world.prefix);
        world
            .change(Method::PUT, &restored, json!({ "mappings": mappings }))
            .await;
        world.put(&restored, documents).await;
        world.point(suffix, &restored).await;
    }
    world.run(&["status"]).await.assert_exit(0).tells(&[
        "-terms at entry 4, 3 behind: run `daybook project`",
        "-restored)",
    ]);
    // As far as it goes, it is right.
    let says = [
        "all match the ledger",
        "-restored contains entries up to 4, the ledger is at 7: run `daybook project`",
    ];
    world
        .run(&["verify", "--projections"])
        .await
        .assert_exit(4)
        .tells(&says);
    world.run(&["project"]).await.assert_exit(0);
    world.assert_documents(&before).await;
    world.end().await;
}

#[tokio::test]
async fn a_document_that_was_edited_by_hand_is_repaired() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    let path = format!("{}-totals/_update/{RECORDSET}", world.prefix);
    world
        .change(
            Method::POST,
            &path,
            json!({ "doc": { "records": { "view": { "count": 1_000_000 } } } }),
        )
        .await;
    let found = world.run(&["verify"]).await.assert_exit(4);
    found.tells(&[
        &format!("-g000001: document {RECORDSET}"),
        "1 different, 0 extra; --repair corrects them",
    ]);
    world
        .run(&["verify", "--projections", "--repair"])
        .await
        .assert_exit(0);
    world.assert_sources(&before).await;
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn a_document_that_was_edited_by_hand_is_put_right_by_the_next_entry_about_it() {
    let world = World::with_projections().await;
    for _ in 0..10 {
        // Its version is then far above the entries' numbers.
        let path = format!("{}-totals/_update/{RECORDSET}?refresh", world.prefix);
        let body = json!({ "doc": { "last_day": "2021-01-01" }, "detect_noop": false });
        world.change(Method::POST, &path, body).await;
    }
    world
        .log(&[Event::search(100, LAST_DAY, RECORDSET, 3)])
        .await;
    world
        .run(&["apply", "--day", LAST_DAY])
        .await
        .assert_exit(0)
        .tells(&["1 changed outside daybook and overwritten"]);
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn documents_that_were_dropped_are_written_again() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    let mut dropped = Vec::new();
    for (suffix, documents) in ALIASES.iter().zip(&before) {
        for document in documents.iter().step_by(2) {
            let path = format!(
                "{}{suffix}/_doc/{}",
                world.prefix,
                document.id.replace(':', "%3A")
            );
            world.delete(&path).await;
            dropped.push(document.id.clone());
        }
    }
    let found = world.run(&["verify"]).await.assert_exit(4);
    found.tells(&[
        "5 missing, 0 different, 0 extra; --repair corrects them",
        "2 missing",
        "11 missing",
        &dropped[0],
    ]);
    world
        .run(&["verify", "--projections", "--repair"])
        .await
        .assert_exit(0)
        .tells(&["11 repaired"]);
    world.assert_documents(&before).await;
    world.end().await;
}

#[tokio::test]
async fn another_ledgers_index_is_refused_until_a_rebuild_replaces_it() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    world
        .delete(&format!("{}*?expand_wildcards=all", world.prefix))
        .await;
    let other = World::unmigrated().await;
    other.run(&["migrate"]).await.assert_exit(0);
    other.create_source().await;
    other
        .log(&[Event::search(1, DECREASED_DAY, RECORDSET, 5)])
        .await;
    let same_prefix = [("DAYBOOK_INDEX_PREFIX", world.prefix.as_str())];
    other
        .run_with(&same_prefix, &["apply", "--day", DECREASED_DAY])
        .await
        .assert_exit(0);

    world
        .assert_named(
            "belongs to ledger",
            "`daybook rebuild` replaces it with this ledger's",
        )
        .await;
    world.run(&["rebuild"]).await.assert_exit(0);
    world.assert_documents(&before).await;
    world.run(&["verify"]).await.assert_exit(0);
    // The other one's index is not this one's to delete; and the other is told in its turn.
    assert!(
        world
            .indices()
            .await
            .contains(&"-totals-g000001".to_owned())
    );
    other
        .run_with(&same_prefix, &["project"])
        .await
        .assert_exit(1)
        .says(&["belongs to ledger"]);
    other.end().await;
    world.end().await;
}

#[tokio::test]
async fn an_index_where_the_alias_should_be_is_refused_until_it_is_moved_away() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    let alias = format!("{}-totals", world.prefix);
    world.delete(&format!("{alias}-g000001")).await;
    world
        .change(
            Method::PUT,
            &format!("{alias}/_doc/1"),
            json!({ "somebody's": "own" }),
        )
        .await;

    let recommended =
        format!("(clone it to {alias}-old, say, then delete {alias}) and run the command again");
    world
        .assert_named(
            "is an index, where an alias of daybook should be",
            &recommended,
        )
        .await;
    world
        .run(&["rebuild"])
        .await
        .assert_exit(1)
        .says(&["where an alias of daybook should be", &recommended]);

    world
        .change(
            Method::PUT,
            &format!("{alias}/_settings"),
            json!({ "index.blocks.write": true }),
        )
        .await;
    world
        .change(
            Method::POST,
            &format!("{alias}/_clone/{alias}-old"),
            json!({}),
        )
        .await;
    world.delete(&alias).await;
    world.run(&["project"]).await.assert_exit(0);
    world.assert_documents(&before).await;
    world.end().await;
}

#[tokio::test]
async fn an_alias_over_two_indices_is_refused_until_a_rebuild_gives_it_one() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    let second = json!({ "aliases": { format!("{}-terms", world.prefix): {} } });
    world
        .change(Method::PUT, &format!("{}-second", world.prefix), second)
        .await;
    world
        .assert_named(
            "-terms points to more than one index",
            "`daybook rebuild` makes a new one",
        )
        .await;
    world.run(&["rebuild"]).await.assert_exit(0);
    world.assert_documents(&before).await;
    assert_eq!(world.generation("-terms").await, "g000002");
    world.end().await;
}

#[tokio::test]
async fn an_index_without_a_checkpoint_is_refused_until_it_is_rebuilt() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    let index = format!("{}-totals-g000001", world.prefix);
    world
        .change(
            Method::PUT,
            &format!("{index}/_mapping"),
            json!({ "_meta": {} }),
        )
        .await;
    world
        .assert_named("has no daybook checkpoint", "`daybook rebuild` replaces it")
        .await;
    world.run(&["rebuild"]).await.assert_exit(0);
    world.assert_documents(&before).await;
    world.end().await;
}

/// The three projections, by what `--only` calls them.
const PROJECTIONS: [(&str, &str); 3] = [("", "stats"), ("-totals", "totals"), ("-terms", "terms")];

#[tokio::test]
async fn an_index_that_was_made_with_another_mapping_is_refused_until_it_is_rebuilt() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    for (suffix, name) in PROJECTIONS {
        // As a version made it that mapped dates more strictly, and wrote down only which terms there are.
        let index = format!("{}{suffix}-g000001", world.prefix);
        let mut mappings = world.mappings(&index).await;
        let meta = mappings["_meta"]["daybook"].as_object_mut().unwrap();
        let shape = meta.remove("shape").unwrap();
        if let Some(terms) = shape.get("terms") {
            meta.insert("shape".to_owned(), terms.clone());
        }
        for date in ["harvest_date", "day", "first_day", "last_day"] {
            if let Some(date) = mappings["properties"].get_mut(date) {
                date["format"] = json!("strict_date");
            }
        }
        let documents = world.stored(suffix).await;
        world.delete(&index).await;
        world
            .change(Method::PUT, &index, json!({ "mappings": mappings }))
            .await;
        world.put(&index, documents).await;
        world.point(suffix, &index).await;

        let recommended = format!("run `daybook rebuild --only {name}`");
        world
            .assert_named(
                "was made with a different mapping than this version of daybook uses",
                &recommended,
            )
            .await;
        world
            .run(&["status"])
            .await
            .assert_exit(0)
            .tells(&[&format!("{index} behind"), &recommended]);
        world.run(&["rebuild", "--only", name]).await.assert_exit(0);
        // What cannot be advanced is nothing to go back to.
        let back = world
            .run(&["rebuild", "--rollback", "--only", name])
            .await
            .assert_exit(1);
        back.says(&["was made with a different mapping", &index]);
        world.run(&["verify", "--projections"]).await.assert_exit(0);
        world.assert_documents(&before).await;
    }
    // Those that were not hidden are found all the same: they are the ones that were kept.
    assert_eq!(world.indices().await.len(), 6);
    world.run(&["rebuild"]).await.assert_exit(0);
    assert_eq!(world.indices().await.len(), 6, "the oldest were deleted");
    world.end().await;
}

#[tokio::test]
async fn a_rebuild_does_not_resume_an_index_of_another_mapping() {
    let world = World::with_projections().await;
    for (suffix, name) in PROJECTIONS {
        let rebuild = ["rebuild", "--only", name, "--resume"];
        world
            .run_with(
                &[("DAYBOOK_FAILPOINT", "rebuild.documents_written")],
                &rebuild,
            )
            .await;
        world.until_gone().await;
        let left = format!("{}{suffix}-g000002", world.prefix);
        let mut meta = world.mappings(&left).await["_meta"].clone();
        meta["daybook"]["shape"]["mapping"] = json!("another");
        world
            .change(
                Method::PUT,
                &format!("{left}/_mapping"),
                json!({ "_meta": meta }),
            )
            .await;
        let resumed = world
            .run(&[&["-v"], &rebuild[..]].concat())
            .await
            .assert_exit(0);
        resumed.says(&["deleting the index of an interrupted rebuild"]);
        assert!(
            world.checkpoint(&format!("{}{suffix}", world.prefix)).await["shape"]["mapping"]
                != "another"
        );
    }
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn an_index_that_does_not_keep_sources_is_refused_until_it_is_rebuilt() {
    let world = World::with_projections().await;
    let before = world.projections().await;
    for ((suffix, name), source) in PROJECTIONS.into_iter().zip([
        json!({ "enabled": false }),
        json!({ "excludes": ["records.*.items"] }),
        json!({ "includes": ["term"] }),
    ]) {
        let index = format!("{}{suffix}-g000001", world.prefix);
        let mut mappings = world.mappings(&index).await;
        mappings["_source"] = source;
        world.delete(&index).await;
        world
            .change(Method::PUT, &index, json!({ "mappings": mappings }))
            .await;
        world.point(suffix, &index).await;
        world
            .assert_named(
                "does not keep the source of its documents",
                "`daybook rebuild` replaces it",
            )
            .await;
        world.run(&["rebuild", "--only", name]).await.assert_exit(0);
    }
    world.assert_documents(&before).await;
    world.end().await;
}

#[tokio::test]
async fn a_document_that_somebody_has_emptied_is_no_document_that_is_not_there() {
    let world = World::with_projections().await;
    let seen = world
        .stored("-terms")
        .await
        .into_iter()
        .find(|stored| stored.source.contains("\"record-1\""))
        .unwrap();
    let index = format!("{}-terms-g000001", world.prefix);
    world
        .put(
            &index,
            vec![Stored {
                source: "{}".to_owned(),
                ..seen.clone()
            }],
        )
        .await;
    let document = serde_json::from_str::<Value>(&seen.source).unwrap();
    let recordset_id = document["recordset_id"].as_str().unwrap();
    let event = Event::view(100, LAST_DAY, "record-1", recordset_id);
    world.log(&[event]).await;
    let damage = format!(
        "document {} of {index} lacks its entry_id or has unreadable figures",
        seen.id
    );
    let recommended = "`daybook verify --projections --repair` repairs it";
    world
        .run(&["apply", "--day", LAST_DAY])
        .await
        .assert_exit(3)
        .says(&[&damage, recommended]);
    world
        .run(&["project"])
        .await
        .assert_exit(1)
        .says(&[&damage, recommended]);
    world.run(&["verify", "--projections", "--repair"]).await;
    world.run(&["project"]).await.assert_exit(0);
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn indices_that_are_ahead_of_a_restored_ledger_are_refused_until_they_are_rebuilt() {
    let world = World::before_history().await;
    let [first, second, rest @ ..] = &steps();
    for step in [first, second] {
        world.live(step, &[]).await;
    }
    let before = world.projections().await;
    for step in rest {
        world.live(step, &["--no-project"]).await;
    }
    world.run(&["project"]).await.assert_exit(0);
    world.restore_ledger(4).await;

    let ahead = "contains entries up to 7, the ledger ends at 4";
    let recommended = "rebuild the index from this one with `daybook rebuild`";
    world
        .run(&["project"])
        .await
        .assert_exit(1)
        .says(&[ahead, recommended]);
    world.run(&["status"]).await.assert_exit(0).tells(&[ahead]);
    world
        .run(&["verify", "--projections"])
        .await
        .assert_exit(4)
        .tells(&[ahead, recommended]);
    world.run(&["rebuild"]).await.assert_exit(0);
    world.assert_documents(&before).await;

    // It goes on from there, and posts again what was lost.
    world
        .run(&["apply", "--from", DECREASED_DAY, "--to", LAST_DAY])
        .await
        .assert_exit(0);
    assert_eq!(world.entries().await, 6);
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn indices_of_a_ledger_that_went_another_way_are_refused_until_they_are_rebuilt() {
    let world = World::with_projections().await;
    world.restore_ledger(ENTRIES - 1).await;
    world
        .log(&[Event::search(100, LAST_DAY, RECORDSET, 3)])
        .await;
    world
        .run(&["apply", "--day", LAST_DAY, "--no-project"])
        .await
        .assert_exit(0);
    assert_eq!(
        world.entries().await,
        ENTRIES,
        "the number is the same, the entry is another"
    );

    let recommended = "rebuild the index from this one with `daybook rebuild`";
    world
        .assert_named(
            "contains an entry 7 that differs from the ledger's",
            recommended,
        )
        .await;
    world.run(&["rebuild"]).await.assert_exit(0);
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}
