//! Logging, to stderr or to the systemd journal.

use std::fmt;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Value, Visit, display};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::printable::one_line;

/// Whether the log goes to the journal, with its fields.
static TO_JOURNAL: AtomicBool = AtomicBool::new(false);

/// Whether the log goes to the journal, where each line keeps its fields.
pub fn logs_to_journal() -> bool {
    TO_JOURNAL.load(Ordering::Relaxed)
}

/// The target of the line that sums up a run.
pub const SUMMARIES: &str = "daybook::summary";

/// Starts logging: warnings; with -v progress; with -vv details. The journal also gets the summary of each run.
pub fn start(verbose: u8) {
    let (others, own) = match verbose {
        0 => (Level::WARN, Level::WARN),
        1 => (Level::WARN, Level::INFO),
        _ => (Level::INFO, Level::DEBUG),
    };
    let levels = Targets::new()
        .with_default(others)
        .with_target("daybook", own);
    let registry = tracing_subscriber::registry();
    let journal = stderr_is_journal()
        .then(|| tracing_journald::layer().ok())
        .flatten();
    if let Some(journal) = journal {
        TO_JOURNAL.store(true, Ordering::Relaxed);
        // Run and day are fields there, which do not make a line longer.
        let wanted = levels.or(filter_fn(|metadata| {
            metadata.is_span() && metadata.target().starts_with("daybook")
                || metadata.target() == SUMMARIES
        }));
        registry.with(Escaping(journal).with_filter(wanted)).init();
    } else {
        let stderr = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .fmt_fields(debug_fn(write_field).delimited(" "));
        registry.with(stderr.with_filter(levels)).init();
    }
}

/// Writes a field of a log line. Its text may come from outside.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = one_line(&value);
    match field.name() {
        "message" => writer.write_str(&value),
        name => write!(
            writer,
            "{}={value}",
            name.strip_prefix("r#").unwrap_or(name)
        ),
    }
}

/// Passes spans and events on to another layer, with hidden characters in events escaped. The fields of a span are
/// daybook's own: commands, run ids and days.
struct Escaping<L>(L);

impl<S: Subscriber, L: Layer<S>> Layer<S> for Escaping<L> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut texts = Texts(Vec::new());
        event.record(&mut texts);
        let fields = event.metadata().fields();
        let (Some(any), true) = (fields.iter().next(), texts.0.len() <= MOST_FIELDS) else {
            return self.0.on_event(event, context);
        };
        let texts: Vec<_> = texts
            .0
            .iter()
            .map(|(field, text)| (field, display(text)))
            .collect();
        // A value set needs an array of fixed size; fields without a value are ignored.
        let values: [(&Field, Option<&dyn Value>); MOST_FIELDS] = std::array::from_fn(|n| {
            texts.get(n).map_or((&any, None), |(field, text)| {
                (*field, Some(text as &dyn Value))
            })
        });
        self.0.on_event(
            &Event::new(event.metadata(), &fields.value_set(&values)),
            context,
        );
    }
}

/// As many fields as the macros of `tracing` accept.
const MOST_FIELDS: usize = 32;

/// The fields of an event as text.
struct Texts(Vec<(Field, String)>);

impl Visit for Texts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.clone(), one_line(value).into_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0
            .push((field.clone(), one_line(&format!("{value:?}")).into_owned()));
    }
}

/// Whether stderr goes to the systemd journal. `JOURNAL_STREAM` has the device and inode of the stream that does; child
/// processes inherit it even if their stderr goes elsewhere.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = std::fs::metadata("/dev/stderr") else {
        return false;
    };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field;

    use super::*;

    /// Keeps the spans and events it receives.
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Kept {
        fn keep(&self, record: impl FnOnce(&mut dyn Visit)) {
            let mut fields = Vec::new();
            record(&mut |field: &Field, value: &dyn fmt::Debug| {
                fields.push(format!("{field}={value:?}"));
            });
            self.0.lock().unwrap().push(fields.join(" "));
        }
    }

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            self.keep(|visit| attributes.record(visit));
        }

        fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
            self.keep(|visit| values.record(visit));
        }

        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.keep(|visit| event.record(visit));
        }
    }

    #[test]
    fn what_goes_to_the_journal_hides_nothing_and_keeps_its_fields() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Escaping(Kept(Arc::clone(&kept))));
        tracing::subscriber::with_default(subscriber, || {
            let run = tracing::info_span!("run", command = "apply", run_id = field::Empty);
            run.record("run_id", "a-run");
            let reason = "x\u{1b}[31m\u{202e}\nentry 9: forged";
            tracing::warn!(reason, rows = 7, index = %reason, "it says {reason}");
            tracing::info!("plain");
        });
        let shown = "x\\u001b[31m\\u202e\\nentry 9: forged";
        let expected = format!("message=it says {shown} reason={shown} rows=7 index={shown}");
        assert_eq!(
            *kept.lock().unwrap(),
            [
                "command=\"apply\"".to_owned(),
                "run_id=\"a-run\"".to_owned(),
                expected,
                "message=plain".to_owned()
            ]
        );
    }
}
