//! Answers of the cluster, and the errors that they mean.

use bytes::Bytes;
use serde::Deserialize;

use super::remedy::Remedy;
use super::wording::Wording;
use crate::error::{Error, ErrorKind};
use crate::printable::one_line;

/// An answer of the cluster.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// May be empty.
    pub body: Bytes,
    /// The header `Location`.
    pub(super) location: Option<String>,
    pub(super) wording: Wording,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorField {
    Cause(super::outcome::Cause),
    Text(String),
}

impl Answer {
    /// One without a location.
    #[cfg(test)]
    pub(super) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: body.into(),
            location: None,
            wording: Wording::PROJECTIONS,
        }
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the request was refused for its size, so that sending it again is useless.
    pub fn says_too_large(&self) -> bool {
        self.status == 413 || (self.status == 429 && super::outcome::exceeds_limit(&self.reason()))
    }

    /// The answer, or an error if it is not a success.
    pub fn succeeded(self, what: &str) -> Result<Self, Error> {
        if self.is_success() {
            Ok(self)
        } else {
            Err(self.error(what))
        }
    }

    /// Parses the body.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, what: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::new(
                ErrorKind::ElasticsearchRefused,
                format!(
                    "{what}: the answer of Elasticsearch cannot be read: {}",
                    self.excerpt()
                ),
            )
            .caused_by(error)
        })
    }

    /// The error that an unsuccessful answer means.
    pub fn error(&self, what: &str) -> Error {
        let is_block =
            matches!(self.error_field(), Some(ErrorField::Cause(cause)) if cause.is_block());
        let remedy = if is_block {
            Remedy::of_block(self.status)
        } else {
            Remedy::of_status(self.status)
        };
        let mut message = format!("{what}: Elasticsearch answered {}", self.status);
        match &self.location {
            Some(location) if (300..400).contains(&self.status) => {
                message += &format!(", which points to {}", one_line(location));
            }
            _ => message += &format!(": {}", self.reason()),
        }
        remedy.error(message, self.wording)
    }

    /// Whether the node cannot answer now, while another one may.
    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self.status, 429 | 502 | 503 | 504)
    }

    /// The type of the error, as Elasticsearch names it.
    pub fn error_type(&self) -> Option<String> {
        match self.error_field()? {
            ErrorField::Cause(cause) => Some(cause.kind),
            ErrorField::Text(_) => None,
        }
    }

    /// The reason in the body, or an excerpt of a body that has none.
    pub(super) fn reason(&self) -> String {
        match self.error_field() {
            Some(ErrorField::Cause(cause)) => cause.to_string(),
            Some(ErrorField::Text(text)) => text,
            None if self.body.is_empty() => "no reason given".to_owned(),
            None => self.excerpt(),
        }
    }

    fn error_field(&self) -> Option<ErrorField> {
        #[derive(Deserialize)]
        struct Body {
            error: ErrorField,
        }
        serde_json::from_slice::<Body>(&self.body)
            .ok()
            .map(|body| body.error)
    }

    pub(super) fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .chars()
            .take(300)
            .collect()
    }
}
