//! Logins that may create objects lay traps: functions, operators, casts, types and tables of the names that our statements use,
//! wherever a session may look for them. None of them is ever used: not by a command, not by the schema, not by the queries of
//! the documents.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::{AssertSqlSafe, PgConnection};

use crate::auditing::questions;
use crate::support::world::connect;
use crate::support::{Event, Login, RECORDSET, World};

/// What the hostile schemas are looked up before.
const SEARCH_PATH: &str = r#""$user", public, pg_temp, pg_catalog"#;

/// Every word of the sources, the schema and the documents: among them is every name that a statement of ours uses.
fn words() -> String {
    let mut words = BTreeSet::new();
    let mut places: Vec<_> = ["src", "migrations", "docs"]
        .map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .into();
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(
                std::fs::read_dir(place)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            // A picture has no words.
            let Ok(text) = String::from_utf8(std::fs::read(&place).unwrap()) else {
                continue;
            };
            let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            words.extend(
                text.split(|c| !is_of_name(c))
                    .filter(|word| word.len() > 2)
                    .map(str::to_owned),
            );
        }
    }
    format!("'{{{}}}'", words.into_iter().collect::<Vec<_>>().join(","))
}

/// Lays traps in a schema; there must be some hundreds.
async fn lay_traps(connection: &mut PgConnection, schema: &str) {
    let lay = format!(
        "SELECT trap.lay('{schema}', {}::pg_catalog.text[])",
        words()
    );
    let laid: i32 = sqlx::query_scalar(AssertSqlSafe(lay))
        .fetch_one(connection)
        .await
        .expect("lay traps");
    assert!(laid > 800, "{laid} traps in {schema}");
}

/// A login with a schema of its own full of traps, which it finds before anything else.
async fn trapped_login(world: &World, name: &str) -> Login {
    let login = Login::named(world, name).await;
    let Login { role, .. } = &login;
    let database = &world.database;
    world
        .execute(&format!(
            "CREATE SCHEMA {role}; GRANT USAGE ON SCHEMA {role} TO {role};
             ALTER ROLE {role} IN DATABASE {database} SET search_path = {SEARCH_PATH}"
        ))
        .await;
    lay_traps(&mut world.sql().await, role).await;
    login
}

/// Who may create the ledger, and who posts.
struct Logins {
    owner: String,
    job: String,
}

/// The whole life of a ledger, with every command that speaks to a database.
async fn live(world: &World, logins: &Logins) -> Vec<String> {
    let as_owner = [("DAYBOOK_LEDGER_URL", logins.owner.as_str())];
    let as_job = [("DAYBOOK_LEDGER_URL", logins.job.as_str())];
    let folder = std::env::temp_dir().join(format!("daybook-hostile-{}", world.prefix));
    std::fs::create_dir(&folder).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (export, documents) = (file("export.ndjson"), file("documents.ndjson"));
    let mut document: serde_json::Value =
        serde_json::from_str(include_str!("../../example-objects/daily-document.json")).unwrap();
    document["harvest_date"] = "2016-03-02".into();
    document["recordset_id"] = RECORDSET.into();
    std::fs::write(&documents, document.to_string()).unwrap();
    world.log_query(1, "hash-1").await;
    let of_query = |event: Event| Event {
        query_id: Some(1),
        ..event
    };
    world
        .log(&[
            of_query(Event::search(1, "2020-02-16", RECORDSET, 5)),
            Event::view(2, "2020-02-16", "record-1", RECORDSET),
            Event::new(3, "2020-02-16", "nonsense", &serde_json::json!({})),
            Event::view(4, "2020-02-18", "record-2", RECORDSET),
        ])
        .await;
    let run = async |settings: &[(&str, &str)], arguments: &[&str]| {
        world.run_with(settings, arguments).await.assert_exit(0);
    };
    run(
        &as_job,
        &["apply", "--from", "2020-02-16", "--to", "2020-02-18"],
    )
    .await;
    world
        .log(&[Event::search(5, "2020-02-16", RECORDSET, 7)])
        .await;
    run(&as_job, &["apply", "--day", "2020-02-16"]).await;
    run(&as_job, &["apply", "--all", "--dry-run"]).await;
    run(&as_job, &["reverse", "2", "--reason", "a try"]).await;
    run(&as_job, &["import", &documents]).await;
    run(&as_job, &["project"]).await;
    run(&as_job, &["rebuild"]).await;
    for arguments in [
        &["status"][..],
        &["log"],
        &["show", "1"],
        &[
            "totals",
            RECORDSET,
            "--from",
            "2020-02-01",
            "--to",
            "2020-02-29",
        ],
        &["export", "--output", &export],
        &["verify"],
        &[
            "verify",
            "--ledger",
            "--from",
            "2020-02-16",
            "--to",
            "2020-02-16",
        ],
        &["verify", "--projections", "--repair"],
        &["migrate"],
    ] {
        run(&as_owner, arguments).await;
    }
    std::fs::remove_dir_all(folder).unwrap();
    let mut found = vec![
        world
            .value(
                "SELECT string_agg(concat_ws(' ', entry_id, day, kind, source_counted, source_rejected,
                     encode(content_hash, 'hex')), ', ' ORDER BY entry_id) FROM daybook.entry",
            )
            .await,
    ];
    for suffix in ["", "-totals", "-terms"] {
        found.push(format!("{:?}", world.documents(suffix).await));
    }
    world.assert_sound().await;
    found
}

#[tokio::test]
async fn no_code_of_others_runs_whatever_they_shadow() {
    let calm = World::new().await;
    let (owner, job) = (calm.ledger_url.clone(), calm.ledger_url.clone());
    let expected = live(&calm, &Logins { owner, job }).await;
    assert_eq!(calm.entries().await, 6);
    calm.end().await;

    let world = World::unmigrated().await;
    world.create_source().await;
    world.execute(include_str!("hostile/traps.sql")).await;
    // Operators and functions of public, before those of pg_catalog.
    lay_traps(&mut world.sql().await, "public").await;
    let owner = trapped_login(&world, "owner").await;
    let job = trapped_login(&world, "job").await;
    world
        .execute(&format!(
            "GRANT CREATE ON DATABASE {} TO {}",
            world.database, owner.role
        ))
        .await;
    // The traps are where they are found: as the owner, without a path of one's own.
    let mut naive = connect(&owner.ledger_url).await;
    for careless in [
        "SELECT to_char(date '2020-02-16', 'YYYY')",
        "SELECT 1 = 1",
        "SELECT * FROM pg_roles",
        "SELECT '1'::text",
    ] {
        let error = sqlx::raw_sql(careless)
            .execute(&mut naive)
            .await
            .expect_err(careless);
        assert!(
            error.to_string().contains("hostile code ran"),
            "{careless}: {error}"
        );
    }
    drop(naive);
    world.execute("ALTER SEQUENCE trap.sprung RESTART").await;

    world
        .run_with(
            &[("DAYBOOK_LEDGER_URL", owner.ledger_url.as_str())],
            &["migrate"],
        )
        .await
        .assert_exit(0);
    // The roles are the server's.
    world.run(&["migrate"]).await.assert_exit(0);
    world
        .execute(&format!(
            "GRANT daybook_job TO {job}; GRANT SELECT ON public.stats, public.queries TO {job}, {owner}",
            job = job.role,
            owner = owner.role
        ))
        .await;
    let logins = Logins {
        owner: owner.ledger_url.clone(),
        job: job.ledger_url.clone(),
    };
    assert_eq!(live(&world, &logins).await, expected);

    // An owner pastes the questions of an auditor, in a session that has traps of its own.
    let mut pasting = connect(&owner.ledger_url).await;
    lay_traps(&mut pasting, "pg_temp").await;
    for question in questions::document() {
        let pasted = sqlx::raw_sql(AssertSqlSafe(question.sql.clone()))
            .fetch_all(&mut pasting)
            .await;
        pasted.unwrap_or_else(|error| panic!("{}: {error}", question.sql));
        sqlx::raw_sql("RESET search_path")
            .execute(&mut pasting)
            .await
            .unwrap();
    }
    drop(pasting);
    // What `daybook migrate --print-roles` prints is for an administrator.
    let printed = world
        .run(&["migrate", "--print-roles"])
        .await
        .assert_exit(0)
        .stdout;
    let administrator = world.ledger_url.clone();
    let mut administrator = connect(&administrator).await;
    sqlx::raw_sql(AssertSqlSafe(format!("SET search_path = {SEARCH_PATH}")))
        .execute(&mut administrator)
        .await
        .unwrap();
    sqlx::raw_sql(AssertSqlSafe(printed))
        .execute(&mut administrator)
        .await
        .unwrap();
    drop(administrator);

    assert_eq!(
        world.value("SELECT is_called FROM trap.sprung").await,
        "false",
        "a trap was sprung"
    );
    let servers = world.servers.clone();
    world.end().await;
    for login in [owner, job] {
        login.drop(&servers).await;
    }
}

#[tokio::test]
async fn a_table_in_the_schema_of_the_login_s_own_name_does_not_take_the_place_of_the_events() {
    const DAY: &str = "2020-02-16";
    let world = World::new().await;
    world.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
    let login = Login::new(&world).await;
    let role = &login.role;
    world
        .execute(&format!(
            "GRANT daybook_job TO {role}; GRANT SELECT ON stats, queries TO {role};
             CREATE SCHEMA {role}; GRANT USAGE ON SCHEMA {role} TO {role};
             CREATE TABLE {role}.stats (LIKE public.stats); GRANT SELECT ON {role}.stats TO {role}"
        ))
        .await;
    let apply = ["apply", "--day", DAY, "--no-project"];
    let refused = world
        .run_with(&[("DAYBOOK_LEDGER_URL", login.ledger_url.as_str())], &apply)
        .await
        .assert_exit(1);
    refused.says(&[
        &format!("two tables stats to choose from: {role}.stats and public.stats"),
        "?options=-c%20search_path%3DNAME",
    ]);
    assert_eq!(world.entries().await, 0);
    // Whoever names a schema gets it, and whoever names several gets the first that has the table.
    for (path, events) in [(role.as_str(), "0"), ("public", "1"), ("nowhere", "1")] {
        let source = format!(
            "{}?options=-c%20search_path%3D{path}%2Cpublic",
            login.ledger_url
        );
        let settings = [
            ("DAYBOOK_LEDGER_URL", login.ledger_url.as_str()),
            ("DAYBOOK_SOURCE_URL", &source),
        ];
        let told = world
            .run_with(&settings, &["apply", "--day", DAY, "--dry-run", "--json"])
            .await
            .assert_exit(0);
        assert_eq!(
            told.messages_of("day_dry_run")[0]["events"].to_string(),
            events,
            "{path}"
        );
    }
    login.end(world).await;
}

#[tokio::test]
async fn a_schema_that_somebody_else_has_prepared_is_not_made_the_ledger() {
    let world = World::unmigrated().await;
    let other = Login::new(&world).await;
    let refused = async |prepared: &str, says: &[&str]| {
        world
            .execute(&format!(
                "{prepared}; ALTER SCHEMA daybook OWNER TO CURRENT_USER"
            ))
            .await;
        world.run(&["migrate"]).await.assert_exit(1).says(says);
        world.execute("DROP SCHEMA daybook CASCADE").await;
    };
    let role = &other.role;
    refused(
        "CREATE SCHEMA daybook; CREATE FUNCTION daybook.genesis_hash() RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$",
        &["with 1 objects that are not daybook's", "give the ledger a database of its own"],
    )
    .await;
    refused(
        &format!("CREATE SCHEMA daybook; GRANT CREATE, USAGE ON SCHEMA daybook TO {role}, PUBLIC"),
        &[
            "others may create objects in the schema daybook: PUBLIC, ",
            "REVOKE CREATE ON SCHEMA daybook FROM PUBLIC, ",
        ],
    )
    .await;
    world
        .execute(&format!("CREATE SCHEMA daybook AUTHORIZATION {role}"))
        .await;
    world.run(&["migrate"]).await.assert_exit(1).says(&[
        &format!("belongs to {role}"),
        "ALTER SCHEMA daybook OWNER TO",
    ]);
    world
        .execute("ALTER SCHEMA daybook OWNER TO CURRENT_USER")
        .await;
    world.run(&["migrate"]).await.assert_exit(0);
    other.end(world).await;
}
