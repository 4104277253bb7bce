import { type LibvirtUri, LibvirtUriError, parseLibvirtUri } from '../libvirt/uri.ts';
import { FlagError } from './flags.ts';

/**
 * The libvirt URI that a flag gives.
 * @throws FlagError with the parser's own words, which name the URI (without secrets) and the fix.
 */
export function readUriFlag(text: string): LibvirtUri {
  try {
    return parseLibvirtUri(text);
  } catch (error) {
    if (!(error instanceof LibvirtUriError)) throw error;
    throw new FlagError('ERR_FLAG_VALUE', error.message, { cause: error });
  }
}
