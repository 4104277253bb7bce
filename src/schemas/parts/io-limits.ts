/**
 * The limits of a disk's `<iotune>`: libvirt's name of the element, the name of the family after `libvirt_domain_block_stats_` in
 * Tinkoff's exporter, and the beginning of a sentence about it.
 */
export const IO_LIMITS = [
  ['total_bytes_sec', 'limit_total_bytes', 'Bytes a second that may be read and written together'],
  ['read_bytes_sec', 'limit_read_bytes', 'Bytes a second that may be read'],
  ['write_bytes_sec', 'limit_write_bytes', 'Bytes a second that may be written'],
  ['total_iops_sec', 'limit_total_requests', 'Requests a second, reads and writes together'],
  ['read_iops_sec', 'limit_read_requests', 'Read requests a second'],
  ['write_iops_sec', 'limit_write_requests', 'Write requests a second'],
  ['total_bytes_sec_max', 'limit_burst_total_bytes', 'Bytes a second in a burst, reads and writes together'],
  ['read_bytes_sec_max', 'limit_burst_read_bytes', 'Bytes a second that may be read in a burst'],
  ['write_bytes_sec_max', 'limit_burst_write_bytes', 'Bytes a second that may be written in a burst'],
  ['total_iops_sec_max', 'limit_burst_total_requests', 'Requests a second in a burst, reads and writes together'],
  ['read_iops_sec_max', 'limit_burst_read_requests', 'Read requests a second in a burst'],
  ['write_iops_sec_max', 'limit_burst_write_requests', 'Write requests a second in a burst'],
  [
    'total_bytes_sec_max_length',
    'limit_burst_total_bytes_length_seconds',
    'How long a burst of bytes may last, reads and writes together',
  ],
  ['read_bytes_sec_max_length', 'limit_burst_read_bytes_length_seconds', 'How long a burst of read bytes may last'],
  [
    'write_bytes_sec_max_length',
    'limit_burst_write_bytes_length_seconds',
    'How long a burst of written bytes may last',
  ],
  [
    'total_iops_sec_max_length',
    'limit_burst_length_total_requests_seconds',
    'How long a burst of requests may last, reads and writes together',
  ],
  [
    'read_iops_sec_max_length',
    'limit_burst_length_read_requests_seconds',
    'How long a burst of read requests may last',
  ],
  [
    'write_iops_sec_max_length',
    'limit_burst_length_write_requests_seconds',
    'How long a burst of write requests may last',
  ],
  ['size_iops_sec', 'size_iops_bytes', 'Size in which requests are counted against the limits'],
] as const;
