//! Points in time. Reading a clock is the caller's business.

use crate::Refused;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use std::time::{Duration, SystemTime};

/// Latest instant that ISO 8601 writes with a four-digit year: 9999-12-31T23:59:59.999Z.
const LATEST_MS: u64 = 253_402_300_799_999;

/// The pattern of a written instant.
const PATTERN: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$";

/// An instant in ISO 8601, in UTC with milliseconds, set by the server.
// In memory: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String", extend("format" = "date-time", "pattern" = PATTERN))]
pub struct Timestamp(u64);

impl Timestamp {
    /// The instant `ms` milliseconds after the epoch, at the latest the end of the year 9999.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(if ms > LATEST_MS { LATEST_MS } else { ms })
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// The instant `later` after this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self::from_ms(self.0.saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl From<SystemTime> for Timestamp {
    /// A clock set before 1970 reads as the epoch.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl std::str::FromStr for Timestamp {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        humantime::parse_rfc3339(text)
            .map(Self::from)
            .map_err(|_| Refused("be an instant like 2026-11-21T10:32:05.123Z"))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(self.0)).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_instant_is_written_in_utc_with_milliseconds() {
        assert_eq!(Timestamp::from_ms(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_ms(1_795_257_125_007).to_string(), "2026-11-21T10:32:05.007Z");
        assert_eq!(Timestamp::from_ms(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn text_order_is_time_order(a in 0..=LATEST_MS, b in 0..=LATEST_MS) {
            let (a, b) = (Timestamp::from_ms(a), Timestamp::from_ms(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn an_instant_comes_back_from_its_text(ms in 0..=LATEST_MS) {
            prop_assert_eq!(Timestamp::from_ms(ms).to_string().parse(), Ok(Timestamp::from_ms(ms)));
        }
    }
}
