//! `daybook report`: pages that show the ledger or a recordset. Changes nothing but the files.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::arguments::{self, DateRangeArgs};
use super::progress::ProgressReporter;
use crate::config::Settings;
use crate::day::Period;
use crate::destination::Destination;
use crate::elastic::Client;
use crate::error::{Error, ErrorKind, Exit};
use crate::interrupt::unless_interrupted;
use crate::ledger::{EntryId, Ledger, Reader};
use crate::output::Output;
use crate::printable::one_line;
use crate::projection::advance::check_index;
use crate::projection::countries::usage_by_country;
use crate::projection::progress::Progress as _;
use crate::projection::{Projection, index};
use crate::report::gather::{ledger_numbers, recordset_numbers};
use crate::report::names::Names;
use crate::report::site::{self, Site};
use crate::report::{Beside, ProjectionState, ledger_page, recordset_page};
use crate::source::Source;
use crate::text::{Grouped, counted};

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A page is one HTML file without scripts, and loads nothing from elsewhere.

Examples:
  daybook report --output report.html
  daybook report --output 2020.html --from 2020-01-01 --to 2020-12-31
  daybook report --output fishes.html --recordset 00038086-3303-4b89-b2d6-1b84e7598f0e
  daybook report --site /srv/www/usage --names recordsets.csv
  daybook report --site /srv/www/usage --output /srv/www/ledger.html")]
pub struct ReportArgs {
    /// Output file; beside --site, its page links to those of the recordsets
    #[arg(short, long, value_name = "FILE", required_unless_present = "site")]
    output: Option<PathBuf>,

    /// Report on one recordset, for its publisher
    #[arg(long, value_name = "RECORDSET", value_parser = arguments::recordset, conflicts_with = "site")]
    recordset: Option<Uuid>,

    /// Write a page for each recordset and an index into a folder; pages that are up to date stay
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,

    /// The days to report on [default: all].
    #[command(flatten)]
    date_range: DateRangeArgs,

    /// CSV file with the names of recordsets: id, name
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(options: ReportArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    let names = options.names.as_deref().map(Names::read).transpose()?;
    let names = names.unwrap_or_default();
    let opening = Ledger::open_for_reading(&settings.ledger, "daybook report");
    let (ledger, mut reader) = unless_interrupted(opening).await?;
    let asked = options.date_range.within(reader.period().await?)?;
    // Fails before the ledger is read if something cannot be written.
    if let Some(folder) = &options.site {
        if options
            .output
            .as_deref()
            .is_some_and(|file| site::is_index(folder, file))
        {
            return Err(Error::usage("--output is the index of the site")
                .hint("give another file with --output"));
        }
        site::create(folder)?;
    }
    let file = options.output.as_deref().map(create).transpose()?;
    if let Some(folder) = &options.site {
        let mut progress = ProgressReporter::of("row", "rows");
        progress.begin("reading the ledger", None);
        let rows = &mut |rows| progress.at(rows, 0);
        let writing = site::site(&ledger, asked, &names, folder, &settings.workspace, rows);
        let site = unless_interrupted(writing).await;
        progress.end();
        report_site(folder, site?, output);
    }
    let (Some(file), Some(path)) = (file, options.output) else {
        return Ok(Exit::Done);
    };
    let page = if let Some(id) = options.recordset {
        let page = page_of_recordset(settings, &ledger, id, asked, &names);
        unless_interrupted(page).await?
    } else {
        let site = options.site.map(|folder| address_from(&path, &folder));
        let beside = Beside {
            names,
            site: site.transpose()?,
            ..Beside::default()
        };
        let page = page_of_ledger(settings, &ledger, &mut reader, asked, beside);
        unless_interrupted(page).await?
    };
    write(file, &path, &page)?;
    let path = path.display().to_string();
    let text = format!("{}: {} bytes", one_line(&path), Grouped(page.len()));
    let fields = serde_json::json!({ "file": path, "bytes": page.len() });
    output.report("report_written", fields, text);
    Ok(Exit::Done)
}

fn report_site(folder: &Path, site: Site, output: Output) {
    let folder = folder.display().to_string();
    let text = format!(
        "{}: {}, {} written",
        one_line(&folder),
        counted(site.recordsets, "recordset", "recordsets"),
        counted(site.pages_written, "page", "pages"),
    );
    let fields = serde_json::json!({ "folder": folder, "site": site });
    output.report("site_written", fields, text);
}

/// The address of a folder for links in a file: relative, so that both can be moved together. It ends with a slash.
fn address_from(file: &Path, folder: &Path) -> Result<String, Error> {
    let whole = |path: &Path| {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        path.canonicalize()
            .map_err(|error| cannot_write(path, error))
    };
    let from = whole(file.parent().unwrap_or(Path::new("/")))?;
    let to = whole(folder)?;
    let same = from
        .components()
        .zip(to.components())
        .take_while(|(a, b)| a == b)
        .count();
    let mut address = "../".repeat(from.components().count() - same);
    for component in to.components().skip(same) {
        let name = component.as_os_str().as_encoded_bytes();
        address +=
            &percent_encoding::percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string();
        address.push('/');
    }
    Ok(address)
}

async fn page_of_recordset(
    settings: &Settings,
    ledger: &Ledger,
    recordset_id: Uuid,
    asked: Option<Period>,
    names: &Names,
) -> Result<String, Error> {
    let numbers = recordset_numbers(ledger, recordset_id, asked, &settings.workspace).await?;
    let numbers = numbers.ok_or_else(|| {
        Error::new(
            ErrorKind::EntryMissing,
            format!("the ledger has nothing for recordset {recordset_id} on these days"),
        )
        .hint("`daybook report --output FILE` lists the largest recordsets")
    })?;
    let name = names.of(recordset_id);
    Ok(recordset_page(&numbers, name, asked, None))
}

async fn page_of_ledger(
    settings: &Settings,
    ledger: &Ledger,
    reader: &mut Reader,
    asked: Option<Period>,
    mut beside: Beside,
) -> Result<String, Error> {
    let numbers = ledger_numbers(ledger, asked).await?;
    beside.sealed = sealed(settings, ledger, reader).await;
    if settings.has_elasticsearch() {
        // A person waits for the page, even if the cluster does not respond.
        let client = settings.elasticsearch_quick()?;
        let newest_entry = numbers.chain.newest_entry.unwrap_or(EntryId::NONE);
        let states = projections(settings, ledger, reader, &client, newest_entry).await;
        if asked.is_none() && states.iter().any(|state| state.behind.is_ok()) {
            beside.countries = usage_by_country(&client, &settings.plan)
                .await
                .map_err(|error| problem(&error))
                .transpose();
        }
        beside.projections = Some(states);
    }
    Ok(ledger_page(&numbers, &beside))
}

/// The number of days whose events are no longer in the source; none if the source cannot be asked.
async fn sealed(settings: &Settings, ledger: &Ledger, reader: &mut Reader) -> Option<usize> {
    let counted = reader.days_counted().await.ok()?;
    let mut source = Source::open(&settings.source, ledger.zone, "daybook report")
        .await
        .inspect_err(|error| tracing::warn!(%error, "the source cannot be asked for sealed days"))
        .ok()?;
    let gone = source.days_without_events(&counted).await.ok();
    source.close().await;
    gone.map(|days| days.len())
}

async fn projections(
    settings: &Settings,
    ledger: &Ledger,
    reader: &mut Reader,
    client: &Client,
    newest_entry: EntryId,
) -> Vec<ProjectionState> {
    let mut states = Vec::new();
    let mut gone = None;
    for kind in settings.plan.kinds() {
        let alias = settings.plan.alias(kind);
        let behind = match &gone {
            None => behind(settings, ledger, reader, client, kind, newest_entry).await,
            // Wait for an unreachable cluster only once.
            Some(problem) => Err(Error::new(
                ErrorKind::ElasticsearchUnreachable,
                String::clone(problem),
            )),
        };
        if let Err(error) = &behind
            && error.kind().is_transient()
        {
            gone.get_or_insert_with(|| error.message());
        }
        let behind = behind.map_err(|error| problem(&error));
        states.push(ProjectionState { alias, behind });
    }
    states
}

/// The number of entries that a projection lacks.
async fn behind(
    settings: &Settings,
    ledger: &Ledger,
    reader: &mut Reader,
    client: &Client,
    kind: Projection,
    newest_entry: EntryId,
) -> Result<i64, Error> {
    let Some(index) = index::find(client, &settings.plan.alias(kind)).await? else {
        return Ok(newest_entry.number());
    };
    check_index(&index, kind, &settings.plan, ledger, reader).await?;
    let through = index.checkpoint.applied_through;
    Ok((newest_entry.number() - through.number()).max(0))
}

fn problem(error: &Error) -> String {
    let hint = error.hint_text().map(|hint| format!("; {hint}"));
    error.message() + &hint.unwrap_or_default()
}

fn create(path: &Path) -> Result<Destination, Error> {
    Destination::create(path).map_err(|error| cannot_write(path, error))
}

fn write(mut file: Destination, path: &Path, page: &str) -> Result<(), Error> {
    file.write_all(page.as_bytes())
        .and_then(|()| file.finish())
        .map_err(|error| cannot_write(path, error))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::OutputUnwritable,
        format!("{} cannot be written", path.display()),
    )
    .caused_by(error)
    .hint("give another file with --output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_site_is_relative_to_the_file_that_links_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a/b", "a/c d"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        for (file, site, address) in [
            ("page.html", "a/b", "a/b/"),
            ("a/b/page.html", "a/b", ""),
            ("a/b/page.html", "a/c d", "../c%20d/"),
            ("a/b/page.html", "a", "../"),
        ] {
            assert_eq!(address_from(&path(file), &path(site)).unwrap(), address);
        }
        assert!(address_from(&path("none/page.html"), &path("a")).is_err());
    }
}
