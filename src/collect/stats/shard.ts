import type { DomainRecord } from '../inventory/domain-record.ts';
import type { BitsOf, StatsCall } from './stats-calls.ts';
import { CALLS_IN_FLIGHT } from './stats-calls.ts';

/** VMs in one call: few enough that a hung VM is found by asking around it, many enough that the call's own cost vanishes. */
const SHARD_MIN = 4;
const SHARD_MAX = 64;
/** A host's VMs are split into about this many shards, so that the calls in flight end together. */
const SHARDS_WANTED = 5 * CALLS_IN_FLIGHT;

/** What a shard begins with. */
export interface ShardKind {
  /** The groups that its VMs are asked for, as bits of virDomainStatsTypes. */
  readonly bits: number;
  /** Only VMs on which a call of ours hangs already. */
  readonly isSuspect?: boolean;
  /** Only VMs that answered in the last collection. */
  readonly isTrusted?: boolean;
  /** Its VMs were asked before, in this collection. */
  readonly isRetried?: boolean;
}

/** The part of one host's VMs that one call asks for. */
export class Shard {
  readonly bits: number;
  readonly isSuspect: boolean;
  readonly isRetried: boolean;
  readonly #waiting: Set<DomainRecord>;
  /** VMs that answered without the monitor: enough to go on, not to be content. */
  readonly #partial = new Set<DomainRecord>();
  readonly #calls: Set<StatsCall>;
  #isTrusted: boolean;
  #wasLost = false;
  #isSettled = false;

  constructor(records: readonly DomainRecord[], kind: ShardKind, calls: readonly StatsCall[] = []) {
    this.bits = kind.bits;
    this.isSuspect = kind.isSuspect ?? false;
    this.isRetried = kind.isRetried ?? false;
    this.#isTrusted = kind.isTrusted ?? false;
    this.#waiting = new Set(records);
    this.#calls = new Set(calls);
  }

  /** The VMs that have not answered in full. */
  get waiting(): ReadonlySet<DomainRecord> {
    return this.#waiting;
  }

  /** Only VMs that answered in the last collection, and no call of this one is late. */
  get isTrusted(): boolean {
    return this.#isTrusted;
  }

  /** Nothing more is asked for it in this collection. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** A connection was lost under it once. */
  get wasLost(): boolean {
    return this.#wasLost;
  }

  /** Whether every VM that has not answered in full has answered without the monitor. */
  get hasAllAnswers(): boolean {
    for (const record of this.#waiting) if (!this.#partial.has(record)) return false;
    return true;
  }

  /** Calls that cover it and are not answered, those of a shard that it was split from included. */
  unanswered(): readonly StatsCall[] {
    return [...this.#calls].filter((call) => !call.isOver);
  }

  addCall(call: StatsCall): void {
    this.#calls.add(call);
  }

  notePartial(record: DomainRecord): void {
    this.#partial.add(record);
    for (const call of this.unanswered()) call.noteHeldUp();
  }

  /** Nothing more is wanted of this VM: it answered in full, or is gone. */
  remove(record: DomainRecord): void {
    this.#waiting.delete(record);
    this.#partial.delete(record);
  }

  noteLate(): void {
    this.#isTrusted = false;
  }

  noteLost(): void {
    this.#wasLost = true;
  }

  settle(): void {
    this.#isSettled = true;
  }

  /** Holds the calls that are not answered against a VM that only they can speak for. */
  suspect(record: DomainRecord): void {
    for (const call of this.unanswered()) if (call.covers.includes(record)) record.suspect(call);
  }

  /** Two shards of what it still waits for. The calls that hang on it may hang on either. */
  halves(): [Shard, Shard] {
    const records = [...this.#waiting];
    const middle = Math.ceil(records.length / 2);
    const calls = this.unanswered();
    return [new Shard(records.slice(0, middle), this, calls), new Shard(records.slice(middle), this, calls)];
  }
}

/** The shards of a collection in the order in which they are asked. The VMs of one are all asked for the same groups. */
export function shardsOf(records: readonly DomainRecord[], bitsOf: BitsOf, isInCrisis: boolean): Shard[] {
  const [suspects, others] = partition(records, (record) => record.isSuspect);
  // VMs that a call of ours hangs on are asked together and first: their jobs are held, so the answer is immediate.
  const first = Array.from(
    Map.groupBy(suspects, bitsOf),
    ([bits, alike]) => new Shard(alike, { bits, isSuspect: true }),
  );
  if (isInCrisis) {
    const [trusted, unknown] = partition(others, (record) => record.state === 'fresh');
    return [...first, ...split(trusted, bitsOf, { isTrusted: true }), ...split(unknown, bitsOf)];
  }
  // Those of which the last collection had nothing go first, or a host that is too slow would always leave out the same.
  const [behind, current] = partition(others, (record) => record.isBehind);
  return [...first, ...split([...behind, ...current], bitsOf)];
}

export function split(records: readonly DomainRecord[], bitsOf: BitsOf, kind: Omit<ShardKind, 'bits'> = {}): Shard[] {
  const size = Math.min(SHARD_MAX, Math.max(SHARD_MIN, Math.ceil(records.length / SHARDS_WANTED)));
  const shards: Shard[] = [];
  for (const [bits, alike] of Map.groupBy(records, bitsOf)) {
    for (let start = 0; start < alike.length; start += size) {
      shards.push(new Shard(alike.slice(start, start + size), { ...kind, bits }));
    }
  }
  return shards;
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [yes: T[], no: T[]] {
  const yes: T[] = [];
  const no: T[] = [];
  for (const item of items) (test(item) ? yes : no).push(item);
  return [yes, no];
}
