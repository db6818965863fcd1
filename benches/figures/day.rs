//! A day, from its source to its documents: S as a whole, M and L also step by step.

use chrono::NaiveDate;
use daybook::clock::Stopwatch;
use serde_json::json;

use crate::Error;
use crate::baselines::{self, Bulk};
use crate::documents::Documents;
use crate::ledger::Fresh;
use crate::peers::{self, Peer};
use crate::postgres::settle;
use crate::process::{Daybook, Ended, Terms};
use crate::setting::{PREFIX, REAL_DAY, Setting, Size};
use crate::table::{Figure, Goal, Ratio, Samples, Table};

/// The most documents of an index to hold in memory as a baseline, in bytes.
const MOST_BYTES: usize = 2_000_000_000;

/// The same of terms, of which a day may have millions that are all alike.
const ENOUGH_BYTES: usize = 200_000_000;

/// The published day, as the daily run processes it.
pub async fn measure_small(setting: &Setting, table: &mut Table) -> Result<(), Error> {
    let day: NaiveDate = REAL_DAY.parse()?;
    let mut samples = Samples::default();
    for _ in 0..setting.runs(5) {
        let daybook = Fresh::of(Size::S).before(setting, day).await?;
        let whole = daybook.run(&["apply", "--day", REAL_DAY])?;
        samples.add("apply", whole.seconds);
        samples.add("own", whole.cpu_seconds * 1000.0);
        samples.add("peak", whole.peak_megabytes);
        // `compare_counts` has run the peers already.
        if !setting.smoke {
            samples.add(
                "modern",
                peers::run(Peer::Modern, setting, Size::S, day)
                    .await?
                    .seconds,
            );
            samples.add(
                "old",
                peers::run(Peer::Old, setting, Size::S, day).await?.seconds,
            );
        }
    }
    let apply = || samples.of("apply");
    table.add(
        Figure::new("S: whole apply, from process start", "s", apply())
            .goal(Goal::MedianAtMost(1.5)),
    );
    table.add(
        Figure::new(
            "S: the program's own processor time",
            "ms",
            samples.of("own"),
        )
        .goal(Goal::MedianAtMost(50.0)),
    );
    table.add(Figure::new(
        "S: peak of resident memory",
        "MB",
        samples.of("peak"),
    ));
    for (peer, name) in [
        ("modern", "S: whole apply, modern Python"),
        ("old", "S: whole apply, the old way"),
    ] {
        let theirs = samples.of(peer);
        if !theirs.is_empty() {
            table.add(Figure::new(name, "s", apply()).against(peer, theirs, Ratio::TimesAsFast));
        }
    }
    Ok(())
}

/// M or L. L has no peers, and no baselines that would have to be held in memory.
pub async fn measure_large(setting: &Setting, size: Size, table: &mut Table) -> Result<(), Error> {
    let large = Large {
        setting,
        size,
        name: if size == Size::M { "M" } else { "L" },
        day: setting.first_day,
    };
    if setting.wants("steps") {
        large.steps(table).await?;
    }
    if setting.wants("apply") {
        large.whole(table).await?;
    }
    if setting.wants("terms") {
        large.terms(table).await?;
    }
    Ok(())
}

struct Large<'s> {
    setting: &'s Setting,
    size: Size,
    name: &'static str,
    day: NaiveDate,
}

impl Large<'_> {
    fn runs(&self) -> usize {
        self.setting.runs(if self.size == Size::M { 5 } else { 3 })
    }

    fn has_all_baselines(&self) -> bool {
        self.size == Size::M
    }

    fn figure(&self, name: &str, unit: &'static str, values: Vec<f64>) -> Figure {
        Figure::new(format!("{}: {name}", self.name), unit, values)
    }

    fn memory(&self, name: &str, values: Vec<f64>) -> Figure {
        self.figure(name, "MB", values)
            .goal(Goal::EveryAtMost(if self.size == Size::M {
                300.0
            } else {
                600.0
            }))
    }

    /// Reading, posting and projecting separately, and projecting within `apply`.
    async fn steps(&self, table: &mut Table) -> Result<(), Error> {
        let day = self.day.to_string();
        let mut samples = Samples::default();
        let (mut rows, mut bulk) = (None, None);
        for run in 0..self.runs() {
            self.say("steps", run);
            let daybook = Fresh::without_terms(self.size)
                .before(self.setting, self.day)
                .await?;
            let copy_out = baselines::copy_out(&daybook.source_url, self.day).await?;
            samples.add("copy-out", copy_out);
            let read = daybook.run(&["apply", "--day", &day, "--dry-run"])?;
            samples.add("read", read.number("read_seconds")?);
            samples.add("dry run", read.seconds);
            settle(&daybook.ledger_url).await?;
            let post = daybook.run(&["apply", "--day", &day, "--no-project"])?;
            samples.add("post", post.seconds);
            if self.has_all_baselines() {
                let rows = match &mut rows {
                    Some(rows) => rows,
                    None => rows.insert(baselines::rows(&daybook.ledger_url).await?),
                };
                settle(&daybook.ledger_url).await?;
                samples.add(
                    "copies",
                    copy_out + baselines::copy_in(&daybook.ledger_url, rows).await?,
                );
            }
            settle(&daybook.ledger_url).await?;
            let project = daybook.run(&["project"])?;
            samples.add("project", project.seconds);
            if self.has_all_baselines() {
                let bulk = match &mut bulk {
                    Some(bulk) => bulk,
                    None => bulk.insert(Finished::of_day(self.setting).await?),
                };
                samples.add("bulk", bulk.send(self.setting).await?);
            }
            // L is read back, because it is posted in several batches.
            if self.has_all_baselines() {
                let daybook = Fresh::without_terms(self.size)
                    .before(self.setting, self.day)
                    .await?;
                let whole = self.apply(&daybook)?;
                let before = whole.number("read_seconds")? + whole.number("post_seconds")?;
                samples.add("rest of apply", whole.seconds - before);
            }
            for (name, ended) in [
                ("read peak", read),
                ("post peak", post),
                ("project peak", project),
            ] {
                samples.add(name, ended.peak_megabytes);
            }
        }
        self.tell_steps(table, &samples);
        Ok(())
    }

    fn tell_steps(&self, table: &mut Table, samples: &Samples) {
        let copy_out = || samples.of("copy-out");
        let read = self.figure("source → deltas in memory", "s", samples.of("read"));
        let read = read.against("copy-out", copy_out(), Ratio::Of);
        // What L needs beyond its memory goes through files.
        table.add(read.goal(Goal::RatioAtMost(match self.size {
            Size::L => 1.7,
            _ => 1.5,
        })));
        let dry_run = self.figure(
            "source → deltas, the whole process",
            "s",
            samples.of("dry run"),
        );
        table.add(dry_run.against("copy-out", copy_out(), Ratio::Of));
        let post = self.figure("source → committed ledger", "s", samples.of("post"));
        let project = self.figure(
            "ledger → daily and totals documents",
            "s",
            samples.of("project"),
        );
        if self.has_all_baselines() {
            table.add(
                post.against("copy-out + copy-in", samples.of("copies"), Ratio::Of)
                    .goal(Goal::RatioAtMost(1.2)),
            );
            table.add(
                project
                    .against("bulk", samples.of("bulk"), Ratio::Of)
                    .goal(Goal::RatioAtMost(1.15)),
            );
            let rest = self.figure(
                "posted → daily and totals documents, in apply",
                "s",
                samples.of("rest of apply"),
            );
            table.add(
                rest.against("bulk", samples.of("bulk"), Ratio::Of)
                    .goal(Goal::RatioAtMost(1.15)),
            );
        } else {
            table.add(post);
            table.add(project);
        }
        table.add(self.memory("peak of resident memory, reading", samples.of("read peak")));
        table.add(self.memory("peak of resident memory, posting", samples.of("post peak")));
        table.add(self.memory(
            "peak of resident memory, projecting",
            samples.of("project peak"),
        ));
    }

    /// All of `apply`, without stats-terms, as the peers have nothing like it.
    async fn whole(&self, table: &mut Table) -> Result<(), Error> {
        let mut samples = Samples::default();
        for run in 0..self.runs() {
            self.say("apply", run);
            let daybook = Fresh::without_terms(self.size)
                .before(self.setting, self.day)
                .await?;
            let whole = self.apply(&daybook)?;
            samples.add("apply", whole.seconds);
            samples.add("own", whole.cpu_seconds);
            samples.add("peak", whole.peak_megabytes);
            if self.has_all_baselines() {
                samples.add(
                    "modern",
                    peers::run(Peer::Modern, self.setting, self.size, self.day)
                        .await?
                        .seconds,
                );
                samples.add(
                    "old",
                    peers::run(Peer::Old, self.setting, self.size, self.day)
                        .await?
                        .seconds,
                );
            }
        }
        let apply = |name: &str| self.figure(name, "s", samples.of("apply"));
        if self.has_all_baselines() {
            let old = apply("whole apply, the old way").against(
                "old",
                samples.of("old"),
                Ratio::TimesAsFast,
            );
            table.add(old.goal(Goal::RatioAtLeast(8.0)));
            let modern = apply("whole apply, modern Python").against(
                "modern",
                samples.of("modern"),
                Ratio::TimesAsFast,
            );
            table.add(modern.goal(Goal::RatioAtLeast(3.0)));
        } else {
            table.add(apply("whole apply, without terms"));
        }
        table.add(self.figure("the program's own processor time", "s", samples.of("own")));
        table.add(self.memory("peak of resident memory, apply", samples.of("peak")));
        Ok(())
    }

    /// The cost of stats-terms: `apply` as installed, of a first day and, for M, of a second one.
    async fn terms(&self, table: &mut Table) -> Result<(), Error> {
        // L has only one day, whose terms take long.
        let runs = if self.size == Size::M { self.runs() } else { 1 };
        let mut samples = Samples::default();
        let mut bulk = None;
        for run in 0..runs {
            self.say("terms", run);
            let daybook = Fresh::of(self.size).before(self.setting, self.day).await?;
            let whole = self.apply(&daybook)?;
            samples.add("apply", whole.seconds);
            samples.add("peak", whole.peak_megabytes);
            if self.size == Size::M {
                let day = self.second_day(&daybook, &mut samples, &mut bulk).await?;
                for (name, peer) in [("modern", Peer::Modern), ("old", Peer::Old)] {
                    let ended = peers::run(peer, self.setting, self.size, day).await?;
                    samples.add(name, ended.seconds);
                }
            }
        }
        table.add(self.figure("whole apply, with terms", "s", samples.of("apply")));
        table.add(self.memory("peak of resident memory, with terms", samples.of("peak")));
        if self.size == Size::M {
            for (name, peer, goal) in [
                (
                    "whole apply of a second day as installed, the old way",
                    "old",
                    5.0,
                ),
                (
                    "whole apply of a second day as installed, modern Python",
                    "modern",
                    2.5,
                ),
            ] {
                let second = self.figure(name, "s", samples.of("second"));
                let second = second.against(peer, samples.of(peer), Ratio::TimesAsFast);
                table.add(second.goal(Goal::RatioAtLeast(goal)));
            }
            self.tell_fold("", Goal::MedianAtMost(10.0), &samples, table);
            self.every_term(table).await?;
        }
        Ok(())
    }

    /// The fold of a second day with every dimension and stat type, which takes minutes.
    async fn every_term(&self, table: &mut Table) -> Result<(), Error> {
        eprintln!("{}: every term", self.name);
        let every = Fresh {
            terms: Terms::Every,
            ..Fresh::of(self.size)
        };
        let mut samples = Samples::default();
        let daybook = every.before(self.setting, self.day).await?;
        self.apply(&daybook)?;
        self.second_day(&daybook, &mut samples, &mut None).await?;
        let goal = Goal::RatioAtMost(1.5);
        self.tell_fold(", every dimension", goal, &samples, table);
        Ok(())
    }

    /// Applies a second day, which adds to most documents of terms, and sends as many of them by bulk. Returns the day.
    async fn second_day(
        &self,
        daybook: &Daybook,
        samples: &mut Samples,
        bulk: &mut Option<Finished>,
    ) -> Result<NaiveDate, Error> {
        settle(&daybook.ledger_url).await?;
        let day = self.day.succ_opt().ok_or("the day has no next")?;
        let second = daybook.run(&["apply", "--day", &day.to_string()])?;
        let terms = second
            .messages("projected")
            .into_iter()
            .find(|message| message["projection"] == "terms");
        let figure = |name: &str| terms.as_ref().and_then(|terms| terms[name].as_f64());
        let (seconds, written) = figure("seconds")
            .zip(figure("documents"))
            .ok_or("apply says nothing of the terms")?;
        samples.add("second", second.seconds);
        samples.add("fold", seconds);
        samples.add("written", written);
        samples.add("fold peak", second.peak_megabytes);
        let bulk = match bulk {
            Some(bulk) => bulk,
            None => bulk.insert(Finished::of_terms(self.setting).await?),
        };
        samples.add("bulk", bulk.seconds_for(self.setting, written).await?);
        Ok(day)
    }

    fn tell_fold(&self, which: &str, goal: Goal, samples: &Samples, table: &mut Table) {
        let name = |name: &str| format!("{name}{which}");
        table.add(self.figure(
            &name("documents of terms that a second day touches"),
            "",
            samples.of("written"),
        ));
        let fold = self.figure(
            &name("fold of a second day's terms"),
            "s",
            samples.of("fold"),
        );
        let fold = fold.against("bulk", samples.of("bulk"), Ratio::Of);
        table.add(fold.goal(goal));
        let peak = name("peak of resident memory, a second day");
        table.add(self.memory(&peak, samples.of("fold peak")));
    }

    fn apply(&self, daybook: &Daybook) -> Result<Ended, Error> {
        daybook.run(&["apply", "--day", &self.day.to_string()])
    }

    fn say(&self, part: &str, run: usize) {
        eprintln!("{}: {part}, run {} of {}", self.name, run + 1, self.runs());
    }
}

/// Finished documents of some indices, and the best number of concurrent requests for them.
struct Finished {
    parts: Vec<Bulk>,
    at_once: usize,
}

impl Finished {
    /// The daily and the totals documents.
    async fn of_day(setting: &Setting) -> Result<Self, Error> {
        let mut parts = Vec::new();
        for model in [PREFIX.to_owned(), format!("{PREFIX}-totals")] {
            let documents = Documents::read(
                &setting.elastic,
                &model,
                json!({ "match_all": {} }),
                MOST_BYTES,
            )
            .await?;
            parts.push(Bulk {
                documents,
                model,
                unread: false,
            });
        }
        Self::tried(setting, parts).await
    }

    /// The terms documents that the last entry touched, or enough of them.
    async fn of_terms(setting: &Setting) -> Result<Self, Error> {
        let model = format!("{PREFIX}-terms");
        // The empty day, the day, and the second day.
        let touched = json!({ "term": { "entry_id": 3 } });
        let documents = Documents::read(&setting.elastic, &model, touched, ENOUGH_BYTES).await?;
        Self::tried(
            setting,
            vec![Bulk {
                documents,
                model,
                unread: false,
            }],
        )
        .await
    }

    async fn tried(setting: &Setting, parts: Vec<Bulk>) -> Result<Self, Error> {
        let start = Stopwatch::start();
        let first = parts.first().ok_or("there are no documents")?;
        let at_once = first.best_at_once(setting).await?;
        eprintln!(
            "  bulk: {} documents, {} MB, best with {at_once} requests at once (found in {:.0} s)",
            parts.iter().map(|part| part.documents.count).sum::<u64>(),
            parts
                .iter()
                .map(|part| part.documents.bytes())
                .sum::<usize>()
                / 1_000_000,
            start.elapsed().as_secs_f64()
        );
        Ok(Self { parts, at_once })
    }

    async fn send(&self, setting: &Setting) -> Result<f64, Error> {
        let mut seconds = 0.0;
        for part in &self.parts {
            seconds += part.send(&setting.elastic, self.at_once).await?;
        }
        Ok(seconds)
    }

    /// The time for this number of documents of the kind.
    async fn seconds_for(&self, setting: &Setting, documents: f64) -> Result<f64, Error> {
        #[expect(clippy::cast_precision_loss, reason = "millions")]
        let sent = self
            .parts
            .iter()
            .map(|part| part.documents.count)
            .sum::<u64>() as f64;
        Ok(self.send(setting).await? / sent * documents)
    }
}
