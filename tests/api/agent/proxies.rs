//! Requests to this machine never leave it, even if the environment names a proxy.

use crate::support::binaries::binary;
use crate::support::witness::{join, pairing};
use crate::support::{PATIENCE, Runner};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The proxy answers every request with 502, so an agent that used it would fail.
#[test]
#[cfg_attr(not(has_pulse), ignore = "needs pulseaudio, sox, espeak-ng and libasound2-dev")]
fn plain_http_ignores_a_proxy_of_the_environment() {
    let runner = Runner::ephemeral();
    join(&runner, "ada", true);
    let (code, _) = pairing(&runner, "ada");
    let proxy = tiny_http::Server::http("127.0.0.1:0").unwrap();
    let proxy_url = format!("http://{}", proxy.server_addr());
    let home = TempDir::new().unwrap();
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| match proxy.recv_timeout(PATIENCE).unwrap() {
            Some(request) => {
                let method = request.method().to_string();
                let _ = request.respond(tiny_http::Response::from_string("").with_status_code(502));
                Some(method)
            }
            None => None,
        });
        let enrolled = Command::new(binary("greenroom-agent"))
            .args(["enroll", "--url", &runner.url, "--user", "ada", "--code", &code])
            .env_clear()
            .env("HOME", home.path())
            .envs(names.map(|name| (name, &proxy_url)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        proxy.unblock();
        (asked.join().unwrap(), enrolled)
    });
    assert_eq!(asked.0, None, "the proxy was asked");
    assert_eq!(asked.1.status.code(), Some(0), "{}", String::from_utf8_lossy(&asked.1.stderr));
}
