//! Shared by the tests: a world for each (a database cloned from a migrated template, an index prefix), the program to
//! run in it, events for its source, queries on its ledger, a proxy that simulates failures of its servers, and
//! Prometheus's tool for its metrics.

pub mod audit;
pub mod contents;
pub mod event;
pub mod history;
pub mod hold;
pub mod indices;
pub mod journey;
pub mod login;
pub mod program;
pub mod promtool;
pub mod proxy;
pub mod servers;
pub mod world;

pub use contents::Contents;
pub use event::Event;
pub use login::Login;
pub use proxy::Proxy;
pub use servers::Servers;
pub use world::World;

/// The recordset of tests that need only one.
pub const RECORDSET: &str = "00038086-3303-4b89-b2d6-1b84e7598f0e";
