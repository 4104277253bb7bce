import type { Logger } from '../base/logger.ts';
import type { DecisionSink } from './agent.ts';
import { evictionName } from './carry-out.ts';
import { NO_STATE } from './decider.ts';

/** Says what would be done. Remembers nothing beyond the process. */
export function createDryRun(nodeName: string, logger: Logger): DecisionSink {
  return {
    state: NO_STATE,
    hasTaken: () => false,
    async put({ entries }) {
      for (const entry of entries) {
        if (entry.lane === 'condition') {
          logger.info('dry run: a condition GuestReboot would be set on the Hypervisor', {
            hypervisor: nodeName,
            message: entry.message,
          });
        } else {
          const eviction = evictionName(nodeName, entry.incidentId);
          const what =
            entry.id === entry.incidentId
              ? 'dry run: an Eviction would be created, unless one is open or the host is in maintenance'
              : 'dry run: the event would be noted on the Eviction';
          logger.warn(what, { eviction, hypervisor: nodeName, reason: entry.reason });
        }
      }
    },
  };
}
