import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { type Command, GREETING, politely, QmpServer, type Visitor } from '../../test/support/pve-qmp-server.ts';
import { SYSTEM_CLOCK } from '../base/clock.ts';
import { QemuError } from './error.ts';
import { visitQmp } from './qmp-visit.ts';

const STATUS = [{ execute: 'query-status' }];
const clock = SYSTEM_CLOCK;

/** A monitor that greets, and sends this text when it has the last command. */
function sending(text: string) {
  return ({ socket }: Visitor, command?: Command) => {
    if (command === undefined) socket.write(GREETING);
    else if (command.execute === 'query-status') socket.write(text);
  };
}

async function codeOf(onVisit: (visitor: Visitor, command?: Command) => void, lineBytesMax?: number): Promise<string> {
  await using server = await QmpServer.listen(onVisit);
  try {
    await visitQmp(server.path, STATUS, { clock, lineBytesMax, timeoutMs: 5_000 });
  } catch (error) {
    assert.ok(error instanceof QemuError, String(error));
    for (const visitor of server.visitors) await visitor.left;
    return error.code;
  }
  return 'none';
}

it('gives all commands in one visit, and leaves when it has the replies', async () => {
  await using server = await QmpServer.listen((visitor, command) => {
    if (command !== undefined) visitor.socket.write('{"event":"NIC_RX_FILTER_CHANGED","data":{"id":7}}\r\n');
    politely({ 'query-status': { status: 'running' }, 'query-block': [] })(visitor, command);
  });
  const commands = [
    { execute: 'query-block' },
    { execute: 'query-balloon' },
    { execute: 'query-status', arguments: { a: 1 } },
  ];
  const replies = await visitQmp(server.path, commands, { clock });
  assert.deepEqual(replies, [
    { value: [] },
    { error: 'The command query-balloon has not been found' },
    { value: { status: 'running' } },
  ]);
  assert.equal(server.visitors.length, 1);
  await server.visitors[0]!.left;
  assert.deepEqual(
    server.visitors[0]!.received.map(({ execute }) => execute),
    ['qmp_capabilities', 'query-block', 'query-balloon', 'query-status'],
  );
  assert.deepEqual(server.visitors[0]!.received[3]!.arguments, { a: 1 });
});

it('keeps 64-bit numbers exact', async () => {
  const text =
    '{"return":{}, "id":0}\n{"return":{"a":9007199254740993,"b":-9223372036854775808,"c":1.5,"d":1e400},"id":1}\n';
  await using server = await QmpServer.listen(sending(text));
  const [reply] = await visitQmp(server.path, STATUS, { clock });
  assert.deepEqual(reply, {
    value: { a: 9007199254740993n, b: -9223372036854775808n, c: 1.5, d: Number.POSITIVE_INFINITY },
  });
});

it('reads messages that come byte by byte, and several that come at once', async () => {
  const text = '\r\n{"event":"A"}\r\n{"return":{},"id":0}\r\n{"return":"\u00e4","id":1}\r\n';
  await using server = await QmpServer.listen(async ({ socket }, command) => {
    if (command === undefined) socket.write(GREETING);
    if (command?.execute !== 'query-status') return;
    socket.setNoDelay?.(true);
    for (const byte of Buffer.from(text)) {
      socket.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  assert.deepEqual(await visitQmp(server.path, STATUS, { clock }), [{ value: 'ä' }]);
});

it('says what is wrong with a monitor that does not speak QMP', async () => {
  const greet = (text: string) => (visitor: Visitor) => void visitor.socket.write(text);
  assert.equal(await codeOf(greet('hello\n')), 'ERR_QEMU_PROTOCOL');
  assert.equal(await codeOf(greet('[]\n')), 'ERR_QEMU_PROTOCOL');
  assert.equal(await codeOf(greet('{"return":{}}\n')), 'ERR_QEMU_PROTOCOL');
  assert.equal(await codeOf(greet('{"QMP":1}\n')), 'ERR_QEMU_PROTOCOL');
  assert.equal(await codeOf(sending('{"return":{},"id":9}\n')), 'ERR_QEMU_PROTOCOL', 'an unknown id');
  assert.equal(await codeOf(sending('{"return":{}}\n')), 'ERR_QEMU_PROTOCOL', 'no id');
  assert.equal(await codeOf(sending('{"return":{},"id":1}\n{"return":{},"id":1}\n')), 'ERR_QEMU_PROTOCOL', 'twice');
  assert.equal(await codeOf(sending('{"id":1}\n')), 'ERR_QEMU_PROTOCOL', 'no result');
  assert.equal(await codeOf(sending('{"error":{"desc":"no"},"id":0}\n')), 'ERR_QEMU_PROTOCOL', 'no negotiation');
  assert.equal(await codeOf(sending(`${'['.repeat(200_000)}\n`)), 'ERR_QEMU_PROTOCOL', 'too deep');
  const deep = `{"return":${'['.repeat(100_000)}1234567890123456789${']'.repeat(100_000)},"id":1}\n`;
  assert.equal(await codeOf(sending(deep)), 'ERR_QEMU_PROTOCOL', 'too deep for the reviver');
});

it('reads no more of one message than it may, with or without an end', async () => {
  assert.equal(await codeOf(sending(`"${'x'.repeat(2_000)}"\n`), 1_000), 'ERR_QEMU_PROTOCOL');
  assert.equal(await codeOf(sending('x'.repeat(2_000)), 1_000), 'ERR_QEMU_PROTOCOL');
  const events = `{"event":"${'x'.repeat(500)}"}\n`.repeat(10);
  assert.equal(await codeOf(sending(`${events}{"return":{},"id":0}\n{"return":{},"id":1}\n`), 1_000), 'none');
});

it('says that QEMU ended in the middle', async () => {
  assert.equal(await codeOf(({ socket }) => void socket.end()), 'ERR_QEMU_CLOSED');
  assert.equal(await codeOf(({ socket }) => void socket.end(GREETING)), 'ERR_QEMU_CLOSED');
  assert.equal(
    await codeOf((visitor, command) => void (command ? visitor.socket.destroy() : visitor.socket.write(GREETING))),
    'ERR_QEMU_CLOSED',
  );
});

it('says that there is no monitor', async () => {
  const visit = visitQmp('/nonexistent/100.qmp', STATUS, { clock });
  await assert.rejects(visit, { code: 'ERR_QEMU_ABSENT', message: /it does not exist/ });
});

it('leaves a monitor that does not greet in time', async () => {
  const fake = new FakeClock();
  const connected = Promise.withResolvers<void>();
  await using server = await QmpServer.listen(() => connected.resolve());
  const visit = visitQmp(server.path, STATUS, { clock: fake });
  const outcome = assert.rejects(visit, { code: 'ERR_QEMU_BUSY', message: 'it did not greet within 1000 ms' });
  await connected.promise;
  await settle();
  await fake.advance(999);
  assert.equal(fake.pending, 2, 'still waiting');
  await fake.advance(1);
  await outcome;
  await server.visitors[0]!.left;
  assert.equal(fake.pending, 0);
});

it('leaves a monitor that greets and then does not reply in time', async () => {
  const fake = new FakeClock();
  const asked = Promise.withResolvers<void>();
  await using server = await QmpServer.listen(({ socket }, command) => {
    if (command === undefined) socket.write(GREETING);
    else asked.resolve();
  });
  const visit = visitQmp(server.path, STATUS, { clock: fake });
  const outcome = assert.rejects(visit, { code: 'ERR_QEMU_LATE' });
  await asked.promise;
  await fake.advance(1_999);
  assert.equal(fake.pending, 1, 'the time for the greeting is no longer of matter');
  await fake.advance(1);
  await outcome;
  await server.visitors[0]!.left;
});

it('ends at once when its signal comes, and before it has begun', async () => {
  const abort = new AbortController();
  const fake = new FakeClock();
  await using server = await QmpServer.listen(() => abort.abort());
  await assert.rejects(visitQmp(server.path, STATUS, { clock: fake, signal: abort.signal }), {
    code: 'ERR_QEMU_ABORTED',
  });
  await server.visitors[0]!.left;
  assert.equal(fake.pending, 0);
  await assert.rejects(visitQmp(server.path, STATUS, { clock, signal: abort.signal }), { code: 'ERR_QEMU_ABORTED' });
  assert.equal(server.visitors.length, 1);
});

it('fails with a QemuError and closes the connection, whatever is sent', async () => {
  const message = fc.oneof(
    fc.json(),
    fc.string(),
    fc
      .record({ id: fc.oneof(fc.integer(), fc.string()), return: fc.jsonValue() })
      .map((value) => JSON.stringify(value)),
    fc.constantFrom('{"return":{},"id":0}', '{"event":"X"}', '{"error":{},"id":1}', '{"__proto__":1,"QMP":{}}'),
  );
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(message, { maxLength: 6 }), async (isGreeted, messages) => {
      const text = `${isGreeted ? GREETING : ''}${messages.join('\n')}\n`;
      await using server = await QmpServer.listen(({ socket }, command) => {
        if (command === undefined) socket.end(text);
      });
      await visitQmp(server.path, STATUS, { clock }).catch((error: unknown) =>
        assert.ok(error instanceof QemuError, String(error)),
      );
      for (const visitor of server.visitors) await visitor.left;
    }),
    { numRuns: 60 },
  );
});
