// Bundles the agent into dist/virtlens.js: one file that needs nothing but Node.js.
import { chmodSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where the bundle is shipped from. */
export const BUNDLE = join(root, 'dist', 'virtlens.js');

/** Writes the bundle to a file. */
export async function buildAgent(outfile: string): Promise<void> {
  await build({
    entryPoints: [join(root, 'src', 'main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node26',
    // ssh2 looks for native helpers and goes on without them; virtlens ships none.
    external: ['cpu-features', '*.node'],
    // CommonJS dependencies use require and __dirname, which ES modules do not have.
    banner: {
      js: [
        "import { createRequire } from 'node:module';",
        'const require = createRequire(import.meta.url);',
        'const __dirname = import.meta.dirname;',
      ].join('\n'),
    },
    legalComments: 'eof',
    logLevel: 'warning',
  });
  chmodSync(outfile, 0o755);
  process.stderr.write(`dist/virtlens.js: ${Math.round(statSync(outfile).size / 1024)} KiB\n`);
}

if (import.meta.main) await buildAgent(BUNDLE);
