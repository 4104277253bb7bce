import { hostTable } from './libvirt-tables.ts';

/** `libvirt_up`, which every scheme but Nova's has. */
export const CONNECTION = hostTable({
  labels: [],
  items: (snapshot) => [snapshot],
  values: () => [],
  rows: [
    {
      name: 'libvirt_up',
      type: 'gauge',
      help: 'Whether the connection to the libvirt daemon works: 1 yes, 0 no. It says nothing about single VMs.',
      source: 'connection',
      value: (snapshot) => (snapshot.up ? 1 : 0),
    },
  ],
});
