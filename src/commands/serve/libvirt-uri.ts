import { quote } from '../../base/text.ts';
import { readUriFlag, type UriFlag } from '../../cli/flags/uri-flag.ts';
import { FlagError } from '../../cli/flags.ts';
import type { Machine } from '../../cli/machine.ts';

/** inovex's default of --libvirt.driver. */
const SOCKET_DRIVER = 'qemu:///system';

/**
 * The daemon that `--libvirt.uri` and `--libvirt.driver` name. In inovex's exporter the first is the path of a socket and the second what
 * is opened there; everywhere else the first is a URI.
 * @throws FlagError
 */
export function readLibvirtUri(given: string | undefined, driver: string | undefined, env: Machine['env']): UriFlag {
  const isSocket = given?.startsWith('/') === true;
  if (driver === undefined) return isSocket ? atSocket(given, SOCKET_DRIVER, env) : readUriFlag(given, env);
  if (given === undefined || isSocket) return atSocket(given, driver, env);
  throw new FlagError(
    'ERR_FLAG_VALUE',
    `--libvirt.driver goes with the path of a socket in --libvirt.uri, and ${quote(given)} is none: leave out --libvirt.driver`,
  );
}

/** What a driver's URI opens at a unix socket: the one given, or the first that there is of the driver's own. */
function atSocket(socket: string | undefined, driver: string, env: Machine['env']): UriFlag {
  const { uri } = readUriFlag(driver, env);
  if (uri.hostname !== undefined || uri.transport !== 'unix' || uri.params.size > 0) {
    throw new FlagError(
      'ERR_FLAG_VALUE',
      `--libvirt.driver cannot be ${quote(driver)}: it must be a local URI such as qemu:///system; for other hosts give --libvirt.uri alone`,
    );
  }
  const query = socket === undefined ? '' : `?socket=${encodeURIComponent(socket).replaceAll('%2F', '/')}`;
  return readUriFlag(`${uri.driver}+unix://${uri.path}${query}`, env);
}
