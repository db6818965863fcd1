//! The settings of Elasticsearch: address, credentials, trusted CAs and timeouts.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::credentials::{credential, credential_file};
use super::durations::Timeout;
use super::login::{LoginLayer, LoginSettings, Secret, variable};
use crate::elastic::{ClientOptions, Limits, Wording};
use crate::error::Error;
use crate::memory::Memory;

/// The settings of Elasticsearch as given on the command line or as keys of the configuration file; all are optional.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElasticsearchArgs {
    /// URL of Elasticsearch; separate several nodes with commas
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DAYBOOK_ELASTICSEARCH_URL",
        hide_env_values = true
    )]
    #[serde(default, deserialize_with = "secret")]
    pub elasticsearch_url: Option<SecretString>,

    /// Elasticsearch user, unless the URL names one
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "DAYBOOK_ELASTICSEARCH_USER"
    )]
    elasticsearch_user: Option<String>,

    /// File with the user's password
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_PASSWORD_FILE"
    )]
    elasticsearch_password_file: Option<PathBuf>,

    /// File with an Elasticsearch API key: encoded, or ID:KEY
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_API_KEY_FILE"
    )]
    elasticsearch_api_key_file: Option<PathBuf>,

    /// File with an Elasticsearch bearer token
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_BEARER_TOKEN_FILE"
    )]
    elasticsearch_bearer_token_file: Option<PathBuf>,

    /// File with CA certificates (PEM); only these are trusted
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_CA"
    )]
    elasticsearch_ca: Option<PathBuf>,

    /// File with a client certificate for Elasticsearch (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_CLIENT_CERT"
    )]
    elasticsearch_client_cert: Option<PathBuf>,

    /// File with the client certificate's private key (PEM, unencrypted)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DAYBOOK_ELASTICSEARCH_CLIENT_KEY"
    )]
    elasticsearch_client_key: Option<PathBuf>,

    /// Proxy for Elasticsearch; HTTP_PROXY and similar variables are ignored
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DAYBOOK_ELASTICSEARCH_PROXY",
        hide_env_values = true
    )]
    #[serde(default, deserialize_with = "secret")]
    elasticsearch_proxy: Option<SecretString>,

    /// Compress requests and responses; useful on slow networks only [default: false]
    #[arg(long, global = true, env = "DAYBOOK_ELASTICSEARCH_GZIP", num_args = 0..=1, default_missing_value = "true")]
    elasticsearch_gzip: Option<bool>,

    /// Timeout for connecting to an Elasticsearch node [default: 10s]
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_ELASTICSEARCH_CONNECT_TIMEOUT"
    )]
    elasticsearch_connect_timeout: Option<Timeout>,

    /// Timeout for an Elasticsearch response [default: 120s]
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_ELASTICSEARCH_TIMEOUT"
    )]
    elasticsearch_timeout: Option<Timeout>,

    /// Timeout for a stall within an Elasticsearch response [default: 30s]
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

/// The prefix of these settings in the configuration file.
pub(super) const KEYS: &str = "elasticsearch_";

/// The settings of Elasticsearch from all layers; earlier layers take precedence.
#[derive(Clone, Debug)]
pub(super) struct ElasticsearchSettings {
    layers: [ElasticsearchArgs; 3],
}

impl ElasticsearchSettings {
    /// Layers: command line and environment, credentials directory, configuration file.
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

    /// The addresses of the cluster, if they are set.
    pub(super) fn addresses(&self) -> Option<&SecretString> {
        self.layers
            .iter()
            .find_map(|layer| layer.elasticsearch_url.as_ref())
    }

    /// Options for a client of the cluster.
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

    /// Options for a client of another cluster: the same, but without credentials.
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

/// Settings in the credentials directory: secrets, and files with certificates.
fn from_credentials() -> Result<ElasticsearchArgs, Error> {
    let file = credential_file;
    Ok(ElasticsearchArgs {
        elasticsearch_url: credential("elasticsearch-url")?,
        elasticsearch_proxy: credential("elasticsearch-proxy")?,
        elasticsearch_password: credential("elasticsearch-password")?,
        elasticsearch_api_key: credential("elasticsearch-api-key")?,
        elasticsearch_bearer_token: credential("elasticsearch-bearer-token")?,
        elasticsearch_ca: file("elasticsearch-ca"),
        elasticsearch_client_cert: file("elasticsearch-client-cert"),
        elasticsearch_client_key: file("elasticsearch-client-key"),
        ..ElasticsearchArgs::default()
    })
}

/// A secret in the configuration file. Unlike the default error for a wrong type, this one does not show the value.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => Ok(Some(text.into())),
        _ => Err(serde::de::Error::custom(
            "a secret must be text: write it in quotes",
        )),
    }
}
