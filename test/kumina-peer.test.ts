// The scheme kumina against the program that it takes over from, as Debian packages it, on the same VMs.
//
// Debian's build is of a later commit than the README that the scheme follows: it adds a `uuid` label to every series of a VM, and two
// families, the number of VMs and their state. In two things we differ on purpose, and VMs here show both: it skips VMs that do not
// run, and it lists floppy drives (it looks for the device 'fd', which libvirt calls 'floppy').
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { describeLab } from './lab/describe.ts';
import { labelsOf, type ParsedFamily, parseExposition, seriesOf } from './lab/exposition.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { type LibvirtExporter, startLibvirtExporter } from './lab/peer.ts';

/** The families of the README: what we promise. */
const KUMINA = /^libvirt_(up|domain_(info|block_stats|interface_stats)_\w+)$/;
/** The two families that Debian's build adds to them. */
const DEBIAN_ONLY = ['libvirt_domain_state_code', 'libvirt_domains_number'];

const NOVA = `<nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'><nova:name>web "1" ü</nova:name>
  <nova:flavor name='m1.tiny'><nova:memory>16</nova:memory></nova:flavor>
  <nova:owner><nova:user uuid='u'>admin</nova:user><nova:project uuid='p'>demo project</nova:project></nova:owner></nova:instance>`;

describeLab("Debian's prometheus-libvirt-exporter and virtlens serve on the same VMs", ['libvirt', 'exporter'], () => {
  let host: LibvirtHost;
  before(async () => {
    host = await startLibvirt();
    const disks = [{ target: 'vda' }, { target: 'sda', device: 'cdrom' as const, format: 'raw' as const }];
    // The other program stops at its first error, so its VMs all run; one has no work at all, and stands still.
    await host.createDomains(
      [
        { name: 'web', disks, nics: [{}, { type: 'user' }, {}], metadataXml: NOVA },
        {
          name: 'two  blanks, a "quote" and ü',
          disks: [{ target: 'vda' }, { target: 'vdb', format: 'raw' }],
          nics: [{}],
        },
        { name: 'bare', vcpus: 2, maxVcpus: 4, memoryKiB: 16 * 1024, maxMemoryKiB: 32 * 1024 },
        { name: 'floppy', disks: [{ target: 'fda', device: 'floppy', format: 'raw', sizeBytes: 1_474_560 }] },
      ],
      'running',
    );
    await host.createDomain({ name: 'off' }, 'shutoff');
  });
  after(() => host?.stop());

  for (const nova of [false, true]) {
    it(`has the same series${nova ? " with Nova's labels" : ''}`, async () => {
      await using exporter = await startLibvirtExporter({ uri: host.uri(), exportNovaMetadata: nova });
      const flags = nova ? ['--libvirt.export-nova-metadata'] : [];
      await using agent = await Agent.start([`--libvirt.uri=${host.uri()}`, '--schema=kumina', ...flags]);
      await compare(exporter, agent);
    });
  }

  /** Theirs, ours, theirs again: a counter of ours lies between the two of theirs. */
  async function compare(exporter: LibvirtExporter, agent: Agent): Promise<void> {
    const earlier = parseExposition(await exporter.metrics());
    const ours = parseExposition(await agent.metrics());
    const later = parseExposition(await exporter.metrics());

    const theirNames = [...earlier.keys()].filter((name) => name.startsWith('libvirt_'));
    const ourNames = [...ours.keys()].filter((name) => name.startsWith('libvirt_'));
    assert.deepEqual(theirNames.sort(), [...ourNames, ...DEBIAN_ONLY].sort(), 'the same families');
    assert.equal(ourNames.length, 17);
    for (const name of ourNames) {
      assert.match(name, KUMINA);
      assert.equal(ours.get(name)!.type, earlier.get(name)!.type, `the type of ${name}`);
      const [before, after] = [withoutUuid(earlier.get(name)!), withoutUuid(later.get(name)!)];
      const mine = new Map([...ours.get(name)!.samples].filter(([series]) => labelsOf(series).domain !== 'off'));
      assert.deepEqual([...mine.keys()].sort(), [...before.keys()].sort(), `the series of ${name}`);
      for (const [series, text] of mine) {
        // Theirs are binary fractions: 0.1 + 0.2 of them.
        const [least, value, most] = [before.get(series)!, text, after.get(series)!].map(Number);
        assert.ok(least! <= value! + 1e-9 && value! <= most! + 1e-9, `${series}: ${least} ≤ ${value} ≤ ${most}`);
      }
    }
    assert.ok(
      [...ours.get('libvirt_domain_info_virtual_cpus')!.samples.keys()].some((s) => labelsOf(s).domain === 'off'),
    );
  }
});

/** Their samples without the label that the README does not have, and without floppy drives. */
function withoutUuid(family: ParsedFamily): Map<string, string> {
  return new Map(
    [...family.samples].flatMap(([series, value]) => {
      const { uuid, ...labels } = labelsOf(series);
      if (labels.target_device === 'fda') return [];
      assert.ok(uuid !== undefined || series === 'libvirt_up[]');
      return [[seriesOf(series.slice(0, series.indexOf('[')), labels), value] as const];
    }),
  );
}
