// The client against a daemon that is broken or hostile: whatever comes, it ends in a LibvirtError of a known code or in a result, holds
// nothing afterwards, and needs no more memory than its bounds say.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { afterEach, describe, it } from 'node:test';
import { canNeverWork, LibvirtClient, LibvirtError, PARAM_TYPE, paramsToMap } from '../../src/libvirt/index.ts';
import {
  createSimulator,
  type Fault,
  type Simulator,
  type SimulatorOptions,
  type Tampering,
} from '../../src/sim/index.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';
import { heapUsed } from '../support/memory.ts';

const NAMES = ['alpha', 'beta', 'gamma'];
const LIST = { needResults: 1, flags: 0 };
const ALL_STATS = { domains: [], stats: 0, flags: 0 };
const KNOWN_CODE = /^ERR_LIBVIRT_(REMOTE|TIMEOUT|ABORTED|CLOSED|PROTOCOL|ARGUMENT|BUSY|READ_ONLY|AUTH)$/;
/** Longer than any deadline or keepalive of the client. */
const LONG_MS = 60_000;

const simulators: Simulator[] = [];
afterEach(async () => {
  for (const simulator of simulators.splice(0)) await simulator.close();
});

interface Line {
  readonly simulator: Simulator;
  readonly clock: FakeClock;
  readonly client: LibvirtClient;
}

async function open(options: SimulatorOptions = {}): Promise<Line> {
  const clock = new FakeClock();
  const simulator = createSimulator({ vms: NAMES.map((name) => ({ name })), ...options, clock });
  simulators.push(simulator);
  return { simulator, clock, client: await openClient(simulator, clock) };
}

function openClient(simulator: Simulator, clock: FakeClock): Promise<LibvirtClient> {
  return LibvirtClient.open(simulator.connect(), { description: 'the daemon', remoteName: 'qemu:///system', clock });
}

/** `ok` or the code, after so much time; anything but a LibvirtError of a known code and a bounded message fails. */
async function outcomeOf(promise: Promise<unknown>, clock: FakeClock, withinMs = LONG_MS): Promise<string> {
  let outcome = 'pending';
  const settled = promise.then(
    () => {
      outcome = 'ok';
    },
    (error: unknown) => {
      assert.ok(error instanceof LibvirtError, `not a LibvirtError: ${error}`);
      assert.match(error.code, KNOWN_CODE);
      assert.ok(error.message.length < 3_000, `a message of ${error.message.length} characters`);
      assert.doesNotMatch(error.message, /\p{Cc}/u);
      assert.equal(canNeverWork(error), false, 'what a daemon sends once may be over the next time');
      outcome = error.code;
    },
  );
  for (let pass = 0; pass < 5 && outcome === 'pending'; pass++) await settle();
  if (outcome === 'pending') await clock.advance(withinMs);
  assert.notEqual(outcome, 'pending', `nothing happened within ${withinMs} ms`);
  await settled;
  return outcome;
}

/** After a call that failed: the connection is over with a reason, or works as before. Nothing is held in the end. */
async function assertOverOrWell({ client, clock, simulator }: Line): Promise<void> {
  simulator.clearFaults();
  if (client.isOpen) {
    const outcome = await outcomeOf(client.call('connectGetHostname', undefined), clock);
    if (client.isOpen) assert.equal(outcome, 'ok');
  }
  client.destroy();
  assert.equal(client.outstandingCalls, 0);
  await simulator.close();
  await settle();
  assert.equal(clock.pending, 0, 'no timer is left');
}

describe('a reply that is not what was asked for', () => {
  const cases: ReadonlyArray<readonly [what: string, fault: Fault, outcomes: RegExp]> = [
    ['never comes', { drop: true }, /TIMEOUT/],
    ['comes after the deadline', { delayMs: 40_000 }, /TIMEOUT/],
    ['is cut off in the middle of its bytes', { tamper: { sentBytes: 40 } }, /TIMEOUT|CLOSED|PROTOCOL/],
    ['does not come at all, and neither does its header', { tamper: { sentBytes: 3 } }, /TIMEOUT|CLOSED|PROTOCOL/],
    ['is there twice', { tamper: { copies: 2 } }, /ok/],
    ['is there a thousand times', { tamper: { copies: 1000 } }, /ok/],
    ['is a web page', { garbage: Buffer.from('HTTP/1.1 200 OK\r\n\r\n') }, /PROTOCOL/],
    ['is zeros', { garbage: Buffer.alloc(100_000) }, /PROTOCOL/],
    ['is a closed connection', { disconnect: true }, /CLOSED/],
    ['is an error of 1 MB', { error: { code: 1, message: `\u001b[2J\n${'x'.repeat(1_000_000)}` } }, /REMOTE/],
    ['is an error that holds NULs', { error: { code: 1, message: 'a\0\nb\u2028c' } }, /REMOTE/],
    ['is an error without a text', { error: { code: 1, message: '' } }, /REMOTE/],
    ...[0, 1, 4, 27, 33_554_461, 0x7fff_ffff, 0xffff_ffff].map(
      (lengthWord) => [`claims a length of ${lengthWord}`, { tamper: { lengthWord } }, /PROTOCOL/] as const,
    ),
    ['claims to be a little longer', { tamper: { lengthWord: 200 } }, /TIMEOUT|PROTOCOL|CLOSED/],
    ['claims to be shorter', { tamper: { lengthWord: 60 } }, /PROTOCOL/],
    ...(
      [
        { serial: 0 },
        { serial: 99 },
        { serial: 0xffff_ffff },
        { program: 0x2000_8087 },
        { program: 0 },
        { version: 2 },
        { procedure: 344 },
        { procedure: 0xffff_ffff },
        { type: 0 },
        { type: 3 },
        { type: 5 },
        { type: 77 },
        { status: 1 },
        { status: 2 },
        { status: 77 },
      ] as const
    ).map((header) => [`has the header ${JSON.stringify(header)}`, { tamper: { header } }, /PROTOCOL/] as const),
    ['is a message nobody subscribed to', { tamper: { header: { type: 2 } } }, /TIMEOUT/],
    ...[0, 2, 4, 16_384, 16_385, 0xffff_ffff].map(
      (claimedItems) => [`claims ${claimedItems} items`, { tamper: { claimedItems } }, /PROTOCOL/] as const,
    ),
  ];
  for (const [what, fault, outcomes] of cases) {
    it(`and ${what} is an error that is known, or harmless`, async () => {
      const line = await open();
      line.simulator.inject({ procedure: 'connectListAllDomains', ...fault });
      assert.match(await outcomeOf(line.client.call('connectListAllDomains', LIST), line.clock), outcomes);
      await assertOverOrWell(line);
    });
  }

  it('does not make other calls wait, when it is late or never comes', async () => {
    const { simulator, client, clock } = await open();
    simulator.inject({ procedure: 'connectListAllDomains', drop: true });
    const lost = outcomeOf(client.call('connectListAllDomains', LIST), clock);
    assert.equal((await client.call('connectGetHostname', undefined)).hostname, 'simulated-host');
    assert.equal(await lost, 'ERR_LIBVIRT_TIMEOUT');
    assert.equal(client.isOpen, true);
  });
});

describe('a reply that ends too early', () => {
  for (const [procedure, args, step] of [
    ['connectListAllDomains', LIST, 1],
    ['connectGetAllDomainStats', ALL_STATS, 41],
    ['domainGetXmlDesc', undefined, 53],
    ['nodeGetInfo', undefined, 3],
  ] as const) {
    it(`is an error wherever it ends: ${procedure}`, async () => {
      const { simulator, clock, client } = await open();
      const { domain } = await client.call('domainLookupByName', { name: 'alpha' });
      for (let payloadBytes = 0; ; payloadBytes += step) {
        const victim = await openClient(simulator, clock);
        const takeBack = simulator.inject({ procedure, times: 1, tamper: { payloadBytes } });
        const call = victim.call(
          procedure,
          (args ?? (procedure === 'nodeGetInfo' ? undefined : { domain, flags: 0 })) as never,
        );
        const outcome = await outcomeOf(call, clock);
        takeBack();
        victim.destroy();
        if (outcome === 'ok') {
          assert.ok(payloadBytes > 20, `${procedure} was read from ${payloadBytes} bytes`);
          break;
        }
        assert.equal(outcome, 'ERR_LIBVIRT_PROTOCOL', `after ${payloadBytes} bytes`);
      }
    });
  }
});

it('flipped bits are an error that is known, or another value', async () => {
  const { simulator, clock } = await open();
  const outcomes = new Map<string, number>();
  for (let seed = 0; seed < 400; seed++) {
    const client = await openClient(simulator, clock);
    const flips: Tampering['flips'] = { seed, count: 1 + (seed % 8) };
    const takeBack = simulator.inject({ tamper: { flips }, times: 2 });
    const calls = [client.call('connectGetAllDomainStats', ALL_STATS), client.call('connectListAllDomains', LIST)];
    const ends = calls.map((call) => outcomeOf(call, clock));
    for (const end of await Promise.all(ends)) outcomes.set(end, (outcomes.get(end) ?? 0) + 1);
    takeBack();
    client.destroy();
  }
  assert.ok(outcomes.get('ERR_LIBVIRT_PROTOCOL')! > 50, JSON.stringify([...outcomes]));
  assert.ok(outcomes.get('ok')! > 50, JSON.stringify([...outcomes]));
});

describe('a name', () => {
  it('that holds a NUL is data, and makes only the calls about that VM fail', async () => {
    const { client, clock } = await open({ vms: [{ name: 'evil\0name' }, { name: 'good' }] });
    const { domains } = await client.call('connectListAllDomains', LIST);
    assert.deepEqual(
      domains.map(({ name }) => name),
      ['evil\0name', 'good'],
    );
    const [evil, good] = domains;
    assert.equal(await outcomeOf(client.call('domainGetInfo', { domain: evil! }), clock), 'ERR_LIBVIRT_ARGUMENT');
    assert.equal(
      await outcomeOf(client.call('connectGetAllDomainStats', { ...ALL_STATS, domains }), clock),
      'ERR_LIBVIRT_ARGUMENT',
    );
    assert.equal(await outcomeOf(client.call('domainGetInfo', { domain: good! }), clock), 'ok');
    const { records } = await client.call('connectGetAllDomainStats', ALL_STATS);
    assert.equal(records[0]!.domain, evil, 'the same VM is the same object');
  });

  it('of 3 MB is data, and one of 10 MB ends the connection', async () => {
    const long = await open({ vms: [{ name: 'x'.repeat(3_000_000) }] });
    const { domains } = await long.client.call('connectListAllDomains', LIST);
    assert.equal(domains[0]!.name.length, 3_000_000);
    const tooLong = await open({ vms: [{ name: 'x'.repeat(10_000_000) }] });
    assert.equal(
      await outcomeOf(tooLong.client.call('connectListAllDomains', LIST), tooLong.clock),
      'ERR_LIBVIRT_PROTOCOL',
    );
  });
});

describe('much of something', () => {
  it('in a record of 16,384 statistics is read', async () => {
    const { simulator, client } = await open();
    const fields = Array.from(
      { length: 16_384 },
      (_, i) => [`block.0.made-up-${i}`, stat(PARAM_TYPE.ullong, i)] as const,
    );
    simulator.hypervisor.setStats('beta', Object.fromEntries(fields));
    const { records } = await client.call('connectGetAllDomainStats', ALL_STATS);
    assert.equal(paramsToMap(records[1]!.params).get('block.0.made-up-16383'), 16_383);
  });

  it('in an XML of 4 MB is read, and 20 of them are', async () => {
    const xml = `<domain><name>big</name><description>${'y'.repeat(4_000_000)}</description></domain>`;
    const { client } = await open({ vms: [{ name: 'big', xml }] });
    const { domain } = await client.call('domainLookupByName', { name: 'big' });
    const replies = await Promise.all(
      Array.from({ length: 20 }, () => client.call('domainGetXmlDesc', { domain, flags: 0 })),
    );
    assert.equal(new Set(replies.map((reply) => reply.xml.length)).size, 1);
  });

  it('in names of statistics that are new in every reply does not fill the memory', async () => {
    const { simulator, client } = await open({ vms: [{ name: 'alpha', stats: [] }] });
    let fields: readonly string[] = [];
    const round = async (number: number) => {
      const gone = fields.map((field) => [field, undefined] as const);
      fields = Array.from({ length: 500 }, (_, i) => `block.0.${number}-${i}-${'z'.repeat(50)}`);
      const added = fields.map((field) => [field, stat(PARAM_TYPE.string, `${field} ${number}`)] as const);
      simulator.hypervisor.setStats('alpha', Object.fromEntries([...gone, ...added]));
      await client.call('connectGetAllDomainStats', ALL_STATS);
    };
    // The stores fill up and start over: the highest of each half is compared, and the second half must not be higher.
    const start = heapUsed();
    const highest = [0, 0];
    for (let number = 0; number < 500; number++) {
      await round(number);
      const half = number < 250 ? 0 : 1;
      if (number % 25 === 24) highest[half] = Math.max(highest[half]!, heapUsed());
    }
    assert.ok(highest[0]! - start < 80 * 2 ** 20, `the client's stores take ${highest[0]! - start} bytes`);
    const grownBytes = highest[1]! - highest[0]!;
    assert.ok(grownBytes < 8 * 2 ** 20, `125,000 new names later the heap has grown by ${grownBytes} bytes`);
  });

  it('in names of VMs that are new in every reply does not fill the memory', async () => {
    const { simulator, client } = await open({ vms: [] });
    const round = async () => {
      for (let i = 0; i < 200; i++) simulator.hypervisor.add({ name: randomUUID().repeat(10), persistent: false });
      await client.call('connectListAllDomains', LIST);
      for (const name of [...simulator.hypervisor.vms.keys()]) simulator.hypervisor.destroy(name);
    };
    for (let i = 0; i < 170; i++) await round();
    const before = heapUsed();
    for (let i = 0; i < 100; i++) await round();
    const grownBytes = heapUsed() - before;
    assert.ok(grownBytes < 32 * 2 ** 20, `20,000 new VMs later the heap has grown by ${grownBytes} bytes`);
  });
});

describe('a link', () => {
  it('that drips one byte at a time is slow, and nothing else', async () => {
    const { simulator, clock, client } = await open();
    simulator.setLink({ dripEveryMs: 1 });
    const { domains } = await untilDone(client.call('connectListAllDomains', LIST), clock, 5_000);
    assert.equal(domains.length, 3);
  });

  it('that brings no whole message in 30 s is given up', async () => {
    const { simulator, clock, client } = await open();
    simulator.setLink({ dripEveryMs: 4_000 });
    const call = client.call('connectListAllDomains', LIST, { timeoutMs: Number.POSITIVE_INFINITY });
    assert.equal(await outcomeOf(call, clock, 36_000), 'ERR_LIBVIRT_CLOSED');
  });

  it('on which nothing goes through any more is given up after 30 s', async () => {
    const { simulator, clock, client } = await open();
    simulator.setLink({ isBlackHole: true });
    const call = outcomeOf(client.call('connectListAllDomains', LIST, { timeoutMs: Infinity }), clock, 35_000);
    assert.equal(await call, 'ERR_LIBVIRT_CLOSED');
    assert.match((await client.closed)!.message, /has not answered for 30 s$/);
  });

  it('that accepts and says nothing ends the handshake in its time', async () => {
    const { simulator, clock } = await open();
    simulator.setLink({ isBlackHole: true });
    assert.equal(await outcomeOf(openClient(simulator, clock), clock, 30_000), 'ERR_LIBVIRT_TIMEOUT');
  });

  it('that is cut after any number of bytes closes the connection, and no more', async () => {
    const { simulator, clock } = await open();
    const outcomes = new Set<string>();
    for (let closeAfterBytes = 0; closeAfterBytes < 400; closeAfterBytes += 3) {
      simulator.setLink({ closeAfterBytes });
      const lists = openClient(simulator, clock).then((client) =>
        client.call('connectListAllDomains', LIST).finally(() => client.destroy()),
      );
      outcomes.add(await outcomeOf(lists, clock));
    }
    assert.deepEqual([...outcomes].sort(), ['ERR_LIBVIRT_CLOSED', 'ok']);
  });
});

describe('events', () => {
  const cases: ReadonlyArray<readonly [what: string, tamper: Tampering]> = [
    ['end too early', { payloadBytes: 9 }],
    ['have no payload', { payloadBytes: 0 }],
    ['claim a length that is none', { lengthWord: 0xffff_ffff }],
    ['are calls', { header: { type: 0 } }],
    ['have another version', { header: { version: 9 } }],
  ];
  for (const [what, tamper] of cases) {
    it(`that ${what} end the connection with a reason`, async () => {
      const { simulator, client } = await open();
      let seen = 0;
      await client.subscribe('lifecycle', () => seen++);
      simulator.inject({ event: 'lifecycle', tamper });
      simulator.hypervisor.pause('alpha');
      await settle();
      assert.equal((await client.closed)?.code, 'ERR_LIBVIRT_PROTOCOL');
      assert.equal(seen, 0);
    });
  }

  it('with flipped bits are let pass, or end the connection', async () => {
    const { simulator, clock } = await open();
    for (let seed = 0; seed < 200; seed++) {
      const client = await openClient(simulator, clock);
      await client.subscribe('lifecycle', ({ domain }) => assert.equal(typeof domain.name, 'string'));
      const takeBack = simulator.inject({ event: 'lifecycle', tamper: { flips: { seed, count: 3 } } });
      simulator.hypervisor.pause('alpha');
      simulator.hypervisor.resume('alpha');
      await settle();
      takeBack();
      if (!client.isOpen) assert.equal((await client.closed)?.code, 'ERR_LIBVIRT_PROTOCOL');
      client.destroy();
    }
  });

  it('of 100,000 VMs that do not exist cost no memory in the end', async () => {
    const { simulator, client } = await open();
    let seen = 0;
    let lost = 0;
    await client.subscribe('lifecycle', () => seen++, {
      onLost: (count) => {
        lost += count;
      },
    });
    const flood = async (events: number) => {
      for (let i = 0; i < events; i++) simulator.hypervisor.emitUnknown();
      while (seen + lost < events) await settle();
      seen = 0;
      lost = 0;
    };
    await flood(100_000);
    const before = heapUsed();
    await flood(100_000);
    const grownBytes = heapUsed() - before;
    assert.ok(grownBytes < 32 * 2 ** 20, `the heap has grown by ${grownBytes} bytes`);
    assert.equal(client.isOpen, true);
  });
});

function stat(type: (typeof PARAM_TYPE)[keyof typeof PARAM_TYPE], value: number | string) {
  return { type, value, ratePerSecond: 0 };
}

async function untilDone<T>(promise: Promise<T>, clock: FakeClock, withinMs: number): Promise<T> {
  await settle();
  await clock.advance(withinMs);
  return promise;
}
