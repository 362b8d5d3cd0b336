import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Unread } from '../views/meeting.js';
import { ConnectionStatus } from '../views/room.js';
import { partsOf } from './view-parts.js';

/** The view and all components in it, drawn. They have no hooks. */
function drawn(node) {
  if (Array.isArray(node)) return node.map(drawn);
  if (typeof node?.type === 'function') return drawn(node.type(node.props));
  return node?.props ? { ...node, props: { ...node.props, children: drawn(node.props.children) } } : node;
}
const status = (connection, isLive) => partsOf(drawn(ConnectionStatus({ connection, isLive })));

test('a page that is connected says how changes reach it, in words', () => {
  assert.match(status('online', true).text, /^Connected.*arrive as they happen.* Live$/);
  assert.match(status('online', false).text, /^Connected.*asks for them every 1\.5 seconds.* Updated every 1\.5 s$/);
});

test('a page that is not connected, or is in a room that is always polled, says nothing of it', () => {
  for (const connection of ['connecting', 'reconnecting']) assert.deepEqual(status(connection, true), status(connection, null));
  assert.deepEqual(status('online', null), { ids: ['connection-status'], text: 'Connected' });
});

test('how changes arrive is announced to nobody', () => {
  const text = JSON.stringify(drawn(ConnectionStatus({ connection: 'online', isLive: false })));
  assert.doesNotMatch(text, /aria-live|"role"/);
});

test('a button says how much is new behind it', () => {
  assert.equal(Unread({ count: 0 }), null);
  assert.deepEqual([1, 99, 1000].map((count) => Unread({ count }).props.title), ['1 new', '99 new', 'more than 99 new']);
  assert.match(partsOf(Unread({ count: 3 })).text, /, 3 new$/);
});
