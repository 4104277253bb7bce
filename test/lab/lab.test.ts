// The lab proves itself: its daemons are real, and nothing of it is left, however a test ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, it } from 'node:test';
import { busyGuest } from './busy-guest.ts';
import { Cage, randomName, waitFor } from './cage.ts';
import { describeLab } from './describe.ts';
import { startInfluxDb } from './influxdb.ts';
import { type LibvirtHost, startLibvirt } from './libvirt.ts';
import { startLibvirtExporter } from './peer.ts';
import { promtoolCheck, startPrometheus } from './prometheus.ts';
import { startSshd } from './sshd.ts';
import { SystemdMachine } from './systemd.ts';
import { runTool } from './tools.ts';

const link = (name: string) => existsSync(`/sys/class/net/${name}`);

describeLab('a cage', ['libvirt'], () => {
  it('ends its processes and removes its directory and links when it is stopped', async () => {
    const bridge = randomName('vl');
    const cage = await Cage.open({ setup: `ip link add ${bridge} type bridge`, links: [bridge] });
    const sleeper = await cage.start('sleeper', ['sleep', '1000']);
    const stopped = await cage.start('stopped', ['sleep', '1000']);
    await cage.signal(stopped.innerPid, 'STOP');
    assert.ok(sleeper.isAlive() && link(bridge) && existsSync(cage.dir));
    await cage.stop();
    await cage.stop();
    assert.ok(!existsSync(`/proc/${sleeper.pid}`));
    assert.ok(!existsSync(`/proc/${stopped.pid}`));
    assert.ok(!link(bridge));
    assert.ok(!existsSync(cage.dir));
  });

  it('says why it cannot be made, and leaves nothing', async () => {
    await using temporary = makeTemporaryRoot();
    await assert.rejects(Cage.open({ setup: 'echo no such luck; false' }), /no such luck/);
    assert.deepEqual(readdirSync(temporary.path), []);
  });

  it('carries any word to a program', async () => {
    await using cage = await Cage.open();
    const words = ['plain', "it's", '$HOME', 'two words', 'é"\\', ''];
    const process = await cage.start('words', ['bash', '-c', 'printf "<%s>" "$@"; sleep 1000', 'bash', ...words]);
    const expected = words.map((word) => `<${word}>`).join('');
    const said = () => (runTool('cat', [process.logPath]) === expected ? true : undefined);
    assert.ok(await waitFor(said, () => `the log has ${runTool('cat', [process.logPath])}`));
  });
});

describeLab('a libvirt host', ['libvirt', 'tls'], () => {
  let host: LibvirtHost;
  before(async () => {
    host = await startLibvirt();
  });
  after(() => host?.stop());

  it('runs guests in every state, with odd names, and tells of their QEMU processes', async () => {
    const odd = 'ä "quoted" <&> \'name\'';
    await host.createDomains([
      { name: odd, disks: [{ target: 'vda' }, { target: 'sda', format: 'raw' }], nics: [{}, { type: 'user' }] },
      { name: 'plain', iothreads: 1, balloon: 'none', vcpus: 2, maxVcpus: 4 },
    ]);
    const drives = [
      { target: 'vda', driverAttributes: "cache='none'" },
      { target: 'hdc', device: 'cdrom', empty: true },
      { target: 'fda', device: 'floppy', format: 'raw' },
    ] as const;
    await host.createDomain({ name: 'paused', disks: drives }, 'paused');
    await host.createDomain({ name: 'off', title: 'a <title>', metadataXml: '<x xmlns="urn:x">1</x>' }, 'shutoff');

    const states = new Map<string, string | undefined>();
    for (const [name, fields] of await host.domstats('--state')) states.set(name, fields.get('state.state'));
    assert.deepEqual(Object.fromEntries(states), { [odd]: '1', plain: '1', paused: '3', off: '5' });
    assert.match(runTool('cat', [`/proc/${host.qemuPid(odd)}/cmdline`]), /guest=ä "quoted"/);
    assert.throws(() => host.qemuPid('off'));
  });

  it('does not see other hosts, even with guests of the same name', async () => {
    await using other = await startLibvirt();
    await other.createDomain({ name: 'plain', nics: [{}] });
    assert.equal(await other.virsh('list', '--all', '--name'), 'plain');
    assert.notEqual(await other.virsh('hostname'), await host.virsh('hostname'));
  });

  it('keeps its guests while libvirtd is killed, restarted and suspended', async () => {
    await host.createDomain({ name: 'survivor' });
    const qemu = host.qemuPid('survivor');
    const first = host.libvirtdPid;
    await host.kill();
    await assert.rejects(host.virsh('version'));
    await host.startDaemon();
    await host.restart();
    assert.notEqual(host.libvirtdPid, first);
    await host.suspend();
    const state = () => runTool('cat', [`/proc/${host.libvirtdPid}/status`]);
    assert.ok(await waitFor(() => (/^State:\s*T/m.test(state()) ? true : undefined), state));
    await host.resume();
    assert.equal(await host.virsh('domstate', 'survivor'), 'running');
    assert.equal(host.qemuPid('survivor'), qemu);
  });

  it('hangs, wakes and crashes one guest', async () => {
    await host.createDomain({ name: 'victim' }, 'shutoff');
    await host.virsh('start', 'victim');
    const pid = host.qemuPid('victim');
    const state = () => runTool('cat', [`/proc/${pid}/status`]);
    await host.signalQemu('victim', 'STOP');
    assert.ok(await waitFor(() => (/^State:\s*T/m.test(state()) ? true : undefined), state));
    await host.signalQemu('victim', 'CONT');
    assert.ok(await waitFor(() => (/^State:\s*T/m.test(state()) ? undefined : true), state));
    await host.signalQemu('victim', 'KILL');
    const reason = () => host.virsh('domstate', '--reason', 'victim');
    const isCrashed = async () => ((await reason()) === 'shut off (crashed)' ? true : undefined);
    assert.ok(await waitFor(isCrashed, () => 'the guest does not crash'));
    assert.match(runTool('cat', [host.qemuLogPath('victim')]), /reason=crashed/);
  });

  it('takes settings, and reports a bad one', async () => {
    await using temporary = makeTemporaryRoot();
    await assert.rejects(startLibvirt({ config: ['max_workers = "many"'] }), /max_workers/);
    assert.deepEqual(readdirSync(temporary.path), []);
  });

  it('answers over TCP and TLS, and TLS refuses a stranger', async () => {
    const listening = await startLibvirt({ tcp: 'none', tls: true });
    try {
      await listening.createDomain({ name: 'far', nics: [{}] });
      for (const uri of [listening.tcpUri(), listening.tlsUri()]) {
        assert.match(runTool('virsh', ['-c', uri, 'list', '--name']), /^far$/m);
      }
      const strange = `qemu+tls://localhost:${listening.tlsPort}/system?pkipath=${listening.strangeCertificates?.pkiPath}`;
      assert.throws(() => runTool('virsh', ['-c', strange, 'list']), /certificate/);
      assert.ok(link(listening.bridge));
    } finally {
      await listening.stop();
    }
    assert.ok(!link(listening.bridge));
  });

  it('can want SASL', async () => {
    await using listening = await startLibvirt({ tcp: 'sasl' });
    assert.throws(() => runTool('virsh', ['-c', listening.tcpUri(), 'list']), /authentication|SASL/i);
  });

  it('migrates a guest to another host', async () => {
    await using other = await startLibvirt();
    await host.createDomain({ name: 'mover', disks: [{ target: 'vda' }] });
    const channel = join(host.cage.dir, 'migration.sock');
    await host.virsh('migrate', '--live', '--unsafe', 'mover', other.uri(), '--migrateuri', `unix://${channel}`);
    assert.equal(await other.virsh('domstate', '--reason', 'mover'), 'running (migrated)');
  });

  it('leaves nothing when the test process is killed', async () => {
    await using temporary = makeTemporaryRoot();
    const script = `
      import { startLibvirt } from './libvirt.ts';
      const host = await startLibvirt({ tcp: 'none' });
      await host.createDomain({ name: 'orphan', nics: [{}] });
      const pids = [host.libvirtdPid, host.qemuPid('orphan')];
      console.log(JSON.stringify({ dir: host.cage.dir, bridge: host.bridge, pids }));
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
      cwd: import.meta.dirname,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const report = JSON.parse((await lines.next()).value ?? '{}') as { dir: string; bridge: string; pids: number[] };
    const left = () => [
      ...[report.dir].filter((path) => existsSync(path)),
      ...[report.bridge].filter(link),
      ...report.pids.filter((pid) => existsSync(`/proc/${pid}`)),
    ];
    assert.equal(left().length, 4);
    child.kill('SIGKILL');
    const isClean = () => (left().length === 0 ? true : undefined);
    assert.ok(await waitFor(isClean, () => `left behind: ${left().join(', ')}`, 10_000));
    assert.deepEqual(readdirSync(temporary.path), []);
  });
});

describeLab('a busy guest', ['busy-guest'], () => {
  it('reports its memory, reads and writes, and panics when told to', async () => {
    await using host = await startLibvirt();
    await host.createDomain(busyGuest('busy'));
    await host.waitForGuest('busy');
    const stats = async () => (await host.domstats('--balloon', '--block', '--interface')).get('busy');
    const isWorking = async () => {
      const fields = await stats();
      const value = (name: string) => Number(fields?.get(name) ?? 0);
      const works = value('balloon.available') > 0 && value('block.0.wr.reqs') > 1 && value('block.0.fl.reqs') > 1;
      return works && value('block.0.rd.reqs') > 1 ? true : undefined;
    };
    assert.ok(await waitFor(isWorking, () => 'the guest reports no memory or does no work'));
    await host.virsh('inject-nmi', 'busy');
    const hasPanicked = async () =>
      (await host.virsh('domstate', '--reason', 'busy')) === 'crashed (panicked)' ? true : undefined;
    assert.ok(await waitFor(hasPanicked, () => 'the guest does not panic'));
  });
});

describeLab('sshd', ['libvirt', 'sshd'], () => {
  it('lets known keys in to the libvirt of its host, and no others', async () => {
    await using host = await startLibvirt();
    await using sshd = await startSshd({ libvirt: host });
    const ssh = (key: string, knownHosts: string, command: string) => {
      const options = [
        '-F',
        'none',
        '-o',
        'BatchMode=yes',
        '-o',
        'IdentitiesOnly=yes',
        '-o',
        `UserKnownHostsFile=${knownHosts}`,
      ];
      const target = [`${sshd.user}@${sshd.host}`, '-p', String(sshd.port)];
      return runTool('ssh', [...options, '-i', key, ...target, command]);
    };
    for (const key of [sshd.keys.ed25519, sshd.keys.rsa, sshd.keys.ecdsa, sshd.keys.rsaPem]) {
      assert.match(ssh(key, sshd.knownHosts.hashed, 'virsh -c qemu:///system hostname'), new RegExp(host.hostname));
    }
    assert.match(ssh(sshd.keys.ed25519, sshd.knownHosts.right, `test -S ${host.roSocket} && command -v nc`), /nc/);
    assert.throws(() => ssh(sshd.keys.stranger, sshd.knownHosts.right, 'true'), /Permission denied/);
    assert.throws(() => ssh(sshd.keys.encrypted, sshd.knownHosts.right, 'true'), /Permission denied/);
    assert.throws(() => ssh(sshd.keys.ed25519, sshd.knownHosts.wrong, 'true'), /HAS CHANGED/);
    assert.throws(() => ssh(sshd.keys.ed25519, sshd.knownHosts.empty, 'true'), /verification failed/);
    assert.match(sshd.log(), /Accepted key/);

    const agent = await sshd.startAgent();
    assert.match(runTool('env', [`SSH_AUTH_SOCK=${agent}`, 'ssh-add', '-l']), /ED25519/);
    await sshd.kill();
    assert.throws(() => ssh(sshd.keys.ed25519, sshd.knownHosts.right, 'true'), /refused/);
    await sshd.startDaemon();
    assert.equal(ssh(sshd.keys.ed25519, sshd.knownHosts.right, 'echo back'), 'back\n');
  });
});

describeLab('Prometheus and the exporter', ['libvirt', 'prometheus', 'promtool', 'exporter'], () => {
  it('scrapes what the exporter says of a guest', async () => {
    await using host = await startLibvirt();
    await host.createDomain({ name: 'seen' });
    await using exporter = await startLibvirtExporter({ uri: host.uri() });
    assert.deepEqual(promtoolCheck(await exporter.metrics()), []);
    assert.notDeepEqual(promtoolCheck('no newline at the end'), []);
    await using prometheus = await startPrometheus({ targets: [new URL(exporter.metricsUrl).host] });
    const [sample] = await prometheus.queryUntil('libvirt_domain_info_maximum_memory_bytes');
    assert.equal(sample?.labels.domain, 'seen');
    assert.equal(sample?.value, 16 << 20);
    assert.equal((await prometheus.targets())[0]?.health, 'up');
  });
});

describeLab('InfluxDB', ['influxdb'], () => {
  it('takes points and gives them back exactly', async () => {
    await using influx = await startInfluxDb();
    await influx.createDatabase('lab');
    const line = 'cpu,host=a\\ b cpu_ns=9223372036854775807i,note="x \\"y\\"",busy=true 1700000000000000001\n';
    const written = await fetch(`${influx.url}/write?db=lab`, { method: 'POST', body: line });
    assert.equal(written.status, 204);
    assert.deepEqual(await influx.query('SELECT * FROM cpu GROUP BY *', 'lab'), [
      {
        name: 'cpu',
        tags: { host: 'a b' },
        rows: [{ time: '1700000000000000001', busy: true, cpu_ns: '9223372036854775807', note: 'x "y"' }],
      },
    ]);
    await assert.rejects(influx.query('SELECT', 'lab'), /refuses/);
  });
});

/** Makes an empty folder the temporary directory of this process for a while, so that what is left in it is seen. */
function makeTemporaryRoot(): AsyncDisposable & { readonly path: string } {
  const previous = process.env.TMPDIR;
  const path = mkdtempSync(join(tmpdir(), 'vl-'));
  process.env.TMPDIR = path;
  return {
    path,
    async [Symbol.asyncDispose]() {
      if (previous === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = previous;
      rmSync(path, { recursive: true, force: true });
    },
  };
}

describeLab('a machine under systemd', ['systemd'], () => {
  /** The control groups of this kind that the kernel has, wherever it shows them. */
  const groups = () =>
    runTool('unshare', ['--mount', 'sh', '-c', 'mount -t cgroup2 cgroup2 /mnt && ls -d /mnt/virtlens-* || true'])
      .split('\n')
      .filter((line) => line !== '');

  it('runs commands as its root, keeps to itself, and leaves no control group', async () => {
    const machine = await SystemdMachine.boot();
    try {
      assert.equal(
        await machine.run('cat /proc/1/comm; hostname; touch /etc/of-the-machine; id -u'),
        'systemd\nlab\n0',
      );
      assert.equal(existsSync('/etc/of-the-machine'), false);
      await assert.rejects(machine.run('echo why >&2; false'), /why/);
      assert.ok(groups().includes(`/mnt/${machine.group}`));
    } finally {
      await machine[Symbol.asyncDispose]();
    }
    assert.ok(!groups().includes(`/mnt/${machine.group}`));
  });
});
