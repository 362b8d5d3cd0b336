// One person in one room. This file connects the parts of the page's logic, and offers the view one snapshot and the
// commands; the work is done in the parts, in session/ and beside it. A room that somebody created has a meeting, and
// its API knows the person by a token.
//
// The most important rule: nothing from outside opens the microphone. The page opens it, muted, when this person joins,
// allows it or presses; no other person and no server can.

import { isOver } from './entrance.js';
import { createOutbox } from './outbox.js';
import { createPairing } from './pairing.js';
import { createPresence } from './presence.js';
import { createRoomPoller } from './room-poller.js';
import { arrange } from './room.js';
import { createChat } from './session/chat.js';
import { createContradictionAnnouncer } from './session/contradiction.js';
import { createDevice } from './session/device.js';
import { createLive } from './session/live.js';
import { createMeeting } from './session/meeting.js';
import { createMute } from './session/mute.js';
import { createOwnState } from './session/own-state.js';
import { createQuestions } from './session/questions.js';
import { createReconciler } from './session/reconcile.js';
import { createReopener } from './session/reopener.js';
import { createRoomReader } from './session/room-reader.js';
import { steadyNow } from './time.js';
import { describeVerdict } from './verdict.js';
import { createWitness } from './witness.js';

/** Reasons for which the page reads its list of devices again: the browser may not have reported a change. */
const IN_DOUBT = ['device_missing', 'device_mismatch'];
/** How often it does so. */
const LOOK_MS = 5000;

class Session {
  #options;
  #isEnded = false;
  /** What a created room is asked: `leave` (to let this person go), `end`, or null. */
  #departing = null;
  #outbox;
  #reconciler;
  #mute;
  #device;
  #reopener;
  #lookedAt = null;
  #own;
  #witness;
  #pairing;
  #presence;
  #room;
  #poller;
  /** Null if the page does not hear of changes: in a room that nobody created, or without a socket. */
  #live = null;
  #announceContradiction;
  /** Null in a room that nobody created. */
  #meeting = null;
  /** The microphone, for the level meter of the view. */
  mic;
  /** The messages and the questions of a created room; null in any other. */
  chat = null;
  questions = null;

  constructor(options) {
    this.#options = options;
    this.#connectClaim(options);
    this.#connectAgent(options);
    this.#connectLive(options);
    this.#connectMeeting(options);
    this.#connectRoom(options);
  }

  #connectClaim({ api, userId, nextSeq, now, random, timers, createMicrophone, store, announce, roomId, deviceId, confirmed }) {
    const isEnded = () => this.#isEnded;
    this.mic = createMicrophone({ muted: true, onChange: (view) => this.#onMicrophone(view) });
    this.#outbox = createOutbox({
      api, userId, nextSeq, now, random, ...timers,
      whole: () => this.#claim(), onAck: (state, meta) => this.#onAck(state, meta), onChange: () => this.#onOutbox(),
    });
    this.#reconciler = createReconciler({ roomId, announce, muteTrack: () => this.#mute.setTrack(true) });
    this.#mute = createMute({
      mic: this.mic, outbox: this.#outbox, announce, isEnded: () => this.#isEnded || this.#departing === 'leave',
      openMicrophone: () => this.#device.open(), mayOpen: () => this.#meeting?.mayOpen() ?? true, onDecided: () => this.#reconciler.decided(), onBlocked: () => this.#emit(),
    });
    this.#device = createDevice({ mic: this.mic, outbox: this.#outbox, store, mute: this.#mute, announce, first: confirmed, wanted: deviceId });
    this.#reopener = createReopener({
      mic: this.mic, now, isSettled: () => !this.#outbox.busy() && this.#outbox.deviceStatus() === 'sent',
      claimAgain: () => { if (!this.#isEnded) this.#device.claimAgain(); }, onChange: () => this.#emit(),
    });
    this.#own = createOwnState({
      api, userId, first: confirmed, now, isEnded, isBusy: () => this.#outbox.busy(),
      onState: (state) => this.#onState(state), onRead: () => this.#emit(),
      // Only joining makes a participant: a page cannot put itself back into a created room.
      onGone: () => { if (!this.#meeting) this.#outbox.repost(); }, onMissing: () => this.#presence.renew(),
    });
  }

  #connectAgent({ api, userId, serverNow, random, timers, witnessStore, announce }) {
    this.#witness = createWitness({
      api, userId, serverNow, random, ...timers, store: witnessStore,
      onAttached: (state, isNew) => {
        this.#own.accept(state);
        this.#pairing.attached(isNew);
        this.#nudge();
      },
      onChange: () => this.#emit(),
    });
    this.#pairing = createPairing({ api, userId, witness: this.#witness, announce, onChange: () => this.#emit() });
    this.#announceContradiction = createContradictionAnnouncer(announce);
  }

  #connectLive({ meeting, socket, userId, beat, now, serverNow, random, timers }) {
    if (!meeting || !socket) return;
    const panels = () => [this.chat, this.questions];
    this.#live = createLive({
      socket, userId, beat, now, serverNow, random, timers, isPresenter: () => this.#meeting.isPresenter(),
      onRoom: (room, isRenewal) => this.#onEvent(room, isRenewal),
      onText: (frame) => (frame.event === 'new-chat-message' ? this.chat : this.questions).hear(frame),
      onDoubt: () => this.#poller.nudge(), onGap: () => this.chat?.miss(),
      onCaughtUp: () => panels().forEach((panel) => panel.reread()),
      onAlive: () => this.#onAlive(),
      onChange: () => {
        if (!this.#live.isLive()) panels().forEach((panel) => panel.reread());
        this.#emit();
      },
    });
  }

  #connectMeeting({ api, roomId, userId, meeting, timers, announce, isHidden, now, random }) {
    if (!meeting) return;
    const panel = { api, roomId, userId, isHidden, now, random, timers, announce, events: this.#live ?? undefined, onChange: () => this.#emit() };
    this.chat = createChat(panel);
    this.questions = createQuestions(panel);
    this.#meeting = createMeeting({
      ...meeting, api, roomId, participantId: userId, timers, announce,
      isMuted: () => this.#mute.isMuted(), mute: () => this.#mute.set(true),
      onChange: () => this.#emit(), nudge: () => this.#nudge(), doubt: () => this.#doubt(),
    });
  }

  #connectRoom({ api, roomId, userId, lease, beat, now, serverNow, random, timers, isHidden }) {
    this.#room = createRoomReader({ api, roomId, serverNow });
    this.#poller = createRoomPoller({
      fetchRoom: () => this.#readRoom(), isHidden, isQuiet: () => this.#live?.isQuiet() ?? false, now, random, ...timers, onUpdate: (view, meta) => this.#onRoom(view, meta),
    });
    // The agent is attached once presence is confirmed. Before that the state may carry the lease of an earlier load of
    // this page, and the late `leave` of that load would detach the agent again.
    this.#presence = createPresence({
      api, roomId, userId, lease, beat, now, random,
      onBack: () => {
        this.#meeting?.seat(true);
        this.#witness.present();
      },
      onFull: () => this.#meeting?.seat(false),
      onLost: () => { if (!this.#own.isReading()) this.#own.read(); },
    });
  }

  async #readRoom() {
    const answer = await this.#room.read(this.#live?.reading());
    // What has arrived while the server was asked whether the room is safe is newer than the reading.
    const room = { ...answer, ...this.#live?.room(), changed: answer.changed };
    if (!this.#isEnded) this.#meeting?.see(room);
    return room;
  }

  /** Something was changed that the others see: reads the room, unless the event of that comes by itself. */
  #nudge() {
    if (!this.#live?.isQuiet()) this.#poller.nudge();
  }

  /** The page may not know the room as it is: reads it. */
  #doubt() {
    if (!this.#live?.doubt()) this.#poller.nudge();
  }

  /** The room after an event. */
  #onEvent(room, isRenewal) {
    if (this.#isEnded) return;
    this.#meeting.see(room);
    this.#poller.take(room.items);
    this.#look(room.items);
    this.#room.judge(room.items, isRenewal).then((isOther) => { if (isOther) this.#emit(); });
    this.#emit();
  }

  /** The connection lives, so what the page knows is as new as now. What waits for the next reading goes on. */
  #onAlive() {
    const { items } = this.#poller.view();
    if (items === null) return;
    this.#poller.take(items);
    this.#look(items);
  }

  #look(items) {
    this.#own.lookIn(items);
    this.#watchVerdict();
  }

  #onOutbox() {
    const isRefused = this.#outbox.refusal()?.code === 'unmute_not_allowed';
    if (isRefused && !this.#mute.isMuted()) this.#mute.refuse();
    this.#emit();
  }

  /** The complete claim, as the server stores it. */
  #claim() {
    const { roomId, name, lease } = this.#options;
    const { deviceId, label } = this.#device.claimed();
    return { isMuted: this.#mute.isMuted(), muteScope: 'app', deviceId, deviceLabel: label, roomId, name, lease };
  }

  #emit() {
    if (!this.#isEnded) this.#options.onChange(this.snapshot());
  }

  #people() {
    return arrange(this.#poller.view().items ?? [], this.#options.userId, this.#own.newest());
  }

  #onMicrophone(view) {
    if (this.#isEnded) return;
    this.#device.follow(view);
    this.#emit();
  }

  #onAck(state, { applied, isWhole }) {
    this.#own.accept(state);
    // The server has a newer claim than this one. Its state is read again, and a mute in it is followed.
    if (!applied) this.#own.read();
    // There was no state, so no agent was attached to it either.
    if (isWhole) this.#witness.present();
    this.#emit();
  }

  #onState(state) {
    if (!this.#outbox.busy()) this.#reconciler.reconcile(state, this.#mute.isMuted());
  }

  #onRoom(view, { changed, recovered }) {
    const { announce } = this.#options;
    if (view.connection === 'online') {
      if (recovered) {
        this.#outbox.wake();
        announce('Connected again.');
      }
      this.#look(view.items);
    } else if (this.#meeting && isOver(view.error)) {
      // The answer to the request to leave or to end says more. It may arrive after the token has ended.
      if (this.#departing) return;
      this.#quit();
      this.#options.onOver(view.error);
      return;
    } else if (view.failures === 1) {
      announce('Connection lost. Reconnecting.');
    }
    if (changed) this.#emit();
  }

  #watchVerdict() {
    const { own } = this.#people();
    if (!own) return;
    this.#pairing.see(own.agent);
    const verdict = describeVerdict(own, this.#options.serverNow());
    if (!this.#outbox.busy()) this.#announceContradiction(verdict);
    this.#reopener.see(own, verdict);
    if (IN_DOUBT.includes(verdict.reason)) this.#lookForDevices();
  }

  #lookForDevices() {
    const now = this.#options.now();
    if (this.#lookedAt !== null && now - this.#lookedAt < LOOK_MS) return;
    this.#lookedAt = now;
    this.mic.look();
  }

  /** All that the view shows. */
  snapshot() {
    const { userId, name, roomId } = this.#options;
    const { connection, okAt, error, items, truncated } = this.#poller.view();
    const { own, others } = this.#people();
    return {
      userId, name, roomId, own, others, connection, okAt, error, truncated,
      loaded: items !== null, isLive: this.#live?.isLive() ?? false, isLeaving: this.#departing === 'leave',
      meeting: this.#meeting?.view() ?? null, chat: this.chat?.view() ?? null, questions: this.questions?.view() ?? null,
      muted: this.#mute.isMuted(), blocked: this.#mute.isBlocked(), denied: this.#mute.isDenied(),
      muteStatus: this.#outbox.muteStatus(), refusal: this.#outbox.refusal(),
      device: this.#device.claimed(), deviceStatus: this.#outbox.deviceStatus(), deviceRefusal: this.#outbox.deviceRefusal(),
      microphone: this.mic.view(), isStuck: this.#reopener.isStuck(),
      notice: this.#reconciler.notice(),
      safety: this.#room.safety(),
      agent: own?.agent ?? null, pairing: this.#pairing.view(),
    };
  }

  start() {
    this.#poller.start();
    this.#live?.start();
    // An earlier load of this page may have claimed "unmuted". The answer also says whether the state still exists.
    if (!this.#own.newest()) this.#outbox.wantMute(this.#mute.isMuted());
    this.#presence.begin();
    this.#device.open();
  }

  /** The browser leaves the page, and may show it again later: ends the presence, and mutes the track. */
  away() {
    this.#mute.setTrack(true);
    this.#presence.end();
    this.#live?.stop();
  }

  /** The browser shows the page again from its cache, as it was left. */
  back() {
    this.#mute.set(true);
    this.#presence.begin();
    this.#live?.start();
    this.#poller.nudge();
    this.chat?.reread();
    this.questions?.reread();
  }

  /** The page is visible again, or the network is back: does the work at once that waits for a timer. */
  nudge() {
    this.#live?.wake();
    this.#nudge();
    this.#outbox.wake();
    this.#presence.renew();
  }

  /** The browser says that the network is gone: finds out now, so that nothing old is shown as live. */
  offline() {
    this.#live?.wake();
    this.#doubt();
  }

  /** The stay is over: closes the microphone, and stops all that runs. */
  #quit() {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#poller.stop();
    this.#live?.stop();
    this.#presence.quit();
    this.#witness.stop();
    this.#meeting?.stop();
    this.chat?.close();
    this.questions?.close();
    this.mic.stop();
    this.#options.store.endSession();
  }

  /**
   * Leaves for good. Resolves to whether the person has left: a created room does not let its last presenter go, and the
   * stay goes on then. Rejects if the person has left and the server could not be told.
   */
  async leave() {
    if (this.#meeting) return this.#leaveCreated();
    const { api, userId } = this.#options;
    this.#quit();
    // A write that is still under way could arrive after the DELETE and create the state again.
    await this.#outbox.close();
    await api.removeUser(userId).catch((error) => { if (error.status !== 404) throw error; });
    return true;
  }

  async #leaveCreated() {
    if (this.#departing || this.#isEnded) return false;
    const { api, roomId } = this.#options;
    // Who wants to leave is not heard any more. The claim waits: it is sent only if the stay goes on.
    const isQuiet = this.#depart('leave');
    if (!this.#mute.isMuted()) this.#mute.set(true);
    this.#meeting.dismissProblem();
    await isQuiet;
    try {
      await api.quitRoom(roomId);
    } catch (error) {
      if (error.code === 'last_presenter' && !this.#isEnded) {
        this.#stay();
        this.#meeting.fail('leave', error);
        return false;
      }
      this.#finish();
      if (!isOver(error)) throw error;
      return true;
    }
    this.#finish();
    return true;
  }

  /** Ends the room for everybody. Resolves to what happened in it. Rejects if the server refuses: the stay goes on then. */
  async end() {
    const { api, roomId } = this.#options;
    await this.#depart('end');
    try {
      const { sessionStats } = await api.endRoom(roomId);
      this.#finish();
      return sessionStats;
    } catch (error) {
      // A request to leave that is under way decides by itself.
      if (this.#departing === 'end') this.#stay();
      throw error;
    }
  }

  /** What a created room answers to nobody any more, once this person has left. */
  #readers() {
    return [this.#live, this.#poller, this.chat, this.questions].filter((reader) => reader !== null);
  }

  /** Asks nothing else of the room. Resolves when the requests under way are over. */
  #depart(how) {
    this.#departing ??= how;
    return Promise.all([this.#outbox.hold(), ...this.#readers().map((reader) => reader.pause())]);
  }

  #stay() {
    if (this.#isEnded) return;
    this.#departing = null;
    this.#outbox.goOn();
    for (const reader of this.#readers()) reader.resume();
  }

  #finish() {
    this.#quit();
    this.#outbox.close();
  }

  // The view passes the following functions to event handlers directly, so each is bound to its session.

  toggle = () => this.#mute.toggle();

  /** What a created room adds; see `session/meeting.js`. */
  get meeting() { return this.#meeting; }

  /** The person does not follow the request to mute: unmutes, and tells the presenters so. */
  stayUnmuted = async () => {
    // The press counts now: what the person presses while the server answers comes later.
    const isTold = this.#meeting.refuseRequest();
    if (this.#mute.isMuted()) await this.#mute.toggle();
    await isTold;
  };

  startMicrophone = () => this.#device.open();

  chooseDevice = (deviceId) => {
    this.#reopener.restart();
    return this.#device.choose(deviceId);
  };

  reopenMicrophone = () => this.#reopener.again();

  /** Sends the claim of this page again, to replace a claim that was written from elsewhere. */
  sayAgain = () => {
    this.#reconciler.restart();
    this.#outbox.repost();
    this.#emit();
  };

  dismissNotice = () => {
    this.#reconciler.dismiss();
    this.#emit();
  };

  startPairing = () => this.#pairing.start(this.snapshot().agent);

  cancelPairing = () => this.#pairing.cancel();

  forgetAgent = () => this.#pairing.forget();

  attachAgent = async () => {
    await this.#pairing.attach();
    this.#nudge();
  };

  stopAgent = async () => {
    const { agent } = this.snapshot();
    if (!agent) return;
    await this.#pairing.stop(agent);
    this.#nudge();
  };

  bind = async (question) => {
    await this.#pairing.bind(question, (state) => this.#own.accept(state));
    this.#nudge();
  };
}

/**
 * `confirmed` is the state that the server has confirmed for this person, or null; `deviceId` is the microphone that
 * was used before; `meeting` is `{room, role}` in a created room, else null; `socket` is `{url, token}` if the page can
 * hear of its changes. `onChange` gets a snapshot after each change, `announce` a sentence for the screen reader,
 * `onOver` the refusal that ends a stay in a created room.
 */
export function createSession({
  name = null, deviceId = null, confirmed = null, meeting = null, socket = null, announce = () => {}, onOver = () => {}, now = steadyNow,
  serverNow = now, timers = {}, ...others
}) {
  return new Session({ name, deviceId, confirmed, meeting, socket, announce, onOver, now, serverNow, timers, ...others });
}
