//! Writing output files.
//!
//! A regular file is created or replaced atomically: it is written under a temporary name in the same folder, with the
//! mode and the owner of the file it replaces, and renamed once it is on disk. So a partial file never looks complete. A
//! symbolic link is kept, and its target replaced. A pipe or a device is written directly.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// The maximum number of symbolic links to follow, the same as the kernel's.
const LINKS: usize = 40;

/// A file that is being written.
#[derive(Debug)]
pub struct Destination {
    file: File,
    /// The temporary name and the final one; none if the file is written directly.
    renaming: Option<(PathBuf, PathBuf)>,
}

impl Destination {
    /// Opens or creates a file for writing. For a pipe, waits for a reader.
    pub fn create(path: &Path) -> io::Result<Self> {
        let replaced = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let target = target_of(path)?;
        let is_elsewhere = |replaced: &Metadata| {
            // Links in /proc lead to files other than those their text names.
            std::fs::metadata(&target).map_or(true, |found| {
                (found.dev(), found.ino()) != (replaced.dev(), replaced.ino())
            })
        };
        if let Some(replaced) = &replaced
            && (!replaced.is_file() || is_elsewhere(replaced))
        {
            let file = OpenOptions::new()
                .write(true)
                .truncate(replaced.is_file())
                .open(path)?;
            return Ok(Self {
                file,
                renaming: None,
            });
        }
        let mut name = target
            .file_name()
            .ok_or(io::ErrorKind::IsADirectory)?
            .to_owned();
        name.push(format!(".{}.unfinished", std::process::id()));
        let temporary = target.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        if replaced.is_some() {
            // Nobody may read it, even while it is written, who could not read the replaced file.
            options.mode(0o600);
        }
        // An earlier process with the same id may have left one.
        let _ = std::fs::remove_file(&temporary);
        let destination = Self {
            file: options.open(&temporary)?,
            renaming: Some((temporary, target)),
        };
        if let Some(replaced) = replaced {
            destination.take_over(&replaced)?;
        }
        Ok(destination)
    }

    /// Gives the file the owner and the mode of the file it replaces.
    fn take_over(&self, replaced: &Metadata) -> io::Result<()> {
        let present = self.file.metadata()?;
        let mut mode = replaced.mode() & 0o7777;
        let owners = |of: &Metadata| (of.uid(), of.gid());
        if owners(&present) != owners(replaced)
            && let Err(error) = fchown(&self.file, Some(replaced.uid()), Some(replaced.gid()))
        {
            // A different group must not get the permissions of the original one.
            mode &= !0o7070;
            tracing::warn!(%error, "the file being replaced belongs to another user; the new file belongs to you");
        }
        self.file
            .set_permissions(std::fs::Permissions::from_mode(mode))
    }

    /// Writes the file to disk and gives it its final name.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some((temporary, target)) = &self.renaming {
            self.file.sync_all()?;
            std::fs::rename(temporary, target)?;
            self.renaming = None;
        }
        Ok(())
    }
}

/// Follows symbolic links; the target need not exist.
fn target_of(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        match std::fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_symlink() => {
                let link = std::fs::read_link(&target)?;
                target = target
                    .parent()
                    .map_or_else(|| link.clone(), |folder| folder.join(&link));
            }
            _ => return Ok(target),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.renaming {
            // If this fails, the name still says that the file is unfinished.
            let _ = std::fs::remove_file(temporary);
        }
    }
}
