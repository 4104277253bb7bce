// What operators ask of a VM, as PromQL that works with every naming scheme: the one source of the recording rules and the dashboards in
// deploy/. The first scheme that has a value gives it; values of the others are the same (test/deploy-prometheus.test.ts).

/** Which series are read. */
export interface Scope {
  /** Label matchers that all of them have to fulfil, such as `instance="h:9177"`; none in a recording rule. */
  readonly matchers?: string;
  /** A VM's name, or its id on Proxmox VE, as a regular expression; every VM without it. */
  readonly domain?: string;
  /** The range of a rate: `5m`, `$__rate_interval`. */
  readonly window: string;
}

export type Expression = (scope: Scope) => string;

export const HOST_LABELS = 'job, instance';
export const VM_LABELS = 'job, instance, domain';
export const DEVICE_LABELS = 'job, instance, domain, device';

/** A selector of one metric. `nameLabel`: the label that has the VM's name. */
function select(metric: string, { matchers, domain }: Scope, nameLabel: string, more = ''): string {
  const all = [matchers, domain === undefined ? '' : `${nameLabel}=~"${domain}"`, more].filter((text) => text);
  return all.length === 0 ? metric : `${metric}{${all.join(', ')}}`;
}

/** One metric of libvirt's schemes, of the scheme nova, and of Proxmox VE. */
const libvirt = (metric: string, scope: Scope, more?: string) => select(metric, scope, 'domain', more);
const nova = (metric: string, scope: Scope, more?: string) => select(metric, scope, 'libvirtname', more);
const pve = (metric: string, scope: Scope, more?: string) => select(metric, scope, 'id', more);

const rate = (selector: string, { window }: Scope) => `rate(${selector}[${window}])`;
const copy = (vector: string, to: string, from: string) => `label_replace(${vector}, "${to}", "$1", "${from}", "(.+)")`;
const ofNova = (vector: string) => copy(vector, 'domain', 'libvirtname');
const ofPve = (vector: string) => copy(vector, 'domain', 'id');
const maxBy = (labels: string, vector: string) => `max by (${labels}) (${vector})`;
const sumBy = (labels: string, vector: string) => `sum by (${labels}) (${vector})`;
const either = (...vectors: readonly string[]) => vectors.join('\nor\n');

/** vCPUs that the VM has. */
export const vcpus: Expression = (scope) =>
  either(
    maxBy(VM_LABELS, libvirt('libvirt_domain_info_virtual_cpus', scope)),
    maxBy(VM_LABELS, libvirt('libvirt_domain_info_vcpus', scope)),
    maxBy(VM_LABELS, ofNova(nova('libvirt_nova_instance_vcpu_count', scope))),
    maxBy(VM_LABELS, ofPve(pve('pve_kvm_vcores', scope))),
  );

/** Host CPUs that the VM uses. Where a scheme has the vCPUs' time alone, without QEMU's own threads. */
export const cpuSeconds: Expression = (scope) =>
  either(
    maxBy(VM_LABELS, rate(libvirt('libvirt_domain_info_cpu_time_seconds_total', scope), scope)),
    sumBy(VM_LABELS, rate(libvirt('libvirt_domain_vcpu_time_seconds_total', scope), scope)),
    `${maxBy(VM_LABELS, ofNova(rate(nova('libvirt_nova_instance_cpu_time_total', scope), scope)))} / 1e9`,
    sumBy(VM_LABELS, ofPve(rate(pve('pve_kvm_cpu_seconds_total', scope, 'mode=~"user|system"'), scope))),
  );

/** Seconds per second in which vCPUs were ready to run and had no CPU, all vCPUs together. */
export const stealSeconds: Expression = (scope) =>
  sumBy(VM_LABELS, rate(libvirt('libvirt_domain_vcpu_delay_seconds_total', scope), scope));

/** Memory that the VM has at the moment: the size of its balloon. */
export const memoryAssigned: Expression = (scope) =>
  either(
    maxBy(VM_LABELS, libvirt('libvirt_domain_info_memory_usage_bytes', scope)),
    maxBy(VM_LABELS, libvirt('libvirt_domain_info_memory_bytes', scope)),
    `${maxBy(VM_LABELS, ofNova(nova('libvirt_nova_instance_memory_alloc_kb', scope)))} * 1024`,
    maxBy(VM_LABELS, ofPve(pve('pve_kvm_balloon_bytes', scope))),
    maxBy(VM_LABELS, ofPve(pve('pve_kvm_maxmem_bytes', scope))),
  );

/** Memory that the guest sees, where its balloon driver reports it. A VM that is shut off has 0 in the scheme tinkoff. */
export const memoryVisible: Expression = (scope) =>
  either(
    maxBy(VM_LABELS, `${libvirt('libvirt_domain_memory_stats_available_bytes', scope)} > 0`),
    `${maxBy(VM_LABELS, ofNova(nova('libvirt_nova_instance_memory_alloc_kb', scope)))} * 1024`,
    maxBy(VM_LABELS, ofPve(pve('pve_kvm_guest_memory_total_bytes', scope))),
    maxBy(VM_LABELS, libvirt('libvirt_domain_info_memory_bytes', scope)),
  );

/**
 * Memory in use inside the guest, where its balloon driver reports it. Without what the guest could give away, where the scheme knows
 * that (tinkoff, inovex, extended, nova).
 */
export const memoryUsed: Expression = (scope) => {
  const available = maxBy(VM_LABELS, `${libvirt('libvirt_domain_memory_stats_available_bytes', scope)} > 0`);
  const usable = maxBy(VM_LABELS, libvirt('libvirt_domain_memory_stats_usable_bytes', scope));
  const total = maxBy(VM_LABELS, ofPve(pve('pve_kvm_guest_memory_total_bytes', scope)));
  const free = maxBy(VM_LABELS, ofPve(pve('pve_kvm_guest_memory_free_bytes', scope)));
  return either(
    `${available} - ${usable}`,
    `${maxBy(VM_LABELS, ofNova(nova('libvirt_nova_instance_memory_used_kb', scope)))} * 1024`,
    maxBy(VM_LABELS, libvirt('libvirt_domain_memory_usage_bytes', scope)),
    `${total} - ${free}`,
  );
};

/** One counter of a VM's disks or interfaces, under the names of the schemes. */
interface DeviceCounter {
  /** With the label `target_device`; the first that is there. */
  readonly target: readonly string[];
  /** c5c3's, with a label of its own. */
  readonly c5c3?: readonly [metric: string, label: string];
  readonly pve: readonly [metric: string, label: string];
}

function deviceRate({ target, c5c3, pve: [pveMetric, pveLabel] }: DeviceCounter): Expression {
  const named = (vector: string, label: string) => (label === 'device' ? vector : copy(vector, 'device', label));
  return (scope) =>
    either(
      ...target.map((metric) => maxBy(DEVICE_LABELS, named(rate(libvirt(metric, scope), scope), 'target_device'))),
      ...(c5c3 === undefined ? [] : [maxBy(DEVICE_LABELS, named(rate(libvirt(c5c3[0], scope), scope), c5c3[1]))]),
      maxBy(DEVICE_LABELS, ofPve(named(rate(pve(pveMetric, scope), scope), pveLabel))),
    );
}

/** Disks of a VM: `device` is vda, or scsi0 on Proxmox VE. */
function diskRate(way: 'read' | 'write', what: 'bytes' | 'requests' | 'seconds'): Expression {
  const past = way === 'read' ? 'read' : 'written';
  const pveMetric = { bytes: `${past}_bytes`, requests: `${way}s`, seconds: `${way}_seconds` }[what];
  const stats = `libvirt_domain_block_stats_${way}`;
  return deviceRate({
    target: what === 'seconds' ? [`${stats}_time_seconds_total`, `${stats}_seconds_total`] : [`${stats}_${what}_total`],
    ...(what === 'seconds' ? {} : { c5c3: [`libvirt_domain_block_${way}_${what}_total`, 'device'] as const }),
    pve: [`pve_kvm_disk_${pveMetric}_total`, 'disk_name'],
  });
}

export const readBytes = diskRate('read', 'bytes');
export const writeBytes = diskRate('write', 'bytes');
export const readRequests = diskRate('read', 'requests');
export const writeRequests = diskRate('write', 'requests');
/** Time spent on requests, of all that were under way at once. Not in the schemes kumina, c5c3 and nova. */
export const readSeconds = diskRate('read', 'seconds');
export const writeSeconds = diskRate('write', 'seconds');

/** Interfaces of a VM as the guest sees them: on Proxmox VE the host's counters have the other direction. */
function interfaceRate(way: 'receive' | 'transmit', what: 'bytes' | 'drops'): Expression {
  const host = `${way === 'receive' ? 'tx' : 'rx'}_${what === 'bytes' ? 'bytes' : 'dropped'}`;
  const hasC5c3 = what === 'bytes' || way === 'transmit';
  return deviceRate({
    target: [`libvirt_domain_interface_stats_${way}_${what}_total`],
    ...(hasC5c3 ? { c5c3: [`libvirt_domain_net_${way}_${what}_total`, 'interface'] as const } : {}),
    pve: [`pve_kvm_nic_${host}_total`, 'ifname'],
  });
}

export const receiveBytes = interfaceRate('receive', 'bytes');
export const transmitBytes = interfaceRate('transmit', 'bytes');
export const receiveDrops = interfaceRate('receive', 'drops');
export const transmitDrops = interfaceRate('transmit', 'drops');

/**
 * 1 for each VM, with the label `project`: Nova's project; on Proxmox VE the pool. With the schemes kumina and debian it needs
 * --libvirt.export-nova-metadata.
 */
export const project: Expression = (scope) => {
  const labels = `${VM_LABELS}, project`;
  const of = (selector: string, label: string) => copy(selector, 'project', label);
  const named = 'project_name!=""';
  return either(
    `group by (${labels}) (${of(libvirt('libvirt_domain_openstack_info', scope, named), 'project_name')})`,
    `group by (${labels}) (${of(libvirt('libvirt_domain_info_meta', scope, named), 'project_name')})`,
    `group by (${labels}) (${of(libvirt('libvirt_domain_info_virtual_cpus', scope, named), 'project_name')})`,
    `group by (${labels}) (${ofNova(of(nova('libvirt_nova_instance_vcpu_count', scope, 'novaproject!=""'), 'novaproject'))})`,
    `group by (${labels}) (${ofPve(of(pve('pve_kvm_info', scope, 'pool!=""'), 'pool'))})`,
  );
};

/** virDomainState, in the schemes debian, tinkoff, inovex and extended. */
export const state: Expression = (scope) =>
  either(
    maxBy(VM_LABELS, libvirt('libvirt_domain_state_code', scope)),
    maxBy(VM_LABELS, libvirt('libvirt_domain_info_vstate', scope)),
    maxBy(VM_LABELS, libvirt('libvirt_domain_info_state', scope)),
  );
