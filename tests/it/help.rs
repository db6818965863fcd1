//! The help of every command, word for word: `cargo insta review`, or INSTA_UPDATE=always, takes over what was changed on
//! purpose.

use crate::support::program::command;

/// The commands that `daybook --help` lists.
fn commands(help: &str) -> Vec<&str> {
    let listed = help.split("Commands:\n").nth(1).unwrap();
    let listed = listed.split("\n\n").next().unwrap();
    listed
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|command| *command != "help")
        .collect()
}

async fn help_of(arguments: &[&str]) -> String {
    let output = command(&[], arguments)
        .arg("--help")
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The settings are the same everywhere: the snapshot of the program itself has them.
fn without_settings(help: &str) -> String {
    let Some((before, settings)) = help.split_once("\nSettings:\n") else {
        return help.to_owned();
    };
    // What comes after the settings, examples for example, starts at the margin.
    let after: String = settings
        .split_inclusive('\n')
        .skip_while(|line| line.starts_with(' ') || line.trim().is_empty())
        .collect();
    format!("{before}\n{after}")
}

#[tokio::test]
async fn the_help_of_each_command_is_as_it_was_read_last() {
    let help = help_of(&[]).await;
    let commands = commands(&help);
    assert!(commands.len() >= 14, "{commands:?}");
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    let _bound = settings.bind_to_scope();
    insta::assert_snapshot!("help", help);
    for command in commands {
        let help = without_settings(&help_of(&[command]).await);
        insta::assert_snapshot!(format!("help-{command}"), help);
    }
}
