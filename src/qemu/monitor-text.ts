// What `info network` and `info block` print, read into the model. QEMU ends lines with \r\n on some ways and \n on others.
import { type BlockNode, readFileName } from './block-node.ts';
import type { MonitorDrive, MonitorNic } from './monitor-model.ts';

/** QEMU's own limit. */
const QUEUES_MAX = 1024;

/**
 * Reads `info network`: a line for each queue of each device, and below it, after ` \ `, its back end. Both have the same name and are
 * merged; so `type` is the back end's. Lines of anything but `net…` are left out.
 */
export function readInfoNetwork(text: string): MonitorNic[] {
  const nics = new Map<string, { values: Map<string, string>; queues: number }>();
  for (const line of text.split(/\r*\n/)) {
    const match = /^(?: \\ )?(net[^:\s]*): (.*)$/.exec(line);
    if (match === null) continue;
    const [, netdev, rest] = match;
    let nic = nics.get(netdev!);
    if (nic === undefined) {
      nic = { values: new Map(), queues: 0 };
      nics.set(netdev!, nic);
    }
    for (const pair of rest!.split(',')) {
      const at = pair.indexOf('=');
      if (at > 0) nic.values.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const index = /(?:^|,)index=(\d{1,4})(?:,|$)/.exec(rest!)?.[1];
    if (index !== undefined) nic.queues = Math.min(QUEUES_MAX, Math.max(nic.queues, Number(index) + 1));
  }
  return Array.from(nics, ([netdev, { values, queues }]) => ({
    netdev,
    type: values.get('type') ?? '',
    model: values.get('model') ?? '',
    mac: (values.get('macaddr') ?? '').toLowerCase(),
    ifname: values.get('ifname') || undefined,
    queues,
  }));
}

/** The first line of a drive: its name, `(#block123)` when QEMU made the node's name, the file, and in brackets the driver and flags. */
const DRIVE = /^(\S+?)(?: \((#block\d+)\))?: (.+) \(([\w, -]+)\)$/;
/** QEMU's file names have at most 4,096 bytes. */
const LINE_LENGTH_MAX = 16_384;
const EMPTY_DRIVE = /^(\S+?)(?: \(#block\d+\))?: \[not inserted\]$/;

/** Reads `info block`. The text does not say whether a name is a back end's or a node's: both are set to it. */
export function readInfoBlock(text: string): MonitorDrive[] {
  const drives: MonitorDrive[] = [];
  let head: RegExpExecArray | undefined;
  let name = '';
  let details = new Map<string, string>();
  const finish = () => {
    if (name !== '') drives.push(driveOf(name, head, details));
    name = '';
    head = undefined;
    details = new Map();
  };
  for (const line of text.split(/\r*\n/)) {
    if (/^\s/.test(line)) {
      const detail = /^\s+([^:]+):\s+(.*)$/.exec(line);
      if (detail !== null) details.set(detail[1]!, detail[2]!.trim());
      continue;
    }
    finish();
    if (line.length > LINE_LENGTH_MAX) continue;
    const inserted = DRIVE.exec(line);
    name = inserted?.[1] ?? EMPTY_DRIVE.exec(line)?.[1] ?? '';
    head = inserted ?? undefined;
  }
  finish();
  return drives;
}

function driveOf(name: string, head: RegExpExecArray | undefined, details: ReadonlyMap<string, string>): MonitorDrive {
  const qdev = details.get('Attached to') ?? '';
  if (head === undefined) return { device: name, nodeName: '', qdev, medium: undefined };
  const [, , nodeName, fileName, flags] = head;
  const [driver = '', ...rest] = flags!.split(', ');
  return {
    device: name,
    nodeName: nodeName ?? name,
    qdev,
    medium: {
      fileName: fileName!,
      driver,
      node: nodeOf(fileName!, driver),
      virtualSizeBytes: undefined,
      cacheMode: details.get('Cache mode') ?? '',
      detectZeroes: details.get('Detect zeroes') ?? '',
      isReadOnly: rest.includes('read-only'),
    },
  };
}

/** The chain that follows from a drive's file name and driver: a plain name is that of the protocol below the format. */
export function nodeOf(fileName: string, driver: string): BlockNode | undefined {
  const named = readFileName(fileName);
  if (named === undefined || named.driver === driver || fileName.startsWith('json:')) return named;
  return {
    driver,
    nodeName: undefined,
    fileName: undefined,
    options: new Map(),
    cache: undefined,
    sizeBytes: undefined,
    file: named,
    backing: undefined,
  };
}
