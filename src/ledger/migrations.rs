//! The migrations that are built into the program.

use refinery_core::{Migration, Runner};

mod embedded {
    #![allow(clippy::pedantic, missing_docs)]
    refinery::embed_migrations!("migrations");
}

/// The table in which refinery records what it has applied.
pub(super) const VERSION_TABLE: &str = "daybook.schema_version";

pub(super) fn runner() -> Runner {
    let mut runner = embedded::migrations::runner()
        .set_abort_divergent(true)
        .set_abort_missing(true);
    runner.set_migration_table_name(VERSION_TABLE);
    runner
}

/// The migrations of this program, in their order.
pub(super) fn migrations() -> Vec<Migration> {
    let mut migrations = runner().get_migrations().clone();
    migrations.sort_by_key(Migration::version);
    migrations
}

/// The version of the schema that this program knows.
pub fn embedded_version() -> i32 {
    runner()
        .get_migrations()
        .iter()
        .map(Migration::version)
        .max()
        .unwrap_or(0)
}
