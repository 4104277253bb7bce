// Files and texts of others are read whatever is in them: no parser throws, and none makes a path that leaves the root.
import assert from 'node:assert/strict';
import { sep } from 'node:path';
import { it } from 'node:test';
import fc from 'fast-check';
import { readFileName } from '../qemu/block-node.ts';
import { readInfoBlock, readInfoNetwork } from '../qemu/monitor-text.ts';
import { readContainerConfig } from './config/container-config.ts';
import { readStorageConfig } from './config/storage-config.ts';
import { readPools } from './config/user-config.ts';
import { HostRoot } from './host-root.ts';
import { readQmOutput } from './monitor/qm-way.ts';
import { readCommandLine } from './process/command-line.ts';
import { readProcess, readStat } from './process/process-stats.ts';
import { readMountPoints } from './storage/mounts.ts';
import { THIN_POOLS, VOLUME_GROUPS, ZPOOLS } from './storage/reports.ts';

/** Pieces of the real texts, so that a parser gets further than its first check. */
const piece = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    'net0: index=',
    ' \\ net0: ',
    'drive-scsi0',
    ' (#block',
    '): ',
    'json:{"driver":',
    'rbd:',
    '\\',
    '/',
    ' (raw)',
    '\n    Attached to: ',
    '\r\n',
    'pool:',
    ',',
    '=',
    ':',
    'dir: x\n\t',
    '-id',
    '100',
    ')',
    ' 1',
    '__proto__',
    'constructor',
    '[not inserted]',
    '"}',
  ),
);
const text = fc.array(piece, { maxLength: 20 }).map((pieces) => pieces.join(''));

const PARSERS: readonly ((text: string) => unknown)[] = [
  readInfoBlock,
  readInfoNetwork,
  readQmOutput,
  readFileName,
  readPools,
  readStorageConfig,
  readContainerConfig,
  readMountPoints,
  readStat,
  ZPOOLS.read,
  VOLUME_GROUPS.read,
  THIN_POOLS.read,
  (input) => readCommandLine(['kvm', '-id', '1', ...input.split(' ')]),
  (input) =>
    readCommandLine([
      'kvm',
      '-id',
      '1',
      '-smp',
      input,
      '-m',
      input,
      '-object',
      input,
      '-blockdev',
      input,
      '-name',
      input,
    ]),
  (input) =>
    readProcess(
      { userTicks: 1, systemTicks: 1, startTicks: 1, blockDelayTicks: 1, isEnding: false },
      input,
      input,
      100,
    ),
];

it('reads whatever a file or a monitor says', () => {
  fc.assert(
    fc.property(text, (input) => {
      for (const parse of PARSERS) parse(input);
    }),
    { numRuns: 500 },
  );
});

it('keeps every path below the root', () => {
  const root = new HostRoot('/mnt/host');
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string(), fc.constantFrom('..', '/', '../..', '.')), { maxLength: 6 }),
      (parts) => {
        assert.ok(`${root.path(...parts)}${sep}`.startsWith('/mnt/host/'));
      },
    ),
  );
  assert.equal(new HostRoot('/').path('proc', '1'), '/proc/1');
  assert.equal(new HostRoot().path('/dev/x'), '/dev/x');
});

it('reads long texts in time that grows with them', () => {
  const long = [' (', 'x:', '=,', '\\', '/', 'a=b,', '{', '"', ') ', ': '].map((part) =>
    part.repeat(200_000 / part.length),
  );
  const startMs = performance.now();
  for (const input of long) for (const parse of PARSERS) parse(input);
  assert.ok(performance.now() - startMs < 5_000, `${performance.now() - startMs} ms`);
});
