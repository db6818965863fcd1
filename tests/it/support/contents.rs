//! The contents of a world, for comparison with another world.

use std::fmt::Debug;

use serde_json::Value;

use super::World;

/// Ledger and documents, without what differs from run to run: who posted, when, in which run, and the hashes that
/// cover those.
pub struct Contents {
    entries: Vec<String>,
    rows: Vec<String>,
    rejected: Vec<String>,
    daily: Vec<(String, i64, Value)>,
    totals: Vec<(String, i64, Value)>,
    terms: Vec<(String, i64, Value)>,
}

impl Contents {
    /// Of a world with projections.
    pub async fn of(world: &World) -> Self {
        Self {
            daily: world.documents("").await,
            totals: world.documents("-totals").await,
            terms: world.documents("-terms").await,
            ..Self::of_ledger(world).await
        }
    }

    /// Of a world's ledger only.
    pub async fn of_ledger(world: &World) -> Self {
        Self {
            entries: world.column(
                "SELECT concat_ws('|', entry_id, day, kind, reverses, rule_version, tool_version, source_events, source_counted,
                     source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete, encode(content_hash, 'hex'), reason)
                 FROM daybook.entry ORDER BY entry_id",
            )
            .await,
            rows: world.column(
                "SELECT concat_ws('|', entry_id, day, recordset_id, record_type, stat_type, count, total, count_balance,
                     total_balance, encode(daybook.row_hash_of(d), 'hex'))
                 FROM daybook.interaction_delta d ORDER BY entry_id, recordset_id, record_type, stat_type",
            )
            .await,
            rejected: world.column(
                "SELECT concat_ws('|', entry_id, source_id, reason, message, event) FROM daybook.rejected_event
                 ORDER BY entry_id, source_id",
            )
            .await,
            daily: Vec::new(),
            totals: Vec::new(),
            terms: Vec::new(),
        }
    }

    /// The number of entries.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Panics with the first difference, if there is one.
    #[track_caller]
    pub fn assert_same_as(&self, expected: &Self, when: &str) {
        assert_same("entry", &self.entries, &expected.entries, when);
        assert_same("delta row", &self.rows, &expected.rows, when);
        assert_same("rejected event", &self.rejected, &expected.rejected, when);
        assert_same("daily document", &self.daily, &expected.daily, when);
        assert_same("totals document", &self.totals, &expected.totals, when);
        assert_same("terms document", &self.terms, &expected.terms, when);
    }
}

#[track_caller]
fn assert_same<T: PartialEq + Debug>(what: &str, found: &[T], expected: &[T], when: &str) {
    let mut pairs = found.iter().zip(expected);
    if let Some((found, expected)) = pairs.find(|(found, expected)| found != expected) {
        let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
        let same = found
            .chars()
            .zip(expected.chars())
            .take_while(|(a, b)| a == b)
            .count();
        let excerpt = |text: &str| {
            text.chars()
                .skip(same.saturating_sub(100))
                .take(300)
                .collect::<String>()
        };
        let (start, found, expected) = (
            found.chars().take(60).collect::<String>(),
            excerpt(&found),
            excerpt(&expected),
        );
        panic!("{when}: the {what} {start}… differs: …{found}… instead of …{expected}…");
    }
    assert_eq!(found.len(), expected.len(), "{when}: the number of {what}s");
}
