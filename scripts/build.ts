// Bundles the agent into dist/virtlens.js, and the libvirt client that other programs can use into dist/libvirt.js: one file each that
// needs nothing but Node.js. The client's types go to dist/types.
import { execFileSync } from 'node:child_process';
import { chmodSync, rmSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where the agent is shipped from. */
export const BUNDLE = join(root, 'dist', 'virtlens.js');

/** Writes the agent's bundle to a file. */
export async function buildAgent(outfile: string): Promise<void> {
  await bundle('src/main.ts', outfile, { BCRYPT_WORKER_SOURCE: JSON.stringify(await bundleWorker()) });
  chmodSync(outfile, 0o755);
}

/** Writes the libvirt client's bundle to a file. */
export async function buildClient(outfile: string): Promise<void> {
  await bundle('src/libvirt/index.ts', outfile);
}

/** The thread that checks passwords, as a text that the agent's bundle carries. */
async function bundleWorker(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(root, 'src/web/auth/bcrypt-worker.ts')],
    bundle: true,
    write: false,
    minify: true,
    platform: 'node',
    format: 'cjs',
    target: 'node26',
    legalComments: 'inline',
    logLevel: 'warning',
  });
  return outputFiles[0]!.text;
}

/** Writes the types of the libvirt client to a folder: `libvirt/index.d.ts` and what it imports. */
export function buildTypes(outDir: string): void {
  rmSync(outDir, { recursive: true, force: true });
  const tsc = join(root, 'node_modules', '.bin', 'tsc');
  execFileSync(tsc, ['-p', join(root, 'scripts', 'types.tsconfig.json'), '--outDir', outDir], { stdio: 'inherit' });
}

async function bundle(entry: string, outfile: string, define: Readonly<Record<string, string>> = {}): Promise<void> {
  await build({
    entryPoints: [join(root, entry)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node26',
    define,
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
  process.stderr.write(`${relative(root, outfile)}: ${Math.round(statSync(outfile).size / 1024)} KiB\n`);
}

if (import.meta.main) {
  await buildAgent(BUNDLE);
  await buildClient(join(root, 'dist', 'libvirt.js'));
  buildTypes(join(root, 'dist', 'types'));
}
