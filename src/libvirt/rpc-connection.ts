import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { cut, oneLine } from '../base/text.ts';
import { Keepalive, type KeepaliveOptions } from './keepalive.ts';
import {
  encodeFrame,
  type Frame,
  FrameDecoder,
  KEEPALIVE,
  MESSAGE_BYTES_MAX,
  MESSAGE_STATUS,
  MESSAGE_TYPE,
  PROGRAM,
  PROGRAM_VERSION,
} from './wire/frame.ts';
import { LibvirtError } from './wire/libvirt-error.ts';
import type { Procedure } from './wire/procedures.ts';
import { remoteError } from './wire/types.ts';
import { XdrReader } from './wire/xdr.ts';

/** How a call ended. */
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
  readonly clock: Clock;
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
  readonly onLateResult: ((result: never) => void) | undefined;
  readonly release: () => void;
}

/** The longest text of a daemon's error that is kept: the wire has room for 4 MiB, and some of QEMU's own output can be in it. */
const REMOTE_TEXT_MAX = 2_000;
const SERIAL_MAX = 0xffff_ffff;
/** A daemon that reads nothing, or answers nothing, is not sent more than this. */
const UNSENT_BYTES_MAX = 2 * MESSAGE_BYTES_MAX;
const OUTSTANDING_MAX = 65_536;
/** What a peer may have waiting of answers to its pings: one that sends pings and reads nothing must not fill the memory. */
const UNSENT_PONGS_BYTES_MAX = 64 * 1024;

/**
 * One connection's messages: pipelined calls told apart by serial, keepalive, and the errors of both. It knows frames and codecs,
 * but not what any procedure means.
 */
export class RpcConnection {
  readonly #stream: Duplex;
  readonly #options: RpcConnectionOptions;
  readonly #decoder = new FrameDecoder();
  readonly #pending = new Map<number, PendingCall>();
  /** Calls that nobody waits for any more but that the daemon still works on. */
  readonly #abandoned = new Map<number, PendingCall>();
  #serial = 0;
  /** Whether calls are held back until this turn is over. */
  #isCorked = false;
  #closed = false;
  #closing = false;
  #closeError: LibvirtError | undefined;
  #keepalive: Keepalive | undefined;

  constructor(stream: Duplex, options: RpcConnectionOptions) {
    this.#stream = stream;
    this.#options = options;
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', (cause) => this.#finish(closedError(options.description, cause.message, cause)));
    const ended = () => {
      const where = this.#decoder.atBoundary ? '' : ' in the middle of a message';
      this.#finish(closedError(options.description, `the other side closed the connection${where}`));
    };
    stream.on('end', ended);
    stream.on('close', ended);
    // A stream that was lost before it came here has said so to nobody.
    if (stream.errored) this.#finish(closedError(options.description, stream.errored.message, stream.errored));
    else if (stream.destroyed || stream.readableEnded) ended();
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

  /**
   * Sends one call; rejects with a LibvirtError, never with anything else. `onLateResult` is called with a result that comes after
   * the caller has stopped waiting for it.
   */
  call<A, R>(
    name: string,
    procedure: Procedure<A, R>,
    args: A,
    options: CallOptions = {},
    onLateResult?: (result: R) => void,
  ): Promise<R> {
    const { clock, description } = this.#options;
    const { signal, timeoutMs = this.#options.defaultTimeoutMs } = options;
    return new Promise<R>((resolve, reject) => {
      if (this.#closed || this.#closing) {
        const error = this.#closeError ?? closedError(description, 'it was closed by this side');
        return reject(new LibvirtError(error.code, error.message, { cause: error }));
      }
      if (signal?.aborted) return reject(abortedError(name, description, signal));
      if (this.#stream.writableLength > UNSENT_BYTES_MAX || this.outstandingCalls >= OUTSTANDING_MAX) {
        return reject(busyError(name, description, this.outstandingCalls));
      }
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
        return reject(unsendableError(name, error));
      }
      const abandon = (outcome: CallOutcome, error: LibvirtError) => {
        const call = this.#pending.get(serial);
        if (call === undefined) return;
        this.#pending.delete(serial);
        this.#abandoned.set(serial, call);
        this.#settle(call, outcome);
        reject(error);
      };
      const cancelDeadline = clock.schedule(timeoutMs, () =>
        abandon('timeout', timeoutError(name, description, timeoutMs)),
      );
      const onAbort = () => abandon('aborted', abortedError(name, description, signal!));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(serial, {
        name,
        procedure: procedure as unknown as Procedure<never, unknown>,
        startedMs: clock.monotonicMs(),
        resolve: resolve as (result: never) => void,
        reject,
        onLateResult: onLateResult as ((result: never) => void) | undefined,
        release: () => {
          cancelDeadline();
          signal?.removeEventListener('abort', onAbort);
        },
      });
      this.#send(frame);
    });
  }

  /**
   * Pings a silent daemon from now on, and closes the connection when it stays silent. Only for daemons that said they support it.
   */
  startKeepalive(options: KeepaliveOptions): void {
    this.#keepalive ??= new Keepalive(this.#options.clock, options, {
      ping: () => this.#sendKeepalive(KEEPALIVE.ping),
      onSilent: (silentMs) => {
        this.#finish(closedError(this.#options.description, `the daemon has not answered for ${silentMs / 1000} s`));
      },
    });
    if (!this.#closed) this.#keepalive.start();
  }

  /**
   * Makes one last call and waits for the other side to close, as it does after the close procedure: both together within
   * `graceMs`. Then the stream is destroyed. No other call is taken from now on; what is pending is rejected at the end.
   */
  async end<A, R>(name: string, procedure: Procedure<A, R>, args: A, graceMs: number): Promise<void> {
    if (this.#closed || this.#closing) return;
    const over = Promise.withResolvers<void>();
    const cancelGrace = this.#options.clock.schedule(graceMs, over.resolve);
    const goodbye = this.call(name, procedure, args, { timeoutMs: Number.POSITIVE_INFINITY });
    // A daemon that refuses the call does not close either.
    goodbye.catch(over.resolve);
    this.#closing = true;
    this.#stream.once('end', over.resolve).once('close', over.resolve);
    await over.promise;
    cancelGrace();
    this.#finish(undefined);
  }

  /** Closes at once, without a word to the daemon. */
  destroy(): void {
    this.#closing = true;
    this.#finish(undefined);
  }

  #receive(chunk: Buffer): void {
    if (this.#closed) return;
    this.#keepalive?.heardBytes(chunk.length);
    try {
      this.#decoder.push(chunk, (frame) => {
        if (!this.#closed) this.#dispatch(frame);
      });
    } catch (error) {
      this.#finish(protocolError(error, this.#options.description));
    }
  }

  #dispatch(frame: Frame): void {
    this.#keepalive?.heardMessage();
    if (
      frame.program === PROGRAM.keepalive &&
      frame.version === PROGRAM_VERSION &&
      frame.type === MESSAGE_TYPE.message
    ) {
      if (frame.procedure === KEEPALIVE.ping && this.#stream.writableLength < UNSENT_PONGS_BYTES_MAX) {
        this.#sendKeepalive(KEEPALIVE.pong);
      }
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
    const pending = this.#pending.get(frame.serial);
    const call = pending ?? this.#abandoned.get(frame.serial);
    const expected = call?.procedure.number;
    if (expected !== frame.procedure) {
      throw new LibvirtError(
        'ERR_LIBVIRT_PROTOCOL',
        expected === undefined
          ? `a reply has the serial ${frame.serial}, which no call is waiting for`
          : `the reply to serial ${frame.serial} is of procedure ${frame.procedure}, but ${expected} was called`,
      );
    }
    if (frame.status === MESSAGE_STATUS.continue) {
      throw new LibvirtError('ERR_LIBVIRT_PROTOCOL', `the reply to serial ${frame.serial} has the status of a stream`);
    }
    if (pending === undefined) this.#lateReply(frame, call!);
    else this.#settleWith(frame, pending);
  }

  #lateReply(frame: Frame, call: PendingCall): void {
    this.#abandoned.delete(frame.serial);
    if (call.onLateResult === undefined || frame.status !== MESSAGE_STATUS.ok) return;
    call.onLateResult(call.procedure.result.decode(new XdrReader(frame.payload)) as never);
  }

  #settleWith(frame: Frame, call: PendingCall): void {
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
    try {
      this.#options.onCall?.(call.name, this.#options.clock.monotonicMs() - call.startedMs, outcome);
    } catch (error) {
      // The observer's bug must not break the connection: the process gets the error as an uncaught exception.
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  /** Writes a call with all that are made in the same turn: each write wakes the daemon, and costs more than encoding the call. */
  #send(frame: Buffer): void {
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#stream.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#stream.uncork();
      });
    }
    this.#stream.write(frame);
  }

  #sendKeepalive(procedure: number): void {
    if (this.#closed || !this.#stream.writable) return;
    const header = { program: PROGRAM.keepalive, version: PROGRAM_VERSION, procedure, serial: 0 };
    this.#stream.write(encodeFrame({ ...header, type: MESSAGE_TYPE.message, status: MESSAGE_STATUS.ok }, () => {}));
  }

  #nextSerial(): number {
    do {
      this.#serial = this.#serial >= SERIAL_MAX ? 1 : this.#serial + 1;
    } while (this.#pending.has(this.#serial) || this.#abandoned.has(this.#serial));
    return this.#serial;
  }

  /** Ends the connection once and for all. What happens to it while this side is closing it is no error. */
  #finish(cause: LibvirtError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    const error = this.#closing ? undefined : cause;
    this.#closeError = error;
    this.#keepalive?.stop();
    this.#stream.destroy();
    const reason = error ?? closedError(this.#options.description, 'it was closed by this side');
    const calls = [...this.#pending.values()];
    this.#pending.clear();
    this.#abandoned.clear();
    for (const call of calls) {
      this.#settle(call, 'closed');
      call.reject(reason);
    }
    this.#options.onClose(error);
  }
}

function decodeRemoteError(reader: XdrReader, name: string): LibvirtError {
  const { code, domain, level, message } = remoteError.decode(reader);
  reader.finish();
  const text = cut(oneLine(message ?? ''), REMOTE_TEXT_MAX) || `error ${code} without a message`;
  return new LibvirtError('ERR_LIBVIRT_REMOTE', text, {
    remote: { code, domain, level, message: text },
    cause: `reply to ${name}`,
  });
}

function closedError(description: string, why: string, cause?: unknown): LibvirtError {
  return new LibvirtError('ERR_LIBVIRT_CLOSED', `the connection to ${description} is gone: ${why}`, { cause });
}

function timeoutError(name: string, description: string, timeoutMs: number): LibvirtError {
  const message = `${description} did not answer ${name} within ${Math.round(timeoutMs)} ms`;
  return new LibvirtError('ERR_LIBVIRT_TIMEOUT', message);
}

function abortedError(name: string, description: string, signal: AbortSignal): LibvirtError {
  const message = `the call ${name} to ${description} was given up by its caller`;
  return new LibvirtError('ERR_LIBVIRT_ABORTED', message, { cause: signal.reason });
}

function busyError(name: string, description: string, outstanding: number): LibvirtError {
  const message = `${description} takes no more: ${outstanding} calls are unanswered, and ${name} was not sent`;
  return new LibvirtError('ERR_LIBVIRT_BUSY', message);
}

/** Whatever encoding ended in: arguments of another shape than the codec's are a TypeError, for one. */
function unsendableError(name: string, error: unknown): LibvirtError {
  return new LibvirtError('ERR_LIBVIRT_ARGUMENT', `${name} was not sent: ${messageOf(error)}`, { cause: error });
}

/** A decoder's error with the peer's name before it. */
function protocolError(error: unknown, description: string): LibvirtError {
  const message = `${description} does not speak libvirt's protocol: ${messageOf(error)}`;
  return new LibvirtError('ERR_LIBVIRT_PROTOCOL', message, { cause: error });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
