import { LibvirtError } from '../libvirt/index.ts';
import { CALLS_PER_CLIENT } from './connect.ts';

/** What a call that is not answered may be waiting for. */
export type Hanger = 'VM' | 'pool' | 'daemon';

/** Which connections carry a call: the control connection, or the lines, of which more are opened when calls hang. */
export type Carrier = 'control' | 'lines';

/** Places that one or more kinds of calls draw from. */
export interface PlaceInfo {
  /** Unanswered calls at most. Each may occupy a worker of the daemon for as long as what it waits for hangs. */
  readonly count: number;
  readonly hangsWith: Hanger;
  readonly carrier: Carrier;
  /** What the calls are for, in the words of docs/collecting.md. */
  readonly purpose: string;
}

/**
 * How many calls may be unanswered at once. libvirtd has 20 workers (`max_workers`) for all of its clients; a call keeps its place
 * until the daemon has answered it or the connection is gone, whether something still waits for it or not. The bounds in docs/collecting.md
 * are the sums of this table.
 */
export const PLACES = {
  statistics: { count: 10, hangsWith: 'VM', carrier: 'lines', purpose: 'statistics' },
  jobs: { count: 1, hangsWith: 'VM', carrier: 'lines', purpose: 'jobs' },
  pools: { count: 1, hangsWith: 'pool', carrier: 'lines', purpose: 'storage pools' },
  control: {
    count: CALLS_PER_CLIENT,
    hangsWith: 'daemon',
    carrier: 'control',
    purpose: 'lists, XML, pings, statistics without jobs, CPU time and memory, places of vCPUs',
  },
} as const satisfies Readonly<Record<string, PlaceInfo>>;

export type PlaceName = keyof typeof PLACES;

/** One kind of calls that may hang. */
export interface CallKind {
  /** The places that its calls take. */
  readonly takes: PlaceName;
  /** How many of these places its calls leave free for other kinds. */
  readonly leavesFree: number;
}

/** Every kind of calls that can occupy a worker of the daemon. */
export const CALL_KINDS = {
  /** Statistics of VMs of which it is not known whether they answer. */
  statistics: { takes: 'statistics', leavesFree: 1 },
  /** Statistics of VMs that answered in the last collection: these stay fresh whatever hangs beside them. */
  trustedStatistics: { takes: 'statistics', leavesFree: 0 },
  /** What opens another control connection, and the calls that the replaced one leaves behind. */
  replacement: { takes: 'statistics', leavesFree: 1 },
  job: { takes: 'jobs', leavesFree: 0 },
  pool: { takes: 'pools', leavesFree: 0 },
  /** Calls about one VM that need no monitor. */
  domain: { takes: 'control', leavesFree: 1 },
  /** Calls about the daemon: lists, pings. They find a place while calls about VMs are not answered. */
  daemon: { takes: 'control', leavesFree: 0 },
} as const satisfies Readonly<Record<string, CallKind>>;

export type CallKindName = keyof typeof CALL_KINDS;

/** How many workers of the daemon virtlens can occupy, at most, when all of these hang. */
export function workersBlockedMax(...hangers: readonly Hanger[]): number {
  return placesWhere(({ hangsWith }) => hangers.includes(hangsWith));
}

/** How many calls may be unanswered at once on the connections of one sort. */
export function unansweredMax(carrier: Carrier): number {
  return placesWhere((place) => place.carrier === carrier);
}

function placesWhere(test: (place: PlaceInfo) => boolean): number {
  return Object.values<PlaceInfo>(PLACES).reduce((sum, place) => sum + (test(place) ? place.count : 0), 0);
}

/** The right to have one call unanswered, from before it is made until `release`. */
export interface Permit {
  /** Nothing waits for the call any more: until it is released, it counts as blocked. */
  giveUp(): void;
  /** Makes it a permit of another kind; false when that kind has no place, and nothing is changed. */
  changeKind(kind: CallKindName): boolean;
  /** The daemon has answered, or the connection is gone. Further calls change nothing. */
  release(): void;
}

interface Waiter {
  readonly kind: CallKindName;
  readonly start: (permit: Permit) => void;
}

/** Counts the calls that the daemon has not answered, and lets no more be made than the table allows. */
export class WorkerBudget {
  readonly #takenElsewhere: (places: PlaceName) => number;
  readonly #taken = new Map<PlaceName, number>();
  readonly #givenUp = new Map<PlaceName, number>();
  readonly #waiters: Waiter[] = [];

  /** `takenElsewhere`: places that cannot be used for now, asked anew each time; when it becomes less, call `admitWaiting`. */
  constructor(takenElsewhere: (places: PlaceName) => number = () => 0) {
    this.#takenElsewhere = takenElsewhere;
  }

  /** How many calls of this kind would be admitted now; 0 or less for none. */
  room(kind: CallKindName): number {
    const { takes, leavesFree } = CALL_KINDS[kind];
    const taken = (this.#taken.get(takes) ?? 0) + this.#takenElsewhere(takes);
    return PLACES[takes].count - leavesFree - taken;
  }

  /** Whether a call of this kind would be admitted now. */
  admits(kind: CallKindName): boolean {
    return this.room(kind) > 0;
  }

  /** Calls that nothing waits for any more and that the daemon has not answered: in all, or in one sort of places. */
  blockedCalls(places?: PlaceName): number {
    if (places !== undefined) return this.#givenUp.get(places) ?? 0;
    let sum = 0;
    for (const count of this.#givenUp.values()) sum += count;
    return sum;
  }

  /** A permit, or undefined when there is no place. */
  tryEnter(kind: CallKindName): Permit | undefined {
    return this.admits(kind) ? this.#enter(kind) : undefined;
  }

  /** A permit as soon as there is a place, in the order of asking. Rejects with `ERR_LIBVIRT_ABORTED` when the signal comes first. */
  enter(kind: CallKindName, signal: AbortSignal): Promise<Permit> {
    if (signal.aborted) return Promise.reject(gaveUpError());
    const permit = this.tryEnter(kind);
    if (permit !== undefined) return Promise.resolve(permit);
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(gaveUpError());
      };
      const waiter: Waiter = {
        kind,
        start: (admitted) => {
          signal.removeEventListener('abort', onAbort);
          resolve(admitted);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  /**
   * Makes a call when there is a place for it. Rejects with `ERR_LIBVIRT_ABORTED` when the signal comes first; the call goes on then,
   * and keeps its place. `call` must not settle before the daemon has answered or the connection is gone.
   */
  run<T>(kind: CallKindName, call: (permit: Permit) => Promise<T>, signal: AbortSignal): Promise<T> {
    if (signal.aborted) return Promise.reject(gaveUpError());
    const permit = this.tryEnter(kind);
    if (permit !== undefined) return makeCall(permit, call, signal);
    return this.enter(kind, signal).then((admitted) => makeCall(admitted, call, signal));
  }

  /** Starts those that wait and have a place now. */
  admitWaiting(): void {
    for (;;) {
      const next = this.#waiters.findIndex(({ kind }) => this.admits(kind));
      if (next < 0) return;
      const [waiter] = this.#waiters.splice(next, 1);
      waiter!.start(this.#enter(waiter!.kind));
    }
  }

  #enter(kind: CallKindName): Permit {
    let places = CALL_KINDS[kind].takes;
    let isGivenUp = false;
    let isReleased = false;
    add(this.#taken, places, 1);
    const leave = () => {
      add(this.#taken, places, -1);
      if (isGivenUp) add(this.#givenUp, places, -1);
    };
    return {
      giveUp: () => {
        if (isGivenUp || isReleased) return;
        isGivenUp = true;
        add(this.#givenUp, places, 1);
      },
      changeKind: (other) => {
        if (isReleased || !this.admits(other)) return false;
        leave();
        places = CALL_KINDS[other].takes;
        add(this.#taken, places, 1);
        if (isGivenUp) add(this.#givenUp, places, 1);
        this.admitWaiting();
        return true;
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        leave();
        this.admitWaiting();
      },
    };
  }
}

function makeCall<T>(permit: Permit, call: (permit: Permit) => Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    permit.release();
    return Promise.reject(gaveUpError());
  }
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => {
      permit.giveUp();
      reject(gaveUpError());
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const end = () => {
      signal.removeEventListener('abort', onAbort);
      permit.release();
    };
    call(permit).then(
      (result) => {
        end();
        resolve(result);
      },
      (error) => {
        end();
        reject(error);
      },
    );
  });
}

function add(counts: Map<PlaceName, number>, places: PlaceName, change: number): void {
  counts.set(places, (counts.get(places) ?? 0) + change);
}

function gaveUpError(): LibvirtError {
  return new LibvirtError('ERR_LIBVIRT_ABORTED', 'libvirt did not answer before the deadline');
}
