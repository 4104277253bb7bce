// Random sequences of everything that can happen, held against what the simulated host did.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { describeEvent, type EventAgent, EventHost } from '../../test/support/event-host.ts';
import type { DaemonEvent } from '../connection/events.ts';
import type { VmEvent } from '../model/vm-event.ts';
import { translate } from './translate.ts';

const NAMES = ['a', 'b', 'c', 'transient'];
const VM_ACTIONS = ['start', 'stop', 'crash', 'destroy', 'pause', 'resume', 'reboot', 'panic'] as const;
const WORLD_ACTIONS = ['cut', 'come back', 'come back slowly', 'kill', 'start agent', 'stop agent', 'time'] as const;

type Step =
  | { readonly vm: string; readonly action: (typeof VM_ACTIONS)[number] }
  | { readonly world: (typeof WORLD_ACTIONS)[number] };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ vm: fc.constantFrom(...NAMES), action: fc.constantFrom(...VM_ACTIONS) }) },
  { weight: 2, arbitrary: fc.record({ world: fc.constantFrom(...WORLD_ACTIONS) }) },
);

/** Runs the steps, and checks what was told. */
class Play {
  readonly host: EventHost;
  /** What the host did, in words: each VM's, in order. */
  readonly done = new Map<string, string[]>();
  /** What consumers have taken: what is handed over again has the same id. */
  readonly told = new Map<string, VmEvent>();
  #agent: EventAgent | undefined;
  #dir: string;

  constructor(delayMs: number) {
    this.host = new EventHost({
      vms: NAMES.map((name) => ({ name, persistent: name !== 'transient' })),
      faults: delayMs === 0 ? [] : (['lifecycle', 'reboot'] as const).map((event) => ({ event, delayMs })),
    });
    this.#dir = this.host.makeDir();
    this.host.hypervisor.listen((name, payload) => {
      const draft = translate({ name, payload } as DaemonEvent<'lifecycle'>);
      if (draft === undefined) return;
      const words = describeEvent({ ...draft, id: '', sequence: 0, timeMs: 0 } as VmEvent);
      const own = this.done.get(draft.domain.name);
      if (own === undefined) this.done.set(draft.domain.name, [words]);
      else own.push(words);
    });
  }

  async run(steps: readonly Step[]): Promise<void> {
    await this.#startAgent();
    for (const each of steps) {
      if ('vm' in each) this.#act(each.vm, each.action);
      else await this.#change(each.world);
    }
    await this.#startAgent();
    await this.host.comeBack();
    await this.host.pass(60_000);
    this.#check();
  }

  #act(name: string, action: (typeof VM_ACTIONS)[number]): void {
    const { hypervisor } = this.host;
    try {
      if (action === 'start' && name === 'transient') hypervisor.create({ name });
      else hypervisor[action](name);
    } catch {
      // It cannot be done in its state.
    }
  }

  async #change(what: (typeof WORLD_ACTIONS)[number]): Promise<void> {
    if (what === 'cut') this.host.cut();
    else if (what === 'come back') await this.host.comeBack();
    else if (what === 'come back slowly') {
      // What follows happens while the agent connects and compares.
      this.host.isReachable = true;
      this.host.clock.fireNext();
      for (let turn = 0; turn < 8; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
    } else if (what === 'time') await this.host.pass(1_000);
    else if (what === 'start agent') await this.#startAgent();
    else if (this.#agent !== undefined) {
      if (what === 'kill') this.#dir = this.host.kill(this.#agent);
      else await this.#agent[Symbol.asyncDispose]();
      this.#agent.isKilled = true;
      this.#agent = undefined;
    }
  }

  async #startAgent(): Promise<void> {
    this.#agent ??= await this.host.start(this.#dir, (agent) => {
      agent.onTake = async (events) => {
        for (const event of events) {
          const before = this.told.get(event.id);
          assert.deepEqual(before ?? event, event, 'what is handed over again is the same');
          this.told.set(event.id, event);
        }
      };
    });
  }

  #check(): void {
    for (const name of NAMES) {
      const told = [...this.told.values()].filter(({ domain }) => domain.name === name);
      const words = told.map(describeEvent);
      const done = this.done.get(name) ?? [];
      const explain = `${name}: told ${words.join(', ')}; done ${done.join(', ')}`;
      // What is told as it happened did happen, once, and in that order.
      let place = 0;
      for (const event of told.filter(({ isRecovered }) => !isRecovered)) {
        place = done.indexOf(describeEvent(event), place) + 1;
        assert.ok(place > 0, explain);
      }
      // What is concluded fits what was told before, and nothing is told more often than it happened.
      let isRunning = true;
      for (const event of told) {
        if (event.kind !== 'lifecycle' || (event.event !== 'started' && event.event !== 'stopped')) continue;
        if (event.isRecovered) assert.equal(isRunning, event.event === 'stopped', explain);
        isRunning = event.event === 'started';
      }
      for (const event of ['started', 'stopped']) {
        const count = (list: readonly string[]) => list.filter((each) => each.split(' ')[1] === event).length;
        assert.ok(count(words) <= count(done), explain);
      }
      assert.equal(isRunning, this.host.hypervisor.vms.get(name)?.active === true, explain);
    }
  }
}

it('whatever happens in whatever order, what is told is what happened, each thing once, and ends with what runs', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 14 }), fc.constantFrom(0, 100), async (steps, delayMs) => {
      const play = new Play(delayMs);
      try {
        await play.run(steps);
      } finally {
        await play.host[Symbol.asyncDispose]();
      }
    }),
    { numRuns: 60 },
  );
});
