import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { makeSnapshot } from '../../../test/support/telegraf.ts';
import { TestMachine } from '../../../test/support/test-machine.ts';
import type { CollectorRequest } from '../../cli/open-collector.ts';
import type { LibvirtUri } from '../../libvirt/uri.ts';
import { type Snapshot, STATS_GROUPS } from '../../model/snapshot.ts';
import { runTelegraf, TELEGRAF } from './telegraf.ts';

const directory = mkdtempSync(join(tmpdir(), 'virtlens-telegraf-'));
after(() => rmSync(directory, { recursive: true }));

let files = 0;
function configFile(text: string | Uint8Array): string {
  const path = join(directory, `telegraf-${++files}.conf`);
  writeFileSync(path, text);
  return path;
}

type Collect = (uri: LibvirtUri) => Promise<Snapshot>;

/** A process around the command: what it printed, and the hands on its inputs. */
function start(
  argv: readonly string[],
  {
    collect = async () => makeSnapshot(['a']),
    connect = async () => undefined,
    env = {},
    isStdinNull = false,
  }: {
    collect?: Collect;
    connect?: (uri: LibvirtUri) => Promise<Error | undefined>;
    env?: Record<string, string>;
    isStdinNull?: boolean;
  } = {},
) {
  const clock = new FakeClock();
  const machine = new TestMachine({ env, isStdinNull, clock });
  const opened: CollectorRequest[] = [];
  let closed = 0;
  const deadlinesMs: number[] = [];
  let exitCode: number | undefined;
  const exited = runTelegraf(argv, machine, (request) => {
    opened.push(request);
    return {
      isConnected: true,
      connect: () => connect(request.uri),
      collect({ deadlineMs }) {
        deadlinesMs.push(deadlineMs);
        return collect(request.uri);
      },
      async close() {
        closed++;
      },
    };
  }).then((code) => {
    exitCode = code;
    assert.equal(closed, opened.length, 'every collector is closed');
    return code;
  });
  return {
    clock,
    machine,
    printed: {
      get stdout() {
        return machine.stdout.text;
      },
      get stderr() {
        return machine.stderr.text;
      },
    },
    stdin: machine.stdin,
    stdout: machine.stdout,
    opened,
    deadlinesMs,
    exited,
    exitCode: () => exitCode,
    signal: (name: NodeJS.Signals) => assert.ok(machine.signal(name), `${name} is handled`),
    /** Waits until the command has read its files and listens. */
    async ready() {
      while (!machine.signals.includes('SIGHUP')) await settle();
    },
  };
}

const LINE_A = 'libvirt_state,domain_name=a,host=machine state=1i,reason=1i 1700000000000000000\n';

test('--once prints the points of every input and ends', async () => {
  const config = configFile(
    '[[inputs.libvirt]]\n[[inputs.libvirt]]\nname_suffix = "_2"\n[inputs.libvirt.tags]\ndc = "x"',
  );
  const { exited, printed } = start(['--config', config, '--once']);
  assert.equal(await exited, 0);
  assert.equal(
    printed.stdout,
    `${LINE_A}libvirt_state_2,domain_name=a,host=machine,dc=x state=1i,reason=1i 1700000000000000000\n`,
  );
  assert.equal(printed.stderr, '');
});

test('--once without a configuration gathers everything of the default URI', async () => {
  const { exited, deadlinesMs, opened } = start(['--once'], { collect: async () => makeSnapshot([]) });
  assert.equal(await exited, 0);
  assert.deepEqual(
    opened.map(({ uri, wanted }) => [uri.text, [...wanted]]),
    [['qemu:///system', STATS_GROUPS]],
  );
  assert.deepEqual(deadlinesMs, [4000]);
});

test('--once fails when libvirt is away, and prints what the other inputs have', async () => {
  const config = configFile(
    '[[inputs.libvirt]]\nlibvirt_uri = "qemu+tcp://far/system"\ninterval = "7s"\n[[inputs.libvirt]]',
  );
  const { exited, printed, deadlinesMs } = start(['--config', config, '--once'], {
    collect: async ({ text }) => {
      if (text !== 'qemu:///system') throw new Error('connection refused');
      return makeSnapshot(['a']);
    },
  });
  assert.equal(await exited, 1);
  assert.equal(printed.stdout, LINE_A);
  assert.match(printed.stderr, /^E! \[inputs\.libvirt\] Error in gathering: connection refused\n$/);
  assert.deepEqual(deadlinesMs, [7000, 4000]);
});

test('--once that cannot connect says why in one line, and takes no longer than it has', async () => {
  const refused = start(['--once'], { connect: async () => new Error('the server refuses the certificate') });
  assert.equal(await refused.exited, 1);
  assert.equal(
    refused.printed.stderr,
    'E! [inputs.libvirt] Error in gathering: qemu:///system: the server refuses the certificate\n',
  );
  const hanging = start(['--once'], {
    connect: () => new Promise(() => {}),
    collect: async () => makeSnapshot([], { up: false }),
  });
  while (hanging.clock.pending < 2) await settle();
  await hanging.clock.advance(4000);
  assert.equal(await hanging.exited, 1);
  assert.match(
    hanging.printed.stderr,
    /^E! \[inputs\.libvirt\] Error in gathering: qemu:\/\/\/system does not answer\n$/,
  );
  assert.deepEqual(hanging.deadlinesMs, [1]);
});

for (const [title, config, argv, expected] of [
  ["the machine's name", '', [], 'machine'],
  ['the configured name', '[agent]\nhostname = "conf"', [], 'conf'],
  ['a global tag does not replace it', '[global_tags]\nhost = "g"', [], 'machine'],
  ['none when omitted', '[agent]\nomit_hostname = true', [], undefined],
  ["the input's own tag", '[inputs.libvirt.tags]\nhost = "own"', [], 'own'],
  [
    'the flag before all',
    '[agent]\nomit_hostname = true\n[inputs.libvirt.tags]\nhost = "own"',
    ['--host-tag', 'flag'],
    'flag',
  ],
  ['none by the flag', '[inputs.libvirt.tags]\nhost = "own"', ['--host-tag='], undefined],
] as const) {
  test(`host tag: ${title}`, async () => {
    const { exited, printed } = start(['--once', '--config', configFile(`[[inputs.libvirt]]\n${config}`), ...argv]);
    assert.equal(await exited, 0);
    assert.equal(/,host=(\w+)/.exec(printed.stdout)?.[1], expected);
  });
}

test('execd with STDIN: one gathering a newline, until standard input closes', async () => {
  const { ready, stdin, printed, exited, exitCode, deadlinesMs } = start([]);
  await ready();
  for (let count = 1; count <= 2; count++) {
    stdin.write('\n');
    await settle();
    assert.equal(printed.stdout, LINE_A.repeat(count));
  }
  assert.equal(exitCode(), undefined);
  stdin.end();
  assert.equal(await exited, 0);
  assert.equal(printed.stdout, LINE_A.repeat(2));
  assert.equal(printed.stderr, 'I! Standard input is closed: ending\n');
  assert.deepEqual(deadlinesMs, [20_000, 20_000]);
});

test('execd with signals, and at the interval; SIGTERM ends it', async () => {
  const { ready, signal, clock, printed, exited } = start([
    '--config',
    configFile('[[inputs.libvirt]]\ninterval = "3s"'),
  ]);
  await ready();
  await clock.advance(6000);
  await settle();
  assert.equal(printed.stdout, LINE_A.repeat(2));
  for (const name of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
    signal(name);
    await settle();
  }
  assert.equal(printed.stdout, LINE_A.repeat(5));
  signal('SIGTERM');
  assert.equal(await exited, 0);
});

test('libvirt that is away is no reason to end: the next gathering tries again', async () => {
  let attempts = 0;
  const { ready, stdin, printed, exited } = start([], {
    collect: async () => {
      if (++attempts < 3) throw new Error('no socket');
      return makeSnapshot(['a']);
    },
  });
  await ready();
  for (let count = 0; count < 3; count++) {
    stdin.write('\n');
    await settle();
  }
  stdin.end();
  assert.equal(await exited, 0);
  assert.equal(printed.stdout, LINE_A);
  assert.equal(printed.stderr.split('no socket').length, 2, printed.stderr);
  assert.match(printed.stderr, /I! \[inputs\.libvirt\] Gathering from qemu:\/\/\/system works again\n/);
});

test('SIGTERM ends it although a collection hangs that cannot be broken off', async () => {
  const { ready, stdin, signal, clock, exited } = start([], { collect: () => new Promise(() => {}) });
  await ready();
  stdin.write('\n');
  await settle();
  signal('SIGTERM');
  await settle();
  await clock.advance(5000);
  assert.equal(await exited, 0);
});

test('SIGTERM ends --once too, which has failed then', async () => {
  const { signal, exited } = start(['--once'], {
    collect: () => {
      setImmediate(() => signal('SIGTERM'));
      return new Promise(() => {});
    },
  });
  assert.equal(await exited, 1);
});

test('a reader of standard output that goes away ends it', async () => {
  const { ready, stdout, exited, printed } = start(['--log.level=debug']);
  await ready();
  stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
  assert.equal(await exited, 0);
  assert.match(printed.stderr, /D! Standard output is closed\n/);
});

test('a slow reader of standard output makes prompts wait, not points pile up', async () => {
  let collected = 0;
  const { ready, stdin, stdout, exited } = start([], {
    collect: async () => {
      collected++;
      return makeSnapshot(['a']);
    },
  });
  await ready();
  stdout.cork();
  for (let count = 0; count < 10; count++) {
    stdin.write('\n');
    await settle();
  }
  assert.equal(collected, 1);
  stdout.uncork();
  await settle();
  assert.equal(collected, 2);
  stdin.end();
  assert.equal(await exited, 0);
});

test('a service that writes to InfluxDB runs on without standard input; with a pipe it ends with it', async () => {
  const influx = ['--influx.url=http://127.0.0.1:9', '--influx.database=db'];
  const service = start(influx, { isStdinNull: true });
  await service.ready();
  service.stdin.end();
  await settle();
  assert.equal(service.exitCode(), undefined);
  service.signal('SIGINT');
  assert.equal(await service.exited, 0);
  const piped = start(influx);
  await piped.ready();
  piped.stdin.end();
  assert.equal(await piped.exited, 0);
});

test('the log in the other forms, and by level', async () => {
  const config = configFile('[[inputs.libvirt]]\ndomain_names = ["a"]');
  const json = start(['--once', '--config', config, '--log.format=json']);
  await json.exited;
  assert.equal(JSON.parse(json.printed.stderr).level, 'WARN');
  const silent = start(['--once', '--config', config, '--log.level=error']);
  await silent.exited;
  assert.equal(silent.printed.stderr, '');
});

test('the help lists the flags', () => {
  assert.match(TELEGRAF.help(), /^usage: virtlens telegraf \[flags\]\n[\s\S]*--influx\.token/);
});

const missing = join(directory, 'missing.conf');
for (const [argv, expected] of [
  [['--what'], /^E! unknown flag --what/],
  [['--config', missing], /^E! --config=.*missing\.conf cannot be read: it does not exist;/],
  [['--config', directory], /^E! --config=.* cannot be read: it is a directory;/],
  [
    ['--config', configFile('[[inputs.libvirt]]\nlibvirt_uri = "x"')],
    /^E! .*telegraf-\d+\.conf: inputs\.libvirt\[0\]\.libvirt_uri: libvirt URI 'x'/,
  ],
  [['--config', configFile(Uint8Array.of(0xff, 0xfe))], /^E! .*: this is not TOML: it is not UTF-8 text/],
  [['--config', configFile('[[')], /^E! .*:1:\d+: this is not TOML: /],
  [['--influx.bucket=b'], /^E! --influx\.bucket needs --influx\.url/],
  [['--influx.url=ftp://x'], /^E! --influx\.url must be an http or https URL/],
  [['--influx.url=x'], /^E! --influx\.url must be an http or https URL/],
  [['--influx.url=http://u:hunter2@x', '--influx.database=d'], /^E! --influx\.url must not hold a user or password/],
  [['--influx.url=http://x/?a=hunter2', '--influx.database=d'], /^E! --influx\.url must end with/],
  [['--influx.url=http://x'], /^E! --influx\.url needs --influx\.org and --influx\.bucket, or --influx\.database/],
  [['--influx.url=http://x', '--influx.org=o'], /^E! --influx\.url needs/],
  [['--influx.url=http://x', '--influx.org=o', '--influx.database=d'], /^E! --influx\.database is of InfluxDB 1/],
  [
    ['--influx.url=http://x', '--influx.token=hunter2', '--influx.database=d'],
    /^E! --influx\.token must be user:password/,
  ],
  [
    ['--influx.url=http://x', '--influx.token=hunter2\nx', '--influx.org=o', '--influx.bucket=b'],
    /^E! the token for InfluxDB holds a character that no HTTP header can/,
  ],
  [
    ['--influx.url=http://x', '--influx.token=hunter2🗝', '--influx.org=o', '--influx.bucket=b'],
    /^E! the token for InfluxDB holds a character that no HTTP header can/,
  ],
] as const) {
  test(`refused: ${argv.join(' ').replaceAll(directory, '')}`, async () => {
    const { exited, printed } = start(argv);
    assert.equal(await exited, 1);
    assert.match(printed.stderr, expected);
    assert.match(printed.stderr, /^[^\n]+\n$/, 'one line');
    assert.doesNotMatch(printed.stderr, /hunter2/);
    assert.equal(printed.stdout, '');
  });
}
