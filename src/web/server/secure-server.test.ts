import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { type RequestOptions, request } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';
import { hashSync } from 'bcryptjs';
import { makeAuthority, makeCertificate, opensslMissing, type Pair } from '../../../test/support/certificates.ts';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import { type LogField, type Logger, SILENT } from '../../base/logger.ts';
import { labelSet } from '../../model/metric.ts';
import { healthRoutes } from '../health-routes.ts';
import { landingRoute } from '../landing-route.ts';
import { type MetricsRouteOptions, metricsRoute } from '../metrics-route.ts';
import { startWebServer, type WebServer, type WebServerOptions } from './server.ts';

const directory = mkdtempSync(join(tmpdir(), 'virtlens-web-'));
const servers: WebServer[] = [];
after(async () => {
  await Promise.all(servers.map((server) => server.close(0)));
  rmSync(directory, { recursive: true });
});

let fileCount = 0;
function writeConfig(text: string, file = join(directory, `web-${fileCount++}.yml`)): string {
  // As configuration management does it: the new file takes the old one's place.
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
  return file;
}

interface StartOptions extends Partial<Omit<WebServerOptions, 'routes'>> {
  readonly gather?: MetricsRouteOptions['gather'];
}

async function start(config: string, { gather = async () => [], ...options }: StartOptions = {}): Promise<WebServer> {
  const server = await startWebServer({
    listenAddresses: ['127.0.0.1:0'],
    routes: [
      metricsRoute({ path: '/metrics', gather, timeoutMs: 10_000 }),
      ...healthRoutes({ isReady: () => true }),
      landingRoute({ title: 'virtlens', description: 'd', version: '0' }),
    ],
    logger: SILENT,
    clock: SYSTEM_CLOCK,
    webConfigFile: config.includes('\n') ? writeConfig(config) : config,
    ...options,
  });
  servers.push(server);
  return server;
}

function recorder(): { lines: [string, Readonly<Record<string, LogField>>][]; logger: Logger } {
  const lines: [string, Readonly<Record<string, LogField>>][] = [];
  const record: Logger['info'] = (message, fields = {}) => lines.push([message, fields]);
  return { lines, logger: { debug: record, info: record, warn: record, error: record } };
}

const portOf = (server: WebServer) => Number(server.addresses[0]?.split(':').at(-1));

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly certificate: PeerCertificate | undefined;
  readonly protocol: string | null;
}

function fetchFrom(server: WebServer, ca: Pair | undefined, options: RequestOptions = {}): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const where = { host: '127.0.0.1', port: portOf(server), path: '/-/healthy', agent: false as const };
  request({ protocol: 'https:', ...where, ...(ca && { ca: ca.cert }), ...options }, (response) => {
    // Kept now: it is gone once the connection has ended.
    const socket = response.socket as TLSSocket;
    const certificate = socket.getPeerCertificate();
    const protocol = socket.getProtocol();
    let body = '';
    response.on('data', (part) => {
      body += part;
    });
    response.on('error', reject);
    response.on('end', () =>
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body, certificate, protocol }),
    );
  })
    .on('error', reject)
    .end();
  return promise;
}

function basic(user: string, password: string) {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

describe('TLS', { skip: opensslMissing }, async () => {
  if (opensslMissing) return;
  const ca = makeAuthority(directory, 'ca');
  const otherCa = makeAuthority(directory, 'other-ca');
  const local = makeCertificate(directory, 'server', ca, 'DNS:localhost,IP:127.0.0.1');
  const client = makeCertificate(
    directory,
    'client',
    ca,
    'DNS:prometheus.example,IP:fd00::1,URI:spiffe://a/b,email:a@b.example',
  );
  const stranger = makeCertificate(directory, 'stranger', otherCa, 'DNS:prometheus.example');
  const serverPair = `  cert_file: server.crt\n  key_file: server.key\n`;
  const withPolicy = (policy: string) =>
    `tls_server_config:\n${serverPair}${policy
      .split('\n')
      .map((line) => `  ${line}\n`)
      .join('')}`;

  test('serves with the certificate, whose path is relative to the file, HTTP/1.1', async () => {
    const server = await start(`tls_server_config:\n${serverPair}`);
    assert.equal(server.scheme, 'https');
    const answer = await fetchFrom(server, ca, { path: '/metrics' });
    assert.equal(answer.status, 200);
    assert.equal(answer.certificate?.subject.CN, 'server');
    assert.equal(answer.protocol, 'TLSv1.3');
    await assert.rejects(fetchFrom(server, otherCa), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
  });

  test('serves with a certificate and key that stand in the file', async () => {
    const indent = (pem: string) => pem.trim().replace(/^/gm, '    ');
    const server = await start(
      `tls_server_config:\n  cert: |\n${indent(local.cert)}\n  key: |\n${indent(local.key)}\n`,
    );
    assert.equal((await fetchFrom(server, ca)).status, 200);
  });

  test('speaks HTTP/2 to those who do, unless it is switched off', async () => {
    const server = await start(`tls_server_config:\n${serverPair}`);
    const session = connectHttp2(`https://127.0.0.1:${portOf(server)}`, { ca: ca.cert });
    for (const [path, method, status] of [
      ['/metrics', 'GET', 200],
      ['/metrics', 'HEAD', 200],
      ['/metrics', 'POST', 405],
      ['/x', 'GET', 404],
    ] as const) {
      const stream = session.request({ ':path': path, ':method': method });
      const [headers] = await once(stream, 'response');
      assert.equal(headers[':status'], status);
      stream.resume();
      await once(stream, 'close');
    }
    // A quiet session does not hold the server up.
    const ended = once(session, 'close');
    await server.close();
    await ended;

    const plain = await start(`tls_server_config:\n${serverPair}http_server_config:\n  http2: false\n`);
    const socket = connectTls({
      host: '127.0.0.1',
      port: portOf(plain),
      ca: ca.cert,
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    await once(socket, 'secureConnect');
    assert.equal(socket.alpnProtocol, 'http/1.1');
    socket.destroy();
  });

  test('lets a scrape over HTTP/2 end when closing', async () => {
    const begun = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const gather = async () => {
      begun.resolve();
      await release.promise;
      return [];
    };
    const server = await start(`tls_server_config:\n${serverPair}`, { gather });
    const session = connectHttp2(`https://127.0.0.1:${portOf(server)}`, { ca: ca.cert });
    const stream = session.request({ ':path': '/metrics' });
    const response = once(stream, 'response');
    await begun.promise;
    const closed = server.close();
    release.resolve();
    assert.equal((await response)[0][':status'], 200);
    stream.resume();
    await closed;
  });

  test('aborts the scrape of an HTTP/2 client that goes away', async () => {
    const begun = Promise.withResolvers<AbortSignal>();
    const aborted = Promise.withResolvers<void>();
    const server = await start(`tls_server_config:\n${serverPair}`, {
      gather: async ({ signal }) => {
        begun.resolve(signal);
        await once(signal, 'abort');
        aborted.resolve();
        return [];
      },
    });
    const session = connectHttp2(`https://127.0.0.1:${portOf(server)}`, { ca: ca.cert });
    session.request({ ':path': '/metrics' }).on('error', () => {});
    await begun.promise;
    session.destroy();
    await aborted.promise;
  });

  test('resets the stream of an HTTP/2 scrape that fails in the middle', async () => {
    const labels = Array.from({ length: 100 }, (_, index) => labelSet(['domain'], [`vm-${index}`]));
    const family = { type: 'gauge', help: 'h', decimalShift: 0, labels, values: labels.map(() => 1) } as const;
    const server = await start(`tls_server_config:\n${serverPair}`, {
      gather: async () =>
        (function* () {
          for (let index = 0; index < 200; index++) yield { ...family, name: `family_${index}` };
          throw new Error('the table is broken');
        })(),
    });
    const session = connectHttp2(`https://127.0.0.1:${portOf(server)}`, { ca: ca.cert });
    session.on('error', () => {});
    const stream = session.request({ ':path': '/metrics' });
    const [headers] = await once(stream, 'response');
    assert.equal(headers[':status'], 200);
    stream.resume();
    await assert.rejects(once(stream, 'end'), { code: 'ERR_HTTP2_STREAM_ERROR' });
    session.destroy();
  });

  test('plain HTTP, garbage and a client that hangs up harm nobody', async () => {
    const server = await start(`tls_server_config:\n${serverPair}`);
    for (const text of ['GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n', '\0\0\0\0', '']) {
      const socket = connect(portOf(server), '127.0.0.1');
      socket.on('error', () => {});
      await once(socket, 'connect');
      socket.end(text);
      socket.resume();
      await once(socket, 'close');
    }
    assert.equal((await fetchFrom(server, ca)).status, 200);
  });

  for (const http2 of [true, false]) {
    test(`a quiet connection does not hold up closing, HTTP/2 ${http2 ? 'on' : 'off'}`, async () => {
      const server = await start(`tls_server_config:\n${serverPair}http_server_config: { http2: ${http2} }\n`);
      const silent = connectTls({ host: '127.0.0.1', port: portOf(server), ca: ca.cert });
      await once(silent, 'secureConnect');
      const kept = connectTls({ host: '127.0.0.1', port: portOf(server), ca: ca.cert });
      kept.write('GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n');
      await once(kept, 'data');
      const ends = Promise.all([once(silent, 'close'), once(kept, 'close')]);
      await server.close();
      await ends;
    });
  }

  for (const [title, policy, offered, version] of [
    ['versions within the limits', 'min_version: TLS12\nmax_version: TLS12', {}, 'TLSv1.2'],
    ['TLS 1.3 only', 'min_version: TLS13', {}, 'TLSv1.3'],
    [
      'TLS 1.1 where the file allows it',
      'min_version: TLS10\nmax_version: TLS11',
      { minVersion: 'TLSv1', ciphers: 'DEFAULT:@SECLEVEL=0' },
      'TLSv1.1',
    ],
    [
      'TLS 1.3 next to listed suites of 1.2',
      'cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384',
      {},
      'TLSv1.3',
    ],
    ['a listed suite', 'cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\nmax_version: TLS12', {}, 'TLSv1.2'],
    ['a listed curve', 'curve_preferences: [CurveP384]', { ecdhCurve: 'P-384' }, 'TLSv1.3'],
  ] as const) {
    test(`takes ${title}`, async () => {
      const server = await start(withPolicy(policy));
      assert.equal((await fetchFrom(server, ca, offered)).protocol, version);
    });
  }

  for (const [title, policy, offered] of [
    ['an older version', 'min_version: TLS13', { maxVersion: 'TLSv1.2' }],
    ['a newer version', 'max_version: TLS12', { minVersion: 'TLSv1.3' }],
    [
      'TLS 1.1 by default',
      'client_auth_type: NoClientCert',
      { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' },
    ],
    [
      'a suite that is not listed',
      'cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]',
      { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
    ],
    ['a curve that is not listed', 'curve_preferences: [CurveP384]', { ecdhCurve: 'X25519' }],
  ] as const) {
    test(`refuses ${title}`, async () => {
      await assert.rejects(fetchFrom(await start(withPolicy(policy)), ca, offered));
    });
  }

  const verify = 'client_ca_file: ca.crt\nclient_auth_type: ';
  for (const [policy, none, good, bad] of [
    ['client_auth_type: NoClientCert', true, true, true],
    ['client_auth_type: RequestClientCert', true, true, true],
    ['client_auth_type: RequireAnyClientCert', false, true, true],
    ['client_auth_type: RequireClientCert', false, true, true],
    [`${verify}VerifyClientCertIfGiven`, true, true, false],
    [`${verify}RequireAndVerifyClientCert`, false, true, false],
    [`${verify}RequireAndVerifyClientCert\nclient_allowed_sans: [prometheus.example]`, false, true, false],
    [`${verify}RequireAndVerifyClientCert\nclient_allowed_sans: [x, "fd00:0:0::1"]`, false, true, false],
    [`${verify}RequireAndVerifyClientCert\nclient_allowed_sans: ["spiffe://a/b"]`, false, true, false],
    [`${verify}RequireAndVerifyClientCert\nclient_allowed_sans: [a@b.example]`, false, true, false],
    [`${verify}RequireAndVerifyClientCert\nclient_allowed_sans: [example, client, PROMETHEUS]`, false, false, false],
    ['client_auth_type: RequireAnyClientCert\nclient_allowed_sans: [prometheus.example]', false, true, true],
    ['client_auth_type: RequireAnyClientCert\nclient_allowed_sans: []', false, false, false],
  ] as const) {
    test(`client certificates, ${policy.replaceAll('\n', ', ')}`, async () => {
      const server = await start(withPolicy(policy));
      const takes = (offered: RequestOptions) =>
        fetchFrom(server, ca, offered).then(
          ({ status }) => status === 200,
          () => false,
        );
      const certificateOf = ({ cert, key }: Pair) => ({ cert, key });
      assert.deepEqual(
        { none: await takes({}), good: await takes(certificateOf(client)), bad: await takes(certificateOf(stranger)) },
        { none, good, bad },
      );
    });
  }

  test('a new certificate is served without a restart; while it is wrong, the last good one, with one log line', async () => {
    const first = makeCertificate(directory, 'first', ca, 'IP:127.0.0.1');
    const second = makeCertificate(directory, 'second', ca, 'IP:127.0.0.1');
    const { lines, logger } = recorder();
    writeFileSync(join(directory, 'live.crt'), first.cert);
    writeFileSync(join(directory, 'live.key'), first.key);
    const server = await start('tls_server_config:\n  cert_file: live.crt\n  key_file: live.key\n', { logger });
    const served = async () => (await fetchFrom(server, ca)).certificate?.subject.CN;
    assert.equal(await served(), 'first');

    writeConfig(second.cert, join(directory, 'live.crt'));
    lines.length = 0;
    assert.equal(await served(), 'first', 'the key does not belong to it yet');
    assert.equal(await served(), 'first');
    assert.equal(lines.length, 1);
    assert.equal(lines[0]?.[0], 'web config has become wrong; the last good one stays in use');
    assert.match(String(lines[0]?.[1].err), /live\.crt and key_file .*live\.key do not belong together/);

    writeConfig(second.key, join(directory, 'live.key'));
    assert.equal(await served(), 'second');
    rmSync(join(directory, 'live.key'));
    assert.equal(await served(), 'second');
    writeConfig(first.key, join(directory, 'live.key'));
    writeConfig(first.cert, join(directory, 'live.crt'));
    assert.equal(await served(), 'first');
  });

  test('a new policy holds from the next handshake on, resumed sessions included', async () => {
    const file = writeConfig(`tls_server_config:\n${serverPair}`);
    const server = await start(file);
    const opened = connectTls({ host: '127.0.0.1', port: portOf(server), ca: ca.cert });
    const [ticket] = await once(opened, 'session');
    opened.destroy();
    writeConfig(withPolicy(`${verify}RequireAndVerifyClientCert`), file);
    await assert.rejects(fetchFrom(server, ca));
    await assert.rejects(fetchFrom(server, ca, { session: ticket } as RequestOptions));
    assert.equal((await fetchFrom(server, ca, { cert: client.cert, key: client.key })).status, 200);
    // Back to none needs a restart.
    writeConfig(`tls_server_config:\n${serverPair}`, file);
    await assert.rejects(fetchFrom(server, ca));
  });

  test('a change between HTTP and HTTPS needs a restart', async () => {
    const file = writeConfig(`tls_server_config:\n${serverPair}`);
    const { lines, logger } = recorder();
    const server = await start(file, { logger });
    writeConfig('basic_auth_users: {}\n', file);
    assert.equal((await fetchFrom(server, ca)).status, 200);
    assert.equal(lines.at(-1)?.[1].lost, 'tls_server_config');
    assert.equal(lines.at(-1)?.[1].fix, 'restart virtlens if that is meant');
    const plainFile = writeConfig('{}\n');
    const plain = await start(plainFile, { logger });
    writeConfig(`tls_server_config:\n${serverPair}`, plainFile);
    assert.equal((await fetch(`http://127.0.0.1:${portOf(plain)}/metrics`)).status, 200);
    assert.match(String(lines.at(-1)?.[1].err), /a change from HTTP to HTTPS needs a restart$/);
  });

  for (const [title, config, code, message] of [
    [
      'a missing certificate',
      'tls_server_config:\n  cert_file: gone.crt\n  key_file: server.key\n',
      'ERR_WEB_CONFIG_UNREADABLE',
      /cannot read cert_file .*gone\.crt: it does not exist; name a file/,
    ],
    [
      'a certificate that is a directory',
      'tls_server_config:\n  cert_file: .\n  key_file: server.key\n',
      'ERR_WEB_CONFIG_UNREADABLE',
      /cannot read cert_file .*: it is a directory; name/,
    ],
    [
      "another one's key",
      'tls_server_config:\n  cert_file: server.crt\n  key_file: client.key\n',
      'ERR_WEB_CERTIFICATE_INVALID',
      /server\.crt and key_file .*client\.key do not belong together/,
    ],
    [
      'a certificate that is none',
      'tls_server_config:\n  cert_file: server.key\n  key_file: server.key\n',
      'ERR_WEB_CERTIFICATE_INVALID',
      /cannot be used \(.*\); write PEM files/,
    ],
    [
      'a CA that is none',
      `tls_server_config:\n${serverPair}  client_ca_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n`,
      'ERR_WEB_CERTIFICATE_INVALID',
      /client_ca_file holds no certificate/,
    ],
  ] as const) {
    test(`${title} is refused at the start, in one line`, async () => {
      await assert.rejects(start(config), { name: 'WebError', code, message });
      await assert.rejects(start(config), { message: /^[^\n]+$/ });
    });
  }
});

describe('users, headers and limits', () => {
  const plain = (server: WebServer, headers: Record<string, string> = {}, path = '/metrics') =>
    fetch(`http://127.0.0.1:${portOf(server)}${path}`, { headers });
  const hash = hashSync('s3cret:ü', 4);

  test('every path asks for a user; the right password passes, each time', async () => {
    const server = await start(`basic_auth_users:\n  alice: ${hash}\n  "böb": ${hashSync('', 4)}\n`);
    assert.equal(server.scheme, 'http');
    for (const path of ['/metrics', '/', '/-/healthy', '/-/ready', '/x']) {
      const answer = await plain(server, {}, path);
      assert.equal(answer.status, 401);
      assert.equal(answer.headers.get('www-authenticate'), 'Basic realm="virtlens", charset="UTF-8"');
    }
    for (const [user, password, status] of [
      ['alice', 's3cret:ü', 200],
      ['alice', 's3cret:ü', 200],
      ['alice', 's3cret', 401],
      ['alice', '', 401],
      ['ALICE', 's3cret:ü', 401],
      ['nobody', 's3cret:ü', 401],
      ['böb', '', 200],
      ['__proto__', '', 401],
    ] as const) {
      assert.equal((await plain(server, basic(user, password))).status, status, `${user} ${password}`);
    }
    for (const authorization of [
      'Basic',
      'Basic !',
      'Bearer x',
      'Basic YWxpY2U=',
      `Digest ${basic('alice', 's3cret:ü').authorization.slice(6)}`,
    ]) {
      assert.equal((await plain(server, { authorization })).status, 401, authorization);
    }
  });

  test('a changed file counts at the next request: users come and go', async () => {
    const file = writeConfig(`basic_auth_users:\n  alice: ${hash}\n`);
    const { lines, logger } = recorder();
    const server = await start(file, { logger });
    const status = async () => (await plain(server, basic('alice', 's3cret:ü'))).status;
    assert.equal(await status(), 200);
    writeConfig(`basic_auth_users:\n  bob: ${hash}\n`, file);
    assert.equal(await status(), 401);
    writeConfig('basic_auth_usres: {}\n', file);
    assert.equal(await status(), 401);
    assert.match(String(lines.at(-1)?.[1].err), /basic_auth_usres: is not known/);
    rmSync(file);
    assert.equal(await status(), 401);
    writeConfig(`basic_auth_users:\n  alice: ${hash}\n`, file);
    assert.equal(await status(), 200);
  });

  for (const text of ['', '{}\n', '# nothing\n', 'basic_auth_users:\n', 'rate_limit: { interval: 1s, burst: 9 }\n']) {
    test(`a file that becomes ${JSON.stringify(text)} does not switch authentication off`, async () => {
      const file = writeConfig(`basic_auth_users:\n  alice: ${hash}\n`);
      const { lines, logger } = recorder();
      const server = await start(file, { logger });
      // As a full disk leaves it: in place.
      writeFileSync(file, text);
      lines.length = 0;
      for (let count = 0; count < 3; count++) assert.equal((await plain(server)).status, 401);
      assert.equal((await plain(server, basic('alice', 's3cret:ü'))).status, 200);
      assert.deepEqual(lines, [
        [
          'web config asks clients for less than before; the last good one stays in use',
          { file, lost: 'basic_auth_users', fix: 'restart virtlens if that is meant' },
        ],
      ]);
      writeConfig(`basic_auth_users:\n  bob: ${hash}\n`, file);
      assert.equal((await plain(server, basic('bob', 's3cret:ü'))).status, 200);
    });
  }

  test('reload reads the files now, and logs what came of it', async () => {
    const file = writeConfig(`basic_auth_users:\n  alice: ${hash}\n`);
    const { lines, logger } = recorder();
    const server = await start(file, { logger });
    lines.length = 0;
    server.reload();
    writeFileSync(file, 'basic_auth_usres: {}\n');
    server.reload();
    writeFileSync(file, '');
    server.reload();
    assert.deepEqual(
      lines.map(([message]) => message),
      [
        'web config read again',
        'web config has become wrong; the last good one stays in use',
        'web config asks clients for less than before; the last good one stays in use',
      ],
    );
  });

  test('headers are in every answer, those that refuse too', async () => {
    const server = await start(
      `http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n    X-XSS-Protection: ""\nbasic_auth_users:\n  a: ${hash}\n`,
    );
    const answer = await plain(server);
    assert.equal(answer.status, 401);
    assert.equal(answer.headers.get('x-frame-options'), 'deny');
    assert.equal(answer.headers.get('strict-transport-security'), 'max-age=1');
    assert.equal(answer.headers.has('x-xss-protection'), false);
  });

  test('beyond the rate limit requests are 429 until time has passed', async () => {
    let nowMs = 0;
    const clock = { ...SYSTEM_CLOCK, monotonicMs: () => nowMs };
    const server = await start('rate_limit:\n  interval: 2s\n  burst: 2\n', { clock });
    const statuses = async (count: number) => {
      const found: number[] = [];
      for (let index = 0; index < count; index++) found.push((await plain(server)).status);
      return found;
    };
    assert.deepEqual(await statuses(3), [200, 200, 429]);
    assert.equal((await plain(server)).headers.get('retry-after'), '2');
    nowMs = 2000;
    assert.deepEqual(await statuses(2), [200, 429]);
    nowMs = 1_000_000;
    assert.deepEqual(await statuses(3), [200, 200, 429]);
  });

  test('a file that cannot be read is refused at the start', async () => {
    await assert.rejects(start(join(directory, 'gone.yml')), {
      code: 'ERR_WEB_CONFIG_UNREADABLE',
      message: `cannot read web config ${join(directory, 'gone.yml')}: it does not exist; name a file that this user can read`,
    });
    const secret = writeConfig('{}\n');
    chmodSync(secret, 0);
    // Root may read it all the same.
    if (process.getuid?.() !== 0)
      await assert.rejects(start(secret), { code: 'ERR_WEB_CONFIG_UNREADABLE', message: /permission denied/ });
  });
});
