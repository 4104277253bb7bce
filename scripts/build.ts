// Bundles the agent into dist/virtlens.js, and the libvirt client that other programs can use into dist/libvirt.js: one file each that
// needs nothing but Node.js. The client's types go to dist/types.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { build } from 'esbuild';
import manifest from '../package.json' with { type: 'json' };
import { PART_MARK } from './bundle/file-store.ts';
import { bundleLauncher } from './bundle/launcher.ts';
import { CODE_CACHE_KEY } from './bundle/part-reader.ts';
import { bundleParts, COMMON, MAIN_PART, type Part, WORKER_ENTRY } from './bundle/parts.ts';
import { ROOT } from './bundle/root.ts';

/** The oldest version of Node.js that the bundles run on. */
const NODE_MAJOR_MIN = Number(/\d+/.exec(manifest.engines.node)![0]);
const TARGET = `node${NODE_MAJOR_MIN}`;

/** Where the agent is shipped from. */
export const BUNDLE = join(ROOT, 'dist', 'virtlens.js');

/** A higher level makes the file a tenth smaller, and its part `main` takes twice as long to unpack. */
const MAIN_LEVEL = 3;
const LEVEL = 19;

/** The agent's parts, and V8's code cache of the main one. */
export interface AgentParts {
  readonly parts: readonly Part[];
  readonly codeCache: Buffer;
}

/** Bundles the agent's parts and makes the code cache, for the Node.js that runs this. */
export async function bundleAgent(): Promise<AgentParts> {
  const parts = await bundleParts({
    target: TARGET,
    define: { BCRYPT_WORKER_SOURCE: JSON.stringify(await bundleWorker()) },
  });
  return { parts, codeCache: makeCodeCache(parts.find(({ name }) => name === MAIN_PART)!) };
}

/** Writes the agent to a file. */
export async function buildAgent(outfile: string): Promise<void> {
  const { parts, codeCache } = await bundleAgent();
  const launcher = await bundleLauncher('file', { target: TARGET, define: {} });
  const lines = parts.map(({ name, source }) =>
    name === MAIN_PART
      ? [name, CODE_CACHE_KEY, pack(Buffer.from(source), MAIN_LEVEL), pack(codeCache, MAIN_LEVEL)].join(' ')
      : [name, CODE_CACHE_KEY, pack(Buffer.from(source), LEVEL), '-'].join(' '),
  );
  const legal = parts.flatMap((part) => part.legal.split('\n')).map((line) => `// ${line}`.trimEnd());
  mkdirSync(dirname(outfile), { recursive: true });
  writeFileSync(outfile, `${startOf(launcher)}${legal.join('\n')}\n/*${PART_MARK}${lines.join(PART_MARK)}\n*/\n`);
  chmodSync(outfile, 0o755);
  sayBuilt(outfile);
}

/** Writes the libvirt client's bundle to a file. */
export async function buildClient(outfile: string): Promise<void> {
  await build({
    ...COMMON,
    entryPoints: [join(ROOT, 'src/libvirt/index.ts')],
    outfile,
    format: 'esm',
    target: TARGET,
    banner: { js: CLIENT_BANNER },
    legalComments: 'eof',
  });
  sayBuilt(outfile);
}

/** The thread that checks passwords, as a text that the agent's bundle carries. */
async function bundleWorker(): Promise<string> {
  const { outputFiles } = await build({
    ...COMMON,
    entryPoints: [join(ROOT, WORKER_ENTRY)],
    write: false,
    minify: true,
    format: 'cjs',
    target: TARGET,
    legalComments: 'inline',
  });
  return outputFiles[0]!.text;
}

/** What V8 has compiled of the part after a few scrapes, as its code cache. */
function makeCodeCache({ source }: Part): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'virtlens-build-'));
  try {
    const [part, outfile] = [join(folder, 'part.js'), join(folder, 'part.cache')];
    writeFileSync(part, source);
    const script = join(ROOT, 'scripts', 'bundle', 'make-code-cache.ts');
    // An option of Node.js from outside could change V8's flags, and then no start would take the cache.
    const { NODE_OPTIONS: _, ...env } = process.env;
    execFileSync(process.execPath, [script, part, outfile], { env, stdio: ['ignore', 'ignore', 'inherit'] });
    return readFileSync(outfile);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function pack(bytes: Buffer, level: number): string {
  return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: level } }).toString('base64');
}

/** Writes the types of the libvirt client to a folder: `libvirt/index.d.ts` and what it imports. */
export function buildTypes(outDir: string): void {
  rmSync(outDir, { recursive: true, force: true });
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
  execFileSync(tsc, ['-p', join(ROOT, 'scripts', 'types.tsconfig.json'), '--outDir', outDir], { stdio: 'inherit' });
}

/**
 * The first lines of the agent, which run the launcher. They are a script that is good as CommonJS and as an ES module, whichever the package.json around it makes of
 * it, in a syntax that Node.js reads from version 14.21 on, and they load nothing before the version is checked: older versions say which they should
 * be, whatever they lack. The launcher is a text, compiled apart: V8 keeps the whole text of a file, parts and all, in memory for as long as a function of it is
 * in use, and of this one none is.
 */
function startOf(launcher: string): string {
  return `#!/usr/bin/env node
if (Number(process.versions.node.split('.')[0]) < ${NODE_MAJOR_MIN}) {
  process.stderr.write(
    'virtlens: virtlens needs Node.js ${NODE_MAJOR_MIN} or newer, and ' + process.execPath + ' is ' + process.version + '; run it with a newer one\\n'
  );
  process.exit(1);
}
new (process.getBuiltinModule('node:vm').Script)(${JSON.stringify(`(function (require) {${launcher}\n})`)}, { filename: process.argv[1] })
  .runInThisContext()(process.getBuiltinModule('node:module').createRequire(process.argv[1]));
`;
}

/** The library's: CommonJS dependencies use require and __dirname, which ES modules do not have. */
const CLIENT_BANNER = `
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
const __dirname = import.meta.dirname;
`.trim();

function sayBuilt(outfile: string): void {
  process.stderr.write(`${relative(ROOT, outfile)}: ${Math.round(statSync(outfile).size / 1024)} KiB\n`);
}

if (import.meta.main) {
  await buildAgent(BUNDLE);
  await buildClient(join(ROOT, 'dist', 'libvirt.js'));
  buildTypes(join(ROOT, 'dist', 'types'));
}
