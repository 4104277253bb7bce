// Everything that serve emits, before promtool and a real Prometheus.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import bcrypt from 'bcryptjs';
import { SCHEMA_NAMES } from '../src/schemas/schema-set.ts';
import { createSimulator, type Simulator } from '../src/sim/daemon/simulator.ts';
import { Agent } from './lab/agent.ts';
import { Cage, randomName } from './lab/cage.ts';
import { type Certificates, makeCertificates } from './lab/certificates.ts';
import { describeLab } from './lab/describe.ts';
import { parseExposition } from './lab/exposition.ts';
import { promtoolCheck, startPrometheus } from './lab/prometheus.ts';

const OPENMETRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
/** Everything that can be switched on. */
const ALL_ON = ['--collector.vcpu_mapping', '--collector.vcpu_hypervisor', '--libvirt.export-nova-metadata'];

describeLab('everything that serve emits', ['prometheus', 'promtool', 'tls'], () => {
  let cage: Cage;
  let simulator: Simulator;
  let uri: string;
  let certificates: Certificates;

  before(async () => {
    cage = await Cage.open();
    certificates = makeCertificates(join(cage.dir, 'pki'));
    simulator = createSimulator({
      fleets: [{ count: 20 }],
      vms: [
        {
          name: 'odd "name" \\ ü',
          kvmCounters: true,
          iothreads: 2,
          disks: [{ target: 'vda', source: { file: '/a b\n"c' } }],
        },
      ],
      pools: [{ name: 'default', capacityBytes: 1000, allocationBytes: 400 }],
    });
    const path = join(cage.dir, 'sim.sock');
    await simulator.listen({ path });
    uri = `qemu+unix:///system?socket=${path}`;
  });
  after(async () => {
    await simulator?.close();
    await cage?.stop();
  });

  /** Each scheme by itself, with a neighbour, the default, and all in either order. The unit tests take every choice. */
  const combinations: readonly (readonly string[])[] = [
    ...SCHEMA_NAMES.map((name) => [name]),
    ...SCHEMA_NAMES.map((name, i) => [name, SCHEMA_NAMES[(i + 1) % SCHEMA_NAMES.length]!]),
    ['kumina', 'c5c3', 'extended'],
    SCHEMA_NAMES,
    SCHEMA_NAMES.toReversed(),
  ];

  it('is clean in the eyes of promtool, whatever schemas are combined, and declares no family twice', async () => {
    for (const schemas of combinations) {
      await using agent = await Agent.start([`--libvirt.uri=${uri}`, `--schema=${schemas.join(',')}`, ...ALL_ON]);
      const text = await agent.metrics();
      const page = parseExposition(text);
      const openMetrics = await agent.metrics({ Accept: OPENMETRICS });
      assert.ok(openMetrics.endsWith('\n# EOF\n'));
      const samples = (families: ReturnType<typeof parseExposition>) =>
        [...families.values()].flatMap((family) => [...family.samples.keys()]).sort();
      assert.deepEqual(samples(parseExposition(openMetrics)), samples(page));
      assert.ok(page.size > 10);
      const findings = promtoolCheck(text);
      // Nova's names are given by its own exporter, and are not all that a linter wishes.
      const nova = findings.filter((line) => line.startsWith('libvirt_nova_'));
      assert.deepEqual(
        findings.filter((line) => !nova.includes(line)),
        [],
        schemas.join(),
      );
      if (schemas.includes('nova')) assert.deepEqual(nova, NOVA_FINDINGS);
      else assert.deepEqual(nova, []);
    }
  });

  it('is scraped by a real Prometheus in each format', async () => {
    await using agent = await Agent.start([`--libvirt.uri=${uri}`]);
    const check = async (accept: 'text' | 'openmetrics') => {
      // Prometheus itself asks for OpenMetrics first; a proxy that takes the header away would make it the text format.
      const target = accept === 'text' ? await startTextOnlyProxy(agent.url) : undefined;
      try {
        await using prometheus = await startPrometheus({
          targets: [target?.address ?? agent.address],
          scrapeIntervalMs: 1_000,
        });
        assert.equal((await prometheus.queryUntil('up == 1', (samples) => samples.length > 0)).length, 1);
        assert.equal((await prometheus.query('libvirt_up'))[0]!.text, '1');
        const [vms] = await prometheus.query('count(libvirt_domain_info_virtual_cpus)');
        assert.equal(vms!.value, simulator.hypervisor.vms.size);
        const [odd] = await prometheus.query('libvirt_domain_info_virtual_cpus{domain="odd \\"name\\" \\\\ ü"}');
        assert.ok(odd !== undefined, 'the odd name arrived whole');
        const rates = await prometheus.queryUntil(
          'rate(libvirt_domain_info_cpu_time_seconds_total[10s]) > 0',
          (samples) => samples.length > 3,
        );
        for (const { value } of rates) assert.ok(value > 0 && value < 64, `a VM uses ${value} CPUs`);
        const response = await fetch(`${prometheus.url}/api/v1/targets/metadata?limit=2000`);
        const { data } = (await response.json()) as { data: { metric: string; type: string; help: string }[] };
        const known = new Map(data.map(({ metric, type, help }) => [metric, { type, help }]));
        // In OpenMetrics a counter's family has the name without _total.
        const cpuTime = known.get(`libvirt_domain_info_cpu_time_seconds${accept === 'text' ? '_total' : ''}`);
        assert.equal(cpuTime?.type, 'counter');
        assert.match(cpuTime!.help, /CPU time/);
        assert.equal(known.get('libvirt_up')?.type, 'gauge');
        assert.equal(known.get('virtlens_libvirt_rpc_duration_seconds')?.type, 'histogram');
        for (const { health, lastError } of await prometheus.targets()) assert.equal(`${health} ${lastError}`, 'up ');
      } finally {
        await target?.stop();
      }
    };
    await Promise.all([check('text'), check('openmetrics')]);
  });

  it('is scraped over TLS by who knows the password, and by nobody else', async () => {
    const password = randomName('secret');
    const config = join(cage.dir, 'web.yml');
    writeFileSync(
      config,
      JSON.stringify({
        tls_server_config: { cert_file: certificates.serverCert, key_file: certificates.serverKey },
        basic_auth_users: { prometheus: bcrypt.hashSync(password, 4) },
      }),
    );
    await using agent = await Agent.start([`--libvirt.uri=${uri}`, `--web.config.file=${config}`]);
    const common = { scheme: 'https', tls_config: { ca_file: certificates.caCert, server_name: 'localhost' } };
    const targets = [agent.address];
    const good = { ...common, basic_auth: { username: 'prometheus', password } };
    const bad = { ...common, basic_auth: { username: 'prometheus', password: 'guess' } };
    const starting = [good, bad].map((scrapeConfig) => startPrometheus({ targets, scrapeConfig }));
    await using right = await starting[0]!;
    await using wrong = await starting[1]!;
    await right.queryUntil('libvirt_up == 1');
    await wrong.queryUntil('up == 0');
    assert.match((await wrong.targets())[0]!.lastError, /401/);
    assert.ok(!agent.log.includes(password));
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });
});

/** What promtool's linter says of the names that the Nova exporter's own documentation gives. */
const NOVA_FINDINGS: readonly string[] = [
  'libvirt_nova_instance_memory_alloc_kb metric names should not contain abbreviated units',
  'libvirt_nova_instance_memory_cache_used_kb metric names should not contain abbreviated units',
  'libvirt_nova_instance_memory_used_kb metric names should not contain abbreviated units',
  'libvirt_nova_instance_vcpu_count non-histogram and non-summary metrics should not have "_count" suffix',
];

/** A proxy that forgets what its client accepts. */
async function startTextOnlyProxy(url: string): Promise<{ address: string; stop(): Promise<void> }> {
  const { createServer } = await import('node:http');
  const server = createServer(async (_request, response) => {
    const answer = await fetch(`${url}/metrics`, { headers: { Accept: 'text/plain' } });
    response.setHeader('Content-Type', answer.headers.get('content-type')!);
    response.end(await answer.text());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    address: `127.0.0.1:${port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
