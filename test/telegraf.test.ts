// The telegraf command's points in a real InfluxDB 1.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { SYSTEM_CLOCK } from '../src/base/clock.ts';
import { COLLECTED_NAMES } from '../src/model/collected.ts';
import type { DomainStats } from '../src/model/snapshot.ts';
import { createInfluxWriter } from '../src/outputs/influxdb.ts';
import { toPoints } from '../src/schemas/telegraf.ts';
import { type InfluxDb, startInfluxDb } from './lab/influxdb.ts';
import { unavailable } from './lab/tools.ts';
import { makeDomain, makeSnapshot, recordLogs } from './support/telegraf.ts';

const OPTIONS = { hostTag: 'my host', enabled: new Set(COLLECTED_NAMES) };

function pointsOf(name: string, stats: DomainStats) {
  return toPoints(makeSnapshot([], { domains: [makeDomain(name, { stats })] }), OPTIONS);
}

describe('a real InfluxDB', { skip: unavailable('influxdb') }, () => {
  let influx: InfluxDb;
  before(async () => {
    influx = await startInfluxDb();
  });
  after(() => influx?.stop());

  function openWriter(database: string) {
    const { lines: logs, logger } = recordLogs();
    const target = { url: new URL(influx.url), token: undefined, into: { database } };
    return { logs, writer: createInfluxWriter({ target, clock: SYSTEM_CLOCK, logger }) };
  }

  it('takes every kind of field, whole numbers beyond 2^53, and names of any characters', async () => {
    await influx.createDatabase('odd names');
    const { writer, logs } = openWriter('odd names');
    // No field named time: InfluxDB keeps the name to itself, and drops such a field.
    const cpu = {
      userNs: 9007199254740993n,
      systemNs: 2n ** 63n - 1n,
      haltPollFailNs: 2n ** 64n - 1n,
      cacheMonitors: [],
    };
    const blocks = [{ index: 0, name: 'v"d\\a', path: '/a b,c=d\ne', readBytes: 0 }];
    writer.write(pointsOf('a b,c=d "e" ü', { cpu, blocks }));
    assert.equal(await writer.close(20_000), 0);
    assert.deepEqual(logs, []);
    const time = 1_700_000_000_000_000_000n.toString();
    const series = await influx.query(
      'SELECT * FROM libvirt_cpu GROUP BY *; SELECT * FROM libvirt_block GROUP BY *',
      'odd names',
    );
    assert.deepEqual(series, [
      {
        name: 'libvirt_cpu',
        tags: { domain_name: 'a b,c=d "e" ü', host: 'my host' },
        rows: [
          {
            time,
            user: '9007199254740993',
            system: '9223372036854775807',
            haltpoll_fail_time: '9223372036854775807',
          },
        ],
      },
      {
        name: 'libvirt_block',
        tags: { block_id: '0', domain_name: 'a b,c=d "e" ü', host: 'my host' },
        rows: [{ time, name: 'v"d\\a', path: '/a b,c=d\ne', rd_bytes: 0 }],
      },
    ]);
  });

  it('gets everything that was written while it did not answer', async () => {
    await influx.createDatabase('late');
    const { writer } = openWriter('late');
    await influx.suspend();
    for (let count = 0; count < 300; count++) {
      writer.write(pointsOf(`vm${count}`, { state: { state: 1, reason: 1 } }));
    }
    await influx.resume();
    assert.equal(await writer.close(30_000), 0);
    const [counted] = await influx.query('SELECT count(state) FROM libvirt_state', 'late');
    assert.equal(counted?.rows[0]?.count, 300);
  });

  it('that has no such database is told of by its name, and the points are kept', async () => {
    const { writer, logs } = openWriter('nowhere');
    writer.write(pointsOf('vm', { state: { state: 1, reason: 1 } }));
    assert.equal(await writer.close(20_000), 1);
    assert.match(
      logs[0] ?? '',
      /^error InfluxDB at http:.* cannot be written to: 404 Not Found: database not found: "nowhere"/,
    );
  });
});
