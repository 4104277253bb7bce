import { LATE, waitFor } from '../../base/waiting.ts';
import type { CallPlace, LineKind, Session } from '../../connection/session.ts';
import { isUnsupported, type LibvirtClient, LibvirtError } from '../../libvirt/index.ts';
import type { StoragePool } from '../../model/snapshot.ts';
import type { Extra, ExtraTask } from './extra.ts';

/** How long a collection waits for the storage pools. */
const WAIT_MS = 2_000;

/** Reads the storage pools. A pool on storage that hangs costs one worker, and the pools of later collections. */
export class PoolReader implements Extra {
  readonly #kind: LineKind;

  constructor(kind: LineKind) {
    this.#kind = kind;
  }

  async read({ session, findings, clock, signal }: ExtraTask): Promise<boolean> {
    const place = session.takePlace(this.#kind);
    // An earlier call is not answered. The log says so since it began to take too long; as an abort it is not said again.
    if (place === undefined) throw new LibvirtError('ERR_LIBVIRT_ABORTED', 'the storage pools still do not answer');
    const outcome = await waitFor(readPools(place, session), clock, { signal, timeoutMs: WAIT_MS });
    if (outcome !== LATE) {
      findings.pools = outcome;
      return true;
    }
    place.giveUp();
    if (signal.aborted)
      throw new LibvirtError('ERR_LIBVIRT_ABORTED', 'the storage pools did not answer by the deadline');
    throw new LibvirtError('ERR_LIBVIRT_TIMEOUT', 'the storage pools did not answer in time');
  }
}

async function readPools(place: CallPlace, session: Session): Promise<readonly StoragePool[] | undefined> {
  try {
    const client = await place.client();
    if (client === undefined) throw new LibvirtError('ERR_LIBVIRT_TIMEOUT', 'there is no connection for storage pools');
    return await listPools(client, session);
  } finally {
    place.leave();
  }
}

/** Undefined when the daemon has no storage driver. */
async function listPools(client: LibvirtClient, session: Session): Promise<readonly StoragePool[] | undefined> {
  const limits = { timeoutMs: Number.POSITIVE_INFINITY };
  const pools: StoragePool[] = [];
  try {
    const refs = (await client.call('connectListAllStoragePools', { needResults: 1, flags: 0 }, limits)).pools;
    session.noteHeard();
    for (const ref of refs) {
      const info = await client.call('storagePoolGetInfo', { pool: ref }, limits).catch((error: unknown) => {
        // A pool that was removed since the list, or cannot be named in a call; anything else ends the task.
        if (error instanceof LibvirtError && LEAVES_ONE_OUT.has(error.code)) return undefined;
        throw error;
      });
      if (info === undefined) continue;
      pools.push({
        ...ref,
        state: info.state,
        capacityBytes: info.capacity,
        allocationBytes: info.allocation,
        availableBytes: info.available,
      });
    }
    return pools;
  } catch (error) {
    if (isUnsupported(error)) return undefined;
    throw error;
  }
}

const LEAVES_ONE_OUT: ReadonlySet<string> = new Set(['ERR_LIBVIRT_REMOTE', 'ERR_LIBVIRT_ARGUMENT']);
