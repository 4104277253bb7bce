// What a scrape costs, virtlens beside Debian's prometheus-libvirt-exporter: `npm run bench`. Prints Markdown on standard output and
// its progress on standard error.
//
//   npm run bench                    100 VMs, 60 scrapes of each exporter; about eight minutes
//   npm run bench -- --vms N --scrapes N
//   npm run bench -- --quick         20 VMs, 10 scrapes: whether it works, not what it costs
//   npm run bench -- --write-docs    also puts the figures into docs/performance.md
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildAgent } from '../scripts/build.ts';
import { buildBinary } from '../scripts/build-binary.ts';
import { BENCH_PACKAGES, installSystemPackages } from '../scripts/install-system-packages.ts';
import { unavailable } from '../test/lab/tools.ts';
import { measureLogDelivery } from './log-delivery.ts';
import { describeMachine } from './machine.ts';
import { measurePveHosts } from './pve-hosts.ts';
import { measureRealVms } from './real-vms.ts';
import {
  reportLogDelivery,
  reportPveHosts,
  reportRealVms,
  reportSimulatedVms,
  reportSmallHosts,
  reportStarts,
} from './report.ts';
import { measureSimulatedVms } from './simulated-vms.ts';
import { measureSmallHosts } from './small-hosts.ts';
import { measureStarts } from './start.ts';

const DOCUMENT = join(import.meta.dirname, '..', 'docs', 'performance.md');
/** Everything behind this line of the document is the last run's output. */
const MARK = '<!-- what follows is written by npm run bench -- --write-docs -->\n';

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  const options = readOptions(argv);
  if (typeof options === 'string') {
    process.stderr.write(`bench: ${options}\n`);
    return 1;
  }
  const { vms, scrapes, simulatedScrapes, pveScrapes, logLines, writeDocs } = options;
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-bench-'));
  try {
    // The bundle that is measured stays what it is while others build.
    const bundle = join(dir, 'virtlens.mjs');
    await buildAgent(bundle);
    await installSystemPackages(BENCH_PACKAGES);
    const sections: string[] = [];
    // What is measured is printed at once: a later part may fail.
    const add = (section: string) => {
      sections.push(section);
      process.stdout.write(`${section}\n\n`);
    };
    add(header(argv));
    const reason = unavailable('libvirt', 'exporter');
    let peerCpuPerVmMs: number | undefined;
    if (reason === false) {
      const real = await measureRealVms({ bundle, vms, scrapes, say });
      peerCpuPerVmMs = real.peer.ownCpuMs / vms;
      add(reportRealVms(real, vms, scrapes));
    } else {
      add(`### Running VMs\n\nNot measured: ${reason}.`);
    }
    const simulated = await measureSimulatedVms({ bundle, scrapes: simulatedScrapes, say });
    add(reportSimulatedVms(simulated, simulatedScrapes, peerCpuPerVmMs));
    add(reportSmallHosts(await measureSmallHosts({ bundle, say })));
    const binary = join(dir, 'virtlens');
    await buildBinary(binary);
    const programs = {
      'node virtlens.js': { program: [process.execPath, bundle], isInImage: false },
      'the executable': { program: [binary], isInImage: true },
    };
    const starts = await measureStarts({ programs, bundle, rounds: simulatedScrapes, say });
    add(reportStarts(starts, statSync(binary).size));
    const noPve = unavailable('pve');
    if (noPve === false) add(reportPveHosts(await measurePveHosts({ bundle, scrapes: pveScrapes, say }), pveScrapes));
    else add(`### A Proxmox VE node\n\nNot measured: ${noPve}.`);
    add(reportLogDelivery(await measureLogDelivery({ bundle, lines: logLines, say }), logLines));
    if (writeDocs) writeDocument(`${sections.join('\n\n')}\n`);
    return 0;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

interface Options {
  readonly vms: number;
  readonly scrapes: number;
  readonly simulatedScrapes: number;
  readonly pveScrapes: number;
  readonly logLines: number;
  readonly writeDocs: boolean;
}

/** The options, or in one line what is wrong with them. */
function readOptions(argv: readonly string[]): Options | string {
  let values: { vms?: string; scrapes?: string; quick?: boolean; 'write-docs'?: boolean };
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        vms: { type: 'string' },
        scrapes: { type: 'string' },
        quick: { type: 'boolean' },
        'write-docs': { type: 'boolean' },
      },
    }));
  } catch (error) {
    return `${(error as Error).message.split('\n')[0]}; the options are --vms N, --scrapes N, --quick and --write-docs`;
  }
  const quick = values.quick === true;
  const vms = Number(values.vms ?? (quick ? 20 : 100));
  const scrapes = Number(values.scrapes ?? (quick ? 10 : 60));
  if (!Number.isInteger(vms) || vms < 2) return `--vms cannot be '${values.vms}': give a whole number of 2 or more`;
  if (!Number.isInteger(scrapes) || scrapes < 1)
    return `--scrapes cannot be '${values.scrapes}': give a whole number of 1 or more`;
  return {
    vms,
    scrapes,
    simulatedScrapes: quick ? 3 : 10,
    pveScrapes: quick ? 3 : 20,
    logLines: quick ? 20_000 : 500_000,
    writeDocs: values['write-docs'] === true,
  };
}

function header(argv: readonly string[]): string {
  const options = argv.filter((arg) => arg !== '--write-docs');
  const command = ['npm run bench', ...(options.length > 0 ? ['--', ...options] : [])];
  return [
    `## The last run: ${new Date().toISOString().slice(0, 10)}`,
    '',
    `\`${command.join(' ')}\` on`,
    '',
    ...describeMachine().map((line) => `- ${line}`),
  ].join('\n');
}

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

function writeDocument(report: string): void {
  const text = readFileSync(DOCUMENT, 'utf8');
  const at = text.indexOf(MARK);
  if (at < 0) throw new Error(`${DOCUMENT} has lost the line ${MARK.trim()}`);
  writeFileSync(DOCUMENT, `${text.slice(0, at)}${MARK}\n${report}`);
}
