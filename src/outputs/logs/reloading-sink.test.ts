import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { logBatch } from '../../../test/support/log-records.ts';
import { DeliveryError } from '../delivery.ts';
import { ReloadingSink } from './reloading-sink.ts';

/** What stands in the files. */
let files: { token: string } | Error;
/** What the receiver wants. */
let wanted: string;
let taken: string[];
let closed: string[];
let log: KeptLog;
let sink: ReloadingSink<{ readonly token: string }>;

beforeEach(() => {
  files = { token: 'a' };
  wanted = 'a';
  taken = [];
  closed = [];
  log = new KeptLog();
  sink = new ReloadingSink({
    target: { token: 'a' },
    readAgain: async () => {
      if (files instanceof Error) throw files;
      return files;
    },
    open: ({ token }) => ({
      name: 'the receiver',
      async send() {
        if (closed.includes(token)) throw new DeliveryError('ERR_DELIVERY_CLOSED', 'it was closed');
        if (wanted === 'other records') throw new DeliveryError('ERR_DELIVERY_REFUSED', '400');
        if (token !== wanted) throw new DeliveryError('ERR_DELIVERY_BLOCKED', '401 Unauthorized');
        taken.push(token);
      },
      close: () => void closed.push(token),
    }),
    logger: log,
  });
});

const send = () => sink.send(logBatch(1));

test('files are read again before a batch is sent again that could not be delivered', async () => {
  await send();
  wanted = 'b';
  await assert.rejects(send(), { code: 'ERR_DELIVERY_BLOCKED' });
  await assert.rejects(send(), { code: 'ERR_DELIVERY_BLOCKED' });
  assert.deepEqual(closed, []);
  files = { token: 'b' };
  await send();
  await send();
  assert.deepEqual([taken, closed], [['a', 'b', 'b'], ['a']]);
  assert.deepEqual(log.lines, ['info The certificates or secrets of the receiver are new']);
});

test('while all goes well and nobody asks, files are not read', async () => {
  files = new Error('never read');
  await send();
  wanted = 'other records';
  await assert.rejects(send(), { code: 'ERR_DELIVERY_REFUSED' });
  wanted = 'a';
  await send();
  assert.deepEqual(log.lines, []);
});

test('what is asked for holds from the next batch on, and only when it is new', async () => {
  await sink.reload();
  await send();
  assert.deepEqual([log.lines, closed], [[], []]);
  files = { token: 'b' };
  await sink.reload();
  wanted = 'b';
  await send();
  assert.deepEqual(taken, ['a', 'b']);
  // Back before a batch was sent: nothing is new.
  files = { token: 'c' };
  await sink.reload();
  files = { token: 'b' };
  await sink.reload();
  await send();
  assert.deepEqual(taken, ['a', 'b', 'b']);
});

test('files that cannot be used change nothing, and are said once until they can', async () => {
  files = new Error('--otlp.key-file=key is empty');
  for (const _ of [1, 2]) await sink.reload();
  await send();
  files = { token: 'a' };
  await sink.reload();
  files = new Error('--otlp.key-file=key is empty');
  await sink.reload();
  assert.deepEqual(taken, ['a']);
  const line =
    'error What the receiver needs cannot be read again: --otlp.key-file=key is empty; what was read before stays in use';
  assert.deepEqual(log.lines, [line, line]);
});

test('a sink that is closed stays closed', async () => {
  files = { token: 'b' };
  await sink.reload();
  sink.close();
  await assert.rejects(send(), { code: 'ERR_DELIVERY_CLOSED' });
  assert.deepEqual(closed, ['a']);
});
