//! The settings of Elasticsearch: address, credentials, trusted CAs and timeouts.

use std::path::PathBuf;

use secrecy::SecretString;

use super::durations::Timeout;
use super::login::{LoginLayer, LoginSettings, Secret};
use crate::elastic::{ClientOptions, Limits, Wording};
use crate::error::Error;
use crate::memory::Memory;

/// The settings of Elasticsearch.
#[derive(Clone, Debug, clap::Args)]
pub struct ElasticsearchArgs {
    /// URL of Elasticsearch; separate several nodes with commas
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DAYBOOK_ELASTICSEARCH_URL",
        hide_env_values = true
    )]
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
    elasticsearch_proxy: Option<SecretString>,

    /// Compress requests and responses; useful on slow networks only
    #[arg(long, global = true, env = "DAYBOOK_ELASTICSEARCH_GZIP", action = clap::ArgAction::Set, num_args = 0..=1,
        default_value = "false", default_missing_value = "true")]
    elasticsearch_gzip: bool,

    /// Timeout for connecting to an Elasticsearch node
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_ELASTICSEARCH_CONNECT_TIMEOUT",
        default_value = "10s"
    )]
    elasticsearch_connect_timeout: Timeout,

    /// Timeout for an Elasticsearch response
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_ELASTICSEARCH_TIMEOUT",
        default_value = "120s"
    )]
    elasticsearch_timeout: Timeout,

    /// Timeout for a stall within an Elasticsearch response
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "DAYBOOK_ELASTICSEARCH_STALL_TIMEOUT",
        default_value = "30s"
    )]
    elasticsearch_stall_timeout: Timeout,

    /// The user's password
    #[arg(
        long,
        global = true,
        hide = true,
        env = "DAYBOOK_ELASTICSEARCH_PASSWORD",
        hide_env_values = true
    )]
    elasticsearch_password: Option<SecretString>,

    /// An API key
    #[arg(
        long,
        global = true,
        hide = true,
        env = "DAYBOOK_ELASTICSEARCH_API_KEY",
        hide_env_values = true
    )]
    elasticsearch_api_key: Option<SecretString>,

    /// A bearer token
    #[arg(
        long,
        global = true,
        hide = true,
        env = "DAYBOOK_ELASTICSEARCH_BEARER_TOKEN",
        hide_env_values = true
    )]
    elasticsearch_bearer_token: Option<SecretString>,
}

impl ElasticsearchArgs {
    /// The addresses of the cluster, if they are set.
    pub(super) fn addresses(&self) -> Option<&SecretString> {
        self.elasticsearch_url.as_ref()
    }

    /// Options for a client of the cluster.
    pub(super) fn client_options(
        &self,
        addresses: SecretString,
        memory: Memory,
    ) -> Result<ClientOptions, Error> {
        let login = LoginSettings {
            layers: [self.login()],
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
        ClientOptions {
            authority: self.elasticsearch_ca.clone(),
            proxy: self.elasticsearch_proxy.clone(),
            gzip: self.elasticsearch_gzip,
            limits: Limits {
                connect: self.elasticsearch_connect_timeout.duration(),
                answer: self.elasticsearch_timeout.duration(),
                stall: self.elasticsearch_stall_timeout.duration(),
                ..Limits::default()
            },
            largest_answer: memory.for_an_answer(),
            ..ClientOptions::new(addresses)
        }
    }

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
