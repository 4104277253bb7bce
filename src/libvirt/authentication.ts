import { isRemoteError, LibvirtError, REMOTE_ERROR } from './wire/libvirt-error.ts';

/** remote_auth_type of libvirt's remote_protocol.x. */
const AUTH_TYPE = { none: 0, sasl: 1, polkit: 2 } as const;
const AUTH_NAMES: Readonly<Record<number, string>> = { [AUTH_TYPE.sasl]: 'SASL', [AUTH_TYPE.polkit]: 'polkit' };

/** A connection that is to be authenticated, before the hypervisor is opened on it. */
export interface AuthenticationOptions {
  /** What the daemon lists; root is let in by `none` whatever else is there. */
  readonly types: readonly number[];
  /** What the connection leads to, for messages. */
  readonly description: string;
  readonly readOnly: boolean;
  /** Makes the one call of polkit's authentication: the daemon asks polkit about this process. */
  readonly authPolkit: () => Promise<unknown>;
}

/**
 * Does what the daemon asks for before it lets anybody in. libvirt's policy for polkit allows read-only connections to everyone.
 * @throws LibvirtError `ERR_LIBVIRT_AUTH`, `ERR_LIBVIRT_AUTH_UNAVAILABLE`
 */
export async function authenticate({ types, description, readOnly, authPolkit }: AuthenticationOptions): Promise<void> {
  if (types.length === 0 || types.includes(AUTH_TYPE.none)) return;
  if (!types.includes(AUTH_TYPE.polkit)) throw unsupportedError(description, types);
  try {
    await authPolkit();
  } catch (error) {
    if (!(error instanceof LibvirtError) || error.remote === undefined) throw error;
    throw polkitError(error, description, readOnly);
  }
}

function unsupportedError(description: string, types: readonly number[]): LibvirtError {
  const wanted = types.map((type) => AUTH_NAMES[type] ?? `type ${type}`).join(' or ');
  return new LibvirtError(
    'ERR_LIBVIRT_AUTH',
    `${description} wants ${wanted} authentication, which virtlens does not do: use the local read-only socket, a TLS or SSH URI, ` +
      'or a daemon whose auth_tcp, auth_tls or auth_unix_ro is "none"',
  );
}

/**
 * polkit's refusal, or the reason why it could not be asked. libvirt's virPolkitCheckAuth says 'authentication failed' for a refusal,
 * 'unavailable' where an administrator would have to type a password, 'cancelled' where he did not; every other error is of D-Bus.
 */
function polkitError(cause: LibvirtError, description: string, readOnly: boolean): LibvirtError {
  const { authFailed, authUnavailable, authCancelled } = REMOTE_ERROR;
  if (!isRemoteError(cause, authFailed, authUnavailable, authCancelled)) {
    return new LibvirtError(
      'ERR_LIBVIRT_AUTH_UNAVAILABLE',
      `${description} wants polkit authentication, and cannot ask polkit: ${cause.message}; start polkit and D-Bus on the daemon's host` +
        ' (a libvirt daemon that was started before D-Bus must be restarted)',
      { cause },
    );
  }
  const action = refusedAction(cause.message, description, readOnly);
  const otherWay = action.endsWith('.manage') ? ', or use the read-only socket' : '';
  return new LibvirtError(
    'ERR_LIBVIRT_AUTH',
    `${description}: polkit does not allow this user the action ${action} (${cause.message}); ` +
      `allow it with a rule in /etc/polkit-1/rules.d/ on the daemon's host${otherWay}`,
    { cause },
  );
}

/** The action that the daemon asked polkit about: it goes by the socket, not by what the client means to do. */
function refusedAction(message: string, description: string, readOnly: boolean): string {
  const named = /org\.libvirt\.[\w.]*\w/.exec(message)?.[0];
  if (named !== undefined) return named;
  const socket = /-sock(-ro)?$/.exec(description);
  const isReadOnlySocket = socket === null ? readOnly : socket[1] !== undefined;
  return isReadOnlySocket ? 'org.libvirt.unix.monitor' : 'org.libvirt.unix.manage';
}
