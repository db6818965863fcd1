-- The search API's tables as far as daybook reads them. Other columns do not matter.
CREATE TABLE queries (
    id         bigint PRIMARY KEY,
    query_hash text NOT NULL
);
CREATE TABLE stats (
    id          bigint PRIMARY KEY,
    date        timestamptz NOT NULL,
    type        text,
    record_type text,
    payload     jsonb,
    ip_geocode  jsonb,
    query_id    bigint
);
CREATE INDEX stats_by_date ON stats (date);
