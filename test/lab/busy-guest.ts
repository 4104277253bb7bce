// A guest that does real work: Debian's kernel for virtual machines, and an initramfs of busybox and the virtio modules whose
// /init keeps reading and writing the first disk. Every statistic that needs a guest driver (balloon.*) is there for it.
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { DomainSpec } from './guests.ts';
import { GUEST_MODULES, KERNEL_DIR, kernelFiles } from './kernel.ts';
import { findProgram, runTool } from './tools.ts';

/** What the guest writes to its serial console once its drivers are loaded and its work begins. */
export const READY_LINE = 'virtlens-lab: guest is ready';

/** A word of the kernel's command line: the guest arms its watchdog and does not feed it. */
export const ARM_WATCHDOG = 'virtlens.arm-watchdog';

/** A word of the kernel's command line, with a number: so many numbered lines are written to the second serial port, from 1 on. */
export const COUNT_LINES = 'virtlens.count-lines';

const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
# Which module needs which differs from kernel to kernel: after a few rounds all that can be loaded are.
for round in 1 2 3 4; do
  for module in /modules/*.ko; do /bin/busybox insmod $module 2>/dev/null; done
done
for interface in /sys/class/net/eth*; do [ -e $interface ] && /bin/busybox ip link set \${interface##*/} up; done
echo '${READY_LINE}'
# The watchdog i6300esb without a driver: unlock and set both of its timers, unlock again for each; then enable it. Nobody feeds it.
if /bin/busybox grep -q ${ARM_WATCHDOG} /proc/cmdline; then
  for device in /sys/bus/pci/devices/*; do
    [ "$(/bin/busybox cat $device/vendor $device/device | /bin/busybox tr -d '\\n')" = 0x80860x25ab ] || continue
    echo 1 > $device/enable
    read -r base rest < $device/resource
    for timer in 0 4; do
      /bin/busybox devmem $((base + 12)) 16 0x80
      /bin/busybox devmem $((base + 12)) 16 0x86
      /bin/busybox devmem $((base + timer)) 32 0x100
    done
    printf '\\002' | /bin/busybox dd of=$device/config bs=1 seek=104 conv=notrunc 2>/dev/null
  done
fi
lines=$(/bin/busybox sed -n 's/.*${COUNT_LINES}=\\([0-9]*\\).*/\\1/p' /proc/cmdline)
if [ -n "$lines" ]; then
  /bin/busybox stty -F /dev/ttyS1 raw
  /bin/busybox awk -v lines=$lines 'BEGIN { for (i = 1; i <= lines; i++) printf "counted %d %s\\n", i, substr("0123456789012345678901234567890123456789012345678901234567890123456789", 1, i % 67) }' | /bin/busybox cat > /dev/ttyS1
  echo "counted to $lines"
fi
while true; do
  if [ -b /dev/vda ]; then
    /bin/busybox dd if=/dev/urandom of=/dev/vda bs=4096 count=16 conv=fsync 2>/dev/null
    echo 3 > /proc/sys/vm/drop_caches
    /bin/busybox dd if=/dev/vda of=/dev/null bs=4096 count=64 2>/dev/null
  fi
  /bin/busybox usleep 200000
done
`;

/**
 * A busy guest: 128 MiB, a disk `vda`, a NIC, memory reports every second. `inject-nmi` makes its kernel panic, which a pvpanic
 * device reports as a crash. Spread it into a spec of your own to change parts.
 */
export function busyGuest(name: string): DomainSpec {
  const files = kernelFiles();
  if (files === undefined) throw new Error("lab: no guest kernel; ask unavailable('busy-guest') before");
  return {
    name,
    memoryKiB: 128 * 1024,
    disks: [{ target: 'vda', format: 'raw', sizeBytes: 8 << 20 }],
    nics: [{}],
    balloon: 1,
    extraXml: '<on_crash>preserve</on_crash>',
    extraDevicesXml: "<panic model='isa'/>",
    boot: {
      kernel: files.vmlinuz,
      initrd: buildInitramfs(files.modules),
      cmdline: 'console=ttyS0 quiet panic=-1 unknown_nmi_panic=1 tsc=unstable',
    },
  };
}

/** The initramfs, built once for a kernel and an INIT, beside that kernel. Several processes may build it at the same time. */
function buildInitramfs(modules: string): string {
  const busybox = findProgram('busybox')!;
  const version = createHash('sha256').update(INIT).digest('hex').slice(0, 12);
  const built = join(KERNEL_DIR, `initramfs-${version}.cpio`);
  if (existsSync(built)) return built;
  const work = mkdtempSync(join(KERNEL_DIR, 'initramfs-'));
  try {
    const root = join(work, 'root');
    mkdirSync(join(root, 'bin'), { recursive: true });
    mkdirSync(join(root, 'modules'));
    copyFileSync(busybox, join(root, 'bin', 'busybox'));
    symlinkSync('busybox', join(root, 'bin', 'sh'));
    for (const module of GUEST_MODULES) {
      const file = join(modules, `${module}.ko`);
      if (existsSync(file)) copyFileSync(file, join(root, 'modules', `${module}.ko`));
    }
    writeFileSync(join(root, 'init'), INIT);
    chmodSync(join(root, 'init'), 0o755);
    runTool('sh', ['-c', 'find . | busybox cpio -o -H newc > ../initramfs.cpio'], { cwd: root });
    renameSync(join(work, 'initramfs.cpio'), built);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return built;
}
