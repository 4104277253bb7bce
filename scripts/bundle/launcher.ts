// The launcher: src/main.ts and what it imports statically. Its one dynamic import loads the part `main`.
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { deferBuiltins } from './deferred-builtins.ts';
import { COMMON, MAIN_PART, type PartOptions } from './parts.ts';
import { ROOT } from './root.ts';

const ENTRY = join(ROOT, 'src/main.ts');

/** Where the launcher finds the parts: in its own file, or among the assets of a single executable. */
export type StoreKind = 'file' | 'sea';

const STORES: Readonly<Record<StoreKind, string>> = {
  file: "require('./scripts/bundle/file-store.ts').openFileStore()",
  sea: "require('./scripts/bundle/sea-store.ts').openSeaStore()",
};

/** Bundles it as a script. */
export async function bundleLauncher(kind: StoreKind, options: PartOptions): Promise<string> {
  const { outputFiles } = await build({
    ...COMMON,
    target: options.target,
    define: options.define,
    entryPoints: [ENTRY],
    write: false,
    format: 'cjs',
    charset: 'ascii',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    plugins: [loadMain(kind), deferBuiltins()],
  });
  return outputFiles[0]!.text;
}

function loadMain(kind: StoreKind): Plugin {
  return {
    name: 'launcher',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^\./ }, ({ path, kind: importKind, importer }) => {
        if (importKind !== 'dynamic-import') return undefined;
        return { path, namespace: importer === ENTRY ? 'main-part' : 'not-here' };
      });
      onLoad({ filter: /.*/, namespace: 'main-part' }, () => ({
        contents: `module.exports = require('./scripts/bundle/part-reader.ts').createPartLoader(${STORES[kind]})(${JSON.stringify(MAIN_PART)});`,
        resolveDir: ROOT,
      }));
      // The table of commands has them; the launcher only looks for names in it.
      onLoad({ filter: /.*/, namespace: 'not-here' }, () => ({
        contents: "throw new Error('the launcher loads no command by itself');",
      }));
    },
  };
}
