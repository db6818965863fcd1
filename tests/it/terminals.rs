//! Text that is not ours, on a terminal: whoever names a file, a city or an error cannot steer it, nor write lines of ours.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::program::Ended;
use crate::support::proxy::Reply;
use crate::support::{Event, Proxy, RECORDSET, World};

/// Colours, rings, goes to the start of a line, forges one, turns the direction of writing, hides.
const HOSTILE: &str =
    "x\u{1b}[31mred\u{7}\u{9b}2J\r\nentry 9: forged\u{2028}\u{202e}gnp.\u{200b}\u{2066}";

/// How its start is shown: as JSON escapes it, and in an excerpt.
const SPELLINGS: [&str; 2] = ["\\u001b[31mred", "\\u{1b}[31mred"];

/// Panics if anything hides in what a command showed, or if it made a line of its own.
#[track_caller]
fn is_harmless(what: &str, ended: &Ended) {
    for (stream, text) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        let hides = |c: &char| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        };
        assert_eq!(text.chars().find(hides), None, "{what}, {stream}: {text:?}");
        assert!(
            !text.lines().any(|line| line.starts_with("entry 9")),
            "{what}, {stream}: {text}"
        );
    }
    // All of it is there, in another spelling.
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        SPELLINGS.iter().any(|spelling| all.contains(spelling)),
        "{what} does not show it: {all}"
    );
}

/// Row 21 of the cases.
#[tokio::test]
async fn text_from_outside_is_escaped_wherever_it_is_shown() {
    let world = World::new().await;
    let folder = crate::import::documents::Folder::new();
    let place = Event {
        ip_geocode: Some(json!({ "country": HOSTILE }).to_string()),
        ..Event::view(1, "2020-02-10", HOSTILE, RECORDSET)
    };
    let bad = Event::new(2, "2020-02-10", "search", &json!({ HOSTILE: 1 }));
    let reversed = Event::search(3, "2020-02-11", RECORDSET, 5);
    world.log(&[place, bad, reversed]).await;
    world
        .run(&["apply", "--from", "2020-02-10", "--to", "2020-02-11"])
        .await
        .assert_exit(0);
    world
        .run(&["reverse", "2", "--reason", HOSTILE])
        .await
        .assert_exit(0);
    let old = folder.lines(
        "old.log",
        &[json!({ "recordset_id": HOSTILE, "harvest_date": HOSTILE })],
    );
    let named = folder.write(&format!("{HOSTILE}.log"), "{\"recordset_id\": 1");
    let export = format!("{}/{HOSTILE}.out", folder.0.display());
    let index = world
        .elastic_text(Method::GET, &format!("_alias/{}", world.prefix), None)
        .await;
    let index = serde_json::from_str::<Value>(&index).unwrap();
    let physical = index.as_object().unwrap().keys().next().unwrap().clone();
    let extra = json!({ "index": { "_index": physical, "_id": HOSTILE } });
    let lines = format!("{extra}\n{{\"day\":\"2020-02-10\"}}\n");
    world
        .elastic_text(Method::POST, "_bulk?refresh=true", Some(lines))
        .await;
    let failing = Proxy::http(&world.elasticsearch_url).await;
    failing.answer(|_, _| {
        Some(Reply::new(
            400,
            json!({ "error": { "type": HOSTILE, "reason": HOSTILE } }).to_string(),
        ))
    });
    let failing_index = format!("{}/old", failing.url().trim_end_matches('/'));
    let commands: &[(&str, &[&str])] = &[
        ("a rejected event", &["show", "1"]),
        ("a reason", &["show", "3"]),
        ("terms", &["totals", RECORDSET]),
        ("a document's id", &["verify", "--projections"]),
        ("a document", &["import", "--dry-run", &old]),
        ("a document", &["compare", &old]),
        ("a file's name", &["import", "--dry-run", &named]),
        ("a file's name", &["export", "--output", &export]),
        (
            "a file that is not there",
            &["import", &format!("/nowhere/{HOSTILE}")],
        ),
        (
            "a cluster's error",
            &["--elasticsearch-url", failing.url(), "project"],
        ),
        (
            "a cluster's error",
            &["--elasticsearch-url", failing.url(), "status"],
        ),
        (
            "a cluster's error",
            &[
                "--elasticsearch-url",
                failing.url(),
                "apply",
                "--day",
                "2020-02-10",
            ],
        ),
        (
            "a cluster's error",
            &["--elasticsearch-url", failing.url(), "rebuild"],
        ),
        (
            "a cluster's error",
            &[
                "--elasticsearch-url",
                failing.url(),
                "verify",
                "--projections",
            ],
        ),
        (
            "a cluster's error",
            &["import", "--from-index", &failing_index],
        ),
        // Of the run before.
        ("a run's outcome", &["status"]),
    ];
    for (what, arguments) in commands {
        for form in [&[][..], &["--json"], &["-vv"]] {
            let ended = world.run(&[form, arguments].concat()).await;
            is_harmless(&format!("{what} in {arguments:?} {form:?}"), &ended);
            if form == ["--json"] {
                // Each line is JSON still, and says what it said.
                let said = ended
                    .messages()
                    .iter()
                    .map(Value::to_string)
                    .collect::<String>();
                let shows = |text: &str| SPELLINGS.iter().any(|spelling| text.contains(spelling));
                assert!(shows(&said) || shows(&ended.stderr), "{what}: {said}");
            }
        }
    }
    let totals = world.run(&["totals", RECORDSET]).await;
    let object: Value = serde_json::from_str(&totals.stdout).unwrap();
    assert!(
        object.to_string().contains('\u{202e}'),
        "escaped as JSON escapes it: {object}"
    );
    world.end().await;
}

/// Row 20 of the cases.
#[tokio::test]
async fn a_file_is_written_to_what_is_there() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

    let world = World::with_history().await;
    let folder = crate::import::documents::Folder::new();
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let export = async |to: &str| world.run(&["export", "--output", to]).await.assert_exit(0);
    export(&path("plain")).await;
    let plain = std::fs::read_to_string(path("plain")).unwrap();
    // Of a file that is replaced the mode stays, and nobody else could read what is written meanwhile.
    for mode in [0o600, 0o640, 0o664] {
        let name = path(&format!("mode-{mode:o}"));
        std::fs::write(&name, "before").unwrap();
        std::fs::set_permissions(&name, std::fs::Permissions::from_mode(mode)).unwrap();
        export(&name).await;
        assert_eq!(
            std::fs::metadata(&name).unwrap().permissions().mode() & 0o7777,
            mode
        );
        assert_eq!(std::fs::read_to_string(&name).unwrap(), plain);
    }
    // A link stays, and what it leads to is written, in whichever folder that is, there already or not.
    std::fs::create_dir(path("elsewhere")).unwrap();
    for (link, target) in [
        ("to-a-file", "elsewhere/file"),
        ("to-none", "elsewhere/none"),
        ("to-a-link", "to-a-file"),
    ] {
        std::os::unix::fs::symlink(target, path(link)).unwrap();
    }
    std::fs::write(path("elsewhere/file"), "before").unwrap();
    for (link, file) in [
        ("to-a-file", "elsewhere/file"),
        ("to-none", "elsewhere/none"),
        ("to-a-link", "elsewhere/file"),
    ] {
        std::fs::remove_file(path(file)).unwrap_or_default();
        export(&path(link)).await;
        assert!(
            std::fs::symlink_metadata(path(link)).unwrap().is_symlink(),
            "{link}"
        );
        assert_eq!(
            std::fs::read_to_string(path(file)).unwrap(),
            plain,
            "{link}"
        );
    }
    // A device, by way of a link: a test that fails must not replace the machine's own.
    std::os::unix::fs::symlink("/dev/null", path("null")).unwrap();
    export(&path("null")).await;
    assert!(
        std::fs::metadata(path("null"))
            .unwrap()
            .file_type()
            .is_char_device()
    );
    // A pipe, compressed on its way.
    let pipe = path("pipe.gz");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let reading = {
        let pipe = pipe.clone();
        tokio::task::spawn_blocking(move || std::fs::read(pipe).unwrap())
    };
    export(&pipe).await;
    let mut unpacked = String::new();
    let packed = reading.await.unwrap();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(&packed[..]),
        &mut unpacked,
    )
    .unwrap();
    assert_eq!(unpacked, plain);
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    // Nothing else is left behind.
    let mut names: Vec<String> = std::fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name.contains("unfinished"));
    assert_eq!(names, [""; 0]);
    world.end().await;
}

/// What a command shows of a stage on a terminal of so many columns.
async fn shown_bars(world: &World, command: &str, stage: &str, columns: usize) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_daybook");
    let typed = format!("stty rows 24 cols {columns} && exec {program} {command} >/dev/null");
    // It gives the program a terminal.
    let mut terminal = tokio::process::Command::new("script");
    terminal
        .args(["--quiet", "--return", "--command", &typed, "/dev/null"])
        .env_clear()
        .envs(world.settings())
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm");
    let output = terminal.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let bars: Vec<String> = shown
        .split(['\r', '\n', '\u{1b}'])
        .filter_map(|line| line.find(stage).map(|at| line[at..].to_owned()))
        .collect();
    assert!(!bars.is_empty(), "{stage}: {shown:?}");
    bars
}

/// A line that is as wide as the terminal wraps, and its pieces stay on the screen.
#[tokio::test]
async fn a_progress_bar_fits_on_a_line_of_the_terminal() {
    let world = World::new().await;
    let days: Vec<String> = (1..=9).map(|day| format!("2020-02-0{day}")).collect();
    let events: Vec<Event> = (1..)
        .zip(&days)
        .map(|(id, day)| Event::search(id, day, RECORDSET, 5))
        .collect();
    world.log(&events).await;
    let apply = format!("apply --from {} --to {}", days[0], days[8]);
    let folder = crate::import::documents::Folder::new();
    let site = format!("report --site {}", folder.0.display());
    for columns in [80, 40] {
        for (command, stage, told) in [
            (apply.as_str(), "applying ", "/9 days"),
            ("verify --ledger", "reading the ledger ", ""),
            ("verify --source", "recounting ", "/9 days"),
            (site.as_str(), "reading the ledger ", ""),
        ] {
            for bar in shown_bars(&world, command, stage, columns).await {
                assert!(bar.chars().count() <= columns, "{bar}");
                assert!(bar.contains(told), "{bar}");
            }
        }
    }
    world.end().await;
}
