//! The parameters of libpq: those that are honoured, and those that are refused by name.

/// A parameter of libpq that is not supported, with its variable. The harmless values only request what daybook does
/// anyway.
pub(super) struct Unsupported {
    pub(super) name: &'static str,
    pub(super) variable: Option<&'static str>,
    pub(super) harmless: &'static [&'static str],
    /// What to do instead.
    pub(super) instead: &'static str,
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

/// The parameters that are refused.
pub(super) const UNSUPPORTED: &[Unsupported] = &[
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
pub(super) const HONOURED: &[(&str, &str)] = &[
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
