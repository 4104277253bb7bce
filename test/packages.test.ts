// The Debian and RPM packages, installed for real: into a copy of this machine's root file system, which an overlay makes and forgets.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { buildAgent } from '../scripts/build.ts';
import { buildDeb } from '../scripts/packages/deb.ts';
import { packageVersion } from '../scripts/packages/description.ts';
import { buildRpm } from '../scripts/packages/rpm.ts';
import { renderUnit, SERVICES, unitName } from '../scripts/packages/services.ts';
import { COMMANDS } from '../src/commands/index.ts';
import { shellQuote } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { findProgram, runTool } from './lab/tools.ts';

/** Runs a shell script as root in the copy; all that it changes is gone when it ends. `$STATE` is a directory that stays. */
function runInCopy(state: string, script: string): string {
  const setup = `
    set -e
    mount -t tmpfs tmpfs ${shellQuote(join(state, 'copy'))}
    cd ${shellQuote(join(state, 'copy'))}
    mkdir upper work root
    mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
    mount --bind /proc root/proc
    mount --bind /dev root/dev
    mount --rbind /tmp root/tmp
    export STATE=${shellQuote(state)}
    ip link set lo up
    # man-db would index all manual pages again after each step.
    rm -f root/var/lib/man-db/auto-update
    chroot root sh -e -c ${shellQuote(script)}`;
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['--mount', '--net', '--pid', '--fork', 'bash', '-c', setup],
    {
      encoding: 'utf8',
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive' },
    },
  );
  assert.equal(status, 0, stdout + stderr);
  return stdout;
}

/** The unit's command line as its user, with its capabilities and without new privileges, until it serves. */
const SERVE_AS_UNIT = `
. /etc/default/virtlens
setpriv --reuid=virtlens --regid=virtlens --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \\
  $(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/virtlens.service | sed 's/ \\$ARGS//') $ARGS \\
  --libvirt.uri=test:///default --web.listen-address=127.0.0.1:9177 2> $STATE/log &
pid=$!
for i in $(seq 600); do curl -sf http://127.0.0.1:9177/metrics > $STATE/page && break; sleep 0.1; done
cat $STATE/log >&2
kill $pid
`;

/** What an installation has made or left, besides the package manager's own notes. */
const LEFT = `find /usr/bin/virtlens* /etc/default/virtlens* /var/log/virtlens* /var/lib/virtlens* /usr/lib/systemd/system/virtlens* /usr/share/*/virtlens* /usr/share/man/man1/virtlens* 2>/dev/null || true
getent passwd virtlens || true
getent group virtlens || true`;

describeLab('the packages', ['libvirt'], () => {
  let state: string;
  let binary: string;
  before(async () => {
    state = mkdtempSync(join(tmpdir(), 'virtlens-packages-'));
    spawnSync('mkdir', [join(state, 'copy')]);
    // The bundle in the executable's place: what is tested is the packaging (test/binary.test.ts has the executable).
    const bundle = join(state, 'virtlens.js');
    await buildAgent(bundle);
    binary = join(state, 'virtlens');
    writeFileSync(binary, `#!/bin/sh\nexec ${process.execPath} ${bundle} "$@"\n`);
    chmodSync(binary, 0o755);
    chmodSync(state, 0o777);
  });
  after(() => rmSync(state, { recursive: true }));

  const build = (kind: 'deb' | 'rpm', version: string) =>
    (kind === 'deb' ? buildDeb : buildRpm)({ version, binary, outDir: state, isQuick: true });

  const assertServed = () => assert.match(readFileSync(join(state, 'page'), 'utf8'), /^libvirt_up 1$/m);

  it('.deb: installs, serves as its unit, keeps edits in an upgrade, and leaves nothing after a purge', () => {
    const [first, second] = [build('deb', '0.1.0'), build('deb', '0.2.0')];
    const output = runInCopy(
      state,
      `dpkg -i --force-depends ${first} >/dev/null
      ${SERVE_AS_UNIT}
      sed -i 's/^ARGS=.*/ARGS="--schema=debian"/' /etc/default/virtlens
      dpkg -i --force-depends ${second} >/dev/null
      grep ^ARGS /etc/default/virtlens
      dpkg-query -W -f '\${Version}\\n' virtlens
      man -w virtlens >/dev/null 2>&1 || test -f /usr/share/man/man1/virtlens.1.gz
      dpkg -r virtlens >/dev/null
      echo "removed: $(ls /usr/bin/virtlens 2>/dev/null) $(ls /etc/default/virtlens)"
      mkdir -p /var/log/virtlens /var/lib/virtlens-ha /var/lib/virtlens-logs; touch /var/log/virtlens/libvirt_nova.log
      dpkg -P virtlens >/dev/null
      ${LEFT}
      dpkg-query -W virtlens 2>&1 | grep -c 'no packages found'`,
    );
    assertServed();
    assert.deepEqual(output.trim().split('\n'), [
      'ARGS="--schema=debian"',
      '0.2.0',
      'removed:  /etc/default/virtlens',
      '1',
    ]);
  });

  it('.deb: lintian finds nothing', {
    skip: findProgram('lintian') === undefined && 'lintian is not installed',
  }, () => {
    const { stdout } = spawnSync('lintian', ['--allow-root', '--fail-on', 'none', build('deb', '0.1.0')], {
      encoding: 'utf8',
    });
    const lines = stdout.split('\n').filter((line) => /^[EW]:/.test(line));
    assert.deepEqual(lines, []);
  });

  it('.rpm: installs, serves as its unit, keeps edits in an upgrade, and leaves nothing when it is erased', {
    skip: findProgram('rpmbuild') === undefined && 'rpmbuild is not installed',
  }, () => {
    const [first, second] = [build('rpm', '0.1.0'), build('rpm', '0.2.0')];
    const output = runInCopy(
      state,
      `rpm -i --nodeps ${first}
        ${SERVE_AS_UNIT}
        sed -i 's/^ARGS=.*/ARGS="--schema=debian"/' /etc/default/virtlens
        rpm -U --nodeps ${second}
        grep ^ARGS /etc/default/virtlens
        rpm -q virtlens
        mv /etc/default/virtlens /etc/default/virtlens.edited
        rpm -e --nodeps virtlens
        rm /etc/default/virtlens.edited
        ${LEFT}`,
    );
    assertServed();
    assert.deepEqual(output.trim().split('\n'), ['ARGS="--schema=debian"', 'virtlens-0.2.0-1.x86_64']);
  });
});

it('a pre-release is older than its release', () => {
  const isOlder = (a: string, b: string) =>
    spawnSync('dpkg', ['--compare-versions', packageVersion(a), 'lt', packageVersion(b)]).status === 0;
  assert.deepEqual(
    [isOlder('0.2.0-rc.1', '0.2.0'), isOlder('0.1.9', '0.2.0-rc.1'), isOlder('0.2.0', '0.2.0-rc.1')],
    [true, true, false],
  );
});

describe('the units', () => {
  it('there is one for each command that runs as a service', () => {
    const served = COMMANDS.map(({ name }) => name).filter((name) => !['events', 'sim'].includes(name));
    assert.deepEqual(SERVICES.map(({ command }) => command).sort(), served.sort());
  });

  it('systemd takes them, and rates them as protected', {
    skip: findProgram('systemd-analyze') === undefined && 'systemd is not installed',
  }, () => {
    const directory = mkdtempSync(join(tmpdir(), 'virtlens-units-'));
    try {
      for (const service of SERVICES) {
        const path = join(directory, unitName(service));
        writeFileSync(path, renderUnit(service).replace('/usr/bin/virtlens', '/bin/true'));
        const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8' });
        assert.deepEqual([status, stderr], [0, ''], service.command);
        const rating = /level for \S+: (\d\.\d)/.exec(
          runTool('systemd-analyze', ['security', '--offline=yes', path]),
        )?.[1];
        assert.ok(Number(rating) <= (service.isRoot === true ? 4 : 2), `${service.command}: ${rating}`);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
