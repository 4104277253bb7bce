// A system bus and a polkitd in the cage of a libvirtd: with libvirt's own policy, and rules that only this cage has.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Cage, type CagedProcess, tail, waitFor } from './cage.ts';
import { findPolkitd } from './tools.ts';

/** libvirtd.conf with polkit as distributions ship it: whoever may open a socket is asked about. */
export const POLKIT_CONFIG = [
  'auth_unix_ro = "polkit"',
  'auth_unix_rw = "polkit"',
  'unix_sock_ro_perms = "0777"',
  'unix_sock_rw_perms = "0777"',
];

/** For the cage: without the machine's own rules, and without services that the bus would start by itself, polkit among them. */
export const POLKIT_SETUP = `
mkdir -p /run/dbus "$CAGE"/polkit/{rules,services}
chmod 755 "$CAGE"/polkit/rules
mount --bind "$CAGE/polkit/rules" /etc/polkit-1/rules.d
mount --bind "$CAGE/polkit/services" /usr/share/dbus-1/system-services
`;

const IS_OWNED =
  'dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner string:org.freedesktop.PolicyKit1';

export class Polkit {
  readonly #cage: Cage;
  #daemon: CagedProcess | undefined;

  private constructor(cage: Cage) {
    this.#cage = cage;
  }

  /** Starts both daemons. libvirtd must come after them: one that finds no bus at its start never looks for it again. */
  static async start(cage: Cage): Promise<Polkit> {
    const polkit = new Polkit(cage);
    const bus = await cage.start('dbus', ['dbus-daemon', '--system', '--nofork', '--nopidfile']);
    const isUp = async () =>
      (await cage.send('test -S /run/dbus/system_bus_socket && echo yes || echo no')) === 'yes' ? true : undefined;
    await waitFor(isUp, () => `lab: the system bus does not come up:\n${tail(bus.logPath)}`);
    await polkit.startDaemon();
    return polkit;
  }

  /** Starts polkitd and waits until it has its name on the bus. */
  async startDaemon(): Promise<void> {
    this.#daemon = await this.#cage.start('polkitd', [findPolkitd()!, '--no-debug']);
    const { logPath } = this.#daemon;
    await waitFor(
      () => this.#isOwned(true),
      () => `lab: polkitd does not come up:\n${tail(logPath)}`,
    );
  }

  /** Ends polkitd; the bus goes on. */
  async stopDaemon(): Promise<void> {
    const { innerPid } = this.#daemon!;
    await this.#cage.signal(innerPid, 'TERM');
    await this.#cage.join(innerPid);
    await waitFor(
      () => this.#isOwned(false),
      () => 'lab: polkitd does not end',
    );
  }

  /** Replaces the rules in /etc/polkit-1/rules.d/ by this one; none without it. */
  async setRule(script?: string): Promise<void> {
    const path = join(this.#cage.dir, 'polkit', 'rules', '10-lab.rules');
    if (script === undefined) rmSync(path, { force: true });
    else writeFileSync(path, script, { mode: 0o644 });
    // So that the rules are read: when polkitd sees a change by itself is not known.
    await this.stopDaemon();
    await this.startDaemon();
  }

  async #isOwned(wanted: boolean): Promise<true | undefined> {
    const answer = await this.#cage.send(
      `${IS_OWNED} 2>/dev/null | grep -q 'boolean ${wanted}' && echo yes || echo no`,
    );
    return answer === 'yes' ? true : undefined;
  }
}
