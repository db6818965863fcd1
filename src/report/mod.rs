//! Reports: pages for people who would rather look than read.
//!
//! A page is one HTML file without scripts and without anything from elsewhere. Its numbers come from one snapshot of the
//! ledger ([`gather`]), its pictures are SVG with the same numbers as text beside them. Building pages is pure: the same
//! snapshot gives the same page. Text from outside is escaped by the templates, and shortened.

mod calendar;
mod chart;
mod countries;
mod days;
pub mod gather;
mod ledger_page;
pub mod names;
mod over_time;
mod page;
mod recordset_numbers;
mod recordset_page;
pub mod site;
mod steps;

pub use ledger_page::{Beside, ProjectionState, ledger_page};
pub use recordset_page::recordset_page;
