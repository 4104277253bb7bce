// The scheme debian against the program that it takes over from, as Debian packages it, on the same VMs: the same families with the same
// labels, the same series, and values between two scrapes of the other. Kumina's head, which the scheme follows too, adds four families.
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { describeLab } from './lab/describe.ts';
import { labelsOf, type ParsedFamily, parseExposition } from './lab/exposition.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { type LibvirtExporter, startLibvirtExporter } from './lab/peer.ts';

/** What Kumina's head has and Debian's package does not. */
const HEAD_ONLY = [
  'libvirt_domain_block_stats_flush_requests_total',
  'libvirt_domain_block_stats_flush_seconds_total',
  'libvirt_domain_block_stats_read_seconds_total',
  'libvirt_domain_block_stats_write_seconds_total',
];

const NOVA = `<nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'><nova:name>web "1" ü</nova:name>
  <nova:flavor name='m1.tiny'><nova:memory>16</nova:memory></nova:flavor>
  <nova:owner><nova:user uuid='u'>admin</nova:user><nova:project uuid='p'>demo project</nova:project></nova:owner></nova:instance>`;

describeLab(
  "Debian's prometheus-libvirt-exporter and virtlens --schema=debian on the same VMs",
  ['libvirt', 'exporter'],
  () => {
    let host: LibvirtHost;
    before(async () => {
      host = await startLibvirt();
      const disks = [{ target: 'vda' }, { target: 'sda', device: 'cdrom' as const, format: 'raw' as const }];
      await host.createDomains(
        [
          { name: 'web', disks, nics: [{}, { type: 'user' }, {}], metadataXml: NOVA },
          {
            name: 'two  blanks, a "quote" and ü',
            disks: [{ target: 'vda' }, { target: 'hda', format: 'raw' }],
            nics: [{}],
          },
          { name: 'bare', vcpus: 2, maxVcpus: 4, memoryKiB: 16 * 1024, maxMemoryKiB: 32 * 1024 },
          { name: 'floppy', disks: [{ target: 'fda', device: 'floppy', format: 'raw', sizeBytes: 1_474_560 }] },
        ],
        'running',
      );
      await host.createDomain({ name: 'paused', disks: [{ target: 'vda' }] }, 'paused');
      await host.createDomain({ name: 'off' }, 'shutoff');
    });
    after(() => host?.stop());

    for (const nova of [false, true]) {
      it(`has the same families, labels, series and values${nova ? " with Nova's labels" : ''}`, async () => {
        await using exporter = await startLibvirtExporter({ uri: host.uri(), exportNovaMetadata: nova });
        const flags = nova ? ['--libvirt.export-nova-metadata'] : [];
        await using agent = await Agent.start([`--libvirt.uri=${host.uri()}`, '--schema=debian', ...flags]);
        await compare(exporter, agent);
      });
    }

    /** Theirs, ours, theirs again: a counter of ours lies between the two of theirs. */
    async function compare(exporter: LibvirtExporter, agent: Agent): Promise<void> {
      const earlier = libvirtFamilies(await exporter.metrics());
      const ours = libvirtFamilies(await agent.metrics());
      const later = libvirtFamilies(await exporter.metrics());

      assert.deepEqual([...ours.keys()].sort(), [...earlier.keys(), ...HEAD_ONLY].sort(), 'the same families');
      for (const [name, { type, samples }] of earlier) {
        assert.equal(ours.get(name)!.type, type, `the type of ${name}`);
        const mine = ours.get(name)!.samples;
        // A series is its name and all of its labels.
        assert.deepEqual([...mine.keys()].sort(), [...samples.keys()].sort(), `the series of ${name}`);
        for (const [series, text] of mine) {
          // Theirs are binary fractions: 0.1 + 0.2 of them.
          const [least, value, most] = [samples.get(series)!, text, later.get(name)!.samples.get(series)!].map(Number);
          assert.ok(least! <= value! + 1e-9 && value! <= most! + 1e-9, `${series}: ${least} ≤ ${value} ≤ ${most}`);
        }
      }
      const vms = [...ours.get('libvirt_domain_state_code')!.samples.keys()].map((series) => labelsOf(series).domain);
      assert.deepEqual(vms.sort(), ['bare', 'floppy', 'paused', 'two  blanks, a "quote" and ü', 'web']);
      // The head's families are of the same disks.
      const disks = (name: string) =>
        [...ours.get(name)!.samples.keys()].map((series) => series.replace(name, '')).sort();
      for (const name of HEAD_ONLY)
        assert.deepEqual(disks(name), disks('libvirt_domain_block_stats_read_bytes_total'), name);
    }
  },
);

function libvirtFamilies(text: string): Map<string, ParsedFamily> {
  return new Map([...parseExposition(text)].filter(([name]) => name.startsWith('libvirt_')));
}
