import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { JournalFiles, noJournal } from '../../../test/support/journal-files.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { until } from '../../../test/support/until.ts';
import { JournalSource } from './journal.ts';
import type { Gap, Slice } from './stream.ts';

describe('the journal as one sink reads it', { skip: noJournal }, () => {
  let root = '';
  let files: JournalFiles;
  let clock: FakeClock;
  let gaps: Gap[];
  let source: JournalSource;
  let positions: Map<string, unknown>;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'virtlens-journal-source-'));
    files = new JournalFiles(join(root, 'journal'));
    clock = new FakeClock();
    gaps = [];
    positions = new Map();
    source = open();
  });
  afterEach(() => {
    source.close();
    rmSync(root, { recursive: true });
  });

  function open(): JournalSource {
    return new JournalSource({
      choice: { units: ['libvirtd.service'], dir: files.dir, files: [], machineId: undefined },
      keepsSecrets: false,
      positions,
      onChange: () => {},
      onGap: (gap) => gaps.push(gap),
      clock,
      logger: new KeptLog(),
    });
  }

  const entries = (from: number, count: number) => Array.from({ length: count }, (_, index) => `${from + index}`);
  const bodiesOf = ({ records }: Slice) => records.map(({ body }) => body);

  /** Takes and acknowledges until this message has come. */
  async function takeUntil(last: string): Promise<string[]> {
    const taken: string[] = [];
    while (taken.at(-1) !== last) {
      await until(() => source.readyMs() !== undefined, `there is something after ${taken.at(-1)}`);
      const slice = await source.take({ recordsMax: 500, bytesMax: 1e9 });
      assert.ok(slice !== undefined && 'records' in slice);
      taken.push(...bodiesOf(slice));
      source.advance(slice);
    }
    return taken;
  }

  /** Waits until so much waits for the sink that nothing more is read. */
  async function untilFull(): Promise<void> {
    await until(() => clock.pending === 1, 'it stands still');
  }

  it('nothing comes twice or is lost when a sink was away for long and journalctl was ended meanwhile', async () => {
    files.write('one.journal', ...entries(0, 2500));
    source.start();
    await untilFull();
    await clock.advance(10_000);
    files.write('one.journal', ...entries(2500, 10));
    assert.deepEqual(await takeUntil('2509'), entries(0, 2510));
    assert.deepEqual(gaps, []);
  });

  it('what was vacuumed while a sink was away is a gap, and what is left comes', async () => {
    files.write('one.journal', ...entries(0, 2500));
    files.archive('one.journal');
    files.write('two.journal', ...entries(2500, 10));
    source.start();
    await untilFull();
    await clock.advance(10_000);
    for (const name of readdirSync(files.dir)) if (name.startsWith('system@')) unlinkSync(files.path(name));
    const taken = await takeUntil('2509');
    // Those that were read already, 2,000 and what else was in one piece of output, and those that are left.
    const read = taken.indexOf('2500');
    assert.ok(read >= 2000 && read < 2400, `${read} were read`);
    assert.deepEqual(taken, [...entries(0, read), ...entries(2500, 10)]);
    assert.deepEqual(gaps, [
      {
        stream: 'journal',
        bytes: undefined,
        reason: 'the journal no longer has the entry after which it was to be read on',
      },
    ]);
  });

  it('a batch that was under way is not given up when the journal cannot be read now', async () => {
    files.write('one.journal', ...entries(0, 5));
    source.start();
    await until(() => source.readyMs() !== undefined, 'there is something');
    const slice = await source.take({ recordsMax: 3, bytesMax: 1e9 });
    assert.ok(slice !== undefined && 'records' in slice);
    source.close();
    source = open();
    renameSync(files.dir, `${files.dir}-away`);
    await assert.rejects(source.takeAgain(slice.range), /Failed to open .*: No such file or directory/);
    renameSync(`${files.dir}-away`, files.dir);
    assert.deepEqual(bodiesOf((await source.takeAgain(slice.range))!), bodiesOf(slice));
    assert.deepEqual(gaps, []);
  });
});
