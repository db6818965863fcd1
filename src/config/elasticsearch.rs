//! The settings of the cluster: where it is, how to log in, whom to trust, and how long to wait for it.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::login::{LoginLayer, LoginSettings, Secret, variable};
use super::{Memory, Timeout};
use crate::elastic::{ClientOptions, Limits, Wording};
use crate::error::Error;

/// The settings of the cluster as they can be given, on the command line or as keys of the configuration file;
/// everything may be left out.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_field_names,
    reason = "they are the names of the options and of the keys in the file"
)]
pub struct ElasticsearchArgs {
    /// Address of Elasticsearch; several nodes separated by commas
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DAYBOOK_ELASTICSEARCH_URL",
        hide_env_values = true
    )]
    #[serde(default, deserialize_with = "secret")]
    pub elasticsearch_url: Option<SecretString>,

    /// User to log in to Elasticsearch as, unless the address names one
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "DAYBOOK_ELASTICSEARCH_USER"
    )]
    elasticsearch_user: Option<String>,

    /// File with that user's password
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_PASSWORD_FILE"
    )]
    elasticsearch_password_file: Option<PathBuf>,

    /// File with an API key to log in to Elasticsearch with: encoded, or ID:KEY
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_API_KEY_FILE"
    )]
    elasticsearch_api_key_file: Option<PathBuf>,

    /// File with a bearer token to log in to Elasticsearch with
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_BEARER_TOKEN_FILE"
    )]
    elasticsearch_bearer_token_file: Option<PathBuf>,

    /// File with the authorities' certificates (PEM) that sign the cluster's: these alone are trusted
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_CA"
    )]
    elasticsearch_ca: Option<PathBuf>,

    /// File with a client certificate (PEM) to log in to Elasticsearch with
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_CLIENT_CERT"
    )]
    elasticsearch_client_cert: Option<PathBuf>,

    /// File with the key of the client certificate (PEM, not encrypted)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_CLIENT_KEY"
    )]
    elasticsearch_client_key: Option<PathBuf>,

    /// Proxy to reach Elasticsearch through; HTTP_PROXY and its like are not used
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DAYBOOK_ELASTICSEARCH_PROXY",
        hide_env_values = true
    )]
    #[serde(default, deserialize_with = "secret")]
    elasticsearch_proxy: Option<SecretString>,

    /// Compress requests to Elasticsearch and its answers: pays over a slow network, costs on a fast one [default: false]
    #[arg(long, global = true, env = "DAYBOOK_ELASTICSEARCH_GZIP", num_args = 0..=1, default_missing_value = "true")]
    elasticsearch_gzip: Option<bool>,

    /// How long connecting to a node of Elasticsearch may take [default: 10s]
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_ELASTICSEARCH_CONNECT_TIMEOUT"
    )]
    elasticsearch_connect_timeout: Option<Timeout>,

    /// How long Elasticsearch may take to answer a request [default: 120s]
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_ELASTICSEARCH_TIMEOUT"
    )]
    elasticsearch_timeout: Option<Timeout>,

    /// How long an answer of Elasticsearch may stop in the middle [default: 30s]
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_ELASTICSEARCH_STALL_TIMEOUT"
    )]
    elasticsearch_stall_timeout: Option<Timeout>,

    #[arg(skip)]
    #[serde(default, deserialize_with = "secret")]
    elasticsearch_password: Option<SecretString>,

    #[arg(skip)]
    #[serde(default, deserialize_with = "secret")]
    elasticsearch_api_key: Option<SecretString>,

    #[arg(skip)]
    #[serde(default, deserialize_with = "secret")]
    elasticsearch_bearer_token: Option<SecretString>,
}

/// What the keys of the configuration file start with that are settings of the cluster.
pub(super) const KEYS: &str = "elasticsearch_";

/// The settings of the cluster, from wherever they are given: what stands in an earlier layer counts.
#[derive(Clone, Debug)]
pub(super) struct ElasticsearchSettings {
    layers: [ElasticsearchArgs; 3],
}

impl ElasticsearchSettings {
    /// From the command line, to which the environment is added; the credentials directory; and the configuration file.
    pub(super) fn new(
        mut given: ElasticsearchArgs,
        file: ElasticsearchArgs,
    ) -> Result<Self, Error> {
        given.elasticsearch_password = variable("DAYBOOK_ELASTICSEARCH_PASSWORD")?;
        given.elasticsearch_api_key = variable("DAYBOOK_ELASTICSEARCH_API_KEY")?;
        given.elasticsearch_bearer_token = variable("DAYBOOK_ELASTICSEARCH_BEARER_TOKEN")?;
        Ok(Self {
            layers: [given, from_credentials()?, file],
        })
    }

    /// Where the cluster is, if that is given.
    pub(super) fn addresses(&self) -> Option<&SecretString> {
        self.layers
            .iter()
            .find_map(|layer| layer.elasticsearch_url.as_ref())
    }

    /// How the cluster is reached.
    pub(super) fn client_options(
        &self,
        addresses: SecretString,
        memory: Memory,
    ) -> Result<ClientOptions, Error> {
        let layers = self.layers.each_ref().map(ElasticsearchArgs::login);
        let login = LoginSettings {
            layers,
            variables: Wording::PROJECTIONS.variables,
        };
        Ok(ClientOptions {
            credentials: login.credentials()?,
            client_certificate: login.client_certificate()?,
            ..self.options_for_anybody(addresses, memory)
        })
    }

    /// How another cluster is reached: the same way, but without this one's credentials.
    pub(super) fn options_for_anybody(
        &self,
        addresses: SecretString,
        memory: Memory,
    ) -> ClientOptions {
        let time = |of: fn(&ElasticsearchArgs) -> Option<Timeout>| {
            self.layers.iter().find_map(of).map(Timeout::duration)
        };
        let usual = Limits::default();
        ClientOptions {
            authority: self
                .layers
                .iter()
                .find_map(|layer| layer.elasticsearch_ca.clone()),
            proxy: self
                .layers
                .iter()
                .find_map(|layer| layer.elasticsearch_proxy.clone()),
            gzip: self
                .layers
                .iter()
                .find_map(|layer| layer.elasticsearch_gzip)
                .unwrap_or(false),
            limits: Limits {
                connect: time(|layer| layer.elasticsearch_connect_timeout).unwrap_or(usual.connect),
                answer: time(|layer| layer.elasticsearch_timeout).unwrap_or(usual.answer),
                stall: time(|layer| layer.elasticsearch_stall_timeout).unwrap_or(usual.stall),
                ..usual
            },
            largest_answer: memory.for_an_answer(),
            ..ClientOptions::new(addresses)
        }
    }
}

impl ElasticsearchArgs {
    /// How to log in.
    fn login(&self) -> LoginLayer {
        LoginLayer {
            user: self.elasticsearch_user.clone(),
            password: Secret::new(
                self.elasticsearch_password.as_ref(),
                self.elasticsearch_password_file.as_ref(),
            ),
            api_key: Secret::new(
                self.elasticsearch_api_key.as_ref(),
                self.elasticsearch_api_key_file.as_ref(),
            ),
            bearer_token: Secret::new(
                self.elasticsearch_bearer_token.as_ref(),
                self.elasticsearch_bearer_token_file.as_ref(),
            ),
            client_cert: self.elasticsearch_client_cert.clone(),
            client_key: self.elasticsearch_client_key.clone(),
        }
    }
}

/// What lies in the credentials directory: secrets, and files with certificates.
fn from_credentials() -> Result<ElasticsearchArgs, Error> {
    let file = super::credential_file;
    Ok(ElasticsearchArgs {
        elasticsearch_url: super::credential("elasticsearch-url")?,
        elasticsearch_proxy: super::credential("elasticsearch-proxy")?,
        elasticsearch_password: super::credential("elasticsearch-password")?,
        elasticsearch_api_key: super::credential("elasticsearch-api-key")?,
        elasticsearch_bearer_token: super::credential("elasticsearch-bearer-token")?,
        elasticsearch_ca: file("elasticsearch-ca"),
        elasticsearch_client_cert: file("elasticsearch-client-cert"),
        elasticsearch_client_key: file("elasticsearch-client-key"),
        ..ElasticsearchArgs::default()
    })
}

/// A secret in the configuration file. The usual message about a value of another type would show it.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => Ok(Some(text.into())),
        _ => Err(serde::de::Error::custom(
            "a secret must be text: write it in quotes",
        )),
    }
}
