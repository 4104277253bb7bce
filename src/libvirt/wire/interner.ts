/** No name that libvirt repeats is longer, save by intent. */
const KEY_BYTES_MAX = 512;
const SAME_HASH_MAX = 8;

/**
 * Turns recurring byte sequences into values without making the value anew: a statistics reply names the same VMs, disks and paths
 * every time, and building (and collecting) those strings would be a large part of a scrape's cost.
 *
 * Bounded, whatever the bytes: past `entriesMax` it starts over, long sequences are not kept, and of those that share a hash only the
 * last few are. Hostile or churning names cost a value each, never memory, and never a search through all of them.
 */
export class Interner<T> {
  readonly #entriesMax: number;
  #entries = new Map<number, Entry<T>>();
  #size = 0;

  constructor(entriesMax = 32_768) {
    this.#entriesMax = entriesMax;
  }

  /** The value for `bytes[start, end)`; `make` is called when these bytes are met for the first time. */
  get(bytes: Uint8Array, start: number, end: number, make: () => T): T {
    if (end - start > KEY_BYTES_MAX) return make();
    let hash = 0x811c9dc5;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x0100_0193);
    const first = this.#entries.get(hash);
    let chained = 0;
    for (let entry = first; entry !== undefined; entry = entry.next) {
      if (equals(entry.key, bytes, start, end)) return entry.value;
      chained++;
    }
    const value = make();
    if (this.#size >= this.#entriesMax) {
      this.#entries = new Map();
      this.#size = 0;
    }
    const next = chained < SAME_HASH_MAX ? this.#entries.get(hash) : undefined;
    this.#entries.set(hash, { key: new Uint8Array(bytes.subarray(start, end)), value, next });
    // Entries that drop off a full chain stay counted: it starts over a little sooner.
    this.#size++;
    return value;
  }
}

interface Entry<T> {
  readonly key: Uint8Array;
  readonly value: T;
  readonly next: Entry<T> | undefined;
}

function equals(key: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (key.length !== length) return false;
  for (let i = 0; i < length; i++) {
    if (key[i] !== bytes[start + i]) return false;
  }
  return true;
}
