// virtlens as a user without privileges on a host with polkit: a real polkitd, a real bus, and libvirt's own policy.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, it } from 'node:test';
import { buildAgent } from '../scripts/build.ts';
import { type CagedProcess, shellQuote, tail, waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { parseSeries } from './lab/exposition.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { findFreePort } from './lab/ports.ts';

const AS_NOBODY = ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups', '--no-new-privs'];
/** Where the cage shows the built program and its runtime to everybody. */
const NODE = '/run/virtlens/node';
const MAIN = '/run/virtlens/virtlens.js';
const READ_WRITE_SOCKET = '--libvirt.uri=qemu+unix:///system?socket=/run/libvirt/libvirt-sock';

const ALLOW_MANAGE = `polkit.addRule(function (action, subject) {
  if (action.id == "org.libvirt.unix.manage" && subject.user == "nobody") return polkit.Result.YES;
});`;
const DENY_MONITOR = `polkit.addRule(function (action, subject) {
  if (action.id == "org.libvirt.unix.monitor" && subject.user == "nobody") return polkit.Result.NO;
});`;

describeLab('as a user without privileges, with polkit', ['libvirt', 'polkit'], () => {
  let host: LibvirtHost;
  let running: CagedProcess | undefined;
  let runs = 0;

  before(async () => {
    // A daemon that listens on TCP shares the network of the test, which scrapes the agent in the cage.
    host = await startLibvirt({ polkit: true, tcp: 'none' });
    await host.createDomain({ name: 'guest' }, 'shutoff');
    await buildAgent(join(host.cage.dir, 'run', 'virtlens.js'));
    const show = `mkdir -p /run/virtlens && touch ${NODE} && mount --bind ${shellQuote(process.execPath)} ${NODE} && mv /run/virtlens.js ${MAIN}`;
    assert.equal(await host.cage.send(`(${show}) >&2 && echo ok || echo failed`), 'ok');
  });
  afterEach(async () => {
    if (running !== undefined) {
      await host.cage.signal(running.innerPid, 'KILL');
      await host.cage.join(running.innerPid);
    }
    running = undefined;
    await host.polkit.setRule();
  });
  after(() => host?.stop());

  interface Agent {
    readonly process: CagedProcess;
    log(): string;
    scrape(): Promise<ReadonlyMap<string, string>>;
  }

  const start = (...args: string[]): Promise<Agent> => startIn([], ...args);

  /** `prefix` is a command that starts it. */
  async function startIn(prefix: readonly string[], ...args: string[]): Promise<Agent> {
    const address = `127.0.0.1:${await findFreePort()}`;
    const argv = [...AS_NOBODY, ...prefix, NODE, MAIN, `--web.listen-address=${address}`, ...args];
    const process = await host.cage.start(`virtlens-${++runs}`, argv);
    running = process;
    const log = () => tail(process.logPath, Number.POSITIVE_INFINITY);
    await waitFor(() => /Listening on/.test(log()) || undefined, log);
    const scrape = async () => parseSeries(await (await fetch(`http://${address}/metrics`)).text());
    return { process, log, scrape };
  }

  /** Runs it to its end. */
  async function refuse(...args: string[]): Promise<string> {
    const argv = [...AS_NOBODY, NODE, MAIN, '--web.listen-address=127.0.0.1:0', ...args].map(shellQuote).join(' ');
    const logPath = join(host.cage.dir, `refused-${++runs}.log`);
    assert.equal(await host.cage.send(`timeout 60 ${argv} </dev/null >${shellQuote(logPath)} 2>&1; echo $?`), '1');
    const lines = readFileSync(logPath, 'utf8')
      .split('\n')
      .filter((line) => !line.includes('msg="Listening on"'));
    assert.equal(lines.length, 2, lines.join('\n'));
    assert.equal(lines[1], '');
    return lines[0]!;
  }

  it("serves the local host without a setting, as libvirt's policy allows", async () => {
    const agent = await start();
    const series = await agent.scrape();
    assert.equal(series.get('libvirt_up[]'), '1', agent.log());
    assert.ok([...series.keys()].some((key) => key.includes('guest')));
    assert.match(agent.log(), /connection="unix socket \/run\/libvirt\/libvirt-sock-ro"/);
  });

  it('finds the aliases of its own libvirt.conf, and warns once of what is wrong there', async () => {
    const folder = join(host.cage.dir, 'run', 'virtlens', 'libvirt');
    mkdirSync(folder);
    const alias = 'local=qemu+unix:///system?socket=/run/libvirt/libvirt-sock-ro';
    writeFileSync(join(folder, 'libvirt.conf'), `uri_default qemu:///session\nuri_aliases = [ "${alias}" ]\n`);
    const agent = await startIn(['env', 'XDG_CONFIG_HOME=/run/virtlens'], '--libvirt.uri=local');
    assert.equal((await agent.scrape()).get('libvirt_up[]'), '1', agent.log());
    const warnings = agent
      .log()
      .split('\n')
      .filter((line) => line.includes('level=WARN'));
    assert.equal(warnings.length, 1, agent.log());
    assert.match(
      warnings[0]!,
      /\/run\/virtlens\/libvirt\/libvirt\.conf:1: there is no = after uri_default; this setting is ignored/,
    );
  });

  it('is refused the read-write socket, with the action and where a rule goes', async () => {
    assert.match(
      await refuse(READ_WRITE_SOCKET),
      /^virtlens: unix socket \/run\/libvirt\/libvirt-sock: polkit does not allow this user the action org\.libvirt\.unix\.manage \(.*no polkit agent available.*\); allow it with a rule in \/etc\/polkit-1\/rules\.d\/ on the daemon's host, or use the read-only socket$/,
    );
  });

  it('is let in at the read-write socket by such a rule', async () => {
    await host.polkit.setRule(ALLOW_MANAGE);
    const agent = await start(READ_WRITE_SOCKET);
    assert.equal((await agent.scrape()).get('libvirt_up[]'), '1', agent.log());
  });

  it('is refused the read-only socket by a rule that says so', async () => {
    await host.polkit.setRule(DENY_MONITOR);
    assert.match(
      await refuse(),
      /libvirt-sock-ro: polkit does not allow this user the action org\.libvirt\.unix\.monitor \(authentication failed: access denied by policy\)/,
    );
  });

  it('waits for a polkit that is not there, and serves when it is', async () => {
    await host.polkit.stopDaemon();
    const agent = await start();
    assert.equal((await agent.scrape()).get('libvirt_up[]'), '0');
    const complaints = agent
      .log()
      .split('\n')
      .filter((line) => /level=ERROR/.test(line));
    assert.equal(complaints.length, 1, agent.log());
    assert.match(complaints[0]!, /cannot ask polkit: .*; start polkit and D-Bus on the daemon's host/);
    await host.polkit.startDaemon();
    const isUp = async () => ((await agent.scrape()).get('libvirt_up[]') === '1' ? true : undefined);
    await waitFor(isUp, agent.log);
    assert.equal(agent.process.isAlive(), true);
  });
});
