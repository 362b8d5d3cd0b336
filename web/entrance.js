// The ways into a room: looks up what a link leads to, creates a room, joins one, waits in its lobby, and says why a
// stay is over.

import { makeLease } from './identity.js';
import { createPresence } from './presence.js';
import { createRoomPoller } from './room-poller.js';

/**
 * What a link leads to. `{kind: 'created', link, room}`: a room that somebody created, `room` as a stranger may see it;
 * `{kind: 'implicit', link}`: a room that is there as soon as somebody names it; `{kind: 'none', isStrict}`: no room, and
 * whether this server has only created ones. `readings` are what the link may mean, the likelier first.
 */
export async function lookUp(api, readings) {
  let isStrict = false;
  for (const link of readings) {
    try {
      const { room } = await api.lookUp(link);
      return room.implicit ? { kind: 'implicit', link } : { kind: 'created', link, room };
    } catch (error) {
      if (![400, 401, 404].includes(error.status)) throw error;
      isStrict ||= error.status === 401;
    }
  }
  return { kind: 'none', isStrict };
}

/**
 * Gives a call a key that a repeated call has too, if the answer to the first one was lost: a person who presses again
 * then gets the room or the seat that they have already.
 */
export function createOnce(makeKey = makeLease) {
  let pending = null;
  return async (wanted, call) => {
    const text = JSON.stringify(wanted);
    if (pending?.text !== text) pending = { text, key: makeKey() };
    try {
      const answer = await call(pending.key);
      pending = null;
      return answer;
    } catch (error) {
      if (!error.retryable) pending = null;
      throw error;
    }
  };
}

/** Creates a room. Resolves to the presenter's ticket and the room. `once` is made by `createOnce`. */
export async function createRoom(api, once, { title, name, password, settings }) {
  const wanted = { title, presenterName: name, settings, ...(password ? { password } : {}) };
  const { roomId, slug, participantId, presenterToken, wsUrl, room } = await once(wanted, (key) => api.createRoom(wanted, key));
  return { ticket: { roomId, slug, participantId, token: presenterToken, wsUrl, name, role: 'presenter', isWaiting: false }, room };
}

/** Joins a created room, or its lobby. Resolves to the ticket and the room. */
export async function joinRoom(api, once, link, { name, password }) {
  const person = { name, ...(password ? { password } : {}) };
  const { participantId, token, wsUrl, state, roomDetails } = await once([link, person], (key) => api.joinRoom(link, person, key));
  const { roomId, slug } = roomDetails;
  return { ticket: { roomId, slug, participantId, token, wsUrl, name, role: 'attendee', isWaiting: state === 'waiting' }, room: roomDetails };
}

/** Whether a refusal means that the person's stay in a created room is over. */
export const isOver = (error) => ['token_invalid', 'authentication_required', 'room_ended', 'room_not_found'].includes(error?.code);

/**
 * Why a stay is over: `ended`, or `removed` if the room goes on without this person. `api` has no token. A room that
 * nobody can be asked about is taken to go on: then the person may try to join again.
 */
export async function whyOver(api, roomId, error) {
  if (error.code === 'room_ended' || error.code === 'room_not_found') return 'ended';
  try {
    return (await api.lookUp(roomId)).isActive ? 'removed' : 'ended';
  } catch (refusal) {
    return refusal.status === 404 ? 'ended' : 'removed';
  }
}

/**
 * Waits in the lobby until a presenter admits the person: `onAdmitted`; or the stay is over: `onOver`. `onChange` gets
 * whether the server can be reached.
 */
export function createLobby({ api, roomId, participantId, lease, onAdmitted, onOver, onChange, isHidden, beat, now, random, timers = {} }) {
  let isDone = false;
  const presence = createPresence({ api, roomId, userId: participantId, lease, beat, now, random });

  function stop() {
    isDone = true;
    poller.stop();
    presence.quit();
  }

  // To be refused means to wait: the room itself is shown only to those who are in it.
  async function look() {
    try {
      await api.roomUsers(roomId);
      return { changed: true, items: [], truncated: false, isAdmitted: true };
    } catch (error) {
      if (error.code !== 'not_admitted') throw error;
      return { changed: false, items: [], truncated: false, isAdmitted: false };
    }
  }

  const poller = createRoomPoller({
    fetchRoom: async () => {
      const answer = await look();
      if (answer.isAdmitted && !isDone) {
        stop();
        onAdmitted();
      }
      return answer;
    },
    onUpdate: ({ connection, error }) => {
      if (isDone) return;
      if (isOver(error)) {
        stop();
        onOver(error);
        return;
      }
      onChange(connection);
    },
    visibleMs: 2000, isHidden, now, random, ...timers,
  });

  return {
    start() {
      presence.begin();
      poller.start();
    },
    nudge() {
      poller.nudge();
      presence.renew();
    },
    away: () => presence.end(),
    back() {
      presence.begin();
      poller.nudge();
    },
    stop,
    /** The person does not want to wait any longer. */
    async leave() {
      stop();
      await api.quitRoom(roomId).catch((error) => { if (!isOver(error)) throw error; });
    },
  };
}
