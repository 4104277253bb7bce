// Of the shipped program, not of the build: how the launcher gets at the parts that it carries. The launcher's bundle has it.
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Script } from 'node:vm';

/** A part: its text, and V8's code cache of it when there is one that was made for this very Node.js. */
export interface PartText {
  readonly source: string;
  readonly codeCache: Buffer | undefined;
}

/** Where the launcher finds its parts: in its own file, or in the single executable. */
export interface PartStore {
  /** For the stack traces of parts. */
  readonly path: string;
  read(name: string): PartText;
}

/** What a code cache must have been made with besides what V8 checks itself. */
export const CODE_CACHE_KEY = `${process.version}-${process.platform}-${process.arch}`;

/** Compiles a part without running it: a CommonJS module that is also given `loadPart`. */
export function compilePart({ path }: PartStore, name: string, { source, codeCache }: PartText): Script {
  return new Script(`(function (exports, require, module, __filename, __dirname, loadPart) {${source}\n})`, {
    filename: `${path}:${name}`,
    ...(codeCache && { cachedData: codeCache }),
  });
}

/** Runs a compiled part and returns what it exports. */
export function runPart(store: PartStore, script: Script, load: LoadPart): unknown {
  const require = createRequire(store.path);
  const module = { exports: {} };
  script.runInThisContext()(module.exports, require, module, store.path, dirname(store.path), load);
  return module.exports;
}

/** What a part exports; it is compiled and run the first time. */
export type LoadPart = (name: string) => unknown;

export function createPartLoader(store: PartStore): LoadPart {
  const loaded = new Map<string, unknown>();
  return function load(name) {
    if (!loaded.has(name)) loaded.set(name, runPart(store, compilePart(store, name, store.read(name)), load));
    return loaded.get(name);
  };
}
