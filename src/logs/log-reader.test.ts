import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, test } from 'node:test';
import { KeptLog } from '../../test/support/kept-log.ts';
import { until } from '../../test/support/until.ts';
import { SYSTEM_CLOCK } from '../base/clock.ts';
import type { LogRecord } from '../model/log-record.ts';
import type { LogBatch, LogSink } from '../model/log-sink.ts';
import type { SampleFamily } from '../model/metric.ts';
import { type LogReader, type LogReaderOptions, openLogReader } from './log-reader.ts';

let root = '';
let dir = '';
let log = new KeptLog();
let open: LogReader[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'virtlens-logs-'));
  dir = join(root, 'qemu');
  mkdirSync(dir);
  log = new KeptLog();
  open = [];
});
afterEach(async () => {
  for (const reader of open) await reader.close();
  rmSync(root, { recursive: true });
});

/** A sink that keeps what it takes; while it is away it takes nothing. */
class KeptSink implements LogSink {
  readonly name: string;
  readonly batches: LogBatch[] = [];
  /** Every attempt, taken or not. */
  readonly attempts: LogBatch[] = [];
  failure: Error | undefined;
  #waiting: ((error: Error) => void) | undefined;
  /** It takes a batch and its acknowledgement never comes. */
  isMute = false;

  constructor(name = 'kept') {
    this.name = name;
  }

  async send(batch: LogBatch): Promise<void> {
    this.attempts.push(batch);
    if (this.failure !== undefined) throw this.failure;
    this.batches.push(batch);
    if (!this.isMute) return;
    await new Promise<void>((_, reject) => {
      this.#waiting = reject;
    });
  }

  close(): void {
    this.#waiting?.(new Error('closed'));
  }

  get records(): readonly LogRecord[] {
    return this.batches.flatMap(({ records }) => records);
  }

  get bodies(): readonly string[] {
    return this.records.map(({ body }) => body);
  }

  async has(count: number): Promise<void> {
    await until(() => this.records.length >= count, `${this.name} has ${count} records`).catch((error: Error) =>
      assert.fail(`${error.message}, not ${JSON.stringify(this.bodies)}; ${log.lines.join('; ')}`),
    );
  }
}

async function start(sinks: readonly KeptSink[], options: Partial<LogReaderOptions> = {}): Promise<LogReader> {
  const reader = await openLogReader({
    choice: { journal: undefined, qemuLogDir: dir, daemonLogFiles: [], readsStandardInput: false },
    readsFrom: 'beginning',
    keepsSecrets: false,
    stateDir: join(root, 'state'),
    sinks: new Map(sinks.map((sink) => [sink.name, sink])),
    input: new PassThrough(),
    onEnd: () => {},
    clock: SYSTEM_CLOCK,
    logger: log,
    ...options,
  });
  open.push(reader);
  return reader;
}

async function stop(reader: LogReader): Promise<void> {
  open = open.filter((each) => each !== reader);
  await reader.close();
}

/** The value of a sample, by its name and the values of its labels. */
function metric(reader: LogReader, name: string, ...labels: string[]): number | undefined {
  for (const family of reader.families()) {
    if (family.name !== name) continue;
    const { labels: sets, values } = family as SampleFamily;
    const at = sets.findIndex((set) => labels.every((label) => set.values.includes(label)));
    return at < 0 ? undefined : Number(values[at]);
  }
  return undefined;
}

let second = 0;
/** A line of libvirt in QEMU's log. */
function line(text: string): string {
  second = (second + 1) % 60;
  return `2026-11-21 12:05:${String(second).padStart(2, '0')}.000+0000: ${text}\n`;
}
const path = (name: string) => join(dir, name);

/** Renames as virtlogd does: the highest number first. */
function rotate(name: string, backups = 3): void {
  for (let number = backups - 1; number >= 0; number--) {
    const from = number === 0 ? path(name) : path(`${name}.${number - 1}`);
    try {
      renameSync(from, path(`${name}.${number}`));
    } catch {
      // There are fewer yet.
    }
  }
}

test('records of files that are there and of files that come are delivered, with the VM of the file', async () => {
  writeFileSync(path('a.log'), line('one') + line('two'));
  const sink = new KeptSink();
  await start([sink]);
  await sink.has(2);
  writeFileSync(path('b.log'), line('three'));
  appendFileSync(path('a.log'), line('four'));
  await sink.has(4);
  assert.deepEqual(sink.records.map(({ body, attributes }) => [attributes.domainName, body]).sort(), [
    ['a', 'four'],
    ['a', 'one'],
    ['a', 'two'],
    ['b', 'three'],
  ]);
});

test('after an end it goes on where it was; nothing comes twice', async () => {
  writeFileSync(path('a.log'), line('one'));
  const sink = new KeptSink();
  const reader = await start([sink]);
  await sink.has(1);
  await stop(reader);
  appendFileSync(path('a.log'), line('two'));
  await start([sink]);
  await sink.has(2);
  assert.deepEqual(sink.bodies, ['one', 'two']);
});

test('files that were rotated while it was away are read to their ends, in order', async () => {
  writeFileSync(path('a.log'), line('one'));
  const sink = new KeptSink();
  const reader = await start([sink]);
  await sink.has(1);
  await stop(reader);
  appendFileSync(path('a.log'), line('two'));
  for (const text of ['three', 'four']) {
    rotate('a.log');
    writeFileSync(path('a.log'), line(text));
  }
  const again = await start([sink]);
  await sink.has(4);
  assert.deepEqual(sink.bodies, ['one', 'two', 'three', 'four']);
  assert.equal(metric(again, 'virtlens_logs_gaps_total', 'kept'), 0);
});

test('a line and a command that a rotation splits stay whole', async () => {
  const command = `${line('starting up libvirt version: 9.0.0')}LC_ALL=C \\\n/usr/bin/qemu \\\n-uuid 2d180071-e28f-4b9e-bcb2-c05a130ad7e4 \\\n-msg timestamp=on\n`;
  const sink = new KeptSink();
  const reader = await start([sink]);
  for (const [index, cut] of [10, 60, 75, 90, 110].entries()) {
    writeFileSync(path('a.log'), command.slice(0, cut));
    rotate('a.log', 9);
    writeFileSync(path('a.log'), command.slice(cut) + line(`end ${index}`));
    await sink.has(2 * (index + 1));
    rotate('a.log', 9);
  }
  const body = command.slice(30, -1);
  assert.deepEqual(
    sink.bodies.filter((_, index) => index % 2 === 0),
    Array(5).fill(body),
  );
  assert.deepEqual(
    sink.bodies.filter((_, index) => index % 2 === 1),
    [0, 1, 2, 3, 4].map((index) => `end ${index}`),
  );
  assert.equal(metric(reader, 'virtlens_logs_gaps_total', 'kept'), 0);
});

test('files that were rotated away before they were delivered are counted and said', async () => {
  writeFileSync(path('a.log'), line('one'));
  const sink = new KeptSink();
  const reader = await start([sink]);
  await sink.has(1);
  sink.failure = new Error('away');
  appendFileSync(path('a.log'), line('held'));
  await until(() => sink.attempts.length > 1, 'the sink is tried');
  appendFileSync(path('a.log'), line('lost'));
  const size = statSync(path('a.log')).size;
  const lagOf = () => metric(reader, 'virtlens_logs_lag_bytes', 'kept');
  await until(() => lagOf() === size - line('x').length - 2, `the lag is known: ${lagOf()}`);
  for (const text of ['2', '3', '4', '5']) {
    rotate('a.log');
    writeFileSync(path('a.log'), line(text));
    await until(() => metric(reader, 'virtlens_logs_lag_bytes', 'kept') !== undefined, '');
  }
  sink.failure = undefined;
  await sink.has(6);
  assert.deepEqual(sink.bodies, ['one', 'held', '2', '3', '4', '5']);
  assert.equal(metric(reader, 'virtlens_logs_gaps_total', 'kept'), 1);
  assert.equal(log.count(/^warn Records of a log are lost .*log=qemu:a\.log/), 1);
});

test('a log that is truncated in place is read from its beginning; what was not read is found in the copy', async () => {
  writeFileSync(path('a.log'), line('one'));
  const sink = new KeptSink();
  const reader = await start([sink]);
  await sink.has(1);
  await stop(reader);
  appendFileSync(path('a.log'), line('two'));
  // logrotate's copytruncate.
  copyFileSync(path('a.log'), path('a.log.1'));
  truncateSync(path('a.log'));
  appendFileSync(
    path('a.log'),
    line('three, which makes the file longer than it was before, so that its size says nothing'),
  );
  const again = await start([sink]);
  await sink.has(3);
  assert.deepEqual(sink.bodies.slice(0, 2), ['one', 'two']);
  truncateSync(path('a.log'));
  appendFileSync(path('a.log'), line('four'));
  await sink.has(4);
  assert.deepEqual([sink.bodies[3], metric(again, 'virtlens_logs_gaps_total', 'kept')], ['four', 0]);
});

test('a log that is deleted and comes back under its name is a new one', async () => {
  writeFileSync(path('a.log'), line('one'));
  const sink = new KeptSink();
  await start([sink]);
  await sink.has(1);
  // At once, so that the file system gives the same inode again.
  for (const text of ['two', 'three']) {
    unlinkSync(path('a.log'));
    writeFileSync(path('a.log'), line(text));
    await sink.has(text === 'two' ? 2 : 3);
  }
  assert.deepEqual(sink.bodies, ['one', 'two', 'three']);
  assert.equal(new Set(sink.records.map(({ uid }) => uid)).size, 3);
});

test('a new file with the inode of one that was rotated away is not taken for it', async () => {
  writeFileSync(path('a.log.0'), line('older'));
  writeFileSync(path('a.log'), line('newer'));
  const file = { inode: String(statSync(path('a.log')).ino), birth: '1', uid: 'x', head: { length: 3, hash: 'other' } };
  const set = { 'qemu:a.log': { file, offset: 3, state: {} } };
  mkdirSync(join(root, 'state'));
  writeFileSync(join(root, 'state', 'kept.checkpoint'), `${JSON.stringify({ at: 1, set })}\n`);
  const sink = new KeptSink();
  const reader = await start([sink]);
  await sink.has(2);
  assert.deepEqual(sink.bodies, ['older', 'newer']);
  assert.equal(metric(reader, 'virtlens_logs_gaps_total', 'kept'), 1);
});

test('VMs may have names that look like rotated files, and any bytes', async () => {
  const names = ['x', 'x.log', 'x.log.0', ' a "b" ', 'two\nlines', '.hidden', '20261121'];
  for (const name of names) writeFileSync(path(`${name}.log`), line(`of ${JSON.stringify(name)}`));
  writeFileSync(
    Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe]), Buffer.from('.log')]),
    line('no UTF-8'),
  );
  writeFileSync(path('x.log.0.log.0'), line('older'));
  const sink = new KeptSink();
  await start([sink]);
  await sink.has(names.length + 2);
  const found = new Map(sink.records.map(({ attributes, body }) => [body, attributes.domainName]));
  assert.deepEqual(
    found,
    new Map([
      ...names.map((name) => [`of ${JSON.stringify(name)}`, name] as const),
      ['older', 'x.log.0'],
      ['no UTF-8', '\ufffd\ufffd'],
    ]),
  );
});

test('a directory that is not there is waited for, one that goes and comes too', async () => {
  rmSync(dir, { recursive: true });
  const sink = new KeptSink();
  const reader = await start([sink]);
  assert.equal(log.count(/^info The directory of logs is not there yet/), 1);
  assert.equal(metric(reader, 'virtlens_logs_source_readable', 'qemu'), 0);
  mkdirSync(dir);
  writeFileSync(path('a.log'), line('one'));
  await sink.has(1);
  assert.equal(metric(reader, 'virtlens_logs_source_readable', 'qemu'), 1);
});

test('the last line is delivered without its newline after a quiet time, and a message without the next one', async () => {
  writeFileSync(path('a.log'), `${line('one')}no newline`);
  const sink = new KeptSink();
  await start([sink]);
  await sink.has(1);
  await sink.has(2);
  assert.deepEqual(sink.bodies, ['one', 'no newline']);
});

test('empty lines before, between and behind records make none of them come twice', async () => {
  const sink = new KeptSink();
  const reader = await start([sink]);
  const texts = [`\n${line('1')}`, `\n\n${line('2')}\n\n${line('3')}\n`, `\n${line('4')}no newline`, `\n${line('6')}`];
  for (const [index, count] of [1, 3, 5, 6].entries()) {
    appendFileSync(path('a.log'), texts[index]!);
    await sink.has(count);
  }
  await stop(reader);
  appendFileSync(path('a.log'), `\n\n${line('7')}\n`);
  await start([sink]);
  await sink.has(7);
  assert.deepEqual(sink.bodies, ['1', '2', '3', '4', 'no newline', '6', '7']);
});

test('a batch of which nobody knows whether it was taken is sent again with the same id and records, and it alone', async () => {
  writeFileSync(path('a.log'), line('one'));
  const sink = new KeptSink();
  const reader = await start([sink]);
  await sink.has(1);
  sink.isMute = true;
  const more = Array.from({ length: 5 }, (_, index) => line(`more ${index}`)).join('');
  // The last of these may go on, so it is not in the batch.
  appendFileSync(path('a.log'), `${more}unfinished`);
  await sink.has(5);
  // The process ends while the acknowledgement is on its way.
  await stop(reader);
  rotate('a.log');
  writeFileSync(path('a.log'), ` business\n${line('last')}`);
  const next = new KeptSink();
  const again = await start([next]);
  await next.has(7);
  assert.deepEqual(next.batches[0]?.id, sink.batches.at(-1)?.id);
  const withoutReading = (batch: LogBatch) => batch.records.map(({ observedTimeNs: _, ...record }) => record);
  assert.deepEqual(withoutReading(next.batches[0]!), withoutReading(sink.batches.at(-1)!));
  assert.deepEqual(next.bodies.slice(4), ['more 4', 'unfinished business', 'last']);
  assert.equal(metric(again, 'virtlens_logs_resent_batches_total', 'kept'), 1);
});

test('a batch that was under way is read anew when its log is away at the next start, and nothing of it is lost', async () => {
  writeFileSync(path('a.log'), line('one'));
  const sink = new KeptSink();
  const reader = await start([sink]);
  await sink.has(1);
  sink.isMute = true;
  appendFileSync(path('a.log'), line('under way'));
  await sink.has(2);
  await stop(reader);
  renameSync(dir, `${dir}-not-mounted`);
  const next = new KeptSink();
  // Twice, so that what the checkpoint says of it counts too.
  for (const times of [1, 1]) {
    const again = await start([next]);
    await until(
      () => log.count(/^warn The batch that was under way cannot be made again/) === times,
      'it is said that the batch cannot be made',
    );
    await stop(again);
  }
  renameSync(`${dir}-not-mounted`, dir);
  const last = await start([next]);
  await next.has(1);
  assert.deepEqual(next.bodies, ['under way']);
  assert.equal(metric(last, 'virtlens_logs_gaps_total', 'kept'), 0);
});

test('a sink that is away holds up no other, and gets everything when it is back', async () => {
  const [near, away] = [new KeptSink('near'), new KeptSink('away')];
  away.failure = new Error('connection refused');
  const reader = await start([near, away]);
  for (let count = 1; count <= 3; count++) {
    appendFileSync(path('a.log'), line(`${count}`));
    await near.has(count);
  }
  await until(() => away.attempts.length > 0, 'the sink is tried');
  assert.equal(metric(reader, 'virtlens_logs_sink_state', 'away', 'failing'), 1);
  assert.equal(metric(reader, 'virtlens_logs_sink_state', 'near', 'ok'), 1);
  assert.ok(metric(reader, 'virtlens_logs_lag_bytes', 'away')! > 0);
  away.failure = undefined;
  await away.has(3);
  assert.deepEqual(away.bodies, ['1', '2', '3']);
  assert.deepEqual(
    away.records.map(({ uid }) => uid),
    near.records.map(({ uid }) => uid),
  );
  await until(() => metric(reader, 'virtlens_logs_lag_seconds', 'away') === 0, 'there is no lag');
  assert.equal(log.count(/^error away cannot be written to: connection refused/), 1);
  assert.equal(log.count(/^info away takes log records again/), 1);
});

test('what a sink refuses is counted, and the rest goes on', async () => {
  const sink = new KeptSink();
  sink.failure = Object.assign(new Error('bad records'), { code: 'ERR_DELIVERY_REFUSED' });
  const reader = await start([sink]);
  appendFileSync(path('a.log'), line('bad'));
  await until(() => metric(reader, 'virtlens_logs_refused_records_total', 'kept') === 1, 'it is counted');
  sink.failure = undefined;
  appendFileSync(path('a.log'), line('good'));
  await sink.has(1);
  assert.deepEqual(sink.bodies, ['good']);
});

test('ends of VMs that nobody asked for are counted once, however many sinks there are', async () => {
  const start_ = `${line('starting up libvirt version: 9.0.0')}/usr/bin/qemu\n`;
  writeFileSync(path('a.log'), start_ + line('shutting down, reason=crashed') + start_ + start_);
  writeFileSync(
    path('b.log'),
    start_ + line('shutting down, reason=failed') + start_ + line('shutting down, reason=destroyed'),
  );
  const sinks = [new KeptSink('one'), new KeptSink('two')];
  const reader = await start(sinks);
  for (const sink of sinks) await sink.has(8);
  const count = (reason: string) => metric(reader, 'virtlens_logs_vm_abnormal_ends_total', reason);
  assert.deepEqual([count('crashed'), count('failed'), count('unknown')], [1, 1, 1]);
  assert.equal(metric(reader, 'virtlens_logs_records_total', 'one', 'qemu', 'error'), 2);
});

test('with --read-from=end a first start leaves out what is there, and no later one does', async () => {
  writeFileSync(path('a.log'), line('old'));
  const sink = new KeptSink();
  const reader = await start([sink], { readsFrom: 'end' });
  appendFileSync(path('a.log'), line('new'));
  writeFileSync(path('b.log'), line('of a new VM'));
  await sink.has(2);
  await stop(reader);
  appendFileSync(path('a.log'), line('while it was away'));
  writeFileSync(path('c.log'), line('another'));
  await start([sink], { readsFrom: 'end' });
  await sink.has(4);
  assert.deepEqual([...sink.bodies].sort(), ['another', 'new', 'of a new VM', 'while it was away']);
});

test("a daemon's own file is read, and what rotates it is followed", async () => {
  const file = join(root, 'libvirtd.log');
  const message = (text: string) => `2026-11-21 12:04:31.706+0000: 15623: error : f:673 : ${text}\n`;
  writeFileSync(file, `${message('one')}of two lines\n`);
  const sink = new KeptSink();
  await start([sink], {
    choice: { journal: undefined, qemuLogDir: undefined, daemonLogFiles: [file], readsStandardInput: false },
  });
  await sink.has(1);
  renameSync(file, `${file}.1`);
  writeFileSync(file, message('three'));
  await sink.has(2);
  assert.deepEqual(sink.bodies, ['one\nof two lines', 'three']);
  assert.deepEqual(sink.records[0]!.attributes, {
    codeFunction: 'f',
    codeLine: 673,
    threadId: 15623,
    filePath: file,
  });
});

test('standard input is delivered to every sink to its end, and then it is over', async () => {
  const input = new PassThrough();
  const sinks = [new KeptSink('one'), new KeptSink('two')];
  const ended = Promise.withResolvers<void>();
  await start(sinks, {
    choice: { journal: undefined, qemuLogDir: undefined, daemonLogFiles: [], readsStandardInput: true },
    input,
    onEnd: ended.resolve,
  });
  input.write('2026-11-21T12:12:40.1Z stderr P 2026-11-21 12:04:31.706+0000: 1: error : f:6 : ha');
  input.end('\n2026-11-21T12:12:40.1Z stderr F lf\n2026-11-21T12:12:40.1Z stderr F rest');
  await ended.promise;
  for (const sink of sinks) assert.deepEqual(sink.bodies, ['half\nrest']);
});

test('a directory that may not be read is said in one line with what helps', {
  skip: process.getuid?.() !== 0 && 'needs root',
}, async () => {
  writeFileSync(path('a.log'), line('secret'), { mode: 0o600 });
  chmodSync(root, 0o755);
  chmodSync(dir, 0o700);
  process.seteuid!(65534);
  try {
    const sink = new KeptSink();
    const state = mkdtempSync(join(tmpdir(), 'virtlens-logs-state-'));
    const reader = await start([sink], { stateDir: state });
    assert.equal(log.count(/cannot be read: permission denied; .*CAP_DAC_READ_SEARCH.*ACL/), 1);
    assert.equal(metric(reader, 'virtlens_logs_source_readable', 'qemu'), 0);
    process.seteuid!(0);
    chmodSync(dir, 0o755);
    process.seteuid!(65534);
    await until(() => log.count(/a\.log cannot be read: permission denied/) === 1, 'the file is tried');
    await stop(reader);
    rmSync(state, { recursive: true });
  } finally {
    process.seteuid!(0);
  }
});

test('two readers do not share a state directory, and the lock of one that is gone does not matter', async () => {
  const first = await start([new KeptSink()]);
  await assert.rejects(start([new KeptSink()]), /--state\.dir .* is used by another virtlens:/);
  await stop(first);
  await start([new KeptSink()]);
});

test('a checkpoint that makes no sense is said, and does not keep it from starting', async () => {
  mkdirSync(join(root, 'state'));
  writeFileSync(path('a.log'), line('one'));
  writeFileSync(
    join(root, 'state', 'kept.checkpoint'),
    '{"at":1,"set":{"qemu:a.log":{"offset":"x"}}}\n\0\0\0\n{"at":2}\n',
  );
  const sink = new KeptSink();
  const reader = await start([sink]);
  await sink.has(1);
  assert.equal(log.count(/kept\.checkpoint: line 2 is not readable/), 1);
  await stop(reader);
  assert.doesNotMatch(readFileSync(join(root, 'state', 'kept.checkpoint'), 'utf8'), /\0/);
});

test('a log that is replaced by something else is said once and read again when it is back; others go on', async () => {
  writeFileSync(path('a.log'), line('one'));
  const sink = new KeptSink();
  const reader = await start([sink]);
  await sink.has(1);
  const others: readonly (readonly [make: (path: string) => void, reason: string])[] = [
    [(place) => mkdirSync(place), 'it is no regular file'],
    [(place) => void execFileSync('mkfifo', [place]), 'it is no regular file'],
    [(place) => symlinkSync('a.log', place), 'too many symbolic links'],
    [(place) => symlinkSync('/dev/zero', place), 'it is no regular file'],
  ];
  for (const [index, [make, reason]] of others.entries()) {
    renameSync(path('a.log'), path('kept'));
    make(path('a.log'));
    const said = log.lines.length;
    appendFileSync(path('b.log'), line(`meanwhile ${index}`));
    await until(() => sink.bodies.includes(`meanwhile ${index}`), 'the other log comes');
    await until(
      () => index === 1 || index === 3 || log.lines.slice(said).some((each) => each.includes(`err=${reason}`)),
      `'${reason}' is said: ${log.lines.join('; ')}`,
    );
    rmSync(path('a.log'), { recursive: true });
    renameSync(path('kept'), path('a.log'));
    appendFileSync(path('a.log'), line(`back ${index}`));
    await until(() => sink.bodies.includes(`back ${index}`), 'it is read again');
  }
  assert.equal(log.count(/^warn A log is not read/), 2);
  // Whether it was seen to be gone or not: nothing is missing.
  const own = new Set(sink.bodies.filter((body) => !body.startsWith('meanwhile')));
  assert.deepEqual([...own], ['one', 'back 0', 'back 1', 'back 2', 'back 3']);
  assert.equal(metric(reader, 'virtlens_logs_sink_state', 'kept', 'ok'), 1);
});

test('bytes that are no text, and NULs without end, are passed on in pieces, and what follows is read', async () => {
  const nuls = Buffer.alloc(1_000_000);
  const noise = Buffer.from(Array.from({ length: 70_000 }, (_, index) => (index * 7919) & 0xff));
  writeFileSync(path('a.log'), Buffer.concat([nuls, Buffer.from('\n'), noise, Buffer.from(`\n${line('after')}`)]));
  const sink = new KeptSink();
  await start([sink]);
  await until(() => sink.bodies.includes('after'), 'what follows comes');
  const ofNuls = sink.bodies.filter((body) => /^\0+$/.test(body));
  assert.ok(ofNuls.reduce((sum, { length }) => sum + length, 0) >= nuls.length, 'no NUL is lost');
  assert.ok(Math.max(...sink.bodies.map(({ length }) => length)) <= 256 * 1024);
});

test('a clock that jumps changes nothing: records come, and no lag is less than nothing', async () => {
  let jumpMs = 0;
  const clock = { ...SYSTEM_CLOCK, wallMs: () => SYSTEM_CLOCK.wallMs() + jumpMs };
  writeFileSync(path('a.log'), line('one'));
  const sink = new KeptSink();
  const reader = await start([sink], { clock });
  await sink.has(1);
  for (const [index, each] of [-3_600_000, 86_400_000, -86_400_000 * 365].entries()) {
    jumpMs = each;
    appendFileSync(path('a.log'), `${line(`${index}`)}no newline`);
    await sink.has(2 * index + 3);
    appendFileSync(path('a.log'), '\n');
    assert.ok(metric(reader, 'virtlens_logs_lag_seconds', 'kept')! >= 0);
  }
  await stop(reader);
  jumpMs = 0;
  appendFileSync(path('a.log'), line('last'));
  await start([sink], { clock });
  await sink.has(8);
  assert.deepEqual(sink.bodies, ['one', '0', 'no newline', '1', 'no newline', '2', 'no newline', 'last']);
});
