import type { Clock } from '../../base/clock.ts';
import type { Dialect } from '../parse/assembler.ts';
import { readQemuLogEnd } from '../qemu-log-end.ts';
import { qemuLogOf } from './chain.ts';
import { FileStream } from './file-stream.ts';
import type { LogDirectory } from './log-directory.ts';
import type { Gap, LogSource, LogStream, Positions } from './stream.ts';

export interface FileSourceOptions {
  /** `qemu` or `daemon`: what the keys of its streams begin with. */
  readonly name: string;
  readonly directory: LogDirectory;
  readonly dialect: Dialect;
  readonly keepsSecrets: boolean;
  readonly positions: Positions;
  readonly onGap: (gap: Gap) => void;
  readonly onDenied: (path: string, error: unknown) => void;
  readonly clock: Clock;
}

/** So much is read of a file at once. */
const READ_BYTES = 64 * 1024;

/** The logs of a directory as one sink reads them. */
export class FileSource implements LogSource {
  readonly #options: FileSourceOptions;
  readonly #streams = new Map<string, FileStream>();
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES);

  constructor(options: FileSourceOptions) {
    this.#options = options;
  }

  *streams(): Iterable<LogStream> {
    const { directory, positions } = this.#options;
    for (const [liveName, { chain }] of directory.chains) {
      const stream = this.#streamOf(liveName);
      if (chain.files.length > 0) yield stream;
      else if (stream.noteGone()) positions.set(stream.key, undefined);
    }
    if (!directory.isReadable) return;
    for (const [liveName, stream] of this.#streams) {
      if (directory.chains.has(liveName)) continue;
      if (stream.noteGone()) positions.set(stream.key, undefined);
      this.#streams.delete(liveName);
    }
  }

  stream(key: string): LogStream | undefined {
    const prefix = `${this.#options.name}:`;
    return key.startsWith(prefix) ? this.#streamOf(key.slice(prefix.length)) : undefined;
  }

  async skipToEnd(): Promise<void> {
    const { directory, dialect, positions } = this.#options;
    for (const liveName of directory.chains.keys()) {
      const stream = this.#streamOf(liveName);
      const domainName = dialect === 'qemu' ? nameOf(liveName) : undefined;
      const run = domainName === undefined ? undefined : await readQemuLogEnd(directory.dir, domainName);
      const isRunOpen = run?.startedAtMs !== undefined && run.shutdownReason === undefined;
      const position = await stream
        .skipToEnd({ isRunOpen, ...(run?.uuid !== undefined && { domainUuid: run.uuid }) })
        .catch(() => undefined);
      if (position !== undefined) positions.set(stream.key, position);
    }
  }

  start(): void {}

  close(): void {}

  #streamOf(liveName: string): FileStream {
    const { name, directory, dialect, keepsSecrets, positions, onGap, onDenied, clock } = this.#options;
    let stream = this.#streams.get(liveName);
    if (stream === undefined) {
      const key = `${name}:${liveName}`;
      const domainName = dialect === 'qemu' ? nameOf(liveName) : undefined;
      stream = new FileStream({
        ...{ key, directory, liveName, dialect, keepsSecrets, onGap, onDenied, clock },
        ...(domainName !== undefined && { domainName }),
        position: positions.get(key),
        buffer: this.#buffer,
      });
      this.#streams.set(liveName, stream);
    }
    return stream;
  }
}

/** The VM of a log, as text. */
function nameOf(liveName: string): string | undefined {
  const name = qemuLogOf(liveName);
  return name === undefined ? undefined : Buffer.from(name, 'latin1').toString();
}
