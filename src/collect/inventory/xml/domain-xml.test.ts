import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { DomainConfig, NovaMetadata } from '../../../model/snapshot.ts';
import { parseDomainXml, parseLongDomainXml } from './domain-xml.ts';
import { DomainXmlError, type DomainXmlErrorCode } from './domain-xml-error.ts';

const UUID = '6ba7b810-9dad-11d1-80b4-00c04fd430c8';

function domain(inner: string): string {
  return `<domain type='kvm' id='3'>\n  <name>vm</name>\n  <uuid>${UUID}</uuid>\n${inner}\n</domain>\n`;
}

function configOf(inner: string): DomainConfig {
  return parseDomainXml(domain(inner)).config;
}

function novaOf(metadata: string): NovaMetadata | undefined {
  return configOf(`<metadata>${metadata}</metadata>`).nova;
}

function disksOf(...disks: string[]) {
  return configOf(`<devices>${disks.join('\n')}</devices>`).disks;
}

/** The source's name of a disk of a type, from its `<source>`. */
function sourceOf(type: string, source: string): string | undefined {
  return disksOf(`<disk type='${type}' device='disk'>${source}<target dev='vda' bus='virtio'/></disk>`)[0]?.source;
}

function interfacesOf(...interfaces: string[]) {
  return configOf(`<devices>${interfaces.join('\n')}</devices>`).interfaces;
}

function refusal(xml: string, limits = {}): DomainXmlErrorCode | undefined {
  try {
    parseDomainXml(xml, limits);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof DomainXmlError, String(error));
    return error.code;
  }
}

// As Nova of each release has libvirt write it.
const KILO = `
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.0">
      <nova:package version="2015.1.4"/>
      <nova:name>cems-testing-0</nova:name>
      <nova:creationTime>2016-02-29 13:05:09</nova:creationTime>
      <nova:flavor name="m1.tiny">
        <nova:memory>512</nova:memory>
        <nova:disk>1</nova:disk>
        <nova:swap>0</nova:swap>
        <nova:ephemeral>0</nova:ephemeral>
        <nova:vcpus>1</nova:vcpus>
      </nova:flavor>
      <nova:owner>
        <nova:user uuid="2e2e4b8c6ee44b0a8c1a0f0d7b5d9a11">admin</nova:user>
        <nova:project uuid="f00dcafe0badf00dcafe0badf00dcafe">admin</nova:project>
      </nova:owner>
      <nova:root type="image" uuid="0c3ab8ae-19b0-4c1a-a3f6-7cd9c9a0d9d1"/>
    </nova:instance>`;
const XENA = `
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:package version="24.0.0"/>
      <nova:name>web-1</nova:name>
      <nova:creationTime>2022-01-02 03:04:05</nova:creationTime>
      <nova:flavor name="c2.large">
        <nova:memory>8192</nova:memory>
        <nova:disk>40</nova:disk>
        <nova:swap>1024</nova:swap>
        <nova:ephemeral>10</nova:ephemeral>
        <nova:vcpus>4</nova:vcpus>
      </nova:flavor>
      <nova:owner>
        <nova:user uuid="u-1">maría</nova:user>
        <nova:project uuid="p-1">研究室</nova:project>
      </nova:owner>
      <nova:root type="volume" uuid="5f1d2b1c-6a1e-4b55-9f9d-0f6f6f0f1f2f"/>
      <nova:ports>
        <nova:port uuid="cb0e0b1a-1111-2222-3333-444455556666">
          <nova:ip type="fixed" address="10.0.0.5" ipVersion="4"/>
        </nova:port>
      </nova:ports>
    </nova:instance>`;
const FLAMINGO = `
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:package version="32.0.0"/>
      <nova:name>db-1</nova:name>
      <nova:creationTime>2025-11-12 13:14:15</nova:creationTime>
      <nova:flavor name="r1.xlarge" id="42">
        <nova:memory>32768</nova:memory>
        <nova:disk>80</nova:disk>
        <nova:swap>0</nova:swap>
        <nova:ephemeral>0</nova:ephemeral>
        <nova:vcpus>8</nova:vcpus>
        <nova:extraSpecs>
          <nova:extraSpec name="hw:cpu_policy">dedicated</nova:extraSpec>
        </nova:extraSpecs>
      </nova:flavor>
      <nova:image uuid="aaaa">
        <nova:containerFormat>bare</nova:containerFormat>
        <nova:properties>
          <nova:property name="name">not the instance</nova:property>
        </nova:properties>
      </nova:image>
      <nova:owner>
        <nova:user uuid="u-2">svc</nova:user>
        <nova:project uuid="p-2">billing</nova:project>
      </nova:owner>
      <nova:root type="image" uuid="aaaa"/>
      <nova:ports/>
    </nova:instance>`;

describe('identity and machine', () => {
  test('says which statistics a VM can have', () => {
    const has = (inner: string) => {
      const { hasIoThreads, hasPerfEvents, hasMemoryMonitors } = configOf(inner);
      return [hasIoThreads, hasPerfEvents, hasMemoryMonitors];
    };
    assert.deepEqual(has(''), [false, false, false]);
    assert.deepEqual(has('<iothreads>2</iothreads>'), [true, false, false]);
    assert.deepEqual(has('<iothreads>0</iothreads>'), [false, false, false]);
    assert.deepEqual(has('<iothreads>many</iothreads>'), [true, false, false]);
    assert.deepEqual(has("<perf><event name='cmt' enabled='yes'/></perf>"), [false, true, false]);
    assert.deepEqual(has("<perf><event name='cmt' enabled='no'/></perf>"), [false, false, false]);
    const tuned = (inner: string) => `<cputune>${inner}</cputune>`;
    assert.deepEqual(has(tuned("<memorytune vcpus='0'><monitor vcpus='0'/></memorytune>")), [false, false, true]);
    assert.deepEqual(has(tuned("<memorytune vcpus='0'><node id='0' bandwidth='60'/></memorytune>")), [
      false,
      false,
      false,
    ]);
    assert.deepEqual(has(tuned("<cachetune vcpus='0'><monitor level='3' vcpus='0'/></cachetune>")), [
      false,
      false,
      false,
    ]);
  });

  test('reads what libvirt writes of a running guest', () => {
    const { name, uuid, config } = parseDomainXml(`<domain type='qemu' id='7'>
  <name>guest-1</name>
  <uuid>6BA7B8109DAD11D180B400C04FD430C8</uuid>
  <title>the &lt;first&gt; &amp; only</title>
  <memory unit='KiB'>2097152</memory>
  <currentMemory unit='KiB'>1048576</currentMemory>
  <vcpu placement='static' current='2'>4</vcpu>
  <os>
    <type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type>
    <boot dev='hd'/>
  </os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
  </devices>
</domain>`);
    assert.equal(name, 'guest-1');
    assert.equal(uuid, UUID);
    assert.deepEqual(config, {
      title: 'the <first> & only',
      machine: 'pc-i440fx-7.2',
      osType: 'hvm',
      osArch: 'x86_64',
      emulator: '/usr/bin/qemu-system-x86_64',
      maximumMemoryKiB: 2097152,
      currentMemoryKiB: 1048576,
      maximumVcpus: 4,
      currentVcpus: 2,
      hasIoThreads: false,
      hasPerfEvents: false,
      hasMemoryMonitors: false,
      disks: [],
      interfaces: [],
      nova: undefined,
    });
  });

  test('an XML declaration, comments and processing instructions change nothing', () => {
    const xml = `<?xml version='1.0' encoding='UTF-8'?>\n<!-- <name>no</name> -->\n<domain><?pi <name>no</name>?><name>a<!-- x -->b</name><uuid>${UUID}</uuid></domain>`;
    assert.equal(parseDomainXml(xml).name, 'ab');
  });

  test('a name keeps the blanks that are part of it, and any script', () => {
    assert.equal(parseDomainXml(`<domain><name> 仮想 🖥 </name><uuid>${UUID}</uuid></domain>`).name, ' 仮想 🖥 ');
  });

  test('what is absent or no number is undefined', () => {
    const config = configOf(`<memory unit='furlong'>5</memory><vcpu>many</vcpu><title/>`);
    assert.equal(config.maximumMemoryKiB, undefined);
    assert.equal(config.currentMemoryKiB, undefined);
    assert.equal(config.maximumVcpus, undefined);
    assert.equal(config.currentVcpus, undefined);
    assert.equal(config.title, undefined);
  });

  test('current memory and vCPUs default to the maximum, as in libvirt', () => {
    const config = configOf('<memory>4096</memory><vcpu>3</vcpu>');
    assert.equal(config.currentMemoryKiB, 4096);
    assert.equal(config.currentVcpus, 3);
  });

  test('elements of the same name elsewhere are not the domain’s', () => {
    const config = configOf(`
      <sysinfo><memory>1</memory></sysinfo>
      <cpu><numa><cell memory='1'/></numa><model>x</model></cpu>
      <devices><memory model='dimm'><target><size unit='KiB'>9</size></target></memory>
        <hostdev><source><address/></source><name>no</name></hostdev></devices>
      <memory>8</memory>`);
    assert.equal(config.maximumMemoryKiB, 8);
  });
});

describe('memory units, exact in KiB', () => {
  const cases: ReadonlyArray<readonly [text: string, unit: string | undefined, expected: number | bigint | undefined]> =
    [
      ['1024', undefined, 1024],
      ['1024', 'KiB', 1024],
      ['1024', 'k', 1024],
      ['1024', 'K', 1024],
      ['1000', 'KB', 977],
      ['1024', 'b', 1],
      ['1025', 'bytes', 2],
      ['1025', 'byte', 2],
      ['2', 'M', 2048],
      ['2', 'MiB', 2048],
      ['2', 'MB', 1954],
      ['3', 'GiB', 3145728],
      ['3', 'g', 3145728],
      ['1', 'TiB', 1073741824],
      ['1', 'TB', 976562500],
      ['1', 'PiB', 1099511627776],
      ['1', 'EiB', 1125899906842624],
      ['9007199254740993', 'KiB', 9007199254740993n],
      ['16', 'EiB', 18014398509481984n],
      [' \n 512 ', 'MiB', 524288],
      ['', 'KiB', undefined],
      ['-5', 'KiB', undefined],
      ['1.5', 'GiB', undefined],
      ['5', 'Ki', undefined],
    ];
  for (const [text, unit, expected] of cases) {
    test(`${JSON.stringify(text)} ${unit ?? 'without a unit'}`, () => {
      const attribute = unit === undefined ? '' : ` unit='${unit}'`;
      assert.equal(configOf(`<memory${attribute}>${text}</memory>`).maximumMemoryKiB, expected);
    });
  }
});

describe('disks', () => {
  test('everything that is read of one', () => {
    assert.deepEqual(
      disksOf(`<disk type='network' device='disk'>
        <driver name='qemu' type='raw' cache='writeback' discard='unmap'/>
        <auth username='cinder'><secret type='ceph' uuid='x'/></auth>
        <source protocol='rbd' name='volumes/volume-1' index='1'>
          <host name='10.0.0.1' port='6789'/>
        </source>
        <target dev='vda' bus='virtio'/>
        <iotune><total_bytes_sec>10485760</total_bytes_sec><read_iops_sec_max>900</read_iops_sec_max>
          <write_bytes_sec>18446744073709551615</write_bytes_sec><group_name>drive1</group_name></iotune>
        <readonly/>
        <serial>volume-1</serial>
        <alias name='virtio-disk0'/>
        <address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>
      </disk>`),
      [
        {
          device: 'disk',
          target: 'vda',
          bus: 'virtio',
          type: 'network',
          source: 'volumes/volume-1',
          protocol: 'rbd',
          driverName: 'qemu',
          driverType: 'raw',
          cache: 'writeback',
          discard: 'unmap',
          serial: 'volume-1',
          alias: 'virtio-disk0',
          readOnly: true,
          ioTune: new Map<string, number | bigint>([
            ['total_bytes_sec', 10485760],
            ['read_iops_sec_max', 900],
            ['write_bytes_sec', 18446744073709551615n],
          ]),
        },
      ],
    );
  });

  test('sources of every type have their name', () => {
    const network = (protocol: string, rest: string) => sourceOf('network', `<source protocol='${protocol}' ${rest}`);
    assert.equal(sourceOf('file', `<source file='/a &amp; b.img'/>`), '/a & b.img');
    assert.equal(sourceOf('block', `<source dev='/dev/vg/lv'/>`), '/dev/vg/lv');
    assert.equal(sourceOf('dir', `<source dir='/tmp/d'/>`), '/tmp/d');
    assert.equal(sourceOf('volume', `<source pool='p' volume='v' mode='host'/>`), 'p/v');
    assert.equal(sourceOf('vhostuser', `<source type='unix' path='/tmp/v.sock'/>`), '/tmp/v.sock');
    assert.equal(sourceOf('vhostvdpa', `<source dev='/dev/vhost-vdpa-0'/>`), '/dev/vhost-vdpa-0');
    assert.equal(
      sourceOf(
        'nvme',
        `<source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x0A' slot='0x00' function='0x0'/></source>`,
      ),
      '0000:0a:00.0/1',
    );
    assert.equal(network('rbd', `name='pool/image'><host name='h'/></source>`), 'pool/image');
    assert.equal(network('iscsi', `name='iqn.2013-07.com.example:x/1'/>`), 'iqn.2013-07.com.example:x/1');
    assert.equal(network('gluster', `name='vol/image'/>`), 'vol/image');
    assert.equal(network('https', `name='url_path' query='a=b'/>`), 'url_path');
    assert.equal(network('ssh', `name='/img'/>`), '/img');
    assert.equal(network('nfs', `name='/export/img'/>`), '/export/img');
    assert.equal(network('nbd', `name='export'><host name='h' port='10809'/></source>`), 'export');
  });

  test('an NBD export without a name goes by its first host', () => {
    const nbd = (host: string) => sourceOf('network', `<source protocol='nbd'>${host}<host name='second'/></source>`);
    assert.equal(nbd(`<host name='h' port='10809'/>`), 'h:10809');
    assert.equal(nbd(`<host name='::1' port='10809'/>`), '[::1]:10809');
    assert.equal(nbd(`<host transport='unix' socket='/run/n.sock'/>`), '/run/n.sock');
  });

  test('backing stores, mirrors and the source’s own children do not overwrite the disk’s', () => {
    const [disk] = disksOf(`<disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/top.qcow2'><reservations managed='no'><source type='unix' path='/pr.sock' mode='client'/></reservations></source>
      <backingStore type='network'><format type='raw'/><source protocol='rbd' name='images/base'/><backingStore/></backingStore>
      <mirror type='file' file='/copy' job='copy'><format type='raw'/><source file='/copy'/></mirror>
      <target dev='vda'/></disk>`);
    assert.equal(disk?.source, '/top.qcow2');
    assert.equal(disk?.protocol, undefined);
    assert.equal(disk?.driverType, 'qcow2');
  });

  test('the order of elements does not matter', () => {
    const [disk] = disksOf(
      `<disk type='file'><backingStore type='file'><source file='/base'/></backingStore><target dev='vda'/><source file='/top'/></disk>`,
    );
    assert.equal(disk?.source, '/top');
  });

  test('an empty drive has an empty source; defaults are libvirt’s', () => {
    const [cdrom, plain] = disksOf(
      `<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>`,
      `<disk><source file=''/><target dev='vdb'/></disk>`,
    );
    assert.deepEqual([cdrom?.device, cdrom?.source, cdrom?.readOnly], ['cdrom', '', true]);
    assert.deepEqual([plain?.device, plain?.type, plain?.source, plain?.readOnly], ['disk', 'file', '', false]);
  });

  test('a disk without a target is left out', () => {
    assert.deepEqual(disksOf(`<disk type='file'><source file='/x'/></disk>`), []);
  });
});

describe('interfaces', () => {
  test('everything that is read of one, in document order', () => {
    assert.deepEqual(
      interfacesOf(
        `<interface type='bridge'>
          <mac address='fa:16:3e:00:00:01'/>
          <source bridge='br-int'/>
          <virtualport type='openvswitch'><parameters interfaceid='3a1c'/></virtualport>
          <target dev='tap3a1c'/>
          <model type='virtio'/>
          <driver name='vhost' queues='2'/>
          <mtu size='1450'/>
          <alias name='net0'/>
        </interface>`,
        `<interface type='network'><source network='default' portid='p' bridge='virbr0'/></interface>`,
        `<interface type='direct'><source dev='eth0' mode='vepa'/><target dev='macvtap0'/></interface>`,
        `<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:02'/>
          <source><address type='pci' domain='0x0000' bus='0x03'/></source><alias name='hostdev0'/></interface>`,
      ),
      [
        {
          type: 'bridge',
          target: 'tap3a1c',
          alias: 'net0',
          mac: 'fa:16:3e:00:00:01',
          sourceBridge: 'br-int',
          sourceNetwork: undefined,
          sourceDevice: undefined,
          model: 'virtio',
          driver: 'vhost',
          mtu: 1450,
          virtualInterfaceId: '3a1c',
        },
        { ...EMPTY_INTERFACE, type: 'network', sourceNetwork: 'default', sourceBridge: 'virbr0' },
        { ...EMPTY_INTERFACE, type: 'direct', sourceDevice: 'eth0', target: 'macvtap0' },
        { ...EMPTY_INTERFACE, type: 'hostdev', mac: '52:54:00:00:00:02', alias: 'hostdev0' },
      ],
    );
  });
});

const EMPTY_INTERFACE = {
  target: undefined,
  alias: undefined,
  mac: undefined,
  sourceBridge: undefined,
  sourceNetwork: undefined,
  sourceDevice: undefined,
  model: undefined,
  driver: undefined,
  mtu: undefined,
  virtualInterfaceId: undefined,
};

describe('Nova metadata', () => {
  test('of Kilo, namespace 1.0', () => {
    assert.deepEqual(novaOf(KILO), {
      version: '1.0',
      instanceName: 'cems-testing-0',
      creationTime: '2016-02-29 13:05:09',
      flavor: { name: 'm1.tiny', id: undefined, memoryMiB: 512, diskGiB: 1, swapMiB: 0, ephemeralGiB: 0, vcpus: 1 },
      userId: '2e2e4b8c6ee44b0a8c1a0f0d7b5d9a11',
      userName: 'admin',
      projectId: 'f00dcafe0badf00dcafe0badf00dcafe',
      projectName: 'admin',
      rootType: 'image',
      rootId: '0c3ab8ae-19b0-4c1a-a3f6-7cd9c9a0d9d1',
    });
  });

  test('of Xena, namespace 1.1 with ports', () => {
    const nova = novaOf(XENA);
    assert.equal(nova?.version, '1.1');
    assert.equal(nova?.instanceName, 'web-1');
    assert.equal(nova?.projectName, '研究室');
    assert.equal(nova?.userName, 'maría');
    assert.equal(nova?.rootType, 'volume');
    assert.deepEqual(nova?.flavor?.swapMiB, 1024);
  });

  test('of Flamingo, with the flavor’s id, extra specs and the image', () => {
    const nova = novaOf(FLAMINGO);
    assert.equal(nova?.instanceName, 'db-1');
    assert.equal(nova?.flavor?.id, '42');
    assert.equal(nova?.flavor?.vcpus, 8);
    assert.equal(nova?.rootId, 'aaaa');
  });

  test('any version, any prefix, a default namespace, a declaration further out', () => {
    const uri = 'http://openstack.org/xmlns/libvirt/nova';
    assert.equal(novaOf(`<x:instance xmlns:x='${uri}/2.0'><x:name>a</x:name></x:instance>`)?.instanceName, 'a');
    assert.equal(novaOf(`<instance xmlns='${uri}/1.1'><name>b</name></instance>`)?.instanceName, 'b');
    const outer = `<domain xmlns:n='${uri}/1.1'><name>vm</name><uuid>${UUID}</uuid><metadata><n:instance><n:name>c</n:name></n:instance></metadata></domain>`;
    assert.equal(parseDomainXml(outer).config.nova?.instanceName, 'c');
    const inner = `<x:instance xmlns:x='${uri}/1.1'><y:name xmlns:y='${uri}/1.1'>d</y:name></x:instance>`;
    assert.equal(novaOf(inner)?.instanceName, 'd');
  });

  test('other namespaces’ elements of the same names are not Nova’s', () => {
    assert.equal(novaOf(`<instance><name>x</name></instance>`), undefined);
    assert.equal(novaOf(`<o:instance xmlns:o='urn:other'><o:name>x</o:name></o:instance>`), undefined);
    assert.equal(novaOf(`<nova:instance><nova:name>undeclared</nova:name></nova:instance>`), undefined);
    const uri = 'http://openstack.org/xmlns/libvirt/nova/1.1';
    const mixed = `<n:instance xmlns:n='${uri}'><name>x</name><o:name xmlns:o='urn:o'>y</o:name><n:name>z</n:name></n:instance>`;
    assert.equal(novaOf(mixed)?.instanceName, 'z');
    const shadowed = `<n:instance xmlns:n='${uri}'><n:name xmlns:n='urn:o'>x</n:name></n:instance>`;
    assert.equal(novaOf(shadowed)?.instanceName, undefined);
    const sibling = `<o:a xmlns:o='${uri}'/><o:instance><o:name>out of scope</o:name></o:instance>`;
    assert.equal(novaOf(sibling), undefined);
    const nested = `<o:wrap xmlns:o='urn:o'><n:instance xmlns:n='${uri}'><n:name>x</n:name></n:instance></o:wrap>`;
    assert.equal(novaOf(nested), undefined);
    const other = `<app:x xmlns:app='urn:app'><app:name>q</app:name></app:x>`;
    assert.equal(novaOf(`${other}${KILO}${other}`)?.instanceName, 'cems-testing-0');
  });

  test('of two versions at once the later counts, wherever it stands', () => {
    assert.equal(novaOf(KILO + XENA)?.instanceName, 'web-1');
    assert.equal(novaOf(XENA + KILO)?.instanceName, 'web-1');
    assert.equal(novaOf(XENA.replaceAll('1.1', '1.9') + FLAMINGO.replaceAll('/1.1', '/1.10'))?.instanceName, 'db-1');
  });

  test('absent parts are undefined, of none is anything made up', () => {
    const uri = 'http://openstack.org/xmlns/libvirt/nova/1.1';
    const nova = novaOf(
      `<n:instance xmlns:n='${uri}'><n:name/><n:flavor><n:memory>lots</n:memory></n:flavor></n:instance>`,
    );
    assert.deepEqual(nova, {
      version: '1.1',
      instanceName: undefined,
      creationTime: undefined,
      flavor: {
        name: undefined,
        id: undefined,
        memoryMiB: undefined,
        diskGiB: undefined,
        swapMiB: undefined,
        ephemeralGiB: undefined,
        vcpus: undefined,
      },
      userId: undefined,
      userName: undefined,
      projectId: undefined,
      projectName: undefined,
      rootType: undefined,
      rootId: undefined,
    });
  });

  test('CDATA, references, comments and white space in a name', () => {
    const uri = 'http://openstack.org/xmlns/libvirt/nova/1.1';
    const name = (text: string) =>
      novaOf(`<n:instance xmlns:n='${uri}'><n:name>${text}</n:name></n:instance>`)?.instanceName;
    assert.equal(name('a<![CDATA[ <b> & ]]>c'), 'a <b> & c');
    assert.equal(name('R&amp;D &lt;&#x1F600;&#233;&gt;'), 'R&D <😀é>');
    assert.equal(name('one<!-- not --> two'), 'one two');
    assert.equal(name('\n      padded\t\n    '), 'padded');
    assert.equal(name('\u00a0kept\u00a0'), '\u00a0kept\u00a0');
    assert.equal(name('خادم <b>bold</b>'), 'خادم');
    assert.equal(name('𝓥𝓜'), '𝓥𝓜');
  });
});

describe('refusals', () => {
  test('a document type declaration, with or without entities', () => {
    assert.equal(refusal(`<!DOCTYPE domain>${domain('')}`), 'ERR_DOMAIN_XML_DOCTYPE');
    const laughs = `<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>${domain('<title>&b;</title>')}`;
    assert.equal(refusal(laughs), 'ERR_DOMAIN_XML_DOCTYPE');
    const external = `<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]>${domain('<title>&e;</title>')}`;
    assert.equal(refusal(external), 'ERR_DOMAIN_XML_DOCTYPE');
  });

  test('entities that XML does not define', () => {
    assert.equal(refusal(domain('<title>&nbsp;</title>')), 'ERR_DOMAIN_XML_MALFORMED');
    assert.equal(refusal(domain('<title>&constructor;</title>')), 'ERR_DOMAIN_XML_MALFORMED');
  });

  test('what is not well-formed or ends early', () => {
    for (const xml of [
      '',
      ' ',
      'domain',
      '<domain>',
      '<domain></domian>',
      domain('<a b="1" b="2"/>'),
      `${domain('')}x`,
    ]) {
      assert.equal(refusal(xml), 'ERR_DOMAIN_XML_MALFORMED', xml);
    }
  });

  test('what is no domain', () => {
    for (const xml of [
      '<pool><name>x</name></pool>',
      '<domain/>',
      `<domain><uuid>${UUID}</uuid></domain>`,
      '<domain><name>x</name><uuid>nope</uuid></domain>',
      '<constructor/>',
      `<domain><toString><name>x</name></toString></domain>`,
    ]) {
      assert.equal(refusal(xml), 'ERR_DOMAIN_XML_NOT_A_DOMAIN', xml);
    }
  });

  test('depth, in known and in unknown elements', () => {
    const nested = (depth: number) => domain('<a>'.repeat(depth - 1) + '</a>'.repeat(depth - 1));
    assert.equal(refusal(nested(256)), undefined);
    assert.equal(refusal(nested(257)), 'ERR_DOMAIN_XML_TOO_DEEP');
    assert.equal(refusal(nested(200_000)), 'ERR_DOMAIN_XML_TOO_DEEP');
  });

  test('size', () => {
    const xml = domain('');
    assert.equal(refusal(xml, { lengthMax: xml.length }), undefined);
    assert.equal(refusal(xml, { lengthMax: xml.length - 1 }), 'ERR_DOMAIN_XML_TOO_LARGE');
    assert.equal(refusal(domain(' '.repeat(4_194_304))), 'ERR_DOMAIN_XML_TOO_LARGE');
    const declarations = Array.from({ length: 300 }, (_, index) => `xmlns:n${index}='urn:${index}'`).join(' ');
    assert.equal(refusal(domain(`<metadata ${declarations}/>`)), 'ERR_DOMAIN_XML_TOO_LARGE');
  });

  test('the message is one line that says where', () => {
    assert.throws(
      () => parseDomainXml('<domain>\n<secret&\n'),
      (error: Error) => {
        assert.match(error.message, /^domain XML is not well-formed: 2:\d+: [^\n]+$/);
        return true;
      },
    );
  });
});

describe('properties', () => {
  const whole = domain(`<memory unit='KiB'>1</memory><metadata>${XENA}</metadata><devices>
    <disk type='network'><source protocol='rbd' name='a/b'><host name='h'/></source><target dev='vda'/><iotune><total_iops_sec>5</total_iops_sec></iotune></disk>
    <interface type='bridge'><source bridge='b'/><target dev='t'/></interface></devices>`);

  test('mutated XML gives a config or a DomainXmlError, nothing else', () => {
    const token = fc.constantFrom(
      ...[
        '<',
        '>',
        '</',
        '/>',
        '&',
        ';',
        '"',
        "'",
        '=',
        '<!--',
        '-->',
        '<![CDATA[',
        ']]>',
        '<?',
        '?>',
        '<!DOCTYPE',
        '\u0000',
      ],
      ...[
        '\ud800',
        '\udc00',
        '\ufffe',
        '&#0;',
        '&#x110000;',
        'xmlns:nova="urn:x"',
        '<nova:',
        '__proto__',
        '<constructor>',
        ' ',
      ],
    );
    const edit = fc.record({
      at: fc.nat(whole.length),
      remove: fc.nat(40),
      insert: fc.oneof(token, fc.string({ unit: 'binary', maxLength: 8 })),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
        let xml = whole;
        for (const { at, remove, insert } of edits) xml = xml.slice(0, at) + insert + xml.slice(at + remove);
        try {
          assert.ok(parseDomainXml(xml).name.length > 0);
        } catch (error) {
          assert.ok(error instanceof DomainXmlError, String(error));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test('every prefix of a document is refused', () => {
    for (let length = 0; length < whole.trimEnd().length; length++) {
      assert.notEqual(refusal(whole.slice(0, length)), undefined, `${length}`);
    }
  });

  test('any name that XML can carry comes back as it was', () => {
    const quote = (text: string) => text.replace(/[<>&"'\r\n\t]/g, (character) => `&#${character.charCodeAt(0)};`);
    const text = fc
      .string({ unit: 'grapheme', minLength: 1 })
      .filter((value) => /^[^\p{Cc}\p{Cs}\ufffe\uffff]*$/u.test(value) && value.trim() === value && value !== '');
    fc.assert(
      fc.property(text, text, (novaName, file) => {
        const uri = 'http://openstack.org/xmlns/libvirt/nova/1.1';
        const config = configOf(
          `<metadata><n:instance xmlns:n='${uri}'><n:name>${quote(novaName)}</n:name></n:instance></metadata>
           <devices><disk type='file'><source file='${quote(file)}'/><target dev='vda'/></disk></devices>`,
        );
        assert.equal(config.nova?.instanceName, novaName);
        assert.equal(config.disks[0]?.source, file);
      }),
    );
  });
});

describe('a long document', () => {
  const disks = (count: number) =>
    Array.from({ length: count }, (_, i) => `<disk><source file='/images/${i}'/><target dev='d${i}'/></disk>`).join('');

  test('is read in pieces with pauses between, and gives what it gives in one', async () => {
    const xml = domain(`<title>é 仮想 🖥\r\n&amp;</title><devices>${disks(20_000)}</devices>`);
    let pauses = 0;
    const parsed = await parseLongDomainXml(xml, async () => void pauses++);
    assert.ok(pauses >= Math.floor(xml.length / 65_536), `${pauses} pauses in ${xml.length} characters`);
    assert.deepEqual(parsed, parseDomainXml(xml));
  });

  test('of ordinary length has no pause', async () => {
    const xml = domain(`<devices>${disks(100)}</devices>`);
    const parsed = await parseLongDomainXml(xml, () => assert.fail('a pause'));
    assert.deepEqual(parsed, parseDomainXml(xml));
  });

  test('may be cut anywhere, inside a character, a reference or a tag', async () => {
    for (let shift = 0; shift < 40; shift++) {
      const filler = `<description>${'x'.repeat(65_536 - 120 - shift)}</description>`;
      const xml = domain(`${filler}<title>🖥🖥\r\n&amp;<![CDATA[a]]></title><devices>${disks(1)}</devices>`);
      assert.deepEqual(await parseLongDomainXml(xml, async () => {}), parseDomainXml(xml));
    }
  });

  test('is not read on when the pause rejects', async () => {
    const xml = domain(`<devices>${disks(20_000)}</devices>`);
    await assert.rejects(
      parseLongDomainXml(xml, () => Promise.reject(new Error('enough'))),
      /enough/,
    );
  });

  test('that is malformed at its end is refused', async () => {
    const xml = domain(`<devices>${disks(20_000)}</devices>`).slice(0, -3);
    await assert.rejects(
      parseLongDomainXml(xml, async () => {}),
      { name: 'DomainXmlError', code: 'ERR_DOMAIN_XML_MALFORMED' },
    );
  });
});
