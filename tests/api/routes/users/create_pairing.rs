use crate::support::witness::{code, enroll, enrolment, fresh_key, join, now_ms, pairing};
use crate::support::{Runner, instant, keys, refused, refused_field};

#[test]
fn a_code_is_long_and_good_for_ten_minutes() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let reply = runner.send("POST", "/api/users/ada/pairing", &[], "");
    let pairing = reply.json();
    assert_eq!((reply.status, keys(&pairing)), (201, vec!["code", "expiresAt", "userId", "witness"]));
    let code = pairing["code"].as_str().unwrap();
    assert_eq!((code.len(), code.matches('-').count(), &pairing["userId"]), (19, 3, &"ada".into()));
    let earliest = domain::Timestamp::from_ms(now_ms() + 9 * 60_000).to_string();
    let latest = domain::Timestamp::from_ms(now_ms() + 10 * 60_000).to_string();
    assert!((earliest..=latest).contains(&instant(&pairing["expiresAt"])));
}

#[test]
fn asking_for_a_code_changes_no_state() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let before = runner.get("/api/users/ada").json();
    assert_ne!(code(&runner, "ada"), code(&runner, "ada"));
    assert_eq!(runner.get("/api/users/ada").json(), before);
}

#[test]
fn a_new_code_invalidates_the_last_one() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let (old, new, key) = (code(&runner, "ada"), code(&runner, "ada"), fresh_key());
    refused(&enroll(&runner, &key, &enrolment("ada", &old, &key)), 401, "code_invalid");
    assert_eq!(enroll(&runner, &key, &enrolment("ada", &new, &key)).status, 201);
}

#[test]
fn code_and_token_themselves_are_not_stored() {
    let directory = tempfile::TempDir::new().unwrap();
    let runner = Runner::start(&["--data-dir", directory.path().to_str().unwrap()]);
    join(&runner, "ada", true);
    let (code, token) = pairing(&runner, "ada");
    runner.kill();
    // The engine's socket is not a regular file.
    let files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    for file in files.filter(|path| path.is_file()) {
        let bytes = std::fs::read(file).unwrap();
        for secret in [&code, &token] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
}

#[test]
fn an_unknown_user_is_404_and_a_malformed_id_400() {
    let runner = Runner::ephemeral();
    refused(&runner.send("POST", "/api/users/nobody/pairing", &[], ""), 404, "user_not_found");
    refused_field(&runner.send("POST", "/api/users/a%20b/pairing", &[], ""), "userId");
    assert_eq!(runner.get("/api/users/nobody").status, 404);
}

/// A browser sends a form of any web page without a preflight.
#[test]
fn a_form_gets_no_code() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"] {
        let reply = runner.send("POST", "/api/users/ada/pairing", &[("content-type", kind)], "");
        refused(&reply, 415, "media_type_not_supported");
    }
}
