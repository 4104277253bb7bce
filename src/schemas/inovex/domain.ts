import type { StateStats } from '../../model/snapshot.ts';
import { activeDomain, cpuTimeOrZeroNs } from '../parts/domain-info.ts';
import { domainInfoRows, STATE_MEANING, VCPU_ROWS, VCPU_TIME_ROW } from '../parts/domain-rows.ts';
import { domainLabels, domainTable, itemTable, type Table } from '../parts/libvirt-tables.ts';
import { BY_NAME, statisticLabels, vcpuLabels } from '../parts/vm-labels.ts';

const TIMED_OUT = domainTable({
  labels: BY_NAME,
  item: (domain) => domain,
  rows: [
    {
      name: 'libvirt_domain_timed_out',
      type: 'gauge',
      help: "Whether the VM's full statistics did not come in time: 1 yes, 0 no.",
      source: 'virtlens',
      value: ({ timedOut }) => (timedOut ? 1 : 0),
    },
  ],
});

const OS = domainTable({
  labels: domainLabels(['domain', 'os_type', 'os_type_arch', 'os_type_machine'], ({ name, config }) => [
    name,
    config?.osType ?? '',
    config?.osArch ?? '',
    config?.machine ?? '',
  ]),
  item: (domain) => domain,
  rows: [
    {
      name: 'libvirt_domain_info',
      type: 'info',
      help: 'What a VM is: how it boots, the architecture of its processor, and its machine type.',
      source: 'XML',
      value: () => 1,
    },
  ],
});

const OPENSTACK = domainTable({
  labels: domainLabels(
    ['domain', 'instance_name', 'instance_id', 'flavor_name', 'user_name', 'user_id', 'project_name', 'project_id'],
    ({ name, uuid, config }) => {
      const nova = config?.nova;
      return [
        name,
        nova?.instanceName ?? '',
        uuid,
        nova?.flavor?.name ?? '',
        nova?.userName ?? '',
        nova?.userId ?? '',
        nova?.projectName ?? '',
        nova?.projectId ?? '',
      ];
    },
  ),
  item: (domain) => domain,
  rows: [
    {
      name: 'libvirt_domain_openstack_info',
      type: 'info',
      help: "What OpenStack Nova's metadata say of a VM. As in the original, VMs without such metadata are there, with `instance_id` alone.",
      source: 'XML',
      value: () => 1,
    },
  ],
});

/** The values of `state_desc`, as the original writes them, by virDomainState. */
const STATE_DESCRIPTIONS = [
  'no state',
  'the domain is running',
  'the domain is blocked on resource',
  'the domain is paused by user',
  'the domain is being shut down',
  'the domain is shut off',
  'the domain is crashed',
  'the domain is suspended by guest power management',
] as const;

const STATE = itemTable({
  labels: statisticLabels<StateStats>(['state_desc'], ({ state }) => [STATE_DESCRIPTIONS[state] ?? '']),
  needs: 'state.state',
  items: ({ stats }) => stats.state && [stats.state],
  rows: [
    {
      name: 'libvirt_domain_info_state',
      type: 'gauge',
      help: `State of the VM, in words in \`state_desc\`: ${STATE_MEANING}`,
      source: 'state.state',
      note: 'A new state is a new series, because the words are a label: use `max by (domain)` over time.',
      value: ({ state }) => state,
    },
  ],
});

const INFO = domainTable({
  labels: BY_NAME,
  item: (domain) => domain,
  rows: domainInfoRows(cpuTimeOrZeroNs),
});

const VCPUS = domainTable({
  labels: BY_NAME,
  needs: 'vcpu',
  item: (domain) => activeDomain(domain)?.stats.vcpu,
  rows: [
    {
      name: 'libvirt_domain_vcpu_current',
      type: 'gauge',
      help: 'Number of vCPUs of the VM.',
      needs: 'vcpu.current',
      source: 'vcpu.current',
      value: ({ current }) => current,
    },
    {
      name: 'libvirt_domain_vcpu_maximum',
      type: 'gauge',
      help: 'Maximum number of vCPUs of the VM.',
      source: 'vcpu.maximum',
      value: ({ maximum }) => maximum,
    },
  ],
});

const VCPU = itemTable({
  labels: vcpuLabels(['domain', 'vcpu'], ({ name }, vcpu) => [name, vcpu]),
  needs: 'vcpu',
  items: (domain) => activeDomain(domain)?.stats.vcpu?.vcpus,
  rows: [VCPU_TIME_ROW, ...VCPU_ROWS],
});

/** The families of `inovex` about VMs and vCPUs. */
export const DOMAIN_TABLES: readonly Table[] = [TIMED_OUT, OS, OPENSTACK, STATE, INFO, VCPUS, VCPU];
