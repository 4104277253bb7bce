import { CONNECTION } from '../parts/connection.ts';
import type { Schema } from '../parts/libvirt-tables.ts';
import { BLOCK_TABLES } from './block.ts';
import { DOMAIN_TABLES } from './domain.ts';
import { HOST_TABLES } from './host.ts';
import { INTERFACE_TABLES } from './interface.ts';
import { JOB } from './job.ts';
import { MEMORY } from './memory.ts';

/**
 * The families of inovex's prometheus-libvirt-exporter at its head (https://github.com/inovex/prometheus-libvirt-exporter), with its
 * labels. As there, every VM has its state and what `virsh dominfo` says, and the rest is there for active VMs only.
 */
export function inovexSchema(): Schema {
  return {
    name: 'inovex',
    tables: [CONNECTION, ...HOST_TABLES, ...DOMAIN_TABLES, ...BLOCK_TABLES, ...INTERFACE_TABLES, JOB, MEMORY],
  };
}
