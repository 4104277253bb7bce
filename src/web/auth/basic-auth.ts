import { createHmac, randomBytes } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { ClientRateLimiter } from '../limits/rate-limit.ts';
import { bcryptCost } from '../server/web-config.ts';
import { type Compare, PasswordQueue } from './password-queue.ts';

/**
 * What came of a request's credentials: `granted`, `refused` (none, or wrong ones), `limited` (too many failed logins), `busy` (too many
 * passwords to check), `gone` (nobody waits for it any more).
 */
export type AuthVerdict = 'granted' | 'refused' | 'limited' | 'busy' | 'gone';

/** Good passwords that are remembered; beyond that the one longest unused is forgotten. */
const REMEMBERED_MAX = 256;
/** Failed logins by one client, and by all. A scraper with a wrong password that comes every 15 s stays below. */
export const FAILURES_OF_CLIENT = { intervalMs: 5_000, burst: 10 };
export const FAILURES = { intervalMs: 500, burst: 50 };
/** A login that has waited for so long is given up. */
const WAIT_MAX_MS = 5_000;

/**
 * Checks basic-auth credentials against bcrypt hashes.
 *
 * A comparison takes some 60 ms of CPU at the usual cost, so it is done once for each hash and password: what was found right is
 * remembered under a digest whose key never leaves this process, and passes at once, whatever else goes on. Comparisons run one after
 * the other, and failed ones are limited. A name that does not exist costs as much as one that does, so that the time of a response
 * says nothing.
 */
export class Authenticator {
  readonly #clock: Clock;
  readonly #queue: PasswordQueue;
  readonly #digestKey = randomBytes(32);
  readonly #remembered = new Set<string>();
  readonly #failures = new ClientRateLimiter(FAILURES_OF_CLIENT, FAILURES);

  constructor(compare: Compare, clock: Clock) {
    this.#clock = clock;
    this.#queue = new PasswordQueue(compare);
  }

  /**
   * @param users names to bcrypt hashes
   * @param authorization the header's value
   * @param signal comes when the client has gone
   */
  async check(
    users: ReadonlyMap<string, string>,
    authorization: string | undefined,
    client: string,
    signal: AbortSignal,
  ): Promise<AuthVerdict> {
    const credentials = parseCredentials(authorization);
    if (credentials === undefined) return 'refused';
    const { user, password } = credentials;
    const known = users.get(user);
    const hash = known ?? standIn(users);
    const digest = createHmac('sha256', this.#digestKey)
      .update(JSON.stringify([user, hash, password]))
      .digest('base64');
    if (this.#remembered.delete(digest)) {
      this.#remembered.add(digest);
      return 'granted';
    }
    const isShared = this.#queue.has(digest);
    if (!isShared && this.#queue.isFull(client)) return 'busy';
    // Taken before it is known that it fails: those that are under way count too.
    if (!isShared && !this.#failures.admit(client, this.#clock.monotonicMs())) return 'limited';
    const { signal: waits, end, isLate } = this.#limitWait(signal);
    try {
      const isMatch = await this.#queue.check(digest, { password, hash }, client, waits);
      if (isMatch === undefined) return isLate() ? 'busy' : 'gone';
      if (!isMatch || known === undefined) return 'refused';
    } finally {
      end();
    }
    if (!isShared) this.#failures.refund(client);
    this.#remembered.add(digest);
    if (this.#remembered.size > REMEMBERED_MAX) this.#remembered.delete(this.#remembered.values().next().value!);
    return 'granted';
  }

  /** A signal that comes with the other, or when the wait is too long. */
  #limitWait(signal: AbortSignal): { signal: AbortSignal; end: () => void; isLate: () => boolean } {
    const late = new AbortController();
    const end = this.#clock.schedule(WAIT_MAX_MS, () => late.abort());
    return { signal: AbortSignal.any([signal, late.signal]), end, isLate: () => late.signal.aborted };
  }
}

/** The name and password of a Basic Authorization header (RFC 7617); undefined when it is none. */
export function parseCredentials(authorization: string | undefined): { user: string; password: string } | undefined {
  const encoded = /^basic +([A-Za-z0-9+/_-]+=*) *$/i.exec(authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** A hash that no password is known for, of the cost that the users' own have. */
function standIn(users: ReadonlyMap<string, string>): string {
  const cost = Math.max(4, ...Array.from(users.values(), bcryptCost));
  return `$2b$${String(cost).padStart(2, '0')}$${'virtlens'.repeat(7).slice(0, 53)}`;
}
