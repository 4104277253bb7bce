import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { AgentProcess } from '../../../test/lab/agent.ts';
import { TestMachine } from '../../../test/support/test-machine.ts';
import { FlagError } from '../../cli/flags.ts';
import type { VmEvent } from '../../model/vm-event.ts';
import { createSimulator } from '../../sim/index.ts';
import { readEventsConfig } from './config.ts';
import { renderEvent } from './event-lines.ts';
import { EVENTS } from './events.ts';

const dir = mkdtempSync(join(tmpdir(), 'virtlens-events-command-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const BASE = {
  id: 'abc-7',
  sequence: 7,
  timeMs: Date.UTC(2026, 0, 31, 8, 15, 0, 123),
  domain: { name: 'web-1', uuid: '00000000-0000-4000-8000-000000000001', id: 3 },
  isRecovered: false,
};

describe('a line', () => {
  it('has the time, the kind, the VM and what happened', () => {
    const events: VmEvent[] = [
      { ...BASE, kind: 'lifecycle', event: 'stopped', detail: 'crashed', isRecovered: true },
      { ...BASE, kind: 'reboot' },
      { ...BASE, kind: 'io-error', device: 'virtio-disk0', path: '/a b', action: 'pause', reason: '' },
      { ...BASE, kind: 'job-completed', operation: undefined },
    ];
    assert.deepEqual(
      events.map((event) => renderEvent(event, 'text')),
      [
        '2026-01-31 08:15:00.123Z  lifecycle       web-1  stopped crashed  (recovered)',
        '2026-01-31 08:15:00.123Z  reboot          web-1',
        '2026-01-31 08:15:00.123Z  io-error        web-1  device=virtio-disk0 action=pause path="/a b"',
        '2026-01-31 08:15:00.123Z  job-completed   web-1',
      ],
    );
  });

  it('of JSON has the members that are documented', () => {
    const event: VmEvent = {
      ...BASE,
      domain: { ...BASE.domain, id: undefined },
      kind: 'memory-failure',
      recipient: 'guest',
      action: 'inject',
      isActionRequired: true,
      isRecursive: false,
    };
    assert.deepEqual(JSON.parse(renderEvent(event, 'json')), {
      id: 'abc-7',
      sequence: 7,
      time: '2026-01-31T08:15:00.123Z',
      kind: 'memory-failure',
      vm: { name: 'web-1', uuid: BASE.domain.uuid, id: null },
      recovered: false,
      recipient: 'guest',
      action: 'inject',
      actionRequired: true,
      recursive: false,
    });
  });

  it('holds nothing that a terminal follows, and is one line, whatever a VM is called', () => {
    const name = 'a\u001b[2J\n\u009b31m\u202e"\\ ü';
    const event: VmEvent = {
      ...BASE,
      domain: { ...BASE.domain, name },
      kind: 'block-job',
      disk: '\u001b',
      type: '\n',
      status: 'x',
    };
    for (const format of ['text', 'json'] as const) {
      const line = renderEvent(event, format);
      assert.doesNotMatch(line, /[\p{C}\p{Zl}\p{Zp}]/u);
      if (format === 'json') assert.equal(JSON.parse(line).vm.name, name);
    }
  });
});

describe('the flags', () => {
  const isWanted = (args: string[], event: VmEvent) => readEventsConfig(args, {}).isWanted(event);

  it('choose events by kind and VM, by whole names and UUIDs', () => {
    const event: VmEvent = { ...BASE, kind: 'reboot' };
    for (const [args, expected] of [
      [[], true],
      [['--kind=reboot'], true],
      [['--kind=lifecycle,reboot'], true],
      [['--kind=lifecycle', '--kind=watchdog'], false],
      [['--vm=web'], false],
      [['--vm=web-.*'], true],
      [['--vm=db', '--vm=web-1'], true],
      [[`--vm=${BASE.domain.uuid}`], true],
      [['--kind=lifecycle', '--vm=web-1'], false],
    ] as const) {
      assert.equal(isWanted([...args], event), expected, args.join(' '));
    }
  });

  it('that are wrong are named with the rule', () => {
    for (const [arg, message] of [
      ['--kind=stopped', /--kind cannot be "stopped": it must be one of lifecycle, reboot/],
      ['--vm=(', /--vm cannot be "\(": it is no regular expression/],
      ['--count=0', /--count cannot be "0"/],
      ['--timeout=never', /--timeout cannot be "never"/],
    ] as const) {
      assert.throws(
        () => readEventsConfig([arg], {}),
        (error) => error instanceof FlagError && message.test(error.message),
      );
    }
  });
});

describe('virtlens events', () => {
  it('prints what happens until the count is full', async () => {
    const simulator = createSimulator({ vms: [{ name: 'a' }, { name: 'b', persistent: true }] });
    const path = join(dir, 'sim.sock');
    const listening = await simulator.listen({ path });
    const machine = new TestMachine();
    const uri = `--libvirt.uri=test+unix:///default?socket=${path}`;
    const done = EVENTS.run([uri, '--count=2', '--vm=b', '--log.level=debug'], machine);
    await machine.stderr.until(/following/);
    simulator.hypervisor.reboot('a');
    simulator.hypervisor.crash('b');
    simulator.hypervisor.start('b');
    assert.equal(await done, 0);
    const lines = machine.stdout.text
      .trimEnd()
      .split('\n')
      .map((line) => line.slice(26));
    assert.deepEqual(lines, ['lifecycle       b  stopped failed', 'lifecycle       b  resumed unpaused']);
    await listening.close();
    await simulator.close();
  });

  it('ends after its time, and at SIGINT, with 0', async () => {
    assert.equal(await EVENTS.run(['--libvirt.uri=test:///default', '--timeout=50ms'], new TestMachine()), 0);
    const machine = new TestMachine();
    const done = EVENTS.run(['--libvirt.uri=test:///default'], machine);
    await machine.stderr.until(/connected/);
    assert.equal(machine.signal('SIGINT'), true);
    assert.equal(await done, 0);
  });

  it('that can never work says why in one line and ends with 1', async () => {
    for (const [args, message] of [
      [['--libvirt.uri=test:///nowhere'], /^virtlens: there is no simulated host '\/nowhere'/m],
      [
        ['--libvirt.uri=test:///default', '--state.dir=/etc/hostname'],
        /^virtlens: --state.dir "\/etc\/hostname" cannot be used: .*\n$/,
      ],
    ] as const) {
      const machine = new TestMachine();
      assert.equal(await EVENTS.run(args, machine), 1);
      assert.match(machine.stderr.text, message);
    }
  });

  it('whose reader goes away ends without an error', async () => {
    const simulator = createSimulator({ vms: [{ name: 'a' }] });
    const path = join(dir, 'pipe.sock');
    const listening = await simulator.listen({ path });
    await using printer = new AgentProcess([
      'events',
      `--libvirt.uri=test+unix:///default?socket=${path}`,
      '--log.level=debug',
    ]);
    await printer.waitForLog(/following/);
    printer.child.stdout!.destroy();
    simulator.hypervisor.reboot('a');
    assert.deepEqual(await printer.ended, { code: 0, signal: null });
    assert.doesNotMatch(printer.log, /level=(WARN|ERROR)|^\s+at /m);
    await listening.close();
    await simulator.close();
  });
});
