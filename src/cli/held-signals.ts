/** Signals that were caught before anybody took them. */
const caught = new Set<NodeJS.Signals>();
const catchers = new Map<NodeJS.Signals, () => void>();

/**
 * Catches these signals until `takeSignals` takes them over. For the start of a process: a prompt that comes while the modules are
 * still being loaded must not end it, as signals do that nobody handles.
 */
export function holdSignals(signals: readonly NodeJS.Signals[]): void {
  for (const signal of signals) {
    const catcher = () => void caught.add(signal);
    catchers.set(signal, catcher);
    process.on(signal, catcher);
  }
}

/** Calls back at each of these signals, and once, soon, if one of them was caught before. */
export function takeSignals(signals: readonly NodeJS.Signals[], callback: () => void): void {
  let missed = false;
  for (const signal of signals) {
    process.on(signal, callback);
    const catcher = catchers.get(signal);
    if (catcher !== undefined) process.off(signal, catcher);
    catchers.delete(signal);
    missed = caught.delete(signal) || missed;
  }
  if (missed) setImmediate(callback);
}
