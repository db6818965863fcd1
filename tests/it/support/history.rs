//! A ledger with a history: days with repeated terms, a quiet day, late events, and events that were removed.

use serde_json::json;
use tokio::sync::OnceCell;

use super::{Event, RECORDSET, World};

/// Other recordsets than [`RECORDSET`].
pub const SECOND: &str = "0e162e0a-bf3e-4710-9357-44258ca12abb";
pub const THIRD: &str = "f9f1b2c4-0000-4000-8000-00000000abcd";

/// The days of the history.
pub const FIRST_DAY: &str = "2020-02-10";
const QUIET_DAY_THEN: &str = "2020-02-12";
pub const DECREASED_DAY: &str = "2020-02-13";
pub const LAST_DAY: &str = "2020-02-14";

/// The number of entries in the history.
pub const ENTRIES: i64 = 7;

/// A record of [`THIRD`] whose views are all removed again.
pub const TAKEN_BACK: &str = "record-x";

/// A change to the source, and how it is applied.
pub struct Step {
    events: Vec<Event>,
    deleted: &'static [i64],
    apply: &'static [&'static str],
}

/// The history, step by step.
pub fn steps() -> [Step; 5] {
    let of_canada = |event: Event| Event {
        ip_geocode: Some(
            json!({ "country": "Canada", "region": "Ontario", "city": "Ottawa" }).to_string(),
        ),
        ..event
    };
    let from_nowhere = |event: Event| Event {
        ip_geocode: None,
        ..event
    };
    let by_query = |query_id: i64, event: Event| Event {
        query_id: Some(query_id),
        ..event
    };
    let of_media = |event: Event| Event {
        record_type: Some("mediarecords".to_owned()),
        ..event
    };
    let step = |events, apply| Step {
        events,
        deleted: &[],
        apply,
    };
    [
        step(
            vec![
                by_query(
                    1,
                    Event::new(1, FIRST_DAY, "search", &json!({ RECORDSET: 5, SECOND: 7 })),
                ),
                Event::search(2, FIRST_DAY, THIRD, 0),
                Event::view(3, FIRST_DAY, "record-1", RECORDSET),
                from_nowhere(by_query(
                    2,
                    Event::new(
                        4,
                        FIRST_DAY,
                        "seen",
                        &json!({ "record-1": RECORDSET, "record-2": RECORDSET }),
                    ),
                )),
                of_canada(Event::view(5, QUIET_DAY_THEN, "record-1", RECORDSET)),
                of_media(Event::view(6, QUIET_DAY_THEN, "medium-1", SECOND)),
                of_canada(by_query(1, Event::search(7, QUIET_DAY_THEN, RECORDSET, 11))),
                Event::new(8, QUIET_DAY_THEN, "download", &json!({ SECOND: 3 })),
            ],
            &["--from", FIRST_DAY, "--to", QUIET_DAY_THEN],
        ),
        // Late events are posted as a correction.
        step(
            vec![
                Event::view(9, FIRST_DAY, "record-3", RECORDSET),
                Event::search(10, FIRST_DAY, THIRD, 2),
            ],
            &["--day", FIRST_DAY],
        ),
        step(
            vec![
                Event::view(11, DECREASED_DAY, TAKEN_BACK, THIRD),
                Event::view(12, DECREASED_DAY, TAKEN_BACK, THIRD),
                Event::search(13, DECREASED_DAY, RECORDSET, 4),
                Event::new(14, DECREASED_DAY, "mapping", &json!({ SECOND: 9 })),
            ],
            &["--day", DECREASED_DAY],
        ),
        // Removed events are subtracted: the third recordset's net of the day is zero.
        Step {
            events: Vec::new(),
            deleted: &[11, 12],
            apply: &["--day", DECREASED_DAY, "--accept-decrease"],
        },
        step(
            vec![
                Event::search(15, LAST_DAY, SECOND, 1),
                by_query(
                    1,
                    Event::new(16, LAST_DAY, "seen", &json!({ "record-1": RECORDSET })),
                ),
            ],
            &["--day", LAST_DAY],
        ),
    ]
}

/// A database to clone from; created once for each run of the tests.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

impl World {
    /// With the history in its source and its ledger, and no indices yet.
    pub async fn with_history() -> Self {
        let template = TEMPLATE.get_or_init(|| async {
            let world = Self::before_history().await;
            for step in steps() {
                world.live(&step, &["--no-project"]).await;
            }
            world.database
        });
        Self::clone_of(Some(template.await)).await
    }

    /// With the history in its source, its ledger and its projections.
    pub async fn with_projections() -> Self {
        let world = Self::with_history().await;
        world.run(&["project"]).await.assert_exit(0);
        world
    }

    /// With an empty ledger, but with the queries of the history.
    pub async fn before_history() -> Self {
        let world = Self::new().await;
        world.log_query(1, "hash-1").await;
        world.log_query(2, "hash-2").await;
        world
    }

    /// Performs a step of the history. Passes `options` to apply.
    pub async fn live(&self, step: &Step, options: &[&str]) {
        self.log(&step.events).await;
        for id in step.deleted {
            self.execute(&format!("DELETE FROM stats WHERE id = {id}"))
                .await;
        }
        let arguments: Vec<&str> = ["apply"]
            .iter()
            .chain(step.apply)
            .chain(options)
            .copied()
            .collect();
        self.run(&arguments).await.assert_exit(0);
    }
}
