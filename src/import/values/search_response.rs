//! A saved search response: whether it has every document that the search found.

use serde::Deserialize;

/// The parts of a search response other than its hits.
#[derive(Debug, Default, Deserialize)]
struct SearchAnswer {
    #[serde(default)]
    timed_out: bool,
    #[serde(rename = "_shards", default)]
    shards: Shards,
    #[serde(default)]
    hits: Hits,
}

#[derive(Debug, Default, Deserialize)]
struct Shards {
    #[serde(default)]
    failed: u64,
}

#[derive(Debug, Default, Deserialize)]
struct Hits {
    #[serde(default)]
    total: Option<Total>,
}

/// The number of documents found: a number; since version 7 an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Total {
    Number(u64),
    Object { value: u64 },
}

/// What `response`, without its hits, says is missing if it had `seen` of them.
pub(super) fn missing(response: &[u8], seen: u64) -> Option<String> {
    // If the response cannot be parsed, its documents count anyway.
    let answer: SearchAnswer = serde_json::from_slice(response).unwrap_or_default();
    let total = match answer.hits.total {
        Some(Total::Number(total) | Total::Object { value: total }) => total,
        None => seen,
    };
    let failed = answer.shards.failed;
    if answer.timed_out || failed > 0 {
        return Some(format!(
            "the search response is incomplete: {failed} shards failed or it timed out"
        ));
    }
    (seen < total).then(|| {
        format!("the search response holds {seen} of {total} documents: save the others as well, or use --from-index")
    })
}
