// What virsh says of every VM of a host, put in the words of the schemes kumina and c5c3: their tables read as a person would, with
// none of our own code.
import { seriesOf } from './exposition.ts';
import type { LibvirtHost } from './libvirt.ts';

/** Series to its value, in billionths. */
export type VirshSeries = ReadonlyMap<string, bigint>;

const BILLION = 1_000_000_000n;
/** What the schemes list: `virsh domblklist --details` calls CD-ROM and floppy drives so. */
const UNLISTED = new Set(['cdrom', 'floppy']);

const BLOCK_NAMES = {
  rd_bytes: ['libvirt_domain_block_stats_read_bytes_total', 'libvirt_domain_block_read_bytes_total'],
  rd_req: ['libvirt_domain_block_stats_read_requests_total', 'libvirt_domain_block_read_requests_total'],
  wr_bytes: ['libvirt_domain_block_stats_write_bytes_total', 'libvirt_domain_block_write_bytes_total'],
  wr_req: ['libvirt_domain_block_stats_write_requests_total', 'libvirt_domain_block_write_requests_total'],
} as const;

const KUMINA_INTERFACE = 'libvirt_domain_interface_stats';
const C5C3_INTERFACE = 'libvirt_domain_net';
const INTERFACE_NAMES = {
  rx_bytes: [`${KUMINA_INTERFACE}_receive_bytes_total`, `${C5C3_INTERFACE}_receive_bytes_total`],
  rx_packets: [`${KUMINA_INTERFACE}_receive_packets_total`, `${C5C3_INTERFACE}_receive_packets_total`],
  rx_errs: [`${KUMINA_INTERFACE}_receive_errors_total`, `${C5C3_INTERFACE}_receive_errors_total`],
  rx_drop: [`${KUMINA_INTERFACE}_receive_drops_total`],
  tx_bytes: [`${KUMINA_INTERFACE}_transmit_bytes_total`, `${C5C3_INTERFACE}_transmit_bytes_total`],
  tx_packets: [`${KUMINA_INTERFACE}_transmit_packets_total`, `${C5C3_INTERFACE}_transmit_packets_total`],
  tx_errs: [`${KUMINA_INTERFACE}_transmit_errors_total`],
  tx_drop: [`${KUMINA_INTERFACE}_transmit_drops_total`, `${C5C3_INTERFACE}_transmit_drops_total`],
} as const;

/** The families of the two schemes beside those that are made of the names above. */
const OTHER_NAMES = [
  'libvirt_domain_info_cpu_time_seconds_total',
  'libvirt_domain_info_maximum_memory_bytes',
  'libvirt_domain_info_memory_usage_bytes',
  'libvirt_domain_info_virtual_cpus',
  'libvirt_domain_info_vcpus',
  'libvirt_domain_info_memory_bytes',
  'libvirt_domain_vcpu_time_seconds_total',
  'libvirt_domain_memory_usage_bytes',
  'libvirt_up',
];

/** Every family of the seeds' two tables. */
export const KUMINA_AND_C5C3: ReadonlySet<string> = new Set([
  ...Object.values(BLOCK_NAMES).flat(),
  ...Object.values(INTERFACE_NAMES).flat(),
  ...OTHER_NAMES,
]);

/** Asks virsh about every VM. `sourceOf` overrules the name of a disk's source that domblklist prints. */
export async function readVirshSeries(
  host: LibvirtHost,
  sourceOf: (uuid: string, target: string) => string | undefined = () => undefined,
): Promise<VirshSeries> {
  const series = new Map<string, bigint>([[seriesOf('libvirt_up', {}), BILLION]]);
  const add = (name: string, labels: Record<string, string>, value: bigint) =>
    series.set(seriesOf(name, labels), value);

  const uuids = (await host.virsh('list', '--all', '--uuid')).split('\n').filter((line) => line !== '');
  const devices = await askEach(host, uuids, ['domname', 'dominfo', 'domblklist --details', 'domiflist']);
  const active = uuids.filter((uuid) => !/^State:\s+shut off$/m.test(devices.get(uuid)![1]!));
  const running = await askEach(host, active, ['domstats --raw --cpu-total --vcpu', 'dommemstat']);

  const questions = new Map<string, string[]>();
  for (const uuid of active) {
    const [, , disks, interfaces] = devices.get(uuid)!;
    questions.set(uuid, [
      ...parseDisks(disks!).map(({ target }) => `domblkstat ${uuid} ${target}`),
      ...parseInterfaces(interfaces!).map(({ target }) => `domifstat ${uuid} ${target}`),
    ]);
  }
  const numbers = await ask(host, [...questions.values()].flat());

  for (const uuid of uuids) {
    const [name, info, diskList, interfaceList] = devices.get(uuid)!;
    // virsh ends the name with lines of its own; blanks at its end are the name's.
    const domain = name!.replace(/\n+$/, '');
    const both = { domain, uuid };
    const maximum = BigInt(/^Max memory:\s+(\d+) KiB$/m.exec(info!)![1]!) * 1024n * BILLION;
    const used = BigInt(/^Used memory:\s+(\d+) KiB$/m.exec(info!)![1]!) * 1024n * BILLION;
    const vcpus = BigInt(/^CPU\(s\):\s+(\d+)$/m.exec(info!)![1]!) * BILLION;
    add('libvirt_domain_info_maximum_memory_bytes', { domain }, maximum);
    add('libvirt_domain_info_memory_usage_bytes', { domain }, used);
    add('libvirt_domain_info_memory_bytes', both, used);
    add('libvirt_domain_info_virtual_cpus', { domain }, vcpus);
    add('libvirt_domain_info_vcpus', both, vcpus);
    if (!active.includes(uuid)) continue;

    const [stats, memory] = running.get(uuid)!;
    const field = (key: string) => new RegExp(`^\\s*${key.replaceAll('.', '\\.')}=(\\d+)$`, 'm').exec(stats!)?.[1];
    add('libvirt_domain_info_cpu_time_seconds_total', { domain }, BigInt(field('cpu.time')!));
    for (let vcpu = 0; field(`vcpu.${vcpu}.time`) !== undefined; vcpu++) {
      const labels = { ...both, vcpu: String(vcpu) };
      add('libvirt_domain_vcpu_time_seconds_total', labels, BigInt(field(`vcpu.${vcpu}.time`)!));
    }
    const kib = (tag: string) => new RegExp(`^${tag} (\\d+)$`, 'm').exec(memory!)?.[1];
    const [available, unused] = [kib('available'), kib('unused')];
    if (available !== undefined && unused !== undefined) {
      add('libvirt_domain_memory_usage_bytes', both, (BigInt(available) - BigInt(unused)) * 1024n * BILLION);
    }
    for (const { target, source } of parseDisks(diskList!)) {
      const lines = numbers.get(`domblkstat ${uuid} ${target}`)!;
      for (const [key, [kumina, c5c3]] of Object.entries(BLOCK_NAMES)) {
        const value = numberOf(lines, key);
        if (value === undefined) continue;
        const labels = { domain, source_file: sourceOf(uuid, target) ?? source, target_device: target };
        add(kumina, labels, value);
        add(c5c3, { ...both, device: target }, value);
      }
    }
    for (const { target, bridge } of parseInterfaces(interfaceList!)) {
      const lines = numbers.get(`domifstat ${uuid} ${target}`)!;
      for (const [key, [kumina, c5c3]] of Object.entries(INTERFACE_NAMES)) {
        const value = numberOf(lines, key);
        if (value === undefined) continue;
        add(kumina, { domain, source_bridge: bridge, target_device: target }, value);
        if (c5c3 !== undefined) add(c5c3, { ...both, interface: target }, value);
      }
    }
  }
  return series;
}

/** A decimal as a page prints it, in billionths. */
export function toBillionths(text: string): bigint {
  const match = /^(\d+)(?:\.(\d{1,9}))?$/.exec(text);
  if (match === null) throw new Error(`${text} is no plain decimal of at most nine places`);
  return BigInt(match[1]!) * BILLION + BigInt((match[2] ?? '').padEnd(9, '0'));
}

function numberOf(lines: string, key: string): bigint | undefined {
  const text = new RegExp(`^\\S+ ${key} +(\\d+)$`, 'm').exec(lines)?.[1];
  return text === undefined ? undefined : BigInt(text) * BILLION;
}

function parseDisks(text: string): { target: string; source: string }[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(\S+)\s+(\S+)\s+(\S+)\s+(.*?)\s*$/.exec(line);
    if (match === null || UNLISTED.has(match[2]!)) return [];
    return [{ target: match[3]!, source: match[4] === '-' ? '' : match[4]! }];
  });
}

function parseInterfaces(text: string): { target: string; bridge: string }[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(\S+)\s+(bridge|network|user)\s+(\S+)\s/.exec(line);
    if (match === null || match[1] === '-') return [];
    return [{ target: match[1]!, bridge: match[2] === 'bridge' ? match[3]! : '' }];
  });
}

/** The answers to questions about every VM, in the order of the questions. */
async function askEach(
  host: LibvirtHost,
  uuids: readonly string[],
  commands: readonly string[],
): Promise<Map<string, string[]>> {
  const questions = (uuid: string) => commands.map((command) => `${command} ${uuid}`);
  const answers = await ask(host, uuids.flatMap(questions));
  return new Map(uuids.map((uuid) => [uuid, questions(uuid).map((question) => answers.get(question)!)]));
}

/** The answers of one virsh to many questions: one process, since there are hundreds. */
async function ask(host: LibvirtHost, questions: readonly string[]): Promise<Map<string, string>> {
  if (questions.length === 0) return new Map();
  // Quiet virsh does not end `echo` with a new line.
  const mark = '=====#=====';
  const output = await host.virsh(questions.map((question) => `echo '${mark}'; ${question}`).join('; '));
  const answers = output.split(mark).slice(1);
  if (answers.length !== questions.length) throw new Error(`virsh answered ${answers.length} of ${questions.length}`);
  return new Map(questions.map((question, index) => [question, answers[index]!]));
}
