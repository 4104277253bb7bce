/** A family of an exporter that virtlens takes over from, as its source declares it. */
export interface OriginalFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly labels: readonly string[];
}

/** Families of one type with the same labels. */
export function families(
  type: OriginalFamily['type'],
  labels: readonly string[],
  names: readonly string[],
): readonly OriginalFamily[] {
  return names.map((name) => ({ name, type, labels }));
}
