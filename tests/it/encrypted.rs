//! Encrypted connections to Elasticsearch: whom the program trusts.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use url::Url;

use crate::support::{Event, RECORDSET, World};

#[tokio::test]
async fn an_authority_of_the_system_is_trusted_beside_one_that_cannot_be_read() {
    let world = World::new().await;
    world.log(&[Event::search(1, "2020-02-16", RECORDSET, 5)]).await;
    let door = Door::before(&world.elasticsearch_url).await;
    let authorities = door.authorities.to_str().unwrap();
    let settings = [("DAYBOOK_ELASTICSEARCH_URL", door.url.as_str()), ("SSL_CERT_FILE", authorities)];
    world.run_with(&settings, &["apply", "--day", "2020-02-16"]).await.expect(0);
    assert_eq!(world.documents("").await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn nobody_else_is_trusted_and_the_failure_says_why() {
    let world = World::new().await;
    world.log(&[Event::search(1, "2020-02-16", RECORDSET, 5)]).await;
    let door = Door::before(&world.elasticsearch_url).await;
    let other = Door::before(&world.elasticsearch_url).await;
    let authorities = other.authorities.to_str().unwrap();
    let settings = [("DAYBOOK_ELASTICSEARCH_URL", door.url.as_str()), ("SSL_CERT_FILE", authorities)];
    let ended = world.run_with(&settings, &["apply", "--day", "2020-02-16"]).await;
    ended.expect(3).says(&["gave no answer", "certificate"]);
    world.end().await;
}

/// An encrypted way to a server, with a certificate of an authority of its own.
struct Door {
    url: Url,
    /// A file with that authority, behind one that nobody can read.
    authorities: PathBuf,
    listening: JoinHandle<()>,
}

impl Door {
    async fn before(url: &str) -> Self {
        let mut url: Url = url.parse().unwrap();
        let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_scheme("https").unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();

        let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut of_authority = CertificateParams::new(Vec::new()).unwrap();
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = of_authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(of_authority, authority_key);
        let certificate =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let authorities = std::env::temp_dir().join(format!("daybook-encrypted-{}.pem", uuid::Uuid::new_v4()));
        let unreadable = "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n";
        std::fs::write(&authorities, format!("{unreadable}{}", authority.pem())).unwrap();

        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends the greeting.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { url, authorities, listening }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.listening.abort();
        let _ = std::fs::remove_file(&self.authorities);
    }
}
