/**
 * The limits of a disk's `<iotune>`: libvirt's name of the element, the name of the family after `libvirt_domain_block_stats_` in
 * Tinkoff's exporter, and the beginning of a sentence about it.
 */
export const IO_LIMITS = [
  ['total_bytes_sec', 'limit_total_bytes', 'Limit of bytes read and written per second'],
  ['read_bytes_sec', 'limit_read_bytes', 'Limit of bytes read per second'],
  ['write_bytes_sec', 'limit_write_bytes', 'Limit of bytes written per second'],
  ['total_iops_sec', 'limit_total_requests', 'Limit of read and write requests per second'],
  ['read_iops_sec', 'limit_read_requests', 'Limit of read requests per second'],
  ['write_iops_sec', 'limit_write_requests', 'Limit of write requests per second'],
  ['total_bytes_sec_max', 'limit_burst_total_bytes', 'Limit of bytes read and written per second in a burst'],
  ['read_bytes_sec_max', 'limit_burst_read_bytes', 'Limit of bytes read per second in a burst'],
  ['write_bytes_sec_max', 'limit_burst_write_bytes', 'Limit of bytes written per second in a burst'],
  ['total_iops_sec_max', 'limit_burst_total_requests', 'Limit of read and write requests per second in a burst'],
  ['read_iops_sec_max', 'limit_burst_read_requests', 'Limit of read requests per second in a burst'],
  ['write_iops_sec_max', 'limit_burst_write_requests', 'Limit of write requests per second in a burst'],
  ['total_bytes_sec_max_length', 'limit_burst_total_bytes_length_seconds', 'Longest burst of bytes read and written'],
  ['read_bytes_sec_max_length', 'limit_burst_read_bytes_length_seconds', 'Longest burst of bytes read'],
  ['write_bytes_sec_max_length', 'limit_burst_write_bytes_length_seconds', 'Longest burst of bytes written'],
  [
    'total_iops_sec_max_length',
    'limit_burst_length_total_requests_seconds',
    'Longest burst of read and write requests',
  ],
  ['read_iops_sec_max_length', 'limit_burst_length_read_requests_seconds', 'Longest burst of read requests'],
  ['write_iops_sec_max_length', 'limit_burst_length_write_requests_seconds', 'Longest burst of write requests'],
  ['size_iops_sec', 'size_iops_bytes', 'Size of the units in which large requests count against the limits'],
] as const;
