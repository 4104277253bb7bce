import { type Int64, parseInt64 } from '../../base/int64.ts';

/** What an interface has received, or sent. */
interface Traffic {
  readonly bytes: Int64;
  readonly packets: Int64;
  readonly errors: Int64;
  readonly drops: Int64;
}

/** The counters of one network interface. */
export interface Counters {
  readonly received: Traffic;
  readonly sent: Traffic;
}

/**
 * One line: the name, then bytes, packets, errs, drop, fifo, frame, compressed and multicast of what was received, and as many numbers of what was
 * sent.
 */
const LINE =
  /^ *([^ :]+): *(\d{1,20}) +(\d{1,20}) +(\d{1,20}) +(\d{1,20})(?: +\d+){4} +(\d{1,20}) +(\d{1,20}) +(\d{1,20}) +(\d{1,20})(?: +\d+){4} *$/gm;

/** Reads the text of /proc/net/dev (net/core/net-procfs.c): of the interfaces of these names, and of lines that are as they should be. */
export function readCounters(text: string, names: ReadonlySet<string>): ReadonlyMap<string, Counters> {
  const counters = new Map<string, Counters>();
  for (const line of text.matchAll(LINE)) {
    const name = line[1]!;
    if (names.has(name)) counters.set(name, { received: trafficAt(line, 2), sent: trafficAt(line, 6) });
  }
  return counters;
}

function trafficAt(line: readonly string[], at: number): Traffic {
  const numberAt = (i: number) => parseInt64(line[i]!)!;
  return { bytes: numberAt(at), packets: numberAt(at + 1), errors: numberAt(at + 2), drops: numberAt(at + 3) };
}
