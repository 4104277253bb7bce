/** A decision that waits to be carried out, as it is stored. Everything that can be known at the time of the event stands in it. */
export type Entry = EvictionEntry | ConditionEntry;

/** Entries of one lane are carried out in order; the lanes do not wait for each other. */
export type LaneName = Entry['lane'];

export const LANE_NAMES: readonly LaneName[] = ['eviction', 'condition'];

interface EntryBase {
  /** The event's. */
  readonly id: string;
  /** Wall-clock milliseconds of the event. */
  readonly timeMs: number;
  /** One line that says which VM, and what happened to it. */
  readonly summary: string;
}

/** The host is to be evicted. */
export interface EvictionEntry extends EntryBase {
  readonly lane: 'eviction';
  /** The id of the first event of the incident that this one belongs to; its own for the first. */
  readonly incidentId: string;
  /** For a person who reads the Eviction; at most `REASON_BYTES_MAX` bytes. */
  readonly reason: string;
}

/** A condition of the Hypervisor is to be set. A newer one replaces it. */
export interface ConditionEntry extends EntryBase {
  readonly lane: 'condition';
  readonly message: string;
}
