/** A token bucket: `burst` at once, and one more each `intervalMs`. */
export class RateLimiter {
  readonly #intervalMs: number;
  readonly #burst: number;
  #tokens: number;
  #filledAtMs: number | undefined;

  constructor(intervalMs: number, burst: number) {
    this.#intervalMs = intervalMs;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /** Takes one, when there is one at this instant (monotonic milliseconds). */
  admit(nowMs: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - (this.#filledAtMs ?? nowMs)) / this.#intervalMs);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Gives one back that was taken. */
  refund(): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + 1);
  }
}

/** A bucket's size and how fast it fills. */
export interface Rate {
  readonly intervalMs: number;
  readonly burst: number;
}

/** Clients remembered; beyond that the one that came longest ago is forgotten, and the limit of all holds. */
const CLIENTS_MAX = 4_096;

/** A limit for each client and one for all together. */
export class ClientRateLimiter {
  readonly #perClient: Rate;
  readonly #all: RateLimiter;
  readonly #clients = new Map<string, RateLimiter>();

  constructor(perClient: Rate, inAll: Rate) {
    this.#perClient = perClient;
    this.#all = new RateLimiter(inAll.intervalMs, inAll.burst);
  }

  admit(client: string, nowMs: number): boolean {
    const own = this.#clients.get(client) ?? new RateLimiter(this.#perClient.intervalMs, this.#perClient.burst);
    this.#clients.delete(client);
    this.#clients.set(client, own);
    if (this.#clients.size > CLIENTS_MAX) this.#clients.delete(this.#clients.keys().next().value!);
    if (!own.admit(nowMs)) return false;
    if (this.#all.admit(nowMs)) return true;
    own.refund();
    return false;
  }

  refund(client: string): void {
    this.#clients.get(client)?.refund();
    this.#all.refund();
  }
}
