import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { decodeValue, encodeValue, params } from '../../../test/support/protocol.ts';
import { LibvirtError } from './libvirt-error.ts';
import {
  PARAM_TYPE,
  type ParamType,
  type ParamValue,
  paramsToMap,
  type TypedParams,
  typedParams,
  typedParamsCodec,
} from './typed-params.ts';
import { XdrReader } from './xdr.ts';

const codec = typedParamsCodec(262_144);

const encode = (value: TypedParams) => encodeValue(codec, value);
const decode = (bytes: Buffer) => decodeValue(codec, bytes);

function refuses(bytes: Buffer, message: RegExp): void {
  assert.throws(
    () => decode(bytes),
    (error) => error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_PROTOCOL' && message.test(error.message),
  );
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

describe('typed parameters', () => {
  it('are read as libvirt writes them', () => {
    // state.state int 1; cpu.time ullong 2^53 + 1; name string 'é'
    const hex = `00000003
      0000000b 73746174652e737461746500 00000001 00000001
      00000008 6370752e74696d65 00000004 0020000000000001
      00000004 6e616d65 00000007 00000002 c3a90000`;
    const read = decode(Buffer.from(hex.replace(/\s/g, ''), 'hex'));
    assert.deepEqual(read.layout, {
      fields: ['state.state', 'cpu.time', 'name'],
      types: [PARAM_TYPE.int, PARAM_TYPE.ullong, PARAM_TYPE.string],
    });
    assert.deepEqual(read.values, [1, 2n ** 53n + 1n, 'é']);
    assert.deepEqual([...paramsToMap(read)][0], ['state.state', 1]);
  });

  it('come back as they were', () => {
    fc.assert(
      fc.property(fc.array(params, { maxLength: 5 }), (lists) => {
        for (const list of lists) assert.deepEqual(decode(encode(list)), list);
      }),
    );
  });

  it('share one layout when names and types are the same, and only then', () => {
    const make = (name: string, type: ParamType, value: ParamValue) =>
      decode(
        encode(
          typedParams([
            ['a', PARAM_TYPE.int, 1],
            [name, type, value],
          ]),
        ),
      ).layout;
    const first = make('b', PARAM_TYPE.uint, 1);
    assert.equal(make('b', PARAM_TYPE.uint, 2), first);
    assert.notEqual(make('b', PARAM_TYPE.int, 1), first);
    assert.notEqual(make('c', PARAM_TYPE.uint, 1), first);
    const shorter = decode(encode(typedParams([['a', PARAM_TYPE.int, 1]]))).layout;
    assert.deepEqual(shorter.fields, ['a']);
    assert.equal(make('b', PARAM_TYPE.uint, 3), first);
  });

  it('of none are an empty list', () => {
    assert.deepEqual(decode(Buffer.alloc(4)), { layout: { fields: [], types: [] }, values: [] });
  });

  it('of an unknown type are refused', () => {
    for (const type of [0, 8, 0xffff_ffff]) {
      const bytes = Buffer.from('0000000100000001610000000000000000000000', 'hex');
      bytes.writeUInt32BE(type, 12);
      refuses(bytes, /^typed parameter "a" has the unknown type /);
    }
  });

  it('with a name that libvirt has no room for are refused', () => {
    const bytes = (length: number) =>
      encode({ layout: { fields: ['x'.repeat(length)], types: [PARAM_TYPE.int] }, values: [1] });
    assert.equal(decode(bytes(79)).layout.fields[0]!.length, 79);
    refuses(bytes(80), /claims a length of 80; the limit is 79/);
  });

  it('beyond the limit of their list, or beyond the message, are refused at once', () => {
    refuses(Buffer.from('00040001', 'hex'), /claims a length of 262145; the limit is 262144/);
    refuses(Buffer.from('00040000', 'hex'), /^262144 typed parameters do not fit in 0 bytes$/);
    refuses(encode(typedParams([['a', PARAM_TYPE.int, 1]])).subarray(0, -1), /ends at byte/);
    refuses(Buffer.from('00000002000000016100000000000001000000010000000000000000', 'hex'), /unknown type 0/);
  });

  it('with ever new names do not fill the memory, and are read all the same', () => {
    const one = (name: string) => encode(typedParams([[name, PARAM_TYPE.ullong, 7]]));
    const chain = Array.from({ length: 3000 }, (_, i) => [`deep.${i}`, PARAM_TYPE.int, i] as const);
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 150_000; i++) {
      const { layout } = decode(one(`never.seen.${i}`));
      if (i % 10_000 === 0) assert.deepEqual(layout.fields, [`never.seen.${i}`]);
    }
    // Every prefix of a long list has a layout of its own: together they would be thousands of times the list.
    const whole = encode(typedParams(chain));
    for (let count = 1; count <= chain.length; count++) {
      whole.writeUInt32BE(count, 0);
      assert.equal(codec.decode(new XdrReader(whole)).layout.fields.length, count);
    }
    collectGarbage();
    const grownBytes = process.memoryUsage().heapUsed - before;
    assert.ok(grownBytes < 40e6, `${grownBytes} bytes are kept`);
    assert.deepEqual(decode(one('state.state')).values, [7]);
  });

  it('that are broken fail with known errors only', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(params, changes, fc.nat(), (list, places, cut) => {
        const bytes = encode(list);
        for (const [at, value] of places) bytes[at % bytes.length] = value;
        try {
          decode(cut % 2 === 0 ? bytes : bytes.subarray(0, cut % bytes.length));
        } catch (error) {
          assert.ok(error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_PROTOCOL', String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });
});
