import type { ConfigField } from '../../base/config-field.ts';
import { EVENT_KINDS, type EventName } from '../../libvirt/wire/event-kinds.ts';
import { typedParams } from '../../libvirt/wire/typed-params.ts';
import { XdrWriter } from '../../libvirt/wire/xdr.ts';
import { SIM_PROCEDURES, type SimProcedureName } from '../calls/procedures.ts';
import type { Fault } from '../daemon/faults.ts';
import type { LinkFault } from '../daemon/link.ts';
import type { ScriptStep, Simulator } from '../daemon/simulator.ts';
import type { Tampering } from '../daemon/tampering.ts';
import { readName, withoutAbsent } from './scenario-values.ts';
import { type ReadText, readDisk, readInterface, readOverrides, readTyped, readVm } from './scenario-vm.ts';

type Act = (simulator: Simulator) => void;
type ActionReader = (field: ConfigField, readText: ReadText) => Act;

const STEP_KEYS = ['at', 'every', 'action'] as const;
const EVENT_NAMES = Object.keys(EVENT_KINDS) as EventName[];
const PROCEDURE_NAMES = Object.keys(SIM_PROCEDURES) as SimProcedureName[];

type VmAction =
  | 'start'
  | 'stop'
  | 'destroy'
  | 'crash'
  | 'panic'
  | 'pause'
  | 'resume'
  | 'reboot'
  | 'hang'
  | 'unhang'
  | 'undefine';

function onVm(action: VmAction): ActionReader {
  return (field) => {
    const vm = readName(field.table([...STEP_KEYS, 'vm']).vm);
    return ({ hypervisor }) => hypervisor[action](vm);
  };
}

/** What a step of a script can do. */
const ACTIONS: Readonly<Record<string, ActionReader>> = {
  start: onVm('start'),
  stop: onVm('stop'),
  destroy: onVm('destroy'),
  crash: onVm('crash'),
  panic: onVm('panic'),
  pause: onVm('pause'),
  resume: onVm('resume'),
  reboot: onVm('reboot'),
  hang: onVm('hang'),
  unhang: onVm('unhang'),
  undefine: onVm('undefine'),
  define(field, readText) {
    const vm = readVm(field.table([...STEP_KEYS, 'description']).description, readText);
    return ({ hypervisor }) => void hypervisor.define(vm);
  },
  create(field, readText) {
    const vm = readVm(field.table([...STEP_KEYS, 'description']).description, readText);
    return ({ hypervisor }) => void hypervisor.create(vm);
  },
  migrate(field) {
    const step = field.table([...STEP_KEYS, 'vm', 'duration', 'totalBytes']);
    const vm = readName(step.vm);
    const options = withoutAbsent<{ durationMs?: number; totalBytes?: number }>({
      durationMs: step.duration.maybe((value) => value.duration()),
      totalBytes: step.totalBytes.maybe((value) => value.wholeNumber(0)),
    });
    return ({ hypervisor }) => hypervisor.migrate(vm, options);
  },
  cancelMigration(field) {
    const vm = readName(field.table([...STEP_KEYS, 'vm']).vm);
    return ({ hypervisor }) => hypervisor.endMigration(vm, 'cancelled');
  },
  attachDisk(field) {
    const step = field.table([...STEP_KEYS, 'vm', 'disk']);
    const vm = readName(step.vm);
    const disk = readDisk(step.disk);
    return ({ hypervisor }) => hypervisor.attachDisk(vm, disk);
  },
  attachInterface(field) {
    const step = field.table([...STEP_KEYS, 'vm', 'interface']);
    const vm = readName(step.vm);
    const device = readInterface(step.interface);
    return ({ hypervisor }) => hypervisor.attachInterface(vm, device);
  },
  detachDevice(field) {
    const step = field.table([...STEP_KEYS, 'vm', 'device']);
    const vm = readName(step.vm);
    const device = readName(step.device);
    return ({ hypervisor }) => hypervisor.detachDevice(vm, device);
  },
  setMetadata(field) {
    const step = field.table([...STEP_KEYS, 'vm', 'xml']);
    const vm = readName(step.vm);
    const xml = step.xml.string();
    return ({ hypervisor }) => hypervisor.setMetadata(vm, xml);
  },
  setStats(field) {
    const step = field.table([...STEP_KEYS, 'vm', 'stats']);
    const vm = readName(step.vm);
    const stats = readOverrides(step.stats);
    return ({ hypervisor }) => hypervisor.setStats(vm, stats);
  },
  emit(field) {
    const step = field.table([...STEP_KEYS, 'vm', 'event', 'payload']);
    const vm = readName(step.vm);
    const event = step.event.choice(EVENT_NAMES);
    const payload = Object.fromEntries(
      step.payload.maybe((value) => [...value.members()].map(([key, member]) => [key, readMember(key, member)])) ?? [],
    );
    checkPayload(step.payload, event, payload);
    return ({ hypervisor }) => hypervisor.emitFor(vm, event, payload as never);
  },
  emitUnknown(field) {
    const count = field.table([...STEP_KEYS, 'count']).count.wholeNumber(1, 100_000);
    return ({ hypervisor }) => {
      for (let index = 0; index < count; index++) hypervisor.emitUnknown();
    };
  },
  link(field) {
    const link = readLink(field.table([...STEP_KEYS, 'link']).link);
    return (simulator) => simulator.setLink(link);
  },
  fault(field) {
    const fault = readFault(field.table([...STEP_KEYS, 'fault']).fault);
    return (simulator) => void simulator.inject(fault);
  },
  clearFaults(field) {
    field.table(STEP_KEYS);
    return (simulator) => simulator.clearFaults();
  },
  disconnectAll(field) {
    field.table(STEP_KEYS);
    return (simulator) => simulator.disconnectAll();
  },
  garbage(field) {
    field.table(STEP_KEYS);
    return (simulator) => simulator.sendGarbage();
  },
  reorderReplies(field) {
    const count = field.table([...STEP_KEYS, 'count']).count.wholeNumber(1, 1000);
    return (simulator) => simulator.reorderReplies(count);
  },
};

/** One entry of `script`. */
export function readStep(field: ConfigField, readText: ReadText): ScriptStep {
  const members = field.members();
  const atMs = (members.get('at') ?? field.refuse('has no time', 'add "at", such as "10s"')).duration();
  const everyMs = members.get('every')?.duration();
  if (everyMs !== undefined && everyMs <= 0) members.get('every')!.refuse('must be longer than 0', 'write it as 10s');
  const action = (
    members.get('action') ?? field.refuse('has no action', `add "action": ${Object.keys(ACTIONS).join(', ')}`)
  ).choice(Object.keys(ACTIONS));
  const act = ACTIONS[action]!(field, readText);
  return { atMs, ...(everyMs === undefined ? {} : { everyMs }), description: `${field.path} (${action})`, act };
}

/** A member of an event's payload; `params` is a list of typed parameters. */
function readMember(key: string, field: ConfigField): unknown {
  if (key !== 'params') return field.value;
  return typedParams(
    [...field.members()].map(([name, value]) => {
      const { type, value: read } = readTyped(value, name);
      return [name, type, read] as const;
    }),
  );
}

/** Refuses a payload that the event cannot carry, before the script runs. */
function checkPayload(field: ConfigField, event: EventName, payload: object): void {
  const domain = { name: '', uuid: '00000000-0000-0000-0000-000000000000', id: 1 };
  try {
    EVENT_KINDS[event].payload.encode(new XdrWriter(), { ...payload, domain } as never);
  } catch (error) {
    field.refuse(
      `does not fit the event '${event}' (${(error as Error).message})`,
      'see docs/simulator.md for its members',
    );
  }
}

/** One entry of `faults`, or the fault of a step. */
export function readFault(field: ConfigField): Fault {
  const effects = ['delay', 'error', 'drop', 'garbage', 'disconnect', 'tamper'] as const;
  const fault = field.table(['procedure', 'event', 'vm', 'times', ...effects]);
  if (!effects.some((effect) => fault[effect].isPresent)) {
    field.refuse('does nothing', 'add "delay", "error", "drop", "garbage", "disconnect" or "tamper"');
  }
  return withoutAbsent<Fault>({
    procedure: fault.procedure.maybe((value) => value.choice(PROCEDURE_NAMES)),
    event: fault.event.maybe((value) => value.choice(EVENT_NAMES)),
    vm: fault.vm.maybe(readName),
    times: fault.times.maybe((value) => value.wholeNumber(1)),
    delayMs: fault.delay.maybe((value) => value.duration()),
    error: fault.error.maybe((value) => {
      const error = value.table(['code', 'domain', 'level', 'message']);
      return withoutAbsent<NonNullable<Fault['error']>>({
        code: error.code.wholeNumber(0, 1000),
        domain: error.domain.maybe((part) => part.wholeNumber(0, 1000)),
        level: error.level.maybe((part) => part.wholeNumber(0, 2)),
        message: error.message.string(),
      });
    }),
    drop: fault.drop.maybe((value) => value.boolean()),
    garbage: fault.garbage.maybe((value) => Buffer.from(value.string())),
    disconnect: fault.disconnect.maybe((value) => value.boolean()),
    tamper: fault.tamper.maybe(readTampering),
  });
}

const WORD_MAX = 2 ** 32 - 1;

function readTampering(field: ConfigField): Tampering {
  const tampering = field.table([
    'header',
    'claimedItems',
    'payloadBytes',
    'flips',
    'lengthWord',
    'sentBytes',
    'copies',
  ]);
  return withoutAbsent<Tampering>({
    header: tampering.header.maybe((value) => {
      const words = ['program', 'version', 'procedure', 'type', 'serial', 'status'] as const;
      const header = value.table(words);
      const read = words.map((word) => [word, header[word].maybe((part) => part.wholeNumber(0, WORD_MAX))] as const);
      return withoutAbsent<NonNullable<Tampering['header']>>(Object.fromEntries(read));
    }),
    claimedItems: tampering.claimedItems.maybe((value) => value.wholeNumber(0, WORD_MAX)),
    payloadBytes: tampering.payloadBytes.maybe((value) => value.wholeNumber(0, WORD_MAX)),
    flips: tampering.flips.maybe((value) => {
      const flips = value.table(['seed', 'count']);
      return {
        seed: flips.seed.maybe((part) => part.wholeNumber(0, WORD_MAX)) ?? 1,
        count: flips.count.wholeNumber(1, 10_000),
      };
    }),
    lengthWord: tampering.lengthWord.maybe((value) => value.wholeNumber(0, WORD_MAX)),
    sentBytes: tampering.sentBytes.maybe((value) => value.wholeNumber(0, WORD_MAX)),
    copies: tampering.copies.maybe((value) => value.wholeNumber(1, 1000)),
  });
}

function readLink(field: ConfigField): LinkFault {
  const link = field.table(['blackHole', 'closeAfterBytes', 'dripEvery']);
  return withoutAbsent<LinkFault>({
    isBlackHole: link.blackHole.maybe((value) => value.boolean()),
    closeAfterBytes: link.closeAfterBytes.maybe((value) => value.wholeNumber(0)),
    dripEveryMs: link.dripEvery.maybe((value) => value.duration()),
  });
}
