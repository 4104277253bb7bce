// virtlens itself as a child process: what a user starts, with its log and its page of metrics.
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { tail, waitFor } from './cage.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const START_TIMEOUT_MS = 30_000;

/** How it is started beside its arguments. */
export interface AgentOptions {
  /** Variables added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The program: `src/main.ts` unless said otherwise. */
  readonly main?: string;
  /** The words of a command that is virtlens, instead of Node.js with `main`: the single executable, or a link. */
  readonly program?: readonly string[];
  /** Options of Node.js. */
  readonly nodeOptions?: readonly string[];
  /** A command that starts it in turn, such as one that enters a control group. */
  readonly prefix?: readonly string[];
}

/** How a process ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process with what it has said so far. */
export class AgentProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<Ending>;
  #stdout = '';
  #stderr = '';
  #ending: Ending | undefined;

  constructor(args: readonly string[], options: AgentOptions = {}) {
    const node = [process.execPath, ...(options.nodeOptions ?? []), options.main ?? MAIN];
    const [program, ...rest] = [...(options.prefix ?? []), ...(options.program ?? node), ...args];
    this.child = spawn(program!, rest, {
      cwd: options.cwd ?? '/',
      // Nothing of the tester's own: no keys, no proxies, no Node options.
      env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.ended = new Promise((resolve) =>
      this.child.once('close', (code, signal) => {
        this.#ending = { code, signal };
        resolve(this.#ending);
      }),
    );
  }

  get pid(): number {
    return this.child.pid!;
  }

  get stdout(): string {
    return this.#stdout;
  }

  /** The log. */
  get log(): string {
    return this.#stderr;
  }

  /** Resident set in bytes, as the kernel has it. */
  get residentBytes(): number {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(tail(`/proc/${this.pid}/status`, Number.POSITIVE_INFINITY))?.[1]) * 1024;
  }

  get hasEnded(): boolean {
    return this.#ending !== undefined;
  }

  /** The lines of the log that match. */
  logLines(pattern: RegExp): string[] {
    return this.#stderr.split('\n').filter((line) => pattern.test(line));
  }

  /** Waits until the log matches; fails with the log when it does not, or the process ends first. */
  waitForLog(pattern: RegExp, timeoutMs = START_TIMEOUT_MS): Promise<RegExpExecArray> {
    const look = () => {
      const match = pattern.exec(this.#stderr);
      if (match !== null) return match;
      if (this.hasEnded) throw new Error(`virtlens ended before it said ${pattern}:\n${this.#stderr}`);
      return undefined;
    };
    return waitFor(look, () => `virtlens does not say ${pattern}:\n${this.#stderr}`, timeoutMs);
  }

  /** SIGTERM, and how it ended. */
  async stop(): Promise<Ending> {
    if (!this.hasEnded) this.child.kill('SIGTERM');
    return this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.hasEnded) this.child.kill('SIGKILL');
    await this.ended;
  }
}

/** A `virtlens serve` or `virtlens pve` that listens. */
export class Agent extends AgentProcess {
  #url = '';

  /** Starts it on a free port of 127.0.0.1 and waits until it listens. */
  static async start(args: readonly string[], options: AgentOptions = {}): Promise<Agent> {
    const listens = args.some((arg) => arg.startsWith('--web.listen-address'));
    const own =
      args[0] === 'pve'
        ? ['pve', '--host=127.0.0.1', '--port=0', ...args.slice(1)]
        : [...args, ...(listens ? [] : ['--web.listen-address=127.0.0.1:0'])];
    const agent = new Agent(own, options);
    try {
      const [, address, tls] = await agent.waitForLog(/msg="Listening on" address=(\S+) tls=(\S+)/);
      agent.#url = `${tls === 'true' ? 'https' : 'http'}://${address}`;
    } catch (error) {
      await agent[Symbol.asyncDispose]();
      throw error;
    }
    return agent;
  }

  /** Of its first address, without a slash at the end. */
  get url(): string {
    return this.#url;
  }

  /** `host:port`, as Prometheus wants a target. */
  get address(): string {
    return new URL(this.#url).host;
  }

  /** One scrape's text. */
  async metrics(headers: Readonly<Record<string, string>> = {}): Promise<string> {
    const response = await fetch(`${this.#url}/metrics`, { headers });
    const text = await response.text();
    if (!response.ok) throw new Error(`virtlens answers ${response.status}: ${text}\n${this.log}`);
    return text;
  }
}

/** Runs it to its end. */
export async function runAgent(
  args: readonly string[],
  options: AgentOptions = {},
): Promise<Ending & { stdout: string; stderr: string }> {
  await using agent = new AgentProcess(args, options);
  const ending = await agent.ended;
  return { ...ending, stdout: agent.stdout, stderr: agent.log };
}
