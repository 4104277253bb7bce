import { INTERFACE_ROWS } from '../parts/device-rows.ts';
import { activeDomain } from '../parts/domain-info.ts';
import { itemTable, type Table } from '../parts/libvirt-tables.ts';
import { originalInterfaceLabels } from '../parts/original-labels.ts';

/** The families of `inovex` about network interfaces. */
export const INTERFACE_TABLES: readonly Table[] = [
  itemTable({
    labels: originalInterfaceLabels(
      ['domain', 'interface_type', 'source_bridge', 'target_device', 'mac_address', 'model_type', 'mtu_size'],
      ({ name }, target, config) => [
        name,
        config?.type ?? '',
        config?.sourceBridge ?? '',
        target,
        config?.mac ?? '',
        config?.model ?? '',
        config?.mtu === undefined ? '' : String(config.mtu),
      ],
    ),
    needs: 'interface',
    items: (domain) => activeDomain(domain)?.stats.interfaces,
    rows: [
      {
        name: 'libvirt_domain_interface_stats_info',
        type: 'info',
        help: 'What a network interface is: its type, bridge, MAC address, model and MTU.',
        source: 'XML: net.<num>.name',
        value: () => 1,
      },
    ],
  }),
  itemTable({
    labels: originalInterfaceLabels(['domain', 'target_device'], ({ name }, target) => [name, target]),
    needs: 'interface',
    items: (domain) => activeDomain(domain)?.stats.interfaces,
    rows: INTERFACE_ROWS,
  }),
];
