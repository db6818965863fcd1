//! README.md, typed word by word. What each command prints is compared with a snapshot, and with the page where that shows it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, NaiveTime};
use serde_json::json;

use crate::commands::days_ago;
use crate::documents::{commands, is_of_daybook};
use crate::support::program::Ended;
use crate::support::{Event, RECORDSET, World};

const README: &str = include_str!("../../README.md");

/// A world whose last six days have an event each, of which the last is not yet applied, and a folder with an old backup.
async fn prepared() -> (World, PathBuf) {
    let world = World::new().await;
    let events = (1..=6_u8)
        .map(|days| Event::search(i64::from(days), &days_ago(u64::from(days)), RECORDSET, 5));
    world.log(&events.collect::<Vec<_>>()).await;
    let (from, to) = (days_ago(6), days_ago(2));
    let earlier = ["apply", "--from", &from, "--to", &to, "--no-project"];
    world.run(&earlier).await.assert_exit(0);
    let folder = std::env::temp_dir().join(format!("daybook-readme-{}", world.prefix));
    std::fs::create_dir(&folder).unwrap();
    let backup = std::fs::File::create(folder.join("stats_backup.zip")).unwrap();
    let mut backup = zip::ZipWriter::new(backup);
    let member = format!("backup/search/{RECORDSET}/2020-02-17.json.gz");
    let options = zip::write::SimpleFileOptions::default();
    backup.start_file(member, options).unwrap();
    let searched = json!({ "count": 1, "total": 5 });
    let document = json!({ "recordset_id": RECORDSET, "harvest_date": "2020-02-17", "records": { "search": searched } });
    backup.write_all(document.to_string().as_bytes()).unwrap();
    backup.finish().unwrap();
    (world, folder)
}

/// The blocks of the page: language and text.
fn blocks() -> impl Iterator<Item = (&'static str, &'static str)> {
    let parts = README.split("\n```").skip(1).step_by(2);
    parts.map(|block| block.split_once('\n').expect("a line"))
}

/// Types a line of daybook's or psql's. Returns what is printed; None if the line is of another program.
async fn type_line(world: &World, folder: &Path, words: &[String]) -> Option<String> {
    if let [psql, _, option, query] = words
        && psql == "psql"
        && option == "-c"
    {
        let rows = format!("SELECT string_agg(to_jsonb(t)::text, E'\\n') FROM ({query}) t");
        return Some(world.value(&rows).await);
    }
    if !is_of_daybook(words) {
        return None;
    }
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let mut command = world.command(&arguments);
    let output = command.current_dir(folder).output().await.unwrap();
    let ended = Ended::from(output).assert_exit(0);
    Some(ended.stdout)
}

/// What doctor prints of servers, without what it says about each: level, area and check. Not every server has LZ4.
fn without_findings(printed: &str) -> String {
    let checks = printed.lines().filter(|line| {
        let level = line.split(' ').next().unwrap_or_default();
        let is_check = ["ok", "warning", "failed"].contains(&level);
        is_check && !line.contains(" machine ") && !line.contains(" compression ")
    });
    checks
        .filter_map(|line| Some(format!("{}\n", line.get(..37)?)))
        .collect()
}

/// What is printed, without what differs from run to run.
fn normalised(printed: &str, world: &World) -> String {
    let lines = printed.lines().map(|line| {
        let line = line.replace(&world.prefix, "stats");
        let line = line.replace(&world.database, "daybook");
        let mut words: Vec<String> = line.split_whitespace().map(normal_word).collect();
        if words.last().is_some_and(|word| word == "bytes")
            && let [.., number, _] = &mut words[..]
        {
            "0".clone_into(number);
        }
        words.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn normal_word(word: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-.:+_".contains(c);
    let core = word.trim_matches(|c| !is_part(c));
    let core = core.trim_end_matches(['.', ':']);
    let is_date = |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
    let is_time = |text: &str| NaiveTime::parse_from_str(text, "%H:%M:%S").is_ok();
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let normal = match core {
        "" | RECORDSET => core,
        _ if is_date(core) => "DATE",
        _ if is_time(core.trim_end_matches('Z')) => "TIME",
        _ if core.len() >= 12 && is_hex(core) => "HASH",
        _ if core.parse::<uuid::Uuid>().is_ok() => "UUID",
        _ if core.contains('.') && core.parse::<f64>().is_ok() => "0.0",
        // The fingerprint of a day: figures between colons.
        _ if core.matches(':').count() > 2 => "FINGERPRINT",
        _ => core,
    };
    word.replacen(core, normal, usize::from(!core.is_empty()))
}

#[tokio::test]
async fn each_command_of_the_readme_prints_what_it_did_and_what_the_page_shows() {
    let (world, folder) = prepared().await;
    let (mut transcript, mut last) = (String::new(), String::new());
    let mut shown = 0;
    for (language, text) in blocks() {
        match language {
            "sh" => {
                for line in text.lines() {
                    for words in commands(line) {
                        let Some(printed) = type_line(&world, &folder, &words).await else {
                            continue;
                        };
                        let printed = if words[1] == "doctor" {
                            without_findings(&printed)
                        } else {
                            printed
                        };
                        last = normalised(&printed, &world);
                        transcript += &format!("$ {}\n{last}\n\n", words.join(" "));
                    }
                }
            }
            "text" => {
                shown += 1;
                assert_eq!(normalised(text, &world), last);
            }
            _ => {}
        }
    }
    assert!(shown > 0, "the page shows nothing of what is printed");
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!("readme", transcript));
    std::fs::remove_dir_all(folder).unwrap();
    world.end().await;
}
