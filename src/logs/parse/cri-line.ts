import { parseLogTime } from './log-time.ts';

/** A line as the container runtime writes it: `2026-11-21T12:12:40.774123456Z stderr F message`. */
export interface CriLine {
  readonly timeNs: bigint | undefined;
  readonly iostream: 'stdout' | 'stderr';
  /** The text goes on in the next line of this stream (its tag is P). */
  readonly isPartial: boolean;
  readonly text: string;
}

const CRI =
  /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP])(?::[^\s]*)? ?(.*)$/s;

/**
 * Reads a line of the Container Runtime Interface's log format (kubernetes/design-proposals-archive, kubelet-cri-logging.md). Undefined when it is
 * none, such as the output of a container itself.
 */
export function parseCriLine(text: string): CriLine | undefined {
  const match = CRI.exec(text);
  if (match === null) return undefined;
  const [, time, iostream, tag, rest] = match;
  return {
    timeNs: parseLogTime(time!),
    iostream: iostream as CriLine['iostream'],
    isPartial: tag === 'P',
    text: rest!,
  };
}
