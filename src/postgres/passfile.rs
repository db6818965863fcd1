//! Passwords from `~/.pgpass`, or the file that `PGPASSFILE` names.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The login whose password is looked up.
#[derive(Debug)]
pub(super) struct Login<'a> {
    /// A name, an address, or the folder of a Unix socket, which `localhost` matches as well.
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first matching line. As in libpq, a file that others may read is not used.
pub(super) fn look_up(named: Option<&Path>, login: &Login<'_>) -> Option<String> {
    let path = named
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".pgpass")))?;
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => {
            if named.is_some() || error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(file = %path.display(), %error, "cannot read the password file");
            }
            return None;
        }
    };
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "the password file is ignored because others may read it: chmod 600 it");
        return None;
    }
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    lines.into_iter().find_map(|line| password_in(&line, login))
}

fn password_in(line: &str, login: &Login<'_>) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let [host, port, database, user, password] = fields(line)?;
    let is = |field: &str, value: &str| field == "*" || field == value;
    let fits = (is(&host, login.host) || (login.host.starts_with('/') && host == "localhost"))
        && is(&port, &login.port.to_string())
        && is(&database, login.database)
        && is(&user, login.user);
    fits.then_some(password)
}

/// The fields of a line. A backslash quotes the next character.
fn fields(line: &str) -> Option<[String; 5]> {
    let mut fields: [String; 5] = Default::default();
    let mut at = 0;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            // The rest of the line is the password; it may contain colons.
            ':' if at < 4 => at += 1,
            '\\' => fields[at].extend(characters.next()),
            other => fields[at].push(other),
        }
    }
    (at == 4).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: Login<'_> = Login {
        host: "h",
        port: 5432,
        database: "d",
        user: "u",
    };

    #[test]
    fn a_line_fits_as_in_libpq() {
        for (line, password) in [
            ("h:5432:d:u:secret", Some("secret")),
            ("*:*:*:*:secret", Some("secret")),
            ("h:5432:d:u:a:b", Some("a:b")),
            (r"h:5432:d:u:a\:b\\c", Some(r"a:b\c")),
            ("h:5432:d:u:", Some("")),
            ("other:5432:d:u:secret", None),
            ("h:5433:d:u:secret", None),
            ("# h:5432:d:u:secret", None),
            ("h:5432:d:u", None),
            ("", None),
        ] {
            assert_eq!(password_in(line, &LOGIN).as_deref(), password, "{line}");
        }
        let socket = Login {
            host: "/run/postgresql",
            ..LOGIN
        };
        assert_eq!(
            password_in("localhost:*:*:*:secret", &socket).as_deref(),
            Some("secret")
        );
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        let path = std::env::temp_dir().join(format!("daybook-pgpass-{}", std::process::id()));
        std::fs::write(&path, "h:5432:d:other:x\nh:5432:d:u:secret\n").unwrap();
        for (mode, password) in [
            (0o600, Some("secret")),
            (0o400, Some("secret")),
            (0o640, None),
            (0o604, None),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                look_up(Some(&path), &LOGIN).as_deref(),
                password,
                "{mode:o}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look_up(Some(&path), &LOGIN), None);
    }
}
