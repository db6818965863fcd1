//! Usage by country, added up by the cluster from the documents of `stats-terms`.

use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::scope::Breakdown;
use super::terms::figure_name;
use super::{Plan, Projection};
use crate::elastic::Client;
use crate::error::Error;
use crate::event::{RecordType, StatType};

/// The most countries that are asked for; there are fewer.
const MOST_COUNTRIES: usize = 1000;

/// What a country has in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountryUsage {
    /// Empty if it is not known.
    pub country: String,
    /// Records involved.
    pub records: i64,
}

/// The records involved by country, the most first; none if the projection does not have them.
pub async fn usage_by_country(
    client: &Client,
    plan: &Plan,
) -> Result<Option<Vec<CountryUsage>>, Error> {
    #[derive(Deserialize)]
    struct Body {
        aggregations: Aggregations,
    }
    #[derive(Deserialize)]
    struct Aggregations {
        countries: Buckets,
    }
    #[derive(Deserialize)]
    struct Buckets {
        buckets: Vec<Value>,
    }
    const WHAT: &str = "adding up usage by country";
    let stat_types = plan.terms.stat_types(Breakdown::Countries);
    if stat_types.is_empty() {
        return Ok(None);
    }
    let path = format!("/{}/_search", plan.alias(Projection::Terms));
    let answer = client
        .request(Method::Post, &path, Some(&query(stat_types)), WHAT)
        .await?;
    let Buckets { buckets } = answer.read::<Body>(WHAT)?.aggregations.countries;
    let mut countries: Vec<CountryUsage> = buckets.iter().map(usage).collect();
    countries.retain(|usage| usage.records != 0);
    countries.sort_by(|a, b| (b.records, &a.country).cmp(&(a.records, &b.country)));
    Ok(Some(countries))
}

fn query(stat_types: &[StatType]) -> Value {
    let mut sums = json!({});
    for record_type in RecordType::ALL.map(RecordType::name) {
        for stat_type in stat_types {
            let (name, figure) = (stat_type.name(), figure_name(*stat_type));
            sums[format!("{record_type} {name}")] =
                json!({ "sum": { "field": format!("{record_type}.{name}.{figure}") } });
        }
    }
    json!({
        "size": 0,
        "query": { "term": { "dimension": Breakdown::Countries.name() } },
        "aggs": { "countries": {
            "terms": { "field": "country", "size": MOST_COUNTRIES, "missing": "" },
            "aggs": sums,
        } },
    })
}

fn usage(bucket: &Value) -> CountryUsage {
    let sums = bucket
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::values);
    // The cluster adds up in floating point, which is exact up to 2^53.
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number")]
    let records = sums
        .filter_map(|sum| sum.get("value")?.as_f64())
        .map(|sum| sum.round() as i64)
        .sum();
    CountryUsage {
        country: bucket["key"].as_str().unwrap_or_default().to_owned(),
        records,
    }
}
