//! Where Postgres is and how to log in, from libpq's connection URLs and `PG*` variables.
//!
//! Every parameter is either honoured or refused by name: a misspelt or unsupported one must not silently make a
//! connection less secure, or lead it elsewhere. No message shows a value, since any value may be a password.

mod parameters;

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::postgres::PgSslMode;

use self::parameters::{HONOURED, UNSUPPORTED, Unsupported};

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
mod tests;
