import type { Logger } from '../base/logger.ts';
import type { DaemonEvent, EventHub, Gap } from '../connection/events.ts';
import type { VmEventKind } from '../model/vm-event.ts';
import {
  FALLBACKS,
  type FallbackName,
  SUBSCRIBED,
  type SubscribedName,
  translate,
  type VmEventDraft,
} from './translate.ts';

/** Which kind of VM event is made of an event of the daemon. */
const KIND_OF: Readonly<Record<SubscribedName, VmEventKind>> = {
  lifecycle: 'lifecycle',
  reboot: 'reboot',
  watchdog: 'watchdog',
  ioErrorReason: 'io-error',
  controlError: 'control-error',
  agentLifecycle: 'agent',
  memoryFailure: 'memory-failure',
  blockJobByTarget: 'block-job',
  jobCompleted: 'job-completed',
};

export interface EventSourceListener {
  onEvent(event: VmEventDraft): void;
  onGap(gap: Gap): void;
}

/**
 * The daemon's events in our words. Of two kinds that say the same, the one that says less is listened to only where the daemon lacks the
 * other. Kinds that the daemon lacks are named once in the log.
 */
export class EventSource {
  readonly #hub: EventHub;
  readonly #logger: Logger;
  readonly #listener: EventSourceListener;
  /** Kinds that this daemon lacks and that a fallback stands for. */
  readonly #replaced = new Set<SubscribedName>();
  readonly #fallbacks = new Map<SubscribedName, () => void>();
  readonly #reportedMissing = new Set<VmEventKind>();
  readonly #stop: () => void;

  constructor(hub: EventHub, logger: Logger, listener: EventSourceListener) {
    this.#hub = hub;
    this.#logger = logger;
    this.#listener = listener;
    this.#stop = hub.listen({
      kinds: SUBSCRIBED,
      onEvent: (event) => this.#handOn(event),
      onGap: (gap) => {
        if (gap.reason !== 'lost') this.#noteMissing(gap.missing as ReadonlySet<SubscribedName>);
        listener.onGap(gap);
      },
    });
  }

  close(): void {
    this.#stop();
    for (const stop of this.#fallbacks.values()) stop();
  }

  #handOn(event: DaemonEvent<SubscribedName | FallbackName>): void {
    const draft = translate(event);
    if (draft !== undefined) this.#listener.onEvent(draft);
  }

  #noteMissing(missing: ReadonlySet<SubscribedName>): void {
    this.#replaced.clear();
    const without: SubscribedName[] = [];
    for (const name of missing) {
      if (!(name in FALLBACKS)) without.push(name);
      else this.#fallBack(name as keyof typeof FALLBACKS);
    }
    this.#report(without);
  }

  #fallBack(name: keyof typeof FALLBACKS): void {
    this.#replaced.add(name);
    if (this.#fallbacks.has(name)) return;
    const stop = this.#hub.listen<FallbackName>({
      kinds: [FALLBACKS[name]],
      onEvent: (event) => {
        if (this.#replaced.has(name)) this.#handOn(event);
      },
      onGap: (gap) => {
        if (gap.reason !== 'lost' && gap.missing.size > 0) this.#report([name]);
      },
    });
    this.#fallbacks.set(name, stop);
  }

  #report(missing: readonly SubscribedName[]): void {
    const kinds = missing.map((name) => KIND_OF[name]).filter((kind) => !this.#reportedMissing.has(kind));
    if (kinds.length === 0) return;
    for (const kind of kinds) this.#reportedMissing.add(kind);
    this.#logger.info('the daemon does not send events of some kinds', { kinds: kinds.join(', ') });
  }
}
