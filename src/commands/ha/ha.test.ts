import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { TestMachine } from '../../../test/support/test-machine.ts';
import { VERSION } from '../../cli/version.ts';
import { DEFAULT_POLICY } from '../../ha/policy.ts';
import { readHaConfig } from './config.ts';
import { HA } from './ha.ts';

const dir = mkdtempSync(join(tmpdir(), 'virtlens-ha-'));
after(() => rmSync(dir, { recursive: true }));

const configOf = (argv: readonly string[], env: Record<string, string> = {}, hostname = 'Host-1.example.org') =>
  readHaConfig(['--libvirt.uri=test:///default', ...argv], { env, hostname });

it('has defaults that an operator expects', async () => {
  const { uri, ...rest } = await configOf([]);
  assert.equal(uri.text, 'test:///default');
  assert.deepEqual(rest, {
    policy: DEFAULT_POLICY,
    isDryRun: false,
    stateDir: '/var/lib/virtlens',
    queueMax: 4_096,
    parked: 'keep',
    nodeName: 'host-1.example.org',
    cluster: { group: 'kvm.cloud.sap', kubeconfig: undefined, context: undefined, timeoutMs: 10_000 },
    maintenance: 'none',
    qemuLogDir: '/var/log/libvirt/qemu',
    listenAddresses: [':9178'],
    webConfigFile: undefined,
    logLevel: 'info',
    logFormat: 'logfmt',
    notices: [],
  });
});

it('takes the name of the node from the flag, then NODE_NAME, then the host', async () => {
  const nodeOf = async (...options: Parameters<typeof configOf>) => (await configOf(...options)).nodeName;
  assert.equal(await nodeOf(['--node-name=a'], { NODE_NAME: 'b' }), 'a');
  assert.equal(await nodeOf([], { NODE_NAME: 'b' }), 'b');
  assert.equal(await nodeOf([], { NODE_NAME: '' }), 'host-1.example.org');
});

it("takes the state directory from the flag, then systemd's", async () => {
  const env = { STATE_DIRECTORY: '/var/lib/virtlens-ha' };
  assert.equal((await configOf([], env)).stateDir, '/var/lib/virtlens-ha');
  assert.equal((await configOf(['--state.dir=/srv/ha'], env)).stateDir, '/srv/ha');
});

it('puts the flags of the policy before its file', async () => {
  const file = join(dir, 'policy.yaml');
  writeFileSync(file, 'rules: {watchdog: log, agent: log}\nio-error: {count: 9, window: 1m}\n');
  const { policy } = await configOf([
    `--policy.file=${file}`,
    '--policy.rule=watchdog=ignore,panic=log',
    '--io-error.count=2',
  ]);
  assert.deepEqual(policy, {
    actions: { ...DEFAULT_POLICY.actions, watchdog: 'ignore', agent: 'log', panic: 'log' },
    ioError: { count: 2, windowMs: 60_000 },
  });
});

it('says in one line what is wrong with a command line, and ends with 1', async () => {
  const bad = join(dir, 'bad.yaml');
  writeFileSync(bad, 'rules: {panik: log}\n');
  const cases: readonly (readonly [argv: readonly string[], message: RegExp])[] = [
    [['--state.dri=x'], /unknown flag --state\.dri: did you mean --state\.dir\?/],
    [['--state.dir='], /--state\.dir is empty/],
    [['--policy.rule=panik=log'], /--policy\.rule cannot be "panik=log": there is no such rule; did you mean panic\?/],
    [[`--policy.file=${bad}`], /bad\.yaml: rules\.panik: is not known; did you mean panic\?/],
    [['--policy.file=/nonexistent'], /--policy\.file "\/nonexistent" cannot be read: it does not exist/],
    [['--io-error.count=0'], /--io-error\.count cannot be "0"/],
    [['--io-error.window=0'], /--io-error\.window is 0ms; the least that makes sense is 100ms/],
    [['--kubernetes.timeout=1ms'], /--kubernetes\.timeout is 1ms/],
    [['--kubernetes.group=kvm.cloud.sap/v1'], /--kubernetes\.group cannot be .* without the version/],
    [['--node-name=Node_1'], /--node-name \(or \$NODE_NAME\) cannot be "Node_1": the names of Kubernetes nodes/],
    [['--maintenance=manual'], /--maintenance cannot be "manual"/],
    [['--queue.max-entries=1'], /--queue\.max-entries cannot be "1"/],
    [['--web.listen-address=203.0.113.1:1', '--dry-run'], /cannot listen on "203\.0\.113\.1:1"/],
    [['--kubernetes.kubeconfig=/nonexistent', '--web.listen-address=127.0.0.1:0'], /\/nonexistent/],
  ];
  for (const [argv, message] of cases) {
    const machine = new TestMachine();
    assert.equal(
      await HA.run(['--libvirt.uri=test:///default', '--log.level=error', ...argv], machine),
      1,
      argv.join(' '),
    );
    assert.match(machine.stderr.text, /^virtlens ha: [^\n]*\n$/);
    assert.match(machine.stderr.text, message);
    assert.equal(machine.isReady, false);
  }
});

it('runs dry without a cluster and a state directory, with its pages', async () => {
  const machine = new TestMachine();
  const ended = HA.run(
    ['--libvirt.uri=test:///default', '--dry-run', '--state.dir=/nonexistent/x', '--web.listen-address=127.0.0.1:0'],
    machine,
  );
  const log = await machine.stderr.until(/msg="connected to libvirt"/);
  const url = `http://${/msg="Listening on" address=(\S+)/.exec(log)?.[1]}`;
  const get = async (path: string) => {
    const response = await fetch(url + path, { headers: { connection: 'close' } });
    return `${response.status} ${await response.text()}`;
  };
  assert.equal(await get('/-/healthy'), '200 healthy\n');
  let ready = await get('/-/ready');
  while (ready !== '200 ready\n') {
    assert.match(ready, /^503 not ready: (starting|there is no connection|libvirt has not said)/);
    ready = await get('/-/ready');
  }
  assert.equal(machine.isReady, true);
  const page = await get('/metrics');
  assert.match(page, /^virtlens_ha_libvirt_connected 1$/m);
  assert.match(page, new RegExp(`^virtlens_build_info\\{version="${VERSION.replaceAll('.', '\\.')}"`, 'm'));
  assert.doesNotMatch(page, /virtlens_ha_cluster|virtlens_ha_queue/);
  machine.signal('SIGTERM');
  assert.equal(await ended, 0);
});
