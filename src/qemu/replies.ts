// The replies of QMP commands, read into the model. A reply that is not as QEMU's schema has it reads as undefined; a member that is not,
// as absent.
import type { Int64 } from '../base/int64.ts';
import { type BlockNode, type NodeCache, readFileName } from './block-node.ts';
import { countOf, isObject, type JsonObject, objectsOf, textOf } from './json.ts';
import type {
  DriveMedium,
  MonitorBalloon,
  MonitorDrive,
  MonitorDriveStats,
  MonitorMemory,
  MonitorVcpu,
} from './monitor-model.ts';
import { nodeOf } from './monitor-text.ts';

/** Levels of `query-blockstats` that are read: a chain of snapshots has dozens. */
const DEPTH_MAX = 256;
/** Nodes that are followed: a VM has dozens of disks, and each a few nodes for each of its snapshots. */
const NODES_MAX = 4_096;

/**
 * Reads `query-block`. The chains come from `query-named-block-nodes` (what each node is) and `query-blockstats` (which node stands below
 * which), because the file names of long chains are cut; without those two, from the file names.
 */
export function readDrives(blocks: unknown, namedNodes: unknown, blockStats: unknown): MonitorDrive[] | undefined {
  const graph = new NodeGraph(namedNodes, blockStats);
  return objectsOf(blocks)?.map((block) => {
    const inserted = isObject(block.inserted) ? block.inserted : undefined;
    return {
      device: textOf(block.device) ?? '',
      nodeName: textOf(inserted?.['node-name']) ?? '',
      qdev: textOf(block.qdev) ?? '',
      medium: inserted && mediumOf(inserted, graph),
    };
  });
}

function mediumOf(inserted: JsonObject, graph: NodeGraph): DriveMedium {
  const fileName = textOf(inserted.file) ?? '';
  const driver = textOf(inserted.drv) ?? '';
  const detectZeroes = textOf(inserted.detect_zeroes) ?? 'off';
  return {
    fileName,
    driver,
    node: graph.chainOf(textOf(inserted['node-name'])) ?? nodeOf(fileName, driver),
    virtualSizeBytes: isObject(inserted.image) ? countOf(inserted.image['virtual-size']) : undefined,
    cacheMode: cacheModeOf(inserted.cache),
    detectZeroes: detectZeroes === 'off' ? '' : detectZeroes,
    isReadOnly: inserted.ro === true,
  };
}

/** As `info block` prints it. */
function cacheModeOf(cache: unknown): string {
  if (!isObject(cache)) return '';
  const mode = cache.writeback === true ? 'writeback' : 'writethrough';
  const direct = cache.direct === true ? ', direct' : '';
  return `${mode}${direct}${cache['no-flush'] === true ? ', ignore flushes' : ''}`;
}

/** QEMU's block nodes by name, with their children. */
class NodeGraph {
  readonly #nodes = new Map<string, JsonObject>();
  readonly #files = new Map<string, string>();
  readonly #backings = new Map<string, string>();
  readonly #chains = new Map<string, BlockNode | undefined>();

  constructor(namedNodes: unknown, blockStats: unknown) {
    for (const node of objectsOf(namedNodes) ?? []) {
      const name = textOf(node['node-name']);
      if (name === undefined) continue;
      this.#nodes.set(name, node);
      // Since QEMU 10.1.
      for (const child of objectsOf(node.children) ?? []) {
        const childName = textOf(child['node-name']);
        if (childName === undefined) continue;
        if (child.child === 'file') this.#files.set(name, childName);
        if (child.child === 'backing') this.#backings.set(name, childName);
      }
    }
    for (const entry of objectsOf(blockStats) ?? []) this.#addStats(entry, 0);
  }

  /** The node and all below it; undefined when it is not listed, or the node that holds its data is not. */
  chainOf(name: string | undefined): BlockNode | undefined {
    if (name === undefined) return undefined;
    // Set before its children are followed, so that a circle ends.
    if (!this.#chains.has(name)) this.#chains.set(name, undefined).set(name, this.#follow(name));
    return this.#chains.get(name);
  }

  #follow(name: string): BlockNode | undefined {
    const node = this.#nodes.get(name);
    if (node === undefined || this.#chains.size > NODES_MAX) return undefined;
    const childName = this.#files.get(name);
    const file = this.chainOf(childName);
    if (childName !== undefined && file === undefined) return undefined;
    const fileName = textOf(node.file) ?? '';
    const named = readFileName(fileName);
    return {
      driver: textOf(node.drv) ?? '',
      nodeName: name,
      fileName: file === undefined ? (named?.fileName ?? fileName) : undefined,
      options: named?.options ?? new Map(),
      cache: nodeCacheOf(node.cache),
      sizeBytes: named?.sizeBytes,
      file,
      backing: this.chainOf(this.#backings.get(name)),
    };
  }

  /** An entry of query-blockstats: below it stand the node that holds its data (`parent`) and the image it is based on (`backing`). */
  #addStats(entry: JsonObject, depth: number): void {
    if (depth >= DEPTH_MAX) return;
    const name = textOf(entry['node-name']);
    for (const [member, children] of [
      ['parent', this.#files],
      ['backing', this.#backings],
    ] as const) {
      const below = entry[member];
      if (!isObject(below)) continue;
      const belowName = textOf(below['node-name']);
      if (name !== undefined && belowName !== undefined && !children.has(name)) children.set(name, belowName);
      this.#addStats(below, depth + 1);
    }
  }
}

function nodeCacheOf(cache: unknown): NodeCache | undefined {
  return isObject(cache) ? { direct: cache.direct === true, noFlush: cache['no-flush'] === true } : undefined;
}

/** Reads `query-blockstats`: an entry for each drive that has a device or a name of its own. */
export function readDriveStats(value: unknown): MonitorDriveStats[] | undefined {
  return objectsOf(value)?.flatMap((entry) => {
    const [device, qdev] = [textOf(entry.device) ?? '', textOf(entry.qdev) ?? ''];
    if (device === '' && qdev === '') return [];
    return [{ device, qdev, nodeName: textOf(entry['node-name']) ?? '', counters: countersOf(entry.stats) }];
  });
}

/** Reads `query-memory-size-summary`. */
export function readMemorySize(value: unknown): MonitorMemory | undefined {
  if (!isObject(value)) return undefined;
  const baseBytes = countOf(value['base-memory']);
  return baseBytes === undefined ? undefined : { baseBytes, pluggedBytes: countOf(value['plugged-memory']) ?? 0 };
}

/** Reads `query-cpus-fast`. */
export function readVcpus(value: unknown): MonitorVcpu[] | undefined {
  return objectsOf(value)?.flatMap((entry) => {
    const [index, threadId] = [countOf(entry['cpu-index']), countOf(entry['thread-id'])];
    return typeof index === 'number' && typeof threadId === 'number' ? [{ index, threadId }] : [];
  });
}

/** Reads `query-status`: `running`, `paused`, `prelaunch`, `inmigrate`, `io-error`, … */
export function readStatus(value: unknown): string | undefined {
  return isObject(value) ? textOf(value.status) : undefined;
}

/**
 * Reads `query-balloon`. `actual` is QEMU's own; builds that report the guest's view there too have `total_mem`, `free_mem`, `max_mem`,
 * `mem_swapped_in`, `mem_swapped_out`, `major_page_faults`, `minor_page_faults` (bytes and counts) and `last_update` (seconds). What the
 * guest did not report is -1, as 64 bits without a sign.
 */
export function readBalloon(value: unknown): MonitorBalloon | undefined {
  return isObject(value) ? countersOf(value) : undefined;
}

const NOT_REPORTED = 2n ** 64n - 1n;

function countersOf(value: unknown): Map<string, Int64> {
  const counters = new Map<string, Int64>();
  if (!isObject(value)) return counters;
  for (const [name, member] of Object.entries(value)) {
    const count = countOf(member);
    if (count !== undefined && count !== NOT_REPORTED) counters.set(name, count);
  }
  return counters;
}
