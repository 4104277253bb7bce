import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Journal } from './journal.ts';

const root = mkdtempSync(join(tmpdir(), 'virtlens-journal-'));
after(() => rmSync(root, { recursive: true, force: true }));
let dirs = 0;
const makeDir = () => join(root, `${++dirs}`);

/** A journal of three records, closed. */
async function written(dir: string): Promise<Buffer> {
  const journal = new Journal(dir);
  assert.equal(await journal.read(), undefined);
  await journal.replace([{ n: 0 }]);
  await journal.append([{ n: 1, text: 'ü\n\u0000' }], true);
  await journal.append([{ n: 2 }], false);
  await journal.close();
  return readFileSync(journal.path);
}

describe('the journal', () => {
  it('gives back what was written, from a directory that it makes', async () => {
    const dir = join(makeDir(), 'a', 'b');
    await written(dir);
    assert.deepEqual(await new Journal(dir).read(), {
      records: [{ n: 0 }, { n: 1, text: 'ü\n\u0000' }, { n: 2 }],
      damage: undefined,
    });
    assert.deepEqual(readdirSync(dir), ['events.journal']);
  });

  it('cut off anywhere gives the records that are whole, and is not damaged by that', async () => {
    const dir = makeDir();
    const bytes = await written(dir);
    const header = bytes.indexOf(0x0a) + 1;
    for (let end = header; end < bytes.length; end++) {
      writeFileSync(join(dir, 'events.journal'), bytes.subarray(0, end));
      const contents = (await new Journal(dir).read())!;
      assert.equal(contents.damage, undefined, `cut off at ${end}`);
      assert.deepEqual(
        contents.records.map((record) => (record as { n: number }).n),
        [0, 1, 2].slice(0, contents.records.length),
      );
    }
  });

  it('with another byte anywhere is damaged from that record on, or is not ours', async () => {
    const dir = makeDir();
    const bytes = await written(dir);
    const header = bytes.indexOf(0x0a) + 1;
    const lastLine = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1;
    // Without the newline before it the last record is longer, and cut off.
    for (let at = 0; at < lastLine - 1; at++) {
      const other = Buffer.from(bytes);
      other[at] = other[at]! ^ 0x01;
      writeFileSync(join(dir, 'events.journal'), other);
      const reading = new Journal(dir).read();
      if (at < header) await assert.rejects(reading, { code: 'ERR_EVENTS_STATE_FILE' });
      else assert.match((await reading)!.damage ?? '', /damaged at byte/, `another byte at ${at}`);
    }
  });

  it('that another process writes to, or has replaced, is written no more', async () => {
    const dir = makeDir();
    const one = new Journal(dir);
    await one.replace([{ n: 0 }]);
    const other = new Journal(dir);
    await other.replace([{ n: 0 }]);
    await assert.rejects(one.append([{ n: 1 }], true), { code: 'ERR_EVENTS_STATE_TAKEN' });
    writeFileSync(other.path, 'x', { flag: 'a' });
    await assert.rejects(other.append([{ n: 1 }], true), { code: 'ERR_EVENTS_STATE_TAKEN' });
    await one.close();
    await other.close();
  });

  it('in a directory that cannot be used says which and why', async () => {
    const dir = makeDir();
    mkdirSync(dir);
    const file = join(dir, 'file');
    writeFileSync(file, '');
    await assert.rejects(new Journal(file).read(), {
      code: 'ERR_EVENTS_STATE_DIR',
      message: /file" cannot be used: .*a directory/,
    });
    await assert.rejects(new Journal(join(file, 'x')).read(), { code: 'ERR_EVENTS_STATE_DIR' });
    await assert.rejects(new Journal('/proc/virtlens').read(), { code: 'ERR_EVENTS_STATE_DIR' });
  });
});
