import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { canNeverWork } from '../../can-never-work.ts';
import { TransportError } from '../transport-error.ts';
import { findCredentials, lookUpCredentials } from './auth-file.ts';

const TEXT = `# libvirt clients
[credentials-lab]
username = fred
password=a = b\\s\\\\c

[auth-ssh-kvm1]
credentials=lab
[auth-libvirt-default]
credentials=lab
[auth-ssh-kvm2]
`;

describe('lookUpCredentials', () => {
  it('follows the host to its credentials', () => {
    const found = { file: '/f', username: 'fred', password: 'a = b \\c' };
    assert.deepEqual(lookUpCredentials(TEXT, '/f', 'ssh', 'kvm1'), found);
    assert.deepEqual(lookUpCredentials(`${TEXT}[auth-ssh-default]\ncredentials=lab`, '/f', 'ssh', 'kvm9'), found);
    assert.equal(lookUpCredentials(TEXT, '/f', 'ssh', 'kvm9'), undefined);
  });

  it('names what is missing', () => {
    assert.throws(
      () => lookUpCredentials(TEXT, '/f', 'ssh', 'kvm2'),
      /\/f: group \[auth-ssh-kvm2\] has no 'credentials='/,
    );
    const dangling = '[auth-ssh-kvm1]\ncredentials=gone';
    assert.throws(() => lookUpCredentials(dangling, '/f', 'ssh', 'kvm1'), /\[credentials-gone\]/);
  });
});

describe('findCredentials', () => {
  it('prefers LIBVIRT_AUTH_FILE, and insists on a file that is named', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'virtlens-auth-'));
    try {
      const path = join(directory, 'auth.conf');
      await writeFile(path, TEXT);
      const user = { env: { LIBVIRT_AUTH_FILE: path }, homeDirectory: directory, uid: 1000 };
      assert.equal((await findCredentials('ssh', 'kvm1', '/nowhere', user))?.username, 'fred');
      assert.equal((await findCredentials('ssh', 'kvm1', '~/auth.conf', { ...user, env: {} }))?.username, 'fred');
      await assert.rejects(
        findCredentials('ssh', 'kvm1', '/nowhere', { ...user, env: {} }),
        (error: unknown) =>
          error instanceof TransportError &&
          canNeverWork(error) &&
          error.message.includes('/nowhere cannot be read: it does not exist'),
      );
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
