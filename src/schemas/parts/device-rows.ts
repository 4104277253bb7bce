import type { BlockStats, InterfaceStats } from '../../model/snapshot.ts';
import type { Row } from './libvirt-tables.ts';

/**
 * The rows that Kumina's exporter began with and that its successors kept: one meaning, whatever labels a scheme gives them. What a
 * successor added to them under a name of its own is in that scheme.
 */

/** Bytes and requests of a disk. */
export const BLOCK_ROWS: readonly Row<BlockStats>[] = [
  {
    name: 'libvirt_domain_block_stats_read_bytes_total',
    type: 'counter',
    help: 'Bytes read from a block device.',
    source: 'block.<num>.rd.bytes',
    value: (block) => block.readBytes,
  },
  {
    name: 'libvirt_domain_block_stats_read_requests_total',
    type: 'counter',
    help: 'Read requests to a block device.',
    source: 'block.<num>.rd.reqs',
    value: (block) => block.readRequests,
  },
  {
    name: 'libvirt_domain_block_stats_write_bytes_total',
    type: 'counter',
    help: 'Bytes written to a block device.',
    source: 'block.<num>.wr.bytes',
    value: (block) => block.writeBytes,
  },
  {
    name: 'libvirt_domain_block_stats_write_requests_total',
    type: 'counter',
    help: 'Write requests to a block device.',
    source: 'block.<num>.wr.reqs',
    value: (block) => block.writeRequests,
  },
];

/** Flushes, and the time that requests take, by the names of the exporters of Tinkoff and inovex. */
export const BLOCK_TIME_ROWS: readonly Row<BlockStats>[] = [
  {
    name: 'libvirt_domain_block_stats_read_time_seconds_total',
    type: 'counter',
    help: 'Time spent on read requests to a block device.',
    decimalShift: 9,
    source: 'block.<num>.rd.times',
    value: ({ readTimeNs }) => readTimeNs,
  },
  {
    name: 'libvirt_domain_block_stats_write_time_seconds_total',
    type: 'counter',
    help: 'Time spent on write requests to a block device.',
    decimalShift: 9,
    source: 'block.<num>.wr.times',
    value: ({ writeTimeNs }) => writeTimeNs,
  },
  {
    name: 'libvirt_domain_block_stats_flush_requests_total',
    type: 'counter',
    help: 'Flush requests to a block device.',
    source: 'block.<num>.fl.reqs',
    value: ({ flushRequests }) => flushRequests,
  },
  {
    name: 'libvirt_domain_block_stats_flush_time_seconds_total',
    type: 'counter',
    help: 'Time spent on flush requests to a block device.',
    decimalShift: 9,
    source: 'block.<num>.fl.times',
    value: ({ flushTimeNs }) => flushTimeNs,
  },
];

/** The size of a disk, by the name of the exporters of Tinkoff and inovex. */
export const BLOCK_CAPACITY_ROW: Row<BlockStats> = {
  name: 'libvirt_domain_block_stats_capacity_bytes',
  type: 'gauge',
  help: 'Size of a block device as the guest sees it.',
  source: 'block.<num>.capacity',
  value: ({ capacityBytes }) => capacityBytes,
};

/** Everything that libvirt says of an interface. */
export const INTERFACE_ROWS: readonly Row<InterfaceStats>[] = [
  {
    name: 'libvirt_domain_interface_stats_receive_bytes_total',
    type: 'counter',
    help: 'Bytes received on a network interface.',
    source: 'net.<num>.rx.bytes',
    value: (stats) => stats.rxBytes,
  },
  {
    name: 'libvirt_domain_interface_stats_receive_drops_total',
    type: 'counter',
    help: 'Received packets that a network interface dropped.',
    source: 'net.<num>.rx.drop',
    value: (stats) => stats.rxDrops,
  },
  {
    name: 'libvirt_domain_interface_stats_receive_errors_total',
    type: 'counter',
    help: 'Receive errors of a network interface.',
    source: 'net.<num>.rx.errs',
    value: (stats) => stats.rxErrors,
  },
  {
    name: 'libvirt_domain_interface_stats_receive_packets_total',
    type: 'counter',
    help: 'Packets received on a network interface.',
    source: 'net.<num>.rx.pkts',
    value: (stats) => stats.rxPackets,
  },
  {
    name: 'libvirt_domain_interface_stats_transmit_bytes_total',
    type: 'counter',
    help: 'Bytes transmitted on a network interface.',
    source: 'net.<num>.tx.bytes',
    value: (stats) => stats.txBytes,
  },
  {
    name: 'libvirt_domain_interface_stats_transmit_drops_total',
    type: 'counter',
    help: 'Packets to transmit that a network interface dropped.',
    source: 'net.<num>.tx.drop',
    value: (stats) => stats.txDrops,
  },
  {
    name: 'libvirt_domain_interface_stats_transmit_errors_total',
    type: 'counter',
    help: 'Transmit errors of a network interface.',
    source: 'net.<num>.tx.errs',
    value: (stats) => stats.txErrors,
  },
  {
    name: 'libvirt_domain_interface_stats_transmit_packets_total',
    type: 'counter',
    help: 'Packets transmitted on a network interface.',
    source: 'net.<num>.tx.pkts',
    value: (stats) => stats.txPackets,
  },
];
