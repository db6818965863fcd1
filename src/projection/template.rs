//! Index templates of the cluster: what they must not change in an index, and which of them did.
//!
//! Creating an index sets everything explicitly, which overrides most of what a template says. The rest is read back
//! while the index is still empty. Aliases that a template added are removed; any other difference is an error that
//! names the template.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::elastic::{Client, Method};
use crate::error::{Error, ErrorKind};

/// What an index should be.
#[derive(Clone, Debug)]
pub struct Design {
    pub mapping: Value,
    /// By their full names.
    pub settings: Value,
    /// Whether the alias points to it from the beginning.
    pub serving: bool,
}

/// An index as Elasticsearch created it.
#[derive(Debug, Deserialize)]
struct Found {
    #[serde(default)]
    aliases: BTreeMap<String, Value>,
    #[serde(default)]
    mappings: Value,
    #[serde(default)]
    settings: Map<String, Value>,
}

/// Settings that are not sent, because older versions of Elasticsearch do not know them, and the values that they may
/// have.
const NOT_GIVEN: [(&str, &str); 2] = [
    ("index.mode", "standard"),
    ("index.mapping.source.mode", "stored"),
];

/// Refuses an index that does not match its design, and removes aliases that a template added.
pub(super) async fn read_back(
    client: &Client,
    alias: &str,
    physical: &str,
    design: &Design,
) -> Result<(), Error> {
    let what = format!("reading back the index {physical}");
    let answer = client
        .request(
            Method::Get,
            &format!("/{physical}?flat_settings=true"),
            None,
            &what,
        )
        .await?;
    let Some(mut found) = answer
        .read::<BTreeMap<String, Found>>(&what)?
        .remove(physical)
    else {
        return Err(Error::new(
            ErrorKind::ElasticsearchRefused,
            format!("{what}: the answer is about another index"),
        ));
    };
    let own = found.aliases.remove(alias);
    let mut differences = differences(design, &found);
    if let Some(own) = own.filter(|own| *own != json!({})) {
        differences.push(format!("the alias {alias} is {own}"));
    }
    if !differences.is_empty() {
        let blamed = blame(client, physical).await;
        return Err(Error::new(
            ErrorKind::IndexAltered,
            format!(
                "the index {physical} was not created as requested: {}; {blamed} changes it",
                differences.join(", ")
            ),
        )
        .hint(remedy(alias)));
    }
    take_away(client, physical, found.aliases.keys()).await
}

/// What to do about a template that changes an index.
pub fn remedy(alias: &str) -> String {
    format!(
        "exclude {alias}-g* from that template, or add an empty template for {alias}-g* with a higher priority; then run the command again"
    )
}

/// The templates that would change a new index of an alias, each with what it changes. Only reads.
pub async fn interfering(
    client: &Client,
    alias: &str,
    design: &Design,
) -> Result<Vec<String>, Error> {
    let what = "looking up index templates";
    let physical = format!("{alias}-g000001");
    let composable = client
        .request(Method::Get, "/_index_template", None, what)
        .await?;
    let composable = composable.read::<Composable>(what)?.index_templates;
    let applies = composable
        .into_iter()
        .filter(|one| one.index_template.patterns.apply_to(&physical))
        .max_by_key(|one| one.index_template.patterns.priority.unwrap_or(0));
    // If a composable template applies, no legacy one does.
    let templates = if let Some(Named {
        name,
        index_template,
    }) = applies
    {
        vec![(name, index_template.template)]
    } else {
        let legacy = client
            .request(Method::Get, "/_template", None, what)
            .await?;
        let legacy = legacy.read::<BTreeMap<String, Legacy>>(what)?.into_iter();
        legacy
            .filter(|(_, template)| template.patterns.apply_to(&physical))
            .map(|(name, template)| (name, template.content))
            .collect()
    };
    let changes = templates.into_iter().map(|(name, content)| {
        let changed = content.changes(design);
        (name, changed)
    });
    Ok(changes
        .filter(|(_, changed)| !changed.is_empty())
        .map(|(name, changed)| format!("{name} ({})", changed.join(", ")))
        .collect())
}

/// Removes aliases that a template added: searches on them would count several generations.
async fn take_away(
    client: &Client,
    physical: &str,
    aliases: impl Iterator<Item = &String>,
) -> Result<(), Error> {
    let aliases: Vec<&String> = aliases.collect();
    if aliases.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        index = physical,
        ?aliases,
        "an index template added aliases: removed"
    );
    let remove = json!({ "actions": [{ "remove": { "index": physical, "aliases": aliases } }] });
    let what = format!("removing aliases of {physical} that a template added");
    client
        .request(Method::Post, "/_aliases", Some(&remove), &what)
        .await
        .map(drop)
}

/// Where the index differs from its design, with the values found.
fn differences(design: &Design, found: &Found) -> Vec<String> {
    let mut differences = Vec::new();
    // What is sent overrides templates. The number of shards may differ in an index that was created by an earlier run.
    let settings = design.settings.as_object().into_iter().flatten();
    for (name, asked) in settings.filter(|(name, _)| *name != "index.number_of_shards") {
        let came_out = found.settings.get(name).unwrap_or(&Value::Null);
        if text(asked) != text(came_out) {
            differences.push(format!("{name} is {}", text(came_out)));
        }
    }
    for (name, expected) in NOT_GIVEN {
        if let Some(came_out) = found.settings.get(name)
            && !text(came_out).eq_ignore_ascii_case(expected)
        {
            differences.push(format!("{name} is {}", text(came_out)));
        }
    }
    mapping_differences(&design.mapping, &found.mappings, &mut differences);
    differences
}

/// A setting in the form in which Elasticsearch returns it.
fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether an index of this mapping keeps the whole source of its documents.
pub(super) fn keeps_source(mapping: &Value) -> bool {
    let Some(source) = mapping.get("_source") else {
        return true;
    };
    let is_empty = |list: &str| {
        source
            .get(list)
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
    };
    source.get("enabled") != Some(&Value::Bool(false))
        && source
            .get("mode")
            .is_none_or(|mode| text(mode).eq_ignore_ascii_case("stored"))
        && is_empty("includes")
        && is_empty("excludes")
}

/// Additional fields do not matter: no document has them.
fn mapping_differences(asked: &Value, found: &Value, differences: &mut Vec<String>) {
    if !keeps_source(found) {
        differences.push(format!("_source is {}", found["_source"]));
    }
    if found["_routing"]["required"] == true {
        differences.push("_routing is required".to_owned());
    }
    if found["dynamic"] != asked["dynamic"] {
        differences.push(format!("dynamic is {}", found["dynamic"]));
    }
    field_differences("", asked, found, &found["runtime"], differences);
}

fn field_differences(
    path: &str,
    asked: &Value,
    found: &Value,
    runtime: &Value,
    differences: &mut Vec<String>,
) {
    for (name, asked) in asked["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let found = &found["properties"][name];
        if own(asked) != own(found) {
            differences.push(format!("{path} is {found}"));
        } else if let Some(field) = runtime.get(&path) {
            differences.push(format!("{path} is the runtime field {field}"));
        }
        field_differences(&path, asked, found, runtime, differences);
    }
}

/// A field without its sub-fields and its defaults, as Elasticsearch returns it.
fn own(field: &Value) -> Option<Map<String, Value>> {
    let mut own = field.as_object()?.clone();
    own.remove("properties");
    for (name, default) in [
        ("type", "object"),
        ("format", "strict_date_optional_time||epoch_millis"),
    ] {
        if own.get(name).is_some_and(|value| value == default) {
            own.remove(name);
        }
    }
    Some(own)
}

/// Names the templates that apply to an index.
pub(super) async fn blame(client: &Client, physical: &str) -> String {
    match matching(client, physical).await {
        Some(names) if !names.is_empty() => format!("the index template {}", names.join(", ")),
        _ => "an index template (`GET _index_template` and `GET _template` list them)".to_owned(),
    }
}

#[derive(Deserialize)]
struct Composable {
    #[serde(default)]
    index_templates: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    index_template: Template,
}

/// A composable template. What its component templates say is not known.
#[derive(Deserialize)]
struct Template {
    #[serde(flatten)]
    patterns: Patterns,
    #[serde(default)]
    template: Content,
}

#[derive(Deserialize)]
struct Legacy {
    #[serde(flatten)]
    patterns: Patterns,
    #[serde(flatten)]
    content: Content,
}

/// What a template says about new indices.
#[derive(Default, Deserialize)]
struct Content {
    #[serde(default)]
    settings: Value,
    #[serde(default)]
    mappings: Value,
}

impl Content {
    /// What it would change in an index of this design: what the request that creates the index does not override.
    fn changes(&self, design: &Design) -> Vec<String> {
        let mut mapping = design.mapping.clone();
        overlay(&mut mapping, &self.mappings);
        let mut changes = Vec::new();
        mapping_differences(&design.mapping, &mapping, &mut changes);
        for (name, expected) in NOT_GIVEN {
            let setting = self
                .settings
                .pointer(&format!("/{}", name.replace('.', "/")));
            if let Some(found) = setting
                && !text(found).eq_ignore_ascii_case(expected)
            {
                changes.push(format!("{name} is {}", text(found)));
            }
        }
        changes
    }
}

/// Adds what a template says to a mapping. What the mapping says itself stays.
fn overlay(mapping: &mut Value, template: &Value) {
    let (Value::Object(mapping), Value::Object(template)) = (mapping, template) else {
        return;
    };
    // A field is defined by the request or by the template, as a whole.
    if mapping.get("type").is_some_and(Value::is_string) {
        return;
    }
    for (name, said) in template {
        match mapping.get_mut(name) {
            Some(own) => overlay(own, said),
            None => drop(mapping.insert(name.clone(), said.clone())),
        }
    }
}

#[derive(Deserialize)]
struct Patterns {
    #[serde(default)]
    index_patterns: Vec<String>,
    #[serde(default)]
    priority: Option<i64>,
}

impl Patterns {
    fn apply_to(&self, index: &str) -> bool {
        self.index_patterns
            .iter()
            .any(|pattern| matches(pattern, index))
    }
}

/// The composable template that applies, which is the one with the highest priority, or else all legacy ones that do.
/// `None` if they cannot be read.
async fn matching(client: &Client, physical: &str) -> Option<Vec<String>> {
    let what = "looking up index templates";
    let answer = client
        .request(Method::Get, "/_index_template", None, what)
        .await
        .ok()?;
    let composable = answer.read::<Composable>(what).ok()?.index_templates;
    let applies = composable
        .into_iter()
        .filter(|one| one.index_template.patterns.apply_to(physical));
    if let Some(Named { name, .. }) =
        applies.max_by_key(|one| one.index_template.patterns.priority.unwrap_or(0))
    {
        return Some(vec![name]);
    }
    let answer = client
        .request(Method::Get, "/_template", None, what)
        .await
        .ok()?;
    let legacy = answer.read::<BTreeMap<String, Patterns>>(what).ok()?;
    Some(
        legacy
            .into_iter()
            .filter(|(_, patterns)| patterns.apply_to(physical))
            .map(|(name, _)| name)
            .collect(),
    )
}

/// Whether a pattern matches a hidden index. `*` stands for any text; a pattern of `*` alone does not match hidden
/// indices.
fn matches(pattern: &str, index: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| index.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(place) = rest.find(part) else {
            return false;
        };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last) && pattern.bytes().any(|byte| byte != b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_in_elasticsearch() {
        for pattern in [
            "stats*",
            "s*",
            "*-g000001",
            "st*ts-*1",
            "stats-g000001",
            "*stats*",
            "stats**g*",
        ] {
            assert!(matches(pattern, "stats-g000001"), "{pattern}");
        }
        for pattern in [
            "*",
            "**",
            "",
            "stats",
            "stat-*",
            "*-g00001",
            "stats-g000001x",
            "*g*g*",
            "stats-g000001*1",
        ] {
            assert!(!matches(pattern, "stats-g000001"), "{pattern}");
        }
    }

    #[test]
    fn what_readers_would_notice_is_a_difference_and_nothing_else() {
        let asked = json!({ "dynamic": "strict", "properties": {
            "day": { "type": "date", "format": "strict_date_optional_time||epoch_millis" },
            "search": { "properties": { "total": { "type": "long" }, "list": { "type": "object", "enabled": false } } },
        } });
        let differences = |changes: &[(&str, Value)]| {
            let mut found = asked.clone();
            found["properties"]["day"]
                .as_object_mut()
                .unwrap()
                .remove("format");
            for (path, value) in changes {
                let (parent, name) = path.rsplit_once('/').unwrap();
                found.pointer_mut(parent).unwrap()[name] = value.clone();
            }
            let mut differences = Vec::new();
            mapping_differences(&asked, &found, &mut differences);
            differences
        };
        for (path, value) in [
            ("/properties/another", json!({ "type": "keyword" })),
            (
                "/properties/search/properties/list/properties",
                json!({ "x": { "type": "long" } }),
            ),
            ("/_source", json!({ "enabled": true })),
            ("/_source", json!({ "excludes": [] })),
            ("/runtime", json!({ "another": { "type": "keyword" } })),
            ("/date_detection", json!(false)),
        ] {
            assert_eq!(differences(&[(path, value)]), [""; 0], "{path}");
        }
        for (path, value) in [
            ("/properties/day/format", json!("yyyy")),
            (
                "/properties/day/fields",
                json!({ "x": { "type": "keyword" } }),
            ),
            ("/properties/search/properties/total/type", json!("keyword")),
            ("/properties/search/properties/list/enabled", json!(true)),
            ("/_source", json!({ "enabled": false })),
            ("/_source", json!({ "excludes": ["x"] })),
            ("/_source", json!({ "mode": "synthetic" })),
            ("/_routing", json!({ "required": true })),
            ("/runtime", json!({ "search.total": { "type": "keyword" } })),
            ("/dynamic", json!("true")),
        ] {
            assert_eq!(
                differences(&[(path, value.clone())]).len(),
                1,
                "{path} {value}"
            );
        }
    }
}
