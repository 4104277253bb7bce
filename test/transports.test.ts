// Every transport against the real thing: libvirtd over unix, TCP and TLS, and OpenSSH's sshd in front of it.
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { after, before, it } from 'node:test';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { type Dialled, type DialOptions, dial } from '../src/libvirt/transports/dial.ts';
import { TransportError, type TransportErrorCode } from '../src/libvirt/transports/transport-error.ts';
import { parseLibvirtUri } from '../src/libvirt/uri.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { type Sshd, startSshd } from './lab/sshd.ts';
import { runTool } from './lab/tools.ts';

const REMOTE_PROGRAM = 0x20008086;
const AUTH_LIST = 66;
const REPLY = 1;

/** A home without keys, so that nothing of the machine's own root leaks into a test. */
let home = '/nonexistent';

function connect(uri: string, options: Partial<DialOptions> = {}): Promise<Dialled> {
  const signal = AbortSignal.timeout(30_000);
  return dial(parseLibvirtUri(uri), { readWrite: false, signal, env: {}, homeDirectory: home, uid: 0, ...options });
}

/** Asks the daemon which authentications it has: the answer shows that frames pass, and that none of their bytes was lost. */
async function assertSpeaksLibvirt({ stream }: Dialled): Promise<void> {
  stream.write(authListCall(1));
  const reply = await readBytes(stream, 36);
  const words = Array.from({ length: 9 }, (_, index) => reply.readUInt32BE(index * 4));
  // The reply lists one authentication: none.
  assert.deepEqual(words, [36, REMOTE_PROGRAM, 1, AUTH_LIST, REPLY, 1, 0, 1, 0]);
  stream.destroy();
}

function authListCall(serial: number): Buffer {
  const call = Buffer.alloc(28);
  for (const [index, word] of [28, REMOTE_PROGRAM, 1, AUTH_LIST, 0, serial, 0].entries())
    call.writeUInt32BE(word, index * 4);
  return call;
}

async function readBytes(stream: Duplex, count: number): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.length >= count) break;
  }
  return bytes;
}

/** The dial, or the stream that it gives, must fail so. */
async function assertFails(attempt: Promise<Dialled>, code: TransportErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(
    async () => {
      const { stream } = await attempt;
      try {
        await readBytes(stream, 1);
      } finally {
        stream.destroy();
      }
    },
    (error: unknown) => {
      assert.ok(error instanceof TransportError, String(error));
      assert.match(error.message, message);
      assert.equal(error.code, code, error.message);
      assert.doesNotMatch(error.message, /[\r\n]/);
      return true;
    },
  );
}

describeLab('a real libvirtd', ['libvirt', 'tls'], () => {
  let host: LibvirtHost;
  let dir: string;
  /** The daemon's TLS port with other certificates. */
  const tls = (pkiPath: string, more = '', address = 'localhost', port = host.tlsPort): string =>
    `qemu+tls://${address}:${port}/system?pkipath=${pkiPath}${more}`;

  /** A folder with the lab's certificates, some of them exchanged or (null) left out. */
  const makePki = (name: string, changes: Record<string, string | null>): string => {
    const folder = join(dir, name);
    mkdirSync(folder);
    for (const file of ['cacert.pem', 'clientcert.pem', 'clientkey.pem']) {
      const from = file in changes ? changes[file] : join(host.certificates!.pkiPath, file);
      if (from) copyFileSync(from, join(folder, file));
    }
    return folder;
  };
  const strange = (file: string): string => join(host.strangeCertificates!.pkiPath, file);

  /** Runs a TLS server of our own, with the lab's certificate by default. */
  const withTlsServer = async (
    options: TlsOptions & { address?: string; greeting?: Buffer },
    use: (port: number) => Promise<void>,
  ): Promise<void> => {
    const { address = '127.0.0.1', greeting = Buffer.from([1]), ...rest } = options;
    const cert = readFileSync(host.certificates!.serverCert);
    const key = readFileSync(host.certificates!.serverKey);
    const server = createTlsServer({ cert, key, ...rest }, (socket) => {
      socket.on('error', () => {});
      socket.end(greeting);
    });
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    try {
      await use((server.address() as AddressInfo).port);
    } finally {
      server.close();
    }
  };

  before(async () => {
    host = await startLibvirt({ tcp: 'none', tls: true });
    dir = host.cage.dir;
    home = join(dir, 'home');
  });
  after(() => host.stop());

  it('answers over its unix sockets', async () => {
    for (const socket of [host.roSocket, host.rwSocket]) {
      await assertSpeaksLibvirt(await connect(`qemu+unix:///system?socket=${socket}`));
    }
  });

  it('answers calls over TLS that were sent in one go', async () => {
    const { stream } = await connect(tls(host.certificates!.pkiPath));
    // Without a further word from us libvirtd answers what it has seen, and nothing makes it look again.
    const count = 4;
    for (let serial = 1; serial <= count; serial++) stream.write(authListCall(serial));
    const replies = await readBytes(stream, count * 36);
    const serials = Array.from({ length: count }, (_, index) => replies.readUInt32BE(index * 36 + 20));
    assert.deepEqual(
      serials.sort(),
      Array.from({ length: count }, (_, index) => index + 1),
    );
    stream.destroy();
  });

  it('answers over TCP', async () => {
    const dialled = await connect(host.tcpUri());
    assert.equal(dialled.secure, false);
    assert.equal(dialled.description, `tcp 127.0.0.1:${host.tcpPort}`);
    await assertSpeaksLibvirt(dialled);
    await assertFails(
      connect('qemu+tcp://127.0.0.1:1/system'),
      'ERR_TRANSPORT_UNREACHABLE',
      /127\.0\.0\.1:1: connection refused/,
    );
    await assertFails(
      connect('qemu+tcp://no-such-host.invalid/system'),
      'ERR_TRANSPORT_UNREACHABLE',
      /no-such-host\.invalid/,
    );
  });

  it('answers over TLS, by name and by address', async () => {
    const { pkiPath } = host.certificates!;
    const dialled = await connect(tls(pkiPath));
    assert.equal(dialled.secure, true);
    assert.equal(dialled.description, `tls localhost:${host.tlsPort}`);
    await assertSpeaksLibvirt(dialled);
    await assertSpeaksLibvirt(await connect(tls(pkiPath, '', '127.0.0.1')));
  });

  it("finds an ordinary user's certificates in ~/.pki/libvirt", async () => {
    mkdirSync(join(home, '.pki'), { recursive: true });
    copyTree(host.certificates!.pkiPath, join(home, '.pki', 'libvirt'));
    await assertSpeaksLibvirt(await connect(`qemu://localhost:${host.tlsPort}/system`, { uid: 1000 }));
  });

  it('is refused when its certificate is from an unknown authority, unless no_verify=1', async () => {
    const pki = makePki('strange-ca', { 'cacert.pem': strange('cacert.pem') });
    await assertFails(
      connect(tls(pki)),
      'ERR_TRANSPORT_CERTIFICATE',
      /^tls localhost:\d+: the server's certificate was issued by 'CN=virtlens lab CA', which is not in \S+strange-ca\/cacert\.pem; put/,
    );
    await assertSpeaksLibvirt(await connect(tls(pki, '&no_verify=1')));
    const noCa = makePki('no-ca', { 'cacert.pem': null });
    await assertSpeaksLibvirt(await connect(tls(noCa, '&no_verify=1')));
    await assertFails(
      connect(tls(noCa)),
      'ERR_TRANSPORT_CONFIG',
      /the CA certificate \S+no-ca\/cacert\.pem cannot be read: it does not exist; /,
    );
  });

  it('refuses a client certificate that it does not know, or none', async () => {
    const files = { 'clientcert.pem': strange('clientcert.pem'), 'clientkey.pem': strange('clientkey.pem') };
    const pki = makePki('strange-client', files);
    await assertFails(
      connect(tls(pki)),
      'ERR_TRANSPORT_CERTIFICATE',
      /refused the client certificate \S+strange-client\/clientcert\.pem; have it signed/,
    );
    const none = makePki('no-client', { 'clientcert.pem': null, 'clientkey.pem': null });
    await assertFails(
      connect(tls(none)),
      'ERR_TRANSPORT_CERTIFICATE',
      /wants a client certificate; put one at \S+no-client\/clientcert\.pem/,
    );
  });

  it('is never asked when the files here are wrong', async () => {
    const otherKey = makePki('other-key', { 'clientkey.pem': strange('clientkey.pem') });
    await assertFails(
      connect(tls(otherKey)),
      'ERR_TRANSPORT_CONFIG',
      /clientkey\.pem cannot be used as the key of \S+clientcert\.pem/,
    );
    const noKey = makePki('no-key', { 'clientkey.pem': null });
    await assertFails(connect(tls(noKey)), 'ERR_TRANSPORT_CONFIG', /clientkey\.pem cannot be read: it does not exist/);
    const swapped = makePki('swapped', { 'clientcert.pem': strange('clientkey.pem') });
    await assertFails(connect(tls(swapped)), 'ERR_TRANSPORT_CONFIG', /clientcert\.pem holds no certificate/);
    const locked = makePki('locked', {});
    const lockedKey = join(locked, 'clientkey.pem');
    runTool('openssl', [
      'pkcs8',
      '-topk8',
      '-v2',
      'aes256',
      '-passout',
      'pass:secret',
      '-in',
      join(host.certificates!.pkiPath, 'clientkey.pem'),
      '-out',
      lockedKey,
    ]);
    await assertFails(
      connect(tls(locked)),
      'ERR_TRANSPORT_CONFIG',
      /locked\/clientkey\.pem is protected by a passphrase/,
    );
    const broken = makePki('broken', {});
    const certificate = readFileSync(join(broken, 'cacert.pem'), 'utf8');
    writeFileSync(join(broken, 'cacert.pem'), certificate.replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA'));
    await assertFails(connect(tls(broken)), 'ERR_TRANSPORT_CONFIG', /broken\/cacert\.pem holds a broken certificate/);
  });

  it('is refused under a name that its certificate does not have', async () => {
    const { pkiPath } = host.certificates!;
    await withTlsServer({ address: '127.0.0.2' }, async (port) => {
      await assertFails(
        connect(tls(pkiPath, '', '127.0.0.2', port)),
        'ERR_TRANSPORT_CERTIFICATE',
        /is for '.*DNS:localhost.*', not for '127\.0\.0\.2'; use that name/,
      );
      const dialled = await connect(tls(pkiPath, '&no_verify=1', '127.0.0.2', port));
      dialled.stream.destroy();
    });
  });

  it('is refused with an expired certificate, and one of ours is not sent', async () => {
    const expired = makeExpiredCertificate(host, join(dir, 'expired'));
    const { pkiPath } = host.certificates!;
    await withTlsServer({ cert: readFileSync(expired.cert), key: readFileSync(expired.key) }, async (port) => {
      await assertFails(
        connect(tls(pkiPath, '', 'localhost', port)),
        'ERR_TRANSPORT_CERTIFICATE',
        /server's certificate expired on \w.*; renew it there/,
      );
    });
    const pki = makePki('expired-client', { 'clientcert.pem': expired.cert, 'clientkey.pem': expired.key });
    await assertFails(connect(tls(pki)), 'ERR_TRANSPORT_CONFIG', /expired-client\/clientcert\.pem expired on \d{4}-/);
    await assertFails(connect(tls(pki, '&no_sanity=1')), 'ERR_TRANSPORT_CERTIFICATE', /refused the client certificate/);
  });

  it('is refused when a revocation list beside the CA has its certificate', async () => {
    const pki = makePki('revoking', {});
    const list = join(pki, 'cacrl.pem');
    makeRevocationList(host, join(dir, 'revoked'), list, [host.certificates!.serverCert]);
    await assertFails(
      connect(tls(pki)),
      'ERR_TRANSPORT_CERTIFICATE',
      /certificate is revoked by \S+revoking\/cacrl\.pem/,
    );
    makeRevocationList(host, join(dir, 'not-revoked'), list, []);
    await assertSpeaksLibvirt(await connect(tls(pki)));
    writeFileSync(list, 'no list');
    await assertFails(connect(tls(pki)), 'ERR_TRANSPORT_CONFIG', /cacrl\.pem cannot be used as a revocation list/);
  });

  it('is not mistaken for what speaks no TLS, or no libvirt inside it', async () => {
    const { pkiPath } = host.certificates!;
    const plain = createServer((socket) => socket.on('error', () => {}).end('220 mail.example ESMTP\r\n'));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const plainUri = tls(pkiPath, '', '127.0.0.1', (plain.address() as AddressInfo).port);
    await assertFails(
      connect(plainUri),
      'ERR_TRANSPORT_PROTOCOL',
      /the answer is not TLS; is it the daemon's plain TCP port/,
    );
    plain.close();
    await assertFails(
      connect(tls(pkiPath, '', 'localhost', host.tcpPort)),
      'ERR_TRANSPORT_UNREACHABLE',
      /closed by the other side in the TLS handshake; check that it is a TLS port/,
    );
    await withTlsServer({ greeting: Buffer.from('HTTP/1.1 400') }, async (port) => {
      await assertFails(connect(tls(pkiPath, '', 'localhost', port)), 'ERR_TRANSPORT_PROTOCOL', /first byte is 72/);
    });
  });

  it('loses no byte that comes together with its consent', async () => {
    await withTlsServer({ greeting: Buffer.from('\u0001frame') }, async (port) => {
      const { stream } = await connect(tls(host.certificates!.pkiPath, '', 'localhost', port));
      const received = await new Promise<string>((resolve) => {
        let text = '';
        stream.on('data', (chunk: Buffer) => {
          text += chunk.toString('latin1');
        });
        stream.on('end', () => resolve(text));
      });
      assert.equal(received, 'frame');
    });
  });

  it('does not hold a dial that has a time limit when it hangs', async () => {
    await host.suspend();
    try {
      const uri = tls(host.certificates!.pkiPath);
      await assertFails(
        connect(uri, { signal: AbortSignal.timeout(300) }),
        'ERR_TRANSPORT_ABORTED',
        /no answer in time while in the TLS handshake of tls localhost/,
      );
    } finally {
      await host.resume();
    }
    await assertSpeaksLibvirt(await connect(host.tcpUri()));
  });
});

function copyTree(from: string, to: string): void {
  mkdirSync(to);
  for (const file of ['cacert.pem', 'clientcert.pem', 'clientkey.pem']) copyFileSync(join(from, file), join(to, file));
}

/** A certificate for localhost by the lab's authority that ended in the past. */
function makeExpiredCertificate(host: LibvirtHost, folder: string): { cert: string; key: string } {
  const authority = openAuthority(host, folder);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'key.pem'];
  runTool('openssl', ['req', ...key, '-out', 'csr.pem', '-subj', '/CN=localhost'], { cwd: folder });
  const dates = ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z'];
  authority('-batch', '-in', 'csr.pem', '-out', 'cert.pem', '-notext', ...dates);
  return { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
}

/** A list by the lab's authority, good for a day, of the certificates that it takes back. */
function makeRevocationList(host: LibvirtHost, folder: string, list: string, revoked: readonly string[]): void {
  const authority = openAuthority(host, folder);
  for (const certificate of revoked) authority('-revoke', certificate);
  authority('-gencrl', '-crldays', '1', '-out', list);
}

/** `openssl ca` with the lab's authority and a register of its own: the command that takes dates and revokes. */
function openAuthority(host: LibvirtHost, folder: string): (...args: string[]) => string {
  mkdirSync(folder);
  writeFileSync(
    join(folder, 'ca.cnf'),
    '[ca]\ndefault_ca=own\n[own]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=any\nx509_extensions=names\n' +
      '[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\n',
  );
  writeFileSync(join(folder, 'index'), '');
  writeFileSync(join(folder, 'serial'), '77\n');
  const { pkiPath, caCert } = host.certificates!;
  const authority = ['ca', '-config', 'ca.cnf', '-cert', caCert, '-keyfile', join(pkiPath, 'cakey.pem')];
  return (...args) => runTool('openssl', [...authority, ...args], { cwd: folder });
}

describeLab('a real sshd before libvirtd', ['libvirt', 'sshd'], () => {
  let host: LibvirtHost;
  let sshd: Sshd;
  /** The same host, where sshd may connect to no socket for us. */
  let strictSshd: Sshd;

  const uri = (server: Sshd, ...params: string[]): string =>
    `qemu+ssh://${server.user}@${server.host}:${server.port}/system?${[`known_hosts=${server.knownHosts.right}`, ...params].join('&')}`;

  before(async () => {
    host = await startLibvirt();
    sshd = await startSshd({ libvirt: host });
    strictSshd = await startSshd({ libvirt: host, config: ['AllowStreamLocalForwarding no'] });
    home = join(host.cage.dir, 'home');
  });
  after(async () => {
    await strictSshd?.stop();
    await sshd?.stop();
    await host?.stop();
  });

  it('lets every kind of key in', async () => {
    const { ed25519, rsa, ecdsa, rsaPem } = sshd.keys;
    for (const key of [ed25519, rsa, ecdsa, rsaPem]) {
      const dialled = await connect(uri(sshd, `keyfile=${key}`));
      assert.equal(dialled.secure, true);
      assert.equal(dialled.description, `ssh root@127.0.0.1:${sshd.port}, unix socket /run/libvirt/libvirt-sock-ro`);
      await assertSpeaksLibvirt(dialled);
    }
  });

  it('lets in with the default key, the agent and the password of auth.conf', async () => {
    mkdirSync(join(home, '.ssh'));
    copyFileSync(sshd.keys.ed25519, join(home, '.ssh', 'id_ed25519'));
    await assertSpeaksLibvirt(await connect(uri(sshd, 'sshauth=privkey')));
    const env = { SSH_AUTH_SOCK: await sshd.startAgent() };
    await assertSpeaksLibvirt(await connect(uri(sshd, 'sshauth=agent'), { env }));
    // The agent makes up for a key file that nobody can unlock.
    await assertSpeaksLibvirt(await connect(uri(sshd, `keyfile=${sshd.keys.encrypted}`), { env }));
    const authFile = join(home, 'auth.conf');
    writeFileSync(authFile, `[credentials-lab]\npassword=${sshd.password}\n[auth-ssh-127.0.0.1]\ncredentials=lab\n`);
    await assertSpeaksLibvirt(await connect(uri(sshd, 'sshauth=password', `authfile=${authFile}`)));
  });

  it('refuses a wrong key and a wrong password, and the message says what was tried', async () => {
    const { stranger } = sshd.keys;
    await assertFails(
      connect(uri(sshd, `keyfile=${stranger}`)),
      'ERR_TRANSPORT_AUTH',
      /^ssh root@127\.0\.0\.1:\d+: the login was refused \(tried key \S+stranger; the server takes publickey,/,
    );
    const authFile = join(home, 'wrong.conf');
    writeFileSync(authFile, '[credentials-lab]\npassword=wrong horse\n[auth-ssh-default]\ncredentials=lab\n');
    const refused = connect(uri(sshd, 'sshauth=password', `authfile=${authFile}`));
    await assertFails(refused, 'ERR_TRANSPORT_AUTH', /tried password of \S+wrong\.conf/);
  });

  it('is known by hashed names, and refused when its key is another or unknown', async () => {
    const key = `keyfile=${sshd.keys.ed25519}`;
    await assertSpeaksLibvirt(await connect(uri(sshd, key, `known_hosts=${sshd.knownHosts.hashed}`)));
    await assertFails(
      connect(uri(sshd, key, `known_hosts=${sshd.knownHosts.wrong}`)),
      'ERR_TRANSPORT_HOST_KEY',
      /has changed: .*known_hosts_wrong:1 has SHA256/,
    );
    await assertFails(
      connect(uri(sshd, key, `known_hosts=${sshd.knownHosts.empty}`)),
      'ERR_TRANSPORT_HOST_KEY',
      /is not in \S+known_hosts_empty/,
    );
    await assertSpeaksLibvirt(await connect(uri(sshd, key, `known_hosts=${sshd.knownHosts.wrong}`, 'no_verify=1')));
  });

  it('reaches the socket that is named, and the read-write one', async () => {
    const key = `keyfile=${sshd.keys.ed25519}`;
    const dialled = await connect(uri(sshd, key, `socket=${host.rwSocket}`));
    assert.match(dialled.description, new RegExp(`unix socket ${host.rwSocket}$`));
    await assertSpeaksLibvirt(dialled);
    const readWrite = await connect(uri(sshd, key), { readWrite: true });
    assert.match(readWrite.description, /libvirt-sock$/);
    await assertSpeaksLibvirt(readWrite);
  });

  it('runs virt-ssh-helper or netcat where it forwards nothing', async () => {
    const key = `keyfile=${strictSshd.keys.ed25519}`;
    const helped = await connect(uri(strictSshd, key));
    assert.match(helped.description, /by command$/);
    await assertSpeaksLibvirt(helped);
    await assertSpeaksLibvirt(await connect(uri(strictSshd, key, 'proxy=native')));
    // netcat's `-U` is all that is asked of it; Debian's is not always installed.
    const netcat = join(host.cage.dir, 'net cat');
    const relay =
      'const s = require("node:net").connect(process.argv.at(-1)); process.stdin.pipe(s).pipe(process.stdout);';
    writeFileSync(
      netcat,
      `#!/bin/sh\nif [ "$1" = -q ]; then exit 1; fi\nexec '${process.execPath}' -e '${relay}' "$@" --\n`.replace(
        '"$@" --',
        '-- "$@"',
      ),
    );
    chmodSync(netcat, 0o755);
    await assertSpeaksLibvirt(await connect(uri(strictSshd, key, `netcat=${encodeURIComponent(netcat)}`)));
    await assertSpeaksLibvirt(
      await connect(uri(strictSshd, key, `netcat=${encodeURIComponent(netcat)}`, `socket=${host.roSocket}`)),
    );
  });

  it("ends in the far side's own words when the socket is not reached", async () => {
    const key = `keyfile=${sshd.keys.ed25519}`;
    await assertFails(
      connect(uri(sshd, key, 'netcat=no-such-netcat')),
      'ERR_TRANSPORT_REMOTE',
      /^ssh root@127\.0\.0\.1:\d+: libvirt's socket was not reached there \(exit status 127\): neither .* no-such-netcat is there; check/,
    );
    await host.terminate();
    try {
      await assertFails(connect(uri(sshd, key)), 'ERR_TRANSPORT_REMOTE', /exit status 1\): .*libvirt-sock/);
    } finally {
      await host.startDaemon();
    }
  });

  it('ends the stream when it is killed, and takes new connections when it is back', async () => {
    const key = `keyfile=${sshd.keys.ed25519}`;
    const { stream } = await connect(uri(sshd, key));
    const ended = new Promise<unknown>((resolve) => stream.once('error', resolve));
    await sshd.kill();
    const error = await ended;
    assert.ok(error instanceof TransportError);
    assert.equal(error.code, 'ERR_TRANSPORT_UNREACHABLE');
    await assertFails(
      connect(uri(sshd, key)),
      'ERR_TRANSPORT_UNREACHABLE',
      /connection refused: nothing listens there; start sshd there/,
    );
    await sshd.startDaemon();
    await assertSpeaksLibvirt(await connect(uri(sshd, key)));
  });
});
