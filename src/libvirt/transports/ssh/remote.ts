// How libvirt's socket is reached on the far side of an SSH connection.
import type { LibvirtUri } from '../../uri.ts';
import { TransportError } from '../transport-error.ts';
import { systemSocketCandidates } from '../unix.ts';

export interface RemoteWays {
  /**
   * Sockets that sshd itself is asked to connect to (OpenSSH's direct-streamlocal channel), in this order. It needs no
   * program on the far side, and says at once whether it worked; but an administrator may have forbidden it.
   */
  readonly socketPaths: readonly string[];
  /** The command to run when that fails: libvirt's own way, so that it works wherever virsh does. */
  readonly command: string;
}

/**
 * The ways for a URI. `netcat=` and `proxy=` leave only the command; `proxy=native` only virt-ssh-helper, which is also the
 * only one that finds a session daemon's socket. Throws ERR_TRANSPORT_CONFIG when the parameters leave none.
 */
export function planRemoteWays(uri: LibvirtUri, readWrite: boolean): RemoteWays {
  const netcat = uri.params.get('netcat');
  const proxy = uri.params.get('proxy') ?? 'auto';
  const socket = uri.params.get('socket');
  const isSession = uri.path === '/session' && socket === undefined;
  const usesNetcatOnly = proxy === 'netcat' || netcat !== undefined || socket !== undefined;
  if (isSession && usesNetcatOnly) {
    const message = `${uri.text}: netcat cannot find a session daemon's socket; name it with socket=, or use proxy=native`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message);
  }
  const sockets = socket === undefined ? systemSocketCandidates(uri, readWrite) : [socket];
  const helper = helperCommand(uri.remoteName, readWrite);
  const relay = netcatCommand(netcat ?? 'nc', sockets);
  if (usesNetcatOnly) {
    const mayForward = proxy === 'auto' && netcat === undefined;
    return { socketPaths: mayForward ? sockets : [], command: shell(relay) };
  }
  if (proxy === 'native' || isSession) return { socketPaths: [], command: shell(helper) };
  return {
    socketPaths: sockets,
    command: shell(`if command -v virt-ssh-helper >/dev/null 2>&1; then ${helper}; else ${relay}; fi`),
  };
}

/** virt-ssh-helper picks the right daemon on its side, and starts a session's. */
function helperCommand(remoteName: string, readWrite: boolean): string {
  return `exec virt-ssh-helper ${readWrite ? '' : '-r '}${quote(remoteName)}`;
}

/** The first socket that exists, by netcat. `-q0`, where it is known, makes it end when our side does, as libvirt found out. */
function netcatCommand(netcat: string, sockets: readonly string[]): string {
  const nc = quote(netcat);
  const list = sockets.map(quote).join(' ');
  return (
    `if ! command -v ${nc} >/dev/null 2>&1; then echo neither virt-ssh-helper nor ${quote(netcat)} is there >&2; exit 127; fi; ` +
    `if ${nc} -q 2>&1 | grep "requires an argument" >/dev/null 2>&1; then q=-q0; else q=; fi; ` +
    `for s in ${list}; do if test -S "$s"; then exec ${nc} $q -U "$s"; fi; done; ` +
    `echo there is no socket ${list} >&2; exit 1`
  );
}

/** The login shell may be any (fish and csh, too), so that it is only asked to run sh with one quoted word. */
function shell(script: string): string {
  return `sh -c ${quote(script)}`;
}

/**
 * One word for any shell of the Bourne and C families and fish: quotes end for a backslash-quoted quote and begin again. A
 * backslash stands outside the quotes, too, because fish reads it inside them.
 */
export function quote(word: string): string {
  return `'${word.replace(/['\\]/g, "'\\$&'")}'`;
}
