//! A client for Elasticsearch: requests, bulk writing, look-ups and scrolling. It knows nothing of daybook.
//!
//! The official client lacks retries, a default time limit and a bulk helper.

mod answer;
pub mod batch;
pub mod bulk;
mod client;
mod credentials;
pub mod inspection;
mod limits;
pub mod look_up;
mod no_answer;
mod nodes;
mod outcome;
mod reason;
mod remedy;
pub mod scroll;
pub mod search;
mod transport;
mod trust;
mod wording;

pub use self::answer::Answer;
pub use self::client::{Client, ClientOptions};
pub use self::credentials::Credentials;
pub use self::limits::Limits;
pub use self::trust::{ClientCertificate, trust};
pub use self::wording::Wording;
pub use elasticsearch::http::Method;
