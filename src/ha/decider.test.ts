import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { EventMaker, type Happening } from '../../test/support/vm-events.ts';
import type { LifecycleName } from '../model/vm-event.ts';
import { Decider, type Decision, NO_STATE } from './decider.ts';
import { DEFAULT_POLICY, type LogEvidence, type Policy, RULE_NAMES, type RuleName } from './policy.ts';

const stopped = (detail: string): Happening => ({ kind: 'lifecycle', event: 'stopped', detail });
const lifecycle = (event: LifecycleName, detail: string): Happening => ({ kind: 'lifecycle', event, detail });
const PANIC = lifecycle('crashed', 'panicked');
const REBOOT: Happening = { kind: 'reboot' };
const IO_ERROR: Happening = {
  kind: 'io-error',
  device: 'virtio-disk0',
  path: '/vm.img',
  action: 'report',
  reason: 'enospc',
};
const WATCHDOG: Happening = { kind: 'watchdog', action: 'reset' };

function policyWith(actions: Partial<Policy['actions']>, ioError = DEFAULT_POLICY.ioError): Policy {
  return { actions: { ...DEFAULT_POLICY.actions, ...actions }, ioError };
}

/** One decider and what happens on its host. */
class Host {
  readonly events = new EventMaker();
  decider: Decider;
  readonly #policy: Policy;

  constructor(policy: Policy = DEFAULT_POLICY) {
    this.#policy = policy;
    this.decider = new Decider(policy, NO_STATE);
  }

  happen(happening: Happening, { vm = 'web-1', afterMs = 1_000, log }: HappenOptions = {}): Decision {
    return this.decider.decide(this.events.make(happening, vm, afterMs), log);
  }

  /** As after a restart of the agent: only what is stored is known. */
  restart(): void {
    this.decider = new Decider(this.#policy, JSON.parse(JSON.stringify(this.decider.state)));
  }
}

interface HappenOptions {
  readonly vm?: string;
  readonly afterMs?: number;
  readonly log?: LogEvidence;
}

const outcome = (decision: Decision) => `${decision.kind} ${decision.rule ?? '-'}`;

it('decides about every lifecycle event of libvirt by the table', () => {
  const table: readonly (readonly [LifecycleName, readonly string[], string])[] = [
    ['stopped', ['failed'], 'evict stopped-failed'],
    ['stopped', ['crashed'], 'evict stopped-crashed'],
    ['crashed', ['panicked', 'crashloaded', 'unknown'], 'evict panic'],
    ['stopped', ['shutdown'], 'ignored shutdown'],
    ['stopped', ['destroyed'], 'ignored destroyed'],
    ['stopped', ['migrated'], 'ignored migrated'],
    ['stopped', ['saved'], 'ignored saved'],
    ['stopped', ['snapshot', 'from-snapshot'], 'ignored snapshot'],
    ['stopped', ['unknown', 'recreated', 'detail-42', 'toString'], 'logged stopped-unknown'],
    ['defined', ['added', 'updated', 'renamed', 'from-snapshot'], 'ignored -'],
    ['undefined', ['removed', 'renamed'], 'ignored -'],
    ['started', ['booted', 'migrated', 'restored', 'from-snapshot', 'wakeup', 'recreated'], 'ignored -'],
    [
      'suspended',
      ['paused', 'migrated', 'i/o-error', 'watchdog', 'restored', 'from-snapshot', 'api-error'],
      'ignored -',
    ],
    ['resumed', ['unpaused', 'migrated', 'from-snapshot', 'post-copy'], 'ignored -'],
    ['shutdown', ['finished', 'guest', 'host'], 'ignored -'],
    ['pmsuspended', ['memory', 'disk'], 'ignored -'],
  ];
  for (const [event, details, expected] of table) {
    for (const detail of details)
      assert.equal(outcome(new Host().happen(lifecycle(event, detail))), expected, `${event}/${detail}`);
  }
});

it('decides about every other kind by the table', () => {
  const table: readonly (readonly [Happening, string])[] = [
    [WATCHDOG, 'evict watchdog'],
    [IO_ERROR, 'logged io-error'],
    [REBOOT, 'condition reboot'],
    [{ kind: 'control-error' }, 'logged control-error'],
    [
      { kind: 'memory-failure', recipient: 'guest', action: 'inject', isActionRequired: true, isRecursive: false },
      'logged memory-failure',
    ],
    [{ kind: 'agent', state: 'disconnected', reason: 'channel-event' }, 'ignored agent'],
    [{ kind: 'block-job', disk: 'vda', type: 'pull', status: 'completed' }, 'ignored -'],
    [{ kind: 'job-completed', operation: 'save' }, 'ignored -'],
  ];
  for (const [happening, expected] of table) assert.equal(outcome(new Host().happen(happening)), expected);
});

it('follows each rule as it is set', () => {
  const happenings: Partial<Record<RuleName, readonly Happening[]>> = {
    'stopped-failed': [stopped('failed')],
    'stopped-crashed': [stopped('crashed')],
    panic: [PANIC],
    watchdog: [WATCHDOG],
    reboot: [REBOOT],
    'control-error': [{ kind: 'control-error' }],
    'stopped-unknown': [stopped('unknown')],
    'dump-crash': [lifecycle('suspended', 'paused'), stopped('crashed')],
    shutdown: [stopped('shutdown')],
    destroyed: [stopped('destroyed')],
    migrated: [stopped('migrated')],
    saved: [stopped('saved')],
    snapshot: [stopped('snapshot')],
  };
  const kinds = { ignore: 'ignored', log: 'logged', evict: 'evict' } as const;
  for (const rule of RULE_NAMES) {
    for (const action of ['ignore', 'log', 'evict'] as const) {
      const host = new Host(policyWith({ [rule]: action }));
      const decisions = (happenings[rule] ?? []).map((happening) => host.happen(happening));
      if (decisions.length > 0) assert.equal(outcome(decisions.at(-1)!), `${kinds[action]} ${rule}`);
    }
  }
});

it('takes a failed incoming migration for no crash: by the events, and by the log', () => {
  const arriving = new Host();
  arriving.happen(lifecycle('started', 'migrated'));
  arriving.restart();
  assert.equal(outcome(arriving.happen(stopped('failed'))), 'logged failed-start');
  const log: LogEvidence = { isIncoming: true, shutdownReason: 'failed', lines: [] };
  assert.equal(outcome(new Host().happen(stopped('failed'), { log })), 'logged failed-start');
  const refused: LogEvidence = {
    isIncoming: true,
    shutdownReason: 'crashed',
    lines: ['qemu-system-x86_64: load of migration failed: Invalid argument'],
  };
  assert.equal(outcome(new Host().happen(stopped('failed'), { log: refused })), 'logged failed-start');
  for (const after of [lifecycle('resumed', 'migrated'), lifecycle('suspended', 'paused')]) {
    const arrived = new Host();
    arrived.happen(lifecycle('started', 'migrated'));
    arrived.happen(after);
    const crashed: LogEvidence = { isIncoming: true, shutdownReason: 'crashed', lines: [] };
    assert.equal(outcome(arrived.happen(stopped('failed'), { log: crashed })), 'evict stopped-failed');
  }
});

it("believes QEMU's log about a transient VM that is gone after a gap", () => {
  const log = { isIncoming: false, lines: [] };
  assert.equal(
    outcome(new Host().happen(stopped('unknown'), { log: { ...log, shutdownReason: 'crashed' } })),
    'evict stopped-failed',
  );
  assert.equal(
    outcome(new Host().happen(stopped('unknown'), { log: { ...log, shutdownReason: 'destroyed' } })),
    'logged stopped-unknown',
  );
});

it('takes a panic and the stop that follows for one incident, however late the stop comes and whatever is set for stops', () => {
  for (const afterMs of [5, 3_600_000]) {
    const host = new Host(policyWith({ 'stopped-crashed': 'log' }));
    assert.deepEqual(host.happen(PANIC), { kind: 'evict', rule: 'panic', incidentId: 'event-1' });
    host.restart();
    assert.deepEqual(host.happen(stopped('crashed'), { afterMs }), {
      kind: 'evict',
      rule: 'panic',
      incidentId: 'event-1',
    });
    host.happen(lifecycle('started', 'booted'));
    assert.equal(outcome(host.happen(stopped('crashed'), { afterMs: 3_600_000 })), 'logged stopped-crashed');
  }
  const ignored = new Host(policyWith({ panic: 'ignore' }));
  ignored.happen(PANIC);
  assert.equal(outcome(ignored.happen(stopped('crashed'))), 'ignored panic');
});

it('takes a crash of a VM that is paused for virsh dump --crash, since a guest that does not run cannot crash', () => {
  const host = new Host();
  host.happen(lifecycle('suspended', 'paused'));
  host.restart();
  assert.equal(outcome(host.happen(stopped('crashed'), { afterMs: 600_000 })), 'logged dump-crash');
  host.happen(lifecycle('suspended', 'paused'));
  host.happen(lifecycle('resumed', 'unpaused'));
  assert.equal(outcome(host.happen(stopped('crashed'))), 'evict stopped-crashed');
  host.happen(lifecycle('suspended', 'paused'));
  assert.equal(outcome(host.happen(stopped('crashed'), { vm: 'other' })), 'evict stopped-crashed');
  host.happen(PANIC);
  host.happen(lifecycle('suspended', 'paused'));
  assert.equal(outcome(host.happen(stopped('crashed'))), 'evict panic');
  host.happen(lifecycle('suspended', 'paused'));
  assert.equal(outcome(host.happen(stopped('failed'))), 'evict stopped-failed', 'QEMU can end at any time');
});

it('evicts for as many I/O errors of one VM as are set, within the window', () => {
  const host = new Host(policyWith({}, { count: 3, windowMs: 10_000 }));
  const kinds = (...afters: number[]) => afters.map((afterMs) => host.happen(IO_ERROR, { afterMs }).kind);
  assert.deepEqual(kinds(0, 4_000, 6_001, 3_000), ['logged', 'logged', 'logged', 'evict']);
  host.restart();
  assert.deepEqual(kinds(1, 1, 1), ['logged', 'logged', 'evict'], 'it counts from the beginning');
  assert.equal(host.happen(IO_ERROR, { afterMs: 1 }).kind, 'logged');
  assert.equal(host.happen(IO_ERROR, { afterMs: 1, vm: 'other' }).kind, 'logged');
  assert.equal(host.happen(IO_ERROR, { afterMs: 1 }).kind, 'logged');
  host.restart();
  assert.equal(host.happen(IO_ERROR, { afterMs: 1 }).kind, 'evict');
  const each = new Host(policyWith({}, { count: 1, windowMs: 10_000 }));
  assert.equal(each.happen(IO_ERROR).kind, 'evict');
});

it('takes the reboot events of one reset for one reboot', () => {
  const host = new Host();
  const kinds = [0, 1, 500, 3_000].map((afterMs) => host.happen(REBOOT, { afterMs }));
  assert.deepEqual(
    kinds.map(({ kind }) => kind),
    ['condition', 'repeated', 'repeated', 'condition'],
  );
  host.restart();
  const next = host.happen(REBOOT, { vm: 'other' });
  assert.ok(next.kind === 'condition');
  assert.equal(next.reboots.count, 3);
});

it('joins a burst to one incident, but not a VM that crashes again and again', () => {
  const host = new Host();
  const incidentOf = (afterMs: number, vm: string) => {
    const decision = host.happen(stopped('failed'), { afterMs, vm });
    assert.ok(decision.kind === 'evict');
    return decision.incidentId;
  };
  assert.equal(incidentOf(0, 'a'), 'event-1');
  for (let i = 0; i < 12; i++) assert.equal(incidentOf(5_000, `vm-${i}`), 'event-1');
  assert.equal(incidentOf(5_000, 'a'), 'event-14');
  host.restart();
  assert.equal(incidentOf(9_999, 'b'), 'event-14');
  assert.equal(incidentOf(10_001, 'c'), 'event-16');
  assert.equal(incidentOf(-3_600_000, 'd'), 'event-17', 'a clock that is set back begins another one');
});

it('makes few incidents of any burst, and the same ones whether the agent is restarted within it or not', () => {
  const happening = fc.constantFrom<Happening>(
    stopped('failed'),
    stopped('crashed'),
    stopped('shutdown'),
    PANIC,
    WATCHDOG,
    REBOOT,
    IO_ERROR,
    lifecycle('started', 'booted'),
    lifecycle('started', 'migrated'),
    lifecycle('resumed', 'migrated'),
  );
  const step = fc.record({
    happening,
    vm: fc.constantFrom('a', 'b', 'c'),
    afterMs: fc.integer({ min: 0, max: 9_000 }),
    isRestart: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const [host, restarted] = [new Host(), new Host()];
      const incidents = new Set<string>();
      let durationMs = 0;
      for (const { happening, vm, afterMs, isRestart } of steps) {
        if (isRestart) restarted.restart();
        durationMs += afterMs;
        const decision = host.happen(happening, { vm, afterMs });
        assert.deepEqual(restarted.happen(happening, { vm, afterMs }), decision);
        if (decision.kind === 'evict') incidents.add(decision.incidentId);
      }
      assert.ok(incidents.size <= 1 + durationMs / 10_000);
    }),
    { numRuns: 200 },
  );
});

it('forgets VMs that are gone', () => {
  const host = new Host();
  for (let i = 0; i < 3_000; i++) host.happen(lifecycle('started', 'migrated'), { vm: `vm-${i}` });
  assert.equal(host.decider.state.vms.length, 1_000);
  for (let i = 0; i < 3_000; i++) host.happen(stopped('shutdown'), { vm: `vm-${i}` });
  assert.deepEqual(host.decider.state.vms, []);
});
