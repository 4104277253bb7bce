/** More names than any libvirt has; a daemon that makes them up must not fill the memory, or the page. */
const NAMES_MAX = 500;
/** Stands for all names beyond that. */
const OTHERS = '(others)';

/**
 * Counts the values of one collection that could not be used, by the name of their statistic (numbers in it written as `N`). At most
 * `NAMES_MAX` names of each kind are kept.
 */
export class FieldTally {
  readonly #unknown = new Map<string, number>();
  readonly #mistyped = new Map<string, number>();

  /** Statistics that this build does not know. */
  get unknown(): ReadonlyMap<string, number> {
    return this.#unknown;
  }

  /** Statistics whose value was of a type that they cannot have. */
  get mistyped(): ReadonlyMap<string, number> {
    return this.#mistyped;
  }

  noteUnknown(name: string, count = 1): void {
    add(this.#unknown, name, count);
  }

  noteMistyped(name: string, count = 1): void {
    add(this.#mistyped, name, count);
  }
}

function add(counts: Map<string, number>, name: string, count: number): void {
  const key = counts.size < NAMES_MAX || counts.has(name) ? name : OTHERS;
  counts.set(key, (counts.get(key) ?? 0) + count);
}

/** The name of a statistic for the count: its numbers, of which a host may have any, as `N`. */
export function generalName(field: string): string {
  return field.replaceAll(/\d+/g, 'N');
}
