//! Ten years of history: the cost of rebuilding, verifying and reporting them, and whether a day costs more with them.

use chrono::{Days, NaiveDate};
use daybook::clock::Stopwatch;

use crate::Error;
use crate::baselines::{self, Bulk};
use crate::documents::Documents;
use crate::ledger::Fresh;
use crate::postgres::{self, settle};
use crate::process::{Daybook, Ended, Terms};
use crate::setting::{PREFIX, Setting, Size};
use crate::table::{Figure, Goal, Ratio, Samples, Table};

/// Days of the ledger that the history is compared with: long enough that most cells and terms of a day exist already.
const MONTH: u64 = 30;

/// Enough to find the fastest number of concurrent requests.
const TRIAL_BYTES: usize = 300_000_000;

pub async fn measure(setting: &Setting, table: &mut Table) -> Result<(), Error> {
    let daybook = Daybook {
        source_url: setting.source(Size::H)?,
        ledger_url: setting.history()?,
        elasticsearch_url: setting.elastic.url().to_owned(),
        prefix: PREFIX.to_owned(),
        terms: Terms::OfCaller,
    };
    setting.elastic.delete_all(PREFIX).await?;
    let day = |place: u64| {
        setting
            .first_day
            .checked_add_days(Days::new(place))
            .ok_or("the history is too long")
    };
    let last = day(setting.history_days.saturating_sub(1))?;
    if setting.keep_history && postgres::last_day(&daybook.ledger_url).await? == Some(last) {
        eprintln!(
            "H: the ledger of {} days that was kept",
            setting.history_days
        );
        daybook.run(&["migrate"])?;
    } else {
        post(setting, &daybook, last, table).await?;
    }
    settle(&daybook.ledger_url).await?;
    if setting.wants("rebuild") {
        rebuild(setting, &daybook, table).await?;
    }
    if setting.wants_all() {
        verify(setting, &daybook, table).await?;
    }
    if setting.wants("report") {
        report(setting, &daybook, table).await?;
    }
    if !setting.wants_all() {
        return Ok(());
    }
    // After the rebuild the indices are as of the last day. The following days come next.
    let days: Vec<NaiveDate> = (0..setting.more_days())
        .map(|n| day(setting.history_days + n))
        .collect::<Result<_, _>>()?;
    one_more_day(setting, &daybook, &days, table).await?;
    if setting.keep_history {
        let days = setting.history_days + days.len() as u64;
        eprintln!(
            "H: the ledger is kept; BENCH_KEEP_HISTORY=1 BENCH_HISTORY_DAYS={days} takes it up again"
        );
    }
    Ok(())
}

/// Makes the ledger of the history.
async fn post(
    setting: &Setting,
    daybook: &Daybook,
    last: NaiveDate,
    table: &mut Table,
) -> Result<(), Error> {
    eprintln!("H: posting {} days", setting.history_days);
    postgres::create(&daybook.ledger_url).await?;
    daybook.run(&["migrate"])?;
    let (first, last) = (setting.first_day.to_string(), last.to_string());
    let posted = daybook.run(&["apply", "--no-project", "--from", &first, "--to", &last])?;
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let days_a_second = setting.history_days as f64 / posted.seconds;
    table.add(Figure::new(
        "H: posting the history",
        "days/s",
        vec![days_a_second],
    ));
    Ok(())
}

/// `rebuild`, comparing included, against bulk requests with the same mixture of documents.
async fn rebuild(setting: &Setting, daybook: &Daybook, table: &mut Table) -> Result<(), Error> {
    let mut samples = Samples::default();
    let mut baseline = None;
    for run in 0..setting.runs(3) {
        eprintln!("H: rebuild, run {}", run + 1);
        setting.elastic.delete_all(PREFIX).await?;
        let ended = daybook.run(&["rebuild"])?;
        let parts = Part::of(&ended)?;
        let documents: f64 = parts.iter().map(|part| part.documents).sum();
        samples.add("rebuild", documents / ended.seconds);
        samples.add("documents", documents);
        samples.add("peak", ended.peak_megabytes);
        let baseline = match &mut baseline {
            Some(baseline) => baseline,
            None => baseline.insert(Mixture::of(setting, &parts).await?),
        };
        samples.add("bulk", documents / baseline.seconds(setting).await?);
    }
    let unit = "documents/s";
    table.add(Figure::new("H: documents", "", samples.of("documents")));
    let whole = Figure::new("H: rebuild, the whole process", unit, samples.of("rebuild"));
    table.add(
        whole
            .against("bulk", samples.of("bulk"), Ratio::Of)
            .goal(Goal::RatioAtLeast(if setting.apart { 0.95 } else { 0.8 })),
    );
    table.add(
        Figure::new(
            "H: peak of resident memory, rebuild",
            "MB",
            samples.of("peak"),
        )
        .goal(Goal::EveryAtMost(200.0)),
    );
    Ok(())
}

/// What a rebuild reports about a projection.
struct Part {
    alias: String,
    documents: f64,
}

impl Part {
    fn of(ended: &Ended) -> Result<Vec<Self>, Error> {
        let part = |message: &serde_json::Value| {
            let alias = message["alias"].as_str()?.to_owned();
            Some(Self {
                alias,
                documents: message["documents"].as_f64()?,
            })
        };
        let parts: Option<Vec<Self>> = ended.messages("rebuilt").iter().map(part).collect();
        let parts = parts.filter(|parts| !parts.is_empty());
        parts.ok_or_else(|| format!("rebuild does not say what it built:\n{}", ended.stdout).into())
    }
}

/// All documents of each kind, in files. A part of them would be faster per document, as the cluster merges what it has
/// indexed into ever larger segments.
struct Mixture {
    parts: Vec<Bulk>,
    at_once: usize,
}

impl Mixture {
    async fn of(setting: &Setting, rebuilt: &[Part]) -> Result<Self, Error> {
        let start = Stopwatch::start();
        let mut parts = Vec::new();
        for Part { alias, .. } in rebuilt {
            parts.push(Bulk {
                documents: Documents::read_into_file(&setting.elastic, alias).await?,
                model: alias.clone(),
                unread: true,
            });
        }
        let largest = parts
            .iter()
            .max_by_key(|part| part.documents.bytes())
            .ok_or("nothing was rebuilt")?;
        let trial = Bulk {
            documents: largest.documents.first(TRIAL_BYTES)?,
            model: largest.model.clone(),
            unread: largest.unread,
        };
        let at_once = trial.best_at_once(setting).await?;
        eprintln!(
            "  bulk: {} MB, best with {at_once} requests at once (found in {:.0} s)",
            parts
                .iter()
                .map(|part| part.documents.bytes())
                .sum::<usize>()
                / 1_000_000,
            start.elapsed().as_secs_f64()
        );
        Ok(Self { parts, at_once })
    }

    async fn seconds(&self, setting: &Setting) -> Result<f64, Error> {
        let mut seconds = 0.0;
        for part in &self.parts {
            seconds += part.send(&setting.elastic, self.at_once).await?;
        }
        Ok(seconds)
    }
}

/// `verify --ledger`, against one reading of the table.
async fn verify(setting: &Setting, daybook: &Daybook, table: &mut Table) -> Result<(), Error> {
    let mut samples = Samples::default();
    for run in 0..setting.runs(3) {
        eprintln!("H: verify --ledger, run {}", run + 1);
        samples.add("read", baselines::read_ledger(&daybook.ledger_url).await?);
        let ended = daybook.run(&["verify", "--ledger"])?;
        samples.add("verify", ended.seconds);
        samples.add("peak", ended.peak_megabytes);
    }
    let verify = Figure::new("H: verify --ledger", "s", samples.of("verify"));
    table.add(
        verify
            .against("reading the table", samples.of("read"), Ratio::TimesAsFast)
            .goal(Goal::RatioAtLeast(0.5)),
    );
    table.add(Figure::new(
        "H: peak of resident memory, verify --ledger",
        "MB",
        samples.of("peak"),
    ));
    Ok(())
}

/// `report` of the ledger; and of all its recordsets, against one reading of the rows that their pages need.
async fn report(setting: &Setting, daybook: &Daybook, table: &mut Table) -> Result<(), Error> {
    let mut samples = Samples::default();
    let folder = tempfile::tempdir()?;
    for run in 0..setting.runs(3) {
        eprintln!("H: report, run {}", run + 1);
        let page = folder.path().join("report.html");
        let ended = daybook.run(&["report", "--output", utf8(&page)?])?;
        samples.add("page", ended.seconds);
        samples.add("page peak", ended.peak_megabytes);
        samples.add("bytes", ended.number("bytes")? / 1e6);
        samples.add(
            "read",
            baselines::read_for_pages(&daybook.ledger_url).await?,
        );
        let site = folder.path().join(format!("site-{run}"));
        let ended = daybook.run(&["report", "--site", utf8(&site)?])?;
        samples.add("site", ended.seconds);
        samples.add("site peak", ended.peak_megabytes);
    }
    let figure = |name, unit, sample| Figure::new(name, unit, samples.of(sample));
    table.add(figure("H: report --output", "s", "page").goal(Goal::MedianAtMost(15.0)));
    table.add(figure("H: size of the page", "MB", "bytes").goal(Goal::EveryAtMost(2.0)));
    let peak = "H: peak of resident memory, report --output";
    table.add(figure(peak, "MB", "page peak").goal(Goal::EveryAtMost(200.0)));
    table.add(
        figure("H: report --site", "s", "site")
            .against("reading what pages need", samples.of("read"), Ratio::Of)
            .goal(Goal::RatioAtMost(1.3)),
    );
    let peak = "H: peak of resident memory, report --site";
    table.add(figure(peak, "MB", "site peak").goal(Goal::EveryAtMost(537.0)));
    Ok(())
}

fn utf8(path: &std::path::Path) -> Result<&str, Error> {
    path.to_str()
        .ok_or_else(|| format!("{} is no text", path.display()).into())
}

/// `apply` of the same day on top of the history and on top of its last month.
async fn one_more_day(
    setting: &Setting,
    daybook: &Daybook,
    days: &[NaiveDate],
    table: &mut Table,
) -> Result<(), Error> {
    let mut samples = Samples::default();
    let month = month_before(
        setting,
        daybook,
        *days.first().ok_or("no day is to be added")?,
    )
    .await?;
    for day in days {
        eprintln!("H: apply of {day}");
        let day = day.to_string();
        settle(&month.ledger_url).await?;
        samples.add("month", month.run(&["apply", "--day", &day])?.seconds);
        settle(&daybook.ledger_url).await?;
        let ended = daybook.run(&["apply", "--day", &day])?;
        samples.add("apply", ended.seconds);
        samples.add("peak", ended.peak_megabytes);
    }
    let apply = Figure::new("H: apply of one more day", "s", samples.of("apply"));
    table.add(
        apply
            .against("after one month", samples.of("month"), Ratio::Of)
            .goal(Goal::RatioAtMost(1.15)),
    );
    table.add(Figure::new(
        "H: peak of resident memory, one more day",
        "MB",
        samples.of("peak"),
    ));
    Ok(())
}

/// A ledger of the last month before a day, with indices that were rebuilt, as those of the history were.
async fn month_before(
    setting: &Setting,
    history: &Daybook,
    day: NaiveDate,
) -> Result<Daybook, Error> {
    let length = MONTH.min(setting.history_days);
    eprintln!("H: a ledger of {length} days");
    let second = day
        .checked_sub_days(Days::new(length.saturating_sub(1)))
        .ok_or("the month begins too early")?;
    let month = Fresh {
        prefix: "bench-month",
        terms: history.terms,
        ..Fresh::of(Size::H)
    };
    // This applies the first day.
    let month = month.before(setting, second).await?;
    let last = day.pred_opt().ok_or("there is no day before")?;
    if second <= last {
        let (from, to) = (second.to_string(), last.to_string());
        month.run(&["apply", "--no-project", "--from", &from, "--to", &to])?;
    }
    month.run(&["rebuild"])?;
    Ok(month)
}
