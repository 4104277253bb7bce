import { createHash } from 'node:crypto';

/** Numbers in [0, 1), the same sequence for the same seed. */
export type Random = () => number;

/** A small fast generator (mulberry32): good enough to make hosts look alive, and repeatable. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** A seed from a text and a number: FNV-1a. */
export function seedOf(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return hash >>> 0;
}

/** A whole number in [from, to]. */
export function between(random: Random, from: number, to: number): number {
  return from + Math.floor(random() * (to - from + 1));
}

export function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)]!;
}

/** A UUID of version 4's shape that belongs to the text. */
export function uuidFrom(text: string): string {
  const hex = createHash('md5').update(text).digest('hex');
  const variant = '89ab'[Number.parseInt(hex[16]!, 16) & 3];
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/** A MAC address of QEMU's range. */
export function macFrom(random: Random): string {
  const octets = [0x52, 0x54, 0x00, between(random, 0, 255), between(random, 0, 255), between(random, 0, 255)];
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}
