import { VirtlensError } from '../base/error.ts';

/**
 * What the HA agent does with a Kubernetes cluster: the kinds Hypervisor and Eviction of the group `kvm.cloud.sap` (or another one with the
 * same schema), version v1, both cluster-scoped. Every method ends by the signal or by the deadline that the client has of its own, and throws ClusterError.
 */
export interface Cluster {
  /** The API server, for the log: `https://10.0.0.1:6443`. */
  readonly server: string;

  /** Undefined when there is none of this name (404 of the object; a kind that is not installed is an error). */
  readHypervisor(name: string, signal: AbortSignal): Promise<Hypervisor | undefined>;

  /** The Evictions of one Hypervisor, of all of the cluster: the kind has no field selector. Nothing of the others is kept. */
  listEvictions(hypervisor: string, signal: AbortSignal): Promise<readonly Eviction[]>;

  /** Undefined when there is none of this name. */
  readEviction(name: string, signal: AbortSignal): Promise<Eviction | undefined>;

  /** `exists` when the name is taken (409 AlreadyExists). */
  createEviction(eviction: NewEviction, signal: AbortSignal): Promise<'created' | 'exists'>;

  /** Adds annotations or replaces their values, and leaves all else as it is. `gone` when the Eviction is not there any more. */
  annotateEviction(
    name: string,
    annotations: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<'done' | 'gone'>;

  /**
   * Sets one condition in the status of a Hypervisor and leaves the others as they are: read, change one entry, merge patch with the resource version, again
   * after a Conflict. `lastTransitionTime` stays the old one when the status stays. `gone` when there is no Hypervisor of this name.
   */
  setHypervisorCondition(name: string, condition: Condition, signal: AbortSignal): Promise<'done' | 'gone'>;

  /** Sets `spec.maintenance` of a Hypervisor on which it is empty; `taken` when it has another value already. */
  setMaintenance(name: string, maintenance: 'auto', signal: AbortSignal): Promise<'done' | 'taken' | 'gone'>;
}

/** A Hypervisor, with the schema's defaults for what it does not say. */
export interface Hypervisor {
  /** As in the object: `kvm.cloud.sap/v1`. */
  readonly apiVersion: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** `spec.highAvailability`; true when it does not say. */
  readonly isHighlyAvailable: boolean;
  /** `spec.maintenance`; empty when it does not say. */
  readonly maintenance: string;
  readonly conditions: readonly Condition[];
}

export interface Eviction {
  readonly name: string;
  /** `spec.hypervisor`; empty when it does not say. */
  readonly hypervisor: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly conditions: readonly Condition[];
}

/** An Eviction to create. It is owned by the Hypervisor, so that it goes with it; the reference names no controller. */
export interface NewEviction {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly owner: Pick<Hypervisor, 'apiVersion' | 'name' | 'uid'>;
  readonly hypervisor: string;
  readonly reason: string;
}

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  /** RFC 3339, in UTC. */
  readonly lastTransitionTime: string;
}

/**
 * What is to be done about a failed call:
 *
 * - `retry`: again, for ever. No connection, a deadline, 401 (a token is replaced), 408, 429, 5xx, Conflicts without end.
 * - `refused`: again for a while, because somebody may fix it or the API server is starting. 403, and 404 of a kind that is not installed.
 * - `never`: the same call cannot succeed. 400, 405, 406, 413, 415, 422.
 */
export type ClusterErrorKind = 'retry' | 'refused' | 'never';

/** A call to the API server failed. The message is one line: the call, the object, the status and the server's own words. */
export class ClusterError extends VirtlensError<'ERR_HA_CLUSTER'> {
  readonly kind: ClusterErrorKind;
  /** The HTTP status; undefined when there was no reply. */
  readonly status: number | undefined;
  /** How long the server asks to wait (Retry-After). */
  readonly retryAfterMs: number | undefined;

  constructor(
    kind: ClusterErrorKind,
    message: string,
    {
      status,
      retryAfterMs,
      cause,
    }: { status?: number | undefined; retryAfterMs?: number | undefined; cause?: unknown } = {},
  ) {
    super('ERR_HA_CLUSTER', message, { cause });
    this.kind = kind;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** How the cluster is found and called. `openCluster(options): Promise<Cluster>` of kubernetes/open-cluster.ts loads the client; it throws ClusterConfigError. */
export interface ClusterOptions {
  /** The group of the two kinds. */
  readonly group: string;
  /** A kubeconfig file; without it that of KUBECONFIG or ~/.kube/config, or the service account of the pod. */
  readonly kubeconfig: string | undefined;
  /** A context of the kubeconfig other than its current one. */
  readonly context: string | undefined;
  /** The deadline of one request. */
  readonly timeoutMs: number;
}

/** The cluster's configuration cannot be used. The message names the file and the fix. */
export class ClusterConfigError extends VirtlensError<'ERR_HA_CLUSTER_CONFIG'> {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_HA_CLUSTER_CONFIG', message, options);
  }
}
