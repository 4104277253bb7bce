import type { LogSeverity } from '../../model/log-record.ts';
import { parseLogTime, parseSyslogTime } from './log-time.ts';
import { LIBVIRT_SEVERITIES } from './severity.ts';

/** The first line of a message of a libvirt daemon; its other lines follow as they are. */
export interface DaemonLine {
  readonly timeNs: bigint | undefined;
  readonly severity: LogSeverity | undefined;
  /** libvirt's word. */
  readonly severityText: string | undefined;
  readonly message: string;
  readonly threadId?: number;
  readonly codeFunction?: string;
  readonly codeLine?: number;
  /** From syslog: the program and its process. */
  readonly service?: string;
  readonly processId?: number;
}

const TIME = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}): (?=\d+: (?:debug|info|warning|error) : )/;
/** What follows the time, in files and in syslog (virLogFormatString). A function may be a C++ or test name; it has no blank. */
const REST = /^(\d+): (debug|info|warning|error) : (?:([^\s:]+):(\d+) : )?(.*)$/s;

/** Reads a line as libvirt's daemons write it to files and to standard error; undefined when it is no first line of a message. */
export function parseDaemonLine(text: string): DaemonLine | undefined {
  const time = TIME.exec(text);
  if (time === null) return undefined;
  return { ...parseRest(text.slice(time[0].length))!, timeNs: parseLogTime(time[1]!) };
}

/** What syslog's daemons put before a message: the BSD form (RFC 3164) or the one with a precise time; perhaps with its `<PRI>`. */
const SYSLOG =
  /^(?:<\d{1,3}>)?([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (?:\S+ )?([^\s:[\]]+)(?:\[(\d+)\])?: (.*)$/s;

/** Reads a line of syslog, of a libvirt daemon or of another program; undefined when it is none. */
export function parseSyslogLine(text: string, nowMs: number): DaemonLine | undefined {
  const match = SYSLOG.exec(text);
  if (match === null) return undefined;
  const [, time, service, processId, message] = match;
  const rest = parseRest(message!) ?? { severity: undefined, severityText: undefined, message: message! };
  return {
    ...rest,
    timeNs: parseLogTime(time!) ?? parseSyslogTime(time!, nowMs),
    service: service!,
    ...(processId !== undefined && { processId: Number(processId) }),
  };
}

function parseRest(text: string): Omit<DaemonLine, 'timeNs'> | undefined {
  const match = REST.exec(text);
  if (match === null) return undefined;
  const [, threadId, word, codeFunction, codeLine, message] = match;
  return {
    severity: LIBVIRT_SEVERITIES[word!],
    severityText: word,
    message: message!,
    threadId: Number(threadId),
    ...(codeFunction !== undefined && { codeFunction, codeLine: Number(codeLine) }),
  };
}
