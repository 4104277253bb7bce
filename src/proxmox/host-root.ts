import { readFileSync, readlinkSync } from 'node:fs';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { errorCode } from '../base/errno.ts';

/** More links than this one after another are a circle (Linux's own limit). */
const LINKS_MAX = 40;

/** Where the host's files are: below `/`, or below a directory at which the host's root is mounted. */
export class HostRoot {
  readonly #root: string;

  constructor(root = '/') {
    this.#root = normalize(`${root}/`);
  }

  /** The path here of a path of the host, which cannot leave the root. */
  path(...parts: readonly string[]): string {
    return join(this.#root, normalize(join('/', ...parts)));
  }

  /** The text of a file that the kernel makes (/proc, /sys): it is in memory, and reading it does not wait. Undefined when it cannot be read. */
  readKernelFile(...parts: readonly string[]): string | undefined {
    try {
      return readFileSync(this.path(...parts), 'utf8');
    } catch {
      return undefined;
    }
  }

  /**
   * The path of the host to which the links of a file of /dev lead, itself when it is none. Undefined when they lead nowhere. Absolute
   * links are read as the host's. Like /proc, /dev is in memory.
   */
  resolveDevice(path: string): string | undefined {
    let at = normalize(path);
    for (let links = 0; links <= LINKS_MAX; links++) {
      let target: string;
      try {
        target = readlinkSync(this.path(at));
      } catch (error) {
        // EINVAL: it is there, and no link.
        return errorCode(error) === 'EINVAL' ? at : undefined;
      }
      at = isAbsolute(target) ? normalize(target) : join(dirname(at), target);
    }
    return undefined;
  }
}
