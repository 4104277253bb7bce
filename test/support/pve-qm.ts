// A stand-in for `qm monitor`, as Proxmox VE's behaves without a terminal: prompts and echo on standard error, replies on standard output,
// which is written when it ends.
import { join } from 'node:path';
import type { PveTree } from './pve-tree.ts';

const SCRIPT = `
mode=$1; shift
[ "$1" = monitor ] || exit 9
out="Entering QEMU Monitor for VM $2 - type 'help' for help
"
case $mode in
  dead) echo "Configuration file 'nodes/pve1/qemu-server/$2.conf' does not exist" >&2; exit 2 ;;
  silent) sleep 600 & echo $! >>"$PIDS"; echo $$ >>"$PIDS"; wait; exit ;;
esac
echo $$ >>"$PIDS"
printf 'qm> ' >&2
while IFS= read -r line; do
  printf '%s\\nqm> ' "$line" >&2
  case $line in
    'info network') out="$out$(cat "$REPLIES/network")
" ;;
    'info block')
      if [ "$mode" = half ]; then
        out="$out""ERROR: VM $2 qmp command 'human-monitor-command' failed - got timeout
"
      else out="$out$(cat "$REPLIES/block")
"; fi ;;
    quit) out="\${out}QUIT" ;;
  esac
done
[ "$mode" = slow ] && { sleep 600 & echo $! >>"$PIDS"; wait; }
printf '%s' "$out"
`;

export type QmMode = 'good' | 'half' | 'slow' | 'silent' | 'dead';

/** Writes the stand-in into a tree; returns the command that runs it. */
export function qmStandIn(tree: PveTree, mode: QmMode): string[] {
  tree.write('qm.sh', SCRIPT);
  tree.write(
    'replies/network',
    'net0: index=0,type=nic,model=virtio-net-pci,macaddr=a2:c0:43:77:08:a0\r\n \\ net0: index=0,type=tap,ifname=tap100i0,script=no\r\n',
  );
  tree.write(
    'replies/block',
    'drive-scsi0 (#block1): /x/vm-100-disk-0.qcow2 (qcow2)\r\n    Attached to:      scsi0\r\n    Cache mode:       writeback\r\n',
  );
  const variables = [`PIDS=${tree.path('pids')}`, `REPLIES=${tree.path('replies')}`];
  return ['env', ...variables, 'sh', join(tree.dir, 'qm.sh'), mode];
}
