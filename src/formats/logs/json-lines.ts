import type { LogRecord } from '../../model/log-record.ts';
import { flatLogFields, type LogOrigin, observedTimeField } from './log-fields.ts';
import { formatLogTime } from './log-time.ts';

/**
 * A record as one line of JSON, without its newline: one flat object. `time` is the record's own time; where it has none that RFC 3339 can
 * say, `observed_time` is the time of its reading. So a record with a time is the same line whenever it is read.
 */
export function formatJsonLine(record: LogRecord, origin: LogOrigin): string {
  const time = record.timeNs === undefined ? undefined : formatLogTime(record.timeNs);
  const fields = flatLogFields(record, origin, time === undefined ? observedTimeField(record) : { time });
  return escapeLineBreaks(JSON.stringify(fields));
}

/** What JSON may hold as it is and some readers take for the end of a line. */
const LINE_BREAKS = /[\u0085\u2028\u2029]/g;

function escapeLineBreaks(json: string): string {
  return json.replace(LINE_BREAKS, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
