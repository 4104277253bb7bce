import type { Session } from '../../connection/session.ts';
import { type DomainRef, isRemoteError, isUnsupported, REMOTE_ERROR } from '../../libvirt/index.ts';

/** VMs that may be started or defined between the count and the list of older daemons. */
const MARGIN = 16;
/** REMOTE_DOMAIN_LIST_MAX: what one list may have. */
const LIST_MAX = 16_384;
/** Look-ups under way at once. */
const LOOKUPS_IN_FLIGHT = 3;

/** Every VM of the host; on daemons older than libvirt 0.9.13 by the older calls, one VM at a time. */
export async function listDomains(session: Session, signal: AbortSignal): Promise<readonly DomainRef[]> {
  try {
    return (await session.ask('connectListAllDomains', { needResults: 1, flags: 0 }, signal)).domains;
  } catch (error) {
    if (!isUnsupported(error)) throw error;
  }
  const running = await session.ask('connectNumOfDomains', undefined, signal);
  const defined = await session.ask('connectNumOfDefinedDomains', undefined, signal);
  const maxIds = Math.min(LIST_MAX, running.count + MARGIN);
  const maxNames = Math.min(LIST_MAX, defined.count + MARGIN);
  const { ids } = await session.ask('connectListDomains', { maxIds }, signal);
  const { names } = await session.ask('connectListDefinedDomains', { maxNames }, signal);

  const found = new Map<string, DomainRef>();
  const lookups = [
    ...ids.map((id) => () => session.askOfDomain('domainLookupById', { id }, signal)),
    ...names.map((name) => () => session.askOfDomain('domainLookupByName', { name }, signal)),
  ].values();
  const look = async () => {
    for (const lookup of lookups) {
      try {
        const { domain } = await lookup();
        found.set(domain.uuid, domain);
      } catch (error) {
        // It ended since the list.
        if (!isRemoteError(error, REMOTE_ERROR.noDomain)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: LOOKUPS_IN_FLIGHT }, look));
  return [...found.values()];
}
