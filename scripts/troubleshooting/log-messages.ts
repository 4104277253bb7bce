import type { Advice } from './advice.ts';

/**
 * What each message at the levels warn and error means. The keys are the messages as the source has them, `…` where they vary, or the place
 * of the call in the source where another function makes the message; the test compares them with what the source logs.
 */
export const LOG_MESSAGES: Readonly<Record<string, Advice>> = {
  // ---- at the start
  "virtlens: '…' is not a command; the commands are …": {
    section: 'start',
    means: 'The first argument is no command and no flag.',
    fix: 'Take one of the commands that are listed.',
  },
  'virtlens: …': {
    section: 'start',
    means: 'The program cannot start, or ends. Behind the name is one of the errors of this page.',
    fix: 'Search this page for what stands behind the name.',
  },
  'virtlens ha: …': {
    section: 'start',
    means: 'The program cannot start, or ends. Behind the name is one of the errors of this page.',
    fix: 'Search this page for what stands behind the name.',
  },
  'virtlens logs: …': {
    section: 'start',
    means: 'The program cannot start, or ends. Behind the name is one of the errors of this page.',
    fix: 'Search this page for what stands behind the name.',
  },
  'virtlens nova: …': {
    section: 'start',
    means: 'The program cannot start, or ends. Behind the name is one of the errors of this page.',
    fix: 'Search this page for what stands behind the name.',
  },
  'virtlens pve: …': {
    section: 'start',
    means: 'The program cannot start, or ends. Behind the name is one of the errors of this page.',
    fix: 'Search this page for what stands behind the name.',
  },
  'virtlens: systemd cannot be told the state of the service: …': {
    section: 'start',
    means:
      'The unit has `Type=notify`, and `systemd-notify` cannot be run or fails. virtlens works, but systemd takes it for not started.',
    fix: "Install systemd's programs where virtlens runs, or set `Type=exec` in the unit.",
  },
  'an unexpected error was ignored; please report it': {
    section: 'start',
    means: 'A bug of virtlens. It runs on.',
    fix: 'Report it with the whole line: `stack` says where it is. Restart virtlens if something is missing afterwards.',
  },
  'log lines were dropped because nobody read them': {
    section: 'start',
    means: 'Nobody read the log for a while, so `lines` of it are missing. Nothing else is.',
    fix: 'See why the reader of standard error is slow: `systemctl status systemd-journald`.',
  },
  'arguments behind one that is no flag are not read': {
    section: 'start',
    means: "As in Go's programs, flags end at the first argument that is none.",
    fix: 'Remove that argument. A boolean flag takes its value behind `=`: `--collect-up=false`.',
  },

  // ---- reaching libvirt
  'libvirt cannot be reached; virtlens keeps trying': {
    section: 'libvirt',
    means: 'No connection to `uri`; `err` says why. The metrics go on with `libvirt_up` 0.',
    fix: 'Search this page for `err`. Then try by hand: `virsh -r -c URI list`.',
  },
  'the connection to libvirt is lost; virtlens connects again': {
    section: 'libvirt',
    means: 'The daemon was restarted, crashed, or the network was cut.',
    fix: 'Nothing if it connects again. Else: `systemctl status libvirtd virtqemud`.',
  },
  'the control connection to libvirt does not answer; another one takes its place': {
    section: 'libvirt',
    means: 'libvirt leaves `unanswered` calls without a reply on one connection. virtlens uses another one.',
    fix: 'If it repeats, something in libvirt hangs: `time virsh -r list`, `journalctl -u libvirtd -u virtqemud`.',
  },
  'libvirt does not answer': {
    section: 'libvirt',
    means: 'There is a connection, and libvirt replied to nothing in time. `libvirt_up` is 0 until it replies again.',
    fix: '`time virsh -r list`. If that hangs too, look for the cause in `journalctl -u libvirtd -u virtqemud` before you restart the daemon; running VMs survive its restart.',
  },
  'src/commands/serve/serve.ts: notice': {
    section: 'libvirt',
    reads: 'a notice about the URI or a flag, of `virtlens serve`',
    means:
      'Something works otherwise than the flag or the URI says, such as a flag of another exporter that has no effect here.',
    fix: 'Do what the line says; nothing is broken.',
  },
  'src/commands/ha/ha.ts: notice': {
    section: 'libvirt',
    reads: 'a notice about the URI, of `virtlens ha`',
    means:
      'Something works otherwise than the flag or the URI says, such as a flag of another exporter that has no effect here.',
    fix: 'Do what the line says; nothing is broken.',
  },
  'src/commands/nova/nova.ts: notice': {
    section: 'libvirt',
    reads: 'a notice about the URI, of `virtlens nova`',
    means:
      'Something works otherwise than the flag or the URI says, such as a flag of another exporter that has no effect here.',
    fix: 'Do what the line says; nothing is broken.',
  },
  'src/commands/events/events.ts: notice': {
    section: 'libvirt',
    reads: 'a notice about the URI, of `virtlens events`',
    means:
      'Something works otherwise than the flag or the URI says, such as a flag of another exporter that has no effect here.',
    fix: 'Do what the line says; nothing is broken.',
  },

  // ---- collecting
  'a part of the collection failed': {
    section: 'collecting',
    means: '`part` could not be collected; `virtlens_collector_success` of it is 0. The other metrics are current.',
    fix: 'Search this page for `err`. A part that the host does not need can be switched off: `--no-collector.NAME`.',
  },
  'the monitor of a domain does not answer; it is asked apart from now on': {
    section: 'collecting',
    means:
      'The QEMU process of `domain` hangs, migrates or is locked. It is counted in `virtlens_quarantined_domains`; other VMs are current.',
    fix: '`virsh -r domstate VM --reason`, `virsh -r domjobinfo VM`, `ps -o pid,stat,wchan:30,args -C qemu-system-x86_64`. State `D` means that it waits for storage, `T` that it was stopped.',
  },
  'libvirt has no statistics of a domain': {
    section: 'collecting',
    means: 'libvirt refuses the statistics of `domain`; its state and its XML are still served.',
    fix: '`virsh -r domstats VM` shows the same error.',
  },
  "a domain's XML could not be read": {
    section: 'collecting',
    means: 'Disks, interfaces and metadata of `domain` are those of before, or missing.',
    fix: '`virsh -r dumpxml VM`. Search this page for `err`.',
  },
  'a domain is left out: its name cannot be sent to libvirt': {
    section: 'collecting',
    means: "The name of a VM does not fit into libvirt's protocol.",
    fix: 'Rename it: `virsh domrename UUID NEW-NAME` (the VM must be shut off).',
  },
  'events came too fast and some were lost; everything is read again': {
    section: 'collecting',
    means: 'Very many VMs changed at once. Nothing is missing: virtlens reads everything anew.',
    fix: 'Nothing. If it repeats, look for a VM that is started again and again: `virtlens events`.',
  },
  'VMs did not answer in time; their CPU time and memory are left out': {
    section: 'collecting',
    means: 'Of `virtlens nova`: the VMs in `domains` hang.',
    fix: '`virsh -r domstate VM --reason`, and the state of its QEMU process, as above.',
  },

  // ---- web server
  'the metrics were not gathered in time': {
    section: 'web',
    means: 'A scrape got 503, because collecting took longer than it may.',
    fix: 'Raise `scrape_timeout` in Prometheus or `--collect.timeout`, or collect in the background with `--collect.interval=30s`. What is slow: `virtlens_libvirt_rpc_duration_seconds`.',
  },
  'request failed': {
    section: 'web',
    means: 'A page could not be made; the client got 500.',
    fix: 'Search this page for `err`; else report a bug.',
  },
  'web server': {
    section: 'web',
    means: 'A listening socket had an error.',
    fix: '`err` says which. Too many open files: raise `LimitNOFILE=` in the unit.',
  },
  'client refused': {
    section: 'web',
    means: "A client's certificate was not accepted; `err` says why.",
    fix: 'Give Prometheus a certificate of the CA in `client_ca_file` (`tls_config` of the job). If you do not know `remote`, it is right to refuse it.',
  },
  'login refused': {
    section: 'web',
    means:
      'A client came with a wrong user or password, or tried too often, or too many passwords wait to be checked; `reason` says which.',
    fix: 'Correct `basic_auth` of the job in Prometheus. If you do not know `client`, somebody tries passwords: block the address.',
  },
  'web config asks clients for less than before; the last good one stays in use': {
    section: 'web',
    means:
      'The file no longer asks for what `lost` names, such as a password. So that a half-written file opens nothing, this needs a restart.',
    fix: '`systemctl restart virtlens` if it is meant; else correct the file.',
  },
  'web config has become wrong; the last good one stays in use': {
    section: 'web',
    means: 'The changed file or a new certificate cannot be used. A restart would fail now.',
    fix: 'Correct what `err` names; it is read again by itself.',
  },

  // ---- outputs
  'src/commands/telegraf/telegraf.ts: error.message': {
    section: 'outputs',
    reads: 'an error at the start of `virtlens telegraf`',
    means: 'The program cannot start; the line is one of the errors of this page.',
    fix: 'Search this page for its words.',
  },
  'src/commands/telegraf/telegraf.ts: notice': {
    section: 'outputs',
    reads: "a notice about Telegraf's configuration",
    means: 'A key has an older spelling, stands there twice, or is left to Telegraf. Everything works.',
    fix: 'Do what the line says when convenient.',
  },
  '… Error in gathering: …': {
    section: 'outputs',
    means: 'One interval gave no points. The next one tries again.',
    fix: 'Search this page for what stands behind the colon; `does not answer` means that libvirt hangs or is down: `time virsh -r list`.',
  },
  '… VMs that did not answer in time, of which only the state is written: …': {
    section: 'outputs',
    means: 'The QEMU processes of these VMs hang.',
    fix: '`virsh -r domstate VM --reason`, `virsh -r domjobinfo VM`.',
  },
  '[…] Collection took longer than expected; not complete after interval of …: set a longer interval in [[inputs.libvirt]]':
    {
      section: 'outputs',
      means: 'Gathering takes longer than `interval`.',
      fix: 'Set a longer `interval`, or ask for less: `statistics_groups`.',
    },
  '… cannot be written to: …; … are kept and sent again': {
    section: 'outputs',
    means: 'The receiver takes nothing. Up to the bounds of the buffer nothing is lost.',
    fix: 'Search this page for the reason. By hand: `curl -v URL/health`.',
  },
  'The buffer for … is full: the oldest … are dropped from now on': {
    section: 'outputs',
    means: 'The receiver has been away for so long that points are lost.',
    fix: 'Make the receiver work again; the line before said what is wrong.',
  },
  '… refuses …, which are dropped: …': {
    section: 'outputs',
    means: 'The receiver calls the points wrong. They are lost; others go on.',
    fix: "The receiver's words are in the line. In InfluxDB often a field that has another type there.",
  },
  '… were not written: … did not take them in time': {
    section: 'outputs',
    means: 'virtlens was ended while the receiver was away; these points are lost.',
    fix: 'Nothing now. Make the receiver work again.',
  },
  'Cannot write to standard output: …': {
    section: 'outputs',
    means: 'The reader of the output is gone, or the disk behind it is full.',
    fix: '`df`. If Telegraf reads it: `journalctl -u telegraf`.',
  },

  // ---- Proxmox VE
  'the monitor of a VM does not reply': {
    section: 'proxmox',
    means:
      'The monitor of `vm` is left alone for `pauseMs`, then tried again. Its CPU time and memory are served all the same.',
    fix: '`qm status VMID --verbose`. [Monitors](pve.md#monitors).',
  },
  'the configuration cannot be read': {
    section: 'proxmox',
    means: '`/etc/pve` cannot be read; what virtlens read of it before is used.',
    fix: '`systemctl status pve-cluster`; `ls /etc/pve`. virtlens must run as root, or [with these rights](pve.md#with-less-than-root).',
  },
  'the size of a storage cannot be read': {
    section: 'proxmox',
    means: '`storage` is not served: it is offline, or its server hangs.',
    fix: '`pvesm status --storage NAME`; for NFS: `timeout 5 df /mnt/pve/NAME`.',
  },

  // ---- events and the HA agent
  'the state directory is not locked; give it to no other process': {
    section: 'events',
    means:
      'The disk of `--state.dir` is full or broken, so virtlens cannot see whether another process uses the directory.',
    fix: '`df DIRECTORY; df -i DIRECTORY; pgrep -af virtlens`. Make room and restart virtlens.',
  },
  'the state directory cannot be written; events are kept in memory alone until it can': {
    section: 'events',
    means:
      'The disk is full or broken, or another process has the directory (then without "until it can"). A crash now may lose events.',
    fix: '`df DIRECTORY; df -i DIRECTORY; dmesg | tail`. virtlens goes on by itself when the disk works.',
  },
  'the file of the state directory cannot be used and is set aside; what happened since is not known': {
    section: 'events',
    means:
      'The file is of another program or version, or broken. virtlens begins anew; what happened while it was away is not reported.',
    fix: 'Check the disk: `dmesg | tail`. Look by hand for VMs that ended: `virsh -r list --all`.',
  },
  'the file of the state directory is damaged and set aside; what stands before the damage is used': {
    section: 'events',
    means: 'A part of the file is broken, mostly by the disk or after a power cut.',
    fix: 'Check the disk: `dmesg | tail`.',
  },
  'the state directory is of another host; its file is set aside': {
    section: 'events',
    means: 'The directory was copied from another host or is shared between hosts.',
    fix: 'Give each host a `--state.dir` of its own.',
  },
  'the connection leads to another host now; events begin anew': {
    section: 'events',
    means: 'The same URI leads to another host than before, such as behind a load balancer.',
    fix: 'Name one host in the URI.',
  },
  'libvirt did not say what runs; virtlens asks again': {
    section: 'events',
    means: 'After a gap virtlens compares what runs, and libvirt did not list it.',
    fix: '`time virsh -r list --all`. Search this page for `err`.',
  },
  'events came too fast and some were lost; what runs is compared again': {
    section: 'events',
    means: 'Very many events at once. Starts and ends are found by comparing; others, such as reboots, may be missing.',
    fix: 'Nothing. If it repeats, look for a VM that sends events without end: `virtlens events`.',
  },
  'events came faster than they were taken and some were dropped; what runs is compared again': {
    section: 'events',
    means: 'The reader of the events is too slow. Starts and ends are found by comparing; other kinds may be missing.',
    fix: 'See why the output of `virtlens events` is read slowly, or choose with `--kind`.',
  },
  'events could not be handed over; virtlens tries again': {
    section: 'events',
    means: 'The reader does not take events. They wait.',
    fix: 'Search this page for `err`.',
  },
  'the cluster cannot be used; virtlens keeps trying': {
    section: 'events',
    means:
      "The API server, the rights or this host's Hypervisor are missing. Decisions are kept and carried out later.",
    fix: 'Search this page for `err`. `kubectl get hypervisors`; `curl -s localhost:9178/-/ready`.',
  },
  'a decision is not carried out yet; virtlens tries again': {
    section: 'events',
    means: 'The call for `entry` failed; `waiting` decisions stand in line. None is lost.',
    fix: 'Search this page for `err`. The failed VM waits for a person meanwhile: look whether the host needs hands.',
  },
  'a decision cannot be carried out; it is parked': {
    section: 'events',
    means: 'The API server would refuse `entry` for ever. The Eviction does not exist.',
    fix: 'Correct what `err` names, then restart once with `--queue.parked=retry`. Evict the host by hand if it is urgent.',
  },
  'entries are parked and not carried out; --queue.parked=retry tries them again, --queue.parked=drop forgets them': {
    section: 'events',
    means: 'Decisions of an earlier run could not be carried out.',
    fix: 'Restart once with `--queue.parked=retry` when the cause is gone, or with `--queue.parked=drop`.',
  },
  'a parked entry is dropped': {
    section: 'events',
    means: 'You asked for it with `--queue.parked=drop`.',
    fix: 'Remove the flag again.',
  },
  'too many entries are parked; the oldest is dropped': {
    section: 'events',
    means: 'A decision is lost: the API server has refused very many.',
    fix: 'Look at the errors before; look at the host of `entry` by hand.',
  },
  'the queue is nearly full; when it is full, the oldest entries but the first are dropped': {
    section: 'events',
    means: 'The cluster has not been reached for long.',
    fix: 'Make the cluster reachable; `curl -s localhost:9178/-/ready` says what is missing. `--queue.max-entries` gives more room.',
  },
  'the queue is full; an entry is dropped': {
    section: 'events',
    means: 'A decision is lost.',
    fix: 'Make the cluster reachable, and look at the VM of `entry` by hand.',
  },
  'the queue cannot be written; decisions are kept in memory and carried out, but a crash now may delay or lose them: make room or check the disk':
    {
      section: 'events',
      means: 'The disk of `--state.dir` is full or broken. `virtlens_ha_queue_durable` is 0.',
      fix: '`df DIRECTORY; df -i DIRECTORY; dmesg | tail`. Do not restart virtlens before that.',
    },
  'the last line of the queue was not finished; it is left out': {
    section: 'events',
    means: 'virtlens or the host crashed while it wrote. The event of that line is read again.',
    fix: 'Nothing.',
  },
  'lines of the queue are damaged and left out; check the disk': {
    section: 'events',
    means: 'The file was changed, or the disk is broken. `copy` is the file as it was.',
    fix: '`dmesg | tail`, `smartctl -a DEVICE`. See in the copy which events are concerned.',
  },
  'the queue is of a newer version of virtlens; it is set aside and what waits in it is not carried out: start that version with it':
    {
      section: 'events',
      means: 'virtlens was downgraded.',
      fix: 'Stop virtlens, rename the file in `setAside` back to `ha.journal`, start the newer version.',
    },
  'the file of the queue has something else in it; it is set aside': {
    section: 'events',
    means: 'The file is no queue of virtlens. An empty one was begun.',
    fix: 'Check `--state.dir`, and what wrote the file in `setAside`.',
  },
  'an event': {
    section: 'events',
    means: 'A VM had a failure whose rule is set to `log`.',
    fix: 'Nothing has to be done by virtlens; look at the VM. [The rules](ha.md#policy).',
  },
  'an event asks for an Eviction': {
    section: 'events',
    means: 'A VM failed, and its rule is set to `evict`.',
    fix: 'Look at the VM: `/var/log/libvirt/qemu/VM.log`, `dmesg | grep -i oom`. Then decide: [what an Eviction does](ha.md#what-an-eviction-does-and-what-it-does-not).',
  },
  'an event belongs to an incident': {
    section: 'events',
    means: 'A further failure of the same incident; it is noted on the same Eviction.',
    fix: 'Look at this VM too: `/var/log/libvirt/qemu/VM.log`.',
  },
  'the host is to be evicted': {
    section: 'events',
    means: 'The Eviction is created. By itself it moves no VM.',
    fix: '`kubectl describe evictions.kvm.cloud.sap NAME` (the group of `--kubernetes.group`). Set `spec.maintenance` of the Hypervisor to empty the host, or delete the Eviction.',
  },
  'the host is in maintenance now': {
    section: 'events',
    means: 'With `--maintenance=auto`: the operator begins to empty the host.',
    fix: 'Follow it: `kubectl get hypervisor NAME -o yaml`.',
  },
  'the host is not evicted': {
    section: 'events',
    means: '`why` says what forbids it, such as a maintenance or `spec.highAvailability: false`.',
    fix: 'Look at the VM by hand.',
  },
  "QEMU's log takes too long to be read; virtlens decides without it": {
    section: 'events',
    means: 'The directory of the logs hangs. A failed incoming migration may be taken for a crash.',
    fix: '`time ls /var/log/libvirt/qemu`; check the disk behind it.',
  },
  'dry run: an Eviction would be created, unless one is open or the host is in maintenance': {
    section: 'events',
    means: 'Without `--dry-run` the host would be evicted now.',
    fix: 'Nothing. Leave out `--dry-run` when you agree with what it says.',
  },
  'dry run: the event would be noted on the Eviction': {
    section: 'events',
    means: 'A further event of the same incident.',
    fix: 'Nothing.',
  },

  // ---- logs
  'Standard input is /dev/null and is not read; pipe the container log into it, or choose other sources with --source':
    {
      section: 'logs',
      means: 'The model says that a daemon writes to standard input, and nothing is connected to it.',
      fix: 'In a pod use a pipe, or `--source=qemu`.',
    },
  'src/logs/log-reader.ts: line': {
    section: 'logs',
    reads: '… cannot be read: …',
    means: 'A log file may not be read by this user, or its disk has errors.',
    fix: '`ls -l FILE`. [Permissions](logs.md#permissions). It is read from where it was left as soon as it can be.',
  },
  'src/logs/sources/log-directory.ts: explainDenial(dir, error)': {
    section: 'logs',
    reads: '… cannot be read: … (of a directory)',
    means: 'The directory of the logs may not be read.',
    fix: '`ls -ld DIRECTORY`. [Permissions](logs.md#permissions).',
  },
  'The kernel reports no changes of this directory; it is looked at every second': {
    section: 'logs',
    means: 'inotify has no watches left. Logs come up to a second later; none is lost.',
    fix: '`sysctl fs.inotify.max_user_watches fs.inotify.max_user_instances`; raise them.',
  },
  'The journal cannot be read: …; it is tried again': {
    section: 'logs',
    means: '`journalctl` is missing, failed, or may not read the journal.',
    fix: 'As the user of the service: `journalctl -n 1`. Add it to the group `systemd-journal`. Logs of before are read when it works again.',
  },
  'A log is not read': {
    section: 'logs',
    means: '`file` has the name of a log and is none: a directory, a pipe, a symbolic link that leads nowhere.',
    fix: '`ls -l FILE`. Put a log file there, or correct `--daemon.log-file`. A pipe can be read by `--source=stdin < PIPE`.',
  },
  'The journal cannot be followed; it is read every 5 seconds': {
    section: 'logs',
    means:
      'inotify has no watches left, so `journalctl --follow` would notice nothing. Entries come up to 5 seconds later; none is lost.',
    fix: '`sysctl fs.inotify.max_user_watches fs.inotify.max_user_instances`; raise them.',
  },
  'The batch that was under way cannot be made again; its records are read anew, and may come again in other batches': {
    section: 'logs',
    means:
      'virtlens was killed while it delivered, and what it delivered cannot be read now: a disk that is not mounted yet, a journal that is away. Nothing is lost; records may come twice.',
    fix: 'Start virtlens after the disk of the logs is mounted (`RequiresMountsFor=/var/log`).',
  },
  'Logs cannot be read; it is tried again': {
    section: 'logs',
    means: 'Reading stopped for one sink.',
    fix: '`err` says why; search this page for it. `dmesg | tail`.',
  },
  'Records of a log are lost': {
    section: 'logs',
    means:
      'A part of `log` (`bytes`, where known) was gone before it was delivered to `sink`: rotated away, cut off, or removed from the journal.',
    fix: 'Keep more rotated files (`rotate` in `/etc/logrotate.d/libvirtd*`, `max_backups` in virtlogd.conf, `SystemMaxUse=` of the journal), and make the sink reachable.',
  },
  '… cannot be written to: …; log records stay in their files and are sent later': {
    section: 'logs',
    means: 'The receiver is away or wants something else. Nothing is lost as long as the log files are kept.',
    fix: 'Search this page for the reason. `curl -v ENDPOINT`, or `nc -vz HOST 24224`.',
  },
  'What … needs cannot be read again: …; what was read before stays in use': {
    section: 'logs',
    means: 'A certificate, key or secret of an output was replaced by one that cannot be used.',
    fix: 'The flag and the rule are in the line. Replace the file; it is read again at SIGHUP, or when a delivery fails.',
  },
  '… refuses … log records, which are lost for it: …': {
    section: 'logs',
    means: 'The receiver calls the records wrong, and would refuse them again.',
    fix: "The receiver's words are in the line; look at its limits and its log.",
  },
  '… dropped … records: …': {
    section: 'logs',
    means: 'The OTLP receiver took a request, but not all of its records.',
    fix: "Look into the receiver's log.",
  },
  '… warns: …': {
    section: 'logs',
    means: 'The OTLP receiver took all records and has something to say.',
    fix: 'Read what it says.',
  },
  'The checkpoint … cannot be written: …; delivery goes on, and after an end of this process records come again': {
    section: 'logs',
    means: 'The disk of `--state.dir` is full or broken. Nothing is lost; after a restart records may come twice.',
    fix: '`df DIRECTORY; df -i DIRECTORY; dmesg | tail`.',
  },
  '…: line … is not readable; what follows it is left out, and records may come again': {
    section: 'logs',
    means: 'A checkpoint is damaged, mostly after a power cut.',
    fix: 'Nothing, if it happened once. Else check the disk: `dmesg | tail`.',
  },
};
