import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import * as of from '../expressions.ts';
import { HOST_LABELS, type Scope } from '../expressions.ts';
import { dashboard, labelVariable, lines, row, stat, table } from './panels.ts';

const SCOPE: Scope = { matchers: 'instance=~"$instance"', window: '$__rate_interval' };
const all = (vector: string) => `sum(${vector})`;
const byHost = (vector: string) => `sum by (instance) (${vector})`;
const top = (vector: string) => `topk(10, ${vector})`;
const VM = '{{instance}} {{domain}}';
const HOST = '{{instance}}';
const steal = `sum by (${HOST_LABELS}) (${of.stealSeconds(SCOPE)}) / sum by (${HOST_LABELS}) (${of.vcpus(SCOPE)})`;

/** virDomainState's numbers. */
const STATES = [
  ['running', 1],
  ['paused', 3],
  ['shut off', 5],
  ['crashed', 6],
] as const;

/** All hosts, whatever is on them. */
export const hypervisors: Dashboard = dashboard({
  uid: 'virtlens-hypervisors',
  title: 'Hypervisors',
  description:
    'Hosts with libvirt or Proxmox VE, as virtlens sees them. It works with every naming scheme; what a scheme does not have is empty.',
  variables: [labelVariable('instance', 'instance', 'Host', `group by (instance) (${of.vcpus({ window: '5m' })})`)],
  content: [
    [
      row('Now'),
      stat({
        title: 'Hosts',
        unit: 'short',
        queries: [{ expr: `count(group by (instance) (${of.vcpus(SCOPE)}))`, legend: '' }],
      }),
      stat({ title: 'VMs', unit: 'short', queries: [{ expr: `count(${of.vcpus(SCOPE)})`, legend: '' }] }),
      stat({ title: 'vCPUs', unit: 'short', queries: [{ expr: all(of.vcpus(SCOPE)), legend: '' }] }),
      stat({ title: 'CPUs in use', unit: 'short', queries: [{ expr: all(of.cpuSeconds(SCOPE)), legend: '' }] }),
      stat({ title: 'Memory assigned', unit: 'bytes', queries: [{ expr: all(of.memoryAssigned(SCOPE)), legend: '' }] }),
      stat({
        title: 'VMs that do not reply',
        unit: 'short',
        queries: [{ expr: 'sum(libvirt_domain_timed_out{instance=~"$instance"})', legend: '' }],
      }),
    ],
    [
      row('Hosts'),
      lines({
        title: 'CPUs in use',
        unit: 'short',
        isStacked: true,
        queries: [{ expr: byHost(of.cpuSeconds(SCOPE)), legend: HOST }],
      }),
      lines({
        title: 'Steal',
        description: 'Share of the time in which vCPUs were ready to run and had no CPU of the host.',
        unit: 'percentunit',
        queries: [{ expr: steal, legend: HOST }],
      }),
      lines({
        title: 'Memory',
        unit: 'bytes',
        queries: [
          { expr: byHost(of.memoryAssigned(SCOPE)), legend: `${HOST} assigned` },
          { expr: byHost(of.memoryUsed(SCOPE)), legend: `${HOST} in use by guests` },
        ],
      }),
      lines({
        title: 'VMs by state',
        unit: 'short',
        isStacked: true,
        queries: STATES.map(([legend, code]) => ({
          expr: `count((${of.state(SCOPE)}) == ${code}) or vector(0)`,
          legend,
        })),
      }),
      lines({
        title: 'Disks',
        unit: 'Bps',
        queries: [
          { expr: byHost(of.readBytes(SCOPE)), legend: `${HOST} read` },
          { expr: byHost(of.writeBytes(SCOPE)), legend: `${HOST} written` },
        ],
      }),
      lines({
        title: 'Network',
        unit: 'Bps',
        queries: [
          { expr: byHost(of.receiveBytes(SCOPE)), legend: `${HOST} received` },
          { expr: byHost(of.transmitBytes(SCOPE)), legend: `${HOST} transmitted` },
        ],
      }),
    ],
    [
      row('VMs that use most'),
      lines({ title: 'CPUs', unit: 'short', queries: [{ expr: top(of.cpuSeconds(SCOPE)), legend: VM }] }),
      lines({ title: 'Steal', unit: 's', queries: [{ expr: top(of.stealSeconds(SCOPE)), legend: VM }] }),
      lines({
        title: 'Disk requests',
        unit: 'iops',
        queries: [
          { expr: top(`sum by (instance, domain) (${of.readRequests(SCOPE)})`), legend: `${VM} read` },
          { expr: top(`sum by (instance, domain) (${of.writeRequests(SCOPE)})`), legend: `${VM} write` },
        ],
      }),
      lines({
        title: 'Network',
        unit: 'Bps',
        queries: [
          { expr: top(`sum by (instance, domain) (${of.receiveBytes(SCOPE)})`), legend: `${VM} received` },
          { expr: top(`sum by (instance, domain) (${of.transmitBytes(SCOPE)})`), legend: `${VM} transmitted` },
        ],
      }),
    ],
    [
      row('Storage and the agent'),
      table({
        title: 'Storage pools',
        by: 'storage_pool',
        byTitle: 'Pool',
        span: 12,
        columns: [
          {
            title: 'Capacity',
            unit: 'bytes',
            expr: 'sum by (storage_pool) (libvirt_storage_pool_capacity_bytes{instance=~"$instance"})',
          },
          {
            title: 'Free',
            unit: 'bytes',
            expr: 'sum by (storage_pool) (libvirt_storage_pool_available_bytes{instance=~"$instance"})',
          },
        ],
      }),
      lines({
        title: 'Duration of a scrape',
        unit: 's',
        queries: [{ expr: 'scrape_duration_seconds{instance=~"$instance"}', legend: HOST }],
      }),
    ],
  ],
});
