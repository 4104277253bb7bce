import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { type Duplex, duplexPair } from 'node:stream';
import { describe, it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { type CallObserver, type CallOptions, RpcConnection } from './rpc-connection.ts';
import {
  encodeFrame,
  type Frame,
  FrameDecoder,
  type FrameHeader,
  KEEPALIVE,
  MESSAGE_STATUS,
  MESSAGE_TYPE,
  PROGRAM,
} from './wire/frame.ts';
import { LibvirtError, type LibvirtErrorCode } from './wire/libvirt-error.ts';
import { PROCEDURES } from './wire/procedures.ts';
import { remoteError } from './wire/types.ts';
import type { XdrWriter } from './wire/xdr.ts';

const HOSTNAME = PROCEDURES.connectGetHostname;

/** A daemon in the test's own hands: it sees every frame, and answers what it is told to. */
class Peer {
  readonly stream: Duplex;
  readonly received: Frame[] = [];
  readonly #decoder = new FrameDecoder();
  readonly #waiting: Array<{ readonly count: number; readonly resolve: () => void }> = [];

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => {
      this.#decoder.push(chunk, (frame) => this.received.push(frame));
      for (const { count, resolve } of this.#waiting) if (this.received.length >= count) resolve();
    });
  }

  async frames(count: number): Promise<readonly Frame[]> {
    if (this.received.length < count) {
      await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
    }
    return this.received;
  }

  send(header: Partial<FrameHeader>, write: (writer: XdrWriter) => void = () => {}): void {
    const whole = { program: PROGRAM.remote, version: 1, procedure: 0, type: 1, serial: 0, status: 0, ...header };
    this.stream.write(encodeFrame(whole, write));
  }

  answer(call: Frame, hostname: string, header: Partial<FrameHeader> = {}): void {
    const { serial, procedure } = call;
    this.send({ serial, procedure, type: MESSAGE_TYPE.reply, ...header }, (writer) => writer.string(hostname));
  }
}

interface Pair {
  readonly rpc: RpcConnection;
  readonly clock: FakeClock;
  readonly peer: Peer;
  readonly closed: Promise<LibvirtError | undefined>;
  readonly messages: Frame[];
  hostname(options?: CallOptions): Promise<string>;
}

function makePair(options: { readonly onCall?: CallObserver; readonly near?: (stream: Duplex) => void } = {}): Pair {
  const [near, far] = duplexPair();
  near.on('close', () => far.destroy());
  far.on('close', () => near.destroy());
  options.near?.(near);
  const messages: Frame[] = [];
  const clock = new FakeClock();
  const closed = Promise.withResolvers<LibvirtError | undefined>();
  const rpc = new RpcConnection(near, {
    description: 'the far side',
    defaultTimeoutMs: 5_000,
    clock,
    onCall: options.onCall,
    onMessage: (frame) => messages.push(frame),
    onClose: closed.resolve,
  });
  const hostname = async (limits?: CallOptions) =>
    (await rpc.call('connectGetHostname', HOSTNAME, undefined, limits)).hostname;
  return { rpc, clock, peer: new Peer(far), closed: closed.promise, messages, hostname };
}

function is(code: LibvirtErrorCode, message = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof LibvirtError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

describe('calls', () => {
  it('are sent at once, and their answers told apart by serial', async () => {
    const { rpc, peer, hostname } = makePair();
    const answers = [hostname(), hostname(), hostname()];
    const calls = await peer.frames(3);
    assert.deepEqual(
      calls.map(({ serial }) => serial),
      [1, 2, 3],
    );
    for (const call of [...calls].reverse()) peer.answer(call, `host-${call.serial}`);
    assert.deepEqual(await Promise.all(answers), ['host-1', 'host-2', 'host-3']);
    assert.equal(rpc.outstandingCalls, 0);
  });

  it("carry the daemon's own error", async () => {
    const { peer, hostname } = makePair();
    const answer = hostname();
    const [call] = await peer.frames(1);
    const status = MESSAGE_STATUS.error;
    peer.send({ serial: call!.serial, procedure: call!.procedure, type: MESSAGE_TYPE.reply, status }, (writer) =>
      remoteError.encode(writer, {
        code: 42,
        domain: 10,
        message: 'Domain not found',
        level: 2,
        relatedDomain: undefined,
        str1: undefined,
        str2: undefined,
        str3: undefined,
        int1: 0,
        int2: 0,
        relatedNetwork: undefined,
      }),
    );
    await assert.rejects(answer, (error: LibvirtError) => {
      assert.deepEqual(error.remote, { code: 42, domain: 10, level: 2, message: 'Domain not found' });
      return is('ERR_LIBVIRT_REMOTE', /^Domain not found$/)(error);
    });
  });

  it("keep a bounded part of the daemon's words, in one line, and its numbers", async () => {
    const { peer, hostname } = makePair();
    const answer = hostname();
    const [call] = await peer.frames(1);
    const status = MESSAGE_STATUS.error;
    const message = `qemu said:\n\u001b[31mlibvirt_up 0\r\n${'x'.repeat(1_000_000)}`;
    peer.send({ serial: call!.serial, procedure: call!.procedure, type: MESSAGE_TYPE.reply, status }, (writer) =>
      remoteError.encode(writer, {
        ...{ code: 1, domain: 10, message, level: 2, relatedDomain: undefined, relatedNetwork: undefined },
        ...{ str1: message, str2: undefined, str3: undefined, int1: 0, int2: 0 },
      }),
    );
    await assert.rejects(answer, (error: LibvirtError) => {
      assert.match(error.message, /^qemu said: \[31mlibvirt_up 0 x+… \(\d+ more characters\)$/);
      assert.ok(error.message.length < 2_100, String(error.message.length));
      assert.deepEqual(error.remote, { code: 1, domain: 10, level: 2, message: error.message });
      return true;
    });
  });

  it('that cannot be encoded are not sent, and harm nothing', async () => {
    const { peer, rpc, hostname } = makePair();
    await assert.rejects(
      rpc.call('domainLookupByUuid', PROCEDURES.domainLookupByUuid, { uuid: 'vm-1' }),
      is('ERR_LIBVIRT_ARGUMENT', /^domainLookupByUuid was not sent: "vm-1" is not a UUID$/),
    );
    await assert.rejects(
      rpc.call('domainLookupByName', PROCEDURES.domainLookupByName, { name: 'a\0b' }),
      is('ERR_LIBVIRT_ARGUMENT', /^domainLookupByName was not sent: text holds a NUL: "a\\u0000b"$/),
    );
    await assert.rejects(
      rpc.call('domainLookupById', PROCEDURES.domainLookupById, undefined as unknown as { id: number }),
      is('ERR_LIBVIRT_ARGUMENT'),
    );
    const answer = hostname();
    peer.answer((await peer.frames(1))[0]!, 'fine');
    assert.equal(await answer, 'fine');
    assert.equal(rpc.outstandingCalls, 0);
  });

  it('are observed once each, with their outcome', async () => {
    const seen: string[] = [];
    const { rpc, peer, hostname } = makePair({
      onCall: (name, durationMs, outcome) => {
        assert.ok(durationMs >= 0);
        seen.push(`${name} ${outcome}`);
      },
    });
    const controller = new AbortController();
    const calls = [hostname(), hostname({ signal: controller.signal }), hostname()];
    const ends = Promise.allSettled(calls);
    const frames = await peer.frames(3);
    peer.answer(frames[0]!, 'a');
    await calls[0];
    controller.abort();
    rpc.destroy();
    await ends;
    assert.deepEqual(seen, ['connectGetHostname ok', 'connectGetHostname aborted', 'connectGetHostname closed']);
  });
});

describe('deadlines and signals', () => {
  it('end the waiting, and the connection goes on though the answer comes late', async () => {
    const { rpc, clock, peer, hostname } = makePair();
    const late = hostname({ timeoutMs: 100 });
    const [call] = await peer.frames(1);
    await clock.advance(99);
    assert.equal(rpc.abandonedCalls, 0);
    const timedOut = assert.rejects(
      late,
      is('ERR_LIBVIRT_TIMEOUT', /^the far side did not answer connectGetHostname within 100 ms$/),
    );
    await clock.advance(1);
    await timedOut;
    assert.equal(rpc.abandonedCalls, 1);
    assert.equal(rpc.outstandingCalls, 1);
    peer.answer(call!, 'too late');
    const next = hostname();
    peer.answer((await peer.frames(2))[1]!, 'in time');
    assert.equal(await next, 'in time');
    assert.equal(rpc.outstandingCalls, 0);
  });

  it('of the connection hold for calls that name none, and none for Infinity or beyond what a timer can do', async () => {
    const { rpc, clock, hostname } = makePair();
    const byDefault = hostname();
    const outcomes: string[] = [];
    for (const timeoutMs of [Number.POSITIVE_INFINITY, 2 ** 31]) {
      hostname({ timeoutMs }).catch((error: LibvirtError) => outcomes.push(error.code));
    }
    const timedOut = assert.rejects(byDefault, is('ERR_LIBVIRT_TIMEOUT'));
    await clock.advance(5_000);
    await timedOut;
    await clock.advance(2 ** 31 - 1);
    await settle();
    assert.deepEqual(outcomes, []);
    assert.equal(rpc.outstandingCalls, 3);
    rpc.destroy();
    await settle();
    assert.deepEqual(outcomes, ['ERR_LIBVIRT_CLOSED', 'ERR_LIBVIRT_CLOSED']);
  });

  it('give up a call without a trace', async () => {
    const { peer, hostname } = makePair();
    const controller = new AbortController();
    const reason = new Error('enough');
    const calls = Array.from({ length: 20 }, () => hostname({ signal: controller.signal }));
    assert.equal(getEventListeners(controller.signal, 'abort').length, 20);
    const frames = await peer.frames(20);
    for (const frame of frames.slice(0, 19)) peer.answer(frame, 'x');
    await Promise.all(calls.slice(0, 19));
    assert.equal(getEventListeners(controller.signal, 'abort').length, 1);
    controller.abort(reason);
    await assert.rejects(calls[19]!, (error: LibvirtError) => {
      assert.equal(error.cause, reason);
      return is(
        'ERR_LIBVIRT_ABORTED',
        /^the call connectGetHostname to the far side was given up by its caller$/,
      )(error);
    });
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
    await assert.rejects(hostname({ signal: controller.signal }), is('ERR_LIBVIRT_ABORTED'));
    await settle();
    assert.equal(peer.received.length, 20, 'nothing is sent for a signal that has fired');
  });

  it('hand a late result to the function that the caller gave for it', async () => {
    const { rpc, clock, peer } = makePair();
    const late: string[] = [];
    const call = rpc.call('connectGetHostname', HOSTNAME, undefined, { timeoutMs: 10 }, (result) =>
      late.push(result.hostname),
    );
    const [frame] = await peer.frames(1);
    const timedOut = assert.rejects(call, is('ERR_LIBVIRT_TIMEOUT'));
    await clock.advance(10);
    await timedOut;
    peer.answer(frame!, 'afterwards');
    await settle();
    assert.deepEqual(late, ['afterwards']);
  });
});

describe('a peer that breaks the protocol', () => {
  const violations: ReadonlyArray<readonly [string, (peer: Peer, call: Frame) => void, RegExp]> = [
    ['answers nobody', (peer) => peer.send({ serial: 99 }), /a reply has the serial 99, which no call is waiting for$/],
    [
      'answers another procedure',
      (peer, call) => peer.answer(call, 'x', { procedure: 3 }),
      /the reply to serial 1 is of procedure 3, but 59 was called$/,
    ],
    [
      'answers twice',
      (peer, call) => {
        peer.answer(call, 'x');
        peer.answer(call, 'x');
      },
      /the serial 1, which no call is waiting for$/,
    ],
    [
      'answers with the status of a stream',
      (peer, call) => peer.answer(call, 'x', { status: MESSAGE_STATUS.continue }),
      /the reply to serial 1 has the status of a stream$/,
    ],
    [
      'answers with another program',
      (peer, call) => peer.answer(call, 'x', { program: PROGRAM.qemu }),
      /program 0x20008087 version 1, not of libvirt's remote program$/,
    ],
    ['answers with another version', (peer, call) => peer.answer(call, 'x', { version: 2 }), /version 2/],
    ['calls us', (peer) => peer.send({ type: MESSAGE_TYPE.call }), /a message of type 0 came that nobody asked for$/],
    [
      'sends too little',
      (peer, call) => peer.send({ serial: call.serial, procedure: call.procedure }),
      /the message ends at byte 0/,
    ],
    [
      'sends too much',
      (peer, call) =>
        peer.send({ serial: call.serial, procedure: call.procedure }, (writer) => {
          writer.string('x');
          writer.uint32(0);
        }),
      /4 bytes are left over/,
    ],
    [
      'sends an error that is none',
      (peer, call) => peer.answer(call, 'x', { status: MESSAGE_STATUS.error }),
      /the message ends at byte/,
    ],
    ['is a web server', (peer) => peer.stream.write('HTTP/1.1 400 Bad Request\r\n\r\n'), /such as HTTP, SSH or TLS/],
    ['is an SSH server', (peer) => peer.stream.write('SSH-2.0-OpenSSH_9.2\r\n'), /such as HTTP, SSH or TLS/],
    ['wants TLS', (peer) => peer.stream.write(Buffer.from('15030300020228', 'hex')), /such as HTTP, SSH or TLS/],
    [
      'sends a broken keepalive',
      (peer) => peer.send({ program: PROGRAM.keepalive, type: MESSAGE_TYPE.call, procedure: KEEPALIVE.ping }),
      /program 0x6b656570/,
    ],
  ];
  for (const [name, violate, message] of violations) {
    it(`and ${name} ends the connection and every call with the reason`, async () => {
      const { rpc, peer, closed, hostname } = makePair();
      const calls = [hostname(), hostname()];
      const ends = Promise.allSettled(calls);
      violate(peer, (await peer.frames(2))[0]!);
      const reason = await closed;
      is('ERR_LIBVIRT_PROTOCOL', message)(reason);
      assert.match(reason!.message, /^the far side does not speak libvirt's protocol: /);
      assert.deepEqual((await ends)[1], { status: 'rejected', reason });
      assert.equal(rpc.isOpen, false);
      await assert.rejects(hostname(), is('ERR_LIBVIRT_PROTOCOL', message));
    });
  }

  it('is not blamed for what an observer throws', async () => {
    const faults: unknown[] = [];
    const previous = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (error) => faults.push(error));
    try {
      const { rpc, peer, hostname } = makePair({
        onCall: () => {
          throw new Error("the observer's");
        },
      });
      const answer = hostname();
      peer.answer((await peer.frames(1))[0]!, 'fine');
      assert.equal(await answer, 'fine');
      await settle();
      assert.equal(rpc.isOpen, true);
      assert.deepEqual(
        faults.map((fault) => (fault as Error).message),
        ["the observer's"],
      );
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of previous) process.on('uncaughtException', listener);
    }
  });
});

describe('the end of a connection', () => {
  it('by the other side rejects what is pending, between messages or in the middle of one', async () => {
    for (const [bytes, message] of [
      ['', /^the connection to the far side is gone: the other side closed the connection$/],
      ['00000024', /closed the connection in the middle of a message$/],
    ] as const) {
      const { peer, closed, hostname } = makePair();
      const call = hostname();
      await peer.frames(1);
      if (bytes !== '') peer.stream.write(Buffer.from(bytes, 'hex'));
      peer.stream.end();
      await assert.rejects(call, is('ERR_LIBVIRT_CLOSED', message));
      is('ERR_LIBVIRT_CLOSED', message)(await closed);
      await assert.rejects(hostname(), is('ERR_LIBVIRT_CLOSED', message));
    }
  });

  it("by an error carries the transport's own words", async () => {
    let near: Duplex | undefined;
    const { closed, hostname } = makePair({
      near: (stream) => {
        near = stream;
      },
    });
    const call = hostname();
    const cause = new Error('ssh root@far:22: libvirt is not installed there');
    near!.destroy(cause);
    await assert.rejects(call, (error: LibvirtError) => {
      assert.equal(error.cause, cause);
      return is('ERR_LIBVIRT_CLOSED', /is gone: ssh root@far:22: libvirt is not installed there$/)(error);
    });
    is('ERR_LIBVIRT_CLOSED')(await closed);
  });

  it('before it began is noticed', async () => {
    const cause = new Error('lost meanwhile');
    const lost = Promise.withResolvers<Duplex>();
    const [near] = duplexPair();
    near.on('error', () => {});
    near.on('close', () => lost.resolve(near));
    near.destroy(cause);
    const stream = await lost.promise;
    const closed = Promise.withResolvers<LibvirtError | undefined>();
    const rpc = new RpcConnection(stream, {
      description: 'nothing',
      defaultTimeoutMs: 1e6,
      clock: new FakeClock(),
      onMessage: () => {},
      onClose: closed.resolve,
    });
    await assert.rejects(
      rpc.call('connectGetHostname', HOSTNAME, undefined),
      is('ERR_LIBVIRT_CLOSED', /lost meanwhile/),
    );
    is('ERR_LIBVIRT_CLOSED')(await closed.promise);
  });

  it('by this side is no error, whatever the stream says meanwhile', async () => {
    let near: Duplex | undefined;
    const { rpc, peer, closed, hostname } = makePair({
      near: (stream) => {
        near = stream;
      },
    });
    const pending = assert.rejects(hostname(), is('ERR_LIBVIRT_CLOSED', /closed by this side$/));
    const ended = rpc.end('connectClose', PROCEDURES.connectClose, undefined, 60_000);
    await assert.rejects(hostname(), is('ERR_LIBVIRT_CLOSED', /closed by this side$/));
    const calls = await peer.frames(2);
    assert.equal(calls[1]!.procedure, PROCEDURES.connectClose.number);
    near!.destroy(new Error('ECONNRESET'));
    await ended;
    await pending;
    assert.equal(await closed, undefined);
    assert.equal(rpc.isOpen, false);
  });

  it('waits for the other side after the goodbye', async () => {
    const { rpc, peer, closed } = makePair();
    const ended = rpc.end('connectClose', PROCEDURES.connectClose, undefined, 60_000);
    const [call] = await peer.frames(1);
    peer.send({ serial: call!.serial, procedure: call!.procedure });
    await settle();
    assert.equal(rpc.isOpen, true);
    peer.stream.end();
    await ended;
    assert.equal(await closed, undefined);
  });

  it('does not wait for a daemon that hangs, or that refuses the goodbye', async () => {
    const hung = makePair();
    const given = hung.rpc.end('connectClose', PROCEDURES.connectClose, undefined, 1_000);
    await hung.clock.advance(1_000);
    await given;
    assert.equal(await hung.closed, undefined);
    const { rpc, peer, closed } = makePair();
    const ended = rpc.end('connectClose', PROCEDURES.connectClose, undefined, 60_000);
    const [call] = await peer.frames(1);
    peer.send({ serial: call!.serial, procedure: call!.procedure, status: MESSAGE_STATUS.error }, (writer) => {
      for (const word of [39, 7, 0, 2, 0, 0, 0, 0, 0, 0, 0]) writer.int32(word);
    });
    await ended;
    assert.equal(await closed, undefined);
  });
});

describe('keepalive', () => {
  const PING = { program: PROGRAM.keepalive, type: MESSAGE_TYPE.message, procedure: KEEPALIVE.ping };

  it('answers pings', async () => {
    const { peer } = makePair();
    peer.send(PING);
    const [pong] = await peer.frames(1);
    const { program, procedure, type, serial, status } = pong!;
    assert.deepEqual(
      { program, procedure, type, serial, status },
      { program: PROGRAM.keepalive, procedure: KEEPALIVE.pong, type: MESSAGE_TYPE.message, serial: 0, status: 0 },
    );
  });

  it('ignores what it does not know', async () => {
    const { rpc, peer } = makePair();
    peer.send({ ...PING, procedure: 9 });
    await settle();
    assert.equal(rpc.isOpen, true);
    assert.equal(peer.received.length, 0);
  });

  it('pings only a silent daemon, and gives it up after so many pings without an answer', async () => {
    const { rpc, clock, peer, closed, hostname } = makePair();
    rpc.startKeepalive({ intervalMs: 1_000, count: 2 });
    const call = hostname({ timeoutMs: Number.POSITIVE_INFINITY });
    await peer.frames(1);
    // A pong is a sign of life, and so is everything else.
    for (let i = 0; i < 5; i++) {
      peer.send({ ...PING, procedure: KEEPALIVE.pong });
      await settle();
      await clock.advance(1_000);
    }
    await settle();
    assert.equal(peer.received.length, 1, 'no ping while the daemon speaks');
    await clock.advance(2_000);
    await settle();
    assert.equal(peer.received.filter(({ procedure }) => procedure === KEEPALIVE.ping).length, 2);
    assert.equal(rpc.isOpen, true);
    const message = /^the connection to the far side is gone: the daemon has not answered for 3 s$/;
    const rejected = assert.rejects(call, is('ERR_LIBVIRT_CLOSED', message));
    await clock.advance(1_000);
    is('ERR_LIBVIRT_CLOSED', message)(await closed);
    await rejected;
    assert.equal(clock.pending, 0);
  });
});

describe('a message of which a part is lost', () => {
  it('is given up: what follows is taken for its rest, and pongs in it are no sign of life', async () => {
    const { rpc, clock, peer, closed, hostname } = makePair();
    rpc.startKeepalive({ intervalMs: 1_000, count: 2 });
    const call = assert.rejects(hostname(), is('ERR_LIBVIRT_CLOSED'));
    await peer.frames(1);
    peer.stream.write(Buffer.from('00100000', 'hex'));
    for (let second = 0; second < 3; second++) {
      peer.send({ program: PROGRAM.keepalive, type: MESSAGE_TYPE.message, procedure: KEEPALIVE.pong });
      await clock.advance(1_000);
    }
    is('ERR_LIBVIRT_CLOSED', /has not answered for 3 s$/)(await closed);
    await call;
  });

  it('is waited for while much of it comes', async () => {
    const { rpc, clock, peer } = makePair();
    rpc.startKeepalive({ intervalMs: 1_000, count: 2 });
    peer.stream.write(Buffer.from('01000000', 'hex'));
    for (let second = 0; second < 10; second++) {
      peer.stream.write(Buffer.alloc(20_000));
      await clock.advance(1_000);
    }
    assert.equal(rpc.isOpen, true);
    rpc.destroy();
  });
});

describe('a daemon that does not read', () => {
  it('is not sent more than a bounded number of bytes, and works on when it reads again', async () => {
    const { rpc, peer, hostname } = makePair();
    peer.stream.pause();
    const name = 'x'.repeat(4 * 1024 * 1024);
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) {
      calls.push(rpc.call('domainLookupByName', PROCEDURES.domainLookupByName, { name }));
    }
    const ends = Promise.allSettled(calls);
    const busy = await Promise.allSettled(calls.slice(-1));
    assert.equal(busy[0]!.status, 'rejected');
    is(
      'ERR_LIBVIRT_BUSY',
      /^the far side takes no more: \d+ calls are unanswered, and domainLookupByName was not sent$/,
    )((busy[0] as PromiseRejectedResult).reason);
    assert.ok(rpc.outstandingCalls >= 8 && rpc.outstandingCalls < 19, String(rpc.outstandingCalls));
    peer.stream.resume();
    await peer.frames(rpc.outstandingCalls);
    await settle();
    const sent = peer.received.length;
    const answer = hostname();
    peer.answer((await peer.frames(sent + 1))[sent]!, 'reads again');
    assert.equal(await answer, 'reads again');
    rpc.destroy();
    await ends;
  });

  it('does not make pongs pile up', async () => {
    let near: Duplex | undefined;
    const { rpc, peer } = makePair({
      near: (stream) => {
        near = stream;
      },
    });
    peer.stream.pause();
    for (let i = 0; i < 20_000; i++) {
      peer.send({ program: PROGRAM.keepalive, type: MESSAGE_TYPE.message, procedure: KEEPALIVE.ping });
      if (i % 1000 === 0) await settle();
    }
    await settle();
    assert.equal(rpc.isOpen, true);
    assert.ok(near!.writableLength < 200_000, String(near!.writableLength));
  });
});
