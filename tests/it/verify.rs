//! Verification: what it finds in the ledger, in the source and in the indices, where it looks, and what it repairs.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::history::{DECREASED_DAY, FIRST_DAY, LAST_DAY, SECOND, THIRD};
use crate::support::indices::ALIASES;
use crate::support::program::{Ended, command};
use crate::support::proxy::{Proxy, Reply};
use crate::support::{Event, RECORDSET, World};

impl Ended {
    /// What was found: where, and what.
    fn findings(&self) -> Vec<[String; 2]> {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        self.messages_of("finding")
            .iter()
            .map(|found| [text(&found["place"]), text(&found["what"])])
            .collect()
    }
}

/// The ledger's whole content, as one value.
const LEDGER: &str =
    "SELECT md5((SELECT string_agg(e::text, '' ORDER BY entry_id) FROM daybook.entry e)
     || (SELECT string_agg(d::text, '' ORDER BY d) FROM daybook.interaction_delta d))";

#[tokio::test]
async fn a_sound_world_is_found_sound_by_people_and_by_machines() {
    let world = World::with_projections().await;
    let ledger = world.value(LEDGER).await;
    let said = world.run(&["verify"]).await.assert_exit(0);
    said.tells(&[
        "7 entries: hashes, chain, control sums and balances are correct",
        "5 days recounted: the ledger agrees",
        "10 documents compared: all match the ledger",
        "3 documents compared",
        "21 documents compared",
    ]);
    let messages = world
        .run(&["verify", "--json"])
        .await
        .assert_exit(0)
        .messages();
    let types: Vec<&Value> = messages
        .iter()
        .map(|message| &message["message_type"])
        .collect();
    let projection = "projection_verified";
    assert_eq!(
        types,
        [
            "ledger_verified",
            "source_verified",
            projection,
            projection,
            projection
        ]
    );
    assert_eq!(
        (&messages[0]["entries"], &messages[1]["days"]),
        (&json!(7), &json!(5))
    );
    assert_eq!(messages[4]["comparison"]["compared"], 21);
    assert_eq!(world.value(LEDGER).await, ledger);
    world.end().await;
}

/// The entries whose content the server itself finds to differ.
const DIFFERING_ENTRIES: &str =
    "SELECT coalesce(string_agg(format('entry %s of %s', entry_id, day), ', ' ORDER BY entry_id), '')
     FROM daybook.entry_check WHERE content_differs AND NOT header_missing";

#[tokio::test]
async fn each_way_to_tamper_with_the_ledger_is_found_and_the_entry_is_named() {
    let world = World::with_history().await;
    let tables = ["entry", "interaction_delta", "ledger"];
    for table in tables {
        world
            .execute(&format!(
                "CREATE TABLE kept_{table} AS TABLE daybook.{table}"
            ))
            .await;
    }
    let [content, header] = [
        "its rows do not give its content_hash",
        "its header does not give its entry_hash",
    ];
    let [chain, number] = [
        "its previous_hash is not the hash of the entry before",
        "its number of rows is not the one in its header",
    ];
    let [sums, balance] = [
        "its maps do not sum to its total",
        "its balance is not the sum of the cell's rows",
    ];
    let totals = "its rows do not give its totals";
    let row = format!("entry_id = 3 AND recordset_id = '{RECORDSET}' AND stat_type = 'search'");
    let update = |set: &str| format!("UPDATE daybook.interaction_delta SET {set} WHERE {row}");
    for (tampering, findings) in [
        (update("count = count + 1"), &[("entry 3 of 2020-02-12", content), ("entry 3 of", totals), ("entry 3, recordset", balance)][..]),
        (update("total = total - 1"), &[("entry 3 of", content), ("entry 3, recordset", sums), ("entry 3, ", balance)]),
        // The sums hold: only the hash tells.
        (update(r#"queries = '{"another hash": 11}'"#), &[("entry 3 of", content)]),
        (update(r#"geocodes = '{"null": 10}'"#), &[("entry 3 of", content), ("entry 3, recordset", sums)]),
        (
            update(r#"geocodes = '{"null": "eleven"}'"#),
            &[("entry 3 of", content), ("entry 3, recordset", "its geocodes are not a map of integers")],
        ),
        // A row that cannot be computed with is not the end.
        (
            format!("{}; {}", update("queries = '{\"hash-1\": 0.5}'"), update("total_balance = 0").replace("= 3", "= 1")),
            &[("entry 3, recordset", "its queries are not a map of integers"), ("entry 1, recordset", balance)],
        ),
        (update("total_balance = 0"), &[("entry 3 of", content), ("entry 3, recordset", balance)]),
        (update("first_day = '2020-01-01'"), &[("entry 3 of", content), ("entry 3, recordset", balance)]),
        (update("day = '2020-02-11'"), &[("entry 3 of", content), ("entry 3, recordset", "its day is not that of its entry")]),
        (format!("DELETE FROM daybook.interaction_delta WHERE {row}"), &[("entry 3 of", content), ("entry 3 of", number)]),
        (
            format!(
                "INSERT INTO daybook.interaction_delta
                 SELECT gen_random_uuid(), record_type, stat_type, 2, '2020-02-11', 1, 1, items, '{{\"\": 1}}', '{{\"null\": 1}}',
                     1, 1, '2020-02-11', '2020-02-11' FROM daybook.interaction_delta WHERE {row}"
            ),
            &[("entry 2 of 2020-02-11", content), ("entry 2 of", number)],
        ),
        ("UPDATE daybook.entry SET source_fingerprint = '' WHERE entry_id = 3".to_owned(), &[("entry 3 of", header)]),
        ("UPDATE daybook.entry SET totals = totals - 0 WHERE entry_id = 3".to_owned(), &[("entry 3 of", header), ("entry 3 of", totals)]),
        ("UPDATE daybook.entry SET totals = '[1]' WHERE entry_id = 3".to_owned(), &[("entry 3 of", header), ("entry 3 of", totals)]),
        ("UPDATE daybook.entry SET posted_by = 'nobody' WHERE entry_id = 7".to_owned(), &[("entry 7 of", header)]),
        // Whoever makes the hashes fit has to change every later entry as well.
        (
            "UPDATE daybook.entry SET reason = 'none' WHERE entry_id = 3;
             UPDATE daybook.entry e SET entry_hash = daybook.entry_hash_of(e) WHERE entry_id = 3"
                .to_owned(),
            &[("entry 4 of 2020-02-10", chain)],
        ),
        (
            "DELETE FROM daybook.entry WHERE entry_id = 3".to_owned(),
            &[("entry 4 of", "the entry before is missing"), ("entry 4 of", chain), ("entry 3, recordset", "or its entry is missing")],
        ),
        (
            "DELETE FROM daybook.entry WHERE entry_id = 2".to_owned(),
            &[("entry 3 of", "the entry before is missing"), ("entry 3 of", chain)],
        ),
        ("UPDATE daybook.ledger SET time_zone = 'Europe/Vienna'".to_owned(), &[("entry 1 of", chain)]),
    ] {
        world.tamper(&tampering).await;
        let found = world.run(&["verify", "--ledger", "--json"]).await.assert_exit(4);
        let found = found.findings();
        let differ = found.iter().filter(|[_, what]| what == content).map(|[place, _]| place.clone());
        assert_eq!(differ.collect::<Vec<_>>().join(", "), world.value(DIFFERING_ENTRIES).await, "{tampering}");
        for (place, what) in findings {
            let is_it = |[at, is]: &[String; 2]| at.contains(place) && is.contains(what);
            assert!(found.iter().any(is_it), "{tampering}: no '{what}' at '{place}' in {found:?}");
        }
        for table in tables {
            let restore = format!("DELETE FROM daybook.{table}; INSERT INTO daybook.{table} TABLE kept_{table}");
            world.tamper(&restore).await;
        }
    }
    world.run(&["verify", "--ledger"]).await.assert_exit(0);
    world.end().await;
}

/// Takes a constraint away that keeps some ways to tamper from being tried.
const UNLOCK: &str =
    "ALTER TABLE daybook.interaction_delta DROP CONSTRAINT interaction_delta_check";

#[tokio::test]
async fn a_ledger_is_sound_in_whatever_order_its_rows_lie() {
    let world = World::with_history().await;
    for order in [
        "entry_id DESC, stat_type",
        "recordset_id, stat_type, entry_id",
        "md5(d::text)",
    ] {
        world
            .tamper(&format!(
                "CREATE TABLE kept AS TABLE daybook.interaction_delta; DELETE FROM daybook.interaction_delta;
                 INSERT INTO daybook.interaction_delta SELECT * FROM kept d ORDER BY {order};
                 DROP TABLE kept"
            ))
            .await;
        world
            .run(&["verify", "--ledger"])
            .await
            .assert_exit(0)
            .tells(&["7 entries: hashes"]);
    }
    world.end().await;
}

#[tokio::test]
async fn rows_that_no_posting_makes_are_found_and_the_others_are_verified_all_the_same() {
    let world = World::with_history().await;
    world.execute(UNLOCK).await;
    let row = format!("entry_id = 3 AND recordset_id = '{RECORDSET}' AND stat_type = 'search'");
    // Rows of entries without a header, before the first and after the last.
    world
        .tamper(&format!(
            "INSERT INTO daybook.interaction_delta
             SELECT gen_random_uuid(), record_type, stat_type, other, day, count, total, items, queries, geocodes,
                 count, total, day, day FROM daybook.interaction_delta, unnest('{{-1, 99}}'::bigint[]) other WHERE {row}"
        ))
        .await;
    // A cell and dates that are none, and a field that is not there.
    world
        .tamper(
            "ALTER TABLE daybook.interaction_delta DROP CONSTRAINT interaction_delta_stat_type_check;
             ALTER TABLE daybook.interaction_delta ALTER COLUMN total DROP NOT NULL;
             UPDATE daybook.interaction_delta SET stat_type = 'stare' WHERE entry_id = 1 AND stat_type = 'view';
             UPDATE daybook.interaction_delta SET last_day = 'infinity' WHERE entry_id = 7 AND stat_type = 'seen';
             UPDATE daybook.interaction_delta SET total = NULL WHERE entry_id = 4 AND stat_type = 'view'",
        )
        .await;
    let ended = world
        .run(&["verify", "--ledger", "--json"])
        .await
        .assert_exit(4);
    assert_eq!(ended.messages_of("ledger_verified")[0]["entries"], 9);
    let found = ended.findings();
    let [content, balance] = [
        "its rows do not give its content_hash",
        "its balance is not the sum of the cell's rows",
    ];
    for (place, what) in [
        (
            "entry -1 of 2020-02-12",
            "there are rows of it, but its header is missing",
        ),
        (
            "entry 99 of 2020-02-12",
            "there are rows of it, but its header is missing",
        ),
        (
            "entry -1, recordset",
            "its day is not that of its entry, or its entry is missing",
        ),
        (
            "entry 99, recordset",
            "its day is not that of its entry, or its entry is missing",
        ),
        ("entry 1 of 2020-02-10", content),
        ("records, stare", "its maps do not sum to its total"),
        // The cell has lost the row that is another's now.
        ("entry 3, recordset", balance),
        ("entry 7 of 2020-02-14", content),
        ("entry 7, recordset", balance),
        ("entry 4 of 2020-02-10", content),
        (
            "a row of entry 4",
            "it cannot be checked: one of its fields is NULL",
        ),
    ] {
        let is_it = |[at, is]: &[String; 2]| at.contains(place) && is.contains(what);
        assert!(
            found.iter().any(is_it),
            "no '{what}' at '{place}' in {found:?}"
        );
    }
    let of = |entry: &str| found.iter().any(|[place, _]| place.starts_with(entry));
    assert!(
        !of("entry 2") && !of("entry 3 of") && !of("entry 5") && !of("entry 6"),
        "{found:?}"
    );
    world.end().await;
}

#[tokio::test]
async fn a_period_narrows_what_is_told_and_not_what_balances_are_summed_over() {
    let world = World::with_history().await;
    world.execute(UNLOCK).await;
    let found = async |from: &str, to: &str| {
        let ended = world
            .run(&["verify", "--ledger", "--json", "--from", from, "--to", to])
            .await;
        // That the constraint is gone is found as well.
        let findings = ended
            .findings()
            .into_iter()
            .filter(|[place, _]| !place.starts_with("constraint "));
        let mut kinds: Vec<String> = findings.map(|[_, what]| what).collect();
        kinds.dedup();
        kinds
    };
    let content = "its rows do not give its content_hash";
    let totals = "its rows do not give its totals";
    let balance = "its balance is not the sum of the cell's rows up to it";
    let [sums, day] = [
        "its maps do not sum to its total",
        "its day is not that of its entry, or its entry is missing",
    ];
    let cell = format!("recordset_id = '{RECORDSET}' AND stat_type = 'search'");
    // What is wrong on the first day shows in the balances of the later ones.
    world
        .tamper(&format!(
            "UPDATE daybook.interaction_delta SET count = 9 WHERE entry_id = 1 AND {cell}"
        ))
        .await;
    assert_eq!(
        found(FIRST_DAY, FIRST_DAY).await,
        [content, totals, balance]
    );
    assert_eq!(found("2020-02-12", "2020-02-12").await, [balance]);
    assert!(found("2020-02-11", "2020-02-11").await.is_empty());
    world
        .tamper(&format!(
            "UPDATE daybook.interaction_delta SET count = 1 WHERE entry_id = 1 AND {cell}"
        ))
        .await;
    assert!(found(FIRST_DAY, LAST_DAY).await.is_empty());
    // A row that is of another day than its entry is looked at with its day, the entry with its own.
    world
        .tamper(&format!(
            r#"UPDATE daybook.interaction_delta SET day = '2020-02-11', geocodes = '{{"null": 1}}' WHERE entry_id = 3 AND {cell}"#
        ))
        .await;
    assert_eq!(found("2020-02-12", "2020-02-12").await, [content]);
    assert_eq!(
        found("2020-02-11", "2020-02-11").await,
        [sums, balance, day]
    );
    world.end().await;
}

#[tokio::test]
async fn events_that_changed_after_the_posting_are_found_and_the_way_out_is_named() {
    let world = World::with_history().await;
    let cases = [
        // Late: a plain run picks it up.
        (
            Event::search(50, FIRST_DAY, SECOND, 4).insert(),
            FIRST_DAY,
            &[][..],
        ),
        // Gone: it takes somebody who says that the source is right.
        (
            "DELETE FROM stats WHERE id = 8".to_owned(),
            "2020-02-12",
            &["--accept-decrease"],
        ),
        // Edited in place: the same events, with other contents.
        (
            format!(r#"UPDATE stats SET payload = '{{"{RECORDSET}": 40}}' WHERE id = 13"#),
            DECREASED_DAY,
            &["--accept-decrease"],
        ),
    ];
    for (change, day, options) in cases {
        world.execute(&change).await;
        let found = world
            .run(&["verify", "--source", "--json"])
            .await
            .assert_exit(4);
        let [[place, what]] = &found.findings()[..] else {
            panic!("{found:?}")
        };
        assert_eq!(place, day);
        let recommended = ["run `daybook apply", "--day", day]
            .into_iter()
            .chain(options.iter().copied());
        let recommended = format!("{}`", recommended.collect::<Vec<_>>().join(" "));
        assert!(
            what.contains("differs from the ledger in 1 cell (") && what.ends_with(&recommended),
            "{what}"
        );
        let arguments = [&["apply", "--no-project", "--day", day], options].concat();
        world.run(&arguments).await.assert_exit(0);
        world.run(&["verify", "--source"]).await.assert_exit(0);
    }
    world.end().await;
}

#[tokio::test]
async fn days_whose_events_were_purged_are_counted_and_no_divergence() {
    let world = World::with_history().await;
    world
        .execute(&format!(
            "DELETE FROM stats WHERE date::date IN ('{FIRST_DAY}', '{LAST_DAY}')"
        ))
        .await;
    let said = world.run(&["verify", "--source"]).await.assert_exit(0);
    said.tells(&["5 days recounted: the ledger agrees; 2 no longer in the source"]);
    let message = &world
        .run(&["verify", "--source", "--json"])
        .await
        .assert_exit(0)
        .messages()[0];
    assert_eq!(
        (&message["days"], &message["sealed"]),
        (&json!(5), &json!(2))
    );
    world.end().await;
}

/// Damages each index in each way; returns what a verification must find: alias, id, what is wrong.
async fn damage(world: &World) -> BTreeSet<[String; 3]> {
    let projections = world.projections().await;
    let mut damaged = BTreeSet::new();
    for (suffix, documents) in ALIASES.iter().zip(&projections) {
        let alias = format!("{}{suffix}", world.prefix);
        let path = |method: &str, id: &str| format!("{alias}/{method}/{}", id.replace(':', "%3A"));
        let mut note =
            |id: &str, what: &str| damaged.insert([alias.clone(), id.to_owned(), what.to_owned()]);
        let [lost, updated, replaced, ..] = &documents[..] else {
            panic!("three documents")
        };
        world
            .elastic(Method::DELETE, &path("_doc", &lost.id), None)
            .await;
        note(&lost.id, "missing");
        // One field of it, through an update.
        let body = json!({ "doc": { "entry_id": 999 } });
        world
            .elastic(Method::POST, &path("_update", &updated.id), Some(body))
            .await;
        note(&updated.id, "different");
        // All of it, through a plain request.
        let mut source: Value = serde_json::from_str(&replaced.source).unwrap();
        source["records"]["search"] = json!({ "total": 12345 });
        world
            .elastic(Method::PUT, &path("_doc", &replaced.id), Some(source))
            .await;
        note(&replaced.id, "different");
        // Of a day without events, of an unknown recordset, of a known one spelled in another way, of nothing.
        let others: &[String] = match *suffix {
            "" => &[
                format!("2020-02-11:{SECOND}"),
                format!("{FIRST_DAY}:{}", THIRD.to_uppercase()),
                "note".to_owned(),
            ],
            "-totals" => &[uuid::Uuid::nil().to_string(), RECORDSET.to_uppercase()],
            _ => &["0123456789abcdefghijkl".to_owned()],
        };
        for id in others {
            let source = serde_json::from_str(&updated.source).unwrap();
            world
                .elastic(Method::PUT, &path("_doc", id), Some(source))
                .await;
            note(id, "extra");
        }
    }
    damaged
}

#[tokio::test]
async fn documents_that_are_missing_edited_or_foreign_are_named_and_repaired_and_the_ledger_is_left_alone()
 {
    let world = World::with_projections().await;
    let before = world.projections().await;
    let ledger = world.value(LEDGER).await;
    let damaged = damage(&world).await;
    let found = world
        .run(&["verify", "--projections", "--json"])
        .await
        .assert_exit(4)
        .messages_of("finding");
    let fields = ["area", "place", "what"];
    let found = found
        .iter()
        .map(|finding| fields.map(|field| finding[field].as_str().unwrap().to_owned()));
    assert_eq!(found.collect::<BTreeSet<_>>(), damaged);
    let said = world.run(&["verify", "--projections"]).await.assert_exit(4);
    said.tells(&[
        "1 missing, 2 different, 3 extra; --repair corrects them",
        "different in",
        ": document note",
    ]);

    let repaired = world
        .run(&["verify", "--projections", "--repair"])
        .await
        .assert_exit(0);
    repaired.tells(&["1 missing, 2 different, 3 extra; 6 repaired"]);
    world.assert_sources(&before).await;
    assert_eq!(world.value(LEDGER).await, ledger);
    world.run(&["verify", "--projections"]).await.assert_exit(0);

    // What was repaired takes further entries like any other document.
    world
        .log(&[
            Event::search(60, LAST_DAY, RECORDSET, 4),
            Event::view(61, FIRST_DAY, "record-1", RECORDSET),
        ])
        .await;
    world
        .run(&["apply", "--from", FIRST_DAY, "--to", LAST_DAY])
        .await
        .assert_exit(0);
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn a_repair_is_of_documents() {
    for options in [["--ledger", "--repair"], ["--source", "--repair"]] {
        let settings = [(
            "DAYBOOK_LEDGER_URL",
            "postgres://nobody@127.0.0.1:9/nothing",
        )];
        let arguments = [&["verify"], &options[..]].concat();
        let ended = command(&settings, &arguments)
            .output()
            .await
            .expect("run the program");
        Ended::from(ended)
            .assert_exit(2)
            .says(&["--repair rewrites documents: use it with --projections"]);
    }
}

#[tokio::test]
async fn it_looks_no_further_than_it_is_asked_to() {
    let world = World::with_projections().await;
    let compared = async |options: &[&str]| -> Vec<i64> {
        let arguments = [&["verify", "--json"], options].concat();
        let messages = world.run(&arguments).await.assert_exit(0).messages();
        let figure = |message: &Value| {
            let figures = [
                &message["entries"],
                &message["days"],
                &message["comparison"]["compared"],
            ];
            figures.into_iter().find_map(Value::as_i64)
        };
        messages.iter().filter_map(figure).collect()
    };
    assert_eq!(
        compared(&["--from", "2020-02-12", "--to", "2020-02-13"]).await,
        [3, 2, 5, 3, 21]
    );
    assert_eq!(compared(&["--from", LAST_DAY]).await, [1, 1, 2, 3, 21]);
    assert_eq!(compared(&["--sample", "2"]).await, [7, 2, 5, 1, 10]);

    // Damage of the first day, and a document of no day.
    let daily = format!("{}/_doc/{FIRST_DAY}%3A{RECORDSET}", world.prefix);
    world.elastic(Method::DELETE, &daily, None).await;
    world.log(&[Event::search(50, FIRST_DAY, SECOND, 4)]).await;
    world
        .tamper("UPDATE daybook.entry SET reason = 'x' WHERE entry_id = 1")
        .await;
    world
        .run(&["verify", "--from", "2020-02-11"])
        .await
        .assert_exit(0);
    for area in ["--ledger", "--source", "--projections"] {
        world
            .run(&["verify", area, "--to", FIRST_DAY])
            .await
            .assert_exit(4);
    }
    world
        .run(&["verify", "--from", LAST_DAY, "--to", FIRST_DAY])
        .await
        .assert_exit(2)
        .says(&["is after --to"]);
    // Of all time and of no day: a period does not narrow what is looked for there.
    let source = world.stored("-totals").await[0].source.clone();
    let path = format!("{}-totals/_doc/{}", world.prefix, uuid::Uuid::nil());
    world
        .elastic(Method::PUT, &path, serde_json::from_str(&source).unwrap())
        .await;
    let found = world
        .run(&["verify", "--projections", "--from", "2020-02-11"])
        .await
        .assert_exit(4);
    found.tells(&["1 extra"]);
    world.end().await;
}

#[tokio::test]
async fn documents_that_are_counted_but_not_found_are_no_agreement() {
    let world = World::with_projections().await;
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.answer(|request, _| {
        request
            .line
            .contains("_count")
            .then(|| Reply::new(200, r#"{"count":1000}"#))
    });
    let through_proxy = [("DAYBOOK_ELASTICSEARCH_URL", proxy.url())];
    let unsure = world
        .run_with(&through_proxy, &["verify", "--projections"])
        .await
        .assert_exit(1);
    unsure.says(&[
        "holds 1000 documents",
        "0 were found to be extra",
        "somebody else is writing to it",
    ]);
    world.end().await;
}
