// `virtlens logs` on the logs of a real libvirtd, real QEMU guests and a real virtlogd, and on a real journal.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { Agent, type AgentProcess, runAgent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { findProgram } from './lab/tools.ts';

type JsonRecord = Readonly<Record<string, unknown>>;

const LISTEN = '--web.listen-address=127.0.0.1:0';

function recordsOf(text: string): JsonRecord[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as JsonRecord);
}

/** Waits until the agent has written a record that matches. */
function waitForRecord(
  agent: AgentProcess,
  what: string,
  matches: (record: JsonRecord) => boolean,
): Promise<JsonRecord> {
  const find = () => {
    const end = agent.stdout.lastIndexOf('\n') + 1;
    return recordsOf(agent.stdout.slice(0, end)).find(matches);
  };
  return waitFor(find, () => `there is no record ${what}:\n${agent.stdout.slice(-4000)}\n${agent.log}`, 60_000);
}

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
    const uids = recordsOf(agent.stdout).map((record) => record['log.record.uid']);
    assert.equal(new Set(uids).size, uids.length);
    assert.equal(end['libvirt.shutdown.reason'], 'destroyed');
    // What is still in the files came byte for byte.
    const files = ['talking.log.2', 'talking.log.1', 'talking.log.0', 'talking.log']
      .map((file) => join(host.cage.dir, 'log', 'qemu', file))
      .filter((file) => existsSync(file));
    const kept = files.map((file) => readFileSync(file, 'utf8')).join('');
    const messages = recordsOf(agent.stdout)
      .filter((record) => record['libvirt.domain.name'] === 'talking')
      .flatMap(({ message }) => String(message).split('\n'));
    const seen = messages.filter((line) => line !== '').join('\n');
    const lines = kept.split('\n').filter((line) => line !== '' && !/^\d{4}-/.test(line));
    assert.ok(lines.length > 500);
    // The first may be the rest of a line whose beginning is rotated away.
    assert.ok(seen.includes(lines.slice(1).join('\n')) || lines.slice(1).every((line) => seen.includes(line)));
  });
});

const noJournal = ['journalctl', '/lib/systemd/systemd-journal-remote'].find(
  (program) => findProgram(program) === undefined && !existsSync(program),
);

it('a real journal is read, followed, and read on after its last entry', {
  skip: noJournal && `${noJournal} is not installed`,
}, async () => {
  const root = mkdtempSync(join(tmpdir(), 'virtlens-journal-'));
  try {
    const dir = join(root, 'journal');
    mkdirSync(dir);
    let count = 0;
    const entry = (message: string, unit: string, fields: Record<string, string> = {}) => {
      const usec = 1_795_262_000_000_000 + ++count;
      const all = {
        __REALTIME_TIMESTAMP: String(usec),
        __MONOTONIC_TIMESTAMP: String(usec),
        _BOOT_ID: '0123456789abcdef0123456789abcdef',
        _SOURCE_REALTIME_TIMESTAMP: String(usec - 5),
        _SYSTEMD_UNIT: unit,
        _PID: '77',
        _COMM: unit.replace('.service', ''),
        ...fields,
      };
      const text = Object.entries(all).map(([name, value]) => `${name}=${value}\n`);
      // A value with a newline has its length before it (systemd's Journal Export Format).
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(Buffer.byteLength(message)));
      return Buffer.concat([Buffer.from(`${text.join('')}MESSAGE\n`), length, Buffer.from(`${message}\n\n`)]);
    };
    const write = (...entries: Buffer[]) => {
      const part = join(dir, `part-${count}.journal`);
      execFileSync('/lib/systemd/systemd-journal-remote', ['--split-mode=none', `--output=${part}`, '-'], {
        input: Buffer.concat(entries),
        stdio: ['pipe', 'pipe', 'pipe'],
      });
    };
    const libvirt = {
      PRIORITY: '3',
      LIBVIRT_SOURCE: 'qemu.qemu_process',
      LIBVIRT_DOMAIN: '10',
      LIBVIRT_CODE: '1',
      CODE_FUNC: 'qemuProcessReportLogError',
      CODE_LINE: '2063',
      CODE_FILE: '../../src/qemu/qemu_process.c',
    };
    write(
      entry('internal error:\nsecond line', 'libvirtd.service', libvirt),
      entry('of another program', 'ssh.service', { PRIORITY: '6' }),
      entry('x'.repeat(10_000), 'virtqemud.service', { PRIORITY: '4' }),
    );
    const args = ['logs', '--source=journal', `--journal.dir=${dir}`, `--state.dir=${join(root, 'state')}`];
    {
      await using agent = await Agent.start(args);
      await waitForRecord(agent, 'of the long message', ({ message }) => String(message).length === 10_000);
      write(entry('later', 'virtlogd.service', { PRIORITY: '6' }));
      await waitForRecord(agent, 'that came later', ({ message }) => message === 'later');
      const [first, ...rest] = recordsOf(agent.stdout);
      assert.deepEqual(
        rest.map((record) => [record['service.name'], record.severity]),
        [
          ['virtqemud', 'warn'],
          ['virtlogd', 'info'],
        ],
      );
      assert.equal(first!.message, 'internal error:\nsecond line');
      assert.equal(first!.time, '2026-11-21T11:53:19.999996000Z');
      assert.deepEqual(
        [
          first!['libvirt.error.domain'],
          first!['libvirt.error.code'],
          first!['libvirt.log.category'],
          first!['code.function.name'],
          first!['code.line.number'],
          first!['process.pid'],
        ],
        [10, 1, 'qemu.qemu_process', 'qemuProcessReportLogError', 2063, 77],
      );
      assert.equal(first!['libvirt.domain.name'], undefined);
      // A journalctl that is killed is started again, after the last entry.
      const child = execFileSync('pgrep', ['-P', String(agent.pid), 'journalctl'], { encoding: 'utf8' }).trim();
      process.kill(Number(child), 'SIGKILL');
      await agent.waitForLog(/The journal cannot be read/);
      write(entry('after the kill', 'libvirtd.service', { PRIORITY: '6' }));
      await waitForRecord(agent, 'after the kill', ({ message }) => message === 'after the kill');
      assert.equal(recordsOf(agent.stdout).length, 4);
      await agent.stop();
    }
    write(entry('while it was away', 'libvirtd.service', { PRIORITY: '6' }));
    await using agent = await Agent.start(args);
    await waitForRecord(agent, 'of its absence', ({ message }) => message === 'while it was away');
    assert.equal(recordsOf(agent.stdout).length, 1);
    assert.match(await agent.metrics(), /virtlens_logs_gaps_total\{sink="stdout"\} 0/);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});

it('without journalctl one line says so', async () => {
  const root = mkdtempSync(join(tmpdir(), 'virtlens-journal-'));
  try {
    await using agent = await Agent.start(['logs', '--source=journal', `--state.dir=${root}`], {
      env: { PATH: '/nonexistent' },
    });
    await agent.waitForLog(/The journal cannot be read: journalctl is not installed/);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
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
    [['--state.dir=/proc/none', LISTEN], /--state\.dir=\/proc\/none cannot be used: .*; name a directory/],
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
