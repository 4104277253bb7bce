import { PARAM_TYPE, type ParamType } from '../../libvirt/wire/typed-params.ts';

const { int, uint, llong, ullong, boolean, string } = PARAM_TYPE;

/**
 * The wire types of libvirt's statistics by their names, as src/qemu/qemu_driver.c of libvirt 9 adds them; what is not here and is a
 * whole number is an unsigned 64-bit one there.
 */
const TYPES: ReadonlyArray<readonly [pattern: RegExp, type: ParamType]> = [
  [/^state\.(state|reason)$/, int],
  [/^cpu\.cache\.monitor\.(count|\d+\.bank\.(count|\d+\.(id|bytes)))$/, uint],
  [/^cpu\.cache\.monitor\.\d+\.(name|vcpus)$/, string],
  [/^vcpu\.(current|maximum)$/, uint],
  [/^vcpu\.\d+\.state$/, int],
  [/^vcpu\.\d+\.(halted|guest_mode\.cur)$/, boolean],
  [/^(net|block|iothread)\.count$/, uint],
  [/^(net|block)\.\d+\.name$/, string],
  [/^block\.\d+\.path$/, string],
  [/^block\.\d+\.backingIndex$/, uint],
  [/^iothread\.\d+\.poll-(grow|shrink)$/, uint],
  [/^memory\.bandwidth\.monitor\.(count|\d+\.node\.(count|\d+\.id))$/, uint],
  [/^memory\.bandwidth\.monitor\.\d+\.(name|vcpus)$/, string],
  [/^dirtyrate\.(calc_status|calc_period)$/, int],
  [/^dirtyrate\.(calc_start_time|megabytes_per_second)$/, llong],
  [/^dirtyrate\.calc_mode$/, string],
  [/^(cpu|balloon|vcpu|net|block|perf|iothread|memory|dirtyrate)\./, ullong],
];

/** The type that libvirt gives a statistic of this name. */
export function knownStatType(field: string): ParamType | undefined {
  return TYPES.find(([pattern]) => pattern.test(field))?.[1];
}

export type StatTypeName = keyof typeof PARAM_TYPE;
export const STAT_TYPE_NAMES = Object.keys(PARAM_TYPE) as readonly StatTypeName[];

/** The range of each whole-number type. */
export const STAT_RANGE: Readonly<Partial<Record<ParamType, readonly [bigint, bigint]>>> = {
  [int]: [-(2n ** 31n), 2n ** 31n - 1n],
  [uint]: [0n, 2n ** 32n - 1n],
  [llong]: [-(2n ** 63n), 2n ** 63n - 1n],
  [ullong]: [0n, 2n ** 64n - 1n],
};
