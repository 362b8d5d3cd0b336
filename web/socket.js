// One connection to the server's WebSocket: opens it, keeps it alive, notices when it is dead, and opens another.

import { backoffDelay } from './backoff.js';
import { createTimer, steadyNow } from './time.js';
import { workerBeat } from './worker-beat.js';

const PROTOCOL = 'greenroom.v1';
/** How long a handshake, or the answer to a ping, may take. */
const ANSWER_MS_MAX = 10_000;
/** When a ping is due that the server says nothing about, and the limits of what it may say. */
const PING_MS = 10_000;
const PING_MS_MIN = 2000;
const PING_MS_MAX = 12_000;
/** When a ping that has no answer is repeated: the gateway drops what is too much at a time. */
const REPEAT_MS = 4000;
/** The server takes a connection to be alive for so long after its opening and after each ping. */
const LEASE_MS = 25_000;
/** A longer gap between two beats means that the machine has slept, or that the browser has frozen the page. */
const SLEPT_MS = 10_000;
const RETRY_MS_MAX = 30_000;
/** When all pages are sent away at the same moment, they come back between these two. */
const SPREAD_MS_MIN = 500;
const SPREAD_MS = 3000;
/** The wait after the end of the stay. The answer to a request says before that that there is nothing to come back to. */
const OVER_MS = 5000;

/**
 * `onOpen` is called when a connection is open, `onDown` when an open one has gone, `onAlive` at each answer to a ping, with its data,
 * and `onFrame` with each event of the server that is about the room. A browser does not say why a connection was
 * refused, so it is tried again, ever more slowly.
 */
export function createSocket({
  url, token, onOpen, onDown, onFrame, onAlive = () => {}, open = (...args) => new WebSocket(...args), beat = workerBeat,
  now = steadyNow, wallNow = Date.now, random = Math.random, timers = {},
}) {
  const timer = createTimer(timers);
  let isWanted = false;
  let socket = null;
  let isOpen = false;
  let failures = 0;
  let stopBeat = null;
  let beatAt = 0;
  let pings = 0;
  let dueAt = 0;
  let aliveAt = 0;
  /** When the first ping was sent that has no answer yet; null if there is none. */
  let waitingSince = null;

  /** Lets go of the connection. Gives back whether it was open. */
  function drop() {
    const wasOpen = isOpen;
    const old = socket;
    isOpen = false;
    socket = null;
    timer.clear();
    stopBeat?.();
    stopBeat = null;
    // A browser complains about a connection that is cut off during its handshake.
    if (old?.readyState === 0) old.onopen = () => old.close();
    else old?.close();
    return wasOpen;
  }

  function lose(waitMs = backoffDelay(failures, { maxMs: RETRY_MS_MAX, random })) {
    const wasOpen = drop();
    failures += 1;
    timer.set(connect, waitMs);
    if (wasOpen) onDown();
  }

  function giveUp() {
    isWanted = false;
    if (drop()) onDown();
  }

  function connect() {
    try {
      socket = open(url, [PROTOCOL, `greenroom.bearer.${token}`]);
    } catch {
      // The page may not open such an address, now or later.
      giveUp();
      return;
    }
    const own = socket;
    const ifCurrent = (run) => (event) => { if (socket === own) run(event); };
    own.onopen = ifCurrent(begin);
    own.onmessage = ifCurrent(({ data }) => hear(data));
    own.onclose = ifCurrent(() => lose());
    timer.set(lose, ANSWER_MS_MAX);
  }

  function begin() {
    timer.clear();
    isOpen = true;
    waitingSince = null;
    aliveAt = now();
    beatAt = wallNow();
    stopBeat = beat(check);
    onOpen();
    // The answer names the last change that the next reading must show.
    ping();
  }

  /** The steady clock may stand still while the machine sleeps, so the machine's clock is asked whether it has slept. */
  function check() {
    const slept = wallNow() - beatAt >= SLEPT_MS;
    beatAt = wallNow();
    const isUnanswered = waitingSince !== null && now() - waitingSince >= ANSWER_MS_MAX;
    if (slept || isUnanswered || now() - aliveAt >= LEASE_MS) lose();
    else if (now() >= dueAt) ping();
  }

  function ping() {
    pings += 1;
    waitingSince ??= now();
    dueAt = now() + REPEAT_MS;
    socket.send(JSON.stringify({ event: 'ping', id: String(pings) }));
  }

  function acknowledge(data) {
    const { pingEveryMs } = data;
    failures = 0;
    waitingSince = null;
    aliveAt = now();
    const every = Number.isFinite(pingEveryMs) ? pingEveryMs : PING_MS;
    dueAt = now() + Math.min(Math.max(every, PING_MS_MIN), PING_MS_MAX);
    onAlive(data);
  }

  function part(reason) {
    // Another tab of this person has the place now. Taking it back would begin a fight.
    if (reason === 'replaced') giveUp();
    else if (reason === 'removed' || reason === 'ended') lose(OVER_MS);
    else lose(SPREAD_MS_MIN + random() * SPREAD_MS);
  }

  function hear(text) {
    const own = socket;
    for (const frame of framesOf(text)) {
      // An event may have ended this connection.
      if (socket === own) take(frame);
    }
  }

  function take(frame) {
    switch (frame.event) {
      case 'ack': acknowledge(frame.data ?? {}); break;
      case 'bye': part(frame.data?.reason); break;
      case 'error':
        // Any answer shows that the connection is not dead. Its lease is another matter.
        waitingSince = null;
        if (frame.data?.code === 'connection_lapsed') lose();
        break;
      default: onFrame(frame);
    }
  }

  return {
    start() {
      if (isWanted) return;
      isWanted = true;
      failures = 0;
      connect();
    },
    /** The page is visible again, or the network is back: finds out now whether the connection still lives. */
    wake() {
      if (!isWanted) return;
      if (isOpen) {
        if (waitingSince === null) dueAt = now();
        check();
      } else if (socket === null) {
        timer.clear();
        connect();
      }
    },
    /** Closes the connection, and opens no other. */
    stop() {
      isWanted = false;
      drop();
    },
  };
}

/**
 * The address of a room's socket: that of the ticket, or this server's. A page that was loaded over TLS may open no other
 * connection, and a proxy in front of the server may not have told it of the TLS.
 */
export function socketUrl(given, { protocol, host }) {
  const url = typeof given === 'string' ? given : `ws://${host}/ws`;
  return protocol === 'https:' ? url.replace(/^ws:/, 'wss:') : url;
}

/** The events in a message, which holds one or a list of them. What the gateway says by itself has no event. */
function framesOf(text) {
  if (typeof text !== 'string') return [];
  try {
    return [JSON.parse(text)].flat().filter((frame) => typeof frame?.event === 'string');
  } catch {
    return [];
  }
}
