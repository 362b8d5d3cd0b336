//! Files that only their owner may read: they hold people's claims and the keys of their audit trails.

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The mode bits of group and others.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// Makes this process create files that only their owner can access, including files that libraries create.
pub fn restrict_new_files() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(OTHERS));
}

/// Opens a directory, which is created if it does not exist, and removes all permissions of group and others on it and
/// on its files.
///
/// # Errors
/// It cannot be created or read; it belongs to another user; or others may write to it, so that its files may be
/// theirs.
pub fn directory(path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    let directory = File::open(path)?;
    let found = directory.metadata()?;
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if found.uid() != geteuid().as_raw() {
        let problem = format!("it belongs to user {}, and this process runs as {}", found.uid(), geteuid().as_raw());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        let problem = "others may write to it; look at what is in it, and run chmod go-w on it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    if found.mode() & OTHERS != 0 {
        directory.set_permissions(Permissions::from_mode(DIRECTORY_MODE))?;
    }
    tighten(path)?;
    Ok(directory)
}

/// Removes the permissions of group and others on a directory's files. Links are left alone, because they lead
/// elsewhere.
fn tighten(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let found = match entry.metadata() {
            // Another process may have removed the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        let mode = if found.is_dir() { DIRECTORY_MODE } else { FILE_MODE };
        if found.is_symlink() {
            continue;
        }
        if found.mode() & OTHERS != 0 {
            match std::fs::set_permissions(entry.path(), Permissions::from_mode(mode)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if found.is_dir() {
            tighten(&entry.path())?;
        }
    }
    Ok(())
}

/// Opens a file whose name is fixed in our code. A symbolic link of that name is not followed.
///
/// # Errors
/// As [`OpenOptions::open`]; also if the file is a symbolic link.
pub fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[expect(clippy::cast_possible_wrap, reason = "flags: the system takes them as a C int")]
    let flags = OFlags::NOFOLLOW.bits() as i32;
    options
        .mode(FILE_MODE)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) { is_a_link() } else { error })
}

/// Reads such a file, as [`open`] opens it.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(OpenOptions::new().read(true), path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces the content of such a file.
///
/// # Errors
/// As [`open`].
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    open(OpenOptions::new().write(true).create(true).truncate(true), path)?.write_all(bytes.as_ref())
}

/// Checks a file before a library opens it by name.
///
/// # Errors
/// It is a symbolic link.
pub fn refuse_link(path: &Path) -> io::Result<()> {
    let linked = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    if linked { Err(is_a_link()) } else { Ok(()) }
}

fn is_a_link() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "it is a symbolic link")
}
