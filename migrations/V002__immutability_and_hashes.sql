-- What makes the ledger immutable and tampering evident.
--
-- Triggers refuse every change, also to the tables' owner and under session_replication_role = replica (ENABLE ALWAYS).
-- Somebody who switches them off and edits is found by recomputing the hashes below, which SQL alone can do.

CREATE FUNCTION daybook.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'daybook.% is immutable: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', HINT = 'A wrong day is put right by posting the difference: daybook apply --day.';
END $$;
COMMENT ON FUNCTION daybook.refuse_change() IS 'Trigger: refuses UPDATE, DELETE and TRUNCATE.';

CREATE FUNCTION daybook.refuse_change_of_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A ledger without entries may become the copy of another: that is how an export is imported.
    IF TG_OP <> 'UPDATE' OR EXISTS (SELECT FROM daybook.entry) THEN
        RAISE EXCEPTION 'daybook.ledger is immutable: % refused', TG_OP
            USING ERRCODE = 'restrict_violation', HINT = 'A ledger keeps its id and its zone from its first entry on.';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION daybook.refuse_change_of_ledger() IS 'Trigger: refuses every change of which ledger this is, once it has an entry.';
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.ledger FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change_of_ledger();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.run_start FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.run_end FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.entry FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.interaction_delta FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON daybook.rejected_event FOR EACH STATEMENT EXECUTE FUNCTION daybook.refuse_change();
ALTER TABLE daybook.ledger ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE daybook.run_start ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE daybook.run_end ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE daybook.entry ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE daybook.interaction_delta ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE daybook.rejected_event ENABLE ALWAYS TRIGGER refuse_change;

CREATE FUNCTION daybook.row_hash_of(d daybook.interaction_delta) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(convert_to(
        d.recordset_id::text || E'\n' || d.record_type || E'\n' || d.stat_type || E'\n' || to_char(d.day, 'YYYY-MM-DD') || E'\n'
        || d.count || E'\n' || d.total || E'\n' || d.items::text || E'\n' || d.queries::text || E'\n' || d.geocodes::text || E'\n'
        || d.count_balance || E'\n' || d.total_balance || E'\n'
        || to_char(d.first_day, 'YYYY-MM-DD') || E'\n' || to_char(d.last_day, 'YYYY-MM-DD'), 'UTF8'))
$$;
COMMENT ON FUNCTION daybook.row_hash_of(daybook.interaction_delta) IS
    'SHA-256 over a delta row: its fields, one a line. No field can hold a line feed: jsonb''s text escapes it.';

CREATE FUNCTION daybook.content_hash_of(of_entry_id bigint) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(coalesce(
        string_agg(daybook.row_hash_of(d), ''::bytea ORDER BY d.recordset_id, d.record_type, d.stat_type), ''::bytea))
    FROM daybook.interaction_delta d WHERE d.entry_id = of_entry_id
$$;
COMMENT ON FUNCTION daybook.content_hash_of(bigint) IS
    'SHA-256 over the row hashes of an entry in the order recordset_id, record_type, stat_type: what entry.content_hash must be.';

CREATE FUNCTION daybook.genesis_hash() RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(convert_to(jsonb_build_array('daybook ledger', ledger_id, time_zone)::text, 'UTF8')) FROM daybook.ledger
$$;
COMMENT ON FUNCTION daybook.genesis_hash() IS 'previous_hash of the first entry: ties the chain to this ledger and its time zone.';

CREATE FUNCTION daybook.entry_hash_of(e daybook.entry) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        'daybook entry', e.entry_id, to_char(e.day, 'YYYY-MM-DD'), e.kind, e.reverses, e.run_id, e.rule_version, e.tool_version,
        e.source_events, e.source_counted, e.source_ignored, e.source_rejected, e.source_fingerprint, e.delta_rows, e.terms_complete,
        encode(e.content_hash, 'hex'), encode(e.previous_hash, 'hex'), e.reason, e.posted_by,
        to_char(e.posted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text, 'UTF8'))
$$;
COMMENT ON FUNCTION daybook.entry_hash_of(daybook.entry) IS
    'SHA-256 over a header''s fields as a JSON array, which separates them unambiguously: what entry.entry_hash must be.';

CREATE FUNCTION daybook.entry_follows_head() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    head_id   bigint;
    head_hash bytea;
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
    NEW.entry_hash := daybook.entry_hash_of(NEW);
    RETURN NEW;
END $$;
COMMENT ON FUNCTION daybook.entry_follows_head() IS
    'Trigger: an entry must be the next one and carry the hash of the last one; sets entry_hash.';
CREATE TRIGGER entry_follows_head BEFORE INSERT ON daybook.entry FOR EACH ROW EXECUTE FUNCTION daybook.entry_follows_head();
ALTER TABLE daybook.entry ENABLE ALWAYS TRIGGER entry_follows_head;
