import type { Clock } from '../../base/clock.ts';
import { formatDuration } from '../../base/duration.ts';
import type { Logger } from '../../base/logger.ts';
import type { CollectedName } from '../../model/collected.ts';
import type { Point } from '../../model/point.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { toPoints } from '../../schemas/telegraf.ts';
import type { TelegrafInput } from './telegraf-config.ts';

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
  const enabled = new Set<CollectedName>([...input.groups, ...(input.vcpuMapping ? (['vcpu_mapping'] as const) : [])]);
  let failure: string | undefined;
  let silentVms = '';

  function reportFailure(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (message === failure) logger.debug(`${prefix} Error in gathering: ${message}`);
    else logger.error(`${prefix} Error in gathering: ${message}${hope}`);
    failure = message;
  }

  function reportSuccess(snapshot: Snapshot): void {
    if (failure !== undefined) logger.info(`${prefix} Gathering from ${input.libvirtUri} works again`);
    failure = undefined;
    const stale = snapshot.domains.filter((domain) => domain.statsAgeMs > 0 && isWanted(domain.name));
    const names = stale.map((domain) => domain.name).join(', ');
    if (names !== silentVms && names !== '') {
      logger.warn(`${prefix} VMs that did not answer in time, of which only the state is written: ${names}`);
    }
    silentVms = names;
  }

  function isWanted(name: string): boolean {
    return input.domains.size === 0 || input.domains.has(name);
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
        if (!snapshot.up) throw new Error(`${input.libvirtUri} does not answer`);
        const points = toPoints(snapshot, { domains: input.domains, enabled, hostTag: options.hostTag });
        if (points.length === 0) logger.debug(`${prefix} Nothing found: there are no VMs, or none of those configured`);
        await options.emit(nameAndTag(points, input));
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

/** Warns each time that another interval has passed, as Telegraf itself does of its inputs; the answer ends it. */
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
