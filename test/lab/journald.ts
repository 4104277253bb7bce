// A systemd-journald in the cage of a libvirtd, which takes the libvirtd for the service of that name.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Cage, tail, waitFor } from './cage.ts';
import { JOURNALD, MOUNT_UNITS } from './tools.ts';

/** libvirtd.conf as the default is where there is a journal. */
export const JOURNALD_CONFIG = ['log_outputs = "3:journald"'];

/** The control group of the service. It is all that may be left of it: its hierarchy is the machine's. */
const UNIT = '/sys/fs/cgroup/systemd/virtlens-lab.slice/libvirtd.service';

/** For the cage; nothing of the kernel goes to its journal. */
export const JOURNALD_SETUP = `
mkdir -p /run/systemd/journal /run/log/journal "$CAGE/etc/systemd"
mount --bind "$CAGE/etc/systemd" /etc/systemd
printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\n' > /etc/systemd/journald.conf
${MOUNT_UNITS}
mkdir -p ${UNIT}
`;

/** What a command begins with that is to run as libvirtd.service. */
export const AS_SERVICE = ['bash', '-c', `echo $$ > ${UNIT}/cgroup.procs && exec "$@"`, 'bash'];

/** Starts it; libvirtd must come after it. */
export async function startJournald(cage: Cage): Promise<void> {
  const { logPath } = await cage.start('journald', [JOURNALD]);
  await waitFor(
    () => (existsSync(join(cage.dir, 'run', 'systemd', 'journal', 'socket')) ? true : undefined),
    () => `lab: journald does not come up:\n${tail(logPath)}`,
  );
}
