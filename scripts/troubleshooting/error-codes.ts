// What each error code means to a user, and what to do. The compiler refuses a code without an entry and an entry without a code.
import type { StateDirError } from '../../src/base/state-dir.ts';
import type { FlagError } from '../../src/cli/flags.ts';
import type { DomainXmlError } from '../../src/collect/inventory/xml/domain-xml-error.ts';
import type { TelegrafConfigError } from '../../src/commands/telegraf/telegraf-config.ts';
import type { ConnectionError } from '../../src/connection/connection-error.ts';
import type { EventsError } from '../../src/events/error.ts';
import type { ClusterConfigError, ClusterError } from '../../src/ha/cluster.ts';
import type { PolicyError } from '../../src/ha/policy-file.ts';
import type { QueueError } from '../../src/ha/queue/error.ts';
import type { TransportError } from '../../src/libvirt/transports/transport-error.ts';
import type { LibvirtUriError } from '../../src/libvirt/uri.ts';
import type { LibvirtError } from '../../src/libvirt/wire/libvirt-error.ts';
import type { DeliveryError } from '../../src/outputs/delivery.ts';
import type { RotatingFileError } from '../../src/outputs/rotating-file.ts';
import type { ProxmoxError } from '../../src/proxmox/error.ts';
import type { QemuError } from '../../src/qemu/error.ts';
import type { ScenarioError } from '../../src/sim/scenario/scenario-values.ts';
import type { WebError } from '../../src/web/error.ts';
import type { Advice } from './advice.ts';

/** The classes of errors by name; the test compares the names with those that the source declares. */
interface ErrorClasses {
  readonly ClusterConfigError: ClusterConfigError;
  readonly ClusterError: ClusterError;
  readonly ConnectionError: ConnectionError;
  readonly DeliveryError: DeliveryError;
  readonly DomainXmlError: DomainXmlError;
  readonly EventsError: EventsError;
  readonly FlagError: FlagError;
  readonly LibvirtError: LibvirtError;
  readonly LibvirtUriError: LibvirtUriError;
  readonly PolicyError: PolicyError;
  readonly ProxmoxError: ProxmoxError;
  readonly QemuError: QemuError;
  readonly QueueError: QueueError;
  readonly RotatingFileError: RotatingFileError;
  readonly ScenarioError: ScenarioError;
  readonly StateDirError: StateDirError;
  readonly TelegrafConfigError: TelegrafConfigError;
  readonly TransportError: TransportError;
  readonly WebError: WebError;
}

type ErrorCode = ErrorClasses[keyof ErrorClasses]['code'];

/** Each class, with its code where it has one only: its messages then stand without the code. */
export const ERROR_CLASSES: Readonly<Record<keyof ErrorClasses, ErrorCode | undefined>> = {
  ClusterConfigError: 'ERR_HA_CLUSTER_CONFIG',
  ClusterError: 'ERR_HA_CLUSTER',
  ConnectionError: undefined,
  DeliveryError: undefined,
  DomainXmlError: undefined,
  EventsError: undefined,
  FlagError: undefined,
  LibvirtError: undefined,
  LibvirtUriError: 'ERR_LIBVIRT_URI',
  PolicyError: 'ERR_HA_POLICY',
  ProxmoxError: undefined,
  QemuError: undefined,
  QueueError: undefined,
  RotatingFileError: undefined,
  ScenarioError: 'ERR_SCENARIO',
  StateDirError: undefined,
  TelegrafConfigError: undefined,
  TransportError: undefined,
  WebError: undefined,
};

export const ERROR_CODES: Readonly<Record<ErrorCode, Advice>> = {
  // ---- at the start
  ERR_FLAG_UNKNOWN: {
    section: 'start',
    means: 'The command has no flag of this name.',
    fix: 'Take the name that the line suggests. `virtlens COMMAND --help` lists the flags of a command; each command has its own.',
  },
  ERR_FLAG_NO_VALUE: {
    section: 'start',
    means: 'A flag needs a value, or a second flag that belongs to it.',
    fix: 'Write `--NAME=VALUE`, and give the other flag that the line names.',
  },
  ERR_FLAG_VALUE: {
    section: 'start',
    means:
      "A flag's value (or that of an environment variable, which the line then names) cannot be used, or two flags exclude each other.",
    fix: 'Do what stands behind the colon. Put values with blanks, `*` or `$` in quotes; in a systemd unit or `/etc/default/virtlens`, see `systemctl show -p ExecStart virtlens`.',
  },
  ERR_FLAG_STRAY: {
    section: 'start',
    means: 'An argument is no flag: a misspelt command, a blank within a value, a flag without its dashes.',
    fix: 'Remove it, or write it as `--NAME=VALUE`.',
  },
  ERR_LIBVIRT_URI: {
    section: 'start',
    means: 'The libvirt URI cannot be used; the line names the part that is wrong.',
    fix: 'Correct that part. [The forms of the URI](serve.md#the-daemons-uri). Test it with libvirt: `virsh -c URI list`.',
  },
  ERR_TELEGRAF_CONFIG_SYNTAX: {
    section: 'start',
    means: "Telegraf's configuration is not TOML.",
    fix: 'Correct it at the line and column that are named.',
  },
  ERR_TELEGRAF_CONFIG_INVALID: {
    section: 'start',
    means: "A key of Telegraf's configuration has a value that cannot be used, or the input has no such key.",
    fix: 'Correct the key that is named. [The keys](telegraf.md#the-configuration).',
  },
  ERR_HA_POLICY: {
    section: 'start',
    means: 'A rule of the HA policy cannot be used, in `--policy.file` or in `--policy.rule`.',
    fix: 'Correct it. [The rules and actions](ha.md#policy).',
  },
  ERR_HA_CLUSTER_CONFIG: {
    section: 'start',
    means: 'The configuration of the Kubernetes cluster is missing or cannot be used.',
    fix: 'Outside of a pod give `--kubernetes.kubeconfig=FILE`; try the file with `kubectl --kubeconfig=FILE get hypervisors`. In a pod, check that its service account is mounted.',
  },
  ERR_SCENARIO: {
    section: 'start',
    means: 'The scenario file of `virtlens sim` cannot be used.',
    fix: 'Correct what is named. [Scenario files](simulator.md#scenario-files).',
  },
  ERR_ROTATING_FILE_UNWRITABLE: {
    section: 'start',
    means: 'The log file of `virtlens nova --log` cannot be opened for writing.',
    fix: 'Name a file in a directory that the user of the service may write to: `ls -ld DIRECTORY`.',
  },
  ERR_EVENTS_STATE_DIR: {
    section: 'start',
    means: 'The state directory of events cannot be made or written.',
    fix: 'Check its owner and the free space: `ls -ld DIRECTORY; df DIRECTORY`. In a service use `StateDirectory=`.',
  },
  ERR_EVENTS_STATE_TAKEN: {
    section: 'start',
    means: 'Another process uses the same state directory.',
    fix: 'Find it with `pgrep -af virtlens`. End it, or give each process a `--state.dir` of its own.',
  },
  ERR_HA_STATE_DIR: {
    section: 'start',
    means:
      'The state directory of `virtlens ha` cannot be used. Without it a decision would not outlive a crash, so virtlens does not start.',
    fix: 'Check its owner and the free space: `ls -ld DIRECTORY; df DIRECTORY`. A pod needs a volume that stays on the node.',
  },
  ERR_STATE_DIR: {
    section: 'start',
    means: 'The directory of `--state.dir` cannot be used.',
    fix: 'Check its owner: `ls -ld DIRECTORY`. In a service use `StateDirectory=`; a pod needs a volume that stays on the node.',
  },
  ERR_STATE_LOCKED: {
    section: 'start',
    means: 'Another `virtlens logs`, `ha` or `events` uses the same state directory.',
    fix: 'Find it with `pgrep -af virtlens`. End it, or give each a `--state.dir` of its own.',
  },

  // ---- reaching libvirt
  ERR_TRANSPORT_UNREACHABLE: {
    section: 'libvirt',
    means: 'Nobody takes the connection: the host name is unknown, the host is down, a firewall, or no daemon listens.',
    fix: 'On the host: `systemctl status libvirtd virtqemud.socket virtproxyd.socket`. From afar: `nc -vz HOST 16514` (TLS; 16509 TCP, 22 SSH).',
  },
  ERR_TRANSPORT_NO_SOCKET: {
    section: 'libvirt',
    means:
      "None of libvirt's sockets exists: the daemon is not installed or not started, or a container does not see the host's `/run/libvirt`.",
    fix: '`ls -l /run/libvirt/*-sock*`; `systemctl start libvirtd` (or `virtqemud.socket`). In a container mount `/run/libvirt`.',
  },
  ERR_TRANSPORT_PERMISSION: {
    section: 'libvirt',
    means: 'The socket is there, and this user may not open it.',
    fix: '`ls -l /run/libvirt/`. Add the user of the service to the group of the socket, often `libvirt`, or set `unix_sock_ro_perms` in libvirtd.conf; then restart virtlens. [polkit](serve.md#polkit).',
  },
  ERR_TRANSPORT_CERTIFICATE: {
    section: 'libvirt',
    means:
      "The TLS certificates of the two sides do not fit: expired, of another CA, for another host name, or the daemon refuses the client's.",
    fix: 'Look at the certificate: `openssl s_client -connect HOST:16514 -showcerts </dev/null | openssl x509 -noout -subject -ext subjectAltName -dates`. The host of the URI must be a name in it.',
  },
  ERR_TRANSPORT_HOST_KEY: {
    section: 'libvirt',
    means: "The SSH server's key is unknown, has changed, or is revoked. A changed key may be an attack.",
    fix: 'Compare `ssh-keyscan HOST` with the key on the host, over another way. Then put it into `known_hosts` of the user that runs virtlens; a changed one is removed with `ssh-keygen -R HOST`.',
  },
  ERR_TRANSPORT_AUTH: {
    section: 'libvirt',
    means: 'The SSH server refused the login.',
    fix: 'As the user that runs virtlens: `ssh USER@HOST true`. Authorize its key with `ssh-copy-id`, and name the key with `keyfile=` in the URI.',
  },
  ERR_TRANSPORT_REMOTE: {
    section: 'libvirt',
    means: "The SSH login worked, but libvirt's socket was not reached on the other host.",
    fix: "`ssh USER@HOST 'ls -l /run/libvirt'`. Start libvirt there, or name its socket with `socket=` in the URI.",
  },
  ERR_TRANSPORT_PROTOCOL: {
    section: 'libvirt',
    means:
      'At the other side is something else than the URI says: plain TCP instead of TLS, another service, an sshd that shares no algorithm.',
    fix: 'Check scheme and port of the URI: `qemu+tls` is 16514, `qemu+tcp` 16509, `qemu+ssh` 22.',
  },
  ERR_TRANSPORT_CONFIG: {
    section: 'libvirt',
    means:
      'A file or setting on this host cannot be used for the connection: a key, a certificate, `auth.conf`, a parameter of the URI.',
    fix: 'Correct the file or parameter that is named. Files must be readable for the user that runs virtlens.',
  },
  ERR_TRANSPORT_ABORTED: {
    section: 'libvirt',
    means: 'Connecting was given up: no answer in time, or virtlens was ended.',
    fix: 'If it was the time, check the network to the host and whether libvirt is overloaded: `time virsh -c URI list`.',
  },
  ERR_LIBVIRT_REMOTE: {
    section: 'libvirt',
    means: 'libvirt replied with an error of its own; its words are in the line.',
    fix: "Do the same with `virsh -r`, and look at the daemon's log: `journalctl -u libvirtd -u virtqemud`.",
  },
  ERR_LIBVIRT_TIMEOUT: {
    section: 'libvirt',
    means: 'libvirt did not reply in time.',
    fix: 'See whether libvirt hangs: `time virsh -r list`. If that is slow too, look for a hanging VM or storage, and see `journalctl -u libvirtd -u virtqemud`. `virtlens_libvirt_blocked_calls` counts the calls that wait.',
  },
  ERR_LIBVIRT_ABORTED: {
    section: 'libvirt',
    means: 'A call was given up because its scrape ended.',
    fix: 'If it repeats, the scrape is shorter than libvirt needs: raise `scrape_timeout`, or collect in the background with `--collect.interval`.',
  },
  ERR_LIBVIRT_CLOSED: {
    section: 'libvirt',
    means:
      'The connection to libvirt was closed: the daemon was restarted, crashed, or stopped replying. virtlens connects again.',
    fix: 'If it repeats: `journalctl -u libvirtd -u virtqemud`, and `max_clients` in libvirtd.conf.',
  },
  ERR_LIBVIRT_PROTOCOL: {
    section: 'libvirt',
    means:
      "What came is not libvirt's protocol: another service has the port, or something on the way changes the bytes.",
    fix: 'Check host and port of the URI. If it is a libvirt daemon, report a bug with its version.',
  },
  ERR_LIBVIRT_ARGUMENT: {
    section: 'libvirt',
    means: "A value does not fit into libvirt's protocol, such as a name that is too long. Nothing was sent.",
    fix: 'In the log of a virtlens command, report a bug.',
  },
  ERR_LIBVIRT_BUSY: {
    section: 'libvirt',
    means: 'The daemon no longer reads what is sent; too many calls are unanswered.',
    fix: 'libvirt hangs or is overloaded: `time virsh -r list`, `journalctl -u libvirtd -u virtqemud`.',
  },
  ERR_LIBVIRT_READ_ONLY: {
    section: 'libvirt',
    means: 'A call that changes the host was made on a read-only connection. Only users of the library meet this.',
    fix: 'Open the connection read-write.',
  },
  ERR_LIBVIRT_AUTH: {
    section: 'libvirt',
    means: 'The daemon wants a login that virtlens does not do (SASL), or polkit refuses this user.',
    fix: 'Use the local read-only socket, TLS or SSH. For polkit see [the rule](serve.md#polkit).',
  },
  ERR_LIBVIRT_AUTH_UNAVAILABLE: {
    section: 'libvirt',
    means: 'The daemon wants to ask polkit, and polkit or D-Bus does not run on its host.',
    fix: '`systemctl start dbus polkit`, then restart libvirt if it was started before D-Bus.',
  },
  ERR_LIBVIRT_NO_DRIVER: {
    section: 'libvirt',
    means: 'The daemon does not have the driver that the URI names.',
    fix: "Use a driver that it has, mostly `qemu:///system`; or install the driver's package and restart the daemon.",
  },
  ERR_CONNECTION_CLOSED: {
    section: 'libvirt',
    means: 'virtlens itself has closed the connection, because it ends.',
    fix: 'Nothing.',
  },

  // ---- collecting
  ERR_DOMAIN_XML_MALFORMED: {
    section: 'collecting',
    means: "A VM's XML is not well-formed.",
    fix: 'Look at it with `virsh -r dumpxml VM`, and report a bug if virsh shows nothing wrong.',
  },
  ERR_DOMAIN_XML_DOCTYPE: {
    section: 'collecting',
    means: "A VM's XML has a document type declaration, which libvirt never writes.",
    fix: 'The daemon is not to be trusted, or something on the way changes its replies. Check to whom virtlens is connected.',
  },
  ERR_DOMAIN_XML_TOO_LARGE: {
    section: 'collecting',
    means: "A VM's XML is larger than any domain's.",
    fix: 'Look for what fills it, mostly metadata: `virsh -r dumpxml VM | wc -c`.',
  },
  ERR_DOMAIN_XML_TOO_DEEP: {
    section: 'collecting',
    means: "A VM's XML is nested deeper than any domain's.",
    fix: 'Look at its metadata: `virsh -r dumpxml VM`.',
  },
  ERR_DOMAIN_XML_NOT_A_DOMAIN: {
    section: 'collecting',
    means: "A VM's XML has no name or no valid UUID.",
    fix: 'Look at it with `virsh -r dumpxml VM`, and report a bug with what it shows.',
  },
  ERR_EVENTS_LIST_LATE: {
    section: 'events',
    means: 'libvirt did not list its VMs in time, so what runs could not be compared. virtlens asks again.',
    fix: 'See whether libvirt hangs: `time virsh -r list --all`.',
  },
  ERR_EVENTS_STATE_FILE: {
    section: 'events',
    means:
      'The file in the state directory is of another program, of a newer version, or damaged. It is set aside, never deleted.',
    fix: 'After a downgrade, go back to the newer version and rename the file back. Else check the disk: `dmesg | tail`. The file that was set aside may be deleted.',
  },
  ERR_HA_CLUSTER: {
    section: 'events',
    means: "A call to Kubernetes' API server failed; the line has the call, the status and the server's words.",
    fix: '403: apply [the rights](ha.md#rights), and try them with `kubectl auth can-i create evictions.GROUP --as=system:serviceaccount:NAMESPACE:NAME`. 404: the kinds are not installed, or `--kubernetes.group` or `--node-name` is wrong: `kubectl get crd`, `kubectl get hypervisors`. No reply: check the network to the API server. virtlens keeps the decision and tries again.',
  },
  ERR_HA_QUEUE_CLOSED: {
    section: 'events',
    means: 'Something came after the end of `virtlens ha` had begun.',
    fix: 'Nothing: the event is read again at the next start.',
  },

  // ---- web server
  ERR_WEB_ADDRESS_INVALID: {
    section: 'web',
    means: 'The listen address is not of the form `HOST:PORT`.',
    fix: 'Write `:9177`, `127.0.0.1:9177` or `[::1]:9177`.',
  },
  ERR_WEB_ADDRESS_IN_USE: {
    section: 'web',
    means: 'Another program has the port, mostly the exporter that virtlens replaces, or a second virtlens.',
    fix: '`ss -ltnp "sport = :9177"` shows which. Stop it, or choose another port.',
  },
  ERR_WEB_ADDRESS_DENIED: {
    section: 'web',
    means: 'This user may not listen there: a port below 1024.',
    fix: 'Choose a higher port, or give the service `AmbientCapabilities=CAP_NET_BIND_SERVICE`.',
  },
  ERR_WEB_ADDRESS_UNAVAILABLE: {
    section: 'web',
    means: 'No network interface has the address, or not yet.',
    fix: '`ip addr`. At boot, `After=network-online.target` in the unit; or listen on all addresses with `:9177`.',
  },
  ERR_WEB_PATH_INVALID: {
    section: 'web',
    means: 'A path for HTTP cannot be used.',
    fix: 'Begin it with `/` and leave out `?`, `#` and blanks.',
  },
  ERR_WEB_PATH_CONFLICT: {
    section: 'web',
    means: 'Two things want the same path.',
    fix: 'Choose another `--web.telemetry-path` or `--web.health-path`. `/-/healthy` and `/-/ready` are taken.',
  },
  ERR_WEB_CONFIG_UNREADABLE: {
    section: 'web',
    means: 'The web configuration file, or a certificate or key that it names, cannot be read.',
    fix: 'As the user of the service: `sudo -u virtlens cat FILE >/dev/null`. Paths in the file are relative to the file.',
  },
  ERR_WEB_CONFIG_INVALID: {
    section: 'web',
    means: 'The web configuration file has a mistake.',
    fix: 'Correct what is named. [The keys](serve.md#tls-and-users).',
  },
  ERR_WEB_CERTIFICATE_INVALID: {
    section: 'web',
    means: 'A certificate or key cannot be used: no PEM, or the key belongs to another certificate.',
    fix: 'These two must print the same: `openssl x509 -noout -pubkey -in CERT`, `openssl pkey -pubout -in KEY`.',
  },
  ERR_WEB_PASSWORD_CHECK: {
    section: 'web',
    means: 'A password could not be checked, and the request was refused.',
    fix: 'Make the hash of that user again: `htpasswd -nBC 10 USER`. If it repeats, report a bug.',
  },

  // ---- outputs
  ERR_DELIVERY_REFUSED: {
    section: 'outputs',
    means: 'The receiver refuses what was sent as wrong, and would refuse it again. It is dropped.',
    fix: "The receiver's words are in the line. Often a field changed its type in InfluxDB, or the receiver's limit of a request is too small.",
  },
  ERR_DELIVERY_BLOCKED: {
    section: 'outputs',
    means: 'The receiver takes nothing until somebody changes something: a token, a database, a certificate, the URL.',
    fix: 'Correct what the line names, with `--influx.*`, `--otlp.*` or `--forward.*`, and restart virtlens; or correct it at the receiver, and virtlens goes on by itself.',
  },
  ERR_DELIVERY_AWAY: {
    section: 'outputs',
    means: 'The receiver is down or has too much to do. What was to be sent is kept and sent again.',
    fix: 'Check the receiver: `curl -v URL`, or `nc -vz HOST PORT`.',
  },
  ERR_DELIVERY_CLOSED: {
    section: 'outputs',
    means: 'Nobody reads the output any more, such as a closed pipe. The program ends.',
    fix: 'See why the reader ended. If it is Telegraf: `journalctl -u telegraf`.',
  },

  // ---- Proxmox VE
  ERR_PROXMOX_COMMAND: {
    section: 'proxmox',
    means: 'A program of the node (`qm`, `pvesm`, …) cannot be run, failed, or took too long.',
    fix: 'Run the same by hand as root. If it hangs, look at the storage: `pvesm status`.',
  },
  ERR_PROXMOX_MONITOR: {
    section: 'proxmox',
    means: '`qm monitor` gave no reply for a VM.',
    fix: '`qm status VMID --verbose`. Raise `--qm-terminal-timeout` on a slow node, or use `--monitor=qmp`.',
  },
  ERR_QEMU_ABSENT: {
    section: 'proxmox',
    means: 'The VM has no monitor socket, or nobody listens there: the VM has just ended.',
    fix: 'Nothing if it goes away. Else: `ls -l /var/run/qemu-server/VMID.qmp`, `qm status VMID`.',
  },
  ERR_QEMU_BUSY: {
    section: 'proxmox',
    means: 'Another program uses the monitor of the VM, or QEMU hangs.',
    fix: '`qm status VMID --verbose`: if that hangs too, QEMU hangs. Look at its storage and at `ps -o stat,wchan -p PID`.',
  },
  ERR_QEMU_LATE: {
    section: 'proxmox',
    means: 'QEMU took the connection, and its replies did not come in time.',
    fix: 'QEMU is busy or waits for storage: `qm status VMID --verbose`, `iostat -x 1`.',
  },
  ERR_QEMU_CLOSED: {
    section: 'proxmox',
    means: 'QEMU closed the connection before it had replied to all: the VM has just ended, or crashed.',
    fix: '`qm status VMID`, `journalctl -e`.',
  },
  ERR_QEMU_PROTOCOL: {
    section: 'proxmox',
    means: 'The reply is not that of QMP, or much too large.',
    fix: 'Report a bug with the version of QEMU (`kvm --version`).',
  },
  ERR_QEMU_ABORTED: {
    section: 'proxmox',
    means: 'virtlens gave up the visit, because the scrape ended or virtlens ends.',
    fix: 'If it repeats, raise the `scrape_timeout` of Prometheus.',
  },
};
