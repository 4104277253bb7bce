/**
 * A libvirt client in pure TypeScript: the RPC protocol over unix sockets, TCP, TLS and SSH, with typed calls and domain events.
 * It knows nothing of metrics.
 */
export { type ClientOptions, LibvirtClient, type Subscription } from './client.ts';
export { type ConnectOptions, connect } from './connect.ts';
export { EVENT_KINDS, type EventName, type EventPayload, LIFECYCLE } from './event-kinds.ts';
export {
  isRemoteError,
  isUnsupported,
  LibvirtError,
  type LibvirtErrorCode,
  REMOTE_ERROR,
  type RemoteErrorDetail,
} from './libvirt-error.ts';
export {
  type ArgsOf,
  LIST_DOMAINS,
  PROCEDURES,
  type ProcedureName,
  type ResultOf,
  STATS_BIT,
  STATS_FLAG,
  XML_FLAG,
} from './procedures.ts';
export type { CallObserver, CallOptions, CallOutcome } from './rpc-connection.ts';
export { type Dialled, type DialOptions, dial } from './transports/dial.ts';
export { TransportError, type TransportErrorCode } from './transports/transport-error.ts';
export {
  PARAM_TYPE,
  type ParamLayout,
  type ParamType,
  type ParamValue,
  paramsToMap,
  type TypedParams,
} from './typed-params.ts';
export type { DomainRef, StoragePoolRef } from './types.ts';
export { type LibvirtTransport, type LibvirtUri, LibvirtUriError, parseLibvirtUri } from './uri.ts';
export type { Int64 } from './xdr.ts';
