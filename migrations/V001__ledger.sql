-- The ledger: immutable postings of what each day's events added to each cell.
--
-- Why packed rows (a cell's terms in three jsonb maps) and not a row per term: measured on one large day,
-- 5.1 M interactions are 12,919 rows and 334 MB, loaded by COPY in 5.9 s, against 2.2 GB and 90 s.
-- Why a large cell has several rows: a jsonb value ends at 268,435,455 bytes. A cell's maps are divided into parts of at most
-- 64 MiB of text. The first part carries the sums, the others add only terms, and all carry the same balance: so whatever adds
-- rows up, or looks at the newest row of a cell, need not know of parts.
-- Why running balances on the delta rows: the totals after any entry are read from the newest row of each cell, so
-- posting and projecting a day cost the same however long the history is.
-- Why the totals of an entry are a column of its header: whole-ledger questions then read a few rows a day and not every delta
-- row, and the header's hash covers them.
-- Why no foreign key from rows to entry: a trigger looks the entry up instead (V002), at the end of the transaction since rows
-- are streamed in before their header, whose content_hash covers them. It refuses what a foreign key would, and more.
-- Why COLLATE "C" on every text that takes part in an order: content_hash depends on the order, and the order must not
-- depend on the database's locale.

CREATE TABLE daybook.ledger (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    ledger_id  uuid NOT NULL,
    time_zone  text NOT NULL CHECK (time_zone <> ''),
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE daybook.ledger IS 'One row: which ledger this is. Written once, by the first migrate.';
COMMENT ON COLUMN daybook.ledger.singleton IS 'Always true: the table holds one row.';
COMMENT ON COLUMN daybook.ledger.ledger_id IS 'Identifies the ledger. Projections carry it and refuse to be advanced from another one.';
COMMENT ON COLUMN daybook.ledger.time_zone IS 'IANA name of the zone whose civil dates are the days of this ledger. Fixed at creation.';
COMMENT ON COLUMN daybook.ledger.created_at IS 'When the ledger was created.';

CREATE TABLE daybook.run_start (
    run_id     uuid PRIMARY KEY,
    command    text NOT NULL,
    version    text NOT NULL,
    started_by text NOT NULL,
    started_at timestamptz NOT NULL
);
COMMENT ON TABLE daybook.run_start IS 'One row per run of a command that may write, inserted when it has the lock. Read it through the view daybook.run.';
COMMENT ON COLUMN daybook.run_start.run_id IS 'Identifies the run; entries carry it.';
COMMENT ON COLUMN daybook.run_start.command IS 'The subcommand that ran, for example apply.';
COMMENT ON COLUMN daybook.run_start.version IS 'Version of the program.';
COMMENT ON COLUMN daybook.run_start.started_by IS 'Login that started it, set by the database.';
COMMENT ON COLUMN daybook.run_start.started_at IS 'When the run took the lock, by the clock of the database.';

CREATE TABLE daybook.run_end (
    run_id      uuid PRIMARY KEY REFERENCES daybook.run_start,
    finished_at timestamptz NOT NULL,
    exit_code   integer NOT NULL,
    outcome     text NOT NULL,
    figures     jsonb NOT NULL
);
COMMENT ON TABLE daybook.run_end IS 'How a run ended. A run without a row here is still going on, or was killed.';
COMMENT ON COLUMN daybook.run_end.run_id IS 'The run.';
COMMENT ON COLUMN daybook.run_end.finished_at IS 'When it ended, by the clock of the database.';
COMMENT ON COLUMN daybook.run_end.exit_code IS 'The exit code it ended with.';
COMMENT ON COLUMN daybook.run_end.outcome IS 'done, or the error in words.';
COMMENT ON COLUMN daybook.run_end.figures IS 'What the run did, in numbers: entries posted, documents written.';

CREATE TABLE daybook.entry (
    entry_id           bigint PRIMARY KEY CHECK (entry_id > 0),
    day                date NOT NULL,
    kind               text COLLATE "C" NOT NULL CHECK (kind IN ('apply', 'correction', 'import', 'reversal')),
    reverses           bigint REFERENCES daybook.entry,
    run_id             uuid NOT NULL REFERENCES daybook.run_start,
    rule_version       integer NOT NULL CHECK (rule_version > 0),
    tool_version       text NOT NULL,
    source_events      bigint NOT NULL CHECK (source_events >= 0),
    source_counted     bigint NOT NULL CHECK (source_counted >= 0),
    source_ignored     bigint NOT NULL CHECK (source_ignored >= 0),
    source_rejected    bigint NOT NULL CHECK (source_rejected >= 0),
    source_fingerprint text COLLATE "C" NOT NULL,
    delta_rows         bigint NOT NULL CHECK (delta_rows >= 0),
    terms_complete     boolean NOT NULL,
    totals             jsonb NOT NULL CHECK (jsonb_typeof(totals) = 'array'),
    content_hash       bytea NOT NULL CHECK (length(content_hash) = 32),
    rejected_hash      bytea NOT NULL CHECK (length(rejected_hash) = 32),
    previous_hash      bytea NOT NULL CHECK (length(previous_hash) = 32),
    entry_hash         bytea NOT NULL CHECK (length(entry_hash) = 32),
    reason             text,
    posted_by          text NOT NULL,
    posted_at          timestamptz NOT NULL,
    CONSTRAINT entry_accounts_for_every_source_row
        CHECK (source_counted + source_ignored + source_rejected = source_events),
    CONSTRAINT entry_reverses_only_as_reversal CHECK ((reverses IS NOT NULL) = (kind = 'reversal'))
);
CREATE INDEX entry_by_day ON daybook.entry (day, entry_id);
CREATE UNIQUE INDEX entry_reversed_once ON daybook.entry (reverses);
COMMENT ON TABLE daybook.entry IS 'The journal: one immutable header per posting. Ids ascend without gaps, each header carries the hash of the one before.';
COMMENT ON COLUMN daybook.entry.entry_id IS 'Position in the journal: 1, 2, 3, … without gaps.';
COMMENT ON COLUMN daybook.entry.day IS 'The civil day, in the ledger''s time zone, that the entry is about.';
COMMENT ON COLUMN daybook.entry.kind IS 'apply: the first posting of a day. correction: the difference to what the source has now. import: from files. reversal: the exact opposite of another entry.';
COMMENT ON COLUMN daybook.entry.reverses IS 'For a reversal: the entry whose opposite this is.';
COMMENT ON COLUMN daybook.entry.run_id IS 'The run that posted it.';
COMMENT ON COLUMN daybook.entry.rule_version IS 'Version of the counting rules that made the deltas.';
COMMENT ON COLUMN daybook.entry.tool_version IS 'Version of the program that posted it.';
COMMENT ON COLUMN daybook.entry.source_events IS 'Rows that the source table held for the day when it was read.';
COMMENT ON COLUMN daybook.entry.source_counted IS 'Of those, events that were counted.';
COMMENT ON COLUMN daybook.entry.source_ignored IS 'Of those, events of a record type that is not counted.';
COMMENT ON COLUMN daybook.entry.source_rejected IS 'Of those, events that no rule could count; kept in rejected_event by the first entry of the day that met them.';
COMMENT ON COLUMN daybook.entry.source_fingerprint IS 'Fingerprint of the day''s source rows: number, highest id, order-free sums over the ids and over hashes of the short columns and the queries'' hashes. The same fingerprint is taken for the same rows. Where daybook fold counted the events, the last part starts with fold- and covers all columns.';
COMMENT ON COLUMN daybook.entry.delta_rows IS 'Number of interaction_delta rows of the entry; 0 for a quiet day.';
COMMENT ON COLUMN daybook.entry.terms_complete IS 'Whether the maps of every delta row sum to its total. False where documents of the old system without all their terms were imported, and for what corrects or reverses those.';
COMMENT ON COLUMN daybook.entry.totals IS 'What the entry adds by record type and stat type: number of cells, count and total. Set on insert by daybook.totals_of(entry_id), which also computes it again; daybook.entry_total has it as rows.';
COMMENT ON COLUMN daybook.entry.content_hash IS 'SHA-256 over the entry''s delta rows; daybook.content_hash_of(entry_id) computes it again.';
COMMENT ON COLUMN daybook.entry.rejected_hash IS 'SHA-256 over the rejected events that the entry keeps, set on insert by daybook.rejected_hash_of(entry_id), which also computes it again.';
COMMENT ON COLUMN daybook.entry.previous_hash IS 'entry_hash of the entry before; for the first entry daybook.genesis_hash().';
COMMENT ON COLUMN daybook.entry.entry_hash IS 'SHA-256 over the header, set on insert by daybook.entry_hash_of(entry), which also computes it again.';
COMMENT ON COLUMN daybook.entry.reason IS 'Why, in words; for corrections, imports and reversals. Where daybook fold counted the events, this says so.';
COMMENT ON COLUMN daybook.entry.posted_by IS 'Login that posted it, set by the database.';
COMMENT ON COLUMN daybook.entry.posted_at IS 'When it was posted, by the clock of the database.';

CREATE TABLE daybook.interaction_delta (
    recordset_id  uuid NOT NULL,
    record_type   text COLLATE "C" NOT NULL CHECK (record_type IN ('records', 'mediarecords')),
    stat_type     text COLLATE "C" NOT NULL CHECK (stat_type IN ('download', 'mapping', 'search', 'seen', 'view')),
    entry_id      bigint NOT NULL,
    day           date NOT NULL,
    count         bigint NOT NULL,
    total         bigint NOT NULL,
    items         jsonb NOT NULL CHECK (jsonb_typeof(items) = 'object'),
    queries       jsonb NOT NULL CHECK (jsonb_typeof(queries) = 'object'),
    geocodes      jsonb NOT NULL CHECK (jsonb_typeof(geocodes) = 'object'),
    count_balance bigint NOT NULL,
    total_balance bigint NOT NULL,
    first_day     date NOT NULL,
    last_day      date NOT NULL,
    part          smallint NOT NULL DEFAULT 0 CHECK (part >= 0),
    PRIMARY KEY (recordset_id, record_type, stat_type, entry_id, part),
    CHECK (first_day <= day AND day <= last_day),
    CONSTRAINT interaction_delta_sums_stand_on_the_first_part CHECK (part = 0 OR count = 0 AND total = 0)
);
CREATE INDEX interaction_delta_by_day ON daybook.interaction_delta (day, recordset_id);
CREATE INDEX interaction_delta_by_entry ON daybook.interaction_delta (entry_id);
COMMENT ON TABLE daybook.interaction_delta IS 'What one entry adds to one cell (recordset, record type, stat type); a very large cell has several rows. Immutable.';
COMMENT ON COLUMN daybook.interaction_delta.recordset_id IS 'The recordset whose records were interacted with.';
COMMENT ON COLUMN daybook.interaction_delta.record_type IS 'records or mediarecords.';
COMMENT ON COLUMN daybook.interaction_delta.stat_type IS 'The kind of interaction: search, mapping, download, seen or view.';
COMMENT ON COLUMN daybook.interaction_delta.entry_id IS 'The entry that the row belongs to.';
COMMENT ON COLUMN daybook.interaction_delta.day IS 'The day of the entry.';
COMMENT ON COLUMN daybook.interaction_delta.count IS 'Interactions added; negative in a correction or a reversal that subtracts. 0 in further parts.';
COMMENT ON COLUMN daybook.interaction_delta.total IS 'Records involved in them. 0 in further parts.';
COMMENT ON COLUMN daybook.interaction_delta.items IS 'Of the cell''s total, by record id; view and seen only. Never lists a zero.';
COMMENT ON COLUMN daybook.interaction_delta.queries IS 'Of the cell''s total, by query hash; the empty string stands for no query. Not for view. Never lists a zero.';
COMMENT ON COLUMN daybook.interaction_delta.geocodes IS 'Of the cell''s total, by geocode as JSON text with sorted keys; null stands for no geocode. Never lists a zero.';
COMMENT ON COLUMN daybook.interaction_delta.count_balance IS 'Sum of count over the cell up to and including this entry.';
COMMENT ON COLUMN daybook.interaction_delta.total_balance IS 'Sum of total over the cell up to and including this entry.';
COMMENT ON COLUMN daybook.interaction_delta.first_day IS 'Earliest day of the cell up to and including this entry.';
COMMENT ON COLUMN daybook.interaction_delta.last_day IS 'Latest day of the cell up to and including this entry.';
COMMENT ON COLUMN daybook.interaction_delta.part IS '0 for nearly all rows. A cell with too many terms for one row has further rows 1, 2, … with the rest of its terms, whose count and total are 0.';

CREATE TABLE daybook.rejected_event (
    entry_id  bigint NOT NULL,
    source_id bigint NOT NULL,
    reason    text COLLATE "C" NOT NULL,
    message   text NOT NULL,
    event     json NOT NULL,
    PRIMARY KEY (entry_id, source_id)
);
COMMENT ON TABLE daybook.rejected_event IS 'Events of a posted day that no rule could count, whole. Immutable.';
COMMENT ON COLUMN daybook.rejected_event.entry_id IS 'The entry that met the event.';
COMMENT ON COLUMN daybook.rejected_event.source_id IS 'Its id in the source table.';
COMMENT ON COLUMN daybook.rejected_event.reason IS 'Reason code, for example unknown_type.';
COMMENT ON COLUMN daybook.rejected_event.message IS 'What is wrong with it, in words.';
COMMENT ON COLUMN daybook.rejected_event.event IS 'The source row. json, not jsonb: it must keep what jsonb would refuse or change (\u0000, repeated keys).';

-- lz4 halves the time that compressing the maps takes; not every build of the server has it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE daybook.interaction_delta
            ALTER COLUMN items SET COMPRESSION lz4,
            ALTER COLUMN queries SET COMPRESSION lz4,
            ALTER COLUMN geocodes SET COMPRESSION lz4;
    END IF;
END $$;
