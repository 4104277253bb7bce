import type { EventName } from '../../libvirt/wire/event-kinds.ts';

/**
 * The message numbers of events as daemons before 1.2.1 send them: without a callback id (src/remote/remote_protocol.x). Events that
 * came later have none.
 */
export const LEGACY_EVENT_PROCEDURE: Readonly<Partial<Record<EventName, number>>> = {
  lifecycle: 107,
  reboot: 169,
  watchdog: 171,
  ioError: 172,
  ioErrorReason: 195,
  controlError: 224,
  blockJob: 241,
  diskChange: 248,
  trayChange: 268,
  balloonChange: 276,
  deviceRemoved: 311,
};
