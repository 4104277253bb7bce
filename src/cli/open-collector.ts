import { readFileSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { type Collector, createCollector } from '../collect/collector.ts';
import type { ReadHostFile } from '../collect/nics/host-nics.ts';
import type { Connect } from '../connection/connect.ts';
import { Connector } from '../connection/connector.ts';
import type { EventHub } from '../connection/events.ts';
import { type CallObserver, connect, LibvirtClient, type LibvirtUri, TransportError } from '../libvirt/index.ts';
import type { Need } from '../model/collected.ts';
import type { Simulator } from '../sim/index.ts';
import { settleForHost } from './runtime.ts';

/** What is collected, and where. */
export interface CollectorRequest {
  readonly uri: LibvirtUri;
  readonly wanted: ReadonlySet<Need>;
  /** The VMs to look at, by name; all by default. */
  readonly filter?: (name: string) => boolean;
  /** Whether an error of the first connection is left to the caller of `connect()`, neither logged nor tried again for. */
  readonly isHopeless: (error: Error) => boolean;
  /** Given the daemon's events, for one more that listens to them. */
  readonly follow?: ((events: EventHub) => void) | undefined;
  /** Called at the end of every call to libvirt. */
  readonly onCall?: CallObserver;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Makes the collector of a host; it connects when it is first asked to, and again when the connection breaks. */
export type OpenCollector = (request: CollectorRequest) => Collector;

/** A connection attempt that takes longer is given up and made again. */
const CONNECT_TIMEOUT_MS = 10_000;

/** The collector of the daemon that the URI names, or of the simulated host inside virtlens that `test:///default` means. */
export const openCollector: OpenCollector = ({ uri, wanted, filter, isHopeless, follow, onCall, clock, logger }) => {
  const collector = createCollector({
    connect: connectTo(uri, onCall),
    target: uri.text,
    wanted,
    ...(filter && { filter }),
    isHopeless,
    follow,
    // Of a daemon on another machine, the files here say nothing.
    readHostFile: uri.transport === 'unix' ? readHostFile : undefined,
    clock,
    logger,
  });
  return {
    get isConnected() {
      return collector.isConnected;
    },
    connect: () => collector.connect(),
    close: () => collector.close(),
    async collect(request) {
      const snapshot = await collector.collect(request);
      settleForHost(snapshot.domains.length);
      return snapshot;
    },
  };
};

const readHostFile: ReadHostFile = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
};

/** What is followed, and where. */
export type ConnectorRequest = Pick<CollectorRequest, 'uri' | 'isHopeless' | 'onCall' | 'clock' | 'logger'>;

/** Makes the connection to a host, for what follows its events alone; it connects with its first `acquire`, and again when it breaks. */
export function openConnector({ uri, isHopeless, onCall, clock, logger }: ConnectorRequest): Connector {
  return new Connector({ connect: connectTo(uri, onCall), target: uri.text, isHopeless, clock, logger });
}

/** Whether a URI means the simulated hypervisor inside the agent: libvirt's mock driver, and no daemon named that has it. */
function isEmbedded(uri: LibvirtUri): boolean {
  return uri.text.startsWith('test:///') && !uri.params.has('socket');
}

/**
 * Opens connections to the daemon that a URI names, read-only; each attempt has its own time limit. `test:///default` is a simulated
 * host that lives as long as the function.
 */
function connectTo(uri: LibvirtUri, onCall: CallObserver | undefined): Connect {
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
