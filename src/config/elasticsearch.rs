//! The settings of the cluster: where it is, how to log in, whom to trust, and how long to wait for it.
//!
//! Secrets are never options of the command line, which other users of the machine can read: they are given in the
//! environment, in files, or in the credentials directory. They are read when a client is made, and not before.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::{Memory, Timeout};
use crate::elastic::{ClientCertificate, ClientOptions, Credentials, Limits};
use crate::failure::Failure;

/// The settings of the cluster as they can be given, on the command line or as keys of the configuration file;
/// everything may be left out.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "they are the names of the options and of the keys in the file")]
pub struct ElasticsearchArgs {
    /// Address of Elasticsearch; several nodes separated by commas
    #[arg(long, global = true, value_name = "URL", env = "DAYBOOK_ELASTICSEARCH_URL", hide_env_values = true)]
    #[serde(default, deserialize_with = "secret")]
    pub elasticsearch_url: Option<SecretString>,

    /// User to log in to Elasticsearch as, unless the address names one
    #[arg(long, global = true, value_name = "NAME", env = "DAYBOOK_ELASTICSEARCH_USER")]
    elasticsearch_user: Option<String>,

    /// File with that user's password
    #[arg(long, global = true, value_name = "FILE", env = "DAYBOOK_ELASTICSEARCH_PASSWORD_FILE")]
    elasticsearch_password_file: Option<PathBuf>,

    /// File with an API key to log in to Elasticsearch with: encoded, or ID:KEY
    #[arg(long, global = true, value_name = "FILE", env = "DAYBOOK_ELASTICSEARCH_API_KEY_FILE")]
    elasticsearch_api_key_file: Option<PathBuf>,

    /// File with a bearer token to log in to Elasticsearch with
    #[arg(long, global = true, value_name = "FILE", env = "DAYBOOK_ELASTICSEARCH_BEARER_TOKEN_FILE")]
    elasticsearch_bearer_token_file: Option<PathBuf>,

    /// File with the authorities' certificates (PEM) that sign the cluster's: these alone are trusted
    #[arg(long, global = true, value_name = "FILE", env = "DAYBOOK_ELASTICSEARCH_CA")]
    elasticsearch_ca: Option<PathBuf>,

    /// File with a client certificate (PEM) to log in to Elasticsearch with
    #[arg(long, global = true, value_name = "FILE", env = "DAYBOOK_ELASTICSEARCH_CLIENT_CERT")]
    elasticsearch_client_cert: Option<PathBuf>,

    /// File with the key of the client certificate (PEM, not encrypted)
    #[arg(long, global = true, value_name = "FILE", env = "DAYBOOK_ELASTICSEARCH_CLIENT_KEY")]
    elasticsearch_client_key: Option<PathBuf>,

    /// Proxy to reach Elasticsearch through; HTTP_PROXY and its like are not used
    #[arg(long, global = true, value_name = "URL", env = "DAYBOOK_ELASTICSEARCH_PROXY", hide_env_values = true)]
    #[serde(default, deserialize_with = "secret")]
    elasticsearch_proxy: Option<SecretString>,

    /// Compress requests to Elasticsearch and its answers: pays over a slow network, costs on a fast one [default: false]
    #[arg(long, global = true, env = "DAYBOOK_ELASTICSEARCH_GZIP", num_args = 0..=1, default_missing_value = "true")]
    elasticsearch_gzip: Option<bool>,

    /// How long connecting to a node of Elasticsearch may take [default: 10s]
    #[arg(long, global = true, value_name = "TIME", env = "DAYBOOK_ELASTICSEARCH_CONNECT_TIMEOUT")]
    elasticsearch_connect_timeout: Option<Timeout>,

    /// How long Elasticsearch may take to answer a request [default: 120s]
    #[arg(long, global = true, value_name = "TIME", env = "DAYBOOK_ELASTICSEARCH_TIMEOUT")]
    elasticsearch_timeout: Option<Timeout>,

    /// How long an answer of Elasticsearch may stop in the middle [default: 30s]
    #[arg(long, global = true, value_name = "TIME", env = "DAYBOOK_ELASTICSEARCH_STALL_TIMEOUT")]
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
    pub(super) fn new(mut given: ElasticsearchArgs, file: ElasticsearchArgs) -> Result<Self, Failure> {
        let variable = |name: &str| match std::env::var(name) {
            Ok(value) => Ok(Some(SecretString::from(value))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(Failure::usage(format!("{name} is not UTF-8"))),
        };
        given.elasticsearch_password = variable("DAYBOOK_ELASTICSEARCH_PASSWORD")?;
        given.elasticsearch_api_key = variable("DAYBOOK_ELASTICSEARCH_API_KEY")?;
        given.elasticsearch_bearer_token = variable("DAYBOOK_ELASTICSEARCH_BEARER_TOKEN")?;
        Ok(Self { layers: [given, from_credentials()?, file] })
    }

    /// Where the cluster is, if that is given.
    pub(super) fn addresses(&self) -> Option<&SecretString> {
        self.layers.iter().find_map(|layer| layer.elasticsearch_url.as_ref())
    }

    /// How the cluster is reached.
    pub(super) fn client_options(&self, addresses: SecretString, memory: Memory) -> Result<ClientOptions, Failure> {
        let certificate = first(self.path(|layer| &layer.elasticsearch_client_cert));
        let key = first(self.path(|layer| &layer.elasticsearch_client_key));
        let client_certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(half("DAYBOOK_ELASTICSEARCH_CLIENT_CERT", "DAYBOOK_ELASTICSEARCH_CLIENT_KEY"));
            }
            (None, Some(_)) => {
                return Err(half("DAYBOOK_ELASTICSEARCH_CLIENT_KEY", "DAYBOOK_ELASTICSEARCH_CLIENT_CERT"));
            }
        };
        Ok(ClientOptions {
            credentials: self.credentials()?,
            client_certificate,
            ..self.options_for_anybody(addresses, memory)
        })
    }

    /// How another cluster is reached: the same way, but without this one's credentials.
    pub(super) fn options_for_anybody(&self, addresses: SecretString, memory: Memory) -> ClientOptions {
        let time =
            |of: fn(&ElasticsearchArgs) -> Option<Timeout>| self.layers.iter().find_map(of).map(Timeout::duration);
        let usual = Limits::default();
        ClientOptions {
            authority: first(self.path(|layer| &layer.elasticsearch_ca)),
            proxy: self.layers.iter().find_map(|layer| layer.elasticsearch_proxy.clone()),
            gzip: self.layers.iter().find_map(|layer| layer.elasticsearch_gzip).unwrap_or(false),
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

    /// How to log in. More than one way is a mistake: nobody could say which of them counts.
    fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        let password = self.secret("DAYBOOK_ELASTICSEARCH_PASSWORD", |layer| {
            (layer.elasticsearch_password.as_ref(), layer.elasticsearch_password_file.as_deref())
        })?;
        let api_key = self.secret("DAYBOOK_ELASTICSEARCH_API_KEY", |layer| {
            (layer.elasticsearch_api_key.as_ref(), layer.elasticsearch_api_key_file.as_deref())
        })?;
        let bearer_token = self.secret("DAYBOOK_ELASTICSEARCH_BEARER_TOKEN", |layer| {
            (layer.elasticsearch_bearer_token.as_ref(), layer.elasticsearch_bearer_token_file.as_deref())
        })?;
        let user = self.layers.iter().find_map(|layer| layer.elasticsearch_user.clone());
        match (user, password, api_key, bearer_token) {
            (None, None, None, None) => Ok(None),
            (user, Some(password), None, None) => Ok(Some(Credentials::Basic { user, password })),
            (Some(_), None, None, None) => Err(half("DAYBOOK_ELASTICSEARCH_USER", "DAYBOOK_ELASTICSEARCH_PASSWORD")),
            (None, None, Some(key), None) => Ok(Some(Credentials::ApiKey(key))),
            (None, None, None, Some(token)) => Ok(Some(Credentials::BearerToken(token))),
            _ => Err(Failure::usage("more than one way to log in to Elasticsearch is given").hint(
                "give one of user and password, DAYBOOK_ELASTICSEARCH_API_KEY and DAYBOOK_ELASTICSEARCH_BEARER_TOKEN",
            )),
        }
    }

    fn path<'s>(
        &'s self,
        of: impl Fn(&'s ElasticsearchArgs) -> &'s Option<PathBuf>,
    ) -> impl Iterator<Item = &'s PathBuf> {
        self.layers.iter().filter_map(move |layer| of(layer).as_ref())
    }

    /// A secret that is given itself or as the name of the file that it stands in.
    fn secret<'s>(
        &'s self,
        name: &str,
        of: impl Fn(&'s ElasticsearchArgs) -> (Option<&'s SecretString>, Option<&'s Path>),
    ) -> Result<Option<SecretString>, Failure> {
        for layer in &self.layers {
            match of(layer) {
                (None, None) => {}
                (Some(secret), None) => return Ok(Some(secret.clone())),
                (None, Some(file)) => return read_secret(name, file).map(Some),
                (Some(_), Some(_)) => {
                    return Err(Failure::usage(format!("{name} and {name}_FILE are both given")).hint("leave one out"));
                }
            }
        }
        Ok(None)
    }
}

fn first<'p>(mut paths: impl Iterator<Item = &'p PathBuf>) -> Option<PathBuf> {
    paths.next().cloned()
}

fn half(given: &str, missing: &str) -> Failure {
    Failure::usage(format!("{given} is given, but {missing} is not")).hint(format!("set {missing} as well"))
}

/// What lies in the credentials directory: secrets, and files with certificates.
fn from_credentials() -> Result<ElasticsearchArgs, Failure> {
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

fn read_secret(name: &str, file: &Path) -> Result<SecretString, Failure> {
    let secret = std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("the file {} that {name}_FILE names cannot be read", file.display())).caused_by(error)
    })?;
    Ok(secret.trim_end().into())
}

/// A secret in the configuration file. The usual message about a value of another type would show it.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => Ok(Some(text.into())),
        _ => Err(serde::de::Error::custom("a secret must be text: write it in quotes")),
    }
}
