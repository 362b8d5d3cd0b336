//! Data is readable only by its owner, and a data directory may have any name.

use crate::support::binary;
use crate::support::process::Process;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Starts a program on a data directory, from a working directory of its own, without other settings.
fn start(args: &[&str], data: &Path, below: &Path) -> Process {
    let mut command = Command::new(binary("greenroom"));
    command.args(args).arg("--data-dir").arg(data).current_dir(below);
    Process::start(&mut command, &[])
}

/// A running runner on a data directory.
fn serve(data: &Path, below: &Path) -> Process {
    let runner = start(&["--port", "0"], data, below);
    runner.await_log(|line| line["event"] == "listening");
    runner
}

/// All files and directories below this one, with their modes.
fn modes(path: &Path) -> Vec<(PathBuf, u32)> {
    let found = fs::symlink_metadata(path).unwrap();
    let mut modes = vec![(path.to_owned(), found.permissions().mode() & 0o777)];
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            modes.extend(self::modes(&entry.unwrap().path()));
        }
    }
    modes
}

#[track_caller]
fn is_private(path: &Path) {
    let found = modes(path);
    assert!(found.len() > 3, "{found:?}");
    for (path, mode) in found {
        assert_eq!(mode & 0o077, 0, "{} has {mode:o}", path.display());
    }
}

#[test]
fn data_and_snapshots_are_for_their_owner_alone() {
    let home = TempDir::new().unwrap();
    let (data, snapshots) = (home.path().join("data"), home.path().join("kept"));
    let runner = serve(&data, home.path());
    let kept = ["--snapshot-dir", snapshots.to_str().unwrap()];
    assert_eq!(start(&["snapshot", kept[0], kept[1]], &data, home.path()).wait().0, 0);
    is_private(&data);
    is_private(&snapshots);
    drop(runner);
    let restored = home.path().join("restored");
    assert_eq!(start(&["restore", kept[0], kept[1]], &restored, home.path()).wait().0, 0);
    is_private(&restored);
}

/// The modes that older versions left.
#[test]
fn the_next_start_removes_the_permissions_of_others() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    drop(serve(&data, home.path()));
    assert_eq!(start(&["snapshot"], &data, home.path()).wait().0, 0);
    for (path, _) in modes(&data) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let _runner = serve(&data, home.path());
    is_private(&data);
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let home = TempDir::new().unwrap();
    for mode in [0o777, 0o775, 0o1777, 0o702] {
        let data = home.path().join(format!("{mode:o}"));
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, Permissions::from_mode(mode)).unwrap();
        let (code, said) = start(&["--port", "0"], &data, home.path()).wait();
        assert_eq!(code, 6, "{said}");
        assert!(said.contains("others may write to it"), "{said}");
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "nothing is made in it");
    }
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    if chown(&data, Some(12_345), None).is_err() {
        // Only root can change the owner. If another user runs the test, a directory of root serves the purpose.
        let (code, said) = start(&["--port", "0"], Path::new("/"), home.path()).wait();
        assert_eq!(code, 6, "{said}");
        return;
    }
    let (code, said) = start(&["--port", "0"], &data, home.path()).wait();
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("belongs to user 12345"), "{said}");
}

#[test]
fn a_link_in_the_place_of_a_file_is_never_followed() {
    let names = ["lock", "layout", "seal", "greenroom.db", "greenroom.db-wal", "greenroom.db-shm"];
    for name in names {
        let home = TempDir::new().unwrap();
        let (data, target) = (home.path().join("data"), home.path().join("precious"));
        let mut runner = serve(&data, home.path());
        runner.signal(rustix::process::Signal::TERM);
        assert_eq!(runner.wait().0, 0);
        fs::write(&target, "precious").unwrap();
        let _ = fs::remove_file(data.join(name));
        symlink(&target, data.join(name)).unwrap();
        let (code, said) = start(&["--port", "0"], &data, home.path()).wait();
        assert_eq!(code, 6, "{name}: {said}");
        assert!(said.contains("symbolic link"), "{said}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious", "{name}");
    }
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("kept")).unwrap();
    fs::write(home.path().join("precious"), "precious").unwrap();
    symlink(home.path().join("precious"), home.path().join("kept/lock")).unwrap();
    let data = home.path().join("data");
    drop(serve(&data, home.path()));
    let kept = home.path().join("kept");
    let (code, said) = start(&["snapshot", "--snapshot-dir", kept.to_str().unwrap()], &data, home.path()).wait();
    assert_eq!(code, 6, "{said}");
}

/// A socket's path may have at most 107 bytes.
#[test]
fn commands_work_beside_a_runner_with_a_long_directory_name() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("1".repeat(120)).join("2".repeat(120));
    let runner = serve(&data, home.path());
    for command in ["snapshot", "drill"] {
        let (code, said) = start(&[command], &data, home.path()).wait();
        assert_eq!(code, 0, "{command}: {said}");
    }
    assert!(runner.log().iter().all(|line| line["level"] != "WARN"), "{:?}", runner.log());
}

#[test]
fn a_directory_of_any_name_works() {
    let odd = OsString::from_vec(b"gr-\xff".to_vec());
    for name in [odd.as_os_str(), OsStr::new("file:data"), OsStr::new("file:data?mode=memory"), OsStr::new("a b%20'")] {
        let home = TempDir::new().unwrap();
        // The path is relative, so that it consists only of the name.
        let data = Path::new(name);
        let runner = serve(data, home.path());
        assert_eq!(start(&["snapshot"], data, home.path()).wait().0, 0, "{name:?}");
        drop(runner);
        assert!(home.path().join(data).join("greenroom.db").exists(), "{name:?}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "{name:?}: nothing is made elsewhere");
        drop(serve(data, home.path()));
        assert_eq!(start(&["drill"], data, home.path()).wait().0, 0, "{name:?}");
    }
}

/// The system allows names of 4 095 bytes, the database only some hundreds.
#[test]
fn a_start_that_fails_leaves_no_directory_behind() {
    let home = TempDir::new().unwrap();
    let long: PathBuf = (0..8).map(|_| "x".repeat(200)).collect();
    let (code, said) = start(&["--port", "0"], &home.path().join(&long), home.path()).wait();
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("cannot be used"), "{said}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

/// An environment variable need not be text either.
#[test]
fn a_directory_of_any_name_can_be_given_by_the_environment() {
    let home = TempDir::new().unwrap();
    let odd = OsString::from_vec(b"gr-\xff".to_vec());
    let mut command = Command::new(binary("greenroom"));
    command.args(["snapshot", "--list"]).current_dir(&home).env_clear().env("GREENROOM_DATA_DIR", &odd);
    let said = command.output().unwrap();
    assert_eq!((said.status.code(), said.stdout), (Some(0), b"no snapshots\n".to_vec()));
}
