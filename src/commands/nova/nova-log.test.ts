import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNovaLogger } from './nova-log.ts';

function linesOf(use: (logger: ReturnType<typeof createNovaLogger>) => void): string[] {
  const lines: string[] = [];
  const log = { writeLine: (line: string) => void lines.push(line), close() {} };
  // Local time, whatever the machine's zone.
  use(createNovaLogger(log, { wallMs: () => new Date(2026, 0, 31, 7, 8, 9, 45).getTime() }));
  return lines;
}

test('warnings and errors are written in the form of the Python exporter', () => {
  assert.deepEqual(
    linesOf((logger) => {
      logger.debug('no');
      logger.info('no');
      logger.warn('slow');
      logger.error('cannot reach libvirt');
    }),
    ['2026-01-31 07:08:09,045 - WARNING - slow', '2026-01-31 07:08:09,045 - ERROR - cannot reach libvirt'],
  );
});

test('fields follow the message, quoted where they would run into each other', () => {
  assert.deepEqual(
    linesOf((logger) =>
      logger.error('failed', { domain: 'instance-1', error: 'no "such"\nthing', code: 38, gone: undefined, empty: '' }),
    ),
    ['2026-01-31 07:08:09,045 - ERROR - failed domain=instance-1 error="no \\"such\\"\\nthing" code=38 empty=""'],
  );
});
