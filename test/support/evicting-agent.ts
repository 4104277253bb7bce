// One VM that crashes, and the Eviction that a built `virtlens ha` creates for it over TLS.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSimulator } from '../../src/sim/index.ts';
import { Agent, type AgentOptions } from '../lab/agent.ts';
import { waitFor } from '../lab/cage.ts';
import { startKubernetes } from '../lab/kubernetes/kubernetes.ts';

/** Long enough for a machine that does much else. */
const WAIT_MS = 120_000;

/** Fails unless the program evicts its host. */
export async function assertEvicts(program: AgentOptions): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-evicting-'));
  const simulator = createSimulator({ vms: [{ name: 'web', persistent: true }] });
  try {
    const socket = join(dir, 'libvirt-sock');
    await simulator.listen({ path: socket });
    await using kubernetes = await startKubernetes({ real: false });
    await kubernetes.createHypervisor('node-1');
    await using agent = await Agent.start(
      [
        ...['ha', `--libvirt.uri=qemu+unix:///system?socket=${socket}`, `--state.dir=${join(dir, 'state')}`],
        ...['--node-name=node-1', `--kubernetes.kubeconfig=${kubernetes.kubeconfigPath}`],
      ],
      program,
    );
    const until = <T>(what: string, look: () => Promise<T | undefined>) =>
      waitFor(look, () => `${what}:\n${agent.log}`, WAIT_MS);
    await until('it is not ready', async () => {
      const { ok } = await fetch(`${agent.url}/-/ready`, { headers: { connection: 'close' } });
      return ok || undefined;
    });
    simulator.hypervisor.crash('web');
    const eviction = await until('there is no Eviction', async () => (await kubernetes.listEvictions())[0]);
    assert.match(JSON.stringify(eviction), /"hypervisor":"node-1","reason":"VM web \(/);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  } finally {
    await simulator.close();
    rmSync(dir, { recursive: true });
  }
}
