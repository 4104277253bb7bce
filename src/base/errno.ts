/** The `code` of a Node.js system, TLS or OpenSSL error (`ENOENT`, `ECONNREFUSED`); undefined when it has none. */
export function errorCode(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** errno(3) in words that complete "… cannot be read: " or "… cannot be opened: ". */
const WORDS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EADDRINUSE: 'the address is in use',
  EADDRNOTAVAIL: 'this machine has no such address',
  EAFNOSUPPORT: 'this machine has no such kind of address',
  EAGAIN: 'it is busy',
  EAI_AGAIN: 'the name server does not answer',
  EBUSY: 'it is busy',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was closed by the other side',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'it is larger than allowed',
  EHOSTUNREACH: 'no route to the host',
  EINVAL: 'the system refuses it as invalid',
  EIO: 'input/output error',
  EISDIR: 'it is a directory',
  ELOOP: 'too many symbolic links',
  EMFILE: 'this process has too many open files',
  ENAMETOOLONG: 'the name is too long',
  ENETUNREACH: 'the network is unreachable',
  ENFILE: 'the system has too many open files',
  ENOENT: 'it does not exist',
  ENOMEM: 'out of memory',
  ENOSPC: 'no space is left on the device',
  ENOTDIR: 'a part of its path is not a directory',
  ENOTFOUND: 'the host name is not known',
  ENXIO: 'nobody reads it',
  EPERM: 'operation not permitted',
  EPIPE: 'the connection was closed by the other side',
  EROFS: 'the file system is read-only',
  ETIMEDOUT: 'no answer in time',
};

/**
 * What went wrong, in words: of a system error its errno, of an error that holds several (a connection tried at two addresses) each one's
 * once, of any other the first line of its message.
 */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) {
    return [...new Set(error.errors.map(describeError))].join('; ');
  }
  const words = WORDS[errorCode(error) ?? ''];
  if (words !== undefined) return words;
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().split('\n', 1)[0]!.trim();
}
