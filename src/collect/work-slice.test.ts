// Long work lets the rest of the process have its turn.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { KeptLog } from '../../test/support/kept-log.ts';
import type { CallPlace, Session } from '../connection/session.ts';
import { STATS_BIT } from '../libvirt/index.ts';
import { DomainRecord } from './inventory/domain-record.ts';
import { XmlReader } from './inventory/xml-reader.ts';
import { XmlState } from './inventory/xml-state.ts';
import { takeBulkAnswers } from './stats/bulk-answers.ts';
import { Shard } from './stats/shard.ts';
import { StatsCalls, type StatsRequest } from './stats/stats-calls.ts';
import { WorkSlice } from './work-slice.ts';

const NEVER = new AbortController().signal;
const ref = (id: number) => ({ name: `vm-${id}`, uuid: `00000000-0000-4000-8000-${String(id).padStart(12, '0')}`, id });

/** A clock on which every look costs time, as work does. */
class CostlyClock extends FakeClock {
  costMs = 0;

  override monotonicMs(): number {
    this.moveTo(super.monotonicMs() + this.costMs);
    return super.monotonicMs();
  }
}

describe('a slice of work', () => {
  it('is used up after ten milliseconds, and begins anew after a turn of the event loop', async () => {
    const clock = new FakeClock();
    let turns = 0;
    const slice = new WorkSlice(clock, async () => {
      turns++;
      clock.moveTo(clock.monotonicMs() + 50);
    });
    clock.moveTo(clock.monotonicMs() + 9);
    assert.equal(slice.isUsedUp, false);
    clock.moveTo(clock.monotonicMs() + 1);
    assert.equal(slice.isUsedUp, true);
    await slice.yield();
    assert.deepEqual([slice.isUsedUp, turns], [false, 1]);
  });
});

describe('XML that takes long to parse', () => {
  it('is parsed one document at a turn, and what does not fit into one collection comes in the next ones', async () => {
    const clock = new CostlyClock();
    let turns = 0;
    const nextTurn = async () => {
      turns++;
    };
    const gone = () => assert.fail('no VM goes, and none is renamed');
    const reader = new XmlReader({ clock, logger: new KeptLog(), nextTurn, onName: gone, onGone: gone });
    const session = {
      isOpen: true,
      mustWait: () => false,
      send: (
        _kind: string,
        _name: string,
        { domain }: { readonly domain: { readonly name: string; readonly uuid: string } },
      ) => ({
        reply: Promise.resolve({
          xml: `<domain type='kvm'><name>${domain.name}</name><uuid>${domain.uuid}</uuid></domain>`,
        }),
      }),
    } as unknown as Session;
    const dues = Array.from({ length: 20 }, (_, i) => ({ record: new DomainRecord(ref(i), 0), xml: new XmlState() }));
    const isRead = () => dues.filter(({ record }) => record.config !== undefined).length;
    clock.costMs = 300;
    await reader.read(session, dues, NEVER);
    const first = isRead();
    assert.ok(first >= 4 && first <= 8, `${first} documents in the first collection`);
    assert.ok(turns >= first - 1, `${turns} turns for ${first} documents`);
    for (let i = 0; i < 5; i++) {
      await reader.read(
        session,
        dues.filter(({ xml }) => xml.hasChanged),
        NEVER,
      );
    }
    assert.equal(isRead(), 20);
  });
});

describe('a reply with many statistics', () => {
  it('is used in turns, and what is done after the deadline counts', async () => {
    const clock = new FakeClock();
    let isOver = false;
    let turns = 0;
    const nextTurn = async () => {
      turns++;
      if (turns === 3) isOver = true;
    };
    const stats = { state: { state: 1, reason: 1 }, balloon: { rssKiB: 1 } };
    const decoder = {
      decode() {
        clock.moveTo(clock.monotonicMs() + 6);
        return stats;
      },
      takeUnknownFields: () => new Map<string, number>(),
    };
    const session = { host: { driver: 'QEMU' } } as Session;
    const calls = new StatsCalls(session, { decoder, clock, logger: new KeptLog(), nextTurn });
    const records = Array.from({ length: 20 }, (_, i) => new DomainRecord(ref(i), 0));
    const shard = new Shard(records, { bits: STATS_BIT.balloon });
    const call = calls.begin(records, { leave() {}, giveUp() {} } as unknown as CallPlace);
    const full: DomainRecord[] = [];
    const request = { unknownFields: new Map(), onFull: (record: DomainRecord) => full.push(record) };
    const asker = {
      request: request as unknown as StatsRequest,
      get isOver() {
        return isOver;
      },
      noteRelapse() {},
      noteFull() {},
    };
    const answers = records.map((record) => ({ domain: record.ref, params: {} as never }));
    assert.deepEqual(await takeBulkAnswers(calls, asker, { shard, call, answers: answers.slice(1) }), [records[0]]);
    assert.ok(turns >= 8, `${turns} turns`);
    assert.equal(full.length, 19);
    assert.ok(records.slice(1).every((record) => record.state === 'fresh'));
  });
});
