// A control group of its own for one process, so that the limits of a container hold for it: version 1 or 2, whichever the machine mounts.
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomName, shellQuote, waitFor } from './cage.ts';

const ROOT = '/sys/fs/cgroup';
const UNIFIED = join(ROOT, 'cgroup.controllers');

export interface CgroupLimits {
  readonly memoryBytes?: number;
  /** Share of one core: 0.1 is a tenth. */
  readonly cpus?: number;
}

/** Where a controller's groups are made; undefined when this machine has none that may be written to. */
function folderOf(controller: 'memory' | 'cpu'): string | undefined {
  const folder = existsSync(UNIFIED) ? ROOT : join(ROOT, controller);
  try {
    if (existsSync(UNIFIED) && !readFileSync(join(ROOT, 'cgroup.subtree_control'), 'utf8').includes(controller))
      return undefined;
    accessSync(join(folder, 'cgroup.procs'), constants.W_OK);
    return folder;
  } catch {
    return undefined;
  }
}

/** Why limits cannot be set here, for the `skip` of a test; false when they can. */
export function cgroupsUnavailable(): string | false {
  return folderOf('memory') === undefined || folderOf('cpu') === undefined
    ? 'control groups for memory and CPU cannot be written to here'
    : false;
}

/** A group that a command is started in by putting `prefix` before it. */
export class Cgroup implements AsyncDisposable {
  readonly #folders: readonly string[];
  readonly #memory: string | undefined;

  constructor({ memoryBytes, cpus }: CgroupLimits) {
    const name = randomName('virtlens-');
    const unified = existsSync(UNIFIED);
    const folders = new Set<string>();
    const make = (controller: 'memory' | 'cpu'): string => {
      const folder = join(folderOf(controller)!, name);
      if (!folders.has(folder)) mkdirSync(folder);
      folders.add(folder);
      return folder;
    };
    if (memoryBytes !== undefined) {
      this.#memory = make('memory');
      writeFileSync(join(this.#memory, unified ? 'memory.max' : 'memory.limit_in_bytes'), String(memoryBytes));
    }
    if (cpus !== undefined) {
      const folder = make('cpu');
      const quota = Math.round(cpus * 100_000);
      if (unified) writeFileSync(join(folder, 'cpu.max'), `${quota} 100000`);
      else {
        writeFileSync(join(folder, 'cpu.cfs_period_us'), '100000');
        writeFileSync(join(folder, 'cpu.cfs_quota_us'), String(quota));
      }
    }
    this.#folders = [...folders];
  }

  /** What to put before a command's arguments, so that it and all that it starts are in the group from its first instruction on. */
  get prefix(): readonly string[] {
    const enter = this.#folders.map((folder) => `echo $$ > ${shellQuote(join(folder, 'cgroup.procs'))} && `).join('');
    return ['sh', '-c', `${enter}exec "$@"`, 'sh'];
  }

  /** How many processes of the group the kernel has killed for want of memory. */
  get oomKills(): number {
    const folder = this.#memory!;
    const file = existsSync(join(folder, 'memory.events')) ? 'memory.events' : 'memory.oom_control';
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync(join(folder, file), 'utf8'))?.[1] ?? 0);
  }

  /** The most memory that the group ever had, page cache included. */
  get memoryPeakBytes(): number {
    const folder = this.#memory!;
    const file = existsSync(join(folder, 'memory.peak')) ? 'memory.peak' : 'memory.max_usage_in_bytes';
    return Number(readFileSync(join(folder, file), 'utf8'));
  }

  /** To be called when its processes have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const folder of this.#folders) {
      const remove = () => {
        try {
          rmdirSync(folder);
          return true;
        } catch {
          return undefined;
        }
      };
      await waitFor(remove, () => `the control group ${folder} cannot be removed`, 5_000);
    }
  }
}
