import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { makeAuthority, makeCertificate, opensslMissing, type Pair } from '../../../test/support/certificates.ts';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { LOG_TIME_NS, logBatch, logRecord } from '../../../test/support/log-records.ts';
import { OtlpReceiver, takeAll } from '../../../test/support/otlp-receiver.ts';
import { DeliveryError } from '../delivery.ts';
import { OtlpSink, type OtlpTarget } from './otlp-sink.ts';

const PROTOCOLS = ['http/protobuf', 'http/json'] as const;
const NO_TLS = { ca: undefined, client: undefined, isVerified: true };

function prepare(url: URL, target: Partial<OtlpTarget> = {}) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const counts = { rejected: 0 };
  const sink = new OtlpSink(
    { url, protocol: 'http/protobuf', headers: {}, timeoutMs: 10_000, compression: 'gzip', tls: NO_TLS, ...target },
    { name: 'virtlens', version: '1.2.3' },
    {
      origin: { hostName: 'node-1', hostId: '0123456789abcdef0123456789abcdef' },
      clock,
      logger: log,
      onRejected: (records) => {
        counts.rejected += records;
      },
    },
  );
  return { sink, clock, log, counts };
}

async function failure(promise: Promise<unknown>): Promise<DeliveryError> {
  const error = await promise.then(
    () => assert.fail('it was taken'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof DeliveryError, String(error));
  return error;
}

/** A reply of one status, with a text in the encoding of the request. */
const says =
  (status: number, body: string | Buffer = '', headers: Record<string, string> = {}) =>
  (response: ServerResponse) =>
    void response.writeHead(status, headers).end(body);

for (const protocol of PROTOCOLS) {
  describe(protocol, () => {
    test('records are grouped by the program that wrote them, with everything that is known', async () => {
      await using receiver = await OtlpReceiver.start();
      const { sink, log } = prepare(receiver.url, { protocol, headers: { 'x-tenant': 'a' } });
      const qemu = logRecord({
        uid: 'q',
        source: 'qemu',
        service: 'qemu',
        timeNs: undefined,
        severity: undefined,
        severityText: undefined,
        body: 'char device redirected\nto ä 😀 \u0000',
        attributes: {
          domainName: 'vm "1"\n',
          domainUuid: '6695eb01-f6a4-8304-79aa-97f2502e193f',
          shutdownReason: 'crashed',
          errorDomain: 10,
          errorCode: -1,
          others: { __proto__: 'p', custom: 'c', 'thread.id': 'not replaced', message: 'm' } as Record<string, string>,
        },
      });
      await sink.send(logBatch([logRecord(), qemu, logRecord({ uid: 'c', severity: 'debug', severityText: 'debug' })]));
      sink.close();
      assert.deepEqual(receiver.violations, []);
      const [request] = receiver.requests;
      assert.equal(request?.url, '/v1/logs');
      assert.equal(request?.headers['x-tenant'], 'a');
      const host = { 'host.name': 'node-1', 'host.id': '0123456789abcdef0123456789abcdef' };
      assert.deepEqual(
        request?.resources.map(({ attributes, scope, logs }) => ({ attributes, scope, count: logs.length })),
        [
          {
            attributes: { 'service.name': 'libvirtd', ...host },
            scope: { name: 'virtlens', version: '1.2.3' },
            count: 2,
          },
          { attributes: { 'service.name': 'qemu', ...host }, scope: { name: 'virtlens', version: '1.2.3' }, count: 1 },
        ],
      );
      const [daemon, debug, guest] = receiver.logs;
      assert.deepEqual(daemon, {
        timeUnixNano: LOG_TIME_NS,
        observedTimeUnixNano: LOG_TIME_NS + 2_000_000_000n,
        severityNumber: 17,
        severityText: 'error',
        body: 'internal error: client socket is closed',
        attributes: {
          'libvirt.log.source': 'daemon',
          'code.function.name': 'virNetSocketReadWire',
          'code.line.number': 1791,
          'thread.id': 15623,
          'log.record.uid': '2049:131:0:9f86d081',
        },
      });
      assert.equal(debug?.severityNumber, 5);
      assert.deepEqual(guest, {
        timeUnixNano: 0n,
        observedTimeUnixNano: LOG_TIME_NS + 2_000_000_000n,
        severityNumber: 0,
        severityText: '',
        body: 'char device redirected\nto ä 😀 \u0000',
        attributes: {
          'libvirt.log.source': 'qemu',
          'libvirt.domain.name': 'vm "1"\n',
          'libvirt.domain.uuid': '6695eb01-f6a4-8304-79aa-97f2502e193f',
          'libvirt.shutdown.reason': 'crashed',
          'libvirt.error.domain': 10,
          'libvirt.error.code': -1,
          'log.record.uid': 'q',
          custom: 'c',
          message: 'm',
        },
      });
      assert.deepEqual(log.lines, []);
    });

    test('what the receiver takes only in part is counted, logged once, and not sent again', async () => {
      await using receiver = await OtlpReceiver.start();
      const partial =
        protocol === 'http/json'
          ? Buffer.from('{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}')
          : Buffer.from([0x0a, 11, 0x08, 2, 0x12, 7, ...Buffer.from('too old')]);
      receiver.reply = (response, { headers }) =>
        says(200, partial, { 'content-type': headers['content-type']! })(response);
      const { sink, log, counts } = prepare(receiver.url, { protocol });
      await sink.send(logBatch(5));
      await sink.send(logBatch(6));
      assert.equal(receiver.requests.length, 2);
      assert.equal(counts.rejected, 4);
      assert.deepEqual(log.lines, [`error OTLP at ${receiver.url.origin} dropped 2 records: too old`]);
      sink.close();
    });

    test('an error says what the receiver says', async () => {
      await using receiver = await OtlpReceiver.start();
      const message = 'A'.repeat(70);
      const status =
        protocol === 'http/json'
          ? Buffer.from(JSON.stringify({ code: 3, message }))
          : Buffer.from([0x08, 3, 0x12, 70, ...Buffer.from(message)]);
      receiver.reply = (response, { headers }) =>
        says(400, status, { 'content-type': headers['content-type']! })(response);
      const { sink } = prepare(receiver.url, { protocol });
      const error = await failure(sink.send(logBatch(1)));
      assert.equal(error.message, `400 Bad Request: ${message}`);
      assert.equal(error.code, 'ERR_DELIVERY_REFUSED');
      sink.close();
    });

    test('sent again, a batch is the same bytes', async () => {
      await using receiver = await OtlpReceiver.start();
      const { sink } = prepare(receiver.url, { protocol });
      receiver.reply = says(503);
      await failure(sink.send(logBatch(200)));
      await failure(sink.send(logBatch(200)));
      receiver.reply = takeAll;
      await sink.send(logBatch(200));
      const [first, ...others] = receiver.requests;
      for (const { raw } of others) assert.deepEqual(raw, first?.raw);
      assert.equal(first?.headers['content-encoding'], 'gzip');
      sink.close();
    });
  });
}

test('the status says whether records are dropped, somebody must change something, or waiting helps', async () => {
  await using receiver = await OtlpReceiver.start();
  const { sink, clock } = prepare(receiver.url);
  const cases: readonly [number, Record<string, string>, DeliveryError['code'], number | undefined][] = [
    [400, {}, 'ERR_DELIVERY_REFUSED', undefined],
    [413, {}, 'ERR_DELIVERY_REFUSED', undefined],
    [422, {}, 'ERR_DELIVERY_REFUSED', undefined],
    [302, { location: 'https://sign-in.example/?token=secret' }, 'ERR_DELIVERY_BLOCKED', undefined],
    [401, {}, 'ERR_DELIVERY_BLOCKED', undefined],
    [403, {}, 'ERR_DELIVERY_BLOCKED', undefined],
    [404, {}, 'ERR_DELIVERY_BLOCKED', undefined],
    [415, {}, 'ERR_DELIVERY_BLOCKED', undefined],
    [501, {}, 'ERR_DELIVERY_BLOCKED', undefined],
    [500, {}, 'ERR_DELIVERY_AWAY', undefined],
    [502, {}, 'ERR_DELIVERY_AWAY', undefined],
    [504, { 'retry-after': 'soon' }, 'ERR_DELIVERY_AWAY', undefined],
    [429, { 'retry-after': '7' }, 'ERR_DELIVERY_AWAY', 7000],
    [503, { 'retry-after': '99999999999' }, 'ERR_DELIVERY_AWAY', 300_000],
    [503, { 'retry-after': new Date(clock.wallMs() - 60_000).toUTCString() }, 'ERR_DELIVERY_AWAY', 0],
    [503, { 'retry-after': new Date(clock.wallMs() + 60_000).toUTCString() }, 'ERR_DELIVERY_AWAY', 60_000],
  ];
  for (const [status, headers, code, retryAfterMs] of cases) {
    receiver.reply = says(status, '', headers);
    const error = await failure(sink.send(logBatch(1)));
    assert.deepEqual([error.code, error.retryAfterMs], [code, retryAfterMs], String(status));
    assert.match(error.message, new RegExp(`^${status} `));
    assert.doesNotMatch(error.message, /secret/);
  }
  sink.close();
});

test('a batch that is too large goes in parts, and those that the receiver has are not sent again', async () => {
  await using receiver = await OtlpReceiver.start();
  const { sink, counts } = prepare(receiver.url);
  const taken: unknown[] = [];
  let failures = 1;
  receiver.reply = (response, request) => {
    const bodies = request.resources.flatMap(({ logs }) => logs.map(({ body }) => body));
    if (bodies.length > 3 || bodies.includes('line 9')) return says(413)(response);
    if (taken.length > 0 && failures-- > 0) return says(503)(response);
    taken.push(...bodies);
    takeAll(response, request);
  };
  assert.equal((await failure(sink.send(logBatch(10)))).code, 'ERR_DELIVERY_AWAY');
  assert.deepEqual(taken, ['line 0', 'line 1', 'line 2']);
  await sink.send(logBatch(10));
  assert.deepEqual(
    taken,
    Array.from({ length: 9 }, (_, index) => `line ${index}`),
  );
  // The last one is too large by itself.
  assert.equal(counts.rejected, 1);
  sink.close();
});

test('what was too large once is not sent as large again, and is tried again after many requests', async () => {
  await using receiver = await OtlpReceiver.start();
  const { sink, log, counts } = prepare(receiver.url);
  let lengthMax = 2000;
  let tooLarge = 0;
  receiver.reply = (response, request) => {
    const bodies = request.resources.flatMap(({ logs }) => logs.map(({ body }) => String(body)));
    receiver.requests.length = 0;
    if (bodies.join('').length > lengthMax) {
      tooLarge++;
      return says(413)(response);
    }
    taken.push(...bodies);
    requests++;
    takeAll(response, request);
  };
  const taken: string[] = [];
  let requests = 0;
  const large = (from: number) =>
    Array.from({ length: 40 }, (_, index) =>
      logRecord({ uid: `${from + index}`, body: `${from + index} `.padEnd(500, 'x') }),
    );
  await sink.send(logBatch(large(0)));
  const learning = tooLarge;
  assert.ok(learning >= 3 && learning <= 5, `${learning} requests until it is known`);
  // Batches after it do not begin anew, whatever their records are like.
  for (let from = 40; from < 400; from += 40) await sink.send(logBatch(large(from)));
  await sink.send(
    logBatch(Array.from({ length: 60 }, (_, index) => logRecord({ uid: `s${index}`, body: `${400 + index} ` }))),
  );
  assert.ok(
    requests > 100 && tooLarge <= learning + 2,
    `${tooLarge} of ${requests + tooLarge} requests were too large`,
  );
  assert.deepEqual(
    taken.map((body) => Number(/^\d+/.exec(body)?.[0])),
    Array.from({ length: 460 }, (_, index) => index),
  );
  // The receiver takes more now.
  lengthMax = Number.POSITIVE_INFINITY;
  for (let from = 460; from < 3000; from += 40) await sink.send(logBatch(large(from)));
  requests = 0;
  await sink.send(logBatch(large(3000)));
  assert.ok(requests <= 5, `a batch takes ${requests} requests`);
  assert.deepEqual([counts.rejected, log.lines], [0, []]);
  sink.close();
});

test('https that is not, a web page, a redirection: nothing is dropped, and the reason names the fix', async () => {
  await using receiver = await OtlpReceiver.start();
  const { sink } = prepare(receiver.url);
  const cases: readonly [ReturnType<typeof says>, RegExp][] = [
    [says(400, 'Client sent an HTTP request to an HTTPS server.\n'), /write https:\/\/ in the endpoint$/],
    [says(400, '<p>The plain HTTP request was sent to HTTPS port</p>'), /write https:\/\/ in the endpoint$/],
    [
      says(200, '<html>', { 'content-type': 'text/html; charset=utf-8' }),
      /web page and is no OTLP receiver; check the URL$/,
    ],
    [
      says(301, '', { location: 'https://new.example/v1/logs?k=v' }),
      /points to https:\/\/new\.example\/v1\/logs, and is not followed$/,
    ],
  ];
  for (const [reply, expected] of cases) {
    receiver.reply = reply;
    const error = await failure(sink.send(logBatch(1)));
    assert.match(error.message, expected);
    assert.equal(error.code, 'ERR_DELIVERY_BLOCKED');
  }
  sink.close();
});

test('garbage in a reply of success is no failure; replies without end or without hurry are cut off', async () => {
  await using receiver = await OtlpReceiver.start();
  const { sink, clock, log } = prepare(receiver.url);
  for (const contentType of ['application/json', 'application/x-protobuf', 'text/plain']) {
    receiver.reply = says(200, Buffer.from([0x0a, 0xff, 0xff, 0x7f, 0x7b]), { 'content-type': contentType });
    await sink.send(logBatch(1));
  }
  receiver.reply = says(204);
  await sink.send(logBatch(1));
  receiver.reply = (response) => {
    response.writeHead(503);
    const write = () => {
      while (!response.destroyed && response.write('x'.repeat(10_000)));
      response.once('drain', write);
    };
    write();
  };
  assert.match(
    (await failure(sink.send(logBatch(1)))).message,
    /^503 Service Unavailable: x+… \(\d+ more characters\)$/,
  );
  const before = receiver.requests.length;
  const brokenOff = Promise.withResolvers<void>();
  receiver.reply = (response) => {
    response.on('close', brokenOff.resolve).writeHead(200).write('x');
  };
  const late = failure(sink.send(logBatch(1)));
  await receiver.requestCount(before + 1);
  await settle();
  await clock.advance(10_000);
  assert.equal((await late).message, 'no reply within 10s');
  await brokenOff.promise;
  receiver.reply = (response) => void response.destroy();
  await assert.rejects(sink.send(logBatch(1)));
  receiver.reply = takeAll;
  await sink.send(logBatch(1));
  assert.deepEqual(log.lines, []);
  assert.equal(clock.pending, 0);
  sink.close();
});

test('closing ends what is under way, and what comes after', async () => {
  await using receiver = await OtlpReceiver.start();
  receiver.reply = () => {};
  const { sink } = prepare(receiver.url);
  const sending = assert.rejects(sink.send(logBatch(1)));
  await receiver.requestCount(1);
  sink.close();
  await sending;
  assert.equal((await failure(sink.send(logBatch(1)))).code, 'ERR_DELIVERY_CLOSED');
});

test('nobody listens, or what listens speaks no HTTP: the batch is to be sent again', async () => {
  const server = createServer((socket) => void socket.resume().end('SSH-2.0-x\r\n')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/logs`);
  const { sink } = prepare(url);
  await assert.rejects(sink.send(logBatch(1)));
  server.close();
  await once(server, 'close');
  await assert.rejects(sink.send(logBatch(1)), { code: 'ECONNREFUSED' });
  sink.close();
});

test('no secret is in a message, though the receiver repeats the request', async () => {
  await using receiver = await OtlpReceiver.start();
  const { sink, log } = prepare(receiver.url, { headers: { authorization: 'Bearer token-of-ours' } });
  receiver.reply = (response, { headers }) => says(401, `no: ${headers.authorization}`)(response);
  assert.equal((await failure(sink.send(logBatch(1)))).message, '401 Unauthorized: no: ***');
  receiver.reply = (response, { headers }) =>
    says(200, JSON.stringify({ partialSuccess: { errorMessage: `not ${headers.authorization?.slice(7)}` } }), {
      'content-type': 'application/json',
    })(response);
  await sink.send(logBatch(1));
  assert.deepEqual(log.lines, [`warn OTLP at ${receiver.url.origin} warns: not ***`]);
  sink.close();
});

describe('TLS', { skip: opensslMissing }, () => {
  let directory: string;
  let authority: Pair;
  let serverPair: Pair;
  let clientPair: Pair;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'virtlens-otlp-'));
    authority = makeAuthority(directory, 'authority');
    serverPair = makeCertificate(directory, 'server', authority, 'IP:127.0.0.1');
    clientPair = makeCertificate(directory, 'client', authority, 'DNS:client');
  });
  after(() => rmSync(directory, { recursive: true }));

  test('with the CA and a client certificate records arrive, without either none does', async () => {
    await using receiver = await OtlpReceiver.start({ ...serverPair, ca: authority.cert, requestCert: true });
    const tls = { ca: authority.cert, client: clientPair, isVerified: true };
    const good = prepare(receiver.url, { tls });
    await good.sink.send(logBatch(1));
    good.sink.close();
    const unknown = prepare(receiver.url, { tls: { ...tls, ca: undefined } });
    const error = await failure(unknown.sink.send(logBatch(1)));
    assert.match(error.message, /certificate is not accepted: .* name it as the CA file/);
    assert.equal(error.code, 'ERR_DELIVERY_BLOCKED');
    const bare = prepare(receiver.url, { tls: { ...tls, client: undefined } });
    assert.match((await failure(bare.sink.send(logBatch(1)))).message, /does not accept our certificate, or wants one/);
    assert.equal(receiver.requests.length, 1);
    for (const { sink } of [unknown, bare]) sink.close();
  });

  test('https to a server that speaks none, and a certificate of another name, are for somebody to fix', async () => {
    await using plain = await OtlpReceiver.start();
    const url = new URL(plain.url);
    url.protocol = 'https:';
    const { sink } = prepare(url, { tls: { ...NO_TLS, ca: authority.cert } });
    assert.match((await failure(sink.send(logBatch(1)))).message, /does not speak TLS/);
    sink.close();
    await using receiver = await OtlpReceiver.start(serverPair);
    const named = new URL(receiver.url);
    named.hostname = 'localhost';
    const other = prepare(named, { tls: { ...NO_TLS, ca: authority.cert } });
    assert.match((await failure(other.sink.send(logBatch(1)))).message, /certificate is for another name/);
    other.sink.close();
  });
});
