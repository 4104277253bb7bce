import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import type { PeerCertificate } from 'node:tls';
import { parseLibvirtUri } from '../uri.ts';
import { dial } from './dial.ts';
import { asciiHost, tcpTarget } from './tcp.ts';
import { checkLibvirtServerIdentity } from './tls.ts';

const hasIPv6 = Object.values(networkInterfaces()).some((each) => each?.some(({ address }) => address === '::1'));

describe('dialling by tcp', () => {
  it('reaches an IPv6 address', { skip: !hasIPv6 && 'this machine has no ::1' }, async () => {
    const server = createServer((socket) => socket.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, '::1', resolve));
    const { port } = server.address() as AddressInfo;
    const signal = AbortSignal.timeout(10_000);
    const dialled = await dial(parseLibvirtUri(`qemu+tcp://[::1]:${port}/system`), { readWrite: false, signal });
    assert.equal(dialled.description, `tcp [::1]:${port}`);
    assert.equal(Buffer.concat(await dialled.stream.toArray()).toString(), 'hello');
    server.close();
  });

  it('takes this host and the default port unless the URI says otherwise', () => {
    const target = (uri: string): string => tcpTarget(parseLibvirtUri(uri), 16509).text;
    assert.equal(target('qemu+tcp:///system'), 'localhost:16509');
    assert.equal(target('qemu+tcp://[fe80::1%25eth0]:1/system'), '[fe80::1%eth0]:1');
  });

  it('looks up names beyond ASCII in their encoded form, and leaves the others alone', () => {
    assert.deepEqual(['münchen.example', '1234', 'my_host', '::1'].map(asciiHost), [
      'xn--mnchen-3ya.example',
      '1234',
      'my_host',
      '::1',
    ]);
  });
});

describe('checkLibvirtServerIdentity', () => {
  const certificate = (commonName: string, alternativeNames?: string): PeerCertificate =>
    ({ subject: { CN: commonName }, ...(alternativeNames && { subjectaltname: alternativeNames }) }) as PeerCertificate;
  const accepts = (host: string, ...names: [string, string?]): boolean =>
    checkLibvirtServerIdentity(host, certificate(...names)) === undefined;

  it('lets an address pass as address, as DNS name, or as common name without alternatives', () => {
    assert.equal(accepts('10.0.0.1', 'x', 'IP Address:10.0.0.1'), true);
    assert.equal(accepts('10.0.0.1', 'x', 'DNS:a, DNS:10.0.0.1'), true);
    assert.equal(accepts('10.0.0.1', '10.0.0.1'), true);
    assert.equal(accepts('10.0.0.1', '10.0.0.1', 'DNS:a'), false);
    assert.equal(accepts('10.0.0.1', 'x', 'DNS:10.0.0.11'), false);
  });

  it("leaves names to Node's own check", () => {
    assert.equal(accepts('kvm1.lab.example', 'x', 'DNS:*.lab.example'), true);
    assert.equal(accepts('kvm1.example', 'kvm1.example'), true);
    assert.equal(accepts('kvm1.example', 'kvm1.example', 'DNS:kvm2.example'), false);
  });
});
