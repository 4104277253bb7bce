// virtlens(1), from what `--help` prints.
import { execFileSync } from 'node:child_process';
import { SERVICES, unitName } from './services.ts';

/** The manual page in the man macros. */
export function renderManPage(binary: string): string {
  const help = (...args: string[]) => execFileSync(binary, [...args, '--help'], { encoding: 'utf8' });
  const commands = help()
    .split('\ncommands (')[1]!
    .split('\n')
    .slice(1)
    .filter((line) => line !== '');
  const rows = commands.map((line) => /^ {2}(\S+) +(.*)$/.exec(line)!.slice(1) as [string, string]);
  return [
    '.TH VIRTLENS 1 "" "virtlens" "User Commands"',
    '.SH NAME',
    'virtlens \\- telemetry agent for virtualization hosts',
    '.SH SYNOPSIS',
    '.B virtlens',
    '[\\fICOMMAND\\fR] [\\fIFLAGS\\fR]',
    '.SH DESCRIPTION',
    'Reads the virtual machines of a libvirt host or a Proxmox VE node and serves them to Prometheus, or to Telegraf and InfluxDB.',
    'Without a command it is \\fBvirtlens serve\\fR.',
    '.SH COMMANDS',
    ...rows.flatMap(([name, summary]) => ['.TP', `.B ${name}`, roffOf(summary)]),
    ...rows.flatMap(([name]) => [
      `.SH OPTIONS OF ${name.toUpperCase()}`,
      '.nf',
      ...help(name).trimEnd().split('\n').map(roffOf),
      '.fi',
    ]),
    '.SH FILES',
    '.TP',
    '.I /etc/default/virtlens',
    `Arguments of the services ${SERVICES.map(unitName).join(', ')}.`,
    '',
  ].join('\n');
}

function roffOf(line: string): string {
  return line
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1');
}
