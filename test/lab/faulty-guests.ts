// Guests that something goes wrong with, on a real host: a watchdog that is not fed, a kernel that panics, a disk without space.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ARM_WATCHDOG, busyGuest } from './busy-guest.ts';
import { shellQuote } from './cage.ts';
import type { DomainSpec } from './guests.ts';
import type { LibvirtHost } from './libvirt.ts';

/** Of the filesystem that is full: the guest writes 64 KiB. */
const SPACE = '32k';
const DISK_BYTES = 8 << 20;

/** How one is made. */
export interface FaultyGuestOptions {
  /** A definition stays when the guest ends. */
  readonly persistent?: boolean;
}

/**
 * A guest that arms its i6300esb as soon as it is up, and does not feed it: half a second later QEMU does `action`. With `reset` it goes round
 * and round.
 */
export async function createWatchdogGuest(
  host: LibvirtHost,
  name: string,
  { action = 'pause', persistent = false }: FaultyGuestOptions & { readonly action?: string } = {},
): Promise<void> {
  const guest = busyGuest(name);
  const boot = guest.boot!;
  const spec: DomainSpec = {
    ...guest,
    boot: { ...boot, cmdline: `${boot.cmdline} ${ARM_WATCHDOG}` },
    extraDevicesXml: `<watchdog model='i6300esb' action='${action}'/>`,
  };
  await host.createDomains([spec], 'running', persistent);
}

/** A guest that is up and has pvpanic; `panic` makes its kernel panic, and libvirt does `onCrash`. */
export async function createPanicGuest(
  host: LibvirtHost,
  name: string,
  { onCrash = 'destroy', persistent = false }: FaultyGuestOptions & { readonly onCrash?: string } = {},
): Promise<{ panic(): Promise<void> }> {
  const spec: DomainSpec = { ...busyGuest(name), extraXml: `<on_crash>${onCrash}</on_crash>` };
  await host.createDomains([spec], 'running', persistent);
  await host.waitForGuest(name);
  return {
    async panic() {
      await host.virsh('inject-nmi', name);
    },
  };
}

/**
 * A guest whose disk is on a filesystem with less space than it writes. `stop` (QEMU's own way with a full disk) pauses it at the first write,
 * `report` lets it try again and again.
 */
export async function createFullDiskGuest(
  host: LibvirtHost,
  name: string,
  { errorPolicy = 'stop', persistent = false }: FaultyGuestOptions & { readonly errorPolicy?: 'stop' | 'report' } = {},
): Promise<void> {
  const dir = join(host.cage.dir, `full-${name}`);
  const path = join(dir, 'disk.raw');
  mkdirSync(dir);
  const [quotedDir, quotedPath] = [shellQuote(dir), shellQuote(path)];
  // In the cage's own view of the file system, where QEMU is.
  const said = await host.cage.send(
    `mount -t tmpfs -o size=${SPACE} none ${quotedDir} 2>&1 && truncate -s ${DISK_BYTES} ${quotedPath} 2>&1 && echo mounted`,
  );
  if (said !== 'mounted') throw new Error(`lab: there is no full filesystem: ${said}`);
  const disk = {
    target: 'vda',
    format: 'raw',
    sizeBytes: DISK_BYTES,
    path,
    driverAttributes: `error_policy='${errorPolicy}'`,
  };
  await host.createDomains(
    [{ ...busyGuest(name), disks: [disk as NonNullable<DomainSpec['disks']>[number]] }],
    'running',
    persistent,
  );
}
