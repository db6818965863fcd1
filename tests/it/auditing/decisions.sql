-- Two entries as people decide on them, without delta rows: an imported day, and a quiet day taken back. Each is of a run of
-- its own.
INSERT INTO daybook.run_start (run_id, command, version, started_at)
SELECT gen_random_uuid(), command, '1.0.0', started_at
FROM (VALUES ('import', '2020-03-02 09:00:00+01'::timestamptz), ('reverse', '2020-03-03 09:00:00+01')) r (command, started_at);

INSERT INTO daybook.run_end (run_id, finished_at, exit_code, outcome, figures)
SELECT run_id, started_at, 0, 'done', '{}' FROM daybook.run_start WHERE command IN ('import', 'reverse');

INSERT INTO daybook.entry (entry_id, day, kind, reverses, run_id, rule_version, tool_version, source_events, source_counted,
    source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete, content_hash, reason, posted_by, posted_at)
SELECT e.entry_id, e.day, e.kind, e.reverses, r.run_id, 1, '1.0.0', 0, 0, 0, 0, '', 0, true, daybook.content_hash_of(e.entry_id),
    e.reason, 'operator', r.started_at
FROM (VALUES (7, '2020-02-20'::date, 'import', NULL::bigint, 'daily-2020-02.ndjson, sha256 9f86d081'),
             (8, '2020-02-17', 'reversal', 3, 'the log was not written on this day')) e (entry_id, day, kind, reverses, reason)
JOIN daybook.run_start r ON r.command = CASE e.kind WHEN 'import' THEN 'import' ELSE 'reverse' END
ORDER BY e.entry_id;
