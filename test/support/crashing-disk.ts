// A disk for tests of what survives: it loses what was not synced, and the process can be killed at each of its operations.
import type { Disk, DiskFile } from '../../src/ha/queue/disk.ts';

/** Counts what a process does outside itself, and kills it at one of those steps. */
export class Steps {
  #count = 0;
  readonly #killAt: number;
  readonly #killed = Promise.withResolvers<void>();
  #isDead = false;
  readonly #random: () => number;

  /** @param killAt the step in which the process is killed; 0: never */
  constructor(killAt: number, random: () => number) {
    this.#killAt = killAt;
    this.#random = random;
  }

  get count(): number {
    return this.#count;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Resolves when the process is killed. */
  get killed(): Promise<void> {
    return this.#killed.promise;
  }

  /** Does something outside; `fraction` of it when the process is killed meanwhile. A dead process never hears of the end. */
  async take<T>(effect: (fraction: number) => T): Promise<T> {
    if (this.#isDead) return new Promise<T>(() => {});
    await null;
    this.#count++;
    if (this.#count !== this.#killAt) return effect(1);
    this.#isDead = true;
    const part = this.#random();
    if (part > 0.3) effect(part > 0.7 ? 1 : (part - 0.3) / 0.4);
    this.#killed.resolve();
    return new Promise<T>(() => {});
  }
}

interface Inode {
  /** What is on the disk for sure. */
  durable: Buffer;
  /** What the process sees. */
  content: Buffer;
}

type Directory = Map<string, Inode>;

/** The directory of one process; `survivor` is what the next one finds after a crash of the whole machine. */
export class CrashingDisk implements Disk {
  readonly path = '/state';
  readonly #steps: Steps;
  readonly #durable: Directory;
  readonly #live: Directory;
  /** Changes of the directory that are not synced. */
  #changes: ((directory: Directory) => void)[] = [];
  /** Errors that the next operations end with, by their names; `write` leaves half of the bytes. */
  readonly failing = new Map<'create' | 'write' | 'sync' | 'rename' | 'syncDirectory' | 'read', string>();

  constructor(steps: Steps, directory: Directory = new Map()) {
    this.#steps = steps;
    this.#durable = new Map(directory);
    this.#live = new Map(directory);
  }

  get names(): readonly string[] {
    return [...this.#live.keys()];
  }

  /** The file as the process sees it. */
  content(name: string): Buffer | undefined {
    return this.#live.get(name)?.content;
  }

  /** Replaces a file from outside, durably. */
  place(name: string, content: string | Buffer): void {
    const bytes = Buffer.from(content);
    const inode = { durable: bytes, content: bytes };
    this.#durable.set(name, inode);
    this.#live.set(name, inode);
  }

  /** What is left: all that was synced, and some of the rest. */
  survivor(steps: Steps, random: () => number): CrashingDisk {
    const directory = new Map(this.#durable);
    for (const change of this.#changes.slice(0, Math.floor(random() * (this.#changes.length + 1)))) change(directory);
    const copies = new Map<string, Inode>();
    for (const [name, { durable, content }] of directory) {
      const rest = content.subarray(durable.length);
      const kept = Buffer.from(rest.subarray(0, Math.floor(random() * (rest.length + 1))));
      // The length may be on disk before the bytes are.
      if (kept.length > 0 && random() < 0.3) kept.fill(0, Math.floor(random() * kept.length));
      const bytes = Buffer.concat([durable, kept]);
      copies.set(name, { durable: bytes, content: bytes });
    }
    return new CrashingDisk(steps, copies);
  }

  read(name: string): Promise<Buffer | undefined> {
    return this.#take('read', () => this.#live.get(name)?.content);
  }

  create(name: string): Promise<DiskFile> {
    return this.#take('create', () => {
      const inode: Inode = { durable: Buffer.alloc(0), content: Buffer.alloc(0) };
      this.#change((directory) => directory.set(name, inode));
      return {
        write: (bytes) =>
          this.#take('write', (fraction) => {
            inode.content = Buffer.concat([inode.content, bytes.subarray(0, Math.floor(bytes.length * fraction))]);
          }),
        sync: () =>
          this.#take('sync', () => {
            inode.durable = inode.content;
          }),
        close: async () => {},
      };
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#take('rename', () => {
      this.#change((directory) => {
        const inode = directory.get(from);
        if (inode === undefined) return;
        directory.delete(from);
        directory.set(to, inode);
      });
    });
  }

  syncDirectory(): Promise<void> {
    return this.#take('syncDirectory', () => {
      this.#durable.clear();
      for (const [name, inode] of this.#live) this.#durable.set(name, inode);
      this.#changes = [];
    });
  }

  #change(change: (directory: Directory) => void): void {
    change(this.#live);
    this.#changes.push(change);
  }

  #take<T>(
    name: 'create' | 'write' | 'sync' | 'rename' | 'syncDirectory' | 'read',
    effect: (fraction: number) => T,
  ): Promise<T> {
    return this.#steps.take((fraction) => {
      const code = this.failing.get(name);
      if (code === undefined) return effect(fraction);
      if (name === 'write') effect(0.5);
      throw Object.assign(new Error(`${code}: ${name}`), { code });
    });
  }
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
