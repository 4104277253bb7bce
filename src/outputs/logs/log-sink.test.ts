// What every sink promises, whatever it speaks.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { describe, test } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { ForwardServer } from '../../../test/support/forward-server.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { logBatch, logRecord } from '../../../test/support/log-records.ts';
import { OtlpReceiver, takeAll } from '../../../test/support/otlp-receiver.ts';
import type { LogSink } from '../../model/log-sink.ts';
import { DeliveryError } from '../delivery.ts';
import { ForwardSink } from './forward-sink.ts';
import { createJsonLinesSink } from './json-lines-sink.ts';
import { OtlpSink } from './otlp-sink.ts';

const TLS = { ca: undefined, client: undefined, isVerified: true };

/** A sink with its receiver, which does as it is told. */
interface Rig extends AsyncDisposable {
  readonly sink: LogSink;
  readonly clock: FakeClock;
  /** What has come, one entry a batch: the bytes, and the uids of the records. */
  received(): { readonly bytes: string; readonly uids: readonly unknown[] }[];
  /** From now on batches are taken, not replied to, or their connection is closed when they have come. */
  set(manner: 'takes' | 'is silent' | 'closes'): void;
  /** Waits until so many batches have come. */
  arrived(count: number): Promise<void>;
}

function contextOf(clock: FakeClock) {
  return {
    origin: { hostName: 'node-1', hostId: undefined },
    clock,
    logger: new KeptLog(),
    onRejected: () => assert.fail('rejected'),
  };
}

async function otlpRig(): Promise<Rig> {
  const receiver = await OtlpReceiver.start();
  const clock = new FakeClock();
  const sink = new OtlpSink(
    { url: receiver.url, protocol: 'http/protobuf', headers: {}, timeoutMs: 5000, compression: 'gzip', tls: TLS },
    { name: 'virtlens', version: '1' },
    contextOf(clock),
  );
  return {
    sink,
    clock,
    received: () =>
      receiver.requests.map(({ raw, resources }) => ({
        bytes: raw.toString('hex'),
        uids: resources.flatMap(({ logs }) => logs.map(({ attributes }) => attributes['log.record.uid'])),
      })),
    set(manner) {
      receiver.reply =
        manner === 'takes' ? takeAll : manner === 'closes' ? (response) => void response.destroy() : () => {};
    },
    arrived: (count) => receiver.requestCount(count),
    async [Symbol.asyncDispose]() {
      sink.close();
      await receiver[Symbol.asyncDispose]();
    },
  };
}

async function forwardRig(): Promise<Rig> {
  const server = await ForwardServer.start();
  const clock = new FakeClock();
  const sink = new ForwardSink(
    {
      server: { host: '127.0.0.1', port: server.port, tls: undefined, security: undefined },
      tag: 'libvirt',
      compression: 'none',
      ackTimeoutMs: 5000,
    },
    contextOf(clock),
  );
  return {
    sink,
    clock,
    received: () =>
      server.messages.map(({ packed, chunk, events }) => ({
        bytes: chunk + packed.toString('hex'),
        uids: events.map(({ record }) => record['log.record.uid']),
      })),
    set(manner) {
      server.reply = () => (manner === 'takes' ? 'acknowledge' : manner === 'closes' ? 'close' : 'say nothing');
    },
    arrived: (count) => server.until(() => server.messages.length >= count),
    async [Symbol.asyncDispose]() {
      sink.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

for (const [name, open] of [
  ['OTLP', otlpRig],
  ['Forward', forwardRig],
] as const) {
  describe(name, () => {
    test('a batch is acknowledged when the receiver has it, whole and in order', async () => {
      await using rig = await open();
      const batch = logBatch(1000);
      await rig.sink.send(batch);
      assert.deepEqual(
        rig.received().map(({ uids }) => uids),
        [batch.records.map(({ uid }) => uid)],
      );
      assert.equal(rig.clock.pending, 0);
    });

    test('a receiver that is silent is given up in time, one that closes at once; the batch is the same bytes again', async () => {
      await using rig = await open();
      rig.set('is silent');
      const late = assert.rejects(rig.sink.send(logBatch(50)), /within 5s$/);
      await rig.arrived(1);
      await settle();
      await rig.clock.advance(5000);
      await late;
      rig.set('closes');
      await assert.rejects(
        rig.sink.send(logBatch(50)),
        (error) => !(error instanceof DeliveryError) || error.code === 'ERR_DELIVERY_AWAY',
      );
      rig.set('takes');
      await rig.sink.send(logBatch(50));
      const [first, ...others] = rig.received();
      assert.equal(others.length, 2);
      for (const other of others) assert.deepEqual(other, first);
    });

    test('records with any text in them arrive as they are, but for halves of characters', async () => {
      await using rig = await open();
      const texts = ['', '\u0000', '\u2028\n\r\n\t', '"\\', '😀', '\ud83d', 'x'.repeat(100_000), '\ufeff'];
      await rig.sink.send(
        logBatch(
          texts.map((text, index) =>
            logRecord({ uid: `${index}${text.slice(0, 9)}`, body: text, severityText: text, service: text || 'x' }),
          ),
        ),
      );
      const uids = rig.received().flatMap((each) => each.uids);
      assert.deepEqual(
        new Set(uids),
        new Set(texts.map((text, index) => `${index}${text.slice(0, 9)}`.toWellFormed())),
      );
    });

    test('times that the format cannot hold do not stop a record', async () => {
      await using rig = await open();
      const times = [-1n, 0n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n, 10n ** 30n];
      const records = times.flatMap((timeNs, index) => [
        logRecord({ uid: `a${index}`, timeNs }),
        logRecord({ uid: `b${index}`, timeNs: undefined, observedTimeNs: timeNs }),
      ]);
      await rig.sink.send(logBatch(records));
      assert.equal(rig.received().flatMap(({ uids }) => uids).length, records.length);
    });

    test('closing ends a delivery, and what comes after it fails as closed', async () => {
      await using rig = await open();
      rig.set('is silent');
      const sending = assert.rejects(rig.sink.send(logBatch(1)));
      await rig.arrived(1);
      rig.sink.close();
      await sending;
      await assert.rejects(rig.sink.send(logBatch(1)), { code: 'ERR_DELIVERY_CLOSED' });
      assert.equal(rig.received().length, 1);
    });
  });
}

describe('JSON lines', () => {
  function prepare(stdout: Writable) {
    const log = new KeptLog();
    const state = { closed: 0 };
    const context = { ...contextOf(new FakeClock()), logger: log };
    const sink = createJsonLinesSink(stdout, context, () => {
      state.closed++;
    });
    return { sink, log, state };
  }

  test('each record is a line, and a batch is acknowledged when the reader has taken it', async () => {
    const stdout = new PassThrough({ highWaterMark: 10 });
    const { sink } = prepare(stdout);
    let isTaken = false;
    const sent = sink.send(logBatch([logRecord({ body: 'two\nlines' }), logRecord({ uid: 'b' })])).then(() => {
      isTaken = true;
    });
    const lines = String(stdout.read()).split('\n');
    await sent;
    assert.ok(isTaken);
    assert.deepEqual(
      lines.filter((line) => line !== '').map((line) => JSON.parse(line).message),
      ['two\nlines', 'internal error: client socket is closed'],
    );
  });

  test('a reader that is slow is waited for', async () => {
    let take = () => {};
    const stdout = new Writable({
      write: (_chunk, _encoding, done) => {
        take = done;
      },
    });
    const { sink } = prepare(stdout);
    let isTaken = false;
    const sent = sink.send(logBatch(1)).then(() => {
      isTaken = true;
    });
    await settle();
    assert.equal(isTaken, false);
    take();
    await sent;
  });

  test('a reader that is gone closes the sink without a complaint, another failure with one', async () => {
    for (const [code, expected] of [
      ['EPIPE', ['debug Standard output is closed']],
      ['ENOSPC', ['error Cannot write to standard output: no space is left on the device']],
    ] as const) {
      const stdout = new Writable({
        write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })),
      });
      const { sink, log, state } = prepare(stdout);
      await assert.rejects(sink.send(logBatch(1)), { code: 'ERR_DELIVERY_CLOSED' });
      await assert.rejects(sink.send(logBatch(1)), { code: 'ERR_DELIVERY_CLOSED' });
      await settle();
      assert.deepEqual(log.lines, expected);
      assert.equal(state.closed, 1);
    }
  });

  const CHILD = join(import.meta.dirname, '..', '..', '..', 'test', 'support', 'json-lines-child.ts');

  test('a pipe that nobody reads does not keep a process from SIGTERM', async (context) => {
    const child = spawn(process.execPath, [CHILD], { stdio: ['ignore', 'pipe', 'pipe'] });
    context.after(() => child.kill('SIGKILL'));
    // Said when the first batch is under way; it is larger than any pipe.
    await once(child.stderr, 'data');
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });

  test('a pipe whose reader goes away ends a process that lives for it', async (context) => {
    const child = spawn(process.execPath, [CHILD], { stdio: ['ignore', 'pipe', 'pipe'] });
    context.after(() => child.kill('SIGKILL'));
    await once(child.stderr, 'data');
    child.stdout.destroy();
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });
});
