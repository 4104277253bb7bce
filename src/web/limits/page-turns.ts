import type { Clock } from '../../base/clock.ts';

/** Pages made and sent at a time: with gzip each takes some 2 MB and all the CPU it can get. */
export const PAGES_MAX = 4;
/** Requests for pages that wait, in all and by one client. More are refused at once. */
export const PAGES_WAITING_MAX = 128;
export const PAGES_WAITING_OF_CLIENT_MAX = 64;
/** How often it is checked whether the clients read. */
const CHECK_MS = 250;
/** Checks in a row without a chunk taken after which a client counts as stuck: 1 s while others wait, 10 s else. */
const STUCK_CHECKS_CONTENDED = 4;
const STUCK_CHECKS = 40;
/** Checks after which a page has been sent for long enough while others wait: 10 s. */
const LONG_CHECKS_CONTENDED = 40;

/** One request for a page: a place among those that wait, then one of the few that are made. */
export interface PageTurn {
  /**
   * Waits until the page may be made. Resolves false when that did not come in time, or the signal came.
   * @param timeoutMs how long the wait makes sense
   */
  begin(timeoutMs: number, signal: AbortSignal): Promise<boolean>;
  /** The client has taken a part of the page. */
  progress(): void;
  /** The page is sent, or given up. */
  leave(): void;
}

/**
 * Bounds how many pages are made at a time and how many requests wait for that. The client that has the fewest pages in the making is
 * next. A client that does not read what it asked for is cut off: it must not keep the others waiting.
 */
export class PageTurns {
  readonly #clock: Clock;
  readonly #entered = new Set<Turn>();
  readonly #waiting = new Set<Turn>();
  readonly #making = new Set<Turn>();
  #cancelCheck: (() => void) | undefined;
  #isClosing = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Takes a place; undefined when there is none left. Who has one must leave.
   * @param cut ends the client's connection
   */
  enter(client: string, cut: () => void): PageTurn | undefined {
    if (this.#entered.size - this.#making.size >= PAGES_WAITING_MAX) return undefined;
    if (countOf(this.#entered, client) - countOf(this.#making, client) >= PAGES_WAITING_OF_CLIENT_MAX) return undefined;
    const turn = new Turn(client, cut);
    this.#entered.add(turn);
    return {
      begin: (timeoutMs, signal) => this.#begin(turn, timeoutMs, signal),
      progress: () => turn.noteProgress(),
      leave: () => this.#leave(turn),
    };
  }

  /** From now on clients that do not read are cut off as if others were waiting: the server is. */
  close(): void {
    this.#isClosing = true;
  }

  #begin(turn: Turn, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (isBegun: boolean) => {
        cancel();
        signal.removeEventListener('abort', giveUp);
        this.#waiting.delete(turn);
        resolve(isBegun);
      };
      const giveUp = () => settle(false);
      const cancel = this.#clock.schedule(timeoutMs, giveUp);
      turn.begin = () => settle(true);
      this.#waiting.add(turn);
      if (signal.aborted) giveUp();
      else signal.addEventListener('abort', giveUp, { once: true });
      this.#next();
    });
  }

  #leave(turn: Turn): void {
    this.#entered.delete(turn);
    if (!this.#making.delete(turn)) return;
    if (this.#making.size === 0) {
      this.#cancelCheck?.();
      this.#cancelCheck = undefined;
    }
    // Other requests first: small pages would else be made one after the other without a turn of the event loop between them.
    setImmediate(() => this.#next());
  }

  #next(): void {
    while (this.#making.size < PAGES_MAX && this.#waiting.size > 0) {
      let best: Turn | undefined;
      let fewest = Number.POSITIVE_INFINITY;
      for (const turn of this.#waiting) {
        const count = countOf(this.#making, turn.client);
        if (count < fewest) [best, fewest] = [turn, count];
      }
      this.#making.add(best!);
      best!.begin();
    }
    if (this.#making.size > 0) this.#cancelCheck ??= this.#clock.schedule(CHECK_MS, () => this.#check());
  }

  /** Counts checks, not time: when this process itself was late, the clients' reading has not been seen yet. */
  #check(): void {
    this.#cancelCheck = this.#clock.schedule(CHECK_MS, () => this.#check());
    const isContended = this.#isClosing || this.#waiting.size > 0;
    for (const turn of [...this.#making]) {
      turn.noteCheck();
      const isStuck = turn.stuckChecks >= (isContended ? STUCK_CHECKS_CONTENDED : STUCK_CHECKS);
      if (isStuck || (isContended && turn.checks >= LONG_CHECKS_CONTENDED)) turn.cut();
    }
  }
}

class Turn {
  readonly client: string;
  readonly cut: () => void;
  begin: () => void = () => {};
  /** Checks since it began, and since its client last took something. */
  checks = 0;
  stuckChecks = 0;

  constructor(client: string, cut: () => void) {
    this.client = client;
    this.cut = cut;
  }

  noteProgress(): void {
    this.stuckChecks = 0;
  }

  noteCheck(): void {
    this.checks++;
    this.stuckChecks++;
  }
}

function countOf(turns: Iterable<Turn>, client: string): number {
  let count = 0;
  for (const turn of turns) if (turn.client === client) count++;
  return count;
}
