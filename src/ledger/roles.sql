-- The role of the job: it may read and insert, nothing else. Grant it to the login that the timer uses:
--   GRANT daybook_job TO stats;
-- The role of auditors: it may read, nothing else. Grant it to whoever asks the questions of docs/auditing.md:
--   GRANT daybook_auditor TO auditor;
-- Nobody else's code runs when an administrator does, whatever stands in the schemas that the session searches.
SET search_path = pg_catalog, pg_temp;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_job') THEN
        CREATE ROLE daybook_job NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_auditor') THEN
        CREATE ROLE daybook_auditor NOLOGIN;
    END IF;
END $$;
GRANT USAGE ON SCHEMA daybook TO daybook_job, daybook_auditor;
GRANT SELECT, INSERT ON daybook.run_start, daybook.run_end, daybook.entry, daybook.interaction_delta,
    daybook.rejected_event TO daybook_job;
GRANT SELECT ON ALL TABLES IN SCHEMA daybook TO daybook_job, daybook_auditor;
