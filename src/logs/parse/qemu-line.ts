import { parseLogTime } from './log-time.ts';

/** What a line of QEMU's log is, of the kinds that have a time. */
export type QemuLine =
  /** libvirt's first line of a run; the command follows, one argument a line. */
  | { readonly kind: 'start'; readonly timeNs: bigint | undefined; readonly message: string }
  | {
      readonly kind: 'end';
      readonly timeNs: bigint | undefined;
      readonly message: string;
      readonly reason: string | undefined;
    }
  /** Another line of libvirt: `Domain id=1 is tainted: high-privileges`. */
  | {
      readonly kind: 'libvirt';
      readonly timeNs: bigint | undefined;
      readonly message: string;
      readonly isTaint: boolean;
    }
  /** QEMU's own, with `-msg timestamp=on`. */
  | { readonly kind: 'qemu'; readonly timeNs: bigint | undefined; readonly message: string };

const LIBVIRT_TIME = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}): /;
const QEMU_TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z) /;

/** virDomainShutoffReason's words (src/conf/domain_conf.c) that QEMU's log may end with; one has a blank. */
const REASON = /^shutting down(?:, reason=(.+?))?\s*$/;

/** Reads a line of QEMU's log; undefined when it has no time. */
export function parseQemuLine(text: string): QemuLine | undefined {
  const byLibvirt = LIBVIRT_TIME.exec(text);
  if (byLibvirt !== null) {
    const timeNs = parseLogTime(byLibvirt[1]!);
    const message = text.slice(byLibvirt[0].length);
    if (message.startsWith('starting up')) return { kind: 'start', timeNs, message };
    const end = REASON.exec(message);
    if (end !== null) return { kind: 'end', timeNs, message, reason: end[1] };
    return { kind: 'libvirt', timeNs, message, isTaint: / is tainted: /.test(message) };
  }
  const byQemu = QEMU_TIME.exec(text);
  if (byQemu === null) return undefined;
  return { kind: 'qemu', timeNs: parseLogTime(byQemu[1]!), message: text.slice(byQemu[0].length) };
}

const EMBEDDED = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}: (?:starting up libvirt version|shutting down)/g;

/**
 * Where in a line one of libvirt's begins that marks the start or the end of a run, behind what a QEMU that died left without a newline;
 * undefined when there is none but at the line's beginning. The text found is ASCII.
 */
export function findEmbeddedMark(text: string): string | undefined {
  if (!text.includes('0: s', 1)) return undefined;
  EMBEDDED.lastIndex = 1;
  return EMBEDDED.exec(text)?.[0];
}

// ---- the command of a run ----------------------------------------------------------------------------------------------------------

/** Whether the line after this one belongs to the command too. `isQuoted`: whether the line begins within single quotes. */
export function continuesCommand(
  line: string,
  isQuoted: boolean,
): { readonly isContinued: boolean; readonly isQuoted: boolean } {
  let open = isQuoted;
  for (let at = 0; at < line.length; at++) {
    const unit = line.charCodeAt(at);
    if (unit === 0x27 /* ' */) open = !open;
    else if (unit === 0x5c /* \ */ && !open) at++;
  }
  return { isContinued: open || line.endsWith(' \\'), isQuoted: open };
}

/** What a command says of its VM. */
export interface CommandFacts {
  readonly name: string | undefined;
  readonly uuid: string | undefined;
  /** The VM's memory comes from elsewhere: a migration, a saved state. */
  readonly isIncoming: boolean;
}

const NAME = /(?:^|\n)-name (?:'((?:[^']|'\\'')*)'|(\S+))/;
const UUID = /(?:^|\n)-uuid ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b/i;
const INCOMING = /(?:^|\n)-incoming(?: |$)/m;

/** Reads the lines of a command, one argument a line, quoted for the shell (virCommandToString). */
export function readCommand(text: string): CommandFacts {
  const match = NAME.exec(text);
  const argument = match?.[1]?.replaceAll("'\\''", "'") ?? match?.[2];
  return {
    name: argument === undefined ? undefined : readGuestName(argument),
    uuid: UUID.exec(text)?.[1]?.toLowerCase(),
    isIncoming: INCOMING.test(text),
  };
}

/** `guest=NAME,debug-threads=on`, where a comma of the name is doubled; QEMU takes a name without `guest=` too. */
function readGuestName(argument: string): string | undefined {
  const name = /^(?:guest=)?((?:[^,]|,,)+)/.exec(argument)?.[1]?.replaceAll(',,', ',');
  return name === undefined || /^(?:process|debug-threads)=/.test(name) ? undefined : name;
}

// ---- severity ----------------------------------------------------------------------------------------------------------------------

/** Why a VM's end was none that anybody asked for. */
export function isAbnormalReason(reason: string | undefined): boolean {
  return reason === 'crashed' || reason === 'failed';
}

const ERROR_WORDS =
  /\b(?:error|failed|failure|fatal|cannot|could not|unable|abort(?:ed)?|assertion|sanitizer|segfault|panic|corrupt(?:ed|ion)?)\b/i;
const WARNING_WORDS = /\bwarn(?:ing)?\b|\bdeprecated\b/i;

/** QEMU's log has no levels: what the words of a message say. */
export function severityByWords(message: string): 'warn' | 'error' | undefined {
  if (WARNING_WORDS.test(message)) return 'warn';
  return ERROR_WORDS.test(message) ? 'error' : undefined;
}
