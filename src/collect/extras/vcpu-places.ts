import type { ControlKind, Session } from '../../connection/session.ts';
import { LibvirtError } from '../../libvirt/index.ts';
import type { DomainStats, VcpuStats } from '../../model/snapshot.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import type { Extra, ExtraTask, VcpuPlaces } from './extra.ts';

/** How long a collection waits for the vCPUs' places. */
const WAIT_MS = 2_000;
/** VMs whose vCPUs are asked for at once. */
const CALLS_IN_FLIGHT = 3;
/** Errors that leave out one VM. */
const LEAVES_ONE_OUT: ReadonlySet<string> = new Set(['ERR_LIBVIRT_REMOTE', 'ERR_LIBVIRT_ARGUMENT']);

/** Asks where vCPUs run and where they may run. No call needs the monitor. */
export class VcpuPlaceReader implements Extra {
  readonly #kind: ControlKind;
  readonly #hostCpus = new WeakMap<Session, number>();

  constructor(kind: ControlKind) {
    this.#kind = kind;
  }

  /** What comes in time is found, also when not everything does. */
  async read({ session, inventory, findings, clock, signal }: ExtraTask): Promise<boolean> {
    const late = new AbortController();
    const end = () => late.abort();
    const cancel = clock.schedule(WAIT_MS, end);
    signal.addEventListener('abort', end, { once: true });
    try {
      const mapLength = Math.ceil((await this.#cpusOf(session, late.signal)) / 8);
      const queue = inventory.records().values();
      const reader = async () => {
        for (const record of queue) {
          const places = await readVcpuPlaces(session, this.#kind, record, mapLength, late.signal);
          if (places !== undefined) findings.vcpuPlaces.set(record, places);
        }
      };
      await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, reader));
      return true;
    } finally {
      cancel();
      signal.removeEventListener('abort', end);
    }
  }

  async #cpusOf(session: Session, signal: AbortSignal): Promise<number> {
    let cpus = this.#hostCpus.get(session);
    if (cpus === undefined) {
      const node = await session.ask('daemon', 'nodeGetInfo', undefined, signal);
      // As virNodeGetInfo's documentation counts them: CPUs that are offline included.
      cpus = node.nodes * node.sockets * node.cores * node.threads;
      this.#hostCpus.set(session, cpus);
    }
    return cpus;
  }
}

async function readVcpuPlaces(
  session: Session,
  kind: ControlKind,
  record: DomainRecord,
  mapLength: number,
  signal: AbortSignal,
): Promise<VcpuPlaces | undefined> {
  const count = record.config?.maximumVcpus ?? 0;
  if (count === 0) return undefined;
  const domain = record.ref;
  try {
    const pinArgs = { domain, mapCount: count, mapLength, flags: 0 };
    const pinning = await session.ask(kind, 'domainGetVcpuPinInfo', pinArgs, signal);
    const vcpuArgs = { domain, maxInfo: count, mapLength: 0 };
    const vcpus = record.isActive ? (await session.ask(kind, 'domainGetVcpus', vcpuArgs, signal)).vcpus : [];
    return {
      cpus: new Map(vcpus.filter(({ cpu }) => cpu >= 0).map(({ number, cpu }) => [number, cpu])),
      affinity: Array.from({ length: pinning.count }, (_, i) =>
        cpusOfMap(pinning.cpuMaps.subarray(i * mapLength, (i + 1) * mapLength)),
      ),
    };
  } catch (error) {
    // A VM that stopped meanwhile, or cannot be named in a call, or a driver without pinning.
    if (error instanceof LibvirtError && LEAVES_ONE_OUT.has(error.code)) return undefined;
    throw error;
  }
}

/** Puts the places into the VM's vCPU statistics; vCPUs that the statistics do not list (an inactive VM's) are added. */
export function withVcpuPlaces(stats: DomainStats, places: VcpuPlaces): DomainStats {
  const vcpus = new Map<number, VcpuStats>((stats.vcpu?.vcpus ?? []).map((vcpu) => [vcpu.index, vcpu]));
  for (const [index, affinity] of places.affinity.entries()) {
    vcpus.set(index, { ...(vcpus.get(index) ?? { index }), affinity });
  }
  for (const [index, cpu] of places.cpus) vcpus.set(index, { ...(vcpus.get(index) ?? { index }), cpu });
  return { ...stats, vcpu: { ...stats.vcpu, vcpus: [...vcpus.values()].sort((a, b) => a.index - b.index) } };
}

/** The numbers of the bits that are set, least significant bit of the first byte first. */
function cpusOfMap(map: Uint8Array): number[] {
  const cpus: number[] = [];
  for (const [byte, bits] of map.entries()) {
    for (let bit = 0; bit < 8; bit++) if ((bits & (1 << bit)) !== 0) cpus.push(byte * 8 + bit);
  }
  return cpus;
}
