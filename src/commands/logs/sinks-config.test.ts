import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { makeAuthority, makeCertificate, opensslMissing, type Pair } from '../../../test/support/certificates.ts';
import { defineFlags, FlagError } from '../../cli/flags.ts';
import { readSinksConfig, SINK_FLAGS } from './sinks-config.ts';

const FLAGS = defineFlags({ usage: 'test', description: 'test' }, SINK_FLAGS);
type Env = Readonly<Record<string, string>>;

const read = (argv: readonly string[], env: Env = {}) =>
  readSinksConfig(FLAGS.parse(argv, env), { env, hostname: 'node-1' });

let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'virtlens-sinks-'));
});
after(() => rmSync(directory, { recursive: true }));
let names = 0;
function file(text: string | Buffer): string {
  const path = join(directory, `file-${++names}`);
  writeFileSync(path, text);
  return path;
}

/** The message with which a command line is refused. */
async function refusal(argv: readonly string[], env: Env = {}): Promise<string> {
  const error = await read(argv, env).then(
    () => assert.fail(`${argv.join(' ')} was taken`),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof FlagError, String(error));
  assert.doesNotMatch(error.message, /\n/);
  return error.message;
}

test('records go to standard output when they go nowhere else, or when it is asked for', async () => {
  const config = await read([]);
  const { readAgain: _, ...rest } = config;
  assert.deepEqual(rest, { isStdout: true, otlp: undefined, forward: undefined, hostName: 'node-1' });
  assert.equal((await read(['--forward.address=h'])).isStdout, false);
  assert.equal((await read(['--forward.address=h', '--stdout'])).isStdout, true);
  assert.equal((await read(['--host-name=k8s-7'])).hostName, 'k8s-7');
});

describe('OTLP', () => {
  const endpoint = '--otlp.endpoint=http://127.0.0.1:4318';
  const url = async (argv: readonly string[], env: Env = {}) => String((await read(argv, env)).otlp?.url);

  test('the path of logs is appended to an endpoint, but not to one that has it or to that of logs alone', async () => {
    assert.equal(await url([endpoint]), 'http://127.0.0.1:4318/v1/logs');
    assert.equal(await url(['--otlp.endpoint=https://h/otlp/']), 'https://h/otlp/v1/logs');
    assert.equal(await url(['--otlp.endpoint=https://h/v1/logs']), 'https://h/v1/logs');
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a:1', OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: 'http://b:2/in' };
    assert.equal(await url([], env), 'http://b:2/in');
    assert.equal(await url([], { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a:1' }), 'http://a:1/v1/logs');
    assert.equal(await url([endpoint], env), 'http://127.0.0.1:4318/v1/logs');
    assert.equal((await read([], { OTEL_EXPORTER_OTLP_ENDPOINT: '' })).otlp, undefined);
  });

  test('the defaults, the flags, and the variables of OpenTelemetry', async () => {
    const { otlp } = await read([endpoint]);
    assert.deepEqual(
      { ...otlp, url: undefined, headers: { ...otlp?.headers } },
      {
        url: undefined,
        protocol: 'http/protobuf',
        headers: {},
        timeoutMs: 10_000,
        compression: 'gzip',
        tls: { ca: undefined, client: undefined, isVerified: true },
      },
    );
    const env = {
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_EXPORTER_OTLP_TIMEOUT: '2500',
      OTEL_EXPORTER_OTLP_COMPRESSION: 'none',
      OTEL_EXPORTER_OTLP_LOGS_HEADERS: 'api-key=a%20b, x=1=2,',
      OTEL_EXPORTER_OTLP_HEADERS: 'not=used',
    };
    const fromEnv = (await read([endpoint], env)).otlp;
    assert.deepEqual(
      [fromEnv?.protocol, fromEnv?.timeoutMs, fromEnv?.compression, { ...fromEnv?.headers }],
      ['http/json', 2500, 'none', { 'api-key': 'a b', x: '1=2' }],
    );
    const headers = file('Authorization = Bearer abc \r\n\nX=file\n');
    const argv = [
      '--otlp.protocol=http/protobuf',
      '--otlp.timeout=1s',
      '--otlp.compression=gzip',
      '--otlp.header=X=flag',
    ];
    const fromFlags = (await read([endpoint, ...argv, `--otlp.header-file=${headers}`], env)).otlp;
    assert.deepEqual(
      [fromFlags?.protocol, fromFlags?.timeoutMs, fromFlags?.compression, { ...fromFlags?.headers }],
      ['http/protobuf', 1000, 'gzip', { 'api-key': 'a b', authorization: 'Bearer abc', x: 'flag' }],
    );
  });

  test('what cannot be is refused with one line that names the flag or variable and the fix, without a secret', async () => {
    const cases: readonly [readonly string[], Env, RegExp][] = [
      [['--otlp.endpoint=h:4318'], {}, /^--otlp\.endpoint must be an http or https URL such as/],
      [
        ['--otlp.endpoint=https://u:secret@h'],
        {},
        /^--otlp\.endpoint must not hold a user or password.*--otlp\.header-file$/,
      ],
      [['--otlp.endpoint=https://h/?key=secret'], {}, /leave out what follows/],
      [[], { OTEL_EXPORTER_OTLP_ENDPOINT: 'secret' }, /^\$OTEL_EXPORTER_OTLP_ENDPOINT must be/],
      [['--otlp.timeout=1s'], {}, /^--otlp\.timeout needs --otlp\.endpoint$/],
      [['--otlp.header=a=secret'], {}, /^--otlp\.header needs --otlp\.endpoint$/],
      [[endpoint, '--otlp.timeout=0'], {}, /^--otlp\.timeout must be longer than 0/],
      [
        [endpoint],
        { OTEL_EXPORTER_OTLP_TIMEOUT: '10s' },
        /^\$OTEL_EXPORTER_OTLP_TIMEOUT cannot be "10s": .*milliseconds$/,
      ],
      [[endpoint], { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, /^\$OTEL_EXPORTER_OTLP_PROTOCOL cannot be grpc: .*4318$/],
      [
        [endpoint, '--otlp.protocol=http'],
        {},
        /^--otlp\.protocol cannot be "http": it must be http\/protobuf or http\/json$/,
      ],
      [[endpoint, '--otlp.compression=zstd'], {}, /^--otlp\.compression cannot be "zstd": it must be gzip or none$/],
      [[endpoint, '--otlp.header=secret'], {}, /^--otlp\.header must be NAME=VALUE/],
      [[endpoint, '--otlp.header=a b=secret'], {}, /^--otlp\.header has a name that no HTTP header can have/],
      [[endpoint, '--otlp.header=a=secret\u0001'], {}, /^--otlp\.header gives a a value with a character/],
      [[endpoint, '--otlp.header=Content-Type=secret'], {}, /^--otlp\.header cannot set content-type/],
      [[endpoint], { OTEL_EXPORTER_OTLP_HEADERS: 'a=secret%0a' }, /^\$OTEL_EXPORTER_OTLP_HEADERS gives a a value with/],
      [
        [endpoint, `--otlp.header-file=${file('a=1\nsecret')}`],
        {},
        /^line 2 of --otlp\.header-file=\S+ must be NAME=VALUE/,
      ],
      [[endpoint, `--otlp.header-file=${file(Buffer.from([0xff]))}`], {}, /is not UTF-8 text; name a text file$/],
      [[endpoint, '--otlp.header-file=/dev/zero'], {}, /is larger than 4 MiB; name another file$/],
      [
        [endpoint, '--otlp.header-file=/nowhere'],
        {},
        /^--otlp\.header-file=\/nowhere cannot be read: it does not exist; name a file/,
      ],
      [
        [endpoint, `--otlp.ca-file=${file('secret')}`],
        {},
        /^--otlp\.ca-file=\S+ holds no certificate; name a PEM file$/,
      ],
      [[endpoint, '--otlp.cert-file=/x'], {}, /^--otlp\.cert-file needs --otlp\.key-file$/],
    ];
    for (const [argv, env, expected] of cases) {
      const message = await refusal(argv, env);
      assert.match(message, expected);
      assert.doesNotMatch(message, /secret/);
    }
  });
});

describe('Forward', () => {
  const address = '--forward.address=logs.example:24225';

  test('an address is a name or an IP address, with or without a port', async () => {
    const cases = [
      ['logs.example', 'logs.example', 24_224],
      ['10.0.0.1:1', '10.0.0.1', 1],
      ['[::1]', '::1', 24_224],
      ['[fd00::7]:65535', 'fd00::7', 65_535],
    ] as const;
    for (const [text, host, port] of cases) {
      const { forward } = await read([`--forward.address=${text}`]);
      assert.deepEqual(forward, {
        server: { host, port, tls: undefined, security: undefined },
        tag: 'libvirt',
        compression: 'none',
        ackTimeoutMs: 60_000,
      });
    }
  });

  test('secrets come from files, without the white space around them', async () => {
    const argv = [
      `--forward.shared-key-file=${file(' a key \r\n')}`,
      '--forward.username=u',
      `--forward.password-file=${file('p\n')}`,
    ];
    const { forward } = await read([address, ...argv]);
    assert.deepEqual(forward?.server.security, {
      sharedKey: 'a key',
      selfHostname: 'node-1',
      user: { name: 'u', password: 'p' },
    });
    const named = await read([address, argv[0]!, '--forward.self-hostname=me']);
    assert.deepEqual(named.forward?.server.security, { sharedKey: 'a key', selfHostname: 'me', user: undefined });
  });

  test('what cannot be is refused with one line that names the flag and the fix, without a secret', async () => {
    const key = `--forward.shared-key-file=${file('secret')}`;
    const cases: readonly [readonly string[], RegExp][] = [
      [
        ['--forward.address=tcp://h:1'],
        /^--forward\.address cannot be "tcp:\/\/h:1": it is no URL; write HOST:PORT, and --forward\.tls for TLS$/,
      ],
      [['--forward.address=::1'], /as in "\[::1\]:24224"$/],
      [['--forward.address=:24224'], /it has no host/],
      [['--forward.address='], /it has no host/],
      [['--forward.address=h:0'], /its port "0" is no number from 1 to 65535$/],
      [['--forward.address=h:port'], /its port "port" is no number/],
      [['--forward.address=[h]:1'], /the text in brackets is no IPv6 address$/],
      [['--forward.tls'], /^--forward\.tls needs --forward\.address$/],
      [[key], /^--forward\.shared-key-file needs --forward\.address$/],
      [[address, '--forward.ca-file=/x'], /^--forward\.ca-file needs --forward\.tls$/],
      [[address, '--forward.insecure-skip-verify'], /^--forward\.insecure-skip-verify needs --forward\.tls$/],
      [[address, '--forward.tls', '--forward.server-name=10.0.0.1'], /must be a host name, no address$/],
      [[address, '--forward.username=u'], /^--forward\.username needs --forward\.shared-key-file$/],
      [[address, key, '--forward.username=u'], /^--forward\.username needs --forward\.password-file$/],
      [[address, `--forward.shared-key-file=${file('\n')}`], /is empty; write the secret into it$/],
      [
        [address, `--forward.shared-key-file=${file('secret\nsecret')}`],
        /holds a line break or control character; write one line into it$/,
      ],
      [[address, '--forward.tag=a b'], /^--forward\.tag cannot be "a b"/],
      [[address, '--forward.ack-timeout=0s'], /^--forward\.ack-timeout must be longer than 0/],
    ];
    for (const [argv, expected] of cases) {
      const message = await refusal(argv);
      assert.match(message, expected);
      assert.doesNotMatch(message, /secret\b(?! into)/);
    }
  });
});

test('certificates are read and checked', { skip: opensslMissing }, async () => {
  const authority = makeAuthority(directory, 'authority');
  const pair: Pair = makeCertificate(directory, 'client', authority, 'DNS:client');
  const argv = [
    '--forward.address=h',
    '--forward.tls',
    `--forward.ca-file=${authority.certFile}`,
    '--forward.server-name=s',
  ];
  const { forward } = await read([
    ...argv,
    `--forward.cert-file=${pair.certFile}`,
    `--forward.key-file=${pair.keyFile}`,
  ]);
  const expected = {
    ca: authority.cert,
    client: { cert: pair.cert, key: pair.key },
    isVerified: true,
    serverName: 's',
  };
  assert.deepEqual(forward?.server.tls, expected);
  const wrong = await refusal([
    ...argv,
    `--forward.cert-file=${pair.certFile}`,
    `--forward.key-file=${authority.keyFile}`,
  ]);
  assert.match(
    wrong,
    /^--forward\.cert-file=\S+ and --forward\.key-file=\S+ cannot be used: .*; name PEM files that belong together/,
  );
  const broken = file('-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n');
  assert.match(
    await refusal(['--forward.address=h', '--forward.tls', `--forward.ca-file=${broken}`]),
    /^--forward\.ca-file=\S+ holds a certificate that cannot be read: .*; name another file$/,
  );
});
