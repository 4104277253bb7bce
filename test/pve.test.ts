// `virtlens pve` as a user runs it: on a host with real QEMU processes, monitors, interfaces and a mount that hangs.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { delimiter, join } from 'node:path';
import { after, before, it } from 'node:test';
import { errorCode } from '../src/base/errno.ts';
import { Agent } from './lab/agent.ts';
import { type CagedProcess, waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { labelsOf, parseExposition, parseSeries, seriesOf } from './lab/exposition.ts';
import { promtoolCheck } from './lab/prometheus.ts';
import { hold, PveLab } from './lab/pve-qemu.ts';

const throttled = (path: string) =>
  JSON.stringify({
    driver: 'throttle',
    file: {
      driver: 'qcow2',
      cache: { direct: false, 'no-flush': false },
      file: { driver: 'file', filename: path, 'node-name': 'e1' },
      'node-name': 'f1',
    },
    'detect-zeroes': 'unmap',
    discard: 'unmap',
    'node-name': 'drive-scsi0',
    'throttle-group': 'throttle-drive-scsi0',
  });

const ZPOOL = "printf 'rpool\\t1000000000000\\t250000000000\\n'";
const VGS = `echo '{"report":[{"vg":[{"vg_name":"pve","vg_size":"4000000","vg_free":"1000000"}]}]}'`;
const LVS = `echo '{"report":[{"lv":[{"vg_name":"pve","lv_name":"data","lv_size":"2000000","data_percent":"25.00"}]}]}'`;

const STORAGE_CFG = `dir: local
	path /var/lib/vz
	content iso,backup

zfspool: local-zfs
	pool rpool/data
	sparse

lvm: vg
	vgname pve

lvmthin: thin
	vgname pve
	thinpool data

nfs: away
	path /mnt/pve/away
	server 192.0.2.1

dir: other
	path /var/lib/other
	nodes pve2
	prune-backups keep-all=1
`;

describeLab('virtlens pve', ['pve', 'promtool'], () => {
  let lab: PveLab;
  let vm100: CagedProcess;
  let qcow2: string;
  let raw: string;
  let bin: string;

  before(async () => {
    lab = await PveLab.open();
    qcow2 = lab.makeImage(100, 'vm-100-disk-0.qcow2', 'qcow2', '64M');
    raw = lab.makeImage(101, 'vm-101-disk-0.raw', 'raw', '10M');
    const userNic = (index: number) => [
      ...['-netdev', `type=user,id=net${index},hostname=x`],
      ...['-device', `e1000,mac=A2:C0:43:77:08:A${index},netdev=net${index},id=net${index}`],
    ];
    vm100 = await lab.start(100, [
      ...['-object', '{"id":"throttle-drive-scsi0","limits":{},"qom-type":"throttle-group"}'],
      ...['-smp', '2,sockets=1,cores=2,maxcpus=2', '-device', 'virtio-scsi-pci,id=scsihw0'],
      ...['-blockdev', throttled(qcow2)],
      ...['-device', 'scsi-hd,bus=scsihw0.0,drive=drive-scsi0,id=scsi0,device_id=drive-scsi0'],
      ...['-netdev', 'type=tap,id=net0,ifname=tap100i0,script=no,downscript=no,queues=2'],
      ...['-device', 'virtio-net-pci,mac=A2:C0:43:77:08:A0,netdev=net0,id=net0,mq=on,vectors=6'],
      ...userNic(1),
      ...userNic(2),
      ...['-device', 'virtio-balloon-pci,id=balloon0'],
    ]);
    await lab.start(101, [
      ...['-smp', '1,sockets=1,cores=1,maxcpus=1'],
      ...['-drive', `file=${raw},if=none,id=drive-virtio1,format=raw,cache=writethrough,readonly=on`],
      ...['-device', 'virtio-blk-pci,drive=drive-virtio1,id=virtio1'],
    ]);
    await lab.cage.send('ip link set tap100i0 up; ip addr add 10.9.9.1/24 dev tap100i0; echo done');
    await lab.cage.send('echo x >/dev/udp/10.9.9.2/9; echo done');
    lab.tree.write('etc/pve/user.cfg', 'pool:prod/web::100:local:\n');
    lab.tree.write('etc/pve/storage.cfg', STORAGE_CFG);
    bin = join(lab.cage.dir, 'bin');
    mkdirSync(bin);
    for (const [name, script] of [
      ['zpool', ZPOOL],
      ['vgs', VGS],
      ['lvs', LVS],
      ['qm', `exec ${lab.qm().join(' ')} "$@"`],
    ] as const) {
      writeProgram(name, script);
    }
  });

  after(() => lab[Symbol.asyncDispose]());

  function writeProgram(name: string, script: string): void {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(bin, name), 0o755);
  }

  const start = (...flags: string[]) =>
    Agent.start(['pve', `--root=${lab.tree.dir}`, ...flags], {
      env: { PATH: [bin, process.env.PATH].join(delimiter) },
    });

  const seriesNow = async (agent: Agent) => parseSeries(await agent.metrics());

  /** The samples of one family, by their labels. */
  function samplesOf(series: ReadonlyMap<string, string>, family: string): [Record<string, string>, string][] {
    return [...series].flatMap(([name, value]) => (name.startsWith(`${family}[`) ? [[labelsOf(name), value]] : []));
  }

  it('serves every metric of the original, with the values that /proc, /sys and the monitor give by hand', async () => {
    await using agent = await start();
    const proc = (file: string) => readFileSync(`/proc/${vm100.pid}/${file}`, 'utf8');
    const readByHand = () => {
      const ticks = proc('stat')
        .replace(/^.*\) /s, '')
        .split(' ');
      const statusOf = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(proc('status'))![1]);
      const ioOf = (key: string) => Number(new RegExp(`^${key}: (\\d+)`, 'm').exec(proc('io'))![1]);
      const memory = [...proc('status').matchAll(/^((?:Vm|Rss|Hugetlb)\w+):\s+(\d+) kB/gm)];
      const total = Number(/MemTotal:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))![1]);
      const [id, one] = [
        { id: '100' },
        (name: string, value: number) => [seriesOf(name, { id: '100' }), value] as const,
      ];
      return new Map([
        ...(['user', 'system', 'iowait'] as const).map(
          (mode) =>
            [
              seriesOf('pve_kvm_cpu_seconds_total', { ...id, mode }),
              Number(ticks[{ user: 11, system: 12, iowait: 39 }[mode]]) / 100,
            ] as const,
        ),
        one('pve_kvm_memory_percent', (statusOf('VmRSS') / total) * 100),
        ...memory.map(
          ([, key, kB]) =>
            [seriesOf('pve_kvm_memory_extended', { ...id, type: key!.toLowerCase() }), Number(kB) * 1024] as const,
        ),
        one('pve_kvm_threads', statusOf('Threads')),
        [seriesOf('pve_kvm_ctx_switches_total', { ...id, type: 'voluntary' }), statusOf('voluntary_ctxt_switches')],
        [
          seriesOf('pve_kvm_ctx_switches_total', { ...id, type: 'involuntary' }),
          statusOf('nonvoluntary_ctxt_switches'),
        ],
        one('pve_kvm_io_read_count_total', ioOf('syscr')),
        one('pve_kvm_io_read_bytes_total', ioOf('read_bytes')),
        one('pve_kvm_io_read_chars_total', ioOf('rchar')),
        one('pve_kvm_io_write_count_total', ioOf('syscw')),
        one('pve_kvm_io_write_bytes_total', ioOf('write_bytes')),
        one('pve_kvm_io_write_chars_total', ioOf('wchar')),
      ]);
    };
    await agent.metrics();
    const [low, series, high] = [readByHand(), await seriesNow(agent), readByHand()];
    for (const [name, least] of low) {
      const value = Number(series.get(name));
      const [from, to] = [Math.min(least, high.get(name)!), Math.max(least, high.get(name)!)];
      assert.ok(value >= from - 1e-9 && value <= to + 1e-9, `${name}: ${value} is not from ${from} to ${to}`);
    }
    const own = (family: string) => samplesOf(series, family).filter(([labels]) => labels.id === '100');
    assert.deepEqual(own('pve_kvm_info'), [
      [
        {
          id: '100',
          name: 'vm100',
          cpu: 'qemu64',
          pid: String(vm100.innerPid),
          pool: 'prod/web',
          pool_levels: '2',
          pool1: 'prod',
          pool2: 'web',
          pool3: '',
        },
        '1',
      ],
    ]);
    assert.deepEqual(own('pve_kvm_vcores'), [[{ id: '100' }, '2']]);
    assert.deepEqual(own('pve_kvm_maxmem_bytes'), [[{ id: '100' }, String(16 * 2 ** 20)]]);
    const tap = { id: '100', ifname: 'tap100i0' };
    assert.deepEqual(own('pve_kvm_nic_info'), [
      [
        { ...tap, netdev: 'net0', queues: '2', type: 'tap', model: 'virtio-net-pci', macaddr: 'a2:c0:43:77:08:a0' },
        '1',
      ],
      ...[1, 2].map((index) => [
        {
          id: '100',
          ifname: '',
          netdev: `net${index}`,
          queues: '1',
          type: 'user',
          model: 'e1000',
          macaddr: `a2:c0:43:77:08:a${index}`,
        },
        '1',
      ]),
    ]);
    assert.deepEqual(own('pve_kvm_nic_queues'), [[tap, '2']]);
    const counters = (await lab.cage.send('echo $(cd /sys/class/net/tap100i0/statistics && grep -H . *)')).split(' ');
    assert.ok(counters.length > 20);
    assert.ok(
      counters.some((line) => !line.endsWith(':0')),
      'something was sent to it',
    );
    for (const line of counters) {
      const [name, value] = line.split(':');
      assert.equal(series.get(seriesOf(`pve_kvm_nic_${name}_total`, tap)), value, line);
    }
    assert.deepEqual(
      samplesOf(series, 'pve_kvm_disk_info').map(([{ block_id, ...labels }]) => labels),
      [
        {
          id: '100',
          disk_name: 'scsi0',
          disk_path: qcow2,
          disk_type: 'qcow2',
          vol_name: 'vm-100-disk-0',
          attached_to: 'scsi0',
          cache_mode: 'writeback',
          detect_zeroes: 'unmap',
          read_only: '',
        },
        {
          id: '101',
          disk_name: 'virtio1',
          disk_path: raw,
          disk_type: 'raw',
          vol_name: '',
          attached_to: 'virtio1',
          cache_mode: 'writethrough',
          detect_zeroes: '',
          read_only: 'true',
        },
      ].map((labels) => ({ ...labels, pool: '', pool_name: '', cluster_id: '', vg_name: '', device: '' })),
    );
    assert.deepEqual(samplesOf(series, 'pve_kvm_disk_size_bytes'), [
      [{ id: '100', disk_name: 'scsi0' }, String(64 * 2 ** 20)],
      [{ id: '101', disk_name: 'virtio1' }, String(10 * 2 ** 20)],
    ]);

    const info = samplesOf(series, 'pve_node_storage_info').map(([labels]) => labels);
    const keys = ['content', 'name', 'nodes', 'path', 'pool', 'prune_backups', 'server', 'sparse', 'thinpool', 'type'];
    for (const labels of info) assert.deepEqual(Object.keys(labels).sort(), [...keys, 'vgname']);
    assert.deepEqual(
      info.map(({ name, type, path, sparse }) => [name, type, path, sparse]),
      [
        ['local', 'dir', '/var/lib/vz', ''],
        ['local-zfs', 'zfspool', '', 'true'],
        ['vg', 'lvm', '', ''],
        ['thin', 'lvmthin', '', ''],
        ['away', 'nfs', '/mnt/pve/away', ''],
        ['other', 'dir', '/var/lib/other', ''],
      ],
    );
    const { blocks, bsize } = statfsSync(lab.tree.path('var/lib/vz'));
    assert.deepEqual(samplesOf(series, 'pve_node_storage_size_bytes'), [
      [{ name: 'local', type: 'dir' }, String(blocks * bsize)],
      [{ name: 'local-zfs', type: 'zfspool' }, '1000000000000'],
      [{ name: 'vg', type: 'lvm' }, '4000000'],
      [{ name: 'thin', type: 'lvmthin' }, '2000000'],
    ]);
    const free = new Map(samplesOf(series, 'pve_node_storage_free_bytes').map(([{ name }, value]) => [name, value]));
    assert.deepEqual([...free.keys()], ['local', 'local-zfs', 'vg', 'thin']);
    assert.deepEqual([free.get('local-zfs'), free.get('vg'), free.get('thin')], ['250000000000', '1000000', '1500000']);
    assert.ok(Number(free.get('local')) > 0 && Number(free.get('local')) < blocks * bsize);
    assert.ok(Number(series.get('pve_scrape_duration_seconds[]')) > 0);
    assert.equal(samplesOf(series, 'pve_exporter_build_info').length, 1);
    assert.equal(series.get(seriesOf('pve_kvm_up', { id: '101' })), '1');
    assert.equal(series.get(seriesOf('pve_node_storage_up', { name: 'away', type: 'nfs' })), '0', 'it is not mounted');
    assert.equal(series.get(seriesOf('virtlens_collector_success', { collector: 'vms' })), '1');
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });

  it('serves what is beyond the original when its switches are on, and is clean in the eyes of promtool but for given names', async () => {
    await using agent = await start('--collect-disk-io', '--collect-balloon', '--collect-status', '--collect-vcpus');
    const text = await agent.metrics();
    const series = parseSeries(text);
    assert.equal(series.get(seriesOf('pve_kvm_disk_reads_total', { id: '100', disk_name: 'scsi0' })), '0');
    assert.equal(series.get(seriesOf('pve_kvm_disk_failed_writes_total', { id: '101', disk_name: 'virtio1' })), '0');
    assert.equal(series.get(seriesOf('pve_kvm_balloon_bytes', { id: '100' })), String(16 * 2 ** 20));
    assert.equal(series.get(seriesOf('pve_kvm_status', { id: '100', status: 'prelaunch' })), '1');
    assert.equal(samplesOf(series, 'pve_kvm_vcpu_seconds_total').length, 3 * 2);
    assert.deepEqual(promtoolCheck(text), []);
    const open = await agent.metrics({ accept: 'application/openmetrics-text' });
    assert.deepEqual([...parseSeries(open).keys()].sort(), [...series.keys()].sort());
  });

  it('has no families of what is switched off, and other names with another prefix', async () => {
    await using agent = await start(
      '-collect-running-vms=false',
      '--collect-up=false',
      '--collect-containers=false',
      '--metrics-prefix',
      'node',
    );
    const names = (text: string) =>
      [...parseExposition(text).keys()].filter((name) => !/^(virtlens|process)_/.test(name));
    assert.deepEqual(names(await agent.metrics()), [
      'node_node_storage_info',
      'node_node_storage_size_bytes',
      'node_node_storage_free_bytes',
      'node_scrape_duration_seconds',
      'node_exporter_build_info',
    ]);
    await using other = await start('--collect-storage=f', '--collect-up=0');
    assert.deepEqual(
      names(await other.metrics()).filter((name) => !name.startsWith('pve_kvm_')),
      ['pve_scrape_duration_seconds', 'pve_exporter_build_info'],
    );
  });

  it('asks through qm monitor when it is told to, and keeps what that said', async () => {
    const counted = join(lab.cage.dir, 'counted');
    writeFileSync(counted, '');
    writeProgram('qm', `echo "$@" >>${counted}\nexec ${lab.qm().join(' ')} "$@"`);
    const calls = () => readFileSync(counted, 'utf8').split('\n').length - 1;
    const devices = (series: ReadonlyMap<string, string>) =>
      ['pve_kvm_nic_info', 'pve_kvm_disk_info', 'pve_kvm_disk_size_bytes'].map((name) => samplesOf(series, name));
    await using qmp = await start();
    await using qm = await start('--monitor=qm');
    const overQmp = devices(await seriesNow(qmp));
    assert.deepEqual(devices(await seriesNow(qm)), overQmp);
    assert.equal(calls(), 2, readFileSync(counted, 'utf8'));
    assert.deepEqual(devices(await seriesNow(qm)), overQmp);
    assert.equal(calls(), 2, 'the devices are known');
    await using forgetful = await start('--monitor=qm', '--qm-max-ttl=0s', '--qm-rand=0s');
    await forgetful.metrics();
    await forgetful.metrics();
    assert.equal(calls(), 6);
  });

  it('gives up a qm monitor that is silent, and ends it at once when that is wanted', async () => {
    const pids = join(lab.cage.dir, 'pids');
    writeFileSync(pids, '');
    writeProgram('qm', `echo $$ >>${pids}\nexec sleep 600`);
    try {
      await using agent = await start('--monitor=qm', '--qm-terminal-timeout=200ms', '--qm-monitor-defer-close=false');
      const series = await seriesNow(agent);
      assert.deepEqual(samplesOf(series, 'pve_kvm_nic_info'), []);
      assert.equal(series.get(seriesOf('pve_kvm_up', { id: '100' })), '0');
      assert.equal(series.get(seriesOf('pve_kvm_vcores', { id: '100' })), '2');
      assert.match(agent.log, /the monitor of a VM does not reply.*showed no prompt within 200 ms/);
      assert.deepEqual(running(pids), []);
      await using patient = await start('--monitor=qm', '--qm-terminal-timeout', '200ms');
      await patient.metrics();
      assert.equal(running(pids).length, 2, 'they are left to themselves for a while');
      await patient.stop();
      await waitFor(
        () => (running(pids).length === 0 ? true : undefined),
        () => 'a qm monitor was left behind',
        5_000,
      );
    } finally {
      writeProgram('qm', `exec ${lab.qm().join(' ')} "$@"`);
    }
  });

  /** The processes of a list that run. */
  function running(list: string): string[] {
    return readFileSync(list, 'utf8')
      .split('\n')
      .filter((pid) => {
        if (pid === '') return false;
        try {
          return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
        } catch {
          return false;
        }
      });
  }

  it('loses the metrics of a stopped VM’s devices alone', async () => {
    await using agent = await start('--collect-disk-io');
    await lab.cage.signal(vm100.innerPid, 'STOP');
    try {
      const series = await seriesNow(agent);
      for (const family of ['pve_kvm_nic_info', 'pve_kvm_disk_info', 'pve_kvm_disk_reads_total']) {
        assert.deepEqual(
          samplesOf(series, family).filter(([{ id }]) => id === '100'),
          [],
          family,
        );
      }
      assert.equal(samplesOf(series, 'pve_kvm_disk_info').length, 1);
      assert.equal(series.get(seriesOf('pve_kvm_up', { id: '100' })), '0');
      assert.equal(series.get(seriesOf('pve_kvm_up', { id: '101' })), '1');
      assert.equal(series.get(seriesOf('pve_kvm_vcores', { id: '100' })), '2');
      assert.equal(samplesOf(series, 'pve_node_storage_size_bytes').length, 4);
    } finally {
      await lab.cage.signal(vm100.innerPid, 'CONT');
    }
  });

  it('loses the metrics of a VM’s devices alone while others keep its monitor busy', async () => {
    await using agent = await start();
    const sockets: Socket[] = [];
    try {
      for (let index = 0; index < 3; index++) {
        // One more than the queue holds is refused: it is full then, as it should be.
        const socket = await hold(lab.qmpPath(101)).catch((error: unknown) => {
          if (errorCode(error) === 'EAGAIN') return undefined;
          throw error;
        });
        if (socket !== undefined) sockets.push(socket);
      }
      const startMs = performance.now();
      const series = await seriesNow(agent);
      assert.ok(performance.now() - startMs < 5_000);
      assert.equal(series.get(seriesOf('pve_kvm_up', { id: '101' })), '0');
      assert.deepEqual(
        samplesOf(series, 'pve_kvm_disk_info').map(([{ id }]) => id),
        ['100'],
      );
      assert.equal(samplesOf(series, 'pve_kvm_threads').length, 2);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  it('loses the size of a storage alone whose mount hangs, scrape after scrape, and ends when it is told to', async () => {
    const init = lab.cage.outerPid(1);
    // A file system in user space that nobody serves: statfs(2) waits for ever.
    const mounted = await lab.cage.send(
      'mkdir -p $CAGE/hung && exec 9<>/dev/fuse && mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 none $CAGE/hung && echo mounted',
    );
    assert.equal(mounted, 'mounted');
    lab.tree.link('mnt/hung', `/proc/${init}/root${lab.cage.dir}/hung`);
    lab.tree.write('etc/pve/storage.cfg', `dir: hung\n\tpath /mnt/hung\n\n${STORAGE_CFG}`);
    try {
      await using agent = await start();
      for (let scrape = 0; scrape < 5; scrape++) {
        const startMs = performance.now();
        const series = await seriesNow(agent);
        const tookMs = performance.now() - startMs;
        assert.ok(tookMs < (scrape === 0 ? 4_000 : 1_000), `scrape ${scrape} took ${tookMs} ms`);
        assert.equal(series.get(seriesOf('pve_node_storage_up', { name: 'hung', type: 'dir' })), '0');
        assert.equal(samplesOf(series, 'pve_node_storage_size_bytes').length, 4);
        assert.equal(samplesOf(series, 'pve_kvm_disk_info').length, 2);
      }
      assert.equal(agent.logLines(/the size of a storage cannot be read.*storage=hung/).length, 1);
      agent.child.kill('SIGTERM');
      await waitFor(
        () => (agent.hasEnded ? true : undefined),
        () => 'it does not end',
        10_000,
      );
      assert.deepEqual(await agent.ended, { code: 0, signal: null });
    } finally {
      lab.tree.write('etc/pve/storage.cfg', STORAGE_CFG);
      await lab.cage.send('exec 9>&-; umount -l $CAGE/hung; echo done');
    }
  });

  it('has a page with links at /, and no page elsewhere', async () => {
    await using agent = await start();
    const landing = await fetch(`${agent.url}/`);
    assert.match(await landing.text(), /<a href="\/metrics">/);
    assert.equal((await fetch(`${agent.url}/metric`)).status, 404);
    for (const path of ['/-/healthy', '/-/ready']) assert.equal((await fetch(agent.url + path)).status, 200);
  });
});
