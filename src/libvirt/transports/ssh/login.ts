// The ways to log in to an SSH server, in the order in which they are tried.
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { AnyAuthMethod, AuthenticationType, ParsedKey } from 'ssh2';
import ssh2 from 'ssh2';
import { describeError, errorCode } from '../../../base/errno.ts';
import type { LibvirtUri } from '../../uri.ts';
import { expandHome, type LocalUser, readRequiredFile } from '../local-files.ts';
import type { TcpTarget } from '../tcp.ts';
import { TransportError } from '../transport-error.ts';
import { type Credentials, findCredentials } from './auth-file.ts';

export interface LoginStep {
  /** For messages: `agent`, `key /root/.ssh/id_ed25519`, `password of /etc/libvirt/auth.conf`. */
  readonly label: string;
  /** What the server calls it: RFC 4252's method name. */
  readonly serverMethod: AuthenticationType;
  readonly method: AnyAuthMethod;
}

export interface LoginPlan {
  readonly username: string;
  readonly steps: readonly LoginStep[];
  /** Ways that were looked for and cannot be used, in words: `no agent (SSH_AUTH_SOCK is not set)`. */
  readonly notes: readonly string[];
  /** Closes what the plan holds open: connections to the agent. */
  dispose(): void;
}

/** OpenSSH's own default keys, less those of types that no server takes any more. */
const DEFAULT_KEYS = ['id_ed25519', 'id_ecdsa', 'id_rsa'];

/** libvirt's default order. A key that the URI names goes before the agent's, of which a server may allow only a few. */
const DEFAULT_ORDER = ['agent', 'privkey', 'password', 'keyboard-interactive'];
const KEYFILE_ORDER = ['privkey', 'agent', 'password', 'keyboard-interactive'];

/**
 * Collects what there is to log in with: `keyfile=`, or the default keys; the agent of SSH_AUTH_SOCK; the password of
 * libvirt's auth.conf; all or those that `sshauth=` lists, in its order. Rejects with ERR_TRANSPORT_CONFIG when something that
 * the URI asks for cannot be used.
 */
export async function planLogin(uri: LibvirtUri, target: TcpTarget, user: LocalUser): Promise<LoginPlan> {
  const credentials = await findCredentials('ssh', target.host, uri.params.get('authfile'), user);
  const username = uri.username ?? credentials?.username ?? currentUsername(user);
  const keyFile = uri.params.get('keyfile');
  const asked = uri.params.get('sshauth')?.toLowerCase().split(',');
  const agent = user.env.SSH_AUTH_SOCK ? new ClosableAgent(user.env.SSH_AUTH_SOCK) : undefined;
  const canUseAgent = agent !== undefined && (asked?.includes('agent') ?? true);

  const steps: LoginStep[] = [];
  const notes: string[] = [];
  for (const way of new Set(asked ?? (keyFile === undefined ? DEFAULT_ORDER : KEYFILE_ORDER))) {
    if (way === 'agent') {
      if (agent) steps.push({ label: 'agent', serverMethod: 'publickey', method: { type: 'agent', username, agent } });
      else notes.push('no agent (SSH_AUTH_SOCK is not set)');
    } else if (way === 'privkey') {
      steps.push(...(await collectKeys(username, keyFile, user, canUseAgent, notes)));
    } else {
      const step = passwordStep(way as 'password' | 'keyboard-interactive', username, credentials);
      if (step) steps.push(step);
      else
        notes.push(`no ${way === 'password' ? 'password' : 'answer to keyboard-interactive'} in libvirt's auth.conf`);
    }
  }
  if (asked && steps.length === 0) {
    const message = `ssh ${target.text}: nothing to log in with by sshauth=${asked.join(',')}: ${notes.join(', ')}; provide it or change sshauth=`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message);
  }
  return { username, steps, notes, dispose: () => agent?.dispose() };
}

function currentUsername(user: LocalUser): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user may have no entry in the user database.
    const name = user.env.USER || user.env.LOGNAME;
    if (name) return name;
    throw new TransportError('ERR_TRANSPORT_CONFIG', 'ssh: this user has no name here; write user@host in the URI');
  }
}

async function collectKeys(
  username: string,
  keyFile: string | undefined,
  user: LocalUser,
  canUseAgent: boolean,
  notes: string[],
): Promise<LoginStep[]> {
  if (keyFile !== undefined) {
    const path = expandHome(keyFile, user);
    const key = parsePrivateKey(await readRequiredFile(path, 'the SSH key', 'check keyfile='));
    if (typeof key !== 'string') return [keyStep(path, key, username)];
    // The agent may hold the very key whose file nobody can unlock here.
    if (canUseAgent && key === PASSPHRASE) {
      notes.push(`key ${path} ${key}`);
      return [];
    }
    throw new TransportError('ERR_TRANSPORT_CONFIG', `the SSH key ${path} ${key}; ${fixOfKey(key, path)}`);
  }
  const steps: LoginStep[] = [];
  let found = false;
  for (const name of DEFAULT_KEYS) {
    const path = join(user.homeDirectory, '.ssh', name);
    let content: Buffer;
    try {
      content = await readFile(path);
    } catch (error) {
      // Nobody asked for this one: unless it is simply absent, it is only mentioned.
      if (errorCode(error) !== 'ENOENT') notes.push(`key ${path} cannot be read: ${describeError(error)}`);
      continue;
    }
    found = true;
    const key = parsePrivateKey(content);
    if (typeof key === 'string') notes.push(`key ${path} ${key}`);
    else steps.push(keyStep(path, key, username));
  }
  if (!found) notes.push(`no key in ${join(user.homeDirectory, '.ssh')}`);
  return steps;
}

function keyStep(path: string, key: ParsedKey, username: string): LoginStep {
  return { label: `key ${path}`, serverMethod: 'publickey', method: { type: 'publickey', username, key } };
}

const PASSPHRASE = 'is protected by a passphrase';
const PUBLIC_HALF = 'is the public half of a key';

/** The key, or what is wrong with it, in words that follow the file's name. */
function parsePrivateKey(content: Buffer): ParsedKey | string {
  const parsed: ParsedKey | ParsedKey[] | Error = ssh2.utils.parseKey(content);
  if (parsed instanceof Error) {
    return /encrypted/i.test(parsed.message) ? PASSPHRASE : `is not a usable private key (${parsed.message})`;
  }
  // OpenSSH's format has room for several keys in a file, of which ssh-keygen ever writes one.
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  if (!key) return 'is not a usable private key (empty)';
  return key.isPrivateKey() ? key : PUBLIC_HALF;
}

function fixOfKey(problem: string, path: string): string {
  if (problem === PASSPHRASE) return `load it into an ssh-agent (ssh-add ${path}) and set SSH_AUTH_SOCK`;
  if (problem === PUBLIC_HALF) return 'name the private one, usually without .pub';
  return 'make one with ssh-keygen -t ed25519';
}

function passwordStep(
  way: 'password' | 'keyboard-interactive',
  username: string,
  credentials: Credentials | undefined,
): LoginStep | undefined {
  const password = credentials?.password;
  if (!credentials || password === undefined) return undefined;
  if (way === 'password') {
    return {
      label: `password of ${credentials.file}`,
      serverMethod: 'password',
      method: { type: 'password', username, password },
    };
  }
  return {
    label: `keyboard-interactive with the password of ${credentials.file}`,
    serverMethod: 'keyboard-interactive',
    method: {
      type: 'keyboard-interactive',
      username,
      // A question whose answer may be shown is not the one for the password.
      prompt: (_name, _instructions, _language, prompts, finish) => {
        finish(prompts.map((prompt) => (prompt.echo ? '' : password)));
      },
    },
  };
}

/** The agent of SSH_AUTH_SOCK, whose connections can be closed at any time: an agent that hangs must not keep them open. */
class ClosableAgent extends ssh2.OpenSSHAgent {
  readonly #path: string;
  readonly #sockets = new Set<Socket>();
  #disposed = false;

  constructor(path: string) {
    super(path);
    this.#path = path;
  }

  override getStream(callback: Parameters<ssh2.OpenSSHAgent['getStream']>[0]): void {
    if (this.#disposed) {
      callback(new Error('the agent is no longer needed'));
      return;
    }
    const socket = connect({ path: this.#path });
    this.#sockets.add(socket);
    let called = false;
    const answer = (error?: Error): void => {
      if (called) return;
      called = true;
      if (error) callback(error);
      else callback(null, socket);
    };
    socket.on('connect', () => answer());
    socket.on('error', answer);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      answer(new Error(`the agent at ${this.#path} closed the connection`));
    });
  }

  dispose(): void {
    this.#disposed = true;
    for (const socket of this.#sockets) socket.destroy();
  }
}
