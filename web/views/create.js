// The form by which a person creates a room.

import { html, useEffect, useRef, useState } from '../vendor/htm-preact.js';
import { cleanName, cleanTitle, nameProblem, passwordProblem, titleProblem } from '../text.js';
import { Check, Field, useRefusal } from './entrance.js';

export function CreateForm({ name: initialName, problem, field, busy, onCreate }) {
  const [title, setTitle] = useState('');
  const [name, setName] = useState(initialName);
  const [password, setPassword] = useState('');
  const [settings, setSettings] = useState({ lobby: false, muteOnJoin: true, moderatedUnmute: false });
  const [tried, setTried] = useState(false);
  const inputs = { title: useRef(null), name: useRef(null), password: useRef(null) };

  useEffect(() => inputs.title.current.focus({ preventScroll: true }), []);

  const { errorAt, change, rest } = useRefusal(problem, field, inputs);
  const own = { title: titleProblem(title), name: nameProblem(name), password: passwordProblem(password) };
  const error = (of) => (tried ? own[of] : null) ?? errorAt(of);
  const typed = (set) => (event) => {
    change();
    set(event.target.value);
  };
  const option = (key) => (isOn) => setSettings({ ...settings, [key]: isOn });

  function submit(event) {
    event.preventDefault();
    setTried(true);
    const wrong = ['title', 'name', 'password'].find((of) => own[of]);
    if (wrong) return inputs[wrong].current.focus();
    if (!busy) onCreate({ title: cleanTitle(title), name: cleanName(name), password, settings });
    return undefined;
  }

  return html`<form class="form" onSubmit=${submit} novalidate aria-label="Create a room">
    <${Field} id="create-title" label="Title" input=${inputs.title} value=${title} onInput=${typed(setTitle)} error=${error('title')}
      hint="Everyone with the link sees it." autocomplete="off" placeholder="Weekly review" />
    <${Field} id="create-name" label="Your name" input=${inputs.name} value=${name} onInput=${typed(setName)} error=${error('name')}
      hint="Visible to everyone in the room." autocomplete="nickname" />
    <${Field} id="create-password" label="Password (optional)" type="password" input=${inputs.password} value=${password} onInput=${typed(setPassword)} error=${error('password')}
      hint="Without one, the link is all that people need." autocomplete="new-password" />
    <fieldset class="checks"><legend>How the room works</legend>
      <${Check} id="create-lobby" label="Lobby" hint="People wait until you let them in." checked=${settings.lobby} onChange=${option('lobby')} />
      <${Check} id="create-mute" label="Mute on join" hint="Everybody is listed as muted from the first moment." checked=${settings.muteOnJoin} onChange=${option('muteOnJoin')} />
      <${Check} id="create-moderated" label="Unmute only with permission" hint="People raise a hand, and you allow them to unmute." checked=${settings.moderatedUnmute} onChange=${option('moderatedUnmute')} />
    </fieldset>
    ${rest && html`<p class="alert" role="alert" data-testid="create-problem">${rest}</p>`}
    <button type="submit" class="button primary wide" data-testid="create-submit" aria-disabled=${busy ? 'true' : undefined}>${busy ? 'Creating…' : 'Create and join muted'}</button>
    <p class="hint">You will be its presenter. A room lives for at most 12 hours.</p>
  </form>`;
}
