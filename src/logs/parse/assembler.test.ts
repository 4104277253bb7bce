import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { LogRecord } from '../../model/log-record.ts';
import { type Assembled, Assembler, type AssemblyState, type Dialect, RECORD_LINES_MAX } from './assembler.ts';
import { LINE_BYTES_MAX } from './line-reader.ts';

const UUID = '2d180071-e28f-4b9e-bcb2-c05a130ad7e4';
const NOW_MS = Date.UTC(2026, 10, 21, 13);

function assemble(
  dialect: Dialect,
  chunks: readonly (string | Buffer)[],
  { state = {}, keepsSecrets = false }: { state?: AssemblyState; keepsSecrets?: boolean } = {},
): Assembled[] {
  const assembler = new Assembler({
    dialect,
    ...(dialect === 'qemu' && { domainName: 'from-file' }),
    keepsSecrets,
    state,
    uidOf: ({ offset }) => String(offset),
    nowMs: () => NOW_MS,
  });
  let offset = 0;
  for (const chunk of chunks) {
    const bytes = Buffer.from(chunk);
    assembler.push(bytes, { segment: 0, offset });
    offset += bytes.length;
  }
  assembler.flush();
  return assembler.take();
}

const records = (dialect: Dialect, text: string, state?: AssemblyState) =>
  assemble(dialect, [text], state && { state }).map(({ record }) => record);

function ns(text: string): bigint {
  const [seconds, fraction = ''] = text.split('.');
  return BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}

const brief = ({ body, severity, timeNs }: LogRecord) => [body, severity, timeNs];

// ---- daemons -------------------------------------------------------------------------------------------------------------------------

test("a line of a daemon's log is a record with its function, line and thread", () => {
  const text = [
    '2026-11-21 12:04:31.705+0000: 15623: info : libvirt version: 9.0.0, package: 9.0.0-4',
    '2026-11-21 12:04:31.706+0000: 15623: error : dnsmasqCapsNewFromBinary:673 : Cannot check dnsmasq binary',
    '2026-11-21 12:04:31.707+0200: 7: warning : f:1 : a : b : 3 : c',
    '2026-11-21 12:04:31.708+0000: 8: debug : virThreadJobSet:93 : ',
  ].join('\n');
  const [version, error, warning, debug, ...rest] = records('daemon', text);
  assert.deepEqual(rest, []);
  assert.deepEqual(brief(version!), [
    'libvirt version: 9.0.0, package: 9.0.0-4',
    'info',
    ns('2026-11-21T12:04:31.705'),
  ]);
  assert.deepEqual(version!.attributes, { threadId: 15623 });
  assert.deepEqual(error, {
    uid: '85',
    timeNs: ns('2026-11-21T12:04:31.706'),
    observedTimeNs: BigInt(NOW_MS) * 1_000_000n,
    severity: 'error',
    severityText: 'error',
    source: 'daemon',
    service: 'libvirtd',
    body: 'Cannot check dnsmasq binary',
    attributes: { codeFunction: 'dnsmasqCapsNewFromBinary', codeLine: 673, threadId: 15623 },
  });
  assert.deepEqual(brief(warning!), ['a : b : 3 : c', 'warn', ns('2026-11-21T10:04:31.707')]);
  assert.deepEqual([debug!.body, debug!.severity, debug!.severityText], ['', 'debug', 'debug']);
});

test('lines that begin no message belong to the one before; without one, each is passed on', () => {
  const text =
    'no header\nneither\n2026-11-21 12:04:31.705+0000: 1: error : f:2 : internal error: process exited: ' +
    '2026-11-21T12:04:31.1Z qemu-system-x86_64: -device x: no\n2026-11-21T12:04:31.2Z qemu-system-x86_64: bye\n\n  at once\n' +
    '2026-11-21 12:04:32.000+0000: 1: error : f:2 : next\n';
  assert.deepEqual(
    records('daemon', text).map(({ body, severity }) => [body, severity]),
    [
      ['no header', undefined],
      ['neither', undefined],
      [
        'internal error: process exited: 2026-11-21T12:04:31.1Z qemu-system-x86_64: -device x: no\n' +
          '2026-11-21T12:04:31.2Z qemu-system-x86_64: bye\n\n  at once',
        'error',
      ],
      ['next', 'error'],
    ],
  );
});

test("syslog's forms are read, of libvirt's daemons and of other programs", () => {
  const text = [
    '2026-11-21T12:04:31.705123+00:00 host libvirtd[15623]: 15624: error : f:673 : precise',
    'Nov 21 12:04:31 host virtqemud[9]: 10: warning : g:1 : BSD form',
    '<27>Nov  1 02:04:31 host dnsmasq-dhcp[3]: DHCPACK(virbr0)',
    'Dec 31 23:59:59 host libvirtd: of last year',
  ].join('\n');
  const [precise, bsd, other, last] = records('daemon', text);
  assert.deepEqual(brief(precise!), ['precise', 'error', ns('2026-11-21T12:04:31.705123')]);
  assert.deepEqual(precise!.attributes, { codeFunction: 'f', codeLine: 673, threadId: 15624, processId: 15623 });
  const local = (...parts: [number, number, number, number, number, number]) =>
    BigInt(new Date(...parts).getTime()) * 1_000_000n;
  assert.deepEqual([bsd!.service, ...brief(bsd!)], ['virtqemud', 'BSD form', 'warn', local(2026, 10, 21, 12, 4, 31)]);
  assert.deepEqual(
    [other!.service, ...brief(other!)],
    ['dnsmasq-dhcp', 'DHCPACK(virbr0)', undefined, local(2026, 10, 1, 2, 4, 31)],
  );
  assert.deepEqual([last!.service, last!.timeNs], ['libvirtd', local(2025, 11, 31, 23, 59, 59)]);
});

// ---- QEMU ----------------------------------------------------------------------------------------------------------------------------

const COMMAND = [
  'LC_ALL=C \\',
  '/usr/bin/qemu-system-x86_64 \\',
  "-name 'guest=a b,,c,debug-threads=on' \\",
  `-object '{"qom-type":"secret","id":"masterKey0","data":"c2VjcmV0"}' \\`,
  '-object secret,id=disk0,data=AbC+/=,keyid=masterKey0,format=base64 \\',
  '-vnc 0.0.0.0:0,password=on \\',
  `-uuid ${UUID} \\`,
  '-msg timestamp=on',
];
const START = `2026-11-21 12:05:19.442+0000: starting up libvirt version: 9.0.0\n${COMMAND.join('\n')}\n`;

test("the five kinds of lines of QEMU's log are records; a command is one, its secrets masked", () => {
  const text = `${START}2026-11-21 12:05:19.443+0000: Domain id=1 is tainted: high-privileges
char device redirected to /dev/pts/0 (label charserial0)
libvirt:  error : libvirtd quit during handshake: Input/output error
==12==ERROR: AddressSanitizer: heap-use-after-free
    #0 0x1234 in main

2026-11-21T12:12:40.774123Z qemu-system-x86_64: terminating on signal 15 from pid 19948 (/usr/sbin/libvirtd)
2026-11-21 12:12:41.000+0000: shutting down, reason=crashed
`;
  const all = records('qemu', text);
  const [start, ...rest] = all;
  assert.equal(
    start!.body,
    `starting up libvirt version: 9.0.0\n${COMMAND.join('\n').replace('"c2VjcmV0"', '***').replace('AbC+/=', '***')}`,
  );
  assert.deepEqual([start!.severity, start!.timeNs], ['info', ns('2026-11-21T12:05:19.442')]);
  assert.deepEqual(rest.map(brief), [
    ['Domain id=1 is tainted: high-privileges', 'warn', ns('2026-11-21T12:05:19.443')],
    ['char device redirected to /dev/pts/0 (label charserial0)', undefined, undefined],
    ['libvirt:  error : libvirtd quit during handshake: Input/output error', 'error', undefined],
    ['==12==ERROR: AddressSanitizer: heap-use-after-free\n    #0 0x1234 in main', 'error', undefined],
    [
      'qemu-system-x86_64: terminating on signal 15 from pid 19948 (/usr/sbin/libvirtd)',
      undefined,
      ns('2026-11-21T12:12:40.774123'),
    ],
    ['shutting down, reason=crashed', 'error', ns('2026-11-21T12:12:41')],
  ]);
  for (const { attributes, source, service } of all) {
    assert.deepEqual([attributes.domainName, attributes.domainUuid, source, service], ['a b,c', UUID, 'qemu', 'qemu']);
  }
  assert.equal(all.at(-1)!.attributes.shutdownReason, 'crashed');
});

test('secrets stay when it is asked for', () => {
  const [start] = assemble('qemu', [START], { keepsSecrets: true });
  assert.match(start!.record.body, /"data":"c2VjcmV0".*data=AbC\+\/=,/s);
});

test('names of VMs in the command may have quotes, commas and newlines', () => {
  const name = "it's\na,VM \\";
  const quoted = `'guest=${name.replaceAll(',', ',,').replaceAll("'", "'\\''")},debug-threads=on'`;
  const text = `2026-11-21 12:05:19.442+0000: starting up libvirt\n/usr/bin/qemu \\\n-name ${quoted} \\\n-uuid ${UUID}\nnext\n`;
  const [start, next] = records('qemu', text);
  assert.deepEqual([start!.attributes.domainName, start!.attributes.domainUuid], [name, UUID]);
  assert.equal(next!.body, 'next');
});

test('every reason of an end is read, and an end that nobody asked for is seen', () => {
  const reasons = [
    'unknown',
    'shutdown',
    'destroyed',
    'crashed',
    'migrated',
    'saved',
    'failed',
    'from snapshot',
    'daemon',
  ];
  const text = reasons
    .map((reason) => `${START}2026-11-21 12:12:41.000+0000: shutting down, reason=${reason}\n`)
    .join('');
  const ends = assemble('qemu', [text]).filter(({ record }) => record.body.startsWith('shutting'));
  assert.deepEqual(
    ends.map(({ record }) => record.attributes.shutdownReason),
    reasons,
  );
  assert.deepEqual(
    ends.map(({ abnormalEnd }) => abnormalEnd).filter((reason) => reason !== undefined),
    ['crashed', 'failed'],
  );
});

test('a run without an end is seen when the next one begins, also after the state was kept', () => {
  const first = assemble('qemu', [START]);
  assert.equal(first[0]!.abnormalEnd, undefined);
  assert.equal(assemble('qemu', [START], { state: first[0]!.state })[0]!.abnormalEnd, 'unknown');
  const ended = assemble('qemu', [`${START}2026-11-21 12:12:41.000+0000: shutting down, reason=destroyed\n`]);
  assert.equal(assemble('qemu', [START], { state: ended.at(-1)!.state })[0]!.abnormalEnd, undefined);
});

test("libvirt's mark behind what a QEMU left without a newline is a record of its own", () => {
  const text = 'half a word √2026-11-21 12:12:41.000+0000: shutting down, reason=crashed\n';
  const all = assemble('qemu', [text]);
  assert.deepEqual(
    all.map(({ record }) => [record.body, record.uid, record.attributes.shutdownReason]),
    [
      ['half a word √', '0', undefined],
      ['shutting down, reason=crashed', '15', 'crashed'],
    ],
  );
});

// ---- containers ----------------------------------------------------------------------------------------------------------------------

test('lines of the container runtime are joined, of each stream by itself', () => {
  const text = [
    '2026-11-21T12:12:40.000000001Z stderr P 2026-11-21 12:04:31.705+0000: 15623: error : f:673 : first ',
    '2026-11-21T12:12:40.000000002Z stdout F between',
    '2026-11-21T12:12:40.000000003Z stderr P half, ',
    '2026-11-21T12:12:40.000000004Z stderr F second half',
    '2026-11-21T12:12:40.000000005Z stderr F of two lines',
    '2026-11-21T14:12:40.000000006+02:00 stdout F ',
    '2026-11-21T12:12:40.000000007Z stdout F last',
    'not of the runtime',
  ].join('\n');
  const all = assemble('container', [text]).map(({ record }) => record);
  assert.deepEqual(
    all.map((record) => [...brief(record), record.attributes.iostream]),
    [
      ['between', undefined, ns('2026-11-21T12:12:40.000000002'), 'stdout'],
      ['first half, second half\nof two lines', 'error', ns('2026-11-21T12:04:31.705'), 'stderr'],
      ['last', undefined, ns('2026-11-21T12:12:40.000000007'), 'stdout'],
      ['not of the runtime', undefined, undefined, undefined],
    ],
  );
});

test("a container's stream may carry both a daemon's messages and QEMU's log", () => {
  const text = `2026-11-21 12:04:31.705+0000: 1: error : f:2 : of the daemon\nits rest\n${START}2026-11-21 12:12:41.000+0000: shutting down, reason=failed\n`;
  assert.deepEqual(
    records('container', text).map(({ source, attributes }) => [
      source,
      attributes.domainUuid,
      attributes.shutdownReason,
    ]),
    [
      ['daemon', undefined, undefined],
      ['qemu', UUID, undefined],
      ['qemu', undefined, 'failed'],
    ],
  );
});

// ---- bounds --------------------------------------------------------------------------------------------------------------------------

test('a line without end is passed on in pieces of whole characters, marked, and nothing is lost', () => {
  const text = `2026-11-21 12:04:31.705+0000: 1: info : ${'√'.repeat(LINE_BYTES_MAX)}\n2026-11-21 12:04:31.705+0000: 1: info : next\n`;
  const all = records('daemon', text);
  assert.equal(all.map(({ body }) => body).join(''), `${'√'.repeat(LINE_BYTES_MAX)}next`);
  assert.deepEqual(
    all.map(({ attributes }) => attributes.others),
    [
      { 'log.record.cut': 'true' },
      { 'log.record.cut': 'true', 'log.record.continued': 'true' },
      { 'log.record.cut': 'true', 'log.record.continued': 'true' },
      { 'log.record.continued': 'true' },
      undefined,
    ],
  );
});

test('a message of too many lines is cut between two', () => {
  const lines = Array.from({ length: RECORD_LINES_MAX + 10 }, (_, index) => ` line ${index}`);
  const all = records('daemon', `2026-11-21 12:04:31.705+0000: 1: info : head\n${lines.join('\n')}\n`);
  assert.equal(all.map(({ body }) => body).join('\n'), ['head', ...lines].join('\n'));
  assert.equal(all[0]!.body.split('\n').length, RECORD_LINES_MAX);
});

// ---- any bytes -----------------------------------------------------------------------------------------------------------------------

const DIALECTS: readonly Dialect[] = ['qemu', 'daemon', 'container'];

const piece = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(START, '\n', ' ', '\r\n', '\0', '-uuid x \\', "'", '2026-11-21 12:12:41.000+0000: '),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      '2026-11-21 12:12:41.000+0000: shutting down, reason=crashed\n',
      '2026-11-21 12:04:31.705+0000: 15623: error : f:673 : message\n',
      '2026-11-21T12:12:40.774123Z qemu-system-x86_64: x\n',
      '2026-11-21T12:12:40.1Z stderr P part',
      '2026-11-21T12:12:40.1Z stdout F whole\n',
      'Nov 21 12:04:31 host libvirtd[1]: x\n',
    ),
  },
  { weight: 2, arbitrary: fc.string({ unit: 'binary' }) },
  { weight: 1, arbitrary: fc.uint8Array().map((bytes) => Buffer.from(bytes)) },
);
const bytes = fc
  .array(piece, { maxLength: 20 })
  .map((pieces) => Buffer.concat(pieces.map((each) => Buffer.from(each))));

test('however bytes are split into reads, they give the same records, which cover all of them', () => {
  fc.assert(
    fc.property(fc.constantFrom(...DIALECTS), bytes, fc.array(fc.nat()), (dialect, input, cuts) => {
      const whole = assemble(dialect, [input]);
      const places = [...new Set(cuts.map((cut) => cut % (input.length + 1)))].sort((a, b) => a - b);
      const chunks = [0, ...places].map((from, index) => input.subarray(from, places[index] ?? input.length));
      assert.deepEqual(assemble(dialect, chunks), whole);
      // What is in no record are empty lines.
      const covered = whole.reduce((sum, each) => sum + each.bytes, 0);
      assert.ok(input.length - covered <= input.toString('latin1').split('\n').length - 1);
    }),
    { numRuns: 300 },
  );
});

test('a stretch that ends where a record ends gives the same records when it is read again, with what follows or without', () => {
  fc.assert(
    fc.property(fc.constantFrom(...DIALECTS), bytes, fc.nat(), (dialect, input, choice) => {
      const whole = assemble(dialect, [input]);
      const ends = whole.flatMap(({ end }, index) => (end === undefined ? [] : [index]));
      if (ends.length === 0) return;
      const at = ends[choice % ends.length]!;
      const cut = whole[at]!.end!.offset;
      const first = assemble(dialect, [input.subarray(0, cut)]);
      assert.deepEqual(first, whole.slice(0, at + 1));
      const second = assemble(dialect, [input.subarray(cut)], { state: whole[at]!.state });
      assert.deepEqual(
        second.map(({ record: { uid, ...rest } }) => ({ ...rest, uid: String(Number(uid) + cut) })),
        whole.slice(at + 1).map(({ record }) => record),
      );
    }),
    { numRuns: 500 },
  );
});
