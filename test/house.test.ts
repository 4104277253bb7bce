// The rooms of the house and what each may import, as ARCHITECTURE.md has them: arrows point down, and nothing goes in a circle.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { it } from 'node:test';

const SRC = join(import.meta.dirname, '..', 'src');

/** Room to the rooms that its files may import beside itself. `main.ts` is a room of its own. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'main.ts': ['commands'],
  commands: [
    'web',
    'ha',
    'logs',
    'events',
    'formats',
    'schemas',
    'collect',
    'proxmox',
    'qemu',
    'sim',
    'libvirt',
    'model',
  ],
  web: ['formats', 'model'],
  ha: ['events', 'model'],
  logs: ['model'],
  events: ['libvirt', 'model'],
  formats: ['model'],
  schemas: ['model'],
  collect: ['libvirt', 'model'],
  proxmox: ['qemu', 'model'],
  qemu: [],
  sim: ['libvirt'],
  libvirt: [],
  model: [],
};

/** The simulator knows libvirt's messages and numbers, and nothing of the client. */
const WIRE_FILES = /^libvirt\/(?:xdr|frame|codec|typed-params|types|procedures|event-kinds|libvirt-error)\.ts$/;

/** Tests and what only they use may hold one room against another. */
const isTest = (file: string) => /\.test\.ts$|testkit|fixtures|\.testing\.ts$/.test(file);

interface Import {
  readonly from: string;
  readonly to: string;
  readonly text: string;
}

/** Every import of a file of this repository, type imports included. Paths are relative to src. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(SRC, file), 'utf8').replace(/^\s*(?:\/\/.*|\/?\*.*)$/gm, '');
  const pattern = /(?:\bfrom\s*|^\s*import\s*|\bimport\(\s*)(['"])(\.{1,2}\/[^'"]+)\1/gm;
  return [...text.matchAll(pattern)].map((match) => ({
    from: file,
    to: relative(SRC, resolve(dirname(join(SRC, file)), match[2]!)),
    text: match[2]!,
  }));
}

const files = globSync('**/*.ts', { cwd: SRC }).sort();
const roomOf = (file: string) => file.split('/', 1)[0]!;

it('every file is in a room of the house', () => {
  assert.ok(files.length > 100, 'the files are found');
  for (const file of files)
    assert.ok(roomOf(file) in MAY_IMPORT, `src/${file}: the house has no room '${roomOf(file)}'`);
});

it('no room imports what is above or beside it', () => {
  const wrong: string[] = [];
  let seen = 0;
  for (const { from, to, text } of files.filter((file) => !isTest(file)).flatMap(importsOf)) {
    seen++;
    const [room, other] = [roomOf(from), roomOf(to)];
    if (to.startsWith('../')) {
      if (to !== '../package.json') wrong.push(`src/${from} imports '${text}': nothing outside of src is imported`);
    } else if (room !== other && !MAY_IMPORT[room]!.includes(other)) {
      const allowed = MAY_IMPORT[room]!.join(', ') || 'nothing';
      wrong.push(`src/${from} imports '${text}': ${room} may import ${allowed}`);
    } else if (room === 'sim' && other === 'libvirt' && !WIRE_FILES.test(to)) {
      wrong.push(`src/${from} imports '${text}': sim may import libvirt's wire types only`);
    }
  }
  assert.ok(seen > 200, 'the imports are found');
  assert.deepEqual(wrong, []);
});

it('no imports go in a circle', () => {
  const below = new Map(files.map((file) => [file, importsOf(file).map(({ to }) => to)]));
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file);
    if (start >= 0) assert.fail(`imports go in a circle: ${[...path.slice(start), file].join(' → ')}`);
    if (done.has(file)) return;
    for (const next of below.get(file) ?? []) walk(next, [...path, file]);
    done.add(file);
  };
  for (const file of files) walk(file, []);
});
