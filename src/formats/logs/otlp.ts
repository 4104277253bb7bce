import { SeverityNumber } from '@opentelemetry/api';
import { JsonLogsSerializer, ProtobufLogsSerializer } from '@opentelemetry/otlp-transformer';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { LogRecord, LogSeverity } from '../../model/log-record.ts';
import { type LogOrigin, logAttributes } from './log-fields.ts';
import { splitLogTime } from './log-time.ts';

/** The encodings of OTLP over HTTP, as OTEL_EXPORTER_OTLP_PROTOCOL names them. */
export type OtlpProtocol = 'http/protobuf' | 'http/json';

/** What is said of virtlens itself. */
export interface OtlpScope {
  readonly name: string;
  readonly version: string;
}

const SERIALIZERS = { 'http/protobuf': ProtobufLogsSerializer, 'http/json': JsonLogsSerializer } as const;

/** The Content-Type of a request, and of a reply to it. */
export const OTLP_CONTENT_TYPES = {
  'http/protobuf': 'application/x-protobuf',
  'http/json': 'application/json',
} as const satisfies Record<OtlpProtocol, string>;

/** The first number of each range (https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber). */
const SEVERITY_NUMBERS: Readonly<Record<LogSeverity, SeverityNumber>> = {
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
};

/** The last second whose nanoseconds since the epoch fit into 64 bits. */
const SECONDS_MAX = 18_446_744_072;

/** OpenTelemetry's way to say that there is no time. */
const NO_TIME: readonly [number, number] = [0, 0];

type Resource = ReadableLogRecord['resource'];

/**
 * The body of one request of OTLP (ExportLogsServiceRequest): records grouped by the program that wrote them, whose resource is the program
 * (`service.name`) on its host. Their order in a group is kept.
 */
export function encodeOtlpLogs(
  records: readonly LogRecord[],
  origin: LogOrigin,
  scope: OtlpScope,
  protocol: OtlpProtocol,
): Uint8Array {
  const resources = new Map<string, Resource>();
  const readable = records.map((record) => {
    let resource = resources.get(record.service);
    if (resource === undefined) {
      resource = resourceOf(record.service, origin);
      resources.set(record.service, resource);
    }
    return toReadable(record, resource, scope);
  });
  // Undefined only for metrics whose serialization failed.
  return SERIALIZERS[protocol].serializeRequest(readable)!;
}

function toReadable(record: LogRecord, resource: Resource, instrumentationScope: OtlpScope): ReadableLogRecord {
  const { timeNs, observedTimeNs, severity, severityText, body } = record;
  return {
    hrTime: [...(splitLogTime(timeNs, SECONDS_MAX) ?? NO_TIME)],
    hrTimeObserved: [...(splitLogTime(observedTimeNs, SECONDS_MAX) ?? NO_TIME)],
    ...(severity !== undefined && { severityNumber: SEVERITY_NUMBERS[severity] }),
    ...(severityText !== undefined && { severityText: severityText.toWellFormed() }),
    body: body.toWellFormed(),
    attributes: logAttributes(record),
    droppedAttributesCount: 0,
    resource,
    instrumentationScope,
  };
}

function resourceOf(service: string, { hostName, hostId }: LogOrigin): Resource {
  const attributes = {
    'service.name': service.toWellFormed(),
    'host.name': hostName,
    ...(hostId !== undefined && { 'host.id': hostId }),
  };
  // The serializers read the attributes; the methods are there for the type.
  const resource: Resource = { attributes, merge: () => resource, getRawAttributes: () => Object.entries(attributes) };
  return resource;
}
