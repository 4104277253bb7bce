import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type LibvirtUri, LibvirtUriError, parseLibvirtUri } from './uri.ts';

/** The parsed form as one flat object, for tables. */
function flat(uri: LibvirtUri): Record<string, unknown> {
  const { text: _text, params, ...rest } = uri;
  return params.size === 0 ? rest : { ...rest, params: Object.fromEntries(params) };
}

const GOOD: [uri: string, expected: Record<string, unknown>][] = [
  ['qemu:///system', { driver: 'qemu', transport: 'unix', path: '/system', remoteName: 'qemu:///system' }],
  ['qemu:///session', { driver: 'qemu', transport: 'unix', path: '/session', remoteName: 'qemu:///session' }],
  ['qemu:/system', { driver: 'qemu', transport: 'unix', path: '/system', remoteName: 'qemu:///system' }],
  [
    'QEMU+TLS://H/system',
    { driver: 'qemu', transport: 'tls', hostname: 'H', path: '/system', remoteName: 'qemu:///system' },
  ],
  ['xen:///', { driver: 'xen', transport: 'unix', path: '/', remoteName: 'xen:///' }],
  ['lxc://', { driver: 'lxc', transport: 'unix', path: '/', remoteName: 'lxc:///' }],
  ['test:///default', { driver: 'test', transport: 'unix', path: '/default', remoteName: 'test:///default' }],
  [
    'test+unix:///default?socket=/tmp/a%20b/sim.sock',
    {
      driver: 'test',
      transport: 'unix',
      path: '/default',
      remoteName: 'test:///default',
      params: { socket: '/tmp/a b/sim.sock' },
    },
  ],
  [
    'test:///etc/my%20host.xml',
    { driver: 'test', transport: 'unix', path: '/etc/my host.xml', remoteName: 'test:///etc/my%20host.xml' },
  ],
  [
    'qemu://kvm1/system',
    { driver: 'qemu', transport: 'tls', hostname: 'kvm1', path: '/system', remoteName: 'qemu:///system' },
  ],
  ['qemu+tcp:///system', { driver: 'qemu', transport: 'tcp', path: '/system', remoteName: 'qemu:///system' }],
  [
    'qemu+tcp://[::1]:16510/system',
    { driver: 'qemu', transport: 'tcp', hostname: '::1', port: 16510, path: '/system', remoteName: 'qemu:///system' },
  ],
  [
    'qemu+tcp://[fe80::1%25eth0]/system',
    { driver: 'qemu', transport: 'tcp', hostname: 'fe80::1%eth0', path: '/system', remoteName: 'qemu:///system' },
  ],
  [
    'qemu+ssh://a%40b@kvm1:2222/system?keyfile=/k&known_hosts=/h;no_verify=1',
    {
      driver: 'qemu',
      transport: 'ssh',
      username: 'a@b',
      hostname: 'kvm1',
      port: 2222,
      path: '/system',
      remoteName: 'qemu:///system',
      params: { keyfile: '/k', known_hosts: '/h', no_verify: '1' },
    },
  ],
  [
    'qemu+libssh2://h/system',
    { driver: 'qemu', transport: 'ssh', hostname: 'h', path: '/system', remoteName: 'qemu:///system' },
  ],
  [
    'qemu+tls://h/system?PKIPath=/a+b&&=x&pkipath=/last',
    {
      driver: 'qemu',
      transport: 'tls',
      hostname: 'h',
      path: '/system',
      remoteName: 'qemu:///system',
      params: { pkipath: '/last' },
    },
  ],
  [
    'qemu+tls://h/?name=qemu:///system',
    {
      driver: 'qemu',
      transport: 'tls',
      hostname: 'h',
      path: '/',
      remoteName: 'qemu:///system',
      params: { name: 'qemu:///system' },
    },
  ],
  ['remote+tls://h/', { driver: 'remote', transport: 'tls', hostname: 'h', path: '/', remoteName: '' }],
  [
    'qemu+tcp://хост.рф/system',
    { driver: 'qemu', transport: 'tcp', hostname: 'хост.рф', path: '/system', remoteName: 'qemu:///system' },
  ],
];

const BAD: [uri: string, part: string, message: RegExp][] = [
  ['', 'uri', /empty/],
  [' qemu:///system', 'uri', /position 1/],
  ['qemu:///sys\ntem', 'uri', /position 12/],
  ['qemu:///system\ud800', 'uri', /Unicode/],
  ['/run/libvirt/libvirt-sock', 'driver', /driver/],
  ['+ssh://h/system', 'driver', /missing/],
  ['tcp://h/system', 'driver', /qemu\+tcp:/],
  ['https://h/system', 'driver', /not a libvirt driver/],
  ['1qemu:///system', 'driver', /not a driver name/],
  ['esx://vcenter/', 'driver', /no libvirt daemon/],
  ['qemu+ext://h/system?command=/x', 'transport', /ext/],
  ['qemu+udp://h/system', 'transport', /'udp' is unknown; use unix, tcp, tls or ssh/],
  ['qemu+://h/system', 'transport', /unknown/],
  ['qemu+unix://h/system', 'host', /this host, not on 'h'/],
  ['qemu:system', 'path', /'\/\/' is missing/],
  ['qemu://system', 'path', /three slashes: qemu:\/\/\/system/],
  ['qemu:///', 'path', /missing/],
  ['qemu:///embed?root=/x', 'root', /unknown/],
  ['qemu:///embed', 'path', /embed/],
  ['qemu:///system/', 'path', /use \/system or \/session/],
  ['qemu:///sytem', 'path', /'\/sytem'/],
  ['test:///', 'path', /test:\/\/\/default/],
  ['qemu:///system#x', 'path', /%23/],
  ['qemu:///%zz', 'path', /%-escape/],
  ['qemu+tcp://h:0/system', 'port', /port '0'/],
  ['qemu+tcp://h:65536/system', 'port', /1 to 65535/],
  ['qemu+tcp://h:/system', 'port', /port ''/],
  ['qemu+tcp://h:16x/system', 'port', /'16x'/],
  ['qemu+tcp://h:-1/system', 'port', /'-1'/],
  ['qemu+tcp://:16509/system', 'host', /localhost:16509/],
  ['qemu+tcp://::1/system', 'host', /brackets/],
  ['qemu+tcp://[::g]/system', 'host', /IPv6/],
  ['qemu+tcp://[::1]x/system', 'host', /'x'/],
  ['qemu+tcp://a,b/system', 'host', /host name/],
  ['qemu+tcp://-h/system', 'host', /host name/],
  ['qemu+tcp://300.1.1.1/system', 'host', /IPv4/],
  ['qemu+ssh://root@/system', 'host', /no host/],
  ['qemu+ssh://@h/system', 'user', /empty/],
  ['qemu+ssh://root:hunter2@h/system', 'password', /auth\.conf/],
  ['qemu+tcp://h/system?colour=red', 'colour', /'colour' is unknown/],
  ['qemu+tcp://h/system?pkipath=/x', 'pkipath', /no meaning for tcp, only for tls/],
  ['qemu+tls://h/system?keyfile=/x', 'keyfile', /only for ssh/],
  ['qemu+tls://h/system?no_verify=yes', 'no_verify', /not 0 or 1/],
  ['qemu+tls://h/system?no_verify', 'no_verify', /not 0 or 1/],
  ['qemu+tls://h/system?tls_priority=SECURE256', 'tls_priority', /GnuTLS/],
  ['qemu:///system?socket=', 'socket', /empty/],
  ['qemu:///system?socket=a%00b', 'socket', /NUL/],
  ['qemu:///system?mode=fast', 'mode', /auto, legacy, direct/],
  ['qemu:///system?auth=sasl', 'auth', /only none/],
  ['qemu+ssh://h/system?sshauth=agent,gssapi', 'sshauth', /'gssapi'/],
  ['qemu+ssh://h/system?sshauth=', 'sshauth', /''/],
  ['qemu+ssh://h/system?proxy=native&netcat=nc', 'netcat', /proxy=native/],
  ['qemu+ssh://h/system?proxy=native&socket=/s', 'socket', /proxy=native/],
  ['qemu+ssh://h/system?mode=direct', 'mode', /ssh/],
  ['qemu+ssh://h/system?command=/usr/bin/ssh', 'command', /built in/],
  ['qemu+ssh://h/system?known_hosts_verify=never', 'known_hosts_verify', /normal, auto, ignore/],
];

describe('parseLibvirtUri', () => {
  for (const [text, expected] of GOOD) {
    it(`reads ${text}`, () => {
      const uri = parseLibvirtUri(text);
      assert.deepEqual(flat(uri), expected);
      assert.equal(uri.text, text);
    });
  }

  for (const [text, part, message] of BAD) {
    it(`refuses ${JSON.stringify(text)}, naming ${part}`, () => {
      assert.throws(
        () => parseLibvirtUri(text),
        (error: unknown) => {
          assert.ok(error instanceof LibvirtUriError);
          assert.equal(error.part, part, error.message);
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /[\n\r]/);
          return true;
        },
      );
    });
  }

  it('never repeats a password', () => {
    for (const text of [
      'qemu+ssh://root:hunter2@h/system',
      'qemu+ssh://root:hun@ter2@h/system',
      'qemu+ssh://:hunter2@h:0/s',
      'qemu+ssh://root@h/system?no_verify=1&Password=hunter2',
      'qemu+ssh://root@h/system?token=hunter2&no_verify=1',
    ]) {
      assert.throws(
        () => parseLibvirtUri(text),
        (error: Error) => !error.message.includes('hun') && !error.message.includes('ter2'),
      );
    }
  });

  it('throws nothing but LibvirtUriError, on one line', () => {
    const piece = fc.constantFrom(
      'qemu',
      'test',
      '+',
      'ssh',
      'tls',
      ':',
      '/',
      '//',
      '@',
      '[',
      ']',
      '::1',
      'h',
      '?',
      '&',
      ';',
      '=',
      '%',
      '%2',
      '%00',
      '%ff',
      '#',
      'socket',
      'no_verify',
      'sshauth',
      '1',
      'system',
      '\u2028',
      '\ud800',
      'é',
    );
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(piece).map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, (each) => {
        try {
          const uri = parseLibvirtUri(each);
          // What is sent to the daemon stands for itself.
          if (!uri.params.has('name') && uri.driver !== 'remote') {
            assert.equal(parseLibvirtUri(uri.remoteName).path, uri.path);
          }
        } catch (error) {
          assert.ok(error instanceof LibvirtUriError, String(error));
          assert.doesNotMatch(error.message, /[\n\r\u2028]/);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
