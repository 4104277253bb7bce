import type { Clock } from '../../base/clock.ts';
import { NEXT_TURN, WorkSlice } from '../../collect/work-slice.ts';
import { formatInflux } from '../../formats/influx.ts';
import type { Point } from '../../model/point.ts';

/** So many points are written before the time that it takes is looked at. */
const POINTS_AT_ONCE = 100;

/**
 * The points as lines without their newlines; a point that has nothing to say has none. Lets the rest of the process have its turn in
 * between: a large host has hundreds of thousands of points.
 */
export async function toLines(points: readonly Point[], clock: Clock): Promise<readonly string[]> {
  const slice = new WorkSlice(clock, NEXT_TURN);
  const lines: string[] = [];
  for (let at = 0; at < points.length; at++) {
    if (at % POINTS_AT_ONCE === 0 && slice.isUsedUp) await slice.yield();
    const line = formatInflux([points[at]!]);
    if (line !== '') lines.push(line.slice(0, -1));
  }
  return lines;
}
