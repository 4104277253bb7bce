// What `virtlens logs` costs: one log of QEMU that is there already, to standard output, beside rsyslog where it is installed.
import { spawn } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from '../test/lab/tools.ts';
import { cpuMs, residentBytes } from './procfs.ts';

export interface LogDeliveryOptions {
  readonly bundle: string;
  readonly lines: number;
  readonly say: (line: string) => void;
}

/** The delivery of one file. */
export interface LogDeliveryCost {
  readonly name: string;
  readonly wallMs: number;
  readonly cpuMs: number;
  /** The largest that was seen. */
  readonly residentBytes: number;
}

export interface LogDeliveryResult {
  readonly fileBytes: number;
  readonly costs: readonly LogDeliveryCost[];
}

const LOOK_MS = 20;
const LIMIT_MS = 300_000;

export async function measureLogDelivery({ bundle, lines, say }: LogDeliveryOptions): Promise<LogDeliveryResult> {
  const root = mkdtempSync(join(tmpdir(), 'virtlens-bench-logs-'));
  try {
    const logs = join(root, 'qemu');
    mkdirSync(logs);
    const file = join(logs, 'vm.log');
    const line = (index: number) =>
      `2026-11-21T12:12:40.774123Z qemu-system-x86_64: line ${index} ${'x'.repeat(index % 97)}\n`;
    writeFileSync(file, Array.from({ length: lines }, (_, index) => line(index)).join(''));
    say(`logs: virtlens, ${lines} lines`);
    const state = join(root, 'state');
    const flags = [
      '--source=qemu',
      `--qemu.log-dir=${logs}`,
      `--state.dir=${state}`,
      '--web.listen-address=127.0.0.1:0',
    ];
    const own = await measure('virtlens logs', process.execPath, [bundle, 'logs', ...flags], join(root, 'out'), lines);
    if (own === undefined) throw new Error('virtlens logs did not deliver everything');
    const costs = [own];
    const rsyslogd = findProgram('rsyslogd');
    if (rsyslogd !== undefined) {
      say(`logs: rsyslog, ${lines} lines`);
      const out = join(root, 'rsyslog.out');
      const config = join(root, 'rsyslog.conf');
      writeFileSync(
        config,
        [
          `global(workDirectory="${root}")`,
          'module(load="imfile" mode="inotify")',
          `input(type="imfile" File="${file}" Tag="qemu" freshStartTail="off" addMetadata="off")`,
          'template(name="json" type="list" option.jsonf="on") { property(outname="message" name="msg" format="jsonf") property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf") }',
          `action(type="omfile" file="${out}" template="json")`,
        ].join('\n'),
      );
      const argv = ['-n', '-f', config, '-i', join(root, 'pid')];
      const cost = await measure('rsyslog, lines as JSON', rsyslogd, argv, out, lines, true);
      // It has happened once in many runs. The other figures are no worse for it.
      if (cost === undefined) say('logs: rsyslog did not deliver everything, and is left out');
      else costs.push(cost);
    }
    return { fileBytes: statSync(file).size, costs };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Runs a program until its output has so many lines; undefined when it ended before, or took five minutes. */
async function measure(
  name: string,
  program: string,
  args: readonly string[],
  out: string,
  lines: number,
  writesItself = false,
): Promise<LogDeliveryCost | undefined> {
  const descriptor = openSync(out, 'a+');
  const startedMs = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', writesItself ? 'ignore' : descriptor, 'ignore'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const pid = child.pid!;
  const lastLine = `line ${lines - 1} `;
  let largest = 0;
  while (!endOf(descriptor).includes(lastLine)) {
    if (performance.now() - startedMs > LIMIT_MS || child.exitCode !== null) {
      child.kill('SIGKILL');
      closeSync(descriptor);
      return undefined;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    largest = Math.max(largest, residentBytes(pid));
  }
  const cost = { name, wallMs: performance.now() - startedMs, cpuMs: cpuMs(pid), residentBytes: largest };
  child.kill('SIGTERM');
  await ended;
  closeSync(descriptor);
  return cost;
}

/** The last bytes of a file. */
function endOf(descriptor: number): string {
  const buffer = Buffer.alloc(4096);
  const { size } = fstatSync(descriptor);
  const length = readSync(descriptor, buffer, 0, buffer.length, Math.max(0, size - buffer.length));
  return buffer.toString('latin1', 0, length);
}
