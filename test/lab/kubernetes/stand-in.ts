// A stand-in for kube-apiserver that knows the two kinds of the hypervisor operator and is as strict as the real one about them: users
// and RBAC, resource versions and conflicts, the status subresource, schemas and their rules, sizes. The contract tests
// (test/kubernetes.test.ts) hold it to the real one's replies.
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import {
  type Backend,
  failure,
  type KubeObject,
  type KubeReply,
  type KubeRequest,
  parseResourcePath,
  type ResourcePath,
  verbOf,
} from './api.ts';
import type { CustomResourceDefinition } from './crds.ts';
import { Permissions } from './rbac.ts';
import { KindSchema, type Violation } from './schema.ts';

/** Of all annotations of an object, names and values (apimachinery, TotalAnnotationSizeLimitB). */
const ANNOTATIONS_SIZE_MAX = 256 * 1024;
/** etcd's --max-request-bytes. */
const OBJECT_SIZE_MAX = 1.5 * 1024 * 1024;
/** kube-apiserver's limit of a request's body. */
const BODY_SIZE_MAX = 3 * 1024 * 1024;

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const NAME_LENGTH_MAX = 253;

const MERGE_PATCH = 'application/merge-patch+json';
const APPLY_PATCH = 'application/apply-patch+yaml';

interface Kind {
  readonly definition: CustomResourceDefinition;
  readonly schema: KindSchema;
  readonly objects: Map<string, KubeObject>;
}

type Fields = Record<string, unknown>;

export interface StandInOptions {
  readonly definitions: readonly CustomResourceDefinition[];
  /** Roles and bindings. */
  readonly rbac: readonly KubeObject[];
  /** Users by their bearer tokens. */
  readonly users: Readonly<Record<string, string>>;
  /** A token of a user with all rights. */
  readonly adminToken: string;
}

export class StandIn implements Backend {
  readonly isReal = false;
  readonly adminToken: string;
  /** Users by their bearer tokens; tests add and remove them. */
  readonly users: Map<string, string>;
  readonly #kinds: ReadonlyMap<string, Kind>;
  readonly #permissions: Permissions;
  #version = 100;

  constructor({ definitions, rbac, users, adminToken }: StandInOptions) {
    this.adminToken = adminToken;
    this.users = new Map(Object.entries(users));
    this.#permissions = new Permissions(rbac);
    this.#kinds = new Map(
      definitions.map((definition) => [
        definition.spec.names.plural,
        { definition, schema: new KindSchema(definition.spec.versions[0].schema.openAPIV3Schema), objects: new Map() },
      ]),
    );
  }

  async request(request: KubeRequest): Promise<KubeReply> {
    return this.#answer(request);
  }

  async stop(): Promise<void> {}

  #answer(request: KubeRequest): KubeReply {
    const token = /^Bearer (.*)$/.exec(request.authorization ?? '')?.[1];
    const user = token === undefined ? 'system:anonymous' : token === this.adminToken ? 'admin' : this.users.get(token);
    if (user === undefined) return failure(401, 'Unauthorized', 'Unauthorized');
    const path = parseResourcePath(request.path);
    if (path === undefined) return NOT_A_RESOURCE;
    const verb = verbOf(request.method, path);
    const resource = path.subresource === undefined ? path.plural : `${path.plural}/${path.subresource}`;
    if (user !== 'admin' && !this.#permissions.allow(user, verb, path.group, resource)) {
      return forbid(user, verb, path, resource);
    }
    const kind = this.#kinds.get(path.plural);
    if (kind?.definition.spec.group !== path.group || path.version !== 'v1') return NOT_A_RESOURCE;
    if (Buffer.byteLength(request.body) > BODY_SIZE_MAX) {
      return failure(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${BODY_SIZE_MAX}`);
    }
    switch (verb) {
      case 'get':
        return path.subresource === 'status' || path.subresource === undefined ? get(kind, path.name!) : NOT_A_RESOURCE;
      case 'list':
        return this.#list(kind, path.query);
      case 'create':
        return this.#create(kind, request);
      case 'patch':
        return this.#patch(kind, path, request);
      case 'delete':
        return this.#delete(kind, path.name!);
      default:
        return failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
    }
  }

  #list({ definition, objects }: Kind, query: URLSearchParams): KubeReply {
    const fieldSelector = query.get('fieldSelector');
    if (fieldSelector !== null && !fieldSelector.startsWith('metadata.name')) {
      return failure(400, 'BadRequest', `field label not supported: ${fieldSelector.split('=')[0]}`);
    }
    const all = [...objects.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    const after = query.get('continue') ?? '';
    const limit = Number(query.get('limit') ?? 0) || Number.POSITIVE_INFINITY;
    const rest = all.filter(
      (object) => after === '' || object.metadata.name > Buffer.from(after, 'base64url').toString(),
    );
    const items = rest.slice(0, limit);
    const next = Buffer.from(items.at(-1)?.metadata.name ?? '').toString('base64url');
    const more = rest.length > items.length ? { continue: next, remainingItemCount: rest.length - items.length } : {};
    const { group, names } = definition.spec;
    const metadata = { resourceVersion: String(this.#version), ...more };
    return ok({ apiVersion: `${group}/v1`, kind: names.listKind, metadata, items });
  }

  #create(kind: Kind, { body }: KubeRequest): KubeReply {
    const { definition, schema, objects } = kind;
    const { group, names } = definition.spec;
    const sent = parse(body);
    if (sent === undefined) return malformed('the object provided is unrecognized');
    if (sent.apiVersion !== `${group}/v1` || sent.kind !== names.kind) {
      return malformed(`the object in the data (${sent.apiVersion}, ${sent.kind}) is not ${group}/v1, ${names.kind}`);
    }
    const { status: _, ...main } = schema.complete(sent) as Fields;
    const { resourceVersion: __, uid: ___, ...metadata } = (sent.metadata ?? {}) as Fields;
    const object = {
      ...main,
      metadata: { ...metadata, uid: randomUUID(), generation: 1, creationTimestamp: new Date().toISOString() },
    } as unknown as KubeObject;
    const { name } = object.metadata;
    const violations = [...checkName(name), ...checkMetadata(object), ...schema.check(object, undefined)];
    if (violations.length > 0) return invalid(kind, name, violations);
    if (objects.has(name)) {
      return failure(409, 'AlreadyExists', `${qualified(kind)} "${name}" already exists`, {
        name,
        group,
        kind: names.plural,
      });
    }
    return this.#store(kind, object, 201);
  }

  #patch(kind: Kind, { name, subresource }: ResourcePath, { body, contentType }: KubeRequest): KubeReply {
    const old = kind.objects.get(name!);
    if (contentType !== MERGE_PATCH && contentType !== APPLY_PATCH) {
      const accepted = `application/json-patch+json, ${MERGE_PATCH}, ${APPLY_PATCH}`;
      return failure(
        415,
        'UnsupportedMediaType',
        `the body of the request was in an unknown format - accepted media types include: ${accepted}`,
      );
    }
    if (old === undefined) return notFound(kind, name!);
    const patch = parse(body);
    if (patch === undefined) return malformed('error decoding patch: it is not an object of JSON');
    const merged = (contentType === MERGE_PATCH ? merge(old, patch) : apply(old, patch)) as unknown as KubeObject;
    if (merged.metadata.resourceVersion !== old.metadata.resourceVersion) {
      return failure(
        409,
        'Conflict',
        `Operation cannot be fulfilled on ${qualified(kind)} "${name}": the object has been modified; please apply your changes to the latest version and try again`,
        { name, group: kind.definition.spec.group, kind: kind.definition.spec.names.plural },
      );
    }
    const completed = kind.schema.complete(merged);
    const { status: oldStatus, ...oldMain } = old;
    const { status, ...main } = completed;
    // Each of the two ways in leaves the other's part alone.
    const isStatus = subresource === 'status';
    const object = (
      isStatus
        ? { ...oldMain, ...(status === undefined ? {} : { status }) }
        : { ...main, metadata: merged.metadata, ...(oldStatus === undefined ? {} : { status: oldStatus }) }
    ) as KubeObject;
    const violations = [...checkMetadata(object), ...kind.schema.check(object, old)];
    if (violations.length > 0) return invalid(kind, name!, violations);
    if (isDeepStrictEqual(object, old)) return ok(old);
    const generation = (old.metadata.generation ?? 1) + (isDeepStrictEqual(object.spec, old.spec) ? 0 : 1);
    return this.#store(kind, { ...object, metadata: { ...object.metadata, uid: old.metadata.uid!, generation } }, 200);
  }

  #delete(kind: Kind, name: string): KubeReply {
    if (!kind.objects.delete(name)) return notFound(kind, name);
    this.#version++;
    return ok({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' });
  }

  #store(kind: Kind, object: KubeObject, status: number): KubeReply {
    if (Buffer.byteLength(JSON.stringify(object)) > OBJECT_SIZE_MAX) {
      return failure(500, undefined, 'etcdserver: request is too large');
    }
    const { name } = object.metadata;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    kind.objects.set(name, stored);
    return ok(stored, status);
  }
}

const NOT_A_RESOURCE: KubeReply = {
  status: 404,
  headers: { 'content-type': 'text/plain; charset=utf-8' },
  body: '404 page not found\n',
};

function ok(object: object, status = 200): KubeReply {
  return { status, body: JSON.stringify(object) };
}

function parse(body: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
  } catch {
    return undefined;
  }
}

/** `hypervisors.kvm.cloud.sap` */
function qualified({ definition }: Kind): string {
  return definition.metadata.name;
}

function get(kind: Kind, name: string): KubeReply {
  const object = kind.objects.get(name);
  return object === undefined ? notFound(kind, name) : ok(object);
}

function notFound(kind: Kind, name: string): KubeReply {
  const { group, names } = kind.definition.spec;
  return failure(404, 'NotFound', `${qualified(kind)} "${name}" not found`, { name, group, kind: names.plural });
}

function malformed(message: string): KubeReply {
  return failure(400, 'BadRequest', message);
}

function forbid(user: string, verb: string, { group, plural, name }: ResourcePath, resource: string): KubeReply {
  const what = name === undefined ? `${plural}.${group}` : `${plural}.${group} "${name}"`;
  return failure(
    403,
    'Forbidden',
    `${what} is forbidden: User "${user}" cannot ${verb} resource "${resource}" in API group "${group}" at the cluster scope`,
    { ...(name === undefined ? {} : { name }), group, kind: plural },
  );
}

function invalid(kind: Kind, name: string, violations: readonly Violation[]): KubeReply {
  const { group, names } = kind.definition.spec;
  const lines = violations.map(({ field, message }) => `${field}: ${message}`);
  const text = lines.length === 1 ? lines[0] : `[${lines.join(', ')}]`;
  const causes = violations.map(({ field, message }) => ({ reason: 'FieldValueInvalid', message, field }));
  const details = { name, group, kind: names.kind, causes };
  return failure(422, 'Invalid', `${names.kind}.${group} "${name}" is invalid: ${text}`, details);
}

function checkName(name: unknown): Violation[] {
  if (typeof name !== 'string' || name === '') {
    return [{ field: 'metadata.name', message: 'Required value: name or generateName is required' }];
  }
  if (name.length <= NAME_LENGTH_MAX && NAME.test(name)) return [];
  const rule = `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character`;
  return [{ field: 'metadata.name', message: `Invalid value: ${JSON.stringify(name)}: ${rule}` }];
}

function checkMetadata({ metadata }: KubeObject): Violation[] {
  let size = 0;
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    if (typeof value !== 'string') return [{ field: 'metadata.annotations', message: `Invalid value: ${key}` }];
    size += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (size <= ANNOTATIONS_SIZE_MAX) return [];
  return [{ field: 'metadata.annotations', message: `Too long: must have at most ${ANNOTATIONS_SIZE_MAX} characters` }];
}

/** RFC 7386. */
function merge(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const result: Fields = isFields(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}

/** A server-side apply that is forced, without the accounts of field managers: lists of conditions are merged by their type. */
function apply(target: unknown, patch: unknown): unknown {
  if (Array.isArray(patch) && Array.isArray(target)) {
    const items = new Map(target.map((item: Fields) => [item.type, item]));
    for (const item of patch as Fields[]) items.set(item.type, apply(items.get(item.type), item) as Fields);
    return [...items.values()];
  }
  if (!isFields(patch)) return patch;
  const result: Fields = isFields(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) result[key] = apply(result[key], value);
  return result;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
