import type { Connect } from '../connection/connect.ts';
import { type CallObserver, connect, LibvirtClient, type LibvirtUri, TransportError } from '../libvirt/index.ts';
import type { Simulator } from '../sim/index.ts';

export { canNeverWork } from '../libvirt/index.ts';

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
