import type { Int64 } from '../../base/int64.ts';
import { PARAM_TYPE, type ParamType, type ParamValue } from '../../libvirt/index.ts';

/**
 * What a statistic can be:
 * - `integer`: a whole number of 64 bits.
 * - `count`: a whole number that is a `number`: a state, a count of devices.
 * - `amount`: any finite number; a boolean stands for 0 or 1.
 * - `flag`: a boolean, or `yes` and `no` as virsh prints them.
 * - `text`.
 */
export type Kind = 'integer' | 'count' | 'amount' | 'flag' | 'text';

/**
 * The wire's types that a statistic of each kind may have. libvirt's versions and drivers differ in which integer type a number has, so
 * all are taken. `checked` are those that can also hold what the kind cannot: their values are looked at one by one.
 */
const INTEGERS: readonly ParamType[] = [PARAM_TYPE.int, PARAM_TYPE.uint, PARAM_TYPE.llong, PARAM_TYPE.ullong];
const WIRE_TYPES: Readonly<
  Record<Kind, { readonly sure: readonly ParamType[]; readonly checked: readonly ParamType[] }>
> = {
  integer: { sure: INTEGERS, checked: [] },
  count: { sure: [PARAM_TYPE.int, PARAM_TYPE.uint], checked: [PARAM_TYPE.llong, PARAM_TYPE.ullong] },
  amount: { sure: [...INTEGERS, PARAM_TYPE.boolean], checked: [PARAM_TYPE.double] },
  flag: { sure: [PARAM_TYPE.boolean, PARAM_TYPE.string], checked: [] },
  text: { sure: [PARAM_TYPE.string], checked: [] },
};

/** Whether a field of this type can be of the kind; `checked` when that depends on each value. */
export function fitOf(kind: Kind, type: ParamType): 'sure' | 'checked' | 'mistyped' {
  const { sure, checked } = WIRE_TYPES[kind];
  return sure.includes(type) ? 'sure' : checked.includes(type) ? 'checked' : 'mistyped';
}

/** Whether a value of a checked type is what its statistic can be: every number that is finite and no bigint. */
export function passesCheck(value: ParamValue | undefined): boolean {
  return Number.isFinite(value);
}

/** The position of a value in the lists of one layout. The brand is what the layout's types promise of the value. */
export type At<K extends Kind> = number & { readonly kind: K };

/** The values of one layout. What stands at a position is known from the position's brand, so that no value has to be looked at. */
export interface Values {
  readonly [at: At<'integer'>]: Int64 | undefined;
  readonly [at: At<'count'>]: number | undefined;
  readonly [at: At<'amount'>]: Int64 | boolean | undefined;
  readonly [at: At<'flag'>]: boolean | string | undefined;
  readonly [at: At<'text'>]: string | undefined;
}

/** The position of what a layout does not have: beyond the end of every list, where V8 reads `undefined` quickly. */
const NOWHERE = 0x3fff_ffff;

/** One statistic: libvirt's name for it (in its group, without numbers), and what it can be. */
interface Row<K extends Kind> {
  readonly field: string;
  readonly kind: K;
}

export const integer = (field: string): Row<'integer'> => ({ field, kind: 'integer' });
export const count = (field: string): Row<'count'> => ({ field, kind: 'count' });
export const flag = (field: string): Row<'flag'> => ({ field, kind: 'flag' });
export const text = (field: string): Row<'text'> => ({ field, kind: 'text' });

/** The statistics of one kind of thing, by the property of the model that each becomes. */
export type Rows = Readonly<Record<string, Row<Kind>>>;

/** Where the values of one thing are. */
export type Slots<R extends Rows> = { [P in keyof R]: At<R[P]['kind']> };

/** What became of a field: it has a slot, there is none of its name, or it cannot have its type. */
export type Placed = 'sure' | 'checked' | 'unknown' | 'mistyped';

/** A table of statistics, ready to give fields their slots. */
export interface Table<R extends Rows> {
  /** Slots without a value. */
  empty(): Slots<R>;
  /** Enters the field `name` of this type at `at` into the slots that `slots` finds or makes, if it is one of the table's and fits. */
  place(name: string, type: ParamType, at: number, slots: () => Slots<R>): Placed;
}

export function tableOf<const R extends Rows>(rows: R): Table<R> {
  const byField = new Map(Object.entries(rows).map(([property, { field, kind }]) => [field, { property, kind }]));
  const nothing = Object.entries(rows).map(([property]) => [property, NOWHERE]);
  return {
    empty: () => Object.fromEntries(nothing),
    place(name, type, at, slots) {
      const row = byField.get(name);
      if (row === undefined) return 'unknown';
      const fit = fitOf(row.kind, type);
      if (fit !== 'mistyped') slots()[row.property as keyof R] = at as Slots<R>[keyof R];
      return fit;
    },
  };
}
