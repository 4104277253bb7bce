import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { link, mkdir, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import { describeError, errorCode } from '../../base/errno.ts';
import { LogsError } from '../error.ts';

/** A directory for checkpoints that no other process uses. */
export interface StateDir {
  readonly path: string;
  close(): void;
}

const LOCK = 'lock.sock';

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
  const own = `lock-${randomBytes(6).toString('hex')}.sock`;
  try {
    const server = await listen(short(own));
    try {
      await takeName(short, own);
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

/** Gives the own socket the name of the lock; throws an error without a code when another process has it. */
async function takeName(short: (name: string) => string, own: string): Promise<void> {
  try {
    return await link(short(own), short(LOCK));
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
  if (await isListening(short(LOCK))) throw new Error('the lock is held');
  // Another process may be doing the same: who moves a living lock away puts it back.
  const moved = `${own}.old`;
  await rename(short(LOCK), short(moved)).catch(() => {});
  if (await isListening(short(moved))) {
    await link(short(moved), short(LOCK)).catch(() => {});
    await rm(short(moved), { force: true });
    throw new Error('the lock is held');
  }
  await rm(short(moved), { force: true });
  try {
    await link(short(own), short(LOCK));
  } catch (error) {
    if (errorCode(error) === 'EEXIST') throw new Error('the lock is held', { cause: error });
    throw error;
  }
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
    socket.once('error', () => end(false));
  });
}

function unusable(path: string, error: unknown): LogsError {
  const fix = 'name a directory that this user can write to';
  return new LogsError('ERR_LOGS_STATE_DIR', `--state.dir=${path} cannot be used: ${describeError(error)}; ${fix}`, {
    cause: error,
  });
}
