// The rooms of the house and what each may import, as ARCHITECTURE.md has them: arrows point down, and nothing goes in a circle.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { it } from 'node:test';

const SRC = join(import.meta.dirname, '..', 'src');

/**
 * The rooms from the top of the house to its floor: the folders that a room has, and the rooms below it that its files may import. A room
 * without folders' names has none.
 */
const HOUSE: Readonly<Record<string, { readonly folders?: readonly string[]; readonly mayImport: readonly string[] }>> =
  {
    'main.ts': { mayImport: ['commands', 'cli'] },
    commands: {
      folders: ['events', 'ha', 'logs', 'nova', 'pve', 'serve', 'sim', 'telegraf'],
      mayImport: [
        'cli',
        'web',
        'outputs',
        'formats',
        'schemas',
        'ha',
        'logs',
        'events',
        'proxmox',
        'collect',
        'connection',
        'sim',
        'libvirt',
        'model',
        'base',
      ],
    },
    cli: {
      folders: ['flags', 'log'],
      mayImport: ['schemas', 'events', 'collect', 'connection', 'sim', 'libvirt', 'model', 'base'],
    },
    web: { folders: ['auth', 'limits', 'server'], mayImport: ['formats', 'model', 'base'] },
    outputs: { folders: ['logs'], mayImport: ['formats', 'model', 'base'] },
    formats: { folders: ['logs', 'testdata'], mayImport: ['model', 'base'] },
    schemas: { folders: ['extended', 'inovex', 'parts', 'pve', 'table', 'tinkoff'], mayImport: ['model', 'base'] },
    ha: { folders: ['kubernetes', 'queue'], mayImport: ['events', 'model', 'base'] },
    logs: { folders: ['checkpoint', 'delivery', 'parse', 'sources'], mayImport: ['model', 'base'] },
    events: { mayImport: ['collect', 'connection', 'libvirt', 'model', 'base'] },
    proxmox: {
      folders: ['config', 'devices', 'monitor', 'process', 'storage'],
      mayImport: ['qemu', 'model', 'base'],
    },
    collect: {
      folders: ['extras', 'info', 'inventory', 'inventory/xml', 'nics', 'stats'],
      mayImport: ['connection', 'libvirt', 'model', 'base'],
    },
    connection: { mayImport: ['libvirt', 'model', 'base'] },
    qemu: { mayImport: ['base'] },
    sim: {
      folders: ['calls', 'daemon', 'description', 'hypervisor', 'scenario', 'stats'],
      mayImport: ['libvirt', 'base'],
    },
    libvirt: { folders: ['transports', 'transports/ssh', 'wire'], mayImport: ['base'] },
    model: { mayImport: ['base'] },
    base: { mayImport: [] },
  };

/** More source files than this in one folder, tests not counted, are too many to be seen at a glance. */
const FILES_OF_A_FOLDER_MAX = 12;

/** The simulator knows libvirt's messages and numbers, and nothing of the client. */
const WIRE = 'libvirt/wire/';

/** Tests may hold one room against another. */
const isTest = (file: string) => file.endsWith('.test.ts');

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

it('every file and folder is in a room of the house, and every room and folder that is named has files', () => {
  assert.ok(files.length > 100, 'the files are found');
  const named = Object.entries(HOUSE).flatMap(([room, { folders = [] }]) => [
    ...(room.endsWith('.ts') ? ['.'] : [room]),
    ...folders.map((folder) => `${room}/${folder}`),
  ]);
  const all = globSync('**/*', { cwd: SRC, withFileTypes: true }).filter((entry) => entry.isFile());
  const found = new Set(all.map((entry) => relative(SRC, entry.parentPath) || '.'));
  assert.deepEqual([...found].sort(), named.sort());
  assert.deepEqual(
    files.filter((file) => !file.includes('/')),
    ['main.ts'],
  );
});

it('no folder has more files than can be seen at a glance', () => {
  const sources = files.filter((file) => !isTest(file));
  const counts = [...Map.groupBy(sources, dirname)].map(([folder, { length }]) => ({ folder, length }));
  assert.deepEqual(
    counts.filter(({ length }) => length > FILES_OF_A_FOLDER_MAX),
    [],
  );
});

it('no room imports what is above or beside it', () => {
  const wrong: string[] = [];
  let seen = 0;
  for (const { from, to, text } of files.filter((file) => !isTest(file)).flatMap(importsOf)) {
    seen++;
    const [room, other] = [roomOf(from), roomOf(to)];
    const { mayImport } = HOUSE[room]!;
    if (to.startsWith('../')) {
      if (to !== '../package.json') wrong.push(`src/${from} imports '${text}': nothing outside of src is imported`);
    } else if (room !== other && !mayImport.includes(other)) {
      wrong.push(`src/${from} imports '${text}': ${room} may import ${mayImport.join(', ') || 'nothing'}`);
    } else if (room === 'sim' && other === 'libvirt' && !to.startsWith(WIRE)) {
      wrong.push(`src/${from} imports '${text}': of libvirt/, sim may import wire/ alone`);
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
