-- Two entries as people decide on them, without delta rows: an imported day, and a reversed quiet day. Each is of a run of
-- its own.
INSERT INTO daybook.run_start (run_id, command, version)
SELECT gen_random_uuid(), command, '1.0.0' FROM (VALUES ('import'), ('reverse')) r (command);

INSERT INTO daybook.run_end (run_id, exit_code, outcome, figures)
SELECT run_id, 0, 'done', '{}' FROM daybook.run_start WHERE command IN ('import', 'reverse');

INSERT INTO daybook.entry (entry_id, day, kind, reverses, run_id, rule_version, tool_version, source_events, source_counted,
    source_ignored, source_rejected, source_fingerprint, delta_rows, terms_complete, content_hash, reason)
SELECT e.entry_id, e.day, e.kind, e.reverses, r.run_id, 1, '1.0.0', 0, 0, 0, 0, '', 0, true, daybook.content_hash_of(e.entry_id),
    e.reason
FROM (VALUES (7, '2020-02-20'::date, 'import', NULL::bigint, 'daily-2020-02.ndjson, sha256 9f86d081'),
             (8, '2020-02-17', 'reversal', 3, 'the log was not written on this day')) e (entry_id, day, kind, reverses, reason)
JOIN daybook.run_start r ON r.command = CASE e.kind WHEN 'import' THEN 'import' ELSE 'reverse' END
ORDER BY e.entry_id;
