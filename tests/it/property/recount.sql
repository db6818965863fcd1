-- What the ledger must hold, recounted from the source by other means than the program's: jsonb in place of a parser,
-- numeric in place of digits, sets in place of a fold. Nothing here calls daybook's own functions.
CREATE SCHEMA recount;

-- jsonb has no NUL and no half of a surrogate pair; where these stand in a json column, the text cannot be cast.
CREATE FUNCTION recount.as_jsonb(json_text text) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN json_text !~ '\\u(0000|d800|dc00)' THEN json_text::jsonb END
$$;

-- JSON on one line without blanks, its keys in the order of their bytes. Enough for objects without nested ones.
CREATE FUNCTION recount.canonical(value jsonb) RETURNS text IMMUTABLE STRICT LANGUAGE sql AS $$
    SELECT CASE WHEN jsonb_typeof(value) <> 'object' THEN value::text ELSE (
        SELECT '{' || coalesce(string_agg(to_json(m.key) || ':' || m.value, ',' ORDER BY m.key COLLATE "C"), '') || '}'
        FROM jsonb_each(value) m) END
$$;

CREATE FUNCTION recount.is_uuid(id text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT id ~* '^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$'
$$;

CREATE FUNCTION recount.is_natural(value jsonb) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN jsonb_typeof(value) = 'number'
        THEN value::numeric >= 0 AND value::numeric = trunc(value::numeric) AND value::numeric <= 9223372036854775807
        ELSE false END
$$;

CREATE VIEW recount.event AS
    SELECT s.id, (s.date AT TIME ZONE 'UTC')::date AS day, s.record_type COLLATE "C" AS record_type,
           s.type COLLATE "C" AS stat_type, s.type IN ('view', 'seen') AS is_of_items,
           coalesce(recount.as_jsonb(s.payload::text), 'null') AS payload, coalesce(q.query_hash, '') AS query,
           recount.canonical(recount.as_jsonb(coalesce(s.ip_geocode::text, 'null'))) AS geocode
    FROM stats s LEFT JOIN queries q ON q.id = s.query_id;

CREATE VIEW recount.verdict AS
    SELECT e.*, CASE
        WHEN e.record_type IS NULL OR e.record_type NOT IN ('records', 'mediarecords') THEN 'ignored'
        WHEN e.stat_type IS NULL OR e.stat_type NOT IN ('view', 'seen', 'search', 'mapping', 'download') THEN 'rejected'
        WHEN jsonb_typeof(e.payload) <> 'object' THEN 'rejected'
        WHEN e.stat_type <> 'view' AND octet_length(e.query) > 1024 THEN 'rejected'
        WHEN e.geocode IS NULL OR octet_length(e.geocode) > 1024 THEN 'rejected'
        WHEN EXISTS (
            SELECT FROM jsonb_each(e.payload) m WHERE NOT CASE WHEN e.is_of_items
                THEN jsonb_typeof(m.value) = 'string' AND recount.is_uuid(m.value #>> '{}') AND octet_length(m.key) <= 1024
                ELSE recount.is_uuid(m.key) AND recount.is_natural(m.value) END) THEN 'rejected'
        ELSE 'counted' END AS verdict
    FROM recount.event e;

CREATE VIEW recount.figures AS
    SELECT day, count(*) AS events, count(*) FILTER (WHERE verdict = 'counted') AS counted,
           count(*) FILTER (WHERE verdict = 'ignored') AS ignored, count(*) FILTER (WHERE verdict = 'rejected') AS rejected,
           array_agg(id ORDER BY id) FILTER (WHERE verdict = 'rejected') AS rejected_ids
    FROM recount.verdict GROUP BY day;

CREATE VIEW recount.interaction AS
    SELECT e.day, (CASE WHEN e.is_of_items THEN m.value #>> '{}' ELSE m.key END)::uuid AS recordset_id, e.record_type, e.stat_type,
           CASE WHEN e.is_of_items THEN m.key END AS item, CASE WHEN e.stat_type <> 'view' THEN e.query END AS query, e.geocode,
           CASE WHEN e.is_of_items THEN 1 ELSE m.value::numeric END AS n
    FROM recount.verdict e CROSS JOIN LATERAL jsonb_each(CASE WHEN e.verdict = 'counted' THEN e.payload ELSE '{}' END) m;

CREATE VIEW recount.cell AS
    SELECT day, recordset_id, record_type, stat_type, count(*) AS count, sum(n) AS total
    FROM recount.interaction GROUP BY day, recordset_id, record_type, stat_type;

CREATE VIEW recount.term AS
    SELECT i.day, i.recordset_id, i.record_type, i.stat_type, t.dimension, t.term, sum(i.n) AS n
    FROM recount.interaction i
    CROSS JOIN LATERAL (VALUES ('items', i.item), ('queries', i.query), ('geocodes', i.geocode)) t (dimension, term)
    WHERE t.term IS NOT NULL
    GROUP BY i.day, i.recordset_id, i.record_type, i.stat_type, t.dimension, t.term HAVING sum(i.n) <> 0;

-- The same of the ledger: the net of all entries of a day.
CREATE VIEW recount.ledger_cell AS
    SELECT day, recordset_id, record_type, stat_type, sum(count) AS count, sum(total) AS total
    FROM daybook.interaction_delta GROUP BY day, recordset_id, record_type, stat_type;

CREATE VIEW recount.ledger_term AS
    SELECT d.day, d.recordset_id, d.record_type, d.stat_type, maps.dimension, t.key AS term, sum(t.value::numeric) AS n
    FROM daybook.interaction_delta d
    CROSS JOIN LATERAL (VALUES ('items', d.items), ('queries', d.queries), ('geocodes', d.geocodes)) maps (dimension, map)
    CROSS JOIN LATERAL jsonb_each(maps.map) t
    GROUP BY d.day, d.recordset_id, d.record_type, d.stat_type, maps.dimension, t.key HAVING sum(t.value::numeric) <> 0;

CREATE VIEW recount.ledger_term_by_view AS
    SELECT day, recordset_id, record_type, stat_type, dimension, term, sum(n) AS n
    FROM daybook.interaction_term_delta
    GROUP BY day, recordset_id, record_type, stat_type, dimension, term HAVING sum(n) <> 0;
