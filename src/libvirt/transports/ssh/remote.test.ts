import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseLibvirtUri } from '../../uri.ts';
import { planRemoteWays, quote } from './remote.ts';

const plan = (uri: string, readWrite = false) => planRemoteWays(parseLibvirtUri(uri), readWrite);

describe('quote', () => {
  it('is one word for the shell, whatever is in it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (word) => {
        fc.pre(!word.includes('\0'));
        assert.equal(execFileSync('sh', ['-c', `printf %s ${quote(word)}`], { encoding: 'utf8' }), word);
      }),
      { numRuns: 50, examples: [["it's"], ['\\'], ['$(id) `id` "x" !! \\n'], ['']] },
    );
  });
});

describe('planRemoteWays', () => {
  it('asks sshd for the sockets first, then runs the helper or netcat', () => {
    const ways = plan('qemu+ssh://h/system');
    assert.deepEqual(ways.socketPaths.slice(0, 2), ['/run/libvirt/libvirt-sock-ro', '/run/libvirt/virtqemud-sock-ro']);
    assert.match(ways.command, /virt-ssh-helper -r /);
    assert.match(ways.command, / -U /);
    assert.doesNotMatch(plan('qemu+ssh://h/system', true).command, /virt-ssh-helper -r|sock-ro/);
  });

  it('keeps to what netcat= and proxy= say', () => {
    assert.deepEqual(plan('qemu+ssh://h/system?socket=/s').socketPaths, ['/s']);
    assert.doesNotMatch(plan('qemu+ssh://h/system?socket=/s').command, /exec virt-ssh-helper/);
    for (const uri of [
      'qemu+ssh://h/system?proxy=netcat',
      'qemu+ssh://h/system?netcat=/opt/nc',
      'qemu+ssh://h/system?socket=/s&proxy=netcat',
    ]) {
      assert.deepEqual(plan(uri).socketPaths, []);
      assert.doesNotMatch(plan(uri).command, /exec virt-ssh-helper/);
    }
    assert.deepEqual(plan('qemu+ssh://h/system?proxy=native').socketPaths, []);
    assert.doesNotMatch(plan('qemu+ssh://h/system?proxy=native').command, / -U /);
  });

  it("leaves a session's socket to the helper", () => {
    assert.deepEqual(plan('qemu+ssh://h/session').socketPaths, []);
    assert.match(plan('qemu+ssh://h/session').command, /qemu:\/\/\/session/);
    assert.throws(() => plan('qemu+ssh://h/session?proxy=netcat'), /session daemon's socket/);
  });

  it('hands no word of the URI to the far shell unquoted', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'virtlens-remote-'));
    const server = createServer();
    try {
      // A netcat that prints its arguments, under a name that would run a command if it were not quoted.
      const netcat = join(directory, "n'c $(touch pwned)");
      await writeFile(
        netcat,
        '#!/bin/sh\nif [ "$1" = -q ]; then echo requires an argument; exit; fi\nprintf "%s|" "$@"\n',
      );
      await chmod(netcat, 0o755);
      const socket = join(directory, "s'ock; touch pwned");
      await new Promise<void>((resolve) => server.listen(socket, resolve));
      const uri = `qemu+ssh://h/system?socket=${encodeURIComponent(socket)}&netcat=${encodeURIComponent(netcat)}`;
      const run = spawnSync('sh', ['-c', plan(uri).command], { cwd: directory, encoding: 'utf8' });
      assert.equal(run.stdout, `-q0|-U|${socket}|`, run.stderr);
      assert.equal(spawnSync('ls', [directory], { encoding: 'utf8' }).stdout.split('\n').includes('pwned'), false);
    } finally {
      server.close();
      await rm(directory, { recursive: true });
    }
  });

  it('says what is missing on the far side', () => {
    const command = plan('qemu+ssh://h/system?socket=/nowhere&netcat=no-such-netcat').command;
    assert.match(spawnSync('sh', ['-c', command], { encoding: 'utf8' }).stderr, /no-such-netcat is there/);
    const existing = plan('qemu+ssh://h/system?socket=/nowhere&netcat=true').command;
    const run = spawnSync('sh', ['-c', existing], { encoding: 'utf8' });
    assert.match(run.stderr, /there is no socket \/nowhere/);
    assert.equal(run.status, 1);
  });
});
