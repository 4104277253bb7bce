import type { SentCall, Session } from '../../connection/session.ts';
import { type DomainRef, isRemoteError, isUnsupported, REMOTE_ERROR, type ResultOf } from '../../libvirt/index.ts';

/** VMs that may be started or defined between the count and the list of older daemons. */
const MARGIN = 16;
/** REMOTE_DOMAIN_LIST_MAX: what one list may have. */
const LIST_MAX = 16_384;
/** Look-ups under way at once. */
const LOOKUPS_IN_FLIGHT = 3;

/** Asks for every VM of the host; on daemons older than libvirt 0.9.13 by the older calls, one VM at a time. */
export function listDomains(session: Session): SentCall<readonly DomainRef[]> {
  const sent = session.sendWatched('connectListAllDomains', { needResults: 1, flags: 0 });
  // The older calls end with the connection or with the daemon's answer; there is one at a time that could be given up.
  const older = new AbortController();
  return {
    reply: readReply(session, sent, older.signal),
    giveUp() {
      sent.giveUp();
      older.abort();
    },
  };
}

async function readReply(
  session: Session,
  sent: SentCall<ResultOf<'connectListAllDomains'>>,
  signal: AbortSignal,
): Promise<readonly DomainRef[]> {
  try {
    return (await sent.reply).domains;
  } catch (error) {
    if (!isUnsupported(error)) throw error;
  }
  const running = await session.ask('daemon', 'connectNumOfDomains', undefined, signal);
  const defined = await session.ask('daemon', 'connectNumOfDefinedDomains', undefined, signal);
  const maxIds = Math.min(LIST_MAX, running.count + MARGIN);
  const maxNames = Math.min(LIST_MAX, defined.count + MARGIN);
  const { ids } = await session.ask('daemon', 'connectListDomains', { maxIds }, signal);
  const { names } = await session.ask('daemon', 'connectListDefinedDomains', { maxNames }, signal);

  const found = new Map<string, DomainRef>();
  const lookups = [
    ...ids.map((id) => () => session.ask('domain', 'domainLookupById', { id }, signal)),
    ...names.filter(isSendable).map((name) => () => session.ask('domain', 'domainLookupByName', { name }, signal)),
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

/** Whether a VM of this name can be named in a call: libvirt's texts end at their first NUL. */
export function isSendable(name: string): boolean {
  return !name.includes('\0');
}
