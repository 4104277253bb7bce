import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readQemuLogEnd } from './qemu-log-end.ts';

const dir = mkdtempSync(join(tmpdir(), 'virtlens-log-end-'));
after(() => rmSync(dir, { recursive: true }));

const UUID = '2d180071-e28f-4b9e-bcb2-c05a130ad7e4';

function startOf(name: string, more: readonly string[] = []): string {
  return `${[
    '2026-11-21 12:05:19.442+0000: starting up libvirt version: 9.0.0, qemu version: 7.2.22, kernel: 6.1, hostname: vm',
    'LC_ALL=C \\',
    '/usr/bin/qemu-system-x86_64 \\',
    `-name ${/^[\w-]+$/.test(name) ? `guest=${name}` : `'guest=${name.replaceAll(',', ',,').replaceAll("'", "'\\''")}`}${/^[\w-]+$/.test(name) ? '' : "'"} \\`,
    '-object \'{"qom-type":"secret","id":"s0","data":"topsecret"}\' \\',
    `-uuid ${UUID} \\`,
    ...more.map((line) => `${line} \\`),
    '-msg timestamp=on',
  ].join('\n')}\n`;
}

test('the last run is read: when it began, how it ended, what it said', async () => {
  const path = join(dir, 'a.log');
  writeFileSync(
    path,
    `${startOf('a', ['-incoming defer'])}old\n2026-11-21 12:06:00.000+0000: shutting down, reason=saved\n`,
  );
  assert.deepEqual(await readQemuLogEnd(dir, 'a'), {
    lines: ['old', '2026-11-21 12:06:00.000+0000: shutting down, reason=saved'],
    shutdownReason: 'saved',
    isIncoming: true,
    startedAtMs: Date.UTC(2026, 10, 21, 12, 5, 19, 442),
    uuid: UUID,
  });
  appendFileSync(path, `${startOf('a')}-object secret,id=x,data=topsecret\nlast words`);
  assert.deepEqual(await readQemuLogEnd(dir, 'a', { linesMax: 2 }), {
    lines: ['-object secret,id=x,data=***', 'last words'],
    isIncoming: false,
    startedAtMs: Date.UTC(2026, 10, 21, 12, 5, 19, 442),
    uuid: UUID,
  });
  appendFileSync(path, '\n2026-11-21 12:07:00.000+0000: shutting down, reason=from snapshot\n');
  assert.equal((await readQemuLogEnd(dir, 'a'))?.shutdownReason, 'from snapshot');
});

test('a run that virtlogd has split over two files is read as one', async () => {
  const path = join(dir, 'b.log');
  writeFileSync(path, `${startOf('b')}first\nsecond is sp`);
  renameSync(path, `${path}.0`);
  assert.equal((await readQemuLogEnd(dir, 'b'))?.lines.at(-1), 'second is sp');
  writeFileSync(path, 'lit\n2026-11-21 12:06:00.000+0000: shutting down, reason=crashed\n');
  const end = await readQemuLogEnd(dir, 'b');
  assert.deepEqual(end?.lines.slice(0, 2), ['first', 'second is split']);
  assert.deepEqual([end?.shutdownReason, end?.uuid], ['crashed', UUID]);
});

test('names of VMs may have any byte but a slash', async () => {
  for (const name of ['x.log.0', ' a b ', 'it\'s, "so"', 'two\nlines', '.hidden', 'ü√', '..', '$(id)']) {
    writeFileSync(join(dir, `${name}.log`), `${startOf(name)}here\n`);
    const end = await readQemuLogEnd(dir, name);
    assert.deepEqual([end?.lines, end?.uuid], [['here'], UUID], JSON.stringify(name));
  }
});

test('what cannot be read is undefined, with the reason', async () => {
  mkdirSync(join(dir, 'folder.log'));
  execFileSync('mkfifo', [join(dir, 'fifo.log')]);
  const reasons: Record<string, string> = {};
  for (const name of ['absent', 'folder', 'fifo', 'a/b', '', 'nul\0']) {
    const end = await readQemuLogEnd(dir, name, { onUnreadable: (reason) => (reasons[name] = reason) });
    assert.equal(end, undefined, name);
  }
  assert.deepEqual(reasons, {
    absent: 'it does not exist',
    folder: 'it is no regular file',
    fifo: 'it is no regular file',
    'a/b': 'no VM has such a name',
    '': 'no VM has such a name',
    'nul\0': 'no VM has such a name',
  });
});

test('however long the log is, a bounded part of its end is read', async () => {
  writeFileSync(join(dir, 'long.log'), `${startOf('long')}${'x'.repeat(99)}\n`.repeat(2000));
  const end = await readQemuLogEnd(dir, 'long', { bytesMax: 250, linesMax: 5 });
  assert.ok(end !== undefined && end.lines.join('\n').length <= 250);
  writeFileSync(join(dir, 'wide.log'), 'y'.repeat(100_000));
  assert.equal((await readQemuLogEnd(dir, 'wide'))?.lines[0]?.length, 4096);
});
