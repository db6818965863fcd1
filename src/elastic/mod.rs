//! Elasticsearch: a client that says what it attempted, the indices behind the aliases, and bulk writing.
//!
//! The official client brings no retries, no default time limit and no bulk helper; what daybook needs of those is here.

pub mod bulk;
pub mod index;
pub mod multi_get;
mod outcome;
pub mod scroll;
pub mod template;
mod trust;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::CertificateValidation;
use elasticsearch::http::headers::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{MultiNodeConnectionPool, SingleNodeConnectionPool, Transport, TransportBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::failure::{Exit, Failure};

pub use elasticsearch::http::Method;

/// The longest that one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a request is made that the cluster was too busy for, and how long is waited after the first time.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// A cluster of Elasticsearch.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    place: String,
}

/// The cluster gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("Elasticsearch ({place}) gave no answer")]
pub struct Unreachable {
    place: String,
    source: elasticsearch::Error,
}

/// What the cluster answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, which may be empty.
    pub body: Bytes,
}

impl Client {
    /// From one address or several, separated by commas, with user and password in the first; `gzip` says whether what is
    /// sent and what is answered is compressed.
    pub fn new(addresses: &SecretString, gzip: bool) -> Result<Self, Failure> {
        let mut urls = Vec::new();
        let mut credentials = None;
        for address in addresses.expose_secret().split(',') {
            let mut url = parse_address(address.trim())?;
            credentials = credentials.or_else(|| take_credentials(&mut url));
            // An address may repeat the user and the password; they must not be sent twice.
            let _ = take_credentials(&mut url);
            urls.push(url);
        }
        let place = urls.iter().map(Url::as_str).collect::<Vec<_>>().join(", ");
        let encrypted = urls.iter().any(|url| url.scheme() == "https");
        let mut builder = match &urls[..] {
            [single] => TransportBuilder::new(SingleNodeConnectionPool::new(single.clone())),
            // Without sniffing: nodes behind a proxy publish addresses that cannot be reached from here.
            _ => TransportBuilder::new(MultiNodeConnectionPool::round_robin(urls, None)),
        };
        if let Some(credentials) = credentials {
            builder = builder.auth(credentials);
        }
        if encrypted && let Some(certificates) = trust::of_the_system() {
            builder = builder.cert_validation(CertificateValidation::Full(certificates));
        }
        if !gzip {
            // Left to itself the client asks for compressed answers.
            builder = builder.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let transport = builder.request_body_compression(gzip).timeout(REQUEST_TIMEOUT).build().map_err(|error| {
            Failure::usage(format!("cannot set up the connection to Elasticsearch ({place})")).caused_by(error)
        })?;
        Ok(Self { transport, place })
    }

    /// The addresses, without passwords.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Refuses a cluster with a node of a version that daybook is not made for.
    pub async fn check_version(&self) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Nodes {
            #[serde(default)]
            nodes: BTreeMap<String, Node>,
        }
        #[derive(Deserialize)]
        struct Node {
            version: String,
        }
        let what = format!("asking Elasticsearch ({}) for its version", self.place);
        let sending = self.send(Method::Get, "/_nodes?filter_path=nodes.*.version", None);
        let answer = sending.await.map_err(|error| error.during(&what))?;
        if answer.status == 403 {
            // A user who may write to the indices need not be allowed to look at the nodes.
            tracing::debug!("the version of Elasticsearch is not known: the user lacks the privilege monitor");
            return Ok(());
        }
        if !answer.is_success() {
            return Err(answer.failure(&what));
        }
        let nodes = answer.read::<Nodes>(&what)?.nodes;
        match nodes.into_values().find(|node| !version_is_supported(&node.version)) {
            Some(Node { version }) => Err(Failure::failed(format!(
                "Elasticsearch ({}) is of version {version}, which daybook is not made for",
                self.place
            ))
            .hint("use Elasticsearch 8 or 9, or 7.17")),
            None => Ok(()),
        }
    }

    /// Sends a request with a body of JSON. One that the cluster was too busy for is made again, and so is one that only
    /// reads and got no answer: a connection that was kept open may have gone stale.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Unreachable> {
        let body: Option<Bytes> = body.map(|body| body.to_string().into());
        let mut wait = FIRST_WAIT;
        for _ in 1..ATTEMPTS {
            match self.send_json(method, path, body.clone()).await {
                Ok(answer) if !matches!(answer.status, 429 | 503) => return Ok(answer),
                Err(unreachable) if !matches!(method, Method::Get) => return Err(unreachable),
                Ok(_) | Err(_) => tracing::debug!(path, "request is made again"),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.send_json(method, path, body).await
    }

    /// Sends a request that must not be made again, whatever becomes of it.
    pub async fn send_once(&self, method: Method, path: &str, body: &Value) -> Result<Answer, Unreachable> {
        self.send_json(method, path, Some(body.to_string().into())).await
    }

    /// Sends a request and expects a success; `what` says what for.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Answer, Failure> {
        self.send(method, path, body).await.map_err(|error| error.during(what))?.succeeded(what)
    }

    /// Sends a request whose body is lines of JSON.
    pub async fn send_lines(&self, path: &str, body: Bytes) -> Result<Answer, Unreachable> {
        self.send_bytes(Method::Post, path, "application/x-ndjson", Some(body)).await
    }

    async fn send_json(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Answer, Unreachable> {
        self.send_bytes(method, path, "application/json", body).await
    }

    async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Option<Bytes>,
    ) -> Result<Answer, Unreachable> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let no_answer = |source| Unreachable { place: self.place.clone(), source };
        let response = self.transport.send(method, path, headers, None::<&()>, body, None).await.map_err(no_answer)?;
        let status = response.status_code().as_u16();
        let body = response.bytes().await.map_err(no_answer)?;
        Ok(Answer { status, body })
    }
}

impl Unreachable {
    /// The failure of what was attempted.
    pub fn during(self, what: &str) -> Failure {
        Failure::new(Exit::Unreachable, what).caused_by(self).hint(
            "check that Elasticsearch runs and DAYBOOK_ELASTICSEARCH_URL is right, then run `daybook project` to catch up",
        )
    }
}

impl Answer {
    /// Whether it is of the 200s.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the request was refused for its size, so that it would be however often it is made again.
    pub fn says_too_large(&self) -> bool {
        self.status == 413 || (self.status == 429 && outcome::exceeds_limit(&self.reason()))
    }

    /// The answer, if it is a success.
    pub fn succeeded(self, what: &str) -> Result<Self, Failure> {
        if self.is_success() { Ok(self) } else { Err(self.failure(what)) }
    }

    /// The body as what it should be.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, what: &str) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::failed(format!("{what}: the answer of Elasticsearch cannot be read: {}", self.excerpt()))
                .caused_by(error)
        })
    }

    /// The failure that an answer of no success means.
    pub fn failure(&self, what: &str) -> Failure {
        let failure = Failure::failed(format!("{what}: Elasticsearch answered {}: {}", self.status, self.reason()));
        match self.status {
            401 => failure.hint("check the user and the password in DAYBOOK_ELASTICSEARCH_URL"),
            403 => failure.hint("the user of DAYBOOK_ELASTICSEARCH_URL needs the privileges create_index, manage, read and write on the indices of the prefix"),
            429 | 502 | 503 | 504 => {
                failure.with_exit(Exit::Unreachable).hint("Elasticsearch is overloaded or starting: run `daybook project` later to catch up")
            }
            _ => failure,
        }
    }

    /// The reason in the body, if it has one in Elasticsearch's form.
    fn reason(&self) -> String {
        #[derive(Deserialize)]
        struct Body {
            error: ErrorField,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum ErrorField {
            Cause(outcome::Cause),
            Text(String),
        }
        match serde_json::from_slice::<Body>(&self.body) {
            Ok(Body { error: ErrorField::Cause(cause) }) => cause.to_string(),
            Ok(Body { error: ErrorField::Text(text) }) => text,
            Err(_) if self.body.is_empty() => "no reason given".to_owned(),
            Err(_) => self.excerpt(),
        }
    }

    fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(300).collect()
    }
}

/// 7.17, 8 and 9.
fn version_is_supported(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    match (numbers.next(), numbers.next()) {
        (Some(7), Some(minor)) => minor >= 17,
        (Some(major), Some(_)) => (8..=9).contains(&major),
        _ => false,
    }
}

fn parse_address(address: &str) -> Result<Url, Failure> {
    let url = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // The address is not repeated in the message: it may hold a password.
    url.ok_or_else(|| {
        Failure::usage("the address of Elasticsearch cannot be read").hint(
            "write DAYBOOK_ELASTICSEARCH_URL as http://USER:PASSWORD@HOST:9200, several addresses separated by commas",
        )
    })
}

fn take_credentials(url: &mut Url) -> Option<Credentials> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = decode(url.username());
    let password = url.password().map(decode);
    if user.is_empty() && password.is_none() {
        return None;
    }
    // An http address always takes user and password away.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(Credentials::Basic(user, password.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_7_17_to_9_are_supported() {
        for version in ["7.17.0", "7.17.29", "8.0.0", "8.19.0", "9.1.0", "9.2.0-SNAPSHOT"] {
            assert!(version_is_supported(version), "{version}");
        }
        for version in ["7.16.3", "6.8.23", "10.0.0", "2.4.6", "", "8", "nonsense"] {
            assert!(!version_is_supported(version), "{version}");
        }
    }
}
