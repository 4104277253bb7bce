import { randomInt } from 'node:crypto';
import { connect, createServer } from 'node:net';

/** A TCP port on loopback that is free now, below the range from which the kernel takes ports for outgoing connections. */
export async function findFreePort(host = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = randomInt(15_000, 32_000);
    if (await canListen(port, host)) return port;
  }
}

/** Whether something takes connections on a port of 127.0.0.1, or on a unix socket given by its path. */
export function canConnect(address: number | string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = typeof address === 'number' ? connect(address, '127.0.0.1') : connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function canListen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
