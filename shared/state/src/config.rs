//! Every environment variable Greenroom's server side reads, with its default: one table, one place.

use domain::MinEvidence;
use std::fmt::Write as _;

/// One environment variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it holds when unset.
    pub default: &'static str,
    /// What it means and which values it takes.
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
    default: "open",
    meaning: "`open`: anybody may act for anybody (demonstrations). `strict`: every call needs a token, but health and the API description.",
};
const CORS_ORIGIN: Variable = Variable {
    name: "CORS_ORIGIN",
    default: "*",
    meaning: "Origins whose pages may call the API, separated by commas, or `*`.",
};
const CONCURRENT_USER_LIMIT: Variable = Variable {
    name: "CONCURRENT_USER_LIMIT",
    default: "10",
    meaning: "Users that `/api/metrics` counts as full capacity, 1 to 1000000. Informs; refuses nobody.",
};
const STATE_TTL_DAYS: Variable = Variable {
    name: "STATE_TTL_DAYS",
    default: "30",
    meaning: "Days a user state is kept after its last change, 1 to 3650.",
};
const MIN_EVIDENCE: Variable = Variable {
    name: "MIN_EVIDENCE",
    default: "digital_zero",
    meaning: "The weakest evidence that verifies a mute: `digital_zero` (exact zeros, or silence under the system's mute), `flag` (also the system's mute alone), `floor` (also a quiet microphone).",
};
const LOG_LEVEL: Variable = Variable {
    name: "LOG_LEVEL",
    default: "info",
    meaning: "Least severe diagnostic that is logged: `error`, `warn`, `info`, `debug` or `trace`. Request lines do not depend on it.",
};
const LOG_SAMPLE_PERCENT: Variable = Variable {
    name: "LOG_SAMPLE_PERCENT",
    default: "100",
    meaning: "Of a hundred successful requests that were not slow, so many get a line in a function's log, 1 to 100. All others always do; metrics count every one. The runner writes every line.",
};
const GIT_COMMIT: Variable = Variable {
    name: "GIT_COMMIT",
    default: "",
    meaning: "Commit that was deployed, shown as `commit` by `/api/health`.",
};

const SNAPSHOT_BUCKET: Variable = Variable {
    name: "SNAPSHOT_BUCKET",
    default: "greenroom-snapshots",
    meaning: "Name of the S3 bucket that keeps the snapshots. Read by the functions of the snapshots.",
};
const SNAPSHOT_RETENTION_DAYS: Variable = Variable {
    name: "SNAPSHOT_RETENTION_DAYS",
    default: "7",
    meaning: "Days a snapshot is kept, 1 to 3650. The last good one is kept however old it is.",
};
const SNAPSHOT_COMPRESSION: Variable = Variable {
    name: "SNAPSHOT_COMPRESSION",
    default: "gzip",
    meaning: "How the lines of a snapshot are stored: `gzip` or `none`.",
};
const SNAPSHOT_STORAGE_CLASS: Variable = Variable {
    name: "SNAPSHOT_STORAGE_CLASS",
    default: "STANDARD",
    meaning: "S3's storage class of a snapshot's lines: `STANDARD`, `STANDARD_IA`, `ONEZONE_IA`, `INTELLIGENT_TIERING` or `GLACIER_IR`.",
};
const SNAPSHOT_SEGMENTS: Variable = Variable {
    name: "SNAPSHOT_SEGMENTS",
    default: "4",
    meaning: "Parts of a table that a snapshot reads at once, 1 to 64. Each holds a page of some megabytes in memory.",
};

/// All variables, in the order the documentation lists them.
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
    SNAPSHOT_BUCKET,
    SNAPSHOT_RETENTION_DAYS,
    SNAPSHOT_COMPRESSION,
    SNAPSHOT_STORAGE_CLASS,
    SNAPSHOT_SEGMENTS,
];

/// Those that only the functions of the snapshots read.
pub const SNAPSHOT_VARIABLES: &[Variable] =
    &[SNAPSHOT_BUCKET, SNAPSHOT_RETENTION_DAYS, SNAPSHOT_COMPRESSION, SNAPSHOT_STORAGE_CLASS, SNAPSHOT_SEGMENTS];

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Anybody may act for anybody.
    Open,
    /// Every call but a few public ones needs a token.
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

/// The server's settings, checked.
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
}

/// A variable whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} must {rule}")]
pub struct BadSetting {
    /// The variable.
    pub name: &'static str,
    /// The rule it broke, completing "must …".
    pub rule: &'static str,
}

impl Config {
    /// Reads the settings of this process.
    ///
    /// # Errors
    /// The first variable that is set to something unusable.
    pub fn from_env() -> Result<Self, BadSetting> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads the settings through `lookup`; an empty value counts as unset.
    ///
    /// # Errors
    /// The first variable that is set to something unusable.
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
        })
    }
}

/// The settings of the snapshots, checked.
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
}

impl Snapshots {
    /// Reads the settings of this process.
    ///
    /// # Errors
    /// The first variable that is set to something unusable.
    pub fn from_env() -> Result<Self, BadSetting> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads the settings through `lookup`; an empty value counts as unset.
    ///
    /// # Errors
    /// The first variable that is set to something unusable.
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
        })
    }
}

/// What a variable is set to; its default if it is unset or empty.
fn text(lookup: impl Fn(&'static str) -> Option<String>, variable: &Variable) -> String {
    lookup(variable.name).filter(|value| !value.is_empty()).unwrap_or_else(|| variable.default.to_owned())
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

/// What is read elsewhere: by the runner's command line, and where a function opens its connection.
const OTHERS: &str = "
The runner takes its options from `PORT`, `HOST`, `GREENROOM_DATA_DIR`, `GREENROOM_SNAPSHOT_DIR` and
`GREENROOM_DYNAMODB_PORT` too: `greenroom --help`.

A function also needs what Lambda gives it: `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
`AWS_SESSION_TOKEN`. `AWS_ENDPOINT_URL_DYNAMODB` sends it to another database, `AWS_ENDPOINT_URL_S3` to another store of
objects, `AWS_ENDPOINT_URL_CLOUDWATCH` the metrics' function to another CloudWatch; `AWS_CA_BUNDLE` names the certificates it
trusts instead of Amazon's.
";

/// The variables as a Markdown table, for `docs/environment.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated by `cargo xtask docs` from shared/state/src/config.rs. -->\n# Environment variables\n\n\
         | Variable | Default | Meaning |\n|---|---|---|\n",
    );
    for Variable { name, default, meaning } in VARIABLES {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let _ = writeln!(page, "| `{name}` | {default} | {meaning} |");
    }
    page.push_str(OTHERS);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> Result<Config, BadSetting> {
        Config::read(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn the_defaults_are_valid_and_open() {
        let config = Config::read(|_| None).unwrap();
        assert_eq!((config.auth_mode, config.concurrent_user_limit), (AuthMode::Open, 10));
        assert_eq!(config.cors_origins, CorsOrigins::Any);
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        for variable in VARIABLES {
            with(variable.name, "").unwrap();
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
