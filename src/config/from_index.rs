//! The settings of an old index: its address, and the credentials for its cluster.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use super::credentials::{credential, credential_file, first};
use super::login::{LoginLayer, LoginSettings, Secret, variable};
use crate::elastic::{ClientOptions, Wording};
use crate::error::Error;

/// The settings of an old index as they are given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FromIndexArgs {
    /// Read a running index of the old system: http://USER:PASSWORD@HOST:9200/INDEX. Without a value, the address comes from
    /// DAYBOOK_FROM_INDEX or the credential from-index, which keeps the password off the command line
    #[arg(long, value_name = "URL/INDEX", conflicts_with_all = ["files", "day"], num_args = 0..=1, default_missing_value = "")]
    pub from_index: Option<SecretString>,

    /// User on the old index's cluster, unless the URL names one
    #[arg(long, value_name = "NAME", env = "DAYBOOK_FROM_INDEX_USER")]
    from_index_user: Option<String>,

    /// File with the user's password
    #[arg(long, value_name = "FILE", env = "DAYBOOK_FROM_INDEX_PASSWORD_FILE")]
    from_index_password_file: Option<PathBuf>,

    /// File with an API key for the old index's cluster: encoded, or ID:KEY
    #[arg(long, value_name = "FILE", env = "DAYBOOK_FROM_INDEX_API_KEY_FILE")]
    from_index_api_key_file: Option<PathBuf>,

    /// File with a bearer token for the old index's cluster
    #[arg(
        long,
        value_name = "FILE",
        env = "DAYBOOK_FROM_INDEX_BEARER_TOKEN_FILE"
    )]
    from_index_bearer_token_file: Option<PathBuf>,

    /// File with a client certificate for the old index's cluster (PEM)
    #[arg(long, value_name = "FILE", env = "DAYBOOK_FROM_INDEX_CLIENT_CERT")]
    from_index_client_cert: Option<PathBuf>,

    /// File with the client certificate's private key (PEM, unencrypted)
    #[arg(long, value_name = "FILE", env = "DAYBOOK_FROM_INDEX_CLIENT_KEY")]
    from_index_client_key: Option<PathBuf>,
}

impl FromIndexArgs {
    /// The address of the old index; none if `--from-index` is not given.
    pub(super) fn address(&self) -> Result<Option<SecretString>, Error> {
        match &self.from_index {
            Some(given) if given.expose_secret().is_empty() => address_elsewhere().map(Some),
            given => Ok(given.clone()),
        }
    }

    /// Adds the credentials for the old cluster to `options`.
    pub(super) fn log_in(self, options: ClientOptions) -> Result<ClientOptions, Error> {
        let wording = Wording::OLD_INDEX;
        let secret = |name: &str, file: Option<PathBuf>| {
            Ok(Secret {
                text: variable(&format!("{}_{name}", wording.variables))?,
                file,
            })
        };
        let given = LoginLayer {
            user: self.from_index_user,
            password: secret("PASSWORD", self.from_index_password_file)?,
            api_key: secret("API_KEY", self.from_index_api_key_file)?,
            bearer_token: secret("BEARER_TOKEN", self.from_index_bearer_token_file)?,
            client_cert: self.from_index_client_cert,
            client_key: self.from_index_client_key,
        };
        let login = LoginSettings {
            layers: [given, from_credentials()?],
            variables: wording.variables,
        };
        let (credentials, client_certificate) = (login.credentials()?, login.client_certificate()?);
        Ok(ClientOptions {
            credentials,
            client_certificate,
            wording,
            ..options
        })
    }
}

/// The address from the environment or the credentials directory.
fn address_elsewhere() -> Result<SecretString, Error> {
    let variable =
        variable("DAYBOOK_FROM_INDEX")?.filter(|address| !address.expose_secret().is_empty());
    first([variable, credential("from-index")?]).ok_or_else(|| {
        Error::usage("--from-index was given without an address").hint(
            "give it as --from-index http://USER:PASSWORD@HOST:9200/INDEX, in the variable DAYBOOK_FROM_INDEX, or as the credential from-index",
        )
    })
}

/// Credentials from the credentials directory.
fn from_credentials() -> Result<LoginLayer, Error> {
    let secret = |name: &str| credential(name).map(|text| Secret { text, file: None });
    Ok(LoginLayer {
        user: None,
        password: secret("from-index-password")?,
        api_key: secret("from-index-api-key")?,
        bearer_token: secret("from-index-bearer-token")?,
        client_cert: credential_file("from-index-client-cert"),
        client_key: credential_file("from-index-client-key"),
    })
}
