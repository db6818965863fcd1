//! Settings from the command line, the environment, the credentials directory and the configuration file, in this order
//! of precedence.

mod credentials;
mod durations;
mod elasticsearch;
mod from_index;
mod login;

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use self::credentials::{credential, first};
pub use self::durations::{ClockSkew, Timeout};
use self::elasticsearch::{ElasticsearchArgs, ElasticsearchSettings};
use crate::elastic::{Client, ClientOptions};
use crate::error::Error;
use crate::memory::Memory;
use crate::postgres::Database;
use crate::projection::Plan;
use crate::projection::scope::Scope;

pub use self::from_index::FromIndexArgs;

/// Settings as they are given; all are optional.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// Connection URL of the ledger's database [default: the standard PG* variables]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DAYBOOK_LEDGER_URL",
        hide_env_values = true
    )]
    pub ledger_url: Option<SecretString>,

    /// Connection URL of the database with the tables stats and queries [default: the ledger's]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DAYBOOK_SOURCE_URL",
        hide_env_values = true
    )]
    pub source_url: Option<SecretString>,

    /// How long Postgres may be silent before the connection is dropped: 500ms, 60s, 5m. Does not limit how long a
    /// statement runs [default: 60s]
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_POSTGRES_TIMEOUT"
    )]
    pub postgres_timeout: Option<Timeout>,

    /// How to reach Elasticsearch.
    #[command(flatten)]
    pub elasticsearch: ElasticsearchArgs,

    /// Prefix of all alias and index names [default: stats]
    #[arg(long, global = true, value_name = "NAME", env = "DAYBOOK_INDEX_PREFIX")]
    pub index_prefix: Option<String>,

    /// Terms in stats-terms: some of countries, geocodes, items, queries, each with all stat types or with some, as in
    /// items:seen+view; or none [default: countries,items:view]
    #[arg(long, global = true, value_name = "NAMES", env = "DAYBOOK_TERMS")]
    pub terms: Option<String>,

    /// Memory limit, for example 512M or 2G (at least 128M). A day that needs more is counted in parts, each of which reads
    /// the day again [default: 512M]
    #[arg(long, global = true, value_name = "SIZE", env = "DAYBOOK_MEMORY")]
    pub memory: Option<Memory>,

    /// Maximum difference between this machine's clock and the ledger server's; nothing is posted beyond it: 30s, 5m, 2h,
    /// 1d [default: 5m]
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_MAX_CLOCK_SKEW"
    )]
    pub max_clock_skew: Option<ClockSkew>,

    /// Configuration file (TOML) with these settings as keys, such as ledger_url
    #[arg(long, global = true, value_name = "FILE", env = "DAYBOOK_CONFIG")]
    pub config: Option<PathBuf>,
}

/// The configuration file without the settings of Elasticsearch.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    ledger_url: Option<SecretString>,
    source_url: Option<SecretString>,
    postgres_timeout: Option<Timeout>,
    index_prefix: Option<String>,
    terms: Option<String>,
    memory: Option<Memory>,
    max_clock_skew: Option<ClockSkew>,
}

/// Settings as commands use them.
#[derive(Clone, Debug)]
pub struct Settings {
    pub ledger: Database,
    pub source: Database,
    elasticsearch: ElasticsearchSettings,
    pub plan: Plan,
    pub memory: Memory,
    /// Nothing is posted if the clocks of this machine and the ledger's server differ by more.
    pub max_clock_skew: Duration,
}

/// The default of `postgres_timeout`.
const SILENCE_OF_POSTGRES: Duration = Duration::from_secs(60);

impl Settings {
    /// Combines all sources of settings.
    pub fn new(given: &SettingsArgs) -> Result<Self, Error> {
        let (file, elasticsearch) = given
            .config
            .as_deref()
            .map(read_file)
            .transpose()?
            .unwrap_or_default();
        let given = given.clone();
        let ledger_url = first([given.ledger_url, credential("ledger-url")?, file.ledger_url]);
        let source_url = first([given.source_url, credential("source-url")?, file.source_url])
            .or_else(|| ledger_url.clone());
        let elasticsearch = ElasticsearchSettings::new(given.elasticsearch, elasticsearch)?;
        if ledger_url.is_none() && !postgres_variables_are_set() {
            return Err(Error::usage("no ledger is configured").hint(
                "set DAYBOOK_LEDGER_URL (or --ledger-url) to postgres://USER:PASSWORD@HOST:PORT/DATABASE, or set PGHOST and the other PG* variables",
            ));
        }
        let silence = given
            .postgres_timeout
            .or(file.postgres_timeout)
            .map_or(SILENCE_OF_POSTGRES, Timeout::duration);
        let index_prefix = given
            .index_prefix
            .or(file.index_prefix)
            .unwrap_or_else(|| "stats".to_owned());
        check_prefix(&index_prefix)?;
        let terms = given
            .terms
            .or(file.terms)
            .map(|terms| terms.parse::<Scope>())
            .transpose()
            .map_err(|error| {
                Error::usage("the setting of stats-terms cannot be read").caused_by(error)
            })?
            .unwrap_or_default();
        Ok(Self {
            ledger: Database::new("ledger", ledger_url.as_ref(), silence)?,
            source: Database::new("source", source_url.as_ref(), silence)?,
            elasticsearch,
            plan: Plan {
                prefix: index_prefix,
                terms,
            },
            memory: given.memory.or(file.memory).unwrap_or_default(),
            max_clock_skew: given
                .max_clock_skew
                .or(file.max_clock_skew)
                .unwrap_or_default()
                .0,
        })
    }

    /// A client of the configured cluster.
    pub fn elasticsearch(&self) -> Result<Client, Error> {
        Client::new(&self.client_options()?)
    }

    /// The same for interactive use: it gives up within seconds.
    pub fn elasticsearch_quick(&self) -> Result<Client, Error> {
        let options = self.client_options()?;
        Client::new(&ClientOptions {
            limits: options.limits.quick(),
            ..options
        })
    }

    /// The address of an old index, and how to reach its cluster: as ours, but with credentials of its own. None if no old
    /// index is given.
    pub fn old_index(
        &self,
        given: FromIndexArgs,
    ) -> Result<Option<(SecretString, ClientOptions)>, Error> {
        let Some(address) = given.address()? else {
            return Ok(None);
        };
        let is_plain = address.expose_secret().starts_with("http://");
        let options = self
            .elasticsearch
            .options_for_anybody(address.clone(), self.memory);
        // The old cluster may be unencrypted although ours is not.
        let options = ClientOptions {
            authority: options.authority.filter(|_| !is_plain),
            ..options
        };
        Ok(Some((address, given.log_in(options)?)))
    }

    fn client_options(&self) -> Result<ClientOptions, Error> {
        let addresses = self.elasticsearch.addresses().ok_or_else(|| {
            Error::usage("no Elasticsearch is configured")
                .hint("set DAYBOOK_ELASTICSEARCH_URL (or --elasticsearch-url) to http://USER:PASSWORD@HOST:9200; `daybook apply --no-project` does not need it")
        })?;
        self.elasticsearch
            .client_options(addresses.clone(), self.memory)
    }

    /// Whether Elasticsearch is configured.
    pub fn has_elasticsearch(&self) -> bool {
        self.elasticsearch.addresses().is_some()
    }
}

/// The memory limit, for commands that need no other setting.
pub fn memory(given: &SettingsArgs) -> Result<Memory, Error> {
    let file = given.config.as_deref().map(read_file).transpose()?;
    let of_file = file.and_then(|(file, _)| file.memory);
    Ok(given.memory.or(of_file).unwrap_or_default())
}

fn read_file(path: &Path) -> Result<(File, ElasticsearchArgs), Error> {
    let unreadable = || {
        Error::usage(format!(
            "the configuration file {} cannot be read",
            path.display()
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|error| unreadable().caused_by(error))?;
    // Only the message: the error's `Display` shows the line, which may contain a password.
    let message = |error: toml::de::Error| unreadable().caused_by(error.message().to_owned());
    let (elasticsearch, rest): (toml::Table, toml::Table) = toml::from_str::<toml::Table>(&text)
        .map_err(message)?
        .into_iter()
        .partition(|(key, _)| key.starts_with(elasticsearch::KEYS));
    Ok((
        rest.try_into().map_err(message)?,
        elasticsearch.try_into().map_err(message)?,
    ))
}

fn postgres_variables_are_set() -> bool {
    [
        "PGHOST",
        "PGHOSTADDR",
        "PGDATABASE",
        "PGUSER",
        "PGPORT",
        "PGSERVICE",
    ]
    .iter()
    .any(|name| std::env::var_os(name).is_some())
}

/// Refuses what Elasticsearch does not accept at the start of an index name.
fn check_prefix(prefix: &str) -> Result<(), Error> {
    const LONGEST: usize = 200;
    let fits =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let starts_well = prefix.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if starts_well && prefix.len() <= LONGEST && prefix.chars().all(fits) {
        return Ok(());
    }
    Err(
        Error::usage(format!("'{prefix}' cannot be the prefix of index names")).hint(
            "use lower-case letters, digits, '-', '_' and '.', starting with a letter or a digit",
        ),
    )
}
