//! A life in fast motion: events, late ones too, applies, rebuilds, crashes, lost replies, indices deleted, damaged and set
//! back, two writers at once, in an order that a seed decides. After each step the ledger is sound; whenever things have
//! settled its net is a recount of the source, and every document is as the ledger makes it.
//!
//! A failure names its seed and prints the steps; `SIMULATION_SEED=…` replays it. `script/soak` runs it for long.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;
use serde_json::json;

use crate::failpoints::failpoints;
use crate::support::proxy::{Fate, Proxy, Reply};
use crate::support::{Event, World};

const DAYS: [&str; 5] = [
    "2020-02-10",
    "2020-02-11",
    "2020-02-12",
    "2020-02-13",
    "2020-02-14",
];
const RECORDSETS: [&str; 3] = [
    "00038086-3303-4b89-b2d6-1b84e7598f0e",
    "91c5eec8-0cdc-4be2-9a99-a15ae5ec3edc",
    "d2a6ca4e-7f2c-4b5e-8a0e-0d3a1b7c9f10",
];
/// Enough for most kinds of step to come up, few enough not to be waited for.
const STEPS: usize = 16;

#[derive(Clone, Debug)]
enum Step {
    Log {
        events: Vec<Event>,
    },
    Apply,
    ApplyFrom {
        day: &'static str,
    },
    Crash {
        failpoint: String,
        command: Vec<&'static str>,
    },
    LoseReplies {
        after_bytes: u64,
    },
    Overload {
        every: usize,
    },
    TwoWriters,
    Rebuild {
        resume: bool,
    },
    RollBack,
    DeleteIndex {
        suffix: &'static str,
    },
    DamageDocuments {
        suffix: &'static str,
    },
}

struct Simulation {
    world: World,
    random: StdRng,
    next_id: i64,
    failpoints: Vec<String>,
}

const APPLY: [&str; 5] = ["apply", "--from", DAYS[0], "--to", DAYS[4]];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}"))
    })
}

#[expect(clippy::print_stdout, reason = "shown only if the test fails")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_things_settle_as_the_source_has_them() {
    let seed = number("SIMULATION_SEED").unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let steps = number("SIMULATION_STEPS").map_or(STEPS, |steps| {
        usize::try_from(steps).expect("a number of steps")
    });
    let world = World::new().await;
    world.execute(include_str!("property/recount.sql")).await;
    let failpoints = failpoints().into_iter().collect();
    let mut simulation = Simulation {
        world,
        random: StdRng::seed_from_u64(seed),
        next_id: 1,
        failpoints,
    };
    println!("SIMULATION_SEED={seed}");
    for number in 1..=steps {
        let step = simulation.draw();
        println!("{number}: {step:?}");
        simulation.take(step).await;
        simulation.world.assert_sound().await;
        if simulation.random.random_ratio(1, 2) {
            simulation.settle().await;
        }
    }
    simulation.settle().await;
    simulation.world.end().await;
}

impl Simulation {
    fn draw(&mut self) -> Step {
        let suffix = *["", "-totals", "-terms"].choose(&mut self.random).unwrap();
        match self.random.random_range(0..20) {
            0..6 => Step::Log {
                events: self.draw_events(),
            },
            6..8 => Step::Apply,
            8 => Step::ApplyFrom {
                day: DAYS.choose(&mut self.random).unwrap(),
            },
            9..12 => {
                let failpoint = self.failpoints.choose(&mut self.random).unwrap().clone();
                let nth = self.random.random_range(1..4);
                let command = if self.random.random_ratio(1, 3) {
                    vec!["rebuild"]
                } else {
                    APPLY.to_vec()
                };
                Step::Crash {
                    failpoint: format!("{failpoint}:{nth}"),
                    command,
                }
            }
            12 => Step::LoseReplies {
                after_bytes: self.random.random_range(0..60_000),
            },
            13 => Step::Overload {
                every: self.random.random_range(2..5),
            },
            14 => Step::TwoWriters,
            15 => Step::Rebuild {
                resume: self.random.random_ratio(1, 2),
            },
            16 => Step::RollBack,
            17 => Step::DeleteIndex { suffix },
            _ => Step::DamageDocuments { suffix },
        }
    }

    fn draw_events(&mut self) -> Vec<Event> {
        let many = self.random.random_range(1..6);
        (0..many)
            .map(|_| {
                let id = self.next_id;
                self.next_id += 1;
                let day = DAYS.choose(&mut self.random).unwrap();
                let recordset = RECORDSETS.choose(&mut self.random).unwrap();
                let record = format!("record-{}", self.random.random_range(0..4));
                let mut event = match self.random.random_range(0..6) {
                    0 | 1 => Event::search(id, day, recordset, self.random.random_range(0..1000)),
                    2 | 3 => Event::view(id, day, &record, recordset),
                    4 => Event::new(id, day, "seen", &json!({ record: recordset })),
                    _ => Event {
                        payload: Some("[]".to_owned()),
                        ..Event::search(id, day, recordset, 1)
                    },
                };
                if self.random.random_ratio(1, 3) {
                    event.ip_geocode = None;
                }
                event
            })
            .collect()
    }

    async fn take(&mut self, step: Step) {
        let world = &self.world;
        match step {
            Step::Log { events } => world.log(&events).await,
            Step::Apply => drop(world.run(&APPLY).await.assert_exit(0)),
            Step::ApplyFrom { day } => drop(
                world
                    .run(&["apply", "--day", day, "--no-project"])
                    .await
                    .assert_exit(0),
            ),
            Step::Crash { failpoint, command } => {
                let ended = world
                    .run_with(&[("DAYBOOK_FAILPOINT", &failpoint)], &command)
                    .await;
                assert!(matches!(ended.code, None | Some(0)), "{ended:?}");
            }
            Step::LoseReplies { after_bytes } => {
                let proxy = Proxy::tcp(&world.elasticsearch_url).await;
                proxy.after_bytes(after_bytes, Fate::Cut);
                let ended = world
                    .run_with(&[("DAYBOOK_ELASTICSEARCH_URL", proxy.url())], &APPLY)
                    .await;
                assert!(matches!(ended.code, Some(0 | 3)), "{ended:?}");
            }
            Step::Overload { every } => {
                let proxy = Proxy::http(&world.elasticsearch_url).await;
                let mut requests = 0;
                proxy.answer(move |request, _| {
                    requests += 1;
                    let refused = request.line.contains("_bulk") && requests % every == 0;
                    refused.then(|| {
                        Reply::new(
                            429,
                            r#"{"error": {"type": "es_rejected_execution_exception"}}"#,
                        )
                    })
                });
                world
                    .run_with(&[("DAYBOOK_ELASTICSEARCH_URL", proxy.url())], &APPLY)
                    .await
                    .assert_exit(0);
            }
            Step::TwoWriters => {
                let (one, other) = tokio::join!(world.run(&APPLY), world.run(&APPLY));
                for ended in [one, other] {
                    assert!(matches!(ended.code, Some(0 | 11)), "{ended:?}");
                }
            }
            Step::Rebuild { resume: true } => {
                drop(world.run(&["rebuild", "--resume"]).await.assert_exit(0));
            }
            Step::Rebuild { resume: false } => drop(world.run(&["rebuild"]).await.assert_exit(0)),
            Step::RollBack => {
                // There may be no generation to go back to.
                let ended = world.run(&["rebuild", "--rollback"]).await;
                assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
            }
            Step::DeleteIndex { suffix } => {
                let alias = format!("{}{suffix}", world.prefix);
                for index in world
                    .behind(suffix)
                    .await
                    .iter()
                    .filter(|index| index.starts_with(&alias))
                {
                    world.elastic(Method::DELETE, index, None).await;
                }
            }
            Step::DamageDocuments { suffix } => self.damage(suffix).await,
        }
    }

    /// Half of the documents are deleted, and what is left says something else; then the operator has it put right.
    async fn damage(&self, suffix: &str) {
        let world = &self.world;
        let alias = format!("{}{suffix}", world.prefix);
        if world.behind(suffix).await.is_empty() {
            return;
        }
        world
            .elastic(Method::POST, &format!("{alias}/_refresh"), None)
            .await;
        for (place, (id, ..)) in world.documents(suffix).await.into_iter().enumerate() {
            if place % 2 == 0 {
                world
                    .elastic(Method::DELETE, &format!("{alias}/_doc/{id}"), None)
                    .await;
            } else {
                let edit = json!({ "doc": { "recordset_id": "edited by hand" } });
                world
                    .elastic(Method::POST, &format!("{alias}/_update/{id}"), Some(edit))
                    .await;
            }
        }
        let ended = world.run(&["verify", "--projections", "--repair"]).await;
        assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
    }

    /// A plain run, and then everything must be as the source has it.
    async fn settle(&mut self) {
        let world = &self.world;
        world.run(&APPLY).await.assert_exit(0);
        for (ledger, recount) in [
            ("recount.ledger_cell", "recount.cell"),
            ("recount.ledger_term", "recount.term"),
        ] {
            let differing = format!(
                "SELECT jsonb_agg(d) FROM ((TABLE {ledger} EXCEPT ALL TABLE {recount})
                     UNION ALL (TABLE {recount} EXCEPT ALL TABLE {ledger})) d"
            );
            assert_eq!(world.value(&differing).await, "", "{ledger} and {recount}");
        }
        world.run(&["verify"]).await.assert_exit(0);
        let in_ledger = world
            .value("SELECT coalesce(sum(count), 0) FROM daybook.interaction_delta")
            .await;
        let documents = world.documents("-totals").await;
        let count = |document: &serde_json::Value| -> i64 {
            let cells = document["records"].as_object().unwrap().values();
            cells.map(|cell| cell["count"].as_i64().unwrap()).sum()
        };
        let in_documents: i64 = documents.iter().map(|(.., document)| count(document)).sum();
        assert_eq!(in_documents.to_string(), in_ledger);
    }
}
