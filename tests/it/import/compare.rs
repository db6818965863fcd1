//! The check of a move: what was left says what the ledger has, or it is named what differs.

use serde_json::{Value, json};

use super::documents::{Folder, HARVESTED, average, real_documents, recordset, search};
use super::{DAY, OTHER};
use crate::support::{Event, RECORDSET, World};

/// Row 30 of the cases, over a day that was applied from its events.
#[tokio::test]
async fn an_old_index_that_says_what_the_ledger_has_is_the_same() {
    let world = World::new().await;
    world.load_real_day().await;
    world
        .run(&["apply", "--day", DAY, "--no-project"])
        .await
        .assert_exit(0);
    let index = format!("{}-old", world.prefix);
    let documents = real_documents();
    for _ in 0..2 {
        world.fill_old_index(&index, &documents).await;
    }
    let address = world.old_index(&index);
    let ended = world
        .run(&["compare", "--from-index", &address])
        .await
        .assert_exit(0);
    ended.tells(&[
        "2020-02-16  the same: 3,230 documents → 9,991 interactions, 383,011,472 records; 1,615 duplicates",
        "1 day, 2020-02-16 to 2020-02-16: 1 the same, 0 different, 0 not in the ledger, 0 not in the documents",
    ]);
    world
        .import(&["--from-index", &address])
        .await
        .assert_exit(0)
        .tells(&["2020-02-16  the same as in the ledger, nothing to post"]);
    assert_eq!(world.entries().await, 1);
    // One term of one document.
    let folder = Folder::new();
    let mut changed = documents;
    let cells = changed
        .iter_mut()
        .flat_map(|document| document["records"].as_object_mut().unwrap().values_mut());
    let mut queries = cells
        .filter_map(|cell| cell["queries"].as_array_mut())
        .filter(|queries| queries.len() > 1);
    queries.next().unwrap()[0]["term"] = json!("another");
    let file = folder.lines("changed.log", &changed);
    let ended = world.run(&["compare", &file]).await.assert_exit(4);
    ended.tells(&[
        "2020-02-16  differs: ",
        "1 recordset differs:\n  recordset ",
        "in both, with different cells or terms",
    ]);
    world
        .import(&[&file])
        .await
        .assert_exit(1)
        .tells(&["2020-02-16  1 recordset differs:"]);
    assert_eq!(world.entries().await, 1);
    world.end().await;
}

#[tokio::test]
async fn what_differs_is_named_with_both_figures() {
    let world = World::new().await;
    for day in [
        "2020-02-09",
        "2020-02-10",
        "2020-02-11",
        "2020-02-12",
        "2020-02-20",
    ] {
        let id = |n: i64| day[8..].parse::<i64>().unwrap() * 10 + n;
        world
            .log(&[
                Event::search(id(1), day, RECORDSET, 5),
                Event::search(id(2), day, OTHER, 7),
            ])
            .await;
    }
    world
        .run(&[
            "apply",
            "--from",
            "2020-02-09",
            "--to",
            "2020-02-13",
            "--no-project",
        ])
        .await
        .assert_exit(0);
    world
        .run(&["apply", "--day", "2020-02-20", "--no-project"])
        .await
        .assert_exit(0);
    // What the ledger has as documents would say it.
    let as_ledger = |recordset: &str, harvested: &str, total: i64| {
        let mut document = search(recordset, harvested, 1, total);
        document["records"]["search"]["geocodes"] = json!([{ "geo": { "country": "United States", "region": "Florida", "city": "Gainesville" }, "count": total }]);
        document
    };
    let folder = Folder::new();
    let documents = [
        // The 9th is the same, and twice.
        as_ledger(RECORDSET, "2020-02-10", 5),
        as_ledger(OTHER, "2020-02-10", 7),
        as_ledger(OTHER, "2020-02-10", 7),
        // Of the 10th one is other, one missing.
        as_ledger(RECORDSET, "2020-02-11", 6),
        // The 11th is missing. The 12th has conflicting documents.
        as_ledger(RECORDSET, "2020-02-13", 5),
        as_ledger(RECORDSET, "2020-02-13", 6),
        // The 13th was quiet, and the ledger does not have the 14th.
        as_ledger(RECORDSET, "2020-02-15", 5),
    ];
    let file = folder.lines("old.log", &documents);
    let ended = world.run(&["compare", &file]).await.assert_exit(4);
    let ended = ended.tells(&[
        "2020-02-09  the same: 3 documents → 2 interactions, 12 records; 1 duplicate\n",
        "2020-02-10  differs: 1 document → 1 interaction, 6 records; the ledger has 2 interactions, 12 records; 2 recordsets differ:\n",
        &format!("  recordset {RECORDSET}: 1 interaction, 6 records in the documents; 1 interaction, 5 records in the ledger\n"),
        &format!("  recordset {OTHER}: 0 interactions, 0 records in the documents; 1 interaction, 7 records in the ledger\n"),
        "2020-02-12  cannot be compared, the ledger has 2 interactions, 12 records: its documents conflict on 1 recordset\n",
        "2020-02-14  not in the ledger: 1 document → 1 interaction, 5 records\n",
        "2020-02-11  not in the documents: the ledger has 2 interactions, 12 records\n",
        "different: 2020-02-10\nnot in the ledger: 2020-02-14\nnot in the documents: 2020-02-11\nnot comparable: 2020-02-12\n",
        "not compared: 1 day of the ledger before or after\n",
        "the documents and the ledger differ",
    ]);
    assert!(!ended.stdout.contains("2020-02-13  "), "{}", ended.stdout);
    let ended = world
        .run(&[
            "compare",
            "--json",
            "--on-conflict",
            "first",
            "--to",
            "2020-02-12",
            &file,
        ])
        .await
        .assert_exit(4);
    let of = |day: &str| -> Value {
        ended
            .messages_of("compare_day")
            .into_iter()
            .find(|message| message["day"] == day)
            .unwrap_or_default()
    };
    let differing = &of("2020-02-10")["differing"][0];
    assert_eq!(differing["documents"], json!({ "count": 1, "total": 6 }));
    assert_eq!(differing["ledger"], json!({ "count": 1, "total": 5 }));
    assert_eq!(
        (
            &of("2020-02-12")["outcome"],
            &of("2020-02-12")["recordsets"]
        ),
        (&json!("different"), &json!(1))
    );
    assert_eq!(of("2020-02-11")["outcome"], json!("not_in_documents"));
    let summary = &ended.messages_of("compare_summary")[0];
    assert_eq!(
        (&summary["days_same"], &summary["days_beyond"]),
        (&json!(1), &json!(2))
    );
    // It is the same whether a day was applied or imported, with all its terms or without.
    let averaged = folder.lines("average.log", &[average(RECORDSET, "2017-03-05", 4, 90)]);
    world.import(&[&averaged]).await.assert_exit(0);
    world
        .run(&["compare", &averaged])
        .await
        .assert_exit(0)
        .tells(&["2017-03-04  the same", "\nthe same\n"]);
    assert_eq!(
        world
            .value("SELECT count(*) FROM daybook.run WHERE command = 'compare'")
            .await,
        "0"
    );
    world.end().await;
}

#[tokio::test]
async fn a_long_comparison_names_some_and_counts_the_rest() {
    let world = World::new().await;
    let folder = Folder::new();
    let of = |total: i64| {
        (0..30)
            .map(move |n| search(&recordset(n), HARVESTED, 1, total))
            .collect::<Vec<_>>()
    };
    world
        .import(&[&folder.lines("a.log", &of(5))])
        .await
        .assert_exit(0);
    let other = folder.lines("b.log", &of(6));
    let ended = world.run(&["compare", &other]).await.assert_exit(4);
    assert_eq!(
        ended.stdout.matches("  recordset ").count(),
        20,
        "{}",
        ended.stdout
    );
    ended.tells(&["30 recordsets differ:", "and 10 more (--json lists them)"]);
    let ended = world
        .run(&["compare", "--json", &other])
        .await
        .assert_exit(4);
    assert_eq!(
        ended.messages_of("compare_day")[0]["differing"]
            .as_array()
            .unwrap()
            .len(),
        30
    );
    // An export is a ledger of its own.
    let export = folder.0.join("ledger.ndjson");
    world
        .run(&["export", "--output", export.to_str().unwrap()])
        .await
        .assert_exit(0);
    world
        .run(&["compare", export.to_str().unwrap()])
        .await
        .assert_exit(2)
        .says(&["is a ledger export"]);
    world.end().await;
}

/// A day that was quiet is the same as documents that say so.
#[tokio::test]
async fn a_quiet_day_is_the_same_and_is_not_posted_again() {
    let world = World::new().await;
    world
        .run(&["apply", "--day", DAY, "--no-project"])
        .await
        .assert_exit(0);
    let folder = Folder::new();
    let mut nothing = average(RECORDSET, HARVESTED, 0, 0);
    nothing["records"]["search"] = json!({ "count": 0, "total": 0 });
    let file = folder.lines("quiet.log", &[nothing]);
    world
        .import(&[&file])
        .await
        .assert_exit(0)
        .tells(&["the same as in the ledger"]);
    world
        .run(&["compare", &file])
        .await
        .assert_exit(0)
        .tells(&["2020-02-16  the same"]);
    assert_eq!(world.entries().await, 1);
    world.end().await;
}
