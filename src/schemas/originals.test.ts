// The schemes that take over from an exporter, held to what that exporter's source declares.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEBIAN_FAMILIES } from '../../test/support/original-families/debian.ts';
import { INOVEX_FAMILIES } from '../../test/support/original-families/inovex.ts';
import type { OriginalFamily } from '../../test/support/original-families/original-family.ts';
import { TINKOFF_FAMILIES } from '../../test/support/original-families/tinkoff.ts';
import { createSchemaSet, type SchemaName } from './schema-set.ts';

/** Families whose type the original has wrong: what it declares, for what grows and is called a counter. */
const WRONG_TYPES = new Set([
  'libvirt_domain_memory_stats_hugetlb_pgalloc_total',
  'libvirt_domain_memory_stats_hugetlb_pgfail_total',
]);

function check(schema: SchemaName, originals: readonly OriginalFamily[]): void {
  const { rows } = createSchemaSet([schema]);
  const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : 1);
  assert.deepEqual(
    rows
      // An info family is a gauge in the text format, and so it is in the originals.
      .map(({ name, type, labels }) => ({ name, type: type === 'info' ? 'gauge' : type, labels }))
      .sort(byName),
    originals
      .map(({ name, type, labels }) => ({ name, type: WRONG_TYPES.has(name) ? 'counter' : type, labels }))
      .sort(byName),
  );
  for (const { name, note } of rows) if (WRONG_TYPES.has(name)) assert.match(note!, /the original declares a gauge/);
}

describe('has exactly the families of the original, with their types and labels in their order', () => {
  test('debian', () => check('debian', DEBIAN_FAMILIES));
  test('tinkoff', () => check('tinkoff', TINKOFF_FAMILIES));
  test('inovex', () => check('inovex', INOVEX_FAMILIES));
});

test("debian has Nova's labels after the VM's own, where kumina's exporter has them", () => {
  const { rows } = createSchemaSet(['debian'], { exportNovaMetadata: true });
  for (const { name, labels } of rows) {
    const original = DEBIAN_FAMILIES.find((family) => family.name === name)!.labels;
    const nova = original.length === 0 ? [] : ['name', 'flavor', 'project_name'];
    assert.deepEqual(labels, [...original.slice(0, 2), ...nova, ...original.slice(2)], name);
  }
});
