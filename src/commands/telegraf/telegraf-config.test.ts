// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these placeholders are Telegraf's, not JavaScript's
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseLibvirtUri } from '../../libvirt/uri.ts';
import { STATS_GROUPS } from '../../model/snapshot.ts';
import { parseTelegrafConfig, TelegrafConfigError, type TelegrafFile, type TelegrafInput } from './telegraf-config.ts';

function read(text: string, environment: Record<string, string> = {}): TelegrafFile {
  return parseTelegrafConfig(text, 'telegraf.conf', environment);
}

/** The only input of a file that holds the given lines in its table. */
function readInput(lines: string, environment?: Record<string, string>): TelegrafInput {
  const { inputs } = read(`[[inputs.libvirt]]\n${lines}`, environment);
  assert.equal(inputs.length, 1);
  return inputs[0] ?? assert.fail();
}

function refuse(text: string, environment: Record<string, string> = {}): string {
  try {
    read(text, environment);
  } catch (error) {
    assert.ok(error instanceof TelegrafConfigError, String(error));
    return error.message;
  }
  return assert.fail(`accepted: ${text}`);
}

test('the sample of the documentation, all commented out, means the defaults', () => {
  const { inputs, hostname, notices } = read(`
# The libvirt plugin collects statistics from virtualized guests using virtualization libvirt API.
[[inputs.libvirt]]
     ## Domain names from which libvirt gather statistics.
     # domains = []
     # libvirt_uri = "qemu:///system"
     # statistics_groups = ["state", "cpu_total"]
     # additional_statistics = []
`);
  assert.deepEqual(inputs, [
    {
      logName: 'inputs.libvirt',
      uri: parseLibvirtUri('qemu:///system'),
      domains: new Set(),
      wanted: new Set(STATS_GROUPS),
      intervalMs: 10_000,
      isIntervalStated: false,
      nameOverride: '',
      namePrefix: '',
      nameSuffix: '',
      tags: new Map(),
    },
  ]);
  assert.equal(hostname, undefined);
  assert.deepEqual(notices, []);
});

test('a whole telegraf.conf: every libvirt table is used, the rest is ignored', () => {
  const { inputs, hostname, notices } = read(`\uFEFF
[global_tags]
  dc = "berlin"
  rack = "r1"
  host = "not this one"
  empty = ""
[agent]
  interval = "20s"
  hostname = "hv7"
  metric_buffer_limit = 99999999999999999999
  round_interval = true
[[outputs.influxdb]]
  urls = ["http://127.0.0.1:8086"]
[[inputs.cpu]]
  percpu = true
  date = 1979-05-27T07:32:00Z
[[inputs.libvirt]]
  alias = "local"
  domains = ["web 1", "db=2"]
  libvirt_uri = "qemu+unix:///system?socket=/tmp/s"
  statistics_groups = ["vcpu", "state"]
  additional_statistics = ["vcpu_mapping"]
  interval = "1m30s"
  name_prefix = "p_"
  [inputs.libvirt.tags]
    rack = "r2"
[[inputs.libvirt]]
  name_override = "vm"
  name_suffix = "_s"
  statistics_groups = []
  additional_statistics = ["vcpu_mapping"]
`);
  assert.deepEqual(notices, []);
  assert.equal(hostname, 'hv7');
  assert.deepEqual(inputs, [
    {
      logName: 'inputs.libvirt::local',
      uri: parseLibvirtUri('qemu+unix:///system?socket=/tmp/s'),
      domains: new Set(['web 1', 'db=2']),
      wanted: new Set(['vcpu', 'state', 'vcpu_mapping']),
      intervalMs: 90_000,
      isIntervalStated: true,
      nameOverride: '',
      namePrefix: 'p_',
      nameSuffix: '',
      tags: new Map([
        ['rack', 'r2'],
        ['dc', 'berlin'],
      ]),
    },
    {
      logName: 'inputs.libvirt',
      uri: parseLibvirtUri('qemu:///system'),
      domains: new Set(),
      wanted: new Set(['vcpu_mapping']),
      intervalMs: 20_000,
      isIntervalStated: true,
      nameOverride: 'vm',
      namePrefix: '',
      nameSuffix: '_s',
      tags: new Map([
        ['dc', 'berlin'],
        ['rack', 'r1'],
      ]),
    },
  ]);
});

test('the older spellings are taken with a notice, and refused beside the newer ones', () => {
  const { inputs, notices } = read(`[[inputs.libvirt]]
  domain_names = ["ubuntu_20"]
  libvirt_uri = "qemu:///system"
  libvirt_metrics = ["state", "interface"]
  additional_statistics = ["vcpu_mapping"]`);
  assert.deepEqual(inputs[0]?.domains, new Set(['ubuntu_20']));
  assert.deepEqual(inputs[0]?.wanted, new Set(['state', 'interface', 'vcpu_mapping']));
  assert.deepEqual(notices, [
    'telegraf.conf: inputs.libvirt[0].domain_names: is the older spelling of domains; rename it when convenient',
    'telegraf.conf: inputs.libvirt[0].libvirt_metrics: is the older spelling of statistics_groups; rename it when convenient',
  ]);
  assert.equal(
    refuse('[[inputs.libvirt]]\ndomains = []\ndomain_names = []'),
    'telegraf.conf: inputs.libvirt[0].domain_names: is the older spelling of domains, which is there too; remove domain_names',
  );
  assert.match(
    refuse('[[inputs.libvirt]]\nstatistics_groups = []\nlibvirt_metrics = []'),
    /libvirt_metrics: .* is there too/,
  );
});

test('[inputs.libvirt] with single brackets, an empty URI, a zero interval and omit_hostname mean what they mean to Telegraf', () => {
  const { inputs, hostname } = read(
    '[agent]\nomit_hostname = true\nhostname = "x"\ninterval = 7\n[inputs.libvirt]\nlibvirt_uri = ""\ninterval = "0s"',
  );
  assert.equal(inputs[0]?.uri.text, 'qemu:///system');
  assert.equal(inputs[0]?.intervalMs, 7000);
  assert.equal(hostname, '');
});

for (const [written, expected] of [
  ['"10s"', 10_000],
  ['"1.5s"', 1500],
  ['"1h2m3s4ms"', 3_723_004],
  ['"1d12h"', 129_600_000],
  ['"90"', 90_000],
  ['30', 30_000],
  ['0.5', 500],
  ['"500us"', 1],
] as const) {
  test(`interval = ${written}`, () => assert.equal(readInput(`interval = ${written}`).intervalMs, expected));
}

test('a VM that is named twice or a common setting left to Telegraf gives a notice', () => {
  const { inputs, notices } = read('[[inputs.libvirt]]\ndomains = ["a", "a"]\nfieldexclude = ["reason"]');
  assert.deepEqual(inputs[0]?.domains, new Set(['a']));
  assert.deepEqual(notices, [
    `telegraf.conf: inputs.libvirt[0].fieldexclude: is not applied by virtlens; set it on Telegraf's [[inputs.execd]] or [[inputs.exec]]`,
    'telegraf.conf: inputs.libvirt[0].domains[1]: names "a" twice; once is enough',
  ]);
});

test('environment variables in strings, as Telegraf replaces them', () => {
  const environment = { URI: 'qemu+tcp://h/system', EMPTY: '', VM: 'web' };
  const names = (text: string) => [...readInput(`domains = ["${text}"]`, environment).domains][0];
  assert.equal(readInput('libvirt_uri = "${URI}"', environment).uri.text, 'qemu+tcp://h/system');
  assert.equal(readInput('libvirt_uri = "$URI"', environment).uri.text, 'qemu+tcp://h/system');
  assert.equal(names('${VM}-1'), 'web-1');
  assert.equal(names('${NONE:-d}'), 'd');
  assert.equal(names('x${EMPTY-d}'), 'x');
  assert.equal(names('x${EMPTY:-d}'), 'xd');
  assert.equal(names('x${VM:+alt}'), 'xalt');
  assert.equal(names('x${NONE+alt}'), 'x');
  assert.equal(names('${NONE}'), '${NONE}');
  assert.equal(names('$NONE and ${1} and $'), '$NONE and ${1} and $');
  assert.equal(names('a$$VM'), 'a$VM');
  assert.equal(names('${__proto__}${constructor}'), '${__proto__}${constructor}');
  assert.equal(
    refuse('[[inputs.libvirt]]\nlibvirt_uri = "${NONE:?set it to your hypervisor}"'),
    'telegraf.conf: inputs.libvirt[0].libvirt_uri: needs the environment variable NONE; set it to your hypervisor',
  );
  assert.match(refuse('[[inputs.libvirt]]\nalias = "${NONE?one\\ntwo}"'), /variable NONE; one two$/);
});

for (const [text, expected] of [
  ['', 'telegraf.conf: there is no [[inputs.libvirt]] table; add one'],
  ['[[inputs.cpu]]', 'telegraf.conf: there is no [[inputs.libvirt]] table; add one'],
  [
    'inputs = 1',
    'telegraf.conf: inputs: must hold keys and values, not a number; write [name] or [[name]] and lines "key = value" below it',
  ],
  [
    '[inputs]\nlibvirt = "x"',
    'telegraf.conf: inputs.libvirt: must hold keys and values, not a text; write [name] or [[name]] and lines "key = value" below it',
  ],
  [
    '[[inputs.libvirt]]\ndomains = "x"',
    'telegraf.conf: inputs.libvirt[0].domains: must be a list, not a text; write ["…", "…"]',
  ],
  [
    '[[inputs.libvirt]]\ndomains = ["x", 2]',
    'telegraf.conf: inputs.libvirt[0].domains[1]: must be a text, not a number; write it in quotes',
  ],
  [
    '[[inputs.libvirt]]\ndomains = [["x"]]',
    'telegraf.conf: inputs.libvirt[0].domains[0]: must be a text, not a list; write it in quotes',
  ],
  [
    '[[inputs.libvirt]]\ndomains = [""]',
    'telegraf.conf: inputs.libvirt[0].domains[0]: is an empty name; remove it; without any name all VMs are gathered',
  ],
  [
    '[[inputs.libvirt]]\nlibvirt_uri = 5',
    'telegraf.conf: inputs.libvirt[0].libvirt_uri: must be a text, not a number; write it in quotes',
  ],
  [
    '[[inputs.libvirt]]\nlibvirt_uri = "this/is/wrong/uri"',
    "telegraf.conf: inputs.libvirt[0].libvirt_uri: libvirt URI 'this/is/wrong/uri': it has no 'driver:' at its beginning; write for example qemu:///system",
  ],
  [
    '[[inputs.libvirt]]\nstatistics_groups = ["state", "statusQvo"]',
    'telegraf.conf: inputs.libvirt[0].statistics_groups[1]: must be state, cpu_total, balloon, vcpu, interface, block, perf, iothread, memory or dirtyrate, not "statusQvo"',
  ],
  [
    '[[inputs.libvirt]]\nstatistics_groups = ["state", "state"]',
    'telegraf.conf: inputs.libvirt[0].statistics_groups[1]: names "state" twice; remove one',
  ],
  [
    '[[inputs.libvirt]]\nlibvirt_metrics = ["constructor"]',
    'telegraf.conf: inputs.libvirt[0].libvirt_metrics[0]: must be state, cpu_total, balloon, vcpu, interface, block, perf, iothread, memory or dirtyrate, not "constructor"',
  ],
  [
    '[[inputs.libvirt]]\nadditional_statistics = ["vcpu"]',
    'telegraf.conf: inputs.libvirt[0].additional_statistics[0]: must be vcpu_mapping, not "vcpu"; did you mean "vcpu_mapping"?',
  ],
  [
    '[[inputs.libvirt]]\nadditional_statistics = ["vcpu_mapping", "vcpu_mapping"]',
    'telegraf.conf: inputs.libvirt[0].additional_statistics[1]: names "vcpu_mapping" twice; remove one',
  ],
  [
    '[[inputs.libvirt]]\n[[inputs.libvirt]]\nstatistics_groups = []',
    'telegraf.conf: inputs.libvirt[1].statistics_groups: [] leaves nothing to gather; remove it for all groups, or name some',
  ],
  [
    '[[inputs.libvirt]]\nlibvirt_metrics = []',
    'telegraf.conf: inputs.libvirt[0].libvirt_metrics: [] leaves nothing to gather; remove it for all groups, or name some',
  ],
  [
    '[[inputs.libvirt]]\nstatistic_groups = []',
    'telegraf.conf: inputs.libvirt[0].statistic_groups: is not known; did you mean statistics_groups?',
  ],
  [
    '[[inputs.libvirt]]\ninterval = "soon"',
    'telegraf.conf: inputs.libvirt[0].interval: must be a duration, not "soon"; write it as "10s" or "1m30s"',
  ],
  [
    '[[inputs.libvirt]]\ninterval = "-1s"',
    'telegraf.conf: inputs.libvirt[0].interval: must be a duration, not "-1s"; write it as "10s" or "1m30s"',
  ],
  [
    '[[inputs.libvirt]]\ninterval = []',
    'telegraf.conf: inputs.libvirt[0].interval: must be a text, not a list; write it in quotes',
  ],
  [
    '[[inputs.libvirt]]\ninterval = nan',
    'telegraf.conf: inputs.libvirt[0].interval: must be a duration, not "NaN"; write it as "10s" or "1m30s"',
  ],
  [
    '[[inputs.libvirt]]\ninterval = "30d"',
    'telegraf.conf: inputs.libvirt[0].interval: is too long: "30d"; 24 days are the most',
  ],
  [
    '[agent]\ninterval = true\n[[inputs.libvirt]]',
    'telegraf.conf: agent.interval: must be a text, not true or false; write it in quotes',
  ],
  [
    '[agent]\nomit_hostname = "yes"\n[[inputs.libvirt]]',
    'telegraf.conf: agent.omit_hostname: must be true or false, not a text; write it without quotes',
  ],
  [
    '[[inputs.libvirt]]\n[inputs.libvirt.tags]\na = 1',
    'telegraf.conf: inputs.libvirt[0].tags.a: must be a text, not a number; write it in quotes',
  ],
  [
    '[[inputs.libvirt]]\ntags = "a"',
    'telegraf.conf: inputs.libvirt[0].tags: must hold keys and values, not a text; write [name] or [[name]] and lines "key = value" below it',
  ],
  [
    '[[inputs.libvirt]]\n__proto__ = 1',
    'telegraf.conf: inputs.libvirt[0].__proto__: is not known; the keys are domains, domain_names, libvirt_uri, statistics_groups, libvirt_metrics, additional_statistics, interval, alias, name_override, name_prefix, name_suffix, tags',
  ],
] as const) {
  test(`refused: ${text.replaceAll('\n', ' ')}`, () => assert.equal(refuse(text), expected));
}

test('broken TOML is an error with its place, in one line', () => {
  assert.match(refuse('[[inputs.libvirt]]\n  domains = ["a"'), /^telegraf\.conf:\d+:\d+: this is not TOML: .+$/);
  assert.match(refuse('[[inputs.libvirt]]\ninterval = ${INTERVAL}'), /^telegraf\.conf:2:12: this is not TOML: .+$/);
  assert.match(refuse(`a = ${'['.repeat(100_000)}`), /^telegraf\.conf:1:\d+: this is not TOML: .+$/);
  assert.match(refuse(`${'#'.repeat(17 * 1024 * 1024)}`), /larger than 16 MiB/);
});

test('keys that could poison a prototype are only keys', () => {
  const { inputs } = read(
    '__proto__.polluted = "yes"\n[[inputs.libvirt]]\n[inputs.libvirt.tags]\n__proto__ = "p"\nconstructor = "c"',
  );
  assert.deepEqual(
    inputs[0]?.tags,
    new Map([
      ['__proto__', 'p'],
      ['constructor', 'c'],
    ]),
  );
  assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
  assert.equal(refuse('[inputs.__proto__.libvirt]'), 'telegraf.conf: there is no [[inputs.libvirt]] table; add one');
});

test('whatever stands in the file, the result is a configuration or a one-line error of ours', () => {
  const key = fc.constantFrom(
    'domains',
    'libvirt_uri',
    'statistics_groups',
    'interval',
    'tags',
    'alias',
    '__proto__',
    'x',
  );
  const value = fc.oneof(
    fc.constantFrom(
      '1',
      '"state"',
      '["state"]',
      '[]',
      '{}',
      '{a=1}',
      '"10s"',
      '1979-05-27',
      'inf',
      '[[',
      '"""',
      '0x',
      '\\',
    ),
    fc.string().map((text) => JSON.stringify(text)),
    fc.string(),
  );
  const line = fc.oneof(
    fc.tuple(key, value).map(([name, written]) => `${name} = ${written}`),
    fc.constantFrom(
      '[[inputs.libvirt]]',
      '[inputs.libvirt]',
      '[inputs.libvirt.tags]',
      '[agent]',
      '[[agent]]',
      '[global_tags]',
    ),
    fc.string(),
  );
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
      const text = lines.join('\n');
      try {
        for (const input of read(text).inputs) {
          accepted++;
          assert.ok(input.intervalMs >= 1 && input.wanted.size > 0);
        }
      } catch (error) {
        assert.ok(error instanceof TelegrafConfigError, `${error}`);
        assert.doesNotMatch(error.message, /\n/);
        assert.match(error.message, /^telegraf\.conf:/);
      }
    }),
    { numRuns: 2000 },
  );
  assert.ok(accepted > 50, `the generator reaches good files too: ${accepted}`);
});
