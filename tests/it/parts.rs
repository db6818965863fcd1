//! A very large cell is divided over several rows. Here, each term of a cell has a row of its own: whatever is read from the
//! ledger must be as if the cells had one row each, and a row that is lost must be missed.

use serde_json::{Value, json};

use crate::support::history::{FIRST_DAY, SECOND, THIRD, steps};
use crate::support::{Event, RECORDSET, World};

/// Two worlds with the same events: one whose cells have one row each, and one whose cells are divided.
struct Divided {
    whole: World,
    divided: World,
}

impl Divided {
    async fn with_projections() -> Self {
        let whole = live(World::before_history().await, &["--no-project"]).await;
        let divided = divided_history().await;
        for world in [&whole, &divided] {
            world.run(&["project"]).await.assert_exit(0);
        }
        Self { whole, divided }
    }

    /// What a query, or a command, tells in both worlds.
    async fn assert_same_value(&self, sql: &str) {
        assert_eq!(
            self.divided.value(sql).await,
            self.whole.value(sql).await,
            "{sql}"
        );
    }

    async fn assert_same_output(&self, arguments: &[&str]) {
        let whole = self.whole.run(arguments).await.assert_exit(0);
        let divided = self.divided.run(arguments).await.assert_exit(0);
        assert_eq!(divided.stdout, whole.stdout, "{arguments:?}");
    }

    async fn end(self) {
        self.whole.end().await;
        self.divided.end().await;
    }
}

/// Lives through the history, whose first day has some cells with more terms.
async fn live(world: World, options: &[&str]) -> World {
    let of = |event: Event, country: &str, query_id: i64| Event {
        ip_geocode: Some(json!({ "country": country }).to_string()),
        query_id: Some(query_id),
        ..event
    };
    let seen = json!({ "a": RECORDSET, "b": RECORDSET, "c": RECORDSET, "\"d\"": RECORDSET });
    world
        .log(&[
            Event::new(101, FIRST_DAY, "seen", &seen),
            of(Event::new(102, FIRST_DAY, "seen", &seen), "Brazil", 1),
            of(Event::view(103, FIRST_DAY, "a", THIRD), "Brazil", 1),
            of(
                Event::view(104, FIRST_DAY, "long-record-id", THIRD),
                "Peru",
                2,
            ),
            of(Event::search(105, FIRST_DAY, SECOND, 3), "Peru", 1),
            of(Event::search(106, FIRST_DAY, SECOND, 4), "Kenya", 2),
            Event::search(107, FIRST_DAY, SECOND, 5),
        ])
        .await;
    for step in steps() {
        world.live(&step, options).await;
    }
    world
}

/// The history, posted in rows of one term.
async fn divided_history() -> World {
    let world = live(World::before_history().await.dividing(), &["--no-project"]).await;
    let parts = "SELECT count(*) FILTER (WHERE part > 0) > 5 FROM daybook.interaction_delta";
    assert_eq!(world.value(parts).await, "true");
    world
}

/// What the ledger has in all, to the term.
const NET: &str = "SELECT jsonb_build_object(
     'terms', (SELECT jsonb_agg(t ORDER BY t::text) FROM (
         SELECT day, recordset_id, record_type, stat_type, dimension, term, sum(n) AS n
         FROM daybook.interaction_term_delta GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(n) <> 0) t),
     'sums', (SELECT jsonb_agg(d ORDER BY d::text) FROM (
         SELECT day, recordset_id, record_type, stat_type, count, total FROM daybook.recordset_day WHERE count <> 0) d))";

#[tokio::test]
async fn a_divided_cell_is_reported_and_documented_as_if_it_had_one_row() {
    let worlds = Divided::with_projections().await;
    for view in [
        "interaction_term_delta",
        "entry_total",
        "day_total",
        "recordset_total",
        "recordset_day",
        "trial_balance",
        "balance_violation",
        "control_sum_violation",
    ] {
        let sql = format!("SELECT jsonb_agg(v ORDER BY v::text) FROM daybook.{view} v");
        worlds.assert_same_value(&sql).await;
    }
    for entry in ["1", "3", "4", "7"] {
        worlds
            .assert_same_output(&["show", entry, "--format", "csv"])
            .await;
        let [whole, divided] = [&worlds.whole, &worlds.divided];
        let mut cells = Vec::new();
        for world in [whole, divided] {
            let told = world.run(&["show", entry]).await.assert_exit(0).stdout;
            let lines = told.lines().skip_while(|line| !line.contains("adds"));
            let log = world.run(&["log", "--before", "2"]).await.assert_exit(0);
            let log = log.stdout.split_whitespace().nth(5).map(str::to_owned);
            cells.push((lines.map(str::to_owned).collect::<Vec<_>>(), log));
        }
        assert_eq!(cells[0], cells[1], "{entry}");
    }
    worlds
        .assert_same_output(&["show", "--day", FIRST_DAY, "--format", "csv"])
        .await;
    for recordset in [RECORDSET, SECOND, THIRD] {
        worlds.assert_same_output(&["totals", recordset]).await;
    }

    // The documents: after one run for all entries, after a rebuild, and advanced entry by entry.
    let documents = worlds.whole.projections().await;
    worlds.divided.assert_documents(&documents).await;
    worlds.divided.run(&["rebuild"]).await.assert_exit(0);
    worlds.divided.assert_documents(&documents).await;
    worlds.divided.run(&["verify"]).await.assert_exit(0);
    worlds.divided.assert_sound().await;
    let advancing = live(World::before_history().await.dividing(), &[]).await;
    advancing.assert_documents(&documents).await;
    advancing.end().await;
    worlds.end().await;
}

#[tokio::test]
async fn a_divided_cell_is_corrected_refused_and_reversed_like_any_other() {
    let Divided { whole, mut divided } = Divided::with_projections().await;
    // A view is gone: that is refused, then accepted.
    let decreased = ["apply", "--day", FIRST_DAY];
    let accepted = [&decreased[..], &["--accept-decrease"]].concat();
    for world in [&whole, &divided] {
        world.execute("DELETE FROM stats WHERE id = 9").await;
        let refused = world.run(&decreased).await.assert_exit(1);
        refused.says(&["the day stays as posted", "--accept-decrease"]);
        assert_eq!(world.entries().await, 7);
        world.run(&accepted).await.assert_exit(0);
    }
    assert_eq!(divided.value(NET).await, whole.value(NET).await);

    // Reversed, and restored by a run that divides otherwise.
    let before = divided.value(NET).await;
    divided.divides = false;
    for world in [&whole, &divided] {
        world
            .run(&["reverse", "1", "--reason", "bots"])
            .await
            .assert_exit(0);
    }
    assert_eq!(divided.value(NET).await, whole.value(NET).await);
    divided.divides = true;
    for world in [&whole, &divided] {
        world
            .run(&["reverse", "9", "--reason", "no bots"])
            .await
            .assert_exit(0);
    }
    assert_eq!(divided.value(NET).await, before);
    divided.assert_documents(&whole.projections().await).await;
    divided.assert_sound().await;
    divided
        .run(&["verify", "--ledger", "--projections"])
        .await
        .assert_exit(0);
    // A reversal of the same rows is divided in the same way: only the signs differ.
    let opposite = "SELECT count(*) FROM daybook.interaction_delta d JOIN daybook.interaction_delta r
                        USING (recordset_id, record_type, stat_type, part)
                    WHERE d.entry_id = 1 AND r.entry_id = 10 AND d.items = r.items AND d.queries = r.queries AND d.geocodes = r.geocodes";
    assert_eq!(
        divided.value(opposite).await,
        divided
            .value("SELECT delta_rows FROM daybook.entry WHERE entry_id = 1")
            .await
    );
    for world in [whole, divided] {
        world.end().await;
    }
}

#[tokio::test]
async fn a_divided_cell_is_exported_and_imported_exactly() {
    let (world, copy) = (divided_history().await, World::new().await);
    let file = std::env::temp_dir().join(format!("daybook-parts-{}.ndjson", world.prefix));
    let path = file.to_str().expect("a path in UTF-8");
    world
        .run(&["export", "--output", path])
        .await
        .assert_exit(0);
    let export = std::fs::read_to_string(&file).unwrap();
    let with_part = |part: i64| {
        move |line: &&str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["delta"]["part"] == part
        }
    };
    assert!(
        !export.contains(r#""part":0"#),
        "a cell with one row is exported as one"
    );

    // A part that is missing is missed where it is.
    let lost = export.lines().find(with_part(1)).expect("a second part");
    std::fs::write(&file, export.replacen(&format!("{lost}\n"), "", 1)).unwrap();
    let refused = copy.run(&["import", path]).await.assert_exit(1);
    refused.says(&["a row of entry 1 is out of order", "records, seen"]);

    std::fs::write(&file, &export).unwrap();
    copy.run(&["import", path]).await.assert_exit(0);
    let rows =
        "SELECT string_agg(d::text, E'\n' ORDER BY d::text) FROM daybook.interaction_delta d";
    assert_eq!(copy.value(rows).await, world.value(rows).await);
    copy.run(&["verify", "--ledger"]).await.assert_exit(0);
    std::fs::remove_file(&file).unwrap();
    for world in [world, copy] {
        world.end().await;
    }
}

#[tokio::test]
async fn a_part_that_is_lost_or_carries_sums_is_found() {
    let world = divided_history().await;
    let verify = async || {
        let ended = world.run(&["verify", "--ledger", "--json"]).await;
        let findings = ended.assert_exit(4).messages_of("finding");
        let named = findings.iter().map(|finding| {
            let [place, what] = ["place", "what"].map(|field| finding[field].as_str().unwrap());
            let (place, _) = place.split_once(" of ").unwrap_or((place, ""));
            format!("{place}: {what}")
        });
        named.collect::<Vec<_>>()
    };
    let cell =
        format!("recordset_id = '{RECORDSET}' AND record_type = 'records' AND stat_type = 'seen'");
    let of_cell = format!("entry 1, recordset {RECORDSET}, records, seen");

    // Its last part is lost.
    world
        .execute("CREATE TABLE kept AS TABLE daybook.interaction_delta")
        .await;
    let lose =
        format!("DELETE FROM daybook.interaction_delta WHERE entry_id = 1 AND {cell} AND part = 1");
    world.tamper(&lose).await;
    assert_eq!(
        verify().await,
        [
            "entry 1: its rows do not give its content_hash".to_owned(),
            "entry 1: its number of rows is not the one in its header".to_owned(),
            format!("{of_cell}: its maps do not sum to its total"),
        ]
    );
    assert_eq!(
        world
            .value("SELECT jsonb_agg(v.stat_type) FROM daybook.control_sum_violation v")
            .await,
        r#"["seen"]"#
    );
    // Whoever does the hashes over as well is found by the sums.
    let restore =
        "DELETE FROM daybook.interaction_delta; INSERT INTO daybook.interaction_delta TABLE kept";
    world.tamper(restore).await;
    world
        .tamper_and_rehash(&format!(
            "{lose}; UPDATE daybook.entry SET delta_rows = delta_rows - 1 WHERE entry_id = 1"
        ))
        .await;
    assert_eq!(
        verify().await,
        [format!("{of_cell}: its maps do not sum to its total")]
    );
    world.tamper(restore).await;

    // A part with another balance than the cell's.
    let balance = format!(
        "UPDATE daybook.interaction_delta SET count_balance = 7 WHERE entry_id = 1 AND {cell} AND part = 1"
    );
    world
        .tamper_and_rehash(&format!(
            "UPDATE daybook.entry SET delta_rows = delta_rows + 1 WHERE entry_id = 1; {balance}"
        ))
        .await;
    assert_eq!(
        verify().await,
        [format!(
            "{of_cell}, part 1: its balance is not the sum of the cell's rows up to it"
        )]
    );
    // The table itself refuses sums on a further part.
    let with_sums = format!(
        "UPDATE daybook.interaction_delta SET count = 1 WHERE entry_id = 1 AND {cell} AND part = 1"
    );
    let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "ALTER TABLE daybook.interaction_delta DISABLE TRIGGER ALL; {with_sums}"
    )))
    .execute(&mut world.sql().await)
    .await
    .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("interaction_delta_sums_stand_on_the_first_part"),
        "{refused}"
    );
    world.end().await;
}
