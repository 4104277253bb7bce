import type {
  MonitorBalloon,
  MonitorDrive,
  MonitorDriveStats,
  MonitorMemory,
  MonitorNic,
  MonitorVcpu,
} from '../../qemu/monitor-model.ts';
import type { VmProcess } from '../process/processes.ts';

/** What a VM consists of: it changes when somebody plugs a device in, and is kept for minutes. */
export interface VmDevices {
  readonly nics: readonly MonitorNic[] | undefined;
  readonly drives: readonly MonitorDrive[] | undefined;
  readonly memory: MonitorMemory | undefined;
  readonly vcpus: readonly MonitorVcpu[] | undefined;
}

/** What moves, and is asked for by every collection. */
export interface VmStatistics {
  readonly drives: readonly MonitorDriveStats[] | undefined;
  readonly vcpus: readonly MonitorVcpu[] | undefined;
  readonly memory: MonitorMemory | undefined;
  readonly balloon: MonitorBalloon | undefined;
  readonly status: string | undefined;
}

/** What a visit to a monitor is for. */
export interface VisitWish {
  readonly devices: boolean;
  readonly statistics: boolean;
}

/** What a visit brought; a part that was not wished for is absent. */
export interface VisitResult {
  readonly devices?: VmDevices | undefined;
  readonly statistics?: VmStatistics | undefined;
}

/** A way to the monitors of VMs. */
export interface MonitorWay {
  /** Asks one VM. Rejects with a QemuError or a ProxmoxError when it does not reply. */
  visit(vm: VmProcess, wish: VisitWish, signal: AbortSignal): Promise<VisitResult>;
  /** Ends what is left of earlier visits. */
  close(): void;
}
