import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { SIM } from '../src/commands/sim/sim.ts';
import { createSimulator, DEMO_HOST, loadScenario, type Simulator, type VmDescription } from '../src/sim/index.ts';
import { findProgram } from './lab/tools.ts';
import { TestMachine } from './support/test-machine.ts';

const execute = promisify(execFile);
const VIRSH_TIMEOUT_MS = 20_000;
const SCENARIOS = join(import.meta.dirname, '..', 'examples', 'scenarios');

/** A suite that needs virsh and nothing else of a host: neither root nor a daemon. */
function describeVirsh(name: string, body: () => void): void {
  if (findProgram('virsh') !== undefined) {
    describe(name, body);
    return;
  }
  describe(name, () => {
    it('needs virsh', { skip: 'virsh is not installed (npm test as root on Debian or Ubuntu installs it)' }, () => {});
  });
}

/** A simulated host on a socket of its own, and virsh on it. */
class Host {
  readonly simulator: Simulator;
  readonly uri: string;
  readonly #directory: string;

  private constructor(simulator: Simulator, uri: string, directory: string) {
    this.simulator = simulator;
    this.uri = uri;
    this.#directory = directory;
  }

  static async start(options: Parameters<typeof createSimulator>[0]): Promise<Host> {
    const directory = mkdtempSync(join(tmpdir(), 'virtlens-sim-'));
    const path = join(directory, 'sock');
    const simulator = createSimulator(options);
    await simulator.listen({ path });
    return new Host(simulator, `test+unix:///default?socket=${path}`, directory);
  }

  async virsh(...args: string[]): Promise<string> {
    const { stdout } = await execute('virsh', ['-q', '-c', this.uri, ...args], { timeout: VIRSH_TIMEOUT_MS });
    return stdout;
  }

  /** What virsh complains of, of a command that must fail. */
  async refusal(...args: string[]): Promise<string> {
    const error = await this.virsh(...args).then(
      (stdout) => assert.fail(`virsh ${args.join(' ')} was to fail, and printed ${stdout}`),
      (failure: Error & { readonly stderr: string }) => failure,
    );
    return error.stderr;
  }

  /** The statistics that virsh shows of each VM. */
  async domstats(...args: string[]): Promise<Map<string, Map<string, string>>> {
    const vms = new Map<string, Map<string, string>>();
    let stats = new Map<string, string>();
    for (const line of (await this.virsh('domstats', ...args)).split('\n')) {
      const name = /^Domain: '(.*)'$/.exec(line)?.[1];
      if (name !== undefined) {
        stats = new Map();
        vms.set(name, stats);
      }
      const match = /^ {2}([^=]+)=(.*)$/.exec(line);
      if (match !== null) stats.set(match[1]!, match[2]!);
    }
    return vms;
  }

  async stop(): Promise<void> {
    await this.simulator.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** One VM of each kind that the commands are tried on. */
const VMS: readonly VmDescription[] = [
  { name: 'play', uptimeSeconds: 100 },
  {
    name: 'web',
    disks: [
      { target: 'vda', source: { file: '/images/web.qcow2' }, capacityBytes: 2 ** 30 },
      { target: 'vdb', source: { dev: '/dev/vg0/web' }, format: 'raw', capacityBytes: 2 ** 30 },
    ],
    interfaces: [
      { mac: '52:54:00:00:00:01', target: 'vnet1', source: 'br0' },
      { mac: '52:54:00:00:00:02', target: 'vnet2', source: 'br0' },
    ],
  },
  { name: 'db' },
  { name: 'cloud', metadata: '<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"/>' },
  { name: 'paused', state: 'paused' },
  { name: 'off', state: 'shutoff' },
];

describeVirsh('virsh on the simulated hypervisor', () => {
  let host: Host;
  before(async () => {
    host = await Host.start({ ...DEMO_HOST, fleets: [], vms: VMS });
  });
  after(() => host.stop());

  it('lists every VM with its state', async () => {
    const lines = (await host.virsh('list', '--all')).trim().split('\n');
    assert.equal(lines.length, VMS.length);
    assert.match(lines[0]!, /^\s*1\s+play\s+running$/);
    assert.equal(lines.filter((line) => /^\s*-\s+off\s+shut off$/.test(line)).length, 1);
    assert.match(await host.virsh('list', '--state-paused', '--all'), /paused\s+paused/);
    assert.equal((await host.virsh('list', '--name')).trim().split('\n').length, VMS.length - 1);
  });

  it('tells what it knows of one VM', async () => {
    const info = await host.virsh('dominfo', 'web');
    assert.match(info, /Name:\s+web/);
    assert.match(info, /State:\s+running/);
    assert.match(info, /OS Type:\s+hvm/);
    assert.match(info, /Persistent:\s+yes/);
    assert.match(info, /Autostart:\s+disable/);
    assert.match(info, /Managed save:\s+no/);
    const uuid = (await host.virsh('domuuid', 'web')).trim();
    assert.equal((await host.virsh('domname', uuid)).trim(), 'web');
    const id = (await host.virsh('domid', 'web')).trim();
    assert.equal((await host.virsh('domname', id)).trim(), 'web');
    assert.equal((await host.virsh('domstate', '--reason', 'paused')).trim(), 'paused (user)');
    assert.match(await host.virsh('domcontrol', 'web'), /ok/);
  });

  it('shows statistics: all groups, chosen groups, chosen VMs, raw, without waiting', async () => {
    const all = await host.domstats();
    assert.equal(all.size, VMS.length);
    for (const group of [
      'state.state',
      'cpu.time',
      'balloon.rss',
      'vcpu.0.time',
      'net.0.rx.bytes',
      'block.0.rd.bytes',
    ]) {
      assert.match(all.get('web')!.get(group)!, /^\d+$/, group);
    }
    const some = await host.domstats('--state', '--interface', '--raw', '--nowait', 'web', 'db');
    assert.deepEqual([...some.keys()], ['web', 'db']);
    assert.deepEqual(
      new Set([...some.get('db')!.keys()].map((field) => field.split('.')[0])),
      new Set(['state', 'net']),
    );
    const groups = [
      '--cpu-total',
      '--balloon',
      '--vcpu',
      '--block',
      '--perf',
      '--iothread',
      '--memory',
      '--dirtyrate',
      '--vm',
    ];
    assert.equal((await host.domstats(...groups, '--enforce', '--backing')).size, VMS.length);
    assert.deepEqual([...(await host.domstats('--list-shutoff')).keys()], ['off']);
    assert.deepEqual([...(await host.domstats('--list-paused')).keys()], ['paused']);
  });

  it('shows XML that virsh itself can read devices from', async () => {
    assert.match(await host.virsh('dumpxml', 'cloud'), /<nova:instance xmlns:nova=/);
    const stats = (await host.domstats('web')).get('web')!;
    const disks = (await host.virsh('domblklist', '--details', 'web')).trim().split('\n');
    assert.equal(disks.length, Number(stats.get('block.count')));
    const nics = (await host.virsh('domiflist', 'web')).trim().split('\n');
    assert.equal(nics.length, Number(stats.get('net.count')));
    assert.ok(nics[0]!.includes(stats.get('net.0.name')!));
  });

  it('answers the older statistics calls', async () => {
    const stats = (await host.domstats('paused')).get('paused')!;
    const block = await host.virsh('domblkstat', 'paused', 'vda');
    assert.match(block, new RegExp(`vda rd_bytes ${stats.get('block.0.rd.bytes')}\\b`));
    const nic = stats.get('net.0.name')!;
    assert.match(
      await host.virsh('domifstat', 'paused', nic),
      new RegExp(`rx_bytes ${stats.get('net.0.rx.bytes')}\\b`),
    );
    assert.match(await host.virsh('dommemstat', 'paused'), new RegExp(`rss ${stats.get('balloon.rss')}\\b`));
    const info = await host.virsh('domblkinfo', 'paused', 'vda');
    assert.match(info, new RegExp(`Capacity:\\s+${stats.get('block.0.capacity')}\\b`));
    assert.match(await host.virsh('vcpuinfo', 'paused'), /CPU Affinity:\s+y{32}/);
    assert.match(await host.virsh('vcpupin', 'paused'), /0\s+0-31/);
    assert.match(await host.virsh('domjobinfo', 'paused'), /Job type:\s+None/);
    assert.match(await host.virsh('blkdeviotune', 'paused', 'vda'), /total_iops_sec\s*: 0/);
  });

  it('tells of the host', async () => {
    assert.match(await host.virsh('nodeinfo'), /CPU\(s\):\s+32/);
    assert.equal((await host.virsh('hostname')).trim(), 'simulated-host');
    assert.match(await host.virsh('version', '--daemon'), /Running against daemon: 9\.0\.0/);
    assert.match(await host.virsh('version'), /Running hypervisor: QEMU 7\.2\.0/);
    assert.match(await host.virsh('capabilities'), /<os_type>hvm<\/os_type>/);
    assert.match(await host.virsh('sysinfo'), /simulated hypervisor/);
    assert.equal((await host.virsh('uri')).trim(), host.uri);
    const pools = (await host.virsh('pool-list', '--all', '--details')).trim().split('\n');
    assert.match(pools[0]!, /^\s*default\s+running\s+yes\s+yes\s+500\.00 GiB\s+213\.00 GiB\s+287\.00 GiB$/);
    assert.match(await host.virsh('pool-info', 'default'), /Capacity:\s+500\.00 GiB/);
    assert.match(await host.virsh('net-list', '--all'), /^\s*$/);
  });

  it('does the steps of its script, and reports what it cannot do', async () => {
    const args = ['-c', host.uri, 'event', '--all', '--loop', '--timeout', '15'];
    const watcher = spawn('stdbuf', ['-oL', 'virsh', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines: string[] = [];
    const reader = createInterface({ input: watcher.stdout });
    const seen = new Promise<void>((resolve) => {
      reader.on('line', (line) => {
        lines.push(line.trim());
        if (line.includes('Stopped Destroyed')) resolve();
      });
    });
    try {
      while (host.simulator.counters.received('connectDomainEventCallbackRegisterAny') < 20) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await host.virsh('suspend', 'play');
      assert.equal((await host.virsh('domstate', 'play')).trim(), 'paused');
      await host.virsh('resume', 'play');
      await host.virsh('reboot', 'play');
      await host.virsh('shutdown', 'play');
      assert.equal((await host.virsh('domstate', '--reason', 'play')).trim(), 'shut off (shutdown)');
      await host.virsh('start', 'play');
      await host.virsh('destroy', 'play');
      await seen;
      assert.deepEqual(
        lines.map((line) => line.replace(/^event /, '')),
        [
          "'lifecycle' for domain 'play': Suspended Paused",
          "'lifecycle' for domain 'play': Resumed Unpaused",
          "'reboot' for domain 'play'",
          "'lifecycle' for domain 'play': Shutdown Finished after guest request",
          "'lifecycle' for domain 'play': Stopped Shutdown",
          "'lifecycle' for domain 'play': Resumed Unpaused",
          "'lifecycle' for domain 'play': Started Booted",
          "'lifecycle' for domain 'play': Stopped Destroyed",
        ],
      );
    } finally {
      watcher.kill();
      await once(watcher, 'exit');
    }
  });

  it('defines, creates and undefines VMs from XML', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'virtlens-sim-xml-'));
    try {
      const file = join(directory, 'new.xml');
      writeFileSync(
        file,
        `<domain type='kvm'><name>new &amp; shiny ✓</name><memory unit='MiB'>512</memory><vcpu>3</vcpu>
         <os><type>hvm</type></os><devices><disk type='volume' device='disk'><source pool='default' volume='v1'/>
         <target dev='vda' bus='virtio'/></disk><interface type='network'><mac address='52:54:00:00:00:77'/>
         <source network='default'/><target dev='vnet77'/></interface></devices></domain>`,
      );
      await host.virsh('define', file);
      assert.equal((await host.virsh('domstate', 'new & shiny ✓')).trim(), 'shut off');
      await host.virsh('start', 'new & shiny ✓');
      const stats = (await host.domstats('new & shiny ✓')).get('new & shiny ✓')!;
      assert.equal(stats.get('vcpu.current'), '3');
      assert.equal(stats.get('balloon.maximum'), '524288');
      assert.equal(stats.get('net.0.name'), 'vnet77');
      await host.virsh('destroy', 'new & shiny ✓');
      await host.virsh('undefine', 'new & shiny ✓');
      assert.match(await host.refusal('domstate', 'new & shiny ✓'), /failed to get domain/);
      await host.virsh('create', file);
      await host.virsh('destroy', 'new & shiny ✓');
      assert.match(await host.refusal('domstate', 'new & shiny ✓'), /failed to get domain/);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('refuses what libvirt refuses, in its words', async () => {
    assert.match(await host.refusal('domstats', 'nosuch'), /failed to get domain 'nosuch'/);
    assert.match(await host.refusal('dommemstat', 'off'), /Requested operation is not valid: domain is not running/);
    assert.match(await host.refusal('start', 'web'), /already (active|running)/);
    assert.match(await host.refusal('screenshot', 'web', '/dev/null'), /unknown procedure: 211/);
  });

  it('shows a migration under way', async () => {
    host.simulator.hypervisor.migrate('db', { durationMs: 600_000, totalBytes: 1024 ** 3 });
    const job = await host.virsh('domjobinfo', 'db');
    assert.match(job, /Job type:\s+Unbounded/);
    assert.match(job, /Operation:\s+Outgoing migration/);
    assert.match(job, /Memory total:\s+1\.000 GiB/);
    const stats = (await host.domstats('--nowait', 'db')).get('db')!;
    assert.ok(stats.has('cpu.time') && !stats.has('block.0.rd.bytes'));
    await host.virsh('domjobabort', 'db');
    assert.match(await host.virsh('domjobinfo', 'db'), /None/);
  });
});

describeVirsh('virsh on an old daemon', () => {
  it('falls back to the older calls', async () => {
    const host = await Host.start(await loadScenario(join(SCENARIOS, 'old-daemon.json')));
    try {
      assert.equal((await host.virsh('list', '--all')).trim().split('\n').length, 6);
      assert.match(await host.refusal('domstats'), /unknown procedure: 344/);
      const xml = await host.virsh('dumpxml', 'guest-001');
      const nic = /<interface[\s\S]*?<target dev='([^']+)'/.exec(xml)![1]!;
      assert.match(await host.virsh('domifstat', 'guest-001', nic), /rx_bytes \d+/);
    } finally {
      await host.stop();
    }
  });
});

describeVirsh('virsh on a scenario', () => {
  it('shows exact statistics exactly', async () => {
    const host = await Host.start(await loadScenario(join(SCENARIOS, 'telegraf-readme.json')));
    try {
      const stats = (await host.domstats('U22')).get('U22')!;
      assert.equal(stats.size, 118);
      assert.equal(stats.get('cpu.time'), '67419144867000');
      assert.equal(stats.get('vcpu.1.halted'), 'yes');
      assert.equal(stats.get('perf.ref_cpu_cycles'), '30766094039');
      assert.equal(stats.get('memory.bandwidth.monitor.1.node.1.bytes.local'), '229425152');
      assert.equal((await host.virsh('domstate', '--reason', 'U22')).trim(), 'running (unpaused)');
      assert.match(await host.virsh('vcpupin', 'U22'), /0\s+1-3\n\s+1\s+1-10/);
      assert.match(await host.virsh('vcpuinfo', 'U22'), /CPU:\s+1\n[\s\S]*CPU:\s+3\n/);
    } finally {
      await host.stop();
    }
  });
});

/** The command in this process, with its output caught. */
class Command {
  readonly #machine = new TestMachine();
  readonly exit: Promise<number>;

  constructor(...argv: string[]) {
    this.exit = SIM.run(argv, this.#machine);
  }

  line(): Promise<string> {
    return this.#machine.stdout.until(/\n$/);
  }

  complaint(): string {
    return this.#machine.stderr.text;
  }

  async terminate(): Promise<number> {
    this.#machine.signal('SIGTERM');
    return await this.exit;
  }
}

describeVirsh('virtlens sim', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "virtlens sim'-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('says in one line how to reach it, serves it there, and leaves no socket behind', async () => {
    const path = join(directory, 'sock');
    const command = new Command('--socket', path, '--vms=3');
    const line = await command.line();
    assert.match(
      line,
      /^virtlens: simulating 3 VMs: virsh -c '[^']+' list --all, or virtlens --libvirt\.uri='[^']+'\n$/,
    );
    const uri = /-c '([^']+)'/.exec(line)![1]!;
    const { stdout } = await execute('virsh', ['-q', '-c', uri, 'list', '--name'], { timeout: VIRSH_TIMEOUT_MS });
    assert.equal(stdout.trim(), 'vm-001\nvm-002\nvm-003');
    assert.equal(await command.terminate(), 0);
    assert.equal(existsSync(path), false);
  });

  it('serves a TCP port', async () => {
    const command = new Command('--listen', '127.0.0.1:0', '--seed=4');
    const uri = /-c '([^']+)'/.exec(await command.line())![1]!;
    assert.match(uri, /^test\+tcp:\/\/127\.0\.0\.1:\d+\/default$/);
    const { stdout } = await execute('virsh', ['-q', '-c', uri, 'hostname'], { timeout: VIRSH_TIMEOUT_MS });
    assert.equal(stdout.trim(), 'simulated-host');
    assert.equal(await command.terminate(), 0);
  });

  it('replaces a socket that nobody serves, and refuses one that is served', async () => {
    const path = join(directory, 'stale');
    // A child that is killed leaves its socket file behind.
    const child = spawn(process.execPath, [
      '-e',
      `require('net').createServer().listen(process.argv[1], () => console.log())`,
      path,
    ]);
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.equal(existsSync(path), true);
    const first = new Command('--socket', path);
    await first.line();
    const second = new Command('--socket', path);
    assert.equal(await second.exit, 1);
    assert.match(second.complaint(), /^virtlens: cannot serve .*stale: another process serves it; choose .*\n$/);
    assert.equal(await first.terminate(), 0);
  });

  it('complains in one line of what it cannot use', async () => {
    const file = join(directory, 'broken.json');
    writeFileSync(file, '{ "vms": [ { "name": "a", "stats": { "cpu.time": "12x" } } ] }');
    const busy = createServer().listen(0, '127.0.0.1');
    await once(busy, 'listening');
    const { port } = busy.address() as { readonly port: number };
    const cases: ReadonlyArray<readonly [argv: string[], complaint: RegExp]> = [
      [
        ['--scenario', file],
        /broken\.json: vms\[0\]\.stats\["cpu\.time"\]: must be a whole number, or a text of digits$/,
      ],
      [
        ['--scenario', join(directory, 'none.json')],
        /none\.json: cannot be read: .*; give the path of a scenario file$/,
      ],
      [['--vms=-1'], /--vms cannot be "-1": it must be a whole number from 0 to 100000$/],
      [['--sockett=x'], /unknown flag --sockett: did you mean --socket\?$/],
      [['--listen=nowhere'], /--listen cannot be "nowhere": it must be a host and a port/],
      [['--listen=127.0.0.1:1', '--socket=/x'], /--socket and --listen exclude each other/],
      [
        ['--socket', join(directory, 'no', 'such', 'sock')],
        /its directory does not exist; create it or choose another path$/,
      ],
      [['--socket', file], /cannot serve .*: it exists and is not a socket; choose another path, or remove it$/],
      [['--listen', `127.0.0.1:${port}`], /the address is in use; choose another with --listen$/],
    ];
    for (const [argv, complaint] of cases) {
      const command = new Command(...argv);
      assert.equal(await command.exit, 1, argv.join(' '));
      const said = command.complaint();
      assert.match(said.trimEnd(), complaint);
      assert.equal(said.split('\n').length, 2, said);
    }
    busy.close();
  });
});
