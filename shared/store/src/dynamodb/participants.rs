//! The people of rooms that somebody created: who acts, who is there, and how they leave.

use super::agents::{AGENT, BINDING, EVIDENCE};
use super::cause::Cause;
use super::expression::{absent, exists, is};
use super::failed;
use super::item::{Item, holds, integer, is_expired, seconds, user, user_id_of};
use super::keys::{
    self, EPOCH, MAY_UNMUTE, MODERATED, PK, REFUSED_REQUEST, ROLE, ROOM_ID, ROOM_INDEX, SEATED, WAITING,
};
use super::lists::{leased, within};
use super::rooms::{Rooms, SEAT_TRIES_MAX, Seated, StoredRoom, left, presenters, room, room_id_of};
use super::table::Write;
use super::users::{NO_SEAT, NOT_ADMITTED, missing, outdated, unexpired};
use crate::{Kind, Refusal, StoreError};
use domain::room::Role;
use domain::user::{LEASE, User};
use domain::{LeaseId, MuteRequestId, Name, RoomId, RoomToken, Timestamp, UserId};

/// 404: this person is not in the room.
pub const NOT_IN_ROOM: Refusal =
    Refusal::new(Kind::NotFound, "participant_not_found", "there is no such participant in this room");

/// 403: only presenters may do this.
pub const PRESENTER_ONLY: Refusal =
    Refusal::new(Kind::Forbidden, "presenter_only", "only a presenter of this room may do this");

/// 409: a room needs a presenter.
pub const LAST_PRESENTER: Refusal =
    Refusal::new(Kind::Conflict, "last_presenter", "make somebody else a presenter first, or end the room");

/// 409: only somebody who is in the room can become a presenter.
pub const NOT_SEATED: Refusal = Refusal::new(
    Kind::Conflict,
    "not_seated",
    "this person waits in the lobby or has lost the seat; let them in first",
);

/// A participant who acts in a room.
#[derive(Debug)]
pub struct Member {
    /// The room.
    pub stored: StoredRoom,
    /// The person.
    pub user: User,
    /// Their place.
    pub seat: Seat,
}

/// A participant's place in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// In the lobby.
    Waiting,
    /// In the room.
    Taken,
    /// Given away while the person was silent.
    Lost,
}

impl Member {
    /// What the person may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.user.participant.map_or(Role::Attendee, |participant| participant.role)
    }

    /// Refuses anybody but a presenter.
    ///
    /// # Errors
    /// [`NOT_ADMITTED`], [`PRESENTER_ONLY`].
    pub fn presenter(self) -> Result<Self, StoreError> {
        let member = self.admitted()?;
        if member.role() == Role::Presenter { Ok(member) } else { Err(PRESENTER_ONLY.into()) }
    }

    /// Refuses a person who waits in the lobby, or whose seat was given away: the room would not show who reads there.
    ///
    /// # Errors
    /// [`NOT_ADMITTED`], [`NO_SEAT`](super::NO_SEAT).
    pub fn admitted(self) -> Result<Self, StoreError> {
        self.seat.admitted()?;
        Ok(self)
    }
}

impl Seat {
    /// Refuses every place outside the room.
    fn admitted(self) -> Result<(), StoreError> {
        match self {
            Self::Taken => Ok(()),
            Self::Waiting => Err(NOT_ADMITTED.into()),
            Self::Lost => Err(NO_SEAT.into()),
        }
    }
}

/// The people of a room, whatever they do.
#[derive(Debug, Default)]
pub struct People {
    /// Everybody who is present, in the order in which they joined.
    pub present: Vec<User>,
    /// Everybody who waits in the lobby, in the same order.
    pub waiting: Vec<User>,
}

impl People {
    /// The people, with this one as they were read from the table itself. The index follows a write within moments, and
    /// whoever looks at a room must see what they have just done there: that they joined, or raised a hand.
    #[must_use]
    pub fn with(mut self, person: User, now: Timestamp) -> Self {
        self.present.retain(|other| other.user_id != person.user_id);
        self.waiting.retain(|other| other.user_id != person.user_id);
        if person.is_present(now) {
            let place = self.present.partition_point(|other| other.user_id < person.user_id);
            self.present.insert(place, person);
        }
        self
    }
}

/// A change of a participant. Members that are `None` stay as they are.
#[derive(Debug, Default)]
pub struct PersonChange {
    /// The name.
    pub name: Option<Name>,
    /// Whether they say that their camera is on.
    pub is_video_on: Option<bool>,
    /// Whether they raise their hand.
    pub hand_raised: Option<bool>,
    /// Whether a presenter lets them unmute.
    pub may_unmute: Option<bool>,
    /// What they may do.
    pub role: Option<Role>,
    /// The request to mute that they refuse.
    pub refused_request: Option<MuteRequestId>,
    /// Whether the room lets attendees unmute only with permission.
    pub is_moderated: bool,
}

impl Rooms {
    /// The participant who acts in a room, and the room, both read consistently in one call.
    ///
    /// # Errors
    /// [`ROOM_NOT_FOUND`](super::ROOM_NOT_FOUND); [`ROOM_ENDED`](super::ROOM_ENDED);
    /// [`TOKEN_INVALID`](super::TOKEN_INVALID) or, if no token came, [`NOT_IN_ROOM`].
    pub async fn member(&self, id: &RoomId, person: &UserId, cause: &Cause) -> Result<Member, StoreError> {
        let items = self.table.get_all_now(vec![keys::room(id), keys::user(person)]).await?;
        self.member_of(items, id, cause)
    }

    /// The participant who polls a room, and the room, in one call at half the price of [`Rooms::member`]: eventually
    /// consistent. Nobody is refused for a replica that lags: before a refusal, both are read consistently.
    ///
    /// # Errors
    /// As [`Rooms::member`], and [`NOT_ADMITTED`].
    pub async fn polls(&self, id: &RoomId, person: &UserId, cause: &Cause) -> Result<Member, StoreError> {
        let items = self.table.get_all(vec![keys::room(id), keys::user(person)]).await?;
        match self.member_of(items, id, cause).and_then(Member::admitted) {
            Err(StoreError::Refused(..)) => self.member(id, person, cause).await?.admitted(),
            outcome => outcome,
        }
    }

    /// The participant and the room in these items.
    fn member_of(&self, items: Vec<Item>, id: &RoomId, cause: &Cause) -> Result<Member, StoreError> {
        let now = cause.at;
        let (mut stored, mut found) = (None, None);
        for item in items {
            match room_id_of(&item) {
                Ok(_) => stored = Some(room(id, item, now)?),
                Err(_) => found = Some(item),
            }
        }
        let stored = stored.ok_or(super::ROOM_NOT_FOUND)?.active()?;
        let unknown = if cause.epoch.is_some() { super::TOKEN_INVALID } else { NOT_IN_ROOM };
        let item = found.ok_or(unknown)?;
        if is_expired(&item, now)? || !is_in(&item, id) {
            return Err(unknown.into());
        }
        outdated(&item, cause)?;
        let seat = seat(&item);
        Ok(Member { stored, user: user(item, self.policy, now)?, seat })
    }

    /// Looks whether the participant of a token is in the room; eventually consistent. Nobody is refused for a replica
    /// that lags: before a refusal, it looks consistently.
    ///
    /// # Errors
    /// [`TOKEN_INVALID`](super::TOKEN_INVALID), [`NOT_ADMITTED`].
    pub async fn look(&self, token: &RoomToken, now: Timestamp) -> Result<(), StoreError> {
        match valid(&token.room, token.epoch, self.table.get(keys::user(&token.participant)).await?, now) {
            Err(StoreError::Refused(..)) => self.look_now(token, now).await,
            outcome => outcome,
        }
    }

    /// Looks consistently whether the participant of a token is in the room, for a write that touches other items.
    ///
    /// # Errors
    /// [`TOKEN_INVALID`](super::TOKEN_INVALID), [`NOT_ADMITTED`].
    pub async fn look_now(&self, token: &RoomToken, now: Timestamp) -> Result<(), StoreError> {
        valid(&token.room, token.epoch, self.table.get_now(keys::user(&token.participant)).await?, now)
    }

    /// The people of a room. The index is eventually consistent, so somebody who has just joined may be missing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn people(&self, id: &RoomId, now: Timestamp) -> Result<People, StoreError> {
        let mut people = People::default();
        let request = self.table.query(within(id), Some(leased(now))).index_name(ROOM_INDEX);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            for item in page.map_err(failed)?.items.unwrap_or_default() {
                let to = if item.contains_key(WAITING) { &mut people.waiting } else { &mut people.present };
                to.push(user(item, self.policy, now)?);
            }
        }
        Ok(people)
    }

    /// Renews the presence of a participant who has lost the seat while they were silent: they take one again.
    ///
    /// # Errors
    /// As [`Rooms::member`], and [`ROOM_FULL`](super::ROOM_FULL).
    pub async fn come_back(
        &self,
        id: &RoomId,
        person: &UserId,
        lease: LeaseId,
        cause: &Cause,
    ) -> Result<Timestamp, StoreError> {
        let (now, lease) = (cause.at, String::from(lease));
        let until = now.plus(LEASE);
        for _ in 0..SEAT_TRIES_MAX {
            let mut member = self.member(id, person, cause).await?;
            let back = Write::update(keys::user(person))
                .set("leaseId", &lease)
                .set("leaseUntil", until)
                .when(is(ROOM_ID, id).and(unexpired(now)))
                .current(cause);
            if member.seat != Seat::Lost {
                // Another request of the same person came first.
                if self.table.write(back).await?.is_ok() {
                    return Ok(until);
                }
                continue;
            }
            let back = back.set(SEATED, true).when(absent(SEATED));
            if matches!(self.take_seat(&mut member.stored, vec![back], false, now).await?, Seated::Yes) {
                return Ok(until);
            }
        }
        Err(StoreError::Unavailable("others kept joining and leaving this room".into()))
    }

    /// Takes a participant out of a room for good: their token ends, their agent is detached, and their name is
    /// forgotten. Repeating the call changes nothing.
    ///
    /// # Errors
    /// [`NOT_IN_ROOM`]; with a token of the same person, [`TOKEN_INVALID`](super::TOKEN_INVALID).
    pub async fn take_out(&self, id: &RoomId, person: &UserId, cause: &Cause) -> Result<(), StoreError> {
        for _ in 0..SEAT_TRIES_MAX {
            let item = self.table.get_now(keys::user(person)).await?;
            let item = item.filter(|item| is_in(item, id)).ok_or_else(|| gone(cause, person))?;
            if is_expired(&item, cause.at)? {
                return Err(gone(cause, person).into());
            }
            if is_own(cause, person) {
                outdated(&item, cause)?;
            }
            let epoch = integer(&item, EPOCH)?;
            let is_seated = seat(&item) == Seat::Taken;
            let was_presenter = holds(&item, ROLE, Role::Presenter.as_str());
            let role = if was_presenter { Role::Presenter } else { Role::Attendee };
            let out = Write::update(keys::user(person))
                .by(cause)
                .set(EPOCH, epoch + 1)
                .set("expiresAt", seconds(cause.at))
                .remove(&[ROOM_ID, SEATED, WAITING, MODERATED, MAY_UNMUTE, "name", "handRaised", "isVideoOn"])
                .remove(&["leaseId", "leaseUntil", "leaseOtherUntil", "deviceId", "deviceLabel"])
                .remove(&["pairingAgent", "pairingCode", "pairingUntil", "pairingWitness"])
                .remove(AGENT)
                .remove(EVIDENCE)
                .remove(BINDING)
                .when(is(EPOCH, epoch).and(is(ROOM_ID, id)))
                .when(if is_seated { exists(SEATED) } else { absent(SEATED) })
                // Otherwise the room would count a presenter too many or too few.
                .when(is(ROLE, role.as_str()));
            let mut writes = vec![out];
            if is_seated || was_presenter {
                let room = if is_seated { left(id) } else { Write::update(keys::room(id)) };
                writes.push(if was_presenter { presenters(room, Role::Attendee) } else { room });
            }
            let Err(old) = self.table.try_transact(writes).await? else { return Ok(()) };
            if was_presenter && matches!(old.as_slice(), [None, Some(_)]) {
                return Err(LAST_PRESENTER.into());
            }
        }
        Err(StoreError::Unavailable("others kept changing this participant".into()))
    }

    /// Lets somebody who waits in the lobby into the room. Repeating the call changes nothing.
    ///
    /// # Errors
    /// [`NOT_IN_ROOM`], [`ROOM_FULL`](super::ROOM_FULL), [`ROOM_ENDED`](super::ROOM_ENDED).
    pub async fn admit(&self, id: &RoomId, person: &UserId, cause: &Cause) -> Result<(), StoreError> {
        for _ in 0..SEAT_TRIES_MAX {
            let unsigned = Cause { epoch: None, ..cause.clone() };
            let mut member = self.member(id, person, &unsigned).await?;
            if member.seat != Seat::Waiting {
                return Ok(());
            }
            let admitted = Write::update(keys::user(person))
                .by(cause)
                .remove(&[WAITING])
                .set(SEATED, true)
                .when(exists(WAITING).and(is(ROOM_ID, id)));
            if matches!(self.take_seat(&mut member.stored, vec![admitted], true, cause.at).await?, Seated::Yes) {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("others kept joining and leaving this room".into()))
    }

    /// Stores with each attendee whether they need permission to unmute.
    ///
    /// # Errors
    /// See [`StoreError`]. Repeating the call completes an interrupted one.
    pub async fn moderate(&self, id: &RoomId, is_moderated: bool, cause: &Cause) -> Result<(), StoreError> {
        let request = self.table.query(within(id), Some(is(ROLE, Role::Attendee.as_str()))).index_name(ROOM_INDEX);
        let mut pages = request.projection_expression(PK).into_paginator().send();
        while let Some(page) = pages.next().await {
            for item in page.map_err(failed)?.items.unwrap_or_default() {
                let write = Write::update(keys::user(&user_id_of(&item)?))
                    .by(cause)
                    .set_or_remove(MODERATED, is_moderated.then_some(true))
                    .when(is(ROOM_ID, id).and(is(ROLE, Role::Attendee.as_str())));
                // A refusal means that the person has left, or is a presenter now.
                let _ = self.table.write(write).await?;
            }
        }
        Ok(())
    }

    /// Changes a participant of a room. Claims and versions stay as they are.
    ///
    /// # Errors
    /// [`NOT_IN_ROOM`], [`NOT_SEATED`]; with a token of the same person, [`TOKEN_INVALID`](super::TOKEN_INVALID).
    pub async fn change_person(
        &self,
        id: &RoomId,
        person: &UserId,
        change: &PersonChange,
        cause: &Cause,
    ) -> Result<User, StoreError> {
        let flag = |value: bool| value.then_some(true);
        let mut write = Write::update(keys::user(person)).when(is(ROOM_ID, id).and(unexpired(cause.at)));
        write = if is_own(cause, person) { write.own(cause) } else { write.by(cause) };
        if let Some(name) = &change.name {
            write = write.set("name", name.as_str());
        }
        if let Some(on) = change.is_video_on {
            write = write.set_or_remove("isVideoOn", flag(on));
        }
        if let Some(raised) = change.hand_raised {
            write = write.set_or_remove("handRaised", flag(raised));
        }
        if let Some(request) = &change.refused_request {
            write = write.set(REFUSED_REQUEST, request);
        }
        if let Some(may) = change.may_unmute {
            write = write.set_or_remove(MAY_UNMUTE, flag(may));
        }
        if let Some(role) = change.role
            && self.change_role(id, person, role, change.is_moderated, &write).await?
        {
            // Everything was changed with the role.
            let item = self.table.get_now(keys::user(person)).await?.filter(|item| is_in(item, id));
            return user(item.ok_or_else(|| gone(cause, person))?, self.policy, cause.at);
        }
        match self.table.change(write).await? {
            Ok(item) => user(item, self.policy, cause.at),
            Err(old) if is_own(cause, person) && !old.is_empty() => {
                outdated(&old, cause)?;
                Err(NOT_IN_ROOM.into())
            }
            Err(_) => Err(gone(cause, person).into()),
        }
    }
}

impl Rooms {
    /// Makes somebody a presenter, or none any more, together with the other changes of the person in `write`. False, and
    /// nothing is written, if they are so already. Only who is in the room becomes a presenter: one in the lobby could let
    /// nobody in, themselves included.
    async fn change_role(
        &self,
        id: &RoomId,
        person: &UserId,
        role: Role,
        is_moderated: bool,
        write: &Write,
    ) -> Result<bool, StoreError> {
        for _ in 0..SEAT_TRIES_MAX {
            let item =
                self.table.get_now(keys::user(person)).await?.filter(|item| is_in(item, id)).ok_or(NOT_IN_ROOM)?;
            if holds(&item, ROLE, role.as_str()) {
                return Ok(false);
            }
            if role == Role::Presenter && seat(&item) != Seat::Taken {
                return Err(NOT_SEATED.into());
            }
            let before = if role == Role::Presenter { Role::Attendee } else { Role::Presenter };
            let allowed = is(ROLE, before.as_str()).and(is(ROOM_ID, id));
            let allowed = if role == Role::Presenter { allowed.and(exists(SEATED)) } else { allowed };
            let moderated = (is_moderated && role == Role::Attendee).then_some(true);
            let changed = write.clone().set(ROLE, role.as_str()).set_or_remove(MODERATED, moderated).when(allowed);
            let counted = presenters(Write::update(keys::room(id)), role);
            match self.table.try_transact(vec![changed, counted]).await? {
                Ok(()) => return Ok(true),
                Err(old) if matches!(old.as_slice(), [None, Some(_)]) => return Err(LAST_PRESENTER.into()),
                Err(_) => {}
            }
        }
        Err(StoreError::Unavailable("others kept changing this participant".into()))
    }
}

/// Whether a token for this room, with this epoch, is valid for its participant's item.
pub(super) fn valid(room: &RoomId, epoch: u64, item: Option<Item>, now: Timestamp) -> Result<(), StoreError> {
    let item = item.ok_or(super::TOKEN_INVALID)?;
    if !is_in(&item, room) || is_expired(&item, now)? || integer(&item, EPOCH)? != epoch {
        return Err(super::TOKEN_INVALID.into());
    }
    seat(&item).admitted()
}

/// Whether the request came with this person's own token.
fn is_own(cause: &Cause, person: &UserId) -> bool {
    matches!(&cause.by, domain::Actor::Person(id) if id == person)
}

fn gone(cause: &Cause, person: &UserId) -> Refusal {
    if is_own(cause, person) { missing(cause) } else { NOT_IN_ROOM }
}

/// Whether a person's item names this room.
fn is_in(item: &Item, id: &RoomId) -> bool {
    holds(item, ROOM_ID, id.as_str())
}

fn seat(item: &Item) -> Seat {
    if item.contains_key(WAITING) {
        Seat::Waiting
    } else if item.contains_key(SEATED) {
        Seat::Taken
    } else {
        Seat::Lost
    }
}
