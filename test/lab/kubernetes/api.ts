// The shapes that the parts of the lab's Kubernetes share.

/** Any object of the API. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly Readonly<Record<string, unknown>>[];
    readonly [key: string]: unknown;
  };
  // biome-ignore lint/suspicious/noExplicitAny: tests read what the schema has, and assert on it
  readonly spec?: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly status?: any;
}

/** What `metav1.Status` says of a failure. */
export interface KubeStatus {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: object;
  readonly status: 'Failure' | 'Success';
  readonly message: string;
  readonly reason?: string;
  readonly details?: object;
  readonly code: number;
}

/** One request, as it came. */
export interface KubeRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly authorization: string | undefined;
  readonly contentType: string | undefined;
  readonly body: string;
}

export interface KubeReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A server behind the front: a real one, or the stand-in. */
export interface Backend {
  readonly isReal: boolean;
  /** Of a user with all rights. */
  readonly adminToken: string;
  request(request: KubeRequest): Promise<KubeReply>;
  stop(): Promise<void>;
}

/** The reply that a failure has. */
export function failure(code: number, reason: string | undefined, message: string, details?: object): KubeReply {
  const status: KubeStatus = {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    ...(reason === undefined ? {} : { reason }),
    ...(details === undefined ? {} : { details }),
    code,
  };
  return { status: code, body: JSON.stringify(status) };
}

/** What a path asks for. */
export interface ResourcePath {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
}

/** `/apis/GROUP/VERSION/PLURAL[/NAME[/SUBRESOURCE]]`: cluster-scoped resources of a named group. */
export function parseResourcePath(path: string): ResourcePath | undefined {
  const url = new URL(path, 'https://localhost');
  const [empty, apis, group, version, plural, name, subresource, ...rest] = url.pathname
    .split('/')
    .map(decodeURIComponent);
  if (empty !== '' || apis !== 'apis' || group === undefined || version === undefined) return undefined;
  if (plural === undefined || plural === '' || rest.length > 0) return undefined;
  return { group, version, plural, name, subresource, query: url.searchParams };
}

/** The verb that RBAC has for a request. */
export function verbOf(method: string, resource: ResourcePath): string {
  if (method === 'GET' && resource.name === undefined) return resource.query.has('watch') ? 'watch' : 'list';
  return (
    { GET: 'get', POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' }[method] ?? method.toLowerCase()
  );
}
