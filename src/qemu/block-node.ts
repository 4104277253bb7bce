import type { Int64 } from '../base/int64.ts';
import { countOf, isObject, parseExactJson } from './json.ts';

/**
 * A node of QEMU's block graph, whatever it was read from: an argument of `-blockdev`, a file name in JSON, or the monitor's lists. A disk
 * is a chain of them: filters (`throttle`), a format (`qcow2`), a protocol (`file`); below the format stand the images it is based on.
 */
export interface BlockNode {
  readonly driver: string;
  readonly nodeName: string | undefined;
  /** The file, device or address of a protocol node. */
  readonly fileName: string | undefined;
  /** Its other options that are text, such as `pool` and `image` of `rbd`. */
  readonly options: ReadonlyMap<string, string>;
  /** What the node itself says of its cache; absent when it does not. */
  readonly cache: NodeCache | undefined;
  /** The option `size` of a raw format: how much of the file below it is. */
  readonly sizeBytes: Int64 | undefined;
  readonly file: BlockNode | undefined;
  readonly backing: BlockNode | undefined;
}

export interface NodeCache {
  readonly direct: boolean;
  readonly noFlush: boolean;
}

/** The drivers that give a block device its contents; what stands above them are filters, below them protocols. */
const FORMATS: ReadonlySet<string> = new Set([
  'bochs',
  'cloop',
  'dmg',
  'luks',
  'parallels',
  'qcow',
  'qcow2',
  'qed',
  'raw',
  'vdi',
  'vhdx',
  'vmdk',
  'vpc',
  'vvfat',
]);

/** Deeper chains are not followed: a chain of snapshots has dozens. */
const DEPTH_MAX = 256;

function isFormat(driver: string): boolean {
  return FORMATS.has(driver);
}

/** What stands in a chain of nodes. */
export interface BlockChain {
  /** The first node that is a format, if any. */
  readonly format: BlockNode | undefined;
  /** The lowest node: the protocol. */
  readonly protocol: BlockNode;
  /** How many images stand below the format. */
  readonly backingDepth: number;
}

/** Follows a node down to its protocol. */
export function followChain(top: BlockNode): BlockChain {
  let format: BlockNode | undefined;
  let node = top;
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    if (format === undefined && isFormat(node.driver)) format = node;
    if (node.file === undefined) break;
    node = node.file;
  }
  let backingDepth = 0;
  for (let image = format?.backing; image !== undefined && backingDepth < DEPTH_MAX; backingDepth++) {
    image = imageOf(image)?.backing;
  }
  return { format, protocol: node, backingDepth };
}

/** The node of a chain that may have a backing image: the first format below filters. */
function imageOf(top: BlockNode): BlockNode | undefined {
  let node: BlockNode | undefined = top;
  for (let depth = 0; node !== undefined && depth < DEPTH_MAX; depth++) {
    if (isFormat(node.driver) || node.backing !== undefined) return node;
    node = node.file;
  }
  return undefined;
}

/** The node that options in JSON describe (`{"driver":"throttle","file":{…}}`); undefined when they describe none. */
export function readNodeOptions(value: unknown, depth = 0): BlockNode | undefined {
  if (!isObject(value) || typeof value.driver !== 'string' || depth >= DEPTH_MAX) return undefined;
  const options = new Map<string, string>();
  for (const [name, option] of Object.entries(value)) if (typeof option === 'string') options.set(name, option);
  return {
    driver: value.driver,
    nodeName: options.get('node-name'),
    fileName: options.get('filename'),
    options,
    cache: isObject(value.cache)
      ? { direct: value.cache.direct === true, noFlush: value.cache['no-flush'] === true }
      : undefined,
    sizeBytes: countOf(value.size),
    file: readNodeOptions(value.file, depth + 1),
    backing: readNodeOptions(value.backing, depth + 1),
  };
}

/** The text of QEMU's `json:{…}` names. One that was too long for QEMU's buffer is cut, and then it is no JSON. */
const JSON_NAME = 'json:';

/** The node that a file name of QEMU names: JSON, an address of `rbd:`, `iscsi:` or `nbd:`, or a plain path. Undefined for a name that was cut. */
export function readFileName(name: string): BlockNode | undefined {
  if (name.startsWith(JSON_NAME)) {
    try {
      return readNodeOptions(parseExactJson(name.slice(JSON_NAME.length)));
    } catch {
      return undefined;
    }
  }
  const protocol = /^([a-z][a-z0-9+-]*):/.exec(name)?.[1];
  if (protocol === 'rbd') return plainNode('rbd', name, rbdOptions(name));
  if (protocol !== undefined) return plainNode(protocol.split('+', 1)[0]!, name);
  return plainNode(name.startsWith('/dev/') ? 'host_device' : 'file', name);
}

function plainNode(driver: string, fileName: string, options: ReadonlyMap<string, string> = new Map()): BlockNode {
  return {
    driver,
    nodeName: undefined,
    fileName,
    options,
    cache: undefined,
    sizeBytes: undefined,
    file: undefined,
    backing: undefined,
  };
}

/** `rbd:pool[/namespace]/image[@snapshot][:option=value…]`, a backslash before what would end a part (block/rbd.c). */
function rbdOptions(name: string): Map<string, string> {
  const [place = ''] = name.slice('rbd:'.length).split(/(?<!\\):/, 1);
  const parts = place.split(/(?<!\\)\//).map((part) => part.replace(/\\(.)/g, '$1'));
  const options = new Map<string, string>();
  if (parts.length >= 2) {
    options.set('pool', parts[0]!);
    options.set('image', parts.at(-1)!.split('@', 1)[0]!);
  }
  if (parts.length === 3) options.set('namespace', parts[1]!);
  return options;
}
