import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KeptLog } from '../../test/support/kept-log.ts';
import type { EventName, LibvirtClient } from '../libvirt/index.ts';
import { LibvirtError } from '../libvirt/index.ts';
import { EventHub, type EventListener, type Gap } from './events.ts';

const NEVER = new AbortController().signal;
const turn = () => new Promise(setImmediate);
const DOMAIN = { name: 'vm', uuid: '00000000-0000-4000-8000-000000000001', id: 1 };

/** A connection whose events a test sends. */
class FakeClient {
  readonly kinds: EventName[] = [];
  readonly #missing: readonly EventName[];
  readonly #subscribers = new Map<
    EventName,
    { readonly listener: (payload: unknown) => void; readonly onLost: (n: number) => void }
  >();

  constructor(...missing: EventName[]) {
    this.#missing = missing;
  }

  async subscribe(
    name: EventName,
    listener: (payload: unknown) => void,
    { onLost }: { readonly onLost: (count: number) => void },
  ): Promise<void> {
    this.kinds.push(name);
    await turn();
    if (this.#missing.includes(name)) {
      const remote = { code: 3, domain: 0, level: 2, message: 'no support' };
      throw new LibvirtError('ERR_LIBVIRT_REMOTE', 'no support', { remote });
    }
    this.#subscribers.set(name, { listener, onLost });
  }

  send(name: EventName, payload: object = {}): void {
    this.#subscribers.get(name)?.listener({ domain: DOMAIN, ...payload });
  }

  lose(name: EventName, count: number): void {
    this.#subscribers.get(name)?.onLost(count);
  }

  get asClient(): LibvirtClient {
    return this as unknown as LibvirtClient;
  }
}

/** A listener that writes down what it gets. */
function recorder<N extends EventName>(...kinds: N[]) {
  const seen: string[] = [];
  const listener: EventListener<N> = {
    kinds,
    onEvent: (event) => seen.push(event.name),
    onGap: (gap: Gap) =>
      seen.push(gap.reason === 'lost' ? `lost ${gap.count}` : [gap.reason, ...gap.missing].join(' -')),
  };
  return { seen, listener };
}

describe('the events of a daemon', () => {
  it('are subscribed to once a kind, and handed in order to each listener that wants them', async () => {
    const hub = new EventHub(new KeptLog());
    const [one, two] = [recorder('lifecycle', 'reboot'), recorder('lifecycle', 'watchdog')];
    hub.listen(one.listener);
    hub.listen(two.listener);
    const client = new FakeClient();
    await hub.attach(client.asClient, NEVER);
    assert.deepEqual(client.kinds, ['lifecycle', 'reboot', 'watchdog']);
    for (const name of ['lifecycle', 'watchdog', 'reboot', 'lifecycle'] as const) client.send(name);
    assert.deepEqual(one.seen, ['connected', 'lifecycle', 'reboot', 'lifecycle']);
    assert.deepEqual(two.seen, ['connected', 'lifecycle', 'watchdog', 'lifecycle']);
  });

  it('come over the next connection too, after a gap, and no longer over the last', async () => {
    const hub = new EventHub(new KeptLog());
    const { seen, listener } = recorder('lifecycle');
    hub.listen(listener);
    const [old, fresh] = [new FakeClient(), new FakeClient()];
    await hub.attach(old.asClient, NEVER);
    await hub.attach(fresh.asClient, NEVER);
    old.send('lifecycle');
    old.lose('lifecycle', 3);
    await turn();
    assert.deepEqual(seen, ['connected', 'reconnected']);
    fresh.send('lifecycle');
    assert.deepEqual(seen, ['connected', 'reconnected', 'lifecycle']);
  });

  it('begin for a listener that comes later with a notice of its own', async () => {
    const hub = new EventHub(new KeptLog());
    const [early, late] = [recorder('lifecycle'), recorder('lifecycle', 'reboot')];
    hub.listen(early.listener);
    const client = new FakeClient();
    await hub.attach(client.asClient, NEVER);
    const stop = hub.listen(late.listener);
    while (late.seen.length === 0) await turn();
    assert.deepEqual(client.kinds, ['lifecycle', 'reboot']);
    client.send('lifecycle');
    stop();
    client.send('lifecycle');
    assert.deepEqual(early.seen, ['connected', 'lifecycle', 'lifecycle']);
    assert.deepEqual(late.seen, ['connected', 'lifecycle']);
  });

  it('that were lost are one gap for each listener to their kinds', async () => {
    const hub = new EventHub(new KeptLog());
    const [one, two] = [recorder('lifecycle', 'reboot'), recorder('watchdog')];
    hub.listen(one.listener);
    hub.listen(two.listener);
    const client = new FakeClient();
    await hub.attach(client.asClient, NEVER);
    client.lose('lifecycle', 3);
    client.lose('reboot', 4);
    await turn();
    assert.deepEqual([one.seen, two.seen], [['connected', 'lost 7'], ['connected']]);
  });

  it('of kinds that the daemon lacks are named to the listener, and logged once', async () => {
    const log = new KeptLog();
    const hub = new EventHub(log);
    const { seen, listener } = recorder('lifecycle', 'memoryFailure');
    hub.listen(listener);
    for (let i = 0; i < 3; i++) await hub.attach(new FakeClient('memoryFailure').asClient, NEVER);
    assert.deepEqual(seen, ['connected -memoryFailure', 'reconnected -memoryFailure', 'reconnected -memoryFailure']);
    assert.equal(log.count(/does not send an event event=memoryFailure/), 1);
  });

  it('are not kept from others by a listener that throws: the process hears of it', async (t) => {
    const hub = new EventHub(new KeptLog());
    const { seen, listener } = recorder('lifecycle');
    const thrown: unknown[] = [];
    t.mock.method(globalThis, 'queueMicrotask', (callback: () => void) => {
      try {
        callback();
      } catch (error) {
        thrown.push(error);
      }
    });
    hub.listen({
      kinds: ['lifecycle'],
      onEvent() {
        throw new Error("the listener's own");
      },
      onGap() {},
    });
    hub.listen(listener);
    const client = new FakeClient();
    await hub.attach(client.asClient, NEVER);
    client.send('lifecycle');
    assert.deepEqual([seen, thrown.map(String)], [['connected', 'lifecycle'], ["Error: the listener's own"]]);
  });
});
