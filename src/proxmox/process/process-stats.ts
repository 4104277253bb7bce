import { type Int64, parseInt64, scaleInt64 } from '../../base/int64.ts';
import type { KvmProcess, ProcessIo } from '../../model/proxmox-snapshot.ts';

// The files of /proc/PID (proc(5)), read from their text.

const NS_PER_S = 1_000_000_000n;

/** The fields of /proc/PID/stat that are used, in clock ticks. */
export interface ProcessStat {
  readonly userTicks: Int64;
  readonly systemTicks: Int64;
  readonly startTicks: Int64;
  /** delayacct_blkio_ticks. */
  readonly blockDelayTicks: Int64 | undefined;
  /** It has ended, or is about to: its memory, files and connections go before its entry does. */
  readonly isEnding: boolean;
}

/** The kernel's PF_EXITING (include/linux/sched.h) among the flags of a process, field 9: set before anything of it goes. */
const FLAG_EXITING = 0x4;

/** Reads /proc/PID/stat; undefined when it is not one. The name of the program, in brackets, may hold anything. */
export function readStat(text: string | undefined): ProcessStat | undefined {
  if (text === undefined) return undefined;
  // Field 3 is the first after the name.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number) => parseInt64(fields[number - 3]?.trimEnd() ?? '');
  const [userTicks, systemTicks, startTicks] = [field(14), field(15), field(22)];
  if (userTicks === undefined || systemTicks === undefined || startTicks === undefined) return undefined;
  const hasEnded = fields[0] === 'Z' || fields[0] === 'X';
  const isEnding = hasEnded || (Number(field(9) ?? 0) & FLAG_EXITING) !== 0;
  return { userTicks, systemTicks, startTicks, blockDelayTicks: field(42), isEnding };
}

/** Clock ticks as nanoseconds. */
export function ticksToNs(ticks: Int64, hz: number): Int64 {
  const ns = (BigInt(ticks) * NS_PER_S) / BigInt(hz);
  return ns <= Number.MAX_SAFE_INTEGER ? Number(ns) : ns;
}

/** What the texts of stat, status and io say; undefined when one of the first two is missing, as they are when the process ends. */
export function readProcess(
  stat: ProcessStat,
  status: string | undefined,
  io: string | undefined,
  hz: number,
): KvmProcess | undefined {
  if (status === undefined) return undefined;
  const values = readColonLines(status);
  const memoryBytes = new Map<string, Int64>();
  for (const [key, value] of values) {
    const kib = /^(?:Vm|Rss|Hugetlb)/.test(key) ? /^(\d+) kB$/.exec(value)?.[1] : undefined;
    const parsed = kib === undefined ? undefined : parseInt64(kib);
    if (parsed !== undefined) memoryBytes.set(key.toLowerCase(), scaleInt64(parsed, 1024));
  }
  // The memory of a process that is ending is gone before its entry is.
  if (!memoryBytes.has('vmrss')) return undefined;
  const threads = parseInt64(values.get('Threads') ?? '');
  return {
    userNs: ticksToNs(stat.userTicks, hz),
    systemNs: ticksToNs(stat.systemTicks, hz),
    blockDelayNs: stat.blockDelayTicks === undefined ? undefined : ticksToNs(stat.blockDelayTicks, hz),
    threads: typeof threads === 'number' ? threads : undefined,
    voluntarySwitches: parseInt64(values.get('voluntary_ctxt_switches') ?? ''),
    involuntarySwitches: parseInt64(values.get('nonvoluntary_ctxt_switches') ?? ''),
    memoryBytes,
    io: io === undefined ? undefined : readIo(io),
  };
}

/** Reads /proc/PID/io; undefined unless it has all of its fields. */
function readIo(text: string): ProcessIo | undefined {
  const values = readColonLines(text);
  const [readChars, writeChars, readCalls, writeCalls, readBytes, writeBytes] = [
    'rchar',
    'wchar',
    'syscr',
    'syscw',
    'read_bytes',
    'write_bytes',
  ].map((key) => parseInt64(values.get(key) ?? ''));
  if (readChars === undefined || writeChars === undefined || readCalls === undefined || writeCalls === undefined) {
    return undefined;
  }
  if (readBytes === undefined || writeBytes === undefined) return undefined;
  return { readChars, writeChars, readCalls, writeCalls, readBytes, writeBytes };
}

/** MemTotal of /proc/meminfo, in bytes. */
export function readMemoryTotal(text: string | undefined): Int64 | undefined {
  const kib = /^MemTotal:\s+(\d+) kB$/m.exec(text ?? '')?.[1];
  const parsed = kib === undefined ? undefined : parseInt64(kib);
  return parsed === undefined ? undefined : scaleInt64(parsed, 1024);
}

/** `Key:  value` lines. */
function readColonLines(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const at = line.indexOf(':');
    if (at > 0) values.set(line.slice(0, at), line.slice(at + 1).trim());
  }
  return values;
}
