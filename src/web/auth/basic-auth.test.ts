import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { compareSync, hashSync } from 'bcryptjs';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import { Authenticator, type AuthVerdict, parseCredentials } from './basic-auth.ts';
import { BcryptThread } from './bcrypt-thread.ts';
import type { Comparison } from './bcrypt-worker.ts';

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const STAYS = new AbortController().signal;

const thread = new BcryptThread(SYSTEM_CLOCK);
after(() => thread.close());

/** An authenticator in front of bcrypt itself, with what it compared. */
function rig() {
  const compared: Comparison[] = [];
  const clock = new FakeClock();
  const authenticator = new Authenticator((comparison) => {
    compared.push(comparison);
    return thread.compare(comparison);
  }, clock);
  const check = (
    users: ReadonlyMap<string, string>,
    user: string,
    password: string,
    client = '192.0.2.1',
    signal = STAYS,
  ): Promise<AuthVerdict> => authenticator.check(users, basic(user, password), client, signal);
  return { authenticator, clock, compared, check };
}

/** An authenticator whose comparisons end when the test says so; none matches. */
function heldRig() {
  const held: { readonly password: string; readonly end: () => void }[] = [];
  const clock = new FakeClock();
  const authenticator = new Authenticator(
    ({ password }) => new Promise((resolve) => held.push({ password, end: () => resolve(false) })),
    clock,
  );
  const users = new Map([['alice', hashSync('right', 4)]]);
  const check = (password: string, client = '192.0.2.1', signal = STAYS) =>
    authenticator.check(users, basic('alice', password), client, signal);
  return { held, clock, check };
}

test('a right password is compared once, and after a change of the hash again', async () => {
  const { check, compared } = rig();
  const users = new Map([['alice', hashSync('right', 4)]]);
  for (let index = 0; index < 100; index++) assert.equal(await check(users, 'alice', 'right'), 'granted');
  assert.equal(compared.length, 1);
  users.set('alice', hashSync('other', 4));
  assert.equal(await check(users, 'alice', 'right'), 'refused');
});

test('two hundred scrapers that start at once with one password cost one comparison', async () => {
  const { check, compared } = rig();
  const users = new Map([['alice', hashSync('right', 4)]]);
  const verdicts = await Promise.all(Array.from({ length: 200 }, () => check(users, 'alice', 'right')));
  assert.deepEqual(new Set(verdicts), new Set(['granted']));
  assert.equal(compared.length, 1);
});

test('comparisons do not keep the event loop', async () => {
  const { check } = rig();
  const users = new Map([['alice', hashSync('right', 11)]]);
  const cpuOf = async (work: () => unknown) => {
    const before = process.threadCpuUsage();
    await work();
    const { user, system } = process.threadCpuUsage(before);
    return user + system;
  };
  const comparison = await cpuOf(() => compareSync('wrong', users.get('alice')!));
  const own = await cpuOf(async () => assert.equal(await check(users, 'alice', 'wrong'), 'refused'));
  assert.ok(own < comparison / 2, `${own} µs of this thread, where the comparison itself takes ${comparison} µs`);
});

test('failed logins of one client are limited, and nobody else is', async () => {
  const { check, compared, clock } = rig();
  const users = new Map([['alice', hashSync('right', 4)]]);
  assert.equal(await check(users, 'alice', 'right'), 'granted');
  const verdicts: AuthVerdict[] = [];
  for (let index = 0; index < 30; index++) verdicts.push(await check(users, 'alice', `guess-${index}`));
  assert.deepEqual(verdicts, [...Array(10).fill('refused'), ...Array(20).fill('limited')]);
  assert.equal(compared.length, 11, 'those beyond the limit are not compared');
  assert.equal(await check(users, 'alice', 'right'), 'granted', 'who is logged in passes from the same address too');
  assert.equal(await check(users, 'alice', 'wrong', '192.0.2.2'), 'refused', 'another client has its own limit');
  clock.moveTo(clock.monotonicMs() + 5_000);
  assert.equal(await check(users, 'alice', 'guess'), 'refused', 'one more every five seconds');
  assert.equal(await check(users, 'alice', 'guess'), 'limited');
});

test('logins that succeed count against no limit', async () => {
  const { check } = rig();
  const users = new Map(Array.from({ length: 30 }, (_, index) => [`user-${index}`, hashSync('right', 4)]));
  for (const user of users.keys()) assert.equal(await check(users, user, 'right'), 'granted');
});

test('failed logins in all are limited, and the right password passes after them', async () => {
  const { check, compared, clock } = rig();
  const users = new Map([['alice', hashSync('right', 4)]]);
  const verdicts: AuthVerdict[] = [];
  for (let index = 0; index < 100; index++) {
    verdicts.push(await check(users, 'alice', 'wrong', `192.0.2.${index}`));
  }
  assert.deepEqual(verdicts, [...Array(50).fill('refused'), ...Array(50).fill('limited')]);
  assert.equal(compared.length, 50);
  clock.moveTo(clock.monotonicMs() + 500);
  assert.equal(await check(users, 'alice', 'right', '192.0.2.200'), 'granted');
});

test('comparisons that wait are bounded, for one client and in all', async () => {
  const { check, held } = heldRig();
  const verdicts = Array.from({ length: 10 }, (_, index) => check(`guess-${index}`));
  assert.equal(await verdicts[9], 'busy');
  await settle();
  assert.equal(held.length, 1, 'one at a time');
  for (let index = 0; index < 9; index++) {
    held[index]!.end();
    assert.equal(await verdicts[index], 'refused');
  }
});

test('a comparison that nobody waits for any more is dropped', async () => {
  const { check, held } = heldRig();
  const first = check('first');
  const left = new AbortController();
  const alsoLeft = new AbortController();
  const dropped = check('dropped', '192.0.2.2', left.signal);
  const shared = check('shared', '192.0.2.3', alsoLeft.signal);
  const stays = check('shared', '192.0.2.4');
  left.abort();
  alsoLeft.abort();
  assert.equal(await dropped, 'gone');
  assert.equal(await shared, 'gone');
  held[0]!.end();
  assert.equal(await first, 'refused');
  await settle();
  held[1]!.end();
  assert.equal(await stays, 'refused');
  assert.deepEqual(
    held.map(({ password }) => password),
    ['first', 'shared'],
  );
});

test('a login that waits too long is asked to come again', async () => {
  const { check, clock } = heldRig();
  const verdict = check('guess');
  await clock.advance(5_000);
  assert.equal(await verdict, 'busy');
});

test('a thread that fails is one error, and the next comparison has a new one', async () => {
  const failing = new BcryptThread(SYSTEM_CLOCK);
  await assert.rejects(failing.compare({ password: 'a', hash: Symbol('no hash') as unknown as string }), {
    code: 'ERR_WEB_PASSWORD_CHECK',
  });
  await assert.rejects(failing.compare({ password: 'a', hash: 7 as unknown as string }), {
    code: 'ERR_WEB_PASSWORD_CHECK',
    message: /^a password could not be checked: /,
  });
  assert.equal(await failing.compare({ password: 'a', hash: hashSync('a', 4) }), true);
  failing.close();
});

test('an unknown user costs a comparison of the same cost, and never passes', async () => {
  const { check, compared, authenticator } = rig();
  const users = new Map([['alice', hashSync('right', 5)]]);
  assert.equal(await check(users, 'nobody', 'wrong'), 'refused');
  assert.match(compared[0]!.hash, /^\$2b\$05\$.{53}$/);
  assert.equal(await authenticator.check(new Map(), basic('alice', 'right'), 'a', STAYS), 'refused');
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
