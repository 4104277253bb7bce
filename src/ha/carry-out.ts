import { createHash } from 'node:crypto';
import type { Logger } from '../base/logger.ts';
import { type Cluster, ClusterError, type Eviction, type Hypervisor } from './cluster.ts';
import type { ConditionEntry, Entry, EvictionEntry } from './entry.ts';
import { type OwnHypervisor, whyNotEvicted } from './hypervisor.ts';
import { cutBytes, isoTime, withOthers } from './reason.ts';

/** What became of an entry. */
export type Outcome = 'created' | 'annotated' | 'not evicted' | 'condition set';

export interface CarryOutOptions {
  readonly cluster: Cluster;
  readonly hypervisor: OwnHypervisor;
  /** Whether `spec.maintenance` is set too, without which the operator moves no VM. */
  readonly maintenance: 'none' | 'auto';
  readonly logger: Logger;
  readonly onOutcome: (outcome: Outcome, entries: number) => void;
}

/** The id of the first event of the incident for which an Eviction was created. */
export const EVENT_ID_ANNOTATION = 'virtlens/event-id';
/** One annotation for each event that belongs to an Eviction, by a hash of its id: set again, it is the same. */
const EVENT_ANNOTATION = 'virtlens/event.';
/** Kubernetes takes 256 KiB of annotations, others' included. */
const EVENT_ANNOTATIONS_MAX = 200;
const ANNOTATION_BYTES_MAX = 500;

/** Carries out decisions. Each step is found done when it is made again, so that a crash between any two of them changes nothing. */
export function createCarryOut(
  options: CarryOutOptions,
): (batch: readonly Entry[], signal: AbortSignal) => Promise<void> {
  return async (batch, signal) => {
    const evictions = batch.filter((entry) => entry.lane === 'eviction');
    const condition = batch.findLast((entry) => entry.lane === 'condition');
    if (evictions.length > 0) await evict(evictions, options, signal);
    if (condition !== undefined) await setCondition(condition, options, signal);
  };
}

/** The name of an incident's Eviction: the same for the same event, and never the Hypervisor's own, which is the operator's. */
export function evictionName(hypervisor: string, incidentId: string): string {
  return `${hypervisor}-ha-${hash(incidentId)}`;
}

/** Entries of one incident. */
async function evict(entries: readonly EvictionEntry[], options: CarryOutOptions, signal: AbortSignal): Promise<void> {
  const { cluster, logger, onOutcome } = options;
  const hypervisor = await options.hypervisor.read(signal);
  const { incidentId } = entries[0]!;
  const name = evictionName(hypervisor.name, incidentId);
  const evictions = await cluster.listEvictions(hypervisor.name, signal);
  const own = evictions.find((each) => each.name === name);
  if (own !== undefined && !isOpen(own) && own.annotations[EVENT_ID_ANNOTATION] !== incidentId) {
    throw new ClusterError(
      'never',
      `Eviction ${name} is there and is not of this incident: delete it, and restart with --queue.parked=retry`,
    );
  }
  const noted = own ?? evictions.find(isOpen);
  if (noted !== undefined && (await annotate(noted, entries, options, signal))) {
    // Of our own the maintenance may be missing still.
    if (own !== undefined) await setMaintenance(hypervisor, options, signal);
    return;
  }
  const obstacle = whyNotEvicted(hypervisor);
  if (obstacle !== undefined) {
    for (const { summary } of entries) {
      logger.warn('the host is not evicted', { hypervisor: hypervisor.name, why: obstacle, event: summary });
    }
    onOutcome('not evicted', entries.length);
    return;
  }
  await create(name, hypervisor, entries, options, signal);
  await setMaintenance(hypervisor, options, signal);
}

async function create(
  name: string,
  hypervisor: Hypervisor,
  entries: readonly EvictionEntry[],
  options: CarryOutOptions,
  signal: AbortSignal,
): Promise<void> {
  const { cluster, logger, onOutcome } = options;
  const [first, ...others] = entries as readonly [EvictionEntry, ...EvictionEntry[]];
  const outcome = await cluster.createEviction(
    {
      name,
      labels: hypervisor.labels,
      annotations: { [EVENT_ID_ANNOTATION]: first.incidentId, ...eventAnnotations(entries, {}) },
      owner: hypervisor,
      hypervisor: hypervisor.name,
      reason: withOthers(
        first.reason,
        others.map(({ summary }) => summary),
      ),
    },
    signal,
  );
  if (outcome === 'created') {
    logger.warn('the host is to be evicted', { eviction: name, hypervisor: hypervisor.name, event: first.summary });
    onOutcome('created', entries.length);
    return;
  }
  // Another call of ours made it, or somebody else did just now.
  const existing = await cluster.readEviction(name, signal);
  if (existing !== undefined && (await annotate(existing, entries, options, signal))) return;
  throw new ClusterError('retry', `Eviction ${name} was deleted while it was being created`);
}

/** False when the Eviction is gone. */
async function annotate(
  { name, annotations }: Eviction,
  entries: readonly EvictionEntry[],
  { cluster, logger, onOutcome }: CarryOutOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const added = eventAnnotations(entries, annotations);
  const count = Object.keys(added).length;
  if (count > 0 && (await cluster.annotateEviction(name, added, signal)) === 'gone') return false;
  for (const { summary } of entries)
    logger.info('an event is noted on an Eviction', { eviction: name, event: summary });
  onOutcome('annotated', entries.length);
  return true;
}

/** Those that are not there yet, as long as there is room. */
function eventAnnotations(
  entries: readonly EvictionEntry[],
  present: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const room = EVENT_ANNOTATIONS_MAX - Object.keys(present).filter((key) => key.startsWith(EVENT_ANNOTATION)).length;
  const missing = entries
    .map(({ id, summary }) => [EVENT_ANNOTATION + hash(id), cutBytes(summary, ANNOTATION_BYTES_MAX)] as const)
    .filter(([key]) => !Object.hasOwn(present, key));
  return Object.fromEntries(missing.slice(0, Math.max(0, room)));
}

async function setMaintenance(
  { name, maintenance }: Hypervisor,
  options: CarryOutOptions,
  signal: AbortSignal,
): Promise<void> {
  if (options.maintenance === 'none' || maintenance !== '') return;
  if ((await options.cluster.setMaintenance(name, options.maintenance, signal)) !== 'done') return;
  options.logger.warn('the host is in maintenance now', { hypervisor: name, maintenance: options.maintenance });
}

async function setCondition(
  { message, timeMs }: ConditionEntry,
  { cluster, hypervisor, logger, onOutcome }: CarryOutOptions,
  signal: AbortSignal,
): Promise<void> {
  const { name } = await hypervisor.read(signal);
  const condition = {
    type: 'GuestReboot',
    status: 'True',
    reason: 'GuestRebooted',
    message,
    lastTransitionTime: isoTime(timeMs),
  } as const;
  if ((await cluster.setHypervisorCondition(name, condition, signal)) === 'gone') {
    throw new ClusterError('retry', `Hypervisor ${name} was deleted while its condition was being set`);
  }
  logger.info('a guest reboot is noted on the Hypervisor', { hypervisor: name, message });
  onOutcome('condition set', 1);
}

/** Open is one that the operator has not finished: no condition Evicting yet, or one that is not False. */
function isOpen({ conditions }: Eviction): boolean {
  return conditions.find(({ type }) => type === 'Evicting')?.status !== 'False';
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 10);
}
