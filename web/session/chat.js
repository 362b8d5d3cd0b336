// The messages of a room: reads them while they are shown, takes those that arrive by themselves, sends new ones, and
// fetches older ones on demand.

import { describeProblem } from '../join.js';
import { cleanMessage, messageProblem } from '../text.js';
import { createFeed } from './feed.js';

/** The most messages that the page keeps. */
const KEPT_MAX = 1000;

const byId = (a, b) => (a.id < b.id ? -1 : Number(a.id > b.id));

/**
 * The messages after a page of the newest ones has arrived. A gap between the two would be shown as if nothing had been
 * said in it, so the older messages are dropped then. Others may write in between: a message may arrive late. `own` has
 * the ids that no page has brought: such a message does not show what was said before it, so it joins nothing.
 */
export function merge(known, page, hasMore, own = new Set()) {
  const oldest = page[0];
  const isJoined = !hasMore || known.some(({ id }) => !own.has(id) && page.some((other) => other.id === id));
  if (!isJoined) return page;
  const before = known.filter((message) => oldest && message.id < oldest.id);
  return [...before, ...page].sort(byId).slice(-KEPT_MAX);
}

/** `events` says whether the room's events are heard; see `session/feed.js`. */
export function createChat({ api, roomId, userId, onChange, isHidden, now, random, timers, events }) {
  let view = { messages: null, hasMore: false, isSending: false, isLoading: false, problem: null, unread: 0 };
  let nextBefore = null;
  /**
   * The ids of the messages that are not known to follow the ones before them: those that this page has sent since it
   * last took a page from the server, and those that arrived after a gap.
   */
  const own = new Set();
  /** Whether a message that arrives by itself follows what is there: no event was missed since the last reading. */
  let isFollowed = false;

  function set(change) {
    view = { ...view, ...change };
    onChange();
  }

  function take({ messages, hasMore, nextBefore: before }) {
    const merged = view.messages === null ? messages : merge(view.messages, messages, hasMore, own);
    own.clear();
    // Older messages have been fetched: only their own answer says whether there are more.
    const isWhole = merged[0]?.id === messages[0]?.id;
    // A list of the most messages may have lost its oldest ones, so what is older than those does not follow it.
    const isFull = merged.length >= KEPT_MAX;
    if (isFull) nextBefore = null;
    else if (isWhole) nextBefore = before;
    set({ messages: merged, hasMore: !isFull && (isWhole ? hasMore : view.hasMore) });
  }

  /** Puts in a message that the server has sent by itself. Gives back whether it is new. */
  function put(message) {
    if (view.messages?.some(({ id }) => id === message.id)) {
      if (isFollowed) own.delete(message.id);
      return false;
    }
    if (!isFollowed) own.add(message.id);
    const all = [...(view.messages ?? []), message].sort(byId);
    for (const { id } of all.slice(0, -KEPT_MAX)) own.delete(id);
    const isFull = all.length >= KEPT_MAX;
    if (isFull) nextBefore = null;
    set({ messages: all.slice(-KEPT_MAX), hasMore: !isFull && view.hasMore });
    return true;
  }

  const feed = createFeed({
    read: () => api.messages(roomId),
    onBody(body, changed, late) {
      if (changed || view.messages === null) take(body);
      isFollowed = events?.isOpen() ?? false;
      late.forEach(put);
    },
    onChange, isHidden, now, random, timers, events,
  });

  async function post(message) {
    if (view.isSending) return false;
    set({ isSending: true, problem: null });
    try {
      const answer = await api.sendMessage(roomId, message);
      // A poll may have brought it already.
      if (!view.messages?.some(({ id }) => id === answer.message.id)) own.add(answer.message.id);
      set({ isSending: false, messages: [...(view.messages ?? []).filter(({ id }) => id !== answer.message.id), answer.message].sort(byId) });
      feed.nudge();
      return true;
    } catch (error) {
      set({ isSending: false, problem: describeProblem(error) });
      return false;
    }
  }

  return {
    view: () => ({ ...view, connection: feed.connection() }),
    open() {
      if (view.unread > 0) set({ unread: 0 });
      feed.open();
    },
    close: feed.close,
    pause: feed.pause,
    resume: feed.resume,
    reread: feed.reread,
    /** Takes an event, also while the panel is closed: opening shows what was said meanwhile. */
    hear({ data }) {
      const message = data?.message;
      if (typeof message?.id !== 'string') return;
      feed.hear(message);
      const isNews = message.type !== 'system' && message.participantId !== userId && !feed.isOpen();
      if (put(message) && isNews) set({ unread: view.unread + 1 });
    },
    /** Events may have been missed: what arrives from now on does not follow what is there. */
    miss() { isFollowed = false; },
    /** Resolves to whether the text was sent. */
    async send(text) {
      const problem = messageProblem(text);
      if (problem) {
        set({ problem });
        return false;
      }
      return post({ message: cleanMessage(text), type: 'chat' });
    },
    react: (emoji) => post({ message: emoji, type: 'reaction' }),
    async loadEarlier() {
      if (view.isLoading || nextBefore === null) return;
      const asked = nextBefore;
      set({ isLoading: true, problem: null });
      try {
        const page = await api.earlierMessages(roomId, asked);
        // The messages that it leads to were dropped meanwhile.
        if (nextBefore !== asked) {
          set({ isLoading: false });
          return;
        }
        nextBefore = page.nextBefore;
        const known = new Set(page.messages.map(({ id }) => id));
        const messages = [...page.messages, ...view.messages.filter(({ id }) => !known.has(id))].sort(byId);
        set({ isLoading: false, messages, hasMore: page.hasMore && messages.length < KEPT_MAX });
      } catch (error) {
        set({ isLoading: false, problem: describeProblem(error) });
      }
    },
  };
}
