import { addInt64, type Int64, parseInt64, scaleInt64 } from '../../base/int64.ts';
import { type BlockNode, readNodeOptions } from '../../qemu/block-node.ts';
import { isObject, parseExactJson } from '../../qemu/json.ts';

/** What the arguments of a VM's process say, as Proxmox VE 7 to 9 write them. */
export interface QemuCommandLine {
  /** Proxmox's own `-id`: digits. */
  readonly vmid: string;
  readonly name: string;
  /** The model of `-cpu` without its flags. */
  readonly cpu: string;
  /** vCPUs at the start: those of `-smp`, and those that CPU hotplug plugs in with `-device`. */
  readonly vcores: number | undefined;
  /** Memory at the start, hot-plugged modules included. */
  readonly memoryBytes: Int64 | undefined;
  /** The chains of `-blockdev`, by the name of their top node. */
  readonly blockNodes: ReadonlyMap<string, BlockNode>;
}

const MIB = 2 ** 20;
/** QEMU's suffixes of sizes (qemu_strtosz). */
const UNIT_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  K: 2 ** 10,
  M: MIB,
  G: 2 ** 30,
  T: 2 ** 40,
  P: 2 ** 50,
};

/** `kvm64-x86_64-cpu,id=cpu2,…`: a vCPU that is plugged in. */
const CPU_DEVICE = /^[\w.+-]+-cpu,(?:.*,)?id=cpu\d+(?:,|$)/;
/** The memory of the start, in NUMA nodes or shared with virtiofsd, and the modules that memory hotplug adds to it. */
const BASE_MEMORY = /^(?:ram-node|virtiofs-mem)/;
const MEMORY_MODULE = /^mem-dimm/;

/** Reads the arguments of /proc/PID/cmdline; undefined when they have no `-id` of a VM. */
export function readCommandLine(args: readonly string[]): QemuCommandLine | undefined {
  const options = new Map<string, string[]>();
  for (let at = 1; at < args.length; at++) {
    const option = /^--?([a-z][a-z0-9-]*)$/.exec(args[at]!)?.[1];
    if (option === undefined || at + 1 >= args.length) continue;
    // The value of an option, unless the next argument is an option itself (-daemonize, -no-shutdown, -S).
    if (/^--?[a-zA-Z]/.test(args[at + 1]!)) continue;
    const values = options.get(option);
    if (values === undefined) options.set(option, [args[++at]!]);
    else values.push(args[++at]!);
  }
  const vmid = options.get('id')?.at(-1);
  if (vmid === undefined || !/^[1-9]\d{0,8}$/.test(vmid)) return undefined;
  return {
    vmid,
    name: firstPart(options.get('name')?.at(-1) ?? ''),
    cpu: firstPart(options.get('cpu')?.at(-1) ?? ''),
    vcores: vcoresOf(options.get('smp')?.at(-1), options.get('device') ?? []),
    memoryBytes: memoryOf(options.get('m')?.at(-1), options.get('object') ?? []),
    blockNodes: blockNodesOf(options.get('blockdev') ?? []),
  };
}

/** What stands before the first comma; QEMU reads two commas as one that belongs to the value. */
function firstPart(value: string): string {
  const [part = ''] = /^(?:[^,]|,,)*/.exec(value) ?? [];
  return part.replaceAll(',,', ',');
}

/** `key=value` pairs of an option; a part without a key has the key ''. */
function pairsOf(option: string): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const part of option.split(',')) {
    const at = part.indexOf('=');
    pairs.set(at === -1 ? '' : part.slice(0, at), part.slice(at + 1));
  }
  return pairs;
}

function vcoresOf(smp: string | undefined, devices: readonly string[]): number | undefined {
  if (smp === undefined) return undefined;
  const pairs = pairsOf(smp);
  const text = /^(\d{1,9})(?:,|$)/.exec(smp)?.[1] ?? pairs.get('cpus');
  if (text === undefined || !/^\d{1,9}$/.test(text)) return undefined;
  return Number(text) + devices.filter((device) => CPU_DEVICE.test(device)).length;
}

/** `-m` and the modules of memory hotplug; without `-m` the memory back ends themselves. */
function memoryOf(option: string | undefined, objects: readonly string[]): Int64 | undefined {
  const pairs = pairsOf(option ?? '');
  let base = sizeOf(pairs.get('size') ?? pairs.get('') ?? '');
  let modules: Int64 = 0;
  let backEnds: Int64 | undefined;
  for (const object of objects) {
    const { id, bytes } = memoryBackEndOf(object);
    if (bytes === undefined) continue;
    if (BASE_MEMORY.test(id)) backEnds = addInt64(backEnds ?? 0, bytes);
    else if (MEMORY_MODULE.test(id)) modules = addInt64(modules, bytes);
  }
  base ??= backEnds;
  return base === undefined ? undefined : addInt64(base, modules);
}

/** Id and size of an `-object memory-backend-…`, in QEMU's own syntax or in JSON. */
function memoryBackEndOf(object: string): { readonly id: string; readonly bytes: Int64 | undefined } {
  if (object.startsWith('{')) {
    const json = parseJson(object);
    if (!isObject(json) || !String(json['qom-type']).startsWith('memory-backend-')) return { id: '', bytes: undefined };
    return { id: String(json.id), bytes: typeof json.size === 'number' ? json.size : undefined };
  }
  if (!object.startsWith('memory-backend-')) return { id: '', bytes: undefined };
  const pairs = pairsOf(object);
  // Without a unit this size is in bytes, other than that of -m.
  return { id: pairs.get('id') ?? '', bytes: sizeOf(pairs.get('size') ?? '', 1) };
}

/** A size of QEMU: digits and a unit; without one, `-m` means MiB. */
function sizeOf(text: string, unitBytes = MIB): Int64 | undefined {
  const match = /^(\d{1,15})([BKMGTP]?)$/i.exec(text);
  if (match === null) return undefined;
  const [, digits, unit] = match;
  return scaleInt64(parseInt64(digits!)!, unit === '' ? unitBytes : UNIT_BYTES[unit!.toUpperCase()]!);
}

function blockNodesOf(options: readonly string[]): Map<string, BlockNode> {
  const nodes = new Map<string, BlockNode>();
  for (const option of options) {
    const node = readNodeOptions(parseJson(option));
    if (node?.nodeName !== undefined) nodes.set(node.nodeName, node);
  }
  return nodes;
}

function parseJson(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch {
    return undefined;
  }
}
