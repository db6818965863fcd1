//! No secret in any output, whatever fails: a walk over commands, settings and failures.
//!
//! Each case gives secrets in some settings, under which something fails. Whatever the commands say then, as text and as
//! JSON, with `-vv`, and in the record of the run, none of it may be a secret, in whatever encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, stream};
use url::Url;

use crate::support::proxy::{Manner, Reply};
use crate::support::{Event, Proxy, RECORDSET, World};

/// A secret, with a character that addresses encode.
const SECRET: &str = "Pl4nt%dS3cret";
const ENCODED: &str = "Pl4nt%25dS3cret";

/// What a secret may look like in an output.
fn shapes() -> Vec<String> {
    let base64 = |user: &str| STANDARD.encode(format!("{user}:{SECRET}"));
    vec![
        SECRET.to_owned(),
        ENCODED.to_owned(),
        "S3cret".to_owned(),
        base64("elastic"),
        base64("id"),
        base64("proxy"),
    ]
}

/// The commands that are walked over: all that connect to anything.
const COMMANDS: [&[&str]; 10] = [
    &["apply", "--day", "2020-02-16"],
    &["project"],
    &["rebuild"],
    &["rebuild", "--dry-run"],
    &["verify"],
    &["status"],
    &["collect-stats", "-d", "2020-02-17"],
    &["totals", RECORDSET],
    &["import", "--no-project", "--from-index"],
    &["compare", "--from-index"],
];

/// Settings that hold secrets, under which something fails.
struct Case {
    settings: Vec<(&'static str, String)>,
    /// What keeps a server alive that the settings name.
    _server: Option<Proxy>,
}

impl Case {
    fn new(settings: Vec<(&'static str, String)>) -> Self {
        Self {
            settings,
            _server: None,
        }
    }
}

/// The cases of Elasticsearch: each way to log in, against each kind of failure.
async fn elasticsearch_cases(world: &World) -> Vec<Case> {
    const URL: &str = "DAYBOOK_ELASTICSEARCH_URL";
    let mut plain: Url = world.elasticsearch_url.parse().unwrap();
    plain.set_username("").unwrap();
    plain.set_password(None).unwrap();
    let answering = async |reply: fn() -> Reply| {
        let proxy = Proxy::http(plain.as_str()).await;
        proxy.answer(move |_, _| Some(reply()));
        proxy
    };
    let mut cases = Vec::new();
    for login in ["address", "password", "api key", "token"] {
        let given = |address: &str| {
            let mut url: Url = address.parse().unwrap();
            let mut settings = match login {
                "address" => {
                    url.set_username("elastic").unwrap();
                    url.set_password(Some(ENCODED)).unwrap();
                    vec![]
                }
                "password" => vec![
                    ("DAYBOOK_ELASTICSEARCH_USER", "elastic".to_owned()),
                    ("DAYBOOK_ELASTICSEARCH_PASSWORD", SECRET.to_owned()),
                ],
                "api key" => vec![("DAYBOOK_ELASTICSEARCH_API_KEY", format!("id:{SECRET}"))],
                _ => vec![("DAYBOOK_ELASTICSEARCH_BEARER_TOKEN", SECRET.to_owned())],
            };
            // The same for the cluster of an old index.
            settings.extend(
                settings
                    .clone()
                    .into_iter()
                    .filter_map(|(name, secret)| Some((of_old_index(name)?, secret))),
            );
            settings.push((URL, url.clone().into()));
            url.set_path("old");
            settings.push(("DAYBOOK_FROM_INDEX", url.into()));
            settings
        };
        // Nobody listens; the server refuses the secret; it speaks no TLS; there is no such host.
        let addresses = [
            "http://127.0.0.1:1",
            plain.as_str(),
            &plain.as_str().replace("http:", "https:"),
            "http://cluster.invalid",
        ];
        cases.extend(
            addresses
                .into_iter()
                .map(|address| Case::new(given(address))),
        );
        let replies: [fn() -> Reply; 4] = [
            || Reply::given(Manner::Never),
            || Reply::new(302, "").with_header("location", "http://elsewhere.invalid/"),
            || Reply::new(500, "not JSON"),
            || Reply::new(200, "not JSON"),
        ];
        for reply in replies {
            let server = answering(reply).await;
            let limit = ("DAYBOOK_ELASTICSEARCH_TIMEOUT", "1s".to_owned());
            let settings = [given(server.url()), vec![limit]].concat();
            cases.push(Case {
                settings,
                _server: Some(server),
            });
        }
        let proxy = (
            "DAYBOOK_ELASTICSEARCH_PROXY",
            format!("http://proxy:{ENCODED}@127.0.0.1:1"),
        );
        cases.push(Case::new(
            [given("http://cluster.invalid"), vec![proxy]].concat(),
        ));
        // Two ways to log in at once, and certificates that are not there.
        let second = (
            "DAYBOOK_ELASTICSEARCH_BEARER_TOKEN_FILE",
            "/nowhere".to_owned(),
        );
        cases.push(Case::new([given(plain.as_str()), vec![second]].concat()));
        let authority = ("DAYBOOK_ELASTICSEARCH_CA", "/nowhere".to_owned());
        cases.push(Case::new(
            [given("https://127.0.0.1:1"), vec![authority]].concat(),
        ));
    }
    // What cannot be read is not repeated.
    for nonsense in [
        SECRET.to_owned(),
        format!("http://elastic:{SECRET}@h:port"),
        format!("ftp://e:{ENCODED}@h"),
    ] {
        cases.push(Case::new(vec![(URL, nonsense.clone())]));
        cases.push(Case::new(vec![(
            "DAYBOOK_ELASTICSEARCH_PROXY",
            nonsense.clone(),
        )]));
        cases.push(Case::new(vec![("DAYBOOK_FROM_INDEX", nonsense)]));
    }
    cases
}

/// The variable for the cluster of an old index.
fn of_old_index(variable: &str) -> Option<&'static str> {
    match variable {
        "DAYBOOK_ELASTICSEARCH_USER" => Some("DAYBOOK_FROM_INDEX_USER"),
        "DAYBOOK_ELASTICSEARCH_PASSWORD" => Some("DAYBOOK_FROM_INDEX_PASSWORD"),
        "DAYBOOK_ELASTICSEARCH_API_KEY" => Some("DAYBOOK_FROM_INDEX_API_KEY"),
        "DAYBOOK_ELASTICSEARCH_BEARER_TOKEN" => Some("DAYBOOK_FROM_INDEX_BEARER_TOKEN"),
        _ => None,
    }
}

/// So many worlds share the cases: in each, one run at a time may hold the lock.
const WORLDS: usize = 8;

#[tokio::test]
async fn no_command_tells_a_secret_whatever_fails() {
    let somewhere = World::new().await;
    let cases = elasticsearch_cases(&somewhere).await;
    somewhere.end().await;
    let shares =
        (0..WORLDS).map(|share| walk(cases.iter().enumerate().skip(share).step_by(WORLDS)));
    stream::iter(shares)
        .buffer_unordered(WORLDS)
        .collect::<()>()
        .await;
}

async fn walk(cases: impl Iterator<Item = (usize, &Case)>) {
    let world = World::new().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    world
        .run(&["apply", "--day", "2020-02-16", "--no-project"])
        .await
        .assert_exit(0);
    for (at, case) in cases {
        let settings: Vec<(&str, &str)> = case
            .settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        // Each kind of failure meets all commands, though with other ways to log in.
        for (step, format) in [(at, &["-vv"][..]), (at * 3 + 5, &["-vv", "--json"])] {
            let arguments = [COMMANDS[step % COMMANDS.len()], format].concat();
            let ended = world.run_with(&settings, &arguments).await;
            let case = format!("{arguments:?} under {settings:?}");
            assert_hides_secrets(&case, &ended.stdout);
            assert_hides_secrets(&case, &ended.stderr);
            assert!(
                !ended.stderr.contains("panicked"),
                "{case}: {}",
                ended.stderr
            );
        }
    }
    let recorded = world
        .value("SELECT string_agg(r::text, ' ') FROM daybook.run r")
        .await;
    assert!(!recorded.is_empty());
    assert_hides_secrets("the record of the runs", &recorded);
    world.end().await;
}

#[track_caller]
fn assert_hides_secrets(case: &str, text: &str) {
    for shape in shapes() {
        assert!(!text.contains(&shape), "{case} tells {shape}: {text}");
    }
}
