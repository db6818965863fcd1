//! Encrypted connections to Postgres: whom the program trusts, what it says of whom it does not, and how it logs in.
//! (`script/stack up --secure`)

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use crate::support::{Event, Login, RECORDSET, World};

const LEDGER: &str = "DAYBOOK_LEDGER_URL";
const APPLY: [&str; 4] = ["apply", "--day", "2020-02-16", "--no-project"];

/// One of the stack's files of certificates and keys.
fn file(name: &str) -> String {
    let path = PathBuf::from(std::env::var("DAYBOOK_SECURE_TLS").unwrap()).join(name);
    path.to_str().unwrap().to_owned()
}

/// The URL with these parameters and no others.
fn with(url: &str, host: &str, port: Option<u16>, parameters: &str) -> String {
    let mut url: Url = url.parse().unwrap();
    url.set_host(Some(host)).unwrap();
    url.set_port(port.or(url.port())).unwrap();
    url.set_query(Some(parameters));
    url.into()
}

/// Passes connections on to the Postgres of a URL, at an address that its certificate is not for.
async fn at_another_address(url: &str) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream: Url = url.parse().unwrap();
    let upstream = ("127.0.0.1", upstream.port().unwrap());
    let passing = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, passing)
}

/// Somebody who begins an encrypted connection as Postgres does, with one of the stack's certificates.
async fn somebody_with(certificate: &str) -> (u16, JoinHandle<()>) {
    let chain = CertificateDer::pem_file_iter(file(&format!("{certificate}.pem")))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(file(&format!("{certificate}.key"))).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            client.read_exact(&mut request).await.unwrap();
            client.write_all(b"S").await.unwrap();
            let _ = acceptor.accept(client).await;
        }
    });
    (port, answering)
}

#[tokio::test]
async fn with_verify_full_only_the_right_server_at_the_right_address_is_trusted() {
    let world = World::secure().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    let (ca, other_ca) = (file("ca.pem"), file("other-ca.pem"));
    let full = format!("sslmode=verify-full&sslrootcert={ca}");
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        world
            .run_with(
                &[(LEDGER, &with(&world.ledger_url, host, None, &full))],
                &APPLY,
            )
            .await
            .assert_exit(0);
    }
    let (elsewhere, _passing) = at_another_address(&world.ledger_url).await;
    let url = with(&world.ledger_url, "127.0.0.2", Some(elsewhere), &full);
    world
        .run_with(&[(LEDGER, &url)], &APPLY)
        .await
        .assert_exit(1)
        .says(&["certificate is for another name"]);
    let full_of_other = format!("sslmode=verify-full&sslrootcert={other_ca}");
    let url = with(&world.ledger_url, "localhost", None, &full_of_other);
    world
        .run_with(&[(LEDGER, &url)], &APPLY)
        .await
        .assert_exit(1)
        .says(&["authority that is not trusted", "sslrootcert"]);
    for (certificate, words) in [
        ("other-server", "authority that is not trusted"),
        ("wrong-host", "certificate is for another name"),
        ("expired", "certificate has expired or is not valid yet"),
    ] {
        let (port, _answering) = somebody_with(certificate).await;
        let url = with(&world.ledger_url, "localhost", Some(port), &full);
        let ended = world
            .run_with(&[(LEDGER, &url)], &APPLY)
            .await
            .assert_exit(1);
        ended.says(&["cannot connect to the ledger", words]);
    }
    assert_eq!(world.entries().await, 1);
    world.end().await;
}

#[tokio::test]
async fn a_root_certificate_is_verified_with_require_as_well() {
    let world = World::secure().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    let (elsewhere, _passing) = at_another_address(&world.ledger_url).await;
    for mode in ["require", "verify-ca"] {
        let trusting = format!("sslmode={mode}&sslrootcert={}", file("ca.pem"));
        // The name does not matter to these.
        let url = with(&world.ledger_url, "127.0.0.2", Some(elsewhere), &trusting);
        world
            .run_with(&[(LEDGER, &url)], &APPLY)
            .await
            .assert_exit(0);
        let distrusting = format!("sslmode={mode}&sslrootcert={}", file("other-ca.pem"));
        let url = with(&world.ledger_url, "localhost", None, &distrusting);
        world
            .run_with(&[(LEDGER, &url)], &APPLY)
            .await
            .assert_exit(1)
            .says(&["authority that is not trusted"]);
    }
    // Said by a variable, it counts just as much.
    let url = with(&world.ledger_url, "localhost", None, "sslmode=require");
    let other = [
        (LEDGER, url.as_str()),
        ("PGSSLROOTCERT", &file("other-ca.pem")),
    ];
    world
        .run_with(&other, &APPLY)
        .await
        .assert_exit(1)
        .says(&["authority that is not trusted"]);
    world.end().await;
}

#[tokio::test]
async fn what_the_server_refuses_needs_a_person() {
    let world = World::secure().await;
    let plain = with(&world.ledger_url, "localhost", None, "sslmode=disable");
    world
        .run_with(&[(LEDGER, &plain)], &["status"])
        .await
        .assert_exit(1)
        .says(&["no encryption", "sslmode=verify-full"]);
    let wrong = world
        .ledger_url
        .replacen("daybook:", "daybook:Planted-0-Secret", 1);
    let ended = world
        .run_with(&[(LEDGER, &wrong)], &["status", "-vv"])
        .await
        .assert_exit(1);
    let ended = ended.says(&[
        "password authentication failed",
        "check the user and the password",
    ]);
    assert!(
        !ended.stderr.contains("Planted-0-Secret"),
        "{}",
        ended.stderr
    );
    world.end().await;
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    const ROLE: &str = "daybook_certificate";
    let world = World::secure().await;
    world
        .execute(&format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN CREATE ROLE {ROLE} LOGIN; END IF; END $$;
             GRANT daybook_auditor TO {ROLE}"
        ))
        .await;
    let trusting = format!("sslmode=verify-full&sslrootcert={}", file("ca.pem"));
    let mut url: Url = with(&world.ledger_url, "localhost", None, &trusting)
        .parse()
        .unwrap();
    url.set_username(ROLE).unwrap();
    url.set_password(None).unwrap();
    let ended = world
        .run_with(&[(LEDGER, url.as_str())], &["log"])
        .await
        .assert_exit(1);
    ended.says(&["cannot connect to the ledger", "certificate"]);
    let certificate = format!(
        "{url}&sslcert={}&sslkey={}",
        file("client.pem"),
        file("client.key")
    );
    world
        .run_with(&[(LEDGER, &certificate)], &["log"])
        .await
        .assert_exit(0);
    // The key of another certificate.
    let other = format!(
        "{url}&sslcert={}&sslkey={}",
        file("client.pem"),
        file("other-server.key")
    );
    world
        .run_with(&[(LEDGER, &other)], &["log"])
        .await
        .assert_exit(1);
    world.end().await;
}

#[tokio::test]
async fn no_password_is_in_any_output_whatever_fails() {
    let world = World::secure().await;
    world
        .log(&[Event::search(1, "2020-02-16", RECORDSET, 5)])
        .await;
    let login = Login::new(&world).await;
    world
        .execute(&format!(
            "GRANT daybook_job TO {0}; GRANT SELECT ON stats, queries TO {0}",
            login.role
        ))
        .await;
    let (ca, other_ca) = (file("ca.pem"), file("other-ca.pem"));
    let (port, _answering) = somebody_with("wrong-host").await;
    let of = |host: &str, port: Option<u16>, parameters: &str| {
        with(&login.ledger_url, host, port, parameters)
    };
    let full = format!("sslmode=verify-full&sslrootcert={ca}");
    let urls = [
        of("localhost", None, &full),
        of("localhost", None, "sslmode=disable"),
        of(
            "localhost",
            None,
            &format!("sslmode=verify-full&sslrootcert={other_ca}"),
        ),
        of("localhost", Some(port), &full),
        of("localhost", Some(1), &full),
        of(
            "localhost",
            None,
            &format!("{full}&sslpassword={}", login.password),
        ),
        of(
            "localhost",
            None,
            &format!("{full}&pasword={}", login.password),
        ),
        of(
            "localhost",
            None,
            &format!("{full}&options={}", login.password),
        ),
        of(
            "localhost",
            None,
            &format!("{full}&sslkey={}", login.password),
        ),
        of("localhost", None, &full).replacen(&world.database, "nowhere", 1),
        of("localhost", None, &full).replacen('@', "/@", 1),
        of("localhost", None, &full).replacen('@', "wrong@", 1),
    ];
    for url in &urls {
        for command in [
            &APPLY[..],
            &["status"],
            &["verify", "--ledger"],
            &["export"],
            &["migrate"],
        ] {
            for flag in ["-vv", "--json"] {
                let ended = world
                    .run_with(&[(LEDGER, url)], &[command, &[flag]].concat())
                    .await;
                let shown = [&ended.stdout, &ended.stderr]
                    .iter()
                    .any(|text| text.contains(&login.password));
                assert!(!shown, "{command:?} with {flag}: {ended:?}");
            }
        }
    }
    let recorded = world
        .value("SELECT coalesce(jsonb_agg(to_jsonb(r))::text, '') FROM daybook.run r")
        .await;
    assert!(!recorded.contains(&login.password), "{recorded}");
    login.end(world).await;
}
