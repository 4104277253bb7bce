import { endianness } from 'node:os';

/** AT_CLKTCK of the auxiliary vector (getauxval(3)). */
const AT_CLKTCK = 17n;
const NS_PER_S = 1_000_000_000;
/** The value on every architecture that Proxmox VE runs on. */
const USUAL_HZ = 100;

/**
 * The clock ticks of a second, in which /proc counts CPU time: read from /proc/self/auxv, where the kernel says it to every program
 * (`getconf CLK_TCK` prints the same). 100 when the vector does not say.
 */
export function readClockTickHz(auxv: Buffer | undefined): number {
  // Pairs of words of this machine's width; Node.js runs on 64 bits alone here.
  const read = endianness() === 'LE' ? 'readBigUInt64LE' : 'readBigUInt64BE';
  for (let at = 0; auxv !== undefined && at + 16 <= auxv.length; at += 16) {
    if (auxv[read](at) !== AT_CLKTCK) continue;
    const hz = Number(auxv[read](at + 8));
    if (hz > 0 && hz <= NS_PER_S) return hz;
  }
  return USUAL_HZ;
}
