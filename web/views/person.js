// How a person is named wherever the page names somebody.

import { createContext, html, useContext, useMemo } from '../vendor/htm-preact.js';
import { describeUser } from '../identity.js';
import { everybodyOf, presentersOf, suffixesOf } from '../names.js';

const Crowd = createContext({ suffixes: new Map(), presenters: new Set() });

/** Makes known to all that is shown inside it whose names look alike, and who presents. */
export function Named({ view, children }) {
  const people = everybodyOf(view);
  // Comparing names costs more than listing them, and people come and go rarely.
  const suffixes = useMemo(() => suffixesOf(people), [JSON.stringify(people)]);
  return html`<${Crowd.Provider} value=${{ suffixes, presenters: presentersOf(view) }}>${children}<//>`;
}

/**
 * How people are named: `{name, initials, suffix, full}`. `suffix` is the end of the id if somebody else here has a name
 * that looks like this one, else null; `full` is the name with it, for a text.
 */
export function useNames() {
  const { suffixes } = useContext(Crowd);
  return (person) => {
    const { name, initials } = describeUser(person);
    const suffix = suffixes.get(person.userId) ?? null;
    return { name, initials, suffix, full: suffix ? `${name} ${suffix}` : name };
  };
}

const WHY = 'Somebody else here has a name that looks like this one. This is the end of the person’s id.';

/** The end of an id, behind a name. It looks unlike a name, because a name may end in any letters. */
export function Suffix({ suffix }) {
  return suffix && html`<span class="tag" title=${WHY} data-testid="suffix"><span class="visually-hidden">, id </span>${suffix}</span>`;
}

/** Who has written something: their name, and whether they present now. */
export function Author({ userId, name, isOwn }) {
  const who = useNames()({ userId, name });
  const { presenters } = useContext(Crowd);
  if (isOwn) return 'You';
  return html`${who.name}${who.suffix && html`${' '}<${Suffix} suffix=${who.suffix} />`}${presenters.has(userId) && html`${' '}<span class="badge" data-testid="author-role">Presenter</span>`}`;
}
