// What the tests of the telegraf command share.
import type { Clock } from '../../src/base/clock.ts';
import type { LogField, Logger } from '../../src/base/logger.ts';
import type { TelegrafInput } from '../../src/commands/telegraf/telegraf-config.ts';
import { type DomainSnapshot, type Snapshot, STATS_GROUPS } from '../../src/model/snapshot.ts';

/** A clock that stands still until it is told to go on. */
export class ManualClock implements Clock {
  #nowMs = 0;
  #timers: Array<{ readonly dueMs: number; readonly callback: () => void }> = [];

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** How many timers wait. */
  get waiting(): number {
    return this.#timers.length;
  }

  /** Lets time pass, timer by timer; what they start runs until it waits for something else. */
  async advance(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined || next.dueMs > endMs) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
      await settle();
    }
    this.#nowMs = endMs;
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A logger that keeps `level message` lines. */
export function recordLogs(): { readonly lines: string[]; readonly logger: Logger } {
  const lines: string[] = [];
  const keep =
    (level: string) =>
    (message: string, fields: Readonly<Record<string, LogField>> = {}) => {
      lines.push([level, message, ...Object.entries(fields).map(([key, value]) => `${key}=${value}`)].join(' '));
    };
  return { lines, logger: { debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') } };
}

export function makeInput(overrides: Partial<TelegrafInput> = {}): TelegrafInput {
  return {
    logName: 'inputs.libvirt',
    libvirtUri: 'qemu:///system',
    domains: new Set(),
    groups: new Set(STATS_GROUPS),
    vcpuMapping: false,
    intervalMs: 10_000,
    intervalStated: false,
    nameOverride: '',
    namePrefix: '',
    nameSuffix: '',
    tags: new Map(),
    ...overrides,
  };
}

/** A snapshot of running VMs of which the state is known. */
export function makeSnapshot(names: readonly string[], overrides: Partial<Snapshot> = {}): Snapshot {
  return {
    takenAtMs: 1_700_000_000_000,
    up: true,
    host: undefined,
    domains: names.map((name) => makeDomain(name)),
    pools: undefined,
    collection: {
      durationMs: 1,
      tasks: [],
      quarantined: 0,
      blockedCalls: 0,
      unknownFields: new Map(),
      mistypedFields: new Map(),
    },
    ...overrides,
  };
}

export function makeDomain(name: string, overrides: Partial<DomainSnapshot> = {}): DomainSnapshot {
  return {
    name,
    uuid: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
    id: 1,
    config: undefined,
    stats: { state: { state: 1, reason: 1 } },
    job: undefined,
    statsAgeMs: 0,
    timedOut: false,
    ...overrides,
  };
}
