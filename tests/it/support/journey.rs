//! Follows what `daybook doctor` says to do next, from nothing to a first applied day.

use super::program::Ended;
use super::{Event, RECORDSET, World};
use crate::commands::days_ago;

/// Somebody who has nothing but the program.
pub trait Newcomer {
    /// Runs the program with what is set so far.
    async fn run(&self, arguments: &[&str]) -> Ended;

    /// Does what a hint says about a setting.
    fn set(&mut self, hint: &str, variable: &str, value: &str);
}

/// Follows the hints, in a world that is empty. Returns those that were followed.
pub async fn follow(world: &World, newcomer: &mut impl Newcomer) -> Vec<String> {
    let mut done: Vec<String> = Vec::new();
    loop {
        let ended = newcomer.run(&["doctor", "--json"]).await;
        let summary = ended.messages_of("doctor").pop();
        let summary = summary.unwrap_or_else(|| panic!("no summary: {ended:?}"));
        assert_eq!(ended.code == Some(0), summary["failed"] == 0, "{summary}");
        let next = summary["next"].as_str().unwrap_or_default().to_owned();
        assert!(done.len() < 10, "{done:?}: {next}");
        if next.contains("set DAYBOOK_LEDGER_URL") {
            newcomer.set(&next, "DAYBOOK_LEDGER_URL", &world.ledger_url);
        } else if next.contains("set DAYBOOK_ELASTICSEARCH_URL") {
            newcomer.set(&next, "DAYBOOK_ELASTICSEARCH_URL", &world.elasticsearch_url);
        } else if next.contains("search API's tables stats and queries") {
            // They are somebody else's to create.
            world.create_source().await;
            let event = Event::search(1, &days_ago(1), RECORDSET, 5);
            world.log(&[event]).await;
        } else if let Some(sql) = next.split_once("owner: ").map(|(_, sql)| sql) {
            world.execute(sql).await;
        } else if let Some(command) = command_in(&next) {
            newcomer.run(&command).await.assert_exit(0);
        } else {
            newcomer.run(&["status"]).await.assert_exit(0).tells(&[
                &format!("applied          {0} to {0}", days_ago(1)),
                "up to date with entry 1",
            ]);
            ended.assert_exit(0);
            return done;
        }
        done.push(next);
    }
}

/// The first command of daybook's in a text, without the program's name.
pub fn command_in(text: &str) -> Option<Vec<&str>> {
    let (_, rest) = text.split_once("`daybook ")?;
    let (command, _) = rest.split_once('`')?;
    Some(command.split(' ').collect())
}

/// Checks that these steps, and no others, were taken.
#[track_caller]
pub fn assert_steps(done: &[String], steps: &[&str]) {
    assert_eq!(done.len(), steps.len(), "{done:#?}");
    for step in steps {
        let is_done = done.iter().any(|done| done.contains(step));
        assert!(is_done, "{step}: {done:#?}");
    }
}
