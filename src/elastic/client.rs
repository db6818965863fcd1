//! The client: sends requests and returns answers.

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
use crate::error::{Error, ErrorKind};

/// The largest answer without documents, in bytes.
const LARGEST_ANSWER: usize = 16 << 20;
/// The largest answer with documents by default, in bytes.
const LARGEST_ANSWER_WITH_DOCUMENTS: usize = 256 << 20;
/// The largest answer to a bulk request: bytes for each byte that was sent, and bytes at least. A refused document
/// takes the most, some hundred bytes for its reason.
const BULK_ANSWER_PER_BYTE: usize = 4;
const LEAST_BULK_ANSWER: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// One address or several, separated by commas; may contain user and password.
    pub addresses: SecretString,
    /// How to log in, unless the address says so.
    pub credentials: Option<Credentials>,
    /// A certificate to log in with, also in addition to other credentials.
    pub client_certificate: Option<ClientCertificate>,
    /// A file with the certificate authorities to trust; no others are trusted then.
    pub authority: Option<PathBuf>,
    /// The address of a proxy, with its user and password.
    pub proxy: Option<SecretString>,
    /// Whether to compress requests and answers.
    pub gzip: bool,
    /// How long to wait for the cluster.
    pub limits: Limits,
    /// The largest answer with documents, in bytes.
    pub largest_answer: usize,
    /// What messages call these settings.
    pub wording: Wording,
}

impl ClientOptions {
    /// The defaults, for a cluster at these addresses.
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

/// A client of one Elasticsearch cluster.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    /// The largest answers without and with documents, in bytes.
    largest_answer: usize,
    largest_answer_with_documents: usize,
}

impl Client {
    /// Makes a client. It connects with its first request.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        let wording = options.wording;
        let mut urls = Vec::new();
        let mut login = None;
        for address in options.addresses.expose_secret().split(',') {
            let mut url = parse_address(address.trim(), wording)?;
            let found = Login::take_from(&mut url);
            // Several addresses may repeat user and password; they must not be sent twice.
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

    /// The same client, for requests whose answers contain documents and may be larger.
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

    /// Refuses a cluster with a node of a version that daybook does not support.
    pub async fn check_version(&self) -> Result<(), Error> {
        let Some(versions) = self.versions().await? else {
            tracing::debug!(
                "the version of Elasticsearch is not known: the user lacks the privilege monitor"
            );
            return Ok(());
        };
        match versions
            .iter()
            .find(|version| !version_is_supported(version))
        {
            Some(version) => Err(Error::new(
                ErrorKind::ElasticsearchVersion,
                format!(
                    "Elasticsearch ({}) is of version {version}, which daybook does not support",
                    self.place()
                ),
            )
            .hint("use Elasticsearch 8 or 9, or 7.17")),
            None => Ok(()),
        }
    }

    /// The versions of the cluster's nodes. None if the user may not ask: who may write to the indices may lack the
    /// privilege to read the nodes.
    pub async fn versions(&self) -> Result<Option<Vec<String>>, Error> {
        #[derive(Deserialize)]
        struct Nodes {
            #[serde(default)]
            nodes: BTreeMap<String, Node>,
        }
        #[derive(Deserialize)]
        struct Node {
            version: String,
        }
        let what = format!("asking Elasticsearch ({}) for its version", self.place());
        let sending = self.send(Method::Get, "/_nodes?filter_path=nodes.*.version", None);
        let answer = sending.await.map_err(|error| error.during(&what))?;
        if answer.status == 403 {
            return Ok(None);
        }
        let nodes = answer.succeeded(&what)?.read::<Nodes>(&what)?.nodes;
        Ok(Some(nodes.into_values().map(|node| node.version).collect()))
    }

    /// Sends a request with a JSON body. It may be repeated until a node accepts it or a limit is reached.
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

    /// Sends a request that must not be repeated.
    pub async fn send_once(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Answer, NoAnswer> {
        self.deliver(method, path, Some(body.to_string().into()), Repeat::Never)
            .await
    }

    /// Sends a request and expects a success. Errors say `what` was attempted.
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

    /// Deletes what may be gone already. Errors say `what` was attempted.
    pub async fn delete(&self, path: &str, what: &str) -> Result<(), Error> {
        let answer = self
            .send(Method::Delete, path, None)
            .await
            .map_err(|error| error.during(what))?;
        if answer.is_success() || answer.status == 404 {
            Ok(())
        } else {
            Err(answer.error(what))
        }
    }

    /// Sends JSON lines, once to each node until one accepts them.
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
    // Not repeated in the message: it may contain a password.
    url.ok_or_else(|| {
        Error::setting("the address of Elasticsearch cannot be read").hint(
            wording.fill("write {address} as http://USER:PASSWORD@HOST:9200, several addresses separated by commas"),
        )
    })
}

/// Uses the proxy that is configured, and never one of the environment. Returns the proxy's address without
/// credentials.
fn through_proxy(
    proxy: Option<&SecretString>,
) -> Result<(reqwest::ClientBuilder, Option<String>), Error> {
    let http = reqwest::Client::builder().no_proxy();
    let Some(address) = proxy else {
        return Ok((http, None));
    };
    // Not repeated in the message: it may contain a password.
    let unreadable = || {
        Error::setting("the address of the proxy to Elasticsearch cannot be read").hint(
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

/// Sets up TLS: whom to trust, and the certificate to log in with.
fn encrypt(
    mut http: reqwest::ClientBuilder,
    options: &ClientOptions,
    urls: &[Url],
) -> Result<reqwest::ClientBuilder, Error> {
    let plain = urls.iter().find(|url| url.scheme() == "http");
    if let Some(plain) = plain
        && (options.authority.is_some() || options.client_certificate.is_some())
    {
        return Err(Error::setting(format!(
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
