// A real sshd on a random loopback port, with keys of its own, for the ssh transport. In its private view of the machine
// /run/libvirt is that of a host of the lab, so that what a session runs (virt-ssh-helper, nc -U) finds that host's sockets.
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cage, type CagedProcess, shellQuote, tail, waitFor } from './cage.ts';
import type { LibvirtHost } from './libvirt.ts';
import { canConnect, findFreePort } from './ports.ts';
import { findProgram, runTool } from './tools.ts';

/** How the daemon is to be. */
export interface SshdOptions {
  /** The host whose sockets sessions find in /run/libvirt. */
  readonly libvirt?: LibvirtHost;
  /** Lines put before the lab's own in sshd_config, where the first setting wins: `AllowStreamLocalForwarding no`. */
  readonly config?: readonly string[];
}

/** Private key files of clients. */
export interface ClientKeys {
  readonly ed25519: string;
  readonly rsa: string;
  readonly ecdsa: string;
  /** Authorized, and needs `passphrase`. */
  readonly encrypted: string;
  /** Authorized, in the PEM format of older tools. */
  readonly rsaPem: string;
  /** Not authorized. */
  readonly stranger: string;
}

/** known_hosts files that a client may be given. */
export interface KnownHosts {
  /** All host keys, under 127.0.0.1 and localhost with the port. */
  readonly right: string;
  /** The same, with hashed names. */
  readonly hashed: string;
  /** Another machine's key under this one's name: a changed host key. */
  readonly wrong: string;
  /** Exists and is empty: an unknown host. */
  readonly empty: string;
}

export class Sshd implements AsyncDisposable {
  readonly cage: Cage;
  readonly host = '127.0.0.1';
  readonly port: number;
  /** Who may log in, by key or by `password`. */
  readonly user = 'root';
  readonly password: string;
  readonly passphrase: string;
  readonly keys: ClientKeys;
  readonly knownHosts: KnownHosts;
  #daemon: CagedProcess | undefined;
  #agentSocket: string | undefined;

  private constructor(cage: Cage, port: number) {
    this.cage = cage;
    this.port = port;
    this.password = randomBytes(9).toString('hex');
    this.passphrase = randomBytes(9).toString('hex');
    const key = (name: string) => join(cage.dir, 'ssh', name);
    this.keys = {
      ed25519: key('client_ed25519'),
      rsa: key('client_rsa'),
      ecdsa: key('client_ecdsa'),
      encrypted: key('client_encrypted'),
      rsaPem: key('client_rsa_pem'),
      stranger: key('stranger'),
    };
    this.knownHosts = {
      right: key('known_hosts'),
      hashed: key('known_hosts_hashed'),
      wrong: key('known_hosts_wrong'),
      empty: key('known_hosts_empty'),
    };
  }

  /** Starts the daemon and waits until it takes connections. On failure nothing is left. */
  static async start(options: SshdOptions = {}): Promise<Sshd> {
    const libvirtDir = options.libvirt?.socketDir;
    const cage = await Cage.open({ setup: makeSetup(libvirtDir) });
    try {
      const sshd = new Sshd(cage, await findFreePort());
      sshd.#makeKeys();
      sshd.#writeAccount();
      sshd.#writeConfig(options.config ?? []);
      await sshd.startDaemon();
      return sshd;
    } catch (error) {
      await cage.stop();
      throw error;
    }
  }

  /** What the daemon logged, level VERBOSE: who came, by which method, what was refused. */
  log(): string {
    return tail(join(this.cage.dir, 'sshd.log'), Number.POSITIVE_INFINITY);
  }

  /** Starts an ssh-agent that holds the ed25519 key and gives its socket, for `SSH_AUTH_SOCK`. */
  async startAgent(): Promise<string> {
    if (this.#agentSocket !== undefined) return this.#agentSocket;
    const socket = join(this.cage.dir, 'agent.sock');
    await this.cage.start('ssh-agent', ['ssh-agent', '-D', '-a', socket]);
    await waitFor(
      async () => ((await canConnect(socket)) ? true : undefined),
      () => 'lab: ssh-agent does not come up',
    );
    const added = await this.cage.send(
      `SSH_AUTH_SOCK=${shellQuote(socket)} ssh-add -q ${shellQuote(this.keys.ed25519)} >/dev/null 2>&1; echo $?`,
    );
    if (added !== '0') throw new Error('lab: ssh-add failed');
    this.#agentSocket = socket;
    return socket;
  }

  /** Starts the daemon after `kill`. */
  async startDaemon(): Promise<void> {
    const program = findProgram('sshd');
    // sshd wants to be called by its full path: it executes itself again for each connection.
    const daemon = await this.cage.start('sshd', [
      program ?? 'sshd',
      '-D',
      '-e',
      '-f',
      join(this.cage.dir, 'ssh', 'sshd_config'),
    ]);
    const explain = () => `lab: sshd does not come up:\n${tail(daemon.logPath)}`;
    await waitFor(async () => {
      if (!daemon.isAlive()) throw new Error(explain());
      return (await canConnect(this.port)) ? true : undefined;
    }, explain);
    this.#daemon = daemon;
  }

  /** Ends the daemon and every session. */
  async kill(): Promise<void> {
    for (const { innerPid, name } of this.cage.processes()) {
      if (name === 'sshd') await this.cage.signal(innerPid, 'KILL');
    }
    if (this.#daemon !== undefined) await this.cage.join(this.#daemon.innerPid);
    this.#daemon = undefined;
  }

  async stop(): Promise<void> {
    await this.cage.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #makeKeys(): void {
    const folder = join(this.cage.dir, 'ssh');
    mkdirSync(folder);
    const make = (file: string, type: string, passphrase = '', ...more: string[]) =>
      runTool('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', 'virtlens-lab', '-f', file, ...more]);
    const hostKeys = ['ed25519', 'ecdsa', 'rsa'].map((type) => {
      const file = join(folder, `host_${type}`);
      make(file, type);
      return readFileSync(`${file}.pub`, 'utf8');
    });
    make(this.keys.ed25519, 'ed25519');
    make(this.keys.rsa, 'rsa');
    make(this.keys.ecdsa, 'ecdsa');
    make(this.keys.encrypted, 'ed25519', this.passphrase);
    make(this.keys.rsaPem, 'rsa', '', '-m', 'PEM');
    make(this.keys.stranger, 'ed25519');
    const { stranger, ...authorized } = this.keys;
    const publicKeys = Object.values(authorized).map((file) => readFileSync(`${file}.pub`, 'utf8'));
    writeFileSync(join(folder, 'authorized_keys'), publicKeys.join(''));

    const names = `[127.0.0.1]:${this.port},[localhost]:${this.port}`;
    writeFileSync(this.knownHosts.right, hostKeys.map((key) => `${names} ${key}`).join(''));
    copyFileSync(this.knownHosts.right, this.knownHosts.hashed);
    runTool('ssh-keygen', ['-q', '-H', '-f', this.knownHosts.hashed]);
    writeFileSync(this.knownHosts.wrong, `${names} ${readFileSync(`${stranger}.pub`, 'utf8')}`);
    writeFileSync(this.knownHosts.empty, '');
  }

  /** Without PAM sshd reads the shadow file, and refuses a locked account: in here root has a password. */
  #writeAccount(): void {
    const hash = runTool('openssl', ['passwd', '-6', '-stdin'], { input: this.password }).trim();
    writeFileSync(join(this.cage.dir, 'shadow'), `root:${hash}:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n`);
  }

  #writeConfig(given: readonly string[]): void {
    const folder = join(this.cage.dir, 'ssh');
    const own = [
      `Port ${this.port}`,
      'ListenAddress 127.0.0.1',
      ...['ed25519', 'ecdsa', 'rsa'].map((type) => `HostKey ${join(folder, `host_${type}`)}`),
      `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
      'StrictModes no',
      'UsePAM no',
      'PermitRootLogin yes',
      'PasswordAuthentication yes',
      'AllowStreamLocalForwarding yes',
      'PidFile none',
      'PrintMotd no',
      'LogLevel VERBOSE',
    ];
    writeFileSync(join(folder, 'sshd_config'), `${[...given, ...own].join('\n')}\n`);
  }
}

function makeSetup(libvirtDir: string | undefined): string {
  const bind = libvirtDir === undefined ? '' : `mount --bind ${shellQuote(libvirtDir)} "$CAGE/run/libvirt"\n`;
  return `mkdir -p "$CAGE"/run/{sshd,libvirt}
chmod 755 "$CAGE/run/sshd"
${bind}mount --rbind "$CAGE/run" /run
touch "$CAGE/shadow"
mount --bind "$CAGE/shadow" /etc/shadow
`;
}

/** Starts a private sshd. Use with `await using`, or call `stop()` in an `after` hook. */
export function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  return Sshd.start(options);
}
