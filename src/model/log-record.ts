/** One record of a log of libvirt's daemons or of QEMU. Plain immutable data. */
export interface LogRecord {
  /**
   * Unique and deterministic: the journal's cursor; else device, inode and offset of the file with a hash of its first bytes. Read again,
   * the record has it again (`log.record.uid`).
   */
  readonly uid: string;
  /** Nanoseconds since the epoch, of the line; absent when the line has no time. */
  readonly timeNs: bigint | undefined;
  /** Nanoseconds since the epoch at which it was read. */
  readonly observedTimeNs: bigint;
  readonly severity: LogSeverity | undefined;
  /** The original's word for it. */
  readonly severityText: string | undefined;
  readonly source: LogSource;
  /** The program that wrote it: `libvirtd`, `virtqemud`, …, `qemu`. */
  readonly service: string;
  /** The whole message; several lines are one record. */
  readonly body: string;
  readonly attributes: LogAttributes;
}

export type LogSource = 'daemon' | 'qemu';
export type LogSeverity = 'debug' | 'info' | 'warn' | 'error';

/** What is known beside the message; everything may be absent. Names in brackets are those that leave virtlens. */
export interface LogAttributes {
  /** The VM's name (`libvirt.domain.name`). */
  readonly domainName?: string;
  /** The VM's UUID (`libvirt.domain.uuid`). */
  readonly domainUuid?: string;
  /** virDomainShutoffReason's word in QEMU's log (`libvirt.shutdown.reason`). */
  readonly shutdownReason?: string;
  /** virErrorDomain and virErrorNumber of an error in the journal (`libvirt.error.domain`, `libvirt.error.code`). */
  readonly errorDomain?: number;
  readonly errorCode?: number;
  /** The category of libvirt's source, `qemu.qemu_process` (`libvirt.log.category`). */
  readonly category?: string;
  /** `code.function.name` */
  readonly codeFunction?: string;
  /** `code.line.number` */
  readonly codeLine?: number;
  /** `code.file.path` */
  readonly codeFile?: string;
  /** `thread.id` */
  readonly threadId?: number;
  /** `process.pid` */
  readonly processId?: number;
  /** The file that it was read from (`log.file.path`). */
  readonly filePath?: string;
  /** `stdout` or `stderr` of a container (`log.iostream`). */
  readonly iostream?: string;
  /** Other fields that a reader wants to hand on, by the name that leaves virtlens. */
  readonly others?: Readonly<Record<string, string>>;
}
