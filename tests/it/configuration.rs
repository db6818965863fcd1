//! Settings: the layers they come from, `daybook config`, and the example of a configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::CommandFactory as _;
use daybook::Cli;
use serde_json::Value;

use crate::commands::{journal, search};
use crate::support::program::{self, Ended};
use crate::support::{Event, RECORDSET, World};

const EXAMPLE: &str = include_str!("../../daybook.example.toml");

/// What `daybook config` shows, by name: value, origin and the origin's name.
async fn shown(
    settings: &[(&str, &str)],
    arguments: &[&str],
) -> BTreeMap<String, (Option<String>, String, Option<String>)> {
    let arguments = [arguments, &["config", "--json"]].concat();
    let ended: Ended = program::command(settings, &arguments)
        .output()
        .await
        .unwrap()
        .into();
    let ended = ended.assert_exit(0);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let messages = ended.messages_of("setting").into_iter();
    messages
        .map(|message| {
            let name = text(&message["name"]).unwrap();
            let origin = text(&message["origin"]).unwrap();
            (
                name,
                (
                    text(&message["value"]),
                    origin,
                    text(&message["origin_name"]),
                ),
            )
        })
        .collect()
}

#[tokio::test]
async fn each_setting_is_shown_with_where_it_came_from_and_without_its_secrets() {
    let folder = Folder::named("shown-settings");
    let credentials = Folder(folder.0.join("credentials"));
    std::fs::create_dir_all(&credentials.0).unwrap();
    credentials.write("ledger-url", "postgres://stats:secret@credential/d\n");
    credentials.write("source-url", "postgres://stats:secret@credential/d\n");
    let authority = credentials.write("elasticsearch-ca", "");
    let file = folder.write(
        "daybook.toml",
        "ledger_url = \"postgres://stats:secret@file/d\"\nmemory = \"1G\"\nindex_prefix = \"file\"
         elasticsearch_api_key = \"secret\"\nelasticsearch_gzip = true\nterms = \"none\"",
    );
    let settings = [
        ("CREDENTIALS_DIRECTORY", credentials.path()),
        ("DAYBOOK_CONFIG", &file),
        ("DAYBOOK_INDEX_PREFIX", "variable"),
        ("DAYBOOK_TERMS", "items"),
        (
            "DAYBOOK_SOURCE_URL",
            "postgres://stats:secret@variable/d?password=secret",
        ),
    ];
    let arguments = ["--terms", "queries"];
    let shown = shown(&settings, &arguments).await;
    for (name, value, origin, detail) in [
        (
            "ledger_url",
            "postgres://stats:****@credential/d",
            "credential",
            "ledger-url",
        ),
        (
            "source_url",
            "postgres://stats:****@variable/d?password=****",
            "environment",
            "DAYBOOK_SOURCE_URL",
        ),
        ("memory", "1G", "file", &file),
        ("elasticsearch_api_key", "****", "file", &file),
        ("elasticsearch_gzip", "true", "file", &file),
        (
            "elasticsearch_ca",
            &authority,
            "credential",
            "elasticsearch-ca",
        ),
        (
            "index_prefix",
            "variable",
            "environment",
            "DAYBOOK_INDEX_PREFIX",
        ),
        ("terms", "queries", "command_line", "--terms"),
        ("config", &file, "environment", "DAYBOOK_CONFIG"),
    ] {
        let expected = (
            Some(value.to_owned()),
            origin.to_owned(),
            Some(detail.to_owned()),
        );
        assert_eq!(shown[name], expected, "{name}");
    }
    let default = |value: Option<&str>| (value.map(str::to_owned), "default".to_owned(), None);
    assert_eq!(shown["max_clock_skew"], default(Some("5m")));
    assert_eq!(shown["elasticsearch_url"], default(None));

    let ended: Ended = program::command(&settings, &["config", "--memory", "2G"])
        .output()
        .await
        .unwrap()
        .into();
    let ended = ended.assert_exit(0).tells(&[
        "postgres://stats:****@credential/d  [credential ledger-url]\n",
        "2G  [command line --memory]\n",
        "5m  [default]\n",
        "(not set)  [default]\n",
        &format!("****  [file {file}]\n"),
    ]);
    assert!(!ended.stdout.contains("secret"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

/// A secret and the file with it are one setting: a layer that has one of them hides the other in lower layers.
#[tokio::test]
async fn a_secret_in_a_file_hides_the_secret_of_a_lower_layer() {
    let folder = Folder::named("secret-layers");
    let file = folder.write("daybook.toml", "elasticsearch_password = \"secret\"\n");
    let settings = [
        ("DAYBOOK_CONFIG", file.as_str()),
        ("DAYBOOK_ELASTICSEARCH_PASSWORD_FILE", "/a/file"),
    ];
    let shown = shown(&settings, &[]).await;
    assert_eq!(shown["elasticsearch_password"].0, None);
    assert_eq!(
        shown["elasticsearch_password_file"].0.as_deref(),
        Some("/a/file")
    );
}

#[tokio::test]
async fn a_secret_is_not_taken_from_the_command_line() {
    for name in ["password", "api-key", "bearer-token"] {
        let option = format!("--elasticsearch-{name}");
        let ended: Ended = program::command(&[], &["config", &option, "planted"])
            .output()
            .await
            .unwrap()
            .into();
        let ended = ended.assert_exit(2).says(&[
            &format!("{option} is not taken from the command line"),
            &format!("{option}-file, or set DAYBOOK_ELASTICSEARCH_"),
        ]);
        assert!(!ended.stderr.contains("planted"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_misspelt_variable_or_credential_is_named_with_the_right_one() {
    let folder = Folder::named("misspelt-settings");
    folder.write("ledger_url", "");
    folder.write("from-index-password", "");
    let settings = [
        ("CREDENTIALS_DIRECTORY", folder.path()),
        ("DAYBOOK_LEGDER_URL", ""),
        ("DAYBOOK_FROM_INDEX_USER", "old"),
    ];
    let ended: Ended = program::command(&settings, &["config"])
        .output()
        .await
        .unwrap()
        .into();
    let ended = ended.assert_exit(0);
    let ignored: Vec<&str> = ended
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("ignored: "))
        .collect();
    assert_eq!(
        ignored,
        [
            "DAYBOOK_LEGDER_URL is not a setting; did you mean DAYBOOK_LEDGER_URL?",
            "the credential ledger_url is not a setting; did you mean ledger-url?",
        ]
    );
}

/// The settings that the example has, commented out: name and value as they are written. Its comments are prose after `# `.
fn of_example() -> Vec<(&'static str, &'static str)> {
    let keys = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
    keys.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|line| line.split_once(" = ").unwrap_or_else(|| panic!("{line}")))
        .collect()
}

#[test]
fn the_example_has_every_setting_with_its_default_and_no_other() {
    let example: BTreeMap<&str, &str> = of_example().into_iter().collect();
    assert_eq!(
        example.len(),
        of_example().len(),
        "a setting stands there twice"
    );
    let program = Cli::command();
    let settings: Vec<&clap::Arg> = program
        .get_arguments()
        .filter(|setting| setting.get_env().is_some() && setting.get_id() != "config")
        .collect();
    let names: BTreeSet<&str> = settings
        .iter()
        .map(|setting| setting.get_id().as_str())
        .collect();
    assert_eq!(example.keys().copied().collect::<BTreeSet<_>>(), names);
    let mut group = String::new();
    for line in EXAMPLE.lines() {
        if !line.starts_with('#') {
            group.clear();
        }
        group += line;
        let Some((name, value)) = line
            .strip_prefix('#')
            .and_then(|line| line.split_once(" = "))
        else {
            continue;
        };
        let Some(setting) = settings.iter().find(|setting| setting.get_id() == name) else {
            continue;
        };
        assert!(group.starts_with("# "), "{name} has no comment");
        match setting.get_default_values() {
            [default] => assert_eq!(value.trim_matches('"'), default.to_str().unwrap(), "{name}"),
            _ => assert!(group.contains("Example"), "{name} has no default"),
        }
    }
}

#[tokio::test]
async fn new_indices_have_the_shards_and_replicas_of_the_settings() {
    let world = World::new().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    let layout = async |suffix: &str| {
        let index = format!("{}-totals-{suffix}", world.prefix);
        let settings = world.settings_of(&index).await;
        [
            "number_of_shards",
            "number_of_replicas",
            "auto_expand_replicas",
        ]
        .map(|name| settings[&format!("index.{name}")].clone())
    };
    let settings = [("DAYBOOK_SHARDS", "3"), ("DAYBOOK_REPLICAS", "2")];
    let apply = ["apply", "--day", "2020-02-16"];
    world.run_with(&settings, &apply).await.assert_exit(0);
    assert_eq!(layout("g000001").await, ["3", "2", "false"]);
    // An index keeps its layout until it is rebuilt.
    world.run(&["project"]).await.assert_exit(0);
    world.run(&["rebuild"]).await.assert_exit(0);
    assert_eq!(layout("g000002").await, ["1", "0", "0-1"]);
    let rebuild = ["rebuild", "--replicas", "0-all"];
    world.run(&rebuild).await.assert_exit(0);
    assert_eq!(layout("g000003").await, ["1", "0", "0-all"]);
    world.run_with(&settings, &["rebuild"]).await.assert_exit(0);
    assert_eq!(layout("g000004").await, ["3", "2", "false"]);
    for (name, value) in [
        ("--shards", "0"),
        ("--shards", "many"),
        ("--replicas", "2-1"),
    ] {
        let ended = world.run(&[name, value, "project"]).await.assert_exit(2);
        ended.says(&[value, name]);
    }
    world.end().await;
}

#[tokio::test]
async fn the_example_can_be_used_as_it_is_and_with_every_setting() {
    let folder = Folder::named("example-settings");
    let as_it_is = folder.write("as-it-is.toml", EXAMPLE);
    let untouched = shown(&[("DAYBOOK_CONFIG", &as_it_is)], &[]).await;
    assert!(
        untouched
            .iter()
            .all(|(name, (_, origin, _))| name == "config" || origin == "default")
    );
    let lines = of_example().into_iter();
    let all: Vec<String> = lines
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect();
    let all = folder.write("all.toml", &all.concat());
    let set = shown(&[("DAYBOOK_CONFIG", &all)], &[]).await;
    assert!(set.len() > 20);
    assert!(
        set.iter()
            .all(|(name, (_, origin, _))| name == "config" || origin == "file"),
        "{set:?}"
    );
}

/// A folder for the files of one test.
struct Folder(PathBuf);

impl Folder {
    fn new(world: &World) -> Self {
        Self::named(&world.prefix)
    }

    fn named(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Writes a file; returns where it is.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Nothing listens on these ports, so that a command fails and says where it looked.
#[tokio::test]
async fn flags_come_before_the_environment_before_credentials_before_the_configuration_file() {
    let world = World::new().await;
    let folder = Folder::new(&world);
    let postgres = |port: u16, name: &str| format!("postgres://daybook@127.0.0.1:{port}/{name}");
    let config = folder.write(
        "daybook.toml",
        &format!(
            "ledger_url = \"{}\"\nsource_url = \"{}\"\nelasticsearch_url = \"http://127.0.0.1:4\"\nindex_prefix = \"From-File\"\n",
            postgres(4, "file"),
            postgres(4, "file_source")
        ),
    );
    folder.write("ledger-url", &format!("{}\n", postgres(3, "credentials")));
    let (environment, flag) = (postgres(2, "environment"), postgres(1, "flag"));

    let prefix = ("DAYBOOK_INDEX_PREFIX", "stats");
    let from_file = [prefix, ("DAYBOOK_CONFIG", config.as_str())];
    let from_credentials = [&from_file[..], &[("CREDENTIALS_DIRECTORY", folder.path())]].concat();
    let from_environment = [
        &from_credentials[..],
        &[("DAYBOOK_LEDGER_URL", environment.as_str())],
    ]
    .concat();
    for (settings, arguments, place) in [
        (
            &from_file[..],
            &["status"][..],
            "database file on 127.0.0.1:4 ",
        ),
        (
            &from_credentials,
            &["status"],
            "database credentials on 127.0.0.1:3 ",
        ),
        (
            &from_environment,
            &["status"],
            "database environment on 127.0.0.1:2 ",
        ),
        (
            &from_environment,
            &["status", "--ledger-url", &flag],
            "database flag on 127.0.0.1:1 ",
        ),
        (
            &from_environment,
            &["--ledger-url", &flag, "status"],
            "database flag on 127.0.0.1:1 ",
        ),
    ] {
        let ended: Ended = program::command(settings, arguments)
            .output()
            .await
            .unwrap()
            .into();
        ended
            .assert_exit(75)
            .says(&[&format!("cannot connect to the ledger ({place}")]);
    }

    // The same for Elasticsearch, with a ledger that is there.
    let ledger = [
        ("DAYBOOK_LEDGER_URL", world.ledger_url.as_str()),
        prefix,
        ("DAYBOOK_CONFIG", config.as_str()),
    ];
    let secrets = Folder(folder.0.join("elasticsearch"));
    std::fs::create_dir(&secrets.0).unwrap();
    secrets.write("elasticsearch-url", "http://127.0.0.1:3\n");
    let from_credentials = [&ledger[..], &[("CREDENTIALS_DIRECTORY", secrets.path())]].concat();
    let from_environment = [
        &from_credentials[..],
        &[("DAYBOOK_ELASTICSEARCH_URL", "http://127.0.0.1:2")],
    ]
    .concat();
    for (settings, arguments, port) in [
        (&ledger[..], &["project"][..], 4),
        (&from_credentials, &["project"], 3),
        (&from_environment, &["project"], 2),
        (
            &from_environment,
            &["project", "--elasticsearch-url", "http://127.0.0.1:1"],
            1,
        ),
    ] {
        let ended: Ended = program::command(settings, arguments)
            .output()
            .await
            .unwrap()
            .into();
        ended.assert_exit(75).says(&[&format!(
            "Elasticsearch (http://127.0.0.1:{port}/) gave no answer"
        )]);
    }

    // And for the source and the prefix.
    let ended: Ended = program::command(&ledger, &["apply", "--no-project"])
        .output()
        .await
        .unwrap()
        .into();
    ended
        .assert_exit(75)
        .says(&["cannot connect to the source (database file_source on 127.0.0.1:4 "]);
    let (file, environment) = (
        ("DAYBOOK_CONFIG", config.as_str()),
        ("DAYBOOK_INDEX_PREFIX", "From-Environment"),
    );
    for (settings, arguments, prefix) in [
        (&[file][..], &["status"][..], "From-File"),
        (&[file, environment], &["status"], "From-Environment"),
        (
            &[file, environment],
            &["status", "--index-prefix", "From-Flag"],
            "From-Flag",
        ),
    ] {
        let ended: Ended = program::command(settings, arguments)
            .output()
            .await
            .unwrap()
            .into();
        ended
            .assert_exit(2)
            .says(&[&format!("'{prefix}' cannot be the prefix")]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_configuration_file_alone_is_enough() {
    let world = World::new().await;
    let folder = Folder::new(&world);
    let settings = world.settings().map(|(name, value)| {
        let key = name.trim_start_matches("DAYBOOK_").to_lowercase();
        format!("{key} = {}\n", Value::from(value))
    });
    let config = folder.write("daybook.toml", &settings.concat());
    world.log(&[search(1, 1, 5)]).await;
    let ended: Ended = program::command(&[], &["apply", "--config", &config])
        .output()
        .await
        .unwrap()
        .into();
    ended.assert_exit(0);
    assert_eq!(world.documents("").await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_configuration_file_that_cannot_be_read_is_refused_without_its_secrets() {
    let world = World::new().await;
    let folder = Folder::new(&world);
    for (text, words) in [
        (
            "ledger_ulr = \"postgres://daybook:secret@localhost/daybook\"",
            "unknown setting 'ledger_ulr'\n  did you mean ledger_url?",
        ),
        (
            "ledger_url = postgres://daybook:secret@localhost/daybook",
            "cannot be read",
        ),
        (
            "ledger_url = [\"postgres://daybook:secret@localhost/daybook\"]",
            "ledger_url must be text: write it in quotes",
        ),
        (
            "ledger_url = \"postgres://daybook:secret@localhost/daybook\"\n[secret",
            "cannot be read",
        ),
        ("memory = \"1M\"", "memory: '1M' is too little memory"),
        (
            "postgres_timeout = 60",
            "postgres_timeout: '60' is not a time",
        ),
        (
            "elasticsearch_gzip = \"perhaps\"",
            "elasticsearch_gzip: invalid value 'perhaps'",
        ),
        ("config = \"another.toml\"", "unknown setting 'config'"),
    ] {
        let config = folder.write("daybook.toml", text);
        let ended = world
            .run_with(&[("DAYBOOK_CONFIG", &config)], &["status"])
            .await
            .assert_exit(2);
        let ended = ended.says(&[
            &format!("the configuration file {config} cannot be read"),
            words,
        ]);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    let missing = folder.0.join("missing.toml");
    let missing = missing.to_str().unwrap();
    let ended = world
        .run(&["status", "--config", missing])
        .await
        .assert_exit(2);
    ended.says(&[missing, "No such file"]);
    world.end().await;
}

#[tokio::test]
async fn the_standard_variables_of_postgres_are_honoured() {
    let world = World::new().await;
    let url: url::Url = world.ledger_url.parse().unwrap();
    let port = url.port().unwrap().to_string();
    let password = ("PGPASSWORD", url.password().unwrap());
    let variables = [
        ("PGHOST", url.host_str().unwrap()),
        ("PGPORT", &port),
        ("PGUSER", url.username()),
        ("PGDATABASE", &world.database),
        password,
    ];
    let ended: Ended = program::command(&variables, &["apply", "--no-project"])
        .output()
        .await
        .unwrap()
        .into();
    ended.assert_exit(0);
    assert_eq!(journal(&world).await, "1 apply");

    // The password may be kept out of the URL.
    let mut without_password = url.clone();
    without_password.set_password(None).unwrap();
    let settings = [("DAYBOOK_LEDGER_URL", without_password.as_str()), password];
    let ended: Ended = program::command(&settings, &["status"])
        .output()
        .await
        .unwrap()
        .into();
    ended.assert_exit(0);
    // What a URL says goes before them.
    let settings = [
        ("DAYBOOK_LEDGER_URL", url.as_str()),
        ("PGDATABASE", "nowhere"),
        ("PGPORT", "1"),
        ("PGPASSWORD", "wrong"),
    ];
    let ended: Ended = program::command(&settings, &["status"])
        .output()
        .await
        .unwrap()
        .into();
    ended.assert_exit(0);
    world.end().await;
}
