import { noStoragePool } from '../description/daemon-error.ts';
import type { StoragePool } from '../description/host-description.ts';
import { escapeText } from '../hypervisor/domain-xml.ts';
import type { CallContext, Handlers } from './call.ts';

const INACTIVE = 0;

// Pairs of virConnectListAllStoragePoolsFlags.
const LIST_INACTIVE = 1;
const LIST_ACTIVE = 2;

function pools({ hypervisor }: CallContext, active: boolean): StoragePool[] {
  return [...hypervisor.pools.values()].filter((pool) => (pool.state !== INACTIVE) === active);
}

function find(args: { readonly pool: { readonly uuid: string; readonly name: string } }, context: CallContext) {
  return byUuid(args.pool.uuid, context, `'${args.pool.uuid}' (${args.pool.name})`);
}

function byUuid(uuid: string, { hypervisor }: CallContext, shown: string): StoragePool {
  for (const pool of hypervisor.pools.values()) if (pool.uuid === uuid) return pool;
  throw noStoragePool(`no storage pool with matching uuid ${shown}`);
}

/** Storage pools. */
export const poolCalls = {
  connectNumOfStoragePools: (_, context) => ({ count: pools(context, true).length }),
  connectListStoragePools: ({ maxNames }, context) => ({
    names: pools(context, true)
      .slice(0, Math.max(0, maxNames))
      .map((pool) => pool.name),
  }),
  connectNumOfDefinedStoragePools: (_, context) => ({ count: pools(context, false).length }),
  connectListDefinedStoragePools: ({ maxNames }, context) => ({
    names: pools(context, false)
      .slice(0, Math.max(0, maxNames))
      .map((pool) => pool.name),
  }),
  connectListAllStoragePools({ needResults, flags }, { hypervisor }) {
    const asked = flags & (LIST_ACTIVE | LIST_INACTIVE);
    const found = [...hypervisor.pools.values()].filter(
      (pool) => asked === 0 || (asked & (pool.state === INACTIVE ? LIST_INACTIVE : LIST_ACTIVE)) !== 0,
    );
    const refs = found.map(({ name, uuid }) => ({ name, uuid }));
    return { pools: needResults === 0 ? [] : refs, count: found.length };
  },
  storagePoolLookupByName({ name }, { hypervisor }) {
    const pool = hypervisor.pools.get(name);
    if (pool === undefined) throw noStoragePool(`no storage pool with matching name '${name}'`);
    return { pool: { name, uuid: pool.uuid } };
  },
  storagePoolLookupByUuid({ uuid }, context) {
    const { name } = byUuid(uuid, context, `'${uuid}'`);
    return { pool: { name, uuid } };
  },
  storagePoolGetInfo(args, context) {
    const { state, capacityBytes, allocationBytes } = find(args, context);
    return {
      state,
      capacity: capacityBytes,
      allocation: allocationBytes,
      available: Math.max(0, capacityBytes - allocationBytes),
    };
  },
  storagePoolGetXmlDesc(args, context) {
    const pool = find(args, context);
    return {
      xml: `<pool type='${escapeText(pool.type)}'>
  <name>${escapeText(pool.name)}</name>
  <uuid>${pool.uuid}</uuid>
  <capacity unit='bytes'>${pool.capacityBytes}</capacity>
  <allocation unit='bytes'>${pool.allocationBytes}</allocation>
  <available unit='bytes'>${Math.max(0, pool.capacityBytes - pool.allocationBytes)}</available>
  <target>
    <path>${escapeText(pool.path)}</path>
  </target>
</pool>
`,
    };
  },
  storagePoolGetAutostart(args, context) {
    find(args, context);
    return { autostart: 1 };
  },
  storagePoolNumOfVolumes: (args, context) => ({ count: find(args, context).volumes }),
  storagePoolIsActive: (args, context) => ({ active: find(args, context).state === INACTIVE ? 0 : 1 }),
  storagePoolIsPersistent(args, context) {
    find(args, context);
    return { persistent: 1 };
  },
} satisfies Handlers;
