import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LibvirtError, type LibvirtErrorCode } from './libvirt-error.ts';
import { type Int64, STRING_BYTES_MAX, XdrReader, XdrWriter } from './xdr.ts';

function written(write: (writer: XdrWriter) => void): Buffer {
  const writer = new XdrWriter();
  write(writer);
  return Buffer.from(writer.result());
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

function throwsCode(work: () => unknown, code: LibvirtErrorCode, message: RegExp): void {
  assert.throws(work, (error) => {
    assert.ok(error instanceof LibvirtError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

/** A 64-bit value as the client hands it on. */
function int64Of(value: bigint): Int64 {
  const isSafe = value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);
  return isSafe ? Number(value) : value;
}

describe('64-bit numbers', () => {
  const unsigned: ReadonlyArray<readonly [string, Int64]> = [
    ['00000000 00000000', 0],
    ['00000000 ffffffff', 0xffff_ffff],
    ['00000001 00000000', 0x1_0000_0000],
    ['001fffff ffffffff', 2 ** 53 - 1],
    ['00200000 00000000', 2n ** 53n],
    ['00200000 00000001', 2n ** 53n + 1n],
    ['7fffffff ffffffff', 2n ** 63n - 1n],
    ['80000000 00000000', 2n ** 63n],
    ['ffffffff ffffffff', 2n ** 64n - 1n],
  ];
  for (const [bytes, value] of unsigned) {
    it(`reads and writes ${value} unsigned`, () => {
      const read = new XdrReader(hex(bytes)).uint64();
      assert.equal(read, value);
      assert.deepEqual(
        written((writer) => writer.uint64(value)),
        hex(bytes),
      );
    });
  }

  const signed: ReadonlyArray<readonly [string, Int64]> = [
    ['00000000 00000000', 0],
    ['ffffffff ffffffff', -1],
    ['ffffffff 00000000', -0x1_0000_0000],
    ['001fffff ffffffff', 2 ** 53 - 1],
    ['00200000 00000000', 2n ** 53n],
    ['ffe00000 00000001', -(2 ** 53 - 1)],
    ['ffe00000 00000000', -(2n ** 53n)],
    ['ffdfffff ffffffff', -(2n ** 53n) - 1n],
    ['7fffffff ffffffff', 2n ** 63n - 1n],
    ['80000000 00000000', -(2n ** 63n)],
  ];
  for (const [bytes, value] of signed) {
    it(`reads and writes ${value} signed`, () => {
      const read = new XdrReader(hex(bytes)).int64();
      assert.equal(read, value);
      assert.deepEqual(
        written((writer) => writer.int64(value)),
        hex(bytes),
      );
    });
  }

  it('keeps every value exact, as a number where it can be one', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const bytes = written((writer) => writer.int64(value));
        assert.equal(new XdrReader(bytes).int64(), int64Of(value));
        const raw = BigInt.asUintN(64, value);
        assert.equal(new XdrReader(bytes).uint64(), int64Of(raw));
      }),
    );
  });
});

describe('what the wire has no room for', () => {
  const cases: ReadonlyArray<readonly [string, (writer: XdrWriter) => void, RegExp]> = [
    ['-1 as unsigned', (w) => w.uint32(-1), /^-1 is not an unsigned 32-bit number$/],
    ['2^32', (w) => w.uint32(2 ** 32), /4294967296/],
    ['2^31 signed', (w) => w.int32(2 ** 31), /2147483648 is not a 32-bit number/],
    ['a fraction', (w) => w.int32(1.5), /1\.5/],
    ['NaN', (w) => w.uint32(Number.NaN), /NaN/],
    ['-1 as unsigned 64', (w) => w.uint64(-1), /^-1 is not an unsigned 64-bit number$/],
    ['2^64', (w) => w.uint64(2n ** 64n), /18446744073709551616/],
    ['2^63 signed', (w) => w.int64(2n ** 63n), /9223372036854775808 is not a 64-bit number/],
    ['half a byte', (w) => w.uint64(0.5), /0\.5 is not a whole number/],
    ['Infinity', (w) => w.int64(Number.POSITIVE_INFINITY), /Infinity is not a whole number/],
    ['a NUL', (w) => w.string('vm\0x'), /text holds a NUL: "vm\\u0000x"/],
    ['a long text', (w) => w.string('é'.repeat(STRING_BYTES_MAX / 2 + 1)), /has 4194306 bytes/],
  ];
  for (const [name, write, message] of cases) {
    it(`refuses ${name} instead of sending another value`, () => {
      throwsCode(() => written(write), 'ERR_LIBVIRT_ARGUMENT', message);
    });
  }
});

describe('text', () => {
  it('is padded with zeros to four bytes, whatever the buffer held before', () => {
    const writer = new XdrWriter(8);
    writer.string('abcde');
    writer.string('');
    writer.string('né');
    assert.deepEqual(Buffer.from(writer.result()), hex('00000005 61626364 65000000 00000000 00000003 6ec3a900'));
  });

  it('comes back as it was, of any length and any character but NUL', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), (texts) => {
        const clean = texts.map((text) => text.replaceAll('\0', ''));
        const reader = new XdrReader(
          written((writer) => {
            for (const text of clean) writer.string(text);
          }),
        );
        assert.deepEqual(
          clean.map(() => reader.string()),
          clean,
        );
        reader.finish();
      }),
    );
  });

  it('has U+FFFD for what is not UTF-8', () => {
    assert.equal(new XdrReader(hex('00000003 61ff6200')).string(), 'a\ufffdb');
  });

  it('longer than the limit is refused before anything of it is looked at', () => {
    throwsCode(
      () => new XdrReader(hex('00400001')).string(),
      'ERR_LIBVIRT_PROTOCOL',
      /^a string at byte 0 claims a length of 4194305; the limit is 4194304$/,
    );
    throwsCode(() => new XdrReader(hex('ffffffff')).string(), 'ERR_LIBVIRT_PROTOCOL', /claims a length of 4294967295/);
  });

  it('that ends with the message, or in its padding, is refused', () => {
    throwsCode(
      () => new XdrReader(hex('00000008 61626364')).string(),
      'ERR_LIBVIRT_PROTOCOL',
      /^the message ends at byte 8, in the middle of a 8-byte value at byte 4$/,
    );
    throwsCode(() => new XdrReader(hex('00000001 61')).string(), 'ERR_LIBVIRT_PROTOCOL', /ends at byte 5/);
  });
});

describe('the reader', () => {
  it('takes 0 and 1 for a boolean, and nothing else', () => {
    assert.equal(new XdrReader(hex('00000000')).boolean(), false);
    assert.equal(new XdrReader(hex('00000001')).boolean(), true);
    throwsCode(
      () => new XdrReader(hex('00000002')).boolean(),
      'ERR_LIBVIRT_PROTOCOL',
      /boolean at byte 0 is 2, neither 0 nor 1/,
    );
  });

  it('does not look beyond its end, though the buffer goes on', () => {
    const reader = new XdrReader(hex('00000001 00000002'), 0, 4);
    assert.equal(reader.uint32(), 1);
    throwsCode(() => reader.uint32(), 'ERR_LIBVIRT_PROTOCOL', /ends at byte 4/);
    reader.finish();
  });

  it('reads in the middle of a larger buffer', () => {
    const outer = hex('deadbeef 0000002a 00000003 61626300');
    const reader = new XdrReader(outer.subarray(4));
    assert.equal(reader.uint32(), 42);
    assert.equal(reader.string(), 'abc');
    reader.finish();
  });

  it('names bytes that are left over', () => {
    const reader = new XdrReader(hex('00000001 00000002'));
    reader.uint32();
    throwsCode(() => reader.finish(), 'ERR_LIBVIRT_PROTOCOL', /^4 bytes are left over after the last value$/);
  });

  it('copies opaque bytes, so that they outlive the message', () => {
    const bytes = hex('00000003 01020300');
    const value = new XdrReader(bytes).bytesValue(3);
    bytes.fill(0xff);
    assert.deepEqual(value, hex('010203'));
    throwsCode(() => new XdrReader(hex('00000004 01020304')).bytesValue(3), 'ERR_LIBVIRT_PROTOCOL', /the limit is 3/);
  });

  it('fails with known errors only, whatever the bytes and whatever is read', () => {
    const reads = ['uint32', 'int32', 'boolean', 'uint64', 'int64', 'float64', 'string', 'finish'] as const;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.array(fc.constantFrom(...reads)), (bytes, kinds) => {
        const reader = new XdrReader(Buffer.from(bytes));
        try {
          for (const kind of kinds) reader[kind]();
        } catch (error) {
          assert.ok(error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_PROTOCOL', String(error));
        }
        assert.ok(reader.offset <= bytes.length);
      }),
    );
  });
});

describe('the writer', () => {
  it('grows, and keeps what was written', () => {
    const writer = new XdrWriter(4);
    for (let i = 0; i < 1000; i++) writer.uint32(i);
    assert.equal(writer.length, 4000);
    const reader = new XdrReader(writer.result());
    for (let i = 0; i < 1000; i++) assert.equal(reader.uint32(), i);
  });

  it('writes doubles, negative zero and infinities included', () => {
    for (const value of [0, -0, 1.5, -1e300, Number.POSITIVE_INFINITY, Number.NaN]) {
      assert.ok(Object.is(new XdrReader(written((writer) => writer.float64(value))).float64(), value), String(value));
    }
  });

  it('takes whole numbers of either kind for 64 bits', () => {
    assert.deepEqual(
      written((writer) => writer.uint64(7)),
      written((writer) => writer.uint64(7n)),
    );
  });
});
