// Writes docs/metrics.md from the tables of the naming schemes. Run it after a change to a table:
//
//   node scripts/with-runtime.mjs scripts/generate-metrics-doc.ts
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GROUP_VALUES } from '../src/model/collected.ts';
import { HA_FAMILIES } from '../src/schemas/ha.ts';
import { pveSchema } from '../src/schemas/pve/pve.ts';
import { describeSchemas } from '../src/schemas/schema-set.ts';
import { SELF_FAMILIES } from '../src/schemas/self.ts';
import type { FamilyInfo } from '../src/schemas/table/table.ts';

/** Where the reference page is. */
export const METRICS_DOC = fileURLToPath(new URL('../docs/metrics.md', import.meta.url));

const INTRODUCTION = `# The metrics of virtlens

Generated from the tables in \`src/schemas/\` by \`scripts/generate-metrics-doc.ts\`; a test fails when it is stale. Change the tables.

Metrics come in naming schemes, chosen with \`--schema\`; several can be on at once. A family that several of them have is there once, from
the first that is named. [serve.md](serve.md#naming-schemes) says which scheme is for whom.

For all of them, unless their chapter says otherwise:

- VMs in every state are there. A value that libvirt does not know is absent, never 0: a VM that is shut off has no CPU time, a guest
  without a balloon driver no memory usage.
- A family without any sample is left out, \`HELP\` and \`TYPE\` included.
- \`domain\` is the VM's name, which is unique on its host; \`libvirt_domain_info\` joins the UUID to it.
- A disk is named by its target (\`vda\`). Its source is the file, the device, \`pool/image\` of a network disk such as rbd, or \`pool/volume\`,
  as the XML has it; while the XML has not been read, the path that the statistics give. CD-ROM and floppy drives are not listed.
- An interface is named by its target (\`vnet0\`), else its alias (\`net0\`), else its MAC address.
- No series is there twice: of two things with the same labels the first is used.
- Counters of a VM begin at 0 again when it is started again, as libvirt's do.
- *Needs* is what has to be collected for the family, by the names of the flags \`--collector.NAME\`. What is switched off is not asked for,
  and its families are not there. A name in parentheses gives a better value only: without it the value is the XML's.
- Numbers are exact: nanoseconds and KiB become seconds and bytes without rounding.
`;

/** A summary of each scheme, by its name. */
const SUMMARIES: Readonly<Record<string, string>> = {
  kumina: `The families of Kumina's [libvirt_exporter](https://github.com/kumina/libvirt_exporter). With \`--libvirt.export-nova-metadata\` the
labels \`name\`, \`flavor\` and \`project_name\` follow \`domain\` in every family of a VM, empty for VMs that Nova did not create.`,
  debian: `The families of the package [prometheus-libvirt-exporter](https://packages.debian.org/prometheus-libvirt-exporter) of Debian and Ubuntu,
and of Kumina's exporter at its head. As there, only active VMs are listed; floppy drives are listed, interfaces without a target are not.
With \`--libvirt.export-nova-metadata\` the labels \`name\`, \`flavor\` and \`project_name\` follow \`uuid\` in every family of a VM.`,
  tinkoff: `The families of Tinkoff's [libvirt-exporter](https://github.com/Tinkoff/libvirt-exporter) at its head. As there, a VM that is shut off has
a CPU time and memory statistics of 0, and CD-ROM and floppy drives are listed. Unlike there, a paused VM is listed: the original asks libvirt
for VMs that are running or shut off only. Choosing the scheme switches \`--collector.vcpu_mapping\` on.`,
  inovex: `The families of inovex's [prometheus-libvirt-exporter](https://github.com/inovex/prometheus-libvirt-exporter) at its head. As there, a VM
that is not active has its state, its memory, vCPUs and a CPU time of 0, and what its XML says of it; the rest is of active VMs.`,
  c5c3: `The families of c5c3's libvirt telemetry document. *Assigned memory* is the size of the balloon, what \`virsh dominfo\` calls used
memory; *actual memory usage* is what the guest reports.`,
  extended: `Every statistic of libvirt. Some are there only where no other chosen scheme has them; the last column says which. Where one of the
exporters of [Tinkoff](https://github.com/Tinkoff/libvirt-exporter) and [inovex](https://github.com/inovex/prometheus-libvirt-exporter) has
the statistic, the name is theirs, and so are the labels unless the last column says otherwise.`,
  nova: `The families of the [Libvirt Nova Exporter](https://github.com/compendius/libvirt_nova_exporter_py), of running VMs that carry OpenStack
Nova's metadata.`,
};

const PVE_SUMMARY = `The families of a Proxmox VE node, which [\`virtlens pve\`](pve.md) serves. Those that need \`running-vms\` or \`storage\`, and the last two, are
pve_local_exporter's with its labels; it has no others. \`pve\` stands for what \`--metrics-prefix\` says. *Needs* names the flags
\`--collect-NAME\`. Stopped VMs and containers are not there.`;

/** A name of libvirt's bulk statistics, or of Telegraf's one that is not of those. */
const STATISTIC = /\b(?:(?:state|cpu|balloon|vcpu|net|block|perf|iothread|memory|dirtyrate)\.[\w.<>-]*[\w>]|cpu_id)/g;

/** The whole reference page. */
export function metricsReference(): string {
  const schemas = describeSchemas();
  const chapters = schemas.map(({ name, tables }) => {
    const families = tables.flatMap((table) => table.families);
    return `## Scheme \`${name}\`\n\n${SUMMARIES[name] ?? ''}\n\n${familyTable(families)}`;
  });
  const statistics = indexOfStatistics(
    schemas.map(({ name, tables }) => ({ name, families: tables.flatMap((table) => table.families) })),
  );
  return [
    INTRODUCTION,
    ...chapters,
    `## Proxmox VE\n\n${PVE_SUMMARY}\n\n${familyTable(pveSchema('pve').tables.flatMap(({ families }) => families))}`,
    `## The HA agent\n\nThese are what [\`virtlens ha\`](ha.md) says of itself.\n\n${selfTable(HA_FAMILIES)}`,
    `## virtlens itself\n\nThese families do not depend on the schemes.\n\n${selfTable(SELF_FAMILIES)}`,
    `## From libvirt's statistics\n\nThe names that \`virsh domstats\` prints, and the families that carry them.\n\n${statistics}`,
  ].join('\n');
}

function familyTable(families: readonly FamilyInfo[]): string {
  return markdownTable(
    ['Metric', 'Type', 'Unit', 'Labels', 'Description', 'From', 'Needs', 'Note'],
    families.map((family) => [
      `\`${family.name}\``,
      family.type,
      family.unit ?? '',
      family.labels.map((label) => `\`${label}\``).join(', '),
      family.help,
      family.source.replace(STATISTIC, '`$&`'),
      [...family.needs.map(flagOf), ...(family.prefers === undefined ? [] : [`(${flagOf(family.prefers)})`])].join(
        ', ',
      ),
      family.note ?? '',
    ]),
  );
}

/** The name of the flag for what a family needs. */
function flagOf(need: string): string {
  return (GROUP_VALUES as Readonly<Record<string, string>>)[need] ?? need;
}

function selfTable(families: readonly FamilyInfo[]): string {
  return markdownTable(
    ['Metric', 'Type', 'Unit', 'Labels', 'Description'],
    families.map(({ name, type, unit, labels, help }) => [
      `\`${name}\``,
      type,
      unit ?? '',
      labels.map((label) => `\`${label}\``).join(', '),
      help,
    ]),
  );
}

function indexOfStatistics(
  schemas: readonly { readonly name: string; readonly families: readonly FamilyInfo[] }[],
): string {
  const carriers = new Map<string, string[]>();
  for (const schema of schemas) {
    for (const { name, source } of schema.families) {
      for (const [statistic] of source.matchAll(STATISTIC)) {
        const own = carriers.get(statistic) ?? [];
        own.push(`\`${name}\` (${schema.name})`);
        carriers.set(statistic, own);
      }
    }
  }
  const rows = [...carriers].sort(([a], [b]) => (a < b ? -1 : 1));
  return markdownTable(
    ['Statistic', 'Families'],
    rows.map(([statistic, families]) => [`\`${statistic}\``, families.join(', ')]),
  );
}

function markdownTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return `${[line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}

if (import.meta.main) {
  mkdirSync(dirname(METRICS_DOC), { recursive: true });
  writeFileSync(METRICS_DOC, metricsReference());
}
