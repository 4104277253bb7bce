import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { EVENT_KINDS } from '../../libvirt/wire/event-kinds.ts';
import { PARAM_TYPE } from '../../libvirt/wire/typed-params.ts';
import { createSimulator } from '../daemon/simulator.ts';
import { loadScenario, parseScenario } from './scenario.ts';
import { ScenarioError } from './scenario-field.ts';

function noFiles(path: string): never {
  throw new Error(`there is no ${path}`);
}

function parse(scenario: unknown) {
  return parseScenario(JSON.stringify(scenario), 'host.json', noFiles);
}

function refusal(scenario: unknown): string {
  try {
    parse(scenario);
  } catch (error) {
    assert.ok(error instanceof ScenarioError, String(error));
    return error.message;
  }
  return assert.fail('the scenario was to be refused');
}

const EXAMPLES = join(import.meta.dirname, '..', '..', '..', 'examples', 'scenarios');

for (const path of globSync('*.json', { cwd: EXAMPLES })) {
  test(`the example ${path} can be used`, async () => {
    const simulator = createSimulator(await loadScenario(join(EXAMPLES, path)));
    assert.ok(simulator.hypervisor.vms.size > 0);
    for (const vm of simulator.hypervisor.vms.values()) vm.template(true);
    await simulator.close();
  });
}

test('exact statistics have the types that libvirt gives them, to the ends of 64 bits', () => {
  const { vms } = parse({
    vms: [
      {
        name: 'a',
        stats: {
          'cpu.time': '18446744073709551615',
          'cpu.user': 5,
          'vcpu.current': 2,
          'vcpu.0.halted': true,
          'block.0.path': '/dev/12',
          'dirtyrate.megabytes_per_second': '-9223372036854775808',
          'perf.brand_new': 7,
          'vm.share.cur': 0.5,
          'block.0.errors': { type: 'llong', value: -1 },
        },
        move: { 'cpu.user': 2.5 },
      },
    ],
  });
  const { int: _, ...types } = PARAM_TYPE;
  assert.deepEqual(
    vms![0]!.stats!.map(({ field, type, value, ratePerSecond }) => [field, type, value, ratePerSecond]),
    [
      ['cpu.time', types.ullong, 18_446_744_073_709_551_615n, 0],
      ['cpu.user', types.ullong, 5, 2.5],
      ['vcpu.current', types.uint, 2, 0],
      ['vcpu.0.halted', types.boolean, true, 0],
      ['block.0.path', types.string, '/dev/12', 0],
      ['dirtyrate.megabytes_per_second', types.llong, -(2n ** 63n), 0],
      ['perf.brand_new', types.ullong, 7, 0],
      ['vm.share.cur', types.double, 0.5, 0],
      ['block.0.errors', types.llong, -1, 0],
    ],
  );
});

test("a VM's own XML gives its name, UUID and devices, and is served as it is", () => {
  const xml = `<domain type='xen'><name>from &lt;xml&gt;</name><uuid>6A38A719-3DE2-49AC-A773-596AFC655429</uuid>
    <memory unit='GiB'>2</memory><vcpu current='1'>4</vcpu><devices>
    <disk type='network'><source protocol='rbd' name='p/i'/><target dev='xvda' bus='xen'/></disk></devices></domain>`;
  const simulator = createSimulator(parse({ vms: [{ xml }] }));
  const vm = simulator.hypervisor.byName('from <xml>');
  assert.equal(vm.uuid, '6a38a719-3de2-49ac-a773-596afc655429');
  assert.deepEqual(
    [vm.hardware.memoryKiB, vm.hardware.vcpus, vm.hardware.maxVcpus, vm.hardware.disks[0]!.target],
    [2 * 1024 * 1024, 1, 4, 'xvda'],
  );
  assert.equal(vm.ownXml, xml);
  assert.deepEqual(vm.hardware.interfaces, []);
});

test('a script does its steps at their times, and tells of those that fail', async () => {
  const timers: Array<{ atMs: number; callback: () => void }> = [];
  let nowMs = 0;
  const clock = {
    wallMs: () => nowMs,
    monotonicMs: () => nowMs,
    schedule(delayMs: number, callback: () => void) {
      const timer = { atMs: nowMs + delayMs, callback };
      timers.push(timer);
      return () => timers.splice(timers.indexOf(timer), 1);
    },
  };
  const advanceTo = (ms: number) => {
    for (;;) {
      const next = timers.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > ms) break;
      nowMs = next.atMs;
      timers.splice(timers.indexOf(next), 1);
      next.callback();
    }
    nowMs = ms;
  };
  const problems: string[] = [];
  const scenario = parse({
    vms: [{ name: 'a' }],
    script: [
      { at: '1m30s', action: 'stop', vm: 'a' },
      { at: '1s', every: '10s', action: 'reboot', vm: 'a' },
      { at: '2s', action: 'setStats', vm: 'a', stats: { 'balloon.rss': 9, 'balloon.unused': null } },
    ],
  });
  const simulator = createSimulator({ ...scenario, clock, onScriptProblem: (problem) => problems.push(problem) });
  let reboots = 0;
  simulator.hypervisor.listen((name) => {
    if (name === 'reboot') reboots++;
  });
  const vm = simulator.hypervisor.byName('a');
  advanceTo(22_000);
  assert.equal(reboots, 3);
  assert.deepEqual([vm.statValue('balloon.rss'), vm.statValue('balloon.unused')], [9, undefined]);
  advanceTo(92_000);
  assert.equal(vm.state, 'shutoff');
  assert.deepEqual(problems, ['script[1] (reboot): Requested operation is not valid: domain is not running']);
  await simulator.close();
  assert.deepEqual(timers, []);
});

test('every event can be put into a script, with the members that the documentation gives', () => {
  const payloads: Readonly<Record<keyof typeof EVENT_KINDS, object>> = {
    lifecycle: { event: 2, detail: 0 },
    reboot: {},
    watchdog: { action: 1 },
    ioError: { path: '/p', alias: 'd', action: 2 },
    ioErrorReason: { path: '/p', alias: 'd', action: 2, reason: 'enospc' },
    controlError: {},
    blockJob: { path: '/p', type: 1, status: 0 },
    diskChange: { oldPath: '/a', newPath: '/b', alias: 'd', reason: 0 },
    trayChange: { alias: 'd', reason: 0 },
    balloonChange: { actualKiB: 1024 },
    deviceRemoved: { alias: 'd' },
    blockJobByTarget: { target: 'vda', type: 1, status: 0 },
    tunable: { params: { 'cputune.cpu_shares': 5 } },
    agentLifecycle: { state: 1, reason: 1 },
    deviceAdded: { alias: 'd' },
    migrationIteration: { iteration: 2 },
    jobCompleted: { params: { operation: 5 } },
    deviceRemovalFailed: { alias: 'd' },
    metadataChange: { type: 2, namespace: 'urn:x' },
    blockThreshold: { device: 'vda', path: '/p', threshold: 1, excess: '18446744073709551615' },
    memoryFailure: { recipient: 0, action: 1, flags: 0 },
  };
  for (const [event, payload] of Object.entries(payloads)) {
    const scenario = parse({ vms: [{ name: 'a' }], script: [{ at: '1s', action: 'emit', vm: 'a', event, payload }] });
    const simulator = createSimulator();
    simulator.hypervisor.add({ name: 'a' });
    const heard: string[] = [];
    simulator.hypervisor.listen((name) => heard.push(name));
    scenario.script![0]!.act(simulator);
    assert.deepEqual(heard, [event]);
  }
});

test('faults of messages and of the link are read as the daemon takes them', () => {
  const tamper = {
    ...{ header: { serial: 7 }, claimedItems: 9, payloadBytes: 12, lengthWord: 1, sentBytes: 2, copies: 3 },
    flips: { count: 4 },
  };
  const scenario = parse({
    faults: [{ event: 'lifecycle', tamper }],
    script: [
      { at: '1s', action: 'link', link: { blackHole: true, closeAfterBytes: 10, dripEvery: '5ms' } },
      { at: '1s', action: 'emitUnknown', count: 3 },
    ],
  });
  assert.deepEqual(scenario.faults, [{ event: 'lifecycle', tamper: { ...tamper, flips: { seed: 1, count: 4 } } }]);
  const simulator = createSimulator();
  const heard = new Set<string>();
  simulator.hypervisor.listen((_, { domain }) => heard.add(domain.uuid));
  for (const step of scenario.script!) step.act(simulator);
  assert.equal(heard.size, 3);
});

test('what is wrong is told in one line: the place, the rule and the fix', () => {
  const cases: ReadonlyArray<readonly [scenario: unknown, message: RegExp]> = [
    [[], /^host\.json: must hold an object; write \{ "vms": \[ … \] \}$/],
    [{ vm: [] }, /^host\.json: vm: unknown key; use seed, host, .* or script$/],
    [{ vms: {} }, /^host\.json: vms: must be a list, not \{\}; write \[ … \]$/],
    [{ vms: [{}] }, /^host\.json: vms\[0\]\.name: a VM must have a name; add "name"/],
    [{ vms: [{ name: '' }] }, /vms\[0\]\.name: must not be empty/],
    [{ vms: [{ name: 'a' }, { name: 'a' }] }, /vms: \[1\] has the name "a" of an earlier VM; rename it$/],
    [{ vms: [{ name: 'a', uuid: 'x' }] }, /vms\[0\]\.uuid: must be a UUID, not "x"/],
    [{ vms: [{ name: 'a', state: 'up' }] }, /vms\[0\]\.state: must be running, .* or pmsuspended, not "up"$/],
    [{ vms: [{ name: 'a', memoryKiB: 1.5 }] }, /memoryKiB: must be a whole number from 1 up, not 1\.5$/],
    [{ vms: [{ name: 'a', vcpuPins: ['1-'] }] }, /vcpuPins\[0\]: must be a list of CPUs, not "1-"; write it as 0-3,8$/],
    [{ vms: [{ name: 'a', xml: '<domain>' }] }, /vms\[0\]\.xml: XML error: .*; give a whole <domain>/],
    [{ vms: [{ name: 'a', xmlFile: 'x' }] }, /vms\[0\]\.xmlFile: cannot be read: there is no x; give a path/],
    [
      { vms: [{ name: 'a', disks: [{ target: 'vda', source: {} }] }] },
      /disks\[0\]\.source: names no source; use "file"/,
    ],
    [{ vms: [{ name: 'a', interfaces: [{ mac: '1' }] }] }, /interfaces\[0\]\.mac: must be a MAC address, not "1"/],
    [
      { vms: [{ name: 'a', stats: { 'cpu.time': -1 } }] },
      /stats\["cpu\.time"\]: must be from 0 to 18446744073709551615/,
    ],
    [
      { vms: [{ name: 'a', stats: { 'cpu.time': 2 ** 60 } }] },
      /is beyond what a JSON number holds exactly; write it as a text/,
    ],
    [{ vms: [{ name: 'a', stats: { 'vcpu.current': 2 ** 32 } }] }, /must be from 0 to 4294967295/],
    [{ vms: [{ name: 'a', stats: { foo: 1 } }] }, /stats\.foo: is no statistic; names begin with state\./],
    [
      { vms: [{ name: 'a', stats: {}, move: { 'cpu.time': 1 } }] },
      /stats: "move" names "cpu\.time", which is not there/,
    ],
    [{ vms: [{ name: 'a', move: {} }] }, /move: only exact statistics can be told to move/],
    [{ vms: [{ name: 'a', stats: { 'net.0.name': 'x' }, move: { 'net.0.name': 1 } }] }, /cannot move; drop its rate/],
    [{ fleets: [{ count: -1 }] }, /fleets\[0\]\.count: must be a whole number from 0 to 100000, not -1$/],
    [{ host: { libvirtVersion: 'new' } }, /host\.libvirtVersion: must be a version; write it as 9\.0\.0$/],
    [{ faults: [{ vm: 'a' }] }, /faults\[0\]: does nothing; add "delay"/],
    [{ faults: [{ procedure: 'fly', drop: true }] }, /faults\[0\]\.procedure: must be connectOpen, /],
    [{ script: [{ action: 'stop' }] }, /script\[0\]: has no time; add "at", such as "10s"$/],
    [
      { script: [{ at: 'soon', action: 'stop' }] },
      /script\[0\]\.at: must be a duration, not "soon"; write it as 500ms/,
    ],
    [{ script: [{ at: '1s' }] }, /script\[0\]: has no action; add "action": start, /],
    [{ script: [{ at: '1s', action: 'dance' }] }, /script\[0\]\.action: must be start, .*, not "dance"$/],
    [{ script: [{ at: '1s', action: 'stop' }] }, /script\[0\]\.vm: must be a text, not absent/],
    [{ script: [{ at: '1s', action: 'stop', vm: 'a' }] }, /script\[0\]\.vm: there is no VM "a" in this scenario/],
    [
      { vms: [{ name: 'a' }], script: [{ at: '1s', action: 'emit', vm: 'a', event: 'ioError', payload: { path: 1 } }] },
      /script\[0\]\.payload: does not fit the event 'ioError'/,
    ],
  ];
  for (const [scenario, message] of cases) {
    const said = refusal(scenario);
    assert.match(said, message);
    assert.ok(!said.includes('\n'), said);
  }
});

test('text that is no JSON is told in one line', () => {
  assert.throws(
    () => parseScenario('{"vms":\n[}', 'host.json', noFiles),
    /^ScenarioError: host\.json: is not JSON: [^\n]*; fix it there$/,
  );
});
