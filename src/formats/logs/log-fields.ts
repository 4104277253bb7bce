import type { LogAttributes, LogRecord } from '../../model/log-record.ts';
import { formatLogTime } from './log-time.ts';

/** Where records come from. */
export interface LogOrigin {
  /** The name of the host (`host.name`). */
  readonly hostName: string;
  /** What /etc/machine-id says (`host.id`); absent when there is none. */
  readonly hostId: string | undefined;
}

/** Names and values as they leave virtlens. An object without a prototype, so that any name is good. */
export type LogFields = Record<string, string | number>;

/**
 * The names of what is known beside the message. OpenTelemetry's semantic conventions have names for the code, the thread, the process and
 * the file; they have none for a VM as its hypervisor sees it, so those are libvirt's.
 */
const ATTRIBUTE_NAMES = {
  domainName: 'libvirt.domain.name',
  domainUuid: 'libvirt.domain.uuid',
  shutdownReason: 'libvirt.shutdown.reason',
  errorDomain: 'libvirt.error.domain',
  errorCode: 'libvirt.error.code',
  category: 'libvirt.log.category',
  codeFunction: 'code.function.name',
  codeLine: 'code.line.number',
  codeFile: 'code.file.path',
  threadId: 'thread.id',
  processId: 'process.pid',
  filePath: 'log.file.path',
  iostream: 'log.iostream',
} as const satisfies Record<Exclude<keyof LogAttributes, 'others'>, string>;

/** What others may not be called: names that are not in every record. */
const RESERVED: ReadonlySet<string> = new Set([
  'time',
  'observed_time',
  'severity',
  'severity_text',
  ...Object.values(ATTRIBUTE_NAMES),
]);

const ATTRIBUTES = Object.entries(ATTRIBUTE_NAMES) as [keyof typeof ATTRIBUTE_NAMES, string][];

/** What every format says of a record beside its message, its time and its severity; what is not known is left out. */
export function logAttributes(record: LogRecord): LogFields {
  return addAttributes(emptyFields(), record);
}

/**
 * A record as one flat table, for formats that have nothing but that: its time, severity and message, its origin, its attributes. A time
 * that the format says elsewhere is no field.
 */
export function flatLogFields(
  record: LogRecord,
  { hostName }: LogOrigin,
  time: { readonly time: string } | ObservedTimeField,
): LogFields {
  const { severity, severityText, service, body } = record;
  const fields: LogFields = Object.assign(emptyFields(), time);
  if (severity !== undefined) fields.severity = severity;
  if (severityText !== undefined) fields.severity_text = severityText.toWellFormed();
  fields.message = body.toWellFormed();
  fields['service.name'] = service.toWellFormed();
  fields['host.name'] = hostName;
  return addAttributes(fields, record);
}

interface ObservedTimeField {
  readonly observed_time?: string;
}

/** What stands in the place of a time that a record does not have. */
export function observedTimeField({ observedTimeNs }: LogRecord): ObservedTimeField {
  const text = formatLogTime(observedTimeNs);
  return text === undefined ? {} : { observed_time: text };
}

function emptyFields(): LogFields {
  return Object.create(null);
}

function addAttributes(fields: LogFields, { uid, source, attributes }: LogRecord): LogFields {
  fields['libvirt.log.source'] = source;
  for (const [property, name] of ATTRIBUTES) {
    const value = attributes[property];
    if (value !== undefined) fields[name] = typeof value === 'string' ? value.toWellFormed() : value;
  }
  fields['log.record.uid'] = uid.toWellFormed();
  if (attributes.others !== undefined) {
    for (const [name, value] of Object.entries(attributes.others)) {
      const key = name.toWellFormed();
      // They replace nothing that virtlens itself says.
      if (!(key in fields) && !RESERVED.has(key)) fields[key] = value.toWellFormed();
    }
  }
  return fields;
}
