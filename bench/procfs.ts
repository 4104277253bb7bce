// What the kernel says of processes: the CPU they have used and the memory they hold.
import { readFileSync } from 'node:fs';

/** Length of the unit in /proc/PID/stat: USER_HZ is 100 on every architecture that Linux still runs libvirt on. */
const TICK_MS = 10;

/** CPU that all threads of a process have used, ended ones included, in milliseconds (utime and stime, steps of 10 ms). */
export function cpuMs(pid: number): number {
  // The name in parentheses may hold blanks and parentheses itself; fields 14 and 15 of the whole line are utime and stime.
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** The resident set in bytes. */
export function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}
