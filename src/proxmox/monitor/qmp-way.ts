import type { Clock } from '../../base/clock.ts';
import { readInfoNetwork } from '../../qemu/monitor-text.ts';
import { type QmpCommand, visitQmp } from '../../qemu/qmp-visit.ts';
import { readBalloon, readDriveStats, readDrives, readMemorySize, readStatus, readVcpus } from '../../qemu/replies.ts';
import type { HostRoot } from '../host-root.ts';
import type { VmProcess } from '../process/processes.ts';
import type { MonitorWay, VisitResult, VisitWish } from './monitor.ts';

/** The commands of a visit by the names that their replies have below, in the order in which they are given. */
const DEVICE_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  // No command of QMP lists the interfaces of network devices.
  network: { execute: 'human-monitor-command', arguments: { 'command-line': 'info network' } },
  blocks: { execute: 'query-block' },
  nodes: { execute: 'query-named-block-nodes', arguments: { flat: true } },
};
const SHARED_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  blockStats: { execute: 'query-blockstats' },
  memory: { execute: 'query-memory-size-summary' },
  vcpus: { execute: 'query-cpus-fast' },
};
const STATISTICS_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  status: { execute: 'query-status' },
  // Fails when the VM has no balloon: last.
  balloon: { execute: 'query-balloon' },
};

/** The VMs' QMP sockets: one short visit for all commands. */
export class QmpWay implements MonitorWay {
  readonly #root: HostRoot;
  readonly #clock: Clock;

  constructor(root: HostRoot, clock: Clock) {
    this.#root = root;
    this.#clock = clock;
  }

  async visit({ commandLine }: VmProcess, wish: VisitWish, signal: AbortSignal): Promise<VisitResult> {
    const commands = {
      ...(wish.devices && DEVICE_COMMANDS),
      ...SHARED_COMMANDS,
      ...(wish.statistics && STATISTICS_COMMANDS),
    };
    const path = this.#root.path('run', 'qemu-server', `${commandLine.vmid}.qmp`);
    const replies = await visitQmp(path, Object.values(commands), { clock: this.#clock, signal });
    const values = new Map<string, unknown>();
    for (const [index, name] of Object.keys(commands).entries()) {
      const reply = replies[index]!;
      if ('value' in reply) values.set(name, reply.value);
    }
    const memory = readMemorySize(values.get('memory'));
    const vcpus = readVcpus(values.get('vcpus'));
    const blockStats = values.get('blockStats');
    const network = values.get('network');
    return {
      devices: wish.devices
        ? {
            nics: typeof network === 'string' ? readInfoNetwork(network) : undefined,
            drives: readDrives(values.get('blocks'), values.get('nodes'), blockStats),
            memory,
            vcpus,
          }
        : undefined,
      statistics: wish.statistics
        ? {
            drives: readDriveStats(blockStats),
            memory,
            vcpus,
            balloon: readBalloon(values.get('balloon')),
            status: readStatus(values.get('status')),
          }
        : undefined,
    };
  }

  close(): void {}
}
