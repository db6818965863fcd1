//! The layers of settings.
//!
//! clap reads the command line and the environment. A value of a lower layer (the credentials directory, then the
//! configuration file) takes the place of the setting's default, and clap reads the command line once more. So all values
//! pass the same parser, and clap tells which layer each came from.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::args::{AsCredential, CONFIG, SettingsArgs, definitions, is_secret};
use super::credentials::{credential, credential_file};
use super::setting::{Origin, Setting, nearest};
use crate::error::Error;

/// The configuration file of a package.
const PACKAGED_FILE: &str = "/etc/daybook/daybook.toml";

/// The settings of this run.
#[derive(Debug)]
pub struct Configuration {
    /// Their values, from all layers.
    pub args: SettingsArgs,
    /// What each was set to, and where.
    pub settings: Vec<Setting>,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
}

impl Configuration {
    /// Reads all layers; without a `file`, the one where packages have it, if it exists. `program` is the command line's definition, and `given` what it has read from the arguments of
    /// this process.
    pub fn read(program: Command, given: &ArgMatches, file: Option<&Path>) -> Result<Self, Error> {
        let known = definitions();
        refuse_secret_options(&known, given)?;
        let mut lower = Lower::default();
        lower.add(from_credentials(&known)?, given);
        let packaged = Path::new(PACKAGED_FILE);
        // One that may not be looked at is not ignored.
        let is_packaged = packaged.try_exists().unwrap_or(true);
        let file = file.or_else(|| is_packaged.then_some(packaged));
        if let Some(path) = file {
            lower.add(from_file(&known, path)?, given);
        }
        let (args, settings) = lower.read_again(program, &known)?;
        let file = file.map(Path::to_owned);
        Ok(Self {
            args,
            settings,
            file,
        })
    }
}

/// A value that a lower layer sets.
struct Value {
    name: String,
    text: SecretString,
    origin: Origin,
}

/// The values of the lower layers that no higher layer sets, by name.
#[derive(Default)]
struct Lower(BTreeMap<String, Value>);

impl Lower {
    /// Adds a layer below those that are there. A secret and the file that contains it are one setting.
    fn add(&mut self, layer: Vec<Value>, given: &ArgMatches) {
        let is_set = |name: &str| is_given(given, name) || self.0.contains_key(name);
        let is_new = |value: &Value| {
            let name = &value.name;
            let alternative = name
                .strip_suffix("_file")
                .map_or_else(|| format!("{name}_file"), str::to_owned);
            !is_set(name) && !is_set(&alternative)
        };
        let new: Vec<Value> = layer.into_iter().filter(is_new).collect();
        self.0
            .extend(new.into_iter().map(|value| (value.name.clone(), value)));
    }

    /// Reads the command line with these values as defaults.
    fn read_again(
        &self,
        program: Command,
        known: &[Arg],
    ) -> Result<(SettingsArgs, Vec<Setting>), Error> {
        let program = self.0.values().fold(program, |program, value| {
            let text = OsString::from(value.text.expose_secret());
            program.mut_arg(&value.name, |definition| definition.default_value(text))
        });
        let read = program
            .try_get_matches()
            .and_then(|matches| Ok((SettingsArgs::from_arg_matches(&matches)?, matches)));
        // It was read once, and each value has been checked.
        let (args, matches) = read.map_err(|error| Error::setting(first_line(&error)))?;
        let settings = known
            .iter()
            .map(|definition| self.setting(definition, &matches))
            .collect();
        Ok((args, settings))
    }

    fn setting(&self, definition: &Arg, matches: &ArgMatches) -> Setting {
        let name = definition.get_id().as_str();
        let origin = match matches.value_source(name) {
            Some(ValueSource::CommandLine) => Origin::option(definition),
            Some(ValueSource::EnvVariable) => Origin::variable(definition),
            _ => self
                .0
                .get(name)
                .map_or(Origin::Default, |value| value.origin.clone()),
        };
        let value = matches
            .get_raw(name)
            .and_then(|mut values| values.next())
            .map(|value| value.to_string_lossy().into_owned());
        Setting::new(definition, value, origin)
    }
}

/// Whether a setting is on the command line or in the environment.
fn is_given(given: &ArgMatches, name: &str) -> bool {
    // `value_source` panics if there is no such setting.
    given.try_contains_id(name).unwrap_or(false)
        && matches!(
            given.value_source(name),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
}

/// Every user of the machine can read command lines. A URL may be one nevertheless: it need not contain a password.
fn refuse_secret_options(known: &[Arg], given: &ArgMatches) -> Result<(), Error> {
    let on_command_line = known.iter().find(|definition| {
        definition.is_hide_set()
            && given.value_source(definition.get_id().as_str()) == Some(ValueSource::CommandLine)
    });
    let Some(definition) = on_command_line else {
        return Ok(());
    };
    let option = Origin::option(definition);
    let variable = Origin::variable(definition);
    Err(Error::usage(format!(
        "{} is not taken from the command line, which other users of this machine can read",
        option.detail()
    ))
    .hint(format!(
        "write it to a file and give {}-file, or set {}",
        option.detail(),
        variable.detail()
    )))
}

/// Settings in the credentials directory: secrets, and files with certificates.
fn from_credentials(known: &[Arg]) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    for definition in known {
        let name = definition.get_id().as_str();
        let credential_name = name.replace('_', "-");
        let text = match AsCredential::new(definition) {
            AsCredential::Text => credential(&credential_name)?,
            AsCredential::File => {
                credential_file(&credential_name).map(|path| path.display().to_string().into())
            }
            AsCredential::Never => None,
        };
        values.extend(text.map(|text| Value {
            name: name.to_owned(),
            text,
            origin: Origin::Credential(credential_name),
        }));
    }
    Ok(values)
}

/// The settings in the configuration file.
fn from_file(known: &[Arg], path: &Path) -> Result<Vec<Value>, Error> {
    let unreadable = || {
        Error::setting(format!(
            "the configuration file {} cannot be read",
            path.display()
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = "run the command as the user that may read it, or name another with --config";
        match error.kind() {
            ErrorKind::PermissionDenied => unreadable().caused_by(error).hint(hint),
            _ => unreadable().caused_by(error),
        }
    })?;
    // Only the message: the error's `Display` shows the line, which may contain a password.
    let table = toml::from_str::<toml::Table>(&text)
        .map_err(|error| unreadable().caused_by(error.message().to_owned()))?;
    let names: Vec<&str> = known
        .iter()
        .map(|definition| definition.get_id().as_str())
        .filter(|name| *name != CONFIG)
        .collect();
    let mut values = Vec::new();
    for (name, value) in table {
        let definition = known
            .iter()
            .find(|definition| names.contains(&name.as_str()) && *definition.get_id() == *name);
        let Some(definition) = definition else {
            let hint = nearest(&name, names.iter().copied()).map_or_else(
                || "`daybook config` lists the settings".to_owned(),
                |nearest| format!("did you mean {nearest}?"),
            );
            return Err(unreadable()
                .caused_by(format!("unknown setting '{name}'"))
                .hint(hint));
        };
        let text = checked(definition, value).map_err(|reason| unreadable().caused_by(reason))?;
        values.push(Value {
            name,
            text,
            origin: Origin::File(path.to_owned()),
        });
    }
    Ok(values)
}

/// A value of the configuration file as text that the setting's parser accepts.
fn checked(definition: &Arg, value: toml::Value) -> Result<SecretString, String> {
    let name = definition.get_id().as_str();
    let text = match value {
        toml::Value::String(text) => text,
        // The value of a secret must not be shown, nor changed by reading it as a number.
        _ if is_secret(definition) => {
            return Err(format!("{name} must be text: write it in quotes"));
        }
        toml::Value::Boolean(is_on) => is_on.to_string(),
        toml::Value::Integer(number) => number.to_string(),
        other => return Err(format!("{name} must be text, not {}", other.type_str())),
    };
    let option = definition.get_long().unwrap_or(name);
    let argument = format!("--{option}={text}");
    SettingsArgs::augment_args(Command::new("settings").no_binary_name(true))
        .try_get_matches_from([argument])
        .map_err(|error| {
            let reason = error.source().map(ToString::to_string);
            format!("{name}: {}", reason.unwrap_or_else(|| first_line(&error)))
        })?;
    Ok(text.into())
}

/// What clap has to say, without how the command is used.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
