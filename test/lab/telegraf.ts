// The other side of `virtlens telegraf`: a stand-in for Telegraf's execd input, and line protocol read back by the book.
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { waitFor } from './cage.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

/** How execd asks for metrics. */
export type ExecdSignal = 'none' | 'STDIN' | 'SIGHUP' | 'SIGUSR1' | 'SIGUSR2';

/** Runs a command as Telegraf's execd input does: its streams are pipes, prompts come as configured, and the end is a closed pipe. */
export class Execd implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  #stdout = '';
  #stderr = '';
  #hasEnded = false;

  constructor(args: readonly string[], { main = MAIN }: { readonly main?: string } = {}) {
    this.child = spawn(process.execPath, [main, 'telegraf', ...args], {
      cwd: '/',
      env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.child.stdin!.on('error', () => {});
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.ended = new Promise((resolve) =>
      this.child.once('close', (code, signal) => {
        this.#hasEnded = true;
        resolve({ code, signal });
      }),
    );
  }

  get stdout(): string {
    return this.#stdout;
  }

  /** What Telegraf would log as an error although it is none: lines without a level. */
  get unleveledLines(): string[] {
    return this.#stderr.split('\n').filter((line) => line !== '' && !/^[EWIDT]! /.test(line));
  }

  get log(): string {
    return this.#stderr;
  }

  /** Asks for metrics, as Telegraf does at each of its intervals. */
  gather(signal: ExecdSignal): void {
    if (signal === 'STDIN') this.child.stdin!.write('\n');
    else if (signal !== 'none') this.child.kill(signal);
  }

  /** Waits for so many timestamps: each gathering of an input has one of its own. */
  async gatherings(count: number, timeoutMs = 30_000): Promise<ReadonlyMap<string, InfluxLine[]>> {
    const look = () => {
      const byTime = Map.groupBy(
        parseInflux(this.#stdout.slice(0, this.#stdout.lastIndexOf('\n') + 1)),
        ({ time }) => time,
      );
      if (byTime.size >= count) return byTime;
      if (this.#hasEnded) throw new Error(`virtlens ended:\n${this.#stderr}`);
      return undefined;
    };
    return waitFor(look, () => `no ${count} gatherings:\n${this.#stdout}\n${this.#stderr}`, timeoutMs);
  }

  /** Waits until the log matches. */
  async said(pattern: RegExp, timeoutMs = 30_000): Promise<void> {
    const look = () => {
      if (pattern.test(this.#stderr)) return true;
      if (this.#hasEnded) throw new Error(`virtlens ended before it said ${pattern}:\n${this.#stderr}`);
      return undefined;
    };
    await waitFor(look, () => `virtlens does not say ${pattern}:\n${this.#stderr}`, timeoutMs);
  }

  /** Closes its standard input, as Telegraf does when it ends. */
  close(): Execd['ended'] {
    this.child.stdin!.end();
    return this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) this.child.kill('SIGKILL');
    await this.ended;
  }
}

/** One line of line protocol. */
export interface InfluxLine {
  readonly measurement: string;
  readonly tags: Readonly<Record<string, string>>;
  /** As they are written: `1i`, `"text"`. */
  readonly fields: Readonly<Record<string, string>>;
  readonly time: string;
}

/** Reads line protocol; throws at what is none. */
export function parseInflux(text: string): InfluxLine[] {
  const key = String.raw`(?:[^\\,= \n]|\\.|\\(?=[^,= ]))+`;
  const value = String.raw`(?:-?\d+i|-?\d+(?:\.\d+)?|true|false|"(?:[^"\\]|\\["\\]|\\)*")`;
  const line = new RegExp(
    String.raw`((?:[^\\, \n]|\\.)+)((?:,${key}=${key})*) (${key}=${value}(?:,${key}=${value})*) (\d{19})\n`,
    'y',
  );
  const lines: InfluxLine[] = [];
  while (line.lastIndex < text.length) {
    const at = line.lastIndex;
    const match = line.exec(text);
    if (match === null) throw new Error(`no line protocol: ${text.slice(at, at + 200)}`);
    const pairs = (part: string, pattern: string) =>
      Object.fromEntries(Array.from(part.matchAll(new RegExp(pattern, 'g')), ([, name, held]) => [name!, held!]));
    const plain = (escaped: string) => escaped.replace(/\\([,= ])/g, '$1');
    lines.push({
      measurement: plain(match[1]!),
      tags: Object.fromEntries(
        Object.entries(pairs(match[2]!, `,(${key})=(${key})`)).map(([name, held]) => [plain(name), plain(held)]),
      ),
      fields: pairs(match[3]!, `(?:^|,)(${key})=(${value})`),
      time: match[4]!,
    });
  }
  return lines;
}
