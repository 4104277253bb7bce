import { basename } from 'node:path';

/** What a program of another name stands for. */
interface Program {
  readonly command: string;
  /** Its naming scheme, when that is not the default of virtlens and the command line names none. */
  readonly schema?: string;
}

/**
 * The programs that virtlens replaces, by the names that their builds and packages give them. A link of such a name makes it that program:
 * its command, with the program's own flags, port and naming scheme.
 */
export const PROGRAMS: Readonly<Record<string, Program>> = {
  // Kumina's, and the image of c5c3's DaemonSet.
  libvirt_exporter: { command: 'serve' },
  'libvirt-exporter': { command: 'serve' },
  // Debian's and Ubuntu's.
  'prometheus-libvirt-exporter': { command: 'serve', schema: 'debian' },
  'libvirt-nova-exporter': { command: 'nova' },
  libvirt_nova_exporter: { command: 'nova' },
  pve_local_exporter: { command: 'pve' },
  'pve-local-exporter': { command: 'pve' },
};

/** The command line without the program, from `process.argv`; called as one of `PROGRAMS`, it begins with the command. */
export function readProgramArguments([, path = '', ...args]: readonly string[]): readonly string[] {
  const name = basename(path);
  if (!Object.hasOwn(PROGRAMS, name)) return args;
  const { command, schema } = PROGRAMS[name]!;
  const isSchemaGiven = args.some((arg) => /^--schema(?:=|$)/.test(arg));
  return [command, ...(schema === undefined || isSchemaGiven ? [] : [`--schema=${schema}`]), ...args];
}
