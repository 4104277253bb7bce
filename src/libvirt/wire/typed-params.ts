import { quote } from '../../base/text.ts';
import type { Codec } from './codec.ts';
import { Interner } from './interner.ts';
import { type Int64, STRING_BYTES_MAX, type XdrReader, type XdrWriter, xdrError } from './xdr.ts';

/** virTypedParameterType: what kind of value a typed parameter holds on the wire. */
export const PARAM_TYPE = { int: 1, uint: 2, llong: 3, ullong: 4, double: 5, boolean: 6, string: 7 } as const;
export type ParamType = (typeof PARAM_TYPE)[keyof typeof PARAM_TYPE];

export type ParamValue = Int64 | string | boolean;

/**
 * The names and types of a list of typed parameters, apart from their values. Lists with the same names and types share one layout
 * object, for the life of the process as a rule: names can be mapped to something once a layout, not once a VM a scrape.
 */
export interface ParamLayout {
  readonly fields: readonly string[];
  readonly types: readonly ParamType[];
}

/** A list of typed parameters: `values[i]` belongs to `layout.fields[i]`. */
export interface TypedParams {
  readonly layout: ParamLayout;
  readonly values: readonly ParamValue[];
}

/** The parameters as name and value; for small lists, where convenience beats speed. */
export function paramsToMap(params: TypedParams): Map<string, ParamValue> {
  const map = new Map<string, ParamValue>();
  for (let i = 0; i < params.values.length; i++) map.set(params.layout.fields[i]!, params.values[i]!);
  return map;
}

/** Builds a list from name, type and value. */
export function typedParams(
  entries: ReadonlyArray<readonly [field: string, type: ParamType, value: ParamValue]>,
): TypedParams {
  return {
    layout: { fields: entries.map((entry) => entry[0]), types: entries.map((entry) => entry[1]) },
    values: entries.map((entry) => entry[2]),
  };
}

/**
 * One step in the tree of all field sequences met so far. Reading a list walks down the tree, comparing bytes; only a sequence that
 * was never met before creates strings.
 */
interface Step {
  /** The field's name as on the wire, in words of four bytes: length, characters, padding; then the type. */
  readonly key: Int32Array;
  readonly field: string;
  readonly type: ParamType;
  readonly parent: Step | undefined;
  /** Most recently used first. */
  children: Step[];
  layout: ParamLayout | undefined;
}

/** VIR_TYPED_PARAM_FIELD_LENGTH less the final NUL. */
const FIELD_BYTES_MAX = 79;

// What hostile or churning names may make the tree keep, and how many names are compared to find the next one.
const STEPS_MAX = 50_000;
const LAYOUT_FIELDS_MAX = 500_000;
const CHILDREN_MAX = 64;
const EMPTY_LAYOUT: ParamLayout = { fields: [], types: [] };

let root = makeStep(new Int32Array(), '', PARAM_TYPE.int, undefined);
let steps = 0;
let layoutFields = 0;
const strings = new Interner<string>();

function makeStep(key: Int32Array, field: string, type: ParamType, parent: Step | undefined): Step {
  return { key, field, type, parent, children: [], layout: undefined };
}

/** Typed parameters, at most `max`; strings are limited to `STRING_BYTES_MAX`. */
export function typedParamsCodec(max: number): Codec<TypedParams> {
  return {
    encode: encodeParams,
    decode: (reader) => decodeParams(reader, reader.length(max, 'list of typed parameters')),
  };
}

function encodeParams(writer: XdrWriter, params: TypedParams): void {
  const { fields, types } = params.layout;
  writer.uint32(fields.length);
  for (let i = 0; i < fields.length; i++) {
    const value = params.values[i]!;
    writer.string(fields[i]!);
    const type = types[i]!;
    writer.uint32(type);
    if (type === PARAM_TYPE.string) writer.string(value as string);
    else if (type === PARAM_TYPE.ullong) writer.uint64(value as Int64);
    else if (type === PARAM_TYPE.llong) writer.int64(value as Int64);
    else if (type === PARAM_TYPE.uint) writer.uint32(value as number);
    else if (type === PARAM_TYPE.int) writer.int32(value as number);
    else if (type === PARAM_TYPE.double) writer.float64(value as number);
    else writer.int32(value === true ? 1 : 0);
  }
}

function decodeParams(reader: XdrReader, count: number): TypedParams {
  if (count === 0) return { layout: EMPTY_LAYOUT, values: [] };
  // A hostile count must not allocate: each parameter takes at least 12 bytes.
  if (count * 12 > reader.remaining)
    throw xdrError(`${count} typed parameters do not fit in ${reader.remaining} bytes`);
  if (steps > STEPS_MAX || layoutFields > LAYOUT_FIELDS_MAX) {
    root = makeStep(new Int32Array(), '', PARAM_TYPE.int, undefined);
    steps = 0;
    layoutFields = 0;
  }
  const values: ParamValue[] = new Array(count);
  let step = root;
  for (let i = 0; i < count; i++) {
    step = nextStep(reader, step);
    values[i] = decodeValue(reader, step.type);
  }
  if (step.layout === undefined) {
    step.layout = makeLayout(step, count);
    layoutFields += count;
  }
  return { layout: step.layout, values };
}

function nextStep(reader: XdrReader, from: Step): Step {
  const { view } = reader;
  const start = reader.offset;
  const { children } = from;
  for (let i = 0; i < children.length; i++) {
    const child = children[i]!;
    const length = 4 * child.key.length;
    if (start + length <= reader.end && matches(child.key, view, start)) {
      reader.offset = start + length;
      if (i > 0) {
        children[i] = children[0]!;
        children[0] = child;
      }
      return child;
    }
  }
  const field = reader.string(FIELD_BYTES_MAX);
  const type = reader.uint32();
  if (type < PARAM_TYPE.int || type > PARAM_TYPE.string) {
    throw xdrError(`typed parameter ${quote(field)} has the unknown type ${type}`);
  }
  const step = makeStep(wordsOf(view, start, reader.offset), field, type as ParamType, from);
  if (children.length >= CHILDREN_MAX) children.pop();
  children.unshift(step);
  steps++;
  return step;
}

function wordsOf(view: DataView, start: number, end: number): Int32Array {
  return Int32Array.from({ length: (end - start) / 4 }, (_, i) => view.getInt32(start + 4 * i));
}

function matches(key: Int32Array, view: DataView, start: number): boolean {
  // From the back: names of neighbours ('block.0.rd.reqs', 'block.0.rd.bytes') differ in their ends.
  for (let i = key.length - 1; i >= 0; i--) {
    if (key[i] !== view.getInt32(start + 4 * i)) return false;
  }
  return true;
}

function decodeValue(reader: XdrReader, type: ParamType): ParamValue {
  switch (type) {
    case PARAM_TYPE.ullong:
      return reader.uint64();
    case PARAM_TYPE.string:
      return internString(reader);
    case PARAM_TYPE.uint:
      return reader.uint32();
    case PARAM_TYPE.int:
      return reader.int32();
    case PARAM_TYPE.llong:
      return reader.int64();
    case PARAM_TYPE.boolean:
      return reader.int32() !== 0;
    case PARAM_TYPE.double:
      return reader.float64();
  }
}

const INTERN_BYTES_MAX = 256;

function internString(reader: XdrReader): string {
  const length = reader.length(STRING_BYTES_MAX, 'string');
  const start = reader.skip((length + 3) & ~3);
  const { bytes } = reader;
  if (length > INTERN_BYTES_MAX) return bytes.toString('utf8', start, start + length);
  return strings.get(bytes, start, start + length, () => bytes.toString('utf8', start, start + length));
}

function makeLayout(last: Step, count: number): ParamLayout {
  const fields: string[] = new Array(count);
  const types: ParamType[] = new Array(count);
  let step: Step | undefined = last;
  for (let i = count - 1; i >= 0; i--) {
    fields[i] = step!.field;
    types[i] = step!.type;
    step = step!.parent;
  }
  return { fields, types };
}
