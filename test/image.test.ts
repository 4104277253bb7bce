// The image of the Dockerfile: built with podman, and run with a read-only root and no rights beside a libvirtd that systemd runs.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { domainXml, NOVA } from './lab/guests.ts';
import { buildImage, imageSourcesUnavailable } from './lab/image.ts';
import { SystemdMachine } from './lab/systemd.ts';

/** As docs/install.md has it. The machine of the lab may not set limits itself: it has its own network, no limits by control groups, and low ulimits. */
const RUN =
  'podman run --read-only --cap-drop=ALL --network=host --cgroups=disabled --ulimit=nofile=1024:1024 --ulimit=nproc=1024:1024';
const IMAGE = 'localhost/virtlens';
const WAIT_MS = 60_000;

const reason = await imageSourcesUnavailable();

describeLab('the image', ['libvirt', 'systemd', 'image'], () => {
  if (reason !== false) {
    it('needs a mirror and a registry', { skip: reason }, () => {});
    return;
  }
  let machine: SystemdMachine;
  before(async () => {
    machine = await SystemdMachine.boot();
    await buildImage(join(machine.sharedDir, 'image.tar'));
    const xml = domainXml({ name: 'guest', metadataXml: NOVA }, { bridge: 'none', imagePath: () => undefined });
    writeFileSync(join(machine.sharedDir, 'guest.xml'), xml);
    await machine.run(`mount -t tmpfs tmpfs /var/lib/containers
      podman load --quiet --input ${machine.sharedPath('image.tar')}
      rm ${machine.sharedPath('image.tar')}
      systemctl start libvirtd
      virsh --connect qemu:///system create ${machine.sharedPath('guest.xml')} --paused`);
  });
  after(() => machine?.[Symbol.asyncDispose]());

  const until = (script: string): Promise<string> =>
    waitFor(
      async () => (await machine.run(script).catch(() => '')) || undefined,
      () => `this does not come: ${script}`,
      WAIT_MS,
    );

  it('serves a real host as a user without rights who can write nothing, and its health check says so', async () => {
    await machine.run(`${RUN} --detach --name=serve --volume=/run/libvirt:/run/libvirt:ro ${IMAGE}`);
    await until(`curl --silent 127.0.0.1:9177/metrics | grep '^libvirt_domain_info_vcpus.domain="guest"'`);
    await machine.run('podman healthcheck run serve');
    const status = await machine.run('podman exec serve cat /proc/1/status');
    assert.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
    for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(status, new RegExp(`^${set}:\\t0+$`, 'm'));
    await assert.rejects(machine.run('podman exec serve touch /file'), /Read-only file system/);
    await machine.run('podman stop --time=10 serve');
    assert.equal(await machine.run("podman inspect serve --format '{{.State.ExitCode}}'"), '0');
  });

  it('is not healthy where nothing listens', async () => {
    await machine.run(
      `${RUN} --detach --name=elsewhere ${IMAGE} --libvirt.uri=test:///default --web.listen-address=127.0.0.1:9200`,
    );
    await until('curl --silent 127.0.0.1:9200/-/healthy');
    const check = 'podman healthcheck run elsewhere >/dev/null 2>&1 && echo healthy || echo unhealthy';
    assert.equal(await machine.run(check), 'unhealthy');
    await machine.run('podman rm --force --time=10 elsewhere');
  });

  it("takes the place of the Nova exporter's image with the command of docs/nova.md", async () => {
    const text = readFileSync(join(import.meta.dirname, '..', 'docs', 'nova.md'), 'utf8');
    const [, command] = /```sh\n(docker run [^`]*-cap-drop=ALL[^`]*)```/.exec(text)!;
    const podman = command!
      .replace('docker run --rm -d', `${RUN} --rm --detach --name=nova`)
      .replace(/^( {2})virtlens /m, `$1${IMAGE} `)
      .replace(' --network host', '')
      .replace('"$(id -u):$(id -g)"', '1000:1000');
    await machine.run(`install --directory --owner=1000 /srv/nova; cd /srv/nova; ${podman}`);
    await until('curl --silent 127.0.0.1:9204/metrics | grep "^libvirt_nova_instance_vcpu_count.*novaname=.web"');
    await machine.run('test -f /srv/nova/libvirt_nova.log; podman stop --time=10 nova');
  });

  it("delivers QEMU's log and the host's journal with one right", async () => {
    const mounts = [
      '/var/log:/var/log:ro',
      '/run/log/journal:/run/log/journal:ro',
      '/etc/machine-id:/etc/machine-id:ro',
    ];
    const volumes = [...mounts, 'virtlens-logs:/var/lib/virtlens'].map((volume) => `--volume=${volume}`).join(' ');
    await machine.run('mkdir -p /run/log/journal');
    await machine.run(
      `${RUN} --detach --name=logs --user=0 --cap-add=DAC_READ_SEARCH --env=VIRTLENS_PORT=9179 ${volumes} ${IMAGE} logs`,
    );
    for (const service of ['qemu', 'libvirtd'])
      await until(`podman logs logs 2>&1 | grep '"service.name":"${service}"'`);
    await machine.run('podman healthcheck run logs');
    await machine.run('podman stop --time=10 logs');
    assert.equal(await machine.run("podman inspect logs --format '{{.State.ExitCode}}'"), '0');
  });

  it('has journalctl for the log agent, and is no machine', async () => {
    const run = `${RUN} --rm --entrypoint`;
    assert.match(await machine.run(`${run} journalctl ${IMAGE} --version`), /^systemd \d+/);
    assert.equal(await machine.run(`${run} cat ${IMAGE} /etc/machine-id`), '');
    assert.match(await machine.run(`${RUN} --rm ${IMAGE} --version`), /^virtlens \d+\.\d+\.\d+$/);
  });
});
