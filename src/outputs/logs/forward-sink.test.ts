import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { makeAuthority, makeCertificate, opensslMissing, type Pair } from '../../../test/support/certificates.ts';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { ForwardServer } from '../../../test/support/forward-server.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { LOG_TIME_NS, logBatch, logRecord } from '../../../test/support/log-records.ts';
import { DeliveryError } from '../delivery.ts';
import type { ForwardServer as Address } from './forward-connection.ts';
import type { ForwardSecurity } from './forward-handshake.ts';
import { ForwardSink, type ForwardTarget } from './forward-sink.ts';

const ORIGIN = { hostName: 'node-1', hostId: undefined };
const SECURITY: ForwardSecurity = { sharedKey: 'the shared key', selfHostname: 'node-1', user: undefined };

function prepare(port: number, server: Partial<Address> = {}, target: Partial<ForwardTarget> = {}) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const sink = new ForwardSink(
    {
      server: { host: '127.0.0.1', port, tls: undefined, security: undefined, ...server },
      tag: 'libvirt',
      compression: 'none',
      ackTimeoutMs: 60_000,
      ...target,
    },
    { origin: ORIGIN, clock, logger: log, onRejected: () => assert.fail('Forward rejects no records') },
  );
  return { sink, clock, log };
}

/** The error with which a promise rejects. */
async function failure(promise: Promise<unknown>): Promise<DeliveryError> {
  const error = await promise.then(
    () => assert.fail('it was taken'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof DeliveryError, String(error));
  return error;
}

test('a batch is one message with its tag, its chunk, its size and the time of each record', async () => {
  await using server = await ForwardServer.start();
  const { sink } = prepare(server.port);
  const batch = logBatch([
    logRecord(),
    logRecord({ uid: 'b', timeNs: undefined, severity: undefined, severityText: undefined, body: 'two\nlines ä' }),
  ]);
  await sink.send(batch);
  sink.close();
  assert.deepEqual(server.violations, []);
  const [message] = server.messages;
  assert.equal(message?.tag, 'libvirt');
  assert.equal(Buffer.from(message!.chunk, 'base64').toString('hex'), batch.id);
  assert.deepEqual(message?.events, [
    {
      seconds: Number(LOG_TIME_NS / 1_000_000_000n),
      nanoseconds: 705_000_001,
      record: {
        severity: 'error',
        severity_text: 'error',
        message: 'internal error: client socket is closed',
        'service.name': 'libvirtd',
        'host.name': 'node-1',
        'libvirt.log.source': 'daemon',
        'code.function.name': 'virNetSocketReadWire',
        'code.line.number': 1791,
        'thread.id': 15623,
        'log.record.uid': '2049:131:0:9f86d081',
      },
    },
    {
      seconds: Number(LOG_TIME_NS / 1_000_000_000n) + 2,
      nanoseconds: 705_000_001,
      record: {
        observed_time: '2026-11-21T12:04:33.705000001Z',
        message: 'two\nlines ä',
        'service.name': 'libvirtd',
        'host.name': 'node-1',
        'libvirt.log.source': 'daemon',
        'code.function.name': 'virNetSocketReadWire',
        'code.line.number': 1791,
        'thread.id': 15623,
        'log.record.uid': 'b',
      },
    },
  ]);
});

test('batches share a connection; after one is closed, idle or not, the next batch opens another', async () => {
  await using server = await ForwardServer.start();
  const { sink } = prepare(server.port, {}, { compression: 'gzip' });
  for (const count of [1, 2, 3]) await sink.send(logBatch(count));
  assert.equal(server.connections, 1);
  server.disconnect();
  await settle();
  await sink.send(logBatch(4));
  assert.equal(server.connections, 2);
  assert.deepEqual(
    server.messages.map(({ events, isZipped }) => [events.length, isZipped]),
    [1, 2, 3, 4].map((count) => [count, true]),
  );
  sink.close();
});

test('a batch that is not acknowledged is the same bytes with the same chunk on a new connection', async () => {
  for (const compression of ['none', 'gzip'] as const) {
    await using server = await ForwardServer.start();
    const { sink, clock } = prepare(server.port, {}, { compression, ackTimeoutMs: 5000 });
    server.reply = () => 'say nothing';
    const failed = failure(sink.send(logBatch(100)));
    await server.until(() => server.messages.length === 1);
    await clock.advance(5000);
    assert.equal((await failed).message, 'no acknowledgement within 5s');
    server.reply = () => 'close';
    assert.match((await failure(sink.send(logBatch(100)))).message, /closed/);
    server.reply = () => 'acknowledge';
    await sink.send(logBatch(100));
    assert.equal(server.connections, 3);
    const [first, ...others] = server.messages;
    for (const other of others) assert.deepEqual(other, first);
    sink.close();
    assert.equal(clock.pending, 0);
  }
});

test('a server that acknowledges something else, says garbage, or talks without end is a failure like others', async () => {
  await using server = await ForwardServer.start();
  const { sink } = prepare(server.port);
  const { encode } = await import('@msgpack/msgpack');
  const lies: readonly [Uint8Array, RegExp][] = [
    [encode({ ack: 'AAAAAAAAAAAAAAAAAAAAAA==' }), /acknowledges something else/],
    [encode({ ok: true }), /acknowledges something else/],
    [encode(7), /does not speak Forward$/],
    [Buffer.from([0x15, 0x03, 0x03, 0x00]), /does not speak Forward: it wants TLS$/],
    [encode('x'.repeat(7000)), /acknowledges something else/],
    [Buffer.from('HTTP/1.1 400 Bad Request\r\n'), /does not speak Forward: it speaks HTTP$/],
    [Buffer.from([0xc1]), /does not speak Forward$/],
    [Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff, ...Buffer.alloc(9000)]), /does not speak Forward$/],
    [Buffer.from([0xdb, 0x7f, 0xff, 0xff, 0xff, ...Buffer.alloc(9000)]), /does not speak Forward$/],
    [Buffer.alloc(100_000, 0xc0), /sends more than Forward has to say/],
  ];
  for (const [bytes, expected] of lies) {
    server.reply = () => bytes;
    const error = await failure(sink.send(logBatch(1)));
    assert.match(error.message, expected);
    assert.equal(error.code, 'ERR_DELIVERY_AWAY');
  }
  server.reply = () => 'acknowledge';
  await sink.send(logBatch(1));
  sink.close();
});

test('heartbeats are no messages, whenever they come', async () => {
  await using server = await ForwardServer.start({ opening: Buffer.from([0xc0, 0xc0]) });
  const { sink } = prepare(server.port);
  const { encode } = await import('@msgpack/msgpack');
  server.reply = ({ chunk }) => Buffer.concat([Buffer.from([0xc0]), encode({ ack: chunk }), Buffer.from([0xc0])]);
  await sink.send(logBatch(1));
  server.say(Buffer.from([0xc0]));
  await settle();
  await sink.send(logBatch(1));
  assert.equal(server.connections, 1);
  sink.close();
});

test('a connection that closes at any byte loses no batch', async () => {
  await using server = await ForwardServer.start({ security: { sharedKey: SECURITY.sharedKey, hostname: 'server' } });
  const { sink } = prepare(server.port, { security: SECURITY });
  await sink.send(logBatch(2));
  const total = server.bytes;
  server.disconnect();
  await settle();
  for (const bytes of [...Array.from({ length: 20 }, (_, part) => 1 + Math.floor((part * total) / 20)), total]) {
    server.bytesMax = bytes;
    await failure(sink.send(logBatch(2)));
  }
  assert.equal(server.messages.length, 1);
  server.bytesMax = Number.POSITIVE_INFINITY;
  await sink.send(logBatch(2));
  assert.equal(server.messages.length, 2);
  assert.deepEqual(server.violations, []);
  sink.close();
});

test('nobody listens, or nobody replies: the reason says so, and closing ends what is under way', async () => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const waiting = prepare(port, { security: SECURITY });
  const late = failure(waiting.sink.send(logBatch(1)));
  await once(silent, 'connection');
  await settle();
  await waiting.clock.advance(10_000);
  assert.equal((await late).message, 'no greeting, as one with a shared key sends within 10s');
  const closed = failure(waiting.sink.send(logBatch(1)));
  await settle();
  waiting.sink.close();
  assert.equal((await closed).code, 'ERR_DELIVERY_CLOSED');
  silent.close();
  await once(silent, 'close');
  const { sink } = prepare(port);
  assert.match((await failure(sink.send(logBatch(1)))).message, /connection refused/);
});

describe('the handshake', () => {
  const users = { virtlens: 'the password' };
  const user = { name: 'virtlens', password: 'the password' };

  test('with a shared key, and with a user', async () => {
    for (const withUser of [false, true]) {
      const base = { sharedKey: SECURITY.sharedKey, hostname: 'server' };
      await using server = await ForwardServer.start({ security: withUser ? { ...base, users } : base });
      const { sink } = prepare(server.port, { security: { ...SECURITY, user: withUser ? user : undefined } });
      await sink.send(logBatch(1));
      await sink.send(logBatch(2));
      assert.deepEqual([server.connections, server.violations], [1, []]);
      sink.close();
    }
  });

  test('a server that closes after each message gets each on a connection of its own', async () => {
    await using server = await ForwardServer.start({
      security: { sharedKey: SECURITY.sharedKey, hostname: 'server', keepalive: false },
    });
    const { sink } = prepare(server.port, { security: SECURITY });
    await sink.send(logBatch(1));
    await sink.send(logBatch(2));
    assert.equal(server.connections, 2);
    sink.close();
  });

  test('a wrong key, a wrong password and the same name are refused, and are for somebody to fix', async () => {
    await using server = await ForwardServer.start({
      security: { sharedKey: SECURITY.sharedKey, hostname: 'server', users },
    });
    const cases: readonly [ForwardSecurity, RegExp][] = [
      [{ ...SECURITY, sharedKey: 'another key', user }, /refuses the shared key.*: shared_key mismatch$/],
      [{ ...SECURITY, user: { ...user, password: 'wrong' } }, /: username\/password mismatch$/],
      [{ ...SECURITY, user: undefined }, /: username\/password mismatch$/],
      [{ ...SECURITY, selfHostname: 'server', user }, /: same hostname$/],
    ];
    for (const [security, expected] of cases) {
      const { sink } = prepare(server.port, { security });
      const error = await failure(sink.send(logBatch(1)));
      assert.equal(error.code, 'ERR_DELIVERY_BLOCKED');
      assert.match(error.message, expected);
      sink.close();
    }
    assert.deepEqual(server.messages, []);
  });

  test('a server that does not have the key gets no records, even if it repeats our own digest', async () => {
    const tampers: readonly ((pong: unknown[], ping: readonly unknown[]) => unknown[])[] = [
      (pong) => [...pong.slice(0, 4), 'f'.repeat(128)],
      (pong) => [...pong.slice(0, 4), String(pong[4]).slice(0, 127)],
      (pong) => pong.slice(0, 3),
      (pong) => ['PONG', 'yes', ...pong.slice(2)],
      (_pong, ping) => ['PONG', true, '', ping[1], ping[3]],
      () => ['HELO', {}],
      () => [],
    ];
    for (const tamper of tampers) {
      await using server = await ForwardServer.start({
        security: { sharedKey: SECURITY.sharedKey, hostname: 'server', tamper },
      });
      const { sink } = prepare(server.port, { security: SECURITY });
      const error = await failure(sink.send(logBatch(1)));
      assert.equal(error.code, 'ERR_DELIVERY_BLOCKED', error.message);
      assert.deepEqual(server.messages, []);
      sink.close();
    }
  });

  test('a server that wants a key of a client without one is named', async () => {
    await using server = await ForwardServer.start({ security: { sharedKey: SECURITY.sharedKey, hostname: 'server' } });
    const { sink } = prepare(server.port);
    const error = await failure(sink.send(logBatch(1)));
    assert.equal(error.code, 'ERR_DELIVERY_BLOCKED');
    assert.match(error.message, /wants a shared key/);
    sink.close();
  });

  test('neither key nor password is in a message, though the server repeats them', async () => {
    const tamper = () => ['PONG', false, `not ${SECURITY.sharedKey} and not ${user.password}`, '', ''];
    await using server = await ForwardServer.start({
      security: { sharedKey: SECURITY.sharedKey, hostname: 'server', tamper },
    });
    const { sink, log } = prepare(server.port, { security: { ...SECURITY, user } });
    const error = await failure(sink.send(logBatch(1)));
    assert.doesNotMatch([error.message, ...log.lines].join('\n'), /shared key and|password/);
    sink.close();
  });
});

describe('TLS', { skip: opensslMissing }, () => {
  let directory: string;
  let authority: Pair;
  let serverPair: Pair;
  let clientPair: Pair;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'virtlens-forward-'));
    authority = makeAuthority(directory, 'authority');
    serverPair = makeCertificate(directory, 'server', authority, 'DNS:logs.example,IP:127.0.0.1');
    clientPair = makeCertificate(directory, 'client', authority, 'DNS:client');
  });
  after(() => rmSync(directory, { recursive: true }));

  const settings = (changes: Partial<NonNullable<Address['tls']>> = {}) => ({
    tls: { ca: authority.cert, client: undefined, isVerified: true, serverName: undefined, ...changes },
  });

  test('records go to a server whose certificate is good, by its address or by the name that is given', async () => {
    await using server = await ForwardServer.start({ tls: serverPair });
    for (const serverName of [undefined, 'logs.example']) {
      const { sink } = prepare(server.port, settings({ serverName }));
      await sink.send(logBatch(1));
      sink.close();
    }
    const { sink } = prepare(server.port, settings({ ca: undefined, isVerified: false }));
    await sink.send(logBatch(1));
    sink.close();
    assert.equal(server.messages.length, 3);
  });

  test('a server gets a client certificate, and one that misses it is for somebody to fix', async () => {
    await using server = await ForwardServer.start({
      tls: { ...serverPair, ca: authority.cert, requestCert: true, rejectUnauthorized: true },
    });
    const good = prepare(server.port, settings({ client: clientPair }));
    await good.sink.send(logBatch(1));
    good.sink.close();
    const { sink } = prepare(server.port, settings());
    const error = await failure(sink.send(logBatch(1)));
    assert.match(error.message, /does not accept our certificate, or wants one/);
    assert.equal(error.code, 'ERR_DELIVERY_BLOCKED');
    sink.close();
  });

  test('a certificate that is not trusted, of another name, or no TLS at all: no record leaves, and the reason is given', async () => {
    await using server = await ForwardServer.start({ tls: serverPair });
    await using plain = await ForwardServer.start();
    const cases: readonly [number, ReturnType<typeof settings>, RegExp][] = [
      [server.port, settings({ ca: undefined }), /certificate is not accepted: .* name it as the CA file/],
      [server.port, settings({ serverName: 'other.example' }), /certificate is for another name/],
      [plain.port, settings(), /does not speak TLS|TLS handshake/],
    ];
    for (const [port, tls, expected] of cases) {
      const { sink, clock } = prepare(port, tls);
      const failed = failure(sink.send(logBatch(1)));
      // A server of Forward takes a TLS greeting for a message that goes on.
      if (port === plain.port) {
        await plain.until(() => plain.connections > 0);
        await settle();
        await clock.advance(10_000);
      }
      assert.match((await failed).message, expected);
      sink.close();
    }
    assert.deepEqual([...server.messages, ...plain.messages], []);
    const { sink } = prepare(server.port);
    assert.match((await failure(sink.send(logBatch(1)))).message, /closed|it wants TLS|acknowledges something else/);
    sink.close();
  });
});
