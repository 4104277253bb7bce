// Command lines of QEMU as Proxmox VE 7, 8 and 9 write them (qemu-server, test/cfg2cmd), in the shell's quotes.

/** The arguments of a line that is quoted for a shell, as /proc/PID/cmdline has them. */
export function splitShell(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ''));
}

const MONITORS =
  "-chardev 'socket,id=qmp,path=/var/run/qemu-server/8006.qmp,server=on,wait=off' -mon 'chardev=qmp,mode=control' -chardev 'socket,id=qmp-event,path=/var/run/qmeventd.sock,reconnect=5' -mon 'chardev=qmp-event,mode=control' -pidfile /var/run/qemu-server/8006.pid -daemonize";

/** Proxmox VE 7.4: a qcow2 image on a directory, a tap interface, an empty CD drive. */
export const PVE7 = splitShell(
  `/usr/bin/kvm -id 8006 -name 'simple,debug-threads=on' -no-shutdown ${MONITORS} -smbios 'type=1,uuid=7b10d7af-b932-4c66-b2c3-3996152ec465' -smp '3,sockets=1,cores=3,maxcpus=3' -nodefaults -vnc 'unix:/var/run/qemu-server/8006.vnc,password=on' -cpu kvm64,enforce,+kvm_pv_eoi,+kvm_pv_unhalt,+lahf_lm,+sep -m 768 -drive 'if=none,id=drive-ide2,media=cdrom,aio=threads' -device 'ide-cd,bus=ide.1,unit=0,drive=drive-ide2,id=ide2,bootindex=200' -device 'virtio-scsi-pci,id=scsihw0,bus=pci.0,addr=0x5' -drive 'file=/var/lib/vz/images/8006/vm-8006-disk-0.qcow2,if=none,id=drive-scsi0,discard=on,format=qcow2,cache=none,aio=native,detect-zeroes=unmap' -device 'scsi-hd,bus=scsihw0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,bootindex=100' -netdev 'type=tap,id=net0,ifname=tap8006i0,script=/var/lib/qemu-server/pve-bridge,downscript=/var/lib/qemu-server/pve-bridgedown,vhost=on' -device 'virtio-net-pci,mac=A2:C0:43:77:08:A0,netdev=net0,bus=pci.0,addr=0x12,id=net0,bootindex=300' -machine 'type=pc'`,
);

/** Proxmox VE 8.4: CPU and memory hotplug, NUMA, 2 sockets of 2 cores, 3 vCPUs, 2 GiB. */
export const PVE8_HOTPLUG = splitShell(
  "/usr/bin/kvm -id 101 -name 'web-01,debug-threads=on' -no-shutdown -chardev 'socket,id=qmp-event,path=/var/run/qmeventd.sock,reconnect-ms=5000' -daemonize -smp '1,sockets=2,cores=2,maxcpus=4' -device 'kvm64-x86_64-cpu,id=cpu2,socket-id=0,core-id=1,thread-id=0' -device 'kvm64-x86_64-cpu,id=cpu3,socket-id=1,core-id=0,thread-id=0' -nodefaults -cpu kvm64,enforce,+lahf_lm,+sep -m 'size=1024,slots=255,maxmem=524288M' -object 'memory-backend-ram,id=ram-node0,size=512M' -numa 'node,nodeid=0,cpus=0-1,memdev=ram-node0' -object 'memory-backend-ram,id=ram-node1,size=512M' -numa 'node,nodeid=1,cpus=2-3,memdev=ram-node1' -object 'memory-backend-ram,id=mem-dimm0,size=512M' -device 'pc-dimm,id=dimm0,memdev=mem-dimm0,node=0' -object 'memory-backend-ram,id=mem-dimm1,size=512M' -device 'pc-dimm,id=dimm1,memdev=mem-dimm1,node=1'",
);

const hugepages = (id: string, size: string) =>
  `-object 'memory-backend-file,id=${id},size=${size},mem-path=/run/hugepages/kvm/2048kB,share=on,prealloc=yes'`;

/** Proxmox VE 8.4: huge pages, 8 GiB. */
export const PVE8_HUGEPAGES = splitShell(
  `/usr/bin/kvm -id 102 -name huge,debug-threads=on -smp '4,sockets=2,cores=2,maxcpus=4' -cpu host -m 8192 ${hugepages('ram-node0', '4096M')} -numa 'node,nodeid=0,cpus=0-1,memdev=ram-node0' ${hugepages('ram-node1', '4096M')}`,
);

/** Proxmox VE 8.4: huge pages with memory hotplug, 18 GiB. */
export const PVE8_HUGEPAGES_HOTPLUG = splitShell(
  `/usr/bin/kvm -id 103 -name huge,debug-threads=on -smp '2,sockets=1,cores=2,maxcpus=2' -cpu host -m 'size=2048,slots=255,maxmem=524288M' ${hugepages('ram-node0', '1024M')} ${hugepages('ram-node1', '1024M')} ${Array.from({ length: 16 }, (_, dimm) => `${hugepages(`mem-dimm${dimm}`, '1024M')} -device 'pc-dimm,id=dimm${dimm},memdev=mem-dimm${dimm},node=0'`).join(' ')}`,
);

/** The `-blockdev` of Proxmox VE 9 for a qcow2 image with cache=none, behind a throttle node. */
export const PVE9_BLOCKDEV =
  '{"detect-zeroes":"unmap","discard":"unmap","driver":"throttle","file":{"cache":{"direct":true,"no-flush":false},"detect-zeroes":"unmap","discard":"unmap","driver":"qcow2","file":{"aio":"io_uring","cache":{"direct":true,"no-flush":false},"detect-zeroes":"unmap","discard":"unmap","driver":"file","filename":"/var/lib/vz/images/8006/vm-8006-disk-0.qcow2","node-name":"ecd04be4259153b8293415fefa2a84c","read-only":false},"node-name":"fcd04be4259153b8293415fefa2a84c","read-only":false},"node-name":"drive-scsi0","read-only":false,"throttle-group":"throttle-drive-scsi0"}';

/** Proxmox VE 9 with QEMU 11: block devices as a graph, a name without debug-threads, EFI firmware. */
export const PVE9 = splitShell(
  `/usr/bin/kvm -id 8006 -name simple -no-shutdown ${MONITORS} -object '{"id":"throttle-drive-scsi0","limits":{},"qom-type":"throttle-group"}' -smp '1,sockets=1,cores=1,maxcpus=1' -nodefaults -cpu qemu64 -m 512 -device 'ide-cd,bus=ide.1,unit=0,id=ide2,bootindex=200' -device 'virtio-scsi-pci,id=scsihw0,bus=pci.0,addr=0x5' -blockdev '${PVE9_BLOCKDEV}' -device 'scsi-hd,bus=scsihw0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,device_id=drive-scsi0,bootindex=100,write-cache=on' -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/usr/share/pve-edk2-firmware//OVMF_CODE_4M.fd"},"node-name":"pflash0","read-only":true}' -machine 'hpet=off,type=pc+pve0'`,
);

/** Proxmox VE 9: several queues, a NIC without a bridge, virtio-fs, a TPM. */
export const PVE9_NETWORK = splitShell(
  "/usr/bin/kvm -id 8006 -name simple -netdev 'type=tap,id=net0,ifname=tap8006i0,script=/usr/libexec/qemu-server/pve-bridge,downscript=/usr/libexec/qemu-server/pve-bridgedown,vhost=on,queues=2' -device 'virtio-net-pci,mac=A2:C0:43:77:08:A0,netdev=net0,bus=pci.0,addr=0x12,id=net0,vectors=6,mq=on,packed=on,rx_queue_size=1024,tx_queue_size=256,bootindex=300,host_mtu=1500' -netdev 'type=user,id=net1,hostname=simple' -m 4096 -object 'memory-backend-memfd,id=virtiofs-mem,size=4096M,share=on' -machine 'memory-backend=virtiofs-mem,type=q35+pve0' -chardev 'socket,id=tpmchar,path=/var/run/qemu-server/8006.swtpm' -tpmdev 'emulator,id=tpmdev,chardev=tpmchar' -device 'tpm-tis,tpmdev=tpmdev'",
);
