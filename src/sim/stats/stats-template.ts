import { PARAM_TYPE } from '../../libvirt/wire/typed-params.ts';
import type { Int64, XdrWriter } from '../../libvirt/wire/xdr.ts';
import { LooseWriter } from '../description/loose-writer.ts';
import type { Motion, Stat } from './statistics.ts';

/** Above this a sum could leave the range in which doubles are exact. */
const EXACT_HALF = 2 ** 52;

/** What the moving values of one VM follow at one instant. */
export interface Instant {
  readonly state: number;
  readonly reason: number;
  /** Seconds that the counters have run for. */
  readonly ranSeconds: number;
  /** In [-1, 1]: where the gauges stand that sway. */
  readonly wave: number;
  readonly wallSeconds: number;
}

/** A run of one group's parameters in the encoded bytes. */
interface Segment {
  readonly group: number;
  readonly start: number;
  readonly end: number;
  readonly params: number;
  readonly firstPatch: number;
  readonly endPatch: number;
}

const MOTIONS = ['fixed', 'counter', 'sway', 'state', 'reason', 'now'] as const satisfies readonly Motion[];

/**
 * One VM's statistics, encoded once; a reply is a copy of these bytes with the moving values written over. Serving thousands of VMs
 * must cost the simulator less than reading them costs the client that is measured against it.
 */
export class StatsTemplate {
  readonly #bytes: Buffer;
  readonly #segments: readonly Segment[];
  /** Where in `#bytes` the moving values stand, and what moves them. */
  readonly #offsets: Int32Array;
  readonly #motions: Uint8Array;
  readonly #wide: Uint8Array;
  readonly #bases: Float64Array;
  readonly #rates: Float64Array;
  /** Bases that a double cannot hold, by patch. */
  readonly #bigBases = new Map<number, bigint>();

  constructor(stats: readonly Stat[]) {
    const writer = new LooseWriter(4096);
    const segments: Segment[] = [];
    const offsets: number[] = [];
    const moving: Stat[] = [];
    let index = 0;
    while (index < stats.length) {
      const { group } = stats[index]!;
      const start = writer.length;
      const first = index;
      const firstPatch = offsets.length;
      for (; index < stats.length && stats[index]!.group === group; index++) {
        const stat = stats[index]!;
        writer.opaque(keyOf(stat));
        if (stat.motion !== 'fixed' && isWhole(stat)) {
          offsets.push(writer.length);
          moving.push(stat);
        }
        writeValue(writer, stat);
      }
      segments.push({
        group,
        start,
        end: writer.length,
        params: index - first,
        firstPatch,
        endPatch: offsets.length,
      });
    }
    this.#bytes = Buffer.from(writer.result());
    this.#segments = segments;
    this.#offsets = Int32Array.from(offsets);
    this.#motions = Uint8Array.from(moving.map((stat) => MOTIONS.indexOf(stat.motion)));
    this.#wide = Uint8Array.from(moving.map((stat) => (isWide(stat) ? 1 : 0)));
    this.#rates = Float64Array.from(moving.map((stat) => stat.rate));
    this.#bases = Float64Array.from(moving.map((stat) => (typeof stat.value === 'number' ? stat.value : 0)));
    moving.forEach((stat, patch) => {
      if (typeof stat.value === 'bigint') this.#bigBases.set(patch, stat.value);
      else if (stat.motion === 'counter' && Number(stat.value) > EXACT_HALF)
        this.#bigBases.set(patch, BigInt(stat.value as number));
    });
  }

  /** Upper bound of what `append` writes. */
  get byteLength(): number {
    return this.#bytes.length + 4;
  }

  /** Writes the list of parameters of the groups in `groups`: count, then names and values as they are now. */
  append(writer: XdrWriter, groups: number, instant: Instant): void {
    let params = 0;
    for (const segment of this.#segments) {
      if ((segment.group & groups) !== 0) params += segment.params;
    }
    writer.uint32(params);
    for (const segment of this.#segments) {
      if ((segment.group & groups) === 0) continue;
      const shift = writer.length - segment.start;
      writer.opaque(this.#bytes.subarray(segment.start, segment.end));
      for (let patch = segment.firstPatch; patch < segment.endPatch; patch++) {
        this.#patch(writer, patch, this.#offsets[patch]! + shift, instant);
      }
    }
  }

  #patch(writer: XdrWriter, patch: number, offset: number, instant: Instant): void {
    let value: number;
    switch (MOTIONS[this.#motions[patch]!]) {
      case 'counter': {
        const grown = Math.floor(this.#rates[patch]! * instant.ranSeconds);
        const big = this.#bigBases.get(patch);
        if (big !== undefined) {
          const sum = BigInt.asUintN(64, big + BigInt(grown));
          writer.patchUint32(offset, Number(sum >> 32n));
          writer.patchUint32(offset + 4, Number(sum & 0xffff_ffffn));
          return;
        }
        value = this.#bases[patch]! + grown;
        break;
      }
      case 'sway':
        value = Math.max(0, Math.floor(this.#bases[patch]! + this.#rates[patch]! * instant.wave));
        break;
      case 'state':
        value = instant.state;
        break;
      case 'reason':
        value = instant.reason;
        break;
      default:
        value = instant.wallSeconds;
    }
    if (this.#wide[patch] === 1) {
      writer.patchUint32(offset, Math.floor(value / 0x1_0000_0000));
      writer.patchUint32(offset + 4, value >>> 0);
    } else {
      writer.patchUint32(offset, value >>> 0);
    }
  }
}

/** The value of one statistic at one instant: what the calls for a single VM answer with. */
export function valueAt(stat: Stat, instant: Instant): Int64 | string | boolean {
  switch (stat.motion) {
    case 'fixed':
      return stat.value;
    case 'counter': {
      const grown = Math.floor(stat.rate * instant.ranSeconds);
      const base = typeof stat.value === 'bigint' ? stat.value : BigInt(Number(stat.value));
      return base + BigInt(grown);
    }
    case 'sway':
      return Math.max(0, Math.floor(Number(stat.value) + stat.rate * instant.wave));
    case 'state':
      return instant.state;
    case 'reason':
      return instant.reason;
    case 'now':
      return instant.wallSeconds;
  }
}

/** Whether it is a whole number: what a test has given another type stays as it is. */
function isWhole(stat: Stat): boolean {
  return isWide(stat) || stat.type === PARAM_TYPE.int || stat.type === PARAM_TYPE.uint;
}

function isWide(stat: Stat): boolean {
  return stat.type === PARAM_TYPE.ullong || stat.type === PARAM_TYPE.llong;
}

/** Encoded name and type of each statistic: thousands of VMs share a few hundred, a VM with 128 vCPUs and KVM's counters has 3,500. */
const keys = new Map<string, Buffer>();
const KEYS_MAX = 10_000;

function keyOf(stat: Stat): Buffer {
  const id = `${stat.type} ${stat.field}`;
  let key = keys.get(id);
  if (key === undefined) {
    const writer = new LooseWriter(64);
    writer.string(stat.field);
    writer.uint32(stat.type);
    key = Buffer.from(writer.result());
    if (keys.size >= KEYS_MAX) keys.clear();
    keys.set(id, key);
  }
  return key;
}

function writeValue(writer: XdrWriter, stat: Stat): void {
  switch (stat.type) {
    case PARAM_TYPE.string:
      writer.string(String(stat.value));
      break;
    case PARAM_TYPE.ullong:
      writer.uint64(stat.value as Int64);
      break;
    case PARAM_TYPE.llong:
      writer.int64(stat.value as Int64);
      break;
    case PARAM_TYPE.uint:
      writer.uint32(Number(stat.value));
      break;
    case PARAM_TYPE.int:
      writer.int32(Number(stat.value));
      break;
    case PARAM_TYPE.double:
      writer.float64(Number(stat.value));
      break;
    case PARAM_TYPE.boolean:
      writer.int32(stat.value === true ? 1 : 0);
      break;
  }
}
