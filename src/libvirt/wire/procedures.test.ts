import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeValue, domain, EVENT_VALUES, encodeValue, PROCEDURE_VALUES } from '../../../test/support/protocol.ts';
import type { Codec } from './codec.ts';
import { EVENT_KINDS, type EventName } from './event-kinds.ts';
import { encodeFrame, type Frame, FrameDecoder } from './frame.ts';
import { LibvirtError } from './libvirt-error.ts';
import { PROCEDURES, type ProcedureName } from './procedures.ts';
import { PARAM_TYPE } from './typed-params.ts';
import { domainRef, remoteError } from './types.ts';

const procedureNames = Object.keys(PROCEDURES) as ProcedureName[];
const eventNames = Object.keys(EVENT_KINDS) as EventName[];

/** Every codec of the tables with values for it, and a name. */
const codecs: ReadonlyArray<readonly [string, Codec<unknown>, fc.Arbitrary<unknown>]> = [
  ...procedureNames.flatMap((name) => {
    const { args, result } = PROCEDURES[name];
    return [
      [`arguments of ${name}`, args as Codec<unknown>, PROCEDURE_VALUES[name][0]] as const,
      [`result of ${name}`, result as Codec<unknown>, PROCEDURE_VALUES[name][1]] as const,
    ];
  }),
  ...eventNames.map(
    (name) => [`event ${name}`, EVENT_KINDS[name].payload as Codec<unknown>, EVENT_VALUES[name]] as const,
  ),
];

/** One message from commented hexadecimal: what follows a '#' on a line is a remark. */
function message(text: string): Frame {
  const hex = text.replace(/#.*$/gm, '').replace(/\s/g, '');
  const frames: Frame[] = [];
  new FrameDecoder().push(Buffer.from(hex, 'hex'), (frame) => frames.push(frame));
  assert.equal(frames.length, 1);
  return frames[0]!;
}

/** The same message as this side would send it. */
function reencode(frame: Frame, codec: Codec<unknown>, value: unknown): Buffer {
  const { payload, ...header } = frame;
  const bytes = encodeFrame(header, (writer) => codec.encode(writer, value));
  assert.equal(bytes.subarray(28).toString('hex'), payload.toString('hex'));
  return bytes;
}

describe('the tables', () => {
  it('have no number twice', () => {
    const numbers = [
      ...procedureNames.map((name) => PROCEDURES[name].number),
      ...eventNames.map((name) => EVENT_KINDS[name].procedure),
      ...eventNames.flatMap((name) => EVENT_KINDS[name].legacyProcedure ?? []),
    ];
    assert.equal(new Set(numbers).size, numbers.length);
    const ids = eventNames.map((name) => EVENT_KINDS[name].id);
    assert.equal(new Set(ids).size, ids.length);
  });

  it('have codecs that give back what they were given', () => {
    for (const [name, codec, values] of codecs) {
      fc.assert(
        fc.property(values, (value) => {
          assert.deepEqual(decodeValue(codec, encodeValue(codec, value)), value, name);
        }),
        { numRuns: 30 },
      );
    }
  });

  it('have codecs that fail with known errors only, whatever happens to the bytes', () => {
    const change = fc.tuple(fc.nat(), fc.nat(255));
    for (const [name, codec, values] of codecs) {
      fc.assert(
        fc.property(values, fc.array(change, { maxLength: 4 }), fc.nat(), (value, changes, cut) => {
          const bytes = encodeValue(codec, value);
          for (const [at, byte] of bytes.length === 0 ? [] : changes) bytes[at % bytes.length] = byte;
          const end = cut % 3 === 0 ? cut % (bytes.length + 1) : bytes.length;
          try {
            decodeValue(codec, bytes.subarray(0, end));
          } catch (error) {
            assert.ok(error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_PROTOCOL', `${name}: ${error}`);
          }
        }),
        { numRuns: 60 },
      );
    }
  });

  it('have codecs that refuse a value with bytes missing, wherever it ends', () => {
    for (const [name, codec, values] of codecs) {
      fc.assert(
        fc.property(values, fc.nat(), (value, cut) => {
          const bytes = encodeValue(codec, value);
          if (bytes.length === 0) return;
          assert.throws(() => decodeValue(codec, bytes.subarray(0, cut % bytes.length)), LibvirtError, name);
        }),
        { numRuns: 20 },
      );
    }
  });
});

describe('a domain', () => {
  it('is the same object from reply to reply, until anything of it changes', () => {
    fc.assert(
      fc.property(domain, (ref) => {
        const first = decodeValue(domainRef, encodeValue(domainRef, ref));
        assert.deepEqual(first, ref);
        assert.equal(decodeValue(domainRef, encodeValue(domainRef, ref)), first);
        const restarted = { ...ref, id: ref.id ^ 1 };
        assert.deepEqual(decodeValue(domainRef, encodeValue(domainRef, restarted)), restarted);
        assert.ok(Object.isFrozen(first));
      }),
    );
  });
});

// Messages of a libvirtd 9.0.0.
describe('a real daemon', () => {
  const VE = { name: 'vé', uuid: '11111111-2222-3333-4444-555555555555', id: 1 };

  it('lists its authentications', () => {
    const frame = message(`
      00000024 20008086 00000001 00000042 00000001 00000001 00000000
      00000001  # one
      00000000  # REMOTE_AUTH_NONE`);
    assert.equal(frame.procedure, PROCEDURES.authList.number);
    assert.deepEqual(decodeValue(PROCEDURES.authList.result, frame.payload), { types: [0] });
  });

  it('describes its node', () => {
    const frame = message(`
      000000bc 20008086 00000001 00000006 00000001 00000006 00000000
      00000078 00000038 00000036 0000005f 00000036 00000034 00000000 00000000  # 'x86_64', four bytes a character
      00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
      00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
      00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
      00000000 006d68d8  # KiB
      00000002           # CPUs
      00000a28           # MHz
      00000001 00000001 00000002 00000001`);
    const info = decodeValue(PROCEDURES.nodeGetInfo.result, frame.payload);
    const topology = { nodes: 1, sockets: 1, cores: 2, threads: 1 };
    assert.deepEqual(info, { model: 'x86_64', memoryKiB: 7_170_264, cpus: 2, mhz: 2600, ...topology });
    reencode(frame, PROCEDURES.nodeGetInfo.result as Codec<unknown>, info);
  });

  it('is asked for a domain and tells about it', () => {
    const lookup = message('00000024 20008086 00000001 00000017 00000000 00000004 00000000 00000003 76c3a900');
    const args = decodeValue(PROCEDURES.domainLookupByName.args, lookup.payload);
    assert.deepEqual(args, { name: 'vé' });
    reencode(lookup, PROCEDURES.domainLookupByName.args as Codec<unknown>, args);

    const info = message(`
      0000003c 20008086 00000001 00000010 00000001 00000005 00000000
      00000003           # paused, as an unsigned char
      00000000 00004000  # KiB at most
      00000000 00004000  # KiB
      00000001           # vCPU, as an unsigned short
      00000000 055d4a80  # ns of CPU time`);
    assert.deepEqual(decodeValue(PROCEDURES.domainGetInfo.result, info.payload), {
      state: 3,
      maxMemoryKiB: 16_384,
      memoryKiB: 16_384,
      vcpus: 1,
      cpuTimeNs: 90_000_000,
    });
  });

  it('gives statistics, -1 for what it does not know', () => {
    const block = message(`
      00000044 20008086 00000001 00000040 00000001 0000000a 00000000
      00000000 00000001 00000000 00000200  # 1 read of 512 bytes
      00000000 00000000 00000000 00000000  # none written
      ffffffff ffffffff                    # errors: not known`);
    assert.deepEqual(decodeValue(PROCEDURES.domainBlockStats.result, block.payload), {
      readRequests: 1,
      readBytes: 512,
      writeRequests: 0,
      writeBytes: 0,
      errors: -1,
    });

    const all = message(`
      00000088 20008086 00000001 00000158 00000001 00000007 00000000
      00000001                                                            # one record
      00000003 76c3a900 11111111 22223333 44445555 55555555 00000001      # its domain
      00000003                                                            # three parameters
      0000000b 73746174 652e7374 61746500 00000001 00000003               # state.state, int: 3
      00000008 6370752e 74696d65 00000004 00000000 055d4a80               # cpu.time, ullong
      00000008 6370752e 75736572 00000004 00000000 02625a00               # cpu.user, ullong`);
    assert.deepEqual(decodeValue(PROCEDURES.connectGetAllDomainStats.result, all.payload), {
      records: [
        {
          domain: VE,
          params: {
            layout: {
              fields: ['state.state', 'cpu.time', 'cpu.user'],
              types: [PARAM_TYPE.int, PARAM_TYPE.ullong, PARAM_TYPE.ullong],
            },
            values: [3, 90_000_000, 40_000_000],
          },
        },
      ],
    });

    const vcpus = message(`
      0000003c 20008086 00000001 00000014 00000001 0000000c 00000000
      00000001 00000000 00000001 00000000 07270e00 00000001  # vCPU 0 runs on CPU 1
      00000001 03000000                                      # may run on CPUs 0 and 1`);
    assert.deepEqual(decodeValue(PROCEDURES.domainGetVcpus.result, vcpus.payload), {
      vcpus: [{ number: 0, state: 1, cpuTimeNs: 120_000_000, cpu: 1 }],
      cpuMaps: Buffer.from([3]),
    });
  });

  it('says what went wrong', () => {
    const frame = message(`
      000000c4 20008086 00000001 00000017 00000001 00000009 00000001  # a reply with status 'error'
      0000002a 0000000a                                               # VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU
      00000001 00000035 446f6d61 696e206e 6f742066 6f756e64 3a206e6f 20646f6d 61696e20 77697468 206d6174
      6368696e 67206e61 6d652027 6e65696e 27000000                    # the message
      00000002                                                        # VIR_ERR_ERROR
      00000000                                                        # no domain
      00000001 00000014 446f6d61 696e206e 6f742066 6f756e64 3a202573  # str1
      00000001 00000023 6e6f2064 6f6d6169 6e207769 7468206d 61746368 696e6720 6e616d65 20276e65 696e2700
      00000000 ffffffff ffffffff 00000000                             # str3, int1, int2, no network`);
    const error = decodeValue(remoteError, frame.payload);
    assert.deepEqual(
      { code: error.code, domain: error.domain, level: error.level, message: error.message },
      { code: 42, domain: 10, level: 2, message: "Domain not found: no domain with matching name 'nein'" },
    );
    reencode(frame, remoteError as Codec<unknown>, error);
  });

  it('reports events', () => {
    const frame = message(`
      00000044 20008086 00000001 0000013e 00000002 00000001 00000000  # a message, of serial 1 whatever the protocol file says
      00000000                                                        # callback id
      00000003 76c3a900 11111111 22223333 44445555 55555555 00000001
      00000004 00000000                                               # resumed, unpaused`);
    const { payload, procedure } = EVENT_KINDS.lifecycle;
    assert.equal(frame.procedure, procedure);
    assert.deepEqual(decodeValue(payload, frame.payload.subarray(4)), { domain: VE, event: 4, detail: 0 });
  });
});
