import type { Condition, Eviction, Hypervisor } from '../cluster.ts';

/** JSON of the API server, of which nothing is known: objects without spec or status are valid, and other programs write them. */
type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(fieldsOf(value));
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

/** Whether this is an object of the kind and of this name. */
export function isObjectOf(kind: string, name: string, value: unknown): boolean {
  const fields = fieldsOf(value);
  return fields.kind === kind && fieldsOf(fields.metadata).name === name;
}

export function readHypervisor(value: unknown): Hypervisor {
  const { apiVersion, metadata, spec } = fieldsOf(value);
  const { name, uid, labels } = fieldsOf(metadata);
  const { highAvailability, maintenance } = fieldsOf(spec);
  return {
    apiVersion: textOf(apiVersion),
    name: textOf(name),
    uid: textOf(uid),
    labels: textsOf(labels),
    isHighlyAvailable: highAvailability !== false,
    maintenance: textOf(maintenance),
    conditions: rawConditionsOf(value).map(readCondition),
  };
}

export function readEviction(value: unknown): Eviction {
  const { metadata, spec } = fieldsOf(value);
  const { name, annotations } = fieldsOf(metadata);
  return {
    name: textOf(name),
    hypervisor: textOf(fieldsOf(spec).hypervisor),
    annotations: textsOf(annotations),
    conditions: rawConditionsOf(value).map(readCondition),
  };
}

function readCondition({ type, status, reason, message, lastTransitionTime }: Fields): Condition {
  return {
    type: textOf(type),
    status: status === 'True' || status === 'False' ? status : 'Unknown',
    reason: textOf(reason),
    message: textOf(message),
    lastTransitionTime: textOf(lastTransitionTime),
  };
}

/** The conditions as they are, with fields that this agent does not know. */
function rawConditionsOf(value: unknown): readonly Fields[] {
  const { conditions } = fieldsOf(fieldsOf(value).status);
  return Array.isArray(conditions) ? conditions.map(fieldsOf) : [];
}

/**
 * All conditions of an object with this one set: the others as they are and where they are, ours once. Its `lastTransitionTime` stays the
 * old one when the status stays. Undefined when that is how they are already.
 */
export function withCondition(value: unknown, condition: Condition): readonly Fields[] | undefined {
  const conditions = rawConditionsOf(value);
  const ours = conditions.filter(({ type }) => type === condition.type);
  const [old] = ours;
  if (old === undefined) return [...conditions, { ...condition }];
  const isSame =
    ours.length === 1 &&
    old.status === condition.status &&
    old.reason === condition.reason &&
    old.message === condition.message;
  if (isSame) return undefined;
  const since =
    old.status === condition.status && textOf(old.lastTransitionTime) !== ''
      ? { lastTransitionTime: old.lastTransitionTime }
      : {};
  const next = { ...old, ...condition, ...since };
  return conditions.flatMap((each) => (each === old ? [next] : ours.includes(each) ? [] : [each]));
}

/** `metadata.resourceVersion`: what a patch holds to be refused when somebody else was faster. */
export function resourceVersionOf(value: unknown): string {
  return textOf(fieldsOf(fieldsOf(value).metadata).resourceVersion);
}

/** A page of a list: its items, and what the next page is asked for with. */
export function readPage(value: unknown): { readonly items: readonly unknown[]; readonly next: string | undefined } {
  const { items, metadata } = fieldsOf(value);
  return { items: Array.isArray(items) ? items : [], next: textOf(fieldsOf(metadata).continue) || undefined };
}

/** Whether this is a list of the kind. */
export function isListOf(kind: string, value: unknown): boolean {
  const fields = fieldsOf(value);
  return fields.kind === `${kind}List` && Array.isArray(fields.items);
}
