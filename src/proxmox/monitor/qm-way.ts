import type { ChildProcess } from 'node:child_process';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errno.ts';
import { cut, oneLine } from '../../base/text.ts';
import { readInfoBlock, readInfoNetwork } from '../../qemu/monitor-text.ts';
import { endSession, startSession } from '../child-process.ts';
import { ProxmoxError } from '../error.ts';
import type { VmProcess } from '../process/processes.ts';
import type { MonitorWay, VisitResult, VisitWish, VmDevices } from './monitor.ts';

export interface QmWayOptions {
  readonly clock: Clock;
  /** The program; `qm` unless set. */
  readonly command?: readonly string[] | undefined;
  /** For the program's first sign of life, and again for the rest of what it says. */
  readonly timeoutMs: number;
  /** Whether a program that is late is left to itself for a while before it is killed. */
  readonly isCloseDeferred: boolean;
}

/** How long a program that was late is left to itself. */
const DEFERRED_CLOSE_MS = 10_000;
/** `info block` of a VM with dozens of disks has some 20 kB. */
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
const MESSAGE_LENGTH_MAX = 200;

const COMMANDS = 'info network\ninfo block\n';

/**
 * `qm monitor`, as a person would use it. It has neither statistics nor the sizes of images.
 *
 * With a controlling terminal the program talks to that, whatever its input is; so it gets a session without one. It then prints prompts
 * and echo on standard error, and replies on standard output, which it writes when it ends. The end of its input ends it: `quit` would too,
 * but is a command of QEMU as well.
 */
export class QmWay implements MonitorWay {
  readonly #options: QmWayOptions;
  /** Programs that were late, and what ends the wait for their end. */
  readonly #late = new Map<ChildProcess, () => void>();
  readonly #running = new Set<ChildProcess>();

  constructor(options: QmWayOptions) {
    this.#options = options;
  }

  async visit({ commandLine }: VmProcess, wish: VisitWish, signal: AbortSignal): Promise<VisitResult> {
    if (!wish.devices) return {};
    const output = await this.#run(commandLine.vmid, signal);
    return { devices: readQmOutput(output) };
  }

  /** Processes that have not ended. */
  get processes(): number {
    return this.#late.size + this.#running.size;
  }

  close(): void {
    for (const [child, cancel] of this.#late) {
      cancel();
      endSession(child);
    }
    for (const child of this.#running) endSession(child);
    this.#late.clear();
    this.#running.clear();
  }

  #run(vmid: string, signal: AbortSignal): Promise<string> {
    const { clock, command = ['qm'], timeoutMs } = this.#options;
    const child = startSession([...command, 'monitor', vmid]);
    this.#running.add(child);
    return new Promise((resolve, reject) => {
      const output: Buffer[] = [];
      let bytes = 0;
      let complaint = '';
      let hasBegun = false;
      const leave = () => {
        cancel();
        signal.removeEventListener('abort', onAbort);
        this.#running.delete(child);
      };
      const fail = (reason: string, cause?: unknown) => {
        leave();
        reject(new ProxmoxError('ERR_PROXMOX_MONITOR', `qm monitor ${vmid} ${reason}`, { cause }));
      };
      const onAbort = () => {
        endSession(child);
        fail('was ended with the collection');
      };
      const onLate = () => {
        this.#endLate(child);
        fail(hasBegun ? `did not end within ${timeoutMs} ms` : `showed no prompt within ${timeoutMs} ms`);
      };
      let cancel = clock.schedule(timeoutMs, onLate);
      const begin = () => {
        if (hasBegun) return;
        hasBegun = true;
        cancel();
        cancel = clock.schedule(timeoutMs, onLate);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      child.stdout?.on('data', (chunk: Buffer) => {
        begin();
        bytes += chunk.length;
        if (bytes <= OUTPUT_BYTES_MAX) output.push(chunk);
        else onAbort();
      });
      child.stderr?.on('data', (chunk: Buffer) => {
        begin();
        complaint = (complaint + chunk.toString('utf8')).slice(-MESSAGE_LENGTH_MAX);
      });
      child.once('error', (error) => fail(`cannot be run: ${describeError(error)}`, error));
      child.once('close', (code, killed) => {
        this.#forget(child);
        if (code === 0) {
          leave();
          resolve(Buffer.concat(output).toString('utf8'));
        } else {
          fail(`failed (${killed ?? `exit code ${code}`}): ${oneLine(cut(complaint, MESSAGE_LENGTH_MAX))}`);
        }
      });
      child.stdin?.end(COMMANDS);
    });
  }

  /** Ends a program that is late: now, or when it has had time to end by itself, its pipes closed. */
  #endLate(child: ChildProcess): void {
    if (!this.#options.isCloseDeferred) {
      endSession(child);
      return;
    }
    child.stdin?.destroy();
    child.stdout?.destroy();
    child.stderr?.destroy();
    const cancel = this.#options.clock.schedule(DEFERRED_CLOSE_MS, () => {
      this.#late.delete(child);
      endSession(child);
    });
    this.#late.set(child, cancel);
    child.once('exit', () => this.#forget(child));
  }

  #forget(child: ChildProcess): void {
    this.#late.get(child)?.();
    this.#late.delete(child);
  }
}

const NETWORK_LINE = /^(?:net| \\ )/;

/**
 * Reads what `qm monitor` printed for `info network` and `info block`: the replies, one after the other, below a line of greeting. A
 * command that failed has an `ERROR:` line in its place, and its part is absent then.
 */
export function readQmOutput(output: string): VmDevices {
  const lines = output.split(/\r*\n/).filter((line) => !line.startsWith('Entering QEMU Monitor'));
  const errors = lines.filter((line) => line.startsWith('ERROR:')).length;
  const network = lines.filter((line) => NETWORK_LINE.test(line)).join('\n');
  const block = lines.filter((line) => !NETWORK_LINE.test(line) && !line.startsWith('ERROR:')).join('\n');
  const nics = readInfoNetwork(network);
  const drives = readInfoBlock(block);
  return {
    // A VM may have no NICs, and then its reply is as empty as the one of a command that failed.
    nics: errors === 0 || nics.length > 0 ? nics : undefined,
    drives: errors === 0 || drives.length > 0 ? drives : undefined,
    memory: undefined,
    vcpus: undefined,
  };
}
