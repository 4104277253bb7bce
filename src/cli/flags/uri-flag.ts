import { chooseUri, clientConfigPath } from '../../libvirt/client-config.ts';
import { currentUser } from '../../libvirt/transports/local-files.ts';
import { type LibvirtUri, LibvirtUriError, parseLibvirtUri } from '../../libvirt/uri.ts';
import { FlagError } from '../flags.ts';
import type { Machine } from '../machine.ts';

/** What is read when nothing says otherwise. */
const DEFAULT_URI = 'qemu:///system';

/** How the help of a flag that `readUriFlag` reads describes its default. */
export const URI_DEFAULT_HELP = `By default $LIBVIRT_DEFAULT_URI, else uri_default in libvirt.conf, else ${DEFAULT_URI}.`;

/** The daemon that a flag names. */
export interface UriFlag {
  readonly uri: LibvirtUri;
  /** Lines for the log: what is wrong with libvirt.conf. */
  readonly notices: readonly string[];
}

/**
 * The libvirt URI that a flag gives: a URI, or an alias of libvirt.conf. Without the flag it is libvirt's own default.
 * @throws FlagError with the parser's own words, which name the URI (without secrets) and the fix.
 */
export function readUriFlag(given: string | undefined, env: Machine['env']): UriFlag {
  const user = currentUser({ ...env });
  const { text, source, alias, problems } = chooseUri(given, DEFAULT_URI, user);
  try {
    return { uri: parseLibvirtUri(text), notices: problems };
  } catch (error) {
    if (!(error instanceof LibvirtUriError)) throw error;
    const isNoAlias = alias === undefined && /^[\w-]+$/.test(text);
    const parts = [
      source === undefined ? '' : `${source}: `,
      alias === undefined ? '' : `alias ${alias}: `,
      error.message,
      isNoAlias ? `; ${clientConfigPath(user)} has no alias of that name` : '',
      ...problems.map((problem) => `; ${problem}`),
    ];
    throw new FlagError('ERR_FLAG_VALUE', parts.join(''), { cause: error });
  }
}
