import type { VmEvent } from '../model/vm-event.ts';

/** etcd takes no object above 1.5 MiB, and a person reads no page: the limit of an Eviction's reason. */
export const REASON_BYTES_MAX = 4_096;
/** Of one line, log lines included. */
const LINE_BYTES_MAX = 1_000;

/** Control characters, unassigned code points, halves of surrogate pairs, and what breaks a line or reorders it on a terminal. */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** One line about an event: the VM's name and UUID as libvirt has them, what happened, when. */
export function summarize(event: VmEvent): string {
  const { name, uuid } = event.domain;
  const when = event.isRecovered
    ? `found at ${isoTime(event.timeMs)}, after a time without events`
    : `at ${isoTime(event.timeMs)}`;
  return cutBytes(`VM ${printable(name)} (${uuid}): ${printable(describeEvent(event))}, ${when}`, LINE_BYTES_MAX);
}

/** The reason of an Eviction: what happened, and as many of the last lines of QEMU's log as there is room for. */
export function composeReason(summary: string, logLines: readonly string[]): string {
  const head = `${summary}\n\nLast lines of QEMU's log:\n`;
  let room = REASON_BYTES_MAX - Buffer.byteLength(head);
  const kept: string[] = [];
  for (const line of logLines.toReversed()) {
    const text = `  ${cutBytes(printable(line).trimEnd(), LINE_BYTES_MAX)}`;
    room -= Buffer.byteLength(text) + 1;
    if (room < 0) break;
    kept.unshift(text);
  }
  return kept.length === 0 ? summary : head + kept.join('\n');
}

/** The same with what followed before the Eviction could be created. */
export function withOthers(reason: string, others: readonly string[]): string {
  if (others.length === 0) return reason;
  const [first = '', ...rest] = reason.split('\n');
  let text = `${first}\n\nAlso on this host (${others.length}):`;
  for (const [index, summary] of others.entries()) {
    const left = `\n  and ${others.length - index} more`;
    const next = `\n  ${summary}`;
    if (Buffer.byteLength(text + next + left) > OTHERS_BYTES_MAX) {
      text += left;
      break;
    }
    text += next;
  }
  return cutBytes([text, ...rest].join('\n'), REASON_BYTES_MAX);
}

/** The rest of the reason is for the log of the first VM. */
const OTHERS_BYTES_MAX = 3_000;

/** What happened, in libvirt's words. */
function describeEvent(event: VmEvent): string {
  switch (event.kind) {
    case 'lifecycle':
      return `${event.event} (${event.detail})`;
    case 'reboot':
      return 'rebooted';
    case 'watchdog':
      return `watchdog expired (action ${event.action})`;
    case 'io-error': {
      const path = event.path === '' ? '' : ` at ${event.path}`;
      const reason = event.reason === '' ? '' : `, reason ${event.reason}`;
      return `I/O error of ${event.device}${path}${reason} (action ${event.action})`;
    }
    case 'control-error':
      return 'libvirt lost the connection to its monitor';
    case 'agent':
      return `guest agent ${event.state} (${event.reason})`;
    case 'memory-failure':
      return `memory failure of ${event.recipient} (action ${event.action})`;
    case 'block-job':
      return `block job ${event.type} of ${event.disk}: ${event.status}`;
    case 'job-completed':
      return `job ${event.operation ?? 'of an unknown kind'} completed`;
  }
}

/** A text of at most so many bytes of UTF-8, with no character cut and a mark where something is left out. */
export function cutBytes(text: string, bytesMax: number): string {
  if (Buffer.byteLength(text) <= bytesMax) return text;
  const mark = '…';
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytesMax - Buffer.byteLength(mark)));
  return text.slice(0, read) + mark;
}

/** RFC 3339 in UTC, with milliseconds. A time that no calendar has becomes the epoch. */
export function isoTime(timeMs: number): string {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? new Date(0).toISOString() : date.toISOString();
}

function printable(text: string): string {
  return text.replace(UNSAFE, (found) => {
    const units = Array.from({ length: found.length }, (_, index) => found.charCodeAt(index));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
  });
}
