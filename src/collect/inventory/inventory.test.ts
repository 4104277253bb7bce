import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import type { Session } from '../../connection/session.ts';
import type { DomainRef } from '../../libvirt/index.ts';
import { Inventory } from './inventory.ts';

const NEVER = new AbortController().signal;

/** A clock on which every look costs time, as work does. */
class CostlyClock extends FakeClock {
  costMs = 0;

  override monotonicMs(): number {
    this.moveTo(super.monotonicMs() + this.costMs);
    return super.monotonicMs();
  }
}

it('VMs whose large XML changes all the time do not keep the XML of the others from being read', async () => {
  const clock = new CostlyClock();
  const domains: DomainRef[] = Array.from({ length: 12 }, (_, i) => ({
    name: `vm-${i}`,
    uuid: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`,
    id: i,
  }));
  const session = {
    isOpen: true,
    mustWait: () => false,
    sendWatched: () => ({ reply: Promise.resolve({ domains }), giveUp() {} }),
    send: (_kind: string, _name: string, { domain }: { readonly domain: DomainRef }) => ({
      reply: Promise.resolve({
        xml: `<domain type='kvm'><name>${domain.name}</name><uuid>${domain.uuid}</uuid></domain>`,
      }),
    }),
  } as unknown as Session;
  const nextTurn = async () => {};
  const inventory = new Inventory({ filter: () => true, clock, logger: new KeptLog(), nextTurn });
  inventory.onGap({ reason: 'connected', missing: new Set() });
  clock.costMs = 400;
  for (let i = 0; i < 8; i++) {
    await inventory.sync(session, { signal: NEVER, xmlSignal: NEVER, listAnyway: false });
    for (const domain of domains.slice(0, 6)) {
      inventory.onEvent({ name: 'deviceAdded', payload: { domain, alias: 'net0' } });
    }
  }
  assert.deepEqual(
    inventory.records().filter(({ config }) => config === undefined),
    [],
  );
});
