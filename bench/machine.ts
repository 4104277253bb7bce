// What the figures were taken on.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { TOOL_PATH } from '../test/lab/tools.ts';

/** One line a fact, as Markdown list items. */
export function describeMachine(): string[] {
  const cores = cpus();
  return [
    `${cores[0]?.model ?? 'unknown CPU'}, ${cores.length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${distribution()}, Linux ${firstLine('uname', ['-r'])}`,
    `Node.js ${process.versions.node}, ${version('libvirtd')}, ${version('qemu-system-x86_64')}`,
    `the peer: Debian's prometheus-libvirt-exporter ${packageVersion('prometheus-libvirt-exporter')}`,
  ];
}

function distribution(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  } catch {
    return 'Linux';
  }
}

/** `libvirtd (libvirt) 9.0.0` and `QEMU emulator version 7.2.x (…)`, as the programs say it. */
function version(program: string): string {
  return firstLine(program, ['--version']).replace(/ \(Debian.*\)/, '');
}

function packageVersion(name: string): string {
  const status = spawnSync('dpkg-query', ['--status', name], { encoding: 'utf8', env: { PATH: TOOL_PATH } });
  return /^Version: (.*)$/m.exec(status.stdout ?? '')?.[1] ?? 'of unknown version';
}

function firstLine(program: string, args: readonly string[]): string {
  const { stdout } = spawnSync(program, args, { encoding: 'utf8', env: { PATH: TOOL_PATH } });
  return stdout?.split('\n')[0]?.trim() || 'of unknown version';
}
