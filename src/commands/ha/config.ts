import { readFileSync } from 'node:fs';
import { describeError } from '../../base/errno.ts';
import { cut, quote } from '../../base/text.ts';
import { LOG_FORMAT_FLAG, listenAddressFlag, logLevelFlag, WEB_CONFIG_FLAG } from '../../cli/flags/service-flags.ts';
import { readUriFlag, URI_DEFAULT_HELP } from '../../cli/flags/uri-flag.ts';
import { defineFlags, type Flag, FlagError } from '../../cli/flags.ts';
import type { LogFormat, LogLevel } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import type { ClusterOptions } from '../../ha/cluster.ts';
import { type Policy, RULE_NAMES, RULES } from '../../ha/policy.ts';
import {
  applyChanges,
  IO_ERROR_COUNT_MAX,
  IO_ERROR_WINDOW_MIN_MS,
  PolicyError,
  readPolicyFile,
  readRuleSetting,
} from '../../ha/policy-file.ts';
import type { ParkedChoice } from '../../ha/queue/queue.ts';
import type { LibvirtUri } from '../../libvirt/uri.ts';

/** What `virtlens ha` was asked to do. */
export interface HaConfig {
  readonly uri: LibvirtUri;
  readonly policy: Policy;
  /** Says what would be done, and touches neither the cluster nor the state directory. */
  readonly isDryRun: boolean;
  readonly stateDir: string;
  /** Entries that may wait in the queue. */
  readonly queueMax: number;
  readonly parked: ParkedChoice;
  /** The name of this host's Kubernetes node, which is its Hypervisor's; the part before the first dot is tried too. */
  readonly nodeName: string;
  readonly cluster: ClusterOptions;
  readonly maintenance: 'none' | 'auto';
  readonly qemuLogDir: string;
  readonly listenAddresses: readonly string[];
  readonly webConfigFile: string | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Lines for the log about the configuration itself. */
  readonly notices: readonly string[];
}

/** A shorter deadline fails where a cluster works. */
const TIMEOUT_MIN_MS = 100;
const QUEUE_MIN = 10;
const QUEUE_MAX = 100_000;

const FLAG_TABLE = [
  {
    kind: 'string',
    name: 'libvirt.uri',
    placeholder: 'URI',
    help: `The libvirt daemon whose events are followed. A read-only connection is enough. ${URI_DEFAULT_HELP}`,
  },
  {
    kind: 'string',
    name: 'state.dir',
    env: 'STATE_DIRECTORY',
    default: '/var/lib/virtlens',
    placeholder: 'DIR',
    help: 'Directory of the queue and of what is known of the VMs. It must outlive the process; in a pod that is a hostPath.',
  },
  {
    kind: 'string',
    name: 'policy.file',
    placeholder: 'FILE',
    help: 'YAML file with rules (a name to an action each) and io-error (count, window).',
  },
  {
    kind: 'list',
    name: 'policy.rule',
    separator: ',',
    placeholder: 'RULE=ACTION',
    help: `Sets a rule to ignore, log or evict, before the file. The rules: ${RULE_NAMES.map((name) => `${name} (${RULES[name].action})`).join(', ')}.`,
  },
  {
    kind: 'number',
    name: 'io-error.count',
    whole: true,
    minimum: 1,
    maximum: IO_ERROR_COUNT_MAX,
    placeholder: 'N',
    help: 'Evict when a VM has so many I/O errors within the window; 5 by default.',
  },
  {
    kind: 'duration',
    name: 'io-error.window',
    placeholder: 'DURATION',
    help: 'The window of I/O errors; 10m by default.',
  },
  {
    kind: 'boolean',
    name: 'dry-run',
    help: 'Say in the log what would be done. Neither the cluster nor the state directory is touched.',
  },
  {
    kind: 'string',
    name: 'node-name',
    env: 'NODE_NAME',
    placeholder: 'NAME',
    help: "Name of this host's Kubernetes node, which is the name of its Hypervisor. By default the host's name, or the part of it before the first dot.",
  },
  {
    kind: 'string',
    name: 'kubernetes.group',
    default: 'kvm.cloud.sap',
    placeholder: 'GROUP',
    help: 'API group of the kinds Hypervisor and Eviction.',
  },
  {
    kind: 'string',
    name: 'kubernetes.kubeconfig',
    placeholder: 'FILE',
    help: 'Configuration of the cluster. By default $KUBECONFIG, else ~/.kube/config where it is there, else the service account of the pod.',
  },
  {
    kind: 'string',
    name: 'kubernetes.context',
    placeholder: 'NAME',
    help: 'Context of that configuration; its current one by default.',
  },
  {
    kind: 'duration',
    name: 'kubernetes.timeout',
    default: 10_000,
    placeholder: 'DURATION',
    help: 'Deadline of one request to the API server.',
  },
  {
    kind: 'choice',
    name: 'maintenance',
    choices: ['none', 'auto'],
    default: 'none',
    help: 'Set spec.maintenance of the Hypervisor too when an Eviction is created. Without it the operator moves no VM until somebody sets it.',
  },
  {
    kind: 'number',
    name: 'queue.max-entries',
    default: 4_096,
    whole: true,
    minimum: QUEUE_MIN,
    maximum: QUEUE_MAX,
    placeholder: 'N',
    help: 'Decisions that may wait for the cluster. When there are more, conditions are dropped first, and never the oldest Eviction.',
  },
  {
    kind: 'choice',
    name: 'queue.parked',
    choices: ['keep', 'retry', 'drop'],
    default: 'keep',
    help: 'What happens at the start to decisions that could not be carried out and were parked: they stay parked, are tried again, or are forgotten.',
  },
  {
    kind: 'string',
    name: 'qemu.log-dir',
    default: '/var/log/libvirt/qemu',
    placeholder: 'DIR',
    help: "Directory of QEMU's logs, whose last lines stand in an Eviction's reason.",
  },
  listenAddressFlag(9178),
  WEB_CONFIG_FLAG,
  logLevelFlag(),
  LOG_FORMAT_FLAG,
] as const satisfies readonly Flag[];

const FLAGS = defineFlags(
  {
    usage: 'virtlens ha [flags]',
    description:
      "Follows the events of the host's VMs and turns failures into Kubernetes resources: an Eviction of the host when a VM crashes or stops " +
      'unexpectedly, a condition of its Hypervisor when a guest reboots.',
  },
  FLAG_TABLE,
);

/** What `virtlens ha --help` prints. */
export const haHelp = FLAGS.help;

/**
 * Reads a command line, and the policy file that it names.
 * @throws FlagError, PolicyError
 */
export async function readHaConfig(
  argv: readonly string[],
  { env, hostname }: Pick<Machine, 'env' | 'hostname'>,
): Promise<HaConfig> {
  const flags = FLAGS.parse(argv, env);
  const { uri, notices } = readUriFlag(flags['libvirt.uri'], env);
  return {
    uri,
    policy: await readPolicy(flags),
    isDryRun: flags['dry-run'],
    stateDir: notEmpty('state.dir', flags['state.dir']),
    queueMax: flags['queue.max-entries'],
    parked: flags['queue.parked'],
    nodeName: readNodeName(flags['node-name'], hostname),
    cluster: {
      group: readGroup(flags['kubernetes.group']),
      kubeconfig: flags['kubernetes.kubeconfig'] || undefined,
      context: flags['kubernetes.context'] || undefined,
      timeoutMs: atLeast('kubernetes.timeout', flags['kubernetes.timeout'], TIMEOUT_MIN_MS),
    },
    maintenance: flags.maintenance,
    qemuLogDir: notEmpty('qemu.log-dir', flags['qemu.log-dir']),
    listenAddresses: flags['web.listen-address'],
    webConfigFile: flags['web.config.file'],
    logLevel: flags['log.level'],
    logFormat: flags['log.format'],
    notices,
  };
}

type PolicyFlags = Pick<
  ReturnType<typeof FLAGS.parse>,
  'policy.file' | 'policy.rule' | 'io-error.count' | 'io-error.window'
>;

/** What flags say is before what the file says. */
async function readPolicy(flags: PolicyFlags): Promise<Policy> {
  const file = flags['policy.file'];
  const windowMs = flags['io-error.window'];
  return applyChanges(...(file === undefined ? [] : [await readPolicyFile(readText(file), file)]), {
    actions: Object.fromEntries(flags['policy.rule'].map(readRule)),
    ioErrorCount: flags['io-error.count'],
    ioErrorWindowMs: windowMs === undefined ? undefined : atLeast('io-error.window', windowMs, IO_ERROR_WINDOW_MIN_MS),
  });
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new FlagError(
      'ERR_FLAG_VALUE',
      `--policy.file ${quote(cut(file, 200))} cannot be read: ${describeError(error)}`,
      {
        cause: error,
      },
    );
  }
}

function readRule(text: string) {
  try {
    return readRuleSetting(text);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw new FlagError('ERR_FLAG_VALUE', `--policy.rule ${error.message}`, { cause: error });
  }
}

/** The names of nodes are DNS names (RFC 1123); anything else would be refused by the API server at the first crash. */
function readNodeName(given: string | undefined, hostname: string): string {
  const name = given || hostname.toLowerCase();
  if (name.length <= 253 && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)) return name;
  const source = given ? '--node-name (or $NODE_NAME)' : "this host's name";
  throw new FlagError(
    'ERR_FLAG_VALUE',
    `${source} cannot be ${quote(cut(name, 80))}: the names of Kubernetes nodes are lower-case letters, digits, - and .; give --node-name`,
  );
}

function readGroup(group: string): string {
  if (group.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$/.test(group))
    return group;
  throw new FlagError(
    'ERR_FLAG_VALUE',
    `--kubernetes.group cannot be ${quote(cut(group, 80))}: it must be a DNS name such as kvm.cloud.sap, without the version`,
  );
}

function notEmpty(name: string, value: string): string {
  if (value !== '') return value;
  throw new FlagError('ERR_FLAG_VALUE', `--${name} is empty: give a directory, or leave the flag out`);
}

function atLeast(name: string, value: number, minimum: number): number {
  if (value >= minimum) return value;
  throw new FlagError('ERR_FLAG_VALUE', `--${name} is ${value}ms; the least that makes sense is ${minimum}ms`);
}
