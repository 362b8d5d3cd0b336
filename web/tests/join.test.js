import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../http.js';
import { describeProblem, fieldOf, putClaim } from '../join.js';

const refused = (...fields) => new ApiError({ status: 400, detail: 'name is too long', errors: fields.map((field) => ({ field, rule: 'r' })) });

function server(...answers) {
  const sent = [];
  const api = {
    async putState(userId, claim) {
      sent.push([userId, claim]);
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  return { sent, join: () => putClaim({ api, nextSeq: () => 7 }, 'ada', { isMuted: true }) };
}

test('joining sends the claim with its counter', async () => {
  const { sent, join } = server({ version: 1, applied: true });
  assert.deepEqual([await join(), sent], [{ version: 1 }, [['ada', { isMuted: true, seq: 7 }]]]);
});

test('a counter that is refused or overtaken does not keep a person out', async () => {
  for (const first of [{ version: 4, applied: false }, refused('seq')]) {
    const { sent, join } = server(first, { version: 5, applied: true });
    assert.deepEqual([await join(), sent.at(-1)], [{ version: 5 }, ['ada', { isMuted: true }]]);
  }
});

test('any other refusal ends the attempt', async () => {
  const { sent, join } = server(refused('name'));
  await assert.rejects(join(), { status: 400 });
  assert.equal(sent.length, 1);
});

test('a refusal names the field of the form that it is about', () => {
  assert.deepEqual([refused('roomId', 'name'), refused('roomId'), refused('lease'), new Error('x')].map(fieldOf), ['name', 'room', null, null]);
  assert.deepEqual([refused('title'), refused('presenterName'), refused('password'), new ApiError({ status: 401, code: 'password_required' })].map(fieldOf), ['title', 'name', 'password', 'password']);
});

test('a failure is explained by what the person can do about it', () => {
  assert.match(describeProblem(new ApiError({})), /connection/);
  for (const status of [429, 503]) assert.match(describeProblem(new ApiError({ status })), /Wait/);
  assert.match(describeProblem(new ApiError({ status: 429, retryAfterMs: 21_000 })), /Wait 21 s/);
  assert.match(describeProblem(new ApiError({ status: 429, retryAfterMs: 60_000 })), /Wait some minutes/, 'the wait was cut to a minute');
  assert.equal(describeProblem(new ApiError({ status: 401, code: 'password_wrong' })), 'This is not the room’s password.');
  assert.equal(describeProblem(refused('name')), 'The server refused: name is too long');
  assert.match(describeProblem(new TypeError('x')), /Reload/);
});
