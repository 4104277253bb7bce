import type { Clock } from '../../base/clock.ts';
import { EVENT_KINDS, type EventName, type EventPayload, LIFECYCLE } from '../../libvirt/wire/event-kinds.ts';
import type { DomainRef } from '../../libvirt/wire/types.ts';
import { invalidArgument, jobTimeout, noDomain, operationInvalid } from '../description/daemon-error.ts';
import type { HostDescription, PoolDescription, StoragePool } from '../description/host-description.ts';
import { uuidFrom } from '../description/random.ts';
import type {
  DiskDescription,
  ExactStat,
  InterfaceDescription,
  VmDescription,
  VmStateName,
} from '../description/vm-description.ts';
import { diskAlias } from './domain-xml.ts';
import { type FleetOptions, generateFleet } from './fleet.ts';
import { completeHardware } from './hardware.ts';
import { DETAIL, REASON } from './lifecycle.ts';
import { Migration } from './migration.ts';
import { isActiveState, VirtualMachine, type VmIdentity } from './virtual-machine.ts';

export type EventListener = <N extends EventName>(name: N, payload: EventPayload<N>) => void;

const METADATA_ELEMENT = 2;
const MIGRATION_MS = 20_000;
const MIGRATION_HOLDER = 'remoteDispatchDomainMigratePerform3Params';

/** The VMs and pools of one simulated host, and what can happen to them. Every change tells the listeners, as libvirt's events do. */
export class Hypervisor {
  readonly host: HostDescription;
  readonly clock: Clock;
  readonly seed: number;
  readonly pools = new Map<string, StoragePool>();
  readonly #vms = new Map<string, VirtualMachine>();
  readonly #byUuid = new Map<string, VirtualMachine>();
  readonly #byId = new Map<number, VirtualMachine>();
  readonly #listeners = new Set<EventListener>();
  #nextId = 1;
  #unknownVms = 0;

  constructor(options: { readonly host: HostDescription; readonly clock: Clock; readonly seed: number }) {
    this.host = options.host;
    this.clock = options.clock;
    this.seed = options.seed;
  }

  // --- what there is ---

  /** Every VM, in the order in which they were defined. */
  get vms(): ReadonlyMap<string, VirtualMachine> {
    return this.#vms;
  }

  byId(id: number): VirtualMachine {
    const vm = this.#byId.get(id);
    if (vm === undefined) throw noDomain(`no domain with matching id ${id}`);
    return vm;
  }

  byName(name: string): VirtualMachine {
    const vm = this.#vms.get(name);
    if (vm === undefined) throw noDomain(`no domain with matching name '${name}'`);
    return vm;
  }

  maybeByUuid(uuid: string): VirtualMachine | undefined {
    return this.#byUuid.get(uuid);
  }

  byUuid(uuid: string): VirtualMachine {
    const vm = this.#byUuid.get(uuid);
    if (vm === undefined) throw noDomain(`no domain with matching uuid '${uuid}'`);
    return vm;
  }

  /** The VM that a call speaks of: by UUID, as libvirt's drivers look it up. Throws 'no domain' (42). */
  find(ref: DomainRef): VirtualMachine {
    const vm = this.#byUuid.get(ref.uuid);
    if (vm === undefined) throw noDomain(`no domain with matching uuid '${ref.uuid}' (${ref.name})`);
    return vm;
  }

  // --- building it ---

  addFleet(options: Omit<FleetOptions, 'seed'>): void {
    for (const [identity, describe] of generateFleet({ ...options, seed: this.seed }))
      this.#add(identity, describe, {});
  }

  /** Adds a VM without an event: one that was there before the simulator began. */
  add(description: VmDescription): VirtualMachine {
    const identity: VmIdentity = {
      name: description.name,
      uuid: description.uuid ?? uuidFrom(`${this.seed} ${description.name}`),
      state: description.state ?? 'running',
    };
    return this.#add(identity, () => description, description);
  }

  #add(identity: VmIdentity, describe: () => VmDescription, options: Partial<VmDescription>): VirtualMachine {
    if (this.#vms.has(identity.name)) throw invalidArgument(`domain '${identity.name}' already exists`);
    if (this.#byUuid.has(identity.uuid)) throw invalidArgument(`domain with UUID ${identity.uuid} already exists`);
    const vm = new VirtualMachine({
      identity,
      describe,
      id: isActiveState(identity.state) ? this.#nextId++ : -1,
      seed: this.seed,
      clock: this.clock,
      reason: options.reason,
      persistent: options.persistent,
      autostart: options.autostart,
      uptimeSeconds: options.uptimeSeconds,
    });
    this.#vms.set(vm.name, vm);
    this.#byUuid.set(vm.uuid, vm);
    if (vm.active) this.#byId.set(vm.id, vm);
    if (options.hung === true) vm.hang();
    return vm;
  }

  addPool(pool: PoolDescription): void {
    this.pools.set(pool.name, {
      uuid: uuidFrom(`${this.seed} pool ${pool.name}`),
      state: 2,
      volumes: 0,
      type: 'dir',
      path: `/var/lib/libvirt/${pool.name}`,
      ...pool,
    });
  }

  // --- events ---

  /** Calls `listener` at every event; the function returned ends that. */
  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit<N extends EventName>(name: N, payload: EventPayload<N>): void {
    for (const listener of this.#listeners) listener(name, payload);
  }

  /** An event of a VM by its name; `payload` without the domain. */
  emitFor<N extends EventName>(name: string, event: N, payload: Omit<EventPayload<N>, 'domain'>): void {
    if (!(event in EVENT_KINDS)) throw new RangeError(`'${event}' is not an event; one of ${Object.keys(EVENT_KINDS)}`);
    this.emit(event, { ...payload, domain: this.byName(name).ref } as unknown as EventPayload<N>);
  }

  /** An event that defines a VM which does not exist, another one each time: what only a broken or hostile daemon says. */
  emitUnknown(): void {
    const name = `unknown-${++this.#unknownVms}`;
    this.#lifecycle({ name, uuid: uuidFrom(`${this.seed} ${name}`), id: -1 }, LIFECYCLE.defined, DETAIL.defined.added);
  }

  #lifecycle(domain: DomainRef, event: number, detail: number): void {
    this.emit('lifecycle', { domain, event, detail });
  }

  // --- what happens to VMs ---

  define(description: VmDescription): VirtualMachine {
    const known = this.#vms.get(description.name);
    if (known === undefined) {
      const vm = this.add({ ...description, state: description.state ?? 'shutoff' });
      this.#lifecycle(vm.ref, LIFECYCLE.defined, DETAIL.defined.added);
      return vm;
    }
    known.redefine(completeHardware(description, known.seed));
    known.persistent = true;
    this.#lifecycle(known.ref, LIFECYCLE.defined, DETAIL.defined.updated);
    return known;
  }

  undefine(name: string): void {
    const vm = this.byName(name);
    vm.persistent = false;
    this.#lifecycle(vm.ref, LIFECYCLE.undefined, DETAIL.undefined.removed);
    if (!vm.active) this.#forget(vm);
  }

  #forget(vm: VirtualMachine): void {
    this.#vms.delete(vm.name);
    this.#byUuid.delete(vm.uuid);
  }

  start(name: string): void {
    const vm = this.byName(name);
    if (vm.active) throw operationInvalid('domain is already running');
    this.#enter(vm, 'running', REASON.running.booted);
    this.#lifecycle(vm.ref, LIFECYCLE.resumed, DETAIL.resumed.unpaused);
    this.#lifecycle(vm.ref, LIFECYCLE.started, DETAIL.started.booted);
  }

  /** A VM that exists only while it runs: defines, starts, and forgets it when it stops. */
  create(description: VmDescription): VirtualMachine {
    const vm = this.#vms.get(description.name) ?? this.add({ ...description, persistent: false, state: 'shutoff' });
    this.start(vm.name);
    return vm;
  }

  /** The guest shuts itself down. */
  stop(name: string): void {
    const vm = this.#active(name);
    this.#lifecycle(vm.ref, LIFECYCLE.shutdown, DETAIL.shutdown.guest);
    this.#end(vm, 'shutoff', REASON.shutoff.shutdown, DETAIL.stopped.shutdown);
  }

  destroy(name: string): void {
    this.#end(this.#active(name), 'shutoff', REASON.shutoff.destroyed, DETAIL.stopped.destroyed);
  }

  /** The VM's process dies, as by `kill -9`. */
  crash(name: string): void {
    this.#end(this.#active(name), 'shutoff', REASON.shutoff.crashed, DETAIL.stopped.failed);
  }

  /** The guest's kernel panics, and `on_crash` destroys the VM. */
  panic(name: string): void {
    const vm = this.#active(name);
    this.#lifecycle(vm.ref, LIFECYCLE.crashed, DETAIL.crashed.panicked);
    this.#end(vm, 'shutoff', REASON.shutoff.crashed, DETAIL.stopped.crashed);
  }

  pause(name: string): void {
    const vm = this.#active(name);
    if (vm.state === 'paused') return;
    this.#enter(vm, 'paused', REASON.paused.user);
    this.#lifecycle(vm.ref, LIFECYCLE.suspended, DETAIL.suspended.paused);
  }

  resume(name: string): void {
    const vm = this.#active(name);
    if (vm.state === 'running') return;
    this.#enter(vm, 'running', REASON.running.unpaused);
    this.#lifecycle(vm.ref, LIFECYCLE.resumed, DETAIL.resumed.unpaused);
  }

  reboot(name: string): void {
    this.emit('reboot', { domain: this.#active(name).ref });
  }

  hang(name: string): void {
    this.#active(name).hang();
  }

  unhang(name: string): void {
    this.byName(name).unhang();
  }

  /** Starts a live migration to another host; it ends by itself after its duration, or by `endMigration`. */
  migrate(name: string, options: { readonly durationMs?: number; readonly totalBytes?: number } = {}): void {
    const vm = this.#active(name);
    if (vm.migration !== undefined) throw operationInvalid('domain is already migrating');
    if (!vm.job.tryAcquire(MIGRATION_HOLDER)) throw jobTimeout(vm.job.holder!);
    const durationMs = options.durationMs ?? MIGRATION_MS;
    const migration = new Migration(this.clock, {
      durationMs,
      totalBytes: options.totalBytes ?? vm.hardware.memoryKiB * 1024,
    });
    vm.migration = migration;
    this.emit('migrationIteration', { domain: vm.ref, iteration: 1 });
    this.clock.schedule(durationMs, () => {
      if (vm.migration === migration) this.endMigration(name, 'migrated');
    });
  }

  /** Ends a migration: the VM leaves this host, or stays. */
  endMigration(name: string, how: 'migrated' | 'cancelled'): void {
    const vm = this.#active(name);
    const { migration } = vm;
    if (migration === undefined) throw operationInvalid('no job is active on the domain');
    const params = migration.stats();
    vm.endMigration();
    if (how === 'migrated') {
      this.#lifecycle(vm.ref, LIFECYCLE.suspended, DETAIL.suspended.migrated);
      this.emit('jobCompleted', { domain: vm.ref, params });
      this.#end(vm, 'shutoff', REASON.shutoff.migrated, DETAIL.stopped.migrated);
    } else {
      vm.reason = vm.state === 'running' ? REASON.running.migrationCancelled : vm.reason;
      this.emit('jobCompleted', { domain: vm.ref, params });
    }
  }

  attachDisk(name: string, disk: DiskDescription): void {
    const vm = this.byName(name);
    const { disks } = vm.hardware;
    if (disks.some((known) => known.target === disk.target)) {
      throw operationInvalid(`target ${disk.target} already exists`);
    }
    vm.redefine({ disks: [...disks, disk] });
    if (vm.active) this.emit('deviceAdded', { domain: vm.ref, alias: diskAlias(disk, disks.length) });
  }

  attachInterface(name: string, device: InterfaceDescription): void {
    const vm = this.byName(name);
    const { interfaces } = vm.hardware;
    vm.redefine({ interfaces: [...interfaces, device] });
    if (vm.active) this.emit('deviceAdded', { domain: vm.ref, alias: `net${interfaces.length}` });
  }

  /** Takes away the disk or interface of this target name or MAC address. */
  detachDevice(name: string, device: string): void {
    const vm = this.byName(name);
    const { disks, interfaces } = vm.hardware;
    const disk = disks.findIndex((candidate) => candidate.target === device);
    const nic = interfaces.findIndex((candidate) => candidate.target === device || candidate.mac === device);
    if (disk === -1 && nic === -1) throw invalidArgument(`device '${device}' not found in domain '${name}'`);
    const alias = disk === -1 ? `net${nic}` : diskAlias(disks[disk]!, disk);
    vm.redefine(disk === -1 ? { interfaces: interfaces.toSpliced(nic, 1) } : { disks: disks.toSpliced(disk, 1) });
    if (vm.active) this.emit('deviceRemoved', { domain: vm.ref, alias });
  }

  /** Replaces what stands inside `<metadata>`. */
  setMetadata(name: string, xml: string): void {
    const vm = this.byName(name);
    vm.redefine({ metadata: xml });
    const namespace = /xmlns(?::\w+)?=["']([^"']+)["']/.exec(xml)?.[1];
    this.emit('metadataChange', { domain: vm.ref, type: METADATA_ELEMENT, namespace });
  }

  /** Sets statistics by their names, over those that are there; `undefined` takes one away. */
  setStats(name: string, stats: Readonly<Record<string, Omit<ExactStat, 'field'> | undefined>>): void {
    this.byName(name).override(stats);
  }

  #active(name: string): VirtualMachine {
    const vm = this.byName(name);
    if (!vm.active) throw operationInvalid('domain is not running');
    return vm;
  }

  #enter(vm: VirtualMachine, state: VmStateName, reason: number): void {
    this.#byId.delete(vm.id);
    vm.enter(state, reason, vm.active ? vm.id : this.#nextId++);
    if (vm.active) this.#byId.set(vm.id, vm);
  }

  #end(vm: VirtualMachine, state: VmStateName, reason: number, detail: number): void {
    const { ref } = vm;
    vm.endMigration();
    this.#enter(vm, state, reason);
    this.#lifecycle(ref, LIFECYCLE.stopped, detail);
    if (!vm.persistent) this.#forget(vm);
  }
}
