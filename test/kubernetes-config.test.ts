// How the HA agent finds the API server and proves who it is: kubeconfig files, a pod's service account, TLS, proxies, and credentials
// that change while it runs.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { inspect } from 'node:util';
import { type Clock, SYSTEM_CLOCK } from '../src/base/clock.ts';
import { type Cluster, ClusterConfigError, ClusterError } from '../src/ha/cluster.ts';
import { openCluster } from '../src/ha/kubernetes/open-cluster.ts';
import { AGENT_USER, type Kubernetes, startKubernetes } from './lab/kubernetes/kubernetes.ts';
import { makeAuthority, makeCertificate, makeSelfSigned, opensslMissing } from './support/certificates.ts';
import { FakeClock } from './support/fake-clock.ts';

const NODE = 'node-1';
const { signal } = new AbortController();
const MINUTE_MS = 60_000;

describe('the configuration of a Kubernetes cluster', { skip: opensslMissing }, () => {
  let kubernetes: Kubernetes;
  let dir: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'virtlens-kubeconfig-'));
    kubernetes = await startKubernetes({ real: false });
    await kubernetes.createHypervisor(NODE);
  });
  after(async () => {
    await kubernetes?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  interface Opening {
    readonly kubeconfig?: string;
    readonly context?: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly serviceAccountDir?: string;
    readonly clock?: Clock;
  }
  const open = ({
    kubeconfig,
    context,
    env = {},
    serviceAccountDir,
    clock = SYSTEM_CLOCK,
  }: Opening): Promise<Cluster> =>
    openCluster(
      { group: kubernetes.group, kubeconfig, context, timeoutMs: MINUTE_MS },
      { env, clock, ...(serviceAccountDir === undefined ? {} : { serviceAccountDir }) },
    );
  const write = (name: string, text: string) => {
    const path = join(dir, name);
    writeFileSync(path, text);
    return path;
  };
  const assertWorks = async (cluster: Cluster) =>
    assert.equal((await cluster.readHypervisor(NODE, signal))?.name, NODE);
  const lastCall = () => kubernetes.calls.at(-1)!;

  async function assertRefused(opening: Opening, message: RegExp): Promise<void> {
    await assert.rejects(open(opening), (error) => {
      assert.ok(error instanceof ClusterConfigError, inspect(error));
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /[\r\n]/);
      assert.ok(
        !inspect(error, { depth: 10, showHidden: true }).includes(kubernetes.token),
        'the error holds the token',
      );
      return true;
    });
  }

  async function assertUnreachable(cluster: Cluster, message: RegExp): Promise<void> {
    await assert.rejects(cluster.readHypervisor(NODE, signal), (error) => {
      assert.ok(error instanceof ClusterError, inspect(error));
      assert.deepEqual([error.kind, error.status], ['retry', undefined]);
      assert.match(error.message, message);
      return true;
    });
  }

  describe('as a kubeconfig', () => {
    it('is refused with the file and the fix when it is no kubeconfig', async () => {
      await assertRefused({ kubeconfig: '/no/such/file' }, /^\/no\/such\/file: cannot be read: it does not exist$/);
      await assertRefused({ kubeconfig: dir }, /cannot be read: it is a directory/);
      await assertRefused({ kubeconfig: write('empty', '') }, /empty: is no kubeconfig: it holds no keys and values/);
      await assertRefused({ kubeconfig: write('list', '- a\n') }, /is no kubeconfig/);
      await assertRefused({ kubeconfig: write('broken', 'a: [1\nb: "') }, /is no kubeconfig/);
      await assertRefused({ kubeconfig: write('bytes', '\u0000\u0001') }, /is no kubeconfig/);
      await assertRefused({ kubeconfig: write('other', 'a: 1\n') }, /no context is current; .*\(it has none\)/);
      const nameless = kubernetes.writeKubeconfig('nameless', { clusters: [{ cluster: {} }] } as object);
      await assertRefused({ kubeconfig: nameless }, /clusters\[0\]\.name is missing/);
    });

    it('is refused when what it names is not there', async () => {
      const named = (name: string, parts: object) => ({ kubeconfig: kubernetes.writeKubeconfig(name, parts) });
      await assertRefused(
        named('no-current', { 'current-context': '' }),
        /no context is current; give --kubernetes\.context=NAME \(it has "lab"\)/,
      );
      await assertRefused(
        { ...named('context', {}), context: 'lap' },
        /--kubernetes\.context=lap; did you mean "lab"\?/,
      );
      await assertRefused(named('wrong', { 'current-context': 'x' }), /the current context "x"; it has "lab"/);
      const context = (parts: object) => ({
        contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'lab', ...parts } }],
      });
      await assertRefused(named('no-cluster', context({ cluster: 'x' })), /context "lab": there is no cluster "x"/);
      await assertRefused(named('no-user', context({ user: 'x' })), /context "lab": there is no user "x"/);
      await assertRefused(named('userless', context({ user: undefined })), /context "lab": there is no user/);
    });

    it('is refused when the server is no URL, or one over which the token could be read', async () => {
      const named = (server: string) => ({ kubeconfig: kubernetes.writeKubeconfig('server', { cluster: { server } }) });
      await assertRefused(named('10.0.0.1:6443'), /cluster "lab": server must be an URL/);
      await assertRefused(named('ftp://x'), /server must be an URL/);
      await assertRefused(
        named('http://127.0.0.1:8080'),
        /server is http:\/\/, .*use https:\/\/, or set insecure-skip-tls-verify/,
      );
    });

    it('is refused with the file when a certificate, a key or a token cannot be used', async () => {
      const cluster = (parts: object) => ({ kubeconfig: kubernetes.writeKubeconfig('ca', { cluster: parts }) });
      const user = (parts: object) => ({ kubeconfig: kubernetes.writeKubeconfig('user', { user: parts }) });
      await assertRefused(
        cluster({ 'certificate-authority': '/no/ca.crt' }),
        /certificate-authority \/no\/ca\.crt cannot be read: it does not exist/,
      );
      const garbage = write('garbage.crt', 'no certificate');
      await assertRefused(
        cluster({ 'certificate-authority': garbage }),
        /cluster "lab": certificate-authority .*garbage\.crt holds no certificate in PEM/,
      );
      const damaged = readFileSync(kubernetes.certificates.caCert, 'utf8').replace(
        /\n[A-Za-z0-9+/]{20}/,
        '\nAAAAAAAAAAAAAAAAAAAA',
      );
      await assertRefused(
        cluster({ 'certificate-authority': write('damaged.crt', damaged) }),
        /damaged\.crt holds no valid certificate/,
      );
      const data = { 'certificate-authority': undefined, 'certificate-authority-data': 'AAAA' };
      await assertRefused(cluster(data), /certificate-authority-data holds no certificate/);

      const authority = makeAuthority(dir, 'clients');
      const expired = makeCertificate(dir, 'expired', authority, 'DNS:agent', { isExpired: true });
      const pair = { 'client-certificate': expired.certFile, 'client-key': expired.keyFile };
      await assertRefused(user(pair), /user "lab": client-certificate .*expired\.crt has expired on 20.*; renew it/);
      await assertRefused(user({ 'client-certificate': expired.certFile }), /has no client-key beside it/);
      await assertRefused(user({ ...pair, 'client-key': '/no/key' }), /client-key \/no\/key cannot be read/);
      await assertRefused(user({ tokenFile: '/no/token' }), /the token \/no\/token cannot be read: it does not exist/);
      await assertRefused(user({ tokenFile: write('empty-token', '\n') }), /empty-token is empty/);
    });

    it('is found by KUBECONFIG, of which the first file that says a thing wins', async () => {
      const good = kubernetes.kubeconfigPath;
      await assertWorks(await open({ env: { KUBECONFIG: good } }));
      await assertWorks(await open({ env: { KUBECONFIG: `/no/such/file:${good}` } }));
      const other = write(
        'other-context',
        JSON.stringify({ 'current-context': 'other', contexts: [], clusters: [], users: [] }),
      );
      await assertWorks(await open({ env: { KUBECONFIG: `${good}:${other}` } }));
      await assertRefused({ env: { KUBECONFIG: `${other}:${good}` } }, /the current context "other"; it has "lab"/);
      await assertWorks(await open({ env: { KUBECONFIG: `${other}:${good}` }, context: 'lab' }));
      await assertRefused(
        { env: { KUBECONFIG: '/no/a:/no/b' } },
        /^KUBECONFIG=\/no\/a:\/no\/b: none of these files exists$/,
      );
    });

    it('names the server without a password', async () => {
      const server = kubernetes.server.replace('https://', 'https://user:secret@');
      const cluster = await open({ kubeconfig: kubernetes.writeKubeconfig('password', { cluster: { server } }) });
      assert.equal(cluster.server, kubernetes.server);
    });
  });

  it('is the service account in a pod', async () => {
    const serviceAccountDir = join(dir, 'serviceaccount');
    mkdirSync(serviceAccountDir);
    writeFileSync(join(serviceAccountDir, 'token'), `${kubernetes.token}\n`);
    writeFileSync(join(serviceAccountDir, 'ca.crt'), readFileSync(kubernetes.certificates.caCert));
    const { hostname, port } = new URL(kubernetes.server);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    await assertWorks(await open({ env, serviceAccountDir }));
    rmSync(join(serviceAccountDir, 'ca.crt'));
    await assertRefused({ env, serviceAccountDir }, /serviceaccount: certificate-authority .*ca\.crt cannot be read/);
    await assertRefused({ env, serviceAccountDir: '/no/account' }, /^\/no\/account: /);
  });

  describe('about TLS', () => {
    const withCluster = (parts: object) => open({ kubeconfig: kubernetes.writeKubeconfig('tls', { cluster: parts }) });

    it('does not trust a server whose authority is another one or not known, unless it is told not to look', async () => {
      const other = makeAuthority(dir, 'other').certFile;
      await assertUnreachable(
        await withCluster({ 'certificate-authority': other }),
        /set certificate-authority in the kubeconfig/,
      );
      const without = { 'certificate-authority': undefined };
      await assertUnreachable(await withCluster(without), /set certificate-authority in the kubeconfig/);
      await assertWorks(await withCluster({ ...without, 'insecure-skip-tls-verify': true }));
      const data = readFileSync(kubernetes.certificates.caCert).toString('base64');
      await assertWorks(await withCluster({ ...without, 'certificate-authority-data': data }));
    });

    it('expects the name of tls-server-name', async () => {
      await assertWorks(await withCluster({ 'tls-server-name': 'localhost' }));
      await assertUnreachable(await withCluster({ 'tls-server-name': 'api.example' }), /tls-server-name/);
    });

    it("says so when the server's certificate has expired or is its own authority", async () => {
      const authority = makeAuthority(dir, 'servers');
      const expired = makeCertificate(dir, 'expired-server', authority, 'IP:127.0.0.1', { isExpired: true });
      const selfSigned = makeSelfSigned(dir, 'self', 'IP:127.0.0.1');
      for (const [pair, message] of [
        [expired, /certificate has expired; renew the API server's certificate/],
        [selfSigned, /set certificate-authority/],
      ] as const) {
        const server = createHttpsServer({ cert: pair.cert, key: pair.key }, (_, response) => void response.end('{}'));
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
        await assertUnreachable(
          await withCluster({ server: url, 'certificate-authority': authority.certFile }),
          message,
        );
        server.close();
      }
    });

    it('shows a client certificate, and a new one after it was renewed', async () => {
      const authority = makeAuthority(dir, 'agents');
      const [first, second] = ['agent-1', 'agent-2'].map((name) => makeCertificate(dir, name, authority, 'DNS:agent'));
      const [cert, key] = [join(dir, 'current.crt'), join(dir, 'current.key')];
      const renew = (pair: typeof first) => {
        writeFileSync(cert, pair!.cert);
        writeFileSync(key, pair!.key);
      };
      renew(first);
      const user = { 'client-certificate': cert, 'client-key': key };
      const clock = new FakeClock();
      const cluster = await open({
        kubeconfig: kubernetes.writeKubeconfig('client', { user }),
        clock: withTime(clock),
      });
      await assertWorks(cluster);
      assert.equal(lastCall().certificateName, 'agent-1');
      renew(second);
      clock.moveTo(clock.monotonicMs() + MINUTE_MS);
      await assertWorks(cluster);
      assert.equal(lastCall().certificateName, 'agent-2');
    });

    it('goes through the proxy of proxy-url', async () => {
      const targets: string[] = [];
      const proxy = createServer();
      proxy.on('connect', (request, socket) => {
        targets.push(request.url ?? '');
        const { hostname, port } = new URL(`http://${request.url}`);
        const upstream = connect(Number(port), hostname, () => {
          socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
          upstream.pipe(socket).pipe(upstream);
        });
        upstream.on('error', () => socket.destroy());
        socket.on('error', () => upstream.destroy());
      });
      proxy.listen(0, '127.0.0.1');
      await once(proxy, 'listening');
      const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
      await assertWorks(await withCluster({ 'proxy-url': url }));
      assert.deepEqual(targets, [new URL(kubernetes.server).host]);
      proxy.close();
      proxy.closeAllConnections();
    });
  });

  describe('that changes while the agent runs', () => {
    it('brings a rotated token within a minute, and at once when the old one is refused', async () => {
      const tokenFile = write('token', `${kubernetes.token}\n`);
      // A path that is relative to the kubeconfig, as kubectl takes it.
      const kubeconfig = write(
        'rotating',
        readFileSync(
          kubernetes.writeKubeconfig('rotating', { user: { token: undefined, tokenFile: 'token' } }),
          'utf8',
        ),
      );
      const clock = new FakeClock();
      const cluster = await open({ kubeconfig, clock: withTime(clock) });
      await assertWorks(cluster);
      assert.equal(lastCall().authorization, `Bearer ${kubernetes.token}`);

      kubernetes.standIn.users.set('second', AGENT_USER).set('third', AGENT_USER);
      writeFileSync(tokenFile, 'second\n');
      clock.moveTo(clock.monotonicMs() + MINUTE_MS);
      await assertWorks(cluster);
      assert.equal(lastCall().authorization, 'Bearer second');

      writeFileSync(tokenFile, 'third\n');
      kubernetes.standIn.users.delete('second');
      const calls = kubernetes.calls.length;
      await assertWorks(cluster);
      const seen = kubernetes.calls.slice(calls).map(({ authorization, status }) => [authorization, status]);
      assert.deepEqual(seen, [
        ['Bearer second', 401],
        ['Bearer third', 200],
      ]);
    });

    it('stays what it was while it cannot be read', async () => {
      const kubeconfig = write('going', readFileSync(kubernetes.kubeconfigPath, 'utf8'));
      const clock = new FakeClock();
      const cluster = await open({ kubeconfig, clock: withTime(clock) });
      rmSync(kubeconfig);
      clock.moveTo(clock.monotonicMs() + MINUTE_MS);
      await assertWorks(cluster);
      write('going', 'half of a ki');
      clock.moveTo(clock.monotonicMs() + MINUTE_MS);
      await assertWorks(cluster);
    });

    it('runs a program for credentials, again when they are refused, and says what it says when it fails', async () => {
      const counter = join(dir, 'runs');
      const program = write(
        'credentials.sh',
        `#!/bin/sh
echo run >>${counter}
token=$(cat ${join(dir, 'exec-token')})
[ -n "$token" ] || { echo "no login; run the login program" >&2; exit 1; }
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"'$token'"}}'
`,
      );
      const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: '/bin/sh', args: [program] };
      const kubeconfig = kubernetes.writeKubeconfig('exec', { user: { token: undefined, exec } });
      kubernetes.standIn.users.set('exec-1', AGENT_USER).set('exec-2', AGENT_USER);
      write('exec-token', 'exec-1');
      const cluster = await open({ kubeconfig });
      for (let round = 0; round < 3; round++) await assertWorks(cluster);
      assert.equal(readFileSync(counter, 'utf8'), 'run\n');
      write('exec-token', 'exec-2');
      kubernetes.standIn.users.delete('exec-1');
      await assertWorks(cluster);
      assert.equal(lastCall().authorization, 'Bearer exec-2');
      write('exec-token', '');
      kubernetes.standIn.users.delete('exec-2');
      await assertUnreachable(cluster, /no login; run the login program/);
    });
  });
});

/** A clock whose monotonic time is told, and whose wall clock is the machine's: certificates are of today. */
function withTime(clock: FakeClock): Clock {
  return {
    wallMs: () => Date.now(),
    monotonicMs: () => clock.monotonicMs(),
    schedule: (delayMs, callback) => clock.schedule(delayMs, callback),
  };
}
