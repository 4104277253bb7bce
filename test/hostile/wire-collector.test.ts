// The whole collector against a daemon that is broken or hostile: it lives, the VMs that are well are fresh, the page is one that
// Prometheus takes, the log is a few short lines, and all is well again soon after the daemon is.
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { formatPrometheus } from '../../src/formats/prometheus.ts';
import { PARAM_TYPE, type ParamType } from '../../src/libvirt/index.ts';
import { COLLECTED_NAMES } from '../../src/model/collected.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { createSchemaSet, SCHEMA_NAMES } from '../../src/schemas/schema-set.ts';
import type { Fault, VmDescription } from '../../src/sim/index.ts';
import { parseSeries } from '../lab/exposition.ts';
import { heapUsed } from '../support/memory.ts';
import { SimulatedHost } from '../support/simulated-host.ts';

/** The VMs that are well. */
const WELL = ['web', 'db', 'cache', 'mail', 'build'];
const EVERYTHING = { wanted: new Set(COLLECTED_NAMES) } as const;
const SCRAPE_EVERY_MS = 15_000;
const DEADLINE_MS = 9_500;
/** After so long a daemon that is well again is used again: the waits of connecting and of quarantine are over. */
const HEALED_AFTER_MS = 120_000;

const schemas = createSchemaSet(SCHEMA_NAMES);
const hosts: SimulatedHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host[Symbol.asyncDispose]();
});

/** A host of five VMs and `others`, which has been scraped once. */
async function start(others: readonly VmDescription[] = []): Promise<SimulatedHost> {
  const vms = [...others, ...WELL.map((name) => ({ name, persistent: true }))];
  const host = new SimulatedHost({ vms }, EVERYTHING);
  hosts.push(host);
  await host.collect();
  await host.pass(SCRAPE_EVERY_MS);
  return host;
}

/** The series of the page, which must be one that a strict reader takes, without what a daemon's text could have forged in it. */
function pageOf(snapshot: Snapshot): Map<string, string> {
  const text = Buffer.concat([
    ...formatPrometheus(schemas.families(snapshot)).map((chunk) => Buffer.from(chunk)),
  ]).toString();
  if (text === '') return new Map();
  const series = parseSeries(text);
  for (const [name, value] of series) {
    assert.doesNotMatch(name, /^forged/);
    assert.doesNotMatch(value, /NaN|Inf/, `${name} ${value}`);
  }
  return series;
}

/** The VMs whose statistics are of this collection. */
function fresh(snapshot: Snapshot): string[] {
  return snapshot.domains.filter((vm) => !vm.timedOut && vm.statsAgeMs === 0).map(({ name }) => name);
}

function assertWell(snapshot: Snapshot & { readonly tookMs: number }, what: string): void {
  assert.equal(snapshot.up, true, `${what}: up`);
  const found = fresh(snapshot);
  for (const name of WELL) assert.ok(found.includes(name), `${what}: '${name}' is not fresh`);
  assertBounded(snapshot, what);
}

/** What holds whatever the daemon does. */
function assertBounded(snapshot: Snapshot & { readonly tookMs: number }, what: string): void {
  assert.ok(snapshot.tookMs <= DEADLINE_MS + 100, `${what}: took ${snapshot.tookMs} ms`);
  pageOf(snapshot);
}

/** Few and short lines; the printer of the log quotes what is in their fields. */
function assertLog(host: SimulatedHost, linesMax: number): void {
  assert.ok(
    host.log.lines.length <= linesMax,
    `${host.log.lines.length} lines:\n${host.log.lines.slice(0, 20).join('\n')}`,
  );
  for (const line of host.log.lines) {
    assert.ok(line.length < 5_000, `a line of ${line.length} characters: ${line.slice(0, 200)}`);
    assert.doesNotMatch(line, /TypeError|RangeError|ReferenceError|is not a function|undefined/, line);
  }
}

async function assertHeals(host: SimulatedHost): Promise<void> {
  host.simulator.clearFaults();
  await host.pass(HEALED_AFTER_MS);
  // The first collection may only find out that the connection is another one.
  await host.collect();
  await host.pass(SCRAPE_EVERY_MS);
  assertWell(await host.collect(), 'afterwards');
}

describe('a statistic of the wrong type or of an absurd value', () => {
  const values: ReadonlyArray<readonly [what: string, type: ParamType, value: number | bigint | string | boolean]> = [
    ['a text that forges lines', PARAM_TYPE.string, '1\nforged_up 0'],
    ['NaN', PARAM_TYPE.double, Number.NaN],
    ['infinity', PARAM_TYPE.double, Number.NEGATIVE_INFINITY],
    ['a fraction', PARAM_TYPE.double, 0.5],
    ['a negative number', PARAM_TYPE.llong, -1],
    ['the greatest number', PARAM_TYPE.ullong, 2n ** 64n - 1n],
    ['a boolean', PARAM_TYPE.boolean, true],
    ['a text of 1 MB', PARAM_TYPE.string, 'x'.repeat(1_000_000)],
  ];
  const fields = [
    ...['state.state', 'state.reason', 'cpu.time', 'cpu.user', 'balloon.current', 'balloon.maximum', 'balloon.unused'],
    ...['balloon.rss', 'balloon.last-update', 'vcpu.current', 'vcpu.maximum', 'vcpu.0.state', 'vcpu.0.time'],
    ...['vcpu.0.halted', 'net.count', 'net.0.name', 'net.0.rx.bytes', 'block.count', 'block.0.name', 'block.0.path'],
    ...['block.0.rd.bytes', 'block.0.capacity', 'dirtyrate.calc_mode', 'dirtyrate.calc_status', 'iothread.count'],
    ...['perf.cmt', 'memory.bandwidth.monitor.count', 'cpu.cache.monitor.count', 'block.4294967295.rd.bytes'],
    ...['net.99999999999999999999.rx.bytes', 'vcpu.-1.time', 'block.0.__proto__', 'block.constructor.name'],
  ];
  for (const [what, type, value] of values) {
    it(`harms nobody but its VM, and not the page: ${what}`, async () => {
      const host = await start([{ name: 'victim' }]);
      for (const field of fields) {
        host.simulator.hypervisor.setStats('victim', { [field]: { type, value, ratePerSecond: 0 } });
        assertWell(await host.collect(), `${field} is ${what}`);
        host.simulator.hypervisor.setStats('victim', { [field]: undefined });
        await host.pass(1_000);
      }
      assertLog(host, 3 * fields.length);
      await assertHeals(host);
    });
  }

  it('is left out where a number stands: a text never is a value', async () => {
    const host = await start();
    const text = { type: PARAM_TYPE.string, value: '7', ratePerSecond: 0 };
    host.simulator.hypervisor.setStats('web', { 'net.0.rx.bytes': text, 'block.0.rd.bytes': text, 'cpu.time': text });
    const snapshot = await host.collect();
    assertWell(snapshot, 'a text for a number');
    const web = snapshot.domains.find(({ name }) => name === 'web')!;
    assert.equal(web.stats.interfaces?.[0]?.rxBytes, undefined);
    assert.equal(web.stats.blocks?.[0]?.readBytes, undefined);
  });
});

describe('replies that are tampered with', () => {
  const PROCEDURES = [
    ...(['connectListAllDomains', 'connectGetAllDomainStats', 'domainGetXmlDesc', 'domainGetState'] as const),
    ...(['connectListAllStoragePools', 'storagePoolGetInfo', 'domainGetJobStats', 'connectGetHostname'] as const),
    ...(['authList', 'connectOpen', 'connectSupportsFeature', 'connectDomainEventCallbackRegisterAny'] as const),
  ];
  const faults: ReadonlyArray<readonly [what: string, fault: Fault]> = [
    ['never come', { drop: true }],
    ['come after 12 s', { delayMs: 12_000 }],
    ['are errors of 1 MB', { error: { code: 1, message: `\u001b[2J\nforged_up 0\n${'x'.repeat(1_000_000)}` } }],
    ['are cut short', { tamper: { payloadBytes: 13 } }],
    ['are sent in part', { tamper: { sentBytes: 30 } }],
    ['claim a wrong length', { tamper: { lengthWord: 2 ** 31 } }],
    ['claim more items than they hold', { tamper: { claimedItems: 16_384 } }],
    ['have another serial', { tamper: { header: { serial: 4_000_000 } } }],
    ['have another program', { tamper: { header: { program: 1 } } }],
    ['have an unknown status', { tamper: { header: { status: 9 } } }],
    ['have flipped bits', { tamper: { flips: { seed: 5, count: 3 } } }],
    ['close the connection', { disconnect: true }],
    ['are garbage', { garbage: Buffer.from('SSH-2.0-x\r\n') }],
  ];
  for (const [what, fault] of faults) {
    for (const procedure of PROCEDURES) {
      it(`and ${what} are over when the daemon is well again: ${procedure}`, async () => {
        const host = await start();
        host.simulator.inject({ procedure, ...fault });
        host.simulator.hypervisor.pause('mail');
        for (let scrape = 0; scrape < 4; scrape++) {
          assertBounded(await host.collect(), what);
          await host.pass(SCRAPE_EVERY_MS);
          // What is read only after a reconnect is read again.
          if (scrape === 1) host.simulator.disconnectAll();
        }
        assertLog(host, 60);
        await assertHeals(host);
      });
    }
  }

  it('at random, every one, are survived for an hour, and over when the daemon is well again', async () => {
    const host = await start();
    for (let scrape = 0; scrape < 240; scrape++) {
      host.simulator.clearFaults();
      host.simulator.inject({ tamper: { flips: { seed: scrape, count: 1 + (scrape % 5) } }, times: 1 + (scrape % 7) });
      assertBounded(await host.collect(), `scrape ${scrape}`);
      await host.pass(SCRAPE_EVERY_MS);
    }
    await assertHeals(host);
  });
});

describe('a list that never comes', () => {
  it('does not keep the agent down once the daemon is well: after any number of them', async () => {
    const host = await start();
    host.simulator.inject({ procedure: 'connectListAllDomains', drop: true, times: 12 });
    host.simulator.disconnectAll();
    for (let scrape = 0; scrape < 12; scrape++) {
      assertBounded(await host.collect(), `scrape ${scrape}`);
      await host.pass(SCRAPE_EVERY_MS);
    }
    await assertHeals(host);
  });
});

describe('a daemon that is slow', () => {
  it('with every reply by a second is up for an hour, with fresh VMs', async () => {
    const host = await start();
    host.simulator.inject({ delayMs: 1_000 });
    for (let scrape = 0; scrape < 240; scrape++) {
      assertWell(await host.collect(), `scrape ${scrape}`);
      await host.pass(SCRAPE_EVERY_MS);
    }
    assertLog(host, 20);
  });

  it('with one byte at a time keeps the scrape in its time', async () => {
    const host = await start();
    host.simulator.setLink({ dripEveryMs: 1 });
    for (let scrape = 0; scrape < 4; scrape++) {
      assertBounded(await host.collect(), `scrape ${scrape}`);
      await host.pass(SCRAPE_EVERY_MS);
    }
    await assertHeals(host);
  });

  it('and swallows everything keeps the scrape in its time, and is used again when it is back', async () => {
    const host = await start();
    host.simulator.setLink({ isBlackHole: true });
    for (let scrape = 0; scrape < 10; scrape++) {
      const snapshot = await host.collect();
      assertBounded(snapshot, `scrape ${scrape}`);
      assert.deepEqual(fresh(snapshot), []);
      await host.pass(SCRAPE_EVERY_MS);
    }
    assertLog(host, 30);
    await assertHeals(host);
  });

  it('and cuts every connection after some bytes is survived', async () => {
    const host = await start();
    for (let closeAfterBytes = 0; closeAfterBytes < 6_000; closeAfterBytes += 250) {
      host.simulator.setLink({ closeAfterBytes });
      assertBounded(await host.collect(), `after ${closeAfterBytes} bytes`);
      await host.pass(SCRAPE_EVERY_MS);
    }
    await assertHeals(host);
  });
});

describe('a name', () => {
  for (const [what, name] of [
    ['a NUL', 'evil\0name'],
    ['line breaks', 'evil\nforged_up 0\r\n'],
    ['quotes and braces', 'evil"} 1\\'],
    ['control characters', '\u001b[2Jevil\u2028\u202e'],
    ['nothing', ''],
    ['1 MB', 'e'.repeat(1_000_000)],
    ['__proto__', '__proto__'],
  ] as const) {
    it(`that holds ${what} harms no other VM, and not the page`, async () => {
      const host = await start([{ name }]);
      for (let scrape = 0; scrape < 3; scrape++) {
        assertWell(await host.collect(), what);
        await host.pass(SCRAPE_EVERY_MS);
      }
      assertLog(host, 3);
    });
  }

  it('of 10 MB, which the protocol has no room for, keeps nothing alive that should end', async () => {
    const host = await start();
    host.simulator.hypervisor.add({ name: 'e'.repeat(10_000_000) });
    host.simulator.disconnectAll();
    for (let scrape = 0; scrape < 5; scrape++) {
      assertBounded(await host.collect(), `scrape ${scrape}`);
      await host.pass(SCRAPE_EVERY_MS);
    }
    assertLog(host, 30);
    assert.ok(host.simulator.connections <= 4, `${host.simulator.connections} connections`);
  });
});

describe('much of something', () => {
  it('in a VM of 16,384 statistics harms nobody', async () => {
    const host = await start([{ name: 'victim' }]);
    const fields = Array.from({ length: 16_384 }, (_, i) => `block.${i % 4}.made-up-${i}`);
    const value = { type: PARAM_TYPE.ullong, value: 1, ratePerSecond: 0 };
    host.simulator.hypervisor.setStats('victim', Object.fromEntries(fields.map((field) => [field, value])));
    for (let scrape = 0; scrape < 3; scrape++) {
      assertWell(await host.collect(), `scrape ${scrape}`);
      await host.pass(SCRAPE_EVERY_MS);
    }
    assertLog(host, 10);
  });

  it('in new names of statistics in every scrape fills neither memory nor log', async () => {
    const host = await start([{ name: 'victim', stats: [] }]);
    let names: string[] = [];
    const round = async (number: number) => {
      const gone = names.map((name) => [name, undefined] as const);
      names = Array.from({ length: 400 }, (_, i) => `block.0.x${number}y${i}${'z'.repeat(40)}`);
      const value = { type: PARAM_TYPE.ullong, value: 1, ratePerSecond: 0 };
      host.simulator.hypervisor.setStats(
        'victim',
        Object.fromEntries([...gone, ...names.map((name) => [name, value])]),
      );
      assertWell(await host.collect(), `round ${number}`);
      await host.pass(SCRAPE_EVERY_MS);
    };
    // The client's stores fill up and start over: the highest of each half is compared.
    const highest = [0, 0];
    for (let number = 0; number < 400; number++) {
      await round(number);
      const half = number < 200 ? 0 : 1;
      if (number % 25 === 24) highest[half] = Math.max(highest[half]!, heapUsed());
    }
    const grownBytes = highest[1]! - highest[0]!;
    assert.ok(grownBytes < 8 * 2 ** 20, `80,000 new names later the heap has grown by ${grownBytes} bytes`);
    assertLog(host, 100);
  });

  it('namely more VMs than one list of libvirt can have, is said in one line, with libvirt up and no VMs', async () => {
    const host = new SimulatedHost({ fleets: [{ count: 16_385 }] });
    hosts.push(host);
    for (let scrape = 0; scrape < 3; scrape++) {
      const snapshot = await host.collect();
      assert.deepEqual([snapshot.up, snapshot.domains.length], [true, 0]);
      assert.equal(snapshot.collection.tasks.find(({ name }) => name === 'inventory')?.success, false);
      await host.pass(SCRAPE_EVERY_MS);
    }
    assert.equal(host.log.count(/Too many domains '16385' for limit '16384'/), 1);
    assertLog(host, 5);
  });

  it('in 20 XML documents of 4 MB does not keep the VMs from being there with their statistics', async () => {
    const description = 'y'.repeat(3_300_000);
    const elements = '<a/>'.repeat(150_000);
    const big = Array.from({ length: 20 }, (_, i) => ({
      name: `big-${i}`,
      xml: `<domain type='kvm'><name>big-${i}</name><description>${description}</description><metadata>${elements}</metadata></domain>`,
    }));
    const host = new SimulatedHost({ vms: [...big, ...WELL.map((name) => ({ name }))] }, EVERYTHING);
    hosts.push(host);
    assertWell(await host.collect(), 'the first scrape');
    const snapshot = await host.collect();
    assert.equal(snapshot.domains.length, 20 + WELL.length);
  });
});

describe('events', () => {
  it('of VMs that do not exist make nothing grow', async () => {
    const host = await start();
    const flood = async () => {
      for (let batch = 0; batch < 50; batch++) {
        for (let i = 0; i < 1_000; i++) host.simulator.hypervisor.emitUnknown();
        await host.settle();
      }
      const snapshot = await host.collect();
      assertWell(snapshot, 'in a flood of events');
      assert.ok(snapshot.domains.length <= WELL.length, `${snapshot.domains.length} VMs`);
      await host.pass(SCRAPE_EVERY_MS);
    };
    await flood();
    const before = heapUsed();
    await flood();
    const grownBytes = heapUsed() - before;
    assert.ok(grownBytes < 8 * 2 ** 20, `50,000 events later the heap has grown by ${grownBytes} bytes`);
    assertLog(host, 10);
  });

  for (const [what, fault] of [
    ['are cut short', { tamper: { payloadBytes: 6 } }],
    ['are there a hundred times', { tamper: { copies: 100 } }],
    ['have flipped bits', { tamper: { flips: { seed: 1, count: 4 } } }],
    ['come a minute late', { delayMs: 60_000 }],
    ['never come', { drop: true }],
  ] as const) {
    it(`that ${what} cost no more than a connection`, async () => {
      const host = await start();
      host.simulator.inject({ event: 'lifecycle', ...fault });
      for (let scrape = 0; scrape < 8; scrape++) {
        host.simulator.hypervisor[scrape % 2 === 0 ? 'pause' : 'resume']('mail');
        assertBounded(await host.collect(), `scrape ${scrape}`);
        await host.pass(SCRAPE_EVERY_MS);
      }
      assertLog(host, 60);
      await assertHeals(host);
    });
  }
});
