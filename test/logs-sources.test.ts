// Where libvirt and QEMU write when they are run in one of the two ways of docs/logs.md, by the real programs:
//
// | libvirt is run | log source | where it is | test |
// |---|---|---|---|
// | by the host | libvirtd | the journal, libvirtd.service | 'libvirtd in the journal' here; logs-journal.test.ts for what a journal goes through |
// | by the host | QEMU (per VM) | /var/log/libvirt/qemu/NAME.log | "QEMU's log" here; logs.test.ts, logs-rotation.test.ts for what such a log goes through |
// | in a container | libvirtd | standard output and error, /var/log/containers | 'libvirtd and QEMU in a container' here, as a pipe and as a file |
// | in a container | QEMU | the container's standard output | the same |
// | in a container | QEMU | a volume | the same |
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { tail, waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { type JsonRecord, waitForRecord } from './support/json-records.ts';

/** QEMU refuses it, and libvirtd logs QEMU's words. */
const WRONG =
  "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-no-such-option'/></qemu:commandline>";
const isDaemons = ({ message, ...record }: JsonRecord) =>
  record['libvirt.log.source'] === 'daemon' && /-no-such-option: invalid option/.test(String(message));
const isNamed = (name: string) => (record: JsonRecord) => record['libvirt.domain.name'] === name;
const isEnd = (name: string) => (record: JsonRecord) =>
  record['libvirt.domain.name'] === name && record['libvirt.shutdown.reason'] !== undefined;

describeLab('libvirt as a service of the host', ['libvirt', 'journald'], () => {
  let host: LibvirtHost;
  let root: string;
  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'virtlens-sources-'));
    host = await startLibvirt({ journald: true });
  });
  after(async () => {
    await host?.stop();
    rmSync(root, { recursive: true, force: true });
  });

  it("libvirtd in the journal and QEMU's log are read with --model=host, and both have their fields", async () => {
    await using agent = await Agent.start([
      ...['logs', '--model=host', `--journal.dir=${host.journalDir}`, '--journal.unit=libvirtd'],
      ...[`--qemu.log-dir=${join(host.cage.dir, 'log', 'qemu')}`, `--state.dir=${join(root, 'state')}`],
    ]);
    await assert.rejects(host.createDomain({ name: 'failing', extraXml: WRONG }));
    const error = await waitForRecord(agent, "of libvirtd's error", isDaemons);
    assert.deepEqual(
      [error['service.name'], error.severity, error['libvirt.error.domain'], error['code.function.name']],
      ['libvirtd', 'error', 10, 'qemuProcessReportLogError'],
    );
    assert.equal(error['libvirt.log.category'], 'util.error');
    assert.equal(error['process.pid'], Number(readFileSync(join(host.socketDir, 'libvirtd.pid'), 'utf8')));
    const end = await waitForRecord(agent, 'of the end', isEnd('failing'));
    assert.deepEqual([end['service.name'], end['libvirt.shutdown.reason']], ['qemu', 'failed']);
    // A restart of libvirtd is another process with another thread of entries.
    await host.restart();
    await assert.rejects(host.createDomain({ name: 'failing', extraXml: WRONG }));
    const isNew = (record: JsonRecord) => isDaemons(record) && record['process.pid'] !== error['process.pid'];
    await waitForRecord(agent, "of the next libvirtd's error", isNew);
  });
});

describeLab('libvirt in a container', ['libvirt'], () => {
  let root: string;
  let host: LibvirtHost;
  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'virtlens-sources-'));
    // As in a container without a journal: libvirtd writes to its standard error, and QEMU to the same or to files.
    host = await startLibvirt({ config: ['log_outputs = "3:stderr"'] });
  });
  after(async () => {
    await host?.stop();
    rmSync(root, { recursive: true, force: true });
  });

  it('libvirtd and QEMU in a container are read with --model=container: its output by a pipe, QEMU by a volume', async () => {
    // What the container writes, as its runtime would hand it on.
    await assert.rejects(host.createDomain({ name: 'failing', extraXml: WRONG }));
    const output = join(host.cage.dir, 'libvirtd.log');
    await waitFor(
      () => (/-no-such-option/.test(tail(output)) ? true : undefined),
      () => `libvirtd does not write: ${tail(output)}`,
    );
    const follow = ['bash', '-c', 'exec "$@" < <(exec tail --pid=$$ -n +1 -F "$0")', output];
    await using agent = await Agent.start(
      [
        ...['logs', '--model=container', `--qemu.log-dir=${join(host.cage.dir, 'log', 'qemu')}`],
        `--state.dir=${join(root, 'pipe')}`,
      ],
      { prefix: follow },
    );
    const error = await waitForRecord(agent, "of libvirtd's error", isDaemons);
    assert.deepEqual([error['service.name'], error.severity], ['libvirtd', 'error']);
    assert.equal(typeof error['thread.id'], 'number');
    await waitForRecord(agent, 'of the end', isEnd('failing'));
  });

  it("the same is read from the container runtime's file, and QEMU's log where it is redirected to the container's output", async () => {
    const output = [
      ...readFileSync(join(host.cage.dir, 'libvirtd.log'), 'utf8').split('\n'),
      ...readFileSync(host.qemuLogPath('failing'), 'utf8').split('\n'),
    ];
    // The form of containerd and CRI-O, which cut long lines.
    const file = join(root, 'libvirt-0_openstack_libvirt-0123.log');
    const cri = output.flatMap((text) => {
      const parts = text.match(/.{1,100}/g) ?? [''];
      return parts.map(
        (part, index) => `2026-11-21T12:12:40.1Z stderr ${index < parts.length - 1 ? 'P' : 'F'} ${part}\n`,
      );
    });
    writeFileSync(file, cri.join(''));
    await using agent = await Agent.start([
      ...['logs', '--source=qemu', `--qemu.log-dir=${join(root, 'none')}`, `--daemon.log-file=${file}`],
      `--state.dir=${join(root, 'file')}`,
    ]);
    await waitForRecord(agent, "of libvirtd's error", isDaemons);
    const start = await waitForRecord(agent, 'of the start', isNamed('failing'));
    assert.equal(start['libvirt.log.source'], 'qemu');
    assert.match(
      String(start.message),
      /^starting up libvirt version.*\n[\s\S]*\n-uuid [0-9a-f-]{36} \\\n[\s\S]*\n-msg timestamp=on/,
    );
    const end = await waitForRecord(agent, 'of the end', (record) => record['libvirt.shutdown.reason'] === 'failed');
    assert.equal(end.severity, 'error');
  });
});
