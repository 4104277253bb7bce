import type { Duplex } from 'node:stream';
import {
  encodeFrame,
  type Frame,
  FrameDecoder,
  KEEPALIVE,
  MESSAGE_STATUS,
  MESSAGE_TYPE,
  PROGRAM,
  PROGRAM_VERSION,
} from './frame.ts';
import { LibvirtError } from './libvirt-error.ts';
import type { Procedure } from './procedures.ts';
import { remoteError } from './types.ts';
import { XdrReader } from './xdr.ts';

/** How a call ended, for whoever counts. */
export type CallOutcome = 'ok' | 'error' | 'timeout' | 'aborted' | 'closed';

/** Called once for every call, when it is over for its caller. `durationMs` has a fraction. */
export type CallObserver = (procedure: string, durationMs: number, outcome: CallOutcome) => void;

/** Limits of one call. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for the reply; the connection's default when absent, `Infinity` for no limit. */
  readonly timeoutMs?: number | undefined;
}

export interface RpcConnectionOptions {
  /** What the stream leads to, for messages: `unix socket /run/libvirt/libvirt-sock-ro`. */
  readonly description: string;
  readonly defaultTimeoutMs: number;
  readonly onCall?: CallObserver | undefined;
  /** Called with every asynchronous message of the remote program, in order, from within the socket's reading: it must only queue. */
  onMessage(frame: Frame): void;
  /** Called once when the connection is over; without an error when this side asked for it. */
  onClose(error: LibvirtError | undefined): void;
}

interface PendingCall {
  readonly name: string;
  readonly procedure: Procedure<never, unknown>;
  readonly startedMs: number;
  readonly resolve: (result: never) => void;
  readonly reject: (error: LibvirtError) => void;
  readonly release: () => void;
}

const SERIAL_LIMIT = 0xffff_ffff;

/**
 * One connection's messages: pipelined calls told apart by serial, keepalive, and the errors of both. It knows frames and codecs,
 * but not what any procedure means.
 */
export class RpcConnection {
  readonly #stream: Duplex;
  readonly #options: RpcConnectionOptions;
  readonly #decoder = new FrameDecoder();
  readonly #pending = new Map<number, PendingCall>();
  /** Calls that nobody waits for any more but that the daemon still works on: serial to procedure number. */
  readonly #abandoned = new Map<number, number>();
  #serial = 0;
  #closed = false;
  #closing = false;
  #closeError: LibvirtError | undefined;
  #keepaliveTimer: NodeJS.Timeout | undefined;
  #heardSinceTick = false;

  constructor(stream: Duplex, options: RpcConnectionOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', (cause) => this.#fail(closedError(options.description, cause.message, cause)));
    const ended = () => {
      const where = this.#decoder.atBoundary ? '' : ' in the middle of a message';
      this.#finish(
        this.#closing ? undefined : closedError(options.description, `the other side closed the connection${where}`),
      );
    };
    stream.on('end', ended);
    stream.on('close', ended);
  }

  get isOpen(): boolean {
    return !this.#closed;
  }

  /** Calls that the daemon has not answered yet, those given up waiting for included. */
  get outstandingCalls(): number {
    return this.#pending.size + this.#abandoned.size;
  }

  /** Calls given up waiting for that the daemon has not answered yet. */
  get abandonedCalls(): number {
    return this.#abandoned.size;
  }

  /** Sends one call; rejects with a LibvirtError, never with anything else. */
  call<A, R>(name: string, procedure: Procedure<A, R>, args: A, options: CallOptions = {}): Promise<R> {
    const { signal, timeoutMs = this.#options.defaultTimeoutMs } = options;
    return new Promise<R>((resolve, reject) => {
      if (this.#closed || this.#closing) {
        const error = this.#closeError ?? closedError(this.#options.description, 'it was closed by this side');
        return reject(new LibvirtError(error.code, error.message, { cause: error }));
      }
      if (signal?.aborted) return reject(abortedError(name, signal));
      const serial = this.#nextSerial();
      let frame: Buffer;
      try {
        frame = encodeFrame(
          {
            program: PROGRAM.remote,
            version: PROGRAM_VERSION,
            procedure: procedure.number,
            type: MESSAGE_TYPE.call,
            serial,
            status: MESSAGE_STATUS.ok,
          },
          (writer) => procedure.args.encode(writer, args),
        );
      } catch (error) {
        return reject(asProtocolError(error));
      }
      const abandon = (outcome: CallOutcome, error: LibvirtError) => {
        const call = this.#pending.get(serial);
        if (call === undefined) return;
        this.#pending.delete(serial);
        this.#abandoned.set(serial, procedure.number);
        this.#settle(call, outcome);
        reject(error);
      };
      const timer = Number.isFinite(timeoutMs)
        ? setTimeout(() => abandon('timeout', timeoutError(name, timeoutMs)), Math.max(0, timeoutMs))
        : undefined;
      const onAbort = () => abandon('aborted', abortedError(name, signal!));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(serial, {
        name,
        procedure: procedure as unknown as Procedure<never, unknown>,
        startedMs: performance.now(),
        resolve: resolve as (result: never) => void,
        reject,
        release: () => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
        },
      });
      this.#stream.write(frame);
    });
  }

  /**
   * Sends a ping whenever nothing was heard for `intervalMs`, and closes the connection after `count` of them without an answer.
   * Only for daemons that said they support it.
   */
  startKeepalive(intervalMs: number, count: number): void {
    let unanswered = 0;
    this.#keepaliveTimer = setInterval(() => {
      if (this.#heardSinceTick) unanswered = 0;
      this.#heardSinceTick = false;
      if (unanswered >= count) {
        const silentMs = intervalMs * (count + 1);
        return this.#fail(
          closedError(this.#options.description, `the daemon has not answered for ${silentMs / 1000} s`),
        );
      }
      unanswered++;
      this.#sendKeepalive(KEEPALIVE.ping);
    }, intervalMs);
    this.#keepaliveTimer.unref();
  }

  /**
   * Waits for the other side to close, as it does after the close procedure, at most `graceMs`; then the stream is destroyed. What
   * is pending is rejected.
   */
  async end(graceMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closing = true;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.#stream.once('close', resolve);
      this.#stream.once('end', () => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.#finish(undefined);
  }

  /** Closes at once, without a word to the daemon. */
  destroy(): void {
    this.#closing = true;
    this.#finish(undefined);
  }

  #receive(chunk: Buffer): void {
    if (this.#closed) return;
    this.#heardSinceTick = true;
    try {
      this.#decoder.push(chunk, (frame) => {
        if (!this.#closed) this.#dispatch(frame);
      });
    } catch (error) {
      this.#fail(asProtocolError(error, this.#options.description));
    }
  }

  #dispatch(frame: Frame): void {
    if (frame.program === PROGRAM.keepalive) {
      if (frame.procedure === KEEPALIVE.ping) this.#sendKeepalive(KEEPALIVE.pong);
      return;
    }
    if (frame.program !== PROGRAM.remote || frame.version !== PROGRAM_VERSION) {
      throw new LibvirtError(
        'ERR_LIBVIRT_PROTOCOL',
        `a message is of program 0x${frame.program.toString(16)} version ${frame.version}, not of libvirt's remote program`,
      );
    }
    if (frame.type === MESSAGE_TYPE.reply) this.#reply(frame);
    else if (frame.type === MESSAGE_TYPE.message) this.#options.onMessage(frame);
    else throw new LibvirtError('ERR_LIBVIRT_PROTOCOL', `a message of type ${frame.type} came that nobody asked for`);
  }

  #reply(frame: Frame): void {
    const call = this.#pending.get(frame.serial);
    const expected = call?.procedure.number ?? this.#abandoned.get(frame.serial);
    if (expected !== frame.procedure) {
      throw new LibvirtError(
        'ERR_LIBVIRT_PROTOCOL',
        expected === undefined
          ? `a reply has the serial ${frame.serial}, which no call is waiting for`
          : `the reply to serial ${frame.serial} is of procedure ${frame.procedure}, but ${expected} was called`,
      );
    }
    if (call === undefined) {
      this.#abandoned.delete(frame.serial);
      return;
    }
    const reader = new XdrReader(frame.payload);
    if (frame.status === MESSAGE_STATUS.error) {
      const error = decodeRemoteError(reader, call.name);
      this.#pending.delete(frame.serial);
      this.#settle(call, 'error');
      call.reject(error);
      return;
    }
    // Decoding may throw: the call is then still pending, and rejected with the rest when the connection is closed for it.
    const result = call.procedure.result.decode(reader);
    reader.finish();
    this.#pending.delete(frame.serial);
    this.#settle(call, 'ok');
    call.resolve(result as never);
  }

  #settle(call: PendingCall, outcome: CallOutcome): void {
    call.release();
    this.#options.onCall?.(call.name, performance.now() - call.startedMs, outcome);
  }

  #sendKeepalive(procedure: number): void {
    if (this.#closed || this.#stream.writableEnded) return;
    const header = { program: PROGRAM.keepalive, version: PROGRAM_VERSION, procedure, serial: 0 };
    this.#stream.write(encodeFrame({ ...header, type: MESSAGE_TYPE.message, status: MESSAGE_STATUS.ok }, () => {}));
  }

  #nextSerial(): number {
    do {
      this.#serial = this.#serial >= SERIAL_LIMIT ? 1 : this.#serial + 1;
    } while (this.#pending.has(this.#serial) || this.#abandoned.has(this.#serial));
    return this.#serial;
  }

  #fail(error: LibvirtError): void {
    this.#finish(error);
  }

  #finish(error: LibvirtError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeError = error;
    clearInterval(this.#keepaliveTimer);
    this.#stream.destroy();
    const reason = error ?? closedError(this.#options.description, 'it was closed by this side');
    for (const call of this.#pending.values()) {
      this.#settle(call, 'closed');
      call.reject(reason);
    }
    this.#pending.clear();
    this.#abandoned.clear();
    this.#options.onClose(error);
  }
}

function decodeRemoteError(reader: XdrReader, name: string): LibvirtError {
  const { code, domain, level, message } = remoteError.decode(reader);
  reader.finish();
  const text = message ?? `error ${code} without a message`;
  return new LibvirtError('ERR_LIBVIRT_REMOTE', text, {
    remote: { code, domain, level, message: text },
    cause: `answer to ${name}`,
  });
}

function closedError(description: string, why: string, cause?: unknown): LibvirtError {
  return new LibvirtError('ERR_LIBVIRT_CLOSED', `the connection to ${description} is gone: ${why}`, { cause });
}

function timeoutError(name: string, timeoutMs: number): LibvirtError {
  return new LibvirtError('ERR_LIBVIRT_TIMEOUT', `libvirt did not answer ${name} within ${Math.round(timeoutMs)} ms`);
}

function abortedError(name: string, signal: AbortSignal): LibvirtError {
  return new LibvirtError('ERR_LIBVIRT_ABORTED', `the call ${name} was given up by its caller`, {
    cause: signal.reason,
  });
}

/** A decoder's own error with the peer's name before it; anything else that a codec threw, as a protocol error. */
function asProtocolError(error: unknown, description?: string): LibvirtError {
  const message = error instanceof Error ? error.message : String(error);
  const prefix = description === undefined ? '' : `${description} does not speak libvirt's protocol: `;
  return new LibvirtError('ERR_LIBVIRT_PROTOCOL', prefix + message, { cause: error });
}
