-- The cost of enforcing the control sums by a CHECK: loads the rows of a ledger into a table with the ledger's keys,
-- without and with the constraint. Run it with psql on a database of the bench:
--   cargo bench --bench workload -- 2026-03-01 1 && daybook apply --day 2026-03-01 --no-project
--   psql "$DAYBOOK_LEDGER_URL" -f benches/control-sums.sql
\set ON_ERROR_STOP on
\copy daybook.interaction_delta TO '/tmp/daybook-bench-rows' (FORMAT binary)
CREATE TEMP TABLE plain (LIKE daybook.interaction_delta INCLUDING ALL);
CREATE TEMP TABLE checked (LIKE daybook.interaction_delta INCLUDING ALL);
CREATE FUNCTION pg_temp.sum_of(terms jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE AS
    $$ SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(terms) $$;
ALTER TABLE checked ADD CHECK (
    pg_temp.sum_of(geocodes) = total
    AND pg_temp.sum_of(items) = CASE WHEN stat_type IN ('view', 'seen') THEN total ELSE 0 END
    AND pg_temp.sum_of(queries) = CASE WHEN stat_type = 'view' THEN 0 ELSE total END);
\timing on
\copy plain FROM '/tmp/daybook-bench-rows' (FORMAT binary)
\copy checked FROM '/tmp/daybook-bench-rows' (FORMAT binary)
TRUNCATE plain, checked;
\copy plain FROM '/tmp/daybook-bench-rows' (FORMAT binary)
\copy checked FROM '/tmp/daybook-bench-rows' (FORMAT binary)
TRUNCATE plain, checked;
\copy plain FROM '/tmp/daybook-bench-rows' (FORMAT binary)
\copy checked FROM '/tmp/daybook-bench-rows' (FORMAT binary)
\! rm /tmp/daybook-bench-rows
