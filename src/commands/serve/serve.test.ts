import assert from 'node:assert/strict';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { TestMachine } from '../../../test/support/test-machine.ts';
import { COLLECTED_NAMES } from '../../model/collected.ts';
import { createSimulator, DEMO_HOST } from '../../sim/index.ts';
import { readServeConfig, serveHelp } from './config.ts';
import { SERVE } from './serve.ts';

const ENV = { XDG_CONFIG_HOME: '/nonexistent' };
const read = (...argv: string[]) => readServeConfig(argv, ENV);

test('a command line gives one value', () => {
  const { filter, enabled, uri, ...rest } = read(
    '--libvirt.uri=test:///default',
    '--schema=nova',
    '--no-collector.block',
    '--no-collector.pools',
    '--collector.vcpu_mapping',
    '--domains.include=web-.*',
    '--domains.exclude=.*-old',
    '--collect.interval=30s',
  );
  assert.equal(uri.text, 'test:///default');
  assert.deepEqual(
    COLLECTED_NAMES.filter((name) => !enabled.has(name)),
    ['block', 'pools', 'vcpu_hypervisor'],
  );
  assert.deepEqual(['web-1', 'web-1-old', 'db', 'my-web-1'].map(filter), [true, false, false, false]);
  assert.deepEqual(rest, {
    schemas: ['nova'],
    exportNovaMetadata: false,
    countsEvents: true,
    scrapeTimeoutMs: 10_000,
    collectIntervalMs: 30_000,
    listenAddresses: [':9177'],
    isSocketActivated: false,
    telemetryPath: '/metrics',
    healthPath: undefined,
    webConfigFile: undefined,
    logLevel: 'info',
    logFormat: 'logfmt',
    notices: [],
  });
});

test("kumina's, Debian's and Tinkoff's flags are taken", () => {
  const { uri, listenAddresses, telemetryPath, exportNovaMetadata } = read(
    '--web.listen-address',
    '127.0.0.1:9000',
    '--web.telemetry-path=/m',
    '--libvirt.uri',
    'qemu+tcp://host/system',
    '--libvirt.export-nova-metadata',
  );
  assert.deepEqual(
    [uri.text, listenAddresses, telemetryPath, exportNovaMetadata],
    ['qemu+tcp://host/system', ['127.0.0.1:9000'], '/m', true],
  );
});

test("inovex's flags are taken", () => {
  const config = read(
    '--libvirt.uri=/var/run/libvirt/libvirt-sock-ro',
    '--libvirt.driver=xen:///system',
    '--exporter.timeout=3s',
    '--exporter.max-concurrent-collects=8',
    '--web.health-path=/health',
    '--web.telemetry-path=/m',
    '--web.listen-address=127.0.0.1:1',
    '--web.listen-address=[::1]:1',
    '--no-web.systemd-socket',
    '--web.config.file=/etc/web.yml',
    '--log.level=WARN',
    '--log.format=json',
  );
  const { uri, scrapeTimeoutMs, healthPath, listenAddresses, isSocketActivated, logLevel, logFormat, notices } = config;
  assert.equal(uri.text, 'xen+unix:///system?socket=/var/run/libvirt/libvirt-sock-ro');
  assert.deepEqual([scrapeTimeoutMs, healthPath, listenAddresses], [3000, '/health', ['127.0.0.1:1', '[::1]:1']]);
  assert.deepEqual([isSocketActivated, logLevel, logFormat], [false, 'warn', 'json']);
  assert.deepEqual(notices, ['--exporter.max-concurrent-collects has no effect: one call reads many VMs']);
  assert.equal(read('--web.health-path=').healthPath, undefined);
  assert.equal(read('--web.systemd-socket').isSocketActivated, true);
});

test('--libvirt.uri may be the path of a socket, and --libvirt.driver says what is opened there', () => {
  for (const [argv, text, remoteName] of [
    [['--libvirt.uri=/run/a b?.sock'], 'qemu+unix:///system?socket=/run/a%20b%3F.sock', 'qemu:///system'],
    [['--libvirt.uri=/s', '--libvirt.driver=test:///default'], 'test+unix:///default?socket=/s', 'test:///default'],
    [['--libvirt.driver=qemu:///session'], 'qemu+unix:///session', 'qemu:///session'],
  ] as const) {
    const { uri } = read(...argv);
    assert.deepEqual(
      [uri.text, uri.remoteName, uri.params.get('socket')],
      [text, remoteName, uri.params.get('socket')],
    );
  }
  assert.equal(read('--libvirt.uri=/run/a b?.sock').uri.params.get('socket'), '/run/a b?.sock');
  for (const [argv, words] of [
    [
      ['--libvirt.uri=qemu+tcp://h/system', '--libvirt.driver=qemu:///system'],
      /^--libvirt\.driver goes with the path of a socket in --libvirt\.uri, and "qemu\+tcp:\/\/h\/system" is none/,
    ],
    [['--libvirt.driver=qemu+tcp://h/system'], /^--libvirt\.driver cannot be "qemu\+tcp:.*must be a local URI such as/],
    [['--libvirt.uri=/s', '--libvirt.driver=QEMU'], /libvirt URI 'QEMU'/],
  ] as const) {
    assert.throws(
      () => read(...argv),
      (error: Error) => words.test(error.message),
    );
  }
});

test('a flag of SASL is refused without its value', () => {
  for (const argv of [['--libvirt.auth.password=hunter2'], ['--libvirt.auth.username', 'u']]) {
    assert.throws(
      () => read(...argv),
      /^FlagError: there is no flag --libvirt\.auth\.\w+: virtlens does not do SASL; [^\n]*$/,
    );
  }
});

test('the environment names the daemon where no flag does, and messages say so', () => {
  const uriOf = (argv: readonly string[], LIBVIRT_DEFAULT_URI: string) =>
    readServeConfig(argv, { ...ENV, LIBVIRT_DEFAULT_URI }).uri.text;
  assert.equal(uriOf([], 'test:///default'), 'test:///default');
  assert.equal(uriOf(['--libvirt.uri=qemu:///session'], 'test:///default'), 'qemu:///session');
  assert.equal(uriOf(['--libvirt.driver=qemu:///session'], 'test:///default'), 'qemu+unix:///session');
  assert.throws(() => uriOf([], 'qemu://system'), /\$LIBVIRT_DEFAULT_URI: libvirt URI 'qemu:\/\/system'/);
  assert.throws(() => uriOf(['--libvirt.uri='], 'test:///default'), /it is empty/);
  assert.throws(
    () => read('--libvirt.uri=prod'),
    /'prod': it has no 'driver:'.*; \S+libvirt\.conf has no alias of that name$/,
  );
});

test('log levels are known by the words of other programs, in any case', () => {
  for (const [text, level] of [
    ['INFO', 'info'],
    ['warning', 'warn'],
    ['Warning', 'warn'],
    ['err', 'error'],
    ['fatal', 'error'],
    ['DEBUG', 'debug'],
  ]) {
    assert.equal(read(`--log.level=${text}`).logLevel, level);
  }
});

test('it listens on the sockets of systemd when it is asked to, and says when there are none', async () => {
  const argv = ['--libvirt.uri=test:///default', '--web.systemd-socket', '--web.listen-address=127.0.0.1:1'];
  const without = new TestMachine();
  assert.equal(await SERVE.run(argv, without), 1);
  assert.match(
    without.stderr.text,
    /^virtlens: --web\.systemd-socket: systemd passed no socket .*--web\.listen-address\n$/,
  );

  const notSocket = new TestMachine({ inheritedSockets: [openSync('/dev/null', 'r')] });
  assert.equal(await SERVE.run(argv, notSocket), 1);
  assert.match(
    notSocket.stderr.text,
    /^virtlens: cannot listen on socket \d+ of the service manager: [^\n]*ListenStream=[^\n]*\n$/,
  );
});

test('--web.health-path is 503 while libvirt is away and 200 when it is there', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'virtlens-health-'));
  const path = join(directory, 'sock');
  const machine = new TestMachine();
  const argv = [`--libvirt.uri=${path}`, '--libvirt.driver=test:///default', '--web.health-path=/health'];
  const ended = SERVE.run([...argv, '--web.listen-address=127.0.0.1:0'], machine);
  const log = await machine.stderr.until(/level=ERROR/);
  const url = `http://${/address=(\S+)/.exec(log)?.[1]}/health`;
  const status = async () => {
    const response = await fetch(url, { headers: { connection: 'close' } });
    await response.text();
    return response.status;
  };
  assert.equal(await status(), 503);
  const simulator = createSimulator(DEMO_HOST);
  await simulator.listen({ path });
  assert.equal(await status(), 200);
  machine.signal('SIGTERM');
  assert.equal(await ended, 0);
  await simulator.close();
  rmSync(directory, { recursive: true });
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

test('with five VMs and no flags it has at most 40 series about itself, scrape after scrape', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'virtlens-self-'));
  const path = join(directory, 'sock');
  const simulator = createSimulator({ fleets: [{ count: 5 }] });
  await simulator.listen({ path });
  const machine = new TestMachine();
  const argv = [`--libvirt.uri=qemu+unix:///system?socket=${path}`, '--web.listen-address=127.0.0.1:0'];
  const ended = SERVE.run(argv, machine);
  const log = await machine.stderr.until(/msg="connected to libvirt"/);
  const url = `http://${/msg="Listening on" address=(\S+)/.exec(log)?.[1]}/metrics`;
  for (let scrape = 0; scrape < 5; scrape++) {
    const page = await (await fetch(url, { headers: { connection: 'close' } })).text();
    assert.match(page, /^libvirt_up 1$/m);
    for (const part of ['inventory', 'block', 'jobs']) assert.match(page, new RegExp(`collector="${part}"} 1$`, 'm'));
    assert.match(page, /^virtlens_libvirt_rpc_calls_total\{procedure="connectGetAllDomainStats",outcome="ok"\} \d+$/m);
    const own = page.match(/^(?:virtlens|process)_.*$/gm)!;
    assert.ok(own.length > 20 && own.length <= 40, `${own.length} series:\n${own.join('\n')}`);
  }
  machine.signal('SIGTERM');
  assert.equal(await ended, 0);
  await simulator.close();
  rmSync(directory, { recursive: true });
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
