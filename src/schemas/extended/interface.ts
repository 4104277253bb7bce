import type { InterfaceConfig } from '../../model/snapshot.ts';
import { interfaceName } from '../parts/devices.ts';
import { domainTable, itemLabels, itemTable, type Table } from '../parts/libvirt-tables.ts';
import { BY_NAME } from '../parts/vm-labels.ts';

/** The families of `extended` about network interfaces. */
export const INTERFACE_TABLES: readonly Table[] = [
  domainTable({
    labels: BY_NAME,
    needs: 'interface',
    item: (domain) => domain.stats,
    rows: [
      {
        name: 'libvirt_domain_interfaces',
        type: 'gauge',
        help: 'Number of network interfaces of the VM. Absent while it is not running.',
        source: 'net.count',
        value: ({ interfaceCount }) => interfaceCount,
      },
    ],
  }),
  itemTable({
    labels: itemLabels<InterfaceConfig, InterfaceConfig>({
      names: [
        'domain',
        'interface_type',
        'source_bridge',
        'source_network',
        'target_device',
        'mac_address',
        'model_type',
        'mtu_size',
        'virtual_interface',
      ],
      key: (config) => config,
      hasKey: (key, config) => key === config,
      values: ({ name }, config) => [
        name,
        config.type,
        config.sourceBridge ?? '',
        config.sourceNetwork ?? '',
        interfaceName(config) ?? '',
        config.mac ?? '',
        config.model ?? '',
        config.mtu === undefined ? '' : String(config.mtu),
        config.virtualInterfaceId ?? '',
      ],
    }),
    needs: 'interface',
    items: ({ config }) => config?.interfaces,
    rows: [
      {
        name: 'libvirt_domain_interface_stats_info',
        type: 'info',
        help: 'Configuration of a network interface; `virtual_interface` is the id of its Open vSwitch port.',
        source: 'XML: net.<num>.name',
        note: "inovex's, with `source_network` and `virtual_interface` added; `libvirt_domain_interface_meta` in Tinkoff's.",
        value: () => 1,
      },
    ],
  }),
];
