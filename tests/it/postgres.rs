//! Connections to Postgres: which addresses are taken, what a login's own settings do to a run, how a run ends for each kind
//! of error, and that it ends whenever the server falls silent.

use std::os::unix::fs::PermissionsExt as _;
use std::pin::pin;
use std::time::Duration;

use daybook::clock::Stopwatch;
use futures_util::stream::{self, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::hold::Place;
use crate::support::program::{self, Ended};
use crate::support::proxy::Fate;
use crate::support::{Contents, Event, Login, Proxy, RECORDSET, World};

const DAY: &str = "2020-02-16";
const APPLY: [&str; 4] = ["apply", "--day", DAY, "--no-project"];
const LEDGER: &str = "DAYBOOK_LEDGER_URL";
const SOURCE: &str = "DAYBOOK_SOURCE_URL";
const TIMEOUT: &str = "DAYBOOK_POSTGRES_TIMEOUT";

async fn with_an_event() -> World {
    let world = World::new().await;
    world
        .log(&[
            Event::search(1, DAY, RECORDSET, 5),
            Event::view(2, DAY, "record-1", RECORDSET),
        ])
        .await;
    world
}

/// A URL with one more parameter.
fn with(url: &str, parameter: &str) -> String {
    format!(
        "{url}{}{parameter}",
        if url.contains('?') { '&' } else { '?' }
    )
}

/// A login that may do what the job may: post, and read the source.
async fn job(world: &World) -> Login {
    let login = Login::new(world).await;
    world
        .execute(&format!(
            "GRANT daybook_job TO {0}; GRANT SELECT ON stats, queries TO {0}",
            login.role
        ))
        .await;
    login
}

// --- connections

#[tokio::test]
async fn documents_are_made_and_compared_over_as_few_connections_as_the_server_allows() {
    let world = with_an_event().await;
    let events: Vec<Event> = (1..9)
        .map(|n| Event::search(100 + n, &format!("2020-02-{:02}", 16 + n), RECORDSET, 7))
        .collect();
    world.log(&events).await;
    world.run(&["apply", "--all"]).await.assert_exit(0);
    let login = job(&world).await;
    // One has the lock, one reads the ledger, one reads days.
    world
        .execute(&format!("ALTER ROLE {} CONNECTION LIMIT 3", login.role))
        .await;
    let over_few = [(LEDGER, login.ledger_url.as_str())];
    for arguments in [&["rebuild"][..], &["verify", "--projections"]] {
        world.run_with(&over_few, arguments).await.assert_exit(0);
    }
    login.end(world).await;
}

// --- addresses

#[tokio::test]
async fn a_parameter_or_variable_that_is_not_honoured_is_refused_by_name_and_never_shown() {
    const SECRET: &str = "Planted-0-Secret";
    let world = with_an_event().await;
    for name in [
        "pasword",
        "sslpassword",
        "passfile",
        "channel_binding",
        "service",
        "sslcrl",
        "application_name",
    ] {
        let url = with(&world.ledger_url, &format!("{name}={SECRET}"));
        for (setting, role) in [(LEDGER, "ledger"), (SOURCE, "source")] {
            let ended = world
                .run_with(&[(setting, &url)], &[&APPLY[..], &["-vv"]].concat())
                .await
                .assert_exit(2);
            let ended = ended.says(&[&format!(
                "the {role}'s connection URL cannot be used: the parameter '{name}' is not "
            )]);
            assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
        }
    }
    for variable in [
        "PGSERVICE",
        "PGCHANNELBINDING",
        "PGSSLMODE",
        "PGREQUIREAUTH",
        "PGSSLCRL",
        "PGHOSTADDR",
        "PGCONNECT_TIMEOUT",
    ] {
        let ended = world
            .run_with(&[(variable, SECRET)], &[&APPLY[..], &["-vv"]].concat())
            .await
            .assert_exit(2);
        let ended = ended.says(&[&format!("{variable} ")]);
        assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
    }
    // A service alone does not count as a missing ledger.
    let ended: Ended = program::command(&[("PGSERVICE", "stats")], &["status"])
        .output()
        .await
        .unwrap()
        .into();
    ended.assert_exit(2).says(&[
        "PGSERVICE is set, which daybook does not support",
        "into the connection URL",
    ]);
    assert_eq!(world.entries().await, 0);
    world.end().await;
}

/// Passes connections on to the server of a URL.
async fn forward(listener: TcpListener, url: url::Url) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let upstream = (url.host_str().unwrap().to_owned(), url.port().unwrap());
        tokio::spawn(async move {
            let mut server = TcpStream::connect((upstream.0.as_str(), upstream.1))
                .await
                .unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

#[tokio::test]
async fn addresses_of_ipv6_work() {
    let world = with_an_event().await;
    let url: url::Url = world.ledger_url.parse().unwrap();
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let mut of_ipv6 = url.clone();
    of_ipv6.set_host(Some("[::1]")).unwrap();
    of_ipv6
        .set_port(Some(listener.local_addr().unwrap().port()))
        .unwrap();
    let forwarding = tokio::spawn(forward(listener, url));
    world
        .run_with(&[(LEDGER, of_ipv6.as_str())], &APPLY)
        .await
        .assert_exit(0);
    forwarding.abort();
    let nowhere = "postgres://u@[::1]:1/db";
    let ended = world
        .run_with(&[(LEDGER, nowhere)], &["status"])
        .await
        .assert_exit(75);
    ended.says(&["database db on [::1]:1 as u"]);
    world.end().await;
}

#[tokio::test]
async fn of_several_servers_the_first_that_is_what_is_asked_for_is_taken() {
    let world = with_an_event().await;
    let url: url::Url = world.ledger_url.parse().unwrap();
    let (login, port) = (
        format!("{}:{}", url.username(), url.password().unwrap()),
        url.port().unwrap(),
    );
    let several = |attributes: &str| {
        let database = &world.database;
        format!(
            "postgres://{login}@127.0.0.1:1,127.0.0.1:{port}/{database}?target_session_attrs={attributes}"
        )
    };
    for attributes in ["any", "read-write", "primary", "prefer-standby"] {
        world
            .run_with(&[(LEDGER, &several(attributes))], &APPLY)
            .await
            .assert_exit(0);
    }
    for attributes in ["read-only", "standby"] {
        let ended = world
            .run_with(&[(LEDGER, &several(attributes))], &APPLY)
            .await
            .assert_exit(75);
        ended.says(&[
            &format!("127.0.0.1:{port} as"),
            "is not what target_session_attrs asks for",
            "failover",
        ]);
    }
    // A read-only server is skipped. A login that one server refuses is not tried on the others.
    world
        .execute(&format!(
            "ALTER DATABASE {} SET default_transaction_read_only = on",
            world.database
        ))
        .await;
    world
        .run_with(&[(LEDGER, &several("read-write"))], &APPLY)
        .await
        .assert_exit(75);
    world
        .run_with(&[(LEDGER, &several("read-only"))], &["status"])
        .await
        .assert_exit(0);
    let wrong = several("any").replace(&login, "daybook:wrong");
    world
        .run_with(&[(LEDGER, &wrong)], &APPLY)
        .await
        .assert_exit(1)
        .says(&["password authentication failed"]);
    world.end().await;
}

#[tokio::test]
async fn the_password_may_stand_in_a_file_of_passwords() {
    let world = with_an_event().await;
    let mut url: url::Url = world.ledger_url.parse().unwrap();
    let password = url.password().unwrap().to_owned();
    url.set_password(None).unwrap();
    let folder = std::env::temp_dir().join(format!("daybook-{}", world.database));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join(".pgpass");
    let line = format!(
        "127.0.0.1:*:{}:{}:{password}\n",
        world.database,
        url.username()
    );
    std::fs::write(
        &file,
        format!("this line: is none, with {password}\n{line}"),
    )
    .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let named = [
        (LEDGER, url.as_str()),
        ("PGPASSFILE", file.to_str().unwrap()),
    ];
    let at_home = [(LEDGER, url.as_str()), ("HOME", folder.to_str().unwrap())];
    for settings in [named, at_home] {
        world.run_with(&settings, &APPLY).await.assert_exit(0);
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ended = world
        .run_with(&named, &[&APPLY[..], &["-vv"]].concat())
        .await
        .assert_exit(1);
    let ended = ended.says(&["others may read it", "check the user and the password"]);
    assert!(
        !ended.stderr.contains(&format!(":{password}")),
        "{}",
        ended.stderr
    );
    std::fs::remove_dir_all(folder).unwrap();
    world.end().await;
}

#[tokio::test]
async fn a_file_of_certificates_that_cannot_be_used_is_named_before_anything_is_tried() {
    let world = with_an_event().await;
    let folder = std::env::temp_dir().join(format!("daybook-{}", world.database));
    std::fs::create_dir(&folder).unwrap();
    let (empty, missing) = (folder.join("empty.pem"), folder.join("missing.pem"));
    std::fs::write(&empty, "").unwrap();
    let (empty, missing) = (empty.to_str().unwrap(), missing.to_str().unwrap());
    for (parameters, words) in [
        (
            format!("sslmode=verify-full&sslrootcert={missing}"),
            ["sslrootcert names for the ledger", missing, "No such file"],
        ),
        (
            format!("sslmode=verify-full&sslrootcert={empty}"),
            ["sslrootcert names for the ledger", empty, "in PEM"],
        ),
        (
            format!("sslcert={missing}&sslkey={missing}"),
            ["sslcert names for the ledger", missing, "No such file"],
        ),
        (
            format!("sslcert={missing}"),
            ["sslcert is given alone", "both", "sslkey"],
        ),
    ] {
        world
            .run_with(&[(LEDGER, &with(&world.ledger_url, &parameters))], &APPLY)
            .await
            .assert_exit(2)
            .says(&words);
    }
    std::fs::remove_dir_all(folder).unwrap();
    world.end().await;
}

// --- what a login or a database has set

/// Each of these, as a setting of the login, ends a run or changes what it reads or writes, unless its sessions set
/// otherwise.
const SETTINGS: [&str; 13] = [
    "idle_session_timeout = '300ms'",
    "idle_in_transaction_session_timeout = '300ms'",
    "statement_timeout = '300ms'",
    "lock_timeout = '300ms'",
    "default_transaction_read_only = on",
    "default_transaction_isolation = serializable",
    "DateStyle = 'German, DMY'",
    "IntervalStyle = iso_8601",
    "TimeZone = 'Asia/Tokyo'",
    "bytea_output = escape",
    "extra_float_digits = -15",
    "standard_conforming_strings = off",
    "client_encoding = LATIN1",
];

#[tokio::test]
async fn what_a_login_has_set_changes_neither_a_run_nor_its_results() {
    let (undisturbed, world) = (with_an_event().await, with_an_event().await);
    undisturbed
        .run(&["apply", "--day", DAY])
        .await
        .assert_exit(0);

    let login = job(&world).await;
    let server_version: i32 = world
        .value("current_setting('server_version_num')::int")
        .await
        .parse()
        .unwrap();
    let newer = (server_version >= 17_00_00).then_some("transaction_timeout = '300ms'");
    for setting in SETTINGS.into_iter().chain(newer) {
        world
            .execute(&format!("ALTER ROLE {} SET {setting}", login.role))
            .await;
    }
    // A slow day: while one session waits for a lock, longer than any of the limits, the others are idle.
    let hold = world.hold_at(Place::Reading).await;
    let run = tokio::spawn(
        world
            .command(&["apply", "--day", DAY])
            .env(LEDGER, &login.ledger_url)
            .output(),
    );
    world
        .until(
            "SELECT count(*) >= 2 AND bool_or(wait_event_type = 'Lock') FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'daybook %'
               AND clock_timestamp() - state_change > '1 s'",
        )
        .await;
    drop(hold);
    Ended::from(run.await.unwrap().unwrap()).assert_exit(0);
    Contents::of(&world).await.assert_same_as(
        &Contents::of(&undisturbed).await,
        "with settings of the login",
    );
    world
        .run_with(&[(LEDGER, &login.ledger_url)], &["verify"])
        .await
        .assert_exit(0);
    undisturbed.end().await;
    login.end(world).await;
}

#[tokio::test]
async fn limits_that_the_connection_itself_asks_for_are_kept() {
    let world = with_an_event().await;
    let hold = world.hold_at(Place::Reading).await;
    for (limit, code) in [("statement_timeout", 1), ("lock_timeout", 75)] {
        let limited = with(&world.ledger_url, &format!("options=-c%20{limit}%3D200ms"));
        let ended = world
            .run_with(&[(LEDGER, &limited)], &APPLY)
            .await
            .assert_exit(code);
        ended.says(&[if code == 1 {
            "statement_timeout in the connection's options"
        } else {
            "pg_blocking_pids()"
        }]);
    }
    drop(hold);
    world.end().await;
}

// --- what is hidden

#[tokio::test]
async fn rows_that_row_level_security_hides_are_an_error_not_a_lower_count() {
    let world = with_an_event().await;
    let login = job(&world).await;
    let role = &login.role;
    world.execute("ALTER TABLE stats ENABLE ROW LEVEL SECURITY; CREATE POLICY half ON stats USING (id % 2 = 0)").await;
    let as_job = [(LEDGER, login.ledger_url.as_str())];
    let ended = world.run_with(&as_job, &APPLY).await.assert_exit(1);
    ended.says(&[
        "row-level security policy for table \"stats\"",
        "would hide rows",
        "BYPASSRLS",
    ]);
    assert_eq!(world.entries().await, 0);
    world.execute(&format!("ALTER ROLE {role} BYPASSRLS")).await;
    world.run_with(&as_job, &APPLY).await.assert_exit(0);
    assert_eq!(
        world.accounts().await,
        "2 events: 2 counted, 0 ignored, 0 rejected"
    );

    // The same for the ledger's own tables, and for each command that reads them.
    world
        .execute(&format!(
            "ALTER ROLE {role} NOBYPASSRLS; ALTER TABLE daybook.interaction_delta ENABLE ROW LEVEL SECURITY"
        ))
        .await;
    for arguments in [
        &["verify", "--ledger"][..],
        &["export"],
        &["totals", RECORDSET],
        &["apply", "--day", DAY, "--no-project"],
    ] {
        let ended = world.run_with(&as_job, arguments).await.assert_exit(1);
        ended.says(&["row-level security policy for table", "BYPASSRLS"]);
    }
    login.end(world).await;
}

// --- exit codes

#[tokio::test]
async fn what_time_heals_ends_with_75_and_what_needs_a_person_with_1() {
    let world = with_an_event().await;
    world
        .execute(
            "CREATE TABLE public.trouble (code text);
             INSERT INTO public.trouble VALUES ('');
             CREATE FUNCTION public.make_trouble() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION USING ERRCODE = (SELECT code FROM public.trouble), MESSAGE = 'made by a test'; END $$;
             CREATE TRIGGER trouble BEFORE INSERT ON daybook.entry FOR EACH ROW EXECUTE FUNCTION public.make_trouble();
             ALTER TABLE daybook.entry ENABLE ALWAYS TRIGGER trouble",
        )
        .await;
    for (code, exit, words) in [
        ("08006", 75, "check that Postgres runs"),
        ("25006", 75, "the server is a standby"),
        ("40001", 75, "nothing was posted"),
        ("40P01", 75, "nothing was posted"),
        ("53300", 75, "check that Postgres runs"),
        ("55P03", 75, "another session holds a lock"),
        ("57P03", 75, "check that Postgres runs"),
        ("58P01", 75, "cannot load one of its own libraries"),
        ("53100", 1, "free space"),
        ("42501", 1, "grant the role what it lacks"),
        ("57014", 1, "cancelled"),
        ("XX001", 1, "made by a test"),
    ] {
        world
            .execute(&format!("UPDATE public.trouble SET code = '{code}'"))
            .await;
        let ended = world
            .run(&APPLY)
            .await
            .assert_exit(exit)
            .says(&["made by a test", words]);
        assert!(ended.stderr.contains(DAY), "{code}: {}", ended.stderr);
        let recorded = world
            .value("SELECT exit_code FROM daybook.run ORDER BY started_at DESC LIMIT 1")
            .await;
        assert_eq!(recorded, exit.to_string(), "{code}");
    }
    assert_eq!(world.entries().await, 0);
    world.end().await;
}

/// Two sessions each wait for what the other holds, and the server ends the run's.
#[tokio::test]
async fn a_deadlock_with_another_session_is_tried_again() {
    let world = with_an_event().await;
    let mut other = world.sql().await;
    let hold = "SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE daybook.interaction_delta IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    // The server looks for a deadlock once, when the run has waited for so long: by then the other waits as well.
    let patient = with(&world.ledger_url, "options=-c%20deadlock_timeout%3D3s");
    let run = tokio::spawn(world.command(&APPLY).env(LEDGER, patient).output());
    world
        .until(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
             AND application_name LIKE 'daybook posting %' AND wait_event_type = 'Lock'",
        )
        .await;
    let cross = "LOCK TABLE daybook.entry IN ACCESS EXCLUSIVE MODE; ROLLBACK";
    sqlx::raw_sql(cross).execute(&mut other).await.unwrap();
    let ended = Ended::from(run.await.unwrap().unwrap()).assert_exit(75);
    ended.says(&[
        "posting 2020-02-16",
        "deadlock detected",
        "nothing was posted",
    ]);
    world.run_when_unlocked(&APPLY).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn a_server_that_ends_a_session_in_the_middle_is_tried_again() {
    let world = with_an_event().await;
    let hold = world.hold_at(Place::Reading).await;
    let run = tokio::spawn(world.command(&APPLY).output());
    world.until_held().await;
    world
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'daybook %' AND wait_event_type = 'Lock'",
        )
        .await;
    Ended::from(run.await.unwrap().unwrap())
        .assert_exit(75)
        .says(&["terminating connection", "check that Postgres runs"]);
    drop(hold);
    world.run_when_unlocked(&APPLY).await.assert_exit(0);
    world.end().await;
}

// --- silence

/// As short as a busy machine allows.
const SILENCE: &str = "1s";

/// What a stalled run may take: the silence, a connection that is tried meanwhile, the record of the end, a slow machine.
const BOUND: Duration = Duration::from_secs(1 + 2 + 3 + 15);

/// A URL whose connections are tried for two seconds.
fn impatient(url: &str) -> String {
    with(url, "connect_timeout=2")
}

/// The source falls silent in the middle of a day: the run ends, and the ledger's lock is free.
#[tokio::test]
async fn a_source_that_falls_silent_in_the_middle_of_a_day_ends_the_run() {
    let world = World::with_the_real_day().await;
    for fate in [Fate::Stall, Fate::StallPresent, Fate::Trickle] {
        let proxy = Proxy::tcp(&impatient(&world.ledger_url)).await;
        proxy.after_bytes(60_000, fate);
        let clock = Stopwatch::start();
        let ended = world
            .run_with(&[(SOURCE, proxy.url()), (TIMEOUT, SILENCE)], &APPLY)
            .await
            .assert_exit(75);
        ended.says(&[
            "reading the source's events of 2020-02-16",
            "has been silent for 1s",
            "--postgres-timeout",
        ]);
        assert!(
            proxy.is_limit_reached() && clock.elapsed() < BOUND,
            "{fate:?}: {:?}",
            clock.elapsed()
        );
        assert_eq!(
            world
                .value("SELECT exit_code FROM daybook.run ORDER BY started_at DESC LIMIT 1")
                .await,
            "75"
        );
        assert_eq!(world.entries().await, 0);
    }
    // Nothing stands in the way of the next run.
    world.run(&APPLY).await.assert_exit(0);
    world.end().await;
}

/// Runs a command, the same as one that exchanged so many bytes with Postgres, and stalls it after a share of them.
async fn stall(world: &World, arguments: &[&str], bytes: u64, percent: u64, fate: Fate) {
    let when = format!("{arguments:?}, {fate:?} after {percent} %");
    let proxy = Proxy::tcp(&impatient(&world.ledger_url)).await;
    proxy.after_bytes(bytes * percent / 100, fate);
    let settings = [(LEDGER, proxy.url()), (TIMEOUT, SILENCE)];
    let mut run = pin!(world.run_with(&settings, arguments));
    let mut silent_since = None;
    let ended = loop {
        tokio::select! {
            ended = &mut run => break ended,
            () = proxy.limit_reached(), if silent_since.is_none() => silent_since = Some(Stopwatch::start()),
        }
    };
    let silent = silent_since.map(Stopwatch::elapsed);
    assert!(
        silent.is_none_or(|silent| silent < BOUND),
        "{when}: {silent:?}"
    );
    // On a busy machine it may give up before that.
    assert!(
        proxy.is_limit_reached() || ended.stderr.contains("did not answer"),
        "{when}: {ended:?}"
    );
    // What was committed before is committed: then a projection is behind.
    assert!(matches!(ended.code, Some(75 | 3)), "{when}: {ended:?}");
    let says_so = ["has been silent for", "did not answer for"]
        .iter()
        .any(|words| ended.stderr.contains(words));
    assert!(says_so, "{when}: {ended:?}");
}

/// The bytes that a command exchanges with Postgres.
async fn bytes_of(world: &World, arguments: &[&str]) -> u64 {
    let proxy = Proxy::tcp(&impatient(&world.ledger_url)).await;
    world
        .run_with(&[(LEDGER, proxy.url())], arguments)
        .await
        .assert_exit(0);
    proxy.passed()
}

/// What happens, after which share of the bytes in percent.
type Points = Vec<(Fate, u64)>;

/// Connecting, reading the source, posting, committing, reading the ledger for documents; and for each command that posts,
/// writes documents or reads.
#[tokio::test]
async fn whatever_the_phase_a_server_that_falls_silent_ends_the_run() {
    const AT_ONCE: usize = 8;
    const FATES: [Fate; 3] = [Fate::Stall, Fate::StallPresent, Fate::Trickle];
    const PERCENT: [u64; 3] = [0, 30, 90];
    let everywhere: Points = FATES
        .into_iter()
        .flat_map(|fate| PERCENT.map(|percent| (fate, percent)))
        .collect();
    // Each fate once and each point once, and another pairing of them for the next command.
    let somewhere = |turn: usize| {
        (0..3)
            .map(|n| (FATES[n], PERCENT[(n + turn) % 3]))
            .collect::<Points>()
    };

    let (unposted, posted, empty) = (
        World::with_the_real_day().await,
        World::with_the_real_day().await,
        World::new().await,
    );
    posted.run(&APPLY).await.assert_exit(0);
    let export = std::env::temp_dir().join(format!("{}.ndjson", posted.prefix));
    let export = export.to_str().unwrap();
    posted
        .run(&["export", "--output", export])
        .await
        .assert_exit(0);
    let walks: [(&World, &[&str], Points); 7] = [
        (&unposted, &["apply", "--day", DAY], everywhere),
        (&empty, &["import", export], somewhere(0)),
        (&posted, &["project"], somewhere(1)),
        (&posted, &["rebuild"], somewhere(2)),
        (&posted, &["verify", "--ledger"], somewhere(0)),
        (&posted, &["export"], somewhere(1)),
        (&posted, &["status"], somewhere(2)),
    ];
    let mut cases = Vec::new();
    for (world, arguments, points) in &walks {
        let whole = world.copy().await;
        let bytes = bytes_of(&whole, arguments).await;
        whole.end().await;
        cases.extend(
            points
                .iter()
                .map(|(fate, percent)| (*world, *arguments, bytes, *percent, *fate)),
        );
    }
    let walking = stream::iter(cases).map(async |(world, arguments, bytes, percent, fate)| {
        let world = world.copy().await;
        stall(&world, arguments, bytes, percent, fate).await;
        // Nobody holds a lock.
        world.until_gone().await;
        world.assert_sound().await;
        world.end().await;
    });
    walking.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    std::fs::remove_file(export).unwrap();
    for world in [unposted, posted, empty] {
        world.end().await;
    }
}

#[tokio::test]
async fn a_statement_that_takes_long_is_not_taken_for_silence() {
    let world = with_an_event().await;
    world.run(&APPLY).await.assert_exit(0);
    let hold = world.hold_at(Place::Reading).await;
    let run = tokio::spawn(
        world
            .command(&["verify", "--ledger"])
            .env(TIMEOUT, "200ms")
            .output(),
    );
    world
        .until(
            "SELECT bool_or(clock_timestamp() - query_start > '2 s') FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'daybook %' AND wait_event_type = 'Lock'",
        )
        .await;
    drop(hold);
    Ended::from(run.await.unwrap().unwrap()).assert_exit(0);
    world.end().await;
}
