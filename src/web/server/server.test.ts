import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import { SILENT } from '../../base/logger.ts';
import { formatPrometheus } from '../../formats/prometheus.ts';
import { labelSet, type MetricFamily } from '../../model/metric.ts';
import { WebError } from '../error.ts';
import { healthRoutes } from '../health-routes.ts';
import { type LandingPage, landingRoute } from '../landing-route.ts';
import { type GatherRequest, type MetricsRouteOptions, metricsRoute } from '../metrics-route.ts';
import { type Route, sendText } from '../route.ts';
import { startWebServer, type WebServer, type WebServerOptions } from './server.ts';

const FAMILIES: readonly MetricFamily[] = [
  {
    name: 'libvirt_domain_info_virtual_cpus',
    type: 'gauge',
    help: 'Number of virtual CPUs.',
    decimalShift: 0,
    labels: Array.from({ length: 100 }, (_, index) => labelSet(['domain'], [`vm-${index}`])),
    values: Array.from({ length: 100 }, (_, index) => index),
  },
];

const servers: WebServer[] = [];
after(() => Promise.all(servers.map((server) => server.close(0))));

interface StartOptions extends Partial<Omit<WebServerOptions, 'routes'>> {
  readonly telemetryPath?: string;
  readonly gather?: MetricsRouteOptions['gather'];
  readonly isReady?: () => boolean;
  readonly landing?: LandingPage | undefined;
  readonly moreRoutes?: readonly Route[];
}

async function start(options: StartOptions = {}): Promise<WebServer> {
  const {
    telemetryPath = '/metrics',
    gather = async () => FAMILIES,
    isReady = () => true,
    landing = { title: 'virtlens', description: 'VMs of a host.', version: '0.1.0' },
    moreRoutes = [],
    ...rest
  } = options;
  const server = await startWebServer({
    listenAddresses: ['127.0.0.1:0'],
    routes: [
      metricsRoute({ path: telemetryPath, gather, timeoutMs: 10_000 }),
      ...healthRoutes({ isReady }),
      ...(telemetryPath === '/' ? [] : [landingRoute(landing)]),
      ...moreRoutes,
    ],
    logger: SILENT,
    clock: SYSTEM_CLOCK,
    ...rest,
  });
  servers.push(server);
  return server;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

function fetchFrom(server: WebServer, path: string, options: RequestOptions = {}, index = 0): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const url = new URL(`http://${server.addresses[index]}`);
  request({ host: url.hostname.replace(/[[\]]/g, ''), port: url.port, path, agent: false, ...options }, (response) => {
    const parts: Buffer[] = [];
    response.on('data', (part) => parts.push(part));
    response.on('error', reject);
    response.on('end', () =>
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
    );
  })
    .on('error', reject)
    .end();
  return promise;
}

/** A connection on which the test writes what it likes. */
async function connectTo(server: WebServer): Promise<Socket> {
  const url = new URL(`http://${server.addresses[0]}`);
  const socket = connect(Number(url.port), url.hostname);
  await once(socket, 'connect');
  return socket;
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('latin1');
  for await (const part of socket) text += part;
  return text;
}

describe('routes', async () => {
  const server = await start();
  const odd = await start({
    telemetryPath: '/a/b<c>&"é',
    isReady: () => false,
    landing: {
      title: '<script>alert(1)</script>',
      description: 'a & b "c" \'d\'',
      version: '<1>',
    },
    moreRoutes: [
      { path: '/x&a="', title: '<docs>', description: 'more', handle() {} },
      { path: '/hidden', handle() {} },
    ],
  });
  const rooted = await start({ telemetryPath: '/' });

  for (const [path, status, type, body] of [
    ['/metrics', 200, 'text/plain; version=0.0.4; charset=utf-8', /^# HELP libvirt_domain/],
    ['/metrics?x=1', 200, 'text/plain; version=0.0.4; charset=utf-8', /^# HELP/],
    ['/%6detrics', 200, 'text/plain; version=0.0.4; charset=utf-8', /^# HELP/],
    ['http://elsewhere.example/metrics', 200, 'text/plain; version=0.0.4; charset=utf-8', /^# HELP/],
    ['/', 200, 'text/html; charset=utf-8', /<a href="\/metrics">/],
    ['/?x', 200, 'text/html; charset=utf-8', /Version 0\.1\.0/],
    ['/-/healthy', 200, 'text/plain; charset=utf-8', /^healthy\n$/],
    ['/-/ready', 200, 'text/plain; charset=utf-8', /^ready\n$/],
    ['/metrics/', 404, 'text/plain; charset=utf-8', /^404 not found: see \/metrics, [^\n]*\n$/],
    ['/favicon.ico', 404, 'text/plain; charset=utf-8', /^404/],
    ['//metrics', 404, 'text/plain; charset=utf-8', /^404/],
    ['/%', 404, 'text/plain; charset=utf-8', /^404/],
    ['/__proto__', 404, 'text/plain; charset=utf-8', /^404/],
  ] as const) {
    test(`GET ${path} is ${status}`, async () => {
      const answer = await fetchFrom(server, path);
      assert.equal(answer.status, status);
      assert.equal(answer.headers['content-type'], type);
      // The metrics are sent as they are written; the length of everything else is known before.
      assert.equal(answer.headers['content-length'] ?? String(answer.body.length), String(answer.body.length));
      assert.match(answer.body.toString(), body);
    });
  }

  for (const path of ['/metrics', '/', '/-/healthy', '/-/ready']) {
    test(`HEAD ${path} has the headers of GET and no body`, async () => {
      const get = await fetchFrom(server, path);
      const head = await fetchFrom(server, path, { method: 'HEAD' });
      assert.equal(head.status, 200);
      assert.equal(head.body.length, 0);
      assert.equal(head.headers['content-length'], get.headers['content-length']);
      assert.equal(head.headers['content-type'], get.headers['content-type']);
    });

    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE']) {
      test(`${method} ${path} is 405`, async () => {
        const answer = await fetchFrom(server, path, { method });
        assert.equal(answer.status, 405);
        assert.equal(answer.headers.allow, 'GET, HEAD');
      });
    }
  }

  test('an odd telemetry path is served, encoded or not', async () => {
    const answer = await fetchFrom(odd, '/a/b%3Cc%3E&%22%C3%A9');
    assert.equal(answer.status, 200);
    assert.match(answer.body.toString(), /^# HELP/);
  });

  test('the landing page escapes all that it is given', async () => {
    const html = (await fetchFrom(odd, '/')).body.toString();
    assert.match(html, /<h1>&lt;script&gt;alert\(1\)&lt;\/script&gt;<\/h1>/);
    assert.match(html, /a &amp; b &quot;c&quot; &#39;d&#39;/);
    assert.match(html, /href="\/a\/b&lt;c&gt;&amp;&quot;é"/);
    assert.match(html, /href="\/x&amp;a=&quot;">&lt;docs&gt;<\/a> – more/);
    assert.match(html, /Version &lt;1&gt;/);
    assert.doesNotMatch(html, /<script>|<1>|<docs>|hidden/);
  });

  test('not ready is 503', async () => {
    const answer = await fetchFrom(odd, '/-/ready');
    assert.equal(answer.status, 503);
    assert.equal((await fetchFrom(odd, '/-/healthy')).status, 200);
  });

  test('metrics are served at / where no landing page is registered', async () => {
    assert.match((await fetchFrom(rooted, '/')).body.toString(), /^# HELP/);
  });

  for (const path of ['metrics', '', '/a b', '/a?b', '/a#b', '//a', '/%2f', '/a\n']) {
    test(`the telemetry path ${JSON.stringify(path)} is refused`, async () => {
      await assert.rejects(start({ telemetryPath: path }), (error: unknown) => {
        assert.ok(error instanceof WebError && error.code === 'ERR_WEB_PATH_INVALID');
        assert.match(error.message, /^the path "[^\n]*" of "Metrics" cannot be used: [^\n]+$/);
        return true;
      });
    });
  }

  for (const [path, other] of [
    ['/-/healthy', 'Health'],
    ['/-/ready', 'Readiness'],
  ] as const) {
    test(`two routes at ${path} are refused in one line that names both`, async () => {
      await assert.rejects(start({ telemetryPath: path }), {
        code: 'ERR_WEB_PATH_CONFLICT',
        message: `the path "${path}" is wanted by both "Metrics" and "${other}"; choose another path, such as "/metrics"`,
      });
    });
  }

  test('a route is one value, and health checks need no landing page', async () => {
    const hello: Route = {
      path: '/hello',
      handle: (request, response, { client }) => sendText(request, response, 200, `hello ${client}\n`),
    };
    const server = await startWebServer({
      listenAddresses: ['127.0.0.1:0'],
      routes: [hello, ...healthRoutes({ isReady: () => true })],
      logger: SILENT,
      clock: SYSTEM_CLOCK,
    });
    servers.push(server);
    assert.equal((await fetchFrom(server, '/hello')).body.toString(), 'hello 127.0.0.1\n');
    assert.equal((await fetchFrom(server, '/-/healthy')).status, 200);
    assert.equal((await fetchFrom(server, '/')).status, 404);
  });
});

describe('a scrape', async () => {
  const asked: GatherRequest[] = [];
  const server = await start({
    gather: async (gatherRequest) => {
      asked.push(gatherRequest);
      return FAMILIES;
    },
  });

  test('is compressed for clients that take gzip, and no others', async () => {
    const plain = Buffer.concat(Array.from(formatPrometheus(FAMILIES), (chunk) => Buffer.from(chunk)));
    for (const [encoding, compressed] of [
      [undefined, false],
      ['gzip', true],
      ['deflate, gzip;q=0.5', true],
      ['gzip;q=0', false],
      ['gzip;q=0, *', false],
      ['*', true],
      ['br', false],
    ] as const) {
      const headers: Record<string, string> = encoding === undefined ? {} : { 'accept-encoding': encoding };
      const answer = await fetchFrom(server, '/metrics', { headers });
      assert.equal(answer.headers['content-encoding'], compressed ? 'gzip' : undefined, `${encoding}`);
      assert.equal(answer.headers.vary, 'Accept, Accept-Encoding');
      assert.ok(plain.equals(compressed ? gunzipSync(answer.body) : answer.body), `${encoding}`);
    }
  });

  test('is OpenMetrics for clients that ask for it', async () => {
    const accept = 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5';
    const { headers, body } = await fetchFrom(server, '/metrics', { headers: { accept } });
    assert.equal(headers['content-type'], 'application/openmetrics-text; version=1.0.0; charset=utf-8');
    assert.ok(body.toString().endsWith('# EOF\n'));
  });

  for (const [text, expected] of [
    [undefined, 10_000],
    ['7', 7_000],
    ['9.5', 9_500],
    ['.5', 500],
    ['0.000001', 10],
    ['100000', 3_600_000],
    ['0', 10_000],
    ['-5', 10_000],
    ['soon', 10_000],
    ['1e9', 10_000],
    ['Infinity', 10_000],
    ['', 10_000],
    ['5, 10', 10_000],
  ] as const) {
    test(`with a timeout of ${text} seconds has a deadline of ${expected} ms`, async () => {
      const headers: Record<string, string> = text === undefined ? {} : { 'X-Prometheus-Scrape-Timeout-Seconds': text };
      await fetchFrom(server, '/metrics', { headers });
      assert.equal(asked.at(-1)?.deadlineMs, expected);
      assert.equal(asked.at(-1)?.signal.aborted, false);
    });
  }

  test('and fifty more at once are all answered in full', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => fetchFrom(server, '/metrics')));
    const plain = Buffer.concat(Array.from(formatPrometheus(FAMILIES), (chunk) => Buffer.from(chunk)));
    for (const { status, body } of answers) assert.ok(status === 200 && plain.equals(body));
  });

  test('that fails is 500 with one line, logged, and the next one is served', async () => {
    const logged: unknown[] = [];
    let fails = true;
    const failing = await start({
      gather: async () => {
        if (fails) throw new Error('libvirt said\nmany things');
        return FAMILIES;
      },
      logger: { ...SILENT, error: (message, fields) => logged.push([message, fields]) },
    });
    const answer = await fetchFrom(failing, '/metrics', { headers: { 'accept-encoding': 'gzip' } });
    assert.equal(answer.status, 500);
    assert.equal(answer.body.toString(), '500 internal error: libvirt said\n');
    assert.deepEqual(logged, [['request failed', { path: '/metrics', err: 'libvirt said' }]]);
    fails = false;
    assert.equal((await fetchFrom(failing, '/metrics')).status, 200);
  });

  test('whose client goes away is aborted, and not logged as an error', async () => {
    const errors: string[] = [];
    const begun = Promise.withResolvers<GatherRequest>();
    const ended = Promise.withResolvers<void>();
    const slow = await start({
      gather: async (gatherRequest) => {
        begun.resolve(gatherRequest);
        await once(gatherRequest.signal, 'abort');
        ended.resolve();
        throw gatherRequest.signal.reason;
      },
      logger: { ...SILENT, error: (message) => errors.push(message) },
    });
    const socket = await connectTo(slow);
    socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n');
    const { signal } = await begun.promise;
    assert.equal(signal.aborted, false);
    socket.destroy();
    await ended.promise;
    assert.equal(signal.aborted, true);
    await slow.close();
    assert.deepEqual(errors, []);
  });
});

/** Families of which the last cannot be had. */
function* failingLate(count: number): Generator<MetricFamily> {
  for (let index = 0; index < count; index++) yield { ...FAMILIES[0]!, name: `family_${index}` };
  throw new Error('the table is broken');
}

describe('a scrape that fails or hangs', () => {
  test('at its first family is a clean 500', async () => {
    const server = await start({ gather: async () => failingLate(0) });
    for (const headers of [{}, { 'accept-encoding': 'gzip' }]) {
      const { status, body, headers: sent } = await fetchFrom(server, '/metrics', { headers });
      assert.equal(status, 500);
      assert.equal(body.toString(), '500 internal error: the table is broken\n');
      assert.equal(sent['content-encoding'], undefined);
    }
  });

  for (const headers of [{}, { 'accept-encoding': 'gzip' }] as const) {
    test(`later is no whole page, with ${JSON.stringify(headers)}`, async () => {
      const server = await start({ gather: async () => failingLate(200) });
      await assert.rejects(fetchFrom(server, '/metrics', { headers }), { code: 'ECONNRESET' });
    });
  }

  test('later is no whole page for a client of HTTP/1.0 either, to which the end of the connection is the end of the page', async () => {
    const server = await start({ gather: async () => failingLate(200) });
    const socket = await connectTo(server);
    socket.write('GET /metrics HTTP/1.0\r\n\r\n');
    await assert.rejects(readAll(socket), { code: 'ECONNRESET' });
  });

  test('and hangs is 503 when the time of the scraper is over', async () => {
    const log = new KeptLog();
    const server = await start({ gather: () => new Promise(() => {}), logger: log });
    const headers = { 'X-Prometheus-Scrape-Timeout-Seconds': '0.05' };
    const { status, body, headers: sent } = await fetchFrom(server, '/metrics', { headers });
    assert.equal(status, 503);
    assert.equal(sent['retry-after'], '1');
    assert.match(
      body.toString(),
      /^503 service unavailable: the metrics were not gathered in time; try again later\n$/,
    );
    assert.equal(log.count(/^error the metrics were not gathered in time path=\/metrics deadlineMs=50$/), 1);
  });

  test('is logged once until it works again', async () => {
    const log = new KeptLog();
    let fails = true;
    const server = await start({
      logger: log,
      gather: async () => {
        if (fails) throw new Error('no');
        return FAMILIES;
      },
    });
    for (let count = 0; count < 3; count++) await fetchFrom(server, '/metrics');
    assert.equal(log.count(/^error/), 1);
    fails = false;
    await fetchFrom(server, '/metrics');
    fails = true;
    await fetchFrom(server, '/metrics');
    assert.equal(log.count(/^error/), 2);
  });
});

describe('requests of one connection', () => {
  test('are worked on one after the other, however many are sent at once', async () => {
    let most = 0;
    let inProgress = 0;
    let count = 0;
    const server = await start({
      gather: async () => {
        most = Math.max(most, ++inProgress);
        await new Promise((resolve) => setImmediate(resolve));
        inProgress--;
        return [{ ...FAMILIES[0]!, name: `family_${count++}` }];
      },
    });
    const socket = await connectTo(server);
    socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(200));
    let text = '';
    for await (const part of socket.setEncoding('latin1')) {
      text += part;
      if (text.includes('family_199{domain="vm-99"}')) break;
    }
    assert.equal(most, 1);
    const order = [...text.matchAll(/^# HELP family_(\d+) /gm)].map(([, index]) => Number(index));
    assert.deepEqual(
      order,
      Array.from({ length: 200 }, (_, index) => index),
    );
  });

  test('are read byte by byte', async () => {
    const server = await start();
    const socket = await connectTo(server);
    socket.setNoDelay(true);
    for (const byte of 'GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n') {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const text = await readAll(socket);
    assert.match(text, /^HTTP\/1\.1 200 OK[\s\S]*healthy\nHTTP\/1\.1 200 OK[\s\S]*ready\n$/);
  });

  test('with a body are the last: what is hidden in it is no request', async () => {
    const server = await start();
    for (const head of ['Content-Length: 40', 'Transfer-Encoding: chunked']) {
      const socket = await connectTo(server);
      socket.write(`POST /metrics HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n`);
      socket.write('GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n');
      const text = await readAll(socket);
      assert.match(text, /^HTTP\/1\.1 405 [\s\S]*\r\nConnection: close\r\n/);
      assert.doesNotMatch(text, /healthy/);
    }
  });
});

describe('time limits of connections', () => {
  const health = 'GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n';
  for (const [title, text, limitMs, reply] of [
    ['no request', '', 10_000, /^HTTP\/1\.1 408 /],
    ['headers that do not end', 'GET / HTTP/1.1\r\nA: b\r\n', 10_000, /^HTTP\/1\.1 408 /],
    ['no second request', health, 130_000, /^HTTP\/1\.1 200 OK[\s\S]*healthy\n$/],
    ['a second request that does not end', `${health}GET`, 10_000, /^HTTP\/1\.1 200 OK[\s\S]*healthy\nHTTP\/1\.1 408 /],
  ] as const) {
    test(`${title} ends it after ${limitMs / 1000} s`, async () => {
      const clock = new FakeClock();
      const server = await start({ clock });
      const socket = await connectTo(server);
      let isClosed = false;
      socket.once('close', () => {
        isClosed = true;
      });
      const read = readAll(socket);
      socket.write(text);
      await fetchFrom(server, '/-/healthy');
      await clock.advance(limitMs - 100);
      await fetchFrom(server, '/-/healthy');
      assert.equal(isClosed, false);
      await clock.advance(100);
      assert.match(await read, reply);
    });
  }
});

describe('clients that misbehave', async () => {
  const server = await start();

  for (const [title, text, status] of [
    ['headers too large', `GET /metrics HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ['a URL too long', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 400],
    ['no Host header', 'GET /metrics HTTP/1.1\r\n\r\n', 400],
  ] as const) {
    test(`${title} is ${status}, and the server goes on`, async () => {
      const socket = await connectTo(server);
      socket.write(text);
      assert.match(await readAll(socket), new RegExp(`^HTTP/1.1 ${status} `));
      assert.equal((await fetchFrom(server, '/-/healthy')).status, 200);
    });
  }
});

describe('addresses', () => {
  const hasIpv6 = Object.values(networkInterfaces()).some((each) => each?.some(({ address }) => address === '::1'));
  const skip = hasIpv6 ? false : 'this machine has no ::1';
  test('several are served at once, IPv6 too, with the ports that the system chose', { skip }, async () => {
    const server = await start({ listenAddresses: ['127.0.0.1:0', '[::1]:0', 'localhost:0', ':0'] });
    assert.equal(server.addresses.length, 4);
    assert.match(server.addresses[0] ?? '', /^127\.0\.0\.1:[1-9]\d*$/);
    assert.match(server.addresses[1] ?? '', /^\[::1\]:[1-9]\d*$/);
    assert.match(server.addresses[3] ?? '', /^(\[::\]|0\.0\.0\.0):[1-9]\d*$/);
    for (const index of [0, 1, 2, 3]) assert.equal((await fetchFrom(server, '/metrics', {}, index)).status, 200);
  });

  test('a port in use is one clear line, and the addresses before it are let go', async () => {
    const taken = await start();
    const address = taken.addresses[0] ?? '';
    const free = await start();
    const freed = free.addresses[0] ?? '';
    await free.close();
    await assert.rejects(start({ listenAddresses: [freed, address] }), {
      name: 'WebError',
      code: 'ERR_WEB_ADDRESS_IN_USE',
      message: `cannot listen on "${address}": the port is in use; stop the program that has it, or choose another port`,
    });
    assert.deepEqual((await start({ listenAddresses: [freed] })).addresses, [freed]);
  });

  test('one that this machine does not have, and one that is none', async () => {
    await assert.rejects(start({ listenAddresses: ['192.0.2.1:0'] }), { code: 'ERR_WEB_ADDRESS_UNAVAILABLE' });
    await assert.rejects(start({ listenAddresses: ['9177'] }), { code: 'ERR_WEB_ADDRESS_INVALID' });
  });
});

describe('closing', () => {
  test('lets a scrape in progress end, takes no new one, and leaves no connection', async () => {
    const begun = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const server = await start({
      gather: async () => {
        begun.resolve();
        await release.promise;
        return FAMILIES;
      },
    });
    const idle = await connectTo(server);
    idle.write('GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(idle, 'data');
    const silent = await connectTo(server);
    const inProgress = await connectTo(server);
    const read = readAll(inProgress);
    inProgress.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n');
    await begun.promise;

    const ends = Promise.all([once(idle, 'close'), once(silent, 'close')]);
    const closed = server.close();
    assert.equal(server.close(), closed, 'closing twice is closing once');
    await ends;
    await assert.rejects(connectTo(server), { code: 'ECONNREFUSED' });
    release.resolve();
    // The connection ends by itself, though it was one to be kept alive.
    assert.match(await read, /^HTTP\/1\.1 200 OK[\s\S]*vm-99"} 99\n\r\n0\r\n\r\n$/);
    await closed;
  });

  test('cuts what has not ended when the grace is over', async () => {
    const begun = Promise.withResolvers<void>();
    const callbacks = new Map<number, () => void>();
    const server = await start({
      gather: () => {
        begun.resolve();
        return new Promise(() => {});
      },
      clock: {
        wallMs: () => 0,
        monotonicMs: () => 0,
        schedule: (delayMs, later) => {
          callbacks.set(delayMs, later);
          return () => {};
        },
      },
    });
    const socket = await connectTo(server);
    socket.on('error', () => {});
    socket.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n');
    await begun.promise;
    const closed = server.close(1234);
    callbacks.get(1234)!();
    await closed;
  });
});
