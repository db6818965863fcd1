//! What `daybook config` shows of a setting: its value without secrets, and where it came from.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Arg;
use serde::Serialize;

use super::args::{AsCredential, definitions, is_secret};

/// What stands for a secret.
const MASK: &str = "****";

/// Variables that begin as the settings do, and are read elsewhere.
const OTHER_VARIABLES: [&str; 1] = ["DAYBOOK_FROM_INDEX"];

/// A setting of this run.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// Its name in the configuration file.
    pub name: String,
    /// Its value, with secrets masked; none if it is not set.
    pub value: Option<String>,
    #[serde(flatten)]
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "origin", content = "origin_name", rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// A file in the credentials directory.
    Credential(String),
    /// An environment variable.
    Environment(String),
    /// An option on the command line.
    CommandLine(String),
}

impl Origin {
    /// The command line, for a setting.
    pub(super) fn option(definition: &Arg) -> Self {
        Self::CommandLine(format!("--{}", definition.get_long().unwrap_or_default()))
    }

    /// The environment, for a setting.
    pub(super) fn variable(definition: &Arg) -> Self {
        let name = definition.get_env().unwrap_or_default();
        Self::Environment(name.to_string_lossy().into_owned())
    }

    /// The name of the option, the variable, the credential or the file.
    pub fn detail(&self) -> String {
        match self {
            Self::Default => String::new(),
            Self::File(path) => path.display().to_string(),
            Self::Credential(name) | Self::Environment(name) | Self::CommandLine(name) => {
                name.clone()
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Default => return f.write_str("default"),
            Self::File(_) => "file",
            Self::Credential(_) => "credential",
            Self::Environment(_) => "environment",
            Self::CommandLine(_) => "command line",
        };
        write!(f, "{kind} {}", self.detail())
    }
}

impl Setting {
    pub(super) fn new(definition: &Arg, value: Option<String>, origin: Origin) -> Self {
        let value = value.map(|value| {
            if definition.get_id() == "ping_url" {
                // Whoever knows its path can send pings.
                MASK.to_owned()
            } else if is_secret(definition) {
                masked(&value)
            } else {
                value
            }
        });
        Self {
            name: definition.get_id().to_string(),
            value,
            origin,
        }
    }
}

/// A secret, or URLs that may contain one, without it. In doubt, more is masked.
fn masked(value: &str) -> String {
    // Postgres separates hosts by commas, Elasticsearch whole URLs.
    let urls: Vec<&str> = if value.matches("://").count() == 1 {
        vec![value]
    } else {
        value.split(',').collect()
    };
    let masked: Vec<String> = urls
        .into_iter()
        .map(|url| match url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", without_password(rest)),
            None => MASK.to_owned(),
        })
        .collect();
    masked.join(",")
}

/// What follows the scheme of a URL. A password may contain any character, also those that should be encoded: it ends at the
/// last `@`.
fn without_password(rest: &str) -> String {
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    let login = login.map_or_else(String::new, |login| match login.split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}@"),
        None => format!("{login}@"),
    });
    let Some((place, query)) = place.split_once('?') else {
        return login + place;
    };
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("password") => {
                format!("{name}={MASK}")
            }
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{login}{place}?{}", parameters.join("&"))
}

/// The known name that a misspelt one most resembles, if any does.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    /// As clap has it for options.
    const LEAST: f64 = 0.7;
    let written = name.to_ascii_lowercase().replace('-', "_");
    known
        .map(|known| (strsim::jaro(&written, known), known))
        .filter(|(likeness, _)| *likeness > LEAST)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

/// Variables and credentials that look as if they were meant as settings but are not: each with the nearest known name.
pub fn unknown_names(variables: &[String], credentials: Option<&Path>) -> Vec<String> {
    let known = definitions();
    let name_of = |definition: &Arg| Origin::variable(definition).detail();
    let of_settings: Vec<String> = known.iter().map(name_of).collect();
    let is_known = |name: &String| {
        of_settings.contains(name) || OTHER_VARIABLES.iter().any(|other| name.starts_with(other))
    };
    let mut unknown: Vec<String> = variables
        .iter()
        .filter(|name| name.starts_with("DAYBOOK_") && !is_known(name))
        .map(|name| {
            let lower = name.to_ascii_lowercase();
            let all = of_settings.iter().map(|name| name.to_ascii_lowercase());
            let all: Vec<String> = all.collect();
            suggestion(
                name,
                nearest(&lower, all.iter().map(String::as_str)),
                str::to_ascii_uppercase,
            )
        })
        .collect();
    let names: Vec<&str> = known
        .iter()
        .filter(|definition| AsCredential::new(definition) != AsCredential::Never)
        .map(|definition| definition.get_id().as_str())
        .collect();
    let files = credentials.and_then(|folder| std::fs::read_dir(folder).ok());
    let mut files: Vec<String> = files
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    files.sort();
    unknown.extend(
        files
            .iter()
            .filter(|file| !file.starts_with("from-index"))
            .filter(|file| !names.iter().any(|name| name.replace('_', "-") == **file))
            .map(|file| {
                let near = nearest(file, names.iter().copied());
                suggestion(&format!("the credential {file}"), near, |near| {
                    near.replace('_', "-")
                })
            }),
    );
    unknown
}

fn suggestion(name: &str, nearest: Option<&str>, shown: impl Fn(&str) -> String) -> String {
    match nearest {
        Some(near) => format!("{name} is not a setting; did you mean {}?", shown(near)),
        None => format!("{name} is not a setting"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_left_in_what_is_shown() {
        for (value, shown) in [
            ("secret", "****"),
            ("postgres://u:secret@h:5432/d", "postgres://u:****@h:5432/d"),
            ("postgres://u:se/c?r@e:t@h/d", "postgres://u:****@h/d"),
            ("postgres://u@h1:1,h2:2/d", "postgres://u@h1:1,h2:2/d"),
            (
                "postgres:///d?host=/run&password=secret&sslmode=require",
                "postgres:///d?host=/run&password=****&sslmode=require",
            ),
            (
                "http://u:secret@h:9200,http://v:secret@h2",
                "http://u:****@h:9200,http://v:****@h2",
            ),
            ("http://h:9200", "http://h:9200"),
            (
                "secret,http://h,http://u:secret@h",
                "****,http://h,http://u:****@h",
            ),
        ] {
            assert_eq!(masked(value), shown, "{value}");
        }
    }

    #[test]
    fn a_misspelt_name_is_taken_for_the_one_it_resembles() {
        let known = ["ledger_url", "source_url", "memory"];
        let nearest = |name| nearest(name, known.into_iter());
        assert_eq!(nearest("ledger_ulr"), Some("ledger_url"));
        assert_eq!(nearest("LEDGER-URL"), Some("ledger_url"));
        assert_eq!(nearest("colour"), None);
    }
}
