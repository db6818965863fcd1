//! The least privileges in Postgres for each command: what a role may do is enough for its commands, and nothing else.

use sqlx::AssertSqlSafe;

use crate::support::program::Ended;
use crate::support::{Event, Login, RECORDSET, World, world};

const DAY: &str = "2020-02-16";
const LEDGER: &str = "DAYBOOK_LEDGER_URL";
const TABLES: [&str; 6] = [
    "ledger",
    "run_start",
    "run_end",
    "entry",
    "interaction_delta",
    "rejected_event",
];

const READING: [&[&str]; 6] = [
    &["status"],
    &["log"],
    &["show", "1"],
    &["totals", RECORDSET],
    &["verify", "--ledger"],
    &["export"],
];

/// A world with an applied day, and a login with one role in it.
async fn with_a_day(role: &str) -> (World, Login) {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, DAY, RECORDSET, 5),
            Event::search(2, DAY, "no-uuid", 5),
        ])
        .await;
    world.run(&["apply", "--day", DAY]).await.assert_exit(0);
    let login = Login::new(&world).await;
    world
        .execute(&format!("GRANT {role} TO {}", login.role))
        .await;
    (world, login)
}

async fn run_as(world: &World, login: &Login, arguments: &[&str]) -> Ended {
    world
        .run_with(&[(LEDGER, &login.ledger_url)], arguments)
        .await
}

/// Panics unless the login lacks the privilege for each of these statements.
async fn assert_may_not(login: &Login, statements: impl IntoIterator<Item = String>) {
    let mut connection = world::connect(&login.ledger_url).await;
    for statement in statements {
        let done = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut connection)
            .await;
        let error = done.err().unwrap_or_else(|| panic!("{statement}: done"));
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(String::from))
            .unwrap_or_default();
        assert_eq!(code, "42501", "{statement}: {error}");
    }
}

/// What nobody but the owner may do.
fn changes() -> Vec<String> {
    let of_table = |table: &&str| {
        [
            format!("DELETE FROM daybook.{table}"),
            format!("TRUNCATE daybook.{table} CASCADE"),
            format!("ALTER TABLE daybook.{table} DISABLE TRIGGER ALL"),
            format!("DROP TABLE daybook.{table} CASCADE"),
        ]
    };
    let mut changes: Vec<_> = TABLES.iter().flat_map(of_table).collect();
    changes.extend([
        "CREATE TABLE daybook.of_mine ()".to_owned(),
        "DROP SCHEMA daybook CASCADE".to_owned(),
    ]);
    changes.push("UPDATE daybook.entry SET reason = 'of mine'".to_owned());
    changes.push("UPDATE daybook.interaction_delta SET count = 0".to_owned());
    changes
}

#[tokio::test]
async fn an_auditor_can_run_every_command_that_reads_and_nothing_else() {
    let (world, auditor) = with_a_day("daybook_auditor").await;
    for arguments in READING {
        run_as(&world, &auditor, arguments).await.assert_exit(0);
    }
    let writing: [&[&str]; 6] = [
        &["apply", "--day", DAY],
        &["reverse", "1", "--reason", "of mine"],
        &["project"],
        &["rebuild"],
        &["verify", "--projections"],
        &["migrate"],
    ];
    for arguments in writing {
        run_as(&world, &auditor, arguments)
            .await
            .assert_exit(1)
            .says(&["permission denied"]);
    }
    let inserts = TABLES.map(|table| format!("INSERT INTO daybook.{table} DEFAULT VALUES"));
    assert_may_not(&auditor, changes().into_iter().chain(inserts)).await;
    assert_may_not(
        &auditor,
        [
            "SELECT FROM stats".to_owned(),
            "SELECT FROM queries".to_owned(),
        ],
    )
    .await;
    assert_eq!(world.entries().await, 1);
    assert_eq!(
        world.value("SELECT count(*) FROM daybook.run_start").await,
        "1"
    );
    // With the source to read, also what compares with it.
    world
        .execute(&format!(
            "GRANT SELECT ON stats, queries TO {}",
            auditor.role
        ))
        .await;
    run_as(&world, &auditor, &["verify", "--ledger", "--source"])
        .await
        .assert_exit(0);
    auditor.end(world).await;
}

#[tokio::test]
async fn the_job_can_run_every_command_but_migrate_and_change_nothing_that_is_there() {
    let (world, job) = with_a_day("daybook_job").await;
    world
        .execute(&format!("GRANT SELECT ON stats, queries TO {}", job.role))
        .await;
    let writing: [&[&str]; 5] = [
        &["apply", "--day", "2020-02-17"],
        &["reverse", "1", "--reason", "to see whether it may"],
        &["project"],
        &["rebuild"],
        &["verify"],
    ];
    for arguments in READING.into_iter().chain(writing) {
        run_as(&world, &job, arguments).await.assert_exit(0);
    }
    run_as(&world, &job, &["migrate"]).await.assert_exit(1);
    assert_may_not(&job, changes()).await;
    let of_source = ["stats", "queries"].map(|table| format!("DELETE FROM {table}"));
    assert_may_not(&job, of_source).await;
    job.end(world).await;
}

#[tokio::test]
async fn a_login_without_a_role_can_do_nothing() {
    let (world, nobody) = with_a_day("pg_monitor").await;
    for arguments in READING {
        run_as(&world, &nobody, arguments).await.assert_exit(1);
    }
    nobody.end(world).await;
}
