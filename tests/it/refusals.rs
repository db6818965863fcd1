//! What daybook refuses, and how: each message names what was given and the way out, each exit code tells machines, nothing
//! is posted, and no message ever holds a password.

use reqwest::Method;
use serde_json::json;

use crate::support::program::{self, Ended};
use crate::support::world::with_database;
use crate::support::{Contents, Event, Login, RECORDSET, World};

const DAY: &str = "2020-02-16";
const APPLY: [&str; 3] = ["apply", "--day", DAY];
const SECRET: &str = "correct-horse-battery-staple";

/// A world with one event to apply.
async fn with_an_event() -> World {
    let world = World::new().await;
    world.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
    world
}

fn today() -> chrono::NaiveDate {
    daybook::clock::now().date_naive()
}

async fn entries(world: &World) -> String {
    world.value("SELECT count(*) FROM daybook.entry").await
}

/// Refused: with this exit code, in these words, without the password, and nothing is posted.
#[track_caller]
fn assert_refused(ended: Ended, code: i32, words: &[&str]) -> Ended {
    let ended = ended.assert_exit(code).says(words);
    for text in [&ended.stdout, &ended.stderr] {
        assert!(!text.contains(SECRET), "the password is told: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    ended
}

fn with_password(url: &str, password: &str) -> String {
    let mut url: url::Url = url.parse().unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

#[tokio::test]
async fn a_day_that_is_not_over_is_refused_unless_it_is_asked_for_as_open() {
    let world = World::new().await;
    let today = today().to_string();
    world.log(&[Event::search(1, &today, RECORDSET, 5)]).await;
    for arguments in [
        &["apply", "--day", &today][..],
        &["apply", "--to", &today],
        &["apply", "--from", &today, "--to", &today],
    ] {
        let ended = world.run(arguments).await;
        assert_refused(
            ended,
            2,
            &[
                &format!("{today} is not over yet"),
                "wait until it is",
                "--day-open",
            ],
        );
    }
    assert_eq!(entries(&world).await, "0");

    world
        .run(&["apply", "--day", &today, "--day-open"])
        .await
        .assert_exit(0);
    assert_eq!(
        world
            .value("SELECT total FROM daybook.interaction_delta")
            .await,
        "5"
    );
    // What comes later is a correction.
    world.log(&[Event::search(2, &today, RECORDSET, 7)]).await;
    world
        .run(&["apply", "--day", &today, "--day-open"])
        .await
        .assert_exit(0);
    let kinds = "SELECT string_agg(kind, ' ' ORDER BY entry_id) FROM daybook.entry";
    assert_eq!(world.value(kinds).await, "apply correction");
    assert_eq!(
        world.documents("").await[0].2["records"]["search"]["total"],
        12
    );
    world.end().await;
}

#[tokio::test]
async fn a_day_that_has_not_begun_is_refused_even_as_open() {
    let world = World::new().await;
    let (today, tomorrow) = (today(), today().succ_opt().unwrap());
    let (today, tomorrow) = (today.to_string(), tomorrow.to_string());
    for arguments in [
        &["apply", "--day", &tomorrow][..],
        &["apply", "--day", &tomorrow, "--day-open"],
        &["apply", "--from", DAY, "--to", &tomorrow],
        &["apply", "--from", &tomorrow],
    ] {
        let ended = world.run(arguments).await;
        let words = format!("{tomorrow} has not begun yet: today is {today}");
        assert_refused(ended, 2, &[&words, "give a day that is over"]);
    }
    assert_eq!(entries(&world).await, "0");
    world.end().await;
}

#[tokio::test]
async fn nonsense_dates_and_ranges_are_refused_with_an_example() {
    let world = with_an_event().await;
    for nonsense in ["yesterday", "2020-2-16", "2021-02-29", "16.02.2020", ""] {
        let example =
            format!("'{nonsense}' is not a date: give it as YYYY-MM-DD, for example 2020-02-16");
        for arguments in [
            &["apply", "--day", nonsense][..],
            &["apply", "--from", nonsense],
            &["apply", "--to", nonsense],
            &["totals", RECORDSET, "--from", nonsense],
        ] {
            assert_refused(world.run(arguments).await, 2, &[&example]);
        }
    }
    for far in ["1969-12-31", "9999-12-31"] {
        let ended = world.run(&["apply", "--day", far]).await;
        assert_refused(ended, 2, &[far, "out of range", "1970-01-01"]);
    }
    for command in [&["apply"][..], &["totals", RECORDSET]] {
        let arguments = [command, &["--from", "2020-02-17", "--to", DAY]].concat();
        let ended = world.run(&arguments).await;
        assert_refused(
            ended,
            2,
            &["--from 2020-02-17 is after --to 2020-02-16", "swap them"],
        );
    }
    for both in [
        &["apply", "--day", DAY, "--all"][..],
        &["apply", "--day", DAY, "--from", DAY],
        &["apply", "--all", "--to", DAY],
    ] {
        assert_refused(world.run(both).await, 2, &["cannot be used with"]);
    }
    assert_eq!(entries(&world).await, "0");
    world.end().await;
}

#[tokio::test]
async fn unknown_commands_flags_entries_and_recordsets_are_refused() {
    let world = with_an_event().await;
    assert_refused(world.run(&["aply"]).await, 2, &["'aply'", "apply"]);
    assert_refused(
        world.run(&["apply", "--dry-rum"]).await,
        2,
        &["'--dry-rum'", "--dry-run"],
    );
    assert_refused(world.run(&["apply", "surplus"]).await, 2, &["'surplus'"]);
    assert_refused(world.run(&[]).await, 2, &["Usage: daybook", "apply"]);
    for nonsense in ["0", "-1", "one", "1.5"] {
        let ended = world.run(&["show", "--", nonsense]).await;
        let words = format!(
            "'{nonsense}' is not an entry id: give a number from 1, `daybook log` lists them"
        );
        assert_refused(ended, 2, &[&words]);
    }
    world.run(&APPLY).await.assert_exit(0);
    let ended = world.run(&["show", "99"]).await;
    assert_refused(
        ended,
        1,
        &[
            "there is no entry 99: the newest is 1",
            "`daybook log` lists the entries",
        ],
    );
    let ended = world.run(&["totals", "nonsense"]).await;
    assert_refused(
        ended,
        2,
        &["'nonsense' is not a recordset id: give its UUID"],
    );
    let ended = world.run(&["log", "-n", "0"]).await;
    assert_refused(ended, 2, &["'0'", "--limit"]);
    let ended = world.run(&["migrate", "--time-zone", "Mars/Olympus"]).await;
    assert_refused(
        ended,
        2,
        &["'Mars/Olympus' is not a time zone", "for example UTC"],
    );
    world.end().await;
}

#[tokio::test]
async fn a_database_without_a_ledger_asks_for_a_migration() {
    let world = World::unmigrated().await;
    let place = format!(
        "there is no ledger yet (database {} on 127.0.0.1:",
        world.database
    );
    for arguments in [
        &["apply"][..],
        &APPLY,
        &["collect-stats"],
        &["project"],
        &["status"],
        &["log"],
        &["show", "1"],
        &["totals", RECORDSET],
    ] {
        let ended = world.run(arguments).await;
        assert_refused(
            ended,
            1,
            &[
                &place,
                "run `daybook migrate` once to create it, or check DAYBOOK_LEDGER_URL",
            ],
        );
    }
    assert_eq!(world.value("SELECT to_regnamespace('daybook')").await, "");
    world.end().await;
}

#[tokio::test]
async fn a_source_without_the_tables_or_their_columns_is_refused() {
    let world = World::new().await;
    let empty = World::unmigrated().await;
    let ended = world
        .run_with(&[("DAYBOOK_SOURCE_URL", &empty.ledger_url)], &APPLY)
        .await;
    let place = format!("the source (database {} on 127.0.0.1:", empty.database);
    assert_refused(
        ended,
        1,
        &[
            &place,
            "has no table stats",
            "point DAYBOOK_SOURCE_URL at the database",
        ],
    );
    empty.end().await;
    world
        .execute("ALTER TABLE queries RENAME TO questions")
        .await;
    assert_refused(
        world.run(&APPLY).await,
        1,
        &["has no table queries", "DAYBOOK_SOURCE_URL"],
    );
    world
        .execute(
            "ALTER TABLE questions RENAME TO queries; ALTER TABLE stats DROP COLUMN ip_geocode",
        )
        .await;
    assert_refused(
        world.run(&APPLY).await,
        1,
        &["has no column stats.ip_geocode", "DAYBOOK_SOURCE_URL"],
    );
    assert_eq!(entries(&world).await, "0");
    world.end().await;
}

#[tokio::test]
async fn a_source_column_of_a_type_that_cannot_be_read_is_named() {
    let world = World::new().await;
    for (column, wrong, found, expected) in [
        (
            "date",
            "date",
            "date",
            "timestamp without time zone or timestamp with time zone",
        ),
        ("payload", "text", "text", "json or jsonb"),
        ("id", "numeric", "numeric", "bigint or integer"),
    ] {
        world
            .execute(&format!(
                "ALTER TABLE stats ALTER {column} TYPE {wrong} USING {column}::{wrong}"
            ))
            .await;
        let ended = world.run(&APPLY).await;
        let words =
            format!("the source's column stats.{column} is of type {found}, expected {expected}");
        assert_refused(ended, 1, &[&words, &format!("database {}", world.database)]);
        let right = match column {
            "date" => "timestamptz",
            "payload" => "jsonb",
            _ => "bigint",
        };
        world
            .execute(&format!(
                "ALTER TABLE stats ALTER {column} TYPE {right} USING {column}::{right}"
            ))
            .await;
    }
    assert_eq!(entries(&world).await, "0");
    world.end().await;
}

#[tokio::test]
async fn missing_permissions_are_named_with_the_grant_that_is_missing() {
    let world = with_an_event().await;
    let login = Login::new(&world).await;
    let role = &login.role;

    // A login that may read the ledger, not the source.
    world.execute(&format!("GRANT daybook_job TO {role}")).await;
    let as_login = [("DAYBOOK_LEDGER_URL", login.ledger_url.as_str())];
    let ended = world.run_with(&as_login, &APPLY).await;
    let ended = assert_refused(
        ended,
        1,
        &[
            "no permission to read stats.id in the source",
            "GRANT SELECT ON public.stats, public.queries TO",
        ],
    );
    assert!(!ended.stderr.contains(&login.password), "{}", ended.stderr);
    world
        .execute(&format!("GRANT SELECT ON stats TO {role}"))
        .await;
    let ended = world.run_with(&as_login, &APPLY).await;
    assert_refused(
        ended,
        1,
        &[
            "no permission to read queries.id in the source",
            "GRANT SELECT ON public.stats, public.queries TO",
        ],
    );
    assert_eq!(entries(&world).await, "0");

    // A login that may read the source, not the ledger; then one that may not insert.
    world
        .execute(&format!(
            "GRANT SELECT ON queries TO {role}; REVOKE daybook_job FROM {role}"
        ))
        .await;
    let ended = world.run_with(&as_login, &APPLY).await;
    assert_refused(
        ended,
        1,
        &[
            "permission denied for schema daybook",
            "daybook migrate --print-roles",
        ],
    );
    world
        .execute(&format!(
            "GRANT USAGE ON SCHEMA daybook TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA daybook TO {role}"
        ))
        .await;
    let ended = world.run_with(&as_login, &APPLY).await;
    assert_refused(
        ended,
        1,
        &[
            "recording the start of the run",
            "permission denied",
            "daybook migrate --print-roles",
        ],
    );
    world.run_with(&as_login, &["status"]).await.assert_exit(0);
    let ended = world.run_with(&as_login, &["migrate"]).await;
    assert_refused(
        ended,
        1,
        &["permission denied", "creating the schema daybook"],
    );
    assert_eq!(entries(&world).await, "0");
    login.end(world).await;
}

#[tokio::test]
async fn a_wrong_login_or_database_is_named_without_the_password() {
    let world = with_an_event().await;
    let wrong_password = with_password(&world.ledger_url, SECRET);
    for setting in ["DAYBOOK_LEDGER_URL", "DAYBOOK_SOURCE_URL"] {
        let ended = world.run_with(&[(setting, &wrong_password)], &APPLY).await;
        let role = if setting == "DAYBOOK_LEDGER_URL" {
            "ledger"
        } else {
            "source"
        };
        let place = format!(
            "cannot connect to the {role} (database {} on 127.0.0.1:",
            world.database
        );
        assert_refused(
            ended,
            1,
            &[
                &place,
                "password authentication failed",
                "check the user and the password",
            ],
        );
    }
    let nowhere = with_database(&world.ledger_url, "daybook_test_nowhere");
    for setting in ["DAYBOOK_LEDGER_URL", "DAYBOOK_SOURCE_URL"] {
        let ended = world.run_with(&[(setting, &nowhere)], &APPLY).await;
        assert_refused(
            ended,
            1,
            &[
                "database daybook_test_nowhere on",
                "create the database first, or name another one",
            ],
        );
    }
    assert_eq!(entries(&world).await, "0");
    world.end().await;
}

#[tokio::test]
async fn a_connection_url_that_cannot_be_read_is_refused_without_the_password() {
    let world = with_an_event().await;
    for nonsense in [
        format!("postgres://daybook:{SECRET}@localhost:port/daybook"),
        format!("postgres://daybook:{SECRET}@local host/daybook"),
        SECRET.to_owned(),
        format!("postgres://daybook:{SECRET}@localhost/daybook?sslmode=nonsense"),
    ] {
        for (setting, role) in [
            ("DAYBOOK_LEDGER_URL", "ledger"),
            ("DAYBOOK_SOURCE_URL", "source"),
        ] {
            let ended = world.run_with(&[(setting, &nonsense)], &APPLY).await;
            let words = format!("the {role}'s connection URL cannot be used");
            assert_refused(
                ended,
                2,
                &[&words, "postgres://USER:PASSWORD@HOST:PORT/DATABASE"],
            );
        }
    }
    world.end().await;
}

#[tokio::test]
async fn the_address_of_another_kind_of_server_is_no_connection_url() {
    let world = with_an_event().await;
    for (setting, role) in [
        ("DAYBOOK_LEDGER_URL", "ledger"),
        ("DAYBOOK_SOURCE_URL", "source"),
    ] {
        // Such as the address of Elasticsearch in the wrong variable.
        let ended = world
            .run_with(&[(setting, &world.elasticsearch_url)], &APPLY)
            .await;
        let words = format!("the {role}'s connection URL cannot be used");
        assert_refused(
            ended,
            2,
            &[&words, "postgres://USER:PASSWORD@HOST:PORT/DATABASE"],
        );
    }
    world.end().await;
}

#[tokio::test]
async fn without_a_ledger_or_an_elasticsearch_nothing_is_begun() {
    let world = with_an_event().await;
    let ended: Ended = program::command(&[], &APPLY).output().await.unwrap().into();
    assert_refused(
        ended,
        2,
        &[
            "no ledger is configured",
            "set DAYBOOK_LEDGER_URL (or --ledger-url)",
            "PGHOST",
        ],
    );
    let only_ledger = [("DAYBOOK_LEDGER_URL", world.ledger_url.as_str())];
    for arguments in [&APPLY[..], &["project"], &["collect-stats"]] {
        let ended: Ended = program::command(&only_ledger, arguments)
            .output()
            .await
            .unwrap()
            .into();
        assert_refused(
            ended,
            2,
            &[
                "no Elasticsearch is configured",
                "set DAYBOOK_ELASTICSEARCH_URL",
                "--no-project",
            ],
        );
    }
    assert_eq!(entries(&world).await, "0");
    let arguments = [&APPLY[..], &["--no-project"]].concat();
    let ended: Ended = program::command(&only_ledger, &arguments)
        .output()
        .await
        .unwrap()
        .into();
    ended.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn an_elasticsearch_address_that_cannot_be_read_is_refused_before_anything_is_posted() {
    let world = with_an_event().await;
    for nonsense in [
        "nonsense".to_owned(),
        String::new(),
        "ftp://localhost:9200".to_owned(),
        format!("http://elastic:{SECRET}@localhost:port"),
        format!("http://localhost:9200,elastic:{SECRET}@localhost:9201"),
    ] {
        let ended = world
            .run_with(&[("DAYBOOK_ELASTICSEARCH_URL", &nonsense)], &APPLY)
            .await;
        assert_refused(
            ended,
            2,
            &[
                "the address of Elasticsearch cannot be read",
                "http://USER:PASSWORD@HOST:9200",
            ],
        );
    }
    assert_eq!(entries(&world).await, "0");
    world.end().await;
}

#[tokio::test]
async fn a_wrong_elasticsearch_password_leaves_the_projection_behind_and_is_not_told() {
    let world = with_an_event().await;
    let wrong = with_password(&world.elasticsearch_url, SECRET);
    let settings = [("DAYBOOK_ELASTICSEARCH_URL", wrong.as_str())];
    let words = [
        "Elasticsearch answered 401",
        "check the user and the password in DAYBOOK_ELASTICSEARCH_URL",
    ];
    assert_refused(world.run_with(&settings, &APPLY).await, 3, &words);
    assert_refused(world.run_with(&settings, &["project"]).await, 1, &words);
    assert_eq!(entries(&world).await, "1");
    world.run(&["project"]).await.assert_exit(0);
    assert_eq!(world.documents("").await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_prefix_that_cannot_start_an_index_name_is_refused_before_anything_is_posted() {
    let world = with_an_event().await;
    let too_long = "a".repeat(201);
    for prefix in [
        "Stats",
        "_stats",
        "-stats",
        "stats*",
        "stats,other",
        "stats/x",
        "stats alias",
        "",
        &too_long,
    ] {
        let ended = world
            .run_with(&[("DAYBOOK_INDEX_PREFIX", prefix)], &APPLY)
            .await;
        let words = format!("'{prefix}' cannot be the prefix of index names");
        assert_refused(ended, 2, &[&words, "use lower-case letters, digits"]);
    }
    assert_eq!(entries(&world).await, "0");
    world.end().await;
}

#[tokio::test]
async fn an_index_where_the_alias_should_be_is_left_alone() {
    let world = with_an_event().await;
    let document = json!({ "somebody": "else's" });
    world
        .elastic(
            Method::PUT,
            &format!("{}/_doc/1?refresh=true", world.prefix),
            Some(document.clone()),
        )
        .await;
    let words = format!(
        "{} is an index, where an alias of daybook should be",
        world.prefix
    );
    assert_refused(
        world.run(&APPLY).await,
        3,
        &[&words, "choose another DAYBOOK_INDEX_PREFIX"],
    );
    let documents = world.documents("").await;
    assert_eq!((documents.len(), &documents[0].2), (1, &document));
    let status = world.run(&["status"]).await.assert_exit(0);
    assert!(status.stdout.contains(&words), "{}", status.stdout);
    world.end().await;
}

#[tokio::test]
async fn an_index_of_another_ledger_or_of_nobody_s_is_left_alone() {
    let world = with_an_event().await;
    let other = World::new().await;
    // Clones of one template are, to daybook, the same ledger.
    other
        .execute(
            "ALTER TABLE daybook.ledger DISABLE TRIGGER ALL; UPDATE daybook.ledger SET ledger_id = gen_random_uuid();
             ALTER TABLE daybook.ledger ENABLE TRIGGER ALL",
        )
        .await;
    other.log(&[Event::search(1, DAY, RECORDSET, 99)]).await;
    world.run(&APPLY).await.assert_exit(0);
    let before = Contents::of(&world).await;
    let ledger_id = "SELECT ledger_id FROM daybook.ledger";
    let words = format!(
        "the index {0}-g000001 behind {0} belongs to ledger {1}, this is ledger {2}",
        world.prefix,
        world.value(ledger_id).await,
        other.value(ledger_id).await
    );
    let ended = other
        .run_with(&[("DAYBOOK_INDEX_PREFIX", &world.prefix)], &APPLY)
        .await;
    assert_refused(
        ended,
        3,
        &[
            &words,
            "check DAYBOOK_LEDGER_URL and DAYBOOK_ELASTICSEARCH_URL",
        ],
    );
    Contents::of(&world)
        .await
        .assert_same_as(&before, "another ledger came by");
    other.end().await;
    world.end().await;

    let world = with_an_event().await;
    let aliases = json!({ "aliases": { world.prefix.as_str(): {} } });
    world
        .elastic(
            Method::PUT,
            &format!("{}-theirs", world.prefix),
            Some(aliases),
        )
        .await;
    let words = format!(
        "the index {0}-theirs behind {0} has no daybook checkpoint",
        world.prefix
    );
    assert_refused(
        world.run(&APPLY).await,
        3,
        &[
            &words,
            "if daybook made it, `daybook rebuild`",
            "choose another DAYBOOK_INDEX_PREFIX",
        ],
    );
    assert_eq!(world.documents("").await, []);
    world.end().await;
}

#[tokio::test]
async fn an_alias_over_two_indices_is_refused() {
    let world = with_an_event().await;
    for index in ["one", "two"] {
        let aliases = json!({ "aliases": { world.prefix.as_str(): {} } });
        world
            .elastic(
                Method::PUT,
                &format!("{}-{index}", world.prefix),
                Some(aliases),
            )
            .await;
    }
    let words = format!(
        "the alias {0} points to more than one index: {0}-one, {0}-two",
        world.prefix
    );
    assert_refused(world.run(&APPLY).await, 3, &[&words, "daybook rebuild"]);
    assert_eq!(world.documents("").await, []);
    world.end().await;
}

#[tokio::test]
async fn a_day_whose_source_has_shrunk_stays_as_posted_until_the_decrease_is_accepted() {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, DAY, RECORDSET, 5),
            Event::search(2, DAY, RECORDSET, 7),
            Event::view(3, DAY, "record-1", RECORDSET),
        ])
        .await;
    world.run(&APPLY).await.assert_exit(0);
    let posted = Contents::of(&world).await;
    world.execute("DELETE FROM stats WHERE id <> 1").await;
    let ended = world.run(&APPLY).await;
    assert_refused(
        ended,
        1,
        &[
            "the source has 1 event of 2020-02-16, but had 3 events when entry 1 was posted",
            "the day stays as posted",
            "daybook apply --day 2020-02-16 --accept-decrease",
        ],
    );
    Contents::of(&world)
        .await
        .assert_same_as(&posted, "refused");

    let arguments = [&APPLY[..], &["--accept-decrease"]].concat();
    let ended = world.run(&arguments).await.assert_exit(0);
    assert!(
        ended.stdout.contains("entry 2 (correction)"),
        "{}",
        ended.stdout
    );
    let net = "SELECT string_agg(concat_ws(' ', stat_type, count, total), ', ' ORDER BY stat_type) FROM daybook.day_total";
    assert_eq!(world.value(net).await, "search 1 5, view 0 0");
    let documents = world.documents("").await;
    assert_eq!((documents.len(), documents[0].1), (1, 2));
    let records = &documents[0].2["records"];
    assert_eq!(
        (&records["search"]["total"], &records["view"]["total"]),
        (&json!(5), &json!(0))
    );
    assert_eq!(records["view"]["items"], json!([]));
    let totals = &world.documents("-totals").await[0].2["records"];
    assert_eq!(
        (&totals["search"]["count"], &totals["view"]["count"]),
        (&json!(1), &json!(0))
    );
    world.assert_sound().await;
    world.end().await;
}

#[tokio::test]
async fn a_day_that_is_refused_does_not_keep_the_others_from_the_readers() {
    let world = World::new().await;
    let days = ["2020-02-15", DAY, "2020-02-17"];
    for (id, day) in (1..).zip(days) {
        world
            .log(&[
                Event::search(id, day, RECORDSET, 5),
                Event::search(id + 10, day, RECORDSET, 5),
            ])
            .await;
    }
    world.run(&APPLY).await.assert_exit(0);
    world.execute("DELETE FROM stats WHERE id = 2").await;
    let ended = world
        .run(&["apply", "--from", days[0], "--to", days[2]])
        .await;
    let words = [
        "1 of 3 days failed: 2020-02-16",
        "--day 2020-02-16 --accept-decrease",
        "the other days are applied",
    ];
    assert_refused(ended, 1, &words);
    assert_eq!(entries(&world).await, "3");
    assert_eq!(world.documents("").await.len(), 3);
    world.end().await;
}

#[tokio::test]
async fn events_exchanged_for_others_that_count_less_are_refused_as_well() {
    let world = World::new().await;
    world.log(&[Event::search(1, DAY, RECORDSET, 12_345)]).await;
    world.run(&APPLY).await.assert_exit(0);
    world.execute("DELETE FROM stats").await;
    world.log(&[Event::search(2, DAY, RECORDSET, 345)]).await;
    let ended = world.run(&APPLY).await;
    assert_refused(
        ended,
        1,
        &[
            "now count less than was posted",
            RECORDSET,
            "-12,000",
            "--accept-decrease",
        ],
    );
    assert_eq!(entries(&world).await, "1");
    world.end().await;
}

#[tokio::test]
async fn a_day_that_was_purged_from_the_source_is_kept_as_posted() {
    let world = with_an_event().await;
    world.run(&APPLY).await.assert_exit(0);
    let posted = Contents::of(&world).await;
    world.execute("DELETE FROM stats").await;
    let ended = world.run(&APPLY).await.assert_exit(0);
    assert!(
        ended
            .stdout
            .contains("applied as entry 1; its 1 event are no longer")
            || ended.stdout.contains("kept as posted")
    );
    Contents::of(&world).await.assert_same_as(&posted, "purged");
    world.end().await;
}
