//! Tests against a real Postgres and a real Elasticsearch: `script/test` starts both and sets where they are.

mod support;

mod examples; // the files of example-objects are what the program makes
mod real_day; // the published day: ledger, documents and totals, to the term
