import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import type { Logger } from '../../base/logger.ts';
import { explainReadError, reasonOf, WebError } from '../error.ts';
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
   * The configuration as the files have it now; when they have become wrong, the last good one, with one log line about it. The same
   * object as long as nothing changes. Costs a `stat` of each file, so it may be asked for every connection and request.
   */
  current(): LoadedConfig;
}

/**
 * Reads a web configuration file and the certificates that it names.
 * @throws WebError `config-unreadable`, `config-invalid`, `certificate-invalid`
 */
export function openLiveConfig(path: string, logger: Logger): LiveConfig {
  const file = resolve(path);
  let states = new Map<string, string>();
  let loaded = load(file, states);

  return {
    current() {
      if (!hasChanged(states)) return loaded;
      states = new Map();
      try {
        const next = load(file, states);
        if ((next.secureContext === undefined) !== (loaded.secureContext === undefined)) {
          throw new WebError('config-invalid', `web config ${file}: a change between HTTP and HTTPS needs a restart`);
        }
        loaded = next;
        logger.info('web config read again', { file });
      } catch (error) {
        logger.error('web config has become wrong; the last good one stays in use', { err: reasonOf(error) });
      }
      return loaded;
    },
  };
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
    return reasonOf(error);
  }
}
