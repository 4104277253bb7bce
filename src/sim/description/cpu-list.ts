/**
 * The bitmap of a CPU list in libvirt's form: numbers and ranges separated by commas, `^` taking one out again (`0-7,^2`).
 * Undefined when the text is no such list.
 */
export function parseCpuList(text: string): Uint8Array | undefined {
  const cpus = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^\s*(\^)?(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part);
    if (match === null) return undefined;
    const [, excluded, first, last = first] = match;
    if (Number(last) < Number(first)) return undefined;
    for (let cpu = Number(first); cpu <= Number(last); cpu++) {
      if (excluded === undefined) cpus.add(cpu);
      else cpus.delete(cpu);
    }
  }
  const map = new Uint8Array(Math.floor(Math.max(0, ...cpus) / 8) + 1);
  for (const cpu of cpus) map[cpu >> 3]! |= 1 << (cpu & 7);
  return map;
}

/** As `parseCpuList`; a list that is none allows no CPU. */
export function cpuMapOf(text: string): Uint8Array {
  return parseCpuList(text) ?? new Uint8Array(1);
}
