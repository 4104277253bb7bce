// The scenario that carries the statistics of Telegraf's documentation, through the programs as they are used: the simulated
// hypervisor on a socket, and `virtlens telegraf --once` beside it.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { U22_LINES } from '../src/schemas/telegraf-fixtures.ts';

const ROOT = dirname(import.meta.dirname);
const MAIN = join(ROOT, 'src', 'main.ts');

it("prints the lines of the documentation's example, whatever their order", async () => {
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-scenario-'));
  const socket = join(dir, 'sock');
  const scenario = join(ROOT, 'examples', 'scenarios', 'telegraf-readme.json');
  const sim = spawn(process.execPath, [MAIN, 'sim', '--socket', socket, '--scenario', scenario], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  try {
    // Its one line comes when it listens.
    await Promise.race([once(sim.stdout, 'data'), once(sim.stderr, 'data')]);
    const config = join(dir, 'telegraf.conf');
    writeFileSync(
      config,
      `[[inputs.libvirt]]\n  libvirt_uri = "qemu+unix:///system?socket=${socket}"\n  additional_statistics = ["vcpu_mapping"]\n`,
    );
    const output = execFileSync(
      process.execPath,
      [MAIN, 'telegraf', '--once', '--config', config, '--host-tag', 'localhost'],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const lines = output.trimEnd().split('\n');
    const timestamps = new Set(lines.map((line) => line.slice(line.lastIndexOf(' ') + 1)));
    assert.equal(timestamps.size, 1, 'one gathering has one timestamp');
    assert.deepEqual(
      lines.map((line) => line.slice(0, line.lastIndexOf(' '))).sort(),
      Object.values(U22_LINES).flat().sort(),
    );
  } finally {
    sim.kill();
    await once(sim, 'exit');
    rmSync(dir, { recursive: true, force: true });
  }
});
