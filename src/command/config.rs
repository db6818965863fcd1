//! `daybook config`: the settings, and where each came from. Connects to nothing.

use std::path::PathBuf;

use serde_json::json;

use crate::config::{Configuration, Setting, unknown_names};
use crate::error::Exit;
use crate::output::Output;
use crate::printable::one_line;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A value comes from the command line, the environment, the credentials directory, the configuration
file or the program's default: the first of these that has one. Passwords and keys are masked.

Examples:
  daybook config
  daybook config --config /etc/daybook/daybook.toml")]
pub struct ConfigArgs {}

/// Runs the command.
pub fn run(_: ConfigArgs, configuration: &Configuration, output: Output) -> Exit {
    let longest = |of: fn(&Setting) -> usize| configuration.settings.iter().map(of).max();
    let width = longest(|setting| setting.name.len()).unwrap_or_default();
    for setting in &configuration.settings {
        output.report("setting", setting, text(setting, width));
    }
    for problem in ignored() {
        let text = format!("ignored: {}", one_line(&problem));
        output.report("setting_ignored", json!({ "problem": problem }), text);
    }
    Exit::Done
}

/// What looks like a setting, but is ignored.
pub(super) fn ignored() -> Vec<String> {
    let variables: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .collect();
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    unknown_names(&variables, credentials.as_deref())
}

fn text(setting: &Setting, width: usize) -> String {
    let value = setting
        .value
        .as_deref()
        .map_or_else(|| "(not set)".into(), one_line);
    let origin = setting.origin.to_string();
    format!("{:<width$}  {value}  [{}]", setting.name, one_line(&origin))
}
