import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { it } from 'node:test';
import { createSelfMonitor } from './self-monitor.ts';

it('reports what there is where there is no /proc', (t) => {
  const fail = () => {
    throw Object.assign(new Error('ENOENT: no such file or directory'), { code: 'ENOENT' });
  };
  t.mock.method(process.memoryUsage, 'rss', fail);
  t.mock.method(fs, 'readFileSync', fail);
  t.mock.method(fs, 'readdirSync', fail);
  syncBuiltinESMExports();
  try {
    const { cpuTimeUs, startTimeMs, ...rest } = createSelfMonitor().report(0).process;
    assert.ok(cpuTimeUs > 0 && startTimeMs > 0);
    assert.deepEqual(rest, {
      residentMemoryBytes: undefined,
      virtualMemoryBytes: undefined,
      openFds: undefined,
      maxFds: undefined,
    });
  } finally {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  }
});

it('knows when the process began', () => {
  const { startTimeMs } = createSelfMonitor().report(0).process;
  assert.ok(Math.abs(startTimeMs - performance.timeOrigin) < 1000, `${startTimeMs}, ${performance.timeOrigin}`);
});
