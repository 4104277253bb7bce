import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { MachineLag } from '../../../test/support/machine-lag.ts';
import { PveTree, vmArgs } from '../../../test/support/pve-tree.ts';
import { TestMachine } from '../../../test/support/test-machine.ts';
import { VERSION } from '../../cli/version.ts';
import { type PveConfig, readPveConfig } from './config.ts';
import { PVE } from './pve.ts';

function configOf(...argv: readonly string[]): PveConfig {
  const request = readPveConfig(argv);
  assert.ok(request.kind === 'serve');
  return request.config;
}

test('without flags it is what pve_local_exporter is without flags', () => {
  const { parts, ...rest } = configOf();
  assert.deepEqual([...parts], ['running-vms', 'storage', 'up', 'containers']);
  assert.deepEqual(rest, {
    listenAddress: '0.0.0.0:9116',
    webConfigFile: undefined,
    metricsPrefix: 'pve',
    monitor: { kind: 'qmp' },
    devicesTtlMs: 600_000,
    jitterMs: 60_000,
    root: '/',
    logLevel: 'info',
    logFormat: 'logfmt',
    ignored: [],
  });
});

test('every flag of pve_local_exporter is taken in the syntax of Go', () => {
  const { parts, ...rest } = configOf(
    ...['-port', '1234', '--host=::1', '-collect-running-vms=F', '--collect-storage=false', '-metrics-prefix', 'x'],
    ...['--loglevel', 'DEBUG', '--qm-terminal-timeout=1m30s', '--qm-max-ttl', '5m', '--qm-rand=0'],
    ...['--qm-monitor-defer-close=0', '--monitor=qm', 'stray', '--port=1'],
  );
  assert.deepEqual([...parts], ['up', 'containers']);
  assert.deepEqual(rest, {
    listenAddress: '[::1]:1234',
    webConfigFile: undefined,
    metricsPrefix: 'x',
    monitor: { kind: 'qm', timeoutMs: 90_000, isCloseDeferred: false },
    devicesTtlMs: 300_000,
    jitterMs: 0,
    root: '/',
    logLevel: 'debug',
    logFormat: 'logfmt',
    ignored: ['stray', '--port=1'],
  });
});

test('levels have the names of pve_local_exporter, in any case', () => {
  const levels = ['TRACE', 'debug', 'Info', 'WARNING', 'WARN', 'ERROR', 'CRITICAL'];
  assert.deepEqual(
    levels.map((level) => configOf(`--loglevel=${level}`).logLevel),
    ['debug', 'debug', 'info', 'warn', 'warn', 'error', 'error'],
  );
});

test('a command line that cannot be read ends it with 2, one line and the usage', async () => {
  const cases: readonly (readonly [argv: readonly string[], message: RegExp])[] = [
    [['--prot=1'], /unknown flag --prot: did you mean --port\?/],
    [['--port'], /--port needs a value/],
    [['--port=x'], /--port cannot be "x"/],
    [['--port', '-1'], /from 0 to 65535/],
    [['--collect-storage=maybe'], /true or false/],
    [['--no-collect-storage'], /unknown flag --no-collect-storage/],
    [['--qm-rand=60'], /--qm-rand cannot be "60"/],
    [['--loglevel=loud'], /--loglevel cannot be "loud": it must be one of TRACE, DEBUG/],
    [['--loglevel=toString'], /--loglevel cannot be/],
    [['--metrics-prefix=1x'], /--metrics-prefix cannot be "1x"/],
    [['--metrics-prefix=a b'], /write a name such as pve/],
    [['--metrics-prefix=virtlens'], /virtlens's metrics of itself/],
    [['--monitor=ssh'], /one of qmp, qm/],
    [['--monitor=qm', '--collect-disk-io'], /--collect-disk-io needs --monitor=qmp/],
    [['--monitor=qm', '--collect-vcpus'], /--collect-vcpus needs --monitor=qmp/],
  ];
  for (const [argv, message] of cases) {
    const machine = new TestMachine();
    assert.equal(await PVE.run(argv, machine), 2, argv.join(' '));
    const [first = '', ...usage] = machine.stderr.text.split('\n');
    assert.match(first, /^virtlens pve: /);
    assert.match(first, message);
    assert.equal(usage.join('\n'), PVE.help());
    assert.equal(machine.stdout.text, '');
  }
});

test('help and the bare version are printed, and nothing is served', async () => {
  for (const [argv, text] of [
    [['-help'], PVE.help()],
    [['--port=1', '--version'], `${VERSION}\n`],
    [['-version'], `${VERSION}\n`],
  ] as const) {
    const machine = new TestMachine();
    assert.equal(await PVE.run(argv, machine), 0);
    assert.equal(machine.stdout.text, text);
  }
});

test('an address that cannot be used ends it with 1 and one line', async () => {
  const machine = new TestMachine();
  assert.equal(await PVE.run(['--host=203.0.113.1'], machine), 1);
  assert.match(machine.stderr.text, /^virtlens pve: cannot listen on "203\.0\.113\.1:9116"[^\n]*\n$/);
});

test('it serves until SIGTERM; SIGHUP and an exception that nothing caught do not end it', async () => {
  using tree = new PveTree();
  tree.addVm({ pid: 30, args: vmArgs(100, 'web') });
  const machine = new TestMachine();
  const ended = PVE.run([`--root=${tree.dir}`, '--host=127.0.0.1', '--port=0', 'false', '--port=1'], machine);
  const log = await machine.stderr.until(/msg="Listening on"/);
  assert.match(log, /level=WARN msg="arguments behind one that is no flag are not read" arguments="false --port=1"/);
  const url = `http://${/msg="Listening on" address=(\S+)/.exec(log)?.[1]}/metrics`;
  const scrape = async () => {
    const response = await fetch(url, { headers: { connection: 'close' } });
    const text = await response.text();
    assert.match(text, /^pve_kvm_info\{id="100",name="web",cpu="host",pid="30",pool="",/m);
    assert.match(text, /^pve_kvm_up\{id="100"\} 0$/m);
    assert.match(text, /^virtlens_collector_success\{collector="vms"\} 0$/m);
  };
  await scrape();
  assert.ok(machine.signal('SIGHUP'), 'SIGHUP is handled');
  machine.uncaughtExceptionHandler?.(new Error('surprise'));
  await scrape();
  machine.signal('SIGTERM');
  assert.equal(await ended, 0);
});

test('a scraper that waits briefly gets what is known by then', async () => {
  using tree = new PveTree();
  tree.addVm({ pid: 30, args: vmArgs(100) });

  const silent = createServer(() => {}).listen(tree.path('run/qemu-server/100.qmp'));
  const machine = new TestMachine();
  const ended = PVE.run([`--root=${tree.dir}`, '--host=127.0.0.1', '--port=0'], machine);
  const log = await machine.stderr.until(/msg="Listening on"/);
  await using lag = new MachineLag();
  const startMs = performance.now();
  const response = await fetch(`http://${/address=(\S+)/.exec(log)?.[1]}/metrics`, {
    headers: { connection: 'close', 'X-Prometheus-Scrape-Timeout-Seconds': '0.3' },
  });
  assert.equal(response.status, 200);
  assert.match(await response.text(), /^pve_kvm_vcores\{id="100"\} 2$/m);
  const tookMs = performance.now() - startMs - (await lag.allowanceMs());
  assert.ok(tookMs < 900, 'the monitor is waited for no longer');
  machine.signal('SIGTERM');
  assert.equal(await ended, 0);
  silent.close();
});

test('it serves as serve does: the web configuration file, gzip, OpenMetrics, a page of links and no others', async () => {
  using tree = new PveTree();
  tree.write('web.yml', 'http_server_config:\n  headers:\n    X-Frame-Options: deny\n');
  const machine = new TestMachine();
  const webConfig = `--web.config.file=${tree.path('web.yml')}`;
  const ended = PVE.run([`--root=${tree.dir}`, '--host=127.0.0.1', '--port=0', webConfig], machine);
  const log = await machine.stderr.until(/msg="Listening on"/);
  const url = `http://${/address=(\S+)/.exec(log)?.[1]}`;
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(url + path, { headers: { connection: 'close', ...headers } });
  const page = await get('/metrics', { accept: 'application/openmetrics-text', 'accept-encoding': 'gzip' });
  assert.equal(page.headers.get('x-frame-options'), 'deny');
  assert.equal(page.headers.get('content-encoding'), 'gzip');
  assert.match(await page.text(), /^pve_exporter_build_info\{version=.*\n(?:.*\n)*# EOF\n$/m);
  assert.match(await (await get('/')).text(), /<a href="\/metrics">/);
  for (const [path, status] of [
    ['/-/healthy', 200],
    ['/-/ready', 200],
    ['/metric', 404],
  ] as const) {
    assert.equal((await get(path)).status, status, path);
  }
  machine.signal('SIGTERM');
  assert.equal(await ended, 0);
});
