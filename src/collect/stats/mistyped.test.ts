// A daemon that sends values of the wrong type, seen from the page.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedHost } from '../../../test/support/simulated-host.ts';
import { formatPrometheus } from '../../formats/prometheus.ts';
import { PARAM_TYPE } from '../../libvirt/wire/typed-params.ts';
import { createSchemaSet } from '../../schemas/schema-set.ts';

const { string, double, boolean } = PARAM_TYPE;
const wrong = (type: typeof string | typeof double | typeof boolean, value: string | number | boolean) => ({
  type,
  value,
  ratePerSecond: 0,
});

/** The lines of the page of one collection. */
async function pageOf(host: SimulatedHost) {
  const snapshot = await host.collect();
  const chunks = formatPrometheus(createSchemaSet(['kumina', 'c5c3', 'extended', 'nova']).families(snapshot));
  const text = Buffer.concat(Array.from(chunks, (chunk) => Buffer.from(chunk))).toString();
  return { snapshot, lines: text.split('\n') };
}

describe('a daemon that sends values of the wrong type', () => {
  it('forges no line and costs no other value', async () => {
    const overrides = {
      'net.0.rx.bytes': wrong(string, '1\nlibvirt_up 0'),
      'balloon.current': wrong(string, 'much'),
      'balloon.unused': wrong(double, Number.NaN),
      'block.0.rd.bytes': wrong(boolean, true),
    };
    await using host = new SimulatedHost({ vms: [{ name: 'a', overrides }, { name: 'b' }] });
    const { snapshot, lines } = await pageOf(host);
    assert.deepEqual(
      lines.filter((line) => line.startsWith('libvirt_up')),
      ['libvirt_up 1'],
    );
    const families = (name: string) =>
      lines.filter((line) => line.includes(`domain="${name}"`)).map((line) => line.slice(0, line.indexOf('{')));
    // Of the balloon's current size there is the XML's.
    const dropped = [
      'libvirt_domain_block_read_bytes_total',
      'libvirt_domain_block_stats_read_bytes_total',
      'libvirt_domain_interface_stats_receive_bytes_total',
      'libvirt_domain_memory_stats_unused_bytes',
      'libvirt_domain_memory_usage_bytes',
      'libvirt_domain_net_receive_bytes_total',
    ];
    const all = new Set(families('b'));
    assert.deepEqual([...all.difference(new Set(families('a')))].sort(), dropped);
    assert.deepEqual(Object.fromEntries(snapshot.collection.mistypedFields), {
      'net.N.rx.bytes': 1,
      'balloon.current': 1,
      'balloon.unused': 1,
      'block.N.rd.bytes': 1,
    });
    assert.equal(snapshot.collection.unknownFields.size, 0);
  });

  it('does not fail the scrape with the one field that shows whether statistics are whole', async () => {
    const overrides = { 'balloon.rss': wrong(string, '1\nlibvirt_up 0') };
    await using host = new SimulatedHost({ vms: [{ name: 'a', overrides }, { name: 'b' }] });
    const { lines } = await pageOf(host);
    assert.ok(lines.includes('libvirt_up 1'));
    assert.ok(lines.some((line) => line.startsWith('libvirt_domain_state_code{domain="a"')));
    assert.ok(lines.some((line) => line.startsWith('libvirt_domain_memory_stats_rss_bytes{domain="b"')));
  });
});
