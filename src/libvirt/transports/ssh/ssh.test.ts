// Against an SSH server inside this process, for what a well-behaved sshd does not do on demand. The real one is in test/.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { AuthContext, Connection, ServerChannel } from 'ssh2';
import ssh2 from 'ssh2';
import { canNeverWork } from '../../can-never-work.ts';
import { parseLibvirtUri } from '../../uri.ts';
import { type Dialled, dial } from '../dial.ts';
import { TransportError } from '../transport-error.ts';

const { generateKeyPairSync, parseKey } = ssh2.utils;
const hostKey = makeKey();
const rsaHostKey = generateKeyPairSync('rsa', { bits: 2048 });
const otherKey = makeKey();
const clientKey = makeKey();
const lockedKey = makeKey({ passphrase: 'secret', cipher: 'aes256-ctr', rounds: 16 });

/** ssh2 makes one key of 256 that nobody can read: it leaves out a zero at the beginning of the public key. */
function makeKey(options?: Parameters<typeof generateKeyPairSync>[1]): ReturnType<typeof generateKeyPairSync> {
  for (;;) {
    const key = generateKeyPairSync('ed25519', options);
    if (!(parseKey(key.public) instanceof Error)) return key;
  }
}

interface FakeServer {
  hostKeys?: string[];
  authenticate?: (context: AuthContext) => void;
  exec?: (channel: ServerChannel, command: string) => void;
  onConnection?: (connection: Connection) => void;
  /** Instead of SSH. */
  raw?: (socket: Socket) => void;
}

/** Lets everything that a test opened be closed in the end, even when it fails. */
const cleanups: (() => void)[] = [];

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function startServer(fake: FakeServer): Promise<number> {
  const sockets = new Set<Socket>();
  const ssh = new ssh2.Server({ hostKeys: fake.hostKeys ?? [hostKey.private] }, (connection) => {
    connection.on('error', () => {});
    connection.on('authentication', (context) => (fake.authenticate ?? ((each) => each.accept()))(context));
    connection.on('session', (accept) => {
      accept().on('exec', (acceptExec, _reject, { command }) => fake.exec?.(acceptExec(), command));
    });
    fake.onConnection?.(connection);
  });
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
    if (fake.raw) fake.raw(socket);
    else ssh.injectSocket(socket);
  });
  const port = await listen(server);
  cleanups.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return port;
}

describe('dialling by ssh', () => {
  let home: string;

  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'virtlens-ssh-'));
    await mkdir(join(home, '.ssh'));
    const files = {
      key: clientKey.private,
      'key.pub': clientKey.public,
      locked: lockedKey.private,
      empty: '',
      broken: 'not a key\n',
    };
    for (const [name, content] of Object.entries(files)) await writeFile(join(home, name), content);
    await writeFile(
      join(home, 'auth.conf'),
      '[credentials-x]\nusername=fred\npassword=hunter2\n[auth-ssh-127.0.0.1]\ncredentials=x\n',
    );
  });

  after(() => rm(home, { recursive: true }));

  afterEach(() => {
    for (const cleanup of cleanups.splice(0)) cleanup();
  });

  const dialPort = (
    port: number,
    params: string,
    { user = 'u@', signal = AbortSignal.timeout(20_000), env = {} as NodeJS.ProcessEnv } = {},
  ): Promise<Dialled> =>
    dial(parseLibvirtUri(`qemu+ssh://${user}127.0.0.1:${port}/system?${params}`), {
      readWrite: false,
      signal,
      env,
      homeDirectory: home,
      uid: 1000,
    });

  const refusal = async (attempt: Promise<Dialled>): Promise<TransportError> => {
    try {
      (await attempt).stream.destroy();
    } catch (error) {
      assert.ok(error instanceof TransportError, String(error));
      assert.doesNotMatch(error.message, /[\r\n]/);
      return error;
    }
    throw new assert.AssertionError({ message: 'the dial succeeded' });
  };

  const knownHosts = async (name: string, text: string): Promise<string> => {
    await writeFile(join(home, name), text);
    return join(home, name);
  };

  describe('host keys', () => {
    it('accepts a known one, also when the server has several and prefers another', async () => {
      const port = await startServer({
        hostKeys: [hostKey.private, rsaHostKey.private],
        exec: (channel) => channel.write('hi'),
      });
      for (const [name, key] of Object.entries({ ed: hostKey.public, rsa: rsaHostKey.public })) {
        const file = await knownHosts(name, `[127.0.0.1]:${port} ${key}\n`);
        const { stream, secure, description } = await dialPort(port, `known_hosts=${file}&keyfile=~/key`);
        const [first] = (await stream.take(1).toArray()) as Buffer[];
        assert.equal(first?.toString(), 'hi');
        assert.equal(secure, true);
        assert.match(description, /^ssh u@127\.0\.0\.1:\d+, by command$/);
      }
    });

    it('refuses a changed one, with file, line and both fingerprints', async () => {
      const port = await startServer({});
      const file = await knownHosts('changed', `# mine\n[127.0.0.1]:${port} ${otherKey.public}\n`);
      const error = await refusal(dialPort(port, `known_hosts=${file}&known_hosts_verify=auto`));
      assert.equal(error.code, 'ERR_TRANSPORT_HOST_KEY');
      assert.equal(canNeverWork(error), true);
      assert.match(error.message, new RegExp(`changed: it shows ssh-ed25519 SHA256:\\S+, but ${file}:2 has SHA256:`));
      assert.match(error.message, new RegExp(`ssh-keygen -R '\\[127\\.0\\.0\\.1\\]:${port}' -f ${file}`));
    });

    it('refuses an unknown one, also when a key of another type is known', async () => {
      const port = await startServer({});
      const unknown = await refusal(dialPort(port, ''));
      assert.equal(unknown.code, 'ERR_TRANSPORT_HOST_KEY');
      assert.match(
        unknown.message,
        /ssh-ed25519 SHA256:\S+ is not in \S+known_hosts; .*ssh-keyscan -p \d+ 127\.0\.0\.1 >> /,
      );
      const file = await knownHosts('other-type', `[127.0.0.1]:${port} ${rsaHostKey.public}\n`);
      assert.match((await refusal(dialPort(port, `known_hosts=${file}`))).message, /only a ssh-rsa key by \S+:1/);
    });

    it('refuses a revoked one and a certificate authority', async () => {
      const port = await startServer({});
      const revoked = await knownHosts('revoked', `@revoked * ${hostKey.public}\n`);
      assert.match((await refusal(dialPort(port, `known_hosts=${revoked}`))).message, /revoked by \S+revoked:1/);
      const authority = await knownHosts('authority', `@cert-authority * ${hostKey.public}\n`);
      assert.match((await refusal(dialPort(port, `known_hosts=${authority}`))).message, /certificate authority/);
    });

    it('adds an unknown one with known_hosts_verify=auto, and knows it afterwards', async () => {
      const port = await startServer({ exec: (channel) => channel.write('hi') });
      const file = await knownHosts('auto', 'no line end');
      (await dialPort(port, `known_hosts=${file}&known_hosts_verify=auto`)).stream.destroy();
      const [type, base64] = hostKey.public.split(' ');
      assert.equal(await readFile(file, 'utf8'), `no line end\n[127.0.0.1]:${port} ${type} ${base64}\n`);
      (await dialPort(port, `known_hosts=${file}`)).stream.destroy();
    });

    it('asks nothing with no_verify=1 and known_hosts_verify=ignore', async () => {
      const port = await startServer({ exec: (channel) => channel.write('hi') });
      for (const params of ['no_verify=1', 'known_hosts_verify=ignore&known_hosts=/nowhere']) {
        (await dialPort(port, params)).stream.destroy();
      }
      assert.equal((await refusal(dialPort(port, 'no_verify=0&known_hosts=/nowhere'))).code, 'ERR_TRANSPORT_CONFIG');
    });
  });

  describe('logging in', () => {
    it('tries the ways in order, each while the server takes it, and names them when it fails', async () => {
      const seen: string[] = [];
      const port = await startServer({
        authenticate: (context) => {
          seen.push(context.method);
          context.reject(['publickey', 'password', 'keyboard-interactive']);
        },
      });
      const error = await refusal(
        dialPort(port, `no_verify=1&keyfile=${home}/key&authfile=${home}/auth.conf`, { user: '' }),
      );
      assert.equal(error.code, 'ERR_TRANSPORT_AUTH');
      assert.equal(canNeverWork(error), true);
      assert.deepEqual(seen, ['none', 'publickey', 'password', 'keyboard-interactive']);
      assert.match(
        error.message,
        /^ssh fred@127\.0\.0\.1:\d+: the login was refused \(tried key \S+\/key, password of \S+, keyboard/,
      );
      assert.doesNotMatch(error.message, /hunter2/);
    });

    it('gives the password and the answer to a hidden question', async () => {
      for (const method of ['password', 'keyboard-interactive'] as const) {
        const port = await startServer({
          authenticate: (context) => {
            if (context.method === 'password' && context.password === 'hunter2') context.accept();
            else if (context.method === 'keyboard-interactive') {
              context.prompt(
                [
                  { prompt: 'Name:', echo: true },
                  { prompt: 'Password:', echo: false },
                ],
                (answers) => {
                  assert.deepEqual(answers, ['', 'hunter2']);
                  context.accept();
                },
              );
            } else context.reject([method]);
          },
          exec: (channel) => channel.write('hi'),
        });
        (await dialPort(port, `no_verify=1&sshauth=${method}&authfile=${home}/auth.conf`)).stream.destroy();
      }
    });

    it('goes on after a partial success, in the order of the server', async () => {
      const port = await startServer({
        authenticate: (context) => {
          if (context.method === 'password') context.reject(['publickey'], true);
          else if (context.method === 'publickey') context.accept();
          else context.reject(['password']);
        },
        exec: (channel) => channel.write('hi'),
      });
      (await dialPort(port, `no_verify=1&keyfile=~/key&authfile=~/auth.conf`)).stream.destroy();
    });

    it('refuses keys that cannot be used, naming the file', async () => {
      for (const [file, message] of [
        ['nowhere', /nowhere cannot be read: it does not exist; check keyfile=/],
        ['locked', /locked is protected by a passphrase; load it into an ssh-agent/],
        ['key.pub', /key\.pub is the public half/],
        ['broken', /broken is not a usable private key/],
        ['empty', /empty is not a usable private key/],
        ['.ssh', /\.ssh cannot be read: it is a directory/],
      ] as const) {
        const error = await refusal(dialPort(1, `no_verify=1&keyfile=${home}/${file}`));
        assert.equal(error.code, 'ERR_TRANSPORT_CONFIG');
        assert.equal(canNeverWork(error), true);
        assert.match(error.message, message);
      }
    });

    it('passes over default keys that cannot be used, and mentions them', async () => {
      const methods: string[] = [];
      const port = await startServer({
        authenticate: (context) => {
          methods.push(context.method);
          context.reject(['publickey']);
        },
      });
      const directory = join(home, 'other-home');
      await mkdir(join(directory, '.ssh', 'id_rsa'), { recursive: true });
      await writeFile(join(directory, '.ssh', 'id_ed25519'), lockedKey.private);
      await writeFile(join(directory, '.ssh', 'id_ecdsa'), clientKey.private);
      const uri = parseLibvirtUri(`qemu+ssh://u@127.0.0.1:${port}/system?no_verify=1`);
      const signal = AbortSignal.timeout(20_000);
      const error = await refusal(
        dial(uri, { readWrite: false, signal, env: {}, homeDirectory: directory, uid: 1000 }),
      );
      assert.deepEqual(methods, ['none', 'publickey']);
      assert.match(
        error.message,
        /tried key \S+id_ecdsa; .*id_ed25519 is protected by a passphrase; key \S+id_rsa cannot be read: it is a directory/,
      );
    });

    it('refuses an sshauth= for which there is nothing', async () => {
      for (const [params, message] of [
        ['sshauth=agent', /no agent \(SSH_AUTH_SOCK is not set\)/],
        ['sshauth=privkey', /no key in \S+\.ssh/],
        ['sshauth=password,keyboard-interactive', /no password in libvirt's auth\.conf/],
      ] as const) {
        const error = await refusal(dialPort(1, `no_verify=1&${params}`));
        assert.equal(error.code, 'ERR_TRANSPORT_CONFIG');
        assert.match(error.message, message);
      }
    });

    it('survives an agent that is not there, and one that hangs until the signal fires', async () => {
      const port = await startServer({ authenticate: (context) => context.reject(['publickey']) });
      const gone = await refusal(dialPort(port, 'no_verify=1', { env: { SSH_AUTH_SOCK: join(home, 'no-agent') } }));
      assert.match(gone.message, /tried agent/);

      const controller = new AbortController();
      const closed = Promise.withResolvers<void>();
      const agent = createServer((socket) => {
        socket.on('error', () => {}).on('close', () => closed.resolve());
        socket.once('data', () => controller.abort(new Error('enough')));
      });
      await new Promise<void>((resolve) => agent.listen(join(home, 'agent'), resolve));
      cleanups.push(() => agent.close());
      const hung = await refusal(
        dialPort(port, 'no_verify=1', { env: { SSH_AUTH_SOCK: join(home, 'agent') }, signal: controller.signal }),
      );
      assert.equal(hung.code, 'ERR_TRANSPORT_ABORTED');
      assert.match(hung.message, /in the login of ssh u@127/);
      await closed.promise;
    });
  });

  describe('servers that misbehave', () => {
    it('tells what is not SSH, and what closes at once', async () => {
      const http = await startServer({ raw: (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n') });
      assert.match((await refusal(dialPort(http, 'no_verify=1'))).message, /sshd runs on this port/);
      const closing = await startServer({ raw: (socket) => socket.end() });
      const error = await refusal(dialPort(closing, 'no_verify=1'));
      assert.equal(error.code, 'ERR_TRANSPORT_UNREACHABLE');
    });

    it('ends with the signal when nobody answers, and closes the connection', async () => {
      const controller = new AbortController();
      const closed = Promise.withResolvers<void>();
      const port = await startServer({
        raw: (socket) => {
          socket.on('close', () => closed.resolve());
          socket.once('data', () => controller.abort(new DOMException('too slow', 'TimeoutError')));
        },
      });
      const error = await refusal(dialPort(port, 'no_verify=1', { signal: controller.signal }));
      assert.equal(error.code, 'ERR_TRANSPORT_ABORTED');
      assert.match(error.message, /no answer in time while in the SSH handshake of ssh u@127/);
      await closed.promise;
    });

    it("ends the stream with the far command's own words", async () => {
      const port = await startServer({
        exec: (channel) => {
          channel.stderr.write('nc: unix connect failed:\nPermission denied\n');
          channel.exit(1);
          channel.end();
        },
      });
      const { stream } = await dialPort(port, 'no_verify=1');
      await assert.rejects(stream.toArray(), (error: unknown) => {
        assert.ok(error instanceof TransportError);
        assert.equal(error.code, 'ERR_TRANSPORT_REMOTE');
        assert.match(error.message, /exit status 1\): nc: unix connect failed: Permission denied; check libvirt there/);
        return true;
      });
    });

    it('ends the stream plainly when the far command ends after it has spoken', async () => {
      const port = await startServer({
        exec: (channel) => {
          channel.write('bye');
          channel.exit(0);
          channel.end();
        },
      });
      const { stream } = await dialPort(port, 'no_verify=1');
      assert.equal(Buffer.concat(await stream.toArray()).toString(), 'bye');
    });

    it('ends the stream with an error when the connection breaks', async () => {
      let break_ = (): void => {};
      const port = await startServer({
        onConnection: (connection) => {
          break_ = () => connection.end();
        },
        exec: (channel) => channel.write('hi'),
      });
      const { stream } = await dialPort(port, 'no_verify=1');
      stream.once('data', () => break_());
      const error = await new Promise((resolve) => stream.once('error', resolve));
      assert.ok(error instanceof TransportError);
      assert.equal(error.code, 'ERR_TRANSPORT_UNREACHABLE');
    });

    it('carries many bytes both ways, slowly read', async () => {
      const port = await startServer({ exec: (channel) => channel.pipe(channel) });
      const { stream } = await dialPort(port, 'no_verify=1');
      const sent = Buffer.alloc(6_000_000, 'libvirt ');
      stream.write(sent);
      const received: Buffer[] = [];
      let length = 0;
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        received.push(chunk);
        length += chunk.length;
        if (length >= sent.length) break;
      }
      assert.ok(Buffer.concat(received).equals(sent));
    });

    it('closes the connection when the stream is destroyed', async () => {
      const closed = Promise.withResolvers<void>();
      const port = await startServer({
        onConnection: (connection) => connection.on('close', () => closed.resolve()),
        exec: (channel) => channel.write('hi'),
      });
      const { stream } = await dialPort(port, 'no_verify=1');
      stream.destroy();
      await closed.promise;
    });
  });
});
