// The parts of the shipped program: `main`, which is all of src behind the launcher, and for each package that no command needs at its start
// (SSH, YAML, …) one that is compiled when it is first imported.
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';
import { deferBuiltins } from './deferred-builtins.ts';
import { ROOT } from './root.ts';

/** The part that the launcher loads. */
export const MAIN_PART = 'main';

const MAIN_ENTRY = 'src/commands/process.ts';
/** The thread that checks passwords, a text in the main part. */
export const WORKER_ENTRY = 'src/web/auth/bcrypt-worker.ts';
const COMMAND_TABLE = 'src/commands/index.ts';

/** A part as JavaScript, ASCII alone. */
export interface Part {
  readonly name: string;
  readonly source: string;
  /** Licences that must go with it. */
  readonly legal: string;
}

/** The oldest version of Node.js that the parts run on, and what all bundles have in common. */
export interface PartOptions {
  readonly target: string;
  readonly define: Readonly<Record<string, string>>;
}

export const COMMON = {
  bundle: true,
  absWorkingDir: ROOT,
  platform: 'node',
  // ssh2 looks for native helpers and goes on without them; virtlens ships none.
  external: ['cpu-features', '*.node'],
  logLevel: 'warning',
  // It is used where the sources are run, not where the thread's text is in the bundle.
  logOverride: { 'empty-import-meta': 'silent' },
} as const satisfies BuildOptions;

const PART = {
  ...COMMON,
  write: false,
  format: 'cjs',
  charset: 'ascii',
  legalComments: 'external',
  minifyWhitespace: true,
  minifySyntax: true,
  // A script has no way to import: what is external is required.
  supported: { 'dynamic-import': false },
  // The Kubernetes client imports it for a transport that is not used: 0.7 MB of source, and 8 MB of memory.
  alias: { undici: './scripts/bundle/no-undici.ts' },
  outfile: 'part.js',
} as const satisfies BuildOptions;

/** Bundles every part. */
export async function bundleParts(options: PartOptions): Promise<Part[]> {
  const common = { ...PART, ...options } as const;
  const entryPoints = [MAIN_ENTRY];
  const { metafile } = await build({ ...common, entryPoints, metafile: true });
  const lazy = findLazyPackages(metafile);
  const imported = new Map<string, Set<string>>();
  const main = await build({ ...common, entryPoints, plugins: [redirectTo(lazy, imported), deferBuiltins()] });
  const parts = [partOf(MAIN_PART, main.outputFiles)];
  for (const [name, specifiers] of imported) {
    const getters = [...specifiers].map(
      (text) => `get ${JSON.stringify(text)}() { return require(${JSON.stringify(text)}); }`,
    );
    const stdin = { contents: `module.exports = { ${getters.join(', ')} };`, resolveDir: ROOT };
    const { outputFiles } = await build({ ...common, stdin, minifyIdentifiers: true });
    parts.push(partOf(name, outputFiles));
  }
  return parts;
}

/** The folders below the project's of the packages that are in the bundles: `node_modules/saxes`, `node_modules/a/node_modules/b`. */
export async function bundledPackages(): Promise<ReadonlySet<string>> {
  const entryPoints = [MAIN_ENTRY, WORKER_ENTRY];
  const { outfile: _, ...options } = PART;
  const { metafile } = await build({ ...options, entryPoints, outdir: 'parts', metafile: true });
  const folders = Object.keys(metafile.inputs).map(
    (path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0],
  );
  return new Set(folders.filter((folder) => folder !== undefined));
}

function partOf(name: string, files: readonly { readonly path: string; readonly text: string }[]): Part {
  const textOf = (ending: string) => files.find(({ path }) => path.endsWith(ending))?.text ?? '';
  return { name, source: textOf('part.js'), legal: textOf('.LEGAL.txt') };
}

/**
 * The packages that the bundle has and that no command imports statically, directly or through other modules. A package of a scope stands
 * for its scope, as such packages share their lower ones.
 */
export function findLazyPackages({ inputs }: Pick<Metafile, 'inputs'>): ReadonlySet<string> {
  const eager = new Set<string>();
  const walk = (path: string): void => {
    if (eager.has(path) || inputs[path] === undefined) return;
    eager.add(path);
    for (const { path: below, kind } of inputs[path].imports) {
      if (kind !== 'dynamic-import' || path === COMMAND_TABLE) walk(below);
    }
  };
  walk(MAIN_ENTRY);
  const packages = (paths: Iterable<string>) => new Set([...paths].map(packageOf).filter((name) => name !== undefined));
  return packages(Object.keys(inputs)).difference(packages(eager));
}

function packageOf(path: string): string | undefined {
  return /^node_modules\/([^/]+)/.exec(path)?.[1];
}

/** Makes an import of one of the packages the load of its part, and notes what of it is imported. */
function redirectTo(packages: ReadonlySet<string>, imported: Map<string, Set<string>>): Plugin {
  const NAMESPACE = 'part';
  return {
    name: 'parts',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^[^./]/ }, ({ path, importer }) => {
        const name = path.split('/', 1)[0]!;
        if (isBuiltin(path) || !packages.has(name) || !importer.startsWith(join(ROOT, 'src'))) return undefined;
        imported.set(name, (imported.get(name) ?? new Set()).add(path));
        return { path, namespace: NAMESPACE };
      });
      onLoad({ filter: /.*/, namespace: NAMESPACE }, ({ path }) => ({
        contents: `module.exports = loadPart(${JSON.stringify(path.split('/', 1)[0])})[${JSON.stringify(path)}];`,
      }));
    },
  };
}
