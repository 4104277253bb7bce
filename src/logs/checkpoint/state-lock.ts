import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { link, mkdir, readdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import { describeError, errorCode } from '../../base/errno.ts';
import { LogsError } from '../error.ts';

/** A directory for checkpoints that no other process uses. */
export interface StateDir {
  readonly path: string;
  close(): void;
}

/** The lock of generation 1, 2, …: the last one counts. */
const LOCK = /^lock\.(\d+)$/;
const lockOf = (generation: number) => `lock.${generation}`;

/**
 * Takes a directory for this process, and makes it when it is not there. The lock is a socket in it that listens as long as the process lives,
 * so it needs no clean-up, and holds between containers that share the directory as well.
 * @throws LogsError `ERR_LOGS_STATE_DIR`, `ERR_LOGS_STATE_LOCKED`
 */
export async function openStateDir(path: string): Promise<StateDir> {
  try {
    await makeDirectory(path);
  } catch (error) {
    throw unusable(path, error);
  }
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    throw unusable(path, error);
  }
  // A socket's path has 107 bytes at most, however long the directory's is.
  const short = (name: string) => `/proc/self/fd/${descriptor}/${name}`;
  const own = `new-${randomBytes(6).toString('hex')}`;
  try {
    const server = await listen(short(own));
    try {
      await takeLock(short, own);
      return { path, close: () => void server.close() };
    } catch (error) {
      server.close();
      throw error;
    } finally {
      await rm(short(own), { force: true });
    }
  } catch (error) {
    if (error instanceof LogsError) throw error;
    if (errorCode(error) !== undefined) throw unusable(path, error);
    throw new LogsError(
      'ERR_LOGS_STATE_LOCKED',
      `--state.dir=${path} is used by another virtlens logs: end that one, or give this one a directory of its own`,
      { cause: error },
    );
  } finally {
    closeSync(descriptor);
  }
}

/** With those above it. Node's own way to do that never ends below /proc, where nothing can be made. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const parent = dirname(path);
    if (errorCode(error) === 'EEXIST') return;
    if (errorCode(error) !== 'ENOENT' || parent === path) throw error;
    await makeDirectory(parent);
    await mkdir(path, { mode: 0o700 });
  }
}

/**
 * Makes the own socket the lock of the generation after the last one, which nobody listens at any more; throws an error without a code when
 * another process has it. A lock in use is never moved or removed, so of any number of processes that try this at once one gets it.
 */
async function takeLock(short: (name: string) => string, own: string): Promise<void> {
  for (;;) {
    const last = Math.max(0, ...(await generations(short)));
    if (last > 0 && (await isListening(short(lockOf(last))))) throw new Error('the lock is held');
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

function unusable(path: string, error: unknown): LogsError {
  const fix = 'name a directory that this user can write to';
  return new LogsError('ERR_LOGS_STATE_DIR', `--state.dir=${path} cannot be used: ${describeError(error)}; ${fix}`, {
    cause: error,
  });
}
