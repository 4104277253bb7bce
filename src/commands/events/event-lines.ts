import { escapeUnprintable, quoteIfNeeded } from '../../base/text.ts';
import { VM_EVENT_KINDS, type VmEvent } from '../../model/vm-event.ts';

export type EventFormat = 'text' | 'json';

const KIND_WIDTH = Math.max(...VM_EVENT_KINDS.map(({ length }) => length));

/** The line of an event, without its newline. Nothing in it is followed by a terminal, whatever a VM is called. */
export function renderEvent(event: VmEvent, format: EventFormat): string {
  return format === 'json' ? renderJson(event) : renderText(event);
}

/** `2026-01-31 08:15:00.123Z  lifecycle       web-1  stopped failed` */
function renderText(event: VmEvent): string {
  const time = new Date(event.timeMs).toISOString().replace('T', ' ');
  const words = [quoteIfNeeded(event.domain.name), describe(event), event.isRecovered ? '(recovered)' : ''];
  return `${time}  ${event.kind.padEnd(KIND_WIDTH)}  ${words.filter((word) => word !== '').join('  ')}`;
}

function describe(event: VmEvent): string {
  if (event.kind === 'lifecycle') return `${event.event} ${event.detail}`;
  return Object.entries(detailsOf(event))
    .filter(([, value]) => value !== null && value !== '')
    .map(([key, value]) => `${key}=${quoteIfNeeded(String(value))}`)
    .join(' ');
}

/** The members are described in docs/events.md. */
function renderJson(event: VmEvent): string {
  const { id, sequence, timeMs, kind, domain, isRecovered } = event;
  return escapeUnprintable(
    JSON.stringify({
      id,
      sequence,
      time: new Date(timeMs).toISOString(),
      kind,
      vm: { name: domain.name, uuid: domain.uuid, id: domain.id ?? null },
      recovered: isRecovered,
      ...detailsOf(event),
    }),
  );
}

/** What an event says beside when and of which VM. */
function detailsOf(event: VmEvent): Readonly<Record<string, string | boolean | null>> {
  switch (event.kind) {
    case 'lifecycle':
      return { event: event.event, detail: event.detail };
    case 'watchdog':
      return { action: event.action };
    case 'io-error':
      return { device: event.device, action: event.action, reason: event.reason, path: event.path };
    case 'agent':
      return { state: event.state, reason: event.reason };
    case 'memory-failure':
      return {
        recipient: event.recipient,
        action: event.action,
        actionRequired: event.isActionRequired,
        recursive: event.isRecursive,
      };
    case 'block-job':
      return { disk: event.disk, type: event.type, status: event.status };
    case 'job-completed':
      return { operation: event.operation ?? null };
    case 'reboot':
    case 'control-error':
      return {};
  }
}
