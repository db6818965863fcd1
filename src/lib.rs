//! daybook: a ledger of applied days.
//!
//! A search API logs each interaction (search, view, seen, mapping, download) as a row of a Postgres table. daybook folds
//! one closed day of those events into deltas, posts them as immutable rows of a ledger, and advances Elasticsearch
//! documents that are only a projection of the ledger. Applying a day twice changes nothing.
//!
//! The modules, in the order in which the data flow:
//!
//! `event → aggregate → ledger → projection → elastic`
//!
//! [`command`] puts them together; [`day`], [`clock`], [`database`], [`copy`] and [`failure`] serve all of them.

pub mod aggregate;
pub mod apply;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod day;
pub mod destination;
pub mod elastic;
pub mod error;
pub mod event;
pub mod exchange;
pub mod failpoint;
pub mod import;
pub mod interrupt;
pub mod ledger;
pub mod logging;
pub mod output;
pub mod postgres;
pub mod printable;
pub mod projection;
pub mod reverse;
pub mod source;
pub mod unpack;
pub mod verify;
