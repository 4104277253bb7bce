import type { Duplex } from 'node:stream';
import type { EventName, EventPayload } from '../../libvirt/wire/event-kinds.ts';
import {
  encodeFrame,
  type Frame,
  FrameDecoder,
  type FrameHeader,
  KEEPALIVE,
  MESSAGE_STATUS,
  MESSAGE_TYPE,
  PROGRAM,
  PROGRAM_VERSION,
} from '../../libvirt/wire/frame.ts';
import { XdrReader } from '../../libvirt/wire/xdr.ts';
import type { CallContext, Handlers, PolkitReply, Session } from '../calls/call.ts';
import type { CallCounters } from '../calls/call-counters.ts';
import { deviceCalls } from '../calls/device-calls.ts';
import { domainCalls } from '../calls/domain-calls.ts';
import { authenticationFailed, hostCalls } from '../calls/host-calls.ts';
import { poolCalls } from '../calls/pool-calls.ts';
import {
  apiFunctionName,
  isHighPriority,
  type NamedProcedure,
  PROCEDURE_BY_NUMBER,
  type SimProcedureName,
} from '../calls/procedures.ts';
import { statsCalls } from '../calls/stats-calls.ts';
import {
  DaemonError,
  ERROR_DOMAIN,
  internalError,
  readOnlyDenied,
  rpcError,
  unknownProcedure,
} from '../description/daemon-error.ts';
import type { Hypervisor } from '../hypervisor/hypervisor.ts';
import type { Fault, FaultList, Strike } from './faults.ts';
import { Keepalive, type KeepaliveOptions } from './keepalive.ts';
import { Link, type LinkFault } from './link.ts';
import { encodeError, encodeResult } from './replies.ts';
import { Subscriptions } from './subscriptions.ts';
import { tamper } from './tampering.ts';
import type { WorkerPool } from './worker-pool.ts';

const HANDLERS: Handlers = { ...hostCalls, ...domainCalls, ...deviceCalls, ...statsCalls, ...poolCalls };

/** What a client may call before it has opened the hypervisor. */
const WITHOUT_OPEN: ReadonlySet<SimProcedureName> = new Set<SimProcedureName>([
  'authList',
  'authPolkit',
  'connectOpen',
  'connectClose',
  'connectSupportsFeature',
]);

const SASL_PROCEDURES = { first: 67, last: 69 } as const;
const PING: FrameHeader = {
  program: PROGRAM.keepalive,
  version: PROGRAM_VERSION,
  procedure: KEEPALIVE.ping,
  type: MESSAGE_TYPE.message,
  serial: 0,
  status: MESSAGE_STATUS.ok,
};
const DEFAULT_URI = 'qemu:///system';

/** What all connections of one simulated daemon share. */
export interface DaemonParts {
  readonly hypervisor: Hypervisor;
  readonly workers: WorkerPool;
  readonly counters: CallCounters;
  readonly faults: FaultList;
  readonly authTypes: readonly number[];
  readonly polkit: PolkitReply;
  readonly maxRequestsPerClient: number;
  readonly lastProcedure: number;
  readonly keepalive: KeepaliveOptions | undefined;
  /** How the bytes of connections that are made from now on go. */
  linkFault: LinkFault;
  /** Replies are held back until there are this many, and then sent last first; 1 sends each at once. */
  reorder: number;
}

/** One client of the simulated daemon: its frames in, its replies and events out, in libvirtd's order and with its limits. */
export class ClientConnection implements Session {
  readonly #stream: Duplex;
  readonly #daemon: DaemonParts;
  readonly #forcedReadOnly: boolean;
  readonly #decoder = new FrameDecoder();
  readonly #unread: Frame[] = [];
  readonly #held: Buffer[] = [];
  #outstanding = 0;
  #authenticated: boolean;
  #opened = false;
  #readOnly = false;
  #uri = DEFAULT_URI;
  readonly #subscriptions = new Subscriptions();
  readonly #link: Link;
  #stopListening: (() => void) | undefined;
  #keepalive: Keepalive | undefined;
  #closed = false;
  #pumping = false;

  constructor(stream: Duplex, daemon: DaemonParts, options: { readonly readOnly: boolean; onClose(): void }) {
    this.#stream = stream;
    this.#daemon = daemon;
    this.#forcedReadOnly = options.readOnly;
    this.#authenticated = daemon.authTypes.length === 0 || daemon.authTypes.includes(0);
    this.#link = new Link(stream, daemon.hypervisor.clock);
    this.#link.setFault(daemon.linkFault);
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('end', () => stream.end());
    stream.on('error', () => stream.destroy());
    stream.on('close', () => {
      this.#closed = true;
      this.#link.stop();
      this.#stopListening?.();
      this.#keepalive?.stop();
      options.onClose();
    });
  }

  // --- what handlers see ---

  get readOnly(): boolean {
    return this.#readOnly;
  }

  get uri(): string {
    return this.#uri;
  }

  open(uri: string | undefined, readOnly: boolean): void {
    if (this.#opened) throw internalError('connection already open');
    this.#opened = true;
    this.#readOnly = readOnly || this.#forcedReadOnly;
    if (uri !== undefined && uri !== '') this.#uri = uri;
  }

  authenticate(): void {
    this.#authenticated = true;
  }

  startKeepalive(): void {
    const { keepalive, hypervisor } = this.#daemon;
    if (keepalive === undefined || this.#keepalive !== undefined) return;
    this.#keepalive = new Keepalive(
      hypervisor.clock,
      keepalive,
      () => this.sendBytes(encodeFrame(PING, () => {})),
      () => this.destroy(),
    );
  }

  subscribe(eventId: number, domainUuid: string | undefined, isLegacy: boolean): number {
    if (this.#subscriptions.isEmpty) {
      this.#stopListening = this.#daemon.hypervisor.listen((name, payload) => this.#sendEvent(name, payload));
    }
    return this.#subscriptions.add(eventId, domainUuid, isLegacy);
  }

  unsubscribe(match: { readonly callbackId: number } | { readonly legacyEventId: number }): boolean {
    const isRemoved = this.#subscriptions.remove(match);
    if (this.#subscriptions.isEmpty) this.#stopListening?.();
    return isRemoved;
  }

  // --- what tests do to it ---

  /** Closes the connection at once. Calls in progress go on, and their replies go nowhere. */
  destroy(): void {
    this.#stream.destroy();
  }

  sendBytes(bytes: Uint8Array): void {
    if (!this.#closed) this.#link.send(bytes);
  }

  setLinkFault(fault: LinkFault): void {
    this.#link.setFault(fault);
  }

  // --- bytes in ---

  #receive(chunk: Buffer): void {
    if (this.#link.isBlackHole) return;
    this.#keepalive?.heard();
    try {
      this.#decoder.push(chunk, (frame) => this.#unread.push(frame));
    } catch {
      // libvirtd closes the connection of a client that does not speak its protocol.
      this.destroy();
      return;
    }
    this.#pump();
  }

  /** Takes messages while the client is below its limit; what is beyond waits unread, keepalive included, as in libvirtd. */
  #pump(): void {
    // An answer that is given at once comes back here; the loop that is running already takes what is next.
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#unread.length > 0 && this.#outstanding < this.#daemon.maxRequestsPerClient && !this.#closed) {
      this.#take(this.#unread.shift()!);
    }
    this.#pumping = false;
    if (this.#outstanding >= this.#daemon.maxRequestsPerClient) this.#stream.pause();
    else if (this.#stream.isPaused()) this.#stream.resume();
  }

  #take(frame: Frame): void {
    if (frame.program === PROGRAM.keepalive) {
      if (frame.procedure !== KEEPALIVE.ping) return;
      this.#daemon.counters.keepalivePings++;
      this.sendBytes(encodeFrame({ ...headerOf(frame), procedure: KEEPALIVE.pong }, () => {}));
      return;
    }
    if (frame.type !== MESSAGE_TYPE.call && frame.type !== MESSAGE_TYPE.callWithFds) return;
    const procedure = frame.program === PROGRAM.remote ? PROCEDURE_BY_NUMBER.get(frame.procedure) : undefined;
    const refusal = this.#refusal(frame, procedure);
    if (refusal !== undefined || procedure === undefined) {
      this.#sendReply([encodeError(frame, refusal ?? unknownProcedure(frame.procedure))]);
      return;
    }
    this.#outstanding++;
    this.#daemon.counters.begin(procedure.name);
    this.#daemon.workers.enter(isHighPriority(procedure.name), () => this.#serve(frame, procedure));
  }

  /** Why a call is answered with an error before any worker sees it. */
  #refusal(frame: Frame, procedure: NamedProcedure | undefined): DaemonError | undefined {
    if (frame.program !== PROGRAM.remote) {
      return rpcError(`Cannot find program ${frame.program} version ${frame.version}`);
    }
    if (frame.version !== PROGRAM_VERSION) {
      return rpcError(`version mismatch (actual ${frame.version.toString(16)}, expected ${PROGRAM_VERSION})`);
    }
    if (frame.status !== MESSAGE_STATUS.ok) return rpcError(`Unexpected message status ${frame.status}`);
    if (frame.procedure >= SASL_PROCEDURES.first && frame.procedure <= SASL_PROCEDURES.last) {
      return authenticationFailed();
    }
    if (procedure === undefined || procedure.number > this.#daemon.lastProcedure) {
      return unknownProcedure(frame.procedure);
    }
    if (!this.#authenticated && procedure.name !== 'authList' && procedure.name !== 'authPolkit') {
      return rpcError('authentication required');
    }
    if (!this.#opened && !WITHOUT_OPEN.has(procedure.name)) return internalError('connection not open');
    if (this.#readOnly && !procedure.readOnly) return readOnlyDenied(apiFunctionName(procedure.name));
    return undefined;
  }

  // --- serving a call ---

  #serve(frame: Frame, procedure: NamedProcedure): void {
    let args: unknown;
    try {
      const reader = new XdrReader(frame.payload);
      args = procedure.args.decode(reader);
    } catch {
      this.#finish(() => this.#sendReply([encodeError(frame, rpcError('Unable to decode message payload'))]));
      return;
    }
    const strike = this.#daemon.faults.strikeCall(procedure.name, (vm) => concerns(args, vm));
    this.#after(strike?.fault.delayMs, () => this.#answer(frame, procedure, args, strike));
  }

  #after(delayMs: number | undefined, act: () => void): void {
    if (delayMs === undefined) act();
    else this.#daemon.hypervisor.clock.schedule(delayMs, act);
  }

  #answer(frame: Frame, procedure: NamedProcedure, args: unknown, strike: Strike | undefined): void {
    const fault = strike?.fault;
    const instead = this.#insteadOfMessage(fault);
    if (instead !== undefined) {
      this.#finish(instead);
      return;
    }
    const fail = (error: unknown): void => {
      this.#finish(() => {
        if (fault?.drop !== true) this.#sendReply([encodeError(frame, asDaemonError(error))], strike);
      });
    };
    const reply = (result: unknown): void => {
      let pieces: readonly Buffer[];
      try {
        pieces = encodeResult(frame, procedure, result);
      } catch (error) {
        fail(error);
        return;
      }
      this.#finish(() => {
        if (fault?.drop !== true) this.#sendReply(pieces, strike);
        if (procedure.name === 'connectClose') this.#endAfterClose();
      });
    };
    try {
      if (fault?.error !== undefined) throw faultError(fault.error);
      const handler = HANDLERS[procedure.name] as ((args: unknown, context: CallContext) => unknown) | undefined;
      if (handler === undefined) throw unknownProcedure(procedure.number);
      const result = handler(args, this.#contextOf(procedure));
      if (result instanceof Promise) result.then(reply, fail);
      else reply(result);
    } catch (error) {
      fail(error);
    }
  }

  #insteadOfMessage(fault: Fault | undefined): (() => void) | undefined {
    const garbage = fault?.garbage;
    if (garbage !== undefined) return () => this.sendBytes(garbage);
    return fault?.disconnect === true ? () => this.destroy() : undefined;
  }

  #contextOf(procedure: NamedProcedure): CallContext {
    const { hypervisor, counters, authTypes, polkit } = this.#daemon;
    return { procedure: procedure.name, hypervisor, counters, authTypes, polkit, session: this };
  }

  /** Ends a call: replies, frees its worker, and takes what the client has sent meanwhile. */
  #finish(respond: () => void): void {
    respond();
    this.#daemon.counters.end();
    this.#outstanding--;
    this.#daemon.workers.leave();
    if (!this.#closed) this.#pump();
  }

  /** libvirtd closes its side once the reply to the goodbye is out. */
  #endAfterClose(): void {
    this.#subscriptions.clear();
    this.#stopListening?.();
    this.releaseReplies();
    this.#stream.end();
  }

  // --- bytes out ---

  #sendReply(pieces: readonly Buffer[], strike?: Strike): void {
    const tampering = strike?.fault.tamper;
    const reply = tampering === undefined ? pieces : [tamper(Buffer.concat(pieces), tampering, strike!.number)];
    if (this.#daemon.reorder <= 1) {
      for (const piece of reply) this.sendBytes(piece);
      return;
    }
    this.#held.push(Buffer.concat(reply));
    if (this.#held.length >= this.#daemon.reorder) this.releaseReplies();
    else setImmediate(() => this.releaseReplies());
  }

  /** Sends the replies that are held back, the last one first. */
  releaseReplies(): void {
    for (const reply of this.#held.splice(0).reverse()) this.sendBytes(reply);
  }

  #sendEvent<N extends EventName>(name: N, payload: EventPayload<N>): void {
    for (const message of this.#subscriptions.encode(name, payload)) {
      const strike = this.#daemon.faults.strikeEvent(name, payload.domain.name);
      if (strike === undefined) {
        this.sendBytes(message);
        continue;
      }
      const { fault, number } = strike;
      const sent = fault.tamper === undefined ? message : tamper(message, fault.tamper, number);
      const instead = fault.drop === true ? () => {} : this.#insteadOfMessage(fault);
      this.#after(fault.delayMs, instead ?? (() => this.sendBytes(sent)));
    }
  }
}

function headerOf({ program, version, procedure, type, serial, status }: Frame): FrameHeader {
  return { program, version, procedure, type, serial, status };
}

/** Whether a call is about a VM: by its `domain` or `name` argument, or as one of those that a bulk call covers. */
function concerns(args: unknown, vm: string): boolean {
  if (typeof args !== 'object' || args === null) return false;
  const { domain, domains, name } = args as {
    readonly domain?: { readonly name: string };
    readonly domains?: readonly { readonly name: string }[];
    readonly name?: unknown;
  };
  if (domains !== undefined) return domains.length === 0 || domains.some((ref) => ref.name === vm);
  return domain?.name === vm || name === vm;
}

function faultError(error: NonNullable<Fault['error']>): DaemonError {
  return new DaemonError(error.code, error.domain ?? ERROR_DOMAIN.qemu, error.message, error.level);
}

/** A handler that fails in any other way is a mistake of the simulator's, and is told as libvirt tells its own. */
function asDaemonError(error: unknown): DaemonError {
  if (error instanceof DaemonError) return error;
  return internalError(error instanceof Error ? error.message : String(error));
}
