// The services of the packages: one row for each command that runs as one. Their units and /etc/default/virtlens are made from the rows.

/** One service. */
export interface Service {
  /** `virtlens-NAME.service`; `virtlens.service` for serve. */
  readonly command: string;
  readonly description: string;
  /** Its variable in /etc/default/virtlens, and what it is there. */
  readonly variable: string;
  readonly args: string;
  /** What the variable is for, as a comment. */
  readonly help: string;
  /** Units that start before it, when they are there. */
  readonly after: readonly string[];
  /** Capabilities that it is given; none by default. With `root` it keeps these of root's. */
  readonly capabilities?: readonly string[];
  /** SIGHUP makes it read a file again. */
  readonly canReload?: boolean;
  /** Runs as root instead of the user virtlens. */
  readonly isRoot?: boolean;
  readonly groups?: readonly string[];
  /** What of the hardening that all services have is different. */
  readonly hardening?: Readonly<Record<string, string>>;
  /** A directory below /var/log that it writes to. */
  readonly logsDirectory?: string;
  /** A directory below /var/lib for its state; the command finds it in $STATE_DIRECTORY. */
  readonly stateDirectory?: string;
}

const LIBVIRT_UNITS = ['libvirtd.service', 'virtqemud.service', 'virtproxyd.service'];

export const SERVICES: readonly Service[] = [
  {
    command: 'serve',
    description: 'Metrics of the virtual machines of a libvirt host',
    variable: 'ARGS',
    args: '',
    help: 'virtlens.service: arguments of virtlens serve, such as --schema=debian --libvirt.export-nova-metadata.',
    after: LIBVIRT_UNITS,
    canReload: true,
  },
  {
    command: 'nova',
    description: 'Metrics of OpenStack Nova instances',
    variable: 'NOVA_ARGS',
    args: '--log=/var/log/virtlens/libvirt_nova.log',
    help: 'virtlens-nova.service: arguments of virtlens nova.',
    after: LIBVIRT_UNITS,
    logsDirectory: 'virtlens',
  },
  {
    command: 'telegraf',
    description: 'Statistics of the virtual machines of a libvirt host for InfluxDB',
    variable: 'TELEGRAF_ARGS',
    args: '--config=/etc/telegraf/telegraf.conf',
    help: 'virtlens-telegraf.service: arguments of virtlens telegraf. It needs --influx.url=http://…:8086: without an InfluxDB to write to it ends with its standard input.',
    after: LIBVIRT_UNITS,
  },
  {
    command: 'pve',
    description: 'Metrics of a Proxmox VE node',
    variable: 'PVE_ARGS',
    args: '',
    help: 'virtlens-pve.service: arguments of virtlens pve.',
    after: ['pve-cluster.service'],
    canReload: true,
    // The sockets of QMP, /etc/pve and the files of QEMU's processes are root's (docs/pve.md).
    isRoot: true,
    capabilities: ['CAP_DAC_OVERRIDE', 'CAP_SYS_PTRACE'],
    hardening: {
      ProtectProc: 'default',
      ProcSubset: 'all',
      PrivateDevices: 'no',
      PrivateUsers: 'no',
      // zpool, vgs, lvs and qm are programs of their own; LVM's write their locks.
      SystemCallFilter: '@system-service',
      ReadWritePaths: '-/run/lock -/run/lvm',
    },
  },
  {
    command: 'ha',
    description: 'Evictions of a libvirt host in a Kubernetes cluster',
    variable: 'HA_ARGS',
    args: '',
    help: 'virtlens-ha.service: arguments of virtlens ha, such as --kubernetes.kubeconfig=/etc/virtlens/kubeconfig --node-name=NAME.',
    after: LIBVIRT_UNITS,
    canReload: true,
    stateDirectory: 'virtlens-ha',
    // The boot's id is in /proc/sys.
    hardening: { ProcSubset: 'all' },
  },
  {
    command: 'logs',
    description: "Delivery of the logs of libvirt's daemons and of QEMU",
    variable: 'LOGS_ARGS',
    args: '',
    help: 'virtlens-logs.service: arguments of virtlens logs, such as --otlp.endpoint=http://collector:4318; without an output the records go to the journal.',
    after: LIBVIRT_UNITS,
    canReload: true,
    // QEMU's logs are root's alone. journalctl, which it runs, inherits the right, so that no group is needed for the journal.
    capabilities: ['CAP_DAC_READ_SEARCH'],
    stateDirectory: 'virtlens-logs',
    hardening: {
      // In a user namespace of its own a capability is none for the host's files.
      PrivateUsers: 'no',
      // journalctl reads the boot's id in /proc/sys.
      ProcSubset: 'all',
    },
  },
];

/** `virtlens.service`, `virtlens-nova.service`, … */
export function unitName({ command }: Pick<Service, 'command'>): string {
  return command === 'serve' ? 'virtlens.service' : `virtlens-${command}.service`;
}

/** systemd.exec(5). V8 makes machine code at run time: MemoryDenyWriteExecute cannot be on. */
const HARDENING: Readonly<Record<string, string>> = {
  NoNewPrivileges: 'yes',
  ProtectSystem: 'strict',
  ProtectHome: 'yes',
  PrivateTmp: 'yes',
  PrivateDevices: 'yes',
  PrivateUsers: 'yes',
  ProtectProc: 'invisible',
  ProcSubset: 'pid',
  ProtectClock: 'yes',
  ProtectControlGroups: 'yes',
  ProtectHostname: 'yes',
  ProtectKernelLogs: 'yes',
  ProtectKernelModules: 'yes',
  ProtectKernelTunables: 'yes',
  LockPersonality: 'yes',
  RemoveIPC: 'yes',
  RestrictAddressFamilies: 'AF_UNIX AF_INET AF_INET6 AF_NETLINK',
  RestrictNamespaces: 'yes',
  RestrictRealtime: 'yes',
  RestrictSUIDSGID: 'yes',
  SystemCallArchitectures: 'native',
  SystemCallFilter: '@system-service\nSystemCallFilter=~@privileged @resources',
  SystemCallErrorNumber: 'EPERM',
  UMask: '0077',
};

/** The unit file of a service. */
export function renderUnit(service: Service): string {
  const {
    command,
    description,
    variable,
    after,
    capabilities = [],
    canReload,
    isRoot,
    groups,
    logsDirectory,
    stateDirectory,
  } = service;
  const hardening = { ...HARDENING, ...service.hardening };
  return [
    '[Unit]',
    `Description=${description}`,
    'Documentation=man:virtlens(1)',
    'Wants=network-online.target',
    `After=network-online.target ${after.join(' ')}`,
    '',
    '[Service]',
    'Type=notify',
    // Node.js cannot write to systemd's socket; systemd-notify, which it runs, is another process.
    'NotifyAccess=all',
    'WatchdogSec=2min',
    'EnvironmentFile=-/etc/default/virtlens',
    'Environment=MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072',
    `ExecStart=/usr/bin/virtlens ${command} $${variable}`,
    ...(canReload === true ? ['ExecReload=/bin/kill -HUP $MAINPID'] : []),
    'Restart=on-failure',
    'RestartSec=5',
    ...(isRoot === true ? ['User=root'] : ['User=virtlens', 'Group=virtlens']),
    ...(groups === undefined ? [] : [`SupplementaryGroups=${groups.join(' ')}`]),
    `CapabilityBoundingSet=${capabilities.join(' ')}`,
    `AmbientCapabilities=${isRoot === true ? '' : capabilities.join(' ')}`,
    ...(logsDirectory === undefined ? [] : [`LogsDirectory=${logsDirectory}`, 'LogsDirectoryMode=0750']),
    ...(stateDirectory === undefined ? [] : [`StateDirectory=${stateDirectory}`, 'StateDirectoryMode=0700']),
    ...Object.entries(hardening).map(([name, value]) => `${name}=${value}`),
    '',
    '[Install]',
    'WantedBy=multi-user.target',
    '',
  ].join('\n');
}

/** /etc/default/virtlens. */
export function renderDefaults(): string {
  const rows = SERVICES.map(({ variable, args, help }) => `# ${help}\n${variable}="${args}"\n`);
  return `# Arguments of the services of virtlens. After a change: systemctl restart virtlens\n\n${rows.join('\n')}`;
}
