// The chat of a room, with reactions.

import { html, useEffect, useLayoutEffect, useRef, useState } from '../vendor/htm-preact.js';
import { Composer, Panel } from './panel.js';
import { Author } from './person.js';

const REACTIONS = [['👍', 'Thumbs up'], ['👏', 'Applause'], ['❤️', 'Heart'], ['😂', 'Laughing'], ['🎉', 'Celebration'], ['🤔', 'Thinking']];
/** So close to the end, in CSS pixels, a person is taken to read the newest message. */
const END_PX = 48;

const clockOf = (time) => new Date(time).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });

function Message({ message, isOwn }) {
  const { type, name, participantId } = message;
  const at = html`<time class="age" datetime=${message.createdAt}>${clockOf(message.createdAt)}</time>`;
  if (type === 'system') return html`<li class="message is-system" data-testid="message" data-type="system">${message.message} ${at}</li>`;
  const from = html`<span class="message-from"><${Author} userId=${participantId} name=${name} isOwn=${isOwn} /></span>`;
  if (type === 'reaction') return html`<li class="message is-reaction" data-testid="message" data-type="reaction">${from}${' '}<span class="message-text">${message.message}</span> ${at}</li>`;
  return html`<li class=${isOwn ? 'message is-own' : 'message'} data-testid="message" data-type="chat"><p class="message-head">${from} ${at}</p><p class="message-text">${message.message}</p></li>`;
}

export function ChatPanel({ view, session, onClose }) {
  const { chat, userId } = view;
  const [text, setText] = useState('');
  const field = useRef(null);
  const list = useRef(null);
  const isAtEnd = useRef(true);
  const followed = () => { const l = list.current; isAtEnd.current = l.scrollHeight - l.scrollTop - l.clientHeight < END_PX; };
  useLayoutEffect(() => { if (isAtEnd.current && list.current) list.current.scrollTop = list.current.scrollHeight; }, [chat.messages]);
  // A message that was sent is where the person looks next.
  useEffect(() => { isAtEnd.current = true; }, []);

  async function send() {
    isAtEnd.current = true;
    if (await session.chat.send(text)) setText('');
  }

  const { messages } = chat;
  return html`<${Panel} title="Chat" testid="chat" feed=${session.chat} connection=${chat.connection} first=${field} onClose=${onClose}>
    <div class="messages" ref=${list} onScroll=${followed} tabindex="0" role="log" aria-live="polite" aria-label="Messages">
      ${chat.hasMore && html`<button type="button" class="button small" aria-disabled=${chat.isLoading ? 'true' : undefined} onClick=${session.chat.loadEarlier} data-testid="chat-earlier">Earlier messages</button>`}
      ${messages === null && html`<p class="hint">Loading the messages…</p>`}
      ${messages?.length === 0 && html`<p class="hint" data-testid="chat-empty">No messages yet. Everybody in the room can read them until it ends.</p>`}
      <ul role="list">${messages?.map((message) => html`<${Message} key=${message.id} message=${message} isOwn=${message.participantId === userId} />`)}</ul>
    </div>
    <div class="reactions" role="group" aria-label="React">${REACTIONS.map(([emoji, name]) => html`<button type="button" key=${emoji} class="reaction" aria-label=${name} title=${name}
      aria-disabled=${chat.isSending ? 'true' : undefined} onClick=${() => { isAtEnd.current = true; session.chat.react(emoji); }} data-testid="react">${emoji}</button>`)}</div>
    <${Composer} id="chat-text" label="Message to everybody" button="Send" input=${field} text=${text} onText=${setText} problem=${chat.problem} busy=${chat.isSending} onSend=${send} />
  <//>`;
}
