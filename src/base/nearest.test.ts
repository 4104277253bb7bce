import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findNearest } from './nearest.ts';

const NAMES = [
  'libvirt.uri',
  'libvirt.driver',
  'libvirt.export-nova-metadata',
  'web.listen-address',
  'web.telemetry-path',
  'web.health-path',
  'web.systemd-socket',
  'web.config.file',
  'schema',
  'domains.include',
  'domains.exclude',
  'collect.timeout',
  'collect.interval',
  'log.level',
  'log.format',
  ...['state', 'cpu_total', 'balloon', 'vcpu', 'interface', 'block', 'perf', 'iothread', 'memory', 'dirtyrate'].map(
    (group) => `collector.${group}`,
  ),
  'collector.jobs',
  'collector.pools',
  'collector.vcpu_mapping',
  'collector.vcpu_hypervisor',
  'help',
  'version',
];

for (const [typed, meant] of [
  // Typing errors.
  ['libvirt.url', 'libvirt.uri'],
  ['libvirt.ur', 'libvirt.uri'],
  ['libvrit.uri', 'libvirt.uri'],
  ['libivrt.uri', 'libvirt.uri'],
  ['LIBVIRT.URI', 'libvirt.uri'],
  ['web.listen-adress', 'web.listen-address'],
  ['web.listen-addresses', 'web.listen-address'],
  ['web.listenaddress', 'web.listen-address'],
  ['web.telemtry-path', 'web.telemetry-path'],
  ['web.config-file', 'web.config.file'],
  ['schemas', 'schema'],
  ['shcema', 'schema'],
  ['collector.blocks', 'collector.block'],
  ['collector.cpu-total', 'collector.cpu_total'],
  ['collector.interfaces', 'collector.interface'],
  ['colector.memory', 'collector.memory'],
  ['domain.include', 'domains.include'],
  ['domains.exclud', 'domains.exclude'],
  ['web.cfg.file', 'web.config.file'],
  ['web.listen-addr', 'web.listen-address'],
  ['collector.mem', 'collector.memory'],
  ['loglevel', 'log.level'],
  ['log-level', 'log.level'],
  ['collect.intervall', 'collect.interval'],
  ['versoin', 'version'],
  // Half a name, where it is the half of one only.
  ['uri', 'libvirt.uri'],
  ['driver', 'libvirt.driver'],
  ['timeout', 'collect.timeout'],
  ['listen-address', 'web.listen-address'],
  ['socket', 'web.systemd-socket'],
  ['web.config', 'web.config.file'],
  ['web.listen', 'web.listen-address'],
  ['libvirt.export-nova', 'libvirt.export-nova-metadata'],
  ['collector.cpu', 'collector.cpu_total'],
  // Half of several names, or near to none.
  ['path', undefined],
  ['log', undefined],
  ['web', undefined],
  ['libvirt', undefined],
  ['collector', undefined],
  ['collector.net', undefined],
  ['collector.disk', undefined],
  ['collector.filesystem', undefined],
  ['collector.textfile.directory', undefined],
  ['port', undefined],
  ['verbose', undefined],
  ['debug', undefined],
  ['config', undefined],
  ['web.max-requests', undefined],
  ['web.disable-exporter-metrics', undefined],
  ['libvirt.auth.username', undefined],
  ['exporter.max-concurrent-collects', undefined],
  ['runtime.gomaxprocs', undefined],
  ['x', undefined],
  ['', undefined],
] as const) {
  test(`${typed === '' ? 'nothing' : typed} stands for ${meant ?? 'none of them'}`, () => {
    assert.equal(findNearest(typed, NAMES), meant);
  });
}

test('two names that are equally near are not chosen between', () => {
  assert.equal(findNearest('pb', ['pa', 'pc']), undefined);
  assert.equal(findNearest('path', ['bath', 'math']), undefined);
});
