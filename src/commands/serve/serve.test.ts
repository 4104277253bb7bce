import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestMachine } from '../../../test/support/test-machine.ts';
import { COLLECTED_NAMES } from '../../model/collected.ts';
import { readServeConfig, serveHelp } from './config.ts';
import { SERVE } from './serve.ts';

test('a command line gives one value', () => {
  const { filter, enabled, uri, ...rest } = readServeConfig([
    '--libvirt.uri=test:///default',
    '--schema=nova',
    '--no-collector.block',
    '--no-collector.pools',
    '--collector.vcpu_mapping',
    '--domains.include=web-.*',
    '--domains.exclude=.*-old',
    '--collect.interval=30s',
  ]);
  assert.equal(uri.text, 'test:///default');
  assert.deepEqual(
    COLLECTED_NAMES.filter((name) => !enabled.has(name)),
    ['block', 'pools', 'vcpu_hypervisor'],
  );
  assert.deepEqual(['web-1', 'web-1-old', 'db', 'my-web-1'].map(filter), [true, false, false, false]);
  assert.deepEqual(rest, {
    schemas: ['nova'],
    exportNovaMetadata: false,
    scrapeTimeoutMs: 10_000,
    collectIntervalMs: 30_000,
    listenAddresses: [':9177'],
    telemetryPath: '/metrics',
    webConfigFile: undefined,
    logLevel: 'info',
    logFormat: 'logfmt',
  });
});

test('everything that can be collected has a flag', () => {
  for (const name of COLLECTED_NAMES) assert.match(serveHelp(), new RegExp(`--(\\[no-\\])?collector\\.${name} `));
});

test('it serves until SIGTERM; SIGHUP and an exception that nothing caught do not end it', async () => {
  const machine = new TestMachine();
  const ended = SERVE.run(['--libvirt.uri=test:///default', '--web.listen-address=127.0.0.1:0'], machine);
  const log = await machine.stderr.until(/msg="connected to libvirt"/);
  const url = `http://${/msg="Listening on" address=(\S+)/.exec(log)?.[1]}/metrics`;
  const scrape = async () => {
    const response = await fetch(url, { headers: { connection: 'close' } });
    assert.match(await response.text(), /^libvirt_up 1$/m);
  };
  await scrape();
  assert.ok(machine.signal('SIGHUP'), 'SIGHUP is handled');
  machine.uncaughtExceptionHandler?.(new Error('surprise'));
  await scrape();
  assert.match(machine.stderr.text, /level=ERROR msg="an unexpected error was ignored; please report it" err=surprise/);
  machine.signal('SIGTERM');
  assert.equal(await ended, 0);
});

test('what it cannot use ends it with 1 and one line', async () => {
  for (const argv of [
    ['--what'],
    ['--libvirt.uri=x'],
    ['--collect.timeout=1ms'],
    ['--web.telemetry-path=x'],
    ['--web.config.file=/nonexistent/web.yml'],
    ['--domains.include=('],
  ]) {
    const machine = new TestMachine();
    assert.equal(await SERVE.run(['--web.listen-address=127.0.0.1:0', ...argv], machine), 1);
    assert.match(machine.stderr.text, /^virtlens: [^\n]+\n$/);
  }
});
