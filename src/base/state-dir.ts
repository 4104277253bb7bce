import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { link, mkdir, readdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import { describeError, errorCode } from './errno.ts';
import { VirtlensError } from './error.ts';
import type { Logger } from './logger.ts';
import { cut, quote } from './text.ts';

/**
 * - `ERR_STATE_DIR`: the directory cannot be made, or nothing can be made in it.
 * - `ERR_STATE_LOCKED`: another process uses it.
 */
export class StateDirError extends VirtlensError<'ERR_STATE_DIR' | 'ERR_STATE_LOCKED'> {}

/** A directory for what outlives the process, which no other process uses. */
export interface StateDir {
  readonly path: string;
  close(): void;
}

/** Errors of a disk that takes nothing now, and may again. */
const MAY_HEAL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT', 'EIO', 'EMFILE', 'ENFILE', 'ENOMEM']);

/** Whether a disk that fails like that may work again by itself. */
export function mayHeal(error: unknown): boolean {
  return MAY_HEAL.has(errorCode(error));
}

const PATH_SHOWN_MAX = 200;

/** The lock of generation 1, 2, …: the last one counts. */
const LOCK = /^lock\.(\d+)$/;
const lockOf = (generation: number) => `lock.${generation}`;

/**
 * Takes a directory for this process, and makes it when it is not there. The lock is a socket in it that listens as long as the process lives,
 * so it needs no clean-up, and holds between containers that share the directory as well. A disk that takes nothing now is no reason not
 * to start: then there is no lock, and the log says so.
 * @throws StateDirError
 */
export async function openStateDir(path: string, logger: Logger): Promise<StateDir> {
  try {
    await makeDirectory(path);
    return { path, close: await lock(path, logger) };
  } catch (error) {
    if (error instanceof StateDirError) throw error;
    const message = `--state.dir ${shown(path)} cannot be used: ${describeError(error)}; name a directory that this user can write to`;
    throw new StateDirError('ERR_STATE_DIR', message, { cause: error });
  }
}

/** Locks a directory, and returns what unlocks it. */
async function lock(path: string, logger: Logger): Promise<() => void> {
  const descriptor = openSync(path, 'r');
  // A socket's path has 107 bytes at most, however long the directory's is.
  const short = (name: string) => `/proc/self/fd/${descriptor}/${name}`;
  const own = `new-${randomBytes(6).toString('hex')}`;
  try {
    const server = await listen(short(own));
    try {
      await takeLock(short, own);
      return () => void server.close();
    } catch (error) {
      server.close();
      throw error;
    } finally {
      await rm(short(own), { force: true });
    }
  } catch (error) {
    if (error instanceof LockHeld) {
      throw new StateDirError(
        'ERR_STATE_LOCKED',
        `--state.dir ${shown(path)} is used by another virtlens: end that one, or give this one a directory of its own`,
      );
    }
    if (!mayHeal(error)) throw error;
    logger.warn('the state directory is not locked; give it to no other process', {
      directory: cut(path, PATH_SHOWN_MAX),
      err: describeError(error),
    });
    return () => {};
  } finally {
    closeSync(descriptor);
  }
}

function shown(path: string): string {
  return quote(cut(path, PATH_SHOWN_MAX));
}

class LockHeld extends Error {}

/** Makes a directory and those above it, for this user alone. Node's own way to do that never ends below /proc, where nothing can be made. */
export async function makeDirectory(path: string): Promise<void> {
  const make = async () => {
    try {
      await mkdir(path, { mode: 0o700 });
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
  };
  try {
    await make();
  } catch (error) {
    const parent = dirname(path);
    if (errorCode(error) !== 'ENOENT' || parent === path) throw error;
    await makeDirectory(parent);
    await make();
  }
}

/**
 * Makes the own socket the lock of the generation after the last one, which nobody listens at any more; throws LockHeld when
 * another process has it. A lock in use is never moved or removed, so of any number of processes that try this at once one gets it.
 */
async function takeLock(short: (name: string) => string, own: string): Promise<void> {
  for (;;) {
    const last = Math.max(0, ...(await generations(short)));
    if (last > 0 && (await isListening(short(lockOf(last))))) throw new LockHeld();
    try {
      await link(short(own), short(lockOf(last + 1)));
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
      continue;
    }
    const all = await generations(short);
    if (Math.max(...all) === last + 1) {
      for (const old of all) if (old <= last) await rm(short(lockOf(old)), { force: true });
      return;
    }
    // Others took this generation and ended, and a later one removed it, since the first look.
    await rm(short(lockOf(last + 1)), { force: true });
  }
}

async function generations(short: (name: string) => string): Promise<number[]> {
  return (await readdir(short(''))).flatMap((name) => Number(LOCK.exec(name)?.[1] ?? []));
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(path, () => resolve(server.unref()));
  });
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('connect', () => end(true));
    // A queue that is full, or a right that is missing, says that somebody listens.
    socket.once('error', (error) => end(!['ECONNREFUSED', 'ENOENT'].includes(errorCode(error) ?? '')));
  });
}
