import type { Clock } from '../base/clock.ts';
import { LATE, waitFor } from '../base/waiting.ts';
import { listDomains } from '../collect/inventory/domain-list.ts';
import type { Session } from '../connection/session.ts';
import {
  type DomainRef,
  isRemoteError,
  isUnsupported,
  paramsToMap,
  REMOTE_ERROR,
  STATS_BIT,
} from '../libvirt/index.ts';
import { EventsError } from './error.ts';
import type { ListedVm } from './known-vms.ts';
import { STATE } from './words.ts';

/** The daemon has this long to say what runs. */
const LIST_TIMEOUT_MS = 10_000;
/** VMs asked for at once, where each is asked for by itself. */
const IN_FLIGHT = 3;

/**
 * Every VM of the host, by UUID, with its state and the reason of it. Each VM is seen at one instant: its number and its state belong together.
 * The calls need no job on a VM, so no VM can hold them up. Rejects with libvirt's error, or with `ERR_EVENTS_LIST_LATE`.
 */
export async function listVms(session: Session, clock: Clock): Promise<ReadonlyMap<string, ListedVm>> {
  const abort = new AbortController();
  const bulk = session.sendWatched('connectGetAllDomainStats', { domains: [], stats: STATS_BIT.state, flags: 0 });
  const reply = bulk.reply.then(
    ({ records }) =>
      records.map(({ domain, params }): ListedVm => {
        const map = paramsToMap(params);
        return toListed(domain, Number(map.get('state.state') ?? STATE.noState), Number(map.get('state.reason') ?? 0));
      }),
    (error) => {
      // Daemons before 1.2.8, and some drivers.
      if (!isUnsupported(error)) throw error;
      return askEach(session, abort.signal);
    },
  );
  const listed = await waitFor(reply, clock, { timeoutMs: LIST_TIMEOUT_MS });
  if (listed === LATE) {
    bulk.giveUp();
    abort.abort();
    throw new EventsError('ERR_EVENTS_LIST_LATE', `libvirt did not list its VMs within ${LIST_TIMEOUT_MS / 1000} s`);
  }
  return new Map(listed.map((vm) => [vm.uuid, vm]));
}

async function askEach(session: Session, signal: AbortSignal): Promise<ListedVm[]> {
  const domains = await listDomains(session).reply;
  const found: ListedVm[] = [];
  const queue = domains.values();
  const work = async () => {
    for (const domain of queue) {
      try {
        const { state, reason } = await session.ask('domain', 'domainGetState', { domain, flags: 0 }, signal);
        // It may have ended since the list.
        found.push(toListed(state === STATE.shutoff ? { ...domain, id: -1 } : domain, state, reason));
      } catch (error) {
        if (!isRemoteError(error, REMOTE_ERROR.noDomain)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  return found;
}

function toListed({ name, uuid, id }: DomainRef, state: number, reason: number): ListedVm {
  return { name, uuid, id: id < 0 ? undefined : id, state, reason };
}
