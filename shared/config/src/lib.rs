//! Our own environment variables on the server side, with their defaults. Only this crate reads them.

use domain::verdict::MinEvidence;
use domain::{Timestamp, TokenKeys};

/// One environment variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value when unset.
    pub default: &'static str,
    /// Its meaning and its values.
    pub meaning: &'static str,
}

const STATE_TABLE: Variable = Variable {
    name: "STATE_TABLE",
    default: "greenroom-state",
    meaning: "Name of the DynamoDB table that holds user states.",
};
const LEDGER_TABLE: Variable = Variable {
    name: "LEDGER_TABLE",
    default: "greenroom-ledger",
    meaning: "Name of the DynamoDB table that holds the rooms' histories.",
};
const STAGE: Variable = Variable {
    name: "STAGE",
    default: "local",
    meaning: "Deployment stage, shown as `environment` by `/api/health`: 1 to 32 letters, digits and hyphens.",
};
const AUTH_MODE: Variable = Variable {
    name: "AUTH_MODE",
    default: "",
    meaning: "`open`: anybody may act for anybody (demonstrations). `strict`: every state call needs a token. A function does not start without it; the runner's default is `open`.",
};
const CORS_ORIGIN: Variable = Variable {
    name: "CORS_ORIGIN",
    default: "",
    meaning: "Origins whose pages may call the API, separated by commas, or `*`. Unset: only the API's own page. The runner always allows its own addresses.",
};
const CONCURRENT_USER_LIMIT: Variable = Variable {
    name: "CONCURRENT_USER_LIMIT",
    default: "10",
    meaning: "Number of users that `/api/metrics` counts as full capacity, 1 to 1000000. It limits nobody.",
};
const STATE_TTL_DAYS: Variable = Variable {
    name: "STATE_TTL_DAYS",
    default: "30",
    meaning: "Days for which a user state is kept after its last change, 1 to 3650.",
};
const MIN_EVIDENCE: Variable = Variable {
    name: "MIN_EVIDENCE",
    default: "digital_zero",
    meaning: "Weakest evidence that verifies a mute: `digital_zero` (exact zeros, or silence under the system's mute), `flag` (also that mute alone), `floor` (also quiet).",
};
const LOG_LEVEL: Variable = Variable {
    name: "LOG_LEVEL",
    default: "info",
    meaning: "Least severe diagnostic that is logged: `error`, `warn`, `info`, `debug` or `trace`. The line per request is always logged.",
};
const LOG_SAMPLE_PERCENT: Variable = Variable {
    name: "LOG_SAMPLE_PERCENT",
    default: "100",
    meaning: "How many of a hundred polls, renewals of presence, attestations and pings get a line in a function's log if they are successful and fast, 1 to 100. All other requests get one. Metrics count every request. The runner writes every line.",
};
const GIT_COMMIT: Variable = Variable {
    name: "GIT_COMMIT",
    default: "",
    meaning: "Commit that was deployed, shown as `commit` by `/api/health`.",
};

const DEPLOYED_AT: Variable = Variable {
    name: "DEPLOYED_AT",
    default: "",
    meaning: "Time of the deployment in UTC, such as `2026-11-21T10:32:05Z`, shown as `deployedAt` by `/api/health?deep=1`.",
};

const TOKEN_KEYS: Variable = Variable {
    name: "TOKEN_KEYS",
    default: "",
    meaning: "Public keys that verify room tokens, as `greenroom keys` prints them: one, or two separated by a comma. A function in strict mode does not start without one. The runner keeps its keys in its data.",
};
const PAGE_URL: Variable = Variable {
    name: "PAGE_URL",
    default: "",
    meaning: "Origin of the page in links to rooms, such as `https://meet.example`. Unset: the address of the request.",
};
const SOCKET_URL: Variable = Variable {
    name: "SOCKET_URL",
    default: "",
    meaning: "Address of the WebSocket API, such as `wss://live.example/`. Unset: `/ws` at the address of the request.",
};
const ICE_SERVERS: Variable = Variable {
    name: "ICE_SERVERS",
    default: "stun:stun.l.google.com:19302",
    meaning: "STUN and TURN servers that people's browsers may use, as `stun:` and `turn:` URLs separated by commas; `none`: no server.",
};

const SNAPSHOT_BUCKET: Variable = Variable {
    name: "SNAPSHOT_BUCKET",
    default: "greenroom-snapshots",
    meaning: "Name of the S3 bucket that keeps the snapshots. Only the snapshot functions read it.",
};
const SNAPSHOT_RETENTION_DAYS: Variable = Variable {
    name: "SNAPSHOT_RETENTION_DAYS",
    default: "7",
    meaning: "Days for which a snapshot is kept, 1 to 3650. The last good one is kept however old it is.",
};
const SNAPSHOT_COMPRESSION: Variable = Variable {
    name: "SNAPSHOT_COMPRESSION",
    default: "gzip",
    meaning: "How the lines of a snapshot are stored: `gzip` or `none`.",
};
const SNAPSHOT_STORAGE_CLASS: Variable = Variable {
    name: "SNAPSHOT_STORAGE_CLASS",
    default: "STANDARD",
    meaning: "S3 storage class of a snapshot's lines: `STANDARD`, `STANDARD_IA`, `ONEZONE_IA`, `INTELLIGENT_TIERING` or `GLACIER_IR`.",
};
const SNAPSHOT_SEGMENTS: Variable = Variable {
    name: "SNAPSHOT_SEGMENTS",
    default: "4",
    meaning: "Number of segments of the state table that a snapshot reads at once, 1 to 64. Each holds a page of some megabytes in memory.",
};
const SNAPSHOT_READ_UNITS: Variable = Variable {
    name: "SNAPSHOT_READ_UNITS",
    default: "0",
    meaning: "Maximum read units per second of each table. A snapshot takes a third of them; 0: no limit.",
};

/// Variables that every function reads, in the order of the documentation.
pub const VARIABLES: &[Variable] = &[
    STATE_TABLE,
    LEDGER_TABLE,
    STAGE,
    AUTH_MODE,
    CORS_ORIGIN,
    CONCURRENT_USER_LIMIT,
    STATE_TTL_DAYS,
    MIN_EVIDENCE,
    LOG_LEVEL,
    LOG_SAMPLE_PERCENT,
    GIT_COMMIT,
    DEPLOYED_AT,
    TOKEN_KEYS,
    PAGE_URL,
    SOCKET_URL,
    ICE_SERVERS,
];

/// Variables that only the snapshot functions read.
pub const SNAPSHOT_VARIABLES: &[Variable] = &[
    SNAPSHOT_BUCKET,
    SNAPSHOT_RETENTION_DAYS,
    SNAPSHOT_COMPRESSION,
    SNAPSHOT_STORAGE_CLASS,
    SNAPSHOT_SEGMENTS,
    SNAPSHOT_READ_UNITS,
];

const PORT: Variable =
    Variable { name: "PORT", default: "3001", meaning: "Port to listen on; 0 takes a free one (`--port`)." };
const HOST: Variable = Variable {
    name: "HOST",
    default: "127.0.0.1",
    meaning: "IP address to listen on, or `localhost`. An address that is not loopback opens the API to the network (`--host`).",
};
const GREENROOM_PUBLIC_URL: Variable = Variable {
    name: "GREENROOM_PUBLIC_URL",
    default: "",
    meaning: "Origin under which people open the page if it differs from the listening address, such as `https://meet.example` (`--public-url`).",
};
const GREENROOM_DATA_DIR: Variable = Variable {
    name: "GREENROOM_DATA_DIR",
    default: ".greenroom",
    meaning: "Directory that keeps the data (`--data-dir`).",
};
const GREENROOM_SNAPSHOT_DIR: Variable = Variable {
    name: "GREENROOM_SNAPSHOT_DIR",
    default: "",
    meaning: "Directory that keeps the snapshots (`--snapshot-dir`). Unset: `snapshots` in the data directory.",
};
const GREENROOM_DYNAMODB_PORT: Variable = Variable {
    name: "GREENROOM_DYNAMODB_PORT",
    default: "",
    meaning: "Port of 127.0.0.1 on which the embedded database is served as DynamoDB (`--dynamodb-port`). Unset: none.",
};

/// Options of the runner that can also be set by the environment.
pub const RUNNER_VARIABLES: &[Variable] =
    &[PORT, HOST, GREENROOM_PUBLIC_URL, GREENROOM_DATA_DIR, GREENROOM_SNAPSHOT_DIR, GREENROOM_DYNAMODB_PORT];

/// Which callers are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Anybody may act for anybody.
    Open,
    /// All calls except a few public ones need a token.
    Strict,
}

/// Which web origins may call from a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Any.
    Any,
    /// These, compared byte by byte.
    Listed(Vec<String>),
}

/// The validated settings of the server.
#[derive(Debug, Clone)]
pub struct Config {
    /// `STATE_TABLE`
    pub state_table: String,
    /// `LEDGER_TABLE`
    pub ledger_table: String,
    /// `STAGE`
    pub stage: String,
    /// `AUTH_MODE`
    pub auth_mode: AuthMode,
    /// `CORS_ORIGIN`
    pub cors_origins: CorsOrigins,
    /// `CONCURRENT_USER_LIMIT`
    pub concurrent_user_limit: u32,
    /// `STATE_TTL_DAYS`
    pub state_ttl_days: u16,
    /// `MIN_EVIDENCE`
    pub min_evidence: MinEvidence,
    /// `LOG_LEVEL`
    pub log_level: tracing::Level,
    /// `LOG_SAMPLE_PERCENT`
    pub log_sample_percent: u8,
    /// `GIT_COMMIT`
    pub commit: Option<String>,
    /// `DEPLOYED_AT`
    pub deployed_at: Option<Timestamp>,
    /// The settings of rooms that somebody creates.
    pub rooms: Rooms,
}

/// A variable whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} must {rule}")]
pub struct BadSetting {
    /// The variable.
    pub name: &'static str,
    /// The broken rule, as the end of "must …".
    pub rule: &'static str,
}

impl Config {
    /// Reads the settings of a function.
    ///
    /// # Errors
    /// The first variable whose value is invalid, or that has no default and is unset. In strict mode, nobody could get
    /// in without a key that verifies tokens.
    pub fn from_env() -> Result<Self, BadSetting> {
        let config = Self::read(environment)?;
        if config.auth_mode == AuthMode::Strict && config.rooms.token_keys.is_empty() {
            return Err(refuse(&TOKEN_KEYS, "be set in strict mode; `greenroom keys new` makes a key"));
        }
        Ok(config)
    }

    /// Reads the settings of a runner or one of its commands. Their `AUTH_MODE` is `open` if unset.
    ///
    /// # Errors
    /// The first variable whose value is invalid.
    pub fn of_runner_from_env() -> Result<Self, BadSetting> {
        Self::of_runner(environment)
    }

    /// Like [`Config::of_runner_from_env`], but reads the variables with `lookup`.
    ///
    /// # Errors
    /// The first variable whose value is invalid.
    pub fn of_runner(lookup: impl Fn(&'static str) -> Option<String>) -> Result<Self, BadSetting> {
        Self::read(|name| set(&lookup, name).or_else(|| (name == AUTH_MODE.name).then(|| "open".to_owned())))
    }

    /// Reads the settings with `lookup`; an empty value counts as unset.
    ///
    /// # Errors
    /// The first variable whose value is invalid, or that has no default and is unset.
    pub fn read(lookup: impl Fn(&'static str) -> Option<String>) -> Result<Self, BadSetting> {
        let text = |variable: &Variable| text(&lookup, variable);

        let table = |variable: &Variable| {
            let name = text(variable);
            let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            if (3..=255).contains(&name.len()) && name.bytes().all(byte) {
                Ok(name)
            } else {
                Err(refuse(variable, "be 3 to 255 characters out of A-Z a-z 0-9 _ . -"))
            }
        };
        let (state_table, ledger_table) = (table(&STATE_TABLE)?, table(&LEDGER_TABLE)?);
        let stage = text(&STAGE);
        let stage_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if stage.len() > 32 || !stage.bytes().all(stage_byte) {
            return Err(refuse(&STAGE, "be 1 to 32 letters, digits and hyphens"));
        }
        let auth_mode = match text(&AUTH_MODE).as_str() {
            "open" => AuthMode::Open,
            "strict" => AuthMode::Strict,
            _ => return Err(refuse(&AUTH_MODE, "be open or strict")),
        };
        let cors_origins = match text(&CORS_ORIGIN).as_str() {
            "*" => CorsOrigins::Any,
            "" => CorsOrigins::Listed(Vec::new()),
            list => {
                let origins: Vec<_> = list.split(',').map(|origin| origin.trim().to_owned()).collect();
                if !origins.iter().all(|origin| is_origin(origin)) {
                    return Err(refuse(&CORS_ORIGIN, "be * or origins like https://example.com, separated by commas"));
                }
                CorsOrigins::Listed(origins)
            }
        };
        let concurrent_user_limit = text(&CONCURRENT_USER_LIMIT)
            .parse()
            .ok()
            .filter(|limit| (1..=1_000_000).contains(limit))
            .ok_or(refuse(&CONCURRENT_USER_LIMIT, "be a whole number from 1 to 1000000"))?;
        let state_ttl_days = text(&STATE_TTL_DAYS)
            .parse()
            .ok()
            .filter(|days| (1..=3650).contains(days))
            .ok_or(refuse(&STATE_TTL_DAYS, "be a whole number of days from 1 to 3650"))?;
        let min_evidence =
            text(&MIN_EVIDENCE).parse().map_err(|_| refuse(&MIN_EVIDENCE, "be digital_zero, flag or floor"))?;
        let log_level = match text(&LOG_LEVEL).as_str() {
            "error" => tracing::Level::ERROR,
            "warn" => tracing::Level::WARN,
            "info" => tracing::Level::INFO,
            "debug" => tracing::Level::DEBUG,
            "trace" => tracing::Level::TRACE,
            _ => return Err(refuse(&LOG_LEVEL, "be error, warn, info, debug or trace")),
        };
        let log_sample_percent = text(&LOG_SAMPLE_PERCENT)
            .parse()
            .ok()
            .filter(|percent| (1..=100).contains(percent))
            .ok_or(refuse(&LOG_SAMPLE_PERCENT, "be a whole number from 1 to 100"))?;
        let commit = Some(text(&GIT_COMMIT)).filter(|commit| !commit.is_empty());
        if commit.as_ref().is_some_and(|commit| commit.len() > 64 || !commit.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            return Err(refuse(&GIT_COMMIT, "be at most 64 letters and digits"));
        }
        let deployed_at = match text(&DEPLOYED_AT).as_str() {
            "" => None,
            at => Some(at.parse().map_err(|_| refuse(&DEPLOYED_AT, "be a time like 2026-11-21T10:32:05Z"))?),
        };
        Ok(Self {
            state_table,
            ledger_table,
            stage,
            auth_mode,
            cors_origins,
            concurrent_user_limit,
            state_ttl_days,
            min_evidence,
            log_level,
            log_sample_percent,
            commit,
            deployed_at,
            rooms: Rooms::read(&lookup)?,
        })
    }
}

/// The validated settings of rooms that somebody creates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rooms {
    /// `TOKEN_KEYS`
    pub token_keys: TokenKeys,
    /// `PAGE_URL`
    pub page_url: Option<String>,
    /// `SOCKET_URL`
    pub socket_url: Option<String>,
    /// `ICE_SERVERS`
    pub ice_servers: Vec<String>,
}

impl Rooms {
    fn read(lookup: impl Fn(&'static str) -> Option<String>) -> Result<Self, BadSetting> {
        let text = |variable: &Variable| text(&lookup, variable);
        let token_keys = match text(&TOKEN_KEYS).as_str() {
            "" => TokenKeys::default(),
            keys => keys.parse().map_err(|_| {
                refuse(&TOKEN_KEYS, "be one or two Ed25519 public keys in base64url, separated by a comma")
            })?,
        };
        let page_url = Some(text(&PAGE_URL)).filter(|url| !url.is_empty());
        let page_url = page_url.map(|url| public_url(&url).map_err(|rule| refuse(&PAGE_URL, rule))).transpose()?;
        let socket_url = Some(text(&SOCKET_URL)).filter(|url| !url.is_empty());
        if socket_url.as_ref().is_some_and(|url| !url.starts_with("wss://") && !url.starts_with("ws://")) {
            return Err(refuse(&SOCKET_URL, "be an address like wss://live.example/"));
        }
        let ice_servers: Vec<_> = match text(&ICE_SERVERS).as_str() {
            "none" => Vec::new(),
            list => list.split(',').map(|server| server.trim().to_owned()).collect(),
        };
        let is_ice = |server: &String| {
            let scheme = server.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
            ["stun", "stuns", "turn", "turns"].contains(&scheme) && server.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !ice_servers.iter().all(is_ice) {
            return Err(refuse(&ICE_SERVERS, "be none, or URLs like stun:stun.example:3478, separated by commas"));
        }
        Ok(Self { token_keys, page_url, socket_url, ice_servers })
    }
}

/// The validated settings of the snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// `SNAPSHOT_BUCKET`
    pub bucket: String,
    /// `SNAPSHOT_RETENTION_DAYS`
    pub retention_days: u16,
    /// `SNAPSHOT_COMPRESSION`
    pub gzip: bool,
    /// `SNAPSHOT_STORAGE_CLASS`
    pub storage_class: String,
    /// `SNAPSHOT_SEGMENTS`
    pub segments: u16,
    /// `SNAPSHOT_READ_UNITS`
    pub read_units: u32,
}

impl Snapshots {
    /// Reads the settings of this process.
    ///
    /// # Errors
    /// The first variable whose value is invalid.
    pub fn from_env() -> Result<Self, BadSetting> {
        Self::read(environment)
    }

    /// Reads the settings with `lookup`; an empty value counts as unset.
    ///
    /// # Errors
    /// The first variable whose value is invalid.
    pub fn read(lookup: impl Fn(&'static str) -> Option<String>) -> Result<Self, BadSetting> {
        let text = |variable: &Variable| text(&lookup, variable);
        let number = |variable: &Variable, range: std::ops::RangeInclusive<u16>, rule| {
            let number = text(variable).parse().ok().filter(|number| range.contains(number));
            number.ok_or(refuse(variable, rule))
        };
        let bucket = text(&SNAPSHOT_BUCKET);
        let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(byte) {
            return Err(refuse(&SNAPSHOT_BUCKET, "be 3 to 63 characters out of a-z 0-9 . -"));
        }
        let storage_class = text(&SNAPSHOT_STORAGE_CLASS);
        if !["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]
            .contains(&storage_class.as_str())
        {
            let rule = "be STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING or GLACIER_IR";
            return Err(refuse(&SNAPSHOT_STORAGE_CLASS, rule));
        }
        Ok(Self {
            bucket,
            retention_days: number(&SNAPSHOT_RETENTION_DAYS, 1..=3650, "be a whole number of days from 1 to 3650")?,
            gzip: match text(&SNAPSHOT_COMPRESSION).as_str() {
                "gzip" => true,
                "none" => false,
                _ => return Err(refuse(&SNAPSHOT_COMPRESSION, "be gzip or none")),
            },
            storage_class,
            segments: number(&SNAPSHOT_SEGMENTS, 1..=64, "be a whole number from 1 to 64")?,
            read_units: text(&SNAPSHOT_READ_UNITS)
                .parse()
                .map_err(|_| refuse(&SNAPSHOT_READ_UNITS, "be a whole number from 0 to 4294967295"))?,
        })
    }
}

/// Options of the runner that the environment sets. Each is read separately, because an option on the command line
/// overrides its variable, which is then not validated.
pub mod runner {
    use super::{
        BadSetting, GREENROOM_DATA_DIR, GREENROOM_DYNAMODB_PORT, GREENROOM_PUBLIC_URL, GREENROOM_SNAPSHOT_DIR, HOST,
        PORT, Variable, environment, public_url as parse_public_url, refuse, text,
    };
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::PathBuf;

    /// `PORT`
    ///
    /// # Errors
    /// It is not a port.
    pub fn port() -> Result<u16, BadSetting> {
        text(environment, &PORT).parse().map_err(|_| refuse(&PORT, "be a port from 0 to 65535"))
    }

    /// `HOST`
    ///
    /// # Errors
    /// It is neither an IP address nor `localhost`.
    pub fn host() -> Result<IpAddr, BadSetting> {
        parse_host(&text(environment, &HOST)).map_err(|rule| refuse(&HOST, rule))
    }

    /// `GREENROOM_PUBLIC_URL`
    ///
    /// # Errors
    /// It is not an origin.
    pub fn public_url() -> Result<Option<String>, BadSetting> {
        let text = Some(text(environment, &GREENROOM_PUBLIC_URL)).filter(|text| !text.is_empty());
        text.map(|text| parse_public_url(&text).map_err(|rule| refuse(&GREENROOM_PUBLIC_URL, rule))).transpose()
    }

    /// `GREENROOM_DYNAMODB_PORT`
    ///
    /// # Errors
    /// It is not a port.
    pub fn dynamodb_port() -> Result<Option<u16>, BadSetting> {
        let text = Some(text(environment, &GREENROOM_DYNAMODB_PORT)).filter(|text| !text.is_empty());
        let refused = |_| refuse(&GREENROOM_DYNAMODB_PORT, "be a port from 0 to 65535");
        text.map(|text| text.parse().map_err(refused)).transpose()
    }

    /// `GREENROOM_DATA_DIR`
    #[must_use]
    pub fn data_dir() -> PathBuf {
        path(&GREENROOM_DATA_DIR).unwrap_or_else(|| GREENROOM_DATA_DIR.default.into())
    }

    /// `GREENROOM_SNAPSHOT_DIR`
    #[must_use]
    pub fn snapshot_dir() -> Option<PathBuf> {
        path(&GREENROOM_SNAPSHOT_DIR)
    }

    /// Reads a path, which need not be valid Unicode.
    fn path(variable: &Variable) -> Option<PathBuf> {
        std::env::var_os(variable.name).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// An address to listen on: an IP address, or `localhost`.
    ///
    /// # Errors
    /// The broken rule, as the end of "must …".
    pub fn parse_host(text: &str) -> Result<IpAddr, &'static str> {
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        text.parse().map_err(|_| "be an IP address or localhost")
    }
}

/// Normalizes an origin to the form in which browsers send it: lower case, no slash at the end, no default port.
///
/// # Errors
/// The broken rule, as the end of "must …".
pub fn public_url(text: &str) -> Result<String, &'static str> {
    let origin = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    if !is_origin(&origin) {
        return Err("be an origin like https://meet.example");
    }
    let default_port = if origin.starts_with("https:") { ":443" } else { ":80" };
    Ok(origin.strip_suffix(default_port).unwrap_or(&origin).to_owned())
}

/// A variable of this process. Invalid Unicode is replaced, so that such a variable does not count as unset.
fn environment(name: &'static str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The value of a variable. `None`: it is unset or empty.
fn set(lookup: impl Fn(&'static str) -> Option<String>, name: &'static str) -> Option<String> {
    lookup(name).filter(|value| !value.is_empty())
}

/// The value of a variable, or its default if it is unset or empty.
fn text(lookup: impl Fn(&'static str) -> Option<String>, variable: &Variable) -> String {
    set(lookup, variable.name).unwrap_or_else(|| variable.default.to_owned())
}

fn refuse(variable: &Variable, rule: &'static str) -> BadSetting {
    BadSetting { name: variable.name, rule }
}

/// `scheme://host[:port]` and nothing after it.
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        matches!(scheme, "http" | "https")
            && !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> Result<Config, BadSetting> {
        Config::of_runner(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn a_function_has_no_default_for_who_may_call() {
        for unset in [None, Some(String::new())] {
            let refused = Config::read(|name| unset.clone().filter(|_| name == "AUTH_MODE")).unwrap_err();
            assert_eq!(refused.to_string(), "AUTH_MODE must be open or strict");
        }
    }

    #[test]
    fn a_runner_is_open_and_allows_its_own_page_alone() {
        for unset in [None, Some(String::new())] {
            let config = Config::of_runner(|_| unset.clone()).unwrap();
            assert_eq!((config.auth_mode, config.concurrent_user_limit), (AuthMode::Open, 10));
            assert_eq!(config.cors_origins, CorsOrigins::Listed(Vec::new()));
        }
        assert_eq!(with("AUTH_MODE", "strict").unwrap().auth_mode, AuthMode::Strict);
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        for variable in VARIABLES {
            with(variable.name, "").unwrap();
        }
    }

    #[test]
    fn a_host_is_an_address_or_localhost() {
        for (text, wanted) in [("localhost", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("::1", "::1")] {
            assert_eq!(runner::parse_host(text).unwrap().to_string(), wanted);
        }
        for text in ["", "nowhere", "127.0.0.1:80", "[::1]"] {
            assert!(runner::parse_host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin_as_browsers_send_it() {
        for (text, wanted) in [
            ("https://meet.example", "https://meet.example"),
            ("HTTPS://Meet.Example:443/", "https://meet.example"),
            ("http://meet.example:80", "http://meet.example"),
            ("http://meet.example:8080", "http://meet.example:8080"),
        ] {
            assert_eq!(public_url(text).as_deref(), Ok(wanted));
        }
        for text in ["meet.example", "https://", "https://meet.example/room", "ftp://meet.example", "https://a b"] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bad_value_of_the_snapshots_is_refused_by_name() {
        let with = |name, value: &str| Snapshots::read(|asked| (asked == name).then(|| value.to_owned()));
        for variable in SNAPSHOT_VARIABLES {
            with(variable.name, "").unwrap();
        }
        for (name, value) in [
            ("SNAPSHOT_BUCKET", "A_b"),
            ("SNAPSHOT_RETENTION_DAYS", "0"),
            ("SNAPSHOT_COMPRESSION", "zip"),
            ("SNAPSHOT_STORAGE_CLASS", "GLACIER"),
            ("SNAPSHOT_SEGMENTS", "65"),
            ("SNAPSHOT_READ_UNITS", "-1"),
        ] {
            assert_eq!(with(name, value).unwrap_err().name, name, "{value}");
        }
    }

    #[test]
    fn a_bad_value_is_refused_by_name() {
        for (name, value) in [
            ("STATE_TABLE", "a b"),
            ("LEDGER_TABLE", "no"),
            ("STAGE", "pro/d"),
            ("AUTH_MODE", "Open"),
            ("CORS_ORIGIN", "example.com"),
            ("CORS_ORIGIN", "https://a.example/path"),
            ("CORS_ORIGIN", "https://a.example,*"),
            ("CONCURRENT_USER_LIMIT", "0"),
            ("LOG_SAMPLE_PERCENT", "0"),
            ("LOG_SAMPLE_PERCENT", "101"),
            ("STATE_TTL_DAYS", "soon"),
            ("MIN_EVIDENCE", "none"),
            ("LOG_LEVEL", "verbose"),
            ("GIT_COMMIT", "<b>"),
            ("DEPLOYED_AT", "yesterday"),
            ("TOKEN_KEYS", "development-secret-key"),
            ("TOKEN_KEYS", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            ("PAGE_URL", "meet.example"),
            ("SOCKET_URL", "https://live.example"),
            ("ICE_SERVERS", "https://stun.example"),
            ("ICE_SERVERS", "stun:a b"),
        ] {
            assert_eq!(with(name, value).unwrap_err().name, name, "{value}");
        }
    }

    #[test]
    fn origins_are_listed_by_commas() {
        let config = with("CORS_ORIGIN", "https://a.example, http://localhost:5173").unwrap();
        let origins = ["https://a.example", "http://localhost:5173"].map(str::to_owned).to_vec();
        assert_eq!(config.cors_origins, CorsOrigins::Listed(origins));
    }
}
