import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  configOf,
  diskOf,
  domainOf,
  interfaceOf,
  listFamilies,
  samplesOf,
  snapshotOf,
} from '../../test/support/snapshots.ts';
import { createSchemaSet } from './schema-set.ts';

test('a running VM has all fifteen families with the names and labels of the document', () => {
  const domain = domainOf({
    name: 'web',
    uuid: 'u-1',
    config: configOf({
      disks: [diskOf({ target: 'vda', source: '/a' }), diskOf({ target: 'sr0', device: 'cdrom' })],
      interfaces: [interfaceOf({ target: 'vnet0' })],
    }),
    stats: {
      balloon: { currentKiB: 2048, maximumKiB: 4096, availableKiB: 2000, unusedKiB: 500, usableKiB: 700 },
      vcpu: { current: 2, maximum: 4, vcpus: [{ index: 0, timeNs: 7 }, { index: 1, timeNs: 8 }, { index: 2 }] },
      blocks: [
        { index: 0, name: 'vda', readBytes: 1, writeBytes: 2, readRequests: 3, writeRequests: 4 },
        { index: 1, name: 'sr0', readBytes: 1, writeBytes: 2, readRequests: 3, writeRequests: 4 },
      ],
      interfaces: [
        { index: 0, name: 'vnet0', rxBytes: 1, txBytes: 2, rxPackets: 3, txPackets: 4, rxErrors: 5, txDrops: 6 },
      ],
    },
  });
  const families = listFamilies(createSchemaSet(['c5c3']).families(snapshotOf([domain])));
  const vm = 'domain="web",uuid="u-1"';
  assert.deepEqual(samplesOf(families), [
    `libvirt_domain_info_vcpus{${vm}} 2`,
    `libvirt_domain_info_memory_bytes{${vm}} 2097152`,
    `libvirt_domain_vcpu_time_seconds_total{${vm},vcpu="0"} 7e-9`,
    `libvirt_domain_vcpu_time_seconds_total{${vm},vcpu="1"} 8e-9`,
    `libvirt_domain_memory_usage_bytes{${vm}} 1536000`,
    `libvirt_domain_block_read_bytes_total{${vm},device="vda"} 1`,
    `libvirt_domain_block_write_bytes_total{${vm},device="vda"} 2`,
    `libvirt_domain_block_read_requests_total{${vm},device="vda"} 3`,
    `libvirt_domain_block_write_requests_total{${vm},device="vda"} 4`,
    `libvirt_domain_net_receive_bytes_total{${vm},interface="vnet0"} 1`,
    `libvirt_domain_net_transmit_bytes_total{${vm},interface="vnet0"} 2`,
    `libvirt_domain_net_receive_packets_total{${vm},interface="vnet0"} 3`,
    `libvirt_domain_net_transmit_packets_total{${vm},interface="vnet0"} 4`,
    `libvirt_domain_net_receive_errors_total{${vm},interface="vnet0"} 5`,
    `libvirt_domain_net_transmit_drops_total{${vm},interface="vnet0"} 6`,
    'libvirt_up 1',
  ]);
  for (const { name, type } of families) assert.equal(type, name.endsWith('_total') ? 'counter' : 'gauge', name);
});

test('memory usage is absent unless the guest reports both figures', () => {
  const usage = (balloon: object) =>
    listFamilies(createSchemaSet(['c5c3']).families(snapshotOf([domainOf({ name: 'a', stats: { balloon } })]))).filter(
      ({ name }) => name === 'libvirt_domain_memory_usage_bytes',
    ).length;
  assert.equal(usage({ currentKiB: 1, maximumKiB: 1, rssKiB: 9 }), 0);
  assert.equal(usage({ availableKiB: 2 }), 0);
  assert.equal(usage({ unusedKiB: 2 }), 0);
  assert.equal(usage({ availableKiB: 2, unusedKiB: 2 }), 1);
});
