import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { KeptLog } from '../../test/support/kept-log.ts';
import { DeliveryQueue } from './delivery.ts';
import { createInfluxDestination, INFLUX_BOUNDS, type InfluxTarget } from './influxdb.ts';

interface Received {
  readonly url: string | undefined;
  readonly authorization: string | undefined;
  readonly lines: readonly string[];
}

type Reply = (response: ServerResponse) => void;
const ok: Reply = (response) => response.writeHead(204).end();
const fails =
  (status: number, body: string): Reply =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);

/** An InfluxDB that keeps what it gets and replies as its state says. */
async function startServer(context: TestContext, reply: Reply = ok) {
  const received: Received[] = [];
  const state = { reply };
  let arrived = Promise.withResolvers<void>();
  const server = createServer(async (request: IncomingMessage, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const text = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
    received.push({
      url: request.url,
      authorization: request.headers.authorization,
      lines: text.toString().split('\n'),
    });
    state.reply(response);
    arrived.resolve();
    arrived = Promise.withResolvers();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    received,
    state,
    /** Waits until so many requests have come. */
    async requests(count: number): Promise<void> {
      while (received.length < count) await arrived.promise;
    },
  };
}

function prepare(
  target: Partial<InfluxTarget> & Pick<InfluxTarget, 'url'>,
  queueBytesMax = INFLUX_BOUNDS.queueBytesMax,
) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const writer = new DeliveryQueue({
    destination: createInfluxDestination({ token: undefined, into: { database: 'db' }, ...target }),
    bounds: { ...INFLUX_BOUNDS, queueBytesMax },
    whenFull: 'drop oldest',
    sizeOf: (text) => Buffer.byteLength(text),
    itemsName: 'points',
    clock,
    logger: log,
  });
  return { clock, logs: log.lines, writer };
}

const line = (name: string) => `${name} n=1i 7`;
const points = (...names: string[]) => names.map(line);

/** Waits until a log line says so. */
async function logged(logs: readonly string[], pattern: RegExp): Promise<void> {
  while (!logs.some((entry) => pattern.test(entry))) await new Promise((resolve) => setImmediate(resolve));
}

test('InfluxDB 2: the path, the token, the lines', async (context) => {
  const server = await startServer(context);
  const { writer, logs } = prepare({ url: server.url, token: 'secret', into: { org: 'my org', bucket: 'b/1' } });
  void writer.write(points('a', 'b'));
  assert.equal(await writer.close(5000), 0);
  assert.deepEqual(server.received, [
    {
      url: '/api/v2/write?org=my%20org&bucket=b%2F1&precision=ns',
      authorization: 'Token secret',
      lines: [line('a'), line('b')],
    },
  ]);
  assert.deepEqual(logs, []);
});

test('InfluxDB 1: the path, user and password, a path of a proxy in front', async (context) => {
  const server = await startServer(context);
  const { writer } = prepare({ url: new URL('/influx/', server.url), token: 'u:p w', into: { database: 'my db' } });
  void writer.write(points('a'));
  assert.equal(await writer.close(5000), 0);
  assert.deepEqual(server.received, [
    {
      url: '/influx/write?db=my%20db',
      authorization: `Basic ${Buffer.from('u:p w').toString('base64')}`,
      lines: [line('a')],
    },
  ]);
});

test('a server that is away: points are kept, sent again with growing pauses, and it is logged once', async (context) => {
  const server = await startServer(context, fails(503, '{"error":"starting"}'));
  const { writer, clock, logs } = prepare({ url: server.url });
  void writer.write(points('a'));
  for (const [attempt, pauseMs] of [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000].entries()) {
    await server.requests(attempt + 1);
    while (clock.pending === 0) await settle();
    await clock.advance(pauseMs - 1);
    assert.equal(server.received.length, attempt + 1);
    await clock.advance(1);
  }
  await server.requests(9);
  while (clock.pending === 0) await settle();
  void writer.write(points('b'));
  server.state.reply = ok;
  assert.equal(await writer.close(5000), 0);
  // A batch that was sent once stays as it is.
  assert.deepEqual(
    server.received.slice(9).map(({ lines }) => lines),
    [[line('a')], [line('b')]],
  );
  assert.deepEqual(
    logs.filter((entry) => !entry.startsWith('debug')),
    [
      `error InfluxDB at ${server.url.origin} cannot be written to: 503 Service Unavailable: starting; points are kept and sent again`,
      `info InfluxDB at ${server.url.origin} takes points again dropped=0`,
    ],
  );
});

test('memory is bounded: the oldest points are dropped, counted and logged', async (context) => {
  const server = await startServer(context, fails(500, ''));
  const { writer, logs, clock } = prepare({ url: server.url }, 5000 * 8);
  // Each line has 8 bytes: one batch is all of a, the next all of b.
  void writer.write(Array.from({ length: 4000 }, () => line('a')));
  await logged(logs, /cannot be written/);
  void writer.write(Array.from({ length: 4000 }, () => line('b')));
  assert.match(logs.at(-1) ?? '', /^error The buffer for .* is full: the oldest points are dropped from now on$/);
  server.state.reply = ok;
  await clock.advance(1000);
  await logged(logs, /takes points again dropped=4000$/);
  assert.equal(await writer.close(5000), 4000);
  const written = server.received.slice(1).flatMap(({ lines }) => lines);
  assert.deepEqual(
    written,
    Array.from({ length: 4000 }, () => line('b')),
  );
});

test('points that the server refuses are dropped, those after them are written', async (context) => {
  const server = await startServer(context, fails(400, '{"error":"partial write: field type conflict"}'));
  const { writer, logs } = prepare({ url: server.url });
  void writer.write(points('bad', 'bad2'));
  await logged(logs, /refuses/);
  server.state.reply = ok;
  void writer.write(points('good'));
  assert.equal(await writer.close(5000), 2);
  assert.deepEqual(server.received.at(-1)?.lines, [line('good')]);
  assert.deepEqual(logs, [
    `error InfluxDB at ${server.url.origin} refuses 2 points, which are dropped: 400 Bad Request: partial write: field type conflict`,
  ]);
});

test('many points go in batches, all of them and in order', async (context) => {
  const server = await startServer(context);
  const { writer } = prepare({ url: server.url });
  const names = Array.from({ length: 12_001 }, (_, index) => `m${index}`);
  void writer.write(points(...names));
  assert.equal(await writer.close(20_000), 0);
  assert.ok(server.received.length >= 3 && server.received.length <= 5);
  assert.deepEqual(
    server.received.flatMap(({ lines }) => lines),
    names.map(line),
  );
});

test('closing gives up in time, says what was lost, and never names the token', async (context) => {
  const server = await startServer(context, () => {});
  const { writer, clock, logs } = prepare({ url: server.url, token: 'secret', into: { org: 'o', bucket: 'b' } });
  void writer.write(points('a', 'b'));
  await server.requests(1);
  const closing = writer.close(3000);
  await clock.advance(3000);
  assert.equal(await closing, 2);
  assert.deepEqual(logs, [
    `error 2 points were not written: InfluxDB at ${server.url.origin} did not take them in time`,
  ]);
  void writer.write(points('too late'));
  await settle();
  assert.equal(server.received.length, 1);
});

test('closing does not wait for what nobody will fix meanwhile', async (context) => {
  const server = await startServer(context, fails(404, '{"error":"database not found: \\"db\\""}'));
  const { writer, logs } = prepare({ url: server.url });
  void writer.write(points('a'));
  assert.equal(await writer.close(1_000_000), 1);
  assert.match(logs[0] ?? '', /404 Not Found: database not found: "db"; points are kept and sent again$/);
});

test('nobody listens: the error says where', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  const { writer, logs, clock } = prepare({ url: new URL(`http://localhost:${port}`) });
  void writer.write(points('a'));
  await logged(
    logs,
    new RegExp(`^error InfluxDB at http://localhost:${port} cannot be written to: .*connection refused`),
  );
  const closing = writer.close(1000);
  await settle();
  await clock.advance(1000);
  assert.equal(await closing, 1);
});

test('a server whose error never ends, or that is no InfluxDB, is a failure like others', async (context) => {
  const endless: Reply = (response) => {
    response.writeHead(500);
    const write = () => {
      while (!response.destroyed && response.write('x'.repeat(10_000)));
      response.once('drain', write);
    };
    write();
  };
  const server = await startServer(context, endless);
  const { writer, logs, clock } = prepare({ url: server.url });
  void writer.write(points('a'));
  await logged(logs, /cannot be written to: 500 Internal Server Error: x+… \(\d+ more characters\); points are kept/);
  server.state.reply = (response) => response.writeHead(200).end('<html>');
  const closing = writer.close(10_000);
  assert.equal(await closing, 1);
  assert.match(logs.at(-2) ?? '', /200 OK: <html>/);
  assert.equal(clock.pending, 0);
});
