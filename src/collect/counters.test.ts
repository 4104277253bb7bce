// Whatever happens to the VMs and the daemon: counters of one run of a VM never run backwards, names are unique, calls are bounded.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SimulatedHost, timedOut } from '../../test/support/simulated-host.ts';
import type { CollectedName } from '../model/collected.ts';
import type { DomainSnapshot, Snapshot } from '../model/snapshot.ts';
import { STATS_GROUPS } from '../model/snapshot.ts';
import type { Hypervisor } from '../sim/hypervisor/hypervisor.ts';

const NAMES = Array.from({ length: 12 }, (_, i) => `vm-${String(i + 1).padStart(3, '0')}`);

/** What can happen to one VM; what it cannot do in its state is not done. */
const HAPPENINGS: Readonly<Record<string, (hypervisor: Hypervisor, name: string) => void>> = {
  hang: (hypervisor, name) => hypervisor.hang(name),
  unhang: (hypervisor, name) => hypervisor.unhang(name),
  destroy: (hypervisor, name) => hypervisor.destroy(name),
  crash: (hypervisor, name) => hypervisor.crash(name),
  start: (hypervisor, name) => hypervisor.start(name),
  pause: (hypervisor, name) => hypervisor.pause(name),
  undefine: (hypervisor, name) => hypervisor.undefine(name),
  create: (hypervisor, name) => hypervisor.create({ name }),
  migrate: (hypervisor, name) => hypervisor.migrate(name, { durationMs: 30_000 }),
};

const step = fc.record({
  what: fc.constantFrom(
    ...Object.keys(HAPPENINGS),
    'slow',
    'reorder',
    'calm',
    'disconnect',
    'collect',
    'collect',
    'collect',
  ),
  name: fc.constantFrom(...NAMES),
  passMs: fc.integer({ min: 0, max: 20_000 }),
});

/** Every number of a VM that only grows, by a name of its own. */
function counters(domain: DomainSnapshot): Map<string, number | bigint> {
  const found = new Map<string, number | bigint>();
  const note = (name: string, value: number | bigint | undefined) => {
    if (value !== undefined) found.set(`${domain.uuid} ${domain.id} ${name}`, value);
  };
  const { stats } = domain;
  note('cpu', stats.cpu?.timeNs);
  for (const vcpu of stats.vcpu?.vcpus ?? []) note(`vcpu ${vcpu.index}`, vcpu.timeNs);
  for (const block of stats.blocks ?? []) note(`block ${block.index}`, block.readBytes);
  for (const nic of stats.interfaces ?? []) note(`interface ${nic.index}`, nic.rxBytes);
  return found;
}

describe('under everything that can happen', () => {
  it('counters never run backwards, names are unique and calls are bounded', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        await using host = new SimulatedHost(
          { fleets: [{ count: 12, mixedStates: false }] },
          { wanted: new Set<CollectedName>([...STATS_GROUPS, 'jobs']) },
        );
        const { hypervisor } = host.simulator;
        const seen = new Map<string, number | bigint>();
        const check = (snapshot: Snapshot) => {
          const names = snapshot.domains.map((domain) => domain.name);
          assert.equal(new Set(names).size, names.length);
          for (const domain of snapshot.domains) {
            for (const [key, value] of counters(domain)) {
              const before = seen.get(key);
              assert.ok(before === undefined || value >= before, `${key} went from ${before} to ${value}`);
              seen.set(key, value);
            }
          }
          assert.ok(host.simulator.workers.busy <= 15, `${host.simulator.workers.busy} workers are busy`);
        };
        const pending: Promise<void>[] = [];
        const failures: unknown[] = [];
        for (const { what, name, passMs } of steps) {
          if (what === 'collect') {
            const checked = host.collector.collect({ deadlineMs: 9_500 }).then(check);
            pending.push(checked.catch((failure: unknown) => void failures.push(failure)));
          } else if (what === 'slow') {
            host.simulator.inject({ procedure: 'connectGetAllDomainStats', vm: name, delayMs: passMs, times: 3 });
          } else if (what === 'reorder') host.simulator.reorderReplies(3);
          else if (what === 'calm') host.simulator.clearFaults();
          else if (what === 'disconnect') host.simulator.disconnectAll();
          else {
            try {
              HAPPENINGS[what]!(hypervisor, name);
            } catch {
              // Not possible in the state that it is in.
            }
          }
          await host.pass(passMs);
        }
        await host.until(Promise.all(pending));
        if (failures.length > 0) throw failures[0];
        // When all is calm again, so is everything that is served.
        host.simulator.clearFaults();
        host.simulator.reorderReplies(1);
        for (const name of hypervisor.vms.keys()) hypervisor.unhang(name);
        await host.pass(60_000);
        check(await host.collect());
        await host.pass(15_000);
        const last = await host.collect();
        check(last);
        assert.equal(last.up, true);
        assert.deepEqual(timedOut(last), []);
        const byId = [...hypervisor.vms.values()].map((vm) => [vm.name, vm.active ? vm.id : undefined] as const).sort();
        assert.deepEqual(last.domains.map((domain) => [domain.name, domain.id] as const).sort(), byId);
      }),
      { numRuns: 150 },
    );
  });
});
