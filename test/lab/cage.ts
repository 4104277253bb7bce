// A cage is a private place for real daemons: a temporary directory, and Linux namespaces in which everything that runs dies
// together. Three processes make it:
//
//   this process ── pipe ──▶ keeper (bash, its own session) ──▶ unshare ──▶ init (bash, PID 1 of the namespace) ──▶ daemons
//
// init obeys the lines that come through the pipe. When the pipe ends, because `stop()` was called or because this process died
// in whatever way (SIGKILL included), init ends, the kernel kills all that is left in the namespace, and the keeper removes the
// directory and the network links. Nothing outside the cage is ever signalled.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { TOOL_PATH } from './tools.ts';

/** What a cage is made of. */
export interface CageOptions {
  /** Shell commands run as root inside the namespaces before anything else; `$CAGE` is the directory. A failure ends the cage. */
  readonly setup?: string;
  /** A network namespace of its own, with loopback up: ports and links of the cage are then invisible outside. */
  readonly privateNetwork?: boolean;
  /** The host name inside. */
  readonly hostname?: string;
  /** Links outside (in this process's network namespace) that the keeper deletes at the end. */
  readonly links?: readonly string[];
  /** Shell commands that the keeper runs outside when all processes have ended; `$CAGE` is the directory. */
  readonly atEnd?: string;
}

/** A daemon inside a cage. */
export interface CagedProcess {
  /** PID as the cage's own processes see it. */
  readonly innerPid: number;
  /** PID as this process sees it: what /proc/PID and process.kill() take. */
  readonly pid: number;
  /** Where its standard output and error go. */
  readonly logPath: string;
  /** False once it has ended. */
  isAlive(): boolean;
}

const KEEPER = `
"$@"
status=$?
for link in $CAGE_LINKS; do ip link delete "$link" 2>/dev/null; done
eval "$CAGE_AT_END"
rm -rf --one-file-system -- "$CAGE"
exit $status`;

const INIT = `
exec 2>>"$CAGE/init.log"
if output=$(bash -e "$CAGE/setup.sh" 2>&1 </dev/null); then echo ready; else echo "failed \${output//$'\\n'/ | }"; exit 1; fi
while IFS= read -r line; do eval "$line"; done`;

/** One word of a shell command, whatever is in it. */
export function shellQuote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** A short random name that is unique for every practical purpose: links, hosts, files. */
export function randomName(prefix: string): string {
  return prefix + randomBytes(4).toString('hex');
}

/** Calls `attempt` until it gives a value, every few milliseconds, up to the deadline; then throws what `describe` says. */
export async function waitFor<T>(
  attempt: () => T | undefined | Promise<T | undefined>,
  describe: () => string,
  timeoutMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 1.5, 200)) {
    const value = await attempt();
    if (value !== undefined) return value;
    if (performance.now() > deadline) throw new Error(describe());
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** The last lines of a log file, for error messages; empty when there is none. */
export function tail(path: string, lines = 15): string {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
}

export class Cage implements AsyncDisposable {
  /** The cage's directory, seen alike inside and outside; gone after `stop()`. */
  readonly dir: string;
  readonly #keeper: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #lines: AsyncIterator<string>;
  #waiting = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #pidNamespace = '';

  private constructor(options: CageOptions) {
    this.dir = mkdtempSync(join(tmpdir(), 'virtlens-lab-'));
    mkdirSync(join(this.dir, 'home'));
    const network = options.privateNetwork === true ? 'ip link set lo up\n' : '';
    const hostname = options.hostname === undefined ? '' : `hostname ${shellQuote(options.hostname)}\n`;
    writeFileSync(join(this.dir, 'setup.sh'), network + hostname + (options.setup ?? ''));
    const namespaces = ['--mount', '--uts', '--pid', '--fork', '--kill-child', '--mount-proc'];
    if (options.privateNetwork === true) namespaces.push('--net');
    this.#keeper = spawn('bash', ['-c', KEEPER, 'keeper', 'unshare', ...namespaces, 'bash', '-c', INIT, 'init'], {
      detached: true,
      cwd: '/',
      env: {
        PATH: TOOL_PATH,
        HOME: join(this.dir, 'home'),
        LC_ALL: 'C.UTF-8',
        CAGE: this.dir,
        CAGE_LINKS: (options.links ?? []).join(' '),
        CAGE_AT_END: options.atEnd ?? '',
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    // When the cage is gone, a late line has nowhere to go; `send` reports that by the missing answer.
    this.#keeper.stdin?.on('error', () => {});
    this.#exited = new Promise((resolve) => this.#keeper.once('close', () => resolve()));
    this.#lines = createInterface({ input: this.#keeper.stdout! })[Symbol.asyncIterator]();
  }

  /** Makes the place and runs its setup. On failure nothing is left. */
  static async open(options: CageOptions = {}): Promise<Cage> {
    const cage = new Cage(options);
    const { value } = await cage.#stayFor(cage.#lines.next());
    if (value === 'ready') {
      cage.#pidNamespace = await cage.send('readlink /proc/self/ns/pid');
      return cage;
    }
    await cage.stop();
    throw new Error(`lab: a private place for daemons cannot be made: ${value ?? 'unshare failed'}`);
  }

  /** Runs one line of shell inside, which must print exactly one line: the answer. */
  send(line: string): Promise<string> {
    const answer = this.#queue.then(async () => {
      this.#keeper.stdin?.write(`${line}\n`);
      const { value, done } = await this.#stayFor(this.#lines.next());
      if (done === true) throw new Error(`lab: the cage ended before it answered: ${line}`);
      return value;
    });
    this.#queue = answer.catch(() => {});
    return answer;
  }

  /** Starts a daemon in the foreground of the cage; its output goes to `NAME.log` in the directory (appended). */
  async start(name: string, argv: readonly string[]): Promise<CagedProcess> {
    const logPath = join(this.dir, `${name}.log`);
    const command = argv.map(shellQuote).join(' ');
    const innerPid = Number(await this.send(`${command} </dev/null >>${shellQuote(logPath)} 2>&1 & echo $!`));
    const pid = this.outerPid(innerPid);
    if (pid === undefined) throw new Error(`lab: ${name} ended at once:\n${tail(logPath)}`);
    return { innerPid, pid, logPath, isAlive: () => this.outerPid(innerPid) === pid };
  }

  /** Sends a signal (`TERM`, `KILL`, `STOP`, `CONT`) to a process of the cage; false when there is none any more. */
  async signal(innerPid: number, signal: string): Promise<boolean> {
    return (await this.send(`kill -${signal} ${innerPid} 2>/dev/null && echo yes || echo no`)) === 'yes';
  }

  /** Waits until a daemon that `start` began has ended. */
  async join(innerPid: number): Promise<void> {
    await this.send(`wait ${innerPid} 2>/dev/null; echo ended`);
  }

  /** The PID out here of a process whose PID is `innerPid` in the cage; undefined when there is none. */
  outerPid(innerPid: number): number | undefined {
    return this.processes().find((process) => process.innerPid === innerPid)?.pid;
  }

  /** All processes of the cage that are alive (zombies left out). */
  processes(): { pid: number; innerPid: number; name: string }[] {
    const found: { pid: number; innerPid: number; name: string }[] = [];
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      try {
        if (readlinkSync(`/proc/${entry}/ns/pid`) !== this.#pidNamespace) continue;
        const status = readFileSync(`/proc/${entry}/status`, 'utf8');
        if (/^State:\s*Z/m.test(status)) continue;
        const innerPid = Number(/^NSpid:.*\s(\d+)$/m.exec(status)?.[1]);
        found.push({ pid: Number(entry), innerPid, name: /^Name:\s*(.*)$/m.exec(status)?.[1] ?? '' });
      } catch {
        // The process ended while we looked at it.
      }
    }
    return found;
  }

  /** Ends all that runs inside and removes the directory and the links. May be called twice. */
  async stop(): Promise<void> {
    this.#keeper.stdin?.end();
    await this.#stayFor(this.#exited);
  }

  /**
   * An idle cage does not keep this process alive, so that a test that timed out, or forgot to stop it, does not hang the run;
   * waiting for an answer does.
   */
  async #stayFor<T>(answer: Promise<T>): Promise<T> {
    const handles = [this.#keeper, this.#keeper.stdin as Socket, this.#keeper.stdout as Socket];
    if (this.#waiting++ === 0) for (const handle of handles) handle.ref();
    try {
      return await answer;
    } finally {
      if (--this.#waiting === 0) for (const handle of handles) handle.unref();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
