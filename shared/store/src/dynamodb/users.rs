//! User states: one item each, changed by one conditional `UpdateItem`.

use super::agents::{AGENT, BINDING, EVIDENCE};
use super::cause::Cause;
use super::expression::{Condition, above, absent, at_most, exists, is};
use super::item::{Item, holds, integer, is_expired, seconds, user};
use super::keys::{self, BY_TOKEN, EPOCH, MAY_UNMUTE, MODERATED, PK, ROOM_ID, SEATED, WAITING};
use super::table::{Table, Write};
use crate::{Kind, Refusal, Shown, StoreError};
use aws_sdk_dynamodb::Client;
use domain::user::{Claim, DeviceClaim, LEASE, MuteClaim, MuteScope, Seq, User, Version};
use domain::verdict::Policy;
use domain::{LeaseId, Name, RoomId, Timestamp, UserId};
use std::time::Duration;

/// 404: there is no state of this user, or it has expired.
pub const USER_NOT_FOUND: Refusal = Refusal::new(Kind::NotFound, "user_not_found", "there is no state for this user");
/// 412: the stored version is not the one that the caller expected. The refusal shows the stored version.
pub const VERSION_CONFLICT: Refusal = Refusal::new(
    Kind::Changed,
    "version_conflict",
    "the state is not at the version in If-Match; read it and try again",
);

/// 401: the token was valid once; its participant has left or was removed, or the room has ended.
pub const TOKEN_INVALID: Refusal =
    Refusal::new(Kind::Unauthenticated, "token_invalid", "this token is not valid; join the room again");
/// 403: the participant waits in the lobby.
pub const NOT_ADMITTED: Refusal =
    Refusal::new(Kind::Forbidden, "not_admitted", "wait until a presenter admits you to the room");
/// 403: the room lets attendees unmute only with a presenter's permission.
pub const UNMUTE_NOT_ALLOWED: Refusal =
    Refusal::new(Kind::Forbidden, "unmute_not_allowed", "a presenter must allow you to unmute first");
/// 403: a participant's state stays in the room that they joined.
pub const ROOM_FIXED: Refusal =
    Refusal::new(Kind::Forbidden, "room_fixed", "a participant's state cannot change rooms; join the other room");

/// 403: the participant has lost the seat.
pub const NO_SEAT: Refusal = Refusal::new(
    Kind::Forbidden,
    "no_seat",
    "your seat was given to somebody else while you were silent; renew your presence to take another one",
);
/// 409: the room counts its participants, so they leave it and are not deleted.
pub const LEAVE_INSTEAD: Refusal = Refusal::new(
    Kind::Conflict,
    "leave_instead",
    "a participant leaves the room instead: POST /api/rooms/{room}/leave",
);

/// Attempts when the stored time is ahead of this machine's clock. The second attempt uses the stored time, so it fails
/// only if another writer with a faster clock came first.
const CLOCK_TRIES_MAX: usize = 5;
/// Attempts to create a state when an expired one is still stored.
const EXPIRED_TRIES_MAX: usize = 3;

/// The user states of the `state` table.
#[derive(Debug, Clone)]
pub struct Users {
    pub(super) table: Table,
    keep_for: Duration,
    pub(super) policy: Policy,
}

/// The preconditions of a change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guard {
    /// `If-Match`: the version the caller has seen.
    pub if_match: Option<Version>,
    /// The client's counter: a change that is not newer than the stored one changes nothing.
    pub seq: Option<Seq>,
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The state now stored.
    pub user: User,
    /// Whether this write created it.
    pub created: bool,
    /// Whether this write changed it; a write with an older counter does not.
    pub applied: bool,
}

/// A change of a claim.
#[derive(Clone)]
struct Claiming {
    write: Write,
    /// Whether it creates a missing state.
    creates: bool,
    /// The client counters that it sets. Mute and device have separate counters, so a device change never blocks a
    /// mute.
    counters: &'static [&'static str],
    /// The limits of a participant; none for anybody else.
    limits: Option<Limits>,
}

/// What a participant's claim must fit.
#[derive(Debug, Clone)]
struct Limits {
    /// Whether it says that the microphone is open.
    opens: bool,
    /// The room that it names.
    room: Option<RoomId>,
}

impl Limits {
    fn of(mute: Option<&MuteClaim>) -> Self {
        Self { opens: mute.is_some_and(|mute| !mute.is_muted), room: None }
    }

    /// The write, on condition that it fits.
    fn on(&self, write: Write, cause: &Cause) -> Write {
        let by_token = cause.epoch.map(|_| true);
        let mut write = write.own(cause).set_or_remove(BY_TOKEN, by_token).when(absent(WAITING));
        if self.opens {
            write = write.when(absent(MODERATED).or(exists(MAY_UNMUTE)));
        }
        match &self.room {
            Some(room) => write.when(is(ROOM_ID, room)),
            None => write,
        }
    }

    /// Refuses a write that does not fit this item.
    fn check(&self, old: &Item, cause: &Cause) -> Result<(), StoreError> {
        barred(old, cause)?;
        let is_there = |room: &RoomId| holds(old, ROOM_ID, room.as_str());
        if self.opens && old.contains_key(MODERATED) && !old.contains_key(MAY_UNMUTE) {
            return Err(UNMUTE_NOT_ALLOWED.into());
        }
        if self.room.as_ref().is_some_and(|room| !is_there(room)) {
            return Err(ROOM_FIXED.into());
        }
        Ok(())
    }
}

/// Refuses a token that came with a request and is not valid for this item.
///
/// # Errors
/// [`TOKEN_INVALID`]
pub(super) fn outdated(item: &Item, cause: &Cause) -> Result<(), StoreError> {
    let Some(epoch) = cause.epoch else { return Ok(()) };
    let is_current = item.contains_key(EPOCH) && integer(item, EPOCH)? == epoch;
    if is_current { Ok(()) } else { Err(TOKEN_INVALID.into()) }
}

/// Refuses a participant whose token is not valid for their item, or who waits in the lobby.
///
/// # Errors
/// [`TOKEN_INVALID`], [`NOT_ADMITTED`].
pub(super) fn barred(item: &Item, cause: &Cause) -> Result<(), StoreError> {
    outdated(item, cause)?;
    if item.contains_key(WAITING) { Err(NOT_ADMITTED.into()) } else { Ok(()) }
}

/// Why there is no state: a participant whose token came has had one.
pub(super) fn missing(cause: &Cause) -> Refusal {
    if cause.epoch.is_some() { TOKEN_INVALID } else { USER_NOT_FOUND }
}

impl Users {
    /// User states in `table`, each kept for `keep_for` after its last change; `policy` gives their verdicts.
    #[must_use]
    pub fn new(client: Client, table: String, keep_for: Duration, policy: Policy) -> Self {
        Self { table: Table::new(client, table), keep_for, policy }
    }

    /// Replaces a user's whole claim, or creates the state if it does not exist. Counters start again.
    ///
    /// # Errors
    /// [`VERSION_CONFLICT`] if `guard.if_match` is not the stored version.
    pub async fn set_state(
        &self,
        id: &UserId,
        claim: Claim,
        guard: Guard,
        cause: &Cause,
    ) -> Result<Written, StoreError> {
        let write = muting(Write::update(keys::user(id)), &claim.mute)
            .set_or_remove("deviceId", claim.device_id.map(String::from))
            .set_or_remove("deviceLabel", claim.device_label.map(String::from));
        if id.is_participant() {
            let limits = Limits { room: claim.room_id, ..Limits::of(Some(&claim.mute)) };
            return self.set_state_in_room(write, claim.name, limits, guard, cause).await;
        }
        let write = write
            // An item without a room is not in the index.
            .set_or_remove(ROOM_ID, claim.room_id.as_ref())
            .set_or_remove("name", claim.name.map(String::from))
            .remove(&["muteSeq", "deviceSeq", "leaseOtherUntil"])
            // A claim without a lease ends an existing lease, because its client will not renew any.
            .set_or_remove("leaseUntil", claim.lease.as_ref().map(|_| cause.at.plus(LEASE)))
            .set_or_remove("leaseId", claim.lease.map(String::from));
        let claiming = Claiming { write, creates: true, counters: &["muteSeq", "deviceSeq"], limits: None };
        for _ in 0..EXPIRED_TRIES_MAX {
            match self.claim(claiming.clone(), guard, cause).await {
                // The stored state has expired: remove it together with its agent.
                Err(error) if error.is(USER_NOT_FOUND) => self.remove_expired(id, cause.at).await?,
                outcome => return outcome,
            }
        }
        Err(StoreError::Unavailable("others kept creating and removing this state".into()))
    }

    /// Replaces a participant's claims of mute and device. Joining has created the state, and the room, the lease and the
    /// name stay unless the claim has another name.
    async fn set_state_in_room(
        &self,
        mut write: Write,
        name: Option<Name>,
        limits: Limits,
        guard: Guard,
        cause: &Cause,
    ) -> Result<Written, StoreError> {
        write = write.remove(&["muteSeq", "deviceSeq"]);
        if let Some(name) = name {
            write = write.set("name", String::from(name));
        }
        let counters = &["muteSeq", "deviceSeq"];
        self.claim(Claiming { write, creates: false, counters, limits: Some(limits) }, guard, cause).await
    }

    /// Removes an expired state. Does nothing if there is none, or if it was renewed.
    async fn remove_expired(&self, id: &UserId, now: Timestamp) -> Result<(), StoreError> {
        let lapsed = absent(PK).or(at_most("expiresAt", seconds(now)));
        self.table.write(Write::delete(keys::user(id)).when(lapsed)).await.map(drop)
    }

    /// Changes a user's mute claim, and nothing else.
    ///
    /// # Errors
    /// [`USER_NOT_FOUND`]; [`VERSION_CONFLICT`] if `guard.if_match` is not the stored version.
    pub async fn set_mute(
        &self,
        id: &UserId,
        claim: MuteClaim,
        guard: Guard,
        cause: &Cause,
    ) -> Result<Written, StoreError> {
        let write = muting(Write::update(keys::user(id)), &claim);
        let limits = id.is_participant().then(|| Limits::of(Some(&claim)));
        self.claim(Claiming { write, creates: false, counters: &["muteSeq"], limits }, guard, cause).await
    }

    /// Changes a user's device claim, and nothing else.
    ///
    /// # Errors
    /// [`USER_NOT_FOUND`]; [`VERSION_CONFLICT`] if `guard.if_match` is not the stored version.
    pub async fn set_device(
        &self,
        id: &UserId,
        claim: DeviceClaim,
        guard: Guard,
        cause: &Cause,
    ) -> Result<Written, StoreError> {
        let write = Write::update(keys::user(id))
            .set_or_remove("deviceId", claim.device_id.map(String::from))
            .set_or_remove("deviceLabel", claim.device_label.map(String::from));
        let limits = id.is_participant().then(|| Limits::of(None));
        self.claim(Claiming { write, creates: false, counters: &["deviceSeq"], limits }, guard, cause).await
    }

    /// Makes a change by one conditional `UpdateItem`. The item in a refusal tells which condition failed.
    async fn claim(&self, claiming: Claiming, guard: Guard, cause: &Cause) -> Result<Written, StoreError> {
        let Claiming { mut write, creates, counters, limits } = claiming;
        write = match &limits {
            Some(limits) => limits.on(write, cause),
            None => write.by(cause),
        };
        write = write.count("version");
        if let Some(seq) = guard.seq {
            write = counters.iter().fold(write, |write, counter| write.newer(counter, seq.get()));
        }
        if let Some(version) = guard.if_match {
            write = write.when(is("version", version));
        }
        let mut now = cause.at;
        for _ in 0..CLOCK_TRIES_MAX {
            let held = at_most("lastUpdated", now).and(unexpired(cause.at));
            let mut dated = write.clone().set("lastUpdated", now);
            // A participant's state lives as long as their token.
            if limits.is_none() {
                dated = dated.set("expiresAt", seconds(now.plus(self.keep_for)));
            }
            let dated =
                if creates { dated.set_once("createdAt", now).when(absent(PK).or(held)) } else { dated.when(held) };
            let old = match self.table.change(dated).await? {
                Ok(item) => {
                    let user = user(item, self.policy, now)?;
                    return Ok(Written { created: user.version == 1, user, applied: true });
                }
                Err(old) => old,
            };
            if old.is_empty() {
                // A change that creates fails here only because of `If-Match`. Any other change has no version to
                // compare with (RFC 9110, 13.2.1).
                return Err(if creates { conflict(None) } else { missing(cause).into() });
            }
            if is_expired(&old, cause.at)? {
                return Err(missing(cause).into());
            }
            if let Some(limits) = &limits {
                limits.check(&old, cause)?;
            }
            // A repeated request has itself increased the version, so its counter is checked first.
            if let Some(seq) = guard.seq {
                for counter in counters {
                    if old.contains_key(*counter) && integer(&old, counter)? >= seq.get() {
                        return Ok(Written { user: user(old, self.policy, now)?, created: false, applied: false });
                    }
                }
            }
            let user = user(old, self.policy, now)?;
            if guard.if_match.is_some_and(|expected| expected != user.version) {
                return Err(conflict(Some(user.version)));
            }
            // The stored time is ahead of this clock: keep the stored time until the clock has caught up.
            now = now.max(user.last_updated);
        }
        Err(StoreError::Unavailable("writers with clocks ahead of this one kept coming first".into()))
    }

    /// Keeps a person present in a room for another [`LEASE`] and returns the lease's end. If two page loads renew, the
    /// last one holds the lease, and the end of the other lease is stored beside it.
    ///
    /// # Errors
    /// [`USER_NOT_FOUND`] if they have no state in this room; [`TOKEN_INVALID`]; [`NO_SEAT`] if a participant has lost
    /// the seat in the room, which [`Rooms::come_back`](super::Rooms::come_back) takes again.
    pub async fn renew_presence(
        &self,
        id: &UserId,
        room: &RoomId,
        lease: LeaseId,
        cause: &Cause,
    ) -> Result<Timestamp, StoreError> {
        let now = cause.at;
        let until = now.plus(LEASE);
        let lease = String::from(lease);
        let mut renewal = Write::update(keys::user(id))
            .set("leaseId", &lease)
            .set("leaseUntil", until)
            .when(is(ROOM_ID, room).and(unexpired(now)))
            .current(cause);
        renewal = if id.is_participant() {
            renewal.when(exists(SEATED).or(exists(WAITING)))
        } else {
            renewal.set("expiresAt", seconds(now.plus(self.keep_for)))
        };
        let is_free = absent("leaseId").or(is("leaseId", &lease)).or(at_most("leaseUntil", now));
        if self.table.write(renewal.clone().when(is_free)).await?.is_ok() {
            return Ok(until);
        }
        // Another page load of the same person holds the lease, or the person is not in the room.
        let beside = renewal.copy("leaseOtherUntil", "leaseUntil").when(exists("leaseUntil"));
        let Err(old) = self.table.write(beside).await? else { return Ok(until) };
        if old.is_empty() || is_expired(&old, now)? {
            return Err(missing(cause).into());
        }
        outdated(&old, cause)?;
        let is_here = holds(&old, ROOM_ID, room.as_str());
        Err(if is_here && id.is_participant() { NO_SEAT } else { USER_NOT_FOUND }.into())
    }

    /// Ends a person's presence in a room and detaches their agent. The state stays, so that the person can come back.
    /// Returns whether the presence ended: the end of one page load does not end the presence of another.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn leave(&self, id: &UserId, room: &RoomId, lease: LeaseId, cause: &Cause) -> Result<bool, StoreError> {
        let held = Write::update(keys::user(id))
            .when(is(ROOM_ID, room).and(is("leaseId", String::from(lease))).and(unexpired(cause.at)));
        let end = held
            .clone()
            .own(cause)
            .set("leaseUntil", cause.at)
            .remove(&["leaseOtherUntil"])
            .remove(AGENT)
            .remove(EVIDENCE)
            .remove(BINDING)
            .when(absent("leaseOtherUntil").or(at_most("leaseOtherUntil", cause.at)));
        match self.table.write(end).await? {
            Ok(()) => Ok(true),
            Err(old) if old.contains_key("leaseOtherUntil") => {
                let other = held
                    .copy("leaseUntil", "leaseOtherUntil")
                    .remove(&["leaseOtherUntil", "leaseId"])
                    .when(exists("leaseOtherUntil"));
                self.table.write(other).await.map(|_| false)
            }
            Err(old) => outdated(&old, cause).map(|()| false),
        }
    }

    /// Reads one user's state.
    ///
    /// # Errors
    /// [`USER_NOT_FOUND`]
    pub async fn get(&self, id: &UserId, now: Timestamp) -> Result<User, StoreError> {
        let item = self.table.get(keys::user(id)).await?.ok_or(USER_NOT_FOUND)?;
        if is_expired(&item, now)? { Err(USER_NOT_FOUND.into()) } else { user(item, self.policy, now) }
    }

    /// Removes one user's state.
    ///
    /// # Errors
    /// [`USER_NOT_FOUND`]; [`VERSION_CONFLICT`] if `if_match` is not the stored version.
    pub async fn delete(&self, id: &UserId, if_match: Option<Version>, now: Timestamp) -> Result<(), StoreError> {
        if id.is_participant() {
            return Err(LEAVE_INSTEAD.into());
        }
        let mut removal = Write::delete(keys::user(id)).when(unexpired(now));
        if let Some(version) = if_match {
            removal = removal.when(is("version", version));
        }
        match self.table.write(removal).await? {
            Ok(()) => Ok(()),
            Err(old) if old.is_empty() || is_expired(&old, now)? => Err(USER_NOT_FOUND.into()),
            Err(old) => Err(conflict(Some(integer(&old, "version")?))),
        }
    }

    /// Reads an item that never exists, as a health check.
    ///
    /// # Errors
    /// A failure of the table.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.table.get(keys::nothing()).await.map(drop)
    }
}

/// The usual scope is stored as no attribute, which costs nothing to read.
fn muting(write: Write, claim: &MuteClaim) -> Write {
    let scope = Some(claim.mute_scope).filter(|scope| *scope != MuteScope::App);
    write.set("isMuted", claim.is_muted).set_or_remove("muteScope", scope.map(MuteScope::as_str))
}

fn conflict(current: Option<Version>) -> StoreError {
    StoreError::Refused(VERSION_CONFLICT, Shown::Version(current))
}

/// The item has not expired.
pub(super) fn unexpired(now: Timestamp) -> Condition {
    above("expiresAt", seconds(now))
}
