//! Starts that must fail: quickly, each with its exit code and one line that says what to do.

use crate::support::process::Process;
use crate::support::{Runner, binary};
use config::Config;
use config::{RUNNER_VARIABLES, SNAPSHOT_VARIABLES, VARIABLES};
use local::storage::{self, Location};
use local::template::{TEMPLATE, Template};
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use tempfile::TempDir;

/// Starts a runner that must end by itself, and returns its exit code and its line.
#[track_caller]
fn fails(args: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let directory = TempDir::new().unwrap();
    let program = binary("greenroom");
    let mut process = Process::start(Command::new(program).args(args).current_dir(&directory), env);
    let (code, said) = process.wait();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("greenroom: ") && said.len() < 400, "{said}");
    assert!(!["panicked", ".rs:", "RUST_BACKTRACE"].iter().any(|text| said.contains(text)), "{said}");
    assert!(!process.log().iter().any(|line| line["event"] == "listening"), "it served before it failed");
    (code, said)
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for args in [&["--ephemeral", "--port", &port][..], &["--ephemeral", "--port", "0", "--dynamodb-port", &port]] {
        let (code, said) = fails(args, &[]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains(&format!("port {port} is in use")), "{said}");
    }
}

#[test]
fn an_address_of_another_machine_is_named() {
    let (code, said) = fails(&["--ephemeral", "--port", "0", "--host", "192.0.2.1"], &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("192.0.2.1"), "{said}");
}

#[test]
fn a_data_directory_in_use_names_the_other_process() {
    let data = TempDir::new().unwrap();
    let place = data.path().to_str().unwrap();
    let first = Runner::start(&["--data-dir", place]);
    let (code, said) = fails(&["--port", "0", "--data-dir", place], &[]);
    assert_eq!(code, 7, "{said}");
    assert!(said.contains(place) && said.contains(&format!("process {}", first.pid())), "{said}");
    assert_eq!(first.get("/api/health").status, 200, "the first is not disturbed");
    first.kill();
    Runner::start(&["--data-dir", place]);
}

#[test]
fn an_unusable_data_directory_is_named() {
    let data = TempDir::new().unwrap();
    let file = data.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    for place in [file.clone(), file.join("below"), "/proc/greenroom".into()] {
        let (code, said) = fails(&["--port", "0", "--data-dir", place.to_str().unwrap()], &[]);
        assert_eq!(code, 6, "{said}");
        assert!(said.contains(place.to_str().unwrap()), "{said}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"not a directory");
}

#[test]
fn data_of_another_version_is_refused_untouched() {
    for (layout, wanted) in [("3", 5), ("0", 5), ("", 5), ("1\n", 5), ("2\n", 5), ("one", 5)] {
        let data = TempDir::new().unwrap();
        fs::write(data.path().join("layout"), layout).unwrap();
        let (code, said) = fails(&["--port", "0", "--data-dir", data.path().to_str().unwrap()], &[]);
        assert_eq!(code, wanted, "{said}");
        assert!(said.contains("layout"), "{said}");
        assert!(!data.path().join("greenroom.db").exists(), "no database is made in the directory");
    }
}

#[test]
fn a_bad_setting_is_named() {
    for (name, value) in [
        ("AUTH_MODE", "none"),
        ("CORS_ORIGIN", "example.com"),
        ("LOG_LEVEL", "loud"),
        ("STATE_TABLE", "a b"),
        ("STAGE", "pro/d"),
        ("CONCURRENT_USER_LIMIT", "-1"),
        ("STATE_TTL_DAYS", "0"),
        ("GIT_COMMIT", "<b>"),
        ("DEPLOYED_AT", "2026-11-21"),
        ("GREENROOM_PUBLIC_URL", "meet.example"),
        ("GREENROOM_DYNAMODB_PORT", "http"),
        ("HOST", "nowhere"),
    ] {
        let (code, said) = fails(&["--ephemeral", "--port", "0"], &[(name, value)]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(name), "{said}");
    }
    let (code, said) = fails(&["--ephemeral"], &[("PORT", "http")]);
    assert_eq!((code, said.as_str()), (2, "greenroom: PORT must be a port from 0 to 65535\n"));
}

/// A compose file or a pipeline passes an unset variable on as an empty one.
#[test]
fn an_empty_variable_counts_as_unset() {
    let names = VARIABLES.iter().chain(SNAPSHOT_VARIABLES).chain(RUNNER_VARIABLES).map(|variable| variable.name);
    let mut empty: Vec<_> = names.map(|name| (name, "")).collect();
    let runner = Runner::start_as(&["--ephemeral"], &empty);
    assert_eq!(runner.get("/api/health").json()["environment"], "local");
    runner.kill();

    empty.retain(|(name, _)| *name != "GREENROOM_DATA_DIR");
    let data = TempDir::new().unwrap();
    let runner = Runner::start_as(&["--data-dir", data.path().to_str().unwrap()], &empty);
    runner.kill();
    assert!(data.path().join("greenroom.db").exists());
    let list = ["snapshot", "--list", "--data-dir", data.path().to_str().unwrap()];
    let mut listing = Process::start(Command::new(binary("greenroom")).args(list), &empty);
    assert_eq!(listing.wait(), (0, String::new()));
}

#[test]
fn an_option_overrides_its_variable() {
    let runner = Runner::start_as(&["--ephemeral", "--host", "localhost"], &[("PORT", "http"), ("HOST", "nowhere")]);
    assert_eq!(runner.get("/api/health").status, 200);
}

#[test]
fn localhost_is_an_address() {
    let runner = Runner::start_as(&["--ephemeral"], &[("HOST", "localhost")]);
    assert!(runner.url.starts_with("http://127.0.0.1:"), "{}", runner.url);
}

#[test]
fn the_program_knows_its_own_name() {
    let said = Command::new(binary("greenroom")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("greenroom {}\n", env!("CARGO_PKG_VERSION")));
}

/// The same happens with `greenroom help | head -1`.
#[test]
fn a_command_whose_reader_has_gone_ends_quietly() {
    let directory = TempDir::new().unwrap();
    for args in [
        &["snapshot", "--list"][..],
        &["--help"],
        &["--version"],
        &["help", "restore"],
        &["verify-ledger", "/dev/null"],
        &["verify-ledger", "/nowhere"],
        &["restore"],
    ] {
        let broken = || {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        };
        let mut command = Command::new(binary("greenroom"));
        command.args(args).current_dir(&directory).env_clear();
        let read = command.output().unwrap().status.code();
        let said = command.stdout(broken()).output().unwrap();
        assert!(!String::from_utf8_lossy(&said.stderr).contains("panicked"), "{args:?}: {said:?}");
        assert_eq!(said.status.code(), read, "{args:?}: the exit code is the same without a reader");
        let unheard = command.stdout(broken()).stderr(broken()).status().unwrap();
        assert_eq!(unheard.code(), read, "{args:?}");
    }
}

#[test]
fn a_bad_argument_is_named() {
    for (args, env, wanted) in [
        (&["--port", "99999"][..], &[][..], "--port"),
        (&["--port", "-1"], &[], "-1"),
        (&[], &[("PORT", "http")], "PORT"),
        (&["--host", "nowhere"], &[], "--host"),
        (&["--ephemeral", "--durable"], &[], "--durable"),
        (&["--ephemeral", "--data-dir", "x"], &[], "--data-dir"),
        (&["--verbose"], &[], "--verbose"),
        (&["serve"], &[], "serve"),
    ] {
        let (code, said) = fails(args, env);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(wanted), "{said}");
    }
}

/// The state after a kill between the two calls that create a table.
#[test]
fn a_table_that_was_made_without_its_time_to_live_gets_it_at_the_next_start() {
    let data = TempDir::new().unwrap();
    let place = Location::Directory { path: data.path().to_owned(), durable: false };
    let config = Config::of_runner(|_| None).unwrap();
    let before = TEMPLATE.replace("TimeToLiveSpecification: {AttributeName: expiresAt, Enabled: true}", "Tags: []");
    let enabled = |template: &str| {
        let store = storage::open(&place, &Template::parse(template).unwrap(), &config).unwrap();
        store.database.storage().get_table_metadata(&config.state_table).unwrap().unwrap().ttl_enabled
    };
    assert!(!enabled(&before));
    assert!(enabled(TEMPLATE));
}
