// What users get wrong: one line that names it and the fix; exit code 1 when it can never work, else the agent stays and retries.
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Agent, AgentProcess, runAgent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { parseSeries } from './lab/exposition.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { findFreePort } from './lab/ports.ts';
import { type Sshd, startSshd } from './lab/sshd.ts';

/** Must end at once with exit code 1 and exactly one line, which matches. */
async function assertRefused(args: readonly string[], ...patterns: readonly RegExp[]): Promise<void> {
  const { code, stdout, stderr } = await runAgent(args);
  const lines = stderr.split('\n').filter((line) => !line.includes('msg="Listening on"'));
  assert.equal(lines.length, 2, `one line:\n${stderr}`);
  assert.match(lines[0]!, /^virtlens: /);
  for (const pattern of patterns) assert.match(lines[0]!, pattern);
  assert.equal(stdout, '');
  assert.equal(code, 1);
}

/** Must stay, say once what is wrong, and serve libvirt_up 0. */
async function assertRetries(uri: string, ...patterns: readonly RegExp[]): Promise<void> {
  await using agent = await Agent.start([`--libvirt.uri=${uri}`]);
  for (let scrape = 0; scrape < 2; scrape++) {
    const series = parseSeries(await agent.metrics({ 'X-Prometheus-Scrape-Timeout-Seconds': '5' }));
    assert.equal(series.get('libvirt_up[]'), '0');
  }
  const complaints = agent.logLines(/level=(?!INFO)/);
  assert.equal(complaints.length, 1, agent.log);
  for (const pattern of patterns) assert.match(complaints[0]!, pattern);
  assert.doesNotMatch(agent.log, /^\s+at /m);
  assert.deepEqual(await agent.stop(), { code: 0, signal: null });
}

describe('a command line that cannot work', { concurrency: 2 }, () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'virtlens-bad-'));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const cases: readonly (readonly [argument: string, ...patterns: RegExp[]])[] = [
    ['--bogus', /--bogus/, /--help/],
    ['--web.listen-adress=:1', /--web\.listen-adress/, /did you mean --web\.listen-address/],
    ['-x', /-x/],
    ['stray', /'stray'/, /serve, nova, telegraf, pve, ha, logs, events, sim/],
    ['--libvirt.uri', /--libvirt\.uri needs a value/],
    ['--libvirt.uri=', /empty/, /qemu:\/\/\/system/],
    ['--libvirt.uri=localhost', /'localhost'/, /qemu:\/\/\/system/],
    ['--libvirt.uri=qemu+udp:///system', /'udp'/, /unix, tcp, tls or ssh/],
    ['--libvirt.uri=qemu+tcp://host:99999/system', /99999/, /65535/],
    ['--libvirt.uri=qemu+tcp://host/', /path/, /\/system/],
    ['--libvirt.uri=qemu+tls://host/system?no_verfy=1', /'no_verfy'/],
    ['--libvirt.uri=esx://host/', /'esx'/],
    ['--schema=kumina,grafana', /--schema/, /"grafana"/, /kumina, debian, tinkoff/],
    ['--domains.include=web(', /--domains\.include/, /"web\("/, /nterminated group/],
    ['--domains.exclude=a)(b', /--domains\.exclude/, /"a\)\(b"/],
    ['--collect.timeout=5', /--collect\.timeout/, /"5"/, /10s/],
    ['--collect.interval=0s', /--collect\.interval/, /100ms/],
    ['--log.level=loud', /--log\.level/, /"loud"/, /debug, info, warn, error/],
    ['--log.format=xml', /--log\.format/, /logfmt, json/],
    ['--collector.block=maybe', /--collector\.block/, /true or false/],
    ['--web.telemetry-path=metrics', /"metrics"/, /"\/metrics"/],
    ['--web.telemetry-path=/-/healthy', /"\/-\/healthy" is wanted by both .*"Health"/],
    ['--web.listen-address=localhost', /"localhost"/, /port/],
    ['--web.listen-address=127.0.0.1:70000', /70000/, /65535/],
    ['--web.listen-address=203.0.113.1:9177', /203\.0\.113\.1/],
    ['--libvirt.auth.password=hunter2', /there is no flag --libvirt\.auth\.password/, /SASL/, /qemu\+ssh/],
    ['--web.systemd-socket', /systemd passed no socket/, /--web\.listen-address/],
    ['--libvirt.driver=xen', /'xen'/, /qemu:\/\/\/system/],
    ['--timeout=3s', /did you mean --collect\.timeout/],
    ['--web.config.file=/nonexistent/web.yml', /\/nonexistent\/web\.yml/, /does not exist/],
  ];
  for (const [argument, ...patterns] of cases) {
    it(`refuses ${argument}`, () => assertRefused([argument], ...patterns));
  }

  const configs: Record<string, readonly [text: string, ...patterns: RegExp[]]> = {
    'a YAML that is none': ['basic_auth_users: {a: [', /YAML/],
    'an unknown field': ['tls_server_confg: {}', /tls_server_confg/, /tls_server_config/],
    'a password that is not hashed': ['basic_auth_users: {admin: hunter2}', /admin/, /bcrypt/],
    'a certificate that is not there': [
      'tls_server_config: {cert_file: /nonexistent/c.pem, key_file: /nonexistent/k.pem}',
      /\/nonexistent\//,
    ],
  };
  for (const [what, [text, ...patterns]] of Object.entries(configs)) {
    it(`refuses a web configuration with ${what}`, async () => {
      const file = join(dir, `${what}.yml`);
      writeFileSync(file, text);
      await assertRefused([`--web.config.file=${file}`, '--libvirt.uri=test:///default'], ...patterns);
      const { stderr } = await runAgent([`--web.config.file=${file}`, '--libvirt.uri=test:///default']);
      assert.doesNotMatch(stderr, /hunter2/);
    });
  }

  it('refuses a port that is in use, and leaves the other addresses alone', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    await assertRefused(
      ['--libvirt.uri=test:///default', '--web.listen-address=127.0.0.1:0', `--web.listen-address=127.0.0.1:${port}`],
      new RegExp(`127\\.0\\.0\\.1:${port}`),
      /in use/,
    );
    await new Promise((resolve) => server.close(resolve));
  });

  it('never repeats a password', async () => {
    for (const uri of ['qemu+ssh://root:hunter2@host/system', 'qemu+ssh://root@host/system?password=hunter2']) {
      const { code, stdout, stderr } = await runAgent([`--libvirt.uri=${uri}`]);
      assert.equal(code, 1);
      assert.doesNotMatch(stdout + stderr, /hunter2/);
      assert.match(stderr, /password/);
    }
  });

  it('refuses certificates and keys that are not there before it tries the host', async () => {
    await assertRefused(
      ['--web.listen-address=127.0.0.1:0', `--libvirt.uri=qemu+tls://127.0.0.1:1/system?pkipath=${dir}/pki`],
      /pki\/cacert\.pem/,
      /pkipath=/,
    );
    await assertRefused(
      ['--web.listen-address=127.0.0.1:0', `--libvirt.uri=qemu+ssh://root@127.0.0.1:1/system?keyfile=${dir}/id`],
      /\/id\b/,
      /keyfile=/,
    );
  });

  it('refuses a wrong URI of the environment, and names the variable', async () => {
    const { code, stderr } = await runAgent([], { env: { LIBVIRT_DEFAULT_URI: 'qemu://system' } });
    assert.equal(code, 1);
    assert.match(stderr, /^virtlens: \$LIBVIRT_DEFAULT_URI: libvirt URI 'qemu:\/\/system': [^\n]+\n$/);
  });

  it('refuses a simulated host that there is not', () =>
    assertRefused(
      ['--web.listen-address=127.0.0.1:0', '--libvirt.uri=test:///other'],
      /'\/other'/,
      /test:\/\/\/default/,
    ));

  it('refuses a state directory that cannot be made, and one that another process uses', async () => {
    const kubeconfig = join(dir, 'kubeconfig');
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }],
        contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
        users: [{ name: 'u', user: {} }],
        'current-context': 'c',
      }),
    );
    const listen = '--web.listen-address=127.0.0.1:0';
    const commands = {
      events: ['events', '--libvirt.uri=test:///default'],
      ha: ['ha', '--libvirt.uri=test:///default', '--node-name=n', `--kubernetes.kubeconfig=${kubeconfig}`, listen],
      logs: ['logs', '--source=qemu', `--qemu.log-dir=${dir}`, listen],
    };
    for (const [name, args] of Object.entries(commands)) {
      const taken = join(dir, `state-${name}`);
      await using first = new AgentProcess([...args, `--state.dir=${taken}`]);
      await waitFor(
        () => (existsSync(taken) && readdirSync(taken).includes('lock.1') ? true : undefined),
        () => first.log,
      );
      for (const [path, pattern] of [
        ['/proc/virtlens/state', /--state\.dir "\/proc\/virtlens\/state" cannot be used: [^\n]+; name a directory/],
        [taken, /--state\.dir \S+ is used by another virtlens: end that one, or give this one/],
      ] as const) {
        const { code, stderr } = await runAgent([...args, `--state.dir=${path}`]);
        const lines = stderr.split('\n').filter((line) => line !== '' && !line.includes('level=INFO'));
        assert.equal(lines.length, 1, stderr);
        assert.match(lines[0]!, pattern);
        assert.equal(code, 1);
      }
      assert.equal(first.hasEnded, false, first.log);
    }
  });

  it('retries where a daemon may come', async () => {
    const port = await findFreePort();
    await assertRetries(`qemu+tcp://127.0.0.1:${port}/system`, new RegExp(`127\\.0\\.0\\.1:${port}`), /refused/);
    await assertRetries('qemu+tcp://no-such-host.invalid/system', /no-such-host\.invalid/);
    await assertRetries(`qemu+unix:///system?socket=${dir}/sock`, /\/sock/, /start libvirtd/);
  });
});

describeLab('a daemon that refuses', ['libvirt', 'tls', 'sshd'], () => {
  let host: LibvirtHost;
  let sshd: Sshd;
  before(async () => {
    host = await startLibvirt({ tcp: 'sasl', tls: true });
    sshd = await startSshd({ libvirt: host });
  });
  after(async () => {
    await sshd?.stop();
    await host?.stop();
  });

  const refuses = (uri: string, ...patterns: RegExp[]) =>
    assertRefused([`--libvirt.uri=${uri}`, '--web.listen-address=127.0.0.1:0'], ...patterns);
  const ssh = (...params: string[]) =>
    `qemu+ssh://${sshd.user}@${sshd.host}:${sshd.port}/system?${[...params, `known_hosts=${sshd.knownHosts.right}`].join('&')}`;

  it('because its certificate is not of our CA', async () => {
    const { tlsPort } = host;
    await refuses(
      `qemu+tls://localhost:${tlsPort}/system?pkipath=${host.strangeCertificates!.pkiPath}`,
      /certificate/,
      new RegExp(`localhost:${tlsPort}`),
      /cacert\.pem/,
    );
  });

  it('because ours is not of its CA', async () => {
    const pki = join(host.cage.dir, 'mixed-pki');
    mkdirSync(pki);
    copyFileSync(host.certificates!.caCert, join(pki, 'cacert.pem'));
    for (const file of ['clientcert.pem', 'clientkey.pem']) {
      copyFileSync(join(host.strangeCertificates!.pkiPath, file), join(pki, file));
    }
    await refuses(
      `qemu+tls://localhost:${host.tlsPort}/system?pkipath=${pki}`,
      /clientcert\.pem/,
      /tls_allowed_dn_list|signed/,
    );
  });

  it('because it wants SASL', async () => {
    await refuses(host.tcpUri(), /SASL/, /auth_tcp|auth_\w+/);
  });

  it('because its host key has changed', async () => {
    const uri = `qemu+ssh://root@${sshd.host}:${sshd.port}/system?keyfile=${sshd.keys.ed25519}&known_hosts=${sshd.knownHosts.wrong}`;
    await refuses(uri, /host key/, /known_hosts/);
  });

  it('because nobody knows its host key', async () => {
    const uri = `qemu+ssh://root@${sshd.host}:${sshd.port}/system?keyfile=${sshd.keys.ed25519}&known_hosts=${sshd.knownHosts.empty}`;
    await refuses(uri, /host key/, /known_hosts/);
  });

  it('because the key, the user or the password is wrong', async () => {
    await refuses(ssh(`keyfile=${sshd.keys.stranger}`, 'sshauth=privkey'), /root@127\.0\.0\.1/);
    await refuses(
      ssh(`keyfile=${sshd.keys.ed25519}`, 'sshauth=privkey').replace('root@', 'nobody-here@'),
      /nobody-here@127\.0\.0\.1/,
    );
    const authFile = join(host.cage.dir, 'auth.conf');
    const password = 'not-the-password';
    writeFileSync(
      authFile,
      `[credentials-all]\nusername=root\npassword=${password}\n\n[auth-ssh-default]\ncredentials=all\n`,
    );
    chmodSync(authFile, 0o600);
    const uri = ssh('sshauth=password', `authfile=${authFile}`);
    await refuses(uri, /password/);
    const { stderr } = await runAgent([`--libvirt.uri=${uri}`, '--web.listen-address=127.0.0.1:0']);
    assert.ok(!stderr.includes(password));
  });

  it('because it has no such driver', async () => {
    for (const uri of ['xen:///system', 'lxc:///', 'foo:///bar']) {
      const [driver, path] = uri.split('://') as [string, string];
      await refuses(
        `${driver}+unix://${path}?socket=${host.roSocket}`,
        new RegExp(`${host.roSocket} has no driver for ${uri}`),
        /no connection driver available/,
        /qemu:\/\/\/system/,
      );
    }
  });
});
