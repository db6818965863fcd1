//! Secrets from the directory of systemd's `LoadCredential=`.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::error::Error;

const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A file in `$CREDENTIALS_DIRECTORY`; none if it does not exist.
pub(super) fn credential_file(name: &str) -> Option<PathBuf> {
    let path = Path::new(&std::env::var_os(CREDENTIALS_DIRECTORY)?).join(name);
    path.exists().then_some(path)
}

/// A secret in `$CREDENTIALS_DIRECTORY`; none if it does not exist.
pub(super) fn credential(name: &str) -> Result<Option<SecretString>, Error> {
    let Some(path) = credential_file(name) else {
        return Ok(None);
    };
    match std::fs::read_to_string(&path) {
        Ok(secret) => Ok(Some(secret.trim_end().into())),
        Err(error) => Err(Error::setting(format!(
            "the credential {} cannot be read",
            path.display()
        ))
        .caused_by(error)),
    }
}

/// The first secret that is set.
pub(super) fn first<const N: usize>(sources: [Option<SecretString>; N]) -> Option<SecretString> {
    sources.into_iter().flatten().next()
}
