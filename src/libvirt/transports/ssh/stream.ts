import { Duplex } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { oneLine } from '../../../base/text.ts';
import { TransportError } from '../transport-error.ts';

/** As much of the far side's complaints as is kept for a message. */
const STDERR_CHARS_MAX = 1000;

/**
 * An SSH channel as a well-behaved stream: the channel's own `destroy` takes no error, and its 'close' waits for a server
 * that may be gone. It owns the SSH connection: `closeSession` is called once, when the stream ends in any way.
 */
export class SshStream extends Duplex {
  readonly #channel: ClientChannel;
  readonly #closeSession: () => void;
  /** Present for a command: its end is judged by exit status and complaints. */
  readonly #commandLabel: string | undefined;
  #stderr = '';
  #hasReceived = false;

  /** `commandLabel` begins the message when the channel is a command that fails, `ssh root@host:22`. */
  constructor(channel: ClientChannel, commandLabel: string | undefined, closeSession: () => void) {
    super({ allowHalfOpen: false });
    this.#channel = channel;
    this.#commandLabel = commandLabel;
    this.#closeSession = closeSession;
    channel.on('data', (chunk: Buffer) => {
      this.#hasReceived = true;
      if (!this.push(chunk)) channel.pause();
    });
    channel.on('error', (error: Error) => this.destroy(error));
    if (commandLabel === undefined) channel.on('end', () => this.push(null));
    else this.#watchCommand();
  }

  override _read(): void {
    this.#channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#channel.write(chunk, callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#channel.end();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#closeSession();
    callback(error);
  }

  #watchCommand(): void {
    const { stderr } = this.#channel;
    stderr.on('data', (chunk: Buffer) => {
      if (this.#stderr.length < STDERR_CHARS_MAX) this.#stderr += chunk.toString('utf8');
    });
    this.#channel.on('close', (code: number | null, signal?: string) => {
      if (stderr.readableEnded) this.#endCommand(code, signal);
      else stderr.once('end', () => this.#endCommand(code, signal));
    });
  }

  #endCommand(code: number | null | undefined, signal: string | undefined): void {
    if (code === 0 && this.#hasReceived) {
      this.push(null);
      return;
    }
    const words = oneLine(this.#stderr.slice(0, STDERR_CHARS_MAX));
    const status = signal ? `signal ${signal}` : `exit status ${code ?? 'unknown'}`;
    const message = `${this.#commandLabel}: libvirt's socket was not reached there (${status}): ${words || 'no word from the far side'}; check libvirt there, or name its socket with socket=`;
    this.destroy(new TransportError('ERR_TRANSPORT_REMOTE', message));
  }
}
