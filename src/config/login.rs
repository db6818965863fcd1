//! Credentials for a cluster, from all layers of settings; earlier layers take precedence.
//!
//! Other users of the machine can read command lines. So secrets are given in the environment, in files or in the
//! credentials directory, never as options. They are read only when a client is created.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::elastic::{ClientCertificate, Credentials};
use crate::error::Error;

/// The credentials in one layer of settings.
#[derive(Clone, Debug, Default)]
pub(super) struct LoginLayer {
    pub(super) user: Option<String>,
    pub(super) password: Secret,
    pub(super) api_key: Secret,
    pub(super) bearer_token: Secret,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
}

/// A secret, given as text or as the name of a file that contains it.
#[derive(Clone, Debug, Default)]
pub(super) struct Secret {
    pub(super) text: Option<SecretString>,
    pub(super) file: Option<PathBuf>,
}

impl Secret {
    pub(super) fn new(text: Option<&SecretString>, file: Option<&PathBuf>) -> Self {
        Self {
            text: text.cloned(),
            file: file.cloned(),
        }
    }
}

/// Credentials from all layers. `variables` is the prefix of the names of environment variables.
#[derive(Clone, Debug)]
pub(super) struct LoginSettings<'a, const N: usize> {
    pub(super) layers: [LoginLayer; N],
    pub(super) variables: &'a str,
}

impl<const N: usize> LoginSettings<'_, N> {
    /// The credentials to send. More than one kind is an error, because the choice would be arbitrary.
    pub(super) fn credentials(&self) -> Result<Option<Credentials>, Error> {
        let password = self.secret("PASSWORD", |layer| &layer.password)?;
        let api_key = self.secret("API_KEY", |layer| &layer.api_key)?;
        let bearer_token = self.secret("BEARER_TOKEN", |layer| &layer.bearer_token)?;
        let user = self.layers.iter().find_map(|layer| layer.user.clone());
        match (user, password, api_key, bearer_token) {
            (None, None, None, None) => Ok(None),
            (user, Some(password), None, None) => Ok(Some(Credentials::Basic { user, password })),
            (Some(_), None, None, None) => Err(self.half("USER", "PASSWORD")),
            (None, None, Some(key), None) => Ok(Some(Credentials::ApiKey(key))),
            (None, None, None, Some(token)) => Ok(Some(Credentials::BearerToken(token))),
            _ => {
                let variables = self.variables;
                Err(Error::setting("more than one way to log in to Elasticsearch is given")
                    .hint(format!("give one of user and password, {variables}_API_KEY and {variables}_BEARER_TOKEN")))
            }
        }
    }

    /// The client certificate to present.
    pub(super) fn client_certificate(&self) -> Result<Option<ClientCertificate>, Error> {
        let certificate = self
            .layers
            .iter()
            .find_map(|layer| layer.client_cert.clone());
        let key = self
            .layers
            .iter()
            .find_map(|layer| layer.client_key.clone());
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(ClientCertificate { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.half("CLIENT_CERT", "CLIENT_KEY")),
            (None, Some(_)) => Err(self.half("CLIENT_KEY", "CLIENT_CERT")),
        }
    }

    fn secret(
        &self,
        name: &str,
        of: impl Fn(&LoginLayer) -> &Secret,
    ) -> Result<Option<SecretString>, Error> {
        let name = format!("{}_{name}", self.variables);
        for layer in &self.layers {
            match of(layer) {
                Secret {
                    text: None,
                    file: None,
                } => {}
                Secret {
                    text: Some(secret),
                    file: None,
                } => return Ok(Some(secret.clone())),
                Secret {
                    text: None,
                    file: Some(file),
                } => return read_secret(&name, file).map(Some),
                Secret {
                    text: Some(_),
                    file: Some(_),
                } => {
                    return Err(
                        Error::setting(format!("{name} and {name}_FILE are both given"))
                            .hint("set only one of them"),
                    );
                }
            }
        }
        Ok(None)
    }

    fn half(&self, given: &str, missing: &str) -> Error {
        let variables = self.variables;
        Error::setting(format!(
            "{variables}_{given} is given, but {variables}_{missing} is not"
        ))
        .hint(format!("set {variables}_{missing} as well"))
    }
}

/// A secret from an environment variable.
pub(super) fn variable(name: &str) -> Result<Option<SecretString>, Error> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(SecretString::from(value))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Error::setting(format!("{name} is not UTF-8")))
        }
    }
}

fn read_secret(name: &str, file: &Path) -> Result<SecretString, Error> {
    let secret = std::fs::read_to_string(file).map_err(|error| {
        Error::setting(format!(
            "the file {} that {name}_FILE names cannot be read",
            file.display()
        ))
        .caused_by(error)
    })?;
    Ok(secret.trim_end().into())
}
