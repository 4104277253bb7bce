import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  fingerprint,
  judgeHostKey,
  knownHostName,
  knownKeyTypes,
  matchesHost,
  parseKnownHosts,
} from './known-hosts.ts';

/** A key on the wire: its type, then whatever. */
function makeKey(type: string, body: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  return Buffer.concat([length, Buffer.from(type), Buffer.from(body)]);
}

const ED = makeKey('ssh-ed25519', 'first');
const ED2 = makeKey('ssh-ed25519', 'second');
const RSA = makeKey('ssh-rsa', 'first');
const entry = (hosts: string, key: Buffer): string => {
  const type = key.toString('latin1', 4, 4 + key.readUInt32BE(0));
  return `${hosts} ${type} ${key.toString('base64')} a comment`;
};

function hashName(name: string): string {
  const salt = Buffer.from('0123456789abcdefghij');
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
}

describe('parseKnownHosts', () => {
  it('reads entries, markers, tabs and Windows line ends, and skips what is none', () => {
    const text = [
      '# comment',
      '',
      entry('a,b', ED),
      `@revoked ${entry('*', ED2)}`,
      `\t@cert-authority\t${entry('c', RSA)}\r`,
      `@unknown ${entry('d', RSA)}`,
      'e ssh-rsa',
      `f ssh-ed25519 ${RSA.toString('base64')}`,
      'g ssh-ed25519 !!!!',
      `#${entry('h', ED)}`,
      entry('last', ED),
    ].join('\n');
    assert.deepEqual(
      parseKnownHosts(text, '/f').map(({ lineNumber, marker, hostPatterns }) => [lineNumber, marker, hostPatterns]),
      [
        [3, undefined, 'a,b'],
        [4, 'revoked', '*'],
        [5, 'cert-authority', 'c'],
        [11, undefined, 'last'],
      ],
    );
  });

  it('takes any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        for (const line of parseKnownHosts(text, '/f')) matchesHost(line, 'host');
      }),
    );
  });
});

describe('matchesHost', () => {
  const matches = (patterns: string, name: string): boolean =>
    matchesHost(parseKnownHosts(entry(patterns, ED), '/f')[0]!, name);

  it('knows lists, wildcards, negations and the port', () => {
    assert.equal(matches('a,B.Example', 'b.example'), true);
    assert.equal(matches('*.example', 'kvm1.example'), true);
    assert.equal(matches('*.example', 'example'), false);
    assert.equal(matches('kvm?', 'kvm1'), true);
    assert.equal(matches('kvm?', 'kvm12'), false);
    assert.equal(matches('*.example,!bad.example', 'bad.example'), false);
    assert.equal(matches('!bad.example,*.example', 'bad.example'), false);
    assert.equal(matches('!bad.example', 'good.example'), false);
    assert.equal(matches('kvm1', knownHostName('KVM1', 22)), true);
    assert.equal(matches('kvm1', knownHostName('kvm1', 2222)), false);
    assert.equal(matches('[kvm1]:2222', knownHostName('kvm1', 2222)), true);
    assert.equal(matches('[*]:2222', knownHostName('::1', 2222)), true);
  });

  it('knows hashed names', () => {
    assert.equal(matches(hashName('kvm1'), 'kvm1'), true);
    assert.equal(matches(hashName('[kvm1]:2222'), knownHostName('kvm1', 2222)), true);
    assert.equal(matches(hashName('kvm1'), 'kvm2'), false);
    assert.equal(matches(hashName('kvm1').replace('|1|', '|2|'), 'kvm1'), false);
  });

  it('is not stalled by a hostile pattern', () => {
    assert.equal(matches(`${'*a'.repeat(5000)}b`, 'a'.repeat(250)), false);
  });
});

describe('judgeHostKey', () => {
  const judge = (key: Buffer, ...lines: string[]) => judgeHostKey(parseKnownHosts(lines.join('\n'), '/f'), 'kvm1', key);

  it('trusts any of several keys of the host', () => {
    assert.deepEqual(judge(ED2, entry('kvm1', ED), entry('kvm1', ED2)), { kind: 'known' });
  });

  it('tells a changed key from an unknown one and from one of another type', () => {
    const changed = judge(ED2, entry('other', ED2), entry('kvm1', ED));
    assert.equal(changed.kind === 'changed' && changed.line.lineNumber, 2);
    assert.deepEqual(judge(ED, entry('other', ED)), { kind: 'unknown', others: [] });
    const otherType = judge(ED, entry('kvm1', RSA));
    assert.equal(otherType.kind === 'unknown' && otherType.others[0]?.keyType, 'ssh-rsa');
  });

  it('refuses a revoked key although another line trusts it', () => {
    const verdict = judge(ED, entry('kvm1', ED), `@revoked ${entry('*', ED)}`);
    assert.equal(verdict.kind === 'revoked' && verdict.line.lineNumber, 2);
    assert.equal(judge(ED, entry('kvm1', ED), `@revoked ${entry('*', ED2)}`).kind, 'known');
  });

  it('does not take a certificate authority for a host key', () => {
    const verdict = judge(ED, `@cert-authority ${entry('*', ED)}`);
    assert.equal(verdict.kind === 'unknown' && verdict.others[0]?.marker, 'cert-authority');
  });

  it('lists the types to ask for', () => {
    const lines = parseKnownHosts(
      [entry('kvm1', RSA), entry('kvm2', ED), `@revoked ${entry('kvm1', ED)}`].join('\n'),
      '/f',
    );
    assert.deepEqual([...knownKeyTypes(lines, 'kvm1')], ['ssh-rsa']);
  });
});

describe('fingerprint', () => {
  it('is that of ssh-keygen -l', () => {
    // A public key and its fingerprint as ssh-keygen printed it.
    const key = Buffer.from('AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl', 'base64');
    assert.equal(fingerprint(key), 'SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU');
  });
});
