import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { EventMaker, uuidOf } from '../../test/support/vm-events.ts';
import { composeReason, cutBytes, REASON_BYTES_MAX, summarize, withOthers } from './reason.ts';

it('names VM, UUID, event and time', () => {
  const { make } = { make: new EventMaker() };
  const failed = { kind: 'lifecycle', event: 'stopped', detail: 'failed' } as const;
  const uuid = uuidOf('wéb  1');
  assert.equal(
    summarize(make.make(failed, 'wéb  1')),
    `VM wéb  1 (${uuid}): stopped (failed), at 2026-11-21T12:00:01.000Z`,
  );
  assert.equal(
    summarize(make.make(failed, 'wéb  1', 1_000, true)),
    `VM wéb  1 (${uuid}): stopped (failed), found at 2026-11-21T12:00:02.000Z, after a time without events`,
  );
  assert.match(
    summarize(make.make({ kind: 'io-error', device: 'd0', path: '/a\nb', action: 'report', reason: 'enospc' })),
    /: I\/O error of d0 at \/a\\u000ab, reason enospc \(action report\), at /,
  );
});

it("ends with the last lines of QEMU's log, as many as there is room for", () => {
  assert.equal(composeReason('what', []), 'what');
  assert.equal(
    composeReason('what', ['a\u001b[31m', 'b\r']),
    "what\n\nLast lines of QEMU's log:\n  a\\u001b[31m\n  b\\u000d",
  );
  const lines = Array.from({ length: 500 }, (_, i) => `line ${i} of the log`);
  const reason = composeReason('what', lines);
  assert.ok(Buffer.byteLength(reason) <= REASON_BYTES_MAX);
  assert.ok(Buffer.byteLength(reason) > REASON_BYTES_MAX - 100);
  assert.ok(reason.endsWith('\n  line 499 of the log'));
  const long = composeReason('what', ['x'.repeat(100_000), 'short']);
  assert.ok(long.endsWith('x…\n  short'));
});

it('names the other VMs of the incident, as many as there is room for', () => {
  assert.equal(withOthers('what\n\nlog', []), 'what\n\nlog');
  assert.equal(withOthers('what\n\nlog', ['b', 'c']), 'what\n\nAlso on this host (2):\n  b\n  c\n\nlog');
  const others = Array.from({ length: 99 }, (_, i) => `VM number ${i} has crashed at some time or other`);
  const reason = withOthers(composeReason('what', ['a line']), others);
  assert.ok(Buffer.byteLength(reason) <= REASON_BYTES_MAX);
  assert.match(
    reason,
    /^what\n\nAlso on this host \(99\):\n {2}VM number 0 .*\n {2}and \d+ more\n\nLast lines of QEMU's log:\n {2}a line$/s,
  );
});

it('keeps any reason within its limit, in whole characters and without control characters', () => {
  const text = fc.string({ unit: 'binary', maxLength: 3_000 });
  fc.assert(
    fc.property(text, fc.array(text, { maxLength: 20 }), fc.array(text, { maxLength: 20 }), (name, lines, others) => {
      const summary = summarize(new EventMaker().make({ kind: 'reboot' }, name));
      for (const reason of [composeReason(summary, lines), withOthers(composeReason(summary, lines), others)]) {
        assert.ok(Buffer.byteLength(reason) <= REASON_BYTES_MAX);
        assert.ok(reason.isWellFormed());
      }
      assert.doesNotMatch(composeReason(summary, lines), /[^\P{C}\n]/u);
    }),
    { numRuns: 100 },
  );
  assert.equal(cutBytes('ééé', 5), 'é…');
  assert.equal(cutBytes('😀😀', 7), '😀…');
});
