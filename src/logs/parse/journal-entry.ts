import type { LogAttributes, LogRecord } from '../../model/log-record.ts';
import { parseDaemonLine } from './daemon-line.ts';
import { maskSecrets } from './secrets.ts';
import { LIBVIRT_SEVERITIES, severityOfLevel } from './severity.ts';

/** An entry of the journal, as one line of `journalctl -o json`. */
export interface JournalEntry {
  readonly cursor: string;
  readonly record: LogRecord;
}

export interface JournalEntryOptions {
  readonly observedTimeNs: bigint;
  readonly keepsSecrets: boolean;
}

/** The fields that are read: virLogOutputToJournald's and those that journald adds (systemd.journal-fields(7)). */
export const JOURNAL_FIELDS = [
  'MESSAGE',
  'PRIORITY',
  'LIBVIRT_SOURCE',
  'LIBVIRT_DOMAIN',
  'LIBVIRT_CODE',
  'CODE_FILE',
  'CODE_LINE',
  'CODE_FUNC',
  'SYSLOG_IDENTIFIER',
  '_PID',
  '_COMM',
  '_SYSTEMD_UNIT',
  '_SOURCE_REALTIME_TIMESTAMP',
] as const;

/** A longer message is cut. The journal takes up to 768 MiB. */
export const MESSAGE_LENGTH_MAX = 256 * 1024;

/** Reads one line of journalctl's output; undefined when it is no entry. */
export function parseJournalEntry(
  line: string,
  { observedTimeNs, keepsSecrets }: JournalEntryOptions,
): JournalEntry | undefined {
  let fields: unknown;
  try {
    fields = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return undefined;
  const get = (name: string) => readField((fields as Record<string, unknown>)[name]);
  const cursor = get('__CURSOR');
  if (cursor === undefined) return undefined;
  const whole = get('MESSAGE') ?? '';
  // A daemon that writes to standard error under systemd brings its own form in the message.
  const own = parseDaemonLine(whole);
  const level = severityOfLevel(wholeNumber(get('PRIORITY')) ?? -1);
  const message = own?.message ?? whole;
  const unit = get('_SYSTEMD_UNIT');
  const attributes: LogAttributes = withoutAbsent({
    errorDomain: wholeNumber(get('LIBVIRT_DOMAIN')),
    errorCode: wholeNumber(get('LIBVIRT_CODE')),
    category: get('LIBVIRT_SOURCE'),
    codeFunction: get('CODE_FUNC') ?? own?.codeFunction,
    codeLine: wholeNumber(get('CODE_LINE')) ?? own?.codeLine,
    codeFile: get('CODE_FILE'),
    threadId: own?.threadId,
    processId: wholeNumber(get('_PID')),
    others: othersOf(unit, message),
  });
  return {
    cursor,
    record: {
      uid: cursor,
      timeNs: own?.timeNs ?? microseconds(get('_SOURCE_REALTIME_TIMESTAMP') ?? get('__REALTIME_TIMESTAMP')),
      observedTimeNs,
      severity: own?.severity ?? level?.severity,
      severityText: own?.severityText ?? libvirtWord(level?.severity, get('LIBVIRT_SOURCE')) ?? level?.text,
      source: 'daemon',
      service: get('SYSLOG_IDENTIFIER') ?? get('_COMM') ?? unit?.replace(/\.service$/, '') ?? 'libvirtd',
      body: bodyOf(message, keepsSecrets),
      attributes,
    },
  };
}

function bodyOf(message: string, keepsSecrets: boolean): string {
  // Masked before it is cut, so that no half of a secret is left without what shows that it is one.
  const body = keepsSecrets ? message : maskSecrets(message);
  return body.length > MESSAGE_LENGTH_MAX ? body.slice(0, MESSAGE_LENGTH_MAX) : body;
}

function othersOf(unit: string | undefined, message: string): Readonly<Record<string, string>> | undefined {
  const others = {
    ...(unit !== undefined && { 'systemd.unit': unit }),
    ...(message.length > MESSAGE_LENGTH_MAX && { 'log.record.cut': String(message.length - MESSAGE_LENGTH_MAX) }),
  };
  return Object.keys(others).length === 0 ? undefined : others;
}

/** libvirt's own word for a level, of an entry that libvirt wrote: `warning`, not syslog's `warning` by chance. */
function libvirtWord(severity: string | undefined, source: string | undefined): string | undefined {
  if (severity === undefined || source === undefined) return undefined;
  return Object.entries(LIBVIRT_SEVERITIES).find(([, each]) => each === severity)?.[0];
}

/**
 * A value of journalctl's JSON: a text; an array of bytes when it is no UTF-8; an array of these when the entry has the field several
 * times, of which the first counts; null when it is too long (not with --all).
 */
function readField(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value) || value.length === 0) return undefined;
  if (typeof value[0] === 'number') return Buffer.from(value as number[]).toString();
  return readField(value[0]);
}

function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}

/** Microseconds since the epoch, as nanoseconds. */
function microseconds(text: string | undefined): bigint | undefined {
  return text !== undefined && /^\d{1,18}$/.test(text) ? BigInt(text) * 1000n : undefined;
}

/** The same without the properties that are undefined. */
export function withoutAbsent<T extends object>(attributes: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined)) as T;
}
