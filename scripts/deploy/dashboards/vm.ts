import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import type { Scope } from '../expressions.ts';
import * as of from '../expressions.ts';
import { dashboard, labelVariable, lines, row, stat } from './panels.ts';

const SCOPE: Scope = { matchers: 'instance=~"$instance"', domain: '$domain', window: '$__rate_interval' };
const VM = '{{domain}}';
const DEVICE = '{{domain}} {{device}}';
const latency = (seconds: string, requests: string) => `(${seconds}) / ((${requests}) > 0)`;

/** One VM, or a few side by side. */
export const vm: Dashboard = dashboard({
  uid: 'virtlens-vm',
  title: 'VM',
  description: 'One VM or a few, as virtlens sees them. On Proxmox VE a VM is named by its id.',
  variables: [
    labelVariable('instance', 'instance', 'Host', `group by (instance) (${of.vcpus({ window: '5m' })})`),
    labelVariable(
      'domain',
      'domain',
      'VM',
      `group by (domain) (${of.vcpus({ matchers: 'instance=~"$instance"', window: '5m' })})`,
    ),
  ],
  content: [
    [
      row('Now'),
      stat({
        title: 'State',
        description: '1 running, 3 paused, 5 shut off, 6 crashed',
        unit: 'short',
        queries: [{ expr: of.state(SCOPE), legend: VM }],
      }),
      stat({ title: 'vCPUs', unit: 'short', queries: [{ expr: of.vcpus(SCOPE), legend: VM }] }),
      stat({ title: 'Memory assigned', unit: 'bytes', queries: [{ expr: of.memoryAssigned(SCOPE), legend: VM }] }),
      stat({
        title: 'CPU',
        unit: 'percentunit',
        queries: [{ expr: `(${of.cpuSeconds(SCOPE)}) / (${of.vcpus(SCOPE)})`, legend: VM }],
      }),
      stat({
        title: 'Memory in use',
        unit: 'percentunit',
        queries: [{ expr: `(${of.memoryUsed(SCOPE)}) / (${of.memoryVisible(SCOPE)})`, legend: VM }],
      }),
      stat({
        title: 'Age of the statistics',
        unit: 's',
        queries: [{ expr: 'libvirt_domain_stats_age_seconds{instance=~"$instance", domain=~"$domain"}', legend: VM }],
      }),
    ],
    [
      row('CPU'),
      lines({ title: 'CPUs in use', unit: 'short', queries: [{ expr: of.cpuSeconds(SCOPE), legend: VM }] }),
      lines({
        title: 'Steal',
        description: 'Share of the time in which a vCPU was ready to run and had no CPU of the host.',
        unit: 'percentunit',
        queries: [{ expr: `(${of.stealSeconds(SCOPE)}) / (${of.vcpus(SCOPE)})`, legend: VM }],
      }),
      lines({
        title: 'vCPUs',
        unit: 'short',
        span: 24,
        queries: [
          {
            expr: 'sum by (domain, vcpu) (rate(libvirt_domain_vcpu_time_seconds_total{instance=~"$instance", domain=~"$domain"}[$__rate_interval]))',
            legend: `${VM} {{vcpu}}`,
          },
        ],
      }),
    ],
    [
      row('Memory'),
      lines({
        title: 'Memory',
        unit: 'bytes',
        span: 24,
        queries: [
          { expr: of.memoryAssigned(SCOPE), legend: `${VM} assigned` },
          { expr: of.memoryVisible(SCOPE), legend: `${VM} that the guest sees` },
          { expr: of.memoryUsed(SCOPE), legend: `${VM} in use by the guest` },
        ],
      }),
    ],
    [
      row('Disks'),
      lines({
        title: 'Throughput',
        unit: 'Bps',
        span: 8,
        queries: [
          { expr: of.readBytes(SCOPE), legend: `${DEVICE} read` },
          { expr: of.writeBytes(SCOPE), legend: `${DEVICE} written` },
        ],
      }),
      lines({
        title: 'Requests',
        unit: 'iops',
        span: 8,
        queries: [
          { expr: of.readRequests(SCOPE), legend: `${DEVICE} read` },
          { expr: of.writeRequests(SCOPE), legend: `${DEVICE} write` },
        ],
      }),
      lines({
        title: 'Latency',
        description: 'Time of one request.',
        unit: 's',
        span: 8,
        queries: [
          { expr: latency(of.readSeconds(SCOPE), of.readRequests(SCOPE)), legend: `${DEVICE} read` },
          { expr: latency(of.writeSeconds(SCOPE), of.writeRequests(SCOPE)), legend: `${DEVICE} write` },
        ],
      }),
    ],
    [
      row('Network'),
      lines({
        title: 'Throughput',
        unit: 'Bps',
        queries: [
          { expr: of.receiveBytes(SCOPE), legend: `${DEVICE} received` },
          { expr: of.transmitBytes(SCOPE), legend: `${DEVICE} transmitted` },
        ],
      }),
      lines({
        title: 'Dropped packets',
        unit: 'pps',
        queries: [
          { expr: of.receiveDrops(SCOPE), legend: `${DEVICE} received` },
          { expr: of.transmitDrops(SCOPE), legend: `${DEVICE} transmitted` },
        ],
      }),
    ],
  ],
});
