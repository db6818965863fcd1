//! The commands, one file each: a type of arguments, and `run`.

pub mod apply;
pub mod arguments;
pub mod collect_stats;
pub mod compare;
pub mod config;
pub mod doctor;
pub mod export;
pub mod fold;
pub mod import;
mod import_report;
pub mod log;
pub mod migrate;
mod progress;
pub mod project;
pub mod rebuild;
mod recorded;
pub mod report;
pub mod reverse;
pub mod show;
pub mod status;
mod table;
pub mod totals;
pub mod verify;
