//! Queries on the ledger, as an auditor would run them.

use serde_json::Value;

use super::World;

/// Disables or enables all triggers of the ledger, including those of its foreign keys. Enabled again, its own fire
/// always.
fn triggers(switch: &str) -> String {
    format!(
        "DO $$
         DECLARE
             statement text;
         BEGIN
             FOR statement IN
                 SELECT format('ALTER TABLE daybook.%I {switch} TRIGGER ALL', relname) FROM pg_class
                 WHERE relnamespace = 'daybook'::regnamespace AND relkind = 'r'
                 UNION ALL
                 SELECT format('ALTER TABLE daybook.%I {switch} %s TRIGGER %I', relname,
                     CASE '{switch}' WHEN 'ENABLE' THEN 'ALWAYS' END, tgname)
                 FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
                 WHERE relnamespace = 'daybook'::regnamespace AND NOT tgisinternal
             LOOP
                 EXECUTE statement;
             END LOOP;
         END $$"
    )
}

impl World {
    /// One JSON value from the database.
    pub async fn json(&self, sql: &str) -> Value {
        serde_json::from_str(&self.value(sql).await).expect("JSON")
    }

    /// How the newest entry accounts for the rows of the source.
    pub async fn accounts(&self) -> String {
        self.value(
            "SELECT format('%s events: %s counted, %s ignored, %s rejected', source_events, source_counted, source_ignored,
                 source_rejected) FROM daybook.entry ORDER BY entry_id DESC LIMIT 1",
        )
        .await
    }

    /// Changes the ledger with its triggers disabled, as only its owner can, and enables them again.
    pub async fn tamper(&self, sql: &str) {
        self.execute(&format!(
            "BEGIN; {}; {sql}; {}; COMMIT",
            triggers("DISABLE"),
            triggers("ENABLE")
        ))
        .await;
    }

    /// The same, and recomputes all hashes, so that the ledger is consistent.
    pub async fn tamper_and_rehash(&self, sql: &str) {
        self.tamper(&format!(
            "{sql};
             DO $$
             DECLARE
                 hash bytea := daybook.genesis_hash();
                 id   bigint;
             BEGIN
                 FOR id IN SELECT entry_id FROM daybook.entry ORDER BY entry_id LOOP
                     UPDATE daybook.entry SET previous_hash = hash, content_hash = daybook.content_hash_of(id),
                         totals = daybook.totals_of(id), rejected_hash = daybook.rejected_hash_of(id) WHERE entry_id = id;
                     UPDATE daybook.entry e SET entry_hash = daybook.entry_hash_of(e) WHERE entry_id = id
                     RETURNING entry_hash INTO hash;
                 END LOOP;
             END $$"
        ))
        .await;
    }

    /// The number of entries.
    pub async fn entries(&self) -> i64 {
        let entries = self.value("SELECT count(*) FROM daybook.entry").await;
        entries.parse().expect("a number")
    }

    /// Panics unless the ledger is consistent: control sums, hashes, chain, balances.
    #[track_caller]
    pub fn assert_sound(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let violations = "SELECT jsonb_agg(v) FROM daybook.control_sum_violation v";
            assert_eq!(self.value(violations).await, "", "control sums, {caller}");
            let broken = "SELECT jsonb_agg(c) FROM daybook.entry_check c
                          WHERE content_differs OR rows_differ OR totals_differ OR rejected_differs OR header_differs OR chain_differs OR gap_before";
            assert_eq!(self.value(broken).await, "", "hashes and chain, {caller}");
            let orphans = "SELECT count(*) FROM daybook.interaction_delta d LEFT JOIN daybook.entry e USING (entry_id)
                           WHERE e.day IS DISTINCT FROM d.day";
            assert_eq!(
                self.value(orphans).await,
                "0",
                "rows without an entry, {caller}"
            );
            let off_balance = "SELECT jsonb_agg(d) FROM (
                 SELECT recordset_id, record_type, stat_type, entry_id, count_balance, total_balance,
                        sum(count) OVER cell AS count_sum, sum(total) OVER cell AS total_sum
                 FROM daybook.interaction_delta
                 WINDOW cell AS (PARTITION BY recordset_id, record_type, stat_type ORDER BY entry_id)) d
                 WHERE count_balance <> count_sum OR total_balance <> total_sum";
            assert_eq!(self.value(off_balance).await, "", "balances, {caller}");
        }
    }
}
