import type { DomainConfig, DomainStats, InterfaceConfig, InterfaceStats } from '../../model/snapshot.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import { type Counters, readCounters } from './counters.ts';

/** Reads a file of /proc or /sys on the machine that virtlens runs on: the kernel answers at once. Undefined when there is none. */
export type ReadHostFile = (path: string) => string | undefined;

/** The counters of this network namespace's interfaces. Not /proc/net, which a hardened unit does not see. */
const COUNTERS_FILE = '/proc/self/net/dev';
/** NICs that are looked for in one collection, in a file each; a VM whose XML has more is left to libvirt. */
const LOOKED_FOR_MAX = 100;
/** Types of `<interface>` for which libvirt makes a tap device, and reads its counters from the same file. */
const TAP_TYPES: ReadonlySet<string> = new Set(['bridge', 'network', 'ethernet']);
/** What the kernel takes for the name of an interface, and `.` and `..` are none. */
const INTERFACE_NAME = /^(?!\.\.?$)[^\s/:]{1,15}$/;

/** One NIC that has a tap device. */
interface Tap {
  /** libvirt's `net.<num>`. */
  readonly index: number;
  readonly name: string;
  /** The MAC address of the tap device. */
  readonly mac: string;
}

/** A VM that runs, as it was when reading began. */
interface Vm {
  readonly record: DomainRecord;
  readonly id: number;
  readonly config: DomainConfig;
}

/** The statistics of a VM's interfaces. */
export interface NicStats {
  /** Of which run of the VM they are: its runtime id. */
  readonly id: number;
  readonly interfaceCount: number;
  readonly interfaces: readonly InterfaceStats[];
}

/** The statistics of interfaces that were read here, by VM. */
export type NicReadings = ReadonlyMap<DomainRecord, NicStats>;

export const NO_NICS: NicReadings = new Map();

/**
 * The counters of VMs' NICs, from the file that libvirt takes them from. libvirt reads the file of all interfaces once for each NIC: with 100 VMs that is
 * a tenth of its work for a collection, and it grows with the square of their number.
 *
 * A VM's NICs are read here when each is a tap device that this machine shows with the MAC address that libvirt gives it: so not where virtlens
 * has a network namespace of its own, or libvirt is elsewhere. Until that is known, in the first collection after the XML was read, and whenever it
 * turns out otherwise, libvirt is asked.
 */
export class HostNics {
  readonly #readFile: ReadHostFile;
  /** What is known of the NICs in a VM's XML: that they are here, or that they are not. */
  readonly #taps = new WeakMap<DomainConfig, readonly Tap[] | 'unknown' | 'elsewhere'>();

  constructor(readFile: ReadHostFile) {
    this.#readFile = readFile;
  }

  /** Reads what can be read here of these VMs, whose XML is as libvirt has it now. Never throws. */
  read(records: readonly DomainRecord[]): NicReadings {
    const vms: Vm[] = [];
    for (const record of records) {
      const { config, isActive } = record;
      if (isActive && config !== undefined) vms.push({ record, id: record.ref.id, config });
    }
    this.#look(vms.map(({ config }) => config));
    const names = new Set<string>();
    const here: (Vm & { readonly taps: readonly Tap[] })[] = [];
    for (const vm of vms) {
      const taps = this.#taps.get(vm.config);
      if (typeof taps !== 'object') continue;
      here.push({ ...vm, taps });
      for (const { name } of taps) names.add(name);
    }
    if (names.size === 0) return NO_NICS;
    const counters = readCounters(this.#readFile(COUNTERS_FILE) ?? '', names);
    const found = new Map<DomainRecord, NicStats>();
    for (const { record, id, config, taps } of here) {
      const interfaces = statsOf(taps, counters);
      if (interfaces === undefined) this.#taps.set(config, 'unknown');
      else found.set(record, { id, interfaceCount: config.interfaces.length, interfaces });
    }
    return found;
  }

  /** Looks for the NICs of VMs whose XML was there in the last collection already: the first page of a start is not kept waiting. */
  #look(configs: readonly DomainConfig[]): void {
    let left = LOOKED_FOR_MAX;
    for (const config of configs) {
      const known = this.#taps.get(config);
      if (known === undefined) this.#taps.set(config, 'unknown');
      if (known !== 'unknown' || left <= 0) continue;
      const taps = tapsOf(config);
      const isHere = taps !== undefined && taps.length <= LOOKED_FOR_MAX && taps.every((tap) => this.#isHere(tap));
      this.#taps.set(config, isHere ? taps : 'elsewhere');
      left -= taps?.length ?? 0;
    }
  }

  #isHere({ name, mac }: Tap): boolean {
    return this.#readFile(`/sys/class/net/${name}/address`)?.trim() === mac;
  }
}

/** The tap devices of a VM; undefined when one of its NICs is, or may be, something else on the host. */
function tapsOf({ interfaces }: DomainConfig): readonly Tap[] | undefined {
  const taps: Tap[] = [];
  for (const [index, nic] of interfaces.entries()) {
    // SR-IOV and user-mode networking have nothing on the host, and no statistics.
    if (nic.target === undefined) continue;
    const mac = tapMac(nic);
    if (mac === undefined || !INTERFACE_NAME.test(nic.target)) return undefined;
    taps.push({ index, name: nic.target, mac });
  }
  return taps;
}

/**
 * The guest's MAC address with the first byte 0xFE (virNetDevTapCreateInBridgePort): a bridge takes the lowest one of its ports for itself. A macvtap
 * device has the guest's own, and its counters are not the other way round.
 */
function tapMac({ type, mac }: InterfaceConfig): string | undefined {
  if (!TAP_TYPES.has(type) || mac === undefined) return undefined;
  const own = mac.toLowerCase();
  return own.startsWith('fe:') ? undefined : `fe${own.slice(2)}`;
}

/** What the tap device receives, the guest has sent. Undefined when one of them is gone. */
function statsOf(taps: readonly Tap[], counters: ReadonlyMap<string, Counters>): InterfaceStats[] | undefined {
  const interfaces: InterfaceStats[] = [];
  for (const { index, name } of taps) {
    const nic = counters.get(name);
    if (nic === undefined) return undefined;
    const { received, sent } = nic;
    interfaces.push({
      index,
      name,
      rxBytes: sent.bytes,
      rxPackets: sent.packets,
      rxErrors: sent.errors,
      rxDrops: sent.drops,
      txBytes: received.bytes,
      txPackets: received.packets,
      txErrors: received.errors,
      txDrops: received.drops,
    });
  }
  return interfaces;
}

/** Puts the statistics of a VM's interfaces into the others. */
export function withNics(stats: DomainStats, { interfaceCount, interfaces }: NicStats): DomainStats {
  return { ...stats, interfaceCount, interfaces };
}
