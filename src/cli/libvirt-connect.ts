import type { Connect } from '../connection/connect.ts';
import {
  type CallObserver,
  connect,
  LibvirtClient,
  LibvirtError,
  type LibvirtUri,
  TransportError,
} from '../libvirt/index.ts';
import type { Simulator } from '../sim/index.ts';

/** A connection attempt that takes longer is given up and made again. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Whether a URI means the simulated hypervisor inside the agent: libvirt's mock driver, and no daemon named that has it. */
export function isEmbedded(uri: LibvirtUri): boolean {
  return uri.text.startsWith('test:///') && !uri.params.has('socket');
}

/**
 * What opens connections to the daemon that a URI names, read-only; each attempt has its own time limit. `test:///default` is a
 * simulated host that lives as long as the function.
 */
export function connectTo(uri: LibvirtUri, onCall?: CallObserver): Connect {
  let simulator: Simulator | undefined;
  return async (signal) => {
    if (isEmbedded(uri)) {
      if (uri.path !== '/default') {
        const reason = `there is no simulated host '${uri.path}' inside virtlens, only test:///default; virtlens sim serves others`;
        throw new TransportError('ERR_TRANSPORT_CONFIG', reason);
      }
      const { createSimulator, DEMO_HOST } = await import('../sim/index.ts');
      simulator ??= createSimulator(DEMO_HOST);
      const stream = simulator.connect({ readOnly: true });
      return LibvirtClient.open(stream, {
        onCall,
        description: 'the simulated hypervisor',
        remoteName: uri.remoteName,
        signal,
      });
    }
    return connect(uri, { onCall, signal, timeoutMs: CONNECT_TIMEOUT_MS });
  };
}

/**
 * Whether an attempt to connect failed for a reason that only the user can mend: retrying would hide it. A daemon that is away, or
 * refuses for now, is not such a reason.
 */
export function canNeverWork(error: Error): boolean {
  if (error instanceof TransportError) return error.permanent || PERMANENT_CODES.has(error.code);
  return error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_AUTH';
}

/** Refusals that waiting does not mend: the certificate, the host key, the password. */
const PERMANENT_CODES: ReadonlySet<string> = new Set([
  'ERR_TRANSPORT_CERTIFICATE',
  'ERR_TRANSPORT_HOST_KEY',
  'ERR_TRANSPORT_AUTH',
]);
