// The Pod Security Standards (https://kubernetes.io/docs/concepts/security/pod-security-standards/), as far as a pod's template can offend
// against them with fields that our manifests could have.

interface SecurityContext {
  readonly privileged?: boolean;
  readonly allowPrivilegeEscalation?: boolean;
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
  readonly procMount?: string;
  readonly seLinuxOptions?: object;
  readonly seccompProfile?: { readonly type: string };
  readonly sysctls?: readonly object[];
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
}

interface Container {
  readonly name: string;
  readonly securityContext?: SecurityContext;
  readonly ports?: readonly { readonly hostPort?: number }[];
}

/** The `spec` of a pod's template. */
export interface PodSpec {
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly securityContext?: SecurityContext;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Readonly<Record<string, unknown>>[];
}

export type PodSecurityLevel = 'restricted' | 'baseline' | 'privileged';

/** The strictest level that admits a pod, and what keeps it from the next one. */
export interface PodSecurity {
  readonly level: PodSecurityLevel;
  readonly offences: readonly string[];
}

const BASELINE_CAPABILITIES = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);
const RESTRICTED_VOLUMES = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
]);

/** Judges a pod. */
export function podSecurityOf(pod: PodSpec): PodSecurity {
  const baseline = baselineOffences(pod);
  if (baseline.length > 0) return { level: 'privileged', offences: baseline };
  const restricted = restrictedOffences(pod);
  return restricted.length > 0 ? { level: 'baseline', offences: restricted } : { level: 'restricted', offences: [] };
}

const containersOf = (pod: PodSpec) => [...pod.containers, ...(pod.initContainers ?? [])];
/** `hostPath`, `emptyDir`, … */
const kindOf = (volume: Readonly<Record<string, unknown>>) => Object.keys(volume).find((key) => key !== 'name') ?? '';

function baselineOffences(pod: PodSpec): string[] {
  const offences = (['hostNetwork', 'hostPID', 'hostIPC'] as const).filter((name) => pod[name] === true) as string[];
  for (const volume of pod.volumes ?? []) if (kindOf(volume) === 'hostPath') offences.push('hostPath');
  if ((pod.securityContext?.sysctls ?? []).length > 0) offences.push('sysctls');
  if (pod.securityContext?.seccompProfile?.type === 'Unconfined') offences.push('seccompProfile');
  if (pod.securityContext?.seLinuxOptions !== undefined) offences.push('seLinuxOptions');
  for (const { securityContext: own = {}, ports = [] } of containersOf(pod)) {
    if (own.privileged === true) offences.push('privileged');
    if (own.procMount !== undefined && own.procMount !== 'Default') offences.push('procMount');
    if (own.seccompProfile?.type === 'Unconfined') offences.push('seccompProfile');
    if (own.seLinuxOptions !== undefined) offences.push('seLinuxOptions');
    if (ports.some(({ hostPort }) => hostPort !== undefined)) offences.push('hostPort');
    for (const name of own.capabilities?.add ?? []) if (!BASELINE_CAPABILITIES.has(name)) offences.push(name);
  }
  return [...new Set(offences)];
}

function restrictedOffences(pod: PodSpec): string[] {
  const offences: string[] = [];
  for (const volume of pod.volumes ?? []) if (!RESTRICTED_VOLUMES.has(kindOf(volume))) offences.push(kindOf(volume));
  for (const { securityContext: own = {} } of containersOf(pod)) {
    const of = <K extends keyof SecurityContext>(name: K) => own[name] ?? pod.securityContext?.[name];
    if (own.allowPrivilegeEscalation !== false) offences.push('allowPrivilegeEscalation');
    if (of('runAsNonRoot') !== true) offences.push('runAsNonRoot');
    if (of('runAsUser') === 0) offences.push('runAsUser');
    if (of('seccompProfile') === undefined) offences.push('seccompProfile');
    if (own.capabilities?.drop?.includes('ALL') !== true) offences.push('capabilities');
    if ((own.capabilities?.add ?? []).some((name) => name !== 'NET_BIND_SERVICE')) offences.push('capabilities');
  }
  return [...new Set(offences)];
}
