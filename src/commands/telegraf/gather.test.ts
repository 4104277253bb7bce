import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { makeDomain, makeInput, makeSnapshot } from '../../../test/support/telegraf.ts';
import { formatInflux } from '../../formats/influx.ts';
import type { Point } from '../../model/point.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { createGatherer, nameAndTag } from './gather.ts';
import type { TelegrafInput } from './telegraf-config.ts';

function prepare(input: Partial<TelegrafInput> = {}) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const emitted: string[] = [];
  const answers: Array<Promise<Snapshot>> = [];
  const asked: Array<{ readonly deadlineMs: number }> = [];
  const gatherer = createGatherer({
    input: makeInput(input),
    hostTag: 'h',
    collect: (options) => {
      asked.push(options);
      return answers.shift() ?? assert.fail('not expected to collect');
    },
    deadlineMs: 1234,
    gathersAgain: true,
    emit: async (points) => {
      emitted.push(formatInflux(points));
    },
    clock,
    logger: log,
  });
  const signal = new AbortController().signal;
  return { clock, logs: log.lines, emitted, answers, asked, gather: () => gatherer.gather(signal) };
}

test('what is collected is emitted, filtered, named and tagged', async () => {
  const { answers, emitted, asked, gather } = prepare({
    domains: new Set(['b c']),
    namePrefix: 'p_',
    tags: new Map([
      ['dc', 'x y'],
      ['domain_name', 'never'],
    ]),
  });
  answers.push(Promise.resolve(makeSnapshot(['a', 'b c'])));
  assert.equal(await gather(), true);
  assert.deepEqual(emitted, [
    'p_libvirt_state,domain_name=b\\ c,host=h,dc=x\\ y state=1i,reason=1i 1700000000000000000\n',
  ]);
  assert.equal(asked[0]?.deadlineMs, 1234);
});

test('the points of many VMs are made in slices, between which the event loop runs', async () => {
  const { clock, answers, emitted, gather } = prepare();
  // Every look at the clock costs time, as work does.
  const now = clock.monotonicMs.bind(clock);
  clock.monotonicMs = () => {
    clock.moveTo(now() + 10);
    return now();
  };
  let turns = 0;
  const count = () => {
    turns++;
    pending = setImmediate(count);
  };
  let pending = setImmediate(count);
  answers.push(Promise.resolve(makeSnapshot(Array.from({ length: 2_000 }, (_, i) => `vm-${i}`))));
  assert.equal(await gather(), true);
  clearImmediate(pending);
  assert.equal(emitted[0]?.match(/^libvirt_state,/gm)?.length, 2_000);
  assert.equal(emitted.length, 1, 'all of one gathering at once');
  assert.ok(turns >= 50, `${turns} turns`);
});

test('a libvirt that is away is logged once, and when it is back', async () => {
  const { answers, logs, gather } = prepare();
  for (const failure of ['no socket', 'no socket', 'refused']) {
    answers.push(Promise.reject(new Error(failure)));
    assert.equal(await gather(), false);
  }
  for (const up of [false, true, true]) {
    answers.push(Promise.resolve(makeSnapshot(['a'], { up })));
    assert.equal(await gather(), up);
  }
  assert.deepEqual(logs, [
    'error [inputs.libvirt] Error in gathering: no socket; the next gathering tries again',
    'debug [inputs.libvirt] Error in gathering: no socket',
    'error [inputs.libvirt] Error in gathering: refused; the next gathering tries again',
    'error [inputs.libvirt] Error in gathering: qemu:///system does not answer; the next gathering tries again',
    'info [inputs.libvirt] Gathering from qemu:///system works again',
  ]);
});

test('nothing is emitted of a connection that is down', async () => {
  const { answers, emitted, gather } = prepare();
  answers.push(Promise.resolve(makeSnapshot(['stale'], { up: false })));
  await gather();
  assert.deepEqual(emitted, []);
});

test('a gathering longer than the interval warns at every interval, and names the setting', async () => {
  const { answers, logs, clock, gather } = prepare({ intervalMs: 90_000, logName: 'inputs.libvirt::far' });
  const { promise, resolve } = Promise.withResolvers<Snapshot>();
  answers.push(promise);
  const gathering = gather();
  await clock.advance(89_999);
  assert.deepEqual(logs, []);
  await clock.advance(90_001);
  const warning =
    'warn [inputs.libvirt::far] Collection took longer than expected; not complete after interval of 1m30s: set a longer interval in [[inputs.libvirt]]';
  assert.deepEqual(logs, [warning, warning]);
  resolve(makeSnapshot(['a']));
  assert.equal(await gathering, true);
  assert.equal(clock.pending, 0);
});

test('VMs that did not answer are named once, those not asked for are not', async () => {
  const { answers, logs, gather } = prepare({ domains: new Set(['a', 'b', 'c']) });
  const stuck = (...names: string[]) =>
    makeSnapshot(['c'], { domains: names.map((name) => makeDomain(name, { statsAgeMs: 5, timedOut: true })) });
  for (const names of [['a', 'other'], ['a'], [], ['a', 'b']]) {
    answers.push(Promise.resolve(stuck(...names)));
    await gather();
  }
  assert.deepEqual(
    logs.filter((line) => line.startsWith('warn')),
    [
      'warn [inputs.libvirt] VMs that did not answer in time, of which only the state is written: a',
      'warn [inputs.libvirt] VMs that did not answer in time, of which only the state is written: a, b',
    ],
  );
});

test('what comes after the end is neither emitted nor a failure to speak of', async () => {
  const log = new KeptLog();
  for (const answer of [Promise.resolve(makeSnapshot(['a'])), Promise.reject(new Error('closed'))]) {
    const abort = new AbortController();
    const gatherer = createGatherer({
      input: makeInput(),
      hostTag: '',
      collect: () => answer,
      deadlineMs: 1,
      gathersAgain: true,
      emit: async () => assert.fail('nothing to emit'),
      clock: new FakeClock(),
      logger: log,
    });
    const gathering = gatherer.gather(abort.signal);
    abort.abort();
    assert.equal(await gathering, false);
  }
  assert.deepEqual(log.lines, []);
});

test('name_override, name_prefix and name_suffix together, as Telegraf applies them', () => {
  const point: Point = { measurement: 'm', tags: [], fields: [], timestampNs: 0n };
  const named = (input: Partial<TelegrafInput>) => nameAndTag([point], makeInput(input))[0]?.measurement;
  assert.equal(named({}), 'm');
  assert.equal(named({ nameOverride: 'o' }), 'o');
  assert.equal(named({ nameOverride: 'o', namePrefix: 'p_', nameSuffix: '_s' }), 'p_o_s');
});
