//! What counting may use: memory, and a directory for what exceeds it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::memory::Memory;

/// Where the operating system keeps large temporary files, which is not in memory.
const DEFAULT: &str = "/var/tmp";

/// Memory and temporary files.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub memory: Memory,
    pub temp_dir: TempDir,
}

/// The directory for temporary files, which have no names there.
#[derive(Clone, Debug)]
pub struct TempDir(Arc<Path>);

impl TempDir {
    /// The directory that is configured; otherwise the cache directory that systemd gives to the unit, otherwise
    /// `/var/tmp`.
    pub fn new(configured: Option<PathBuf>, of_unit: Option<OsString>) -> Result<Self, Error> {
        if let Some(path) = configured {
            return match std::fs::metadata(&path) {
                Ok(found) if found.is_dir() => Ok(Self(path.into())),
                found => Err(not_a_directory(&path, found.err())),
            };
        }
        let of_unit = of_unit.and_then(|paths| std::env::split_paths(&paths).next());
        let of_unit = of_unit.filter(|path| !path.as_os_str().is_empty());
        Ok(Self(of_unit.unwrap_or_else(|| DEFAULT.into()).into()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

fn not_a_directory(path: &Path, cause: Option<std::io::Error>) -> Error {
    let error = Error::setting(format!(
        "{} is not a directory for temporary files",
        path.display()
    ))
    .hint("set --temp-dir (DAYBOOK_TEMP_DIR) to an existing, writable directory on a disk");
    match cause {
        Some(cause) => error.caused_by(cause),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_comes_first_then_the_units_cache_directory_then_var_tmp() {
        let path = |configured: Option<&str>, of_unit: Option<&str>| {
            TempDir::new(configured.map(PathBuf::from), of_unit.map(OsString::from))
                .map(|found| found.path().display().to_string())
                .map_err(|error| error.message())
        };
        let cache = Some("/var/cache/daybook:/var/cache/other");
        assert_eq!(path(Some("/"), cache).unwrap(), "/");
        assert_eq!(path(None, cache).unwrap(), "/var/cache/daybook");
        for none in [None, Some("")] {
            assert_eq!(path(None, none).unwrap(), "/var/tmp");
        }
        let refused = path(Some("/does-not-exist"), cache).unwrap_err();
        assert!(
            refused.contains("/does-not-exist is not a directory"),
            "{refused}"
        );
    }
}
