-- Views that answer the daily questions, and the checks that audits share with the program.

CREATE VIEW daybook.run AS
    SELECT s.run_id, s.command, s.version, s.started_by, s.started_at, e.finished_at, e.exit_code, e.outcome, e.figures
    FROM daybook.run_start s LEFT JOIN daybook.run_end e USING (run_id);
COMMENT ON VIEW daybook.run IS 'One row per run, finished or not.';
COMMENT ON COLUMN daybook.run.run_id IS 'Identifies the run; entries carry it.';
COMMENT ON COLUMN daybook.run.command IS 'The subcommand that ran.';
COMMENT ON COLUMN daybook.run.version IS 'Version of the program.';
COMMENT ON COLUMN daybook.run.started_by IS 'Login that started it.';
COMMENT ON COLUMN daybook.run.started_at IS 'When the run took the lock.';
COMMENT ON COLUMN daybook.run.finished_at IS 'When it ended; NULL if it still goes on or was killed.';
COMMENT ON COLUMN daybook.run.exit_code IS 'The exit code it ended with.';
COMMENT ON COLUMN daybook.run.outcome IS 'done, or the error in words.';
COMMENT ON COLUMN daybook.run.figures IS 'What the run did, in numbers.';

CREATE VIEW daybook.interaction_term_delta AS
    SELECT d.entry_id, d.day, d.recordset_id, d.record_type, d.stat_type, t.dimension, t.term, t.n
    FROM daybook.interaction_delta d
    CROSS JOIN LATERAL (
        SELECT 'items' AS dimension, key AS term, value::bigint AS n FROM jsonb_each_text(d.items)
        UNION ALL SELECT 'queries', key, value::bigint FROM jsonb_each_text(d.queries)
        UNION ALL SELECT 'geocodes', key, value::bigint FROM jsonb_each_text(d.geocodes)
    ) t;
COMMENT ON VIEW daybook.interaction_term_delta IS 'The delta rows'' three maps, a row per term: dimension (items, queries, geocodes), term and n, its share of total.';
COMMENT ON COLUMN daybook.interaction_term_delta.entry_id IS 'The entry.';
COMMENT ON COLUMN daybook.interaction_term_delta.day IS 'The day of the entry.';
COMMENT ON COLUMN daybook.interaction_term_delta.recordset_id IS 'The recordset.';
COMMENT ON COLUMN daybook.interaction_term_delta.record_type IS 'records or mediarecords.';
COMMENT ON COLUMN daybook.interaction_term_delta.stat_type IS 'The kind of interaction.';
COMMENT ON COLUMN daybook.interaction_term_delta.dimension IS 'items (record ids), queries (query hashes) or geocodes (JSON).';
COMMENT ON COLUMN daybook.interaction_term_delta.term IS 'The record id, query hash or geocode.';
COMMENT ON COLUMN daybook.interaction_term_delta.n IS 'Its share of the cell''s total.';

CREATE VIEW daybook.entry_total AS
    SELECT e.entry_id, e.day, e.kind, t.record_type, t.stat_type, t.cells, t.count, t.total
    FROM daybook.entry e
    CROSS JOIN LATERAL jsonb_to_recordset(e.totals) AS t (
        record_type text COLLATE "C", stat_type text COLLATE "C", cells bigint, count numeric, total numeric);
COMMENT ON VIEW daybook.entry_total IS 'What each entry adds by record type and stat type, from the totals in its header.';
COMMENT ON COLUMN daybook.entry_total.entry_id IS 'The entry.';
COMMENT ON COLUMN daybook.entry_total.day IS 'Its day.';
COMMENT ON COLUMN daybook.entry_total.kind IS 'Its kind.';
COMMENT ON COLUMN daybook.entry_total.record_type IS 'records or mediarecords.';
COMMENT ON COLUMN daybook.entry_total.stat_type IS 'The kind of interaction.';
COMMENT ON COLUMN daybook.entry_total.cells IS 'How many cells it touches: recordsets of this record type and stat type.';
COMMENT ON COLUMN daybook.entry_total.count IS 'Interactions added.';
COMMENT ON COLUMN daybook.entry_total.total IS 'Records involved in them.';

CREATE VIEW daybook.day_total AS
    SELECT day, record_type, stat_type, sum(count)::bigint AS count, sum(total)::bigint AS total
    FROM daybook.entry_total GROUP BY day, record_type, stat_type;
COMMENT ON VIEW daybook.day_total IS 'Net of each day by record type and stat type, over all recordsets and entries.';
COMMENT ON COLUMN daybook.day_total.day IS 'The day.';
COMMENT ON COLUMN daybook.day_total.record_type IS 'records or mediarecords.';
COMMENT ON COLUMN daybook.day_total.stat_type IS 'The kind of interaction.';
COMMENT ON COLUMN daybook.day_total.count IS 'Interactions.';
COMMENT ON COLUMN daybook.day_total.total IS 'Records involved in them.';

CREATE VIEW daybook.recordset_total AS
    SELECT DISTINCT ON (recordset_id, record_type, stat_type)
        recordset_id, record_type, stat_type, count_balance AS count, total_balance AS total, first_day, last_day, entry_id
    FROM daybook.interaction_delta
    ORDER BY recordset_id DESC, record_type DESC, stat_type DESC, entry_id DESC;
COMMENT ON VIEW daybook.recordset_total IS 'All-time totals of each cell: the balances of its newest delta row.';
COMMENT ON COLUMN daybook.recordset_total.recordset_id IS 'The recordset.';
COMMENT ON COLUMN daybook.recordset_total.record_type IS 'records or mediarecords.';
COMMENT ON COLUMN daybook.recordset_total.stat_type IS 'The kind of interaction.';
COMMENT ON COLUMN daybook.recordset_total.count IS 'Interactions, all time.';
COMMENT ON COLUMN daybook.recordset_total.total IS 'Records involved in them, all time.';
COMMENT ON COLUMN daybook.recordset_total.first_day IS 'The first day that the cell has a row of.';
COMMENT ON COLUMN daybook.recordset_total.last_day IS 'The last day that the cell has a row of.';
COMMENT ON COLUMN daybook.recordset_total.entry_id IS 'The last entry that touches the cell.';

CREATE VIEW daybook.gap AS
    SELECT calendar.day::date AS day
    FROM (SELECT min(day) AS first_day, max(day) AS last_day FROM daybook.entry) span
    CROSS JOIN LATERAL generate_series(span.first_day::timestamp, span.last_day::timestamp, interval '1 day') AS calendar (day)
    WHERE NOT EXISTS (SELECT FROM daybook.entry e WHERE e.day = calendar.day::date);
COMMENT ON VIEW daybook.gap IS 'Days between the first and the last day of the ledger that no entry is about. A quiet day is not a gap: it has an entry without rows.';
COMMENT ON COLUMN daybook.gap.day IS 'A day without an entry.';

CREATE VIEW daybook.recordset_day AS
    SELECT day, recordset_id, record_type, stat_type, sum(count)::bigint AS count, sum(total)::bigint AS total,
           max(entry_id) AS entry_id
    FROM daybook.interaction_delta GROUP BY day, recordset_id, record_type, stat_type;
COMMENT ON VIEW daybook.recordset_day IS 'Net of each cell on each day, over all entries: what a daily document says.';
COMMENT ON COLUMN daybook.recordset_day.day IS 'The day.';
COMMENT ON COLUMN daybook.recordset_day.recordset_id IS 'The recordset.';
COMMENT ON COLUMN daybook.recordset_day.record_type IS 'records or mediarecords.';
COMMENT ON COLUMN daybook.recordset_day.stat_type IS 'The kind of interaction.';
COMMENT ON COLUMN daybook.recordset_day.count IS 'Interactions.';
COMMENT ON COLUMN daybook.recordset_day.total IS 'Records involved in them.';
COMMENT ON COLUMN daybook.recordset_day.entry_id IS 'The last entry that touches the cell on the day.';

CREATE VIEW daybook.posted_day AS
    SELECT e.day, count(*) AS entries, (e.day + 1)::timestamp AT TIME ZONE l.time_zone AS closed_at,
           min(e.posted_at) AS first_posted_at, max(e.posted_at) AS last_posted_at,
           bool_or(e.kind = 'correction') AS corrected, bool_or(e.kind = 'import') AS imported,
           (array_agg(coalesce(r.kind <> 'reversal', false) ORDER BY e.entry_id DESC))[1] AS taken_back
    FROM daybook.entry e CROSS JOIN daybook.ledger l LEFT JOIN daybook.entry r ON r.entry_id = e.reverses
    GROUP BY e.day, l.time_zone;
COMMENT ON VIEW daybook.posted_day IS 'The days that have entries: when they were over, when they were posted, what became of them since.';
COMMENT ON COLUMN daybook.posted_day.day IS 'The day.';
COMMENT ON COLUMN daybook.posted_day.entries IS 'How many entries are about it.';
COMMENT ON COLUMN daybook.posted_day.closed_at IS 'When it was over: the next midnight in the ledger''s time zone (the second one where the clocks pass it twice).';
COMMENT ON COLUMN daybook.posted_day.first_posted_at IS 'When its first entry was posted.';
COMMENT ON COLUMN daybook.posted_day.last_posted_at IS 'When its last entry was posted.';
COMMENT ON COLUMN daybook.posted_day.corrected IS 'Whether one of its entries is a correction.';
COMMENT ON COLUMN daybook.posted_day.imported IS 'Whether one of its entries is an import.';
COMMENT ON COLUMN daybook.posted_day.taken_back IS 'Whether its newest entry reverses another one. A reversal of a reversal does not count.';

CREATE VIEW daybook.trial_balance AS
    SELECT r.record_type, r.stat_type, sum(r.count)::bigint AS count_sum, sum(b.count)::bigint AS count_balance,
           sum(r.total)::bigint AS total_sum, sum(b.total)::bigint AS total_balance
    FROM (SELECT recordset_id, record_type, stat_type, sum(count) AS count, sum(total) AS total
          FROM daybook.interaction_delta GROUP BY recordset_id, record_type, stat_type) r
    LEFT JOIN daybook.recordset_total b USING (recordset_id, record_type, stat_type)
    GROUP BY r.record_type, r.stat_type;
COMMENT ON VIEW daybook.trial_balance IS 'The sums of all delta rows beside the balances of the newest row of each cell. Sum and balance must be the same.';
COMMENT ON COLUMN daybook.trial_balance.record_type IS 'records or mediarecords.';
COMMENT ON COLUMN daybook.trial_balance.stat_type IS 'The kind of interaction.';
COMMENT ON COLUMN daybook.trial_balance.count_sum IS 'Interactions, summed over all rows.';
COMMENT ON COLUMN daybook.trial_balance.count_balance IS 'Interactions, by the balances.';
COMMENT ON COLUMN daybook.trial_balance.total_sum IS 'Records involved, summed over all rows.';
COMMENT ON COLUMN daybook.trial_balance.total_balance IS 'Records involved, by the balances.';

CREATE VIEW daybook.balance_violation AS
    SELECT b.entry_id, b.day, b.recordset_id, b.record_type, b.stat_type, b.count_balance, b.count_sum::bigint, b.total_balance,
           b.total_sum::bigint
    FROM (SELECT d.entry_id, d.day, d.recordset_id, d.record_type, d.stat_type, d.count_balance, d.total_balance,
                 d.first_day, d.last_day, sum(d.count) OVER cell AS count_sum, sum(d.total) OVER cell AS total_sum,
                 min(d.day) OVER cell AS first_of_cell, max(d.day) OVER cell AS last_of_cell
          FROM daybook.interaction_delta d
          WINDOW cell AS (PARTITION BY d.recordset_id, d.record_type, d.stat_type ORDER BY d.entry_id)) b
    WHERE (b.count_balance, b.total_balance, b.first_day, b.last_day)
        IS DISTINCT FROM (b.count_sum, b.total_sum, b.first_of_cell, b.last_of_cell);
COMMENT ON VIEW daybook.balance_violation IS 'Delta rows whose running figures are not those of the cell''s rows up to them. Must be empty.';
COMMENT ON COLUMN daybook.balance_violation.entry_id IS 'The entry.';
COMMENT ON COLUMN daybook.balance_violation.day IS 'The day of the row.';
COMMENT ON COLUMN daybook.balance_violation.recordset_id IS 'The recordset.';
COMMENT ON COLUMN daybook.balance_violation.record_type IS 'records or mediarecords.';
COMMENT ON COLUMN daybook.balance_violation.stat_type IS 'The kind of interaction.';
COMMENT ON COLUMN daybook.balance_violation.count_balance IS 'The balance of interactions that the row carries.';
COMMENT ON COLUMN daybook.balance_violation.count_sum IS 'What it must be.';
COMMENT ON COLUMN daybook.balance_violation.total_balance IS 'The balance of records involved that the row carries.';
COMMENT ON COLUMN daybook.balance_violation.total_sum IS 'What it must be.';

CREATE FUNCTION daybook.term_sum(terms jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(terms);
END;
COMMENT ON FUNCTION daybook.term_sum(jsonb) IS 'Sum of the values of a term map.';

CREATE FUNCTION daybook.control_sums_hold(
    stat_type text, count numeric, total numeric, items numeric, queries numeric, geocodes numeric) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT geocodes = total
       AND items = CASE WHEN stat_type IN ('view', 'seen') THEN total ELSE 0 END
       AND queries = CASE WHEN stat_type = 'view' THEN 0 ELSE total END
       AND (stat_type NOT IN ('view', 'seen') OR total = count);
END;
COMMENT ON FUNCTION daybook.control_sums_hold(text, numeric, numeric, numeric, numeric, numeric) IS
    'The control sums of what an entry adds to a cell, given the sums of its maps: geocodes sum to total; for view and seen items sum to total and total is count; for all but view queries sum to total.';

CREATE VIEW daybook.control_sum_violation AS
    SELECT s.entry_id, s.day, s.recordset_id, s.record_type, s.stat_type, s.count::bigint, s.total::bigint
    FROM (SELECT d.entry_id, d.day, d.recordset_id, d.record_type, d.stat_type, sum(d.count) AS count, sum(d.total) AS total,
                 sum(daybook.term_sum(d.items)) AS items, sum(daybook.term_sum(d.queries)) AS queries,
                 sum(daybook.term_sum(d.geocodes)) AS geocodes
          FROM daybook.interaction_delta d GROUP BY d.entry_id, d.day, d.recordset_id, d.record_type, d.stat_type) s
    WHERE NOT daybook.control_sums_hold(s.stat_type, s.count, s.total, s.items, s.queries, s.geocodes)
      AND NOT EXISTS (SELECT FROM daybook.entry e WHERE e.entry_id = s.entry_id AND NOT e.terms_complete);
COMMENT ON VIEW daybook.control_sum_violation IS 'Cells of entries whose control sums do not hold, but for entries that are marked as not having all terms. Must be empty.';
COMMENT ON COLUMN daybook.control_sum_violation.entry_id IS 'The entry.';
COMMENT ON COLUMN daybook.control_sum_violation.day IS 'The day of its rows.';
COMMENT ON COLUMN daybook.control_sum_violation.recordset_id IS 'The recordset.';
COMMENT ON COLUMN daybook.control_sum_violation.record_type IS 'records or mediarecords.';
COMMENT ON COLUMN daybook.control_sum_violation.stat_type IS 'The kind of interaction.';
COMMENT ON COLUMN daybook.control_sum_violation.count IS 'Interactions that the entry adds to the cell.';
COMMENT ON COLUMN daybook.control_sum_violation.total IS 'The total that its maps do not sum to.';

CREATE VIEW daybook.entry_check AS
    SELECT e.entry_id, e.day, false AS header_missing,
           e.content_hash <> daybook.content_hash_of(e.entry_id) AS content_differs,
           e.delta_rows <> (SELECT count(*) FROM daybook.interaction_delta d WHERE d.entry_id = e.entry_id) AS rows_differ,
           e.totals <> daybook.totals_of(e.entry_id) AS totals_differ,
           e.rejected_hash <> daybook.rejected_hash_of(e.entry_id) AS rejected_differs,
           e.entry_hash <> daybook.entry_hash_of(e) AS header_differs,
           e.previous_hash <> lag(e.entry_hash, 1, daybook.genesis_hash()) OVER w AS chain_differs,
           e.entry_id <> lag(e.entry_id, 1, 0::bigint) OVER w + 1 AS gap_before
    FROM daybook.entry e WINDOW w AS (ORDER BY e.entry_id)
    UNION ALL
    SELECT o.entry_id, min(o.day), true, true, true, true, true, true, true, false
    FROM (SELECT entry_id, day FROM daybook.interaction_delta UNION ALL SELECT entry_id, NULL FROM daybook.rejected_event) o
    WHERE NOT EXISTS (SELECT FROM daybook.entry e WHERE e.entry_id = o.entry_id)
    GROUP BY o.entry_id;
COMMENT ON VIEW daybook.entry_check IS 'Recomputes the hashes of every entry: all that it says of one must be false.';
COMMENT ON COLUMN daybook.entry_check.entry_id IS 'The entry.';
COMMENT ON COLUMN daybook.entry_check.day IS 'Its day.';
COMMENT ON COLUMN daybook.entry_check.header_missing IS 'There are delta rows or rejected events of the entry, but no header.';
COMMENT ON COLUMN daybook.entry_check.content_differs IS 'Its rows do not give its content_hash.';
COMMENT ON COLUMN daybook.entry_check.rows_differ IS 'It has another number of rows than delta_rows says.';
COMMENT ON COLUMN daybook.entry_check.totals_differ IS 'Its rows do not give its totals.';
COMMENT ON COLUMN daybook.entry_check.rejected_differs IS 'Its rejected events do not give its rejected_hash.';
COMMENT ON COLUMN daybook.entry_check.header_differs IS 'Its header does not give its entry_hash.';
COMMENT ON COLUMN daybook.entry_check.chain_differs IS 'Its previous_hash is not the hash of the entry before.';
COMMENT ON COLUMN daybook.entry_check.gap_before IS 'The entry before is missing.';
