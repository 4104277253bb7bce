// What the documents say of files and flags is true.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';

const ROOT = dirname(import.meta.dirname);
const DOCUMENTS = globSync(['*.md', 'docs/*.md'], { cwd: ROOT });
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');

/** Every command has them. */
const COMMON_FLAGS = new Set(['help', 'version']);

describe('the documents', () => {
  for (const file of DOCUMENTS) {
    it(`${file} links only to files that are there`, () => {
      const targets = [...read(file).matchAll(/\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)/g)].map((match) => match[1]!);
      const missing = targets.filter((target) => !existsSync(join(ROOT, dirname(file), target)));
      assert.deepEqual(missing, []);
    });
  }

  for (const [command, file] of [
    ['serve', 'docs/serve.md'],
    ['nova', 'docs/nova.md'],
    ['telegraf', 'docs/telegraf.md'],
    ['pve', 'docs/pve.md'],
    ['events', 'docs/events.md'],
    ['sim', 'docs/simulator.md'],
  ] as const) {
    it(`${file} names every flag of ${command}, and no other`, () => {
      const help = execFileSync(process.execPath, [join(ROOT, 'src', 'main.ts'), command, '--help'], {
        encoding: 'utf8',
      });
      const flags = new Set(
        [...help.matchAll(/^ +(?:-h, )?--(?:\[no-\])?([a-z][a-z._-]*)/gm)].map((match) => match[1]!),
      );
      const aliases = new Set([...help.matchAll(/\balso\s+--([a-z][a-z._-]*)/g)].map((match) => match[1]!));
      const text = read(file);
      const undocumented = [...flags].filter((flag) => !COMMON_FLAGS.has(flag) && !isNamed(text, flag));
      assert.deepEqual(undocumented, []);
      const named = [...text.matchAll(/\| `--([a-z][a-z._-]*)/g)].map((match) => match[1]!);
      assert.deepEqual(
        named.filter((flag) => !flags.has(flag) && !aliases.has(flag) && flag !== 'collector.'),
        [],
      );
    });
  }
});

/** A flag of a statistics group is named by the row of all groups. */
function isNamed(text: string, flag: string): boolean {
  const group = /^collector\.(.+)$/.exec(flag)?.[1];
  return (
    text.includes(`--${flag}`) ||
    (group !== undefined && /`--collector\.GROUP`.*/.exec(text)?.[0].includes(`\`${group}\``) === true)
  );
}
