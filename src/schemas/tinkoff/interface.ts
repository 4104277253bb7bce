import { INTERFACE_ROWS } from '../parts/device-rows.ts';
import { itemTable, type Table } from '../parts/libvirt-tables.ts';
import { originalInterfaceLabels } from '../parts/original-labels.ts';

/** The families of `tinkoff` about network interfaces. */
export const INTERFACE_TABLES: readonly Table[] = [
  itemTable({
    labels: originalInterfaceLabels(
      ['domain', 'source_bridge', 'target_device', 'virtual_interface'],
      ({ name }, target, config) => {
        const bridge = config?.sourceBridge ?? '';
        const virtualInterface = config?.virtualInterfaceId ?? '';
        return bridge === '' && virtualInterface === '' ? undefined : [name, bridge, target, virtualInterface];
      },
    ),
    needs: 'interface',
    items: (domain) => domain.stats.interfaces,
    rows: [
      {
        name: 'libvirt_domain_interface_meta',
        type: 'gauge',
        help: "The bridge of a network interface, and Open vSwitch's id of its port, where it has one of them. Always 1.",
        source: 'XML: net.<num>.name',
        value: () => 1,
      },
    ],
  }),
  itemTable({
    labels: originalInterfaceLabels(['domain', 'target_device'], ({ name }, target) => [name, target]),
    needs: 'interface',
    items: (domain) => domain.stats.interfaces,
    rows: INTERFACE_ROWS,
  }),
];
