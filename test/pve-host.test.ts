// A Proxmox VE host with real QEMU processes, monitors and interfaces, read from the host itself.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { after, before, it } from 'node:test';
import { type Clock, SYSTEM_CLOCK } from '../src/base/clock.ts';
import type { KvmDiskInfo, KvmSnapshot } from '../src/model/proxmox-snapshot.ts';
import { ProxmoxHost, type ProxmoxHostOptions } from '../src/proxmox/proxmox-host.ts';
import { type CagedProcess, waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { hold, PveLab, visitAsProxmox } from './lab/pve-qemu.ts';
import { KeptLog } from './support/kept-log.ts';
import { MachineLag } from './support/machine-lag.ts';

const { signal } = new AbortController();

/** The machine's time, with leaps. */
class LeapingClock implements Clock {
  leapMs = 0;
  wallMs = () => SYSTEM_CLOCK.wallMs();
  monotonicMs = () => SYSTEM_CLOCK.monotonicMs() + this.leapMs;
  schedule = (delayMs: number, callback: () => void) => SYSTEM_CLOCK.schedule(delayMs, callback);
}

/** EFI variables as Proxmox VE 9 has them: as large as the firmware wants, whatever the volume is. */
const efiDisk = (path: string) =>
  JSON.stringify({
    driver: 'throttle',
    file: {
      driver: 'raw',
      file: { driver: 'file', filename: path, 'node-name': 'e2' },
      'node-name': 'f2',
      size: 540672,
    },
    'node-name': 'drive-efidisk0',
    'throttle-group': 'throttle-drive-efidisk0',
  });

const firmware = (path: string) =>
  JSON.stringify({
    driver: 'raw',
    file: { driver: 'file', filename: path },
    'node-name': 'pflash0',
    'read-only': true,
  });

const blockdev = (path: string, backing?: string) =>
  JSON.stringify({
    'detect-zeroes': 'unmap',
    discard: 'unmap',
    driver: 'throttle',
    file: {
      driver: 'qcow2',
      cache: { direct: false, 'no-flush': true },
      file: { driver: 'file', aio: 'threads', filename: path, 'node-name': 'e1', 'read-only': false },
      'node-name': 'f1',
      'read-only': false,
      ...(backing !== undefined && { backing: { driver: 'qcow2', file: { driver: 'file', filename: backing } } }),
    },
    'node-name': 'drive-scsi0',
    'read-only': false,
    'throttle-group': 'throttle-drive-scsi0',
  });

function labelsOf(info: KvmDiskInfo): Record<string, unknown> {
  return Object.fromEntries(Object.entries(info).filter(([, value]) => value !== '' && value !== false && value !== 0));
}

describeLab('a Proxmox VE host with real QEMU processes', ['pve'], () => {
  let lab: PveLab;
  let vm100: CagedProcess;
  let vm101: CagedProcess;
  const images: Record<string, string> = {};

  before(async () => {
    lab = await PveLab.open();
    images.base = lab.makeImage(100, 'snap1-vm-100-disk-0.qcow2', 'qcow2', '64M');
    images.scsi0 = lab.makeImage(100, 'vm-100-disk-0.qcow2', 'qcow2', '64M', images.base);
    images.firmware = lab.makeImage(100, 'OVMF_CODE_4M.fd', 'raw', '1M');
    images.efidisk0 = lab.makeImage(100, 'vm-100-disk-1.raw', 'raw', '4M');
    images.virtio1 = lab.makeImage(101, 'vm-101-disk-0.raw', 'raw', '10M');
    images.fleecing = lab.makeImage(101, 'vm-101-disk-1.qcow2', 'qcow2', '4M');
    // As Proxmox VE 9 writes it for machine 10.0 and later, with memory hotplug.
    vm100 = await lab.start(100, [
      ...[
        '-object',
        '{"id":"throttle-drive-scsi0","limits":{},"qom-type":"throttle-group"}',
        '-smp',
        '2,sockets=1,cores=2,maxcpus=2',
      ],
      ...['-device', 'ide-cd,bus=ide.1,unit=0,id=ide2', '-device', 'virtio-scsi-pci,id=scsihw0'],
      ...['-blockdev', blockdev(images.scsi0, images.base)],
      ...[
        '-device',
        'scsi-hd,bus=scsihw0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,device_id=drive-scsi0',
      ],
      ...['-object', '{"id":"throttle-drive-efidisk0","limits":{},"qom-type":"throttle-group"}'],
      ...['-blockdev', firmware(images.firmware), '-blockdev', efiDisk(images.efidisk0)],
      ...['-machine', 'pflash0=pflash0,pflash1=drive-efidisk0,type=pc+pve0'],
      ...['-netdev', 'type=tap,id=net0,ifname=tap100i0,script=no,downscript=no,queues=2'],
      ...['-device', 'virtio-net-pci,mac=A2:C0:43:77:08:A0,netdev=net0,id=net0,mq=on,vectors=6'],
      ...['-netdev', 'type=user,id=net1,hostname=x', '-device', 'e1000,mac=A2:C0:43:77:08:A1,netdev=net1,id=net1'],
      ...['-device', 'virtio-balloon-pci,id=balloon0'],
    ]);
    // As 7 and 8 write it.
    vm101 = await lab.start(101, [
      ...['-smp', '1,sockets=1,cores=1,maxcpus=1'],
      ...['-drive', `file=${images.virtio1},if=none,id=drive-virtio1,format=raw,cache=writethrough,detect-zeroes=on`],
      ...['-device', 'virtio-blk-pci,drive=drive-virtio1,id=virtio1'],
      ...['-drive', `file=${images.fleecing},if=none,id=drive-scsi0-fleecing,format=qcow2`],
      ...[
        '-drive',
        'if=none,id=drive-ide2,media=cdrom,aio=threads',
        '-device',
        'ide-cd,bus=ide.1,unit=0,drive=drive-ide2,id=ide2',
      ],
    ]);
  });

  after(() => lab[Symbol.asyncDispose]());

  function open(options: Partial<ProxmoxHostOptions> = {}): ProxmoxHost & Disposable {
    const host = new ProxmoxHost({
      clock: SYSTEM_CLOCK,
      logger: new KeptLog(),
      root: lab.tree.dir,
      withVms: true,
      withContainers: true,
      withStorage: true,
      withStatistics: true,
      withVcpus: true,
      monitor: { kind: 'qmp' },
      devicesTtlMs: 600_000,
      jitterMs: 0,
      ...options,
    });
    return Object.assign(host, { [Symbol.dispose]: () => host.close() });
  }

  const vmsOf = async (host: ProxmoxHost) =>
    new Map((await host.collect(signal)).vms!.map((vm): [string, KvmSnapshot] => [vm.identity.vmid, vm]));

  it('says of processes what /proc says', async () => {
    using host = open();
    const vm = (await vmsOf(host)).get('100')!;
    assert.deepEqual([vm.identity.name, vm.identity.cpu, vm.identity.pid], ['vm100', 'qemu64', vm100.innerPid]);
    const read = (file: string) => readFileSync(`/proc/${vm100.pid}/${file}`, 'utf8');
    const fields = read('stat')
      .replace(/^.*\) /s, '')
      .split(' ');
    assert.equal(vm.identity.startTicks, Number(fields[22 - 3]));
    const userS = Number(fields[14 - 3]) / 100;
    assert.ok(Math.abs(Number(vm.process.userNs) / 1e9 - userS) < 0.5, `${vm.process.userNs} of ${userS} s`);
    assert.ok(Number(vm.process.userNs) > 0);
    assert.equal(vm.process.threads, readdirSync(`/proc/${vm100.pid}/task`).length);
    const rss = Number(/VmRSS:\s+(\d+)/.exec(read('status'))![1]) * 1024;
    assert.ok(Math.abs(Number(vm.process.memoryBytes.get('vmrss')) - rss) < 16 * 2 ** 20);
    assert.equal(vm.process.memoryBytes.has('rssanon'), true);
    assert.ok(vm.process.io!.readCalls > 0);
    assert.deepEqual([vm.vcores, vm.memoryBytes, vm.status], [2, 16 * 2 ** 20, 'prelaunch']);
    assert.deepEqual(
      vm.vcpus!.map(({ index }) => index),
      [0, 1],
    );
    assert.equal(vm.balloon!.actualBytes, 16 * 2 ** 20);
  });

  it('walks a disk of Proxmox VE 9 from its throttle node to its file, and reads those of 7 and 8', async () => {
    using host = open();
    const vms = await vmsOf(host);
    const found = new Map(vms.get('100')!.disks!.map((entry) => [entry.key, entry]));
    assert.deepEqual([...found.keys()].sort(), ['efidisk0', 'scsi0'], 'the CD drive is empty, the firmware is no disk');
    const efi = found.get('efidisk0')!;
    assert.deepEqual([efi.sizeBytes, efi.info.path, efi.info.type], [540672, images.efidisk0, 'raw']);
    const disk = found.get('scsi0');
    assert.deepEqual([disk!.key, disk!.sizeBytes, disk!.io!.readBytes], ['scsi0', 64 * 2 ** 20, 0]);
    assert.deepEqual(labelsOf(disk!.info), {
      path: images.scsi0,
      type: 'qcow2',
      format: 'qcow2',
      protocol: 'file',
      volume: 'vm-100-disk-0',
      attachedTo: 'scsi0',
      cacheMode: 'writeback, ignore flushes',
      detectZeroes: 'unmap',
      backingDepth: 1,
    });
    const disks = vms.get('101')!.disks!;
    assert.deepEqual(
      disks.map(({ key }) => key),
      ['virtio1'],
      'what a backup adds is no disk',
    );
    const { blockId, ...labels } = labelsOf(disks[0]!.info);
    assert.match(String(blockId), /^\d+$/);
    assert.deepEqual(labels, {
      path: images.virtio1,
      type: 'raw',
      format: 'raw',
      protocol: 'file',
      attachedTo: 'virtio1',
      cacheMode: 'writethrough',
      detectZeroes: 'on',
    });
    assert.equal(disks[0]!.sizeBytes, 10 * 2 ** 20);
  });

  it('reads the same devices over QMP and through `qm monitor`', async () => {
    using qmp = open();
    using qm = open({ monitor: { kind: 'qm', timeoutMs: 10_000, isCloseDeferred: true, command: lab.qm() } });
    const [overQmp, throughQm] = [await vmsOf(qmp), await vmsOf(qm)];
    for (const vmid of ['100', '101']) {
      const [a, b] = [overQmp.get(vmid)!, throughQm.get(vmid)!];
      assert.equal(b.isMonitorUp, true);
      // The text does not say what a disk is based on.
      const disksOf = ({ disks }: KvmSnapshot) =>
        disks!.map(({ key, info, sizeBytes }) => ({ key, sizeBytes, ...info, backingDepth: 0 }));
      assert.deepEqual(disksOf(b), disksOf(a));
      const nicsOf = ({ nics }: KvmSnapshot) => nics!.map((nic) => ({ ...nic, counters: nic.counters.size }));
      assert.deepEqual(nicsOf(b), nicsOf(a));
      assert.deepEqual([b.vcores, b.memoryBytes], [a.vcores, a.memoryBytes]);
    }
  });

  it('reads the NICs and the counters of their interfaces', async () => {
    const { cage } = lab;
    await cage.send('ip link set tap100i0 up; ip addr add 10.9.9.1/24 dev tap100i0; echo done');
    await cage.send('echo x >/dev/udp/10.9.9.2/9; echo done');
    using host = open();
    const [net0, net1] = (await vmsOf(host)).get('100')!.nics!;
    assert.deepEqual(
      [net0!.netdev, net0!.ifname, net0!.type, net0!.model, net0!.mac, net0!.queues],
      ['net0', 'tap100i0', 'tap', 'virtio-net-pci', 'a2:c0:43:77:08:a0', 2],
    );
    assert.deepEqual(
      [net1!.netdev, net1!.ifname, net1!.type, net1!.model, net1!.counters.size],
      ['net1', undefined, 'user', 'e1000', 0],
    );
    const names = (await cage.send('echo $(ls /sys/class/net/tap100i0/statistics)')).split(' ');
    assert.deepEqual([...net0!.counters.keys()], names);
    assert.ok(names.length > 20);
    const sum = [...net0!.counters.values()].reduce<number>((total, value) => total + Number(value), 0);
    assert.ok(sum > 0, 'something was sent to it');
  });

  it('leaves out a VM without a configuration on this node, and reads the arguments that only Proxmox’s QEMU has', async () => {
    using host = open();
    lab.tree.remove('etc/pve/nodes/pve1/qemu-server/101.conf');
    assert.deepEqual([...(await vmsOf(host)).keys()], ['100']);
    lab.tree.write('etc/pve/nodes/pve1/qemu-server/101.conf', '');
    assert.deepEqual([...(await vmsOf(host)).keys()], ['100', '101']);
    const cmdline = readFileSync(`/proc/${vm100.pid}/cmdline`, 'utf8').split('\0');
    assert.deepEqual([cmdline[1], cmdline[2], cmdline.includes('type=pc+pve0')], ['-id', '100', true]);
  });

  it('lets a stopped VM cost its own devices alone, leaves it alone for a while, and comes back', async () => {
    const [clock, logger] = [new LeapingClock(), new KeptLog()];
    using host = open({ clock, logger });
    await lab.cage.signal(vm100.innerPid, 'STOP');
    try {
      const vms = await vmsOf(host);
      assert.deepEqual(
        [vms.get('100')!.isMonitorUp, vms.get('100')!.disks, vms.get('100')!.vcores],
        [false, undefined, 2],
      );
      assert.equal(vms.get('101')!.isMonitorUp, true);
      await using lag = new MachineLag();
      const snapshot = await host.collect(signal);
      const limitMs = 500 + (await lag.allowanceMs());
      assert.ok(
        snapshot.collection.durationMs < limitMs,
        `it is not asked again: ${snapshot.collection.durationMs} ms`,
      );
      assert.equal(
        logger.count(/^warn the monitor of a VM does not reply vm=100 err=it did not greet within 1000 ms/),
        1,
      );
    } finally {
      await lab.cage.signal(vm100.innerPid, 'CONT');
    }
    clock.leapMs += 30_000;
    assert.equal((await vmsOf(host)).get('100')!.isMonitorUp, true);
    assert.equal(logger.count(/replies again vm=100/), 1);
  });

  it('waits for its turn where others visit, and tries a full queue again', async () => {
    const path = lab.qmpPath(101);
    // Visitors of the tests before may still be in the queue: once this one is greeted, none is.
    const first = await waitFor(
      () =>
        hold(path).catch((error: NodeJS.ErrnoException) =>
          error.code === 'EAGAIN' ? undefined : Promise.reject(error),
        ),
      () => 'the queue stays full',
    );
    await once(first, 'data');
    // The kernel lets two more wait, and refuses the next: that is us.
    const waiting = [await hold(path), await hold(path)];
    await assert.rejects(hold(path), { code: 'EAGAIN' });
    using host = open();
    const vms = vmsOf(host);
    setTimeout(() => {
      first.destroy();
      for (const socket of waiting) socket.destroy();
    }, 300);
    assert.equal((await vms).get('101')!.isMonitorUp, true);
  });

  it('never makes another visitor fail, and leaks no connection', async () => {
    const sockets = () =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
        } catch {
          return false;
        }
      }).length;
    using host = open();
    await host.collect(signal);
    const before = sockets();
    let isOver = false;
    const tookMs: number[] = [];
    const visitor = (async () => {
      while (!isOver) {
        tookMs.push(await visitAsProxmox(lab.qmpPath(100)));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    for (let round = 0; round < 40; round++) {
      const vms = await vmsOf(host);
      assert.equal(vms.get('100')!.isMonitorUp, true, `round ${round}`);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    isOver = true;
    await visitor;
    assert.ok(tookMs.length > 10, `${tookMs.length} visits`);
    assert.ok(Math.max(...tookMs) < 2_000, `the slowest took ${Math.max(...tookMs)} ms`);
    await waitFor(
      () => (sockets() <= before ? true : undefined),
      () => `${sockets()} sockets are open, and ${before} were`,
      5_000,
    );
  });

  it('leaves out a VM that dies in the middle of a collection, whole', async () => {
    const doomed = await lab.start(102, ['-smp', '1']);
    using host = open();
    assert.deepEqual([...(await vmsOf(host)).keys()], ['100', '101', '102']);
    await lab.cage.signal(doomed.innerPid, 'STOP');
    const vms = vmsOf(host);
    // It is silent, and its monitor is being waited for.
    await new Promise((resolve) => setTimeout(resolve, 100));
    await lab.cage.signal(doomed.innerPid, 'KILL');
    assert.deepEqual([...(await vms).keys()], ['100', '101']);
    assert.equal(vm101.isAlive(), true);
  });
});
