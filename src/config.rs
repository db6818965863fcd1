//! Settings from the command line, the environment, the credentials directory and the configuration file, in this order
//! of precedence.
//!
//! clap parses all four (`layers.rs`), so a setting is declared once: as a field in `args.rs` or `elasticsearch.rs`, with
//! its default and the parser of its value.

mod args;
mod credentials;
mod durations;
mod elasticsearch;
mod from_index;
mod layers;
mod login;
mod setting;

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

pub use self::args::SettingsArgs;
use self::elasticsearch::ElasticsearchArgs;
use crate::elastic::{Client, ClientOptions};
use crate::error::Error;
use crate::postgres::Database;
use crate::projection::Plan;
use crate::projection::layout::Layout;
use crate::projection::scope::Scope;
use crate::workspace::{TempDir, Workspace};

pub use self::from_index::FromIndexArgs;
pub use self::layers::Configuration;
pub use self::setting::{Setting, unknown_names};

/// Settings as commands use them.
#[derive(Clone, Debug)]
pub struct Settings {
    pub ledger: Database,
    pub source: Database,
    elasticsearch: ElasticsearchArgs,
    pub plan: Plan,
    pub workspace: Workspace,
    /// Nothing is posted if the clocks of this machine and the ledger's server differ by more.
    pub max_clock_skew: Duration,
}

impl Settings {
    /// Checks the settings.
    pub fn new(args: SettingsArgs) -> Result<Self, Error> {
        let source_url = args.source_url.or_else(|| args.ledger_url.clone());
        if args.ledger_url.is_none() && !postgres_variables_are_set() {
            return Err(Error::setting("no ledger is configured").hint(
                "set DAYBOOK_LEDGER_URL (or --ledger-url) to postgres://USER:PASSWORD@HOST:PORT/DATABASE, or set PGHOST and the other PG* variables",
            ));
        }
        let silence = args.postgres_timeout.duration();
        check_prefix(&args.index_prefix)?;
        let terms = args.terms.parse::<Scope>().map_err(|error| {
            Error::setting("the setting of stats-terms cannot be read").caused_by(error)
        })?;
        let workspace = Workspace {
            memory: args.memory,
            temp_dir: TempDir::new(args.temp_dir, std::env::var_os("CACHE_DIRECTORY"))?,
        };
        Ok(Self {
            ledger: Database::new("ledger", args.ledger_url.as_ref(), silence)?,
            source: Database::new("source", source_url.as_ref(), silence)?,
            elasticsearch: args.elasticsearch,
            plan: Plan {
                prefix: args.index_prefix,
                terms,
                layout: Layout {
                    shards: args.shards,
                    replicas: args.replicas,
                },
                workspace: workspace.clone(),
            },
            workspace,
            max_clock_skew: args.max_clock_skew.duration(),
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
            .options_for_anybody(address.clone(), self.workspace.memory);
        // The old cluster may be unencrypted although ours is not.
        let options = ClientOptions {
            authority: options.authority.filter(|_| !is_plain),
            ..options
        };
        Ok(Some((address, given.log_in(options)?)))
    }

    fn client_options(&self) -> Result<ClientOptions, Error> {
        let addresses = self.elasticsearch.addresses().ok_or_else(|| {
            Error::setting("no Elasticsearch is configured")
                .hint("set DAYBOOK_ELASTICSEARCH_URL (or --elasticsearch-url) to http://USER:PASSWORD@HOST:9200; `daybook apply --no-project` does not need it")
        })?;
        self.elasticsearch
            .client_options(addresses.clone(), self.workspace.memory)
    }

    /// Whether Elasticsearch is configured.
    pub fn has_elasticsearch(&self) -> bool {
        self.elasticsearch.addresses().is_some()
    }
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
        Error::setting(format!("'{prefix}' cannot be the prefix of index names")).hint(
            "use lower-case letters, digits, '-', '_' and '.', starting with a letter or a digit",
        ),
    )
}
