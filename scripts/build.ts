// Bundles the agent into dist/virtlens.js, and the libvirt client that other programs can use into dist/libvirt.js: one file each that
// needs nothing but Node.js. The client's types go to dist/types.
import { execFileSync } from 'node:child_process';
import { chmodSync, rmSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build } from 'esbuild';
import manifest from '../package.json' with { type: 'json' };

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The oldest version of Node.js that the bundles run on. */
const NODE_MAJOR_MIN = Number(/\d+/.exec(manifest.engines.node)![0]);

/** Where the agent is shipped from. */
export const BUNDLE = join(root, 'dist', 'virtlens.js');

/** Writes the agent's bundle to a file. */
export async function buildAgent(outfile: string): Promise<void> {
  await build({
    ...COMMON,
    entryPoints: [join(root, 'src/main.ts')],
    outfile,
    format: 'cjs',
    target: 'node14.21',
    define: { BCRYPT_WORKER_SOURCE: JSON.stringify(await bundleWorker()) },
    banner: { js: AGENT_BANNER },
    // It is used where the sources are run, not where the thread's text is in the bundle.
    logOverride: { 'empty-import-meta': 'silent' },
  });
  chmodSync(outfile, 0o755);
  sayBuilt(outfile);
}

/** Writes the libvirt client's bundle to a file. */
export async function buildClient(outfile: string): Promise<void> {
  await build({
    ...COMMON,
    entryPoints: [join(root, 'src/libvirt/index.ts')],
    outfile,
    format: 'esm',
    target: `node${NODE_MAJOR_MIN}`,
    banner: { js: CLIENT_BANNER },
  });
  sayBuilt(outfile);
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
    target: `node${NODE_MAJOR_MIN}`,
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

/** What both bundles have in common. */
const COMMON = {
  bundle: true,
  platform: 'node',
  // ssh2 looks for native helpers and goes on without them; virtlens ships none.
  external: ['cpu-features', '*.node'],
  legalComments: 'eof',
  logLevel: 'warning',
} as const satisfies BuildOptions;

/**
 * The first lines of the agent. It is a script that is good as CommonJS and as an ES module, whichever the package.json around it makes of
 * it, in a syntax that Node.js reads from version 14.21 on, and it loads nothing before these lines: older versions say which they should
 * be, whatever they lack.
 */
const AGENT_BANNER = `
if (Number(process.versions.node.split('.')[0]) < ${NODE_MAJOR_MIN}) {
  process.stderr.write(
    'virtlens: virtlens needs Node.js ${NODE_MAJOR_MIN} or newer, and ' + process.execPath + ' is ' + process.version + '; run it with a newer one\\n'
  );
  process.exit(1);
}
var require = typeof require === 'function' ? require : process.getBuiltinModule('node:module').createRequire(process.argv[1]);
var __dirname = typeof __dirname === 'string' ? __dirname : require('node:path').dirname(process.argv[1]);
`.trim();

/** The library's: CommonJS dependencies use require and __dirname, which ES modules do not have. */
const CLIENT_BANNER = `
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
const __dirname = import.meta.dirname;
`.trim();

function sayBuilt(outfile: string): void {
  process.stderr.write(`${relative(root, outfile)}: ${Math.round(statSync(outfile).size / 1024)} KiB\n`);
}

if (import.meta.main) {
  await buildAgent(BUNDLE);
  await buildClient(join(root, 'dist', 'libvirt.js'));
  buildTypes(join(root, 'dist', 'types'));
}
