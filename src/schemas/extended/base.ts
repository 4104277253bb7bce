import { BLOCK_ROWS, INTERFACE_ROWS } from '../parts/device-rows.ts';
import { blockLabels, interfaceStatsLabels } from '../parts/devices.ts';
import { cpuTimeNs } from '../parts/domain-info.ts';
import { domainInfoRows, VCPU_TIME_ROW } from '../parts/domain-rows.ts';
import { domainTable, itemTable, type Row, type Table } from '../parts/libvirt-tables.ts';
import { BY_NAME, vcpuLabels } from '../parts/vm-labels.ts';

const NOTE = 'Only where no other chosen scheme has the statistic.';

const noted = <Item>(row: Row<Item>): Row<Item> => ({ ...row, note: NOTE });

/** The statistics that every exporter has, with the labels of the other families of `extended`. */
export const BASE_TABLES: readonly Table[] = [
  domainTable({
    labels: BY_NAME,
    item: (domain) => domain,
    rows: domainInfoRows(cpuTimeNs).map(noted),
  }),
  itemTable({
    labels: vcpuLabels(['domain', 'vcpu'], ({ name }, vcpu) => [name, vcpu]),
    needs: 'vcpu',
    items: (domain) => domain.stats.vcpu?.vcpus,
    rows: [noted(VCPU_TIME_ROW)],
  }),
  itemTable({
    labels: blockLabels(['domain', 'target_device'], ({ name }, target) => [name, target]),
    needs: 'block',
    items: (domain) => domain.stats.blocks,
    rows: BLOCK_ROWS.map(noted),
  }),
  itemTable({
    labels: interfaceStatsLabels(['domain', 'target_device'], ({ name }, target) => [name, target]),
    needs: 'interface',
    items: (domain) => domain.stats.interfaces,
    rows: INTERFACE_ROWS.map(noted),
  }),
];
