import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { byteString, type Codec, charArray, int32, list, nothing, optional, string, struct, uuid } from './codec.ts';
import { LibvirtError } from './libvirt-error.ts';
import { XdrReader, XdrWriter } from './xdr.ts';

function encode<T>(codec: Codec<T>, value: T): string {
  const writer = new XdrWriter();
  codec.encode(writer, value);
  return writer.result().toString('hex');
}

function decode<T>(codec: Codec<T>, hex: string): T {
  const reader = new XdrReader(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  const value = codec.decode(reader);
  reader.finish();
  return value;
}

const codeOf = (code: string) => (error: unknown) => error instanceof LibvirtError && error.code === code;

describe('optional', () => {
  it('is a boolean, then the value if it is there', () => {
    assert.equal(encode(optional(string), undefined), '00000000');
    assert.equal(encode(optional(string), ''), '0000000100000000');
    assert.equal(decode(optional(string), '00000000'), undefined);
    assert.equal(decode(optional(string), '00000001 00000002 61620000'), 'ab');
    assert.throws(() => decode(optional(string), '00000007 00000000'), codeOf('ERR_LIBVIRT_PROTOCOL'));
  });
});

describe('list', () => {
  const numbers = list(int32, 3);

  it('is a count, then the items', () => {
    assert.equal(encode(numbers, [1, -1]), '0000000200000001ffffffff');
    assert.deepEqual(decode(numbers, '00000002 00000001 ffffffff'), [1, -1]);
    assert.deepEqual(decode(numbers, '00000000'), []);
  });

  it('has its limit in both directions', () => {
    assert.throws(() => decode(numbers, '00000004 00000001'), codeOf('ERR_LIBVIRT_PROTOCOL'));
    assert.throws(() => encode(numbers, [1, 2, 3, 4]), codeOf('ERR_LIBVIRT_ARGUMENT'));
  });

  it('that claims more than it has takes no memory for the claim', () => {
    const huge = list(string, 0xffff_ffff);
    const before = process.memoryUsage();
    for (let i = 0; i < 100; i++) {
      assert.throws(() => decode(huge, 'fffffffe 00000000'), codeOf('ERR_LIBVIRT_PROTOCOL'));
    }
    const after = process.memoryUsage();
    assert.ok(after.heapUsed + after.external - before.heapUsed - before.external < 50e6);
  });
});

describe('byteString', () => {
  it('has its limit in both directions', () => {
    assert.equal(encode(byteString(4), Uint8Array.of(1, 2)), '0000000201020000');
    assert.throws(() => encode(byteString(4), new Uint8Array(5)), codeOf('ERR_LIBVIRT_ARGUMENT'));
    assert.throws(() => decode(byteString(4), '00000005 01020304 05000000'), codeOf('ERR_LIBVIRT_PROTOCOL'));
  });
});

describe('charArray', () => {
  it('takes four bytes a character, sign-extended as C has it, and ends at the first NUL', () => {
    // 'xé' in four characters of a C program whose char is signed.
    assert.equal(decode(charArray(4), '00000078 ffffffc3 ffffffa9 00000000'), 'xé');
    assert.equal(decode(charArray(4), '00000078 00000000 00000079 00000000'), 'x');
    assert.equal(decode(charArray(2), '00000061 00000062'), 'ab');
    assert.equal(encode(charArray(3), 'abcd'), '000000610000006200000000');
    assert.throws(() => decode(charArray(4), '00000078'), codeOf('ERR_LIBVIRT_PROTOCOL'));
  });
});

describe('uuid', () => {
  const text = '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0';
  const hex = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';

  it('is lower-case text with dashes here, 16 bytes there', () => {
    assert.equal(encode(uuid, text), hex);
    assert.equal(encode(uuid, text.toUpperCase()), hex);
    assert.equal(encode(uuid, hex), hex);
    assert.equal(decode(uuid, hex), text);
    assert.throws(() => decode(uuid, hex.slice(2)), codeOf('ERR_LIBVIRT_PROTOCOL'));
  });

  for (const wrong of ['', 'vm', hex.slice(1), `${hex}0`, `${hex}00`, `${hex.slice(1)}g`, ` ${hex}`]) {
    it(`is not '${wrong}'`, () => {
      assert.throws(() => encode(uuid, wrong), codeOf('ERR_LIBVIRT_ARGUMENT'));
    });
  }
});

describe('struct', () => {
  it('has its members in order', () => {
    const pair = struct({ b: int32, a: optional(int32), none: nothing });
    assert.equal(encode(pair, { a: 1, b: 2, none: undefined }), '000000020000000100000001');
    assert.deepEqual(decode(pair, '00000002 00000000'), { b: 2, a: undefined, none: undefined });
  });
});
