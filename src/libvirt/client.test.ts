// The client against the simulated daemon.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { createSimulator, type Simulator, type SimulatorOptions } from '../sim/daemon/simulator.ts';
import { canNeverWork } from './can-never-work.ts';
import { type ClientOptions, LibvirtClient } from './client.ts';
import { EVENT_KINDS, LIFECYCLE } from './wire/event-kinds.ts';
import { encodeFrame, MESSAGE_TYPE, PROGRAM } from './wire/frame.ts';
import {
  isRemoteError,
  isUnsupported,
  LibvirtError,
  type LibvirtErrorCode,
  REMOTE_ERROR,
} from './wire/libvirt-error.ts';
import { STATS_BIT } from './wire/procedures.ts';
import type { XdrWriter } from './wire/xdr.ts';

const VM_NAMES = ['alpha', 'beta', 'gamma'];

let simulator: Simulator;
/** The time of the simulator and of all clients. */
let clock: FakeClock;
const clients: LibvirtClient[] = [];

function start(options: SimulatorOptions = {}): void {
  clock = new FakeClock();
  simulator = createSimulator({ vms: VM_NAMES.map((name) => ({ name })), clock, ...options });
}

async function open(options: Partial<ClientOptions> = {}): Promise<LibvirtClient> {
  const client = await LibvirtClient.open(simulator.connect(), {
    description: 'the simulator',
    remoteName: 'qemu:///system',
    clock,
    ...options,
  });
  clients.push(client);
  return client;
}

/** A signal that fires after so many milliseconds of the fake clock. */
function abortIn(delayMs: number): AbortSignal {
  const controller = new AbortController();
  clock.schedule(delayMs, () => controller.abort());
  return controller.signal;
}

function is(code: LibvirtErrorCode, message = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof LibvirtError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

/** A message as the daemon would send it, to every client. */
function sendEvents(procedure: number, count: number, write: (writer: XdrWriter, index: number) => void): void {
  const header = { program: PROGRAM.remote, version: 1, procedure, type: MESSAGE_TYPE.message, serial: 1, status: 0 };
  const frames = Array.from({ length: count }, (_, index) =>
    Buffer.from(encodeFrame(header, (writer) => write(writer, index))),
  );
  simulator.sendGarbage(Buffer.concat(frames));
}

beforeEach(() => start());
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await simulator.close();
});

describe('the handshake', () => {
  it('opens read-only unless asked otherwise', async () => {
    const client = await open();
    assert.equal(client.readOnly, true);
    assert.equal((await client.call('connectGetUri', undefined)).uri, 'qemu:///system');
    const { domain } = await client.call('domainLookupByName', { name: 'alpha' });
    const before = simulator.counters.received();
    await assert.rejects(
      client.call('domainCreate', { domain }),
      is(
        'ERR_LIBVIRT_READ_ONLY',
        /^domainCreate changes the host, and the simulator was opened read-only; open it read-write/,
      ),
    );
    assert.equal(simulator.counters.received(), before, 'nothing was sent');
    const writer = await open({ readWrite: true });
    await assert.rejects(writer.call('domainCreate', { domain }), (error) =>
      isRemoteError(error, REMOTE_ERROR.operationInvalid),
    );
  });

  for (const [types, words] of [
    [[1], /^the simulator wants SASL authentication, which virtlens does not do: use the local read-only socket/],
    [[9], /wants type 9 authentication/],
  ] as const) {
    it(`says what to do about authentication ${types.join(' and ')}`, async () => {
      start({ authTypes: types });
      const stream = simulator.connect();
      await assert.rejects(
        LibvirtClient.open(stream, { description: 'the simulator', remoteName: 'qemu:///system' }),
        is('ERR_LIBVIRT_AUTH', words),
      );
      assert.equal(stream.destroyed, true);
    });
  }

  it("does polkit's authentication where the daemon asks for it", async () => {
    for (const authTypes of [[2], [1, 2]]) {
      start({ authTypes });
      const client = await open();
      assert.equal((await client.call('connectGetUri', undefined)).uri, 'qemu:///system');
      assert.deepEqual([simulator.counters.received('authPolkit')], [1]);
    }
  });

  it('calls nothing but authList where root is let in without', async () => {
    start({ authTypes: [0, 2], polkit: 'refused' });
    await open();
    assert.equal(simulator.counters.received('authPolkit'), 0);
  });

  for (const [polkit, description, readWrite, code, isFinal, words] of [
    [
      'refused',
      'unix socket /run/libvirt/libvirt-sock-ro',
      false,
      'ERR_LIBVIRT_AUTH',
      true,
      /^unix socket \S+: polkit does not allow this user the action org\.libvirt\.unix\.monitor \(authentication failed: access denied by policy\); allow it with a rule in \/etc\/polkit-1\/rules\.d\/ on the daemon's host$/,
    ],
    [
      'refused',
      'unix socket /run/libvirt/virtqemud-sock',
      false,
      'ERR_LIBVIRT_AUTH',
      true,
      /action org\.libvirt\.unix\.manage .*, or use the read-only socket$/,
    ],
    ['refused', 'ssh host', false, 'ERR_LIBVIRT_AUTH', true, /org\.libvirt\.unix\.monitor/],
    ['refused', 'ssh host', true, 'ERR_LIBVIRT_AUTH', true, /org\.libvirt\.unix\.manage/],
    [
      'unavailable',
      'the simulator',
      false,
      'ERR_LIBVIRT_AUTH_UNAVAILABLE',
      false,
      /^the simulator wants polkit authentication, and cannot ask polkit: error from service: .*; start polkit and D-Bus/,
    ],
  ] as const) {
    it(`says what polkit said: ${polkit} at ${description}, ${readWrite ? 'read-write' : 'read-only'}`, async () => {
      start({ authTypes: [2], polkit });
      const stream = simulator.connect();
      await assert.rejects(
        LibvirtClient.open(stream, { description, remoteName: 'qemu:///system', readWrite }),
        (error) => {
          assert.equal(canNeverWork(error), isFinal);
          return is(code, words)(error);
        },
      );
      assert.equal(stream.destroyed, true);
    });
  }

  it('says that the daemon does not have the driver', async () => {
    for (const code of [REMOTE_ERROR.noConnect, REMOTE_ERROR.configUnsupported]) {
      const message = 'no connection driver available for xen:///system';
      start({ faults: [{ procedure: 'connectOpen', error: { code, message } }] });
      const options = { description: 'the simulator', remoteName: 'xen:///system' };
      await assert.rejects(LibvirtClient.open(simulator.connect(), options), (error) => {
        assert.equal(canNeverWork(error), true);
        return is(
          'ERR_LIBVIRT_NO_DRIVER',
          /^the simulator has no driver for xen:\/\/\/system: no connection driver/,
        )(error);
      });
    }
  });

  it('leaves nothing open when the daemon says nothing, refuses or goes away', async () => {
    const endings: ReadonlyArray<readonly [SimulatorOptions, () => Partial<ClientOptions>, LibvirtErrorCode, RegExp]> =
      [
        [
          { faults: [{ procedure: 'authList', drop: true }] },
          () => ({ callTimeoutMs: 20 }),
          'ERR_LIBVIRT_TIMEOUT',
          /^the simulator did not answer authList within 20 ms$/,
        ],
        [
          { faults: [{ procedure: 'connectOpen', drop: true }] },
          () => ({ signal: abortIn(20) }),
          'ERR_LIBVIRT_ABORTED',
          /connectOpen/,
        ],
        [{}, () => ({ signal: AbortSignal.abort() }), 'ERR_LIBVIRT_ABORTED', /authList/],
        [
          { faults: [{ procedure: 'connectOpen', error: { code: 38, message: 'Cannot open: no driver' } }] },
          () => ({}),
          'ERR_LIBVIRT_REMOTE',
          /^Cannot open: no driver$/,
        ],
        [
          { faults: [{ procedure: 'authList', disconnect: true }] },
          () => ({}),
          'ERR_LIBVIRT_CLOSED',
          /the simulator is gone/,
        ],
        [
          { faults: [{ procedure: 'authList', garbage: Buffer.from('SSH-2.0-x\r\n') }] },
          () => ({}),
          'ERR_LIBVIRT_PROTOCOL',
          /^the simulator does not speak libvirt's protocol: .*SSH/,
        ],
      ];
    for (const [simulated, options, code, message] of endings) {
      start(simulated);
      const stream = simulator.connect();
      const end = assert.rejects(
        LibvirtClient.open(stream, { description: 'the simulator', remoteName: 'qemu:///system', clock, ...options() }),
        is(code, message),
      );
      await settle();
      await clock.advance(20);
      await end;
      assert.equal(stream.destroyed, true);
    }
  });

  it('works with a daemon that is too old for features', async () => {
    start({ host: { libvirtVersion: '0.9.4' } });
    const client = await open();
    assert.equal((await client.call('connectGetLibVersion', undefined)).version, 9004);
    await assert.rejects(
      client.call('connectGetAllDomainStats', { domains: [], stats: 1, flags: 0 }),
      (error) => isUnsupported(error) && is('ERR_LIBVIRT_REMOTE', /unknown procedure/)(error),
    );
  });
});

describe('calls', () => {
  it('are under way together, and are answered in any order', async () => {
    const client = await open();
    simulator.reorderReplies(3);
    const names = await Promise.all(
      VM_NAMES.map(async (name) => (await client.call('domainLookupByName', { name })).domain.name),
    );
    assert.deepEqual(names, VM_NAMES);
  });

  it('and subscriptions of a name that is none are refused as any other bad argument', async () => {
    const client = await open();
    for (const name of ['fly', 'constructor', '__proto__']) {
      await assert.rejects(client.call(name as 'connectOpen', undefined as never), is('ERR_LIBVIRT_ARGUMENT'));
      await assert.rejects(
        client.subscribe(name as 'reboot', () => {}),
        is('ERR_LIBVIRT_ARGUMENT'),
      );
    }
  });

  it("keep the daemon's error", async () => {
    const client = await open();
    await assert.rejects(client.call('domainLookupByName', { name: 'delta' }), (error: LibvirtError) => {
      assert.equal(isRemoteError(error, REMOTE_ERROR.noDomain), true);
      assert.deepEqual(error.remote?.level, 2);
      return is('ERR_LIBVIRT_REMOTE', /delta/)(error);
    });
  });

  it('that time out or are given up leave the connection as it was', async () => {
    const client = await open();
    const controller = new AbortController();
    simulator.inject({ procedure: 'connectGetHostname', delayMs: 50, times: 2 });
    const slow = client.call('connectGetHostname', undefined, { timeoutMs: 1 });
    const unwanted = client.call('connectGetHostname', undefined, { signal: controller.signal });
    controller.abort();
    await assert.rejects(unwanted, is('ERR_LIBVIRT_ABORTED'));
    const timedOut = assert.rejects(slow, is('ERR_LIBVIRT_TIMEOUT', /did not answer connectGetHostname within 1 ms/));
    await settle();
    await clock.advance(1);
    await timedOut;
    assert.equal(client.abandonedCalls, 2);
    assert.equal((await client.call('connectGetHostname', undefined)).hostname, 'simulated-host');
    await clock.advance(49);
    assert.equal(client.outstandingCalls, 0);
    assert.equal(client.isOpen, true);
  });

  it('leave nothing on a signal that lives long', async () => {
    const client = await open();
    const { signal } = new AbortController();
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    await Promise.all(Array.from({ length: 50 }, () => client.call('connectGetHostname', undefined, { signal })));
    await settle();
    process.off('warning', onWarning);
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    assert.deepEqual(warnings, []);
  });

  it('are all rejected when the daemon dies, and so is every later one', async () => {
    const client = await open();
    simulator.inject({ procedure: 'connectGetHostname', drop: true });
    const calls = [1, 2, 3].map(() => client.call('connectGetHostname', undefined));
    const ends = Promise.allSettled(calls);
    await settle();
    simulator.disconnectAll();
    for (const end of await ends) is('ERR_LIBVIRT_CLOSED', /is gone/)((end as PromiseRejectedResult).reason);
    is('ERR_LIBVIRT_CLOSED')(await client.closed);
    assert.equal(client.isOpen, false);
    await assert.rejects(client.call('connectGetHostname', undefined), is('ERR_LIBVIRT_CLOSED', /is gone/));
    await assert.rejects(
      client.subscribe('reboot', () => {}),
      is('ERR_LIBVIRT_CLOSED'),
    );
    await client.close();
  });

  it('end with the reason when the daemon begins to talk nonsense', async () => {
    const client = await open();
    simulator.sendGarbage();
    is('ERR_LIBVIRT_PROTOCOL', /^the simulator does not speak libvirt's protocol: .*HTTP/)(await client.closed);
  });

  it("of all kinds are answered by the simulator in the table's own types", async () => {
    const client = await open();
    const { records } = await client.call('connectGetAllDomainStats', {
      domains: [],
      stats: STATS_BIT.state | STATS_BIT.cpuTotal,
      flags: 0,
    });
    assert.deepEqual(
      records.map(({ domain }) => domain.name),
      VM_NAMES,
    );
    assert.equal(records[0]!.params.layout, records[1]!.params.layout);
  });
});

describe('close', () => {
  it('says goodbye and rejects what is pending, once', async () => {
    const client = await open();
    simulator.inject({ procedure: 'connectGetHostname', drop: true });
    const pending = assert.rejects(
      client.call('connectGetHostname', undefined),
      is('ERR_LIBVIRT_CLOSED', /closed by this side/),
    );
    const both = Promise.all([client.close(), client.close()]);
    await assert.rejects(client.call('connectGetHostname', undefined), is('ERR_LIBVIRT_CLOSED', /closed by this side/));
    await both;
    await pending;
    assert.equal(await client.closed, undefined);
    assert.equal(simulator.counters.received('connectClose'), 1);
    await client.close();
    client.destroy();
  });

  it('takes two seconds at most when the daemon does not answer', async () => {
    const client = await open();
    simulator.inject({ procedure: 'connectClose', delayMs: 60_000 });
    let isClosed = false;
    const closing = client.close().then(() => {
      isClosed = true;
    });
    await clock.advance(1_999);
    assert.equal(isClosed, false, 'a busy daemon is given its time');
    await clock.advance(1);
    await closing;
    assert.equal(await client.closed, undefined);
  });
});

describe('events', () => {
  it('come to who asked for them, in order, until they are not wanted', async () => {
    const client = await open();
    const seen: string[] = [];
    const all = await client.subscribe('lifecycle', ({ domain, event }) => seen.push(`all ${domain.name} ${event}`));
    const { domain } = await client.call('domainLookupByName', { name: 'beta' });
    await client.subscribe('lifecycle', ({ event }) => seen.push(`beta ${event}`), { domain });
    await client.subscribe('reboot', (payload) => seen.push(`reboot ${payload.domain.name}`));
    simulator.hypervisor.pause('alpha');
    simulator.hypervisor.reboot('beta');
    simulator.hypervisor.pause('beta');
    await settle();
    assert.deepEqual(seen.splice(0), [
      `all alpha ${LIFECYCLE.suspended}`,
      'reboot beta',
      `all beta ${LIFECYCLE.suspended}`,
      `beta ${LIFECYCLE.suspended}`,
    ]);
    const ended = all.unsubscribe();
    simulator.hypervisor.resume('beta');
    await ended;
    await all.unsubscribe();
    simulator.hypervisor.resume('alpha');
    await settle();
    assert.deepEqual(seen, [`beta ${LIFECYCLE.resumed}`]);
    assert.equal(simulator.counters.received('connectDomainEventCallbackDeregisterAny'), 1);
  });

  it('that nobody waits for any more are not sent', async () => {
    const client = await open();
    simulator.inject({ procedure: 'connectDomainEventCallbackRegisterAny', delayMs: 30, times: 1 });
    const timedOut = assert.rejects(
      client.subscribe('lifecycle', () => {}, { timeoutMs: 1 }),
      is('ERR_LIBVIRT_TIMEOUT'),
    );
    await settle();
    await clock.advance(1);
    await timedOut;
    await clock.advance(29);
    assert.equal(client.outstandingCalls, 0);
    assert.equal(simulator.counters.received('connectDomainEventCallbackDeregisterAny'), 1);
  });

  it('of a kind that the daemon does not know are refused as unsupported', async () => {
    const client = await open();
    simulator.inject({
      procedure: 'connectDomainEventCallbackRegisterAny',
      error: { code: REMOTE_ERROR.internalError, message: 'internal error: unsupported event ID 25' },
    });
    await assert.rejects(
      client.subscribe('memoryFailure', () => {}),
      isUnsupported,
    );
  });

  it('of a daemon without callback ids come by kind and are told apart here', async () => {
    start({ host: { libvirtVersion: '1.1.1' } });
    const client = await open();
    const { domain } = await client.call('domainLookupByName', { name: 'beta' });
    const seen: string[] = [];
    const [all] = await Promise.all([
      client.subscribe('lifecycle', (payload) => seen.push(`all ${payload.domain.name}`)),
      client.subscribe('lifecycle', () => seen.push('beta'), { domain }),
      client.subscribe('reboot', (payload) => seen.push(`reboot ${payload.domain.name}`)),
    ]);
    assert.equal(simulator.counters.received('connectDomainEventRegisterAny'), 2, 'once a kind');
    simulator.hypervisor.pause('alpha');
    simulator.hypervisor.reboot('beta');
    simulator.hypervisor.pause('beta');
    await settle();
    assert.deepEqual(seen.splice(0), ['all alpha', 'reboot beta', 'all beta', 'beta']);
    await all.unsubscribe();
    simulator.hypervisor.resume('beta');
    await settle();
    assert.deepEqual(seen, ['beta']);
  });

  it('of a daemon without callback ids can be asked for again after a failure', async () => {
    start({ host: { libvirtVersion: '1.1.1' } });
    const client = await open();
    const fault = { code: REMOTE_ERROR.internalError, message: 'internal error: unsupported event ID 18' };
    simulator.inject({ procedure: 'connectDomainEventRegisterAny', error: fault, times: 1 });
    await assert.rejects(
      client.subscribe('lifecycle', () => {}),
      isUnsupported,
    );
    const seen: number[] = [];
    await client.subscribe('lifecycle', ({ event }) => seen.push(event));
    simulator.hypervisor.pause('alpha');
    await settle();
    assert.deepEqual(seen, [LIFECYCLE.suspended]);
  });

  it('nobody asked for, of kinds unknown or with a foreign callback id, are let pass', async () => {
    const client = await open();
    const seen: unknown[] = [];
    await client.subscribe('lifecycle', (payload) => seen.push(payload));
    const domain = { name: 'x', uuid: '00000000-0000-0000-0000-000000000000', id: 1 };
    // 362 is 'connection closed', which is no domain's event.
    sendEvents(362, 1, (writer) => writer.int32(0));
    // The subscription's own callback id, but of another kind.
    sendEvents(EVENT_KINDS.reboot.procedure, 1, (writer) => {
      writer.int32(0);
      EVENT_KINDS.reboot.payload.encode(writer, { domain });
    });
    sendEvents(EVENT_KINDS.lifecycle.procedure, 1, (writer) => {
      writer.int32(77);
      EVENT_KINDS.lifecycle.payload.encode(writer, { domain, event: 0, detail: 0 });
    });
    await settle();
    assert.deepEqual(seen, []);
    assert.equal(client.isOpen, true);
    sendEvents(EVENT_KINDS.lifecycle.procedure, 1, (writer) => writer.int32(0));
    is('ERR_LIBVIRT_PROTOCOL', /ends at byte/)(await client.closed);
  });

  it('come still when the connection is lost, but not after this side has closed it', async () => {
    for (const [end, expected] of [
      ['lost', 1],
      ['destroyed', 0],
    ] as const) {
      const client = await open();
      let count = 0;
      await client.subscribe('lifecycle', () => count++);
      simulator.hypervisor.pause('alpha');
      // The event has been read, and waits for its turn.
      await new Promise<void>((resolve) => process.nextTick(resolve));
      if (end === 'lost') simulator.disconnectAll();
      else client.destroy();
      await settle();
      assert.equal(count, expected, end);
      simulator.hypervisor.resume('alpha');
    }
  });

  it('in a flood never delay a reply, and what is too much is counted', async () => {
    const client = await open();
    let received = 0;
    let lost = 0;
    let lostOfOthers = 0;
    let last = -1;
    const onLost = (count: number) => {
      lost += count;
    };
    await client.subscribe(
      'lifecycle',
      ({ domain }) => {
        received++;
        assert.ok(domain.id > last, 'in order');
        last = domain.id;
      },
      { onLost },
    );
    await client.subscribe('reboot', () => {}, { onLost: (count) => (lostOfOthers += count) });
    sendEvents(EVENT_KINDS.lifecycle.procedure, 100_000, (writer, index) => {
      writer.int32(0);
      EVENT_KINDS.lifecycle.payload.encode(writer, {
        domain: { name: `vm-${index % 100}`, uuid: '00000000-0000-0000-0000-000000000000', id: index },
        event: 2,
        detail: 0,
      });
    });
    await client.call('connectGetHostname', undefined);
    assert.ok(received < 20_000, `${received} events came before the reply`);
    while (received + lost < 100_000) await settle();
    assert.equal(received + lost, 100_000);
    assert.ok(received >= 65_536, String(received));
    assert.equal(lostOfOthers, 0);
    assert.equal(client.isOpen, true);
  });

  it('of great size do not fill the memory', async () => {
    const client = await open();
    let lost = 0;
    let received = 0;
    const onLost = (count: number) => {
      lost += count;
    };
    await client.subscribe('metadataChange', () => received++, { onLost });
    const namespace = 'x'.repeat(4_000_000);
    sendEvents(EVENT_KINDS.metadataChange.procedure, 20, (writer) => {
      writer.int32(0);
      const domain = { name: 'x', uuid: '00000000-0000-0000-0000-000000000000', id: 1 };
      EVENT_KINDS.metadataChange.payload.encode(writer, { domain, type: 2, namespace });
    });
    while (received + lost < 20) await settle();
    assert.ok(lost > 0 && received >= 8, `${received} received, ${lost} lost`);
  });

  it('are not stopped by a listener that throws: the process hears of it', async () => {
    const client = await open();
    const seen: string[] = [];
    await client.subscribe('lifecycle', ({ domain }) => {
      seen.push(domain.name);
      if (seen.length === 1) throw new Error("the listener's own");
    });
    const previous = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => seen.push(error.message));
    try {
      simulator.hypervisor.pause('alpha');
      simulator.hypervisor.pause('beta');
      await settle();
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of previous) process.on('uncaughtException', listener);
    }
    assert.deepEqual(seen.sort(), ['alpha', 'beta', "the listener's own"]);
  });
});

describe('a connection on which nothing is said', () => {
  it('is kept as long as the daemon answers pings', async () => {
    const client = await open();
    const old = createSimulator({ host: { libvirtVersion: '0.9.4' }, clock });
    const mute = await LibvirtClient.open(old.connect(), {
      description: 'an old daemon',
      remoteName: 'qemu:///system',
      clock,
    });
    await clock.advance(60_000);
    assert.ok(simulator.counters.keepalivePings >= 5);
    assert.equal(client.isOpen, true);
    assert.equal(mute.isOpen, true);
    assert.equal(old.counters.keepalivePings, 0, 'a daemon that does not know pings gets none');
    mute.destroy();
    await old.close();
  });
});

describe('a connection that is used no more', () => {
  it('keeps no timer', async () => {
    const client = await open();
    await client.subscribe('lifecycle', () => {});
    await client.call('connectGetHostname', undefined);
    simulator.inject({ procedure: 'connectGetHostname', drop: true });
    const pending = assert.rejects(client.call('connectGetHostname', undefined), is('ERR_LIBVIRT_CLOSED'));
    assert.ok(clock.pending > 0);
    client.destroy();
    await pending;
    assert.equal(clock.pending, 0);
  });
});
