//! The servers that `script/stack` started: a plain pair, and a secure one (`script/stack up --secure`).

use std::path::PathBuf;

use sqlx::AssertSqlSafe;
use url::Url;

use super::world;

/// A Postgres and an Elasticsearch, with superusers of both.
#[derive(Clone)]
pub struct Servers {
    pub postgres_url: String,
    pub elasticsearch_url: String,
    /// The certificate of the authority that signed both certificates; `None` if connections are not encrypted.
    pub authority: Option<PathBuf>,
}

impl Servers {
    pub fn plain() -> Self {
        Self {
            postgres_url: setting("DAYBOOK_LEDGER_URL"),
            elasticsearch_url: setting("DAYBOOK_ELASTICSEARCH_URL"),
            authority: None,
        }
    }

    pub fn secure() -> Self {
        Self {
            postgres_url: setting("DAYBOOK_SECURE_LEDGER_URL"),
            elasticsearch_url: setting("DAYBOOK_SECURE_ELASTICSEARCH_URL"),
            authority: Some(setting("DAYBOOK_SECURE_CA").into()),
        }
    }

    /// With the cluster of three nodes instead, if `script/stack up --nodes 3` has started it: their addresses, separated by
    /// commas.
    pub fn nodes() -> Option<Self> {
        let elasticsearch_url = std::env::var("DAYBOOK_NODES_ELASTICSEARCH_URL").ok()?;
        Some(Self {
            elasticsearch_url,
            ..Self::plain()
        })
    }

    /// The address of the secure Elasticsearch for one of its users: `daybook_nobody`, or one that has the role of the
    /// same name in example-objects/elasticsearch-roles.yml on the indices of every world.
    pub fn elasticsearch_url_of(&self, user: &str) -> String {
        let mut url: Url = self.elasticsearch_url.parse().expect("a URL");
        url.set_username(user).expect("a URL with a host");
        url.set_password(Some(&setting("DAYBOOK_SECURE_PASSWORD")))
            .expect("a URL with a host");
        url.into()
    }

    /// Runs SQL outside of any world, for objects of the whole server.
    pub async fn execute(&self, sql: &str) {
        let mut server = world::connect(&self.postgres_url).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut server)
            .await
            .expect("run the test's SQL");
    }

    /// A client that trusts the authority.
    pub fn http_client(&self) -> reqwest::Client {
        let mut client = reqwest::Client::builder();
        if let Some(authority) = &self.authority {
            let pem = std::fs::read(authority).expect("read the authority's certificate");
            client = client
                .add_root_certificate(reqwest::Certificate::from_pem(&pem).expect("a certificate"));
        }
        client.build().expect("an HTTP client")
    }
}

/// A setting that `script/stack env` exports, or `script/stack env --secure`.
fn setting(name: &str) -> String {
    let option = if name.contains("_SECURE_") {
        " --secure"
    } else {
        ""
    };
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run script/test; or script/stack up{option}, eval \"$(script/stack env{option})\"")
    })
}
