// kumina/libvirt_exporter at its head, from the descriptions in libvirt_exporter.go and the types it gives them, without Nova's labels.
// Debian's package 0.2.0 is an earlier commit, which lacks the four families of times and flushes; test/debian-peer.test.ts runs it.
import { families, type OriginalFamily } from './original-family.ts';

export const DEBIAN_FAMILIES: readonly OriginalFamily[] = [
  ...families('gauge', [], ['libvirt_up', 'libvirt_domains_number']),
  ...families(
    'gauge',
    ['domain', 'uuid'],
    [
      'libvirt_domain_state_code',
      'libvirt_domain_info_maximum_memory_bytes',
      'libvirt_domain_info_memory_usage_bytes',
      'libvirt_domain_info_virtual_cpus',
    ],
  ),
  ...families('counter', ['domain', 'uuid'], ['libvirt_domain_info_cpu_time_seconds_total']),
  ...families(
    'counter',
    ['domain', 'uuid', 'source_file', 'target_device'],
    [
      'libvirt_domain_block_stats_read_bytes_total',
      'libvirt_domain_block_stats_read_requests_total',
      'libvirt_domain_block_stats_read_seconds_total',
      'libvirt_domain_block_stats_write_bytes_total',
      'libvirt_domain_block_stats_write_requests_total',
      'libvirt_domain_block_stats_write_seconds_total',
      'libvirt_domain_block_stats_flush_requests_total',
      'libvirt_domain_block_stats_flush_seconds_total',
    ],
  ),
  ...families(
    'counter',
    ['domain', 'uuid', 'source_bridge', 'target_device'],
    [
      'libvirt_domain_interface_stats_receive_bytes_total',
      'libvirt_domain_interface_stats_receive_packets_total',
      'libvirt_domain_interface_stats_receive_errors_total',
      'libvirt_domain_interface_stats_receive_drops_total',
      'libvirt_domain_interface_stats_transmit_bytes_total',
      'libvirt_domain_interface_stats_transmit_packets_total',
      'libvirt_domain_interface_stats_transmit_errors_total',
      'libvirt_domain_interface_stats_transmit_drops_total',
    ],
  ),
];
