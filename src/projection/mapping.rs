//! The mappings: which fields of a document can be searched.
//!
//! Readers sum counts and totals by recordset and date, and ask on which days a record was viewed. The lists of queries
//! and geocodes are only read back. They are not indexed, so nothing in a geocode can make Elasticsearch refuse a
//! document.
//!
//! Readers send dates as timestamps, months, years and milliseconds, as the old index accepted them; documents hold
//! plain dates.

use serde_json::{Value, json};

use super::terms::figure_name;
use crate::event::{RecordType, StatType};

/// A date in Elasticsearch's default format, set explicitly because an index template could change it.
fn date() -> Value {
    json!({ "type": "date", "format": "strict_date_optional_time||epoch_millis" })
}

pub(super) fn daily() -> Value {
    let mut mapping = json!({ "dynamic": "strict", "properties": {
        "recordset_id": { "type": "keyword" },
        "harvest_date": date(),
        "day": date(),
        "entry_id": { "type": "long" },
        "lists_omitted": { "type": "boolean" },
    } });
    for record_type in RecordType::ALL {
        for stat_type in StatType::ALL {
            // Doc values would allow sorting and aggregating by term, which stats-terms is for.
            let items = if stat_type.counts_items() {
                json!({ "properties": {
                    "term": { "type": "keyword", "doc_values": false },
                    "count": { "type": "long", "index": false, "doc_values": false },
                } })
            } else {
                json!({ "type": "object", "enabled": false })
            };
            mapping["properties"][record_type.name()]["properties"][stat_type.name()]["properties"] = json!({
                "count": { "type": "long" },
                "total": { "type": "long" },
                "items": items,
                "queries": { "type": "object", "enabled": false },
                "geocodes": { "type": "object", "enabled": false },
            });
        }
    }
    mapping
}

pub(super) fn totals() -> Value {
    let mut mapping = json!({ "dynamic": "strict", "properties": {
        "recordset_id": { "type": "keyword" },
        "first_day": date(),
        "last_day": date(),
        "entry_id": { "type": "long" },
    } });
    for record_type in RecordType::ALL {
        for stat_type in StatType::ALL {
            mapping["properties"][record_type.name()]["properties"][stat_type.name()]["properties"] =
                json!({ "count": { "type": "long" }, "total": { "type": "long" } });
        }
    }
    mapping
}

/// Readers filter by recordset, dimension and term, sort by figures, and group by place. Figures are not searched, and
/// terms are not grouped by, which would cost much with millions of them.
pub(super) fn terms() -> Value {
    let mut mapping = json!({ "dynamic": "strict", "properties": {
        "recordset_id": { "type": "keyword" },
        "dimension": { "type": "keyword" },
        "term": { "type": "keyword", "doc_values": false },
        "country": { "type": "keyword" },
        "region": { "type": "keyword" },
        "city": { "type": "keyword" },
        "entry_id": { "type": "long", "index": false },
    } });
    for record_type in RecordType::ALL {
        for stat_type in StatType::ALL {
            let figure = figure_name(stat_type);
            let cell = &mut mapping["properties"][record_type.name()]["properties"]
                [stat_type.name()]["properties"];
            *cell = json!({ figure: { "type": "long", "index": false } });
            if figure == "count" {
                // They are the same, and the totals have both names.
                let path = format!("{}.{}.{figure}", record_type.name(), stat_type.name());
                cell["total"] = json!({ "type": "alias", "path": path });
            }
        }
    }
    mapping
}
