// Runs a script of this project on the project's own Node.js, installing the project's npm dependencies first when they are
// missing or older than the lock file. It is the one file that must run on whatever Node the machine has (18 or newer), so it
// uses nothing recent and imports nothing but Node itself.
//
//   node scripts/with-runtime.mjs SCRIPT [ARG ...]
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const runtime = join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
const lock = join(root, 'package-lock.json');
const stamp = join(root, 'node_modules', '.package-lock.json');

if (!existsSync(runtime) || !existsSync(stamp) || statSync(stamp).mtimeMs < statSync(lock).mtimeMs) {
  process.stderr.write('virtlens: installing npm dependencies (once per checkout)\n');
  // npm's chatter goes to standard error: standard output belongs to the script (it may be a metrics stream).
  const install = spawnSync('npm', ['ci', '--no-progress', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (install.status !== 0) {
    process.stderr.write("virtlens: 'npm ci' failed; the lines above say why. Fix that and run the command again.\n");
    process.exit(1);
  }
}

const [script, ...args] = process.argv.slice(2);
const child = spawn(runtime, [join(root, script), ...args], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  process.exit(signal ? 128 + constants.signals[signal] : code === null ? 1 : code);
});
