import type { LogAttributes, LogRecord, LogSeverity, LogSource } from '../../model/log-record.ts';
import { CriJoiner } from './cri-joiner.ts';
import { type DaemonLine, parseDaemonLine, parseSyslogLine } from './daemon-line.ts';
import { withoutAbsent } from './journal-entry.ts';
import { LINE_BYTES_MAX, type Line, LineReader, type Place } from './line-reader.ts';
import {
  continuesCommand,
  findEmbeddedMark,
  isAbnormalReason,
  parseQemuLine,
  readCommand,
  severityByWords,
} from './qemu-line.ts';
import { maskSecrets } from './secrets.ts';

/**
 * What a log is: QEMU's of one VM; of a daemon (a file, syslog, or the container runtime's file of it); what a container writes, where
 * daemon and QEMUs may share a stream.
 */
export type Dialect = 'qemu' | 'daemon' | 'container';

/** What has to be known of the bytes before to read those that follow. Plain data: it stands in the checkpoint. */
export interface AssemblyState {
  /** Of the last command in QEMU's log. */
  readonly domainName?: string;
  readonly domainUuid?: string;
  /** A run has begun and not ended. */
  readonly isRunOpen?: boolean;
  /** The record before was cut within a line. */
  readonly isContinued?: boolean;
}

export interface AssemblerOptions {
  readonly dialect: Dialect;
  /** The VM that the file's name says. */
  readonly domainName?: string;
  readonly filePath?: string;
  /** Secrets are masked unless this is true. */
  readonly keepsSecrets: boolean;
  readonly state: AssemblyState;
  /** The unique id of a record that begins at a place. */
  readonly uidOf: (start: Place) => string;
  readonly nowMs: () => number;
}

/** A record with what its reader needs to know. */
export interface Assembled {
  readonly record: LogRecord;
  /** Of the log. */
  readonly bytes: number;
  /** The place behind it; undefined when reading must not stop here. */
  readonly end: Place | undefined;
  /** The state behind it. */
  readonly state: AssemblyState;
  /** That a VM ended and nobody asked for it: libvirt's reason, or `unknown` when a run has no end. */
  readonly abnormalEnd?: string;
}

/** A message of more lines is cut before the next. A command of QEMU has about a hundred. */
export const RECORD_LINES_MAX = 2000;
/** A message of more bytes is cut before the next line. */
export const RECORD_BYTES_MAX = LINE_BYTES_MAX;

/** What the first line of a record says. */
interface Head {
  readonly timeNs: bigint | undefined;
  readonly severity: LogSeverity | undefined;
  readonly severityText?: string | undefined;
  readonly source: LogSource;
  readonly service: string;
  readonly message: string;
  readonly attributes?: LogAttributes;
  /** Which of the next lines belong to it: none, all that are no first line, those that are indented, or those of a command. */
  readonly takes: 'none' | 'all' | 'indented' | 'command';
  /** It begins or ends a run. */
  readonly run?: 'start' | 'end';
  readonly abnormalEnd?: string;
}

interface Draft {
  readonly head: Head;
  readonly first: Line;
  readonly lines: string[];
  bytes: number;
  end: Place | undefined;
  isCommandOpen: boolean;
  isQuoted: boolean;
}

/**
 * Makes records of the bytes of a log. What comes out is a function of the bytes and the state at their beginning, however they are
 * split, so that a stretch of a file gives the same records when it is read again.
 */
export class Assembler {
  readonly #options: AssemblerOptions;
  readonly #reader: LineReader;
  readonly #joiner: CriJoiner;
  #state: AssemblyState;
  #draft: Draft | undefined;
  #done: Assembled[] = [];
  #skippedTo: Place | undefined;
  /** The attributes of most records of a log, which are the same until its VM starts again. */
  #plain: { readonly state: AssemblyState; readonly attributes: LogAttributes } | undefined;

  constructor(options: AssemblerOptions) {
    this.#options = options;
    this.#state = options.state;
    this.#joiner = new CriJoiner((line) => this.#push(line));
    this.#reader = new LineReader((line, bytes) => {
      if (options.dialect !== 'qemu') this.#joiner.push(line);
      else this.#pushQemu(line, bytes);
    }, options.state.isContinued ?? false);
  }

  /** Whether a record is begun that more bytes may add to. */
  get isWithinRecord(): boolean {
    return this.#draft !== undefined || this.isWithinLine;
  }

  /** Whether the last line has no newline yet. */
  get isWithinLine(): boolean {
    return this.#reader.isWithinLine || this.#joiner.isWithinLine;
  }

  /** The place behind empty lines that follow the last record, when nothing is begun. */
  get skippedTo(): Place | undefined {
    return this.isWithinRecord ? undefined : this.#skippedTo;
  }

  /** Takes the next bytes, which stand at `place`; they may be used again when it returns. */
  push(bytes: Buffer, place: Place): void {
    this.#reader.push(bytes, place);
  }

  /** Ends what is begun: nothing that follows belongs to it. */
  flush(): void {
    this.#reader.flush();
    this.#joiner.flush();
    this.#finish();
  }

  /** The records that are complete, once. */
  take(): Assembled[] {
    const done = this.#done;
    this.#done = [];
    return done;
  }

  /** A QEMU that died may have left a line without its newline, behind which libvirt wrote its own. */
  #pushQemu(line: Line, bytes: Buffer): void {
    const mark = findEmbeddedMark(line.text);
    const at = mark === undefined ? -1 : bytes.indexOf(mark, 1, 'latin1');
    if (at < 0 || line.end === undefined || line.start.segment !== line.end.segment) return this.#push(line);
    const middle = { segment: line.start.segment, offset: line.start.offset + at };
    this.#push({ ...line, text: bytes.toString('utf8', 0, at), bytes: at, end: middle, isCut: false });
    const rest = { ...line, text: bytes.toString('utf8', at), bytes: line.bytes - at };
    this.#push({ ...rest, start: middle, isContinued: false });
  }

  #push(line: Line): void {
    const draft = this.#draft;
    const head = this.#readHead(line);
    if (line.isContinued) {
      this.#finish();
      this.#begin(line, { ...this.#unknownHead(line.text), takes: 'none' });
    } else if (draft !== undefined && this.#belongsTo(draft, line, head)) {
      const isFull = draft.lines.length >= RECORD_LINES_MAX || draft.bytes + line.bytes > RECORD_BYTES_MAX;
      if (!isFull) this.#append(draft, line);
      else {
        this.#finish();
        this.#begin(line, this.#unknownHead(line.text));
      }
    } else {
      this.#finish();
      if (line.text === '') {
        this.#skippedTo = line.end;
        return;
      }
      this.#begin(line, head ?? this.#unknownHead(line.text));
    }
    if (line.isCut) this.#finish(true);
    else if (this.#draft?.head.takes === 'none') this.#finish();
  }

  #belongsTo({ head, first, isCommandOpen, isQuoted }: Draft, line: Line, next: Head | undefined): boolean {
    if (line.iostream !== first.iostream) return false;
    if (head.takes === 'command') {
      if (!isCommandOpen) return false;
      return isQuoted || next === undefined;
    }
    if (line.text === '') return true;
    if (head.takes === 'indented') return /^[ \t]/.test(line.text);
    // libvirt's errors quote what QEMU said, several lines of it with their times.
    if (/Z qemu[\w-]*: /.test(head.message) && parseQemuLine(line.text)?.kind === 'qemu') return true;
    return next === undefined;
  }

  #begin(first: Line, head: Head): void {
    const isCommandOpen = head.takes === 'command';
    const { bytes, end } = first;
    this.#skippedTo = undefined;
    this.#draft = { head, first, lines: [head.message], bytes, end, isCommandOpen, isQuoted: false };
  }

  #append(draft: Draft, line: Line): void {
    draft.lines.push(line.text);
    draft.bytes += line.bytes;
    draft.end = line.end;
    if (draft.head.takes !== 'command') return;
    const { isContinued, isQuoted } = continuesCommand(line.text, draft.isQuoted);
    draft.isCommandOpen = isContinued;
    draft.isQuoted = isQuoted;
    if (!isContinued) this.#finish();
  }

  #finish(isCut = false): void {
    const draft = this.#draft;
    if (draft === undefined) return;
    this.#draft = undefined;
    const { head, first, lines, bytes, end } = draft;
    const text = lines.join('\n').replace(/\n+$/, '');
    const abnormalEnd = head.run === 'start' && this.#state.isRunOpen === true ? 'unknown' : head.abnormalEnd;
    this.#state = this.#stateAfter(head, text, isCut);
    const { uidOf, nowMs, keepsSecrets } = this.#options;
    const record: LogRecord = {
      uid: uidOf(first.start),
      timeNs: head.timeNs ?? first.timeNs,
      observedTimeNs: BigInt(Math.trunc(nowMs() * 1000)) * 1000n,
      severity: head.severity,
      severityText: head.severityText,
      source: head.source,
      service: head.service,
      body: keepsSecrets ? text : maskSecrets(text),
      attributes: this.#attributesOf(draft, isCut),
    };
    this.#done.push({ record, bytes, end, state: this.#state, ...(abnormalEnd !== undefined && { abnormalEnd }) });
  }

  #stateAfter(head: Head, text: string, isCut: boolean): AssemblyState {
    const { isContinued: _, ...state } = this.#state;
    const cut = isCut ? { isContinued: true } : {};
    if (head.run === 'end') return { ...state, isRunOpen: false, ...cut };
    if (head.run !== 'start') return isCut || this.#state.isContinued ? { ...state, ...cut } : this.#state;
    const { name, uuid } = readCommand(text);
    const { domainName: _name, domainUuid: _uuid, ...rest } = state;
    return { ...rest, ...withoutAbsent({ domainName: name, domainUuid: uuid }), isRunOpen: true, ...cut };
  }

  #attributesOf({ head, first }: Draft, isCut: boolean): LogAttributes {
    const { dialect, domainName, filePath } = this.#options;
    // Several VMs may share a container's stream: there a record names its VM only when it says so itself.
    const isKnown = dialect === 'qemu' || head.run === 'start';
    const isPlain = dialect === 'qemu' && head.attributes === undefined && !isCut && !first.isContinued;
    if (isPlain && this.#plain?.state === this.#state) return this.#plain.attributes;
    const others = {
      ...(isCut && { 'log.record.cut': 'true' }),
      ...(first.isContinued && { 'log.record.continued': 'true' }),
    };
    const attributes: LogAttributes = withoutAbsent({
      ...head.attributes,
      domainName: isKnown ? (this.#state.domainName ?? domainName) : undefined,
      domainUuid: isKnown ? this.#state.domainUuid : undefined,
      filePath,
      iostream: first.iostream,
      others: isCut || first.isContinued ? others : undefined,
    });
    if (isPlain) this.#plain = { state: this.#state, attributes };
    return attributes;
  }

  #readHead({ text, iostream }: Line): Head | undefined {
    const { dialect, nowMs } = this.#options;
    if (dialect !== 'qemu') {
      const daemon = parseDaemonLine(text);
      if (daemon !== undefined) return headOfDaemon(daemon, 'all');
    }
    // Of a container's output, as it is or in the container runtime's file, QEMU's lines may be a part.
    if (dialect !== 'daemon' || iostream !== undefined) return headOfQemu(text);
    const syslog = parseSyslogLine(text, nowMs());
    return syslog && headOfDaemon(syslog, 'none');
  }

  #unknownHead(text: string): Head {
    const isQemu = this.#options.dialect === 'qemu';
    return {
      timeNs: undefined,
      severity: isQemu ? severityByWords(text) : undefined,
      source: isQemu ? 'qemu' : 'daemon',
      service: isQemu ? 'qemu' : 'libvirtd',
      message: text,
      takes: 'indented',
    };
  }
}

function headOfDaemon(line: DaemonLine, takes: Head['takes']): Head {
  const {
    timeNs,
    severity,
    severityText,
    message,
    service = 'libvirtd',
    threadId,
    codeFunction,
    codeLine,
    processId,
  } = line;
  const attributes: LogAttributes = withoutAbsent({ codeFunction, codeLine, threadId, processId });
  return { timeNs, severity, severityText, source: 'daemon', service, message, attributes, takes };
}

function headOfQemu(text: string): Head | undefined {
  const line = parseQemuLine(text);
  if (line === undefined) return undefined;
  const { kind, timeNs, message } = line;
  const common = { timeNs, source: 'qemu', service: 'qemu', message } as const;
  switch (kind) {
    case 'start':
      return { ...common, severity: 'info', takes: 'command', run: 'start' };
    case 'end': {
      const isAbnormal = isAbnormalReason(line.reason);
      return {
        ...common,
        severity: isAbnormal ? 'error' : 'info',
        takes: 'none',
        run: 'end',
        ...(line.reason !== undefined && { attributes: { shutdownReason: line.reason } }),
        ...(isAbnormal && { abnormalEnd: line.reason! }),
      };
    }
    case 'libvirt':
      return { ...common, severity: line.isTaint ? 'warn' : severityByWords(message), takes: 'indented' };
    case 'qemu':
      return { ...common, severity: severityByWords(message), takes: 'indented' };
  }
}
