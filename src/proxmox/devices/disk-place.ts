import type { Int64 } from '../../base/int64.ts';
import { type BlockChain, followChain } from '../../qemu/block-node.ts';
import type { DriveMedium, MonitorDrive } from '../../qemu/monitor-model.ts';
import type { QemuCommandLine } from '../process/command-line.ts';

/** Proxmox's keys of disks that a guest's device can have. */
const KEY = /^(?:ide[0-3]|sata[0-5]|scsi(?:[12]?\d|30)|virtio(?:\d|1[0-5])|efidisk0)$/;
/** The second flash chip holds the EFI variables, the first the firmware. */
const EFI_DISK = '/machine/system.flash1';

/**
 * Proxmox's key of a drive: in the name of its back end or node (`drive-scsi0`), else in that of the guest's device. Undefined for what is
 * no disk of the VM: firmware, and what a backup adds (`drive-scsi0-fleecing`, `drive-tpmstate0-backup`).
 */
export function diskKeyOf({ device, nodeName, qdev }: MonitorDrive): string | undefined {
  for (const name of [device, nodeName]) {
    const key = /^drive-(\w+)$/.exec(name)?.[1];
    if (key !== undefined) return key;
  }
  if (qdev === EFI_DISK) return 'efidisk0';
  for (const name of [attachedTo(qdev), device]) if (KEY.test(name)) return name;
  return undefined;
}

/** The device's id: the part after `/machine/peripheral/` of a QOM path, else the text as it is. */
export function attachedTo(qdev: string): string {
  return qdev.split('/')[3] ?? qdev;
}

/** Where a disk's data is, as far as names say. */
export interface DiskPlace {
  readonly path: string;
  readonly type: string;
  readonly format: string;
  readonly protocol: string;
  readonly volume: string;
  readonly pool: string;
  readonly poolName: string;
  readonly clusterId: string;
  readonly volumeGroup: string;
  readonly cacheMode: string;
  readonly backingDepth: number;
}

/** How large a disk is that is a part of its file, as EFI variables are; undefined for all others. */
export function partSizeOf(nodeName: string, medium: DriveMedium, commandLine: QemuCommandLine): Int64 | undefined {
  const top = medium.node ?? commandLine.blockNodes.get(nodeName);
  return top && followChain(top).format?.sizeBytes;
}

const NOWHERE = { volume: '', pool: '', poolName: '', clusterId: '', volumeGroup: '' };

/**
 * Where a disk's data is. The monitor's chain of nodes says it; where it is too short (a file name that QEMU cut, or a text that has no
 * caches), the `-blockdev` argument of the same name helps.
 */
export function placeOf(nodeName: string, medium: DriveMedium, commandLine: QemuCommandLine): DiskPlace {
  const argument = commandLine.blockNodes.get(nodeName);
  const top = medium.node ?? argument;
  const chain = top && followChain(top);
  const format = chain?.format?.driver ?? medium.driver;
  const protocol = chain?.protocol.driver ?? '';
  const path = chain === undefined ? medium.fileName : (addressOf(chain) ?? medium.fileName);
  return {
    path,
    format,
    protocol,
    ...classify(path, format, chain),
    cacheMode: cacheModeOf(medium, chain, argument && followChain(argument)),
    backingDepth: chain?.backingDepth ?? 0,
  };
}

function addressOf({ protocol }: BlockChain): string | undefined {
  const { pool, image, namespace } = Object.fromEntries(protocol.options);
  if (protocol.driver === 'rbd' && pool !== undefined && image !== undefined) {
    return `rbd:${[pool, namespace, image].filter((part) => part !== undefined && part !== '').join('/')}`;
  }
  return protocol.fileName;
}

function classify(
  path: string,
  format: string,
  chain: BlockChain | undefined,
): Pick<DiskPlace, 'type' | 'volume' | 'pool' | 'poolName' | 'clusterId' | 'volumeGroup'> {
  const zvol = /^\/dev\/zvol\/(.+)\/([^/]+)$/.exec(path);
  if (zvol !== null) return { ...NOWHERE, type: 'zvol', pool: zvol[1]!, volume: zvol[2]! };
  // Mapped by the kernel: /dev/rbd-pve/<fsid>/<pool>[/<namespace>]/<image>, before Proxmox VE 7 /dev/rbd/<pool>/<image>.
  const mapped = /^\/dev\/(?:rbd-pve\/([^/]+)|rbd)\/([^/]+)\/(?:[^/]+\/)?([^/]+)$/.exec(path);
  if (mapped !== null) {
    const [, clusterId = '', pool, volume] = mapped;
    return { ...NOWHERE, type: 'rbd', pool: pool!, poolName: pool!, clusterId, volume: volume! };
  }
  if (chain?.protocol.driver === 'rbd') {
    const pool = chain.protocol.options.get('pool') ?? '';
    return { ...NOWHERE, type: 'rbd', pool, poolName: pool, volume: chain.protocol.options.get('image') ?? '' };
  }
  const lvm = /^\/dev\/([^/]+)\/((?:vm|base)-\d+-[^/]+)$/.exec(path);
  if (lvm !== null) return { ...NOWHERE, type: 'lvm', volumeGroup: lvm[1]!, volume: lvm[2]! };
  // The name of an image file up to its first dot.
  const volume = format === 'qcow2' ? path.slice(path.lastIndexOf('/') + 1).split('.', 1)[0]! : '';
  return { ...NOWHERE, type: format, volume };
}

/**
 * QEMU's text is of the top node. Where that is a filter (the throttle node of Proxmox VE 9), what it says of the page cache is its own
 * and always the same; the format's node below has the truth. Whether writes are cached is decided at the top.
 */
function cacheModeOf(medium: DriveMedium, chain: BlockChain | undefined, argument: BlockChain | undefined): string {
  if (chain?.format === undefined || chain.format.driver === medium.driver || medium.cacheMode === '') {
    return medium.cacheMode;
  }
  const cache = chain.format.cache ?? argument?.format?.cache;
  if (cache === undefined) return medium.cacheMode;
  const [write = ''] = medium.cacheMode.split(', ');
  return `${write}${cache.direct ? ', direct' : ''}${cache.noFlush ? ', ignore flushes' : ''}`;
}
