// The dialog in which a presenter changes a room: its title, its size and its password.

import { html, useRef, useState } from '../vendor/htm-preact.js';
import { changeOf, draftOf, shownOf, problemsOf } from '../room-change.js';
import { SIZE_MAX, SIZE_MIN } from '../text.js';
import { Dialog } from './dialog.js';
import { Check, Field, useRefusal } from './entrance.js';

const ORDER = ['title', 'size', 'password'];
const OVERTAKEN = 'Somebody else has changed this meanwhile.';

function RoomForm({ meeting, session, onClose }) {
  const { room, busy } = meeting;
  const [titleDraft, setTitle] = useState(null);
  const [sizeDraft, setSize] = useState(null);
  const [password, setPassword] = useState('');
  const [isRemoving, setRemoving] = useState(false);
  const [tried, setTried] = useState(false);
  const inputs = { title: useRef(null), size: useRef(null), password: useRef(null) };

  const problem = meeting.problem?.where === 'room' ? meeting.problem : null;
  const { errorAt, change, rest } = useRefusal(problem?.text ?? null, problem?.field ?? null, inputs);
  const title = shownOf(titleDraft, room.title);
  const size = shownOf(sizeDraft, room.maxParticipants);
  // Somebody else may have removed it meanwhile.
  const isOpened = isRemoving && room.hasPassword;
  const fields = { title: title.text, size: size.text, password: isOpened ? '' : password, isOpened };
  const own = problemsOf(fields);
  const error = (of) => (tried ? own[of] : null) ?? errorAt(of);
  const typed = (set) => (event) => {
    change();
    set(event.target.value);
  };

  async function submit(event) {
    event.preventDefault();
    setTried(true);
    const wrong = ORDER.find((of) => own[of]);
    if (wrong) {
      inputs[wrong].current.focus();
      return;
    }
    if (busy) return;
    const wanted = changeOf(room, fields);
    // A password stays in the page no longer than it is being sent, also if it is refused.
    setPassword('');
    if (Object.keys(wanted).length === 0 || await session.meeting.changeRoom(wanted)) onClose();
  }

  return html`<form class="form" onSubmit=${submit} novalidate aria-label="Change the room">
    <${Field} id="change-title" label="Title" input=${inputs.title} value=${title.text} onInput=${typed((text) => setTitle(draftOf(text, room.title)))} error=${error('title')}
      hint=${title.isOvertaken ? OVERTAKEN : 'Everyone with the link sees it. The link stays as it is.'} autocomplete="off" />
    <${Field} id="change-size" label="Number of people" input=${inputs.size} value=${size.text} onInput=${typed((text) => setSize(draftOf(text, room.maxParticipants)))} error=${error('size')}
      hint=${size.isOvertaken ? OVERTAKEN : `From ${SIZE_MIN} to ${SIZE_MAX}, with you. Nobody has to leave if more are here now.`} autocomplete="off" inputmode="numeric" />
    ${!isOpened && html`<${Field} id="change-password" label=${room.hasPassword ? 'New password' : 'Password'} type="password" input=${inputs.password} value=${password} onInput=${typed(setPassword)}
      error=${error('password')} hint=${room.hasPassword ? 'Leave it empty to keep the password that the room has.' : 'The room has none: the link is all that people need.'} autocomplete="new-password" />`}
    ${room.hasPassword && html`<${Check} id="change-open" label="Remove the password" hint="The link is all that people need then." checked=${isRemoving} onChange=${setRemoving} />`}
    ${rest && html`<p class="alert" role="alert" data-testid="change-problem">${rest}</p>`}
    <div class="actions">
      <button type="button" class="button" onClick=${onClose} data-testid="change-cancel">Cancel</button>
      <button type="submit" class="button primary" aria-disabled=${busy ? 'true' : undefined} data-testid="change-save">${busy === 'room' ? 'Saving…' : 'Save'}</button>
    </div>
  </form>`;
}

export function RoomDialog({ open, meeting, session, onClose }) {
  return html`<${Dialog} open=${open} title="Change the room" testid="room-dialog" onClose=${onClose}>
    <${RoomForm} meeting=${meeting} session=${session} onClose=${onClose} />
  <//>`;
}
