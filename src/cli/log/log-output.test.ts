import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { TestMachine } from '../../../test/support/test-machine.ts';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import { logUncaughtExceptions, openLog } from './log-output.ts';
import { createLogger } from './logging.ts';

/** A pipe whose reader begins to read at `read`. */
class SlowPipe extends Writable {
  text = '';
  #isRead = false;
  #done: (() => void) | undefined;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    if (this.#isRead) done();
    else this.#done = done;
  }

  read(): void {
    this.#isRead = true;
    this.#done?.();
  }
}

function open(stream: Writable) {
  return openLog(stream, (write) => createLogger({ level: 'info', format: 'logfmt', write, clock: SYSTEM_CLOCK }));
}

test('a reader that stops reading costs bounded memory and log lines, which are counted when it reads again', async () => {
  const pipe = new SlowPipe();
  const logger = open(pipe);
  const line = 'x'.repeat(1_000);
  for (let count = 0; count < 10_000; count++) logger.info(line);
  assert.ok(
    pipe.writableLength > 1_000_000 && pipe.writableLength < 1_100_000,
    `${pipe.writableLength} bytes are kept`,
  );
  pipe.read();
  await new Promise((resolve) => setImmediate(resolve));
  logger.info('again');
  const lines = pipe.text.trimEnd().split('\n');
  const lost = Number(
    /level=WARN msg="log lines were dropped because nobody read them" lines=(\d+)$/.exec(lines.at(-2)!)?.[1],
  );
  assert.equal(lost + lines.length - 2, 10_000);
  assert.match(lines.at(-1)!, /msg=again$/);
});

test('what nothing caught is one line of the log, whatever it is', () => {
  const machine = new TestMachine();
  logUncaughtExceptions(machine, open(machine.stderr));
  for (const error of [new Error('two\nlines'), 'a text', undefined]) machine.uncaughtExceptionHandler?.(error);
  const lines = machine.stderr.text.trimEnd().split('\n');
  assert.equal(lines.length, 3);
  assert.match(
    lines[0]!,
    /level=ERROR msg="an unexpected error was ignored; please report it" err=two stack="Error: two lines at /,
  );
  assert.match(lines[1]!, / err="a text"$/);
  assert.match(lines[2]!, / err=undefined$/);
});
