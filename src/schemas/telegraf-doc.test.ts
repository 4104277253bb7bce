import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { TELEGRAF_MEASUREMENTS } from './telegraf.ts';

test('docs/telegraf.md names every measurement, field and tag, and none that there is not', () => {
  const page = readFileSync(new URL('../../docs/telegraf.md', import.meta.url), 'utf8');
  const cells = page
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')));

  const listed = cells.filter((row) => row.length === 7 && row[3]?.startsWith('libvirt_'));
  const emitted = TELEGRAF_MEASUREMENTS.flatMap(({ needs, measurement, fields }) =>
    fields.map((field) => {
      const row = measurement === 'libvirt_vcpu' && field === 'cpu_id' ? 'vcpu and vcpu_mapping' : needs;
      return `${row} ${measurement} ${field}`;
    }),
  );
  assert.deepEqual(listed.map((row) => `${row[1]} ${row[3]} ${row[4]}`).toSorted(), emitted.toSorted());

  const tagged = cells
    .filter((row) => row.length === 4 && row[1]?.startsWith('libvirt_') && row[2]?.match(/(_id|_index)$/))
    .flatMap((row) => (row[1] ?? '').split(', ').map((measurement) => `${measurement}: ${row[2]}`));
  assert.deepEqual(
    tagged.toSorted(),
    TELEGRAF_MEASUREMENTS.filter(({ tags }) => tags.length > 0)
      .map(({ measurement, tags }) => `${measurement}: ${tags.join(', ')}`)
      .toSorted(),
  );
});
