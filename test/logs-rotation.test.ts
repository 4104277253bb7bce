// `virtlens logs` behind a real virtlogd as every host has it: files of 2 MiB, three kept.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { busyGuest, COUNT_LINES } from './lab/busy-guest.ts';
import { tail, waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';

/** virtlogd's default (max_size in virtlogd.conf). */
const VIRTLOGD_FILE_BYTES = 2 * 1024 * 1024;
/** With these a log has more than two full files. */
const LINES = 90_000;

describeLab('Logs that a real virtlogd rotates by its defaults', ['libvirt', 'busy-guest'], () => {
  let host: LibvirtHost;
  let root: string;

  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'virtlens-rotation-'));
    host = await startLibvirt();
  });
  after(async () => {
    await host?.stop();
    rmSync(root, { recursive: true, force: true });
  });

  it('every line that a guest writes arrives once and in order, and so do its start and its end', async () => {
    const dir = join(host.cage.dir, 'log', 'qemu');
    await using agent = await Agent.start([
      ...['logs', '--source=qemu', `--qemu.log-dir=${dir}`, `--state.dir=${join(root, 'state')}`],
    ]);
    // The second serial port is QEMU's standard output, which virtlogd writes to the VM's log.
    const args = ['-chardev', 'stdio,id=talk,signal=off', '-device', 'isa-serial,chardev=talk,index=1'];
    const qemu = `<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>${args.map((arg) => `<qemu:arg value='${arg}'/>`).join('')}</qemu:commandline>`;
    const guest = busyGuest('counting');
    await host.createDomain({
      ...{ ...guest, disks: [], nics: [], extraXml: `${guest.extraXml}${qemu}` },
      boot: { ...guest.boot!, cmdline: `${guest.boot!.cmdline} ${COUNT_LINES}=${LINES}` },
    });
    const console = () => tail(host.serialLogPath('counting'), Number.POSITIVE_INFINITY);
    await waitFor(
      () => (console().includes(`counted to ${LINES}`) ? true : undefined),
      () => `the guest does not come to its end: ${console()}`,
      200_000,
    );
    await host.virsh('destroy', 'counting');
    // virtlogd may write what QEMU said last behind the end.
    await waitFor(
      () => (['reason=destroyed', `counted ${LINES} `].every((text) => agent.stdout.includes(text)) ? true : undefined),
      () => `the end does not come: ${agent.stdout.slice(-500)}`,
    );
    const page = await agent.metrics();
    await agent.stop();
    const sizes = readdirSync(dir)
      .filter((name) => /^counting\.log\.\d$/.test(name))
      .map((name) => statSync(join(dir, name)).size);
    assert.ok(sizes.length >= 2, `${sizes.length} rotations`);
    // It breaks at a newline where one is near.
    for (const size of sizes) assert.ok(size > VIRTLOGD_FILE_BYTES - 100 && size <= VIRTLOGD_FILE_BYTES, `${size}`);
    const records = agent.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const bodies: string[] = records.map(({ message }) => message);
    assert.match(bodies[0]!, /^starting up libvirt version/);
    const counted = bodies.filter((body) => body.startsWith('counted '));
    assert.deepEqual(
      counted,
      Array.from({ length: LINES }, (_, index) => `counted ${index + 1} ${PADDING.slice(0, (index + 1) % 67)}`),
    );
    assert.equal(new Set(records.map((record) => record['log.record.uid'])).size, records.length);
    assert.ok(records.every((record) => record['libvirt.domain.name'] === 'counting'));
    assert.match(page, /virtlens_logs_gaps_total\{sink="stdout"\} 0/);
  });
});

/** Of this each line of the guest has a part. */
const PADDING = '0123456789'.repeat(7);
