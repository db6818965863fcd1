//! How new indices are spread over the nodes of a cluster: the settings of their shards and replicas. No IO.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

/// The shards of new indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Primary shards of each new index.
    pub shards: u32,
    pub replicas: Replicas,
}

impl Layout {
    /// The settings of an index that serves readers.
    pub(super) fn serving(self) -> Map<String, Value> {
        let mut settings = self.replicas.settings();
        settings.insert("index.number_of_shards".to_owned(), self.shards.into());
        settings
    }
}

/// Copies of each shard beside the primary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    Fixed(u32),
    /// As many as there are nodes for, from a number to another one, or to one less than there are nodes.
    Expanding(u32, Option<u32>),
}

impl Replicas {
    /// As many as there are nodes for, but no more than this.
    pub const DEFAULT: &str = "0-1";
    const MOST: u32 = 100;

    /// The settings that make it so, whatever an index had before.
    pub(super) fn settings(self) -> Map<String, Value> {
        let settings = match self {
            Self::Fixed(replicas) => json!({
                "index.auto_expand_replicas": false, "index.number_of_replicas": replicas,
            }),
            Self::Expanding(..) => json!({ "index.auto_expand_replicas": self.to_string() }),
        };
        settings.as_object().cloned().unwrap_or_default()
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(replicas) => write!(f, "{replicas}"),
            Self::Expanding(least, Some(most)) => write!(f, "{least}-{most}"),
            Self::Expanding(least, None) => write!(f, "{least}-all"),
        }
    }
}

impl FromStr for Replicas {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|number| *number <= Self::MOST);
        let replicas = match text.split_once('-') {
            None => number(text).map(Self::Fixed),
            Some((least, "all")) => number(least).map(|least| Self::Expanding(least, None)),
            Some((least, most)) => match (number(least), number(most)) {
                (Some(least), Some(most)) if least <= most => {
                    Some(Self::Expanding(least, Some(most)))
                }
                _ => None,
            },
        };
        replicas.ok_or_else(|| {
            format!(
                "'{text}' is not a number of replicas: give one of up to {}, or a range such as 0-1 or 0-all",
                Self::MOST
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_a_number_or_a_range_that_the_cluster_expands() {
        for text in ["0", "2", "0-1", "1-5", "0-all", "3-3"] {
            assert_eq!(text.parse::<Replicas>().unwrap().to_string(), text);
        }
        for text in ["", "-1", "1-", "2-1", "101", "0-101", "all", "1-2-3", " 1"] {
            assert!(text.parse::<Replicas>().is_err(), "{text}");
        }
    }
}
