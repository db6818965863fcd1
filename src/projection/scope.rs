//! Which terms have documents in `stats-terms`, as the setting says it: `countries,items:view`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::event::{Dimension, StatType};

/// What `stats-terms` breaks totals down by: a dimension of the ledger, or something derived from one.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Breakdown {
    /// By the country of the geocode.
    Countries,
    Geocodes,
    Items,
    Queries,
}

impl Breakdown {
    /// All of them, in the order of their names.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.first_chunk().unwrap();

    /// The name in the setting and in documents.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The dimension of the ledger whose terms it is made from.
    pub fn dimension(self) -> Dimension {
        match self {
            Self::Countries | Self::Geocodes => Dimension::Geocodes,
            Self::Items => Dimension::Items,
            Self::Queries => Dimension::Queries,
        }
    }

    /// Whether interactions of a stat type are counted by it.
    fn is_counted_for(self, stat_type: StatType) -> bool {
        match self {
            Self::Countries | Self::Geocodes => true,
            Self::Items => stat_type.counts_items(),
            Self::Queries => stat_type.counts_queries(),
        }
    }

    /// The stat types that are counted by it.
    fn stat_types(self) -> Vec<StatType> {
        StatType::ALL
            .into_iter()
            .filter(|stat_type| self.is_counted_for(*stat_type))
            .collect()
    }
}

/// Which terms have documents. The index records this, and must be rebuilt when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Scope {
    /// The stat types of each breakdown, in the order of [`Breakdown::ALL`], sorted.
    stat_types: [Vec<StatType>; Breakdown::ALL.len()],
}

/// What publishers ask for: usage by country, and which records are viewed most.
pub const DEFAULT: &str = "countries,items:view";

impl Scope {
    const NONE: &str = "none";

    /// Whether terms of this breakdown and stat type have documents.
    pub fn covers(&self, breakdown: Breakdown, stat_type: StatType) -> bool {
        self.stat_types(breakdown).contains(&stat_type)
    }

    /// The stat types of a breakdown whose terms have documents.
    pub fn stat_types(&self, breakdown: Breakdown) -> &[StatType] {
        &self.stat_types[breakdown as usize]
    }

    /// The stat types of which a dimension's terms are needed.
    pub fn stat_types_of(&self, dimension: Dimension) -> Vec<StatType> {
        let is_needed = |stat_type: &StatType| {
            Breakdown::ALL.into_iter().any(|breakdown| {
                breakdown.dimension() == dimension && self.covers(breakdown, *stat_type)
            })
        };
        StatType::ALL.into_iter().filter(is_needed).collect()
    }

    /// Whether nothing is covered, so that there is no index.
    pub fn is_empty(&self) -> bool {
        self.stat_types.iter().all(Vec::is_empty)
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let mut scope = Self {
            stat_types: Default::default(),
        };
        if text.trim() == Self::NONE {
            return Ok(scope);
        }
        for part in text.split(',') {
            let (name, stat_types) = match part.split_once(':') {
                Some((name, stat_types)) => (name.trim(), Some(stat_types)),
                None => (part.trim(), None),
            };
            let breakdown: Breakdown = name
                .parse()
                .map_err(|_| InvalidScope::UnknownBreakdown(name.to_owned()))?;
            let chosen = match stat_types {
                None => breakdown.stat_types(),
                Some(names) => names
                    .split('+')
                    .map(|name| stat_type(breakdown, name.trim()))
                    .collect::<Result<_, _>>()?,
            };
            let covered = &mut scope.stat_types[breakdown as usize];
            covered.extend(chosen);
            covered.sort();
            covered.dedup();
        }
        Ok(scope)
    }
}

fn stat_type(breakdown: Breakdown, name: &str) -> Result<StatType, InvalidScope> {
    name.parse()
        .ok()
        .filter(|stat_type| breakdown.is_counted_for(*stat_type))
        .ok_or_else(|| InvalidScope::UnknownStatType(name.to_owned(), breakdown))
}

/// The setting in its shortest form.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str(Self::NONE);
        }
        let mut comma = "";
        for breakdown in Breakdown::ALL {
            let stat_types = self.stat_types(breakdown);
            if stat_types.is_empty() {
                continue;
            }
            write!(f, "{comma}{}", breakdown.name())?;
            comma = ",";
            if stat_types.len() < breakdown.stat_types().len() {
                write!(f, ":{}", joined(stat_types, "+"))?;
            }
        }
        Ok(())
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

fn joined(stat_types: &[StatType], separator: &str) -> String {
    let names: Vec<&str> = stat_types
        .iter()
        .map(|stat_type| stat_type.name())
        .collect();
    names.join(separator)
}

/// Why a setting is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    #[error(
        "'{0}' is unknown: give some of countries, geocodes, items, queries, separated by commas, or none"
    )]
    UnknownBreakdown(String),
    #[error("'{0}' is not a stat type of {name}: after the colon, give some of {known}, joined by +",
        name = .1.name(), known = joined(&.1.stat_types(), ", "))]
    UnknownStatType(String, Breakdown),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_understood_in_any_order_and_shown_in_its_shortest_form() {
        for (setting, shown) in [
            ("countries,items:view", "countries,items:view"),
            (" items : view , countries ", "countries,items:view"),
            ("items:view,items:seen", "items"),
            ("items,items:view", "items"),
            (
                "queries,items,geocodes,countries",
                "countries,geocodes,items,queries",
            ),
            ("queries:seen+search", "queries:search+seen"),
            ("queries:download+mapping+search+seen", "queries"),
            ("countries:view+view", "countries:view"),
            (" none ", "none"),
        ] {
            let scope: Scope = setting.parse().unwrap();
            assert_eq!(scope.to_string(), shown, "{setting}");
            assert_eq!(shown.parse(), Ok(scope), "{setting}");
        }
    }

    #[test]
    fn a_name_that_means_nothing_is_refused_with_those_that_do() {
        for (setting, error) in [
            (
                "colours",
                "'colours' is unknown: give some of countries, geocodes, items, queries",
            ),
            ("", "'' is unknown"),
            ("items,", "'' is unknown"),
            ("items,none", "'none' is unknown"),
            ("items+queries", "'items+queries' is unknown"),
            (
                "countries:views",
                "'views' is not a stat type of countries: after the colon, give some of download, mapping, search, seen, view",
            ),
            (
                "items:search",
                "'search' is not a stat type of items: after the colon, give some of seen, view, joined by +",
            ),
            ("queries:view", "'view' is not a stat type of queries"),
            ("items:", "'' is not a stat type of items"),
            ("items:view:seen", "'view:seen' is not a stat type of items"),
        ] {
            let refused = setting.parse::<Scope>().unwrap_err().to_string();
            assert!(refused.starts_with(error), "{setting}: {refused}");
        }
    }

    #[test]
    fn only_what_is_covered_is_needed_of_the_ledger() {
        let scope: Scope = DEFAULT.parse().unwrap();
        assert!(scope.covers(Breakdown::Countries, StatType::Search));
        assert!(scope.covers(Breakdown::Items, StatType::View));
        assert!(!scope.covers(Breakdown::Items, StatType::Seen));
        assert!(!scope.covers(Breakdown::Geocodes, StatType::View));
        assert_eq!(scope.stat_types_of(Dimension::Geocodes), StatType::ALL);
        assert_eq!(scope.stat_types_of(Dimension::Items), [StatType::View]);
        assert_eq!(scope.stat_types_of(Dimension::Queries), []);
        assert!(!scope.is_empty() && "none".parse::<Scope>().unwrap().is_empty());
    }
}
