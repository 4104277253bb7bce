import { XML_FLAG } from '../../libvirt/wire/procedures.ts';
import type { DomainRef } from '../../libvirt/wire/types.ts';
import { DaemonError, ERROR_DOMAIN, invalidArgument, operationInvalid, xmlError } from '../description/daemon-error.ts';
import { readDomainXml } from '../description/domain-xml-reader.ts';
import { VM_STATE, type VmDescription } from '../description/vm-description.ts';
import { formatDomainXml } from '../hypervisor/domain-xml.ts';
import type { VirtualMachine } from '../hypervisor/virtual-machine.ts';
import { type CallContext, checkDomainCount, type Handlers, withMonitor } from './call.ts';
import { filterDomains } from './domain-filter.ts';

const OPERATION_DENIED = 29;
const NO_DOMAIN_METADATA = 80;

interface DomainArgs {
  readonly domain: DomainRef;
}

function find({ domain }: DomainArgs, { hypervisor }: CallContext): VirtualMachine {
  return hypervisor.find(domain);
}

/** The state of one VM's affairs, for calls that change it through its monitor. */
async function control(args: DomainArgs, context: CallContext, act: (name: string) => void): Promise<undefined> {
  const vm = find(args, context);
  if (!vm.active) throw operationInvalid('domain is not running');
  return await withMonitor(vm, context, () => {
    act(vm.name);
    return undefined;
  });
}

function defineXml(xml: string, { hypervisor }: CallContext, transient: boolean): { readonly domain: DomainRef } {
  const read = readDomainXml(xml);
  if (read.name === undefined || read.name === '') throw xmlError('missing domain name information');
  const description: VmDescription = {
    name: read.name,
    ...(read.uuid === undefined ? {} : { uuid: read.uuid }),
    ...read.hardware,
  };
  const vm = transient ? hypervisor.create(description) : hypervisor.define(description);
  return { domain: vm.ref };
}

/** Lists, look-ups, identity and life of VMs. */
export const domainCalls = {
  connectListAllDomains({ needResults, flags }, { hypervisor }) {
    const vms = filterDomains([...hypervisor.vms.values()], flags);
    if (needResults !== 0) checkDomainCount(vms.length);
    return { domains: needResults === 0 ? [] : vms.map((vm) => vm.ref), count: vms.length };
  },
  connectNumOfDomains: (_, { hypervisor }) => ({ count: filterDomains([...hypervisor.vms.values()], 1).length }),
  connectListDomains({ maxIds }, { hypervisor }) {
    const vms = filterDomains([...hypervisor.vms.values()], 1);
    return { ids: vms.slice(0, Math.max(0, maxIds)).map((vm) => vm.id) };
  },
  connectNumOfDefinedDomains: (_, { hypervisor }) => ({ count: filterDomains([...hypervisor.vms.values()], 2).length }),
  connectListDefinedDomains({ maxNames }, { hypervisor }) {
    const vms = filterDomains([...hypervisor.vms.values()], 2);
    return { names: vms.slice(0, Math.max(0, maxNames)).map((vm) => vm.name) };
  },
  domainLookupById: ({ id }, { hypervisor }) => ({ domain: hypervisor.byId(id).ref }),
  domainLookupByName: ({ name }, { hypervisor }) => ({ domain: hypervisor.byName(name).ref }),
  domainLookupByUuid: ({ uuid }, { hypervisor }) => ({ domain: hypervisor.byUuid(uuid).ref }),

  domainGetXmlDesc(args, context) {
    if ((args.flags & XML_FLAG.secure) !== 0 && context.session.readOnly) {
      throw new DaemonError(
        OPERATION_DENIED,
        ERROR_DOMAIN.domain,
        'operation forbidden: virDomainGetXMLDesc with secure flag',
      );
    }
    return { xml: formatDomainXml(find(args, context), (args.flags & XML_FLAG.inactive) !== 0) };
  },
  domainGetInfo(args, context) {
    const vm = find(args, context);
    const cpuTime = vm.active ? vm.statValue('cpu.time') : undefined;
    return {
      state: VM_STATE[vm.state],
      maxMemoryKiB: vm.hardware.memoryKiB,
      memoryKiB: vm.hardware.currentMemoryKiB,
      vcpus: vm.hardware.vcpus,
      cpuTimeNs: typeof cpuTime === 'number' || typeof cpuTime === 'bigint' ? cpuTime : 0,
    };
  },
  domainGetState(args, context) {
    const vm = find(args, context);
    return { state: VM_STATE[vm.state], reason: vm.reason };
  },
  domainGetControlInfo(args, context) {
    const vm = find(args, context);
    if (!vm.active) throw operationInvalid('domain is not running');
    // VIR_DOMAIN_CONTROL_OCCUPIED: somebody speaks to the monitor.
    return { state: vm.job.holder === undefined ? 0 : 2, details: 0, stateTimeMs: 0 };
  },
  domainIsActive: (args, context) => ({ active: find(args, context).active ? 1 : 0 }),
  domainIsPersistent: (args, context) => ({ persistent: find(args, context).persistent ? 1 : 0 }),
  domainIsUpdated: (args, context) => ({ updated: find(args, context) === undefined ? 1 : 0 }),
  domainGetAutostart: (args, context) => ({ autostart: find(args, context).autostart ? 1 : 0 }),
  domainHasManagedSaveImage: (args, context) => ({ saved: find(args, context) === undefined ? 1 : 0 }),
  domainSnapshotNum: (args, context) => ({ count: find(args, context) === undefined ? 1 : 0 }),
  domainGetMaxMemory: (args, context) => ({ memoryKiB: find(args, context).hardware.memoryKiB }),
  domainGetMaxVcpus: (args, context) => ({ count: find(args, context).hardware.maxVcpus }),
  domainGetVcpusFlags(args, context) {
    const { vcpus, maxVcpus } = find(args, context).hardware;
    const MAXIMUM = 4;
    return { count: (args.flags & MAXIMUM) === 0 ? vcpus : maxVcpus };
  },
  domainGetOsType(args, context) {
    find(args, context);
    return { type: 'hvm' };
  },
  domainGetSecurityLabel(args, context) {
    find(args, context);
    return { label: '', enforcing: 0 };
  },
  domainGetSecurityLabelList(args, context) {
    find(args, context);
    return { labels: [], count: 0 };
  },
  domainGetMessages(args, context) {
    find(args, context);
    return { messages: [] };
  },
  domainGetDiskErrors(args, context) {
    find(args, context);
    return { errors: [], count: 0 };
  },
  domainGetMetadata(args, context) {
    const vm = find(args, context);
    const { title, description, metadata } = vm.hardware;
    const texts = [description, title, metadata];
    const text = texts[args.type];
    if (text === undefined || (args.type === 2 && args.uri !== undefined && !text.includes(args.uri))) {
      throw new DaemonError(
        NO_DOMAIN_METADATA,
        ERROR_DOMAIN.domain,
        'metadata not found: Requested metadata element is not present',
      );
    }
    return { metadata: text };
  },
  domainGetTime: (args, context) =>
    control(args, context, () => {}).then(() => ({
      seconds: Math.floor(context.hypervisor.clock.wallMs() / 1000),
      nanoseconds: 0,
    })),

  domainCreate(args, context) {
    context.hypervisor.start(find(args, context).name);
    return undefined;
  },
  domainCreateWithFlags(args, context) {
    const vm = find(args, context);
    context.hypervisor.start(vm.name);
    return { domain: vm.ref };
  },
  domainCreateXml: ({ xml }, context) => defineXml(xml, context, true),
  domainDefineXml: ({ xml }, context) => defineXml(xml, context, false),
  domainDefineXmlFlags: ({ xml }, context) => defineXml(xml, context, false),
  domainUndefine(args, context) {
    context.hypervisor.undefine(find(args, context).name);
    return undefined;
  },
  domainUndefineFlags(args, context) {
    context.hypervisor.undefine(find(args, context).name);
    return undefined;
  },
  // Killing a process needs no answer from its monitor.
  domainDestroy(args, context) {
    context.hypervisor.destroy(find(args, context).name);
    return undefined;
  },
  domainDestroyFlags(args, context) {
    context.hypervisor.destroy(find(args, context).name);
    return undefined;
  },
  domainSetAutostart(args, context) {
    find(args, context).autostart = args.autostart !== 0;
    return undefined;
  },
  domainShutdown: (args, context) => control(args, context, (name) => context.hypervisor.stop(name)),
  domainShutdownFlags: (args, context) => control(args, context, (name) => context.hypervisor.stop(name)),
  domainReboot: (args, context) => control(args, context, (name) => context.hypervisor.reboot(name)),
  domainReset: (args, context) => control(args, context, (name) => context.hypervisor.reboot(name)),
  domainSuspend: (args, context) => control(args, context, (name) => context.hypervisor.pause(name)),
  domainResume: (args, context) => control(args, context, (name) => context.hypervisor.resume(name)),
  domainAbortJob(args, context) {
    context.hypervisor.endMigration(find(args, context).name, 'cancelled');
    return undefined;
  },

  connectDomainEventCallbackRegisterAny: ({ eventId, domain }, { session }) => ({
    callbackId: session.subscribe(eventId, domain?.uuid, false),
  }),
  connectDomainEventCallbackDeregisterAny({ callbackId }, { session }) {
    if (!session.unsubscribe({ callbackId })) {
      throw invalidArgument(`domain event callback ${callbackId} not registered`);
    }
    return undefined;
  },
  connectDomainEventRegisterAny({ eventId }, { session }) {
    session.subscribe(eventId, undefined, true);
    return undefined;
  },
  connectDomainEventDeregisterAny({ eventId }, { session }) {
    if (!session.unsubscribe({ legacyEventId: eventId })) {
      throw invalidArgument(`domain event ${eventId} not registered`);
    }
    return undefined;
  },
} satisfies Handlers;
