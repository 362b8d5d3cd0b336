//! Limits on calls: one bucket for each class and subject, kept by conditional writes.
//!
//! A bucket's only state is `fullAt`, the time at which it will be full again; [`Limit::draw`] has the rules. A call
//! reads nothing first. Its write assumes a full bucket, which is the usual case. If that fails, it brings the bucket
//! back, and a second write takes a token of what is left; both name in their condition what they assume, so any number
//! of concurrent calls share a bucket exactly. A refused call needs no second write.
//!
//! Each write that is retried after a lost answer may take a token more. That costs one caller one call, at worst.

use super::expression::{above, absent, at_most, exists};
use super::item::{Item, binary, bytes, integer, seconds};
use super::keys::{self, PK};
use super::table::{Table, Write};
use crate::{StoreError, random};
use aws_sdk_dynamodb::Client;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::{Draw, Limit, RoomId, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Tries to take a token while other calls change the bucket between two writes.
const TRIES_MAX: usize = 8;
/// How long an item stays in the table after its use: the table's time-to-live counts whole seconds.
const KEPT_BEYOND_USE: Duration = Duration::from_secs(1);
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Days after whose begin a day's secret is removed.
const SECRET_DAYS: u64 = 2;
/// Secrets that a process remembers: today's and yesterday's.
const SECRETS_MAX: usize = 2;
/// Bytes of an HMAC that stand for an address: 128 bits, far beyond chance collisions.
const ADDRESS_BYTES: usize = 16;

/// Whom a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// A caller whom a token names, such as `p:<participantId>`. Its prefix must be none of ours: `a:` and `nobody`.
    #[must_use]
    pub fn caller(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// This subject in one room alone.
    #[must_use]
    pub fn within(&self, room: &RoomId) -> Self {
        Self(format!("{room}#{}", self.0))
    }

    /// The text that names it in a key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The secrets that a process knows, by their days, the last fetched first.
type Secrets = Vec<(u64, [u8; 32])>;

/// The buckets of the `state` table.
#[derive(Clone)]
pub struct Limits {
    table: Table,
    secrets: Arc<Mutex<Secrets>>,
}

impl fmt::Debug for Limits {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Limits {
    /// Buckets in `table`.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { table: Table::new(client, table), secrets: Arc::default() }
    }

    /// Takes a token of a bucket. The inner error is the time after which there is one again, in whole seconds, at
    /// least one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Internal`] or [`StoreError::Corrupt`].
    pub async fn spend(
        &self,
        limit: Limit,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Result<(), Duration>, StoreError> {
        let mut known = None;
        for _ in 0..TRIES_MAX {
            let (write, wait) = match limit.draw(known, now) {
                Draw::First => (first(limit, subject, now), None),
                Draw::Next => (next(limit, subject, now), None),
                Draw::Wait(wait) => return Ok(Err(whole_seconds(wait))),
                Draw::Reset(wait) => (reset(limit, subject, now), Some(wait)),
            };
            match self.table.write(write).await? {
                Ok(()) => return Ok(wait.map_or(Ok(()), |wait| Err(whole_seconds(wait)))),
                Err(bucket) => known = full_at(&bucket)?,
            }
        }
        Err(StoreError::Unavailable("others kept changing this bucket".into()))
    }

    /// Gives back a token that was spent in advance. A bucket that is full again keeps it as it is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Internal`].
    pub async fn give_back(&self, limit: Limit, subject: &Subject) -> Result<(), StoreError> {
        // A bucket that was full longer ago is as full as one that is full now, so the time needs no lower bound.
        let write = Write::update(keys::bucket(limit, subject.as_str())).add("fullAt", -step(limit));
        self.table.write(write.when(exists("fullAt"))).await.map(drop)
    }

    /// The subject of a caller who has shown nothing but an address: the same for all addresses of a network of IPv6
    /// (/64), another one each day, and from the table alone nobody learns the address. Without an address, all such
    /// callers are one subject.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Internal`] or [`StoreError::Corrupt`]: the day's secret is out of
    /// reach.
    pub async fn anonymous(&self, address: Option<IpAddr>, now: Timestamp) -> Result<Subject, StoreError> {
        let Some(address) = address else { return Ok(Subject("nobody".to_owned())) };
        let secret = self.secret(now.ms() / DAY_MS).await?;
        Ok(Subject(format!("a:{}", BASE64_URL_SAFE_NO_PAD.encode(digest(secret, address)?))))
    }

    /// The secret of a day. Whoever needs it first makes it, in the same write by which all others read it.
    async fn secret(&self, day: u64) -> Result<[u8; 32], StoreError> {
        let known = |secrets: &Secrets| secrets.iter().find(|(of, _)| *of == day).map(|(_, secret)| *secret);
        if let Some(secret) = known(&self.secrets.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(secret);
        }
        let fresh = random::<32>()?;
        let expires_at = seconds(Timestamp::from_ms((day + SECRET_DAYS) * DAY_MS));
        let write = Write::update(keys::secret(day)).set_once("secret", binary(&fresh));
        let item = self.table.change(write.set("expiresAt", expires_at)).await?;
        let secret = bytes(&item.unwrap_or_default(), "secret")?;
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if known(&secrets).is_none() {
            secrets.truncate(SECRETS_MAX - 1);
            secrets.insert(0, (day, secret));
        }
        Ok(secret)
    }
}

/// The first token of a full bucket.
fn first(limit: Limit, subject: &Subject, now: Timestamp) -> Write {
    kept(limit, subject, now).set("fullAt", now.plus(limit.step())).when(absent(PK).or(at_most("fullAt", now)))
}

/// A token of a bucket that is partly full.
fn next(limit: Limit, subject: &Subject, now: Timestamp) -> Write {
    let partly = above("fullAt", now).and(at_most("fullAt", limit.edge(now)));
    kept(limit, subject, now).add("fullAt", step(limit)).when(partly)
}

/// Makes a bucket empty whose time a wrong clock has written.
fn reset(limit: Limit, subject: &Subject, now: Timestamp) -> Write {
    kept(limit, subject, now).set("fullAt", now.plus(Limit::WINDOW)).when(above("fullAt", Limit::horizon(now)))
}

/// A write of a bucket, which then stays until it is full for certain.
fn kept(limit: Limit, subject: &Subject, now: Timestamp) -> Write {
    let until = Limit::horizon(now).plus(KEPT_BEYOND_USE);
    Write::update(keys::bucket(limit, subject.as_str())).set("expiresAt", seconds(until))
}

fn full_at(bucket: &Item) -> Result<Option<Timestamp>, StoreError> {
    if bucket.is_empty() {
        return Ok(None);
    }
    integer(bucket, "fullAt").map(|ms| Some(Timestamp::from_ms(ms)))
}

/// The step of a limit in milliseconds.
fn step(limit: Limit) -> i64 {
    i64::try_from(limit.step().as_millis()).unwrap_or(i64::MAX)
}

fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).div_ceil(1000).max(1) * 1000)
}

/// The digest of an address under a secret. An address of IPv4 counts whole, also if it is written as IPv6; of IPv6 the
/// network counts, because a client may have all addresses of it.
fn digest(secret: [u8; 32], address: IpAddr) -> Result<[u8; ADDRESS_BYTES], StoreError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).map_err(|error| StoreError::Internal(error.into()))?;
    match address.to_canonical() {
        IpAddr::V4(address) => mac.update(&address.octets()),
        IpAddr::V6(address) => mac.update(&address.octets()[..8]),
    }
    let whole = mac.finalize().into_bytes();
    let mut digest = [0; ADDRESS_BYTES];
    digest.copy_from_slice(&whole[..ADDRESS_BYTES]);
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let digest = |text: &str| digest([7; 32], text.parse().unwrap()).unwrap();
        digest(one) == digest(other)
    }

    #[test]
    fn an_address_of_ipv4_counts_whole_and_of_ipv6_its_network() {
        assert!(!same("203.0.113.7", "203.0.113.8"));
        assert!(same("203.0.113.7", "::ffff:203.0.113.7"));
        assert!(same("2001:db8::1", "2001:db8:0:0:ffff::2"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
    }

    #[test]
    fn a_digest_is_the_first_half_of_an_hmac() {
        // The definition itself (RFC 2104): H(K ^ opad, H(K ^ ipad, text)).
        use sha2::Digest as _;
        let pad = |byte: u8| [[7 ^ byte; 32].as_slice(), &[byte; 32]].concat();
        let inner = Sha256::digest([pad(0x36), vec![203, 0, 113, 7]].concat());
        let outer = Sha256::digest([pad(0x5c), inner.to_vec()].concat());
        assert_eq!(digest([7; 32], "203.0.113.7".parse().unwrap()).unwrap(), outer[..ADDRESS_BYTES]);
    }

    #[test]
    fn another_secret_gives_another_digest() {
        let address = "203.0.113.7".parse().unwrap();
        assert_ne!(digest([7; 32], address).unwrap(), digest([8; 32], address).unwrap());
    }

    #[test]
    fn a_wait_is_in_whole_seconds_and_never_none() {
        for (wait, told) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (90_000, 90)] {
            assert_eq!(whole_seconds(Duration::from_millis(wait)), Duration::from_secs(told), "{wait}");
        }
    }
}
