//! `daybook migrate`: creates the ledger or upgrades its schema. Safe to repeat.

use serde::Serialize;
use uuid::Uuid;

use crate::config::Settings;
use crate::day::TimeZone;
use crate::error::{Error, Exit};
use crate::ledger::lock::{Lock, LockKind};
use crate::ledger::{definitions, migrate};
use crate::output::Output;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// Time zone of the ledger's days (IANA name); fixed when the ledger is created [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<TimeZone>,

    /// Print the SQL that creates the roles and grants their privileges; change nothing
    #[arg(long)]
    print_roles: bool,

    /// Print the SQL that restores functions, views and triggers to their migrated state; change nothing
    #[arg(long, conflicts_with = "print_roles")]
    print_definitions: bool,
}

#[derive(Serialize)]
struct Migrated<'a> {
    ledger_id: Uuid,
    time_zone: String,
    version: i32,
    applied: &'a [String],
    roles_granted: bool,
}

/// Runs the command.
pub async fn run(options: MigrateArgs, settings: &Settings, output: Output) -> Result<Exit, Error> {
    if options.print_roles {
        #[derive(Serialize)]
        struct Roles {
            sql: &'static str,
        }
        output.report(
            "roles",
            Roles {
                sql: migrate::ROLES_SQL,
            },
            migrate::ROLES_SQL.trim_end(),
        );
        return Ok(Exit::Done);
    }
    if options.print_definitions {
        let sql = definitions::restoring_sql();
        output.report("definitions", serde_json::json!({ "sql": sql }), &sql);
        return Ok(Exit::Done);
    }
    let mut lock = Lock::take(&settings.ledger, LockKind::Posting, "migrate").await?;
    let done = migrate::migrate(lock.connection(), options.time_zone).await;
    lock.release().await;
    let done = done?;
    let (ledger_id, zone, version) = (done.ledger_id, done.zone, done.version);
    let steps = match &done.applied[..] {
        [] => "nothing to do".to_owned(),
        applied => applied.join(", "),
    };
    let fields = Migrated {
        ledger_id,
        time_zone: zone.to_string(),
        version,
        applied: &done.applied,
        roles_granted: done.roles.is_ok(),
    };
    output.report(
        "migrated",
        fields,
        format!("ledger {ledger_id}, days in {zone}, schema version {version}: {steps}"),
    );
    match done.roles {
        Ok(()) => output.report(
            "roles_granted",
            serde_json::json!({ "role": "daybook_job", "roles": ["daybook_job", "daybook_auditor"] }),
            "role daybook_job may read and insert; grant it to the job's login: GRANT daybook_job TO stats\n\
             role daybook_auditor may only read; grant it to an auditor's login: GRANT daybook_auditor TO auditor",
        ),
        Err(refused) => tracing::warn!(
            refused,
            "the roles daybook_job and daybook_auditor were not created: `daybook migrate --print-roles` prints the SQL for an administrator"
        ),
    }
    Ok(Exit::Done)
}
