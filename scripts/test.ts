// What `npm test` runs: system packages, lint, types, then every test, ending in the summary of Node's runner.
//
//   npm test                         everything
//   npm test -- src/libvirt xdr      only the test files whose path contains one of these words, without lint and types
//   npm test -- --test-name-pattern=…  options of `node --test` are passed on
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { installSystemPackages } from './install-system-packages.ts';

const ROOT = dirname(import.meta.dirname);

/** Two test files at a time: real guests are emulated, and more of them than cores would make each other late. */
const CONCURRENCY = 2;

/** A test file that hangs is ended, and so are its daemons, well before the time limit of a CI machine. */
const TEST_TIMEOUT_MS = 300_000;

const options = process.argv.slice(2).filter((arg) => arg.startsWith('-'));
const words = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));

process.exitCode = await main();

async function main(): Promise<number> {
  const files = findTestFiles();
  if (files.length === 0) {
    process.stderr.write(`virtlens: no test file has ${words.map((word) => `'${word}'`).join(' or ')} in its path\n`);
    return 1;
  }
  if (files.some((file) => file.startsWith('test/'))) await installSystemPackages();

  const failed: string[] = [];
  if (words.length === 0) {
    if ((await run('biome', ['check', '.'])) !== 0) failed.push('biome check');
    if ((await run('tsc', [])) !== 0) failed.push('tsc');
  }
  const runner = ['--test', `--test-concurrency=${CONCURRENCY}`, `--test-timeout=${TEST_TIMEOUT_MS}`, ...options];
  if ((await run(process.execPath, [...runner, ...files])) !== 0) failed.push('tests');
  // On standard error, so that the runner's summary stays the last thing on standard output.
  if (failed.length > 0) process.stderr.write(`virtlens: failed: ${failed.join(', ')}\n`);
  return failed.length === 0 ? 0 : 1;
}

/** Relative paths; the long tests with real daemons first, so that the short ones fill the gaps at the end. */
function findTestFiles(): string[] {
  const files = ['test/**/*.test.ts', 'src/**/*.test.ts', 'scripts/**/*.test.ts', 'bench/**/*.test.ts'].flatMap(
    (pattern) => globSync(pattern, { cwd: ROOT }).sort(),
  );
  return words.length === 0 ? files : files.filter((file) => words.some((word) => file.includes(word)));
}

/** Runs a program of node_modules in the foreground and gives its exit code. */
function run(program: string, args: readonly string[]): Promise<number> {
  const env = {
    ...process.env,
    PATH: `${join(ROOT, 'node_modules', '.bin')}:${process.env.PATH ?? ''}`,
    // Else the type checker leaves a cache in the system's temporary folder.
    NODE_DISABLE_COMPILE_CACHE: '1',
  };
  const child = spawn(program, args, { cwd: ROOT, env, stdio: 'inherit' });
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, forward);
  return new Promise((resolve) => {
    const done = (code: number) => {
      for (const signal of signals) process.off(signal, forward);
      resolve(code);
    };
    child.once('error', (error) => {
      process.stderr.write(`virtlens: ${program} cannot be run: ${error.message}\n`);
      done(1);
    });
    child.once('close', (code) => done(code ?? 1));
  });
}
