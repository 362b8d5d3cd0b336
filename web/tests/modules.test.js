import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';

const root = new URL('../', import.meta.url);
const modules = readdirSync(root, { recursive: true })
  .map((name) => name.replaceAll('\\', '/'))
  .filter((name) => name.endsWith('.js') && !/^(vendor|tests|node_modules)\//.test(name));
/** These run as soon as they are loaded, and need a browser. */
const SCRIPTS = ['app.js', 'beat.js', 'ops/app.js'];

test('every module says in its first line what it does', () => {
  for (const name of modules) assert.match(readFileSync(new URL(name, root), 'utf8'), /^\/\/ [A-Z]/, name);
});

test('every module finds what it imports', async () => {
  assert.ok(SCRIPTS.every((name) => modules.includes(name)));
  for (const name of modules.filter((other) => !SCRIPTS.includes(other))) await import(new URL(name, root));
});
