// Numbers of include/libvirt/libvirt-domain.h.

/** The details of lifecycle events, by event. */
export const DETAIL = {
  defined: { added: 0, updated: 1 },
  undefined: { removed: 0 },
  started: { booted: 0 },
  suspended: { paused: 0, migrated: 1 },
  resumed: { unpaused: 0 },
  stopped: { shutdown: 0, destroyed: 1, crashed: 2, migrated: 3, failed: 5 },
  shutdown: { guest: 1 },
  crashed: { panicked: 0 },
} as const;

/** The reasons of states, by state. */
export const REASON = {
  running: { booted: 1, unpaused: 5, migrationCancelled: 6 },
  paused: { user: 1 },
  shutoff: { shutdown: 1, destroyed: 2, crashed: 3, migrated: 4 },
} as const;
