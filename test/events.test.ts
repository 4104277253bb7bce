// The events of real guests on a real libvirtd, as the command prints them.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { AgentProcess } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { createFullDiskGuest, createPanicGuest, createWatchdogGuest } from './lab/faulty-guests.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';

const WAIT_MS = 120_000;

/** What the command prints with --format=json; see docs/events.md. */
interface EventLine {
  readonly id: string;
  readonly sequence: number;
  readonly time: string;
  readonly kind: string;
  readonly vm: { readonly name: string; readonly uuid: string; readonly id: number | null };
  readonly recovered: boolean;
  readonly [detail: string]: unknown;
}

/** A running `virtlens events --format=json`. */
class EventPrinter extends AgentProcess {
  get events(): EventLine[] {
    return this.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as EventLine);
  }

  /** The events of a VM in short: `stopped failed`, `reboot`, `stopped crashed*` for a recovered one. */
  wordsOf(name: string): string[] {
    return this.events.filter(({ vm }) => vm.name === name).map(describeLine);
  }

  /** Waits until the events of a VM end in these. */
  async waitForWords(name: string, ...expected: string[]): Promise<void> {
    const look = () => (this.wordsOf(name).slice(-expected.length).join() === expected.join() ? true : undefined);
    await waitFor(look, () => `${name}: expected ${expected}, have ${this.wordsOf(name)}\n${this.log}`, WAIT_MS);
  }
}

function describeLine(event: EventLine): string {
  const words = event.kind === 'lifecycle' ? `${event.event} ${event.detail}` : event.kind;
  return event.recovered ? `${words}*` : words;
}

describeLab('virtlens events on a real host', ['libvirt', 'busy-guest'], () => {
  let host: LibvirtHost;
  let dir: string;
  before(async () => {
    host = await startLibvirt();
    dir = mkdtempSync(join(tmpdir(), 'virtlens-events-'));
  });
  after(async () => {
    await host?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const uri = () => `--libvirt.uri=qemu+unix:///system?socket=${host.roSocket}`;
  async function start(...args: string[]): Promise<EventPrinter> {
    const printer = new EventPrinter(['events', uri(), '--format=json', '--log.level=debug', ...args]);
    await printer.waitForLog(/following/, WAIT_MS);
    return printer;
  }

  it('tells what a user, a guest or a fault does to a VM, each thing once', async () => {
    await using printer = await start();
    await host.createDomains([{ name: 'plain' }], 'running', true);
    await printer.waitForWords('plain', 'defined added', 'resumed unpaused', 'started booted');
    const uuid = await host.virsh('domuuid', 'plain');
    await host.virsh('suspend', 'plain');
    await printer.waitForWords('plain', 'suspended paused');
    await host.virsh('resume', 'plain');
    await printer.waitForWords('plain', 'resumed unpaused');
    await host.virsh('managedsave', 'plain');
    await printer.waitForWords('plain', 'suspended paused', 'job-completed', 'stopped saved');
    await host.virsh('start', 'plain');
    await printer.waitForWords('plain', 'started restored', 'resumed snapshot');
    await host.virsh('destroy', 'plain');
    await printer.waitForWords('plain', 'stopped destroyed');
    await host.virsh('start', 'plain');
    await printer.waitForWords('plain', 'started booted');
    await host.virsh('reset', 'plain');
    await printer.waitForWords('plain', 'reboot');
    await host.signalQemu('plain', 'KILL');
    await printer.waitForWords('plain', 'stopped failed');
    const events = printer.events.filter(({ vm }) => vm.name === 'plain');
    assert.ok(events.every((event) => event.vm.uuid === uuid && !event.recovered));
    assert.deepEqual(
      events.map(({ sequence }) => sequence),
      events.map((_, index) => index + 1),
    );
    assert.deepEqual(await printer.stop(), { code: 0, signal: null });
  });

  it('tells of a watchdog that nobody feeds, of a panic, and of a disk without space', async () => {
    await using printer = await start();
    await createWatchdogGuest(host, 'dog');
    await printer.waitForWords('dog', 'watchdog', 'suspended watchdog');
    assert.equal(printer.events.find(({ kind }) => kind === 'watchdog')?.action, 'pause');
    await host.virsh('destroy', 'dog');
    await createFullDiskGuest(host, 'full');
    await printer.waitForWords('full', 'io-error', 'suspended io-error');
    const { device, action, reason, path } = printer.events.find(({ kind }) => kind === 'io-error')!;
    assert.deepEqual(
      [device, action, reason, path],
      ['virtio-disk0', 'pause', 'enospc', join(host.cage.dir, 'full-full', 'disk.raw')],
    );
    assert.equal(printer.wordsOf('full').filter((words) => words === 'io-error').length, 1);
    await host.virsh('destroy', 'full');
    const { panic } = await createPanicGuest(host, 'panicky');
    await panic();
    await printer.waitForWords('panicky', 'crashed panicked', 'stopped crashed');
  });

  it('concludes, each thing once, what happened while libvirtd was away or the command was killed', async () => {
    const state = `--state.dir=${join(dir, 'state')}`;
    const names = ['kept', 'shot', 'gone', 'idle', 'late'];
    const own = names.map((name) => ({ name }));
    await host.createDomains(own.slice(0, 2), 'running', true);
    await host.createDomains(own.slice(2, 3));
    await host.createDomains(own.slice(3), 'shutoff');
    await using first = await start(state);
    await host.kill();
    await host.signalQemu('shot', 'KILL');
    await host.signalQemu('gone', 'KILL');
    await host.startDaemon();
    await first.waitForWords('shot', 'stopped crashed*');
    await first.waitForWords('gone', 'stopped unknown*');
    await host.virsh('start', 'shot');
    await first.waitForWords('shot', 'resumed unpaused', 'started booted');
    first.child.kill('SIGKILL');
    await first.ended;
    await host.virsh('destroy', 'shot');
    await host.virsh('start', 'idle');
    await host.virsh('suspend', 'kept');
    await using second = await start(state);
    await second.waitForWords('kept', 'suspended paused*');
    await host.virsh('start', 'late');
    await second.waitForWords('late', 'resumed unpaused', 'started booted');
    second.child.kill('SIGKILL');
    await second.ended;
    // Nothing has happened since: nothing is told.
    await using third = await start(state);
    await host.virsh('destroy', 'late');
    await third.waitForWords('late', 'stopped destroyed');
    // One that was printed right before the kill is printed again, with the same id.
    const printed = [first, second, third].flatMap((printer) => printer.events);
    const events = [...new Map(printed.map((event) => [event.id, event])).values()];
    const words = (name: string) => {
      const own = events.filter(({ vm, event }) => vm.name === name && event !== 'shutdown');
      return own.map(describeLine).join();
    };
    assert.deepEqual(Object.fromEntries(names.map((name) => [name, words(name)])), {
      kept: 'suspended paused*',
      shot: 'stopped crashed*,resumed unpaused,started booted,stopped destroyed*',
      gone: 'stopped unknown*',
      idle: 'started booted*',
      late: 'resumed unpaused,started booted,stopped destroyed',
    });
    assert.deepEqual(
      events.map(({ sequence }) => sequence),
      events.map((_, index) => index + 1),
    );
  });
});
