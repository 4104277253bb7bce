import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExtData, encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { MessageReader, measureMessage } from './forward-messages.ts';

const text = fc.string({ maxLength: 300, unit: 'binary' });
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }),
    fc.double(),
    text,
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => new ExtData(5, bytes)),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ maxLength: 5 }).filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 20 },
    ),
  ),
})).value;

test('a value has the length that it was encoded with, whole or followed by others, and none when it is cut', () => {
  fc.assert(
    fc.property(value, fc.uint8Array({ maxLength: 5 }), (each, rest) => {
      const bytes = Buffer.from(encode(each));
      assert.equal(measureMessage(Buffer.concat([bytes, rest])), bytes.length);
      for (let length = Math.max(0, bytes.length - 20); length < bytes.length; length++) {
        assert.equal(measureMessage(bytes.subarray(0, length)), undefined);
      }
    }),
  );
});

test('messages are the same however their bytes are cut, and heartbeats between them are none', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 300 }), { maxLength: 8 }),
      fc.array(fc.nat(), { minLength: 1, maxLength: 9 }),
      (sizes, cuts) => {
        const messages = sizes.map((size) => ({ ack: 'a'.repeat(size) }));
        const bytes = Buffer.concat(messages.flatMap((message) => [Buffer.from([0xc0]), encode(message)]));
        const reader = new MessageReader();
        const read: unknown[] = [];
        let at = 0;
        for (let index = 0; at < bytes.length; index++) {
          const length = 1 + (cuts[index % cuts.length]! % 50);
          read.push(...reader.push(bytes.subarray(at, at + length)));
          at += length;
        }
        assert.deepEqual(
          read.map((message) => Buffer.from((message as { ack: Uint8Array }).ack).toString()),
          sizes.map((size) => 'a'.repeat(size)),
        );
      },
    ),
  );
});

test('any bytes are messages, a part of one, or an error, and what is kept of them is bounded', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 12 }), (chunks) => {
      const reader = new MessageReader();
      try {
        for (const chunk of chunks) assert.ok(reader.push(Buffer.from(chunk)).length <= 9000);
      } catch (error) {
        assert.ok(error instanceof Error && !(error instanceof assert.AssertionError), String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test('a message that claims to be huge is refused as soon as more has come than any message has', () => {
  for (const head of [
    [0xdb, 0xff, 0xff, 0xff, 0xff],
    [0xdd, 0xff, 0xff, 0xff, 0xff],
    [0xdf, 0x00, 0x10, 0, 0],
    [0xc9, 0x7f, 0, 0, 0, 1],
  ]) {
    const reader = new MessageReader();
    reader.push(Buffer.from(head));
    assert.throws(() => {
      for (let count = 0; count < 10; count++) reader.push(Buffer.alloc(1000));
    }, /longer than any/);
  }
});
