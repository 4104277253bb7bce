import assert from 'node:assert/strict';
import { it } from 'node:test';
import { PveTree } from '../../test/support/pve-tree.ts';
import { readContainerConfig } from './config/container-config.ts';
import { Containers } from './containers.ts';
import { NicCounters } from './devices/nics.ts';
import { HostRoot } from './host-root.ts';

const CONFIG = readContainerConfig('hostname: web\ncores: 2\nnet0: name=eth0,bridge=vmbr0\n');

it('reads running containers from their cgroups, with their interfaces as they see them', () => {
  using tree = new PveTree();
  const cgroup = (file: string, text: string) => tree.write(`sys/fs/cgroup/lxc/200/${file}`, text);
  cgroup('cpu.stat', 'usage_usec 3\nuser_usec 9007199254740\nsystem_usec 2\n');
  cgroup('memory.current', '1024\n');
  cgroup('memory.max', 'max\n');
  cgroup('memory.swap.current', '0\n');
  cgroup('pids.current', '12\n');
  cgroup('io.stat', '8:0 rbytes=1 wbytes=20 rios=3 wios=4 dbytes=9 dios=9\n8:16 rbytes=10 wbytes=200\n');
  tree.write('sys/fs/cgroup/lxc/201/cgroup.procs', '');
  tree.write('sys/fs/cgroup/lxc/300/cpu.stat', 'user_usec 1\nsystem_usec 1\n');
  tree.addInterface('veth200i0', { rx_bytes: 1, tx_bytes: 2, rx_packets: 3, tx_packets: 4 });
  tree.addInterface('veth2001i0', { rx_bytes: 5 });
  tree.addInterface('fwln200i0', { rx_bytes: 6 });
  const root = new HostRoot(tree.dir);
  const containers = new Containers(root, new NicCounters(root));
  const configs = new Map([
    ['201', CONFIG],
    ['200', CONFIG],
    ['202', CONFIG],
  ]);
  const pool = { path: 'p', levels: ['p'] };
  const found = containers.read(configs, new Map([['200', pool]]));
  assert.deepEqual(found, [
    {
      identity: { vmid: '200', name: 'web', pool },
      cores: 2,
      cpu: { userNs: 9007199254740000, systemNs: 2000 },
      memoryBytes: 1024,
      memoryMaximumBytes: undefined,
      swapBytes: 0,
      processes: 12,
      io: { readBytes: 11, writeBytes: 220, readOperations: 3, writeOperations: 4 },
      nics: [
        {
          key: 'net0',
          name: 'eth0',
          ifname: 'veth200i0',
          receivedBytes: 2,
          sentBytes: 1,
          receivedPackets: 4,
          sentPackets: 3,
        },
      ],
    },
  ]);
  const again = containers.read(configs, new Map([['200', pool]]));
  assert.equal(again[0]!.identity, found[0]!.identity);
  assert.notEqual(containers.read(configs, new Map())[0]!.identity, found[0]!.identity);
  tree.remove('sys');
  assert.deepEqual(containers.read(configs, new Map()), []);
});
