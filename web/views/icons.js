// The icons, and the mark of the product.

import { html } from '../vendor/htm-preact.js';

const svg = (body, className = 'icon') => html`<svg class=${className} viewBox="0 0 24 24" aria-hidden="true" focusable="false">${body}</svg>`;

const capsule = () => html`<rect x="9" y="3" width="6" height="11" rx="3" /><path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3" />`;

export const MicIcon = () => svg(capsule());
export const MicOffIcon = () => svg(html`${capsule()}<path class="slash" d="M4 4l16 16" />`);
export const LinkIcon = () => svg(html`<path d="M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 5.7 5.7l1-1" />`);
export const HelpIcon = () => svg(html`<circle cx="12" cy="12" r="9" /><path d="M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M12 16.8v.1" />`);
export const LeaveIcon = () => svg(html`<path d="M10 4H6a1 1 0 0 0-1 1v14a1 1 0 0 0 1 1h4M15 8l4 4-4 4M19 12H10" />`);
export const CheckIcon = () => svg(html`<path d="M5 12.5l4.5 4.5L19 7.5" />`, 'icon icon-bold');
export const AlertIcon = () => svg(html`<path d="M8.3 3h7.4L21 8.3v7.4L15.7 21H8.3L3 15.7V8.3zM12 7.5v5.5M12 16.4v.1" />`);
export const ClockIcon = () => svg(html`<circle cx="12" cy="12" r="9" /><path d="M12 7v5l3 2" />`);
export const ShieldIcon = () => svg(html`<path d="M12 3l7.5 2.8v5.4c0 4.6-3 8-7.5 9.8-4.5-1.8-7.5-5.2-7.5-9.8V5.8z" /><path d="M8.3 12l2.6 2.6 4.8-5" />`);
export const QuestionIcon = () => svg(html`<path d="M12 3l7.5 2.8v5.4c0 4.6-3 8-7.5 9.8-4.5-1.8-7.5-5.2-7.5-9.8V5.8z" stroke-dasharray="3.2 2.6" /><path d="M12 7.8v4.7M12 15.8v.1" />`);
export const CopyIcon = () => svg(html`<rect x="9" y="9" width="11" height="11" rx="2" /><path d="M15 9V6a2 2 0 0 0-2-2H6a2 2 0 0 0-2 2v7a2 2 0 0 0 2 2h3" />`);
export const HandIcon = () => svg(html`<path d="M7 12V6.5a1.5 1.5 0 0 1 3 0V11M10 10.5V4.5a1.5 1.5 0 0 1 3 0V11M13 10.5v-5a1.5 1.5 0 0 1 3 0V12M16 11.5V8.5a1.5 1.5 0 0 1 3 0V14.5a6.5 6.5 0 0 1-6.5 6.5c-2.8 0-4.3-1-5.6-3L4 13.7a1.6 1.6 0 0 1 2.7-1.7L7 12.5" />`);
export const UpIcon = () => svg(html`<path d="M12 6l7 9H5z" />`);
export const CloseIcon = () => svg(html`<path d="M6 6l12 12M18 6L6 18" />`);

/** Name and mark of the product. The mark has a broken line because the chips of claims have one. */
export const Brand = () => html`<span class="brand">
  <svg class="brand-mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <rect class="mark-ground" width="32" height="32" rx="8" />
    <rect class="mark-fill" x="12.5" y="6.5" width="7" height="12" rx="3.5" />
    <path class="mark-line mark-broken" d="M8.5 15.5a7.5 7.5 0 0 0 15 0" /><path class="mark-line" d="M16 23v3.5" />
  </svg>Greenroom</span>`;
