// docs/moving: the command at which each page arrives is one that virtlens takes, with all flags of the one before.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readNovaConfig } from '../src/commands/nova/config.ts';
import { readPveConfig } from '../src/commands/pve/config.ts';
import { readServeConfig } from '../src/commands/serve/config.ts';
import { readTelegrafConfig } from '../src/commands/telegraf/config.ts';

const DIR = join(import.meta.dirname, '..', 'docs', 'moving');

const READERS: Readonly<Record<string, (argv: readonly string[]) => unknown>> = {
  nova: (argv) => readNovaConfig(argv, {}),
  pve: (argv) => readPveConfig(argv),
  telegraf: (argv) => readTelegrafConfig(argv, {}),
  serve: (argv) => readServeConfig(argv, {}),
};

const flagsOf = (args: readonly string[]) => args.filter((arg) => arg.startsWith('--')).map((arg) => arg.split('=')[0]);

describe('the pages of docs/moving', () => {
  for (const file of readdirSync(DIR)) {
    it(`${file} arrives at a command that virtlens takes`, async () => {
      const text = readFileSync(join(DIR, file), 'utf8');
      const [before, after] = [...text.matchAll(/^ {4}(\S.*)$/gm)].map((match) => match[1]!.split(/\s+/));
      assert.equal(after?.[0], 'virtlens');
      const isCommand = !after[1]!.startsWith('--');
      const command = isCommand ? after[1]! : 'serve';
      const args = after.slice(isCommand ? 2 : 1);
      for (const flag of flagsOf(before!.slice(1))) assert.ok(flagsOf(args).includes(flag), `${flag} is kept`);

      const folder = mkdtempSync(join(tmpdir(), 'virtlens-moving-'));
      try {
        const toml = join(folder, 'telegraf.conf');
        writeFileSync(toml, '[[inputs.libvirt]]\n');
        const real = args.map((arg) =>
          arg.endsWith('.conf') ? toml : arg.replace('$(NODE_IP)', '192.0.2.1').replace('/var/log', folder),
        );
        await READERS[command]!(real);
        await assert.rejects(async () => READERS[command]!([...real, '--no-such-flag']));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });
  }
});
