//! The client: requests in, answers out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use elasticsearch::http::Method;
use elasticsearch::http::headers::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::answer::Answer;
use super::credentials::{self, Credentials, Login};
use super::limits::Limits;
use super::no_answer::NoAnswer;
use super::nodes::Nodes;
use super::transport::{Repeat, Request, Setup, Transport};
use super::trust::{self, ClientCertificate};
use super::wording::Wording;
use crate::error::Error;

/// What the answer to a request can need that brings no documents, in bytes.
const LARGEST_ANSWER: usize = 16 << 20;
/// What the answers to requests that bring documents can need where nothing else is set, in bytes.
const LARGEST_ANSWER_WITH_DOCUMENTS: usize = 256 << 20;
/// What an answer to a bulk request can need: for each byte that was sent, and at least, in bytes. A document that is
/// refused takes the most, some hundred bytes for its reason.
const BULK_ANSWER_PER_BYTE: usize = 4;
const LEAST_BULK_ANSWER: usize = 1 << 20;

/// How a client is made.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// One address or several, separated by commas, which may hold user and password.
    pub addresses: SecretString,
    /// How to log in, unless the address says it.
    pub credentials: Option<Credentials>,
    /// A certificate to log in with, also beside other credentials.
    pub client_certificate: Option<ClientCertificate>,
    /// A file with the certificates of the authorities that alone are trusted.
    pub authority: Option<PathBuf>,
    /// The address of a proxy, with its user and password.
    pub proxy: Option<SecretString>,
    /// Whether what is sent and what is answered is compressed.
    pub gzip: bool,
    /// For how long the cluster is waited for.
    pub limits: Limits,
    /// The largest answer that brings documents, in bytes.
    pub largest_answer: usize,
    /// What messages call these settings.
    pub wording: Wording,
}

impl ClientOptions {
    /// The usual ones, for a cluster at these addresses.
    pub fn new(addresses: SecretString) -> Self {
        Self {
            addresses,
            credentials: None,
            client_certificate: None,
            authority: None,
            proxy: None,
            gzip: false,
            limits: Limits::default(),
            largest_answer: LARGEST_ANSWER_WITH_DOCUMENTS,
            wording: Wording::PROJECTIONS,
        }
    }
}

/// A cluster of Elasticsearch.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    /// What an answer can need, in bytes; and one that brings documents.
    largest_answer: usize,
    largest_answer_with_documents: usize,
}

impl Client {
    /// Makes a client; it connects when it is asked something.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        let wording = options.wording;
        let mut urls = Vec::new();
        let mut login = None;
        for address in options.addresses.expose_secret().split(',') {
            let mut url = parse_address(address.trim(), wording)?;
            let found = Login::take_from(&mut url);
            // An address may repeat the user and the password; they must not be sent twice.
            login = login.or(found);
            urls.push(url);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("daybook/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(credentials) =
            credentials::header(login, options.credentials.as_ref(), wording)?
        {
            headers.insert(AUTHORIZATION, credentials);
        }
        let (http, proxy) = through_proxy(options.proxy.as_ref())?;
        let http = encrypt(http, options, &urls)?;
        let limits = options.limits;
        let setup = Setup {
            nodes: Nodes::new(urls),
            http,
            headers,
            gzip: options.gzip,
            proxy,
            limits,
            wording,
        };
        Ok(Self {
            transport: Transport::new(setup)?,
            largest_answer: LARGEST_ANSWER,
            largest_answer_with_documents: options.largest_answer,
        })
    }

    /// The same client for requests whose answers bring documents: those may be larger.
    #[must_use]
    pub fn for_documents(&self) -> Self {
        Self {
            largest_answer: self.largest_answer_with_documents,
            ..self.clone()
        }
    }

    /// The addresses, without passwords.
    pub fn place(&self) -> String {
        self.transport.place()
    }

    /// What messages call the client's settings.
    pub(crate) fn wording(&self) -> Wording {
        self.transport.wording
    }

    /// Refuses a cluster with a node of a version that daybook is not made for.
    pub async fn check_version(&self) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct Nodes {
            #[serde(default)]
            nodes: BTreeMap<String, Node>,
        }
        #[derive(Deserialize)]
        struct Node {
            version: String,
        }
        let place = self.place();
        let what = format!("asking Elasticsearch ({place}) for its version");
        let sending = self.send(Method::Get, "/_nodes?filter_path=nodes.*.version", None);
        let answer = sending.await.map_err(|error| error.during(&what))?;
        if answer.status == 403 {
            // A user who may write to the indices need not be allowed to look at the nodes.
            tracing::debug!(
                "the version of Elasticsearch is not known: the user lacks the privilege monitor"
            );
            return Ok(());
        }
        if !answer.is_success() {
            return Err(answer.error(&what));
        }
        let nodes = answer.read::<Nodes>(&what)?.nodes;
        match nodes
            .into_values()
            .find(|node| !version_is_supported(&node.version))
        {
            Some(Node { version }) => Err(Error::failed(format!(
                "Elasticsearch ({place}) is of version {version}, which daybook is not made for"
            ))
            .hint("use Elasticsearch 8 or 9, or 7.17")),
            None => Ok(()),
        }
    }

    /// Sends a request with a body of JSON, which may be made again: until a node takes it, or for a while in vain.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, NoAnswer> {
        let repeat = Repeat::Rounds(self.transport.limits.rounds);
        self.deliver(
            method,
            path,
            body.map(|body| body.to_string().into()),
            repeat,
        )
        .await
    }

    /// Sends a request that must not be made again, whatever becomes of it.
    pub async fn send_once(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Answer, NoAnswer> {
        self.deliver(method, path, Some(body.to_string().into()), Repeat::Never)
            .await
    }

    /// Sends a request and expects a success; `what` says what for.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Answer, Error> {
        self.send(method, path, body)
            .await
            .map_err(|error| error.during(what))?
            .succeeded(what)
    }

    /// Sends a request whose body is lines of JSON, once to each node until one takes it.
    pub async fn send_lines(&self, path: &str, body: Bytes) -> Result<Answer, NoAnswer> {
        let largest_answer = body
            .len()
            .saturating_mul(BULK_ANSWER_PER_BYTE)
            .max(LEAST_BULK_ANSWER);
        let request = Request {
            method: Method::Post,
            path,
            content_type: "application/x-ndjson",
            body: Some(body),
            repeat: Repeat::Rounds(1),
            largest_answer,
        };
        self.transport.deliver(&request).await
    }

    async fn deliver(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        repeat: Repeat,
    ) -> Result<Answer, NoAnswer> {
        let largest_answer = self.largest_answer;
        let request = Request {
            method,
            path,
            content_type: "application/json",
            body,
            repeat,
            largest_answer,
        };
        self.transport.deliver(&request).await
    }
}

/// 7.17, 8 and 9.
fn version_is_supported(version: &str) -> bool {
    let mut numbers = version
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or(0));
    match (numbers.next(), numbers.next()) {
        (Some(7), Some(minor)) => minor >= 17,
        (Some(major), Some(_)) => (8..=9).contains(&major),
        _ => false,
    }
}

fn parse_address(address: &str, wording: Wording) -> Result<Url, Error> {
    let url = Url::parse(address)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.map(|mut url| {
        url.set_query(None);
        url.set_fragment(None);
        url
    });
    // The address is not repeated in the message: it may hold a password.
    url.ok_or_else(|| {
        Error::usage("the address of Elasticsearch cannot be read").hint(
            wording.fill("write {address} as http://USER:PASSWORD@HOST:9200, several addresses separated by commas"),
        )
    })
}

/// Goes through the proxy that is given, and never through one of the environment. Gives the proxy's address without
/// credentials.
fn through_proxy(
    proxy: Option<&SecretString>,
) -> Result<(reqwest::ClientBuilder, Option<String>), Error> {
    let http = reqwest::Client::builder().no_proxy();
    let Some(address) = proxy else {
        return Ok((http, None));
    };
    // The address is not repeated in the message: it may hold a password.
    let unreadable = || {
        Error::usage("the address of the proxy to Elasticsearch cannot be read").hint(
            "write DAYBOOK_ELASTICSEARCH_PROXY as http://USER:PASSWORD@HOST:3128, or with https",
        )
    };
    let mut url = Url::parse(address.expose_secret().trim()).map_err(|_| unreadable())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(unreadable());
    }
    let login = Login::take_from(&mut url);
    let place = url.to_string();
    let mut proxy = reqwest::Proxy::all(url).map_err(|_| unreadable())?;
    if let Some(login) = login {
        proxy = proxy.basic_auth(login.user(), login.password());
    }
    Ok((http.proxy(proxy), Some(place)))
}

/// Whom to trust, and what to log in with, where connections are encrypted.
fn encrypt(
    mut http: reqwest::ClientBuilder,
    options: &ClientOptions,
    urls: &[Url],
) -> Result<reqwest::ClientBuilder, Error> {
    let plain = urls.iter().find(|url| url.scheme() == "http");
    if let Some(plain) = plain
        && (options.authority.is_some() || options.client_certificate.is_some())
    {
        return Err(Error::usage(format!(
            "certificates for Elasticsearch are given, but the connection to {plain} is not encrypted"
        ))
        .hint(options.wording.fill("write https:// in {address}, or leave the certificates out")));
    }
    if urls.iter().any(|url| url.scheme() == "https") {
        http = trust::trust(http, options.authority.as_deref())?;
    }
    options
        .client_certificate
        .iter()
        .try_fold(http, trust::identify)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_7_17_to_9_are_supported() {
        for version in [
            "7.17.0",
            "7.17.29",
            "8.0.0",
            "8.19.0",
            "9.1.0",
            "9.2.0-SNAPSHOT",
        ] {
            assert!(version_is_supported(version), "{version}");
        }
        for version in ["7.16.3", "6.8.23", "10.0.0", "2.4.6", "", "8", "nonsense"] {
            assert!(!version_is_supported(version), "{version}");
        }
    }
}
