-- The role of the job: it may read and insert, nothing else. Grant it to the login that the timer uses:
--   GRANT daybook_job TO stats;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_job') THEN
        CREATE ROLE daybook_job NOLOGIN;
    END IF;
END $$;
GRANT USAGE ON SCHEMA daybook TO daybook_job;
GRANT SELECT, INSERT ON daybook.ledger, daybook.run_start, daybook.run_end, daybook.entry, daybook.interaction_delta,
    daybook.rejected_event TO daybook_job;
GRANT SELECT ON ALL TABLES IN SCHEMA daybook TO daybook_job;
