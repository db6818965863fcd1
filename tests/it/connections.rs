//! Connections to Elasticsearch as in production: nodes that are down, clusters that hang, answers that do not end, and
//! proxies. Certificates and logging in are in `encrypted.rs`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::support::program::Ended;
use crate::support::proxy::{Manner, Reply, Request};
use crate::support::{Event, Proxy, RECORDSET, World};

const ELASTICSEARCH: &str = "DAYBOOK_ELASTICSEARCH_URL";
const APPLY: [&str; 3] = ["apply", "--day", "2020-02-16"];
/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1";

/// Limits that a test can wait for, in seconds. Where a busy machine does not keep one of them, the next one is tried.
const LIMITS: [u32; 4] = [2, 6, 20, 60];

async fn with_an_event() -> World {
    let world = World::new().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    world
}

/// Runs the program against a cluster, with a limit for its answers. It must end in a few times as much.
async fn run_at(world: &World, addresses: &str, limit: u32, arguments: &[&str]) -> Ended {
    let (limit, half) = (format!("{limit}s"), format!("{}ms", limit * 500));
    let settings = [
        (ELASTICSEARCH, addresses),
        ("DAYBOOK_ELASTICSEARCH_TIMEOUT", &limit),
        ("DAYBOOK_ELASTICSEARCH_STALL_TIMEOUT", &half),
    ];
    let run = world.run_with(&settings, arguments);
    tokio::time::timeout(Duration::from_secs(300), run)
        .await
        .expect("the program ends within its limits")
}

#[tokio::test]
async fn a_node_that_is_down_or_starting_is_passed_over_wherever_it_stands() {
    let world = with_an_event().await;
    let node = world.elasticsearch_url.clone();
    let starting = Proxy::http(&node).await;
    starting.answer(|_, _| Some(Reply::new(503, r#"{"error":"starting"}"#)));
    for other in [NOBODY, starting.url()] {
        for addresses in [
            format!("{other},{node}"),
            format!("{node},{other}"),
            format!("{other},{other},{node}"),
        ] {
            let settings = [(ELASTICSEARCH, addresses.as_str())];
            world.run_with(&settings, &APPLY).await.assert_exit(0);
            world.run_with(&settings, &["rebuild"]).await.assert_exit(0);
            world.run_with(&settings, &["verify"]).await.assert_exit(0);
        }
    }
    world.end().await;
}

#[tokio::test]
async fn a_node_that_is_silent_is_passed_over_when_the_limit_is_reached() {
    let world = with_an_event().await;
    let silent = Proxy::http(&world.elasticsearch_url).await;
    silent.answer(|_, _| Some(Reply::given(Manner::Never)));
    for addresses in [
        format!("{},{}", silent.url(), world.elasticsearch_url),
        format!("{},{}", world.elasticsearch_url, silent.url()),
    ] {
        for limit in LIMITS {
            let ended = run_at(&world, &addresses, limit, &["rebuild"]).await;
            if ended.code == Some(0) || limit == LIMITS[LIMITS.len() - 1] {
                ended.assert_exit(0);
                break;
            }
        }
    }
    assert!(!silent.requests().is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_node_that_dies_in_the_middle_leaves_the_rest_to_the_others() {
    let world = World::with_the_real_day().await;
    let dying = Proxy::tcp(&world.elasticsearch_url).await;
    // Little enough to pass whichever requests come here: the nodes take turns.
    dying.after_bytes(4_000, crate::support::proxy::Fate::Cut);
    let addresses = format!("{},{}", dying.url(), world.elasticsearch_url);
    let settings = [(ELASTICSEARCH, addresses.as_str())];
    world.run_with(&settings, &APPLY).await.assert_exit(0);
    assert!(dying.is_limit_reached());
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn what_a_node_did_before_it_died_is_not_refused_by_the_next_one() {
    let world = with_an_event().await;
    world.run(&APPLY).await.assert_exit(0);
    // Whatever changes the cluster, once for each kind of request.
    let changing = [
        "PUT index",
        "PUT _settings",
        "PUT _mapping",
        "POST _bulk",
        "POST _refresh",
        "POST _aliases",
        "DELETE index",
    ];
    let (first, second) = (
        Proxy::http(&world.elasticsearch_url).await,
        Proxy::http(&world.elasticsearch_url).await,
    );
    let lost = Arc::new(Mutex::new(BTreeSet::new()));
    for node in [&first, &second] {
        let lost = Arc::clone(&lost);
        node.answer(move |request, _| {
            let phase = phase(request);
            let is_first = changing.contains(&phase.as_str()) && lost.lock().unwrap().insert(phase);
            is_first.then(|| Reply::given(Manner::Lost))
        });
    }
    let addresses = format!("{},{}", first.url(), second.url());
    let rebuild = ["rebuild", "--only", "stats", "--keep", "0"];
    world
        .run_with(&[(ELASTICSEARCH, &addresses)], &rebuild)
        .await
        .assert_exit(0);
    assert_eq!(*lost.lock().unwrap(), changing.map(str::to_owned).into());
    world.run(&["verify"]).await.assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn when_no_node_answers_each_is_named() {
    let world = with_an_event().await;
    let addresses = format!("{NOBODY},http://127.0.0.1:2");
    let ended = world
        .run_with(&[(ELASTICSEARCH, &addresses)], &["project"])
        .await
        .assert_exit(75);
    ended.says(&[
        "http://127.0.0.1:1/: no connection",
        "http://127.0.0.1:2/: no connection",
        "refused",
    ]);
    world.end().await;
}

/// What kind of request it is, whatever the index and the options.
fn phase(request: &Request) -> String {
    let (method, address) = request.line.split_once(' ').unwrap();
    let path = address.split('?').next().unwrap();
    let operation = path
        .rsplit('/')
        .find(|part| part.starts_with('_'))
        .unwrap_or("index");
    let scroll = if path.ends_with("/scroll") {
        " scroll"
    } else {
        ""
    };
    format!("{method} {operation}{scroll}")
}

/// The commands whose requests are walked over, the exit code that each ends with, and the world it starts in.
const COMMANDS: [(&[&str], i32); 3] = [
    (&APPLY, 3),
    (&["rebuild"], 75),
    (&["verify", "--projections"], 75),
];

async fn world_for(command: usize) -> World {
    let world = with_an_event().await;
    if command > 0 {
        world.run(&APPLY).await.assert_exit(0);
    }
    world
}

#[tokio::test]
async fn whatever_a_cluster_falls_silent_about_the_run_ends_in_time_and_lets_go_of_the_lock() {
    let mut cases = Vec::new();
    let mut walked = BTreeSet::new();
    for (command, (arguments, _)) in COMMANDS.iter().enumerate() {
        let world = world_for(command).await;
        let proxy = Proxy::http(&world.elasticsearch_url).await;
        world
            .run_with(&[(ELASTICSEARCH, proxy.url())], arguments)
            .await
            .assert_exit(0);
        for request in proxy.requests() {
            // That a scroll may be forgotten is told as a courtesy.
            let matters = phase(&request) != "DELETE _search scroll";
            if matters && walked.insert(phase(&request)) {
                cases.push((command, phase(&request)));
            }
        }
        world.end().await;
    }
    for expected in [
        "GET _nodes",
        "GET _mapping",
        "PUT index",
        "POST _bulk",
        "POST _search scroll",
        "POST _aliases",
    ] {
        assert!(
            walked.contains(expected),
            "{expected} is not among {walked:?}"
        );
    }
    let walking = cases.iter().map(|(command, at)| fall_silent(*command, at));
    stream::iter(walking)
        .buffer_unordered(12)
        .collect::<()>()
        .await;
}

/// In each manner, one after the other.
async fn fall_silent(command: usize, at: &str) {
    let mut world = world_for(command).await;
    for how in [Manner::Never, Manner::Half, Manner::ByteByByte] {
        // A day that is applied is not applied again; all else is done anew each time.
        if command == 0 && how != Manner::Never {
            heal(
                std::mem::replace(&mut world, world_for(command).await),
                command,
            )
            .await;
        }
        fall_silent_in(&world, command, at, how).await;
    }
    heal(world, command).await;
}

/// Nobody holds a lock, and the same command does its work.
async fn heal(world: World, command: usize) {
    world
        .run_when_unlocked(COMMANDS[command].0)
        .await
        .assert_exit(0);
    world.end().await;
}

async fn fall_silent_in(world: &World, command: usize, at: &str, how: Manner) {
    let (arguments, exit) = COMMANDS[command];
    let case = format!("{arguments:?}, {at}, {how:?}");
    let mut last = String::new();
    for limit in LIMITS {
        let proxy = Proxy::http(&world.elasticsearch_url).await;
        let at = at.to_owned();
        proxy.answer(move |request, _| (phase(request) == at).then(|| Reply::given(how)));
        let ended = run_at(world, proxy.url(), limit, arguments).await;
        assert_eq!(ended.code, Some(exit), "{case}: {}", ended.stderr);
        let words = match how {
            Manner::Never => format!("no answer within {limit}s"),
            Manner::Half => "the answer stopped in the middle: nothing came for".to_owned(),
            _ => format!("the answer was not complete within {limit}s"),
        };
        let answered = proxy
            .requests()
            .iter()
            .any(|request| request.answered.is_some());
        if answered && ended.stderr.contains(&words) {
            return;
        }
        // On a busy machine the cluster itself may reach a limit, before or at the same time.
        last = ended.stderr;
    }
    panic!("{case}: {last}");
}

#[tokio::test]
async fn status_gives_up_within_seconds_and_tells_the_rest() {
    let world = with_an_event().await;
    world.run(&APPLY).await.assert_exit(0);
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.answer(|_, _| Some(Reply::given(Manner::Never)));
    // With the usual limits, the answer would be waited for for two minutes.
    let settings = [(ELASTICSEARCH, proxy.url())];
    let run = world.run_with(&settings, &["status"]);
    let ended = tokio::time::timeout(Duration::from_secs(30), run)
        .await
        .expect("status is quick")
        .assert_exit(0);
    ended.tells(&["newest entry 1", "no answer within 5s"]);
    assert_eq!(proxy.requests().len(), 1, "one wait is enough");
    world.end().await;
}

/// Runs `project` while the cluster gives this answer to the first look at an index.
async fn project_answered(
    world: &World,
    settings: &[(&str, &str)],
    mut reply: impl FnMut() -> Reply + Send + 'static,
) -> Ended {
    let proxy = Proxy::http(&world.elasticsearch_url).await;
    proxy.answer(move |request, _| (phase(request) == "GET _mapping").then(&mut reply));
    let settings = [settings, &[(ELASTICSEARCH, proxy.url())]].concat();
    world.run_with(&settings, &["project"]).await
}

#[tokio::test]
async fn an_answer_without_end_is_broken_off() {
    let world = with_an_event().await;
    let without_end = || Reply::new(200, " ".repeat(1 << 16)).in_manner(Manner::WithoutEnd);
    let ended = project_answered(&world, &[], without_end).await;
    ended.assert_exit(1).says(&[
        "the answer has more than 16777216 bytes",
        "DAYBOOK_ELASTICSEARCH_URL",
    ]);
    // One that says how long it is need not be read at all.
    let announced = || Reply::new(200, "{").with_header("content-length", "10000000000");
    project_answered(&world, &[], announced)
        .await
        .assert_exit(1)
        .says(&["the answer has more than"]);
    world.end().await;
}

#[tokio::test]
async fn an_answer_that_blows_up_when_unpacked_is_broken_off() {
    let world = with_an_event().await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..32 {
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(
        bomb.len() < 64 << 10,
        "twice what is read, in {} bytes",
        bomb.len()
    );
    let bomb = move || Reply::new(200, bomb.clone()).with_header("content-encoding", "gzip");
    let settings = [("DAYBOOK_ELASTICSEARCH_GZIP", "true")];
    project_answered(&world, &settings, bomb)
        .await
        .assert_exit(1)
        .says(&["the answer has more than 16777216 bytes"]);
    world.end().await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_message_says_where_it_points() {
    let world = with_an_event().await;
    let elsewhere = Proxy::http(&world.elasticsearch_url).await;
    for status in [301, 302, 307, 308] {
        let location = format!("{}\u{202e}", elsewhere.url());
        let ended = project_answered(&world, &[], move || {
            Reply::new(status, "").with_header("location", &location)
        })
        .await;
        let words = format!(
            "Elasticsearch answered {status}, which points to {}\\u202e",
            elsewhere.url()
        );
        assert_eq!(
            ended
                .assert_exit(1)
                .says(&[&words, "redirects are not followed"])
                .stdout,
            ""
        );
    }
    assert!(elsewhere.requests().is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_proxy_is_used_only_if_a_setting_says_so() {
    let world = with_an_event().await;
    let environment = [
        ("HTTP_PROXY", NOBODY),
        ("http_proxy", NOBODY),
        ("ALL_PROXY", NOBODY),
    ];
    world.run_with(&environment, &APPLY).await.assert_exit(0);
    // That there is one in the environment may be why nobody answers.
    let settings = [&environment[..], &[(ELASTICSEARCH, "http://127.0.0.1:2")]].concat();
    let ended = world
        .run_with(&settings, &["project"])
        .await
        .assert_exit(75);
    ended.says(&[
        "HTTP_PROXY is set, but not used",
        "DAYBOOK_ELASTICSEARCH_PROXY",
    ]);

    let proxy = Proxy::http(&world.elasticsearch_url).await;
    let mut behind: url::Url = world.elasticsearch_url.parse().unwrap();
    behind.set_host(Some("cluster.invalid")).unwrap();
    let mut address: url::Url = proxy.url().parse().unwrap();
    address.set_username("mallory").unwrap();
    address.set_password(Some("Pr0xyS3cret")).unwrap();
    let settings = [
        (ELASTICSEARCH, behind.as_str()),
        ("DAYBOOK_ELASTICSEARCH_PROXY", address.as_str()),
    ];
    world.run_with(&settings, &["rebuild"]).await.assert_exit(0);
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    // It is told who is asking.
    assert!(requests.iter().all(|request| {
        request
            .headers
            .contains("proxy-authorization: basic bwfsbg9yetpqcjb4evmzy3jlda==")
    }));

    proxy.cut().await;
    let ended = world
        .run_with(&settings, &["project"])
        .await
        .assert_exit(75);
    let ended = ended.says(&["through the proxy http://127.0.0.1:", "no connection"]);
    assert!(
        !ended.stderr.contains("Pr0xyS3cret") && !ended.stderr.contains("mallory"),
        "{}",
        ended.stderr
    );
    for nonsense in [
        "socks5://127.0.0.1:1",
        "Pr0xyS3cret",
        "http://mallory:Pr0xyS3cret@:port",
    ] {
        let settings = [("DAYBOOK_ELASTICSEARCH_PROXY", nonsense)];
        let ended = world.run_with(&settings, &["project"]).await.assert_exit(2);
        let ended = ended.says(&["the address of the proxy", "DAYBOOK_ELASTICSEARCH_PROXY"]);
        assert!(!ended.stderr.contains("Pr0xyS3cret"), "{}", ended.stderr);
    }
    world.end().await;
}

#[tokio::test]
async fn what_may_not_be_looked_at_is_not_found_to_be_wrong() {
    let world = with_an_event().await;
    world.run(&APPLY).await.assert_exit(0);
    for (status, exit) in [
        (401, 1),
        (403, 1),
        (404, 4),
        (429, 75),
        (502, 75),
        (503, 75),
        (504, 75),
    ] {
        let proxy = Proxy::http(&world.elasticsearch_url).await;
        proxy.answer(move |request, _| {
            (phase(request) == "GET _mapping").then(|| Reply::new(status, "{}"))
        });
        let ended = world
            .run_with(
                &[(ELASTICSEARCH, proxy.url())],
                &["verify", "--projections"],
            )
            .await;
        assert_eq!(
            ended.code,
            Some(exit),
            "{status}: {} {}",
            ended.stdout,
            ended.stderr
        );
    }
    world.end().await;
}
