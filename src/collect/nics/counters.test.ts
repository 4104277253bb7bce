import assert from 'node:assert/strict';
import { it } from 'node:test';
import { readCounters } from './counters.ts';

const HEADING = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
`;

it("reads the kernel's table of interfaces: those that are wanted, to the digit", () => {
  const text = `${HEADING}    lo: 6211     76    0    0    0     0          0         0     6211      76    0    0    0     0       0          0
 vnet0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
vnet10:18446744073709551615 9007199254740993    0    0    0     0          0         0 9007199254740991       0    0    0    0     0       0          0
`;
  const counters = readCounters(text, new Set(['vnet0', 'vnet10', 'vnet1']));
  assert.deepEqual(
    counters,
    new Map([
      [
        'vnet0',
        {
          received: { bytes: 1, packets: 2, errors: 3, drops: 4 },
          sent: { bytes: 9, packets: 10, errors: 11, drops: 12 },
        },
      ],
      [
        'vnet10',
        {
          received: { bytes: 18446744073709551615n, packets: 9007199254740993n, errors: 0, drops: 0 },
          sent: { bytes: 9007199254740991, packets: 0, errors: 0, drops: 0 },
        },
      ],
    ]),
  );
});

it('leaves out a line that is cut, or is not what the kernel writes', () => {
  const line = ' vnet0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16';
  for (let length = 0; length < line.length - 2; length++) {
    assert.equal(readCounters(HEADING + line.slice(0, length), new Set(['vnet0', 'vnet'])).size, 0, String(length));
  }
  for (const other of [
    `${line} 17`,
    line.replace(' 9 ', ' -9 '),
    line.replace(':', ' '),
    line.replace(' 1 ', ' 1e3 '),
    line.replace(' 1 ', ` ${'1'.repeat(21)} `),
  ]) {
    assert.equal(readCounters(other, new Set(['vnet0'])).size, 0, other);
  }
  assert.equal(readCounters('', new Set(['vnet0'])).size, 0);
});
