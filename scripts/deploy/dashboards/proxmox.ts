import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { dashboard, labelVariable, lines, row, stat, table } from './panels.ts';

const HERE = 'instance=~"$instance"';
const rate = (metric: string, more = '') => `rate(${metric}{${HERE}${more}}[$__rate_interval])`;
const NAMED = '{{name}} ({{id}})';

/** Adds the VM's or the container's name, which only its info metric has. */
const named = (kind: 'kvm' | 'lxc', vector: string, labels = 'instance, id') =>
  `sum by (${labels}) (${vector}) * on (instance, id) group_left (name) max by (instance, id, name) (pve_${kind}_info{${HERE}})`;

/** Nodes of Proxmox VE: VMs, containers, storage. */
export const proxmox: Dashboard = dashboard({
  uid: 'virtlens-proxmox',
  title: 'Proxmox VE',
  description: 'Nodes of Proxmox VE as `virtlens pve` sees them.',
  variables: [labelVariable('instance', 'instance', 'Node', 'group by (instance) (pve_scrape_duration_seconds)')],
  content: [
    [
      row('Now'),
      stat({ title: 'VMs that run', unit: 'short', queries: [{ expr: `count(pve_kvm_info{${HERE}})`, legend: '' }] }),
      stat({
        title: 'VMs whose monitor replies',
        unit: 'short',
        queries: [{ expr: `sum(pve_kvm_up{${HERE}})`, legend: '' }],
      }),
      stat({ title: 'vCPUs', unit: 'short', queries: [{ expr: `sum(pve_kvm_vcores{${HERE}})`, legend: '' }] }),
      stat({
        title: 'Memory of VMs',
        unit: 'bytes',
        queries: [{ expr: `sum(pve_kvm_maxmem_bytes{${HERE}})`, legend: '' }],
      }),
      stat({
        title: 'Containers that run',
        unit: 'short',
        queries: [{ expr: `count(pve_lxc_info{${HERE}}) or vector(0)`, legend: '' }],
      }),
      stat({
        title: 'Duration of a scrape',
        unit: 's',
        queries: [{ expr: `max(pve_scrape_duration_seconds{${HERE}})`, legend: '' }],
      }),
    ],
    [
      row('VMs'),
      lines({
        title: 'CPUs in use',
        unit: 'short',
        queries: [{ expr: named('kvm', rate('pve_kvm_cpu_seconds_total', ', mode=~"user|system"')), legend: NAMED }],
      }),
      lines({
        title: 'Resident memory',
        unit: 'bytes',
        queries: [{ expr: named('kvm', `pve_kvm_memory_extended{${HERE}, type="vmrss"}`), legend: NAMED }],
      }),
      lines({
        title: 'Reads and writes of the process',
        unit: 'Bps',
        queries: [
          { expr: named('kvm', rate('pve_kvm_io_read_bytes_total')), legend: `${NAMED} read` },
          { expr: named('kvm', rate('pve_kvm_io_write_bytes_total')), legend: `${NAMED} written` },
        ],
      }),
      lines({
        title: 'Disks',
        description: 'Needs --collect-disk-io.',
        unit: 'Bps',
        queries: [
          {
            expr: named('kvm', rate('pve_kvm_disk_read_bytes_total'), 'instance, id, disk_name'),
            legend: `${NAMED} {{disk_name}} read`,
          },
          {
            expr: named('kvm', rate('pve_kvm_disk_written_bytes_total'), 'instance, id, disk_name'),
            legend: `${NAMED} {{disk_name}} written`,
          },
        ],
      }),
      lines({
        title: 'Network, as the guest sees it',
        unit: 'Bps',
        queries: [
          {
            expr: named('kvm', rate('pve_kvm_nic_tx_bytes_total'), 'instance, id, ifname'),
            legend: `${NAMED} {{ifname}} received`,
          },
          {
            expr: named('kvm', rate('pve_kvm_nic_rx_bytes_total'), 'instance, id, ifname'),
            legend: `${NAMED} {{ifname}} transmitted`,
          },
        ],
      }),
    ],
    [
      row('Containers'),
      lines({
        title: 'CPUs in use',
        unit: 'short',
        queries: [{ expr: named('lxc', rate('pve_lxc_cpu_seconds_total')), legend: NAMED }],
      }),
      lines({
        title: 'Memory',
        unit: 'bytes',
        queries: [{ expr: named('lxc', `pve_lxc_memory_bytes{${HERE}}`), legend: NAMED }],
      }),
    ],
    [
      row('Storage'),
      table({
        title: 'Storage',
        by: 'name',
        byTitle: 'Storage',
        columns: [
          { title: 'Size', unit: 'bytes', expr: `max by (name) (pve_node_storage_size_bytes{${HERE}})` },
          { title: 'Free', unit: 'bytes', expr: `max by (name) (pve_node_storage_free_bytes{${HERE}})` },
          { title: 'Usable', unit: 'short', expr: `min by (name) (pve_node_storage_up{${HERE}})` },
        ],
      }),
    ],
  ],
});
