//! Where a file is written to.
//!
//! A regular file appears, or is replaced, in one step once all of it is on the disk: it is written under another name in
//! the same folder, with the mode and the owner of the one that it replaces, so that what broke off never looks whole. A
//! symbolic link stays and its target is written. A pipe or a device is written to as it is.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// The most symbolic links that are followed, as many as the kernel follows.
const LINKS: usize = 40;

/// A file that is being written.
#[derive(Debug)]
pub struct Destination {
    file: File,
    /// The temporary name and the one that it gets; none where it is written into as it is.
    renaming: Option<(PathBuf, PathBuf)>,
}

impl Destination {
    /// Opens what a path names for writing, or makes it. Waits, for a pipe, until somebody reads.
    pub fn create(path: &Path) -> io::Result<Self> {
        let replaced = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let target = target_of(path)?;
        let is_elsewhere = |replaced: &Metadata| {
            // The links in /proc lead to files that their text does not name.
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
            // Nobody may read it who could not read the one before, not even while it is written.
            options.mode(0o600);
        }
        // One of an earlier process with the same number is in nobody's way.
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

    /// Gives the file the owner and the mode of the one that it replaces.
    fn take_over(&self, replaced: &Metadata) -> io::Result<()> {
        let present = self.file.metadata()?;
        let mut mode = replaced.mode() & 0o7777;
        let owners = |of: &Metadata| (of.uid(), of.gid());
        if owners(&present) != owners(replaced)
            && let Err(error) = fchown(&self.file, Some(replaced.uid()), Some(replaced.gid()))
        {
            // The rights of a group must not become those of another.
            mode &= !0o7070;
            tracing::warn!(%error, "the file being replaced belongs to another user; the new file belongs to you");
        }
        self.file
            .set_permissions(std::fs::Permissions::from_mode(mode))
    }

    /// Ends it: what was written is on the disk, under its name.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some((temporary, target)) = &self.renaming {
            self.file.sync_all()?;
            std::fs::rename(temporary, target)?;
            self.renaming = None;
        }
        Ok(())
    }
}

/// What a path names when its symbolic links are followed, whether it is there or not.
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
            // Where it cannot be removed, its name says what it is.
            let _ = std::fs::remove_file(temporary);
        }
    }
}
