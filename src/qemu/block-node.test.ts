import assert from 'node:assert/strict';
import { it } from 'node:test';
import { followChain, readFileName, readNodeOptions } from './block-node.ts';

it('follows filters, format and protocol, and counts the images below', () => {
  const file = (name: string) => ({ driver: 'file', filename: name });
  const top = readNodeOptions({
    driver: 'throttle',
    'node-name': 'drive-scsi0',
    file: {
      driver: 'qcow2',
      cache: { direct: true, 'no-flush': false },
      file: { driver: 'host_device', filename: '/dev/vg/vm-1-disk-0.qcow2' },
      backing: {
        driver: 'qcow2',
        file: file('/b'),
        backing: { driver: 'throttle', file: { driver: 'qcow2', file: file('/c'), backing: null } },
      },
    },
  })!;
  const { format, protocol, backingDepth } = followChain(top);
  assert.equal(top.nodeName, 'drive-scsi0');
  assert.deepEqual([format?.driver, format?.cache], ['qcow2', { direct: true, noFlush: false }]);
  assert.deepEqual([protocol.driver, protocol.fileName, backingDepth], ['host_device', '/dev/vg/vm-1-disk-0.qcow2', 2]);
});

it('reads QEMU’s addresses of files', () => {
  assert.deepEqual([readFileName('/a:b')!.driver, readFileName('/a:b')!.fileName], ['file', '/a:b']);
  assert.equal(readFileName('/dev/zvol/rpool/vm-1-disk-0')!.driver, 'host_device');
  assert.equal(readFileName('nbd:unix:/run/x.sock')!.driver, 'nbd');
  assert.equal(readFileName('nbd+unix:///x?socket=y')!.driver, 'nbd');
  assert.equal(readFileName('iscsi://127.0.0.1/iqn.2019-10.org.test:foobar/0')!.driver, 'iscsi');
  const rbd = readFileName(String.raw`rbd:cpool/vm-8006-disk-0:mon_host=127.0.0.42;[\:\:1]:auth_supported=none`)!;
  assert.deepEqual([rbd.options.get('pool'), rbd.options.get('image')], ['cpool', 'vm-8006-disk-0']);
  const odd = readFileName(String.raw`rbd:p\/q/space/im\:age@snap:id=x`)!;
  assert.deepEqual(
    ['pool', 'namespace', 'image'].map((name) => odd.options.get(name)),
    ['p/q', 'space', 'im:age'],
  );
  assert.equal(readFileName('json:{"driver":"nbd","server":{"path":"/x"}}')!.driver, 'nbd');
  assert.equal(readFileName('json:{"driver":"thro...'), undefined);
  assert.equal(readFileName('json:[]'), undefined);
});

it('ends on options that are nested without end', () => {
  let options: unknown = { driver: 'file', filename: '/x' };
  for (let depth = 0; depth < 5_000; depth++) options = { driver: 'throttle', file: options };
  assert.equal(followChain(readNodeOptions(options)!).protocol.driver, 'throttle');
});
