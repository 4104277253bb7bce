import { CONNECTION } from '../parts/connection.ts';
import type { Schema } from '../parts/libvirt-tables.ts';
import { BLOCK_TABLES } from './block.ts';
import { DOMAIN_TABLES } from './domain.ts';
import { HOST_TABLES } from './host.ts';
import { INTERFACE_TABLES } from './interface.ts';

/**
 * The families of Tinkoff's libvirt-exporter at its head (https://github.com/Tinkoff/libvirt-exporter), with its labels: its counters
 * have neither `source_file` nor `source_bridge`; those are in `libvirt_domain_block_meta` and `libvirt_domain_interface_meta`.
 *
 * As there, VMs that are shut off are listed, with a CPU time and memory statistics of 0. Unlike there, paused ones are listed too: the
 * original asks libvirt for VMs that are running or shut off only, and loses a VM while it is paused.
 */
export function tinkoffSchema(): Schema {
  return {
    name: 'tinkoff',
    tables: [CONNECTION, ...HOST_TABLES, ...DOMAIN_TABLES, ...BLOCK_TABLES, ...INTERFACE_TABLES],
  };
}
