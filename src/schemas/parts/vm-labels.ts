import type { DomainSnapshot } from '../../model/snapshot.ts';
import { domainLabels, type ItemLabels, itemLabels } from './libvirt-tables.ts';

/** `domain`: the VM's name, which is unique on its host. Shared, so that a VM's text of it is rendered once. */
export const BY_NAME = domainLabels(['domain'], ({ name }) => [name]);

/** `domain` and `uuid`. */
export const BY_NAME_AND_UUID = domainLabels(['domain', 'uuid'], ({ name, uuid }) => [name, uuid]);

/** Labels of things that a VM has one of for each vCPU; `values` gets the vCPU's number as text. */
export function vcpuLabels(
  names: readonly string[],
  values: (domain: DomainSnapshot, vcpu: string) => readonly string[],
): ItemLabels<{ readonly index: number }> {
  return itemLabels<{ readonly index: number }, number>({
    names,
    key: ({ index }) => index,
    hasKey: (key, { index }) => key === index,
    values: (domain, { index }) => values(domain, String(index)),
  });
}

/**
 * `domain` and labels whose values come from the statistics themselves and may change while the VM's XML does not. `values` is called
 * at every evaluation, so this is for what few VMs have.
 */
export function statisticLabels<Item>(
  names: readonly string[],
  values: (item: Item) => readonly string[],
): ItemLabels<Item> {
  return itemLabels<Item, readonly string[]>({
    names: ['domain', ...names],
    key: values,
    hasKey: (key, item) => values(item).every((value, i) => value === key[i]),
    values: ({ name }, item) => [name, ...values(item)],
  });
}
