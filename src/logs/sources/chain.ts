/** One file of a log that is rotated. */
export interface ChainFile {
  /** In its directory, one character a byte: names may have any byte. */
  readonly name: string;
  readonly device: string;
  readonly inode: string;
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modifiedMs: number;
}

/** A log with the files that rotation has made of it: `vm.log`, `vm.log.0`, … */
export interface Chain {
  /** The name of the file that is written. */
  readonly liveName: string;
  /** From the oldest to the one that is written; none twice. */
  readonly files: readonly ChainFile[];
  /** Of `Clock.monotonicMs`: since when nothing has changed, as far as that was seen. */
  readonly quietSinceMs: number;
}

/** virtlogd counts from .0, logrotate from .1; with `dateext`, and in the kubelet's container logs, a date follows instead. */
const ROTATED = /^(.*)(?:\.(\d{1,3})|[.-](\d{8}(?:-\d{1,10})?))$/s;

/** What a rotated file's name says. */
export interface RotatedName {
  readonly liveName: string;
  /** Higher is older; undefined when the name has a date. */
  readonly number: number | undefined;
}

/** Reads the name of a file that may be a rotated one. */
export function parseRotatedName(name: string): RotatedName | undefined {
  const match = ROTATED.exec(name);
  if (match === null) return undefined;
  return { liveName: match[1]!, number: match[2] === undefined ? undefined : Number(match[2]) };
}

/** The VM of a log of QEMU; undefined when the name is none of such a log that is written. A VM may be called `x.log.0`: then it is `x.log.0.log`. */
export function qemuLogOf(name: string): string | undefined {
  return name.endsWith('.log') && name.length > '.log'.length ? name.slice(0, -'.log'.length) : undefined;
}

/** Names with a date stand before those with a number, which count down. */
export function compareAge(a: string, b: string): number {
  const [first, second] = [parseRotatedName(a)?.number, parseRotatedName(b)?.number];
  if (first === undefined && second === undefined) return a < b ? -1 : 1;
  if (first === undefined) return -1;
  return second === undefined ? 1 : second - first;
}
