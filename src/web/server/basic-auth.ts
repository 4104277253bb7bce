import { createHmac, randomBytes } from 'node:crypto';
import { compare, getRounds } from 'bcryptjs';

/** How a request's credentials were found. */
export type AuthVerdict = 'granted' | 'refused' | 'busy';

/** Checks basic-auth credentials against bcrypt hashes. */
export interface Authenticator {
  /** `users` maps names to bcrypt hashes; `authorization` is the header's value. */
  check(users: ReadonlyMap<string, string>, authorization: string | undefined): Promise<AuthVerdict>;
}

/** Good passwords that are remembered; beyond that the one longest unused is forgotten. */
const REMEMBERED = 256;
/** Comparisons that may wait; more at once are turned away, so that a flood of guesses costs bounded memory. */
const WAITING = 64;

/**
 * A bcrypt comparison takes some 60 ms of CPU at the usual cost, so it is done once for each hash and password: what was found right is
 * remembered under a digest whose key never leaves this process. Comparisons run one after the other, and a name that does not exist
 * costs as much as one that does, so that the time of an answer tells nothing.
 */
export function createAuthenticator(): Authenticator {
  const digestKey = randomBytes(32);
  const remembered = new Set<string>();
  const running = new Map<string, Promise<boolean>>();
  let last: Promise<unknown> = Promise.resolve();

  const compareInTurn = (digest: string, password: string, hash: string): Promise<boolean> => {
    const result = last.then(() => compare(password, hash));
    last = result.catch(() => {});
    running.set(digest, result);
    return result.finally(() => running.delete(digest));
  };

  return {
    async check(users, authorization) {
      const credentials = parseCredentials(authorization);
      if (credentials === undefined) return 'refused';
      const { user, password } = credentials;
      const known = users.get(user);
      const hash = known ?? standIn(users);
      const digest = createHmac('sha256', digestKey)
        .update(JSON.stringify([user, hash, password]))
        .digest('base64');
      if (remembered.delete(digest)) {
        remembered.add(digest);
        return 'granted';
      }
      const already = running.get(digest);
      if (already === undefined && running.size >= WAITING) return 'busy';
      const matches = await (already ?? compareInTurn(digest, password, hash));
      if (!matches || known === undefined) return 'refused';
      remembered.add(digest);
      if (remembered.size > REMEMBERED) remembered.delete(remembered.values().next().value!);
      return 'granted';
    },
  };
}

/** The name and password of a Basic Authorization header (RFC 7617); nothing when it is none. */
export function parseCredentials(authorization: string | undefined): { user: string; password: string } | undefined {
  const encoded = /^basic +([A-Za-z0-9+/_-]+=*) *$/i.exec(authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** A hash that no password is known for, of the cost that the users' own have. */
function standIn(users: ReadonlyMap<string, string>): string {
  const cost = Math.max(4, ...Array.from(users.values(), getRounds));
  return `$2b$${String(cost).padStart(2, '0')}$${'virtlens'.repeat(7).slice(0, 53)}`;
}
