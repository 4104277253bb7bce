import { describeError } from '../../base/errno.ts';
import { cut, oneLine } from '../../base/text.ts';
import { ClusterError } from '../cluster.ts';

/** The failures of one batch so far. */
export interface FailureRun {
  /** Monotonic milliseconds of the first failure with this message, and how many there were since. */
  readonly sinceMs: number;
  readonly count: number;
  readonly message: string;
  /** Of all failures, whatever their message. */
  readonly attempts: number;
}

/** What comes after a failure. */
export type AfterFailure =
  | { readonly kind: 'retry'; readonly delayMs: number }
  | { readonly kind: 'park'; readonly why: string };

interface Patience {
  /** The same failure that often, … */
  readonly count: number;
  /** … and for so long: then the entry is parked. */
  readonly ms: number;
}

/** The one table of what is tried again, and for how long. */
const PATIENCE = {
  /** It cannot succeed. */
  never: { count: 1, ms: 0 },
  /** Rights or a kind are missing. A kube-apiserver that is starting replies so for a moment, and somebody may be setting the cluster up. */
  refused: { count: 2, ms: 600_000 },
  /** The same 500 again and again, or an error of virtlens's own: it may be this entry's fault. */
  internal: { count: 20, ms: 3_600_000 },
  /** The API server is away or busy: nothing else would succeed either. */
  retry: { count: Number.POSITIVE_INFINITY, ms: Number.POSITIVE_INFINITY },
} as const satisfies Readonly<Record<string, Patience>>;

const DELAY_FIRST_MS = 500;
const DELAY_MAX_MS = 30_000;
/** A server that asks for a longer pause is asked sooner all the same. */
const RETRY_AFTER_MAX_MS = 300_000;
/** Many hosts wait for the same API server: delays are longer by up to this part, at random. */
const JITTER = 0.25;
const MESSAGE_MAX = 1_000;

/** Counts a failure with the earlier ones. */
export function noteFailure(run: FailureRun | undefined, error: unknown, nowMs: number): FailureRun {
  const message = failureText(error);
  const attempts = (run?.attempts ?? 0) + 1;
  if (run?.message !== message) return { sinceMs: nowMs, count: 1, message, attempts };
  return { ...run, count: run.count + 1, attempts };
}

/** What is to be done after a failure; `random` is in [0, 1). */
export function judgeFailure(error: unknown, run: FailureRun, nowMs: number, random: number): AfterFailure {
  const { count, ms } = PATIENCE[patienceOf(error)];
  if (run.count >= count && nowMs - run.sinceMs >= ms) return { kind: 'park', why: run.message };
  const asked = error instanceof ClusterError ? (error.retryAfterMs ?? 0) : 0;
  const backOff = Math.min(DELAY_MAX_MS, DELAY_FIRST_MS * 2 ** Math.min(run.attempts - 1, 10));
  return {
    kind: 'retry',
    delayMs: Math.max(Math.min(asked, RETRY_AFTER_MAX_MS), backOff) * (1 + JITTER * random),
  };
}

/** One line about a failure. */
export function failureText(error: unknown): string {
  return cut(oneLine(error instanceof ClusterError ? error.message : describeError(error)), MESSAGE_MAX);
}

function patienceOf(error: unknown): keyof typeof PATIENCE {
  if (!(error instanceof ClusterError)) return 'internal';
  if (error.kind !== 'retry') return error.kind;
  return error.status === 500 ? 'internal' : 'retry';
}
