//! The help of every command, word for word: `cargo insta review`, or INSTA_UPDATE=always, takes over what was changed on
//! purpose.

use serde_json::Value;

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

/// Whatever is wrong with a command line, a program gets it as it gets every other error.
#[tokio::test]
async fn a_refused_command_line_is_an_error_like_any_other() {
    for (arguments, message, hint) in [
        (
            &["apply", "--dry-rum"][..],
            "unexpected argument '--dry-rum' found",
            "tip: a similar argument exists: '--dry-run'; Usage: ",
        ),
        (
            &["aply"],
            "unrecognized subcommand 'aply'",
            "tip: a similar subcommand exists: 'apply'; Usage: ",
        ),
        (
            &["apply", "--day", "16.02.2020"],
            "invalid value '16.02.2020' for '--day <DAY>': ",
            "",
        ),
        (
            &["show"],
            "the following required arguments were not provided: <ENTRY>",
            "Usage: daybook show ",
        ),
        (
            &["apply", "--day", "2020-02-16", "--all"],
            "the argument '--day <DAY>' cannot be used with",
            "Usage: daybook apply ",
        ),
        (&[], "there is no command", "daybook --help"),
    ] {
        let output = command(&[], arguments)
            .arg("--json")
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"));
        assert_eq!(error["message_type"], "error", "{error}");
        assert_eq!(error["kind"], "invalid-arguments", "{error}");
        assert_eq!(error["exit_code"], 2, "{error}");
        for (member, expected) in [("message", message), ("hint", hint)] {
            let told = error[member].as_str().unwrap();
            assert!(
                told.starts_with(expected),
                "{arguments:?}, {member}: {told}"
            );
        }
        // People get clap's own words.
        let output = command(&[], arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.stdout.is_empty() && told.contains("--help") && !told.contains('{'),
            "{told}"
        );
    }
}
