import { CONNECTION } from '../parts/connection.ts';
import type { Schema } from '../parts/libvirt-tables.ts';
import { BASE_TABLES } from './base.ts';
import { BLOCK_TABLES } from './block.ts';
import { CPU_TABLES, VCPU_COUNTERS, VCPU_MAPPING } from './cpu.ts';
import { DOMAIN_TABLES } from './domain.ts';
import { HOST_TABLES } from './host.ts';
import { INTERFACE_TABLES } from './interface.ts';
import { MEMORY_TABLES } from './memory.ts';
import { PERF } from './perf.ts';

/**
 * Every statistic of libvirt, each once: those that Kumina's exporter began with are there only as far as no other chosen scheme has
 * them. Names are those of Tinkoff's (https://github.com/Tinkoff/libvirt-exporter) and inovex's (https://github.com/inovex/prometheus-libvirt-exporter)
 * exporters where one of them has the statistic.
 */
export function extendedSchema(): Schema {
  return {
    name: 'extended',
    tables: [
      CONNECTION,
      ...HOST_TABLES,
      ...DOMAIN_TABLES,
      ...CPU_TABLES,
      ...VCPU_MAPPING,
      VCPU_COUNTERS,
      PERF,
      ...MEMORY_TABLES,
      ...BLOCK_TABLES,
      ...INTERFACE_TABLES,
    ],
    fillers: BASE_TABLES,
  };
}
