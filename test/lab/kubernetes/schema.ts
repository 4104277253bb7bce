// What an API server does with an object by the schema of its definition: unknown fields go, defaults are filled in, and what breaks a
// rule is refused in the server's own words.
import { isDeepStrictEqual } from 'node:util';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { Schema } from './crds.ts';

/** One thing that is wrong: where, and what. */
export interface Violation {
  readonly field: string;
  readonly message: string;
}

type Fields = Record<string, unknown>;

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;

/** A schema, ready to be applied. */
export class KindSchema {
  readonly schema: Schema;
  readonly #validate: ValidateFunction;

  constructor(schema: Schema) {
    this.schema = schema;
    const ajv = new Ajv({ allErrors: true, strict: false, verbose: true });
    ajv.addFormat('date-time', RFC_3339).addFormat('int64', true);
    this.#validate = ajv.compile(schema);
  }

  /** A copy without unknown fields and with the defaults. Metadata is left as it is. */
  complete(object: object): Fields {
    return complete(this.schema, object) as Fields;
  }

  /** The rules of the schema, keys of lists, and then the CEL rules, which are left out when the schema is broken. */
  check(object: object, old: object | undefined): readonly Violation[] {
    this.#validate(object);
    const errors = (this.#validate.errors ?? []).map(describe);
    const violations = [...errors, ...findDuplicates(this.schema, object, '')];
    return violations.length > 0 ? violations : checkRules(object as Fields, old as Fields | undefined);
  }
}

function complete(schema: Schema, value: unknown): unknown {
  if (Array.isArray(value))
    return value.map((item) => (schema.items === undefined ? item : complete(schema.items, item)));
  if (typeof value !== 'object' || value === null) return value;
  const { properties, additionalProperties } = schema;
  if (properties === undefined) {
    if (additionalProperties === undefined) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, complete(additionalProperties, each)]));
  }
  const result: Fields = {};
  for (const [key, each] of Object.entries(value)) {
    const property = properties[key];
    if (property === undefined) continue;
    // A null where there is a default becomes the default; another null is dropped.
    if (each === null) continue;
    result[key] = complete(property, each);
  }
  for (const [key, property] of Object.entries(properties)) {
    if (result[key] === undefined && property.default !== undefined) result[key] = structuredClone(property.default);
  }
  return result;
}

/** ajv's error in the words of Kubernetes' validation (k8s.io/kube-openapi/pkg/validation/errors). */
function describe({ instancePath, keyword, params, data }: ErrorObject): Violation {
  const path = instancePath
    .slice(1)
    .split('/')
    .reduce((all, part) => (/^\d+$/.test(part) ? `${all}[${part}]` : all === '' ? part : `${all}.${part}`), '');
  const invalid = (text: string): Violation => ({
    field: path,
    message: `Invalid value: ${JSON.stringify(data)}: ${path} in body ${text}`,
  });
  switch (keyword) {
    case 'required': {
      const field = path === '' ? params.missingProperty : `${path}.${params.missingProperty}`;
      return { field, message: 'Required value' };
    }
    case 'minLength':
      return invalid(`should be at least ${params.limit} chars long`);
    case 'maxLength':
      return invalid(`should be at most ${params.limit} chars long`);
    case 'pattern':
      return invalid(`should match '${params.pattern}'`);
    case 'format':
      return invalid(`must be of type ${params.format}: ${JSON.stringify(data)}`);
    case 'type':
      return invalid(`must be of type ${params.type}`);
    case 'enum':
      return {
        field: path,
        message: `Unsupported value: ${JSON.stringify(data)}: supported values: ${params.allowedValues.map((each: string) => JSON.stringify(each)).join(', ')}`,
      };
    default:
      return invalid(`breaks ${keyword}`);
  }
}

/** Items of a list that is a map which have the same key. */
function findDuplicates(schema: Schema, value: unknown, path: string): Violation[] {
  if (Array.isArray(value)) {
    const keys = schema['x-kubernetes-list-map-keys'];
    const seen = new Set<string>();
    return value.flatMap((item: Fields, index) => {
      const at = `${path}[${index}]`;
      const inside = schema.items === undefined ? [] : findDuplicates(schema.items, item, at);
      if (keys === undefined) return inside;
      const key = JSON.stringify(keys.map((name) => item?.[name]));
      if (!seen.has(key)) {
        seen.add(key);
        return inside;
      }
      const shown = keys.map((name) => `${JSON.stringify(name)}:${JSON.stringify(item[name])}`).join(', ');
      return [...inside, { field: at, message: `Duplicate value: map[string]interface {}{${shown}}` }];
    });
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => {
    const property = schema.properties?.[key];
    return property === undefined ? [] : findDuplicates(property, each, path === '' ? key : `${path}.${key}`);
  });
}

/** The rules of the definitions that are written in CEL (crds.ts), by hand. A rule that names `oldSelf` holds for changes alone. */
function checkRules(object: Fields, old: Fields | undefined): Violation[] {
  const spec = object.spec as Fields | undefined;
  const oldSpec = old?.spec as Fields | undefined;
  const violations: Violation[] = [];
  if (object.kind === 'Eviction' && spec !== undefined && oldSpec !== undefined) {
    if (spec.hypervisor !== oldSpec.hypervisor) {
      const shown = JSON.stringify(spec.hypervisor);
      violations.push({ field: 'spec.hypervisor', message: `Invalid value: ${shown}: Value is immutable` });
    }
  }
  if (object.kind === 'Hypervisor' && spec !== undefined) {
    const refuse = (text: string) => violations.push({ field: 'spec', message: `Invalid value: "object": ${text}` });
    if (spec.maintenance === 'manual' && (spec.maintenanceReason ?? '') === '') {
      refuse('maintenanceReason must be non-empty when maintenance is manual');
    }
    if (oldSpec?.maintenance === 'termination' && spec.maintenance !== 'ha' && !isDeepStrictEqual(spec, oldSpec)) {
      refuse('spec is immutable when maintenance is termination');
    }
  }
  return violations;
}
