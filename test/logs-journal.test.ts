// `virtlens logs` on real journal files, through the real journalctl.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { shellQuote } from './lab/cage.ts';
import { JournalFiles, noJournal } from './support/journal-files.ts';
import { messagesOf, recordsOf, waitForMessage, waitForRecord } from './support/json-records.ts';

const gaps = (page: string) => Number(/virtlens_logs_gaps_total\{sink="stdout"\} (\d+)/.exec(page)?.[1]);

describe('A real journal', { skip: noJournal }, () => {
  let root: string;
  let journal: JournalFiles;
  let args: string[];

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'virtlens-journal-'));
    journal = new JournalFiles(join(root, 'journal'));
    args = ['logs', '--source=journal', `--journal.dir=${journal.dir}`, `--state.dir=${join(root, 'state')}`];
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('is read, followed, and read on after its last entry', async () => {
    journal.write(
      'one.journal',
      {
        message: 'internal error:\nsecond line',
        fields: {
          PRIORITY: '3',
          LIBVIRT_SOURCE: 'qemu.qemu_process',
          LIBVIRT_DOMAIN: '10',
          LIBVIRT_CODE: '1',
          CODE_FUNC: 'qemuProcessReportLogError',
          CODE_LINE: '2063',
          CODE_FILE: '../../src/qemu/qemu_process.c',
        },
      },
      { message: 'of another program', unit: 'ssh.service' },
      { message: 'x'.repeat(10_000), unit: 'virtqemud.service', fields: { PRIORITY: '4' } },
    );
    {
      await using agent = await Agent.start(args);
      await waitForRecord(agent, 'of the long message', ({ message }) => String(message).length === 10_000);
      journal.write('two.journal', { message: 'later', unit: 'virtlogd.service' });
      await waitForMessage(agent, 'later');
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
      journal.write('three.journal', 'after the kill');
      await waitForMessage(agent, 'after the kill');
      assert.equal(recordsOf(agent.stdout).length, 4);
      await agent.waitForLog(/The journal is read again/);
      await agent.stop();
    }
    journal.write('four.journal', 'while it was away');
    await using agent = await Agent.start(args);
    await waitForMessage(agent, 'while it was away');
    assert.equal(recordsOf(agent.stdout).length, 1);
    assert.equal(gaps(await agent.metrics()), 0);
  });

  it('is read over boots of the host: what was written before the last one, and what is written after the next', async () => {
    const boot = (digit: string) => ({ _BOOT_ID: digit.repeat(32) });
    journal.write('one.journal', { message: 'delivered', fields: boot('a') });
    {
      await using agent = await Agent.start(args);
      await waitForMessage(agent, 'delivered');
      await agent.stop();
    }
    journal.write('one.journal', { message: 'last words before the crash', fields: boot('a') });
    journal.write('two.journal', { message: 'after the crash', fields: boot('b') });
    await using agent = await Agent.start(args);
    await waitForMessage(agent, 'after the crash');
    journal.write('three.journal', { message: 'of one more boot', fields: boot('c') });
    await waitForMessage(agent, 'of one more boot');
    assert.deepEqual(messagesOf(agent), ['last words before the crash', 'after the crash', 'of one more boot']);
    assert.equal(gaps(await agent.metrics()), 0);
  });

  it('goes on after the entries that were vacuumed while it was away, and the gap is counted and logged once', async () => {
    journal.write('system.journal', 'one');
    {
      await using agent = await Agent.start(args);
      await waitForMessage(agent, 'one');
      await agent.stop();
    }
    journal.write('system.journal', 'vacuumed');
    journal.archive('system.journal');
    journal.write('system.journal', 'two');
    journal.archive('system.journal');
    journal.write('system.journal', 'three');
    journal.vacuum(2);
    await using agent = await Agent.start(args);
    await waitForMessage(agent, 'three');
    journal.write('system.journal', 'four');
    await waitForMessage(agent, 'four');
    assert.deepEqual(messagesOf(agent), ['two', 'three', 'four']);
    assert.equal(gaps(await agent.metrics()), 1);
    const [line, ...more] = agent.logLines(/Records of a log are lost/);
    assert.match(line!, /log=journal .*the journal no longer has the entry/);
    assert.deepEqual(more, []);
  });

  it('goes on when all of it is deleted', async () => {
    journal.write('system.journal', 'one');
    await using agent = await Agent.start(args);
    await waitForMessage(agent, 'one');
    await agent.stop();
    journal.remove();
    await using again = await Agent.start(args);
    await again.waitForLog(
      /The journal cannot be read: Failed to open .*: No such file or directory; it is tried again/,
    );
    const next = new JournalFiles(journal.dir);
    next.write('system.journal', 'two');
    await waitForMessage(again, 'two');
    assert.equal(gaps(await again.metrics()), 1);
  });

  it('is read from the files that are named, by name or pattern', async () => {
    journal.write('one.journal', 'of one');
    journal.write('two.journal', 'of two');
    journal.write('archive-1.journal', 'of archive 1');
    journal.write('other.journal', 'of no named one');
    await using agent = await Agent.start([
      ...['logs', '--source=journal', `--state.dir=${join(root, 'state')}`],
      ...['one.journal', 'two.journal', 'archive-*.journal'].map((name) => `--journal.file=${journal.path(name)}`),
    ]);
    await waitForMessage(agent, 'of archive 1');
    journal.write('two.journal', 'more of two');
    await waitForMessage(agent, 'more of two');
    assert.deepEqual(messagesOf(agent), ['of one', 'of two', 'of archive 1', 'more of two']);
  });

  it("is this machine's own without a flag, and entries of other machines in it are left out", {
    skip: process.getuid?.() !== 0 && 'needs root',
  }, async () => {
    const machineId = readFileSync('/etc/machine-id', 'utf8').trim();
    const of = (id: string) => ({ fields: { _MACHINE_ID: id } });
    journal.write('one.journal', { message: 'own', ...of(machineId) });
    const other = new JournalFiles(join(root, 'other'));
    other.write('two.journal', { message: 'of a container', ...of('c'.repeat(32)) });
    journal.write('three.journal', { message: 'own again', ...of(machineId) });
    // Where only this process sees it.
    const place = [
      'mount -t tmpfs none /var/log && mkdir -p /var/log/journal',
      `cp -r ${shellQuote(journal.dir)} /var/log/journal/${machineId}`,
      `cp -r ${shellQuote(other.dir)} /var/log/journal/${'c'.repeat(32)}`,
      'exec "$@"',
    ].join(' && ');
    await using agent = await Agent.start(['logs', '--source=journal', `--state.dir=${join(root, 'state')}`], {
      prefix: ['unshare', '--mount', 'sh', '-c', place, 'sh'],
    });
    await waitForMessage(agent, 'own again');
    assert.deepEqual(messagesOf(agent), ['own', 'own again']);
  });

  for (const [limit, name] of [
    ['max_inotify_instances', 'fs.inotify.max_user_instances'],
    ['max_inotify_watches', 'fs.inotify.max_user_watches'],
  ] as const) {
    it(`is read every few seconds where ${name} is reached, and one line says so`, {
      skip: spawnSync('unshare', ['-Ur', 'true']).status !== 0 && 'there are no user namespaces',
    }, async () => {
      journal.write('one.journal', 'one');
      await using agent = await Agent.start(args, {
        // The limit of a user namespace of its own.
        prefix: ['unshare', '-Ur', 'sh', '-c', `echo 0 > /proc/sys/user/${limit} && exec "$@"`, 'sh'],
      });
      await waitForMessage(agent, 'one');
      journal.write('one.journal', 'two');
      await waitForMessage(agent, 'two');
      assert.deepEqual(messagesOf(agent), ['one', 'two']);
      const lines = agent.logLines(/level=(WARN|ERROR)/);
      assert.equal(lines.length, 1, agent.log);
      assert.match(
        lines[0]!,
        new RegExp(`The journal cannot be followed; it is read every 5 seconds.*${name} is reached`),
      );
      assert.match(await agent.metrics(), /virtlens_logs_source_readable\{source="journal"\} 1/);
    });
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
