import { type Codec, int32, optional, string, struct, uint32, uint64, type ValueOf } from './codec.ts';
import { typedParamsCodec } from './typed-params.ts';
import { domainRef } from './types.ts';

const TUNABLE_PARAMS_MAX = 2048;
const JOB_STATS_MAX = 64;

/** One row of the event table. */
export interface EventKind<Payload> {
  /** virDomainEventID: what a subscription asks for. */
  readonly id: number;
  /** The `REMOTE_PROC_DOMAIN_EVENT_*` number of the message with a callback id. */
  readonly procedure: number;
  readonly payload: Codec<Payload>;
  /** The number of the message without a callback id that daemons before 1.2.1 send; kinds that came later have none. */
  readonly legacyProcedure?: number;
}

function kind<P>(id: number, procedure: number, payload: Codec<P>, legacyProcedure?: number): EventKind<P> {
  return legacyProcedure === undefined ? { id, procedure, payload } : { id, procedure, payload, legacyProcedure };
}

const domainOnly = struct({ domain: domainRef });
const deviceAlias = struct({ domain: domainRef, alias: string });

/**
 * The domain events that the client can subscribe to, with the payload that follows the callback id. Facts from
 * src/remote/remote_protocol.x and include/libvirt/libvirt-domain.h.
 */
export const EVENT_KINDS = {
  /** `event`: virDomainEventType; `detail`: the enum that belongs to it. */
  lifecycle: kind(0, 318, struct({ domain: domainRef, event: int32, detail: int32 }), 107),
  reboot: kind(1, 319, domainOnly, 169),
  /** `action`: virDomainEventWatchdogAction. */
  watchdog: kind(3, 321, struct({ domain: domainRef, action: int32 }), 171),
  /** `action`: virDomainEventIOErrorAction. */
  ioError: kind(4, 322, struct({ domain: domainRef, path: string, alias: string, action: int32 }), 172),
  ioErrorReason: kind(
    6,
    324,
    struct({ domain: domainRef, path: string, alias: string, action: int32, reason: string }),
    195,
  ),
  controlError: kind(7, 325, domainOnly, 224),
  /** By source path; `type` and `status`: virDomainBlockJobType, virConnectDomainEventBlockJobStatus. */
  blockJob: kind(8, 326, struct({ domain: domainRef, path: string, type: int32, status: int32 }), 241),
  diskChange: kind(
    9,
    327,
    struct({
      domain: domainRef,
      oldPath: optional(string),
      newPath: optional(string),
      alias: string,
      reason: int32,
    }),
    248,
  ),
  trayChange: kind(10, 328, struct({ domain: domainRef, alias: string, reason: int32 }), 268),
  balloonChange: kind(13, 331, struct({ domain: domainRef, actualKiB: uint64 }), 276),
  deviceRemoved: kind(15, 333, deviceAlias, 311),
  /** By disk target. */
  blockJobByTarget: kind(16, 339, struct({ domain: domainRef, target: string, type: int32, status: int32 })),
  tunable: kind(17, 346, struct({ domain: domainRef, params: typedParamsCodec(TUNABLE_PARAMS_MAX) })),
  /** `state`: 1 connected, 2 disconnected. */
  agentLifecycle: kind(18, 348, struct({ domain: domainRef, state: int32, reason: int32 })),
  deviceAdded: kind(19, 354, deviceAlias),
  migrationIteration: kind(20, 359, struct({ domain: domainRef, iteration: int32 })),
  jobCompleted: kind(21, 363, struct({ domain: domainRef, params: typedParamsCodec(JOB_STATS_MAX) })),
  deviceRemovalFailed: kind(22, 367, deviceAlias),
  /** `type`: virDomainMetadataType; `namespace` for custom elements. */
  metadataChange: kind(23, 379, struct({ domain: domainRef, type: int32, namespace: optional(string) })),
  blockThreshold: kind(
    24,
    385,
    struct({ domain: domainRef, device: string, path: optional(string), threshold: uint64, excess: uint64 }),
  ),
  memoryFailure: kind(25, 423, struct({ domain: domainRef, recipient: int32, action: int32, flags: uint32 })),
} as const;

export type EventName = keyof typeof EVENT_KINDS;
export type EventPayload<N extends EventName> = ValueOf<(typeof EVENT_KINDS)[N]['payload']>;

/** virDomainEventType: what a lifecycle event says. */
export const LIFECYCLE = {
  defined: 0,
  undefined: 1,
  started: 2,
  suspended: 3,
  resumed: 4,
  stopped: 5,
  shutdown: 6,
  pmSuspended: 7,
  crashed: 8,
} as const;
