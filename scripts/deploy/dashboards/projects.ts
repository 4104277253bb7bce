import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import * as of from '../expressions.ts';
import { type Expression, type Scope, VM_LABELS } from '../expressions.ts';
import { dashboard, lines, row, table } from './panels.ts';

const SCOPE: Scope = { window: '$__rate_interval' };
const members = of.project(SCOPE);
const PROJECT = '{{project}}';

/** A sum over the VMs of each project. */
const byProject = (expression: Expression) =>
  `sum by (project) (sum by (${VM_LABELS}) (${expression(SCOPE)}) * on (${VM_LABELS}) group_left (project) (${members}))`;

/** OpenStack's projects over all hosts; on Proxmox VE the pools. */
export const projects: Dashboard = dashboard({
  uid: 'virtlens-projects',
  title: 'OpenStack projects',
  description:
    "What Nova's projects use, over all hosts; on Proxmox VE pools are projects. With the schemes kumina and debian it needs --libvirt.export-nova-metadata.",
  variables: [],
  content: [
    [
      row('Now'),
      table({
        title: 'Projects',
        by: 'project',
        byTitle: 'Project',
        columns: [
          { title: 'VMs', unit: 'short', expr: `count by (project) (${members})` },
          { title: 'vCPUs', unit: 'short', expr: byProject(of.vcpus) },
          { title: 'CPUs in use', unit: 'short', expr: byProject(of.cpuSeconds) },
          { title: 'Memory assigned', unit: 'bytes', expr: byProject(of.memoryAssigned) },
          { title: 'Memory in use', unit: 'bytes', expr: byProject(of.memoryUsed) },
        ],
      }),
    ],
    [
      row('Over time'),
      lines({
        title: 'VMs',
        unit: 'short',
        isStacked: true,
        queries: [{ expr: `count by (project) (${members})`, legend: PROJECT }],
      }),
      lines({
        title: 'CPUs in use',
        unit: 'short',
        isStacked: true,
        queries: [{ expr: byProject(of.cpuSeconds), legend: PROJECT }],
      }),
      lines({
        title: 'Memory assigned',
        unit: 'bytes',
        isStacked: true,
        queries: [{ expr: byProject(of.memoryAssigned), legend: PROJECT }],
      }),
      lines({ title: 'Steal', unit: 's', queries: [{ expr: byProject(of.stealSeconds), legend: PROJECT }] }),
      lines({
        title: 'Disks',
        unit: 'Bps',
        queries: [
          { expr: byProject(of.readBytes), legend: `${PROJECT} read` },
          { expr: byProject(of.writeBytes), legend: `${PROJECT} written` },
        ],
      }),
      lines({
        title: 'Network',
        unit: 'Bps',
        queries: [
          { expr: byProject(of.receiveBytes), legend: `${PROJECT} received` },
          { expr: byProject(of.transmitBytes), legend: `${PROJECT} transmitted` },
        ],
      }),
    ],
  ],
});
