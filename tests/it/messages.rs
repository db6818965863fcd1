//! The JSON messages of the commands, with their fields, as they were read last. What differs from run to run is replaced.

use serde_json::{Value, json};

use crate::support::{Event, RECORDSET, World};

const DAY: &str = "2020-02-16";

/// Replaces what no two runs have in common: ids of runs and ledgers, hashes, times, names of test databases.
fn settle(world: &World, key: &str, value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                settle(world, key, member);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                settle(world, key, element);
            }
        }
        Value::String(text) => {
            let is_unique = key.ends_with("_hash")
                || key.ends_with("_at")
                || matches!(
                    key,
                    "ledger_id" | "run_id" | "tool_version" | "posted_by" | "source_fingerprint"
                );
            *text = if is_unique {
                format!("<{key}>")
            } else {
                text.replace(&world.prefix, "<prefix>")
                    .replace(&world.database, "<database>")
            };
        }
        Value::Number(_)
            if key.ends_with("seconds") || matches!(key, "days_behind" | "retries") =>
        {
            *value = json!(format!("<{key}>"));
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_messages_of_a_ledgers_first_day_are_as_they_were_read_last() {
    let world = World::new().await;
    world.log(&[Event::search(1, DAY, RECORDSET, 5)]).await;
    let mut told = String::new();
    for command in [
        &["migrate"][..],
        &["apply", "--day", DAY, "--dry-run"],
        &["apply", "--day", DAY],
        &["apply", "--day", DAY],
        &["show", "99"],
        &["project"],
        &["status"],
        &["log"],
        &["show", "1"],
        &["totals", RECORDSET],
        &["verify"],
        &["rebuild"],
        &["rebuild", "--rollback"],
        &["reverse", "1", "--reason", "a test", "--no-project"],
        &["apply", "--day", "2020-02-15"],
        &["collect-stats", "-d", "2020-02-18"],
    ] {
        let mut arguments = command.to_vec();
        arguments.push("--json");
        let ended = world.run(&arguments).await;
        told += &format!("$ daybook {}\n", command.join(" "));
        for mut message in ended.messages() {
            settle(&world, "", &mut message);
            told += &format!("{message}\n");
        }
        told += &format!("exit code {}\n\n", ended.code.unwrap());
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    let _bound = settings.bind_to_scope();
    insta::assert_snapshot!("messages", told);
    world.end().await;
}
