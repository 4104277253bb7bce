import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KeptLog } from '../../test/support/kept-log.ts';
import { EventHub } from '../connection/events.ts';
import { type EventName, type LibvirtClient, LibvirtError } from '../libvirt/index.ts';
import { PARAM_TYPE, typedParams } from '../libvirt/wire/typed-params.ts';
import { EventCounter } from './event-counter.ts';
import { EventSource } from './event-source.ts';
import type { VmEventDraft } from './translate.ts';
import { LIFECYCLE_DETAILS } from './words.ts';

const NEVER = new AbortController().signal;
const DOMAIN = { name: 'vm', uuid: '00000000-0000-4000-8000-000000000001', id: 1 };

/** A connection whose daemon lacks some kinds, and whose events a test sends. */
class FakeClient {
  readonly #missing: readonly EventName[];
  readonly #listeners = new Map<EventName, (payload: unknown) => void>();

  constructor(...missing: EventName[]) {
    this.#missing = missing;
  }

  async subscribe(name: EventName, listener: (payload: unknown) => void): Promise<void> {
    if (this.#missing.includes(name)) {
      const remote = { code: 3, domain: 0, level: 2, message: 'no support' };
      throw new LibvirtError('ERR_LIBVIRT_REMOTE', 'no support', { remote });
    }
    this.#listeners.set(name, listener);
  }

  send(name: EventName, payload: object = {}): void {
    this.#listeners.get(name)?.({ domain: DOMAIN, ...payload });
  }
}

/** Follows a daemon that lacks these kinds. */
async function follow(...missing: EventName[]) {
  const log = new KeptLog();
  const hub = new EventHub(log);
  const events: VmEventDraft[] = [];
  let gaps = 0;
  new EventSource(hub, log, { onEvent: (event) => events.push(event), onGap: () => gaps++ });
  const counter = new EventCounter();
  counter.follow(hub, log);
  const client = new FakeClient(...missing);
  const attach = async (next: FakeClient) => {
    await hub.attach(next as unknown as LibvirtClient, NEVER);
    // The fallbacks are subscribed to when it is known that they are needed.
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
  };
  await attach(client);
  return { log, events, client, counter, attach, gaps: () => gaps };
}

const IO_ERROR = { path: '/disk', alias: 'virtio-disk0', action: 1 };

describe("libvirt's events", () => {
  it('are in the words of virsh', async () => {
    const { client, events } = await follow();
    client.send('lifecycle', { event: 5, detail: 5 });
    client.send('reboot');
    client.send('watchdog', { action: 6 });
    client.send('ioErrorReason', { ...IO_ERROR, reason: 'enospc' });
    client.send('controlError');
    client.send('agentLifecycle', { state: 2, reason: 1 });
    client.send('memoryFailure', { recipient: 1, action: 2, flags: 3 });
    client.send('blockJobByTarget', { target: 'vda', type: 4, status: 3 });
    const params = typedParams([['operation', PARAM_TYPE.int, 5]]);
    client.send('jobCompleted', { params });
    client.send('jobCompleted', { params: typedParams([]) });
    const rest = events.map(({ domain, isRecovered, ...own }) => own);
    assert.deepEqual(rest, [
      { kind: 'lifecycle', event: 'stopped', detail: 'failed' },
      { kind: 'reboot' },
      { kind: 'watchdog', action: 'inject-nmi' },
      { kind: 'io-error', device: 'virtio-disk0', path: '/disk', action: 'pause', reason: 'enospc' },
      { kind: 'control-error' },
      { kind: 'agent', state: 'disconnected', reason: 'domain-started' },
      { kind: 'memory-failure', recipient: 'guest', action: 'fatal', isActionRequired: true, isRecursive: true },
      { kind: 'block-job', disk: 'vda', type: 'active-commit', status: 'ready' },
      { kind: 'job-completed', operation: 'migration-out' },
      { kind: 'job-completed', operation: undefined },
    ]);
  });

  it('of numbers that this build does not know are told with the number, but for events of the lifecycle, which mean nothing then', async () => {
    const { client, events } = await follow();
    client.send('lifecycle', { event: 9, detail: 0 });
    client.send('lifecycle', { event: -1, detail: 0 });
    client.send('lifecycle', { event: 5, detail: 99 });
    client.send('watchdog', { action: -1 });
    client.send('agentLifecycle', { state: 7, reason: 8 });
    const rest = events.map(({ domain, isRecovered, ...own }) => own);
    assert.deepEqual(rest, [
      { kind: 'lifecycle', event: 'stopped', detail: 'detail-99' },
      { kind: 'watchdog', action: 'action--1' },
      { kind: 'agent', state: 'state-7', reason: 'reason-8' },
    ]);
  });

  it('that say the same in two kinds are told once, by the kind that says more or that the daemon has', async () => {
    const modern = await follow();
    modern.client.send('ioError', IO_ERROR);
    modern.client.send('ioErrorReason', { ...IO_ERROR, reason: 'eio' });
    assert.deepEqual(
      modern.events.map((event) => 'reason' in event && event.reason),
      ['eio'],
    );

    const old = await follow('ioErrorReason', 'blockJobByTarget');
    old.client.send('ioError', IO_ERROR);
    old.client.send('blockJob', { path: '/disk', type: 1, status: 0 });
    assert.deepEqual(
      old.events.map(({ kind }) => kind),
      ['io-error', 'block-job'],
    );
    assert.deepEqual(
      old.log.lines.filter((line) => line.startsWith('info')),
      [],
    );
    // The daemon was updated.
    const updated = new FakeClient();
    await old.attach(updated);
    updated.send('ioError', IO_ERROR);
    updated.send('ioErrorReason', { ...IO_ERROR, reason: 'eio' });
    assert.equal(old.events.length, 3);
    assert.equal(old.gaps(), 2);
  });

  it('of kinds that the daemon lacks are named once in the log', async () => {
    const { log, attach } = await follow('memoryFailure', 'jobCompleted', 'ioErrorReason', 'ioError');
    await attach(new FakeClient('memoryFailure', 'jobCompleted', 'ioErrorReason', 'ioError'));
    const own = log.lines.filter((line) => line.startsWith('info')).slice(0, 2);
    // The stream and the counter have a notice each, and io-error one when its fallback is missing too.
    assert.equal(
      log.count(/^info the daemon does not send events of some kinds kinds=memory-failure, job-completed$/),
      2,
    );
    assert.equal(log.count(/^info .* kinds=io-error$/), 2);
    assert.equal(own.length, 2);
  });

  it('are counted by kind and, of the lifecycle, by event', async () => {
    const { client, counter } = await follow();
    client.send('lifecycle', { event: 5, detail: 5 });
    client.send('lifecycle', { event: 5, detail: 0 });
    client.send('reboot');
    assert.deepEqual(counter.counts(), [
      { kind: 'lifecycle', event: 'stopped', count: 2 },
      { kind: 'reboot', event: '', count: 1 },
    ]);
  });

  it('of the lifecycle have a row for each of the nine', () => {
    assert.equal(LIFECYCLE_DETAILS.length, 9);
  });
});
