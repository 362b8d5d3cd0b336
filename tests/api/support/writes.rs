//! Checks that all endpoints share which change a state.

use super::witness::now_ms;
use super::{Runner, refused, refused_field, state_of};
use serde_json::{Value, json};

/// An endpoint that changes a state.
pub(crate) struct Write {
    pub(crate) method: &'static str,
    /// Below `/api/users/{userId}`.
    pub(crate) path: &'static str,
    /// A valid body.
    pub(crate) body: fn() -> Value,
}

/// Ids that do not match `^[A-Za-z0-9_.:@-]{1,128}$`, consist of dots alone, or are reserved. They are encoded for a
/// path.
pub(crate) const BAD_IDS: &[&str] = &[
    "...",
    "%2E%2E",
    "greenroom-canary",
    "Greenroom-x",
    "a%20b",
    "a%2Fb",
    "a%00",
    "a%0Ab",
    "a,b",
    "a;b",
    "a'b",
    "a%22b",
    "%3Cscript%3E",
    "USER%23ada",
    "%C3%A9",
    "%FF",
    "%F0%9F%8E%A4",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Bodies that every endpoint refuses, and the field that the refusal names.
const BAD_BODIES: &[(&str, &str)] = &[
    ("", "body"),
    ("{", "body"),
    ("null", "body"),
    ("7", "body"),
    ("\"isMuted\"", "body"),
    ("{'isMuted': true}", "body"),
    ("{\"__proto__\": {}}", "body"),
    ("{\"ismuted\": true}", "ismuted"),
    ("\u{feff}{\"isMuted\": true}", "body"),
];

/// Values of `seq` that are not counters.
const BAD_SEQS: &[&str] = &["-1", "1.5", "\"1\"", "true", "9007199254740992", "1e3", "[1]", "18446744073709551616"];

/// Values of `If-Match` that are not one strong version.
const BAD_VERSIONS: &[&str] =
    &["1", "*", "W/\"1\"", "\"\"", "\"-1\"", "\"+1\"", "\"one\"", "\"1\", \"2\"", "\"1", "\"99999999999999999999\""];

/// Content types that are not JSON; a page of another origin may send the first three without a preflight.
const BAD_TYPES: &[&str] = &[
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "text/plain;application/json",
    "application/problem+json",
    "application/jsonx",
    "text/json",
    "",
];

impl Write {
    pub(crate) fn path(&self, user: &str) -> String {
        format!("/api/users/{user}{}", self.path)
    }

    pub(crate) fn send(&self, runner: &Runner, user: &str, headers: &[(&str, &str)], body: Value) -> super::Reply {
        runner.send_json(self.method, &self.path(user), headers, body)
    }

    /// The valid body with one more member.
    pub(crate) fn body_with(&self, name: &str, value: impl Into<Value>) -> Value {
        let mut body = (self.body)();
        body[name] = value.into();
        body
    }

    pub(crate) fn refuses_malformed_ids(&self) {
        let runner = Runner::ephemeral();
        for id in BAD_IDS {
            refused_field(&self.send(&runner, id, &[], (self.body)()), "userId");
        }
        assert_eq!(runner.get("/api/users").json()["items"], json!([]));
    }

    /// Sends bodies that every endpoint refuses, and `more` that this one refuses, each with the field that the refusal
    /// names.
    pub(crate) fn refuses_malformed_bodies(&self, more: &[(&str, &str)]) {
        let runner = Runner::ephemeral();
        let before = state_of(&runner.post("/api/users/ada/state", json!({"isMuted": true, "deviceId": "usb"})), true);
        let seqs: Vec<_> =
            BAD_SEQS.iter().map(|seq| self.body_with("seq", "?").to_string().replace("\"?\"", seq)).collect();
        let (twice, unknown) = (format!("{0}{0}", (self.body)()), self.body_with("isMutd", true).to_string());
        let general = [(twice.as_str(), "body"), (unknown.as_str(), "isMutd")];
        let seqs = seqs.iter().map(|body| (body.as_str(), "seq"));
        for (body, field) in BAD_BODIES.iter().chain(more).chain(&general).copied().chain(seqs) {
            let reply = runner.send(self.method, &self.path("ada"), &[("content-type", "application/json")], body);
            assert_eq!(reply.status, 400, "{body}: {}", reply.text);
            refused_field(&reply, field);
            assert!(reply.text.len() < 2000, "the answer to {body:.60} repeats too much of it");
        }
        assert_eq!(runner.get("/api/users/ada").json(), before, "a refused request changes nothing");
    }

    pub(crate) fn refuses_other_media_types(&self) {
        let runner = Runner::ephemeral();
        for kind in BAD_TYPES {
            let reply =
                runner.send(self.method, &self.path("ada"), &[("content-type", kind)], &(self.body)().to_string());
            refused(&reply, 415, "media_type_not_supported");
        }
        let untyped = runner.send(self.method, &self.path("ada"), &[], &(self.body)().to_string());
        refused(&untyped, 415, "media_type_not_supported");
        refused(&runner.get("/api/users/ada"), 404, "user_not_found");
    }

    pub(crate) fn takes_json_with_parameters(&self) {
        let runner = Runner::ephemeral();
        runner.post("/api/users/ada/state", json!({"isMuted": true}));
        for kind in ["application/json; charset=utf-8", "Application/JSON", "application/json ;charset=UTF-8"] {
            let reply =
                runner.send(self.method, &self.path("ada"), &[("content-type", kind)], &(self.body)().to_string());
            assert_eq!(reply.status, 200, "{kind}: {}", reply.text);
        }
    }

    pub(crate) fn refuses_bodies_that_are_too_large_or_too_deep(&self) {
        let runner = Runner::ephemeral();
        runner.post("/api/users/ada/state", json!({"isMuted": true}));
        let padded = |bytes: usize| {
            let body = (self.body)().to_string();
            format!("{body}{}", " ".repeat(bytes - body.len()))
        };
        let json = [("content-type", "application/json")];
        let path = self.path("ada");
        assert_eq!(runner.send(self.method, &path, &json, &padded(64 * 1024)).status, 200);
        refused(&runner.send(self.method, &path, &json, &padded(64 * 1024 + 1)), 413, "body_too_large");
        for deep in ["[".repeat(60_000), format!("{{\"isMuted\":{}", "[".repeat(60_000)), "{\"isMuted\":".repeat(5000)]
        {
            refused(&runner.send(self.method, &path, &json, &deep), 400, "validation_failed");
        }
    }

    pub(crate) fn honours_if_match(&self) {
        let runner = Runner::ephemeral();
        runner.post("/api/users/ada/state", json!({"isMuted": true}));
        let at = |version: &str| self.send(&runner, "ada", &[("if-match", version)], (self.body)());
        assert_eq!((at("\"1\"").status, runner.get("/api/users/ada").json()["version"].clone()), (200, json!(2)));
        for lost in ["\"1\"", "\"3\"", "\"0\"", "\"18446744073709551615\""] {
            assert_eq!(refused(&at(lost), 412, "version_conflict")["currentVersion"], 2);
        }
        for bad in BAD_VERSIONS {
            refused_field(&at(bad), "If-Match");
        }
        assert_eq!(runner.get("/api/users/ada").json()["version"], 2, "a refused request changes nothing");
    }

    /// The answer to an older or equal counter is the stored state, whatever else the request holds.
    pub(crate) fn ignores_older_and_equal_seq(&self) {
        let runner = Runner::ephemeral();
        runner.post("/api/users/ada/state", json!({"isMuted": true}));
        let with = |seq: u64, headers: &[(&str, &str)]| self.send(&runner, "ada", headers, self.body_with("seq", seq));
        let newest = with(5, &[]);
        assert_eq!((newest.status, &newest.json()["version"]), (200, &json!(2)));
        for (seq, headers) in [(5, &[][..]), (4, &[]), (0, &[]), (5, &[("if-match", "\"1\"")])] {
            let repeated = with(seq, headers);
            assert_eq!((repeated.status, state_of(&repeated, false)), (200, state_of(&newest, true)), "seq {seq}");
        }
        assert_eq!(with(6, &[]).json()["version"], 3);
        let day = 24 * 60 * 60 * 1000;
        for far in [now_ms() + day + 60_000, (1 << 53) - 1] {
            refused_field(&with(far, &[]), "seq");
        }
        assert_eq!(with(now_ms() + day - 60_000, &[]).json()["version"], 4, "a clock may be wrong by a time zone");
    }

    /// Every change increases the version by one, and time never goes back.
    pub(crate) fn counts_versions_and_keeps_time(&self) {
        let runner = Runner::ephemeral();
        let mut last = runner.post("/api/users/ada/state", json!({"isMuted": true})).json();
        for version in 2..=20 {
            let next = self.send(&runner, "ada", &[], (self.body)()).json();
            assert_eq!((&next["version"], &next["createdAt"]), (&json!(version), &last["createdAt"]));
            assert!(super::instant(&next["lastUpdated"]) >= super::instant(&last["lastUpdated"]));
            last = next;
        }
    }

    pub(crate) fn refuses_unknown_users(&self) {
        let runner = Runner::ephemeral();
        refused(&self.send(&runner, "nobody", &[], (self.body)()), 404, "user_not_found");
        refused(&self.send(&runner, "nobody", &[("if-match", "\"1\"")], (self.body)()), 404, "user_not_found");
        refused(&self.send(&runner, "nobody", &[], self.body_with("seq", 1)), 404, "user_not_found");
        assert_eq!(runner.get("/api/users").json()["items"], json!([]), "a refused request changes nothing");
    }
}
