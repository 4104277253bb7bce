import { describeError, errorCode } from '../../base/errno.ts';
import { cut, oneLine } from '../../base/text.ts';
import { ClusterError, type ClusterErrorKind } from '../cluster.ts';

/** What is shown of the server's words. A rule of a schema may quote a whole object. */
const MESSAGE_LENGTH_MAX = 1_000;

/** Longer waits than this are not taken from a server. */
const RETRY_AFTER_MAX_MS = 10 * 60_000;

/** A reply that is no success, with what its `metav1.Status` says. */
export class ReplyError extends ClusterError {
  /** `AlreadyExists`, `Conflict`, `Expired`, …; undefined where the reply was no Status or gave none. */
  readonly reason: string | undefined;
  /** The object that the reply is about. */
  readonly objectName: string | undefined;

  constructor(
    kind: ClusterErrorKind,
    message: string,
    options: { status: number; retryAfterMs: number | undefined; reason: string | undefined; name: string | undefined },
  ) {
    super(kind, message, options);
    this.reason = options.reason;
    this.objectName = options.name;
  }
}

/** A reply as it came. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * The error that a reply means.
 *
 * @param call such as `patch hypervisors/node-1/status`
 * @param wallMs now, for a Retry-After that is a date
 */
export function errorOfReply(
  call: string,
  server: string,
  { status, headers, body }: Reply,
  wallMs: number,
): ReplyError {
  const said = parseStatus(body);
  const words = said?.message ?? (oneLine(body) || 'no reason given');
  const isTooLarge = status === 413 || (status === 500 && TOO_LARGE_FOR_ETCD.test(words));
  const kind = isTooLarge ? 'never' : kindOfStatus(status);
  const fix = isTooLarge ? undefined : fixOf(status, said, headers);
  const text = `${call}: ${status} ${said?.reason ?? ''}`.trim();
  const message = `${text}: ${cut(oneLine(words), MESSAGE_LENGTH_MAX)}`;
  return new ReplyError(kind, `${message}${fix === undefined ? '' : `; ${fix}`} (${server})`, {
    status,
    retryAfterMs: readRetryAfter(headers['retry-after'], wallMs),
    reason: said?.reason,
    name: said?.name,
  });
}

/** etcd's refusal comes as an internal error, which others are not: it never goes away. */
const TOO_LARGE_FOR_ETCD = /request is too large|larger than max/i;

function kindOfStatus(status: number): ClusterErrorKind {
  switch (status) {
    case 400:
    case 405:
    case 406:
    case 413:
    case 415:
    case 422:
      return 'never';
    case 403:
    case 404:
      return 'refused';
    default:
      return 'retry';
  }
}

function fixOf(status: number, said: Said | undefined, headers: Reply['headers']): string | undefined {
  if (status >= 300 && status < 400) {
    return `a redirect to ${headers.location ?? 'nowhere'} is not followed: check the server in the kubeconfig`;
  }
  switch (status) {
    case 401:
      return 'renew the token or the certificate of the kubeconfig';
    case 403:
      return 'grant it, as deploy/kubernetes/ha/ does';
    case 404:
      return said?.name === undefined ? "install the operator's definitions, or check --kubernetes.group" : undefined;
    default:
      return undefined;
  }
}

interface Said {
  readonly message: string | undefined;
  readonly reason: string | undefined;
  readonly name: string | undefined;
}

/** The parts of a `metav1.Status`; undefined when the body is none. */
function parseStatus(body: string): Said | undefined {
  try {
    const status: unknown = JSON.parse(body);
    if (typeof status !== 'object' || status === null || !('kind' in status) || status.kind !== 'Status')
      return undefined;
    const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
    const { message, reason, details } = status as {
      message?: unknown;
      reason?: unknown;
      details?: { name?: unknown };
    };
    return { message: text(message), reason: text(reason), name: text(details?.name) };
  } catch {
    return undefined;
  }
}

/** Seconds, or a date. */
function readRetryAfter(value: string | undefined, wallMs: number): number | undefined {
  if (value === undefined) return undefined;
  const delayMs = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - wallMs;
  return Number.isNaN(delayMs) ? undefined : Math.min(Math.max(0, delayMs), RETRY_AFTER_MAX_MS);
}

const NO_AUTHORITY = 'nobody that is trusted has signed its certificate; set certificate-authority in the kubeconfig';

/** What goes wrong before there is a reply and what to do, by the error's code. */
const WORDS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "its certificate has expired; renew the API server's certificate, or set the clock",
  CERT_NOT_YET_VALID: 'its certificate is not valid yet; set the clock',
  DEPTH_ZERO_SELF_SIGNED_CERT: NO_AUTHORITY,
  ECONNREFUSED: 'connection refused; check that the API server runs at this address',
  ENOTFOUND: 'the host name is not known; check the server in the kubeconfig',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is for other names; check the server in the kubeconfig, or set tls-server-name',
  SELF_SIGNED_CERT_IN_CHAIN: NO_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: NO_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NO_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NO_AUTHORITY,
};

/** The error of a request without a reply. Each of them may go away. */
export function errorWithoutReply(call: string, server: string, cause: unknown): ClusterError {
  const words = WORDS[errorCode(cause) ?? ''] ?? cut(oneLine(describeError(cause)), MESSAGE_LENGTH_MAX);
  return new ClusterError('retry', `${call}: ${words} (${server})`, { cause });
}
