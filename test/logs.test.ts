// `virtlens logs` on the logs of a real libvirtd, real QEMU guests and a real virtlogd.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { Agent, runAgent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { type JsonRecord, recordsOf, waitForRecord } from './support/json-records.ts';

const LISTEN = '--web.listen-address=127.0.0.1:0';

describeLab('Logs of a real libvirtd and QEMU', ['libvirt'], () => {
  let host: LibvirtHost;
  let root: string;
  let agent: Agent;

  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'virtlens-logs-lab-'));
    // Rotation after 64 KiB, as virtlogd does it after 2 MiB.
    host = await startLibvirt({ virtlogdConfig: ['max_size = 65536', 'max_backups = 3'] });
    agent = await Agent.start([
      ...['logs', '--source=qemu', `--qemu.log-dir=${join(host.cage.dir, 'log', 'qemu')}`],
      ...[`--daemon.log-file=${join(host.cage.dir, 'log', 'libvirtd.log')}`, `--state.dir=${join(root, 'state')}`],
      LISTEN,
    ]);
  });
  after(async () => {
    await agent?.[Symbol.asyncDispose]();
    await host?.stop();
    rmSync(root, { recursive: true, force: true });
  });

  const of = (name: string, text: string | RegExp) => (record: JsonRecord) =>
    record['libvirt.domain.name'] === name &&
    (typeof text === 'string' ? String(record.message).startsWith(text) : text.test(String(record.message)));

  it("a start is one record with the VM's name and UUID, and what follows in the log is too", async () => {
    const uuid = '0d4c3a0e-2f8f-4b6c-9d3e-5b7f1c2a9e10';
    await host.createDomain({ name: 'plain', uuid });
    const start = await waitForRecord(agent, 'of the start', of('plain', 'starting up'));
    assert.equal(start['libvirt.domain.uuid'], uuid);
    assert.match(String(start.message), /\n-msg timestamp=on$/);
    assert.ok(String(start.message).split('\n').length > 20);
    assert.match(String(start.message), /hostname: \S+\nLC_ALL=C \\\n/);
    const taint = await waitForRecord(agent, 'of the taint', of('plain', /is tainted: high-privileges$/));
    assert.deepEqual([taint.severity, taint['libvirt.domain.uuid']], ['warn', uuid]);
    await host.virsh('destroy', 'plain');
    const end = await waitForRecord(agent, 'of the end', of('plain', 'shutting down'));
    assert.deepEqual([end['libvirt.shutdown.reason'], end.severity], ['destroyed', 'info']);
    const own = await waitForRecord(agent, 'of QEMU', of('plain', /^qemu-system-x86_64: terminating on signal 15/));
    assert.match(String(own.time), /^\d{4}-.*\.\d{6}000Z$/);
  });

  it('a crash and a start that fails are seen, and counted by their reasons', async () => {
    await host.createDomain({ name: 'killed' });
    await host.signalQemu('killed', 'KILL');
    const crash = await waitForRecord(agent, 'of the crash', of('killed', 'shutting down'));
    assert.deepEqual([crash['libvirt.shutdown.reason'], crash.severity], ['crashed', 'error']);
    const wrong = {
      name: 'failing',
      extraXml:
        "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-no-such-option'/></qemu:commandline>",
    };
    await assert.rejects(host.createDomain(wrong));
    const failure = await waitForRecord(agent, 'of the failure', of('failing', 'shutting down'));
    assert.equal(failure['libvirt.shutdown.reason'], 'failed');
    // What QEMU said of it stands between.
    await waitForRecord(agent, "of QEMU's words", of('failing', /no-such-option: invalid option$/));
    await waitFor(
      async () => {
        const page = await agent.metrics();
        const counts = ['crashed', 'failed'].map((reason) =>
          page.includes(`virtlens_logs_vm_abnormal_ends_total{reason="${reason}"} 1\n`),
        );
        return counts.every(Boolean) ? true : undefined;
      },
      () => 'the ends are not counted',
    );
  });

  it("a daemon's errors are records with function, line and thread, whole where they have several lines", async () => {
    const error = await waitForRecord(
      agent,
      "of libvirtd's error",
      (record) =>
        record['log.file.path'] === join(host.cage.dir, 'log', 'libvirtd.log') &&
        /no-such-option/.test(String(record.message)),
    );
    assert.equal(error['service.name'], 'libvirtd');
    assert.equal(error.severity, 'error');
    assert.match(String(error['code.function.name']), /^\w+$/);
    assert.equal(typeof error['code.line.number'], 'number');
    assert.equal(typeof error['thread.id'], 'number');
  });

  it('names of VMs with every kind of character are those of libvirt', async () => {
    const name = ' it\'s a "VM", ü.log.0';
    await host.createDomain({ name });
    await host.virsh('destroy', name);
    await waitForRecord(agent, 'of the odd name', of(name, 'shutting down'));
  });

  it('what virtlogd rotates is followed; no record comes twice, and what the files still hold came whole', async () => {
    // What QEMU writes to standard error goes through virtlogd into the log.
    const qemu =
      "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-d'/><qemu:arg value='in_asm'/></qemu:commandline>";
    await host.createDomain({ name: 'talking', extraXml: qemu });
    const rotated = () => readdirSync(join(host.cage.dir, 'log', 'qemu')).includes('talking.log.1');
    await waitFor(
      () => (rotated() ? true : undefined),
      () => 'virtlogd does not rotate',
      60_000,
    );
    await host.virsh('destroy', 'talking');
    const end = await waitForRecord(agent, 'of the end', of('talking', 'shutting down'));
    assert.equal(end['libvirt.shutdown.reason'], 'destroyed');
    // What is still in the files came byte for byte. virtlogd writes what QEMU has said last when the record of the end is there already.
    const missing = () => {
      const files = ['talking.log.2', 'talking.log.1', 'talking.log.0', 'talking.log']
        .map((file) => join(host.cage.dir, 'log', 'qemu', file))
        .filter((file) => existsSync(file));
      const kept = files.map((file) => readFileSync(file, 'utf8')).join('');
      const lines = kept.split('\n').filter((line) => line !== '' && !/^\d{4}-/.test(line));
      assert.ok(lines.length > 500);
      const messages = recordsOf(agent.stdout)
        .filter((record) => record['libvirt.domain.name'] === 'talking')
        .flatMap(({ message }) => String(message).split('\n'));
      const seen = messages.filter((line) => line !== '').join('\n');
      // The first may be the rest of a line whose beginning is rotated away.
      const expected = lines.slice(1);
      return seen.includes(expected.join('\n')) ? [] : expected.filter((line) => !seen.includes(line));
    };
    await waitFor(
      () => (missing().length === 0 ? true : undefined),
      () => `lines of the files that did not come:\n${missing().slice(0, 20).join('\n')}`,
    );
    const uids = recordsOf(agent.stdout).map((record) => record['log.record.uid']);
    assert.equal(new Set(uids).size, uids.length);
  });

  it('VMs that end while libvirtd is away, or with the host, are counted: as crashed, or as unknown when they start again', async () => {
    const counts = async () => {
      const page = await agent.metrics();
      const of = (reason: string) =>
        Number(new RegExp(`virtlens_logs_vm_abnormal_ends_total\\{reason="${reason}"\\} (\\d+)`).exec(page)?.[1]);
      return { crashed: of('crashed'), failed: of('failed'), unknown: of('unknown') };
    };
    const before = await counts();
    const names = ['left', 'lost'];
    await host.createDomains(
      names.map((name) => ({ name })),
      'running',
      true,
    );
    for (const name of names) await waitForRecord(agent, `of the start of ${name}`, of(name, 'starting up'));
    await host.kill();
    for (const name of names) await host.signalQemu(name, 'KILL');
    // A host that comes up again has an empty /run.
    for (const suffix of ['pid', 'xml']) rmSync(join(host.socketDir, 'qemu', `lost.${suffix}`));
    await host.startDaemon();
    const end = await waitForRecord(agent, 'of the end', of('left', 'shutting down'));
    assert.deepEqual([end['libvirt.shutdown.reason'], end.severity], ['crashed', 'error']);
    await waitFor(
      async () => ((await counts()).crashed === before.crashed + 1 ? true : undefined),
      () => 'the end is not counted',
    );
    // Of the other one nothing says that it has ended, until it starts again.
    assert.equal((await counts()).unknown, before.unknown);
    await host.virsh('start', 'lost');
    await waitFor(
      async () => ((await counts()).unknown === before.unknown + 1 ? true : undefined),
      () => 'the end without words is not counted',
    );
    for (const name of names) await host.virsh('undefine', name);
    await host.virsh('destroy', 'lost');
    await waitForRecord(agent, 'of the last end', of('lost', 'shutting down'));
    assert.deepEqual(await counts(), { ...before, crashed: before.crashed + 1, unknown: before.unknown + 1 });
  });
});

it('standard input in the form of the container runtime is delivered to its end', async () => {
  const root = mkdtempSync(join(tmpdir(), 'virtlens-stdin-'));
  try {
    const input =
      '2026-11-21T12:12:40.000000001Z stderr F 2026-11-21 12:04:31.705+0000: 15623: error : f:673 : message\n';
    const main = join(import.meta.dirname, '..', 'src', 'main.ts');
    const { stdout, status } = spawnSync(
      process.execPath,
      [main, 'logs', '--source=stdin', `--state.dir=${root}`, LISTEN],
      { input, encoding: 'utf8' },
    );
    assert.equal(status, 0);
    const [record] = recordsOf(stdout);
    assert.deepEqual([record!.message, record!.severity, record!['log.iostream']], ['message', 'error', 'stderr']);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

it('what cannot work is one line, and the exit code 1', async () => {
  for (const [args, message] of [
    [['--model=vm'], /--model cannot be "vm": it must be one of host, container/],
    [['--source=syslog'], /--source cannot be "syslog"/],
    [['--journal.dir=/a', '--journal.file=/b'], /exclude each other/],
    [['--state.dir=/proc/none', LISTEN], /--state\.dir "\/proc\/none" cannot be used: .*; name a directory/],
    [['--web.listen-address=nowhere'], /nowhere/],
  ] as const) {
    const { code, stdout, stderr } = await runAgent(['logs', ...args]);
    assert.deepEqual(
      [
        code,
        stdout,
        stderr
          .trimEnd()
          .split('\n')
          .filter((line) => line.startsWith('virtlens')).length,
      ],
      [1, '', 1],
      args.join(' '),
    );
    assert.match(stderr, message);
  }
});
