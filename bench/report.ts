// The figures as Markdown: targets beside results.
import type { LogDeliveryResult } from './log-delivery.ts';
import { VMS as PVE_VMS, type PveCost, type PveResult, TREE_VMS } from './pve-hosts.ts';
import type { Hang, RealResult } from './real-vms.ts';
import { PEER_PATIENCE_MS, SCRAPES_BEFORE_HUNG } from './real-vms.ts';
import { LARGE_VMS, type SimulatedResult, SMALL_VMS } from './simulated-vms.ts';
import { FEW_VMS, MEMORY_VMS, type SmallResult } from './small-hosts.ts';
import { START_VMS, type StartResult } from './start.ts';
import { median, quantile } from './statistics.ts';
import type { Cost } from './subject.ts';

/** The targets. Ratios are virtlens / peer on the same VMs with the same families. */
const TARGET = {
  wallRatio: 0.4,
  daemonCpuRatio: 0.55,
  /** With the default families, which are four times as many. */
  daemonCpuDefaultRatio: 0.7,
  ownCpuRatio: 0.15,
  hungFirstMs: 3_000,
  /** Of the same scrapes without a hung VM: of their median and of their 95th percentile. */
  hungNextRatio: 1.1,
  hungSlowestRatio: 1.25,
  growthRatio: 11,
  /** Own CPU a VM: 60 and 75 ms for 1,000 VMs on a machine on which the peer took 39 ms for 100. */
  ownCpuPerVmRatio: 60 / 1000 / (39 / 100),
  ownCpuPerVmGzipRatio: 75 / 1000 / (39 / 100),
  /** Of what the manifests start, in their limits: half of the 7 s that it took. */
  firstPageMs: 3_500,
  ownSeries: 40,
  residentBytes: 96 * 2 ** 20,
} as const;

export function reportRealVms({ peer, same, all, hangs }: RealResult, vms: number, scrapes: number): string {
  const rows: readonly (readonly [string, (cost: Cost) => number, (value: number) => string, number?, number?])[] = [
    ['wall time, median', (cost) => cost.wallMedianMs, milliseconds, TARGET.wallRatio],
    ['wall time, 95th percentile', (cost) => cost.wallP95Ms, milliseconds],
    [
      'CPU of libvirtd a scrape',
      (cost) => cost.daemonCpuMs,
      milliseconds,
      TARGET.daemonCpuRatio,
      TARGET.daemonCpuDefaultRatio,
    ],
    ['own CPU a scrape', (cost) => cost.ownCpuMs, milliseconds, TARGET.ownCpuRatio],
    ['resident set', (cost) => cost.residentBytes, mebibytes],
    ['samples', (cost) => cost.samples, String],
    ['bytes', (cost) => cost.bytes, kibibytes],
    ['bytes on the wire', (cost) => cost.wireBytes, kibibytes],
  ];
  const costs = table(
    ['', 'peer', 'virtlens, same families', '÷ peer', 'target', 'virtlens, default families', '÷ peer', 'target'],
    rows.map(([name, read, print, target, targetOfAll]) => [
      name,
      print(read(peer)),
      ...[
        { cost: same, most: target },
        { cost: all, most: targetOfAll },
      ].flatMap(({ cost, most }) => {
        const ratio = read(cost) / read(peer);
        return [
          print(read(cost)),
          ratio.toFixed(2),
          most === undefined ? '' : `≤ ${most.toFixed(2)}: ${verdict(ratio <= most)}`,
        ];
      }),
    ]),
  );
  return [
    `### ${vms} running VMs, two disks and a bridged NIC each`,
    '',
    `${scrapes} scrapes of each, in turn. CPU is a mean over all of them.`,
    '',
    costs,
    '',
    '### VMs that hang (SIGSTOP)',
    '',
    `virtlens with its default families: ${SCRAPES_BEFORE_HUNG} scrapes with none hung, one with the VMs hung and ten more, all back to back; then one of the peer.`,
    '',
    table(
      [
        'hung',
        'first scrape',
        'target',
        'next ten: median, ÷ none hung',
        'slowest, ÷ 95th percentile of none hung',
        'target',
        'others fresh in all of the ten',
        'marked',
        'libvirt_up',
        'scrapes to recover',
        'peer',
      ],
      hangs.map(hangRow),
    ),
  ].join('\n');
}

function hangRow({ hung, vms, healthy, first, next, peer, scrapesToRecover }: Hang): string[] {
  const times = next.map(({ wallMs }) => wallMs);
  const healthyTimes = healthy.map(({ wallMs }) => wallMs);
  const [middle, slowest] = [median(times), Math.max(...times)];
  const [ratio, slowestRatio] = [middle / median(healthyTimes), slowest / quantile(healthyTimes, 0.95)];
  const fewest = Math.min(...next.map(({ fresh }) => fresh));
  const marked = new Set(next.map((scrape) => scrape.marked));
  return [
    `${hung} of ${vms}`,
    milliseconds(first.wallMs),
    `≤ ${milliseconds(TARGET.hungFirstMs)}: ${verdict(first.wallMs <= TARGET.hungFirstMs)}`,
    `${milliseconds(middle)}, ${ratio.toFixed(2)}`,
    `${milliseconds(slowest)}, ${slowestRatio.toFixed(2)}`,
    `≤ ${TARGET.hungNextRatio} and ${TARGET.hungSlowestRatio}: ${verdict(ratio <= TARGET.hungNextRatio && slowestRatio <= TARGET.hungSlowestRatio)}`,
    `${fewest} of ${vms - hung}: ${verdict(fewest >= vms - hung)}`,
    [...marked].join(', '),
    [first, ...next].every(({ up }) => up) ? '1' : '0',
    scrapesToRecover === undefined ? 'did not' : String(scrapesToRecover),
    peer === undefined
      ? `no answer in ${PEER_PATIENCE_MS / 1000} s`
      : `${milliseconds(peer.wallMs)}, libvirt_up ${peer.up ? 1 : 0}`,
  ];
}

/** @param peerCpuPerVmMs the peer's own CPU for one VM in a scrape of real ones; undefined where it was not measured */
export function reportSimulatedVms(
  results: readonly SimulatedResult[],
  scrapes: number,
  peerCpuPerVmMs: number | undefined,
): string {
  const name = ({ families, gzip }: SimulatedResult) =>
    `${families === 'same' ? "the peer's" : 'default'}, ${gzip ? 'gzip' : 'no gzip'}`;
  return [
    `### ${group(SMALL_VMS)} and ${group(LARGE_VMS)} simulated VMs: the agent alone`,
    '',
    `\`virtlens sim\` in a process of its own; ${scrapes} scrapes of each size in turn, after a warm-up. The wall time is mostly the simulator's.`,
    '',
    table(
      [
        'families, encoding',
        'VMs',
        'samples',
        'own CPU a scrape',
        'a 1,000 VMs',
        "a VM, ÷ the peer's",
        'target',
        '÷ 1,000 VMs',
        'target',
        'wall time, median',
        'resident set',
      ],
      results.flatMap((result) =>
        (
          [
            [SMALL_VMS, result.small],
            [LARGE_VMS, result.large],
          ] as const
        ).map(([vms, cost]) => {
          const per1000 = (cost.ownCpuMs * 1000) / vms;
          const ratio = peerCpuPerVmMs && cost.ownCpuMs / vms / peerCpuPerVmMs;
          const target = result.gzip ? TARGET.ownCpuPerVmGzipRatio : TARGET.ownCpuPerVmRatio;
          const growth = result.large.ownCpuMs / result.small.ownCpuMs;
          const isLarge = vms === LARGE_VMS;
          return [
            name(result),
            group(vms),
            group(cost.samples),
            milliseconds(cost.ownCpuMs),
            milliseconds(per1000),
            ratio?.toFixed(3) ?? 'not measured',
            ratio === undefined ? '' : `≤ ${target.toFixed(3)}: ${verdict(ratio <= target)}`,
            isLarge ? growth.toFixed(1) : '',
            isLarge ? `≤ ${TARGET.growthRatio}: ${verdict(growth <= TARGET.growthRatio)}` : '',
            milliseconds(cost.wallMedianMs),
            mebibytes(cost.residentBytes),
          ];
        }),
      ),
    ),
  ].join('\n');
}

export function reportSmallHosts({ ownSeries, otherSeries, residentBytes, firstScrapeMs }: SmallResult): string {
  return [
    '### A small host',
    '',
    table(
      ['', '', 'target'],
      [
        [
          `series about itself with ${FEW_VMS} VMs (others: ${otherSeries})`,
          String(ownSeries),
          `≤ ${TARGET.ownSeries}: ${verdict(ownSeries <= TARGET.ownSeries)}`,
        ],
        [
          `resident set with ${MEMORY_VMS} VMs`,
          mebibytes(residentBytes),
          `≤ ${mebibytes(TARGET.residentBytes)}: ${verdict(residentBytes <= TARGET.residentBytes)}`,
        ],
        [
          'first scrape after the start, with a tenth of a core and 128 MiB',
          typeof firstScrapeMs === 'string' ? firstScrapeMs : milliseconds(firstScrapeMs),
          '',
        ],
      ],
    ),
  ].join('\n');
}

export function reportStarts(results: readonly StartResult[], binaryBytes: number): string {
  const node = results[0]!.cost;
  return [
    '### The start',
    '',
    `Medians. The first page is that of ${START_VMS} simulated VMs with the default families. The executable has ${mebibytes(binaryBytes)}.`,
    '',
    table(
      ['program', '', 'wall time', 'target', 'CPU', "÷ Node.js's CPU"],
      results.map(({ program, what, isAsDeployed, cost }) => [
        program,
        what,
        milliseconds(cost.wallMs),
        isAsDeployed ? `≤ ${milliseconds(TARGET.firstPageMs)}: ${verdict(cost.wallMs <= TARGET.firstPageMs)}` : '',
        milliseconds(cost.cpuMs),
        (cost.cpuMs / node.cpuMs).toFixed(1),
      ]),
    ),
  ].join('\n');
}

export function reportPveHosts({ real, tree }: PveResult, scrapes: number): string {
  const head = ['', 'wall time, median', '95th percentile', 'own CPU a scrape', "its programs' CPU", 'samples'];
  const row = ({ name, cost }: { readonly name: string; readonly cost: PveCost }) => [
    name,
    milliseconds(cost.wallMedianMs),
    milliseconds(cost.wallP95Ms),
    milliseconds(cost.ownCpuMs),
    milliseconds(cost.programsCpuMs),
    group(cost.samples),
  ];
  return [
    `### A Proxmox VE node with ${PVE_VMS} VMs`,
    '',
    `Real QEMU processes with a disk and a NIC each, which are paused; ${scrapes} scrapes of each in turn. Where devices are asked for by every scrape,`,
    '`--qm-max-ttl` and `--qm-rand` are 0; they are ten minutes and one by default. `qm monitor` is a stand-in, a small Node.js program that',
    "starts faster than Proxmox VE's own.",
    '',
    table(head, real.map(row)),
    '',
    `### A Proxmox VE node with ${TREE_VMS} VMs: files alone`,
    '',
    '/proc, /sys and /etc/pve as files below a directory, without monitors.',
    '',
    table(head, [row({ name: 'processes', cost: tree })]),
  ].join('\n');
}

export function reportLogDelivery({ fileBytes, costs }: LogDeliveryResult, lines: number): string {
  const megabytes = fileBytes / 1_000_000;
  return [
    "### QEMU's log",
    '',
    `A log of ${group(lines)} lines (${megabytes.toFixed(1)} MB) that is there already, to JSON lines in a file; with the start of the program.`,
    ...(costs.length > 1 ? ['rsyslog wraps lines as they are, and writes down where it is when it ends.'] : []),
    '',
    table(
      ['', 'wall time', 'lines a second', 'CPU a MB', 'resident set'],
      costs.map((cost) => [
        cost.name,
        milliseconds(cost.wallMs),
        group((lines * 1000) / cost.wallMs),
        milliseconds(cost.cpuMs / megabytes),
        mebibytes(cost.residentBytes),
      ]),
    ),
  ].join('\n');
}

function verdict(reached: boolean): string {
  return reached ? 'reached' : '**not reached**';
}

function milliseconds(value: number): string {
  return value < 10 ? `${value.toFixed(1)} ms` : `${group(value)} ms`;
}

function mebibytes(value: number): string {
  return `${Math.round(value / 2 ** 20)} MiB`;
}

function kibibytes(value: number): string {
  return `${group(value / 1024)} KiB`;
}

function group(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
