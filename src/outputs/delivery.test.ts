import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { KeptLog } from '../../test/support/kept-log.ts';
import { type Batch, DeliveryError, type DeliveryOptions, DeliveryQueue, type Destination } from './delivery.ts';

/** A destination whose batches are acknowledged by hand. */
class FakeDestination implements Destination<string> {
  readonly name = 'the collector';
  readonly sent: Batch<string>[] = [];
  isClosed = false;
  #settle: { resolve: () => void; reject: (error: Error) => void } | undefined;

  send(batch: Batch<string>): Promise<void> {
    assert.equal(this.#settle, undefined, 'one batch at a time');
    this.sent.push({ ...batch, items: [...batch.items] });
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }

  close(): void {
    this.isClosed = true;
  }

  async acknowledge(): Promise<void> {
    const { resolve } = this.#take();
    resolve();
    await settle();
  }

  async fail(error: Error): Promise<void> {
    const { reject } = this.#take();
    reject(error);
    await settle();
  }

  #take() {
    const settlers = this.#settle ?? assert.fail('nothing is being sent');
    this.#settle = undefined;
    return settlers;
  }
}

function prepare(
  options: Partial<DeliveryOptions<string>> = {},
  bounds: Partial<DeliveryOptions<string>['bounds']> = {},
) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const destination = new FakeDestination();
  const queue = new DeliveryQueue({
    destination,
    bounds: { batchItemsMax: 3, batchBytesMax: 100, queueItemsMax: 1_000, queueBytesMax: 10_000, ...bounds },
    whenFull: 'drop oldest',
    sizeOf: (item) => item.length,
    itemsName: 'records',
    clock,
    logger: log,
    ...options,
  });
  return { clock, log, destination, queue };
}

const shapes = ({ sent }: FakeDestination) => sent.map(({ id, items }) => `${id}:${items.join('')}`);

test('batches are bounded by count and by bytes, and go in order', async () => {
  const { queue, destination } = prepare({}, { batchBytesMax: 4 });
  await queue.write(['a', 'b', 'c', 'd', 'ee', 'ff', 'ggggggg', 'h']);
  for (let count = 0; count < 5; count++) await destination.acknowledge();
  assert.deepEqual(shapes(destination), ['1:abc', '2:dee', '3:ff', '4:ggggggg', '5:h']);
  assert.deepEqual(
    destination.sent.map(({ bytes }) => bytes),
    [3, 3, 2, 7, 1],
  );
  assert.equal(await queue.close(1000), 0);
  assert.ok(destination.isClosed);
});

test('a batch that is sent again has the same id and items, whatever was written meanwhile', async () => {
  const { queue, destination, clock } = prepare();
  await queue.write(['a']);
  await destination.fail(new Error('away'));
  await queue.write(['b']);
  await clock.advance(1000);
  await destination.acknowledge();
  await destination.acknowledge();
  assert.deepEqual(shapes(destination), ['1:a', '1:a', '2:b']);
});

test('what is refused is dropped, and what comes after it is sent at once', async () => {
  const { queue, destination, log } = prepare();
  await queue.write(['a', 'b', 'c', 'd']);
  await destination.fail(new DeliveryError('ERR_DELIVERY_REFUSED', 'no such field'));
  await destination.acknowledge();
  assert.deepEqual(shapes(destination), ['1:abc', '2:d']);
  assert.deepEqual(log.lines, ['error the collector refuses 3 records, which are dropped: no such field']);
  assert.equal(await queue.close(1000), 3);
});

test('beyond the bounds the oldest are dropped, but never what is under way', async () => {
  for (const bounds of [{ queueItemsMax: 6 }, { queueBytesMax: 6 }]) {
    const { queue, destination, log } = prepare({}, bounds);
    await queue.write(['a']);
    await queue.write(['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']);
    await destination.acknowledge();
    assert.deepEqual(shapes(destination), ['1:a', '4:hij'], JSON.stringify(bounds));
    assert.deepEqual(log.lines, [
      'error The buffer for the collector is full: the oldest records are dropped from now on',
    ]);
    await destination.acknowledge();
    assert.equal(await queue.close(1000), 6);
  }
});

test('writers that wait go on when all is out, and nothing is dropped', async () => {
  const { queue, destination } = prepare({ whenFull: 'wait' }, { queueItemsMax: 1 });
  let isOut = false;
  const written = queue.write(['a', 'b', 'c', 'd']).then(() => {
    isOut = true;
  });
  await settle();
  await destination.acknowledge();
  assert.equal(isOut, false);
  await destination.acknowledge();
  await written;
  // Straight after the end of the last delivery, before anything else runs.
  const again = queue.write(['e']);
  await destination.acknowledge();
  await again;
  assert.equal(await queue.close(1000), 0);
  assert.deepEqual(shapes(destination), ['1:abc', '2:d', '3:e']);
});

test('a destination that is closed for good loses everything, and nobody waits', async () => {
  const { queue, destination, log } = prepare({ whenFull: 'wait' });
  const written = queue.write(['a', 'b', 'c', 'd']);
  await destination.fail(new DeliveryError('ERR_DELIVERY_CLOSED', 'the reader is gone'));
  await written;
  await queue.write(['e']);
  assert.equal(await queue.close(1000), 4);
  assert.deepEqual(log.lines, []);
});

test('at the end a blocked destination is not waited for, one that is away is tried until the time is over', async () => {
  const blocked = prepare();
  await blocked.queue.write(['a']);
  const ended = blocked.queue.close(1_000_000);
  await blocked.destination.fail(new DeliveryError('ERR_DELIVERY_BLOCKED', '401 Unauthorized'));
  assert.equal(await ended, 1);

  const away = prepare();
  await away.queue.write(['a']);
  await away.destination.fail(new Error('connection refused'));
  const closing = away.queue.close(3000);
  await settle();
  // The pause ends with the call, and one more attempt is made.
  assert.equal(away.destination.sent.length, 2);
  await away.clock.advance(3000);
  assert.equal(await closing, 1);
  assert.match(
    away.log.lines.at(-1) ?? '',
    /^error 1 records were not written: the collector did not take them in time$/,
  );
  // What comes back after the end changes nothing.
  await away.destination.fail(new Error('late'));
  assert.equal(away.log.lines.length, 2);
});
