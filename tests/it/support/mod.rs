//! What the tests share: a world of their own each (a database cloned from a migrated template, an index prefix), the
//! program to run in it, events to put into its source, the questions that they ask its ledger, and a proxy for the
//! accidents that befall its servers.

pub mod audit;
pub mod contents;
pub mod event;
pub mod history;
pub mod hold;
pub mod indices;
pub mod login;
pub mod program;
pub mod proxy;
pub mod servers;
pub mod world;

pub use contents::Contents;
pub use event::Event;
pub use login::Login;
pub use proxy::Proxy;
pub use servers::Servers;
pub use world::World;

/// The recordset that tests use when one is as good as another.
pub const RECORDSET: &str = "00038086-3303-4b89-b2d6-1b84e7598f0e";
