-- Views that answer the daily questions, and the checks that audits share with the program.

CREATE VIEW daybook.run AS
    SELECT s.run_id, s.command, s.version, s.started_at, e.finished_at, e.exit_code, e.outcome, e.figures
    FROM daybook.run_start s LEFT JOIN daybook.run_end e USING (run_id);
COMMENT ON VIEW daybook.run IS 'One row per run, finished or not.';

CREATE VIEW daybook.interaction_term_delta AS
    SELECT d.entry_id, d.day, d.recordset_id, d.record_type, d.stat_type, t.dimension, t.term, t.n
    FROM daybook.interaction_delta d
    CROSS JOIN LATERAL (
        SELECT 'items' AS dimension, key AS term, value::bigint AS n FROM jsonb_each_text(d.items)
        UNION ALL SELECT 'queries', key, value::bigint FROM jsonb_each_text(d.queries)
        UNION ALL SELECT 'geocodes', key, value::bigint FROM jsonb_each_text(d.geocodes)
    ) t;
COMMENT ON VIEW daybook.interaction_term_delta IS 'The delta rows'' three maps, a row per term: dimension (items, queries, geocodes), term and n, its share of total.';

CREATE VIEW daybook.day_total AS
    SELECT day, record_type, stat_type, sum(count)::bigint AS count, sum(total)::bigint AS total
    FROM daybook.interaction_delta GROUP BY day, record_type, stat_type;
COMMENT ON VIEW daybook.day_total IS 'Net of each day by record type and stat type, over all recordsets and entries.';

CREATE VIEW daybook.recordset_total AS
    SELECT DISTINCT ON (recordset_id, record_type, stat_type)
        recordset_id, record_type, stat_type, count_balance AS count, total_balance AS total, first_day, last_day, entry_id
    FROM daybook.interaction_delta
    ORDER BY recordset_id DESC, record_type DESC, stat_type DESC, entry_id DESC;
COMMENT ON VIEW daybook.recordset_total IS 'All-time totals of each cell: the balances of its newest delta row.';

CREATE VIEW daybook.gap AS
    SELECT calendar.day::date AS day
    FROM (SELECT min(day) AS first_day, max(day) AS last_day FROM daybook.entry) span
    CROSS JOIN LATERAL generate_series(span.first_day::timestamp, span.last_day::timestamp, interval '1 day') AS calendar (day)
    WHERE NOT EXISTS (SELECT FROM daybook.entry e WHERE e.day = calendar.day::date);
COMMENT ON VIEW daybook.gap IS 'Days between the first and the last day of the ledger that no entry is about. A quiet day is not a gap: it has an entry without rows.';

CREATE FUNCTION daybook.term_sum(terms jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(terms)
$$;
COMMENT ON FUNCTION daybook.term_sum(jsonb) IS 'Sum of the values of a term map.';

CREATE FUNCTION daybook.control_sums_hold(d daybook.interaction_delta) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT daybook.term_sum(d.geocodes) = d.total
       AND daybook.term_sum(d.items) = CASE WHEN d.stat_type IN ('view', 'seen') THEN d.total ELSE 0 END
       AND daybook.term_sum(d.queries) = CASE WHEN d.stat_type = 'view' THEN 0 ELSE d.total END
       AND (d.stat_type NOT IN ('view', 'seen') OR d.total = d.count)
$$;
COMMENT ON FUNCTION daybook.control_sums_hold(daybook.interaction_delta) IS
    'The control sums of a delta row: geocodes sum to total; for view and seen items sum to total and total is count; for all but view queries sum to total.';

CREATE VIEW daybook.control_sum_violation AS
    SELECT d.* FROM daybook.interaction_delta d WHERE NOT daybook.control_sums_hold(d);
COMMENT ON VIEW daybook.control_sum_violation IS 'Delta rows whose control sums do not hold. Must be empty.';

CREATE VIEW daybook.entry_check AS
    SELECT e.entry_id, e.day,
           e.content_hash <> daybook.content_hash_of(e.entry_id) AS content_differs,
           e.delta_rows <> (SELECT count(*) FROM daybook.interaction_delta d WHERE d.entry_id = e.entry_id) AS rows_differ,
           e.entry_hash <> daybook.entry_hash_of(e) AS header_differs,
           e.previous_hash <> lag(e.entry_hash, 1, daybook.genesis_hash()) OVER w AS chain_differs,
           e.entry_id <> lag(e.entry_id, 1, 0::bigint) OVER w + 1 AS gap_before
    FROM daybook.entry e WINDOW w AS (ORDER BY e.entry_id);
COMMENT ON VIEW daybook.entry_check IS 'Recomputes the hashes of every entry: content_differs, rows_differ, header_differs, chain_differs and gap_before must all be false.';
