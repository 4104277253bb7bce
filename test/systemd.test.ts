// The packages on a machine that a real systemd runs: the executable, installed by dpkg (and by rpm at the end), started by its units in their sandboxes, beside
// a libvirtd that systemd runs too.
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { basename, join } from 'node:path';
import { after, before, it } from 'node:test';
import { buildDeb } from '../scripts/packages/deb.ts';
import { buildRpm } from '../scripts/packages/rpm.ts';
import { SERVICES, unitName } from '../scripts/packages/services.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { domainXml, NOVA } from './lab/guests.ts';
import { startKubernetes } from './lab/kubernetes/kubernetes.ts';
import { buildShim } from './lab/pve-qemu.ts';
import { SystemdMachine } from './lab/systemd.ts';
import { findProgram } from './lab/tools.ts';
import { builtExecutable } from './support/built-program.ts';

const DEFAULTS = '/etc/default/virtlens';
/** Long enough for a machine that does much else. */
const WAIT_MS = 60_000;

/** The highest `systemd-analyze security` of each unit, as docs/install.md has them. */
const EXPOSURE_MAX: Readonly<Record<string, number>> = { pve: 3, logs: 1.8 };

describeLab('the packages under systemd', ['libvirt', 'systemd', 'pve', 'influxdb', 'exporter', 'tls'], () => {
  let machine: SystemdMachine;

  before(async () => {
    machine = await SystemdMachine.boot();
    const binary = await builtExecutable();
    for (const version of ['0.1.0', '0.2.0']) {
      const deb = buildDeb({ version, binary, outDir: machine.sharedDir, isQuick: true });
      copyFileSync(deb, join(machine.sharedDir, `${version}.deb`));
    }
    const xml = domainXml({ name: 'guest', metadataXml: NOVA }, { bridge: 'none', imagePath: () => undefined });
    writeFileSync(join(machine.sharedDir, 'guest.xml'), xml);
    // man-db would index all manual pages again after each step.
    // There is no Node.js on the machine.
    await machine.run(`rm -f /var/lib/man-db/auto-update $(which -a node)
      dpkg -i ${machine.sharedPath('0.1.0.deb')}
      systemctl start libvirtd
      virsh --connect qemu:///system create ${machine.sharedPath('guest.xml')} --paused`);
  });
  after(() => machine?.[Symbol.asyncDispose]());

  const journal = (unit: string) => machine.run(`journalctl --no-pager --unit ${unit}`);
  /** A property of a unit, such as MainPID. */
  const show = (unit: string, property: string) => machine.run(`systemctl show --property=${property} --value ${unit}`);
  /** Waits until shell commands succeed and print something. */
  const until = (unit: string, script: string): Promise<string> =>
    waitFor(
      async () => (await machine.run(script).catch(() => '')) || undefined,
      () => `${unit} does not get there: ${script}`,
      WAIT_MS,
    ).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await journal(unit)}`);
    });
  /** Sets a variable of /etc/default/virtlens. */
  const setArgs = (variable: string, args: string) =>
    machine.run(`sed -i 's|^${variable}=.*|${variable}="${args}"|' ${DEFAULTS}`);

  /** Starts a service, and waits until a page of it has a line. Then it must stay for a reload, and stop cleanly. */
  async function assertServes(command: string, page: string, line: RegExp): Promise<void> {
    const unit = unitName({ command });
    // With Type=notify this returns when the service has said that it is ready.
    await machine.run(`systemctl start ${unit}`).catch(async (error) => {
      throw new Error(`${error.message}\n${await journal(unit)}`);
    });
    await until(unit, `curl --silent --fail ${page} | grep --perl-regexp --max-count=1 '${line.source}'`);
    const pid = await show(unit, 'MainPID');
    if ((await show(unit, 'CanReload')) === 'yes') await machine.run(`systemctl reload ${unit}`);
    await machine.run(`curl --silent --fail --output /dev/null ${page}`);
    assert.deepEqual(
      [await show(unit, 'ActiveState'), await show(unit, 'MainPID')],
      ['active', pid],
      await journal(unit),
    );
    assert.doesNotMatch(await journal(unit), /level=(WARN|ERROR)/);
  }

  async function assertStops(command: string): Promise<void> {
    const unit = unitName({ command });
    await machine.run(`systemctl stop ${unit}`);
    assert.equal(await show(unit, 'Result'), 'success', await journal(unit));
  }

  it('starts no service by itself', async () => {
    for (const service of SERVICES) assert.equal(await show(unitName(service), 'ActiveState'), 'inactive');
    assert.equal(await machine.run('systemctl list-unit-files "virtlens*" --state=enabled --no-legend || true'), '');
  });

  it('serve: is ready when it listens, and runs without a capability or another group', async () => {
    await assertServes('serve', '127.0.0.1:9177/metrics', /^libvirt_domain_info_vcpus.domain="guest"/);
    const status = await machine.run(`cat /proc/${await show('virtlens.service', 'MainPID')}/status`);
    const user = await machine.run('id --user virtlens');
    const group = await machine.run('id --group virtlens');
    assert.match(status, new RegExp(`^Uid:\\t${user}\\t${user}\\t${user}\\t${user}$`, 'm'));
    assert.match(status, new RegExp(`^Groups:\\t${group} $`, 'm'));
    for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(status, new RegExp(`^${set}:\\t0+$`, 'm'));
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Seccomp:\t2$/m);
  });

  it('is started again by the watchdog when it hangs, and not before', async () => {
    const unit = 'virtlens.service';
    await machine.run(`mkdir -p /run/systemd/system/${unit}.d
      printf '[Service]\\nWatchdogSec=6s\\n' > /run/systemd/system/${unit}.d/watchdog.conf
      systemctl daemon-reload
      systemctl restart ${unit}`);
    const first = await show(unit, 'WatchdogTimestampMonotonic');
    // Three signs of life are longer than the watchdog waits.
    for (let last = first, count = 0; count < 3; count++) {
      const previous = last;
      await waitFor(
        async () => {
          last = await show(unit, 'WatchdogTimestampMonotonic');
          return last === previous ? undefined : true;
        },
        () => `there is no sign of life`,
        WAIT_MS,
      );
    }
    assert.equal(await show(unit, 'NRestarts'), '0');
    await machine.run(`systemctl kill --signal=STOP --kill-whom=main ${unit}`);
    await until(
      unit,
      `test "$(systemctl show --property=NRestarts --value ${unit})" = 1 && curl --silent 127.0.0.1:9177/metrics | grep '^libvirt_up 1'`,
    );
    assert.match(await journal(unit), /Watchdog timeout/);
    await machine.run(`rm -r /run/systemd/system/${unit}.d; systemctl daemon-reload; systemctl restart ${unit}`);
  });

  it('nova: serves and writes its log where its unit lets it', async () => {
    await assertServes('nova', '127.0.0.1:9100/metrics', /^libvirt_nova_instance_vcpu_count.*novaname="web"/);
    assert.equal(await machine.run('stat --format=%U:%a /var/log/virtlens'), 'virtlens:750');
    await machine.run('test -f /var/log/virtlens/libvirt_nova.log');
    await assertStops('nova');
  });

  it('telegraf: writes to InfluxDB for as long as it is not stopped', async () => {
    const url = 'http://127.0.0.1:8086';
    await machine.run(`mkdir -p /etc/telegraf
      printf '[agent]\\ninterval = "1s"\\n[[inputs.libvirt]]\\nlibvirt_uri = "qemu:///system"\\n' > /etc/telegraf/telegraf.conf
      systemctl start influxdb`);
    await until('influxdb', `curl --silent --data-urlencode 'q=CREATE DATABASE vms' ${url}/query`);
    await setArgs('TELEGRAF_ARGS', `--config=/etc/telegraf/telegraf.conf --influx.url=${url} --influx.database=vms`);
    await machine.run('systemctl start virtlens-telegraf');
    const query = `curl --silent --get --data-urlencode 'q=SELECT COUNT(*) FROM libvirt_state' '${url}/query?db=vms'`;
    await until('virtlens-telegraf', `${query} | grep series`);
    assert.equal(await show('virtlens-telegraf', 'ActiveState'), 'active');
    await assertStops('telegraf');
    await machine.run('systemctl stop influxdb');
  });

  it("logs: delivers QEMU's log and the journal of libvirt's daemons", async () => {
    await assertServes('logs', '127.0.0.1:9179/metrics', /^virtlens_build_info/);
    await until('virtlens-logs', 'journalctl --no-pager --unit virtlens-logs | grep "service.name...qemu"');
    await until('virtlens-logs', 'journalctl --no-pager --unit virtlens-logs | grep "service.name...libvirtd"');
    assert.equal(await machine.run('stat --format=%U:%a /var/lib/virtlens-logs'), 'virtlens:700');
    await assertStops('logs');
  });

  it("pve: reads other users' processes and their monitors", async () => {
    buildShim(machine.sharedDir);
    await machine.run(`mkdir -p /run/qemu-server /etc/pve/nodes/lab/qemu-server
      ln -s nodes/lab /etc/pve/local
      ln -s local/qemu-server /etc/pve/qemu-server
      echo 'name: web' > /etc/pve/qemu-server/100.conf
      touch /etc/pve/user.cfg /etc/pve/storage.cfg
      systemd-run --quiet --unit=vm100 --setenv=LD_PRELOAD=${machine.sharedPath('shim.so')} \\
        /usr/bin/qemu-system-x86_64 -id 100 -name web -S -nodefaults -display none -m 16 -machine type=pc+pve0 \\
        -chardev socket,id=qmp,path=/var/run/qemu-server/100.qmp,server=on,wait=off -mon chardev=qmp,mode=control`);
    await until('vm100', 'test -S /run/qemu-server/100.qmp && echo yes');
    await setArgs('PVE_ARGS', '--collect-status');
    await assertServes('pve', '127.0.0.1:9116/metrics', /kvm_cpu_seconds_total.*id="100"/);
    const page = await machine.run('curl --silent 127.0.0.1:9116/metrics');
    assert.match(page, /^\S*kvm_status\{.*\} \d$/m, page);
    await assertStops('pve');
  });

  it('ha: creates an Eviction when a VM crashes', async () => {
    await using kubernetes = await startKubernetes({ real: false });
    await kubernetes.createHypervisor('node-1');
    // The machine's network ends at its own loopback: the API is reached through a unix socket in the shared folder.
    const relay = await relayTo(kubernetes.front.port, join(machine.sharedDir, 'api.sock'));
    try {
      copyFileSync(kubernetes.certificates.caCert, join(machine.sharedDir, 'ca.pem'));
      copyFileSync(
        kubernetes.writeKubeconfig('machine.kubeconfig', {
          cluster: { server: 'https://127.0.0.1:6443', 'certificate-authority': '/etc/virtlens/ca.pem' },
        }),
        join(machine.sharedDir, 'kubeconfig'),
      );
      await machine.run(`systemd-run --quiet --unit=api systemd-socket-activate --listen=127.0.0.1:6443 \\
          /usr/lib/systemd/systemd-socket-proxyd ${machine.sharedPath('api.sock')}
        install -D -m 0640 -g virtlens ${machine.sharedPath('kubeconfig')} /etc/virtlens/kubeconfig
        install -m 0644 ${machine.sharedPath('ca.pem')} /etc/virtlens/ca.pem`);
      // What docs/install.md gives it to read QEMU's logs.
      const page = readFileSync(join(import.meta.dirname, '..', 'docs', 'install.md'), 'utf8');
      const override = /^ {4}\[Service\]\n(?: {4}.*\n)+/m.exec(page)![0].replaceAll(/^ {4}/gm, '');
      await machine.run(`mkdir -p /run/systemd/system/virtlens-ha.service.d
        printf '%s' '${override}' > /run/systemd/system/virtlens-ha.service.d/override.conf
        systemctl daemon-reload`);
      await setArgs('HA_ARGS', '--kubernetes.kubeconfig=/etc/virtlens/kubeconfig --node-name=node-1');
      await assertServes('ha', '127.0.0.1:9178/-/ready', /ready/);
      await machine.run('kill -KILL "$(cat /run/libvirt/qemu/guest.pid)"');
      const eviction = await waitFor(
        async () => (await kubernetes.listEvictions())[0],
        () => 'there is no Eviction',
        WAIT_MS,
      ).catch(async (error: Error) => assert.fail(`${error.message}\n${await journal('virtlens-ha')}`));
      assert.match(
        JSON.stringify(eviction),
        /"hypervisor":"node-1","reason":"VM guest \(.*shutting down, reason=crashed/,
      );
      await assertStops('ha');
      await machine.run('rm -r /run/systemd/system/virtlens-ha.service.d; systemctl daemon-reload');
    } finally {
      relay.close();
    }
  });

  it('systemd rates them as docs/install.md says', async () => {
    for (const { command } of SERVICES) {
      const text = await machine.run(`systemd-analyze security --no-pager ${unitName({ command })} | tail -n 1`);
      const rating = Number(/: (\d\.\d) /.exec(text)![1]);
      assert.ok(rating <= (EXPOSURE_MAX[command] ?? 1.4), text);
    }
  });

  it('an upgrade keeps edited arguments, and restarts what runs alone', async () => {
    await machine.run('systemctl enable --now virtlens');
    await setArgs('ARGS', '--schema=debian');
    const pid = await show('virtlens', 'MainPID');
    await machine.run(`dpkg -i ${machine.sharedPath('0.2.0.deb')}`);
    assert.notEqual(await show('virtlens', 'MainPID'), pid);
    assert.equal(await show('virtlens', 'ActiveState'), 'active');
    assert.equal(await show('virtlens-nova', 'ActiveState'), 'inactive');
    assert.equal(await machine.run('systemctl is-enabled virtlens'), 'enabled');
    await until('virtlens', "curl --silent 127.0.0.1:9177/metrics | grep '^libvirt_domain_block_\\|^libvirt_up 1'");
    assert.doesNotMatch(await machine.run('curl --silent 127.0.0.1:9177/metrics'), /libvirt_domain_info_vcpus\{/);
  });

  it("takes over from Debian's exporter with the commands of docs/moving/debian.md", async () => {
    const exporter = 'prometheus-libvirt-exporter';
    await machine.run(`systemctl disable --now virtlens
      sed -i 's|^ARGS=.*|ARGS="--libvirt.export-nova-metadata"|' /etc/default/${exporter}
      systemctl enable --now ${exporter}`);
    await until(exporter, `curl --silent 127.0.0.1:9177/metrics | grep '^libvirt_up'`);
    const page = readFileSync(join(import.meta.dirname, '..', 'docs', 'moving', 'debian.md'), 'utf8');
    const commands = page.split('\n').filter((line) => line.startsWith('       '));
    assert.equal(commands.length, 4);
    await machine.run(commands.join('\n'));
    assert.equal(await show(exporter, 'ActiveState'), 'inactive');
    assert.equal(
      await machine.run(`tr '\\0' ' ' < /proc/${await show('virtlens', 'MainPID')}/cmdline`),
      '/usr/bin/virtlens serve --schema=debian --libvirt.export-nova-metadata',
    );
  });

  it('a removal stops and disables it, and a purge leaves nothing', async () => {
    await machine.run('dpkg --remove virtlens');
    assert.equal(await machine.run('systemctl list-units --all --plain --no-legend "virtlens*"'), '');
    await machine.run(`test -f ${DEFAULTS}; dpkg --purge virtlens`);
    const left = await machine.run(
      `find /etc /usr/bin /usr/lib /usr/share /var/lib /var/log /var/cache /run -name 'virtlens*'; getent passwd virtlens || true; getent group virtlens || true`,
    );
    // What an administrator has made is the administrator's.
    assert.deepEqual(left.split('\n').sort(), ['/etc/virtlens']);
  });

  it('the RPM package: an upgrade keeps edited arguments and restarts what runs, an erasure stops it and leaves nothing', {
    skip: findProgram('rpmbuild') === undefined && 'rpmbuild is not installed',
  }, async () => {
    const [first, second] = await Promise.all(
      ['0.1.0', '0.2.0'].map(async (version) => {
        const path = buildRpm({ version, binary: await builtExecutable(), outDir: machine.sharedDir, isQuick: true });
        return machine.sharedPath(basename(path));
      }),
    );
    await machine.run(`rpm --install --nodeps ${first}; systemctl enable --now virtlens`);
    await setArgs('ARGS', '--schema=debian');
    const pid = await show('virtlens', 'MainPID');
    await machine.run(`rpm --upgrade --nodeps ${second}`);
    assert.notEqual(await show('virtlens', 'MainPID'), pid);
    await until('virtlens', "curl --silent 127.0.0.1:9177/metrics | grep '^libvirt_up 1'");
    assert.match(
      await machine.run(`tr '\\0' ' ' < /proc/${await show('virtlens', 'MainPID')}/cmdline`),
      /serve --schema=debian$/,
    );
    await machine.run('rpm --erase --nodeps virtlens');
    assert.equal(await machine.run('systemctl list-units --all --plain --no-legend "virtlens*"'), '');
    // rpm keeps an edited configuration beside its place.
    const left = "find /etc /usr/bin /usr/lib /usr/share /var/lib /var/log -name 'virtlens*'";
    assert.deepEqual((await machine.run(left)).split('\n').sort(), ['/etc/default/virtlens.rpmsave', '/etc/virtlens']);
  });
});

/** A unix socket that leads to a TCP port of this machine. */
async function relayTo(port: number, path: string): Promise<Server> {
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    client.pipe(upstream).pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}
