//! A TCP proxy that simulates failures: it passes everything on until it is cut, stalls after a number of bytes, or
//! answers HTTP requests itself. It can be healed.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

/// What a client of Postgres sends last: the message Terminate.
const GOODBYE: &[u8] = b"X\0\0\0\x04";

/// A proxy in front of one server; gone when it is dropped.
pub struct Proxy {
    url: Url,
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    supervisor: JoinHandle<()>,
}

/// What happens once the allowed bytes have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Present connections are dropped and new ones are refused, as if the server had died.
    Cut,
    /// Connections stay open, but nothing more passes, so a test can act while the program waits.
    Stall,
    /// The same for present connections; new ones work.
    StallPresent,
    /// One byte a second passes.
    Trickle,
}

/// A request as the proxy received it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method and path.
    pub line: String,
    /// The other lines of its head, in lower case.
    pub headers: String,
    pub body_bytes: usize,
    /// The status that the proxy answered itself; `None` if it passed the request on.
    pub answered: Option<u16>,
}

/// A response that the proxy gives itself.
pub struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
    manner: Manner,
}

/// How the proxy gives a response itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Completely and at once.
    AtOnce,
    /// Not at all, and the connection stays open.
    Never,
    /// Half of it, and the connection stays open.
    Half,
    /// One byte after the other, with a pause before each.
    ByteByByte,
    /// Its body repeated for as long as the client reads it.
    WithoutEnd,
    /// The server executes the request, but its response is lost: the connection breaks.
    Lost,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = "content-type: application/json\r\n".to_owned();
        Self {
            status,
            headers,
            body: body.into(),
            manner: Manner::AtOnce,
        }
    }

    /// A success with a body of some length, given in this manner.
    pub fn given(manner: Manner) -> Self {
        Self::new(200, format!("{{\"{}\":1}}", "x".repeat(1000))).in_manner(manner)
    }

    pub fn in_manner(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    async fn send(&self, client: &mut TcpStream) -> Option<()> {
        let Self {
            status,
            headers,
            body,
            manner,
        } = self;
        let length = match manner {
            Manner::WithoutEnd => "connection: close".to_owned(),
            _ if headers.contains("content-length") => "x-accident: its length is a lie".to_owned(),
            _ => format!("content-length: {}", body.len()),
        };
        let head = format!("HTTP/1.1 {status} Accident\r\n{headers}{length}\r\n\r\n");
        match manner {
            Manner::AtOnce => client
                .write_all(&[head.as_bytes(), body].concat())
                .await
                .ok(),
            Manner::Never => std::future::pending().await,
            Manner::Lost => None,
            Manner::Half => {
                client
                    .write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat())
                    .await
                    .ok()?;
                std::future::pending().await
            }
            Manner::ByteByByte => {
                client.write_all(head.as_bytes()).await.ok()?;
                for byte in body {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    client.write_all(&[*byte]).await.ok()?;
                }
                Some(())
            }
            Manner::WithoutEnd => {
                client.write_all(head.as_bytes()).await.ok()?;
                loop {
                    client.write_all(body).await.ok()?;
                }
            }
        }
    }
}

/// Decides about a request and its body.
type Rule = Box<dyn FnMut(&Request, &str) -> Option<Reply> + Send>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Http,
}

struct Shared {
    upstream: String,
    protocol: Protocol,
    passed: AtomicU64,
    limit: Mutex<Option<(u64, Fate)>>,
    limit_reached: watch::Sender<Option<Fate>>,
    keeps_goodbyes: AtomicBool,
    rule: Mutex<Option<Rule>>,
    requests: Mutex<Vec<Request>>,
    /// Replaces the valid credentials of the client by those of the server.
    credentials: Option<Credentials>,
}

/// The header that the proxy expects, and the server's header that replaces it.
struct Credentials {
    of_client: String,
    of_server: String,
}

enum Command {
    Cut(oneshot::Sender<()>),
    Heal(oneshot::Sender<()>),
}

impl Proxy {
    /// In front of the server that a URL names.
    pub async fn tcp(url: &str) -> Self {
        Self::new(url, Protocol::Tcp, None).await
    }

    /// In front of the HTTP server that a URL names. Reads each request.
    pub async fn http(url: &str) -> Self {
        Self::new(url, Protocol::Http, None).await
    }

    /// In front of the HTTP server that a URL names with user and password. Accepts only requests with this
    /// `authorization`, and replaces it by the server's. Its own URL names no user.
    pub async fn authenticating(url: &str, authorization: &str) -> Self {
        let mut url: Url = url.parse().expect("a URL");
        let login = format!("{}:{}", url.username(), url.password().expect("a password"));
        let of_server = format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(login)
        );
        url.set_username("").expect("a URL with a host");
        url.set_password(None).expect("a URL with a host");
        let credentials = Credentials {
            of_client: authorization.to_owned(),
            of_server,
        };
        Self::new(url.as_str(), Protocol::Http, Some(credentials)).await
    }

    async fn new(url: &str, protocol: Protocol, credentials: Option<Credentials>) -> Self {
        let mut url: Url = url.parse().expect("a URL");
        let upstream = format!(
            "{}:{}",
            url.host_str().expect("a host"),
            url.port().expect("a port")
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        url.set_host(Some("127.0.0.1")).expect("a URL with a host");
        url.set_port(Some(address.port()))
            .expect("a URL with a port");
        let shared = Arc::new(Shared {
            upstream,
            protocol,
            passed: AtomicU64::new(0),
            limit: Mutex::new(None),
            limit_reached: watch::Sender::new(None),
            keeps_goodbyes: AtomicBool::new(false),
            rule: Mutex::new(None),
            requests: Mutex::new(Vec::new()),
            credentials,
        });
        let (commands, inbox) = mpsc::unbounded_channel();
        let supervisor = tokio::spawn(supervise(
            Door::Open(listener),
            address,
            Arc::clone(&shared),
            inbox,
        ));
        Self {
            url,
            shared,
            commands,
            supervisor,
        }
    }

    /// The server's URL, through the proxy.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The number of bytes that have passed so far, in both directions.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }

    /// Drops present connections and refuses new ones.
    pub async fn cut(&self) {
        self.report(Command::Cut).await;
    }

    /// Lets this many more bytes pass, in both directions and over all connections together; then applies `fate`.
    pub fn after_bytes(&self, bytes: u64, fate: Fate) {
        *self.shared.limit.lock().unwrap() = Some((self.passed() + bytes, fate));
    }

    /// Never tells a Postgres that a client has left, as if the server took that long to notice.
    pub fn keep_goodbyes(&self) {
        self.shared.keeps_goodbyes.store(true, Ordering::SeqCst);
    }

    /// Waits until the limit is reached.
    pub async fn limit_reached(&self) {
        let mut reached = self.shared.limit_reached.subscribe();
        reached
            .wait_for(Option::is_some)
            .await
            .expect("the proxy runs");
    }

    /// Whether the limit is reached.
    pub fn is_limit_reached(&self) -> bool {
        self.shared.limit_reached.borrow().is_some()
    }

    /// Passes everything on again, over new connections. Drops stalled connections and the rule for responses.
    pub async fn heal(&self) {
        *self.shared.limit.lock().unwrap() = None;
        *self.shared.rule.lock().unwrap() = None;
        self.report(Command::Heal).await;
    }

    /// Answers the requests for which the rule returns a reply.
    pub fn answer(&self, rule: impl FnMut(&Request, &str) -> Option<Reply> + Send + 'static) {
        assert!(
            self.shared.protocol == Protocol::Http,
            "only Proxy::http sees requests"
        );
        *self.shared.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    async fn report(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (done, heard) = oneshot::channel();
        let sent = self.commands.send(command(done));
        assert!(sent.is_ok(), "the proxy runs");
        heard.await.expect("the proxy runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// The port: listening, or held so that connections are refused and no other process takes it.
enum Door {
    Open(TcpListener),
    Closed(TcpSocket),
}

impl Door {
    fn closed(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option of the socket");
        socket.bind(address).expect("the port is still ours");
        Self::Closed(socket)
    }

    async fn accept(&self) -> TcpStream {
        match self {
            Self::Open(listener) => listener.accept().await.expect("a connection").0,
            Self::Closed(_) => std::future::pending().await,
        }
    }
}

async fn supervise(
    mut door: Door,
    address: SocketAddr,
    shared: Arc<Shared>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut connections = JoinSet::new();
    let mut limit_reached = shared.limit_reached.subscribe();
    let mut cut_by_limit = async |door: &Door| match door {
        Door::Open(_) => drop(
            limit_reached
                .wait_for(|fate| *fate == Some(Fate::Cut))
                .await,
        ),
        Door::Closed(_) => std::future::pending().await,
    };
    loop {
        let command = tokio::select! {
            stream = door.accept() => {
                connections.spawn(serve(stream, Arc::clone(&shared)));
                continue;
            }
            () = cut_by_limit(&door) => None,
            Some(command) = commands.recv() => Some(command),
        };
        connections.shutdown().await;
        match command {
            Some(Command::Heal(done)) => {
                shared.limit_reached.send_replace(None);
                if let Door::Closed(socket) = door {
                    door = Door::Open(socket.listen(1024).expect("the port is still ours"));
                }
                let _ = done.send(());
            }
            command => {
                if matches!(door, Door::Open(_)) {
                    // The listener must be closed before the port can be held in another way.
                    drop(door);
                    door = Door::closed(address);
                }
                if let Some(Command::Cut(done)) = command {
                    let _ = done.send(());
                }
            }
        }
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let _ = client.set_nodelay(true);
    match shared.protocol {
        Protocol::Tcp => pass_on(client, shared.connect().await, &shared).await,
        Protocol::Http => while serve_request(&mut client, &shared).await.is_some() {},
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = pin!(pump(from_client, to_server, shared));
    let down = pin!(pump(from_server, to_client, shared));
    tokio::join!(up, down);
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, shared: &Shared) {
    let is_new = shared
        .limit_reached
        .borrow()
        .is_some_and(|fate| fate == Fate::StallPresent);
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if shared.keeps_goodbyes.load(Ordering::SeqCst) && buffer[..read].ends_with(GOODBYE) {
            std::future::pending::<()>().await;
        }
        let may_pass = if is_new { read } else { shared.take(read) };
        if to.write_all(&buffer[..may_pass]).await.is_err() {
            break;
        }
        if may_pass < read {
            shared.strike();
            for byte in &buffer[may_pass..read] {
                shared.until_next_byte().await;
                if to.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        }
    }
    if shared.keeps_goodbyes.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let _ = to.shutdown().await;
}

impl Shared {
    async fn connect(&self) -> TcpStream {
        let server = TcpStream::connect(&self.upstream)
            .await
            .expect("the server runs");
        let _ = server.set_nodelay(true);
        server
    }

    /// The number of these bytes that may pass.
    fn take(&self, bytes: usize) -> usize {
        let limit = self.limit.lock().unwrap();
        let passed = self.passed.load(Ordering::SeqCst);
        let left = limit.map_or(u64::MAX, |(limit, _)| limit.saturating_sub(passed));
        let may_pass = bytes.min(usize::try_from(left).unwrap_or(usize::MAX));
        self.passed.fetch_add(may_pass as u64, Ordering::SeqCst);
        may_pass
    }

    /// Waits before the next byte may pass: forever, or a second.
    async fn until_next_byte(&self) {
        if *self.limit_reached.borrow() != Some(Fate::Trickle) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    fn strike(&self) {
        let fate = self.limit.lock().unwrap().map(|(_, fate)| fate);
        self.limit_reached.send_replace(fate);
    }

    /// The headers, with the client's valid credentials replaced by the server's, and without invalid ones.
    fn with_credentials(&self, headers: &str) -> String {
        let Some(Credentials {
            of_client,
            of_server,
        }) = &self.credentials
        else {
            return headers.to_owned();
        };
        let is_authorization =
            |line: &&str| line.to_ascii_lowercase().starts_with("authorization: ");
        let (authorization, others): (Vec<&str>, Vec<&str>) =
            headers.split("\r\n").partition(is_authorization);
        let is_right =
            matches!(&authorization[..], [only] if only["authorization: ".len()..] == *of_client);
        let of_server = is_right.then(|| format!("authorization: {of_server}"));
        others
            .into_iter()
            .map(str::to_owned)
            .chain(of_server)
            .collect::<Vec<_>>()
            .join("\r\n")
    }

    fn decide(&self, request: &mut Request, body: &[u8]) -> Option<Reply> {
        // A rule cannot read a compressed body.
        let compressed = request
            .headers
            .lines()
            .any(|header| header == "content-encoding: gzip");
        let body = if compressed {
            ""
        } else {
            std::str::from_utf8(body).expect("JSON is text")
        };
        let mut rule = self.rule.lock().unwrap();
        let reply = rule.as_mut().and_then(|rule| rule(request, body));
        request.answered = reply.as_ref().map(|reply| reply.status);
        self.requests.lock().unwrap().push(request.clone());
        reply
    }
}

/// Serves one request of a connection; `None` if there are no more.
async fn serve_request(client: &mut TcpStream, shared: &Shared) -> Option<()> {
    let (head, body) = read_request(client).await?;
    let (line, headers) = head.split_once("\r\n").expect("a request has headers");
    let mut request = Request {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        headers: headers.to_ascii_lowercase(),
        body_bytes: body.len(),
        answered: None,
    };
    let reply = shared.decide(&mut request, &body);
    let is_passed_on = reply
        .as_ref()
        .is_none_or(|reply| reply.manner == Manner::Lost);
    if let Some(reply) = reply.as_ref().filter(|_| !is_passed_on) {
        return reply.send(client).await;
    }
    // A client that uses this as its HTTP proxy names the server in each request.
    let line = match line.split_once(" http://") {
        Some((method, address)) => {
            format!("{method} /{}", address.split_once('/').expect("a path").1)
        }
        None => line.to_owned(),
    };
    let headers = shared.with_credentials(headers);
    // Ask the server to close the connection, so that the end of its response is known without parsing it.
    let head = format!("{line}\r\nconnection: close\r\n{headers}\r\n\r\n");
    let mut server = shared.connect().await;
    server.write_all(head.as_bytes()).await.ok()?;
    server.write_all(&body).await.ok()?;
    if reply.is_some() {
        tokio::io::copy(&mut server, &mut tokio::io::sink())
            .await
            .ok()?;
        return None;
    }
    tokio::io::copy(&mut server, client).await.ok().map(drop)
}

/// The head, without the empty line, and the body.
async fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(END.len()).position(|window| window == END) {
            break end;
        }
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end + END.len());
    bytes.truncate(end);
    let head = String::from_utf8(bytes).expect("a head is text");
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.trim().parse().expect("a length"));
    while body.len() < length {
        if client.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}
