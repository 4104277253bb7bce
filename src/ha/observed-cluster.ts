import type { Clock } from '../base/clock.ts';
import { type Cluster, ClusterError } from './cluster.ts';

/** The calls of a cluster, as metrics name them. */
export type ClusterCall = Exclude<keyof Cluster, 'server'>;

/** Called at the end of each call; `outcome` is `ok`, the HTTP status, or `error` when there was no reply. */
export type CallObserver = (call: ClusterCall, outcome: string, durationMs: number) => void;

/** The same cluster, with each call timed. */
export function observeCluster(cluster: Cluster, clock: Clock, onCall: CallObserver): Cluster {
  const timed = async <T>(call: ClusterCall, run: () => Promise<T>): Promise<T> => {
    const startedMs = clock.monotonicMs();
    try {
      const result = await run();
      onCall(call, 'ok', clock.monotonicMs() - startedMs);
      return result;
    } catch (error) {
      const status = error instanceof ClusterError ? error.status : undefined;
      onCall(call, status === undefined ? 'error' : String(status), clock.monotonicMs() - startedMs);
      throw error;
    }
  };
  return {
    server: cluster.server,
    readHypervisor: (name, signal) => timed('readHypervisor', () => cluster.readHypervisor(name, signal)),
    listEvictions: (signal) => timed('listEvictions', () => cluster.listEvictions(signal)),
    readEviction: (name, signal) => timed('readEviction', () => cluster.readEviction(name, signal)),
    createEviction: (eviction, signal) => timed('createEviction', () => cluster.createEviction(eviction, signal)),
    annotateEviction: (name, annotations, signal) =>
      timed('annotateEviction', () => cluster.annotateEviction(name, annotations, signal)),
    setHypervisorCondition: (name, condition, signal) =>
      timed('setHypervisorCondition', () => cluster.setHypervisorCondition(name, condition, signal)),
    setMaintenance: (name, maintenance, signal) =>
      timed('setMaintenance', () => cluster.setMaintenance(name, maintenance, signal)),
  };
}
