//! How to log in: the `Authorization` header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elasticsearch::http::headers::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::wording::Wording;
use crate::error::Error;

/// How to log in.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// As a user with a password.
    Basic {
        /// The user, unless the address names one.
        user: Option<String>,
        password: SecretString,
    },
    /// With an API key: encoded, or ID:KEY.
    ApiKey(SecretString),
    /// With a bearer token.
    BearerToken(SecretString),
}

/// User and password in an address.
pub(super) struct Login {
    user: String,
    password: Option<SecretString>,
}

impl Login {
    /// Removes user and password from an address.
    pub(super) fn take_from(url: &mut Url) -> Option<Self> {
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned()
        };
        let user = decode(url.username());
        let password = url.password().map(|password| decode(password).into());
        if user.is_empty() && password.is_none() {
            return None;
        }
        // These cannot fail for an http address.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Some(Self { user, password })
    }

    /// The header for the server that the address belongs to.
    pub(super) fn header(&self) -> HeaderValue {
        let password = self
            .password
            .as_ref()
            .map_or("", |password| password.expose_secret());
        basic(&self.user, password)
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn password(&self) -> &str {
        self.password
            .as_ref()
            .map_or("", |password| password.expose_secret())
    }
}

/// The `Authorization` header, if there are credentials.
pub(super) fn header(
    in_address: Option<Login>,
    given: Option<&Credentials>,
    wording: Wording,
) -> Result<Option<HeaderValue>, Error> {
    match (in_address, given) {
        (None, None) => Ok(None),
        (Some(login), None) => Ok(Some(login.header())),
        (
            None,
            Some(Credentials::Basic {
                user: Some(user),
                password,
            }),
        ) => Ok(Some(basic(user, password.expose_secret()))),
        (
            Some(Login {
                user,
                password: None,
            }),
            Some(Credentials::Basic {
                user: None,
                password,
            }),
        ) => Ok(Some(basic(&user, password.expose_secret()))),
        (None, Some(Credentials::Basic { user: None, .. })) => Err(Error::setting(
            "a password for Elasticsearch is given, but no user",
        )
        .hint(wording.fill("set {variables}_USER"))),
        (None, Some(Credentials::ApiKey(key))) => {
            let key = key.expose_secret();
            // An encoded key contains no colon.
            let encoded = if key.contains(':') {
                STANDARD.encode(key)
            } else {
                key.to_owned()
            };
            secret_header(format!("ApiKey {encoded}"), "API key").map(Some)
        }
        (None, Some(Credentials::BearerToken(token))) => {
            secret_header(format!("Bearer {}", token.expose_secret()), "bearer token").map(Some)
        }
        (Some(_), Some(_)) => Err(Error::setting(
            "more than one way to log in to Elasticsearch is given",
        )
        .hint(wording.fill(
            "take the user and the password out of {address}, or leave the other settings out",
        ))),
    }
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    let mut header =
        HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 is valid in a header");
    header.set_sensitive(true);
    header
}

fn secret_header(text: String, what: &str) -> Result<HeaderValue, Error> {
    let is_empty = text.ends_with(' ');
    let header = HeaderValue::try_from(text).ok().filter(|_| !is_empty);
    let mut header = header.ok_or_else(|| {
        Error::setting(format!(
            "the {what} for Elasticsearch is empty or contains invalid characters"
        ))
        .hint("give it on one line, as Elasticsearch issued it")
    })?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(address: &str) -> Option<Login> {
        Login::take_from(&mut address.parse().unwrap())
    }

    #[test]
    fn each_way_to_log_in_has_its_header() {
        let user = |user: Option<&str>| Credentials::Basic {
            user: user.map(str::to_owned),
            password: "p:w".into(),
        };
        let cases = [
            (None, None, None),
            (login("http://u:p%40@h"), None, Some("Basic dTpwQA==")),
            (
                login("http://u@h"),
                Some(user(None)),
                Some("Basic dTpwOnc="),
            ),
            (None, Some(user(Some("u"))), Some("Basic dTpwOnc=")),
            (
                None,
                Some(Credentials::ApiKey("id:key".into())),
                Some("ApiKey aWQ6a2V5"),
            ),
            (
                None,
                Some(Credentials::ApiKey("aWQ6a2V5".into())),
                Some("ApiKey aWQ6a2V5"),
            ),
            (
                None,
                Some(Credentials::BearerToken("t.o.k".into())),
                Some("Bearer t.o.k"),
            ),
        ];
        for (in_address, given, expected) in cases {
            let header = header(in_address, given.as_ref(), Wording::PROJECTIONS).unwrap();
            assert!(header.as_ref().is_none_or(HeaderValue::is_sensitive));
            assert_eq!(
                header.as_ref().map(|header| header.to_str().unwrap()),
                expected,
                "{given:?}"
            );
        }
    }

    #[test]
    fn two_ways_to_log_in_and_half_a_way_are_refused() {
        let password = || Credentials::Basic {
            user: None,
            password: "secret".into(),
        };
        let cases = [
            (None, password()),
            (login("http://u:p@h"), password()),
            (login("http://u:p@h"), Credentials::ApiKey("secret".into())),
            (
                login("http://u@h"),
                Credentials::BearerToken("secret".into()),
            ),
            (None, Credentials::ApiKey("".into())),
            (None, Credentials::BearerToken("sec\nret".into())),
        ];
        for (in_address, given) in cases {
            let error = header(in_address, Some(&given), Wording::PROJECTIONS).unwrap_err();
            assert_eq!(
                error.kind(),
                crate::error::ErrorKind::InvalidSetting,
                "{given:?}"
            );
            assert!(!error.message().contains("sec"), "{error:?}");
        }
    }
}
