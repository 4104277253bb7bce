// A real libvirtd with real QEMU guests, private to one test: its own sockets, state, logs, cgroup view and (unless it listens on
// TCP or shares it) network. See cage.ts for how all of it goes away again.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { READY_LINE } from './busy-guest.ts';
import { Cage, type CagedProcess, randomName, tail, waitFor } from './cage.ts';
import { type Certificates, makeCertificates } from './certificates.ts';
import { type DiskSpec, type DomainSpec, domainXml } from './guests.ts';
import { AS_SERVICE, JOURNALD_CONFIG, JOURNALD_SETUP, startJournald } from './journald.ts';
import { CACHE_DIR } from './kernel.ts';
import { POLKIT_CONFIG, POLKIT_SETUP, Polkit } from './polkit.ts';
import { findFreePort } from './ports.ts';
import { runTool, TOOL_PATH } from './tools.ts';

/** How the daemon is to be. */
export interface LibvirtOptions {
  /** Listen on TCP at 127.0.0.1 on a free port. `sasl` makes the daemon want what no client here can give. */
  readonly tcp?: 'none' | 'sasl';
  /** Listen with TLS at 127.0.0.1 on a free port, with certificates made for it. */
  readonly tls?: boolean;
  /** The guests' NICs are in the network namespace of this process, as on a host; they also are when it listens on TCP. */
  readonly sharesNetwork?: boolean;
  /** Lines added to libvirtd.conf: `max_client_requests = 5`, `keepalive_interval = 1`, `auth_unix_ro = "sasl"`. */
  readonly config?: readonly string[];
  /** Lines added to virtlogd.conf: `max_size = 65536`. */
  readonly virtlogdConfig?: readonly string[];
  /** Lines added to qemu.conf. */
  readonly qemuConfig?: readonly string[];
  /** A system bus and polkit beside it, which libvirtd asks about every client; see `polkit`. */
  readonly polkit?: boolean;
  /** A journald beside it, to which libvirtd writes; its journal is below `journalDir`. */
  readonly journald?: boolean;
  /** The host name that libvirt reports; a random one by default. */
  readonly hostname?: string;
}

/** The state in which a domain is left: defined domains persist, the others vanish when they end. */
export type DomainState = 'running' | 'paused' | 'shutoff';

const VIRSH_TIMEOUT_MS = 120_000;
const END_TIMEOUT_MS = 15_000;
const CAPABILITIES_CACHE = join(CACHE_DIR, 'qemu-capabilities');

const XML_ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };

const execute = promisify(execFile);

export class LibvirtHost implements AsyncDisposable {
  /** The private place: its processes and its directory. */
  readonly cage: Cage;
  /** The bridge on which guests' NICs are. */
  readonly bridge: string;
  readonly hostname: string;
  readonly tcpPort: number | undefined;
  readonly tlsPort: number | undefined;
  /** The certificates in use, when the daemon listens with TLS. */
  readonly certificates: Certificates | undefined;
  /** A second authority, that the daemon does not know and that does not know the daemon. */
  readonly strangeCertificates: Certificates | undefined;
  #polkit: Polkit | undefined;
  #service: readonly string[] = [];
  #daemon: CagedProcess | undefined;
  #imageCount = 0;

  private constructor(
    cage: Cage,
    parts: Pick<LibvirtHost, 'bridge' | 'hostname' | 'tcpPort' | 'tlsPort' | 'certificates' | 'strangeCertificates'>,
  ) {
    this.cage = cage;
    this.bridge = parts.bridge;
    this.hostname = parts.hostname;
    this.tcpPort = parts.tcpPort;
    this.tlsPort = parts.tlsPort;
    this.certificates = parts.certificates;
    this.strangeCertificates = parts.strangeCertificates;
  }

  /** Starts the daemon and waits until it answers. On failure nothing is left. */
  static async start(options: LibvirtOptions = {}): Promise<LibvirtHost> {
    const listens = options.tcp !== undefined || options.tls === true;
    const isShared = listens || options.sharesNetwork === true;
    const bridge = isShared ? randomName('vl') : 'labbr0';
    const hostname = options.hostname ?? randomName('lab-');
    const tcpPort = options.tcp === undefined ? undefined : await findFreePort();
    const tlsPort = options.tls === true ? await findFreePort() : undefined;
    const setup =
      SETUP.replaceAll('BRIDGE', bridge) +
      (options.polkit === true ? POLKIT_SETUP : '') +
      (options.journald === true ? JOURNALD_SETUP : '');
    const cage = await Cage.open({ setup, hostname, privateNetwork: !isShared, links: isShared ? [bridge] : [] });
    try {
      const certificates = options.tls === true ? makeCertificates(join(cage.dir, 'pki')) : undefined;
      const strangeCertificates =
        options.tls === true ? makeCertificates(join(cage.dir, 'strange-pki'), 'stranger') : undefined;
      const host = new LibvirtHost(cage, { bridge, hostname, tcpPort, tlsPort, certificates, strangeCertificates });
      host.#writeConfig(options);
      if (options.polkit === true) host.#polkit = await Polkit.start(cage);
      if (options.journald === true) {
        await startJournald(cage);
        host.#service = AS_SERVICE;
      }
      await cage.start('virtlogd', ['virtlogd', '-f', '/etc/libvirt/virtlogd.conf', '-p', '/run/libvirt/virtlogd.pid']);
      await host.#startDaemon();
      host.#keepCapabilities();
      return host;
    } catch (error) {
      await cage.stop();
      throw error;
    }
  }

  /** Its polkit, when it was started with one. */
  get polkit(): Polkit {
    if (this.#polkit === undefined) throw new Error('lab: this host has no polkit');
    return this.#polkit;
  }

  /** The private /run/libvirt. */
  get socketDir(): string {
    return join(this.cage.dir, 'run', 'libvirt');
  }

  /** The journal of a host with journald. */
  get journalDir(): string {
    return join(this.cage.dir, 'run', 'log', 'journal');
  }

  get rwSocket(): string {
    return join(this.socketDir, 'libvirt-sock');
  }

  get roSocket(): string {
    return join(this.socketDir, 'libvirt-sock-ro');
  }

  /** The daemon's URI over its unix socket (read-write for virsh and libvirt's own clients; `-r` makes them use `roSocket`). */
  uri(): string {
    return `qemu+unix:///system?socket=${this.rwSocket}`;
  }

  tcpUri(): string {
    return `qemu+tcp://127.0.0.1:${this.tcpPort}/system`;
  }

  tlsUri(): string {
    return `qemu+tls://localhost:${this.tlsPort}/system?pkipath=${this.certificates?.pkiPath}`;
  }

  /** PID of libvirtd as seen from here. */
  get libvirtdPid(): number {
    if (this.#daemon === undefined) throw new Error('lab: libvirtd is not running');
    return this.#daemon.pid;
  }

  /** libvirtd's own log (level warning and above) since its first start. */
  libvirtdLog(): string {
    return tail(join(this.cage.dir, 'log', 'libvirtd.log'), Number.POSITIVE_INFINITY);
  }

  /** The log of one guest's QEMU, as /var/log/libvirt/qemu/NAME.log. */
  qemuLogPath(name: string): string {
    return join(this.cage.dir, 'log', 'qemu', `${name}.log`);
  }

  /** The serial console of a domain made by `createDomain` from a spec with `boot`. */
  serialLogPath(name: string): string {
    return join(this.cage.dir, 'serial', `${name}.log`);
  }

  /** Runs virsh on this host and gives its standard output without the trailing blank lines; throws with its error output. */
  async virsh(...args: string[]): Promise<string> {
    const { stdout } = await execute('virsh', ['-q', '-c', this.uri(), ...args], {
      env: { PATH: TOOL_PATH, HOME: join(this.cage.dir, 'home'), LC_ALL: 'C.UTF-8' },
      timeout: VIRSH_TIMEOUT_MS,
      maxBuffer: 1 << 28,
    });
    return stdout.trimEnd();
  }

  /** `virsh domstats` of all (or one) domains, as name → field → text. */
  async domstats(...args: string[]): Promise<Map<string, Map<string, string>>> {
    const domains = new Map<string, Map<string, string>>();
    let fields = new Map<string, string>();
    for (const line of (await this.virsh('domstats', '--raw', ...args)).split('\n')) {
      const name = /^Domain: '(.*)'$/.exec(line)?.[1];
      if (name !== undefined) {
        fields = new Map();
        domains.set(name, fields);
      }
      const field = /^\s+([^=]+)=(.*)$/.exec(line);
      if (field !== null) fields.set(field[1]!, field[2]!);
    }
    return domains;
  }

  /** Makes one domain and its disk images. */
  async createDomain(spec: DomainSpec, state: DomainState = 'running'): Promise<void> {
    await this.createDomains([spec], state);
  }

  /** Makes many domains, two at a time. Running and paused ones vanish when they end, unless `persistent`. */
  async createDomains(specs: readonly DomainSpec[], state: DomainState = 'running', persistent = false): Promise<void> {
    const paths = specs.map((spec) => this.#writeXml(spec));
    const flag = state === 'paused' ? ['--paused'] : [];
    const make = async (path: string, spec: DomainSpec) => {
      if (state !== 'shutoff' && !persistent) return this.virsh('create', path, ...flag);
      await this.virsh('define', path);
      return state === 'shutoff' ? '' : this.virsh('start', spec.name, ...flag);
    };
    let next = 0;
    const work = async () => {
      for (let index = next++; index < specs.length; index = next++) await make(paths[index]!, specs[index]!);
    };
    await Promise.all([work(), work()]);
  }

  /** Waits until a guest with a kernel has loaded its drivers. */
  async waitForGuest(name: string): Promise<void> {
    const path = this.serialLogPath(name);
    const ready = () => (tail(path, Number.POSITIVE_INFINITY).includes(READY_LINE) ? true : undefined);
    await waitFor(ready, () => `lab: the guest '${name}' is not up; its console:\n${tail(path)}`, 60_000);
  }

  /** PID of a running guest's QEMU as seen from here. */
  qemuPid(name: string): number {
    const pid = this.cage.outerPid(this.#qemuInnerPid(name));
    if (pid === undefined) throw new Error(`lab: the QEMU of '${name}' is not running`);
    return pid;
  }

  /** `STOP` hangs a guest, `CONT` wakes it, `KILL` crashes it. */
  async signalQemu(name: string, signal: 'STOP' | 'CONT' | 'KILL' | 'TERM'): Promise<void> {
    await this.cage.signal(this.#qemuInnerPid(name), signal);
  }

  /** SIGSTOP for libvirtd: its sockets accept, nothing answers. */
  async suspend(): Promise<void> {
    await this.cage.signal(this.#innerPid(), 'STOP');
  }

  async resume(): Promise<void> {
    await this.cage.signal(this.#innerPid(), 'CONT');
  }

  /** SIGKILL for libvirtd; the guests go on. */
  async kill(): Promise<void> {
    await this.#end('KILL');
  }

  /** Ends libvirtd as its service manager would, by force after a while; the guests go on. */
  async terminate(): Promise<void> {
    await this.#end('TERM');
  }

  /** Starts libvirtd again after `kill` or `terminate`. */
  async startDaemon(): Promise<void> {
    await this.#startDaemon();
  }

  /** Ends libvirtd and starts it again; the guests go on. */
  async restart(): Promise<void> {
    await this.terminate();
    await this.#startDaemon();
  }

  /** Ends everything: libvirtd, the guests, the bridge, the directory. */
  async stop(): Promise<void> {
    await this.cage.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #innerPid(): number {
    if (this.#daemon === undefined) throw new Error('lab: libvirtd is not running');
    return this.#daemon.innerPid;
  }

  #qemuInnerPid(name: string): number {
    // libvirt escapes the name in this file's name as if it were XML.
    const file = name.replace(/[&<>"']/g, (char) => XML_ENTITIES[char] ?? char);
    return Number(readFileSync(join(this.socketDir, 'qemu', `${file}.pid`), 'utf8'));
  }

  async #end(signal: 'KILL' | 'TERM'): Promise<void> {
    const daemon = this.#daemon;
    const innerPid = this.#innerPid();
    await this.cage.signal(innerPid, signal);
    await this.cage.signal(innerPid, 'CONT');
    // A daemon whose workers wait for a hung guest may not end by itself; service managers lose patience too.
    const hasEnded = () => (daemon?.isAlive() === true ? undefined : true);
    await waitFor(hasEnded, () => '', END_TIMEOUT_MS).catch(() => this.cage.signal(innerPid, 'KILL'));
    await this.cage.join(innerPid);
    this.#daemon = undefined;
  }

  async #startDaemon(): Promise<void> {
    const listen = this.tcpPort !== undefined || this.tlsPort !== undefined ? ['--listen'] : [];
    const argv = [
      ...this.#service,
      'libvirtd',
      '-f',
      '/etc/libvirt/libvirtd.conf',
      '-p',
      '/run/libvirt/libvirtd.pid',
      ...listen,
    ];
    const daemon = await this.cage.start('libvirtd', argv);
    const explain = () =>
      `lab: libvirtd does not come up:\n${tail(daemon.logPath)}\n${tail(join(this.cage.dir, 'log', 'libvirtd.log'))}`;
    // The socket takes connections before the drivers are ready; the first answer says that they are.
    const answers = async () => {
      if (!daemon.isAlive()) throw new Error(explain());
      if (!existsSync(this.rwSocket)) return undefined;
      return this.virsh('version').catch(() => undefined);
    };
    await waitFor(answers, explain, 60_000);
    this.#daemon = daemon;
  }

  #writeConfig(options: LibvirtOptions): void {
    const etc = join(this.cage.dir, 'etc');
    const tcp =
      options.tcp === undefined
        ? ['listen_tcp = 0']
        : ['listen_tcp = 1', `tcp_port = "${this.tcpPort}"`, `auth_tcp = "${options.tcp}"`];
    const pki = this.certificates;
    const tls =
      pki === undefined
        ? ['listen_tls = 0']
        : [
            'listen_tls = 1',
            `tls_port = "${this.tlsPort}"`,
            `ca_file = "${pki.caCert}"`,
            `cert_file = "${pki.serverCert}"`,
            `key_file = "${pki.serverKey}"`,
          ];
    const own = [
      ...tcp,
      ...tls,
      'listen_addr = "127.0.0.1"',
      'auth_unix_ro = "none"',
      'auth_unix_rw = "none"',
      'unix_sock_group = "root"',
      // Each host its own identity, so that guests can migrate from one to the other on the same machine.
      `host_uuid = "${randomUUID()}"`,
      'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"',
    ];
    const polkit = options.polkit === true ? POLKIT_CONFIG : [];
    const journald = options.journald === true ? JOURNALD_CONFIG : [];
    writeConfigFile(join(etc, 'libvirtd.conf'), own, [...polkit, ...journald, ...(options.config ?? [])]);
    writeConfigFile(join(etc, 'virtlogd.conf'), ['log_outputs = "3:stderr"'], options.virtlogdConfig ?? []);
    // Guests as root with no confinement: the images are in a directory that only root can enter.
    const qemu = [
      'user = "root"',
      'group = "root"',
      'dynamic_ownership = 0',
      'remember_owner = 0',
      'security_driver = "none"',
      'namespaces = []',
      'max_core = 0',
    ];
    writeConfigFile(join(etc, 'qemu.conf'), qemu, options.qemuConfig ?? []);
    // What libvirt finds out about QEMU by running it (a second or two) is the same for every host of the lab.
    if (existsSync(CAPABILITIES_CACHE))
      cpSync(CAPABILITIES_CACHE, join(this.cage.dir, 'cache', 'qemu', 'capabilities'), { recursive: true });
  }

  #keepCapabilities(): void {
    const found = join(this.cage.dir, 'cache', 'qemu', 'capabilities');
    if (existsSync(CAPABILITIES_CACHE) || !existsSync(found)) return;
    mkdirSync(CACHE_DIR, { recursive: true });
    const copy = mkdtempSync(join(CACHE_DIR, 'capabilities-'));
    try {
      cpSync(found, copy, { recursive: true });
      renameSync(copy, CAPABILITIES_CACHE);
    } catch {
      // Another process was faster: its copy is as good.
      rmSync(copy, { recursive: true, force: true });
    }
  }

  #writeXml(spec: DomainSpec): string {
    const number = ++this.#imageCount;
    const serialLog = spec.serialLog ?? (spec.boot === undefined ? undefined : this.serialLogPath(spec.name));
    const complete = serialLog === undefined ? spec : { ...spec, serialLog };
    const imagePath = (disk: DiskSpec, index: number) => {
      if (disk.empty === true) return undefined;
      const path =
        disk.path ?? join(this.cage.dir, 'images', `${number}-${index}-${disk.target}.${disk.format ?? 'qcow2'}`);
      if (!existsSync(path)) this.#makeImage(path, disk.format ?? 'qcow2', disk.sizeBytes ?? 1 << 20);
      return path;
    };
    const path = join(this.cage.dir, 'xml', `${number}.xml`);
    writeFileSync(path, domainXml(complete, { bridge: this.bridge, imagePath }));
    return path;
  }

  #makeImage(path: string, format: 'qcow2' | 'raw', sizeBytes: number): void {
    if (format === 'raw') {
      writeFileSync(path, '');
      truncateSync(path, sizeBytes);
      return;
    }
    // qemu-img takes longer than a copy, and there may be hundreds.
    const template = join(this.cage.dir, 'images', `template-${sizeBytes}.qcow2`);
    if (!existsSync(template)) runTool('qemu-img', ['create', '-q', '-f', 'qcow2', template, String(sizeBytes)]);
    copyFileSync(template, path);
  }
}

/**
 * /run as a whole is private, so that libvirt finds neither the machine's own daemons nor its system bus. The cgroup tree is
 * hidden: two hosts of the lab would fight over the same group names, and an ended one would leave its groups behind. A fresh /sys shows the links of the private network.
 */
const SETUP = `
mkdir -p "$CAGE"/{run/libvirt,lib,log/qemu,cache,etc/qemu,images,xml,serial}
mkdir -p /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /etc/libvirt
mount --bind "$CAGE/run" /run
mount --bind "$CAGE/lib" /var/lib/libvirt
mount --bind "$CAGE/log" /var/log/libvirt
mount --bind "$CAGE/cache" /var/cache/libvirt
mount --bind "$CAGE/etc" /etc/libvirt
umount --recursive --lazy /sys
mount -t sysfs sysfs /sys
printf '127.0.0.1 localhost %s\\n::1 localhost\\n' "$(hostname)" > "$CAGE/etc/hosts"
mount --bind "$CAGE/etc/hosts" /etc/hosts
ip link add BRIDGE type bridge
ip link set BRIDGE up
`;

/** Later lines win: a setting that is given replaces the lab's own. */
function writeConfigFile(path: string, own: readonly string[], given: readonly string[]): void {
  const nameOf = (line: string) => line.split('=')[0]!.trim();
  const replaced = new Set(given.map(nameOf));
  writeFileSync(path, `${[...own.filter((line) => !replaced.has(nameOf(line))), ...given].join('\n')}\n`);
}

/** Starts a private libvirtd. Use with `await using`, or call `stop()` in an `after` hook. */
export function startLibvirt(options: LibvirtOptions = {}): Promise<LibvirtHost> {
  return LibvirtHost.start(options);
}
