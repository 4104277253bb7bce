// What networks and servers do to the HA agent's calls: each one ends in time, says what to do, and shows no secret.
import assert from 'node:assert/strict';
import { getEventListeners, once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import { SYSTEM_CLOCK } from '../src/base/clock.ts';
import { type Cluster, ClusterError, type ClusterErrorKind } from '../src/ha/cluster.ts';
import { openCluster } from '../src/ha/kubernetes/open-cluster.ts';
import { REPLY_SIZE_MAX } from '../src/ha/kubernetes/transport.ts';
import { type Kubernetes, startKubernetes } from './lab/kubernetes/kubernetes.ts';
import { opensslMissing } from './support/certificates.ts';
import { FakeClock } from './support/fake-clock.ts';
import { until } from './support/until.ts';

const NODE = 'node-1';
/** Short, where the test waits for it; the calls of the others take as long as they take. */
const SHORT_MS = 300;
const LONG_MS = 60_000;

const never = new AbortController().signal;

describe('calls to a Kubernetes API server', { skip: opensslMissing }, () => {
  let kubernetes: Kubernetes;
  let cluster: Cluster;

  const open = (parts: { timeoutMs?: number; kubeconfig?: string } = {}) =>
    openCluster(
      {
        group: kubernetes.group,
        kubeconfig: kubernetes.kubeconfigPath,
        context: undefined,
        timeoutMs: LONG_MS,
        ...parts,
      },
      { env: {}, clock: SYSTEM_CLOCK },
    );

  /** The call fails like this, and nothing of the error has the token in it. */
  async function assertFails(
    promise: Promise<unknown>,
    kind: ClusterErrorKind,
    message: RegExp,
    status?: number,
  ): Promise<ClusterError> {
    const error = await promise.then(
      () => assert.fail('it succeeds'),
      (error) => error,
    );
    assert.ok(error instanceof ClusterError, inspect(error));
    assert.equal(error.kind, kind, error.message);
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /[\r\n]/);
    assert.equal(error.status, status);
    assert.ok(!inspect(error, { depth: 10, showHidden: true }).includes(kubernetes.token), 'the error holds the token');
    return error;
  }

  before(async () => {
    kubernetes = await startKubernetes({ real: false });
    cluster = await open();
    await kubernetes.createHypervisor(NODE);
  });
  after(async () => await kubernetes?.stop());

  it('end by their own deadline when the server is silent, and work again when it is back', async () => {
    const impatient = await open({ timeoutMs: SHORT_MS });
    await kubernetes.cut('hang');
    await assertFails(
      impatient.readHypervisor(NODE, never),
      'retry',
      /get hypervisors\/node-1: no reply in 0\.3 s \(https:/,
    );
    await kubernetes.restore();
    assert.equal((await cluster.readHypervisor(NODE, never))?.name, NODE);
  });

  it('end when a connection that is in use falls silent', async () => {
    const impatient = await open({ timeoutMs: SHORT_MS });
    await cluster.readHypervisor(NODE, never);
    kubernetes.slow(LONG_MS);
    await assertFails(impatient.readHypervisor(NODE, never), 'retry', /no reply in 0\.3 s/);
    kubernetes.slow(0);
    assert.equal((await impatient.readHypervisor(NODE, never))?.name, NODE);
  });

  it('end at once by the signal of the caller', async () => {
    await kubernetes.cut('hang');
    const stop = new AbortController();
    const calls = kubernetes.calls.length;
    const call = cluster.readHypervisor(NODE, stop.signal);
    setImmediate(() => stop.abort());
    await assertFails(call, 'retry', /given up, because the agent stops/);
    await assertFails(cluster.readHypervisor(NODE, AbortSignal.abort()), 'retry', /the agent stops/);
    await kubernetes.restore();
    assert.equal(kubernetes.calls.length, calls);
  });

  it('leave nothing on the signal of the caller', async () => {
    const stop = new AbortController();
    for (let round = 0; round < 3; round++) await cluster.readHypervisor(NODE, stop.signal);
    assert.equal(getEventListeners(stop.signal, 'abort').length, 0);
  });

  it('say that nobody listens or that connections are reset, and work again afterwards', async () => {
    await kubernetes.cut('refuse');
    await assertFails(
      cluster.listEvictions(NODE, never),
      'retry',
      /connection refused; check that the API server runs/,
    );
    await kubernetes.restore();
    await cluster.listEvictions(NODE, never);
    await kubernetes.cut('reset');
    await assertFails(cluster.listEvictions(NODE, never), 'retry', /closed by the other side/);
    await kubernetes.restore();
    await cluster.listEvictions(NODE, never);
  });

  it('are sorted by the status of the reply', async () => {
    const table: readonly (readonly [number, ClusterErrorKind, RegExp])[] = [
      [400, 'never', /400/],
      [401, 'retry', /renew the token/],
      [403, 'refused', /grant it/],
      [404, 'refused', /--kubernetes\.group/],
      [409, 'retry', /409/],
      [422, 'never', /422/],
      [429, 'retry', /429/],
      [500, 'retry', /500/],
      [503, 'retry', /503/],
      [504, 'retry', /504/],
    ];
    for (const [status, kind, message] of table) {
      // A 401 is tried once more with credentials that are read again.
      kubernetes.failNext(status === 401 ? 2 : 1, { status, headers: { 'retry-after': '7' } });
      const error = await assertFails(cluster.listEvictions(NODE, never), kind, message, status);
      assert.equal(error.retryAfterMs, 7_000);
    }
    await cluster.listEvictions(NODE, never);
  });

  it('find an Eviction that was created though the reply was lost', async () => {
    const owner = (await cluster.readHypervisor(NODE, never))!;
    const eviction = { name: 'lost', labels: {}, annotations: {}, owner, hypervisor: NODE, reason: 'r' };
    kubernetes.failNext(1, { status: 504, isAfterwards: true });
    await assertFails(cluster.createEviction(eviction, never), 'retry', /504/, 504);
    assert.equal(await cluster.createEviction(eviction, never), 'exists');
  });

  it('begin a list again whose next page has expired', async () => {
    for (let index = 0; index < 150; index++) {
      await kubernetes.createEviction(`page-${index}`, { spec: { hypervisor: 'node-2', reason: 'r' } });
    }
    const isNext = ({ path }: { path: string }) => path.includes('continue=');
    kubernetes.failNext(1, { status: 410, reason: 'Expired' }, isNext);
    const names = (await cluster.listEvictions('node-2', never)).map(({ name }) => name);
    assert.equal(names.filter((name) => name.startsWith('page-')).length, 150);
    assert.equal(new Set(names).size, names.length);
    kubernetes.failNext(1, { status: 410, reason: 'Expired' }, ({ path }) => !isNext({ path }));
    await assertFails(cluster.listEvictions(NODE, never), 'retry', /410/, 410);
  });

  it('do not take the reply of something else for an object', async () => {
    const bodies = {
      'a page of a portal': '<html>Please log in</html>',
      nothing: '',
      'another kind': '{"kind":"Eviction","metadata":{"name":"node-1"}}',
      'another name': '{"kind":"Hypervisor","metadata":{"name":"node-2"}}',
      'half of a reply': '{"kind":"Hypervisor","metadata":',
      null: 'null',
    };
    for (const [what, body] of Object.entries(bodies)) {
      kubernetes.failNext(1, { status: 200, body });
      await assertFails(cluster.readHypervisor(NODE, never), 'retry', /the reply is (no Hypervisor|not what)/).catch(
        (error) => assert.fail(`${what}: ${error.message}`),
      );
      kubernetes.failNext(1, { status: 200, body });
      await assertFails(cluster.listEvictions(NODE, never), 'retry', /the reply is (no list|not what)/);
    }
    kubernetes.failNext(1, { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } });
    await assertFails(cluster.readHypervisor(NODE, never), 'retry', /the reply is no Hypervisor/);
  });

  it('do not follow a redirect with the token', async () => {
    const requests: string[] = [];
    await using thief = await serve((request, response) => {
      requests.push(request.url ?? '');
      response.end('{}');
    });
    kubernetes.failNext(1, { status: 307, headers: { location: `${thief.url}/apis` } });
    await assertFails(cluster.listEvictions(NODE, never), 'retry', /a redirect to http:.* is not followed/, 307);
    assert.deepEqual(requests, []);
  });

  describe('of a server that means harm', () => {
    const openAt = (url: string, timeoutMs = LONG_MS) =>
      open({
        timeoutMs,
        kubeconfig: kubernetes.writeKubeconfig('elsewhere', {
          cluster: { server: url, 'insecure-skip-tls-verify': true },
        }),
      });

    it('end when a reply is larger than they take, and read no more of it', async () => {
      let sent = 0;
      let isClosed = false;
      await using server = await serve((_, response) => {
        const chunk = Buffer.alloc(1024 * 1024, 'x');
        const fill = () => {
          while (!isClosed && response.write(chunk)) sent += chunk.length;
          sent += chunk.length;
        };
        response.on('drain', fill).on('close', () => {
          isClosed = true;
        });
        response.writeHead(200, { 'content-type': 'application/json' });
        fill();
      });
      await assertFails((await openAt(server.url)).listEvictions(NODE, never), 'retry', /has more than 16777216 bytes/);
      assert.ok(sent < 2 * REPLY_SIZE_MAX, `${sent} bytes were sent`);
    });

    it('end by the deadline when a reply comes byte by byte', async () => {
      await using server = await serve((_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const timer = setInterval(() => response.write(' '), 10);
        response.once('close', () => clearInterval(timer));
      });
      await assertFails((await openAt(server.url, SHORT_MS)).listEvictions(NODE, never), 'retry', /no reply in 0\.3 s/);
    });

    it('end when the connection is closed within the reply or before it', async () => {
      await using server = await serve((request, response) => {
        if (request.url?.includes('evictions') !== true) return void response.destroy();
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
        response.write('{"kind":', () => response.destroy());
      });
      const there = await openAt(server.url);
      await assertFails(there.listEvictions(NODE, never), 'retry', /list evictions: .*(closed|aborted)/);
      await assertFails(there.readHypervisor(NODE, never), 'retry', /closed by the other side/);
    });

    it('end when a list goes in a circle', async () => {
      await using server = await serve((_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end('{"kind":"EvictionList","items":[],"metadata":{"continue":"x"}}');
      });
      await assertFails((await openAt(server.url)).listEvictions(NODE, never), 'retry', /the list does not end/);
    });

    it('use one connection again, and connect anew when the server has closed it', async () => {
      const sockets = new Set<Socket>();
      let mayAnswerAgain = true;
      await using server = await serve((request, response) => {
        const isKnown = sockets.has(request.socket);
        sockets.add(request.socket);
        // As if it had closed the idle connection at the moment at which the request was sent.
        if (isKnown && !mayAnswerAgain) return void request.socket.resetAndDestroy();
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(`{"kind":"Hypervisor","metadata":{"name":"${NODE}"}}`);
      });
      const there = await openAt(server.url);
      for (let round = 0; round < 5; round++) assert.ok(await there.readHypervisor(NODE, never));
      assert.equal(sockets.size, 1);
      await Promise.all([1, 2, 3].map(() => there.readHypervisor(NODE, never)));
      assert.equal(sockets.size, 3);
      mayAnswerAgain = false;
      assert.ok(await there.readHypervisor(NODE, never));
      assert.equal(sockets.size, 4);
    });
  });

  it('wait no longer for a program that makes credentials than for the server', async () => {
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'sleep', args: ['3'] };
    const kubeconfig = kubernetes.writeKubeconfig('hanging-exec', { user: { token: undefined, exec } });
    const impatient = await open({ timeoutMs: SHORT_MS, kubeconfig });
    await assertFails(impatient.listEvictions(NODE, never), 'retry', /no reply in 0\.3 s/);
  });

  describe('with a clock that is told to move', () => {
    it('end by the deadline, not before', async () => {
      const clock = new FakeClock();
      const options = { group: kubernetes.group, kubeconfig: kubernetes.kubeconfigPath, context: undefined };
      const patient = await openCluster({ ...options, timeoutMs: 10_000 }, { env: {}, clock });
      await kubernetes.cut('hang');
      const call = patient.listEvictions(NODE, never);
      const failed = assertFails(call, 'retry', /no reply in 10 s/);
      await until(() => clock.pending === 1, 'the call has its deadline');
      assert.equal(clock.fireNext(11_000 - 1), false);
      assert.equal(clock.fireNext(11_000), true);
      await failed;
      await kubernetes.restore();
      await patient.listEvictions(NODE, never);
      assert.equal(clock.pending, 0, 'timers of calls that have ended are left');
    });
  });
});

/** A server without TLS on a port of its own. */
async function serve(listener: RequestListener): Promise<AsyncDisposable & { readonly url: string }> {
  const server: Server = createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
