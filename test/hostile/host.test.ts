// The agent on a host that is in trouble itself: nobody reads its log, temporary files cannot be written.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { buildAgent } from '../../scripts/build.ts';
import { errorCode } from '../../src/base/errno.ts';
import { createSimulator, type Simulator } from '../../src/sim/index.ts';
import { Agent } from '../lab/agent.ts';
import { waitFor } from '../lab/cage.ts';
import { parseSeries } from '../lab/exposition.ts';
import { findFreePort } from '../lab/ports.ts';

const RSS_BYTES_MAX = 160 << 20;

describe('virtlens', () => {
  let dir: string;
  let main: string;
  let simulator: Simulator;
  let uri: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'virtlens-host-'));
    main = join(dir, 'virtlens.mjs');
    await buildAgent(main);
    simulator = createSimulator({ fleets: [{ count: 20 }] });
    const path = join(dir, 'sock');
    await simulator.listen({ path });
    uri = `qemu+unix:///system?socket=${path}`;
  });

  after(async () => {
    await simulator?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('serves and ends while its standard error is a pipe that nobody reads', async () => {
    const fifo = join(dir, 'log');
    execFileSync('mkfifo', [fifo]);
    const filler = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    fillUp(filler);
    const log = openSync(fifo, constants.O_WRONLY);
    const port = await findFreePort();
    const args = [main, 'serve', `--libvirt.uri=${uri}`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=debug'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', log] });
    const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
    try {
      const scrape = async () => parseSeries(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());
      await waitFor(
        () =>
          scrape().then(
            () => true,
            () => undefined,
          ),
        () => 'virtlens does not serve while its log is not read',
      );
      for (let count = 0; count < 30; count++) {
        // Each loss of the connection is logged.
        simulator.disconnectAll();
        await scrape();
      }
      const resident = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) * 1024;
      assert.ok(resident < RSS_BYTES_MAX, `${resident} bytes resident`);
      child.kill('SIGTERM');
      assert.equal(await ended, 0);
    } finally {
      child.kill('SIGKILL');
      closeSync(log);
      closeSync(filler);
    }
  });

  it('serves where no temporary file can be written', async () => {
    await using agent = await Agent.start([`--libvirt.uri=${uri}`], { main, env: { TMPDIR: '/proc/none' } });
    assert.equal(parseSeries(await agent.metrics()).get('libvirt_up[]'), '1');
    assert.deepEqual(agent.logLines(/level=(WARN|ERROR)/), []);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });
});

/** Writes until the pipe takes no more. */
function fillUp(descriptor: number): void {
  for (;;) {
    try {
      writeSync(descriptor, Buffer.alloc(4096, 'x'));
    } catch (error) {
      if (errorCode(error) === 'EAGAIN') return;
      throw error;
    }
  }
}
