import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import { describeError } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { explainReadError, WebError } from '../error.ts';
import { buildSecureContext } from './tls-policy.ts';
import { parseWebConfig, type WebConfig } from './web-config.ts';

/** A web configuration that works, with what was read from the files that it names. */
export interface LoadedConfig {
  readonly config: WebConfig;
  /** Absent: plain HTTP. */
  readonly secureContext: SecureContextOptions | undefined;
}

/** A web configuration that follows its files. */
export interface LiveConfig {
  /**
   * The configuration as the files have it now; when they have become wrong, or ask clients for less than before, the last good one,
   * with one log line about it. The same object as long as nothing changes. Costs a `stat` of each file, so it may be called for every
   * connection and request.
   */
  current(): LoadedConfig;
  /** Rereads the files, changed or not, and logs what came of it. */
  reload(): void;
}

/**
 * Reads a web configuration file and the certificates that it names.
 * @throws WebError `ERR_WEB_CONFIG_UNREADABLE`, `ERR_WEB_CONFIG_INVALID`, `ERR_WEB_CERTIFICATE_INVALID`
 */
export function openLiveConfig(path: string, logger: Logger): LiveConfig {
  const file = resolve(path);
  let states = new Map<string, string>();
  let loaded = load(file, states);

  const reread = (): void => {
    states = new Map();
    try {
      const next = load(file, states);
      const lost = findLostDemands(loaded, next);
      if (lost.length > 0) {
        // A file that is being written, or that no space was left for, is empty, and an empty one asks for nothing.
        logger.warn('web config asks clients for less than before; the last good one stays in use', {
          file,
          lost: lost.join(', '),
          fix: 'restart virtlens if that is meant',
        });
        return;
      }
      if (next.secureContext !== undefined && loaded.secureContext === undefined) {
        throw new WebError('ERR_WEB_CONFIG_INVALID', `web config ${file}: a change from HTTP to HTTPS needs a restart`);
      }
      loaded = next;
      logger.info('web config read again', { file });
    } catch (error) {
      logger.error('web config has become wrong; the last good one stays in use', { err: describeError(error) });
    }
  };
  return {
    current() {
      if (hasChanged(states)) reread();
      return loaded;
    },
    reload: reread,
  };
}

/** What the old configuration asks of clients and the new one does not, in the file's words. */
function findLostDemands(old: LoadedConfig, next: LoadedConfig): string[] {
  const demandsOf = ({ config: { users, tls } }: LoadedConfig): Readonly<Record<string, boolean>> => ({
    basic_auth_users: users.size > 0,
    tls_server_config: tls !== undefined,
    client_auth_type: tls?.clientAuth.startsWith('Require') ?? false,
    client_ca_file: tls?.clientAuth.includes('Verify') ?? false,
    client_allowed_sans: tls?.clientAllowedSans !== undefined,
  });
  const now = demandsOf(next);
  return Object.entries(demandsOf(old)).flatMap(([name, isAsked]) => (isAsked && !now[name] ? [name] : []));
}

/** Reads the file and those it names; `states` gets the state of each, taken before it is read, so that no change goes unseen. */
function load(file: string, states: Map<string, string>): LoadedConfig {
  const read = (path: string): string => {
    states.set(path, stateOf(path));
    return readFileSync(path, 'utf8');
  };
  let text: string;
  try {
    text = read(file);
  } catch (error) {
    throw explainReadError('web config', file, error);
  }
  const config = parseWebConfig(text, file);
  return { config, secureContext: config.tls && buildSecureContext(config.tls, read) };
}

function hasChanged(states: ReadonlyMap<string, string>): boolean {
  for (const [path, state] of states) if (stateOf(path) !== state) return true;
  return false;
}

/** A text that changes when a file is written, replaced, removed or made readable. */
function stateOf(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
  } catch (error) {
    return describeError(error);
  }
}
