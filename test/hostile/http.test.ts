// The built agent under attack over HTTP: it stays alive, serves another scraper in time and in full, and its memory and descriptors
// stay bounded.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type ClientRequestArgs, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { hashSync } from 'bcryptjs';
import { buildAgent } from '../../scripts/build.ts';
import { Agent, AgentProcess } from '../lab/agent.ts';
import { waitFor } from '../lab/cage.ts';
import { parseExposition } from '../lab/exposition.ts';
import { makeAuthority, makeCertificate, makeSelfSigned, opensslMissing } from '../support/certificates.ts';
import * as attacks from '../support/http-attacks.ts';

const VMS = 200;
const RESIDENT_MAX_BYTES = 160 << 20;
/** The connections that the server keeps, and what the agent has open besides. */
const DESCRIPTORS_MAX = 128 + 64;
/** Prometheus's own default is 10 s. */
const SCRAPE_MAX_MS = 5_000;
const HEALTH_MAX_MS = 2_000;
const ATTACK_MS = 1_000;
const STOP_MAX_MS = 7_000;
const PASSWORD = 'right';
const ATTACKER = '127.0.0.66';
const BYSTANDER = '127.0.0.2';

type AttackOf = (url: string, options: attacks.AttackOptions) => attacks.Attack;

let directory: string;
let main: string;
let simulator: AgentProcess;
let uri: string;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'virtlens-hostile-'));
  main = join(directory, 'virtlens.mjs');
  await buildAgent(main);
  const path = join(directory, 'sock');
  // A process of its own: this one is busy with the attacks.
  simulator = new AgentProcess(['sim', `--socket=${path}`, `--vms=${VMS}`], { main });
  await waitFor(
    () => existsSync(path) || undefined,
    () => `the simulator does not serve:\n${simulator.log}`,
    10_000,
  );
  uri = `qemu+unix:///system?socket=${path}`;
});
after(async () => {
  await simulator[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

const startAgent = (...args: string[]) => Agent.start([`--libvirt.uri=${uri}`, ...args], { main });

interface Reply {
  readonly status: number;
  readonly body: string;
  readonly tookMs: number;
}

/** One request on a connection of its own. */
function ask(url: string, options: ClientRequestArgs & { rejectUnauthorized?: boolean } = {}): Promise<Reply> {
  const startedMs = performance.now();
  const send = url.startsWith('https:') ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    send(url, { agent: false, localAddress: BYSTANDER, ...{ rejectUnauthorized: false }, ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => (body += part));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode!, body, tookMs: performance.now() - startedMs }));
    })
      .on('error', reject)
      .end();
  });
}

const auth = `prometheus:${PASSWORD}`;

/** A page that is whole: it parses, and no VM is missing. */
function checkPage(body: string): void {
  const page = parseExposition(body);
  assert.equal(page.get('libvirt_up')?.samples.size, 1);
  assert.equal(page.get('libvirt_domain_info_virtual_cpus')?.samples.size, VMS);
}

/** Lets an attack go on for a while, and holds the agent to its promises meanwhile and after it. */
async function withstand(context: TestContext, agent: Agent, start: AttackOf, options: attacks.AttackOptions = {}) {
  const attack = start(agent.url, { localAddress: ATTACKER, ...options });
  let residentBytes = 0;
  let descriptors = 0;
  let scrapeMs = 0;
  let healthMs = 0;
  const watch = setInterval(() => {
    residentBytes = Math.max(residentBytes, agent.residentBytes);
    descriptors = Math.max(descriptors, readdirSync(`/proc/${agent.pid}/fd`).length);
  }, 20);
  try {
    const endMs = performance.now() + ATTACK_MS;
    await new Promise((resolve) => setTimeout(resolve, 300));
    do {
      const [scrape, health] = await Promise.all([
        ask(`${agent.url}/metrics`, { auth }),
        ask(`${agent.url}/-/healthy`, { auth }),
      ]);
      assert.deepEqual([scrape.status, health.status], [200, 200], scrape.body.slice(0, 200));
      checkPage(scrape.body);
      scrapeMs = Math.max(scrapeMs, scrape.tookMs);
      healthMs = Math.max(healthMs, health.tookMs);
    } while (performance.now() < endMs);
  } finally {
    clearInterval(watch);
    attack.stop();
  }
  context.diagnostic(
    `scrape ${Math.round(scrapeMs)} ms, health ${Math.round(healthMs)} ms, ${residentBytes >> 20} MiB, ${descriptors} descriptors, ` +
      `${attack.endedByServer} connections ended, ${attack.bytesRead >> 20} MiB sent`,
  );
  assert.equal(agent.hasEnded, false);
  assert.ok(scrapeMs < SCRAPE_MAX_MS, `a scrape took ${scrapeMs} ms`);
  assert.ok(healthMs < HEALTH_MAX_MS, `a health check took ${healthMs} ms`);
  assert.ok(residentBytes < RESIDENT_MAX_BYTES, `the resident set reached ${residentBytes >> 20} MiB`);
  assert.ok(descriptors < DESCRIPTORS_MAX, `${descriptors} descriptors`);
  return attack;
}

/** Ends the agent while the attack goes on. */
async function stopUnder(context: TestContext, agent: Agent, start: AttackOf): Promise<void> {
  const attack = start(agent.url, { localAddress: ATTACKER });
  try {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const startedMs = performance.now();
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
    const tookMs = performance.now() - startedMs;
    context.diagnostic(`ended after ${Math.round(tookMs)} ms`);
    assert.ok(tookMs < STOP_MAX_MS, `it ended after ${tookMs} ms`);
  } finally {
    attack.stop();
  }
}

describe('plain HTTP', () => {
  let agent: Agent;
  before(async () => {
    agent = await startAgent();
  });
  after(() => agent[Symbol.asyncDispose]());

  for (const [title, start, options] of [
    ['1,500 pipelined requests on one connection that never reads', attacks.pipelineWithoutReading, { connections: 1 }],
    ['20 such connections', attacks.pipelineWithoutReading, { connections: 20 }],
    ['1,000 such connections', attacks.pipelineWithoutReading, { connections: 1_000 }],
    ['requests without an end on 20 connections', attacks.pipelineForever, {}],
    ['20 connections that read slowly', attacks.readSlowly, {}],
    ['headers that come slowly', attacks.sendHeadersSlowly, {}],
    ['bodies that come slowly', attacks.sendBodiesSlowly, {}],
    ['bodies that come fast', attacks.sendBodies, {}],
    ['headers without an end', attacks.sendHugeHeaders, {}],
    ['idle connections', attacks.leaveIdle, {}],
  ] as const) {
    it(`withstands ${title}`, async (context) => {
      await withstand(context, agent, start, options);
    });
  }

  it('serves a scraper at the address of the attacker too', async () => {
    const attack = attacks.pipelineWithoutReading(agent.url, { connections: 20, localAddress: BYSTANDER });
    try {
      await new Promise((resolve) => setTimeout(resolve, 300));
      const { status, body, tookMs } = await ask(`${agent.url}/metrics`);
      assert.equal(status, 200);
      checkPage(body);
      assert.ok(tookMs < 9_000, `it took ${tookMs} ms`);
    } finally {
      attack.stop();
    }
  });

  it('keeps 4,000 connections out, the longest idle first, and a busy one open', async () => {
    const kept = connect({ host: '127.0.0.1', port: Number(new URL(agent.url).port), localAddress: BYSTANDER });
    let sent = '';
    kept.setEncoding('utf8').on('data', (part: string) => (sent += part));
    const ended = once(kept, 'close');
    // A connection that has been used may be quiet for long.
    kept.write('GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(kept, 'data');
    sent = '';
    let opened = 0;
    for (let round = 0; round < 8; round++) {
      const sockets = Array.from({ length: 500 }, () =>
        connect({ host: '127.0.0.1', port: Number(new URL(agent.url).port), localAddress: ATTACKER }),
      );
      const settled = sockets.map(async (socket) => {
        socket.on('error', () => {});
        await Promise.race([once(socket, 'connect').then(() => opened++), once(socket, 'close')]).catch(() => {});
      });
      await Promise.all(settled);
      assert.ok(readdirSync(`/proc/${agent.pid}/fd`).length < DESCRIPTORS_MAX);
      for (const socket of sockets) socket.destroy();
    }
    assert.ok(opened > 3_500, `${opened} connections were opened`);
    kept.write('GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    await ended;
    assert.match(sent, /^HTTP\/1\.1 200 OK/, 'another client keeps its connection');
  });

  for (const [title, text, first] of [
    ['two lengths', 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', /^HTTP\/1\.1 400 /],
    [
      'a length and chunks',
      'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      /^HTTP\/1\.1 400 /,
    ],
    ['a space before the colon', 'GET / HTTP/1.1\r\nHost : x\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['a folded header', 'GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n', /^HTTP\/1\.1 (400|200) /],
    ['bare line feeds', 'GET / HTTP/1.1\nHost: x\n\n', /^HTTP\/1\.1 400 /],
    ['a NUL in a header', 'GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n', /^HTTP\/1\.1 400 /],
    [
      'a request hidden in a body',
      `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 43\r\n\r\n${'GET /metrics HTTP/1.1\r\nHost: smuggled\r\n\r\n'}`,
      /^HTTP\/1\.1 405 /,
    ],
    ['CONNECT', 'CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n', /^$/],
    ['TRACE', 'TRACE / HTTP/1.1\r\nHost: x\r\nCookie: secret\r\nConnection: close\r\n\r\n', /^HTTP\/1\.1 405 /],
    ['an expectation', 'GET / HTTP/1.1\r\nHost: x\r\nExpect: more\r\nConnection: close\r\n\r\n', /^HTTP\/1\.1 200 /],
    [
      'an expected body',
      'POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n',
      /^HTTP\/1\.1 405 /,
    ],
  ] as const) {
    it(`replies once, or not at all, to ${title}`, async () => {
      const socket = connect({ host: '127.0.0.1', port: Number(new URL(agent.url).port), localAddress: BYSTANDER });
      socket.on('error', () => {});
      let sent = '';
      socket.setEncoding('latin1').on('data', (part: string) => (sent += part));
      socket.write(text);
      await new Promise((resolve) => socket.once('close', resolve));
      assert.match(sent, first);
      assert.ok(sent.split('HTTP/1.1 ').length <= 2, 'one response');
      assert.ok(!sent.includes('smuggled') && !sent.includes('secret') && !sent.includes('libvirt_up'));
    });
  }

  it('is as small and quick after all this as before', async () => {
    const { status, body, tookMs } = await ask(`${agent.url}/metrics`);
    assert.equal(status, 200);
    checkPage(body);
    assert.ok(tookMs < 2_000);
    assert.ok(agent.residentBytes < RESIDENT_MAX_BYTES);
    // What is ended at its own side of the connection goes within a second.
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    const count = readdirSync(`/proc/${agent.pid}/fd`).length;
    assert.ok(count < 48, `${count} descriptors are left`);
  });

  it('ends in time at SIGTERM, whatever clients do', async (context) => {
    await stopUnder(context, agent, attacks.pipelineWithoutReading);
  });
});

describe('TLS and users', { skip: opensslMissing }, () => {
  let agent: Agent;
  before(async () => {
    const ca = makeAuthority(directory, 'ca');
    makeCertificate(directory, 'server', ca, 'IP:127.0.0.1');
    const file = join(directory, 'web.yml');
    const users = `basic_auth_users:\n  prometheus: ${hashSync(PASSWORD, 10)}\n`;
    writeFileSync(file, `tls_server_config: { cert_file: server.crt, key_file: server.key }\n${users}`);
    agent = await startAgent(`--web.config.file=${file}`);
    assert.equal((await ask(`${agent.url}/metrics`, { auth })).status, 200);
  });
  after(() => agent[Symbol.asyncDispose]());

  for (const [title, start] of [
    ['wrong passwords', attacks.guessPasswords],
    ['wrong passwords of clients that do not wait', attacks.guessAndLeave],
    ['pipelined requests that nobody reads the responses of', attacks.pipelineWithoutReading],
    ['half a handshake', attacks.leaveHandshakes],
    ['handshakes as fast as they go', attacks.floodHandshakes],
    ['idle connections', attacks.leaveIdle],
    ['HTTP/2 streams that are reset at once', attacks.resetStreams],
    ['HTTP/2 streams that are never read', attacks.stallStreams],
    ['HTTP/2 PING', attacks.floodPings],
    ['HTTP/2 SETTINGS', attacks.floodSettings],
    ['HTTP/2 headers without an end', attacks.continueForever],
    ['HTTP/2 bodies that nobody asked for', attacks.floodData],
  ] as const) {
    it(`withstands ${title}`, async (context) => {
      await withstand(context, agent, start);
    });
  }

  it('checks the password of a scraper that comes for the first time while others guess', async () => {
    const attack = attacks.guessPasswords(agent.url, { localAddress: ATTACKER });
    try {
      await new Promise((resolve) => setTimeout(resolve, 300));
      // Another spelling of the name is another user: it costs a comparison.
      const { status, tookMs } = await ask(`${agent.url}/metrics`, { auth: 'Prometheus:x' });
      assert.equal(status, 401);
      assert.ok(tookMs < 3_000, `it took ${tookMs} ms`);
    } finally {
      attack.stop();
    }
  });

  it('refuses renegotiation', async () => {
    const socket = connectTls({
      host: '127.0.0.1',
      port: Number(new URL(agent.url).port),
      localAddress: BYSTANDER,
      rejectUnauthorized: false,
      maxVersion: 'TLSv1.2',
    } as ConnectionOptions);
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const error = await new Promise((resolve) => {
      socket.renegotiate({ rejectUnauthorized: false }, resolve);
      socket.once('error', resolve);
    });
    assert.ok(error instanceof Error);
    socket.destroy();
  });

  it('ends in time at SIGTERM, whatever clients do', async (context) => {
    await stopUnder(context, agent, (url, options) => {
      const all = [
        attacks.stallStreams,
        attacks.leaveHandshakes,
        attacks.guessPasswords,
        attacks.pipelineWithoutReading,
      ].map((start) => start(url, { ...options, connections: 10 }));
      return { endedByServer: 0, bytesRead: 0, stop: () => all.forEach((attack) => void attack.stop()) };
    });
  });
});

describe('client certificates', { skip: opensslMissing }, () => {
  it('keep everybody out but those of the right authority, and cost no time', async () => {
    const ca = makeAuthority(directory, 'client-ca');
    makeCertificate(directory, 'server-2', ca, 'IP:127.0.0.1');
    const good = makeCertificate(directory, 'good', ca, 'DNS:prometheus.example');
    const expired = makeCertificate(directory, 'expired', ca, 'DNS:prometheus.example', { isExpired: true });
    const other = makeCertificate(directory, 'other', makeAuthority(directory, 'wrong-ca'), 'DNS:prometheus.example');
    const selfSigned = makeSelfSigned(directory, 'self-signed', 'DNS:prometheus.example');
    const manyNames = (count: number) => Array.from({ length: count }, (_, index) => `DNS:n${index}.example`).join();
    const many = makeCertificate(directory, 'many', ca, manyNames(2_000));
    const tooMany = makeCertificate(directory, 'too-many', ca, manyNames(20_000));
    const file = join(directory, 'client.yml');
    writeFileSync(
      file,
      `tls_server_config:
  cert_file: server-2.crt
  key_file: server-2.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: client-ca.crt
  client_allowed_sans: [prometheus.example]
`,
    );
    await using agent = await startAgent(`--web.config.file=${file}`);
    const statusWith = (pair: { cert: string; key: string } | undefined) =>
      ask(`${agent.url}/-/healthy`, { ...(pair && { cert: pair.cert, key: pair.key }) } as ClientRequestArgs).then(
        ({ status }) => status,
        () => 'refused',
      );
    for (let round = 0; round < 5; round++) {
      for (const pair of [undefined, expired, other, selfSigned, many, tooMany]) {
        assert.equal(await statusWith(pair), 'refused', pair?.certFile ?? 'none');
      }
    }
    const startedMs = performance.now();
    assert.equal(await statusWith(good), 200);
    assert.ok(performance.now() - startedMs < HEALTH_MAX_MS);
    assert.ok(agent.residentBytes < RESIDENT_MAX_BYTES);
    assert.ok(agent.logLines(/client refused/).length <= 6, 'a refusal is logged once');
  });
});
