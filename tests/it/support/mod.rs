//! What the tests share: a world of their own each (a database cloned from a migrated template, an index prefix), the
//! program to run in it, events to put into its source, and the questions that they ask its ledger.

pub mod audit;
pub mod event;
pub mod program;
pub mod proxy;
pub mod world;

pub use event::Event;
pub use world::World;

/// The recordset that tests use when one is as good as another.
pub const RECORDSET: &str = "00038086-3303-4b89-b2d6-1b84e7598f0e";
