//! Encrypted connections to Elasticsearch, and logging in: whom the program trusts, who it says it is, and what it says
//! when that is not accepted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd,
};
use reqwest::Method;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use url::Url;

use crate::support::{Event, Proxy, RECORDSET, World};

const ELASTICSEARCH: &str = "DAYBOOK_ELASTICSEARCH_URL";
const AUTHORITY: &str = "DAYBOOK_ELASTICSEARCH_CA";
const APPLY: [&str; 3] = ["apply", "--day", "2020-02-16"];

async fn with_an_event() -> World {
    let world = World::new().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    world
}

#[tokio::test]
async fn an_authority_of_the_system_is_trusted_beside_one_that_cannot_be_read() {
    let world = with_an_event().await;
    let authority = Authority::new();
    let unreadable = "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n";
    let authorities = authority.write(
        "system.pem",
        &format!("{unreadable}{}", authority.certificate.pem()),
    );
    let door = Door::before(&world.elasticsearch_url, &authority, Shown::default()).await;
    let settings = [
        (ELASTICSEARCH, door.url.as_str()),
        ("SSL_CERT_FILE", &authorities),
    ];
    world.run_with(&settings, &APPLY).await.assert_exit(0);
    assert_eq!(world.documents("").await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn the_authority_that_is_named_is_trusted_and_no_other() {
    let world = with_an_event().await;
    let (ours, others) = (Authority::new(), Authority::new());
    let door = Door::before(&world.elasticsearch_url, &ours, Shown::default()).await;
    let (ours, others) = (ours.file(), others.file());
    let run = async |settings: &[(&str, &str)], command: &[&str]| {
        let settings = [settings, &[(ELASTICSEARCH, door.url.as_str())]].concat();
        world.run_with(&settings, command).await
    };
    let ended = run(&[("SSL_CERT_FILE", &others)], &APPLY).await;
    ended
        .assert_exit(3)
        .says(&["gave no answer", "certificate", "--elasticsearch-ca FILE"]);
    // What the system trusts does not count when an authority is named.
    run(
        &[("SSL_CERT_FILE", &ours), (AUTHORITY, &others)],
        &["project"],
    )
    .await
    .assert_exit(1)
    .says(&["--elasticsearch-ca"]);
    run(
        &[("SSL_CERT_FILE", &others), (AUTHORITY, &ours)],
        &["project"],
    )
    .await
    .assert_exit(0);
    run(&[], &["rebuild", "--elasticsearch-ca", &ours])
        .await
        .assert_exit(0);
    world.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_needs_a_person_and_the_message_helps() {
    let world = with_an_event().await;
    world
        .run(&["apply", "--day", "2020-02-16", "--no-project"])
        .await
        .assert_exit(0);
    let (authority, stranger) = (Authority::new(), Authority::new());
    let elsewhere = Shown {
        name: "elsewhere.example",
        ..Shown::default()
    };
    let expired = Shown {
        years: (2010, 2020),
        ..Shown::default()
    };
    let to_come = Shown {
        years: (2100, 2110),
        ..Shown::default()
    };
    let cases = [
        (&stranger, Shown::default(), "--elasticsearch-ca FILE"),
        (
            &authority,
            elsewhere,
            "a host name that the certificate is for",
        ),
        (&authority, expired, "renew the certificate"),
        (&authority, to_come, "the clock of this machine"),
    ];
    let file = authority.file();
    for (signed_by, shown, hint) in cases {
        let door = Door::before(&world.elasticsearch_url, signed_by, shown).await;
        let settings = [(ELASTICSEARCH, door.url.as_str()), (AUTHORITY, &file)];
        for command in ["project", "verify", "rebuild"] {
            world
                .run_with(&settings, &[command])
                .await
                .assert_exit(1)
                .says(&["certificate", hint]);
        }
        world
            .run_with(&settings, &["status"])
            .await
            .assert_exit(0)
            .tells(&[hint]);
    }
    let not_encrypted = world.elasticsearch_url.replace("http://", "https://");
    let settings = [(ELASTICSEARCH, not_encrypted.as_str()), (AUTHORITY, &file)];
    world
        .run_with(&settings, &["project"])
        .await
        .assert_exit(1)
        .says(&["write http:// in DAYBOOK_ELASTICSEARCH_URL"]);
    world.end().await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_one_that_is_missing_or_refused_is_said() {
    let world = with_an_event().await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let wants_one = Shown {
        wants_client_certificate: true,
        ..Shown::default()
    };
    let door = Door::before(&world.elasticsearch_url, &authority, wants_one).await;
    let file = authority.file();
    let run = async |client: Option<&(String, String)>, command: &[&str]| {
        let mut settings = vec![(ELASTICSEARCH, door.url.as_str()), (AUTHORITY, &file)];
        if let Some((certificate, key)) = client {
            settings.push(("DAYBOOK_ELASTICSEARCH_CLIENT_CERT", certificate));
            settings.push(("DAYBOOK_ELASTICSEARCH_CLIENT_KEY", key));
        }
        world.run_with(&settings, command).await
    };
    let ours = authority.client();
    run(Some(&ours), &APPLY).await.assert_exit(0);
    for client in [None, Some(stranger.client())] {
        let ended = run(client.as_ref(), &["project"]).await;
        ended
            .assert_exit(1)
            .says(&["--elasticsearch-client-cert FILE"]);
    }
    world.end().await;
}

#[tokio::test]
async fn an_api_key_and_a_token_are_sent_from_wherever_they_are_given() {
    let world = with_an_event().await;
    world
        .run(&["apply", "--day", "2020-02-16", "--no-project"])
        .await
        .assert_exit(0);
    let authority = Authority::new();
    let file = authority.file();
    // Encoded, it is ID:KEY in base 64.
    let ways = [
        ("API_KEY", "api-key", "aWQ6a2V5", "ApiKey aWQ6a2V5"),
        ("API_KEY", "api-key", "id:key", "ApiKey aWQ6a2V5"),
        ("BEARER_TOKEN", "bearer-token", "a.token", "Bearer a.token"),
    ];
    for (variable, option, secret, header) in ways {
        let cluster = Proxy::authenticating(&world.elasticsearch_url, header).await;
        let door = Door::before(cluster.url(), &authority, Shown::default()).await;
        let (variable, key) = (
            format!("DAYBOOK_ELASTICSEARCH_{variable}"),
            option.replace('-', "_"),
        );
        let in_file = authority.write("secret", &format!("{secret}\n"));
        let credentials = authority.directory.join("credentials");
        std::fs::create_dir_all(&credentials).unwrap();
        for other in std::fs::read_dir(&credentials).unwrap() {
            std::fs::remove_file(other.unwrap().path()).unwrap();
        }
        std::fs::write(credentials.join(format!("elasticsearch-{option}")), secret).unwrap();
        let config = authority.write(
            "daybook.toml",
            &format!("elasticsearch_{key} = \"{secret}\"\n"),
        );
        let config_file = authority.write(
            "file.toml",
            &format!("elasticsearch_{key}_file = \"{in_file}\"\n"),
        );
        let variable_file = format!("{variable}_FILE");
        let given = [
            (variable.as_str(), secret),
            (variable_file.as_str(), &in_file),
            ("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()),
            ("DAYBOOK_CONFIG", &config),
            ("DAYBOOK_CONFIG", &config_file),
        ];
        let common = [(ELASTICSEARCH, door.url.as_str()), (AUTHORITY, &file)];
        for setting in given {
            world
                .run_with(&[&common[..], &[setting]].concat(), &["project"])
                .await
                .assert_exit(0);
        }
        let argument = format!("--elasticsearch-{option}-file");
        world
            .run_with(&common, &["project", &argument, &in_file])
            .await
            .assert_exit(0);
        assert!(
            cluster
                .requests()
                .iter()
                .all(|request| request.headers.contains(&header.to_ascii_lowercase()))
        );

        let wrong = [&common[..], &[(variable.as_str(), "wrong")]].concat();
        world
            .run_with(&wrong, &["project"])
            .await
            .assert_exit(1)
            .says(&["answered 401", "API key, token"]);
    }
    world.end().await;
}

/// The variables, files and credentials that log in to the cluster of an old index, and no other's.
#[tokio::test]
async fn the_cluster_of_an_old_index_has_a_login_of_its_own() {
    let world = World::new().await;
    let index = format!("{}-old", world.prefix);
    let document = json!({ "recordset_id": RECORDSET, "harvest_date": "2020-02-17", "records": { "search": { "count": 1, "total": 5 } } });
    world
        .elastic(
            Method::POST,
            &format!("{index}/_doc?refresh=true"),
            Some(document),
        )
        .await;
    let authority = Authority::new();
    let file = authority.file();
    let run = async |door: &Door, settings: &[(&str, &str)], options: &[&str]| {
        let address = door.url.join(&index).unwrap();
        let import = [
            "import",
            "--no-project",
            "--dry-run",
            "--from-index",
            address.as_str(),
        ];
        world
            .run_with(
                &[&[(AUTHORITY, file.as_str())], settings].concat(),
                &[&import, options].concat(),
            )
            .await
    };

    let cluster = Proxy::authenticating(&world.elasticsearch_url, "ApiKey aWQ6a2V5").await;
    let door = Door::before(cluster.url(), &authority, Shown::default()).await;
    let in_file = authority.write("secret", "id:key\n");
    let credentials = authority.directory.join("credentials");
    std::fs::create_dir_all(&credentials).unwrap();
    std::fs::write(credentials.join("from-index-api-key"), "aWQ6a2V5").unwrap();
    let api_key = ("DAYBOOK_FROM_INDEX_API_KEY", "id:key");
    for setting in [
        api_key,
        ("DAYBOOK_FROM_INDEX_API_KEY_FILE", in_file.as_str()),
        ("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()),
    ] {
        run(&door, &[setting], &[])
            .await
            .assert_exit(0)
            .tells(&["1 would be posted"]);
    }
    run(&door, &[], &["--from-index-api-key-file", &in_file])
        .await
        .assert_exit(0);
    let token = ("DAYBOOK_FROM_INDEX_BEARER_TOKEN", "a.token");
    run(&door, &[api_key, token], &[])
        .await
        .assert_exit(2)
        .says(&["more than one way", "DAYBOOK_FROM_INDEX_API_KEY"]);
    // Our own cluster's secrets are not told to another.
    let ours = [("DAYBOOK_ELASTICSEARCH_API_KEY", "id:key")];
    run(&door, &ours, &[])
        .await
        .assert_exit(1)
        .says(&["answered 401", "in --from-index, or the API key"]);

    let cluster = Proxy::authenticating(&world.elasticsearch_url, "Bearer a.token").await;
    let door = Door::before(cluster.url(), &authority, Shown::default()).await;
    run(&door, &[token], &[]).await.assert_exit(0);
    let cluster = Proxy::authenticating(&world.elasticsearch_url, "Basic dTpwdw==").await;
    let door = Door::before(cluster.url(), &authority, Shown::default()).await;
    run(
        &door,
        &[("DAYBOOK_FROM_INDEX_PASSWORD", "pw")],
        &["--from-index-user", "u"],
    )
    .await
    .assert_exit(0);

    let wants_one = Shown {
        wants_client_certificate: true,
        ..Shown::default()
    };
    let door = Door::before(&world.elasticsearch_url, &authority, wants_one).await;
    let (certificate, key) = authority.client();
    let shown = [
        ("DAYBOOK_FROM_INDEX_CLIENT_CERT", certificate.as_str()),
        ("DAYBOOK_FROM_INDEX_CLIENT_KEY", &key),
    ];
    run(&door, &shown, &[]).await.assert_exit(0);
    run(&door, &[], &[])
        .await
        .assert_exit(1)
        .says(&["--from-index-client-cert FILE"]);
    run(&door, &shown[..1], &[])
        .await
        .assert_exit(2)
        .says(&["DAYBOOK_FROM_INDEX_CLIENT_KEY is not"]);
    // The hint is about what is wrong, and not that imported days are skipped.
    let door = Door::before(
        &world.elasticsearch_url,
        &Authority::new(),
        Shown::default(),
    )
    .await;
    let ended = run(&door, &[], &[])
        .await
        .assert_exit(1)
        .says(&["certificate", "--elasticsearch-ca FILE"]);
    assert!(!ended.stderr.contains("are skipped"), "{}", ended.stderr);
    world.end().await;
}

#[tokio::test]
async fn a_user_and_a_password_may_stand_beside_the_address() {
    let world = with_an_event().await;
    let mut address: Url = world.elasticsearch_url.parse().unwrap();
    let (user, password) = (
        address.username().to_owned(),
        address.password().unwrap().to_owned(),
    );
    let authority = Authority::new();
    let file = authority.write("password", &format!("{password}\n"));
    address.set_password(None).unwrap();
    let with_user = address.to_string();
    let settings = [
        (ELASTICSEARCH, with_user.as_str()),
        ("DAYBOOK_ELASTICSEARCH_PASSWORD_FILE", &file),
    ];
    world.run_with(&settings, &APPLY).await.assert_exit(0);
    address.set_username("").unwrap();
    let settings = [
        (ELASTICSEARCH, address.as_str()),
        ("DAYBOOK_ELASTICSEARCH_PASSWORD", &password),
    ];
    world
        .run_with(&settings, &["rebuild", "--elasticsearch-user", &user])
        .await
        .assert_exit(0);
    world
        .run_with(&settings, &["project"])
        .await
        .assert_exit(2)
        .says(&["a password for Elasticsearch is given, but no user"]);
    world.end().await;
}

/// Settings, and what is said of them.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[tokio::test]
async fn conflicting_or_incomplete_settings_are_refused_by_name() {
    let world = with_an_event().await;
    let authority = Authority::new();
    let (certificate, key) = authority.client();
    let garbage = authority.write("garbage.pem", "P1anted");
    let mut encrypted: Url = world
        .elasticsearch_url
        .replace("http://", "https://")
        .parse()
        .unwrap();
    encrypted.set_username("").unwrap();
    encrypted.set_password(None).unwrap();
    let encrypted = encrypted.as_str();
    let api_key = ("DAYBOOK_ELASTICSEARCH_API_KEY", "P1anted");
    let client_cert = ("DAYBOOK_ELASTICSEARCH_CLIENT_CERT", certificate.as_str());
    let client_key = ("DAYBOOK_ELASTICSEARCH_CLIENT_KEY", key.as_str());
    let token = ("DAYBOOK_ELASTICSEARCH_BEARER_TOKEN", "P1anted");
    let at_https = (ELASTICSEARCH, encrypted);
    let cases: [Case<'_>; 14] = [
        (
            &[api_key],
            &["more than one way to log in", "DAYBOOK_ELASTICSEARCH_URL"],
        ),
        (
            &[at_https, api_key, token],
            &["more than one way to log in"],
        ),
        (
            &[at_https, token, ("DAYBOOK_ELASTICSEARCH_USER", "u")],
            &["more than one way to log in"],
        ),
        (
            &[at_https, ("DAYBOOK_ELASTICSEARCH_USER", "u")],
            &["DAYBOOK_ELASTICSEARCH_PASSWORD is not"],
        ),
        (
            &[
                at_https,
                api_key,
                ("DAYBOOK_ELASTICSEARCH_API_KEY_FILE", &garbage),
            ],
            &["_API_KEY_FILE are both given"],
        ),
        (
            &[at_https, ("DAYBOOK_ELASTICSEARCH_API_KEY_FILE", "/nowhere")],
            &["/nowhere", "cannot be read"],
        ),
        (
            &[at_https, ("DAYBOOK_ELASTICSEARCH_API_KEY", "")],
            &["the API key for Elasticsearch is empty"],
        ),
        (
            &[
                at_https,
                ("DAYBOOK_ELASTICSEARCH_BEARER_TOKEN", "P1\nanted"),
            ],
            &["bearer token", "on one line"],
        ),
        (
            &[at_https, (AUTHORITY, "/nowhere")],
            &["/nowhere", "cannot be read"],
        ),
        (
            &[at_https, (AUTHORITY, &garbage)],
            &["is not a file of certificates"],
        ),
        (
            &[(AUTHORITY, &certificate)],
            &["is not encrypted", "https://"],
        ),
        (
            &[at_https, client_cert],
            &["DAYBOOK_ELASTICSEARCH_CLIENT_KEY is not"],
        ),
        (
            &[at_https, client_key],
            &["DAYBOOK_ELASTICSEARCH_CLIENT_CERT is not"],
        ),
        (
            &[
                at_https,
                client_cert,
                ("DAYBOOK_ELASTICSEARCH_CLIENT_KEY", &garbage),
            ],
            &["client certificate", "PEM"],
        ),
    ];
    for (settings, words) in cases {
        let ended = world.run_with(settings, &APPLY).await;
        assert_eq!(ended.code, Some(2), "{settings:?}: {}", ended.stderr);
        let ended = ended.says(words);
        assert!(!ended.stderr.contains("anted"), "{}", ended.stderr);
    }
    let number = authority.write("number.toml", "elasticsearch_api_key = 271828\n");
    let ended = world
        .run_with(&[("DAYBOOK_CONFIG", &number)], &APPLY)
        .await
        .assert_exit(2)
        .says(&["in quotes"]);
    assert!(!ended.stderr.contains("271828"), "{}", ended.stderr);
    assert_eq!(world.value("SELECT count(*) FROM daybook.entry").await, "0");
    world.end().await;
}

/// Signs certificates, and keeps files.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    directory: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut of_authority = CertificateParams::new(Vec::new()).unwrap();
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = of_authority.self_signed(&key).unwrap();
        let directory =
            std::env::temp_dir().join(format!("daybook-encrypted-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(of_authority, key),
            directory,
        }
    }

    fn sign(&self, name: &str, (from, to): (i32, i32)) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A client's certificate and its key, as files.
    fn client(&self) -> (String, String) {
        let (certificate, key) = self.sign("client", (2020, 2090));
        (
            self.write("client.pem", &certificate.pem()),
            self.write("client.key", &key.serialize_pem()),
        )
    }

    /// A file with the authority's own certificate.
    fn file(&self) -> String {
        self.write("authority.pem", &self.certificate.pem())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        Path::to_str(&path).unwrap().to_owned()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What a door shows, and what it wants to be shown.
struct Shown {
    name: &'static str,
    years: (i32, i32),
    wants_client_certificate: bool,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            name: "127.0.0.1",
            years: (2020, 2090),
            wants_client_certificate: false,
        }
    }
}

/// An encrypted way to a server, with a certificate that an authority has signed.
struct Door {
    url: Url,
    listening: JoinHandle<()>,
}

impl Door {
    async fn before(url: &str, authority: &Authority, shown: Shown) -> Self {
        let mut url: Url = url.parse().unwrap();
        let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_scheme("https").unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port()))
            .unwrap();

        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        let config = config.unwrap();
        let config = if shown.wants_client_certificate {
            let mut trusted = RootCertStore::empty();
            trusted.add(authority.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider)
                .build()
                .unwrap();
            config.with_client_cert_verifier(verifier)
        } else {
            config.with_no_client_auth()
        };
        let (certificate, key) = authority.sign(shown.name, shown.years);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends the greeting.
                    let Ok(mut client) = acceptor.accept(client).await else {
                        return;
                    };
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { url, listening }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
