import { type FSWatcher, watch } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import type { Clock } from '../../base/clock.ts';
import { describeError, errorCode } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import { type Chain, type ChainFile, compareAge, parseRotatedName } from './chain.ts';
import { explainDenial, explainNoEvents } from './denial.ts';

export interface LogDirectoryOptions {
  readonly dir: string;
  /** Whether a file of this name (one character a byte) is a log that is written. */
  readonly isLive: (name: string) => boolean;
  /** Called when something may be there to read. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Events of the kernel say what has changed; looking at everything finds what they have missed. */
const LOOK_MS = 10_000;
/** The same where there are no events, and while the directory is not there. */
const LOOK_WITHOUT_EVENTS_MS = 1000;
/** A log that is written to has an event for every write. */
const GATHER_MS = 50;
/** A rotation while a chain is looked at makes it be looked at again. */
const ATTEMPTS_MAX = 5;
const GONE_KEPT_MS = 600_000;
/** Of files that are gone, so many of each chain are remembered. */
const GONE_MAX = 16;

/** A file that was seen and is no longer there. */
export interface GoneFile {
  readonly inode: string;
  readonly size: number;
}

interface KnownChain {
  chain: Chain;
  /** The largest size that each file had, by inode, from the oldest to the newest file. */
  readonly sizes: Map<string, number>;
}

/** Watches a directory and knows its logs, with the files that rotation makes of them. A directory that is not there is waited for. */
export class LogDirectory {
  readonly #options: LogDirectoryOptions;
  readonly #known = new Map<string, KnownChain>();
  readonly #reported = new Reported<'directory' | 'events'>();
  readonly #unreadable = new Reported<string>({ subjectsMax: 64 });
  readonly #changed = new Set<string>();
  #watcher: FSWatcher | undefined;
  #watchedInode: bigint | undefined;
  #cancel = () => {};
  #isGathering = false;
  #looking: Promise<void> | undefined;
  #isClosed = false;
  #isReadable = false;

  constructor(options: LogDirectoryOptions) {
    this.#options = options;
  }

  /** As the user wrote it. */
  get dir(): string {
    return this.#options.dir;
  }

  /** Whether it was there and could be read when it was last looked at. */
  get isReadable(): boolean {
    return this.#isReadable;
  }

  /** Every log, by the name of the file that is written. */
  get chains(): ReadonlyMap<string, Pick<KnownChain, 'chain'>> {
    return this.#known;
  }

  /** Looks for the first time and goes on looking. */
  async start(): Promise<void> {
    await this.lookAtAll();
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel();
    this.#unwatch();
  }

  /** The largest size that a file was seen with. */
  sizeSeen(liveName: string, inode: string): number | undefined {
    return this.#known.get(liveName)?.sizes.get(inode);
  }

  /** The files of a chain that came before and after this one, in their order, as far as they were seen; undefined when it was never seen. */
  seenAround(
    liveName: string,
    inode: string,
  ): { readonly before: readonly GoneFile[]; readonly after: readonly GoneFile[] } | undefined {
    const sizes = [...(this.#known.get(liveName)?.sizes ?? [])].map(([each, size]) => ({ inode: each, size }));
    const at = sizes.findIndex((each) => each.inode === inode);
    return at < 0 ? undefined : { before: sizes.slice(0, at), after: sizes.slice(at + 1) };
  }

  /** Looks at one chain again, because its files are not what they were. */
  async lookAt(liveName: string): Promise<void> {
    await this.#look(new Set([liveName]));
  }

  /** Looks at everything. */
  async lookAtAll(): Promise<void> {
    await this.#look(undefined);
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#cancel();
    const delayMs = this.#watcher === undefined ? LOOK_WITHOUT_EVENTS_MS : LOOK_MS;
    this.#cancel = this.#options.clock.schedule(delayMs, () => void this.lookAtAll().then(() => this.#schedule()));
  }

  /** One look at a time; `only` are the chains to look at. */
  async #look(only: ReadonlySet<string> | undefined): Promise<void> {
    while (this.#looking !== undefined) await this.#looking;
    if (this.#isClosed) return;
    this.#looking = this.#lookNow(only).finally(() => {
      this.#looking = undefined;
    });
    await this.#looking;
  }

  async #lookNow(only: ReadonlySet<string> | undefined): Promise<void> {
    const { dir, onChange, logger } = this.#options;
    let hasChanged = false;
    try {
      if (only === undefined) await this.#watch();
      const chains = await this.#list(only);
      this.#isReadable = true;
      if (this.#reported.clear('directory')) logger.info('The directory of logs is there', { dir });
      for (const liveName of only ?? this.#known.keys()) {
        if (!chains.has(liveName) && this.#noteGone(liveName)) hasChanged = true;
      }
      if (await this.#lookAtChains(chains)) hasChanged = true;
    } catch (error) {
      this.#noteTrouble(error);
      this.#known.clear();
      return;
    }
    if (hasChanged) onChange();
  }

  /** The names of the files of each log. */
  async #list(only: { has(liveName: string): boolean } | undefined): Promise<Map<string, string[]>> {
    const { dir, isLive } = this.#options;
    const names = (await readdir(dir, { encoding: 'buffer' })).map((name) => name.toString('latin1')).sort();
    const chains = new Map<string, string[]>();
    for (const name of names) {
      const liveName = isLive(name) ? name : parseRotatedName(name)?.liveName;
      if (liveName === undefined || !isLive(liveName) || only?.has(liveName) === false) continue;
      const list = chains.get(liveName);
      if (list === undefined) chains.set(liveName, [name]);
      else list.push(name);
    }
    return chains;
  }

  /**
   * A list of names that is read during a rotation may lack one, and a file that is not seen would never be read: what was seen counts when the
   * names are the same before and after. True when something is new.
   */
  async #lookAtChains(chains: ReadonlyMap<string, readonly string[]>): Promise<boolean> {
    let hasChanged = false;
    let unsure = chains;
    for (let attempt = 1; unsure.size > 0 && attempt <= ATTEMPTS_MAX; attempt++) {
      const seen = new Map<string, ChainFile[] | undefined>();
      for (const [liveName, names] of unsure) {
        if (this.#isClosed) return false;
        seen.set(liveName, await this.#lookAtChain(liveName, names));
      }
      const after = await this.#list(unsure);
      const rest = new Map<string, readonly string[]>();
      for (const [liveName, names] of unsure) {
        const files = seen.get(liveName);
        const namesAfter = after.get(liveName) ?? [];
        if (namesAfter.length === 0) hasChanged = this.#noteGone(liveName) || hasChanged;
        else if (files === undefined || names.join('/') !== namesAfter.join('/')) rest.set(liveName, namesAfter);
        else hasChanged = this.#note(liveName, files) || hasChanged;
      }
      unsure = rest;
    }
    for (const liveName of unsure.keys()) this.#lookSoon(liveName);
    return hasChanged;
  }

  /**
   * The files of a log, from the oldest. Rotation moves files to higher numbers only, so a look that goes from the lowest number up misses
   * none, unless the file that is written has changed meanwhile: undefined then.
   */
  async #lookAtChain(liveName: string, names: readonly string[]): Promise<ChainFile[] | undefined> {
    const numbers = names.flatMap((name) => (name === liveName ? [] : (parseRotatedName(name)?.number ?? [])));
    // Also those that had no file when the names were read, and those to which a rotation moves what had the highest numbers.
    const numbered = Array.from({ length: Math.max(-1, ...numbers) + 3 }, (_, number) => `${liveName}.${number}`);
    const rotated = [...new Set([...names.filter((name) => name !== liveName), ...numbered])];
    const ordered = [liveName, ...rotated.sort((a, b) => compareAge(b, a))];
    const files: ChainFile[] = [];
    for (const name of ordered) {
      const file = await this.#stat(name);
      if (file === undefined) continue;
      const twice = files.findIndex((each) => each.inode === file.inode && each.device === file.device);
      if (twice >= 0) files.splice(twice, 1);
      files.push(file);
    }
    const live = await this.#stat(liveName);
    return live?.inode === files.find((file) => file.name === liveName)?.inode ? files.reverse() : undefined;
  }

  #note(liveName: string, files: readonly ChainFile[]): boolean {
    const known = this.#known.get(liveName);
    const isNew =
      known === undefined ||
      known.chain.files.length !== files.length ||
      files.some((file, index) => {
        const before = known.chain.files[index]!;
        const isSameFile = before.inode === file.inode && before.name === file.name;
        return !isSameFile || before.size !== file.size || before.modifiedMs !== file.modifiedMs;
      });
    if (!isNew) return false;
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    // What was there before the first look may have been quiet for long.
    const ageMs = known === undefined ? clock.wallMs() - Math.max(...files.map((file) => file.modifiedMs)) : 0;
    // A log that comes back is another one, perhaps with the same inode.
    const isBack = known === undefined || known.chain.files.length === 0;
    const sizes = isBack ? new Map<string, number>() : known.sizes;
    for (const { inode, size } of files) {
      const before = sizes.get(inode);
      if (before === undefined || before < size) sizes.set(inode, size);
    }
    for (const inode of sizes.keys()) {
      if (sizes.size <= GONE_MAX || files.some((file) => file.inode === inode)) break;
      sizes.delete(inode);
    }
    this.#known.set(liveName, { chain: { liveName, files, quietSinceMs: nowMs - Math.max(0, ageMs) }, sizes });
    return true;
  }

  /** What was seen of a log that is gone is kept for a while: its readers may be behind. */
  #noteGone(liveName: string): boolean {
    const known = this.#known.get(liveName);
    const nowMs = this.#options.clock.monotonicMs();
    if (known === undefined) return false;
    if (known.chain.files.length === 0) {
      if (nowMs - known.chain.quietSinceMs > GONE_KEPT_MS) this.#known.delete(liveName);
      return false;
    }
    this.#known.set(liveName, { ...known, chain: { liveName, files: [], quietSinceMs: nowMs } });
    return true;
  }

  async #stat(name: string): Promise<ChainFile | undefined> {
    const path = joinBytes(this.#options.dir, name);
    try {
      const found = await stat(path, { bigint: true });
      if (!found.isFile()) {
        this.#noteUnreadable(path, 'it is no regular file');
        return undefined;
      }
      return {
        name,
        device: String(found.dev),
        inode: String(found.ino),
        size: Number(found.size),
        modifiedMs: Number(found.mtimeMs),
      };
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') this.#noteUnreadable(path, describeError(error));
      return undefined;
    }
  }

  /** It is looked at again and again: it may be replaced. */
  #noteUnreadable(path: Buffer, reason: string): void {
    const { logger } = this.#options;
    if (this.#unreadable.note(path.toString(), reason))
      logger.warn('A log is not read', { file: path.toString(), err: reason });
  }

  // ---- events ----------------------------------------------------------------------------------------------------------------------

  /** Listens for events, anew when another directory has taken the name. */
  async #watch(): Promise<void> {
    const { dir, logger } = this.#options;
    const { ino } = await stat(dir, { bigint: true });
    if (this.#isClosed || (this.#watcher !== undefined && this.#watchedInode === ino)) return;
    this.#unwatch();
    try {
      const watcher = watch(dir, { encoding: 'buffer', persistent: false }, (_, name) => this.#noteEvent(name));
      watcher.on('error', () => this.#unwatch());
      this.#watcher = watcher;
      this.#watchedInode = ino;
      this.#reported.clear('events');
    } catch (error) {
      const reason = explainNoEvents(error);
      if (this.#reported.note('events', reason)) {
        logger.warn('The kernel reports no changes of this directory; it is looked at every second', {
          dir,
          err: reason,
        });
      }
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watchedInode = undefined;
  }

  #noteEvent(bytes: Buffer | null): void {
    const name = bytes?.toString('latin1') ?? '';
    const { isLive } = this.#options;
    const liveName = isLive(name) ? name : parseRotatedName(name)?.liveName;
    if (liveName === undefined || !isLive(liveName)) return;
    this.#lookSoon(liveName);
  }

  #lookSoon(liveName: string): void {
    const { clock } = this.#options;
    this.#changed.add(liveName);
    if (this.#isGathering) return;
    this.#isGathering = true;
    clock.schedule(GATHER_MS, () => {
      this.#isGathering = false;
      const changed = new Set(this.#changed);
      this.#changed.clear();
      void this.#look(changed);
    });
  }

  #noteTrouble(error: unknown): void {
    const { dir, logger } = this.#options;
    this.#isReadable = false;
    const reason = describeError(error);
    if (!this.#reported.note('directory', reason)) return;
    if (errorCode(error) === 'ENOENT') logger.info('The directory of logs is not there yet; it is waited for', { dir });
    else logger.error(explainDenial(dir, error));
  }
}

/** The path of a file whose name has one character a byte. */
export function joinBytes(dir: string, name: string): Buffer {
  return Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(name, 'latin1')]);
}
