-- A year of made-up events before the published day, so that a report has something to show: weeks with quieter weekends,
-- growth, holidays without events, some events that cannot be counted. The same each time.
INSERT INTO queries SELECT 900000 + n, md5('query ' || n) FROM generate_series(1, 40) n ON CONFLICT DO NOTHING;

WITH day AS (
    SELECT d::date AS day, extract(doy FROM d)::int AS n, extract(isodow FROM d)::int AS weekday, d::date - date '2019-02-16' AS age
    FROM generate_series(timestamp '2019-02-16', timestamp '2020-02-15', interval '1 day') d
    WHERE d::date NOT IN ('2019-07-04', '2019-12-24', '2019-12-25', '2019-12-26')
), event AS (
    SELECT day, age, n, i, abs(hashint8(age * 1000 + i)) AS dice
    FROM day CROSS JOIN LATERAL generate_series(1, CASE WHEN weekday > 5 THEN 4 ELSE 9 END + age / 60) i
), recordset AS (
    SELECT n, md5('recordset ' || n)::uuid::text AS id FROM generate_series(0, 29) n
)
INSERT INTO stats (id, date, type, record_type, payload, ip_geocode, query_id)
SELECT 1000000 + e.age * 1000 + e.i, e.day + interval '1 hour' * (6 + e.dice % 16),
       t.type, CASE WHEN e.dice % 17 = 0 THEN 'mediarecords' ELSE 'records' END,
       CASE WHEN t.type IN ('view', 'seen')
            THEN jsonb_build_object('record-' || e.dice % 500, r.id)
            ELSE jsonb_build_object(r.id, 1 + e.dice % 900 * (1 + r.n % 5), r2.id, 1 + e.dice % 90) END,
       jsonb_build_object('country', (ARRAY['United States', 'Brazil', 'Canada', 'Mexico', 'Germany', 'India', 'Kenya',
           'Australia'])[1 + least(e.dice / 7 % 8, e.dice / 11 % 8)]),
       CASE WHEN t.type <> 'view' THEN 900001 + e.dice % 40 END
FROM event e
CROSS JOIN LATERAL (SELECT CASE WHEN e.dice % 997 = 0 THEN 'glance'
    ELSE (ARRAY['search', 'search', 'search', 'view', 'view', 'seen', 'mapping', 'download'])[1 + e.dice / 3 % 8] END) t (type)
JOIN recordset r ON r.n = least(e.dice / 13 % 30, e.dice / 17 % 30)
JOIN recordset r2 ON r2.n = 29 - r.n
ON CONFLICT DO NOTHING;
