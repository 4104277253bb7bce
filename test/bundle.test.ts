// The built program with what it loads late: what its build leaves out is missed nowhere else. test/logs-storm.test.ts has its outputs of logs.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { buildAgent } from '../scripts/build.ts';
import { AgentProcess, runAgent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { assertEvicts } from './support/evicting-agent.ts';

describeLab('the built program', ['tls'], () => {
  let directory: string;
  let main: string;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'virtlens-bundle-'));
    main = join(directory, 'virtlens.js');
    await buildAgent(main);
  });
  after(() => rmSync(directory, { recursive: true }));

  it('begins with a line that the env of every system understands', () => {
    // BusyBox's has no -S, with which a first line could set variables and options.
    assert.equal(readFileSync(main, 'utf8').split('\n', 1)[0], '#!/usr/bin/env node');
  });

  it('creates an Eviction over TLS', () => assertEvicts({ main }));

  it('runs ha dry, with a policy file', async () => {
    const policy = join(directory, 'policy.yaml');
    writeFileSync(policy, 'rules: {watchdog: log}\n');
    await using agent = new AgentProcess(
      [
        ...['ha', '--dry-run', '--libvirt.uri=test:///default', `--policy.file=${policy}`],
        '--web.listen-address=127.0.0.1:0',
      ],
      { main },
    );
    await agent.waitForLog(/connected to libvirt/);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });

  it('delivers logs to standard output', async () => {
    const logs = join(directory, 'qemu');
    mkdirSync(logs);
    writeFileSync(join(logs, 'web.log'), '2026-11-21 18:04:11.201+0000: shutting down, reason=crashed\n');
    await using agent = new AgentProcess(
      [
        ...['logs', '--source=qemu', `--qemu.log-dir=${logs}`, `--state.dir=${join(directory, 'state')}`],
        '--web.listen-address=127.0.0.1:0',
      ],
      { main },
    );
    const record = await waitFor(
      () => /^\{.*\}\n/.exec(agent.stdout)?.[0],
      () => `there is no record:\n${agent.log}`,
      60_000,
    );
    assert.equal(JSON.parse(record)['libvirt.shutdown.reason'], 'crashed');
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });

  it('follows events', async () => {
    const { code, stderr } = await runAgent(['events', '--libvirt.uri=test:///default', '--timeout=50ms'], { main });
    assert.equal(code, 0);
    assert.match(stderr, /msg="connected to libvirt"/);
  });
});
