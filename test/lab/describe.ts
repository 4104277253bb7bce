import { describe, it } from 'node:test';
import { type LabPart, unavailable } from './tools.ts';

/**
 * A suite that needs parts of the lab. Where they cannot be had, its body is not run, and one skipped test says why: a skipped
 * test is counted in the runner's summary, a skipped suite is not.
 */
export function describeLab(name: string, parts: readonly LabPart[], body: () => void): void {
  const reason = unavailable(...parts);
  if (reason === false) {
    describe(name, body);
    return;
  }
  describe(name, () => {
    it('needs real daemons', { skip: reason }, () => {});
  });
}
