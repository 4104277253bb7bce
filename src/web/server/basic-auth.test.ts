import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashSync } from 'bcryptjs';
import { createAuthenticator, parseCredentials } from './basic-auth.ts';

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

/** CPU time instead of elapsed time: other programs on the machine do not change it. */
async function cpuMsOf(run: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

test('a right password is compared once, and after a change of the hash again', async () => {
  const authenticator = createAuthenticator();
  const slow = hashSync('right', 10);
  const users = new Map([['alice', slow]]);
  const check = () => authenticator.check(users, basic('alice', 'right'));
  const onceMs = await cpuMsOf(check);
  const hundredTimesMs = await cpuMsOf(async () => {
    for (let index = 0; index < 100; index++) assert.equal(await check(), 'granted');
  });
  assert.ok(hundredTimesMs < onceMs * 20, `${hundredTimesMs} ms for 100 after ${onceMs} ms for the first`);
  users.set('alice', hashSync('other', 4));
  assert.equal(await check(), 'refused');
});

test('two hundred scrapers that start at once with one password cost one comparison', async () => {
  const authenticator = createAuthenticator();
  const users = new Map([['alice', hashSync('right', 4)]]);
  const verdicts = await Promise.all(
    Array.from({ length: 200 }, () => authenticator.check(users, basic('alice', 'right'))),
  );
  assert.deepEqual(new Set(verdicts), new Set(['granted']));
});

test('a flood of guesses is turned away, and the right password passes after it', async () => {
  const authenticator = createAuthenticator();
  const users = new Map([['alice', hashSync('right', 4)]]);
  const verdicts = await Promise.all(
    Array.from({ length: 100 }, (_, index) => authenticator.check(users, basic('alice', `guess-${index}`))),
  );
  assert.equal(verdicts.filter((verdict) => verdict === 'refused').length, 64);
  assert.equal(verdicts.filter((verdict) => verdict === 'busy').length, 36);
  assert.equal(await authenticator.check(users, basic('alice', 'right')), 'granted');
});

test('an unknown user costs a comparison of the same kind, and never passes', async () => {
  const authenticator = createAuthenticator();
  const users = new Map([['alice', hashSync('right', 9)]]);
  const timeOf = (user: string, password: string) =>
    cpuMsOf(async () => assert.equal(await authenticator.check(users, basic(user, password)), 'refused'));
  await timeOf('alice', 'warm up');
  const knownMs = await timeOf('alice', 'wrong');
  const unknownMs = await timeOf('nobody', 'wrong');
  assert.ok(unknownMs > knownMs / 4, `${unknownMs} ms for an unknown user, ${knownMs} ms for a known one`);
  assert.equal(await authenticator.check(new Map(), basic('alice', 'right')), 'refused');
});

test('credentials are read as RFC 7617 has them', () => {
  assert.deepEqual(parseCredentials(basic('a', 'b:c')), { user: 'a', password: 'b:c' });
  assert.deepEqual(parseCredentials(basic('', '')), { user: '', password: '' });
  assert.deepEqual(parseCredentials(basic('ä', '東')), { user: 'ä', password: '東' });
  assert.deepEqual(parseCredentials(basic('a', 'b').replace('Basic', 'bASIC')), { user: 'a', password: 'b' });
  for (const header of [undefined, '', 'Basic', 'Basic ', 'Basic YQ==', 'Bearer YTpi', 'Basic YTpi YTpi']) {
    assert.equal(parseCredentials(header), undefined, `${header}`);
  }
});
