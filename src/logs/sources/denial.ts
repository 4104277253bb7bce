import { describeError, errorCode } from '../../base/errno.ts';

/** In one line, why a log cannot be read, and what to do. */
export function explainDenial(path: string, error: unknown): string {
  const what = `${path} cannot be read: ${describeError(error)}`;
  if (errorCode(error) !== 'EACCES' && errorCode(error) !== 'EPERM') return what;
  return (
    `${what}; libvirt's logs are readable by root alone: run as root, give the process CAP_DAC_READ_SEARCH ` +
    '(AmbientCapabilities= in its unit), or set an ACL (setfacl -R -m u:USER:rX, with -d for files to come)'
  );
}

/** inotify(7): what its limits look like, for which the words of these errors are of no help. */
const INOTIFY_LIMITS: Readonly<Record<string, string>> = {
  EMFILE: 'fs.inotify.max_user_instances',
  ENOSPC: 'fs.inotify.max_user_watches',
};

/** In one line, why the kernel reports no changes of files. */
export function explainNoEvents(error: unknown): string {
  const limit = INOTIFY_LIMITS[errorCode(error) ?? ''];
  return limit === undefined ? describeError(error) : `the limit ${limit} is reached; raise it with sysctl`;
}
