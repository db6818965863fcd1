//! daybook: a ledger of applied days.
//!
//! A search API logs each interaction (search, view, seen, mapping, download) as a row of a Postgres table. daybook adds
//! up the events of a day, posts the sums as immutable rows of a ledger, and updates Elasticsearch documents, which are
//! projections of the ledger. Applying a day twice changes nothing.
//!
//! ARCHITECTURE.md has a map of the modules. A module uses only modules of lower layers; a test enforces this.

// Commands.
mod cli;
mod command;
mod config;
mod logging;
mod monitoring;
mod output;

// Operations.
mod apply;
mod doctor;
mod exchange;
mod fold;
mod import;
mod report;
mod reverse;
mod verify;

// The ledger and what is derived from it.
mod ledger;
mod projection;

// Servers.
mod elastic;
mod postgres;
mod source;

// Rules.
mod aggregate;
mod event;
mod sums;

// Foundations.
mod certificate;
pub mod clock;
mod columns;
pub mod day;
mod destination;
mod error;
mod failpoint;
#[cfg(test)]
mod fuzzing;
mod hash;
mod interrupt;
mod memory;
mod printable;
mod text;
mod unpack;
mod workspace;

pub use cli::{Cli, main};
