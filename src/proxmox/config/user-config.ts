import type { PoolPath } from '../../model/proxmox-snapshot.ts';

/** Proxmox's own: a pool's name has at most three parts. */
const POOL = /^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+){0,2}$/;

/**
 * Reads the pools of user.cfg: lines `pool:<id>:<comment>:<vmid,vmid,…>:<storage,…>:` (PVE::AccessControl). Returns the pool of each VM and
 * container; each is in one pool at most.
 */
export function readPools(text: string): ReadonlyMap<string, PoolPath> {
  const pools = new Map<string, PoolPath>();
  for (const line of text.split('\n')) {
    const [kind, path = '', , vmids = ''] = line.trim().split(':');
    if (kind !== 'pool' || !POOL.test(path)) continue;
    const pool: PoolPath = { path, levels: path.split('/') };
    for (const vmid of vmids.split(/[,;\s]+/)) if (vmid !== '') pools.set(vmid, pool);
  }
  return pools;
}
