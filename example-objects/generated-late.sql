-- Events of the made-up year that came late.
INSERT INTO stats (id, date, type, record_type, payload, ip_geocode)
SELECT 2000000 + n, timestamptz '2020-01-20 12:00 UTC' + interval '1 day' * (n % 2), 'search', 'records',
       jsonb_build_object(md5('recordset ' || n)::uuid::text, 50 + n), '{"country": "Japan"}'
FROM generate_series(1, 6) n
ON CONFLICT DO NOTHING;
