//! Delivers requests to one node after another, within limits and without following redirects.
//!
//! It uses the HTTP library beneath the official client. The client's own transport follows redirects, adds certificate
//! authorities to its built-in ones instead of replacing them, reads answers of any size, has one limit for everything,
//! and does not try another node.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;
use elasticsearch::http::headers::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION,
};
use reqwest::redirect::Policy;

use super::answer::Answer;
use super::limits::Limits;
use super::no_answer::{NoAnswer, Tried};
use super::nodes::{Node, Nodes};
use super::reason::Reason;
use super::wording::Wording;
use crate::clock::Stopwatch;
use crate::error::Error;

/// The wait after all nodes have failed once; it doubles from then on.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Nodes that are waited for until the time limit; those that fail sooner do not count.
const MOST_SILENT_NODES: u32 = 2;

/// The interval of probes on an idle connection. They also detect that its other end has gone.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The connections to the nodes of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    nodes: Arc<Nodes>,
    gzip: bool,
    proxy: Option<String>,
    pub(super) limits: Limits,
    pub(super) wording: Wording,
}

pub(super) struct Setup {
    pub(super) nodes: Nodes,
    pub(super) http: reqwest::ClientBuilder,
    pub(super) headers: HeaderMap,
    pub(super) gzip: bool,
    /// The proxy, for messages.
    pub(super) proxy: Option<String>,
    pub(super) limits: Limits,
    pub(super) wording: Wording,
}

#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) content_type: &'static str,
    pub(super) body: Option<Bytes>,
    pub(super) repeat: Repeat,
    /// The largest answer, in bytes.
    pub(super) largest_answer: usize,
}

/// Whether a request may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing the second time: all nodes are tried, this many times.
    Rounds(u32),
    /// It must not reach the cluster twice.
    Never,
}

impl Transport {
    pub(super) fn new(setup: Setup) -> Result<Self, Error> {
        let Setup {
            nodes,
            http,
            headers,
            gzip,
            proxy,
            limits,
            wording,
        } = setup;
        let http = http
            .default_headers(headers)
            .gzip(gzip)
            .redirect(Policy::none())
            .connect_timeout(limits.connect)
            .tcp_keepalive(KEEPALIVE)
            .build()
            .map_err(|error| {
                Error::setting(format!(
                    "cannot set up the connection to Elasticsearch ({})",
                    nodes.place()
                ))
                .caused_by(error.without_url())
            })?;
        Ok(Self {
            http,
            nodes: Arc::new(nodes),
            gzip,
            proxy,
            limits,
            wording,
        })
    }

    /// The addresses, without credentials.
    pub(super) fn place(&self) -> String {
        self.nodes.place()
    }

    /// Delivers a request to the first node that accepts it.
    ///
    /// If a node does not, the next one is tried at once; if none does, all are tried again after a wait. Waiting for a
    /// node until the time limit costs too much for that: then one more node is tried, and no others.
    pub(super) async fn deliver(&self, request: &Request<'_>) -> Result<Answer, NoAnswer> {
        let body = self.encode(request.body.clone());
        let rounds = if let Repeat::Rounds(rounds) = request.repeat {
            rounds
        } else {
            1
        };
        let (stopwatch, mut wait, mut silent) = (Stopwatch::start(), FIRST_WAIT, 0);
        let mut round = 1;
        loop {
            let (mut unavailable, mut tried) = (None, Vec::new());
            for node in self.nodes.in_order() {
                match self.attempt(node, request, body.clone()).await {
                    Ok(answer) if answer.is_unavailable() && request.repeat != Repeat::Never => {
                        // A node that is only busy is not skipped.
                        if answer.status != 429 {
                            node.failed();
                        }
                        unavailable = Some(answer);
                    }
                    Ok(answer) => {
                        node.answered();
                        return Ok(answer);
                    }
                    Err(reason) => {
                        node.failed();
                        silent += u32::from(reason.is_silence());
                        let may_go_on = request.repeat != Repeat::Never || reason.is_undelivered();
                        tracing::debug!(path = request.path, node = node.address(), %reason, "a node gave no answer");
                        let is_lasting =
                            matches!(reason, Reason::TooLarge(_) | Reason::Unsendable(_));
                        tried.push(Tried {
                            address: node.address().to_owned(),
                            reason,
                        });
                        if !may_go_on || is_lasting || silent >= MOST_SILENT_NODES {
                            return Err(self.no_answer(tried));
                        }
                    }
                }
            }
            let may_pass =
                unavailable.is_some() || tried.iter().any(|tried| tried.reason.is_brief());
            if round == rounds
                || silent > 0
                || !may_pass
                || stopwatch.elapsed() >= self.limits.answer
            {
                return unavailable.ok_or_else(|| self.no_answer(tried));
            }
            tracing::debug!(path = request.path, round, "repeating a request");
            tokio::time::sleep(wait).await;
            wait *= 2;
            round += 1;
        }
    }

    fn no_answer(&self, tried: Vec<Tried>) -> NoAnswer {
        NoAnswer {
            place: self.place(),
            proxy: self.proxy.clone(),
            tried,
            wording: self.wording,
        }
    }

    /// The body, compressed if configured.
    fn encode(&self, body: Option<Bytes>) -> Option<Bytes> {
        let body = body?;
        if !self.gzip {
            return Some(body);
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let packed = encoder.write_all(&body).and_then(|()| encoder.finish());
        Some(packed.expect("writing to memory does not fail").into())
    }

    /// Sends a request to one node and reads its answer.
    async fn attempt(
        &self,
        node: &Node,
        request: &Request<'_>,
        body: Option<Bytes>,
    ) -> Result<Answer, Reason> {
        let limit = self.limits.answer;
        let mut begun = false;
        let exchange = self.exchange(node, request, body, &mut begun);
        match tokio::time::timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Reason::TimedOut { limit, begun }),
        }
    }

    async fn exchange(
        &self,
        node: &Node,
        request: &Request<'_>,
        body: Option<Bytes>,
        begun: &mut bool,
    ) -> Result<Answer, Reason> {
        let why = |error: reqwest::Error| Reason::of(&error, self.limits.connect);
        let mut sending = self
            .http
            .request(method(request.method), node.url_of(request.path));
        if let Some(body) = body {
            sending = sending
                .header(CONTENT_TYPE, request.content_type)
                .body(body);
            if self.gzip {
                sending = sending.header(CONTENT_ENCODING, "gzip");
            }
        }
        let mut response = sending.send().await.map_err(why)?;
        *begun = true;
        let status = response.status().as_u16();
        let location = response
            .headers()
            .get(LOCATION)
            .map(|place| String::from_utf8_lossy(place.as_bytes()).into());
        let largest = request.largest_answer;
        // For a compressed answer, this is not the size of the uncompressed one.
        let announced = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|announced: u64| announced > largest as u64) {
            return Err(Reason::TooLarge(largest));
        }
        let mut body = Vec::new();
        loop {
            let stall = self.limits.stall;
            let chunk = tokio::time::timeout(stall, response.chunk())
                .await
                .map_err(|_| Reason::Stalled(stall))?;
            let Some(chunk) = chunk.map_err(why)? else {
                break;
            };
            if body.len() + chunk.len() > largest {
                return Err(Reason::TooLarge(largest));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            body: body.into(),
            location,
            wording: self.wording,
        })
    }
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Put => reqwest::Method::PUT,
        Method::Post => reqwest::Method::POST,
        Method::Delete => reqwest::Method::DELETE,
        Method::Head => reqwest::Method::HEAD,
    }
}
