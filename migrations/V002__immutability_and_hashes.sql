-- What makes the ledger immutable, its authors known, and tampering evident.
--
-- Triggers refuse every change, also to the tables' owner and under session_replication_role = replica (ENABLE ALWAYS).
-- Somebody who switches them off and edits is found by recomputing the hashes below, which SQL alone can do.
--
-- No name in here is found through a search_path: what is LANGUAGE sql is bound when it is created (BEGIN ATOMIC), which the
-- migrating session does with a search_path of its own; what is plpgsql sets one, or names schemas and operators in full.
--
-- Each trigger is written as pg_get_triggerdef writes it, and functions and views end with a line of their own: `daybook verify`
-- compares what is there with what is written here.

CREATE FUNCTION daybook.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'daybook.% is immutable: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'A wrong day is put right by posting the difference: daybook apply --day.';
END
$$;
COMMENT ON FUNCTION daybook.refuse_change() IS 'Trigger: refuses UPDATE, DELETE and TRUNCATE.';

CREATE FUNCTION daybook.refuse_change_of_ledger() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A ledger without entries may become the copy of another: that is how an export is imported.
    IF TG_OP <> 'UPDATE' OR EXISTS (SELECT FROM daybook.entry) THEN
        RAISE EXCEPTION 'daybook.ledger is immutable: % refused', TG_OP
            USING ERRCODE = 'restrict_violation', HINT = 'A ledger keeps its id and its zone from its first entry on.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION daybook.refuse_change_of_ledger() IS 'Trigger: refuses every change of which ledger this is, once it has an entry.';

CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON daybook.ledger FOR EACH ROW EXECUTE FUNCTION daybook.refuse_change_of_ledger();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON daybook.ledger FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change_of_ledger();
CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON daybook.run_start FOR EACH ROW EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON daybook.run_start FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON daybook.run_end FOR EACH ROW EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON daybook.run_end FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON daybook.entry FOR EACH ROW EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON daybook.entry FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON daybook.interaction_delta FOR EACH ROW EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON daybook.interaction_delta FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON daybook.rejected_event FOR EACH ROW EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON daybook.rejected_event FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
ALTER TABLE daybook.ledger ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE daybook.run_start ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE daybook.run_end ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE daybook.entry ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE daybook.interaction_delta ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE daybook.rejected_event ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate;

CREATE FUNCTION daybook.row_hash_of(d daybook.interaction_delta) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT sha256(convert_to(
        d.recordset_id::text || E'\n' || d.record_type || E'\n' || d.stat_type || E'\n' || to_char(d.day, 'YYYY-MM-DD') || E'\n'
        || d.count || E'\n' || d.total || E'\n' || d.items::text || E'\n' || d.queries::text || E'\n' || d.geocodes::text || E'\n'
        || d.count_balance || E'\n' || d.total_balance || E'\n'
        || to_char(d.first_day, 'YYYY-MM-DD') || E'\n' || to_char(d.last_day, 'YYYY-MM-DD')
        || CASE d.part WHEN 0 THEN '' ELSE E'\n' || d.part END, 'UTF8'));
END;
COMMENT ON FUNCTION daybook.row_hash_of(daybook.interaction_delta) IS
    'SHA-256 over a delta row: its fields, one a line; the last is the part, unless it is 0. No field can hold a line feed: jsonb''s text escapes it.';

CREATE FUNCTION daybook.content_hash_of(of_entry_id bigint) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT sha256(coalesce(
        string_agg(daybook.row_hash_of(d), ''::bytea ORDER BY d.recordset_id, d.record_type, d.stat_type, d.part), ''::bytea))
    FROM daybook.interaction_delta d WHERE d.entry_id = of_entry_id;
END;
COMMENT ON FUNCTION daybook.content_hash_of(bigint) IS
    'SHA-256 over the row hashes of an entry in the order recordset_id, record_type, stat_type, part: what entry.content_hash must be.';

CREATE FUNCTION daybook.rejected_hash_of(of_entry_id bigint) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT sha256(coalesce(string_agg(
        sha256(convert_to(
            r.source_id || E'\n' || r.reason || E'\n' || encode(sha256(convert_to(r.message, 'UTF8')), 'hex') || E'\n'
            || encode(sha256(convert_to(r.event::text, 'UTF8')), 'hex'), 'UTF8')),
        ''::bytea ORDER BY r.source_id), ''::bytea))
    FROM daybook.rejected_event r WHERE r.entry_id = of_entry_id;
END;
COMMENT ON FUNCTION daybook.rejected_hash_of(bigint) IS
    'SHA-256 over the hashes of the rejected events of an entry in the order of source_id: what entry.rejected_hash must be. Each is of source_id, reason and the hashes of message and event, one a line.';

CREATE FUNCTION daybook.totals_of(of_entry_id bigint) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'record_type', s.record_type, 'stat_type', s.stat_type, 'cells', s.cells, 'count', s.count, 'total', s.total)
        ORDER BY s.record_type, s.stat_type), '[]'::jsonb)
    FROM (SELECT d.record_type, d.stat_type, count(*) FILTER (WHERE d.part = 0) AS cells, sum(d.count) AS count, sum(d.total) AS total
          FROM daybook.interaction_delta d WHERE d.entry_id = of_entry_id GROUP BY d.record_type, d.stat_type) s;
END;
COMMENT ON FUNCTION daybook.totals_of(bigint) IS
    'The number of cells, count and total of an entry by record type and stat type, in this order: what entry.totals must be.';

CREATE FUNCTION daybook.genesis_hash() RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT sha256(convert_to(jsonb_build_array('daybook ledger', ledger_id, time_zone)::text, 'UTF8')) FROM daybook.ledger;
END;
COMMENT ON FUNCTION daybook.genesis_hash() IS 'previous_hash of the first entry: ties the chain to this ledger and its time zone.';

CREATE FUNCTION daybook.entry_hash_of(e daybook.entry) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT sha256(convert_to(jsonb_build_array(
        'daybook entry', e.entry_id, to_char(e.day, 'YYYY-MM-DD'), e.kind, e.reverses, e.run_id, e.rule_version, e.tool_version,
        e.source_events, e.source_counted, e.source_ignored, e.source_rejected, e.source_fingerprint, e.delta_rows, e.terms_complete,
        e.totals, encode(e.content_hash, 'hex'), encode(e.rejected_hash, 'hex'), encode(e.previous_hash, 'hex'), e.reason, e.posted_by,
        to_char(e.posted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text, 'UTF8'));
END;
COMMENT ON FUNCTION daybook.entry_hash_of(daybook.entry) IS
    'SHA-256 over a header''s fields as a JSON array, which separates them unambiguously: what entry.entry_hash must be.';

CREATE FUNCTION daybook.is_copying() RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM daybook.ledger l WHERE l.xmin = pg_current_xact_id()::xid);
END;
COMMENT ON FUNCTION daybook.is_copying() IS
    'Whether this transaction makes the ledger the copy of another: it has changed which ledger this is. Only the owner may, and only as long as there is no entry.';

CREATE FUNCTION daybook.recorded_by(given text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF daybook.is_copying() THEN
        RETURN given;
    END IF;
    IF given <> session_user THEN
        RAISE EXCEPTION '% cannot record anything as %: who does is told by the database', session_user, given
            USING ERRCODE = 'restrict_violation', HINT = 'Leave the column out.';
    END IF;
    RETURN session_user;
END
$$;
COMMENT ON FUNCTION daybook.recorded_by(text) IS 'Who inserts a row: the login of the session. Another name is refused; a copy keeps the name that it is given.';

CREATE FUNCTION daybook.recorded_at(given timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    IF daybook.is_copying() THEN
        RETURN given;
    END IF;
    IF given NOT BETWEEN moment - interval '5 minutes' AND moment + interval '5 minutes' THEN
        RAISE EXCEPTION 'nothing can be recorded as of %: by the clock of the database it is %', given, moment
            USING ERRCODE = 'restrict_violation', HINT = 'Leave the column out.';
    END IF;
    RETURN moment;
END
$$;
COMMENT ON FUNCTION daybook.recorded_at(timestamptz) IS 'When a row is inserted, by the clock of the database. A time that is off by more than five minutes is refused; a copy keeps the time that it is given.';

CREATE FUNCTION daybook.run_starts() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.started_by := daybook.recorded_by(NEW.started_by);
    NEW.started_at := daybook.recorded_at(NEW.started_at);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION daybook.run_starts() IS 'Trigger: sets who starts a run, and when.';
CREATE TRIGGER run_starts BEFORE INSERT ON daybook.run_start FOR EACH ROW EXECUTE FUNCTION daybook.run_starts();
ALTER TABLE daybook.run_start ENABLE ALWAYS TRIGGER run_starts;

CREATE FUNCTION daybook.run_ends() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT daybook.is_copying()
        AND NOT EXISTS (SELECT FROM daybook.run_start s WHERE s.run_id = NEW.run_id AND s.started_by = session_user) THEN
        RAISE EXCEPTION 'run % was not started by %', NEW.run_id, session_user USING ERRCODE = 'restrict_violation';
    END IF;
    NEW.finished_at := daybook.recorded_at(NEW.finished_at);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION daybook.run_ends() IS 'Trigger: a run is ended by the login that started it; sets when.';
CREATE TRIGGER run_ends BEFORE INSERT ON daybook.run_end FOR EACH ROW EXECUTE FUNCTION daybook.run_ends();
ALTER TABLE daybook.run_end ENABLE ALWAYS TRIGGER run_ends;

CREATE FUNCTION daybook.entry_follows_head() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head_id       bigint;
    head_hash     bytea;
    kept_rejected bytea;
    sums          jsonb;
BEGIN
    SELECT entry_id, entry_hash INTO head_id, head_hash FROM daybook.entry ORDER BY entry_id DESC LIMIT 1;
    IF NOT FOUND THEN
        head_id := 0;
        head_hash := daybook.genesis_hash();
    END IF;
    IF NEW.entry_id <> head_id + 1 THEN
        RAISE EXCEPTION 'entry % does not follow entry %: entry ids have no gaps', NEW.entry_id, head_id
            USING ERRCODE = 'serialization_failure';
    END IF;
    NEW.previous_hash := coalesce(NEW.previous_hash, head_hash);
    IF NEW.previous_hash <> head_hash THEN
        RAISE EXCEPTION 'entry % does not carry the hash of entry %', NEW.entry_id, head_id
            USING ERRCODE = 'serialization_failure';
    END IF;
    NEW.posted_by := daybook.recorded_by(NEW.posted_by);
    NEW.posted_at := daybook.recorded_at(NEW.posted_at);
    -- In a copy, rows and rejected events come after their header; whoever copies compares totals and hashes.
    IF NOT daybook.is_copying() THEN
        IF NOT EXISTS (SELECT FROM daybook.run_start s WHERE s.run_id = NEW.run_id AND s.started_by = session_user) THEN
            RAISE EXCEPTION 'entry % is of run %, which was not started by %', NEW.entry_id, NEW.run_id, session_user
                USING ERRCODE = 'restrict_violation';
        END IF;
        kept_rejected := daybook.rejected_hash_of(NEW.entry_id);
        IF NEW.rejected_hash <> kept_rejected THEN
            RAISE EXCEPTION 'entry % does not carry the hash of its rejected events', NEW.entry_id
                USING ERRCODE = 'restrict_violation';
        END IF;
        NEW.rejected_hash := kept_rejected;
        sums := daybook.totals_of(NEW.entry_id);
        IF NEW.totals <> sums THEN
            RAISE EXCEPTION 'entry % does not carry the totals of its rows', NEW.entry_id
                USING ERRCODE = 'restrict_violation';
        END IF;
        NEW.totals := sums;
    END IF;
    NEW.entry_hash := daybook.entry_hash_of(NEW);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION daybook.entry_follows_head() IS
    'Trigger: an entry must be the next one, carry the hash of the last one and be of a run of the same login; sets who posts it, when, its totals and its hashes.';
CREATE TRIGGER entry_follows_head BEFORE INSERT ON daybook.entry FOR EACH ROW EXECUTE FUNCTION daybook.entry_follows_head();
ALTER TABLE daybook.entry ENABLE ALWAYS TRIGGER entry_follows_head;

-- It runs for each row of a posting, as a foreign key would, so it has no SET clause, which would take as long as its query. It
-- looks at xmin, the transaction that inserted the entry.
CREATE FUNCTION daybook.entry_is_being_posted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM daybook.entry e
        WHERE e.entry_id OPERATOR(pg_catalog.=) NEW.entry_id
          AND e.xmin OPERATOR(pg_catalog.=) (pg_catalog.pg_current_xact_id()::pg_catalog.xid);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'daybook.% takes rows of an entry only in the transaction that posts it: entry % refused',
            TG_TABLE_NAME, NEW.entry_id
            USING ERRCODE = 'restrict_violation', HINT = 'A wrong day is put right by posting the difference: daybook apply --day.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION daybook.entry_is_being_posted() IS
    'Trigger, at the end of the transaction: rows must be of an entry that was posted in the same one.';
CREATE CONSTRAINT TRIGGER entry_is_being_posted AFTER INSERT ON daybook.interaction_delta DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION daybook.entry_is_being_posted();
CREATE CONSTRAINT TRIGGER entry_is_being_posted AFTER INSERT ON daybook.rejected_event DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION daybook.entry_is_being_posted();
ALTER TABLE daybook.interaction_delta ENABLE ALWAYS TRIGGER entry_is_being_posted;
ALTER TABLE daybook.rejected_event ENABLE ALWAYS TRIGGER entry_is_being_posted;
