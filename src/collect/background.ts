import type { Clock } from '../base/clock.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Collector, CollectRequest } from './collector.ts';

/**
 * Collects at an interval, whether anybody asks or not, and returns the last snapshot at once. Only a caller that comes before the first
 * is there waits for it.
 */
export function collectInBackground(collector: Collector, intervalMs: number, clock: Clock): Collector {
  let latest: Snapshot | undefined;
  let cancel = () => {};
  let isClosed = false;
  const round = async () => {
    const startedMs = clock.monotonicMs();
    latest = await collector.collect({ deadlineMs: intervalMs });
    if (isClosed) return;
    cancel = clock.schedule(Math.max(0, intervalMs - (clock.monotonicMs() - startedMs)), () => void round());
  };
  void round();
  return {
    collect(request: CollectRequest) {
      if (latest !== undefined) return Promise.resolve(latest);
      // The first round is under way, and this shares it.
      return collector.collect(request);
    },
    connect: () => collector.connect(),
    get isConnected() {
      return collector.isConnected;
    },
    close() {
      isClosed = true;
      cancel();
      return collector.close();
    },
  };
}
