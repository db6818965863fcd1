-- What the form of the ledger's table costs: posts 200,000 rows in one transaction into copies of it, without triggers, with
-- triggers for each row (as it has them), with a trigger for each statement, and into partitions; then looks up balances.
-- Run it with psql on a database of its own:
--   psql -q "$DAYBOOK_LEDGER_URL" -f benches/ledger-schema.sql
\set ON_ERROR_STOP on
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS bench_schema CASCADE;
CREATE SCHEMA bench_schema;
SET search_path = bench_schema;
CREATE TABLE entry (entry_id bigint PRIMARY KEY);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
    $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
CREATE FUNCTION entry_is_being_posted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM bench_schema.entry e
        WHERE e.entry_id OPERATOR(pg_catalog.=) NEW.entry_id
          AND e.xmin OPERATOR(pg_catalog.=) (pg_catalog.pg_current_xact_id()::pg_catalog.xid);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'refused';
    END IF;
    RETURN NULL;
END
$$;
CREATE TABLE columns (
    recordset_id uuid NOT NULL, record_type text COLLATE "C" NOT NULL, stat_type text COLLATE "C" NOT NULL,
    entry_id bigint NOT NULL, day date NOT NULL, count bigint NOT NULL, total bigint NOT NULL,
    items jsonb NOT NULL, queries jsonb NOT NULL, geocodes jsonb NOT NULL,
    count_balance bigint NOT NULL, total_balance bigint NOT NULL, first_day date NOT NULL, last_day date NOT NULL,
    part smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (recordset_id, record_type, stat_type, entry_id, part));
CREATE INDEX ON columns (day, recordset_id);
CREATE INDEX ON columns (entry_id);
CREATE TABLE without_triggers (LIKE columns INCLUDING ALL);
CREATE TABLE row_triggers (LIKE columns INCLUDING ALL);
CREATE TABLE statement_trigger (LIKE columns INCLUDING ALL);
CREATE TABLE partitions (LIKE columns INCLUDING ALL) PARTITION BY RANGE (entry_id);
SELECT format('CREATE TABLE partition_%s PARTITION OF partitions FOR VALUES FROM (%s) TO (%s)', n, 5 * n + 1, 5 * n + 6)
FROM generate_series(0, 3) n \gexec
SELECT format('CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON %s FOR EACH %s EXECUTE FUNCTION refuse_change()', name, each)
FROM (VALUES ('row_triggers', 'ROW'), ('statement_trigger', 'STATEMENT'), ('partitions', 'ROW')) AS t (name, each) \gexec
SELECT format('CREATE CONSTRAINT TRIGGER entry_is_being_posted AFTER INSERT ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION entry_is_being_posted()', name)
FROM unnest(ARRAY['row_triggers', 'statement_trigger', 'partitions']) AS name \gexec

-- 20 entries of 10,000 cells; 1.5 kB of terms a row.
CREATE TABLE made AS
SELECT md5((c / 5)::text)::uuid AS recordset_id, 'records' AS record_type,
       (ARRAY['download', 'mapping', 'search', 'seen', 'view'])[1 + c % 5] AS stat_type, e::bigint AS entry_id,
       '2020-01-01'::date + e AS day, 20::bigint AS count, 20::bigint AS total, '{}'::jsonb AS items,
       (SELECT jsonb_object_agg(md5((c * n)::text), 1) FROM generate_series(1, 10) n) AS queries,
       (SELECT jsonb_object_agg(format('{"city":"%s","country":"United States"}', md5((c + n)::text)), 1)
        FROM generate_series(1, 10) n) AS geocodes,
       20::bigint * e AS count_balance, 20::bigint * e AS total_balance, '2020-01-02'::date AS first_day,
       '2020-01-01'::date + e AS last_day, 0::smallint AS part
FROM generate_series(0, 9999) c, generate_series(1, 20) e;
\copy (SELECT * FROM made ORDER BY entry_id, recordset_id, record_type, stat_type) TO '/tmp/daybook-bench-rows' (FORMAT binary)
DROP TABLE made;

CREATE FUNCTION post(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('TRUNCATE bench_schema.entry, bench_schema.%I', name);
    INSERT INTO bench_schema.entry SELECT generate_series(1, 20);
    EXECUTE format('COPY bench_schema.%I FROM %L (FORMAT binary)', name, '/tmp/daybook-bench-rows');
END
$$;
-- The deferred trigger fires at the end of each of these statements' transactions.
\timing on
SELECT format('SELECT %L AS table, post(%1$L)', name)
FROM generate_series(1, 4) round, unnest(ARRAY['without_triggers', 'row_triggers', 'statement_trigger', 'partitions']) AS name
ORDER BY round \gexec
\timing off
VACUUM ANALYZE row_triggers;
VACUUM ANALYZE partitions;
-- The look-up of a posting, for all 10,000 cells.
CREATE FUNCTION look_up(name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    EXECUTE format(
        'SELECT sum(b.count_balance)
         FROM (SELECT md5((c / 5)::text)::uuid AS recordset_id, ''records'' AS record_type,
                      (ARRAY[''download'', ''mapping'', ''search'', ''seen'', ''view''])[1 + c %% 5] AS stat_type
               FROM generate_series(0, 9999) c) k
         CROSS JOIN LATERAL (
             SELECT d.count_balance, d.total_balance, d.first_day, d.last_day FROM bench_schema.%I d
             WHERE d.recordset_id = k.recordset_id AND d.record_type = k.record_type AND d.stat_type = k.stat_type
             ORDER BY d.entry_id DESC LIMIT 1) b', name) INTO found;
    RETURN found;
END
$$;
\timing on
SELECT format('SELECT %L AS table, look_up(%1$L)', name)
FROM generate_series(1, 5) round, unnest(ARRAY['row_triggers', 'partitions']) AS name
ORDER BY round \gexec
\timing off
DROP SCHEMA bench_schema CASCADE;
\! rm /tmp/daybook-bench-rows
