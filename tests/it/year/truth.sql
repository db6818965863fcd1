-- A year of events as they happened, wherever they are kept: each with the date on which it reaches the source.
-- Drawn by hashes, so that every run draws the same.
CREATE SCHEMA truth;

CREATE FUNCTION truth.draw(n bigint, what text, below bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS $$
    SELECT ('x' || left(md5(n || what), 12))::bit(48)::bigint % below
$$;

CREATE FUNCTION truth.recordset(n bigint) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT '0000000' || n || '-0000-4000-8000-00000000abcd'
$$;

CREATE TABLE truth.queries AS TABLE queries;
CREATE TABLE truth.stats AS
    SELECT e.n AS id, e.day + e.n % 24 * interval '1 hour' AS date, e.type,
           CASE WHEN truth.draw(e.n, 'media', 10) = 0 THEN 'mediarecords' ELSE 'records' END AS record_type,
           CASE WHEN e.type IN ('view', 'seen') THEN
               (SELECT jsonb_object_agg('record ' || truth.draw(e.n * 10 + i, 'record', 30), truth.recordset(truth.draw(e.n + i, 'of', 6)))
                FROM generate_series(0, truth.draw(e.n, 'many', 3)) i)
           ELSE
               (SELECT jsonb_object_agg(truth.recordset(truth.draw(e.n + i, 'of', 6)), truth.draw(e.n * 10 + i, 'records', 5000))
                FROM generate_series(0, truth.draw(e.n, 'many', 4)) i)
           END AS payload,
           CASE WHEN truth.draw(e.n, 'place', 8) > 0
               THEN jsonb_build_object('country', 'C' || truth.draw(e.n, 'place', 8), 'city', NULL) END AS ip_geocode,
           CASE WHEN truth.draw(e.n, 'query', 4) > 0 THEN truth.draw(e.n, 'query', 4) END AS query_id,
           -- Of a hundred events one and a half come a few days late, and as many one to two and a half months.
           e.day::date + 1 + CASE WHEN e.late < 15 THEN 1 + e.late % 6 WHEN e.late < 30 THEN 15 + e.late * 2 ELSE 0 END::int AS arrives
    FROM (SELECT n, '2019-01-01 00:00Z'::timestamptz + (n - 1) / 14 * interval '24 hours' AS day,
                 (ARRAY['search', 'search', 'mapping', 'download', 'seen', 'view', 'view'])[1 + truth.draw(n, 'type', 7)] AS type,
                 truth.draw(n, 'late', 1000) AS late
          FROM generate_series(1, 365 * 14) n) e;

CREATE TABLE truth.arrived (id bigint PRIMARY KEY);
