import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import { parseDomainXml } from '../../collect/inventory/xml/domain-xml.ts';
import { LibvirtError } from '../../libvirt/index.ts';
import type { DomainSnapshot, Snapshot } from '../../model/snapshot.ts';
import { runNova } from './nova.ts';

let directory: string;
let logPath: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'virtlens-nova-'));
  logPath = join(directory, 'nova.log');
});

afterEach(async () => {
  for (const run of runs.splice(0)) {
    run.end();
    await run.done;
  }
  rmSync(directory, { recursive: true, force: true });
});

/** What the tests started; a test that fails must not leave a server behind. */
const runs: { readonly done: Promise<number>; end(): void }[] = [];

/** The VM of the metrics block in the Libvirt Nova Exporter's README, with its numbers. */
function readmeInstance(): DomainSnapshot {
  const { name, uuid, config } = parseDomainXml(`<domain><name>instance-0000030f</name>
    <uuid>6ba7b810-9dad-11d1-80b4-00c04fd430c8</uuid><vcpu>1</vcpu><metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.0"><nova:name>cems-testing-0</nova:name>
    <nova:owner><nova:user uuid="u">admin</nova:user><nova:project uuid="p">admin</nova:project></nova:owner>
    </nova:instance></metadata></domain>`);
  return {
    name,
    uuid,
    id: 7,
    config,
    stats: {
      cpu: { timeNs: 2576469674330, cacheMonitors: [] },
      balloon: { availableKiB: 489084, unusedKiB: 440104, usableKiB: 459648 },
      vcpu: { maximum: 1, current: 1, vcpus: [] },
    },
    job: undefined,
    statsAgeMs: 0,
    timedOut: false,
  };
}

const README_BLOCK = `# HELP libvirt_nova_instance_cpu_time_total instance vcpu time
# TYPE libvirt_nova_instance_cpu_time_total counter
libvirt_nova_instance_cpu_time_total{libvirtname="instance-0000030f",novaname="cems-testing-0",novaproject="admin"} 2576469674330
# HELP libvirt_nova_instance_memory_alloc_kb instance memory allocated
# TYPE libvirt_nova_instance_memory_alloc_kb gauge
libvirt_nova_instance_memory_alloc_kb{libvirtname="instance-0000030f",novaname="cems-testing-0",novaproject="admin"} 489084
# HELP libvirt_nova_instance_memory_cache_used_kb instance memory used including buffers/cache
# TYPE libvirt_nova_instance_memory_cache_used_kb gauge
libvirt_nova_instance_memory_cache_used_kb{libvirtname="instance-0000030f",novaname="cems-testing-0",novaproject="admin"} 48980
# HELP libvirt_nova_instance_memory_used_kb instance memory used without buffers/cache
# TYPE libvirt_nova_instance_memory_used_kb gauge
libvirt_nova_instance_memory_used_kb{libvirtname="instance-0000030f",novaname="cems-testing-0",novaproject="admin"} 29436
# HELP libvirt_nova_instance_vcpu_count instance vcpu allocated
# TYPE libvirt_nova_instance_vcpu_count gauge
libvirt_nova_instance_vcpu_count{libvirtname="instance-0000030f",novaname="cems-testing-0",novaproject="admin"} 1
`;

class TextSink extends Writable {
  text = '';
  readonly #waiting: (() => void)[] = [];
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    for (const resolve of this.#waiting.splice(0)) resolve();
    done();
  }
  /** The first text written. */
  async first(): Promise<string> {
    if (this.text === '') await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.text;
  }
}

/** Runs the command with a collector that answers `domains`, or with one that cannot connect when there are none. */
function start(
  argv: readonly string[],
  domains?: readonly DomainSnapshot[],
  failure: Error = new Error('no such\nfile'),
) {
  const stdout = new TextSink();
  const stderr = new TextSink();
  const signals: string[] = [];
  const collects: number[] = [];
  const opened: { uri: string; groups: string[] }[] = [];
  let end = () => {};
  let closes = 0;
  const snapshot: Snapshot = {
    takenAtMs: 0,
    up: domains !== undefined,
    host: undefined,
    domains: domains ?? [],
    pools: undefined,
    collection: {
      durationMs: 0,
      tasks: [],
      quarantined: 0,
      blockedCalls: 0,
      unknownFields: new Map(),
      mistypedFields: new Map(),
    },
  };
  const done = runNova(argv, {
    stdout,
    stderr,
    clock: SYSTEM_CLOCK,
    onSignal(names, callback) {
      signals.push(...names);
      end = callback;
    },
    openCollector(uri, groups, logger) {
      opened.push({ uri: uri.text, groups: [...groups].sort() });
      return {
        isConnected: domains !== undefined,
        async connect() {
          if (domains !== undefined) return undefined;
          logger.error('libvirt cannot be reached', { uri: uri.text, error: failure.message });
          return failure;
        },
        async collect({ deadlineMs }) {
          collects.push(deadlineMs);
          return snapshot;
        },
        async close() {
          closes++;
        },
      };
    },
  });
  const run = {
    done,
    stdout,
    stderr,
    signals,
    collects,
    opened,
    closes: () => closes,
    end: () => end(),
    /** Asks for a path once the server listens. */
    async get(path: string, headers: Record<string, string> = {}) {
      const port = / http:\/\/\S+:(\d+)\//.exec(await stderr.first())?.[1];
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close', ...headers } });
      return { status: response.status, text: await response.text() };
    },
  };
  runs.push(run);
  return run;
}

describe('virtlens nova', () => {
  test('serves the block of the README, and says where', async () => {
    const run = start(['--port', '0', `--log=${logPath}`], [readmeInstance()]);
    assert.deepEqual(await run.get('/metrics'), { status: 200, text: README_BLOCK });
    assert.match(
      run.stderr.text,
      /^virtlens nova: metrics of qemu:\/\/\/system at http:\/\/\[?[\d.:]+\]?:\d+\/metrics, errors in [^\n]+nova\.log\n$/,
    );
    assert.deepEqual(run.opened, [{ uri: 'qemu:///system', groups: ['balloon', 'cpu_total', 'vcpu'] }]);
    run.end();
    assert.equal(await run.done, 0);
    assert.equal(run.closes(), 1);
    assert.deepEqual(run.signals, ['SIGTERM', 'SIGINT']);
    assert.equal(readFileSync(logPath, 'utf8'), '');
  });

  test('a path other than --path is 404, the root and the health checks included', async () => {
    const run = start(['--port=0', '--path', '/nova', '--log', logPath], [readmeInstance()]);
    assert.equal((await run.get('/nova')).status, 200);
    assert.equal((await run.get('/nova?x=1')).status, 200);
    for (const path of ['/', '/metrics', '/nova/', '/nova/x', '/novas', '/-/healthy', '/-/ready']) {
      assert.equal((await run.get(path)).status, 404, path);
    }
    run.end();
    assert.equal(await run.done, 0);
  });

  test('keeps some of the scraper’s time for the answer', async () => {
    const run = start(['--port=0', '--log', logPath], []);
    const header = 'x-prometheus-scrape-timeout-seconds';
    await run.get('/metrics');
    await run.get('/metrics', { [header]: '15' });
    await run.get('/metrics', { [header]: '0.4' });
    assert.deepEqual(run.collects, [9_500, 14_500, 200]);
    run.end();
    await run.done;
  });

  test('without libvirt the scrape fails and the log file says why, a line each', async () => {
    const run = start(['--port=0', '--log', logPath, '--uri=qemu+tcp://[::1]:1/system']);
    assert.equal((await run.get('/metrics')).status, 500);
    run.end();
    assert.equal(await run.done, 0);
    const lines = readFileSync(logPath, 'utf8').trimEnd().split('\n');
    assert.equal(lines.length, 2);
    assert.match(
      lines[0]!,
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - ERROR - libvirt cannot be reached uri=qemu\+tcp:\/\/\[::1\]:1\/system error="no such\\nfile"$/,
    );
    assert.match(lines[1]!, /^\S+ \S+ - ERROR - .*libvirt does not answer at qemu\+tcp:\/\/\[::1\]:1\/system/);
  });

  test('without hope of libvirt it ends with 1 and one line', async () => {
    const failure = new LibvirtError('ERR_LIBVIRT_AUTH', 'the daemon wants SASL');
    const run = start(['--port=0', '--log', logPath], undefined, failure);
    assert.equal(await run.done, 1);
    assert.match(run.stderr.text, /\nvirtlens nova: the daemon wants SASL\n$/);
    assert.equal(run.closes(), 1);
  });

  test('--help describes the options', async () => {
    const run = start(['--help']);
    assert.equal(await run.done, 0);
    for (const flag of ['--uri', '--path', '--port', '--log']) assert.ok(run.stdout.text.includes(flag), flag);
    assert.deepEqual(run.opened, []);
  });
});

describe('a mistake ends it with 1 and one line that names it', () => {
  const refusal = async (argv: readonly string[]): Promise<string> => {
    const run = start(argv, []);
    assert.equal(await run.done, 1, run.stderr.text);
    assert.match(run.stderr.text, /^virtlens nova: [^\n]+\n$/);
    return run.stderr.text;
  };

  test('flags', async () => {
    assert.match(await refusal(['--prot=9100']), /--prot\b.*--port/);
    for (const port of ['x', '-1', '65536', '91.5', '']) assert.match(await refusal([`--port=${port}`]), /--port/);
    assert.match(await refusal(['--log', logPath, '--port=0', '--path=metrics']), /"metrics".*"\/metrics"/);
  });

  test('the URI', async () => {
    assert.match(await refusal(['--log', logPath, '--uri=nonsense']), /nonsense/);
  });

  test('the log file', async () => {
    const path = join(directory, 'no', 'x.log');
    assert.ok((await refusal(['--log', path])).includes(path));
  });

  test('a port in use', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, resolve));
    const { port } = server.address() as { port: number };
    assert.match(await refusal([`--port=${port}`, '--log', logPath]), new RegExp(`${port}`));
    server.close();
  });
});
