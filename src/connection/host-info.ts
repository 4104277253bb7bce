import { isUnsupported, type LibvirtClient, LibvirtError } from '../libvirt/index.ts';
import type { HostInfo } from '../model/snapshot.ts';

/** One call's own limit while a connection is set up. */
const CALL_TIMEOUT_MS = 10_000;

/** Asks the daemon who it is. What it does not know is absent or empty; rejects when the connection is lost or a call takes too long. */
export async function readHostInfo(client: LibvirtClient, signal: AbortSignal): Promise<HostInfo> {
  const limits = { signal, timeoutMs: CALL_TIMEOUT_MS };
  const known = async <T>(answer: Promise<T>): Promise<T | undefined> => {
    try {
      return await answer;
    } catch (error) {
      // An old daemon, or a driver without a hypervisor's version: not known is not wrong.
      if (isUnsupported(error) || (error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_REMOTE'))
        return undefined;
      throw error;
    }
  };
  const type = await known(client.call('connectGetType', undefined, limits));
  const [hostname, uri, library, hypervisor] = await Promise.all([
    known(client.call('connectGetHostname', undefined, limits)),
    known(client.call('connectGetUri', undefined, limits)),
    known(client.call('connectGetLibVersion', undefined, limits)),
    known(client.call('connectGetVersion', undefined, limits)),
  ]);
  return {
    driver: type?.type ?? '',
    hostname: hostname?.hostname ?? '',
    uri: uri?.uri ?? '',
    libvirtVersion: library === undefined ? undefined : Number(library.version),
    hypervisorVersion: hypervisor === undefined ? undefined : Number(hypervisor.version),
  };
}
