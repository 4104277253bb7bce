import { setFlagsFromString } from 'node:v8';

/*
 * What makes Node.js small enough for a host's agent. Measured with 200 VMs scraped 1,300 times without a pause: a resident set of 83 MiB in the
 * middle and 91 at most with these settings, 175 and 191 without, for a quarter more CPU. The units and the image also set malloc's
 * variables, which can only be given from outside (MALLOC_ARENA_MAX, MALLOC_TRIM_THRESHOLD_): 4 MiB less.
 *
 * Node.js and virtlens start from code caches, and V8 takes none that was made with other flags. Flags that V8 counts among these are
 * therefore set when the modules are loaded (`settleHeap`).
 */

/**
 * - A young generation that does not grow and a heap that grows in small steps: what a scrape leaves behind is collected soon, not saved
 *   up. V8 takes a factor of 1 only while it runs.
 * - No TurboFan: the baseline and mid-tier compilers do for work that comes every few seconds, and its machine code and the memory
 *   that compiling takes are the largest single part of the process. It cannot be had later either: what the mid-tier compiler makes
 *   without it never asks for it.
 */
const LATE_FLAGS = ['--semi-space-growth-factor=1', '--heap-growing-percent=40', '--no-turbofan'] as const;

/**
 * Collections that keep the heap small: they empty pages with holes, and the young generation goes back to its smallest size. How much it has
 * grown during the start differs from start to start. With larger steps of the heap they cost less. Before the first page they would only delay it.
 */
const SMALL_HOST = ['--optimize-for-size', '--heap-growing-percent=80'] as const;

/**
 * For a host with many VMs the same settings make the garbage collector copy and mark without end: what a scrape leaves is many times the
 * young generation. These can be set while V8 runs.
 */
const LARGE_HOST = ['--no-optimize-for-size', '--heap-growing-percent=100', '--semi-space-growth-factor=2'] as const;
/** So many VMs make a large host, */
const LARGE_HOST_VMS = 500;
/** where the process may have so much memory; a host of 1,000 VMs needs half of it then. */
const LARGE_HOST_BYTES = 256 * 2 ** 20;

/** Sets what must wait until the modules are loaded. Without it, as where the code cache is made, the flags stay what they are. */
export function settleHeap(): void {
  stage = 'new';
  setFlags(LATE_FLAGS);
}

let stage: 'unsettled' | 'new' | 'collected once' | 'small' | 'large' = 'unsettled';

/**
 * Says, with every collection, how many VMs the host has. From the second one on the heap is kept small; with many VMs the process becomes larger
 * and its scrapes cheaper, for good.
 */
export function settleForHost(vms: number): void {
  if (stage === 'unsettled' || stage === 'large') return;
  if (vms >= LARGE_HOST_VMS && hasRoom()) {
    stage = 'large';
    setFlags(LARGE_HOST);
  } else if (stage === 'new') {
    stage = 'collected once';
  } else if (stage === 'collected once') {
    stage = 'small';
    setFlags(SMALL_HOST);
  }
}

function hasRoom(): boolean {
  // 0 where there is no limit that Node.js knows of.
  const limitBytes = process.constrainedMemory();
  return limitBytes === 0 || limitBytes >= LARGE_HOST_BYTES;
}

function setFlags(flags: readonly string[]): void {
  for (const flag of flags) setFlagsFromString(flag);
}

/**
 * Ends the process. A thread that waits for a file on a server that is gone would keep it for as long as that: the C library's exit waits for
 * Node's threads. Then the process becomes a shell that ends with this code, and the kernel ends the threads.
 */
export function endProcess(code: number): never {
  const { execve } = process;
  if (execve !== undefined && process.getActiveResourcesInfo().some((kind) => kind.startsWith('FSReq'))) {
    try {
      execve.call(process, '/bin/sh', ['sh', '-c', `exit ${code}`], {});
    } catch {
      // Without a shell it waits.
    }
  }
  process.exit(code);
}
