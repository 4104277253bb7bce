// What public dashboards and alerts ask of the exporters whose families virtlens takes over, as they ask it. Their variables are filled
// in for the host of test/dashboards.test.ts: every VM, and the labels that a scrape configuration adds.

const WINDOW = '[1m]';
const rate = (name: string, selector = '') => `rate(${name}${selector}${WINDOW})`;
const block = (what: string) => `libvirt_domain_block_stats_${what}`;
const nic = (what: string) => `libvirt_domain_interface_stats_${what}`;

/** Sums by device, which is how the panels show disks and interfaces. */
const byDevice = (expression: string) => `sum by (domain, target_device) (${expression})`;

/** The dashboard 'libvirt-openstack' of inovex's own repository, for one VM after the other, and the variables that find a VM. */
function ofInovexDashboard(domain: string): readonly string[] {
  const vm = `{domain="${domain}"}`;
  const named = (name: string) => rate('', `{__name__=~"${name}", domain="${domain}"}`);
  const latency = (way: 'read' | 'write') =>
    `(${byDevice(named(block(`${way}_time_seconds_total`)))} / ${byDevice(named(block(`${way}_requests_total`)))}) * 1000`;
  const both = (family: (way: string) => string, ways: readonly [string, string]) =>
    `${rate(family(ways[0]), vm)} + ${rate(family(ways[1]), vm)}`;
  const disks = ['read', 'write'] as const;
  const directions = ['receive', 'transmit'] as const;
  return [
    `libvirt_domain_info_state${vm}`,
    `libvirt_domain_vcpu_current${vm}`,
    `libvirt_domain_memory_stats_maximum_bytes${vm}`,
    `count(libvirt_domain_block_stats_info${vm})`,
    `count(libvirt_domain_interface_stats_info${vm})`,
    `(${rate('libvirt_domain_info_cpu_time_seconds_total', vm)} / libvirt_domain_vcpu_current${vm}) * 100`,
    `(sum by (domain) (${rate('libvirt_domain_vcpu_delay_seconds_total', vm)}) / sum by (domain) (${rate('libvirt_domain_vcpu_time_seconds_total', vm)})) * 100`,
    `libvirt_domain_memory_stats_used_percent${vm}`,
    `sum by (domain) (${rate('libvirt_domain_memory_stats_swap_in_bytes', vm)} + ${rate('libvirt_domain_memory_stats_swap_out_bytes', vm)})`,
    byDevice(both((way) => block(`${way}_requests_total`), disks)),
    byDevice(both((way) => block(`${way}_bytes_total`), disks)),
    ...disks.map((way) => byDevice(named(block(`${way}_requests_total`)))),
    ...disks.map((way) => byDevice(named(block(`${way}_bytes_total`)))),
    ...disks.map(latency),
    `(${byDevice(both((way) => block(`${way}_bytes_total`), disks))} / ${byDevice(both((way) => block(`${way}_requests_total`), disks))})`,
    byDevice(both((way) => nic(`${way}_bytes_total`), directions)),
    byDevice(both((way) => nic(`${way}_packets_total`), directions)),
    ...directions.flatMap((way) =>
      ['bytes', 'packets', 'errors', 'drops'].map((what) => byDevice(rate(nic(`${way}_${what}_total`), vm))),
    ),
  ];
}

/** inovex: its dashboard, and joins that others make with its families. */
export function inovexQueries(domains: readonly string[]): readonly string[] {
  const openstack = '* on (domain) group_left(instance_name, project_name) libvirt_domain_openstack_info';
  return [
    ...domains.flatMap(ofInovexDashboard),
    'group by (project_name) (libvirt_domain_openstack_info)',
    'group by (instance_name) (libvirt_domain_openstack_info{project_name="demo"})',
    'group by (instance_id) (libvirt_domain_openstack_info{instance_name="web", project_name="demo"})',
    'group by (domain) (libvirt_domain_openstack_info{instance_name="web", project_name="demo"})',
    `topk(5, (sum by (domain) (${rate('libvirt_domain_info_cpu_time_seconds_total')}) / on (domain) max by (domain) (libvirt_domain_info_virtual_cpus) * 100) ${openstack})`,
    `topk(5, libvirt_domain_memory_stats_used_percent ${openstack})`,
    `topk(5, sum by (domain) (${rate(nic('receive_bytes_total'))}) ${openstack})`,
    `sum by (instance_id, mac_address) ((${rate(nic('receive_bytes_total'))} * on (domain, target_device) group_left(mac_address) libvirt_domain_interface_stats_info) * on (domain) group_left(instance_id) libvirt_domain_openstack_info)`,
    '100 * libvirt_storage_pool_allocation_bytes / libvirt_storage_pool_capacity_bytes',
    'libvirt_storage_pool_state != 2',
    'count by (state_desc) (libvirt_domain_info_state)',
    'sum(libvirt_domain_job_info_memory_remaining_bytes + libvirt_domain_job_info_file_remaining_bytes)',
    'max by (domain) (libvirt_domain_job_info_type) != 0',
    'libvirt_domain_timed_out + on () group_left libvirt_up',
    'libvirt_domain_info * on (domain) group_left(instance_name) libvirt_domain_openstack_info',
    'time() - libvirt_domain_memory_stats_last_update_timestamp_seconds',
    'libvirt_domains - count(libvirt_domain_info_state == 1)',
  ];
}

/** Tinkoff: panels and alerts on its families, with the joins that its families of metadata are for. */
export function tinkoffQueries(): readonly string[] {
  const meta = '* on (domain, instance) group_left(instance_name, project_name) libvirt_domain_info_meta';
  const device = '* on (domain, target_device) group_left(source_file, serial)';
  return [
    'libvirt_domain_info_vstate != 1',
    'count by (instance) (libvirt_domain_info_vstate == 1)',
    'libvirt_domain_info_maximum_memory_bytes - libvirt_domain_info_memory_usage_bytes',
    `avg(${rate('libvirt_domain_info_cpu_time_seconds_total')} / on (domain, instance) count(libvirt_domain_vcpu_cpu{}) by (instance, domain) * 100)`,
    `(${rate('libvirt_domain_info_cpu_time_seconds_total')} / libvirt_domain_info_virtual_cpus) ${meta}`,
    'avg(libvirt_domain_memory_stats_used_percent{domain=~".+"})',
    `libvirt_domain_memory_stats_used_percent ${meta}`,
    'libvirt_domain_memory_stats_rss_bytes / libvirt_domain_info_maximum_memory_bytes',
    '100 * (1 - libvirt_domain_memory_stats_usable_bytes / libvirt_domain_memory_stats_available_bytes)',
    'libvirt_domain_memory_stats_actual_balloon_bytes - libvirt_domain_memory_stats_unused_bytes - libvirt_domain_memory_stats_disk_cache_bytes',
    `${rate('libvirt_domain_memory_stats_major_fault_total')} + ${rate('libvirt_domain_memory_stats_minor_fault_total')}`,
    `sum by (domain) (${rate('libvirt_domain_vcpu_delay_seconds_total')}) ${meta}`,
    `${rate('libvirt_domain_vcpu_wait_seconds_total')} + ${rate('libvirt_domain_vcpu_time_seconds_total')}`,
    'count by (vcpu) (libvirt_domain_vcpu_state == 1)',
    `sum(${rate(block('read_requests_total'))} + ${rate(block('write_requests_total'))})`,
    `${rate(block('read_time_seconds_total'))} / ${rate(block('read_requests_total'))}`,
    `${rate(block('flush_time_seconds_total'))} / ${rate(block('flush_requests_total'))}`,
    `${rate(block('read_requests_total'))} / (${block('limit_read_requests')} > 0)`,
    `(${rate(block('read_bytes_total'))} + ${rate(block('write_bytes_total'))}) / (${block('limit_total_bytes')} > 0)`,
    `${block('limit_burst_total_bytes')} * ${block('limit_burst_total_bytes_length_seconds')}`,
    `${block('allocation')} / ${block('capacity_bytes')}`,
    `${block('physicalsize_bytes')} ${device} libvirt_domain_block_meta`,
    `${rate(block('write_bytes_total'))} ${device} libvirt_domain_block_meta`,
    `${rate(nic('receive_bytes_total'))} * 8 * on (domain, target_device) group_left(source_bridge, virtual_interface) libvirt_domain_interface_meta`,
    `sum by (source_bridge) (${rate(nic('transmit_drops_total'))} * on (domain, target_device) group_left(source_bridge) libvirt_domain_interface_meta)`,
    `sum by (domain) (${rate(nic('receive_errors_total'))} + ${rate(nic('transmit_errors_total'))})`,
    'libvirt_pool_info_allocation_bytes / libvirt_pool_info_capacity_bytes * 100',
    'libvirt_pool_info_available_bytes',
    'count by (hypervisor_running, libvirtd_running) (libvirt_versions_info)',
    'libvirt_up == 0',
  ];
}

/** The dashboard of Charmed OpenStack's libvirt exporter charm: it drops the labels that it knows, and what is left must be the same. */
function ofCharmedDashboard(): readonly string[] {
  const host = '{dns_name=~"host"}';
  const sum = (dropped: string, name: string) =>
    `sum without (flavor,group,instance,job,project_name,${dropped}) (${rate(name, host)})`;
  const info = (name: string) =>
    `sum without (flavor,group,instance,job,name,project_name,uuid) (libvirt_domain_info_${name}${host})`;
  const nics = ['bytes', 'packets', 'errors', 'drops'].flatMap((what) => [
    nic(`receive_${what}_total`),
    nic(`transmit_${what}_total`),
  ]);
  return [
    `count(libvirt_up${host})`,
    `libvirt_domain_info_virtual_cpus${host}`,
    info('virtual_cpus'),
    info('memory_usage_bytes'),
    rate('libvirt_domain_info_cpu_time_seconds_total', host),
    `libvirt_domain_info_maximum_memory_bytes${host}`,
    ...nics.map((name) => sum('source_bridge,uuid,target_device', name)),
    sum('source_bridge,uuid,target_device,domain', nic('receive_bytes_total')),
    ...['read_requests', 'write_requests', 'read_bytes', 'write_bytes'].map((what) =>
      sum('source_bridge,uuid,source_file', block(`${what}_total`)),
    ),
  ];
}

/** The dashboard 'Libvirt (KVM)' of StackHPC's configuration of Kolla, which shows `uuid` and `source_bridge` in its legends. */
function ofKollaDashboard(): readonly string[] {
  const all = '{domain=~".*",instance=~".*",job="lab"}';
  const irate = (name: string) => `irate(${name}${all}[5m])`;
  return [
    'group by (instance) (libvirt_up{job="lab"})',
    'group by (domain) (libvirt_domain_info_virtual_cpus{job="lab"})',
    irate('libvirt_domain_info_cpu_time_seconds_total'),
    `rate(libvirt_domain_info_cpu_time_seconds_total${all}[5m]) / libvirt_domain_info_virtual_cpus`,
    `libvirt_domain_info_memory_usage_bytes${all} / libvirt_domain_info_maximum_memory_bytes`,
    ...['read_requests', 'write_requests', 'read_bytes', 'write_bytes'].map((what) => irate(block(`${what}_total`))),
    ...['receive', 'transmit'].flatMap((way) =>
      ['packets', 'bytes', 'drops', 'errors'].map((what) => irate(nic(`${way}_${what}_total`))),
    ),
  ];
}

/** Debian and Kumina: the dashboards of OpenStack distributions that package the exporter, and what its newer families are for. */
export function debianQueries(): readonly string[] {
  return [
    ...ofCharmedDashboard(),
    ...ofKollaDashboard(),
    'libvirt_domain_state_code and changes(libvirt_domain_state_code[10m]) > 0',
    'libvirt_domains_number - count(libvirt_domain_state_code == 1)',
    `${rate('libvirt_domain_info_cpu_time_seconds_total')} * 100 / libvirt_domain_info_virtual_cpus`,
    `${rate(block('read_seconds_total'))} / ${rate(block('read_requests_total'))}`,
    `${rate(block('flush_seconds_total'))} / ${rate(block('flush_requests_total'))}`,
    `${rate(block('write_seconds_total'))} * on (uuid) group_left libvirt_domain_state_code`,
  ];
}
