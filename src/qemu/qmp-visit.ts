import { connect, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { describeError, errorCode } from '../base/errno.ts';
import { cut, oneLine } from '../base/text.ts';
import { QemuError, type QemuErrorCode } from './error.ts';
import { isObject, type JsonObject, parseExactJson, textOf } from './json.ts';

/** A command of QMP (https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html). */
export interface QmpCommand {
  readonly execute: string;
  readonly arguments?: JsonObject;
}

/** What QEMU replied to one command: its value, or why it refused. An error of one command says nothing of the others. */
export type QmpReply = { readonly value: unknown } | { readonly error: string };

export interface QmpVisitOptions {
  readonly clock: Clock;
  /** Ends the visit at once. */
  readonly signal?: AbortSignal | undefined;
  /** From the connection to QEMU's greeting; 1 s unless set. */
  readonly greetingTimeoutMs?: number | undefined;
  /** For the whole visit, attempts to connect included; 2 s unless set. */
  readonly timeoutMs?: number | undefined;
  /** One message of QEMU has no more bytes than this; 16 MiB unless set. */
  readonly lineBytesMax?: number | undefined;
}

const GREETING_TIMEOUT_MS = 1_000;
const TIMEOUT_MS = 2_000;
const LINE_BYTES_MAX = 16 * 1024 * 1024;
/** Between two attempts to connect to a socket whose queue is full. */
const RETRY_PAUSE_MS = 50;
/** Of QEMU's own words in an error. */
const TEXT_LENGTH_MAX = 200;

const NEWLINE = 0x0a;
/** No command has this id. */
const CAPABILITIES_ID = 0;

/**
 * Visits a QMP monitor: connects, waits for the greeting, negotiates, gives all commands at once, collects the replies and leaves at once.
 *
 * QEMU serves one client of a monitor socket at a time, and the kernel lets one or two more wait; who comes after those gets EAGAIN. So a
 * visit is short, a full queue is tried again with a pause, and a QEMU that is silent is left before it keeps others waiting.
 *
 * Resolves when the connection is closed, with one reply a command, in their order. Rejects with a QemuError when QEMU did not reply to
 * all of them; the connection is closed then too.
 */
export function visitQmp(
  path: string,
  commands: readonly QmpCommand[],
  options: QmpVisitOptions,
): Promise<readonly QmpReply[]> {
  return new Promise((resolve, reject) => new Visit(path, commands, options, resolve, reject).start());
}

class Visit {
  readonly #path: string;
  readonly #commands: readonly QmpCommand[];
  readonly #options: QmpVisitOptions;
  readonly #resolve: (replies: QmpReply[]) => void;
  readonly #reject: (error: QemuError) => void;
  readonly #replies = new Map<number, QmpReply>();
  readonly #timers = new Set<() => void>();
  #socket: Socket | undefined;
  #cancelGreeting: (() => void) | undefined;
  #isGreeted = false;
  #isOver = false;
  /** The beginning of a message whose end has not come. */
  #parts: Buffer[] = [];
  #partBytes = 0;

  constructor(
    path: string,
    commands: readonly QmpCommand[],
    options: QmpVisitOptions,
    resolve: (replies: QmpReply[]) => void,
    reject: (error: QemuError) => void,
  ) {
    this.#path = path;
    this.#commands = commands;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { signal, timeoutMs = TIMEOUT_MS } = this.#options;
    if (signal?.aborted) {
      this.#onAbort();
      return;
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#after(timeoutMs, () => {
      if (this.#isGreeted) this.#fail('ERR_QEMU_LATE', `it did not reply to all commands within ${timeoutMs} ms`);
      else this.#fail('ERR_QEMU_BUSY', `it took no connection within ${timeoutMs} ms`);
    });
    this.#connect();
  }

  readonly #onAbort = () => this.#fail('ERR_QEMU_ABORTED', 'the visit was ended');

  #connect(): void {
    const socket = connect(this.#path);
    this.#socket = socket;
    socket.once('connect', () => {
      const { greetingTimeoutMs = GREETING_TIMEOUT_MS } = this.#options;
      this.#cancelGreeting = this.#after(greetingTimeoutMs, () =>
        this.#fail('ERR_QEMU_BUSY', `it did not greet within ${greetingTimeoutMs} ms`),
      );
    });
    socket.on('data', (chunk) => this.#read(chunk as Buffer));
    socket.once('end', () => this.#fail('ERR_QEMU_CLOSED', 'it ended the connection'));
    socket.once('error', (error) => {
      if (this.#isOver) return;
      const code = errorCode(error);
      if (code === 'EAGAIN') {
        this.#after(RETRY_PAUSE_MS, () => this.#connect());
      } else if (code === 'ENOENT' || code === 'ECONNREFUSED') {
        this.#fail('ERR_QEMU_ABSENT', `its socket cannot be opened: ${describeError(error)}`, error);
      } else {
        this.#fail('ERR_QEMU_CLOSED', `its socket failed: ${describeError(error)}`, error);
      }
    });
  }

  #read(chunk: Buffer): void {
    const { lineBytesMax = LINE_BYTES_MAX } = this.#options;
    let start = 0;
    while (!this.#isOver) {
      const end = chunk.indexOf(NEWLINE, start);
      const part = chunk.subarray(start, end === -1 ? chunk.length : end);
      this.#partBytes += part.length;
      if (this.#partBytes > lineBytesMax) {
        this.#fail('ERR_QEMU_PROTOCOL', `it sent a message of more than ${lineBytesMax} bytes`);
        return;
      }
      if (part.length > 0) this.#parts.push(part);
      if (end === -1) return;
      const line = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
      this.#parts = [];
      this.#partBytes = 0;
      this.#take(line.toString('utf8'));
      start = end + 1;
    }
  }

  #take(line: string): void {
    if (line.trim() === '') return;
    let message: unknown;
    try {
      message = parseExactJson(line);
    } catch (error) {
      this.#fail('ERR_QEMU_PROTOCOL', `what it sent is not JSON: ${oneLine(cut(line, TEXT_LENGTH_MAX))}`, error);
      return;
    }
    if (!isObject(message)) {
      this.#fail('ERR_QEMU_PROTOCOL', 'it sent JSON that is no message of QMP');
    } else if (!this.#isGreeted) {
      this.#greet(message);
    } else if (!('event' in message)) {
      this.#takeReply(message);
    }
  }

  #greet(message: JsonObject): void {
    if (!isObject(message.QMP)) {
      this.#fail('ERR_QEMU_PROTOCOL', 'it did not greet as QMP does');
      return;
    }
    this.#isGreeted = true;
    this.#cancelGreeting?.();
    const all = [{ execute: 'qmp_capabilities' }, ...this.#commands];
    this.#socket?.write(all.map((command, id) => `${JSON.stringify({ ...command, id })}\n`).join(''));
  }

  #takeReply(message: JsonObject): void {
    const { id, error } = message;
    if (typeof id !== 'number' || id > this.#commands.length || this.#replies.has(id)) {
      // QEMU leaves the id out of its reply to what it cannot parse.
      this.#fail('ERR_QEMU_PROTOCOL', `it replied to a command that was not given: ${explain(error)}`);
      return;
    }
    if ('error' in message) {
      if (id === CAPABILITIES_ID) {
        this.#fail('ERR_QEMU_PROTOCOL', `it refused to negotiate: ${explain(error)}`);
        return;
      }
      this.#replies.set(id, { error: explain(error) });
    } else if ('return' in message) {
      this.#replies.set(id, { value: message.return });
    } else {
      this.#fail('ERR_QEMU_PROTOCOL', 'it sent a reply without a result');
      return;
    }
    if (this.#replies.size > this.#commands.length) {
      this.#leave(() => this.#resolve(this.#commands.map((_command, index) => this.#replies.get(index + 1)!)));
    }
  }

  #fail(code: QemuErrorCode, message: string, cause?: unknown): void {
    const options = cause === undefined ? undefined : { cause };
    this.#leave(() => this.#reject(new QemuError(code, message, options)));
  }

  /** Closes the connection, and settles the visit when that is done. */
  #leave(settle: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const cancel of this.#timers) cancel();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#parts = [];
    if (this.#socket === undefined || this.#socket.closed) settle();
    else this.#socket.once('close', settle).destroy();
  }

  /** Calls back after a time, unless the visit is over before. */
  #after(delayMs: number, callback: () => void): () => void {
    const cancelTimer = this.#options.clock.schedule(delayMs, () => {
      this.#timers.delete(cancel);
      callback();
    });
    const cancel = () => {
      this.#timers.delete(cancel);
      cancelTimer();
    };
    this.#timers.add(cancel);
    return cancel;
  }
}

function explain(error: unknown): string {
  const text = isObject(error) ? textOf(error.desc) : undefined;
  return oneLine(cut(text ?? 'it gave no reason', TEXT_LENGTH_MAX));
}
