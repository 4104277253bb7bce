import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { type ArgsOf, type LibvirtClient, LibvirtError, type ProcedureName, type ResultOf } from '../libvirt/index.ts';
import type { HostInfo } from '../model/snapshot.ts';
import type { Connect } from './connect.ts';
import { readHostInfo } from './host-info.ts';
import { Lines, type Seat } from './lines.ts';
import { type CallKindName, type Permit, WorkerBudget } from './worker-budget.ts';

/** A control connection that leaves a ping or a list unanswered for this long is replaced. */
export const CONTROL_SILENT_MAX_MS = 30_000;
/** After an attempt to replace it has failed, the next one waits this long, and twice as long each time. */
const REPLACE_AGAIN_FIRST_MS = 30_000;
const REPLACE_AGAIN_MAX_MS = 600_000;

export interface SessionOptions {
  readonly connect: Connect;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called with every control connection before it is used. */
  prepare(control: LibvirtClient, signal: AbortSignal): Promise<void>;
}

/** A call under way whose reply is used whenever it comes. */
export interface SentCall<T> {
  /** Rejects with libvirt's error. */
  readonly reply: Promise<T>;
  /** Notes that nothing waits for the reply any more: until it comes, the call counts as blocked. */
  giveUp(): void;
}

/** The right to have one call that may hang under way. */
export interface CallPlace {
  /** The connection to make it on; undefined when none can be had. Waits until one is open and has room. To be settled before `leave`. */
  client(): Promise<LibvirtClient | undefined>;
  /** Nothing waits for the call any more: until it has left, it counts as blocked. */
  giveUp(): void;
  /** The daemon has answered, or the connection is gone: to be called then, and not before. */
  leave(): void;
}

/** The kinds of calls that hang only when the daemon itself does. */
export type ControlKind = 'domain' | 'daemon';
/** The kinds of calls that may hang with a VM or a pool. */
export type LineKind = Exclude<CallKindName, ControlKind | 'replacement'>;

/**
 * One life of the daemon's connection: everything that is learnt about the daemon is forgotten with it.
 *
 * The control connection carries events and the calls that hang only when the daemon itself does: lists, XML, pings. Calls that may
 * hang with a VM or a pool go over lines. Every call takes a place of one budget.
 */
export class Session {
  readonly host: HostInfo;
  /** Settles when the control connection is gone and was not replaced; with the reason, if there is one. Never rejects. */
  readonly closed: Promise<LibvirtError | undefined>;
  readonly #options: SessionOptions;
  readonly #abort = new AbortController();
  readonly #closed = Promise.withResolvers<LibvirtError | undefined>();
  readonly #budget: WorkerBudget;
  readonly #lines: Lines;
  #control: LibvirtClient;
  /** Calls on the control connection that are not answered. */
  #controlCalls = new Set<Permit>();
  /** Control connections that were replaced, and stay open until they have answered everything. */
  readonly #replaced = new Set<LibvirtClient>();
  #heardAtMs: number;
  #silentSinceMs: number | undefined;
  #ping: Promise<boolean> | undefined;
  /** Pings and lists of the control connection that were not answered in time. */
  #overdue = new Set<object>();
  #isReplacing = false;
  #replaceAgainMs = REPLACE_AGAIN_FIRST_MS;
  /** Attempts to replace it that failed: the daemon may still work on them, until it is heard again. */
  readonly #failedAttempts = new Set<Permit>();
  readonly #cancels = new Set<() => void>();

  private constructor(control: LibvirtClient, host: HostInfo, options: SessionOptions) {
    this.#control = control;
    this.host = host;
    this.closed = this.#closed.promise;
    this.#options = options;
    this.#budget = new WorkerBudget((places) => (places === 'control' ? this.#lines.takenOnControl : 0));
    this.#lines = new Lines({
      connect: options.connect,
      clock: options.clock,
      signal: this.#abort.signal,
      control: () => this.#control,
      onControlLeft: () => this.#budget.admitWaiting(),
    });
    this.#heardAtMs = options.clock.monotonicMs();
    this.#follow(control);
  }

  /** Connects, and asks the daemon who it is. Rejects with the error of the connection. */
  static async open(options: SessionOptions, signal: AbortSignal): Promise<Session> {
    const control = await options.connect(signal);
    try {
      const host = await readHostInfo(control, signal);
      await options.prepare(control, signal);
      return new Session(control, host, options);
    } catch (error) {
      control.destroy();
      throw error;
    }
  }

  /** The control connection of now. */
  get control(): LibvirtClient {
    return this.#control;
  }

  get isOpen(): boolean {
    return this.#control.isOpen;
  }

  // ---- whether the daemon listens ------------------------------------------------------------------------------------------------

  /** When the daemon last answered anything, monotonic. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }

  /** Since when the daemon is known to be silent, monotonic; undefined when it is not. */
  get silentSinceMs(): number | undefined {
    return this.#silentSinceMs;
  }

  /** Notes that the daemon has answered something. */
  noteHeard(): void {
    this.#heardAtMs = this.#options.clock.monotonicMs();
    for (const permit of this.#failedAttempts) permit.release();
    this.#failedAttempts.clear();
  }

  /** Notes that the daemon has answered nothing for a whole collection. */
  noteSilent(): void {
    this.#silentSinceMs = this.#options.clock.monotonicMs();
  }

  /** Notes that it is no longer so. */
  endSilence(): void {
    this.#silentSinceMs = undefined;
  }

  /** Whether the daemon answers; pends while it does not. There is never more than one such call on a connection. */
  ping(): Promise<boolean> {
    if (this.#ping !== undefined) return this.#ping;
    const answer = this.sendWatched('connectGetLibVersion', undefined).reply.then(
      () => true,
      (error: LibvirtError) => error.code === 'ERR_LIBVIRT_REMOTE',
    );
    this.#ping = answer;
    void answer.finally(() => {
      if (this.#ping === answer) this.#ping = undefined;
    });
    return answer;
  }

  // ---- calls that hang only with the daemon --------------------------------------------------------------------------------------

  /** Calls that nothing waits for any more and that are not answered, on any connection. */
  get blockedCalls(): number {
    return this.#budget.blockedCalls();
  }

  /** Whether a call of this kind would have to wait for a place. */
  mustWait(kind: ControlKind): boolean {
    return !this.#budget.admits(kind);
  }

  /** Makes a call on the control connection. Rejects with `ERR_LIBVIRT_ABORTED` when the signal comes first. */
  ask<N extends ProcedureName>(kind: ControlKind, name: N, args: ArgsOf<N>, signal: AbortSignal): Promise<ResultOf<N>> {
    return this.#budget.run(kind, (permit) => this.#call(permit, name, args), signal);
  }

  /** Makes a call on the control connection whose reply is used whenever it comes. */
  send<N extends ProcedureName>(kind: ControlKind, name: N, args: ArgsOf<N>): SentCall<ResultOf<N>> {
    let permit: Permit | undefined;
    let isGivenUp = false;
    const reply = this.#budget.run(
      kind,
      (admitted) => {
        permit = admitted;
        if (isGivenUp) admitted.giveUp();
        return this.#call(admitted, name, args);
      },
      this.#abort.signal,
    );
    return {
      reply,
      giveUp: () => {
        isGivenUp = true;
        permit?.giveUp();
      },
    };
  }

  /**
   * Makes a call about the daemon that every daemon answers soon. If this one does not, waiting for a place included, the control
   * connection is replaced.
   */
  sendWatched<N extends ProcedureName>(name: N, args: ArgsOf<N>): SentCall<ResultOf<N>> {
    const sent = this.send('daemon', name, args);
    const overdue = this.#overdue;
    const cancel = this.#after(CONTROL_SILENT_MAX_MS, () => {
      overdue.add(sent);
      if (overdue === this.#overdue) void this.#replaceControl();
    });
    const end = () => {
      cancel();
      overdue.delete(sent);
    };
    sent.reply.then(end, end);
    return sent;
  }

  async #call<N extends ProcedureName>(permit: Permit, name: N, args: ArgsOf<N>): Promise<ResultOf<N>> {
    const client = this.#control;
    this.#controlCalls.add(permit);
    const calls = this.#controlCalls;
    try {
      const result = await client.call(name, args, { timeoutMs: Number.POSITIVE_INFINITY });
      this.noteHeard();
      return result;
    } catch (error) {
      if (error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_REMOTE') this.noteHeard();
      throw error;
    } finally {
      calls.delete(permit);
      if (client !== this.#control && calls.size === 0) this.#closeReplaced(client);
    }
  }

  // ---- calls that may hang -------------------------------------------------------------------------------------------------------

  /** Calls of one kind that nothing waits for any more and that are not answered, with those that use the same places. */
  get blockedStatistics(): number {
    return this.#budget.blockedCalls('statistics');
  }

  /** Whether a call of this kind can be made without waiting until another one is answered. */
  hasPlace(kind: LineKind): boolean {
    return this.#budget.admits(kind) && this.#lines.hasRoom;
  }

  /** Whether `takePlace` would return a place. */
  hasPermit(kind: LineKind): boolean {
    return this.#budget.admits(kind);
  }

  /** A place for one call; undefined when none is free. */
  takePlace(kind: LineKind): CallPlace | undefined {
    const permit = this.#budget.tryEnter(kind);
    if (permit === undefined) return undefined;
    let seat: Seat | undefined;
    return {
      client: async () => {
        seat ??= await this.#lines.takeSeat();
        return seat?.client;
      },
      giveUp: () => permit.giveUp(),
      leave: () => {
        permit.release();
        seat?.leave();
      },
    };
  }

  // ---- replacing the control connection ------------------------------------------------------------------------------------------

  /**
   * Opens another control connection in the place of one that does not answer. The calls that the old one leaves behind keep places of
   * the budget, so that this cannot be done again and again with a daemon that hangs.
   */
  async #replaceControl(): Promise<void> {
    if (this.#isReplacing || !this.isOpen || this.#abort.signal.aborted) return;
    // Where the daemon takes a single connection, the new one can only follow the old one.
    if (this.#lines.isControlShared) return this.#control.destroy();
    const attempt =
      this.#budget.room('replacement') > this.#controlCalls.size ? this.#budget.tryEnter('replacement') : undefined;
    if (attempt === undefined) return this.#replaceLater();
    const { connect, prepare } = this.#options;
    this.#isReplacing = true;
    let fresh: LibvirtClient;
    try {
      fresh = await connect(this.#abort.signal);
      this.noteHeard();
    } catch {
      attempt.giveUp();
      this.#failedAttempts.add(attempt);
      return this.#replaceLater();
    } finally {
      this.#isReplacing = false;
    }
    const isNeeded = this.#overdue.size > 0 && this.isOpen && !this.#abort.signal.aborted;
    if (isNeeded && this.#budget.room('replacement') >= this.#controlCalls.size) {
      this.#useAsControl(fresh);
      await prepare(fresh, this.#abort.signal).catch(() => fresh.destroy());
    } else fresh.destroy();
    attempt.release();
  }

  #replaceLater(): void {
    if (this.#abort.signal.aborted) return;
    const overdue = this.#overdue;
    this.#after(this.#replaceAgainMs, () => {
      if (overdue === this.#overdue && overdue.size > 0) void this.#replaceControl();
    });
    this.#replaceAgainMs = Math.min(REPLACE_AGAIN_MAX_MS, this.#replaceAgainMs * 2);
  }

  #useAsControl(fresh: LibvirtClient): void {
    const old = this.#control;
    const left = this.#controlCalls;
    this.#control = fresh;
    this.#controlCalls = new Set();
    this.#overdue = new Set();
    this.#ping = undefined;
    this.#replaceAgainMs = REPLACE_AGAIN_FIRST_MS;
    this.#replaced.add(old);
    this.#follow(fresh);
    this.#options.logger.warn('the control connection to libvirt does not answer; another one takes its place', {
      connection: old.description,
      unanswered: left.size,
    });
    for (const permit of left) {
      permit.giveUp();
      permit.changeKind('replacement');
    }
    if (left.size === 0) this.#closeReplaced(old);
  }

  #closeReplaced(client: LibvirtClient): void {
    void client.close().then(() => this.#replaced.delete(client));
  }

  #follow(control: LibvirtClient): void {
    void control.closed.then((error) => {
      if (control === this.#control) this.#closed.resolve(error);
    });
  }

  // ---- the end -------------------------------------------------------------------------------------------------------------------

  /** Says goodbye on every connection. */
  async close(): Promise<void> {
    this.#end();
    await Promise.all([...this.#clients()].map((client) => client.close()));
    this.#lines.wakeWaiting();
  }

  /** Drops every connection without a word: the daemon does not listen any more. */
  destroy(): void {
    this.#end();
    for (const client of this.#clients()) client.destroy();
    this.#lines.wakeWaiting();
  }

  #end(): void {
    this.#abort.abort();
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  #clients(): ReadonlySet<LibvirtClient> {
    return new Set([this.#control, ...this.#lines.clients, ...this.#replaced]);
  }

  #after(delayMs: number, action: () => void): () => void {
    const cancel = this.#options.clock.schedule(delayMs, () => {
      this.#cancels.delete(cancelIt);
      action();
    });
    const cancelIt = () => {
      this.#cancels.delete(cancelIt);
      cancel();
    };
    this.#cancels.add(cancelIt);
    return cancelIt;
  }
}
