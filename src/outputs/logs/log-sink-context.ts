import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { LogOrigin } from '../../formats/logs/log-fields.ts';

/** What every sink is given beside its own target. */
export interface LogSinkContext {
  readonly origin: LogOrigin;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called when the receiver takes a batch without some of its records. They are not sent again. */
  readonly onRejected: (records: number) => void;
}
