import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { AuthenticationType, Client, ClientChannel, NextAuthHandler } from 'ssh2';
import ssh2 from 'ssh2';
import { errorCode } from '../../../base/errno.ts';
import { oneLine } from '../../../base/text.ts';
import type { LibvirtUri } from '../../uri.ts';
import type { DialContext, Dialled } from '../dialled.ts';
import { connectTcp, describeLoss, type TcpTarget, tcpTarget } from '../tcp.ts';
import { abortedError, TransportError } from '../transport-error.ts';
import { type HostTrust, loadHostTrust } from './host-key.ts';
import { type LoginPlan, type LoginStep, planLogin } from './login.ts';
import { planRemoteWays, type RemoteWays } from './remote.ts';
import { SshStream } from './stream.ts';

const DEFAULT_PORT = 22;

/** Three unanswered keepalives, 45 s, and the connection is given up. */
const KEEPALIVE_INTERVAL_MS = 15_000;
const KEEPALIVE_UNANSWERED_MAX = 3;

/** Logs in to a host by SSH and connects to the libvirt socket there. ~/.ssh/config is not read: the URI says everything. */
export async function dialSsh(uri: LibvirtUri, context: DialContext): Promise<Dialled> {
  const target = tcpTarget(uri, DEFAULT_PORT);
  const ways = planRemoteWays(uri, context.readWrite);
  const trust = await loadHostTrust(uri, target, context);
  const plan = await planLogin(uri, target, context);
  const socket = await connectTcp(target, 'ssh', 'start sshd there, or give its port in the URI', context.signal);
  const session = new SshSession(socket, target, plan, context.signal);
  try {
    await session.logIn(trust);
    return await session.reachLibvirt(ways);
  } catch (error) {
    session.close();
    throw error;
  }
}

/** One SSH connection, from the greeting to the channel that libvirt's frames go through. */
class SshSession {
  readonly #client: Client = new ssh2.Client();
  readonly #socket: Socket;
  readonly #target: TcpTarget;
  readonly #plan: LoginPlan;
  readonly #signal: AbortSignal;
  readonly #label: string;
  readonly #onAbort: () => void;
  readonly #attempts: LoginAttempts;
  #stage = 'in the SSH handshake';
  #isLoggedIn = false;
  #failure: TransportError | undefined;
  #onFailure: ((error: TransportError) => void) | undefined;

  constructor(socket: Socket, target: TcpTarget, plan: LoginPlan, signal: AbortSignal) {
    this.#socket = socket;
    this.#target = target;
    this.#plan = plan;
    this.#signal = signal;
    this.#label = `ssh ${plan.username}@${target.text}`;
    this.#attempts = new LoginAttempts(plan.steps);
    this.#onAbort = () => this.#fail(abortedError(signal, `${this.#stage} of ${this.#label}`));
    signal.addEventListener('abort', this.#onAbort);
    // Both stay until the end: an error event that nobody hears would end the process.
    this.#client.on('error', (error) => this.#explain(error));
    this.#client.on('close', () => {
      this.#fail(this.#unreachable(`the connection was closed by the other side ${this.#stage}; see sshd's log there`));
    });
  }

  async logIn(trust: HostTrust): Promise<void> {
    await this.#run<void>((resolve) => {
      this.#client.on('handshake', () => {
        this.#stage = 'in the login';
      });
      this.#client.on('ready', () => {
        this.#isLoggedIn = true;
        resolve();
      });
      // Without an ear for it ssh2 would wait for an answer without end.
      this.#client.on('change password', () => {
        this.#fail(
          new TransportError('ERR_TRANSPORT_AUTH', `${this.#label}: the password has expired; change it there`),
        );
      });
      this.#client.connect({
        sock: this.#socket,
        username: this.#plan.username,
        algorithms: { serverHostKey: trust.algorithms },
        hostVerifier: (key: Buffer, answer: (isTrusted: boolean) => void) => {
          trust.judge(key).then((refusal) => {
            if (refusal) this.#fail(refusal);
            answer(!refusal);
          });
        },
        authHandler: (methodsLeft, _partialSuccess, next) => this.#tryNext(methodsLeft, next),
        keepaliveInterval: KEEPALIVE_INTERVAL_MS,
        keepaliveCountMax: KEEPALIVE_UNANSWERED_MAX,
        // The caller's signal is the only clock.
        readyTimeout: 0,
      });
    });
    this.#plan.dispose();
  }

  async reachLibvirt(ways: RemoteWays): Promise<Dialled> {
    for (const path of ways.socketPaths) {
      this.#stage = `opening socket ${path} there`;
      const channel = await this.#openSocket(path);
      if (channel) return this.#handOver(channel, `${this.#label}, unix socket ${path}`, false);
    }
    this.#stage = 'starting the command there';
    const channel = await this.#runCommand(ways.command);
    return this.#handOver(channel, `${this.#label}, by command`, true);
  }

  /** Ends everything; harmless when ended already. */
  close(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#plan.dispose();
    this.#onFailure = undefined;
    if (this.#failure) {
      this.#socket.destroy();
    } else {
      this.#client.end();
      this.#socket.destroySoon();
    }
  }

  #handOver(channel: ClientChannel, description: string, isCommand: boolean): Dialled {
    this.#signal.removeEventListener('abort', this.#onAbort);
    const stream: Duplex = new SshStream(channel, isCommand ? this.#label : undefined, () => this.close());
    this.#stage = 'while in use';
    this.#onFailure = (error) => stream.destroy(error);
    return { stream, description, secure: true };
  }

  /** Undefined when the server does not open it, for whatever reason: OpenSSH does not tell one from another. */
  #openSocket(path: string): Promise<ClientChannel | undefined> {
    return this.#run((resolve) => {
      this.#client.openssh_forwardOutStreamLocal(path, (error, channel) => resolve(error ? undefined : channel));
    });
  }

  #runCommand(command: string): Promise<ClientChannel> {
    return this.#run((resolve, reject) => {
      this.#client.exec(command, (error, channel) => {
        if (error) {
          const message = `${this.#label}: the server runs no command (${error.message}); allow it, or forwarding to libvirt's socket (AllowStreamLocalForwarding)`;
          reject(new TransportError('ERR_TRANSPORT_REMOTE', message, error));
        } else {
          resolve(channel);
        }
      });
    });
  }

  /** Runs one step, which also ends when the connection fails meanwhile. */
  #run<T>(start: (resolve: (value: T) => void, reject: (error: unknown) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#signal.aborted) this.#onAbort();
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      this.#onFailure = reject;
      try {
        start(resolve, reject);
      } catch (error) {
        // ssh2 throws when its connection is gone.
        reject(this.#failure ?? this.#unreachable(describeLoss(error), error));
      }
    });
  }

  /** The first failure counts; the others are its echo. */
  #fail(error: TransportError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#onFailure?.(error);
  }

  #tryNext(methodsLeft: AuthenticationType[] | null, next: NextAuthHandler): void {
    const { username } = this.#plan;
    if (methodsLeft === null) {
      // Asks which methods there are; and some servers, such as a VPN's, want nothing more.
      next({ type: 'none', username });
      return;
    }
    const step = this.#attempts.next(methodsLeft);
    if (step) {
      next(step.method);
      return;
    }
    // Nothing is handed to `next`: the failure closes the connection.
    this.#fail(this.#loginRefused(`the server takes ${methodsLeft.join(', ') || 'nothing more'}`));
  }

  #loginRefused(serverWords: string, cause?: Error): TransportError {
    const tried = this.#attempts.tried.map(({ label }) => label);
    const parts = [tried.length > 0 ? `tried ${tried.join(', ')}` : 'nothing to try', serverWords, ...this.#plan.notes];
    const fix =
      "authorize a key there (ssh-copy-id) and name it with keyfile=, or put the password into libvirt's auth.conf";
    const message = `${this.#label}: the login was refused (${parts.join('; ')}); ${fix}`;
    return new TransportError('ERR_TRANSPORT_AUTH', message, cause);
  }

  #unreachable(words: string, cause?: unknown): TransportError {
    return new TransportError('ERR_TRANSPORT_UNREACHABLE', `${this.#label}: ${words}`, cause);
  }

  /** What ssh2 reports, told apart by its `level`; a server's own disconnect message has a numeric `code` instead. */
  #explain(error: Error & { level?: string; code?: unknown }): void {
    switch (error.level) {
      case 'agent':
      case 'client-authentication':
        // One way to log in failed; the next is tried, and #tryNext speaks when there is none.
        return;
      case 'client-socket':
        this.#fail(this.#unreachable(`${describeLoss(error)} ${this.#stage}`, error));
        return;
      case 'client-timeout':
        this.#fail(this.#unreachable('the server no longer answers; check the host and the network', error));
        return;
    }
    const words = oneLine(error.message);
    const isDisconnect = typeof error.code === 'number';
    if (isDisconnect && !this.#isLoggedIn && this.#attempts.tried.length > 0) {
      this.#fail(this.#loginRefused(`the server says: ${words}`, error));
    } else if (isDisconnect || errorCode(error) !== undefined || this.#isLoggedIn) {
      this.#fail(this.#unreachable(`the connection was ended: ${words}`, error));
    } else if (words === 'Connection lost before handshake') {
      this.#fail(this.#unreachable('closed before the SSH greeting; check that sshd runs on this port', error));
    } else {
      const message = `ssh ${this.#target.text}: no SSH connection (${words}); check that sshd runs on this port, and its algorithms`;
      this.#fail(new TransportError('ERR_TRANSPORT_PROTOCOL', message, error));
    }
  }
}

/** Hands out each way to log in once, and only while the server takes its method: it may want several, in an order of its own. */
class LoginAttempts {
  readonly tried: LoginStep[] = [];
  readonly #left: LoginStep[];

  constructor(steps: readonly LoginStep[]) {
    this.#left = [...steps];
  }

  next(methodsLeft: readonly AuthenticationType[]): LoginStep | undefined {
    const index = this.#left.findIndex(({ serverMethod }) => methodsLeft.includes(serverMethod));
    if (index < 0) return undefined;
    const [step] = this.#left.splice(index, 1);
    this.tried.push(step!);
    return step;
  }
}
