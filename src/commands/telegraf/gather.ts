import type { Clock } from '../../base/clock.ts';
import { formatDuration } from '../../base/duration.ts';
import { describeError } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import { NEXT_TURN, WorkSlice } from '../../collect/work-slice.ts';
import type { Point } from '../../model/point.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { toPoints } from '../../schemas/telegraf.ts';
import type { TelegrafInput } from './telegraf-config.ts';

/** Points are made of so many VMs before the time that it takes is looked at. */
const VMS_AT_ONCE = 20;

export interface GathererOptions {
  readonly input: TelegrafInput;
  /** The value of the `host` tag; empty for none. */
  readonly hostTag: string;
  /** Observes the input's host. May reject; a snapshot that is not `up` counts as a failure too. */
  readonly collect: (request: { readonly deadlineMs: number }) => Promise<Snapshot>;
  /** How long one collection may wait for VMs that do not answer. */
  readonly deadlineMs: number;
  /** Whether there will be more gatherings, which a failure need not be the end of. */
  readonly gathersAgain: boolean;
  /** Hands the points on; settles when the receiver can take more. */
  readonly emit: (points: readonly Point[]) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Gathers from one input. */
export interface Gatherer {
  readonly logName: string;
  readonly intervalMs: number;
  /**
   * Collects and emits once; says whether it worked. Never rejects: what fails is logged, once as long as it fails the same way. What
   * arrives after the signal is not emitted.
   */
  gather(signal: AbortSignal): Promise<boolean>;
}

/** Makes the gatherer of one `[[inputs.libvirt]]` table. */
export function createGatherer(options: GathererOptions): Gatherer {
  const { input, clock, logger } = options;
  const prefix = `[${input.logName}]`;
  const hope = options.gathersAgain ? '; the next gathering tries again' : '';
  const reported = new Reported<'gathering' | 'late VMs'>();

  function reportFailure(error: unknown): void {
    const message = error instanceof Error ? error.message : describeError(error);
    if (reported.note('gathering', message)) logger.error(`${prefix} Error in gathering: ${message}${hope}`);
    else logger.debug(`${prefix} Error in gathering: ${message}`);
  }

  function reportSuccess(snapshot: Snapshot): void {
    if (reported.clear('gathering')) logger.info(`${prefix} Gathering from ${input.uri.text} works again`);
    const late = snapshot.domains.filter((domain) => domain.statsAgeMs > 0 && isWanted(domain.name));
    const names = late.map((domain) => domain.name).join(', ');
    if (names === '') reported.clear('late VMs');
    else if (reported.note('late VMs', names)) {
      logger.warn(`${prefix} VMs that did not answer in time, of which only the state is written: ${names}`);
    }
  }

  function isWanted(name: string): boolean {
    return input.domains.size === 0 || input.domains.has(name);
  }

  /** Lets the rest of the process have its turn in between: a host may have thousands of VMs. */
  async function makePoints(snapshot: Snapshot): Promise<readonly Point[]> {
    const schema = { domains: input.domains, enabled: input.wanted, hostTag: options.hostTag };
    const slice = new WorkSlice(clock, NEXT_TURN);
    const points: Point[] = [];
    for (let at = 0; at < snapshot.domains.length; at += VMS_AT_ONCE) {
      if (slice.isUsedUp) await slice.yield();
      const part = { ...snapshot, domains: snapshot.domains.slice(at, at + VMS_AT_ONCE) };
      for (const point of nameAndTag(toPoints(part, schema), input)) points.push(point);
    }
    return points;
  }

  return {
    logName: input.logName,
    intervalMs: input.intervalMs,

    async gather(signal) {
      const stopWatching = watchSlowness(input, clock, logger);
      try {
        const snapshot = await options.collect({ deadlineMs: options.deadlineMs });
        stopWatching();
        if (signal.aborted) return false;
        if (!snapshot.up) throw new Error(`${input.uri.text} does not answer`);
        const points = await makePoints(snapshot);
        if (signal.aborted) return false;
        if (points.length === 0) logger.debug(`${prefix} Nothing found: there are no VMs, or none of those configured`);
        await options.emit(points);
        reportSuccess(snapshot);
        return true;
      } catch (error) {
        if (!signal.aborted) reportFailure(error);
        return false;
      } finally {
        stopWatching();
      }
    },
  };
}

/** Warns each time that another interval has passed, as Telegraf itself does of its inputs; the function returned ends it. */
function watchSlowness(input: TelegrafInput, clock: Clock, logger: Logger): () => void {
  const warn = () => {
    logger.warn(
      `[${input.logName}] Collection took longer than expected; not complete after interval of ` +
        `${formatDuration(input.intervalMs)}: set a longer interval in [[inputs.libvirt]]`,
    );
    cancel = clock.schedule(input.intervalMs, warn);
  };
  let cancel = clock.schedule(input.intervalMs, warn);
  return () => cancel();
}

/** Applies what Telegraf applies to the points of any input: other names, more tags (which never replace a point's own). */
export function nameAndTag(
  points: readonly Point[],
  { nameOverride, namePrefix, nameSuffix, tags }: TelegrafInput,
): readonly Point[] {
  if (nameOverride === '' && namePrefix === '' && nameSuffix === '' && tags.size === 0) return points;
  return points.map((point) => {
    const own = new Set(point.tags.map(([key]) => key));
    return {
      ...point,
      measurement: `${namePrefix}${nameOverride || point.measurement}${nameSuffix}`,
      tags: [...point.tags, ...[...tags].filter(([key]) => !own.has(key))],
    };
  });
}
