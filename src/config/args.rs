//! The declarations of the settings.

use std::path::PathBuf;

use clap::{Arg, Args as _, Command};
use secrecy::SecretString;

use super::durations::{ClockSkew, Timeout};
use super::elasticsearch::ElasticsearchArgs;
use crate::memory::Memory;
use crate::projection::layout::Replicas;
use crate::projection::scope;

/// The settings, each with its default.
#[derive(Clone, Debug, clap::Args)]
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
    /// statement runs
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_POSTGRES_TIMEOUT",
        default_value = "60s"
    )]
    pub postgres_timeout: Timeout,

    /// How to reach Elasticsearch.
    #[command(flatten)]
    pub elasticsearch: ElasticsearchArgs,

    /// Prefix of all alias and index names
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "DAYBOOK_INDEX_PREFIX",
        default_value = "stats"
    )]
    pub index_prefix: String,

    /// Terms in stats-terms: some of countries, geocodes, items, queries, each with all stat types or with some, as in
    /// items:seen+view; or none
    #[arg(long, global = true, value_name = "NAMES", env = "DAYBOOK_TERMS", default_value = scope::DEFAULT)]
    pub terms: String,

    /// Primary shards of each new index
    #[arg(
        long,
        global = true,
        value_name = "N",
        env = "DAYBOOK_SHARDS",
        default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    pub shards: u32,

    /// Replicas of each shard of a new index: a number, or a range such as 0-1 or 0-all, of which the cluster makes as many
    /// as it has nodes for
    #[arg(
        long,
        global = true,
        value_name = "N",
        env = "DAYBOOK_REPLICAS",
        default_value = Replicas::DEFAULT
    )]
    pub replicas: Replicas,

    /// Memory limit, for example 512M or 2G (at least 128M). What counting a day needs beyond it goes into temporary files
    #[arg(
        long,
        global = true,
        value_name = "SIZE",
        env = "DAYBOOK_MEMORY",
        default_value = Memory::DEFAULT
    )]
    pub memory: Memory,

    /// Directory for temporary files, on a disk rather than in memory [default: $CACHE_DIRECTORY, which systemd sets, or
    /// /var/tmp]
    #[arg(long, global = true, value_name = "DIR", env = "DAYBOOK_TEMP_DIR")]
    pub temp_dir: Option<PathBuf>,

    /// Maximum difference between this machine's clock and the ledger server's; nothing is posted beyond it: 30s, 5m, 2h,
    /// 1d
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_MAX_CLOCK_SKEW",
        default_value = "5m"
    )]
    pub max_clock_skew: ClockSkew,

    /// File for metrics of the runs, which node_exporter's textfile collector reads: its name must end in .prom
    #[arg(long, global = true, value_name = "FILE", env = "DAYBOOK_METRICS_FILE")]
    pub metrics_file: Option<PathBuf>,

    /// URL that apply and collect-stats ping when they begin (/start), succeed, or fail (/fail), as healthchecks expects
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DAYBOOK_PING_URL",
        hide_env_values = true
    )]
    pub ping_url: Option<SecretString>,

    /// Configuration file (TOML) with these settings as keys, such as ledger_url [default: /etc/daybook/daybook.toml, if
    /// it exists]
    #[arg(long, global = true, value_name = "FILE", env = "DAYBOOK_CONFIG")]
    pub config: Option<PathBuf>,
}

/// The setting that names the configuration file, which cannot contain it.
pub(super) const CONFIG: &str = "config";

/// Settings that are files, and so can be credentials as they are.
const FILES_AS_CREDENTIALS: [&str; 3] = [
    "elasticsearch_ca",
    "elasticsearch_client_cert",
    "elasticsearch_client_key",
];

/// How a setting can be a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsCredential {
    /// The file contains the value.
    Text,
    /// The file is the value.
    File,
    /// It cannot.
    Never,
}

impl AsCredential {
    pub(super) fn new(definition: &Arg) -> Self {
        if is_secret(definition) {
            Self::Text
        } else if FILES_AS_CREDENTIALS.contains(&definition.get_id().as_str()) {
            Self::File
        } else {
            Self::Never
        }
    }
}

/// The definitions of all settings, in their order.
pub(super) fn definitions() -> Vec<Arg> {
    let command = SettingsArgs::augment_args(Command::new("settings"));
    command.get_arguments().cloned().collect()
}

/// Whether the value may contain a secret.
pub(super) fn is_secret(definition: &Arg) -> bool {
    definition.is_hide_env_values_set()
}
