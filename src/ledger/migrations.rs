//! The migrations that are built into the program.

use refinery_core::{Migration, Runner};

/// The name of a migration and its statements: `migration!("V001__ledger")`.
macro_rules! migration {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../migrations/", $name, ".sql")),
        )
    };
}

/// Every file in `migrations`, in the order of the versions. (refinery's macro would read the folder, but needs its
/// regular expressions built a second time for that.)
const FILES: [(&str, &str); 3] = [
    migration!("V001__ledger"),
    migration!("V002__immutability_and_hashes"),
    migration!("V003__views_for_audits"),
];

/// The table in which refinery records what it has applied.
pub(super) const VERSION_TABLE: &str = "daybook.schema_version";

pub(super) fn runner() -> Runner {
    let mut runner = Runner::new(&migrations())
        .set_abort_divergent(true)
        .set_abort_missing(true);
    runner.set_migration_table_name(VERSION_TABLE);
    runner
}

/// The migrations of this program, in the order of their versions.
pub(super) fn migrations() -> Vec<Migration> {
    FILES
        .iter()
        .map(|(name, statements)| {
            Migration::unapplied(name, statements).expect("names as refinery wants them")
        })
        .collect()
}

/// The version of the schema that this program knows.
pub fn embedded_version() -> i32 {
    migrations()
        .iter()
        .map(Migration::version)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_in_migrations_is_built_in() {
        let mut files: Vec<String> = std::fs::read_dir("migrations")
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, FILES.map(|(name, _)| format!("{name}.sql")));
        assert!(migrations().is_sorted_by_key(Migration::version));
    }
}
