// What a room that somebody created adds for its people: roles, hands, permission to unmute, requests to mute, and what
// only a presenter can do.

import { describeUser } from '../identity.js';
import { describeProblem, fieldOf } from '../join.js';
import { newerRoom } from '../room.js';
import { createTimer } from '../time.js';

/** The interval at which a presenter's page asks who has refused a request to mute, and how often it asks at most. */
const ROUND_MS = 2000;
const ROUNDS_MAX = 30;

const nameOf = (state) => describeUser(state).name;
const problemOf = (where, error) => ({ where, text: describeProblem(error), field: fieldOf(error) });

/**
 * What has become of a request for one person now. The server says who has refused; the rest is read from the list of
 * people, where a verdict lapses: a measurement of a minute ago would look like one of now. `person` is `{isMuted,
 * value}`, with the value of the verdict at this moment, or null if they are not listed.
 */
export function outcomeNow(outcome, person) {
  if (person === null) return 'gone';
  if (person.isMuted) return person.value === 'verified' ? 'verified' : 'claimed';
  return outcome === 'refused' ? 'refused' : 'requested';
}

/**
 * How a person may leave: whether they are asked first, whether nobody else presents as far as the page knows, and
 * whether the server has just refused. `view` is the session's snapshot.
 */
export function departureOf({ meeting, others, loaded }) {
  return {
    mustAsk: meeting?.role === 'presenter',
    isLast: loaded && !others.some((state) => state.participant?.role === 'presenter'),
    isRefused: meeting?.problem?.where === 'leave',
  };
}

class Meeting {
  #options;
  #timer;
  #view;
  /** When the last request to mute that this page has seen was made, in ms. Undefined until the room has been read once. */
  #seenAt;
  #raised = null;
  #waited = null;
  #isEnded = false;

  constructor(options) {
    this.#options = options;
    this.#timer = createTimer(options.timers);
    this.#view = {
      room: options.room, role: options.role, mayUnmute: false, isHandUp: false, waiting: [], warning: null,
      request: null, round: null, busy: null, problem: null, isSeated: true,
    };
  }

  view() { return this.#view; }

  isPresenter() { return this.#view.role === 'presenter'; }

  /** Whether this person may claim an open microphone. */
  mayOpen() {
    return this.isPresenter() || !this.#view.room.settings.moderatedUnmute || this.#view.mayUnmute;
  }

  /** Whether the person has a seat: while their page was silent, it may have been given away. */
  seat(isSeated) {
    if (isSeated === this.#view.isSeated) return;
    this.#set({ isSeated });
    this.#options.announce(isSeated ? 'You are back in the room.' : 'Your place was given away, and the room is full.');
  }

  stop() {
    this.#isEnded = true;
    this.#timer.clear();
  }

  #set(change) {
    if (this.#isEnded) return;
    this.#view = { ...this.#view, ...change };
    this.#options.onChange();
  }

  /** Takes an answer of the room: itself, its people, and who waits. */
  see({ room, items, waiting, warning }) {
    const { participantId } = this.#options;
    const own = items.find((state) => state.userId === participantId)?.participant;
    const before = { mayOpen: this.mayOpen(), role: this.#view.role };
    this.#view = {
      ...this.#view, room: newerRoom(this.#view.room, room), waiting, warning,
      ...(own ? { role: own.role, mayUnmute: own.mayUnmute, isHandUp: own.handRaised } : {}),
    };
    if (own) this.#comparePermission(before);
    this.#seeRequest(room.muteRequest ?? null);
    this.#announceHands(items);
    this.#announceWaiting(waiting);
  }

  #comparePermission({ mayOpen, role }) {
    const { announce, isMuted, mute } = this.#options;
    if (role !== this.#view.role) announce(this.isPresenter() ? 'You are a presenter now.' : 'You are not a presenter any more.');
    // Permission closes a microphone; it never opens one.
    if (!this.mayOpen() && !isMuted()) {
      mute();
      announce('A presenter has taken back the permission to unmute. You are muted.');
    } else if (this.mayOpen() && !mayOpen) {
      announce('You may unmute now.');
    }
  }

  #seeRequest(request) {
    const at = request === null ? -Infinity : Date.parse(request.at);
    const isNew = at > this.#seenAt;
    // The room is read eventually consistently: an older reading may follow a newer one.
    this.#seenAt = Math.max(this.#seenAt ?? at, at);
    if (!isNew || this.isPresenter()) return;
    const { announce, isMuted, mute } = this.#options;
    // The claim is sent even if the page is muted already: it is the answer to the request.
    const wasOpen = !isMuted();
    mute();
    this.#view = { ...this.#view, request: { requestId: request.requestId, wasOpen } };
    announce('A presenter asks everybody to mute. You are muted.');
  }

  #announceHands(items) {
    const raised = items.filter((state) => state.participant?.handRaised && state.userId !== this.#options.participantId);
    const fresh = this.#raised && raised.filter((state) => !this.#raised.includes(state.userId));
    this.#raised = raised.map((state) => state.userId);
    if (fresh?.length) this.#options.announce(`${fresh.map(nameOf).join(', ')} ${fresh.length === 1 ? 'raises a hand' : 'raise their hands'}.`);
  }

  #announceWaiting(waiting) {
    const fresh = waiting.filter((state) => !this.#waited?.includes(state.userId));
    this.#waited = waiting.map((state) => state.userId);
    if (fresh.length) this.#options.announce(`${fresh.map(nameOf).join(', ')} ${fresh.length === 1 ? 'waits' : 'wait'} to be let in.`);
  }

  /** Makes one change. `where` names the control, beside which a failure is shown. Resolves to whether it was made. */
  async #act(where, run, done = null) {
    if (this.#view.busy) return false;
    this.#set({ busy: where, problem: null });
    try {
      await run();
      this.#set({ busy: null });
      if (done) this.#options.announce(done);
      this.#options.nudge();
      return true;
    } catch (error) {
      this.#set({ busy: null, problem: problemOf(where, error) });
      return false;
    }
  }

  /** Shows why something failed, beside the control of this name. */
  fail(where, error) { this.#set({ problem: problemOf(where, error) }); }

  dismissProblem() { this.#set({ problem: null }); }

  #change(where, id, change, done) {
    const { api, roomId } = this.#options;
    return this.#act(where, () => api.changeParticipant(roomId, id, change), done);
  }

  async raiseHand(isUp) {
    const done = isUp ? 'Your hand is up.' : 'Your hand is down.';
    if (await this.#change('hand', this.#options.participantId, { handRaised: isUp }, done)) this.#set({ isHandUp: isUp });
  }

  admit(person) { return this.#change(person.userId, person.userId, { admitted: true }, `${nameOf(person)} was let in.`); }

  remove(person, done) { return this.#change(person.userId, person.userId, { removed: true }, done); }

  allow(person, mayUnmute) {
    const done = mayUnmute ? `${nameOf(person)} may unmute now.` : `${nameOf(person)} may not unmute any more.`;
    // A raised hand has its answer.
    const change = mayUnmute && person.participant.handRaised ? { mayUnmute, handRaised: false } : { mayUnmute };
    return this.#change(person.userId, person.userId, change, done);
  }

  lowerHand(person) { return this.#change(person.userId, person.userId, { handRaised: false }, `The hand of ${nameOf(person)} is down.`); }

  makePresenter(person) { return this.#change(person.userId, person.userId, { role: 'presenter' }, `${nameOf(person)} is a presenter now.`); }

  changeSettings(settings) {
    const { api, roomId } = this.#options;
    return this.#act('settings', async () => {
      const { room } = await api.changeRoom(roomId, { settings });
      this.#take(room);
    });
  }

  #take(room) { this.#set({ room: newerRoom(this.#view.room, { ...this.#view.room, ...room }) }); }

  /**
   * Changes title, password or size, unless somebody else has changed the room meanwhile: it is read again then, so that
   * the person sees what they would overwrite. Nothing of `change` is kept: it may hold a password.
   */
  changeRoom(change) {
    const { api, roomId, doubt } = this.#options;
    return this.#act('room', async () => {
      try {
        const { room } = await api.changeRoom(roomId, change, this.#view.room.version);
        this.#take(room);
      } catch (error) {
        if (error.code === 'version_conflict') doubt();
        throw error;
      }
    }, 'The room was changed.');
  }

  async muteAll() {
    const { api, roomId } = this.#options;
    this.#timer.clear();
    await this.#act('mute-all', async () => {
      const { requestId, targets } = await api.muteAll(roomId);
      this.#set({ round: { requestId, targets, isOver: targets.length === 0 } });
    }, 'Everybody was asked to mute.');
    const { round } = this.#view;
    if (round && !round.isOver) this.#follow(round.requestId, 0);
  }

  /** Asks for a minute who has refused, unless the presenter has dismissed the list. */
  #follow(requestId, asked) {
    this.#timer.set(async () => {
      const { api, roomId } = this.#options;
      const answer = await api.muteOutcome(roomId, requestId).catch(() => null);
      if (this.#isEnded || this.#view.round?.requestId !== requestId) return;
      const targets = answer?.targets ?? this.#view.round.targets;
      const isOver = asked + 1 >= ROUNDS_MAX;
      this.#set({ round: { requestId, targets, isOver } });
      if (!isOver) this.#follow(requestId, asked + 1);
    }, ROUND_MS);
  }

  dismissRound() {
    this.#timer.clear();
    this.#set({ round: null });
  }

  dismissRequest() { this.#set({ request: null }); }

  /** Tells the presenters that this person does not follow their request to mute, whatever else is under way. */
  async refuseRequest() {
    const { api, roomId, participantId } = this.#options;
    const { request } = this.#view;
    this.dismissRequest();
    if (!request) return;
    try {
      await api.changeParticipant(roomId, participantId, { refusedRequest: request.requestId });
    } catch (error) {
      this.fail('request', error);
    }
  }
}

/**
 * `mute` mutes this page and claims it; `isMuted` says whether it is muted. `nudge` says that this person has changed
 * something, `doubt` that the page does not know the room as it is. A failure is in `view().problem`: `{where, text,
 * field}`. `where` is `hand`, `settings`, `room`, `mute-all`, `request`, `leave` or somebody's id; `field` is that of a
 * form, or null.
 */
export function createMeeting({ announce = () => {}, onChange = () => {}, nudge = () => {}, doubt = nudge, timers = {}, ...others }) {
  return new Meeting({ announce, onChange, nudge, doubt, timers, ...others });
}
