//! Chromium with a microphone of its own that beeps, driven by `chromedriver`.
//!
//! <https://www.w3.org/TR/webdriver2/>

use super::PATIENCE;
use super::pulse::Pulse;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use ureq::http::Response;

/// `--use-fake-ui…` allows microphones as a person would. `--use-fake-device…`, if given, adds microphones that beep.
/// The other arguments keep Chromium away from the network and from parts of the machine that no test needs.
const ARGUMENTS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--window-size=1280,900",
];

/// The interval between two checks of a page.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often `chromedriver` is started until it has a port.
const DRIVER_STARTS_MAX: usize = 5;

/// The name by which WebDriver refers to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with one window. It is closed when dropped.
pub(crate) struct Browser {
    /// `http://127.0.0.1:<port>/session/<id>`
    session: String,
    agent: ureq::Agent,
    driver: Child,
    // The browser's profile, home, cache and other files.
    _directory: TempDir,
}

impl Browser {
    /// Starts a browser with a new profile and microphones that beep.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--use-fake-device-for-media-stream"], &[])
    }

    /// Starts a browser that captures the microphones of a sound server.
    pub(crate) fn hearing(pulse: &Pulse) -> Self {
        Self::start_with(&[], &pulse.env())
    }

    /// Starts a browser that resolves this name to this address.
    pub(crate) fn resolving(name: &str, address: &str) -> Self {
        Self::start_with(&[&format!("--host-resolver-rules=MAP {name} {address}")], &[])
    }

    fn start_with(more: &[&str], env: &[(&str, String)]) -> Self {
        let directory = TempDir::new().unwrap();
        let profile = format!("--user-data-dir={}", directory.path().join("profile").display());
        let mut started = (0..DRIVER_STARTS_MAX).filter_map(|_| start_driver(directory.path(), env));
        let (driver, port) = started.next().unwrap();
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let mut browser = Self {
            session: format!("http://127.0.0.1:{port}/session"),
            agent: agent.into(),
            driver,
            _directory: directory,
        };
        let arguments: Vec<_> =
            ARGUMENTS.iter().copied().chain(more.iter().copied()).chain([profile.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": chromium(), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.post("", wanted);
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().unwrap());
        browser
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("/url", json!({"url": url}));
    }

    pub(crate) fn refresh(&self) {
        self.post("/refresh", json!({}));
    }

    /// Goes back to the page that was shown before.
    pub(crate) fn back(&self) {
        self.post("/back", json!({}));
    }

    /// Opens the page again in a second tab, and goes there. The browser copies the session storage, as for a
    /// duplicated tab.
    pub(crate) fn duplicate(&self) {
        self.run("window.open(location.href);");
        let handles = self.get("/window/handles");
        let newest = handles.as_array().unwrap().last().unwrap();
        self.post("/window", json!({"handle": newest}));
    }

    /// Closes this tab and goes to the first one that is left.
    pub(crate) fn close_tab(&self) {
        let left = answer(self.agent.delete(format!("{}/window", self.session)).call(), "/window");
        self.post("/window", json!({"handle": left[0]}));
    }

    /// Runs the body of a function in the page, and returns its value.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []}))
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn wait(&self, expression: &str) {
        self.wait_for(expression, |value| *value == true);
    }

    /// Waits until the value of an expression in the page is `wanted`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&self, expression: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // An element that is not on the page yet may appear in a moment.
            let value = self.run(&format!("try {{ return {expression}; }} catch (error) {{ return String(error); }}"));
            if wanted(&value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{expression} stays {value}; {}", self.screenshot().display());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Clicks with the mouse.
    pub(crate) fn click(&self, selector: &str) {
        self.post(&format!("{}/click", self.element(selector)), json!({}));
    }

    /// Types on the keyboard, after the text that is already there.
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        self.post(&format!("{}/value", self.element(selector)), json!({"text": text}));
    }

    /// Presses a key and lets it go, wherever the focus is.
    pub(crate) fn press(&self, key: &str) {
        let strokes = ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key}));
        self.post("/actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]}));
    }

    /// Shows the page as a person with this `prefers-color-scheme` sees it.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let body = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}});
        self.post("/goog/cdp/execute", body);
    }

    /// Shows the page as on a screen of this size, in CSS pixels. A phone has a touch screen.
    pub(crate) fn resize(&self, width: u32, height: u32, phone: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        for (cmd, params) in [
            ("Emulation.setDeviceMetricsOverride", metrics),
            ("Emulation.setTouchEmulationEnabled", json!({"enabled": phone})),
        ] {
            self.post("/goog/cdp/execute", json!({"cmd": cmd, "params": params}));
        }
    }

    /// The warnings and errors that the browser has logged since the last call, violations of the content policy
    /// included.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({"type": "browser"}));
        let entries = entries.as_array().unwrap().iter();
        let complaints = entries.filter(|entry| ["SEVERE", "WARNING"].contains(&entry["level"].as_str().unwrap()));
        complaints.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The window as a PNG.
    pub(crate) fn picture(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(self.get("/screenshot").as_str().unwrap()).unwrap()
    }

    /// Stores a picture of the window, for the message of a failed test.
    fn screenshot(&self) -> PathBuf {
        let name = format!("browser-{}.png", std::thread::current().name().unwrap_or("test").replace("::", "-"));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, self.picture()).unwrap();
        path
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", json!({"using": "css selector", "value": selector}));
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that a call can write json!(…) in place")]
    fn post(&self, path: &str, body: Value) -> Value {
        let response = self.agent.post(format!("{}{path}", self.session)).send_json(&body);
        answer(response, &format!("{path} {body}"))
    }

    fn get(&self, path: &str) -> Value {
        answer(self.agent.get(format!("{}{path}", self.session)).call(), path)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Starts `chromedriver`, and returns it with its port. `None`: it has ended, because the port that it got for IPv6 is
/// taken for IPv4.
fn start_driver(directory: &Path, env: &[(&str, String)]) -> Option<(Child, u16)> {
    let homes = ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"].map(|name| (name, directory));
    // Chromium ends together with chromedriver, which asks the system for that.
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .envs(homes)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse::<u16>().ok()
    });
    if port.is_none() {
        let _ = driver.kill();
        let _ = driver.wait();
    }
    Some((driver, port?))
}

/// The value in the driver's answer.
fn answer(response: Result<Response<ureq::Body>, ureq::Error>, asked: &str) -> Value {
    let mut response = response.unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    assert_eq!(response.status(), 200, "{asked}: {text}");
    serde_json::from_str::<Value>(&text).unwrap()["value"].take()
}

/// The path of Chromium. `tests/build.rs` looks for the same names.
fn chromium() -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    let directories: Vec<_> = env::split_paths(&path).collect();
    let candidates = ["chromium", "chromium-browser"];
    let mut paths = candidates.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    paths.find(|path| path.is_file()).unwrap()
}
