import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { CONNECTIONS_MAX, CONNECTIONS_OF_CLIENT_MAX, type Connection, Connections } from './connections.ts';

let ports = 0;

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string;
  readonly remotePort = ++ports;
  destroyed = false;

  constructor(remoteAddress: string) {
    super();
    this.remoteAddress = remoteAddress;
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

function rig() {
  const table = new Connections();
  const open = (address: string): { socket: FakeSocket; connection: Connection | undefined } => {
    const socket = new FakeSocket(address);
    return { socket, connection: table.admit(socket as unknown as Socket) };
  };
  return { table, open };
}

test('a client that has too many loses the one that was idle longest', () => {
  const { open } = rig();
  const other = open('192.0.2.2');
  const own = Array.from({ length: CONNECTIONS_OF_CLIENT_MAX }, () => open('192.0.2.1'));
  own[0]!.connection!.begin();
  own[1]!.connection!.begin();
  own[1]!.connection!.finish();
  assert.ok(open('192.0.2.1').connection);
  assert.deepEqual(
    own.flatMap(({ socket }, index) => (socket.destroyed ? [index] : [])),
    [2],
    'the first is busy, the second was used after the third',
  );
  assert.equal(other.socket.destroyed, false);
});

test('a client whose connections are all busy gets no more', () => {
  const { open } = rig();
  const own = Array.from({ length: CONNECTIONS_OF_CLIENT_MAX }, () => open('192.0.2.1'));
  for (const { connection } of own) connection!.begin();
  const refused = open('192.0.2.1');
  assert.equal(refused.connection, undefined);
  assert.equal(refused.socket.destroyed, true);
  assert.ok(open('192.0.2.2').connection, 'there is room left for another');
});

test('when there are too many in all, the client that has the most loses one', () => {
  const { open } = rig();
  const modest = open('192.0.2.9');
  const one = Array.from({ length: CONNECTIONS_OF_CLIENT_MAX }, () => open('192.0.2.1'));
  const two = Array.from({ length: CONNECTIONS_MAX - CONNECTIONS_OF_CLIENT_MAX - 1 }, () => open('192.0.2.2'));
  assert.ok(open('192.0.2.3').connection);
  assert.equal(one[0]!.socket.destroyed, true);
  assert.ok(!modest.socket.destroyed && two.every(({ socket }) => !socket.destroyed));
});

test('a connection that has ended is not counted', () => {
  const { open } = rig();
  for (let count = 0; count < 1_000; count++) {
    const { socket, connection } = open('192.0.2.1');
    connection!.begin();
    socket.destroy();
  }
  assert.ok(open('192.0.2.1').connection);
});
