import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type EventAgent, EventHost } from '../../test/support/event-host.ts';

const VMS = { vms: ['a', 'b', 'c'].map((name) => ({ name, persistent: true })) };

describe('a stream of events', () => {
  it('begins with what happens from then on, and tells it in order', async () => {
    await using host = new EventHost(VMS);
    const agent = await host.start();
    assert.deepEqual(agent.words, []);
    host.hypervisor.crash('a');
    host.hypervisor.start('a');
    host.hypervisor.emitFor('b', 'watchdog', { action: 2 });
    host.hypervisor.reboot('b');
    await host.settle();
    assert.deepEqual(agent.words, [
      'a stopped failed',
      'a resumed unpaused',
      'a started booted',
      'b watchdog',
      'b reboot',
    ]);
    assert.deepEqual(
      agent.told.map(({ sequence }) => sequence),
      [1, 2, 3, 4, 5],
    );
    assert.equal(new Set(agent.told.map(({ id }) => id)).size, 5);
    assert.deepEqual(agent.stream.status, { phase: 'following', pending: 0, isDurable: false });
  });

  it('concludes after a lost connection what happened meanwhile', async () => {
    await using host = new EventHost({
      vms: [...VMS.vms, { name: 'd', persistent: false }, { name: 'e', persistent: true, state: 'shutoff' }],
    });
    const agent = await host.start();
    host.cut();
    host.hypervisor.crash('a');
    host.hypervisor.stop('b');
    host.hypervisor.start('b');
    host.hypervisor.pause('c');
    host.hypervisor.destroy('d');
    host.hypervisor.start('e');
    await host.comeBack();
    assert.deepEqual(agent.words, [
      'a stopped crashed*',
      'b stopped unknown*',
      'd stopped unknown*',
      'b started booted*',
      'c suspended paused*',
      'e started booted*',
    ]);
    assert.equal(agent.log.count(/info events were missed.* recovered=6/), 1);
    host.hypervisor.resume('c');
    await host.settle();
    assert.deepEqual(agent.words.slice(6), ['c resumed unpaused']);
  });

  it('goes on after a restart where it was, with a state directory', async () => {
    await using host = new EventHost(VMS);
    const first = await host.start(host.makeDir());
    assert.equal(first.stream.status.isDurable, true);
    host.hypervisor.crash('a');
    await host.settle();
    const dir = host.kill(first);
    host.hypervisor.crash('b');
    const second = await host.start(dir);
    assert.deepEqual([first.words, second.words], [['a stopped failed'], ['b stopped crashed*']]);
    assert.equal(second.told[0]!.sequence, 2);
  });

  it('hands over again after a kill what was not taken, with the same ids, and never what was', async () => {
    await using host = new EventHost(VMS);
    let isStuck = false;
    const seen: string[] = [];
    const first: EventAgent = await host.start(host.makeDir(), (agent) => {
      agent.onTake = (events) => {
        seen.push(...events.map(({ id }) => id));
        return isStuck ? first.released.promise : Promise.resolve();
      };
    });
    host.hypervisor.reboot('a');
    await host.settle();
    isStuck = true;
    host.hypervisor.reboot('b');
    await host.settle();
    host.hypervisor.crash('c');
    await host.settle();
    const second = await host.start(host.kill(first));
    assert.deepEqual([first.words, second.words], [['a reboot'], ['b reboot', 'c stopped failed']]);
    assert.equal(second.told[0]!.id, seen[1]);
  });
});

describe('a comparison', () => {
  it('takes an event that the list has already for what it is, however late it comes', async () => {
    // The list shows what happened after the connection came back; its events come 100 ms or a second later.
    for (const [delayMs, told] of [
      [100, ['a stopped failed', 'b suspended paused']],
      [1_000, ['a stopped crashed*', 'b suspended paused*']],
    ] as const) {
      await using host = new EventHost({ ...VMS, faults: [{ event: 'lifecycle', delayMs }] });
      const agent = await host.start();
      host.cut();
      host.isReachable = true;
      // It is subscribed to events, and waits for the list.
      host.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 10 });
      await host.settle();
      host.clock.fireNext();
      await host.settle();
      assert.equal(agent.stream.status.phase, 'comparing');
      host.hypervisor.crash('a');
      host.hypervisor.pause('b');
      await host.pass(5_000);
      assert.deepEqual(agent.words, told, `${delayMs} ms late`);
    }
  });

  it('of a host that was restarted concludes that every VM has stopped, also where numbers are given again', async () => {
    await using host = new EventHost(VMS);
    const first = await host.start(host.makeDir(), undefined, 'boot 1');
    const dir = host.kill(first);
    const second = await host.start(dir, undefined, 'boot 2');
    assert.deepEqual(second.words, [
      'a stopped unknown*',
      'b stopped unknown*',
      'c stopped unknown*',
      'a started booted*',
      'b started booted*',
      'c started booted*',
    ]);
  });

  it('that the daemon refuses does not hold up events, and is made when it can be', async () => {
    await using host = new EventHost(VMS);
    const refuse = host.simulator.inject({
      procedure: 'connectGetAllDomainStats',
      error: { code: 88, message: 'access denied' },
    });
    const dir = host.makeDir();
    const agent = await host.start(dir);
    host.hypervisor.reboot('a');
    await host.pass(5_000);
    assert.deepEqual(agent.words, ['a reboot']);
    assert.equal(agent.log.count(/warn libvirt did not say what runs.*access denied/), 1);
    refuse();
    await host.pass(60_000);
    host.cut();
    host.hypervisor.destroy('b');
    await host.comeBack();
    assert.deepEqual(agent.words, ['a reboot', 'b stopped destroyed*']);
  });

  it('of a daemon that is too old for one call asks for each VM', async () => {
    await using host = new EventHost({ ...VMS, host: { libvirtVersion: '1.2.2' } });
    const agent = await host.start();
    host.cut();
    host.hypervisor.crash('a');
    host.hypervisor.pause('b');
    await host.comeBack();
    assert.deepEqual(agent.words, ['a stopped crashed*', 'b suspended paused*']);
  });
});

describe('the state directory', () => {
  it('of another host is set aside, and nothing of it is told', async () => {
    await using one = new EventHost({ ...VMS, host: { hostname: 'one.example' } });
    await using two = new EventHost({ ...VMS, host: { hostname: 'two' } });
    const first = await one.start(one.makeDir(), (agent) => {
      agent.onTake = () => first.released.promise;
    });
    one.hypervisor.reboot('a');
    await one.settle();
    const dir = one.kill(first);
    const second = await two.start(dir);
    assert.deepEqual(second.words, []);
    assert.equal(second.log.count(/warn the state directory is of another host.*before=.* on one host=.* on two$/), 1);
    assert.equal(readdirSync(dir).filter((name) => name.includes('set-aside')).length, 1);
  });

  it('that is damaged or not ours is set aside with one line, and the stream begins anew or before the damage', async () => {
    await using host = new EventHost(VMS);
    const first = await host.start(host.makeDir());
    host.hypervisor.reboot('a');
    await host.settle();
    host.hypervisor.crash('b');
    await host.settle();
    const dir = host.kill(first);
    const file = join(dir, 'events.journal');
    const whole = readFileSync(file);
    // The second record, which is the reboot, is damaged.
    const damaged = Buffer.from(whole);
    const at = whole.indexOf('"reboot"');
    damaged[at + 1] = 0x20;
    writeFileSync(file, damaged);
    const second = await host.start(dir);
    assert.deepEqual(second.words, ['b stopped crashed*']);
    assert.equal(second.log.count(/error the file of the state directory is damaged and set aside/), 1);
    const again = host.kill(second);
    writeFileSync(join(again, 'events.journal'), 'something else');
    const third = await host.start(again);
    host.hypervisor.crash('c');
    await host.settle();
    assert.deepEqual(third.words, ['c stopped failed']);
    assert.equal(third.log.count(/error the file of the state directory cannot be used and is set aside/), 1);
  });

  it('that cannot be written stops nothing, and is written anew when it can be', async () => {
    await using host = new EventHost(VMS);
    const dir = host.makeDir();
    const agent = await host.start(dir);
    rmSync(dir, { recursive: true });
    writeFileSync(dir, 'a file');
    host.hypervisor.reboot('a');
    await host.pass(30_000);
    host.hypervisor.crash('b');
    await host.settle();
    assert.deepEqual(agent.words, ['a reboot', 'b stopped failed']);
    assert.equal(agent.stream.status.isDurable, false);
    assert.equal(agent.log.count(/error the state directory cannot be written/), 2, `${agent.log.lines}`);
    rmSync(dir);
    await host.pass(20_000);
    assert.equal(agent.stream.status.isDurable, true);
    assert.equal(agent.log.count(/info the state directory can be written again/), 1);
    const second = await host.start(host.kill(agent));
    assert.deepEqual(second.words, []);
  });

  it('that a second process uses is left to it', async () => {
    await using host = new EventHost(VMS);
    const dir = host.makeDir();
    const first = await host.start(dir);
    const second = await host.start(dir);
    host.hypervisor.reboot('a');
    await host.pass(60_000);
    assert.deepEqual([first.words, second.words], [['a reboot'], ['a reboot']]);
    assert.deepEqual([first.stream.status.isDurable, second.stream.status.isDurable], [false, true]);
    assert.equal(first.log.count(/error .*another process writes to/), 1);
  });
});

describe('a consumer', () => {
  it('that fails gets the same events again', async () => {
    await using host = new EventHost(VMS);
    let failures = 2;
    const seen: string[] = [];
    const agent = await host.start(undefined, (each) => {
      each.onTake = async (events) => {
        seen.push(...events.map(({ id }) => id));
        if (failures-- > 0) throw new Error('its disk is full');
      };
    });
    host.hypervisor.reboot('a');
    await host.pass(10_000);
    assert.deepEqual(agent.words, ['a reboot']);
    assert.equal(new Set(seen).size, 1);
    assert.equal(seen.length, 3);
    assert.equal(agent.log.count(/error events could not be handed over.*its disk is full/), 1);
  });

  it('that takes nothing bounds what is kept, and is told afterwards what runs', async () => {
    await using host = new EventHost(VMS);
    const gate = Promise.withResolvers<void>();
    const agent = await host.start(undefined, (each) => {
      each.onTake = () => gate.promise;
    });
    for (let count = 0; count < 60; count++) {
      for (let each = 0; each < 1_000; each++) host.hypervisor.reboot('a');
      await host.settle();
    }
    host.hypervisor.crash('b');
    await host.settle();
    assert.equal(agent.stream.status.pending, 50_000);
    gate.resolve();
    await host.pass(5_000);
    assert.deepEqual([agent.told.length, agent.words.at(-1)], [50_001, 'b stopped crashed*']);
    assert.equal(agent.log.count(/warn events came faster than they were taken.*count=10001/), 1);
  });

  it('gets a burst of 10,000 events in few calls, and the disk few writes', async () => {
    await using host = new EventHost({ fleets: [{ count: 10_000 }] });
    const agent = await host.start(host.makeDir());
    for (const vm of [...host.hypervisor.vms.values()].filter(({ active }) => active)) host.hypervisor.destroy(vm.name);
    await host.settle();
    assert.ok(agent.told.length > 5_000);
    assert.ok(agent.batches < agent.told.length / 50, `${agent.batches} calls for ${agent.told.length} events`);
    assert.equal(agent.stream.status.pending, 0);
  });
});
