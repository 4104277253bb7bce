import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { KeptLog } from '../../test/support/kept-log.ts';
import type { Journal } from './journal.ts';
import { Outbox } from './outbox.ts';

/** A journal on a disk that takes its time: each state that it is given, and what says that it is written. */
function slowJournal() {
  const states: { readonly hasBaseline: boolean; readonly written: () => void }[] = [];
  const journal = {
    path: '/state/events.json',
    isLong: false,
    replace: ([state]: readonly { readonly hasBaseline: boolean }[]) =>
      new Promise<void>((resolve) => states.push({ hasBaseline: state!.hasBaseline, written: resolve })),
    append: async () => {},
    close: async () => {},
  } as unknown as Journal;
  return { journal, states };
}

describe('an outbox with a state directory', () => {
  it('outlives the process when what ran is on disk, and not before', async () => {
    const { journal, states } = slowJournal();
    const outbox = new Outbox({
      journal,
      consumer: { take: async () => {} },
      known: () => [],
      onRoom: () => {},
      clock: new FakeClock(),
      logger: new KeptLog(),
    });
    outbox.open('host', undefined, false);
    await settle();
    states[0]!.written();
    await settle();
    assert.deepEqual([states.length, states[0]!.hasBaseline, outbox.isDurable], [1, false, false]);
    outbox.writeAnew(true);
    await settle();
    assert.deepEqual([states.length, states[1]!.hasBaseline, outbox.isDurable], [2, true, false]);
    states[1]!.written();
    await settle();
    assert.equal(outbox.isDurable, true);
    // Another host: what ran there is not known yet.
    outbox.open('other', undefined, false);
    await settle();
    states[2]!.written();
    await settle();
    assert.deepEqual([states[2]!.hasBaseline, outbox.isDurable], [false, false]);
    await outbox.close();
  });
});
