-- Lays traps: for each name that a list of words has in common with pg_catalog, something of that name that says so when it is
-- used, and fails. The sequence keeps the news also where the failure is swallowed.
CREATE SCHEMA trap;
CREATE SEQUENCE trap.sprung;
CREATE FUNCTION trap.spring(what text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM nextval('trap.sprung');
    RAISE EXCEPTION 'hostile code ran: %', what;
END $$;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
GRANT USAGE ON SEQUENCE trap.sprung TO PUBLIC;

-- What stands in a schema in the place of what pg_catalog has; returns how many traps there are.
CREATE FUNCTION trap.lay(place text, words text[]) RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    statements text[];
    statement  text;
    laid       integer := 0;
BEGIN
    SELECT array_agg(s) INTO statements FROM (
        -- Functions, aggregates and window functions, as plain functions of the same arguments.
        SELECT format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', place, p.proname,
                   replace(pg_get_function_identity_arguments(p.oid), 'VARIADIC "any"', 'VARIADIC text[]'),
                   pg_get_function_result(p.oid), format('BEGIN PERFORM trap.spring(%L); END', 'function ' || p.oid::regprocedure))
        FROM pg_proc p LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (words) AND coalesce(a.aggkind, 'n') = 'n'
          AND NOT p.prorettype = ANY (ARRAY['internal', 'trigger', 'event_trigger', 'cstring']::regtype[])
          AND NOT 'internal'::regtype::oid = ANY (p.proargtypes) AND NOT 'cstring'::regtype::oid = ANY (p.proargtypes)
        -- The one that was found in the field: nearer to the call than any of pg_catalog's.
        UNION ALL
        SELECT format('CREATE FUNCTION %I.to_char(date, text) RETURNS text LANGUAGE plpgsql AS %L', place,
                   format('BEGIN PERFORM trap.spring(%L); END', 'to_char(date, text)'))
        -- Operators of types that are named.
        UNION ALL
        SELECT unnest(ARRAY[
            format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', place, 'operator_' || o.oid,
                concat_ws(', ', nullif(o.oprleft, 0)::regtype, o.oprright::regtype), o.oprresult::regtype,
                format('BEGIN PERFORM trap.spring(%L); END', 'operator ' || o.oid::regoperator)),
            format('CREATE OPERATOR %I.%s (%s RIGHTARG = %s, FUNCTION = %I.%I)', place, o.oprname,
                'LEFTARG = ' || nullif(o.oprleft, 0)::regtype || ',', o.oprright::regtype, place, 'operator_' || o.oid)])
        FROM pg_operator o JOIN pg_type t ON t.oid = o.oprright
        WHERE o.oprnamespace = 'pg_catalog'::regnamespace
          AND (t.typname = ANY (words || ARRAY['int4', 'int8', 'bool', 'timestamp']) OR t.typname LIKE 'any%')
        -- Types: a domain that checks its values.
        UNION ALL
        SELECT format('CREATE DOMAIN %I.%I AS pg_catalog.%I CHECK (trap.spring(%L))', place, typname, typname, 'type ' || typname)
        FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typname = ANY (words)
        -- Tables and views of the catalog, and of daybook.
        UNION ALL
        SELECT format('CREATE VIEW %I.%I AS SELECT * FROM pg_catalog.%I WHERE trap.spring(%L)', place, relname, relname, 'relation ' || relname)
        FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') AND relname = ANY (words)
        UNION ALL
        SELECT format('CREATE VIEW %I.%I AS SELECT trap.spring(%L)', place, relname, 'relation ' || relname)
        FROM unnest(ARRAY['ledger', 'run_start', 'run_end', 'run', 'entry', 'interaction_delta', 'interaction_term_delta',
            'rejected_event', 'schema_version', 'day_total', 'recordset_total', 'gap', 'recordset_day', 'posted_day',
            'trial_balance', 'balance_violation', 'control_sum_violation', 'entry_check', 'import_document']) relname) traps (s);
    -- A cast, and a function that it leads to.
    statements := statements || ARRAY[
        format('CREATE TYPE %I.bait AS (caught pg_catalog.date)', place),
        format('CREATE FUNCTION %I.bait(pg_catalog.date) RETURNS %I.bait LANGUAGE plpgsql AS %L', place, place,
            'BEGIN PERFORM trap.spring(''cast''); END'),
        format('CREATE CAST (pg_catalog.date AS %I.bait) WITH FUNCTION %I.bait(pg_catalog.date) AS IMPLICIT', place, place)];
    FOREACH statement IN ARRAY statements LOOP
        BEGIN
            EXECUTE statement;
            laid := laid + 1;
        EXCEPTION
            -- Two overloads that differ by a pseudo-type alone; what only C can take; a temporary cast.
            WHEN duplicate_function OR invalid_function_definition OR feature_not_supported OR wrong_object_type
              OR invalid_object_definition OR syntax_error OR invalid_table_definition OR datatype_mismatch THEN NULL;
        END;
    END LOOP;
    IF place <> 'pg_temp' THEN
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO PUBLIC', place);
    END IF;
    RETURN laid;
END $$;
