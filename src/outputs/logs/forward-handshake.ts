import { createHash, timingSafeEqual } from 'node:crypto';
import { cut, oneLine } from '../../base/text.ts';
import { DeliveryError } from '../delivery.ts';
import { hideSecrets } from './hide-secrets.ts';

/** What both sides know, and who we are. */
export interface ForwardSecurity {
  readonly sharedKey: string;
  /** Our name; it must not be the server's. */
  readonly selfHostname: string;
  /** Where the server knows users. */
  readonly user: { readonly name: string; readonly password: string } | undefined;
}

/** How a server that has a shared key opens a connection. */
export interface Helo {
  readonly nonce: Uint8Array;
  /** The salt of the password; empty when the server asks for no user. */
  readonly authSalt: Uint8Array;
  /** False when the server closes the connection after each message. */
  readonly isKept: boolean;
}

type Bytes = Uint8Array | string;

const REASON_MAX = 300;

/** A decoded message as a HELO; undefined when it is none. */
export function readHelo(message: unknown): Helo | undefined {
  if (!Array.isArray(message) || !isText(message[0], 'HELO')) return undefined;
  const { nonce, auth, keepalive } = (message[1] ?? {}) as Record<string, unknown>;
  if (!(nonce instanceof Uint8Array) || nonce.length === 0) return undefined;
  return { nonce, authSalt: auth instanceof Uint8Array ? auth : new Uint8Array(), isKept: keepalive !== false };
}

/** The reply to a HELO. */
export function makePing({ nonce, authSalt }: Helo, { sharedKey, selfHostname, user }: ForwardSecurity, salt: string) {
  const passwordDigest = authSalt.length === 0 || user === undefined ? '' : digest(authSalt, user.name, user.password);
  const keyDigest = digest(salt, selfHostname, nonce, sharedKey);
  return ['PING', selfHostname, salt, keyDigest, user?.name ?? '', passwordDigest];
}

/**
 * Checks the server's verdict on our PING, and that the server has the key too.
 * @throws DeliveryError `ERR_DELIVERY_BLOCKED`
 */
export function checkPong(message: unknown, { nonce }: Helo, security: ForwardSecurity, salt: string): void {
  const { sharedKey, selfHostname, user } = security;
  const blocked = (reason: string) => new DeliveryError('ERR_DELIVERY_BLOCKED', reason);
  if (!Array.isArray(message) || !isText(message[0], 'PONG'))
    throw blocked('the server does not follow the handshake of Forward');
  const [, isAccepted, reason, hostname, hexDigest] = message;
  if (isAccepted !== true) {
    const said = reason instanceof Uint8Array ? Buffer.from(reason).toString() : '';
    const shown = cut(oneLine(hideSecrets(said, [sharedKey, user?.password ?? ''])), REASON_MAX);
    throw blocked(`the server refuses the shared key, the user or the host name${shown === '' ? '' : `: ${shown}`}`);
  }
  if (!(hostname instanceof Uint8Array && hexDigest instanceof Uint8Array)) {
    throw blocked('the server does not follow the handshake of Forward');
  }
  // Else our own digest would do, which the server has seen.
  if (isText(hostname, selfHostname))
    throw blocked('the server has the same host name as this side; set another one here');
  const expected = Buffer.from(digest(salt, hostname, nonce, sharedKey));
  if (hexDigest.length !== expected.length || !timingSafeEqual(hexDigest, expected)) {
    throw blocked('the server does not know the shared key, so it gets no records');
  }
}

function digest(...parts: readonly Bytes[]): string {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** Whether a decoded value is this text. */
export function isText(value: unknown, text: string): boolean {
  return value instanceof Uint8Array && Buffer.from(text).equals(value);
}
