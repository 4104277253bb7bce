import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { TestMachine } from '../../../test/support/test-machine.ts';
import { parseDomainXml } from '../../collect/inventory/xml/domain-xml.ts';
import { LibvirtError } from '../../libvirt/index.ts';
import type { DomainSnapshot, Snapshot } from '../../model/snapshot.ts';
import { NOVA, runNova } from './nova.ts';

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

/** Runs the command with a collector that returns `domains`, or with one that cannot connect when there are none. */
function start(
  argv: readonly string[],
  domains?: readonly DomainSnapshot[],
  failure: Error = new Error('no such\nfile'),
) {
  const machine = new TestMachine();
  const collects: number[] = [];
  const opened: { uri: string; wanted: string[] }[] = [];
  let closes = 0;
  const state = { domains: domains ?? [] };
  const done = runNova(argv, machine, ({ uri, wanted, logger }) => {
    opened.push({ uri: uri.text, wanted: [...wanted].sort() });
    return {
      isConnected: domains !== undefined,
      async connect() {
        if (domains !== undefined) return undefined;
        logger.error('libvirt cannot be reached', { uri: uri.text, err: failure.message });
        return failure;
      },
      async collect({ deadlineMs }): Promise<Snapshot> {
        collects.push(deadlineMs);
        return {
          takenAtMs: 0,
          up: domains !== undefined,
          host: undefined,
          domains: state.domains,
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
      },
      async close() {
        closes++;
      },
    };
  });
  const run = {
    done,
    machine,
    state,
    stderr: machine.stderr,
    collects,
    opened,
    closes: () => closes,
    end: () => void machine.signal('SIGTERM'),
    /** Asks for a path once the server listens. */
    async get(path: string, headers: Record<string, string> = {}) {
      const port = / http:\/\/\S+:(\d+)\//.exec(await machine.stderr.until(/./))?.[1];
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
    assert.deepEqual(run.opened, [{ uri: 'qemu:///system', wanted: ['balloon', 'cpu.time'] }]);
    run.end();
    assert.equal(await run.done, 0);
    assert.equal(run.closes(), 1);
    assert.deepEqual(run.machine.signals, ['SIGTERM', 'SIGINT']);
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
    assert.deepEqual(run.collects, [9_500, 14_500, 350]);
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
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - ERROR - libvirt cannot be reached uri=qemu\+tcp:\/\/\[::1\]:1\/system err="no such\\nfile"$/,
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

  test('a VM that does not answer keeps what its XML says and loses its old numbers, and is named in the log once', async () => {
    const run = start(['--port=0', '--log', logPath], [readmeInstance()]);
    const late = { ...readmeInstance(), name: 'instance-00000310', statsAgeMs: 20_000, timedOut: true };
    for (const domains of [[readmeInstance(), late], [readmeInstance(), late], [readmeInstance()], [late]]) {
      run.state.domains = domains;
      const { text } = await run.get('/metrics');
      const families = text
        .split('\n')
        .flatMap((line) => /^(\w+)\{libvirtname="instance-00000310"/.exec(line)?.[1] ?? []);
      assert.deepEqual(families, domains.includes(late) ? ['libvirt_nova_instance_vcpu_count'] : []);
      assert.equal(text.includes('libvirt_nova_instance_cpu_time_total{'), domains.length === 2 || domains[0] !== late);
    }
    run.end();
    assert.equal(await run.done, 0);
    const lines = readFileSync(logPath, 'utf8').trimEnd().split('\n');
    assert.equal(lines.length, 2);
    for (const line of lines) {
      assert.match(
        line,
        / - WARNING - VMs did not answer in time; their CPU time and memory are left out count=1 domains=instance-00000310$/,
      );
    }
  });

  test('an exception that nothing caught is a line of the log', async () => {
    const run = start(['--port=0', '--log', logPath], []);
    await run.get('/metrics');
    run.machine.uncaughtExceptionHandler?.(new Error('surprise'));
    assert.match(readFileSync(logPath, 'utf8'), / - ERROR - an unexpected error was ignored; .* err=surprise stack=/);
    assert.equal((await run.get('/metrics')).status, 200);
  });

  test('the help describes the options', () => {
    for (const flag of ['--uri', '--path', '--port', '--log']) assert.ok(NOVA.help().includes(flag), flag);
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
