//! Tests against a real Postgres and a real Elasticsearch: `script/test` starts both and sets where they are.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

// Tests start in the order of their names, and this one takes longest.
#[path = "year.rs"]
mod a_year; // a year of late events, purges, imports and reversals, against an independent recount
mod accidents; // servers that die, answer nonsense or are busy, runs that are killed: repeating repairs
mod auditing; // every query of docs/auditing.md: its answer on a known ledger, its plan on one of ten years
mod bulk; // documents that are refused, changed, deleted; compressed requests
mod clocks; // wrong clocks, dates that no event can have, and how long a day is looked at again
mod commands; // which days, which output, which settings
mod connections; // nodes that are down, clusters that hang, answers without end, proxies
mod counting; // the counting rules, row by row of their table: what counts, what is ignored, what is rejected
mod documents; // links, commands, options, variables, messages and files that the documents name
mod encodings; // a source whose text is not UTF-8
mod encrypted; // certificates and logging in: whom the program trusts that speaks for Elasticsearch, and who it says it is
mod examples; // the files of example-objects are what the program makes
mod exchange; // exports and their import: exact copies or nothing, whatever is done to the file
mod failpoints; // the process ended at each failpoint in the sources, then run again
mod failures; // the table of messages in docs/operating.md: each failure made
mod forged; // what a login that may post cannot do, changes to the schema that verify names, witnesses of the ledger
mod healing; // each damage to the indices: noticed, named, and put right by the command that is recommended
mod hostile; // logins that shadow whatever our statements name: none of their code runs
mod import; // what the old system left: in each of its forms the same ledger as from the events, and what is refused
mod late; // a writer that commits after its day was applied
mod ledger; // immutable, tamper-evident, self-explaining: the schema and what it refuses
mod memory; // a day that takes more memory than there may be: counted in parts, posted as one entry
mod moving; // docs/moving.md, followed word by word on an old-style index
mod once; // the same day again, one after the other and all at once
mod postgres; // connections to Postgres: addresses, settings of logins, errors and their exit codes, servers that fall silent
mod privileges; // the least privileges in Elasticsearch: enough for a command, and for nothing else
mod privileges_postgres; // what each role may do in Postgres: enough for its commands, and nothing else
mod projections; // when it is recorded how far an index is; documents that are too large for the cluster
mod property; // random days, early and late, against a recount in SQL that shares nothing with the program
mod readers; // requests as readers of the old index send them: each answer is what plain SQL says over the source
mod real_day; // the published day: ledger, documents and totals, to the term
mod rebuild; // new indices from the ledger alone, under readers, postings, signals and crashes; and back again
mod refusals; // what is refused, in which words, with which exit code, and that nothing is posted
mod reverse; // entries that are taken back: to the term, once, and what follows from it
mod secrets; // no secret in any output, whatever fails
mod secure; // servers that take encrypted connections only, users with few rights
mod secure_postgres; // whom the program trusts that speaks for Postgres, and how it logs in
mod simulation; // a seeded order of events, applies, rebuilds, crashes and damage, settling each time
mod status; // which days are sealed, corrected, imported, taken back
mod templates; // index templates of the cluster: overridden, or refused by name
mod terminals; // text from outside cannot steer a terminal; a file is written to what is there
mod terms; // all-time counts of each term, and the setting that says which terms
mod verify; // what a verification finds, where it looks, and what it repairs
mod versions; // what versions of Elasticsearch are taken
mod zones; // days in time zones: of 23 and 25 hours, and where the clocks change at midnight
