/**
 * A libvirt client in pure TypeScript: the RPC protocol over unix sockets, TCP, TLS and SSH, with typed calls and domain events.
 * It knows nothing of metrics.
 */
export type { Clock } from '../base/clock.ts';
export { canNeverWork } from './can-never-work.ts';
export { type ClientOptions, LibvirtClient, type Subscription } from './client.ts';
export { type ConnectOptions, connect } from './connect.ts';
export type { CallObserver, CallOptions, CallOutcome } from './rpc-connection.ts';
export { type Dialled, type DialOptions, dial } from './transports/dial.ts';
export { TransportError, type TransportErrorCode } from './transports/transport-error.ts';
export { type LibvirtTransport, type LibvirtUri, LibvirtUriError, parseLibvirtUri } from './uri.ts';
export { EVENT_KINDS, type EventName, type EventPayload, LIFECYCLE } from './wire/event-kinds.ts';
export {
  isRemoteError,
  isUnsupported,
  LibvirtError,
  type LibvirtErrorCode,
  REMOTE_ERROR,
  type RemoteErrorDetail,
} from './wire/libvirt-error.ts';
export {
  type ArgsOf,
  LIST_DOMAINS,
  PROCEDURES,
  type ProcedureName,
  type ResultOf,
  STATS_BIT,
  STATS_FLAG,
  XML_FLAG,
} from './wire/procedures.ts';
export {
  PARAM_TYPE,
  type ParamLayout,
  type ParamType,
  type ParamValue,
  paramsToMap,
  type TypedParams,
} from './wire/typed-params.ts';
export type { DomainRef, StoragePoolRef } from './wire/types.ts';
export type { Int64 } from './wire/xdr.ts';
