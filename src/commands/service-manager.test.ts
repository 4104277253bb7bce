import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { KeptOutput } from '../../test/support/test-machine.ts';
import { createReadyNotice, createRunner } from './service-manager.ts';

const NOTIFY_SOCKET = '/run/systemd/notify';

function start(env: Record<string, string>) {
  const clock = new FakeClock();
  const said: string[] = [];
  const notifyReady = createReadyNotice({ env, pid: 7, clock, run: (command) => void said.push(command.join(' ')) });
  return { clock, said, notifyReady };
}

test('without systemd nothing is run', async () => {
  const { said, notifyReady } = start({ WATCHDOG_USEC: '1000000' });
  notifyReady();
  assert.deepEqual(said, []);
});

test('systemd is told once that the service is ready, not before', async () => {
  const { said, notifyReady, clock } = start({ NOTIFY_SOCKET });
  assert.deepEqual(said, []);
  notifyReady();
  notifyReady();
  await clock.advance(3_600_000);
  assert.deepEqual(said, ['systemd-notify --pid=7 READY=1']);
});

test('a watched service says that it is alive, twice in the time that systemd allows', async () => {
  const { said, notifyReady, clock } = start({ NOTIFY_SOCKET, WATCHDOG_USEC: '60000000', WATCHDOG_PID: '7' });
  await clock.advance(60_000);
  assert.deepEqual(said, [], 'a start that hangs is not alive');
  notifyReady();
  await clock.advance(29_999);
  assert.equal(said.length, 1);
  for (let i = 0; i < 4; i++) await clock.advance(30_000);
  assert.deepEqual(said.slice(1), Array(4).fill('systemd-notify --pid=7 WATCHDOG=1'));
});

test('a watchdog of another process, or one that is no number, is not fed', async () => {
  for (const env of [{ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '8' }, { WATCHDOG_USEC: 'soon' }, {}]) {
    const { said, notifyReady, clock } = start({ NOTIFY_SOCKET, ...env });
    notifyReady();
    await clock.advance(600_000);
    assert.equal(said.length, 1, JSON.stringify(env));
  }
});

test('a program that cannot be run is reported once', async () => {
  const stderr = new KeptOutput();
  const run = createRunner(stderr);
  run(['/nonexistent/program', 'x']);
  run(['/nonexistent/program', 'x']);
  await stderr.until(/systemd cannot be told .*ENOENT\n/);
  assert.equal(stderr.text.split('\n').length, 2);
});
