//! Pings to a service that raises an alarm when they stop, such as healthchecks.
//!
//! A run that begins posts to `URL/start`, one that succeeds to `URL`, and one that fails to `URL/fail`, with what went
//! wrong as the body.

use std::error::Error as StdError;
use std::iter::successors;
use std::time::Duration;

use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::elastic::trust;
use crate::error::Error;

/// A run waits no longer for the service.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Where to send pings.
#[derive(Debug)]
pub struct Ping {
    http: Client,
    url: Url,
}

impl Ping {
    /// `url` is a secret: whoever knows it can send pings.
    pub fn new(url: &SecretString) -> Result<Self, Error> {
        let refused = || {
            Error::usage("the address for pings cannot be used")
                .hint("DAYBOOK_PING_URL is an http or https URL, such as https://hc-ping.com/UUID")
        };
        let url: Url = url
            .expose_secret()
            .parse()
            .map_err(|error: url::ParseError| refused().caused_by(error))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(refused());
        }
        let http = Client::builder()
            .timeout(TIME_LIMIT)
            .user_agent(concat!("daybook/", env!("CARGO_PKG_VERSION")));
        let http = trust(http, None)?;
        let http = http.build().map_err(|error| refused().caused_by(error))?;
        Ok(Self { http, url })
    }

    /// A run begins.
    pub async fn started(&self) {
        self.send(Some("start"), String::new()).await;
    }

    /// A run succeeded.
    pub async fn succeeded(&self) {
        self.send(None, String::new()).await;
    }

    /// A run failed.
    pub async fn failed(&self, message: String) {
        self.send(Some("fail"), message).await;
    }

    async fn send(&self, event: Option<&str>, body: String) {
        let mut url = self.url.clone();
        if let (Some(event), Ok(mut path)) = (event, url.path_segments_mut()) {
            path.pop_if_empty().push(event);
        }
        let sent = self.http.post(url).body(body).send().await;
        if let Err(error) = sent.and_then(reqwest::Response::error_for_status) {
            let host = self.url.host_str().unwrap_or_default();
            let error = error.without_url();
            let causes = successors(Some(&error as &dyn StdError), |&error| error.source());
            let error = causes.map(ToString::to_string).collect::<Vec<_>>();
            tracing::warn!(host, error = error.join(": "), "no ping was sent");
        }
    }
}
