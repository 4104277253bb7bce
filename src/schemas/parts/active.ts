import type { DomainSnapshot } from '../../model/snapshot.ts';

/** The VM while it is active: running, paused, or on its way there. */
export function activeDomain(domain: DomainSnapshot): DomainSnapshot | undefined {
  return domain.id === undefined ? undefined : domain;
}
