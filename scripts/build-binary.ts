// Makes dist/virtlens: one executable with Node.js, the agent, V8's code cache and the runtime's options inside (Node's single executable
// applications, https://nodejs.org/api/single-executable-applications.html).
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { bundleAgent } from './build.ts';
import { bundleLauncher } from './bundle/launcher.ts';
import { MAIN_PART } from './bundle/parts.ts';
import { ROOT } from './bundle/root.ts';

/** Where the executable is shipped from. */
export const BINARY = join(ROOT, 'dist', 'virtlens');

/** How large the young generation of a large host may become: with 1,000 VMs, 30 MiB less. Only a start can set it. */
const START_FLAGS = ['--max-semi-space-size=16'];

/** Writes the executable to a file, for the system that this runs on. */
export async function buildBinary(outfile: string): Promise<void> {
  const { parts, codeCache } = await bundleAgent();
  const folder = mkdtempSync(join(tmpdir(), 'virtlens-build-'));
  try {
    const write = (name: string, content: string | Buffer): string => {
      const path = join(folder, name.replaceAll('/', '_'));
      writeFileSync(path, content);
      return path;
    };
    const assets = Object.fromEntries(parts.map(({ name, source }) => [name, write(`${name}.js`, source)]));
    assets[`${MAIN_PART}.cache`] = write(`${MAIN_PART}.cache`, codeCache);
    const launcher = await bundleLauncher('sea', { target: `node${process.versions.node}`, define: {} });
    const output = join(folder, 'virtlens');
    const config = {
      main: write('launcher.js', launcher),
      output,
      executable: stripped(process.execPath, join(folder, 'node')),
      disableExperimentalSEAWarning: true,
      useSnapshot: false,
      useCodeCache: true,
      execArgv: START_FLAGS,
      assets,
    };
    execFileSync(process.execPath, ['--build-sea', write('sea.json', JSON.stringify(config))], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    mkdirSync(dirname(outfile), { recursive: true });
    // Another file, not other content: the old one may be running.
    rmSync(outfile, { force: true });
    copyFileSync(output, outfile);
    chmodSync(outfile, 0o755);
  } finally {
    rmSync(folder, { recursive: true });
  }
  process.stderr.write(`${relative(ROOT, outfile)}: ${Math.round(statSync(outfile).size / 2 ** 20)} MiB\n`);
}

/** A copy of Node.js without symbols and debugging information, a fifth of its size; the whole where there is no strip(1). */
function stripped(node: string, copy: string): string {
  copyFileSync(node, copy);
  try {
    execFileSync('strip', [copy], { stdio: 'ignore' });
  } catch {
    process.stderr.write(
      'virtlens: there is no strip (package binutils): the executable keeps the symbols of Node.js\n',
    );
  }
  return copy;
}

if (import.meta.main) await buildBinary(BINARY);
