-- A ledger of ten years: 3,650 days with 40 delta rows each, the balances and hashes right.
BEGIN;
-- What the schema refuses is refused all the same; only that each row refers to an entry is not looked up row by row.
ALTER TABLE daybook.interaction_delta DISABLE TRIGGER entry_is_being_posted;

INSERT INTO daybook.run_start (run_id, command, version) VALUES ('00000000-0000-4000-8000-000000000001', 'apply', '1.0.0');

INSERT INTO daybook.interaction_delta (recordset_id, record_type, stat_type, entry_id, day, count, total, items, queries,
    geocodes, count_balance, total_balance, first_day, last_day)
SELECT r.recordset_id, 'records', s.stat_type, n, date '2014-12-31' + n, 1, t.total,
    CASE s.stat_type WHEN 'view' THEN jsonb_build_object('record-' || n % 100, 1) ELSE '{}' END,
    CASE s.stat_type WHEN 'view' THEN '{}' ELSE jsonb_build_object('', t.total) END,
    jsonb_build_object(format('{"city":"Gainesville","country":"%s","region":"Florida"}', c.country), t.total),
    n, sum(t.total) OVER (PARTITION BY r.recordset_id, s.stat_type ORDER BY n), '2015-01-01', date '2014-12-31' + n
FROM generate_series(1, 3650) n
CROSS JOIN (SELECT '00038086-3303-4b89-b2d6-1b84e7598f0e'::uuid AS recordset_id
            UNION ALL SELECT md5(i::text)::uuid FROM generate_series(1, 19) i) r
CROSS JOIN (VALUES ('search'), ('view')) s (stat_type)
CROSS JOIN LATERAL (SELECT CASE s.stat_type WHEN 'view' THEN 1 ELSE 1 + n % 50 END AS total) t
CROSS JOIN LATERAL (SELECT (ARRAY['Canada', 'Mexico', 'United States'])[1 + n % 3] AS country) c;
ANALYZE daybook.interaction_delta;

INSERT INTO daybook.entry (entry_id, day, kind, run_id, rule_version, tool_version, source_events, source_counted,
    source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete, content_hash)
SELECT n, date '2014-12-31' + n, 'apply', '00000000-0000-4000-8000-000000000001', 1, '1.0.0', 40, 40, 0, 0, '', 40, true,
    daybook.content_hash_of(n)
FROM generate_series(1, 3650) n ORDER BY n;
ALTER TABLE daybook.interaction_delta ENABLE ALWAYS TRIGGER entry_is_being_posted;
COMMIT;
ANALYZE;
