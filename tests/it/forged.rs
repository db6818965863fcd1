//! What a login that may post cannot make the ledger say; what of the schema was changed, and how it is put back; and how a
//! hash that was kept elsewhere gives away a ledger that was cut or exchanged.

use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::support::program::Ended;
use crate::support::world::connect;
use crate::support::{Event, Login, RECORDSET, World};

const DAY: &str = "2020-02-16";
const NEXT_DAY: &str = "2020-02-17";

/// A ledger with an entry that its owner posted, one of a login that may post, and events of a further day.
async fn posted_by_two() -> (World, Login) {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, DAY, RECORDSET, 5),
            Event::new(2, DAY, "nonsense", &serde_json::json!({})),
            Event::view(3, NEXT_DAY, "record-1", RECORDSET),
            Event::view(4, "2020-02-18", "record-1", RECORDSET),
        ])
        .await;
    world
        .run(&["apply", "--day", DAY, "--no-project"])
        .await
        .assert_exit(0);
    let login = Login::new(&world).await;
    let role = &login.role;
    world
        .execute(&format!(
            "GRANT daybook_job TO {role}; GRANT SELECT ON stats, queries TO {role}"
        ))
        .await;
    apply(&world, &login, NEXT_DAY).await;
    (world, login)
}

async fn apply(world: &World, login: &Login, day: &str) {
    let as_login = [("DAYBOOK_LEDGER_URL", login.ledger_url.as_str())];
    world
        .run_with(&as_login, &["apply", "--day", day, "--no-project"])
        .await
        .assert_exit(0);
}

/// The server's refusal: code and message.
async fn refusal(connection: &mut PgConnection, sql: &str) -> (String, String) {
    let refused = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut *connection)
        .await;
    let error = refused.expect_err(sql);
    let error = error
        .as_database_error()
        .unwrap_or_else(|| panic!("{sql}: {error}"))
        .downcast_ref::<PgDatabaseError>();
    let refusal = (error.code().to_owned(), error.message().to_owned());
    sqlx::raw_sql("ROLLBACK").execute(connection).await.unwrap();
    refusal
}

/// An entry 3 like entry 2, but for these columns.
fn entry_with(columns: &str, values: &str) -> String {
    format!(
        "INSERT INTO daybook.entry (entry_id, day, kind, rule_version, tool_version, source_events, source_counted, source_ignored,
             source_rejected, source_fingerprint, delta_rows, terms_complete, content_hash, {columns})
         SELECT 3, day + 1, kind, rule_version, tool_version, 0, 0, 0, 0, '', 0, true, sha256(''), {values}
         FROM daybook.entry WHERE entry_id = 2"
    )
}

const ROW: &str = "INSERT INTO daybook.interaction_delta
    SELECT gen_random_uuid(), record_type, stat_type, ENTRY, day, count, total, items, queries, geocodes, count, total, day, day
    FROM daybook.interaction_delta WHERE entry_id = 2";

#[tokio::test]
async fn a_login_that_may_post_posts_in_its_own_name_at_the_time_it_is() {
    const RESTRICT_VIOLATION: &str = "23001";
    let (world, login) = posted_by_two().await;
    let role = &login.role;
    let mut job = connect(&login.ledger_url).await;
    let run_of =
        |entry_id: i64| format!("(SELECT run_id FROM daybook.entry WHERE entry_id = {entry_id})");
    let own_entry = |column: &str, value: &str| {
        entry_with(&format!("run_id, {column}"), &format!("run_id, {value}"))
    };
    let closed = "takes rows of an entry only in the transaction that posts it: entry";
    let rejected = |entry: i64| {
        format!("INSERT INTO daybook.rejected_event VALUES ({entry}, 99, 'bad', 'bad', '{{}}')")
    };
    for (statement, complaint) in [
        (own_entry("posted_by", "'daybook'"), format!("{role} cannot record anything as daybook")),
        (own_entry("posted_at", "'1999-12-31'::timestamptz"), "nothing can be recorded as of 1999-12-31".to_owned()),
        (own_entry("posted_at", "now() + interval '1 hour'"), "by the clock of the database it is".to_owned()),
        (own_entry("posted_at", "'-infinity'::timestamptz"), "nothing can be recorded as of -infinity".to_owned()),
        (own_entry("rejected_hash", "sha256('x')"), "does not carry the hash of its rejected events".to_owned()),
        (own_entry("totals", "'[1]'"), "does not carry the totals of its rows".to_owned()),
        (entry_with("run_id", &run_of(1)), format!("which was not started by {role}")),
        (entry_with("run_id", "gen_random_uuid()"), format!("which was not started by {role}")),
        // Rows of an entry that is closed, of one to come, and of one to come in the transaction of another.
        (ROW.replace("ENTRY", "1"), format!("{closed} 1 refused")),
        (ROW.replace("ENTRY", "2"), format!("{closed} 2 refused")),
        (ROW.replace("ENTRY", "3"), format!("{closed} 3 refused")),
        (format!("BEGIN; SET CONSTRAINTS ALL IMMEDIATE; {}", ROW.replace("ENTRY", "2")), format!("{closed} 2 refused")),
        (rejected(1), format!("{closed} 1 refused")),
        (rejected(3), format!("{closed} 3 refused")),
        (
            "INSERT INTO daybook.run_start (run_id, command, version, started_by) VALUES (gen_random_uuid(), '', '', 'daybook')".to_owned(),
            format!("{role} cannot record anything as daybook"),
        ),
        (
            "INSERT INTO daybook.run_start (run_id, command, version, started_at) VALUES (gen_random_uuid(), '', '', '1999-12-31')".to_owned(),
            "nothing can be recorded as of 1999-12-31".to_owned(),
        ),
        (
            "WITH killed AS (SELECT run_id FROM daybook.run WHERE command = 'killed')
             INSERT INTO daybook.run_end (run_id, exit_code, outcome, figures) SELECT run_id, 0, 'done', '{}' FROM killed".to_owned(),
            format!("was not started by {role}"),
        ),
        (
            "WITH own AS (INSERT INTO daybook.run_start (run_id, command, version) VALUES (gen_random_uuid(), '', '') RETURNING run_id)
             SELECT 1; INSERT INTO daybook.run_end (run_id, finished_at, exit_code, outcome, figures)
             SELECT run_id, now() + interval '1 hour', 0, 'done', '{}' FROM daybook.run_start WHERE command = ''".to_owned(),
            "by the clock of the database it is".to_owned(),
        ),
    ] {
        if statement.contains("killed") {
            world.execute("INSERT INTO daybook.run_start (run_id, command, version) VALUES (gen_random_uuid(), 'killed', '')").await;
        }
        let (code, message) = refusal(&mut job, &statement).await;
        assert_eq!(code, RESTRICT_VIOLATION, "{statement}: {message}");
        assert!(message.contains(&complaint), "'{complaint}' is missing in: {message}");
    }
    let (code, _) = refusal(
        &mut job,
        "INSERT INTO daybook.ledger VALUES (false, gen_random_uuid(), 'UTC', now())",
    )
    .await;
    assert_eq!(code, "42501");
    // Not even its owner, as a replica, which no foreign key would keep from it.
    let mut owner = world.sql().await;
    let as_replica = format!(
        "SET session_replication_role = replica; {}",
        ROW.replace("ENTRY", "2")
    );
    assert!(
        refusal(&mut owner, &as_replica)
            .await
            .1
            .contains("entry 2 refused")
    );

    // A row that waits in a transaction of its own until somebody else has posted the entry.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "BEGIN; {}",
        ROW.replace("ENTRY", "3")
    )))
    .execute(&mut job)
    .await
    .unwrap();
    world
        .run(&["apply", "--day", "2020-02-18", "--no-project"])
        .await
        .assert_exit(0);
    let (code, message) = refusal(&mut job, "COMMIT").await;
    assert_eq!(
        (code.as_str(), message.contains("entry 3 refused")),
        (RESTRICT_VIOLATION, true),
        "{message}"
    );

    // What is left out is set, whatever role the session has taken on.
    let run = "INSERT INTO daybook.run_start (run_id, command, version) VALUES (gen_random_uuid(), 'own', '')";
    sqlx::raw_sql(AssertSqlSafe(format!("SET ROLE daybook_job; {run}")))
        .execute(&mut job)
        .await
        .unwrap();
    let entry = entry_with(
        "run_id",
        "(SELECT run_id FROM daybook.run WHERE command = 'own')",
    )
    .replace("SELECT 3", "SELECT 4");
    sqlx::raw_sql(AssertSqlSafe(entry))
        .execute(&mut job)
        .await
        .unwrap();
    let as_it_is =
        "SELECT concat_ws(' ', posted_by, started_by, posted_at BETWEEN now() - interval '1 minute' AND now())
                    FROM daybook.entry JOIN daybook.run USING (run_id) WHERE entry_id = 4";
    assert_eq!(world.value(as_it_is).await, format!("{role} {role} t"));
    world.run(&["verify", "--ledger"]).await.assert_exit(0);
    drop(job);
    login.end(world).await;
}

#[tokio::test]
async fn rejected_events_are_covered_by_the_hash_of_their_entry() {
    let (world, login) = posted_by_two().await;
    let of_entry = "entry 1 of 2020-02-16: its rejected events do not give its rejected_hash";
    for tampering in [
        "UPDATE daybook.rejected_event SET source_id = 7",
        "UPDATE daybook.rejected_event SET reason = 'none'",
        "UPDATE daybook.rejected_event SET message = message || '.'",
        "UPDATE daybook.rejected_event SET event = '{}'",
        "DELETE FROM daybook.rejected_event",
        "INSERT INTO daybook.rejected_event VALUES (1, 7, 'none', '', '{}')",
    ] {
        world
            .execute("CREATE TABLE kept AS TABLE daybook.rejected_event")
            .await;
        world.tamper(tampering).await;
        world
            .run(&["verify", "--ledger"])
            .await
            .assert_exit(4)
            .tells(&[of_entry, "1 problem found"]);
        assert_eq!(
            world.value("SELECT string_agg(entry_id::text, ' ') FROM daybook.entry_check WHERE rejected_differs").await,
            "1"
        );
        world
            .tamper(
                "DELETE FROM daybook.rejected_event; INSERT INTO daybook.rejected_event TABLE kept; DROP TABLE kept",
            )
            .await;
    }
    world.run(&["verify", "--ledger"]).await.assert_exit(0);
    world
        .tamper("INSERT INTO daybook.rejected_event VALUES (9, 7, 'none', '', '{}')")
        .await;
    world
        .run(&["verify", "--ledger"])
        .await
        .assert_exit(4)
        .tells(&["entry 9", "its header is missing"]);
    assert_eq!(
        world.value("SELECT string_agg(entry_id::text, ' ') FROM daybook.entry_check WHERE header_missing").await,
        "9"
    );
    login.end(world).await;
}

/// What was changed, and what is said about it.
const CHANGES: &[(&str, &[&str])] = &[
    (
        "ALTER TABLE daybook.entry DISABLE TRIGGER refuse_change",
        &["trigger refuse_change of daybook.entry: it is disabled: ALTER TABLE daybook.entry ENABLE ALWAYS TRIGGER refuse_change"],
    ),
    // What pg_restore --data-only --disable-triggers leaves.
    (
        "ALTER TABLE daybook.interaction_delta DISABLE TRIGGER ALL; ALTER TABLE daybook.interaction_delta ENABLE TRIGGER ALL",
        &[
            "trigger entry_is_being_posted of daybook.interaction_delta: it does not fire always",
            "trigger refuse_change of daybook.interaction_delta: it does not fire always",
            "trigger refuse_truncate of daybook.interaction_delta: it does not fire always",
        ],
    ),
    ("ALTER TABLE daybook.run_end ENABLE REPLICA TRIGGER run_ends", &["trigger run_ends of daybook.run_end: it does not fire always"]),
    ("DROP TRIGGER entry_follows_head ON daybook.entry", &["trigger entry_follows_head of daybook.entry: it is missing"]),
    (
        "DROP TRIGGER refuse_change ON daybook.entry;
         CREATE TRIGGER refuse_change BEFORE DELETE ON daybook.entry FOR EACH ROW EXECUTE FUNCTION daybook.refuse_change();
         ALTER TABLE daybook.entry ENABLE ALWAYS TRIGGER refuse_change",
        &["trigger refuse_change of daybook.entry: it is not as it was migrated"],
    ),
    (
        "CREATE OR REPLACE FUNCTION daybook.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
         'BEGIN RETURN NEW; END'",
        &["function daybook.refuse_change(): it is not as it was migrated"],
    ),
    ("ALTER FUNCTION daybook.entry_follows_head() RESET search_path", &["function daybook.entry_follows_head(): it is not as it was"]),
    ("ALTER FUNCTION daybook.genesis_hash() SECURITY DEFINER", &["function daybook.genesis_hash(): it is not as it was"]),
    (
        "CREATE OR REPLACE FUNCTION daybook.entry_hash_of(e daybook.entry) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
         BEGIN ATOMIC SELECT e.entry_hash; END",
        &["function daybook.entry_hash_of(e daybook.entry): it is not as it was migrated"],
    ),
    (
        "CREATE OR REPLACE VIEW daybook.gap AS SELECT NULL::date AS day WHERE false",
        &["view daybook.gap: it is not as it was migrated"],
    ),
    ("DROP VIEW daybook.posted_day", &["view daybook.posted_day: it is missing"]),
    ("DROP TABLE daybook.schema_version", &["daybook.schema_version: the table is missing"]),
    (
        "DELETE FROM daybook.schema_version WHERE version = (SELECT max(version) FROM daybook.schema_version)",
        &["daybook.schema_version: migration", "is not in it"],
    ),
    ("DELETE FROM daybook.schema_version WHERE version = 1", &["daybook.schema_version: migration 1 (ledger) is not in it"]),
    (
        "UPDATE daybook.schema_version SET checksum = '1' WHERE version = 2",
        &["daybook.schema_version: migration 2 is in it with another name or checksum"],
    ),
];

#[tokio::test]
async fn what_of_the_schema_is_not_as_it_was_migrated_is_named_and_can_be_put_back() {
    let (world, login) = posted_by_two().await;
    let restore = world
        .run(&["migrate", "--print-definitions"])
        .await
        .assert_exit(0)
        .stdout;
    world
        .run(&["verify", "--ledger"])
        .await
        .assert_exit(0)
        .tells(&["the schema matches the migrations"]);
    for (change, told) in CHANGES {
        world.execute(change).await;
        let found: Ended = world
            .run(&["verify", "--ledger"])
            .await
            .assert_exit(4)
            .tells(told);
        let is_of_trigger =
            told[0].contains("ALTER TABLE") || told[0].contains("does not fire always");
        assert!(
            is_of_trigger || found.stdout.contains("daybook migrate --print-definitions"),
            "{}",
            found.stdout
        );
        world.execute(&restore).await;
        world.run(&["verify", "--ledger"]).await.assert_exit(0);
    }
    // What is somebody else's is named, and what to do about it.
    for (change, told, undo) in [
        (
            "CREATE FUNCTION daybook.row_hash_of(d daybook.entry) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'",
            "function daybook.row_hash_of(d daybook.entry): it is not daybook's",
            "DROP FUNCTION daybook.row_hash_of(d daybook.entry)",
        ),
        (
            "CREATE VIEW daybook.total AS SELECT 1 AS n",
            "view daybook.total: it is not daybook's",
            "DROP VIEW daybook.total",
        ),
        (
            "CREATE TRIGGER mine BEFORE INSERT ON daybook.entry FOR EACH ROW EXECUTE FUNCTION daybook.entry_follows_head()",
            "trigger mine of daybook.entry: it is not daybook's",
            "DROP TRIGGER mine ON daybook.entry",
        ),
        (
            "CREATE RULE mine AS ON INSERT TO daybook.run_end DO INSTEAD NOTHING",
            "rule mine of daybook.run_end: it is not daybook's",
            "DROP RULE mine ON daybook.run_end",
        ),
        (
            "ALTER TABLE daybook.entry ENABLE ROW LEVEL SECURITY",
            "daybook.entry: row level security may hide rows of it",
            "ALTER TABLE daybook.entry DISABLE ROW LEVEL SECURITY",
        ),
        (
            "ALTER TABLE daybook.entry ADD COLUMN mine int DEFAULT 7",
            "column daybook.entry.mine: it is not daybook's",
            "ALTER TABLE daybook.entry DROP COLUMN mine",
        ),
        (
            "ALTER TABLE daybook.entry ADD CONSTRAINT mine CHECK (entry_id < 3)",
            "constraint daybook.entry.mine: it is not daybook's",
            "ALTER TABLE daybook.entry DROP CONSTRAINT mine",
        ),
        (
            "GRANT TRUNCATE ON daybook.run_end TO daybook_job",
            "daybook.run_end: daybook_job may TRUNCATE it",
            "REVOKE TRUNCATE ON daybook.run_end FROM daybook_job",
        ),
        (
            "GRANT INSERT (reason) ON daybook.entry TO daybook_auditor",
            "daybook.entry: daybook_auditor may INSERT it",
            "REVOKE INSERT ON daybook.entry FROM daybook_auditor",
        ),
        (
            "GRANT CREATE ON SCHEMA daybook TO PUBLIC",
            "the schema daybook: others may create objects in it",
            "REVOKE CREATE ON SCHEMA daybook FROM PUBLIC",
        ),
    ] {
        world.execute(change).await;
        world
            .run(&["verify", "--ledger"])
            .await
            .assert_exit(4)
            .tells(&[told, undo, "1 problem found"]);
        world.execute(undo).await;
    }
    // Who lost the record of the migrations is told so by whatever needs it.
    world.execute("DROP TABLE daybook.schema_version").await;
    world.run(&["migrate"]).await.assert_exit(1).says(&[
        "daybook.schema_version",
        "daybook migrate --print-definitions",
    ]);
    world.execute(&restore).await;
    world
        .run(&["migrate"])
        .await
        .assert_exit(0)
        .tells(&["nothing to do"]);
    login.end(world).await;
}

/// Of a table nothing is put back by itself: it may hold what is not to be lost.
#[tokio::test]
async fn what_of_a_table_is_not_as_it_was_migrated_is_named() {
    let world = World::new().await;
    for (change, told, undo) in [
        (
            "ALTER TABLE daybook.entry ALTER COLUMN posted_by DROP NOT NULL",
            "column daybook.entry.posted_by: it is not as it was migrated",
            "ALTER TABLE daybook.entry ALTER COLUMN posted_by SET NOT NULL",
        ),
        (
            "ALTER TABLE daybook.interaction_delta DROP CONSTRAINT interaction_delta_check",
            "constraint daybook.interaction_delta.interaction_delta_check: it is missing",
            "ALTER TABLE daybook.interaction_delta ADD CHECK (first_day <= day AND day <= last_day)",
        ),
        (
            "ALTER TABLE daybook.entry DROP CONSTRAINT entry_delta_rows_check, ADD CHECK (delta_rows > -7)",
            "constraint daybook.entry.entry_delta_rows_check: it is not as it was migrated",
            "ALTER TABLE daybook.entry DROP CONSTRAINT entry_delta_rows_check, ADD CHECK (delta_rows >= 0)",
        ),
        (
            "DROP INDEX daybook.entry_reversed_once",
            "index daybook.entry.entry_reversed_once: it is missing",
            "CREATE UNIQUE INDEX entry_reversed_once ON daybook.entry (reverses)",
        ),
    ] {
        world.execute(change).await;
        world
            .run(&["verify", "--ledger"])
            .await
            .assert_exit(4)
            .tells(&[told, "1 problem found"]);
        world.execute(undo).await;
    }
    // An index or a table more is the owner's business.
    world
        .execute("CREATE INDEX mine ON daybook.entry (posted_at); CREATE TABLE daybook.notes (n int PRIMARY KEY)")
        .await;
    world.run(&["verify", "--ledger"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn a_restored_dump_is_as_it_was_migrated_and_an_auditor_can_tell() {
    let (world, login) = posted_by_two().await;
    // As a dump has them: written by the server, read by the server.
    world
        .execute(
            "SET search_path = pg_catalog, pg_temp;
             DO $$
             DECLARE statement text;
             BEGIN
                 FOR statement IN
                     SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'daybook'::regnamespace
                     UNION ALL
                     SELECT format('CREATE OR REPLACE VIEW daybook.%I AS %s', relname, pg_get_viewdef(oid))
                     FROM pg_class WHERE relnamespace = 'daybook'::regnamespace AND relkind = 'v'
                 LOOP
                     EXECUTE statement;
                 END LOOP;
             END $$",
        )
        .await;
    world
        .run(&["verify", "--ledger"])
        .await
        .assert_exit(0)
        .tells(&["the schema matches the migrations"]);
    world
        .execute(&format!(
            "REVOKE daybook_job FROM {role}; GRANT daybook_auditor TO {role}",
            role = login.role
        ))
        .await;
    let as_auditor = [("DAYBOOK_LEDGER_URL", login.ledger_url.as_str())];
    world
        .run_with(&as_auditor, &["verify", "--ledger"])
        .await
        .assert_exit(0)
        .tells(&["the schema matches the migrations"]);
    // Where nothing temporary may be made, that is said; the rest is verified.
    world
        .execute(&format!(
            "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC",
            world.database
        ))
        .await;
    let told = world
        .run_with(&as_auditor, &["verify", "--ledger"])
        .await
        .assert_exit(0);
    told.tells(&[
        "balances are correct; its tables, functions and views were not compared",
        "permission denied",
    ]);
    login.end(world).await;
}

#[tokio::test]
async fn a_ledger_that_was_cut_or_exchanged_is_told_by_what_was_witnessed_of_it() {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, DAY, RECORDSET, 5),
            Event::search(2, NEXT_DAY, RECORDSET, 6),
            Event::search(3, "2020-02-18", RECORDSET, 7),
        ])
        .await;
    // Each posting says what an outside witness may keep.
    let posted = world
        .run(&[
            "apply",
            "--from",
            DAY,
            "--to",
            "2020-02-18",
            "--no-project",
            "--json",
        ])
        .await
        .assert_exit(0);
    let hash_of = async |entry_id: i64| {
        world
            .value(&format!(
                "SELECT encode(entry_hash, 'hex') FROM daybook.entry WHERE entry_id = {entry_id}"
            ))
            .await
    };
    let days = posted.messages_of("day");
    for (day, entry_id) in days.iter().zip(1..) {
        assert_eq!(
            (&day["entry_id"], day["entry_hash"].as_str()),
            (&entry_id.into(), Some(hash_of(entry_id).await.as_str()))
        );
    }
    let reversed = world
        .run(&["reverse", "1", "--reason", "bots", "--no-project"])
        .await
        .assert_exit(0);
    reversed.tells(&[&format!("entry_hash {}", hash_of(4).await)]);
    let folder = std::env::temp_dir();
    let file = |name: &str| {
        folder
            .join(format!("daybook-{name}-{}", world.prefix))
            .to_str()
            .unwrap()
            .to_owned()
    };
    let (of_apply, of_log, of_lines) = (file("apply"), file("log"), file("lines"));
    std::fs::write(&of_apply, &posted.stdout).unwrap();
    let log = world.run(&["log", "--json"]).await.assert_exit(0).stdout;
    assert_eq!(log.lines().count(), 4);
    std::fs::write(&of_log, log).unwrap();
    let (second, third) = (hash_of(2).await, hash_of(3).await);
    std::fs::write(
        &of_lines,
        format!("\n2={second}\n3 = {}\n", third.to_uppercase()),
    )
    .unwrap();
    let expect = |entry_id: i64, hash: &str| ["--expect".to_owned(), format!("{entry_id}={hash}")];
    let verify = async |arguments: &[&str]| {
        world
            .run(&[&["verify", "--ledger"], arguments].concat())
            .await
    };

    verify(&["--expect-file", &of_apply])
        .await
        .assert_exit(0)
        .tells(&["3 entries match their witnesses"]);
    verify(&["--expect-file", &of_log, "--expect", &expect(2, &second)[1]])
        .await
        .assert_exit(0)
        .tells(&["4 entries match"]);
    verify(&["--expect-file", &of_lines])
        .await
        .assert_exit(0)
        .tells(&["2 entries match their witnesses"]);
    // Also where the source alone is to be verified.
    let source = world
        .run(&["verify", "--source", "--expect", &format!("2={third}")])
        .await
        .assert_exit(4);
    source.tells(&[&format!(
        "entry 2: it was witnessed with the entry_hash {third}, but its header gives {second}"
    )]);
    // What cannot be taken for a witness is refused by its line, before anything is looked at.
    for (content, says) in [
        ("", "contains no entry with its hash"),
        (
            "{\"message_type\":\"nothing_to_do\"}\n",
            "contains no entry with its hash",
        ),
        ("2=abc\n", "line 1: 'abc' is not an entry_hash"),
        (
            "\n\nentry 2\n",
            "line 3: 'entry 2' is not of the form ENTRY=HASH",
        ),
        ("{\"entry_id\": 2,\n", "line 1: not a message of daybook"),
        ("2=\u{0}\n", "line 1: "),
    ] {
        let malformed = file("malformed");
        std::fs::write(&malformed, content).unwrap();
        verify(&["--expect-file", &malformed])
            .await
            .assert_exit(2)
            .says(&[&malformed, says]);
        std::fs::remove_file(malformed).unwrap();
    }
    verify(&["--expect-file", &file("none")])
        .await
        .assert_exit(2)
        .says(&["cannot be read", "check the name of the file"]);
    verify(&["--expect", "2"])
        .await
        .assert_exit(2)
        .says(&["'2' is not of the form ENTRY=HASH"]);
    verify(&["--expect", &format!("2={second}"), "--from", DAY])
        .await
        .assert_exit(2)
        .says(&["cannot be used with"]);

    // The tail is cut off: what is left is right in itself.
    world
        .tamper(
            "DELETE FROM daybook.interaction_delta WHERE entry_id > 2; DELETE FROM daybook.entry WHERE entry_id > 2",
        )
        .await;
    verify(&[]).await.assert_exit(0);
    verify(&["--expect-file", &of_lines]).await.assert_exit(4).tells(&[
        &format!("entry 3: it was witnessed with the entry_hash {third}, but is not there: the newest is 2"),
        "restore that one from a backup",
        "1 problem found",
    ]);
    // The whole is exchanged, with a chain that is right in itself.
    world
        .tamper_and_rehash(
            "UPDATE daybook.interaction_delta SET total = 50, queries = '{\"\": 50}', total_balance = 50,
                 geocodes = (SELECT jsonb_object_agg(key, 50) FROM jsonb_object_keys(geocodes) key) WHERE entry_id = 1;
             UPDATE daybook.interaction_delta SET total_balance = total + 50 WHERE entry_id = 2",
        )
        .await;
    verify(&[]).await.assert_exit(0);
    let exchanged = hash_of(2).await;
    verify(&["--expect", &format!("2={second}")])
        .await
        .assert_exit(4)
        .tells(&[&format!("entry 2: it was witnessed with the entry_hash {second}, but its header gives {exchanged}")]);
    // A hash that was written into the header alone is not the header's.
    world
        .tamper(&format!(
            "UPDATE daybook.entry SET entry_hash = '\\x{second}' WHERE entry_id = 2"
        ))
        .await;
    verify(&["--expect", &format!("2={second}")])
        .await
        .assert_exit(4)
        .tells(&["entry 2: it was witnessed", "does not give its entry_hash"]);
    for file in [of_apply, of_log, of_lines] {
        std::fs::remove_file(file).unwrap();
    }
    world.end().await;
}
