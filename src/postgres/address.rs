//! Where Postgres is and how to log in, from libpq's connection URLs and `PG*` variables.
//!
//! Every parameter is either honoured or refused by name: a misspelt or unsupported one must not silently make a
//! connection less secure, or lead it elsewhere. No message shows a value, since any value may be a password.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::postgres::PgSslMode;

/// Everything that the URL and the environment say.
#[derive(Clone)]
pub(super) struct Address {
    /// The servers, in the order in which they are tried.
    pub(super) servers: Vec<Server>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    pub(super) tls: Tls,
    /// For each server; none if not set.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) attributes: SessionAttributes,
    /// Settings for the session, with their values.
    pub(super) options: Vec<(String, String)>,
    /// Whether the driver has them already, from the environment.
    pub(super) options_of_environment: bool,
    /// The file with passwords, if it is not `~/.pgpass`.
    pub(super) passfile: Option<PathBuf>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// A name, an IP address, or the folder of a Unix socket; none for the default.
    pub(super) host: Option<String>,
    pub(super) port: u16,
}

/// How a connection is encrypted, and which certificates are trusted.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) mode: PgSslMode,
    /// The file with trusted authorities; none for those of the system.
    pub(super) root: Option<PathBuf>,
    /// A client certificate and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// Which servers are acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionAttributes {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// Why an address is refused, with a hint. Contains no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong. Begins with "the parameter …", "PGSERVICE …" or the like.
    pub(super) what: String,
    pub(super) hint: String,
    /// Whether the environment is wrong, not the URL.
    pub(super) of_environment: bool,
}

pub(super) const FORM: &str = "write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE";
const SECURE_FORM: &str =
    "?sslmode=verify-full&sslrootcert=FILE encrypts the connection and verifies the server";
const DEFAULT_PORT: u16 = 5432;

/// A parameter of libpq that is not supported, with its variable. The harmless values only request what daybook does
/// anyway.
struct Unsupported {
    name: &'static str,
    variable: Option<&'static str>,
    harmless: &'static [&'static str],
    instead: &'static str,
}

impl Unsupported {
    const fn new(
        name: &'static str,
        variable: Option<&'static str>,
        harmless: &'static [&'static str],
        instead: &'static str,
    ) -> Self {
        Self {
            name,
            variable,
            harmless,
            instead,
        }
    }
}

const VERIFY: &str = "sslmode=verify-full with sslrootcert verifies the server";
const LEAVE_OUT: &str = "leave it out";
const SERVER_KEEPS_ALIVE: &str = "leave it out: the server sends keepalives in each session, and DAYBOOK_POSTGRES_TIMEOUT limits how long it may be silent";

const UNSUPPORTED: &[Unsupported] = &[
    Unsupported::new(
        "service",
        Some("PGSERVICE"),
        &[],
        "write what the service file says into the connection URL",
    ),
    Unsupported::new(
        "servicefile",
        None,
        &[],
        "write what the service file says into the connection URL",
    ),
    Unsupported::new(
        "passfile",
        None,
        &[],
        "name the file in the variable PGPASSFILE, or use ~/.pgpass",
    ),
    Unsupported::new(
        "sslpassword",
        None,
        &[],
        "use a client key without a password that only its owner may read",
    ),
    Unsupported::new(
        "channel_binding",
        Some("PGCHANNELBINDING"),
        &["disable"],
        VERIFY,
    ),
    Unsupported::new("require_auth", Some("PGREQUIREAUTH"), &[], VERIFY),
    Unsupported::new(
        "requirepeer",
        Some("PGREQUIREPEER"),
        &[],
        "leave it out: guard the folder of the socket instead",
    ),
    Unsupported::new("requiressl", Some("PGREQUIRESSL"), &["0"], VERIFY),
    Unsupported::new("sslcertmode", Some("PGSSLCERTMODE"), &["allow"], LEAVE_OUT),
    Unsupported::new(
        "sslcompression",
        Some("PGSSLCOMPRESSION"),
        &["0"],
        LEAVE_OUT,
    ),
    Unsupported::new(
        "sslcrl",
        Some("PGSSLCRL"),
        &[],
        "leave it out: daybook does not check for revoked certificates",
    ),
    Unsupported::new(
        "sslcrldir",
        Some("PGSSLCRLDIR"),
        &[],
        "leave it out: daybook does not check for revoked certificates",
    ),
    Unsupported::new(
        "sslnegotiation",
        Some("PGSSLNEGOTIATION"),
        &["postgres"],
        LEAVE_OUT,
    ),
    Unsupported::new("sslsni", Some("PGSSLSNI"), &["1"], LEAVE_OUT),
    Unsupported::new(
        "ssl_min_protocol_version",
        Some("PGSSLMINPROTOCOLVERSION"),
        &["TLSv1", "TLSv1.1", "TLSv1.2"],
        "leave it out: daybook uses TLS 1.2 and 1.3 only",
    ),
    Unsupported::new(
        "ssl_max_protocol_version",
        Some("PGSSLMAXPROTOCOLVERSION"),
        &["TLSv1.3"],
        "leave it out: daybook uses TLS 1.2 and 1.3",
    ),
    Unsupported::new(
        "gssencmode",
        Some("PGGSSENCMODE"),
        &["disable", "prefer"],
        VERIFY,
    ),
    Unsupported::new("gssdelegation", Some("PGGSSDELEGATION"), &["0"], LEAVE_OUT),
    Unsupported::new(
        "gsslib",
        None,
        &[],
        "log in with a password or a client certificate",
    ),
    Unsupported::new(
        "krbsrvname",
        None,
        &[],
        "log in with a password or a client certificate",
    ),
    Unsupported::new(
        "load_balance_hosts",
        Some("PGLOADBALANCEHOSTS"),
        &["disable"],
        "leave it out: the servers are tried in order",
    ),
    Unsupported::new(
        "application_name",
        None,
        &[],
        "leave it out: daybook names its sessions after what they do",
    ),
    Unsupported::new(
        "fallback_application_name",
        None,
        &[],
        "leave it out: daybook names its sessions after what they do",
    ),
    Unsupported::new(
        "client_encoding",
        None,
        &["UTF8", "utf8", "UTF-8", "utf-8"],
        "leave it out: it is UTF8",
    ),
    Unsupported::new("replication", None, &[], LEAVE_OUT),
    Unsupported::new("keepalives", None, &[], SERVER_KEEPS_ALIVE),
    Unsupported::new("keepalives_idle", None, &[], SERVER_KEEPS_ALIVE),
    Unsupported::new("keepalives_interval", None, &[], SERVER_KEEPS_ALIVE),
    Unsupported::new("keepalives_count", None, &[], SERVER_KEEPS_ALIVE),
    Unsupported::new("tcp_user_timeout", None, &[], SERVER_KEEPS_ALIVE),
];

/// The supported parameters, with their variables.
const HONOURED: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("options", "PGOPTIONS"),
];

/// The value given for a parameter.
struct Given {
    value: String,
    /// The name of the parameter, or of the variable that set it.
    name: &'static str,
    of_environment: bool,
}

impl Given {
    fn refused(&self, what: &str, hint: impl Into<String>) -> Refusal {
        Refusal {
            what: format!("{} {what}", self.name),
            hint: hint.into(),
            of_environment: self.of_environment,
        }
    }
}

/// Reads a variable of the environment; none if it is empty.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

impl Address {
    /// From a URL, if one is given. The environment adds what the URL leaves open.
    pub(super) fn new(url: Option<&str>, environment: Environment<'_>) -> Result<Self, Refusal> {
        refuse_unsupported_variables(environment)?;
        let parameters = match url {
            Some(url) => parameters_of(url)?,
            None => Vec::new(),
        };
        let given = |name: &str| look_up(name, &parameters, environment);
        Ok(Self {
            servers: servers(&given)?,
            user: given("user").map(|given| given.value),
            password: given("password").map(|given| given.value),
            database: given("dbname").map(|given| given.value),
            tls: tls(&given, environment)?,
            connect_timeout: given("connect_timeout")
                .map(|given| seconds(&given))
                .transpose()?,
            attributes: given("target_session_attrs")
                .map_or(Ok(SessionAttributes::Any), |given| {
                    session_attributes(&given)
                })?,
            options_of_environment: given("options").is_some_and(|given| given.of_environment),
            options: given("options").map_or(Ok(Vec::new()), |given| options(&given))?,
            passfile: environment("PGPASSFILE").map(PathBuf::from),
        })
    }
}

fn look_up(
    name: &str,
    parameters: &[(String, String)],
    environment: Environment<'_>,
) -> Option<Given> {
    let (name, variable) = HONOURED.iter().find(|(honoured, _)| *honoured == name)?;
    // As in libpq, the last one counts.
    let of_url = parameters
        .iter()
        .rev()
        .find(|(parameter, value)| parameter == name && !value.is_empty());
    if let Some((_, value)) = of_url {
        return Some(Given {
            value: value.clone(),
            name,
            of_environment: false,
        });
    }
    environment(variable).map(|value| Given {
        value,
        name: variable,
        of_environment: true,
    })
}

fn refuse_unsupported_variables(environment: Environment<'_>) -> Result<(), Refusal> {
    for Unsupported {
        variable,
        harmless,
        instead,
        ..
    } in UNSUPPORTED
    {
        let Some(variable) = variable else { continue };
        if environment(variable).is_some_and(|value| !harmless.contains(&value.as_str())) {
            return Err(Refusal {
                what: format!("{variable} is set, which daybook does not support"),
                hint: format!("unset it; {instead}"),
                of_environment: true,
            });
        }
    }
    Ok(())
}

fn of_url(what: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal {
        what: what.into(),
        hint: hint.into(),
        of_environment: false,
    }
}

fn unreadable(what: &str) -> Refusal {
    of_url(
        what,
        format!(
            "{FORM}; percent-encode special characters in a password: @ is %40, / is %2F, # is %23"
        ),
    )
}

/// A URL as libpq's parameters, all of them known and supported.
fn parameters_of(url: &str) -> Result<Vec<(String, String)>, Refusal> {
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or_else(|| of_url("it is not a Postgres URL", FORM))?;
    if rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
        return Err(unreadable(
            "it contains a space, a # or a control character",
        ));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(login, hosts)| (Some(login), hosts));
    // With a password that is not percent-encoded, its end would be shown as a part of the address.
    if database.contains('@') || (login.is_none() && query.contains('@')) {
        return Err(unreadable("there is an @ in the wrong place"));
    }
    let mut parameters = Vec::new();
    let mut add = |name: &str, value: &str| -> Result<(), Refusal> {
        parameters.push((name.to_owned(), decoded(value)?));
        Ok(())
    };
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        add("user", user)?;
        add("password", password)?;
    }
    let (hosts, ports) = hosts_and_ports(hosts)?;
    add("host", &hosts)?;
    add("port", &ports)?;
    add("dbname", database)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| unreadable("a parameter has no value"))?;
        let (name, value) = (decoded(name)?, decoded(value)?);
        match name.as_str() {
            // From JDBC; libpq knows it, too.
            "ssl" if value == "true" => {
                parameters.push(("sslmode".to_owned(), "require".to_owned()));
            }
            name if HONOURED.iter().any(|(honoured, _)| *honoured == name) => {
                parameters.push((name.to_owned(), value));
            }
            name => refuse_unless_harmless(name, &value)?,
        }
    }
    Ok(parameters)
}

fn refuse_unless_harmless(name: &str, value: &str) -> Result<(), Refusal> {
    if let Some(unsupported) = UNSUPPORTED
        .iter()
        .find(|unsupported| unsupported.name == name)
    {
        if unsupported.harmless.contains(&value) {
            return Ok(());
        }
        return Err(of_url(
            format!("the parameter '{name}' is not supported"),
            unsupported.instead,
        ));
    }
    // What does not look like a name may be part of a password.
    let is_name = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '[' | ']');
    let shown = if name.len() <= 40 && name.chars().all(is_name) {
        format!(" '{name}'")
    } else {
        String::new()
    };
    let known: Vec<_> = HONOURED.iter().map(|(name, _)| *name).collect();
    Err(of_url(
        format!("the parameter{shown} is not known"),
        format!("known are {}", known.join(", ")),
    ))
}

/// `a:1,[::1],c:3` as `a,::1,c` and `1,,3`.
fn hosts_and_ports(text: &str) -> Result<(String, String), Refusal> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for one in text.split(',') {
        let (host, rest) = match one.strip_prefix('[') {
            Some(address) => {
                let (address, rest) = address
                    .split_once(']')
                    .ok_or_else(|| unreadable("a [ has no ]"))?;
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(unreadable("what is in [ ] is not an IPv6 address"));
                }
                (address, rest)
            }
            None => one.split_at(one.find(':').unwrap_or(one.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port,
            None if rest.is_empty() => "",
            None => {
                return Err(unreadable(
                    "an address is followed by something other than a port",
                ));
            }
        };
        hosts.push(host);
        ports.push(port);
    }
    if ports.iter().all(|port| port.is_empty()) {
        ports.clear();
    }
    Ok((hosts.join(","), ports.join(",")))
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let bytes = text.as_bytes();
    let broken = bytes.iter().enumerate().any(|(at, byte)| {
        *byte == b'%'
            && !bytes
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .ok()
        .filter(|text| !broken && !text.contains('\0'));
    decoded
        .map(String::from)
        .ok_or_else(|| unreadable("a % is not followed by two hexadecimal digits of a character"))
}

fn servers(given: &dyn Fn(&str) -> Option<Given>) -> Result<Vec<Server>, Refusal> {
    let host = given("host");
    let address = given("hostaddr");
    // A variable may give the address of a name in the URL: ignoring it would lead elsewhere.
    if let (Some(_), Some(address)) = (&host, &address) {
        return Err(address.refused(
            "cannot be combined with a host",
            "give only the name, which the certificate is checked against, or only the address",
        ));
    }
    let hosts = host.or(address);
    let hosts: Vec<Option<String>> = match &hosts {
        None => vec![None],
        Some(hosts) => hosts
            .value
            .split(',')
            .map(|host| Some(host.to_owned()).filter(|host| !host.is_empty()))
            .collect(),
    };
    let ports = match given("port") {
        None => vec![DEFAULT_PORT],
        Some(ports) => {
            let port = |port: &str| match port {
                "" => Ok(DEFAULT_PORT),
                port => port
                    .parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(|| ports.refused("is not a number from 1 to 65535", FORM)),
            };
            let all = ports
                .value
                .split(',')
                .map(port)
                .collect::<Result<Vec<u16>, _>>()?;
            if all.len() != 1 && all.len() != hosts.len() {
                return Err(ports.refused(
                    "does not have one number for each host",
                    "give one port, or one for each host",
                ));
            }
            all
        }
    };
    let port_of = |at: usize| {
        ports
            .get(at)
            .or(ports.first())
            .copied()
            .unwrap_or(DEFAULT_PORT)
    };
    Ok(hosts
        .into_iter()
        .enumerate()
        .map(|(at, host)| Server {
            host,
            port: port_of(at),
        })
        .collect())
}

fn tls(
    given: &dyn Fn(&str) -> Option<Given>,
    environment: Environment<'_>,
) -> Result<Tls, Refusal> {
    let mode = given("sslmode");
    let root = given("sslrootcert");
    let of_system = root.as_ref().is_some_and(|root| root.value == "system");
    let mut mode = match &mode {
        None if of_system => PgSslMode::VerifyFull,
        None => PgSslMode::Prefer,
        Some(mode) => ssl_mode(mode)?,
    };
    let root = match root {
        Some(root) if of_system => {
            if !matches!(mode, PgSslMode::VerifyFull) {
                return Err(root.refused("system needs sslmode=verify-full", SECURE_FORM));
            }
            None
        }
        Some(root) => Some(file(&root)?),
        None => default_root(environment),
    };
    // As in libpq: if there is a root certificate, it is used.
    if matches!(mode, PgSslMode::Require) && root.is_some() {
        mode = PgSslMode::VerifyCa;
    }
    let client = match (given("sslcert"), given("sslkey")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((file(&certificate)?, file(&key)?)),
        (Some(one), None) | (None, Some(one)) => {
            return Err(one.refused("is given alone", "give both, sslcert and sslkey"));
        }
    };
    Ok(Tls { mode, root, client })
}

/// `-c name=value` and `--name=value`, as on the server's command line. A backslash quotes the next character.
fn options(given: &Given) -> Result<Vec<(String, String)>, Refusal> {
    let mut words = vec![String::new()];
    let mut characters = given.value.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            (c, _) if c.is_whitespace() => words.push(String::new()),
            ('\\', Some(word)) => word.extend(characters.next()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut options = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or(word.strip_prefix("-c")) {
            Some("") => words.next(),
            setting => setting.map(str::to_owned),
        };
        let pair = setting
            .as_deref()
            .and_then(|setting| setting.split_once('='));
        let (name, value) = pair.ok_or_else(|| {
            given.refused(
                "contains something other than settings",
                "write each as -c%20NAME%3DVALUE, with %20 between them",
            )
        })?;
        options.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(options)
}

fn ssl_mode(given: &Given) -> Result<PgSslMode, Refusal> {
    match given.value.as_str() {
        "disable" => Ok(PgSslMode::Disable),
        "prefer" => Ok(PgSslMode::Prefer),
        "require" => Ok(PgSslMode::Require),
        "verify-ca" => Ok(PgSslMode::VerifyCa),
        "verify-full" => Ok(PgSslMode::VerifyFull),
        "allow" => Err(given.refused(
            "allow is not supported",
            format!("use prefer, or better: {SECURE_FORM}"),
        )),
        _ => Err(given.refused(
            "is not one of disable, prefer, require, verify-ca and verify-full",
            format!("{FORM}{SECURE_FORM}"),
        )),
    }
}

fn file(given: &Given) -> Result<PathBuf, Refusal> {
    // A key given in place of its file's name must not be shown.
    if given.value.contains("-----BEGIN") || given.value.contains('\n') {
        return Err(given.refused(
            "is not the name of a file",
            "put it into a file and give the name of that",
        ));
    }
    Ok(PathBuf::from(&given.value))
}

/// The root certificate that libpq uses by default.
fn default_root(environment: Environment<'_>) -> Option<PathBuf> {
    let file = PathBuf::from(environment("HOME")?).join(".postgresql/root.crt");
    file.is_file().then_some(file)
}

fn seconds(given: &Given) -> Result<Duration, Refusal> {
    match given.value.parse::<u32>() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds.into())),
        _ => Err(given.refused(
            "is not a number of seconds from 1",
            "give whole seconds, such as 15",
        )),
    }
}

fn session_attributes(given: &Given) -> Result<SessionAttributes, Refusal> {
    Ok(match given.value.as_str() {
        "any" => SessionAttributes::Any,
        "read-write" => SessionAttributes::ReadWrite,
        "read-only" => SessionAttributes::ReadOnly,
        "primary" => SessionAttributes::Primary,
        "standby" => SessionAttributes::Standby,
        "prefer-standby" => SessionAttributes::PreferStandby,
        _ => {
            return Err(given.refused(
                "is not one of any, read-write, read-only, primary, standby and prefer-standby",
                "for the ledger, read-write",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t";

    fn parse(url: &str, variables: &[(&str, &str)]) -> Result<Address, Refusal> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Address::new((!url.is_empty()).then_some(url), &environment)
    }

    fn refused(url: &str, variables: &[(&str, &str)]) -> Refusal {
        let refusal = parse(url, variables)
            .err()
            .unwrap_or_else(|| panic!("{url} {variables:?} was accepted"));
        let said = format!("{refusal:?}");
        assert!(!said.contains(SECRET), "{url}: {said}");
        refusal
    }

    fn servers_of(url: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let address = parse(url, variables).unwrap_or_else(|refusal| panic!("{url}: {refusal:?}"));
        let shown =
            |server: &Server| format!("{} {}", server.host.as_deref().unwrap_or("-"), server.port);
        address.servers.iter().map(shown).collect()
    }

    #[test]
    fn hosts_and_ports_are_read_as_libpq_reads_them() {
        for (url, servers) in [
            ("postgres://", &["- 5432"][..]),
            ("postgresql://h/db", &["h 5432"]),
            ("postgres://u:p@h:6543/db", &["h 6543"]),
            ("postgres://u@[::1]:5433/db", &["::1 5433"]),
            ("postgres://u@[fe80::1]/db", &["fe80::1 5432"]),
            ("postgres://h1,h2/db", &["h1 5432", "h2 5432"]),
            (
                "postgres://h1:1,h2,[::1]:3/db",
                &["h1 1", "h2 5432", "::1 3"],
            ),
            ("postgres://h1,h2/db?port=7", &["h1 7", "h2 7"]),
            ("postgres:///db?host=h1,h2&port=1,2", &["h1 1", "h2 2"]),
            ("postgres://%2Fvar%2Frun/db", &["/var/run 5432"]),
            ("postgres:///db?host=/var/run&port=7", &["/var/run 7"]),
            ("postgres:///db?hostaddr=127.0.0.1", &["127.0.0.1 5432"]),
        ] {
            assert_eq!(servers_of(url, &[]), servers, "{url}");
        }
    }

    #[test]
    fn what_a_url_leaves_open_comes_from_the_environment() {
        let variables = [
            ("PGHOST", "h1,h2"),
            ("PGPORT", "7"),
            ("PGUSER", "me"),
            ("PGPASSWORD", "mine"),
            ("PGDATABASE", "d"),
        ];
        assert_eq!(servers_of("", &variables), ["h1 7", "h2 7"]);
        assert_eq!(servers_of("postgres://other/db", &variables), ["other 7"]);
        let address = parse("postgres://you@other:9/db", &variables).ok().unwrap();
        let values = [address.user, address.password, address.database].map(Option::unwrap);
        assert_eq!(values, ["you", "mine", "db"]);
    }

    #[test]
    fn what_is_percent_encoded_is_decoded_and_a_plus_is_a_plus() {
        let address = parse(
            "postgres://u%40x:p%2F%40%23+y@h/d%62?options=-c%20a%3Db",
            &[],
        )
        .ok()
        .unwrap();
        let values = [address.user, address.password, address.database].map(Option::unwrap);
        assert_eq!(values, ["u@x", "p/@#+y", "db"]);
        assert_eq!(address.options, [("a".to_owned(), "b".to_owned())]);
    }

    #[test]
    fn options_are_settings_with_their_values() {
        let options = |text: &str| parse("", &[("PGOPTIONS", text)]).map(|address| address.options);
        let read = options(r"-c a=1  -cb=x\ y --some-name=z\\").ok().unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(read, ["a=1", "b=x y", r"some_name=z\"]);
        for nonsense in ["-c", "-c a", "-d 5", "s3cr3t"] {
            assert!(
                refused("", &[("PGOPTIONS", nonsense)])
                    .what
                    .starts_with("PGOPTIONS "),
                "{nonsense}"
            );
        }
    }

    #[test]
    fn whatever_cannot_be_read_is_refused_without_a_value() {
        for url in [
            "postgres://u:s3cr3t@h:port/db",
            "postgres://u:s3cr3t@h:0/db",
            "postgres://u:s3cr3t@h:65536/db",
            "postgres://u:s3cr3t@lo cal/db",
            "postgres://u:s3cr3t#x@h/db",
            "postgres://u:x/s3cr3t@h/db",
            "postgres://u:x?s3cr3t@h/db",
            "postgres://u:x?a&s3cr3t=1@h/db",
            "postgres://u:s3cr3t%zz@h/db",
            "postgres://u:s3cr3t%ff@h/db",
            "postgres://u:s3cr3t%00@h/db",
            "postgres://u:s3cr3t@[::1/db",
            "postgres://u:s3cr3t@[x]/db",
            "postgres://u:s3cr3t@[::1]5432/db",
            "postgres://u:s3cr3t@h1,h2/db?port=1,2,3",
            "postgres://u:s3cr3t@h/db?sslmode",
            "mysql://u:s3cr3t@h/db",
            "host=h password=s3cr3t",
            "s3cr3t",
        ] {
            assert!(
                refused(url, &[])
                    .hint
                    .contains("postgres://USER:PASSWORD@HOST:PORT/DATABASE")
                    || url.contains("port=1,2,3"),
                "{url}"
            );
        }
    }

    #[test]
    fn a_parameter_that_is_not_honoured_is_refused_by_its_name() {
        let unknown = ["pasword", "ssl-mode", "options[search_path]", "sslmod"]
            .map(|name| (name, "not known"));
        let unsupported = UNSUPPORTED
            .iter()
            .map(|unsupported| (unsupported.name, "not supported"));
        for (name, words) in unknown.into_iter().chain(unsupported) {
            let refusal = refused(&format!("postgres://u@h/db?{name}={SECRET}"), &[]);
            assert_eq!(refusal.what, format!("the parameter '{name}' is {words}"));
            assert!(!refusal.hint.is_empty() && !refusal.of_environment);
        }
        // What looks like part of a password is not shown.
        for name in ["s3cr3t", "s3cr3t%20x"] {
            assert_eq!(
                refused(&format!("postgres://u@h/db?{name}=x"), &[]).what,
                "the parameter is not known"
            );
        }
    }

    #[test]
    fn a_variable_that_is_not_honoured_is_refused_by_its_name() {
        for unsupported in UNSUPPORTED {
            let Some(variable) = unsupported.variable else {
                continue;
            };
            for url in ["", "postgres://u@h/db"] {
                let refusal = refused(url, &[(variable, SECRET)]);
                assert!(
                    refusal.what.starts_with(&format!("{variable} is set"))
                        && refusal.of_environment
                );
            }
            for harmless in unsupported.harmless {
                assert!(
                    parse("", &[(variable, harmless)]).is_ok(),
                    "{variable}={harmless}"
                );
            }
        }
        for (variable, value) in [
            ("PGPORT", "s3cr3t"),
            ("PGSSLMODE", "s3cr3t"),
            ("PGSSLMODE", "allow"),
            ("PGCONNECT_TIMEOUT", "0"),
            ("PGTARGETSESSIONATTRS", "s3cr3t"),
            ("PGHOSTADDR", "127.0.0.2"),
            ("PGSSLCERT", "s3cr3t"),
            ("PGSSLKEY", "-----BEGIN PRIVATE KEY-----s3cr3t"),
        ] {
            let refusal = refused("postgres://u@h/db", &[(variable, value)]);
            assert!(
                refusal.what.starts_with(variable) && refusal.of_environment,
                "{refusal:?}"
            );
        }
    }

    #[test]
    fn a_root_certificate_is_used_wherever_the_connection_is_encrypted() {
        let mode = |parameters: &str| {
            let address = parse(&format!("postgres://u@h/db?{parameters}"), &[])
                .map_err(|refusal| refusal.what);
            address.map(|address| format!("{:?} {}", address.tls.mode, address.tls.root.is_some()))
        };
        for (parameters, expected) in [
            ("", "Prefer false"),
            ("ssl=true", "Require false"),
            ("sslmode=require", "Require false"),
            ("sslmode=require&sslrootcert=f", "VerifyCa true"),
            ("sslmode=verify-ca&sslrootcert=f", "VerifyCa true"),
            ("sslmode=verify-full&sslrootcert=f", "VerifyFull true"),
            ("sslrootcert=system", "VerifyFull false"),
        ] {
            assert_eq!(mode(parameters).unwrap(), expected, "{parameters}");
        }
        assert!(mode("sslmode=require&sslrootcert=system").is_err());
        assert!(mode("sslmode=allow").is_err());
        // The file in libpq's default place.
        let home = std::env::temp_dir().join(format!("daybook-home-{}", std::process::id()));
        std::fs::create_dir_all(home.join(".postgresql")).unwrap();
        std::fs::write(home.join(".postgresql/root.crt"), "").unwrap();
        let address = parse(
            "postgres://u@h/db?sslmode=require",
            &[("HOME", home.to_str().unwrap())],
        )
        .ok()
        .unwrap();
        std::fs::remove_dir_all(home).unwrap();
        assert!(matches!(address.tls.mode, PgSslMode::VerifyCa) && address.tls.root.is_some());
    }
}
