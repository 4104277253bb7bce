import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EventHost } from '../../test/support/event-host.ts';

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
    const first = await host.start(host.makeDir(), (agent) => {
      agent.onTake = (events) => {
        seen.push(...events.map(({ id }) => id));
        return isStuck ? new Promise(() => {}) : Promise.resolve();
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
