import type { Clock } from '../../base/clock.ts';
import { PARAM_TYPE, type TypedParams, typedParams } from '../../libvirt/wire/typed-params.ts';

/** virDomainJobType and virDomainJobOperation (include/libvirt/libvirt-domain.h). */
export const JOB_TYPE = { none: 0, bounded: 1, unbounded: 2, completed: 3, failed: 4, cancelled: 5 } as const;
const OPERATION_MIGRATION_OUT = 5;

/** 16 MiB/s: a guest that works, and a migration that still ends. */
const DIRTY_PAGES_PER_SECOND = 4200;
/** QEMU's default limit of the downtime. */
const DOWNTIME_MS = 300;

/** How far a migration is, in the terms of virDomainJobInfo. */
export interface MigrationProgress {
  readonly elapsedMs: number;
  readonly remainingMs: number;
  readonly totalBytes: number;
  readonly processedBytes: number;
  readonly remainingBytes: number;
  readonly iteration: number;
}

/** A live migration to another host: a job whose numbers move. */
export class Migration {
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #durationMs: number;
  readonly #totalBytes: number;

  constructor(clock: Clock, options: { readonly durationMs: number; readonly totalBytes: number }) {
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    this.#durationMs = options.durationMs;
    this.#totalBytes = options.totalBytes;
  }

  progress(): MigrationProgress {
    const elapsedMs = Math.floor(this.#clock.monotonicMs() - this.#startedMs);
    const share = Math.min(1, elapsedMs / this.#durationMs);
    const processedBytes = Math.floor(this.#totalBytes * share);
    return {
      elapsedMs,
      remainingMs: Math.max(0, Math.round(this.#durationMs - elapsedMs)),
      totalBytes: this.#totalBytes,
      processedBytes,
      remainingBytes: this.#totalBytes - processedBytes,
      iteration: 1 + Math.floor(share * 4),
    };
  }

  /** What virDomainGetJobStats answers while memory moves. */
  stats(): TypedParams {
    const progress = this.progress();
    const bps = progress.elapsedMs > 0 ? Math.floor((progress.processedBytes / progress.elapsedMs) * 1000) : 0;
    const { int, ullong } = PARAM_TYPE;
    return typedParams([
      ['operation', int, OPERATION_MIGRATION_OUT],
      ['time_elapsed', ullong, progress.elapsedMs],
      ['time_remaining', ullong, progress.remainingMs],
      ['downtime', ullong, DOWNTIME_MS],
      ['data_total', ullong, progress.totalBytes],
      ['data_processed', ullong, progress.processedBytes],
      ['data_remaining', ullong, progress.remainingBytes],
      ['memory_total', ullong, progress.totalBytes],
      ['memory_processed', ullong, progress.processedBytes],
      ['memory_remaining', ullong, progress.remainingBytes],
      ['memory_bps', ullong, bps],
      ['memory_dirty_rate', ullong, DIRTY_PAGES_PER_SECOND],
      ['memory_page_size', ullong, 4096],
      ['memory_iteration', ullong, progress.iteration],
    ]);
  }
}
