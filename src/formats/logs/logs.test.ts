import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, decodeMulti, ExtData } from '@msgpack/msgpack';
import fc from 'fast-check';
import { LOG_TIME_NS, logBatch, logRecord } from '../../../test/support/log-records.ts';
import type { LogAttributes, LogRecord } from '../../model/log-record.ts';
import { packForward } from './forward.ts';
import { formatJsonLine } from './json-lines.ts';
import { formatLogTime, splitLogTime } from './log-time.ts';
import { encodeOtlpLogs } from './otlp.ts';

const ORIGIN = { hostName: 'node-1', hostId: undefined };

test('a JSON line has the fields that are known, by the names of the documents', () => {
  const attributes: LogAttributes = {
    domainName: 'vm-001',
    domainUuid: '6695eb01-f6a4-8304-79aa-97f2502e193f',
    shutdownReason: 'crashed',
    errorDomain: 10,
    errorCode: 38,
    category: 'qemu.qemu_monitor',
    codeFunction: 'qemuMonitorIO',
    codeLine: 615,
    codeFile: '../src/qemu/qemu_monitor.c',
    threadId: 15623,
    processId: 812,
    filePath: '/var/log/libvirt/qemu/vm-001.log',
    iostream: 'stderr',
    others: { custom: 'c' },
  };
  const line = formatJsonLine(logRecord({ attributes }), ORIGIN);
  assert.equal(
    line,
    '{"time":"2026-11-21T12:04:31.705000001Z","severity":"error","severity_text":"error",' +
      '"message":"internal error: client socket is closed","service.name":"libvirtd","host.name":"node-1",' +
      '"libvirt.log.source":"daemon","libvirt.domain.name":"vm-001",' +
      '"libvirt.domain.uuid":"6695eb01-f6a4-8304-79aa-97f2502e193f","libvirt.shutdown.reason":"crashed",' +
      '"libvirt.error.domain":10,"libvirt.error.code":38,"libvirt.log.category":"qemu.qemu_monitor",' +
      '"code.function.name":"qemuMonitorIO","code.line.number":615,"code.file.path":"../src/qemu/qemu_monitor.c",' +
      '"thread.id":15623,"process.pid":812,"log.file.path":"/var/log/libvirt/qemu/vm-001.log",' +
      '"log.iostream":"stderr","log.record.uid":"2049:131:0:9f86d081","custom":"c"}',
  );
});

test('a record without a time of its own, or with one that cannot be, has the time of its reading', () => {
  for (const timeNs of [undefined, -1n, 253_402_300_800n * 1_000_000_000n]) {
    const { time, observed_time } = JSON.parse(formatJsonLine(logRecord({ timeNs }), ORIGIN));
    assert.deepEqual([time, observed_time], [undefined, '2026-11-21T12:04:33.705000001Z']);
  }
  const { time, observed_time } = JSON.parse(formatJsonLine(logRecord({ timeNs: 0n }), ORIGIN));
  assert.deepEqual([time, observed_time], ['1970-01-01T00:00:00.000000000Z', undefined]);
});

test('read again later, a record with a time is the same bytes in JSON lines and Forward', async () => {
  const again = { observedTimeNs: LOG_TIME_NS + 10n ** 12n };
  assert.equal(formatJsonLine(logRecord(), ORIGIN), formatJsonLine(logRecord(again), ORIGIN));
  for (const compression of ['none', 'gzip'] as const) {
    const format = { tag: 't', compression, origin: ORIGIN };
    const [first, second] = await Promise.all(
      [{}, again].map((changes) => packForward(logBatch([logRecord(changes)]), format)),
    );
    assert.deepEqual(first, second);
  }
});

test('other fields replace none of ours, whatever they are called', () => {
  const names = [
    'time',
    'observed_time',
    'message',
    'severity',
    'host.name',
    'thread.id',
    'log.record.uid',
    '__proto__',
    'toString',
  ];
  const others = Object.fromEntries(names.map((name) => [name, 'theirs']));
  Object.defineProperty(others, '__proto__', { value: 'theirs', enumerable: true });
  const record = logRecord({ severity: undefined, severityText: undefined, attributes: { others } });
  const fields = JSON.parse(formatJsonLine(record, ORIGIN));
  assert.deepEqual(
    Object.keys(fields).filter((name) => fields[name] === 'theirs'),
    ['__proto__', 'toString'],
  );
});

const anyText = fc
  .string({ unit: 'binary', maxLength: 50 })
  .map((text) => text + (text.length % 3 === 0 ? '\ud800' : '\n\u2028\u0085'));
const anyRecord: fc.Arbitrary<LogRecord> = fc.record({
  uid: anyText,
  timeNs: fc.option(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 21n }), { nil: undefined }),
  observedTimeNs: fc.bigInt({ min: 0n, max: 10n ** 21n }),
  severity: fc.constantFrom(undefined, 'debug', 'info', 'warn', 'error'),
  severityText: fc.option(anyText, { nil: undefined }),
  source: fc.constantFrom('daemon', 'qemu'),
  service: anyText,
  body: anyText,
  attributes: fc.record(
    { domainName: anyText, threadId: fc.nat(), others: fc.dictionary(anyText, anyText, { maxKeys: 3 }) },
    { requiredKeys: [] },
  ) as fc.Arbitrary<LogAttributes>,
});

test('any record is one line of JSON that holds its message', () => {
  fc.assert(
    fc.property(anyRecord, (record) => {
      const line = formatJsonLine(record, ORIGIN);
      assert.doesNotMatch(line, /[\n\r\u0085\u2028\u2029]|\\ud[89ab]/i);
      assert.equal(JSON.parse(line).message, record.body.toWellFormed());
    }),
  );
});

test('any records are a message of Forward and a request of OTLP', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyRecord, { minLength: 1, maxLength: 5 }), async (records) => {
      const format = { tag: 't', compression: 'none', origin: ORIGIN } as const;
      const { bytes } = await packForward({ id: '0'.repeat(32), records }, format);
      const [, packed] = decode(bytes) as [string, Uint8Array];
      const entries = [...decodeMulti(packed)] as [ExtData, { message: string }][];
      assert.deepEqual(
        entries.map(([, { message }]) => message),
        records.map(({ body }) => body.toWellFormed()),
      );
      assert.ok(entries.every(([time]) => time instanceof ExtData && time.type === 0));
      for (const protocol of ['http/protobuf', 'http/json'] as const) {
        assert.ok(encodeOtlpLogs(records, ORIGIN, { name: 'n', version: 'v' }, protocol).length > 0);
      }
    }),
  );
});

test('times keep all nine digits', () => {
  assert.equal(formatLogTime(1n), '1970-01-01T00:00:00.000000001Z');
  assert.equal(formatLogTime(LOG_TIME_NS), '2026-11-21T12:04:31.705000001Z');
  assert.equal(formatLogTime(253_402_300_799_999_999_999n), '9999-12-31T23:59:59.999999999Z');
  assert.deepEqual(splitLogTime(LOG_TIME_NS, 2 ** 32), [1_795_262_671, 705_000_001]);
  assert.deepEqual(splitLogTime(4_294_967_295_999_999_999n, 2 ** 32 - 1), [4_294_967_295, 999_999_999]);
  assert.equal(splitLogTime(4_294_967_296_000_000_000n, 2 ** 32 - 1), undefined);
});
