import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlagError } from '../../cli/flags.ts';
import { readTelegrafConfig } from './config.ts';

const BUCKET = ['--influx.url=http://127.0.0.1:8086', '--influx.org=o', '--influx.bucket=b'];

test('a token is used without the newline that files and shells put after it', async () => {
  for (const written of ['secret', 'secret\n', 'secret\r\n', '  secret ']) {
    const fromEnv = await readTelegrafConfig(BUCKET, { INFLUX_TOKEN: written });
    const fromFlag = await readTelegrafConfig([...BUCKET, `--influx.token=${written}`], {});
    assert.deepEqual([fromEnv.influx?.token, fromFlag.influx?.token], ['secret', 'secret'], JSON.stringify(written));
  }
  for (const written of ['', '\n']) {
    assert.equal((await readTelegrafConfig(BUCKET, { INFLUX_TOKEN: written })).influx?.token, undefined);
  }
});

test('a token that no header can carry is refused, and not repeated', async () => {
  for (const token of ['two\nlines', 'nul\0', 'emoji 🗝']) {
    await assert.rejects(readTelegrafConfig(BUCKET, { INFLUX_TOKEN: token }), (error: unknown) => {
      assert.ok(error instanceof FlagError && error.code === 'ERR_FLAG_VALUE');
      assert.doesNotMatch(error.message, /two|nul|emoji/);
      return true;
    });
  }
});
