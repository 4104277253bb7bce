import { asksFor, HELP_ARGUMENTS, VERSION_ARGUMENT } from '../cli/flags.ts';
import { VERSION } from '../cli/version.ts';
import { findCommand, isNamed } from './index.ts';

/** What the version's request asks for, without loading a command: the line with its end. Undefined when it is not asked for. */
export function readVersionLine(argv: readonly string[]): string | undefined {
  if (argv[0] === 'version') return `virtlens ${VERSION}\n`;
  const info = findCommand(argv);
  const ownArgs = isNamed(argv) ? argv.slice(1) : argv;
  if (info === undefined || asksFor(ownArgs, ...HELP_ARGUMENTS) || !asksFor(ownArgs, VERSION_ARGUMENT))
    return undefined;
  return info.isVersionBare === true ? `${VERSION}\n` : `virtlens ${VERSION}\n`;
}
