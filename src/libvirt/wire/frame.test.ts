import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  encodeFrame,
  type Frame,
  FrameDecoder,
  type FrameHeader,
  LENGTH_BYTES,
  MESSAGE_BYTES_MAX,
  MESSAGE_TYPE,
  PROGRAM,
} from './frame.ts';
import { LibvirtError } from './libvirt-error.ts';

const HEADER: FrameHeader = { program: PROGRAM.remote, version: 1, procedure: 66, type: 1, serial: 7, status: 0 };

function frame(payload: Uint8Array, header: Partial<FrameHeader> = {}): Buffer {
  // Payloads here are multiples of four bytes, as all of libvirt's are.
  return Buffer.from(encodeFrame({ ...HEADER, ...header }, (writer) => writer.opaque(payload)));
}

function decodeAll(chunks: Iterable<Buffer>, decoder = new FrameDecoder()): Frame[] {
  const frames: Frame[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk, (each) => frames.push({ ...each, payload: Buffer.from(each.payload) }));
  }
  return frames;
}

/** Cuts bytes at the given places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const borders = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, index) => bytes.subarray(borders[index], end));
}

function refuses(bytes: Buffer, message: RegExp): void {
  assert.throws(
    () => decodeAll([bytes]),
    (error) => {
      assert.ok(error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_PROTOCOL', String(error));
      assert.match(error.message, message);
      return true;
    },
  );
}

const payload = fc.uint8Array({ maxLength: 100 }).map((bytes) => bytes.subarray(0, bytes.length & ~3));

describe('frames', () => {
  it('are length, program, version, procedure, type, serial, status, then the payload', () => {
    const bytes = encodeFrame(
      { program: PROGRAM.remote, version: 1, procedure: 273, type: 0, serial: 42, status: 0 },
      (writer) => {
        writer.int32(1);
        writer.uint32(3);
      },
    );
    //                    length   program  version  proc     type     serial   status   need     flags
    const hex = '00000024 20008086 00000001 00000111 00000000 0000002a 00000000 00000001 00000003';
    assert.equal(bytes.toString('hex'), hex.replaceAll(' ', ''));
  });

  it('are read whole, one byte at a time, and in any pieces', () => {
    fc.assert(
      fc.property(fc.array(payload, { minLength: 1, maxLength: 6 }), fc.array(fc.nat()), (payloads, places) => {
        const stream = Buffer.concat(payloads.map((each, serial) => frame(each, { serial })));
        const expected = payloads.map((each, serial) => ({ ...HEADER, serial, payload: Buffer.from(each) }));
        assert.deepEqual(decodeAll([stream]), expected);
        assert.deepEqual(decodeAll(Array.from(stream, (_, at) => stream.subarray(at, at + 1))), expected);
        assert.deepEqual(decodeAll(cut(stream, places)), expected);
      }),
    );
  });

  it('larger than the first buffer are read from pieces', () => {
    const large = Buffer.alloc(3_000_000);
    for (let at = 0; at < large.length; at += 4) large.writeUInt32BE(at, at);
    const stream = Buffer.concat([frame(large), frame(Buffer.alloc(4))]);
    const chunks: Buffer[] = [];
    for (let at = 0; at < stream.length; at += 65_536) chunks.push(stream.subarray(at, at + 65_536));
    const [first, second] = decodeAll(chunks);
    assert.ok(first!.payload.equals(large));
    assert.equal(second!.payload.length, 4);
  });

  it('tell whether the stream stands between two of them', () => {
    const decoder = new FrameDecoder();
    const bytes = frame(Buffer.alloc(8));
    assert.equal(decoder.atBoundary, true);
    decodeAll([bytes], decoder);
    assert.equal(decoder.atBoundary, true);
    for (const length of [1, 4, 30]) {
      const other = new FrameDecoder();
      decodeAll([bytes.subarray(0, length)], other);
      assert.equal(other.atBoundary, false, `${length} bytes`);
      decodeAll([bytes.subarray(length)], other);
      assert.equal(other.atBoundary, true);
    }
  });

  it("may be as long as libvirt's longest, and no longer", () => {
    const longest = Buffer.alloc(MESSAGE_BYTES_MAX - 24);
    const bytes = frame(longest);
    assert.equal(bytes.length, MESSAGE_BYTES_MAX + LENGTH_BYTES);
    assert.equal(decodeAll([bytes])[0]!.payload.length, longest.length);
    assert.throws(
      () => frame(Buffer.alloc(longest.length + 4)),
      (error) => error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_ARGUMENT',
    );
    refuses(Buffer.from('02000005', 'hex'), /^a message claims 33554437 bytes; libvirt's are 28 to 33554436$/);
    refuses(Buffer.from('ffffffff', 'hex'), /claims 4294967295 bytes/);
    for (const short of [0, 1, 4, 27]) refuses(Buffer.from([0, 0, 0, short]), new RegExp(`claims ${short} bytes`));
  });

  it('that claim much and send little take little memory', () => {
    const before = process.memoryUsage().arrayBuffers;
    const decoders = Array.from({ length: 50 }, () => new FrameDecoder());
    // Byte by byte, so that the length is known while the rest is not there.
    for (const decoder of decoders) {
      for (const byte of [2, 0, 0, 4, 0, 0, 0, 0]) decodeAll([Buffer.from([byte])], decoder);
    }
    const takenBytes = process.memoryUsage().arrayBuffers - before;
    assert.ok(takenBytes < 20e6, `${takenBytes} bytes for 400 received`);
    assert.equal(decoders.length, 50);
  });

  it('of other protocols are named as such', () => {
    const foreign = /seems to speak another protocol, such as HTTP, SSH or TLS/;
    refuses(Buffer.from('HTTP/1.1 400 Bad Request\r\n'), foreign);
    refuses(Buffer.from('SSH-2.0-OpenSSH_9.2p1\r\n'), foreign);
    // A TLS alert (15 03 03 00 02 02 28) and the beginning of a handshake.
    refuses(Buffer.from('15030300020228', 'hex'), foreign);
    refuses(Buffer.from('1603010200010001', 'hex'), foreign);
    assert.throws(
      () => decodeAll([Buffer.from('80000000', 'hex')]),
      (error: Error) => !foreign.test(error.message),
    );
  });

  it('of an unknown type or status are refused', () => {
    refuses(frame(Buffer.alloc(0), { type: 7 }), /^a message has the unknown type 7$/);
    refuses(frame(Buffer.alloc(0), { status: 3 }), /^a message has the unknown status 3$/);
    assert.equal(decodeAll([frame(Buffer.alloc(0), { type: MESSAGE_TYPE.streamHole })]).length, 1);
  });

  it('that are broken fail with known errors only, in whatever pieces they come', () => {
    const change = fc.tuple(fc.nat(), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(payload, { minLength: 1, maxLength: 4 }),
        fc.array(change, { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        (payloads, changes, places) => {
          const stream = Buffer.concat(payloads.map((each) => frame(each)));
          for (const [at, value] of changes) stream[at % stream.length] = value;
          const outcomes = [[stream], cut(stream, places)].map((chunks) => {
            try {
              return decodeAll(chunks);
            } catch (error) {
              assert.ok(error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_PROTOCOL', String(error));
              return error.message;
            }
          });
          assert.deepEqual(outcomes[1], outcomes[0]);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
