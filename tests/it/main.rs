//! Tests against a real Postgres and a real Elasticsearch. `script/test` starts both and sets their addresses.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::too_many_lines,
    reason = "a test is read from its first line to its last"
)]

mod support;

// Tests start in the order of their names, and this one takes longest.
#[path = "year.rs"]
mod a_year; // a year of late events, purges, imports and reversals, against an independent recount
mod accidents; // servers that die, return nonsense or are busy, killed runs: running again repairs everything
mod alerts; // each alert fires on the metrics of a ledger in the state that it is about, and on no others
mod auditing; // every query of docs/auditing.md: its result on a known ledger, its plan on a ledger of ten years
mod bulk; // documents that are refused, changed or deleted; compressed requests
mod clocks; // wrong clocks, impossible dates, and for how long a day is compared again
mod cluster; // a cluster of three nodes: one is killed, comes back or stays away; a shard that is lost for good
mod commands; // how days are selected, output, settings
mod configuration; // the layers of settings, `daybook config`, the example of a configuration file
mod connections; // nodes that are down, clusters that hang, endless responses, proxies
mod counting; // the counting rules, row by row: what is counted, ignored or rejected
mod doctor; // what `daybook doctor` finds, that its hints lead on, that it changes nothing and never hangs
mod documents; // links, commands, options, variables, messages and files that the documents name
mod encodings; // sources whose text is not UTF-8
mod encrypted; // TLS and logins of Elasticsearch: which servers the program trusts, and how it logs in
mod examples; // the files in example-objects are what the program writes
mod exchange; // exports and their import: an exact copy or nothing, however the file is damaged
mod failpoints; // the process is ended at each failpoint, then run again
mod failures; // the table of messages in docs/runbook.md: each failure is produced
mod fold; // events counted in files: the entry that `apply` posts from the table; what is refused
mod forged; // what a login that may post cannot do, changes to the schema that verify reports, witnesses of the ledger
mod healing; // damage to the indices: detected, reported, and repaired by the recommended command
mod help; // the help of every command, word for word
mod hostile; // logins that shadow the names in our statements: none of their code runs
mod import; // documents of the old system: each form gives the same ledger as the events; what is refused
mod late; // a writer that commits after its day was applied
mod layers; // which module may use which: arrows point down
mod ledger; // the schema: immutable, tamper-evident, self-explanatory; what it refuses
mod memory; // a day that exceeds the memory limit: spilled to temporary files, posted as one entry
mod messages; // the JSON messages of the commands, field by field
mod monitoring; // metrics, pings and the summary of a run; alerts and dashboard use metrics that exist
mod moving; // docs/moving.md, followed step by step on an old index
mod once; // the same day again, run after run and all at once
mod packaged; // the Debian package, installed: `daybook doctor` leads to a first applied day
mod parts; // cells whose terms are divided over several rows: all but the rows is as if they were not
mod postgres; // connections to Postgres: URLs, login settings, errors and exit codes, servers that stop responding
mod privileges; // the least privileges in Elasticsearch: enough for each command, and no more
mod privileges_postgres; // each role in Postgres: enough for its commands, and no more
mod projections; // when checkpoints are written; documents that are too large for the cluster
mod property; // random days, early and late, against an independent recount in SQL
mod readers; // the requests that readers of the old index send: each response equals plain SQL over the source
mod readme; // README.md typed word by word: what each command prints
mod real_day; // the published day: ledger, documents and totals, exact to the term
mod rebuild;
mod refusals; // what is refused, with which message and exit code, and that nothing is posted
mod report; // new indices from the ledger, during reads, postings, signals and crashes; switching back
mod reverse; // reversed entries: exact to the term, only once, and the consequences
mod secrets; // no secret in any output, whatever fails
mod secure; // servers that accept only encrypted connections, users with few privileges
mod secure_postgres; // which Postgres servers the program trusts, and how it logs in
mod simulation; // events, applies, rebuilds, crashes and damage in a seeded random order; the results are checked
mod status; // what comes first, what a monitor gets; which days are sealed, corrected, imported or reversed; `log`
mod templates; // index templates of the cluster: overridden, or refused by name
mod terminals; // text from outside cannot control a terminal; how output files are written
mod terms; // all-time counts of each term, and the setting that selects the dimensions
mod verify; // what a verification finds, where it checks, and what it repairs
mod versions; // which versions of Elasticsearch are accepted
mod zones; // days in time zones: days of 23 and 25 hours, and clock changes at midnight
