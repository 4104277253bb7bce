import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { asksFor, defineFlags, FlagError, HELP_ARGUMENTS } from './flags.ts';

const GROUPS = ['state', 'block'] as const;

const FLAGS = defineFlags(
  { usage: 'virtlens serve [flags]', description: 'Serves VMs.\n\nTo Prometheus.' },
  [
    {
      name: 'libvirt.uri',
      kind: 'string',
      default: 'qemu:///system',
      placeholder: 'URI',
      env: 'LIBVIRT_URI',
      help: 'Where libvirt is.',
    },
    {
      name: 'libvirt.export-nova-metadata',
      kind: 'boolean',
      help: "Export Nova's metadata as labels of an info metric, for VMs that carry it.",
    },
    { name: 'web.listen-address', kind: 'list', default: [':9177'], placeholder: 'ADDRESS', help: 'Where to listen.' },
    { name: 'web.config.file', kind: 'string', placeholder: 'FILE', help: 'TLS and users.' },
    {
      name: 'schema',
      kind: 'list',
      choices: ['kumina', 'c5c3'],
      separator: ',',
      default: ['kumina', 'c5c3'],
      help: 'Naming schemes.',
    },
    {
      name: 'collect.timeout',
      kind: 'duration',
      default: 10_000,
      env: 'TIMEOUT',
      aliases: ['exporter.timeout'],
      help: 'How long a scrape may take.',
    },
    { name: 'collect.offset', kind: 'number', help: 'Any number.' },
    { name: 'port', kind: 'number', whole: true, minimum: 0, maximum: 65535, default: 9100, help: 'The port.' },
    {
      name: 'log.level',
      kind: 'choice',
      choices: ['debug', 'info'],
      synonyms: { trace: 'debug' },
      default: 'info',
      help: 'The lowest level to log.',
    },
    ...GROUPS.map(
      (group) => ({ name: `collector.${group}`, kind: 'boolean', default: true, help: `Collect ${group}.` }) as const,
    ),
  ],
  { 'old.password': 'use a file' },
);

test('defaults, with the types that the table says', () => {
  const values = FLAGS.parse([]);
  // These assignments are the test that the types are inferred: tsc fails when they are not.
  const uri: string = values['libvirt.uri'];
  const file: string | undefined = values['web.config.file'];
  const offset: number | undefined = values['collect.offset'];
  const timeoutMs: number = values['collect.timeout'];
  const level: 'debug' | 'info' = values['log.level'];
  const schemas: readonly ('kumina' | 'c5c3')[] = values.schema;
  const addresses: readonly string[] = values['web.listen-address'];
  const block: boolean = values['collector.block'];
  // @ts-expect-error: a name that the table does not have
  assert.equal(values['no-such-flag'], undefined);
  assert.deepEqual(
    [uri, file, offset, timeoutMs, level, schemas, addresses, block, values.port],
    ['qemu:///system', undefined, undefined, 10_000, 'info', ['kumina', 'c5c3'], [':9177'], true, 9100],
  );
});

for (const [argv, name, expected] of [
  [['--libvirt.uri=test:///default'], 'libvirt.uri', 'test:///default'],
  [['--libvirt.uri', 'test:///default'], 'libvirt.uri', 'test:///default'],
  [['--libvirt.uri='], 'libvirt.uri', ''],
  [['--libvirt.uri=a=b'], 'libvirt.uri', 'a=b'],
  [['--libvirt.uri=--port'], 'libvirt.uri', '--port'],
  [['--libvirt.uri', '-'], 'libvirt.uri', '-'],
  [['--libvirt.uri=a', '--libvirt.uri=b'], 'libvirt.uri', 'b'],
  [['--web.listen-address', '[::1]:9177', '--web.listen-address=:80'], 'web.listen-address', ['[::1]:9177', ':80']],
  [['--schema=c5c3'], 'schema', ['c5c3']],
  [['--schema', 'c5c3, kumina', '--schema=c5c3'], 'schema', ['c5c3', 'kumina']],
  [['--libvirt.export-nova-metadata'], 'libvirt.export-nova-metadata', true],
  [['--libvirt.export-nova-metadata=true'], 'libvirt.export-nova-metadata', true],
  [['--libvirt.export-nova-metadata=T'], 'libvirt.export-nova-metadata', true],
  [['--collector.block=false'], 'collector.block', false],
  [['--collector.block=0'], 'collector.block', false],
  [['--no-collector.block'], 'collector.block', false],
  [['--no-collector.block', '--collector.block'], 'collector.block', true],
  [['--collect.timeout=1m30s'], 'collect.timeout', 90_000],
  [['--collect.offset', '-5'], 'collect.offset', -5],
  [['--collect.offset=1.5e3'], 'collect.offset', 1500],
  [['--port=0'], 'port', 0],
  [['--log.level', 'debug'], 'log.level', 'debug'],
  [['--log.level=DEBUG'], 'log.level', 'debug'],
  [['--log.level=Trace'], 'log.level', 'debug'],
  [['--exporter.timeout=3s'], 'collect.timeout', 3000],
  [['--exporter.timeout=3s', '--collect.timeout', '4s'], 'collect.timeout', 4000],
  [['--'], 'port', 9100],
] as const) {
  test(`${argv.join(' ')} gives ${JSON.stringify(expected)}`, () => {
    assert.deepEqual(FLAGS.parse(argv)[name], expected);
  });
}

for (const [argv, code, message] of [
  [['--libvirt.url=x'], 'ERR_FLAG_UNKNOWN', 'unknown flag --libvirt.url: did you mean --libvirt.uri?'],
  [
    ['--web.listenaddress', ':1'],
    'ERR_FLAG_UNKNOWN',
    'unknown flag --web.listenaddress: did you mean --web.listen-address?',
  ],
  [['--Log.Level=info'], 'ERR_FLAG_UNKNOWN', 'unknown flag --Log.Level: did you mean --log.level?'],
  [['--listen-address=:1'], 'ERR_FLAG_UNKNOWN', 'unknown flag --listen-address: did you mean --web.listen-address?'],
  [['-libvirt.uri=x'], 'ERR_FLAG_UNKNOWN', 'unknown flag -libvirt.uri: did you mean --libvirt.uri?'],
  [['--no-colector.block'], 'ERR_FLAG_UNKNOWN', 'unknown flag --no-colector.block: did you mean --no-collector.block?'],
  [['--no-libvirt.uri'], 'ERR_FLAG_UNKNOWN', 'unknown flag --no-libvirt.uri: did you mean --libvirt.uri?'],
  [['--frobnicate'], 'ERR_FLAG_UNKNOWN', 'unknown flag --frobnicate: see --help for the list of flags'],
  [['-x'], 'ERR_FLAG_UNKNOWN', 'unknown flag -x: see --help for the list of flags'],
  [['--__proto__=1'], 'ERR_FLAG_UNKNOWN', 'unknown flag --__proto__: see --help for the list of flags'],
  [['--toString'], 'ERR_FLAG_UNKNOWN', 'unknown flag --toString: see --help for the list of flags'],
  [['--old.password=hunter2'], 'ERR_FLAG_UNKNOWN', 'there is no flag --old.password: use a file'],
  [['--old.password', 'hunter2'], 'ERR_FLAG_UNKNOWN', 'there is no flag --old.password: use a file'],
  [
    ['--exporter.timeout=10'],
    'ERR_FLAG_VALUE',
    '--exporter.timeout cannot be "10": it must be a duration such as 10s, 1m30s or 500ms',
  ],
  [['--exporter.timeout'], 'ERR_FLAG_NO_VALUE', '--exporter.timeout needs a value: write --exporter.timeout=10s'],
  [['--libvirt.uri'], 'ERR_FLAG_NO_VALUE', '--libvirt.uri needs a value: write --libvirt.uri=URI'],
  [['--libvirt.uri', '--port=1'], 'ERR_FLAG_NO_VALUE', '--libvirt.uri needs a value: write --libvirt.uri=URI'],
  [
    ['--libvirt.uri', '--no-collector.block'],
    'ERR_FLAG_NO_VALUE',
    '--libvirt.uri needs a value: write --libvirt.uri=URI',
  ],
  [['--log.level'], 'ERR_FLAG_NO_VALUE', '--log.level needs a value: write --log.level=debug|info'],
  [['--log.level=loud'], 'ERR_FLAG_VALUE', '--log.level cannot be "loud": it must be one of debug, info'],
  [['--schema=kumina,'], 'ERR_FLAG_VALUE', '--schema cannot be "": it must be one of kumina, c5c3'],
  [
    ['--web.listen-address='],
    'ERR_FLAG_VALUE',
    '--web.listen-address cannot be "": it must be a value that is not empty',
  ],
  [['--port=http'], 'ERR_FLAG_VALUE', '--port cannot be "http": it must be a whole number from 0 to 65535'],
  [['--port=1.5'], 'ERR_FLAG_VALUE', '--port cannot be "1.5": it must be a whole number from 0 to 65535'],
  [['--port', '65536'], 'ERR_FLAG_VALUE', '--port cannot be "65536": it must be a whole number from 0 to 65535'],
  [['--port='], 'ERR_FLAG_VALUE', '--port cannot be "": it must be a whole number from 0 to 65535'],
  [['--collect.offset=Infinity'], 'ERR_FLAG_VALUE', '--collect.offset cannot be "Infinity": it must be a number'],
  [
    ['--collect.timeout=10'],
    'ERR_FLAG_VALUE',
    '--collect.timeout cannot be "10": it must be a duration such as 10s, 1m30s or 500ms',
  ],
  [['--collector.block=maybe'], 'ERR_FLAG_VALUE', '--collector.block cannot be "maybe": it must be true or false'],
  [
    ['--no-collector.block=true'],
    'ERR_FLAG_VALUE',
    '--no-collector.block takes no value: write --no-collector.block or --collector.block=true',
  ],
  [
    ['--collector.block', 'false'],
    'ERR_FLAG_STRAY',
    'unexpected argument "false": write --collector.block=false or --no-collector.block',
  ],
  [
    ['serve'],
    'ERR_FLAG_STRAY',
    'unexpected argument "serve": flags begin with -- and this command takes nothing else; see --help',
  ],
  [
    ['--', '--port=1'],
    'ERR_FLAG_STRAY',
    'unexpected argument "--port=1": flags begin with -- and this command takes nothing else; see --help',
  ],
  [
    ['two\nlines'],
    'ERR_FLAG_STRAY',
    'unexpected argument "two\\nlines": flags begin with -- and this command takes nothing else; see --help',
  ],
] as const) {
  test(`${JSON.stringify(argv.join(' '))} is refused`, () => {
    assert.throws(
      () => FLAGS.parse(argv),
      (error: unknown) => {
        assert.ok(error instanceof FlagError);
        assert.deepEqual([error.code, error.message], [code, message]);
        return true;
      },
    );
  });
}

describe('the environment', () => {
  test('stands in for a flag that is not given', () => {
    const values = FLAGS.parse([], { LIBVIRT_URI: 'test:///default', TIMEOUT: '5s' });
    assert.deepEqual([values['libvirt.uri'], values['collect.timeout']], ['test:///default', 5000]);
  });

  test('gives way to a flag, and counts for nothing when empty', () => {
    assert.equal(FLAGS.parse(['--libvirt.uri=a'], { LIBVIRT_URI: 'b' })['libvirt.uri'], 'a');
    assert.equal(FLAGS.parse([], { LIBVIRT_URI: '' })['libvirt.uri'], 'qemu:///system');
  });

  test('is named when it is wrong', () => {
    assert.throws(() => FLAGS.parse([], { TIMEOUT: 'soon' }), {
      message: '$TIMEOUT cannot be "soon": it must be a duration such as 10s, 1m30s or 500ms',
    });
  });
});

describe('help', () => {
  test('is asked for with --help and -h, whatever else stands there, but not behind --', () => {
    assert.equal(asksFor(['--nonsense', '--help'], ...HELP_ARGUMENTS), true);
    assert.equal(asksFor(['-h', 'x'], ...HELP_ARGUMENTS), true);
    assert.equal(asksFor(['--port=1'], ...HELP_ARGUMENTS), false);
    assert.equal(asksFor(['--', '--help'], ...HELP_ARGUMENTS), false);
    assert.throws(() => FLAGS.parse(['--', '--help']), FlagError);
  });

  test('is grouped and wrapped, with defaults', () => {
    assert.equal(
      FLAGS.help(),
      `usage: virtlens serve [flags]

Serves VMs.

To Prometheus.

libvirt:
  --libvirt.uri=URI               Where libvirt is. (default qemu:///system; environment:
                                  LIBVIRT_URI)
  --libvirt.export-nova-metadata  Export Nova's metadata as labels of an info metric, for VMs that
                                  carry it.

web:
  --web.listen-address=ADDRESS    Where to listen. (repeatable; default :9177)
  --web.config.file=FILE          TLS and users.

collect:
  --collect.timeout=10s           How long a scrape may take. (default 10s; environment: TIMEOUT;
                                  also --exporter.timeout)
  --collect.offset=N              Any number.

log:
  --log.level=debug|info          The lowest level to log. (default info)

collector:
  --[no-]collector.state          Collect state. (on by default)
  --[no-]collector.block          Collect block. (on by default)

other:
  --schema=kumina|c5c3            Naming schemes. (repeatable, or separated by commas; default
                                  kumina, c5c3)
  --port=N                        The port. (default 9100)
  -h, --help                      Show this help.
  --version                       Print the version.
`,
    );
    for (const line of FLAGS.help().split('\n')) assert.ok(line.length <= 100, line);
  });

  test('of a command without groups, and of one without flags', () => {
    const plain = defineFlags({ usage: 'x', description: 'd' }, [{ name: 'verbose', kind: 'boolean', help: 'v.' }]);
    assert.match(plain.help(), /\n\nflags:\n {2}--verbose {23}v\.\n {2}-h, --help/);
    assert.match(defineFlags({ usage: 'x', description: 'd' }, []).help(), /^usage: x\n\nd\n\nflags:\n {2}-h/);
  });
});
