import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { chooseUri, clientConfigPath, parseClientConfig, readClientConfig } from './client-config.ts';

const directory = mkdtempSync(join(tmpdir(), 'virtlens-client-config-'));
after(() => rmSync(directory, { recursive: true }));

/** The comments and forms of libvirt's own example. */
const EXAMPLE = `#
# This can be used to setup URI aliases for frequently
# used connection URIs. Aliases may contain only the
# characters  a-Z, 0-9, _, -.
#
uri_aliases = [
  "hail=qemu+ssh://root@hail.cloud.example.com/system", # in a comment, "quoted"
  'sleet=qemu+ssh://root@sleet.cloud.example.com/system?name=a=b',
]

uri_default = "qemu:///system" # the default
`;

describe('libvirt.conf', () => {
  it('gives the default URI and the aliases', () => {
    const { uriDefault, uriAliases, problems } = parseClientConfig(EXAMPLE, 'libvirt.conf');
    assert.equal(uriDefault, 'qemu:///system');
    assert.deepEqual(
      [...uriAliases],
      [
        ['hail', 'qemu+ssh://root@hail.cloud.example.com/system'],
        ['sleet', 'qemu+ssh://root@sleet.cloud.example.com/system?name=a=b'],
      ],
    );
    assert.deepEqual(problems, []);
  });

  for (const [text, expected] of [
    ['', [undefined, []]],
    ['uri_default="a:///"', ['a:///', []]],
    ["uri_default = 'a:///' ; uri_aliases = ['b=c:///']", ['a:///', [['b', 'c:///']]]],
    ['uri_default = """a:///"""\n', ['a:///', []]],
    ['uri_default = "first:///"\nuri_default = "second:///"', ['first:///', []]],
    ['uri_aliases = ["a=b:///", "a=c:///"]', [undefined, [['a', 'b:///']]]],
    ['uri_aliases = []', [undefined, []]],
    ['other = -12\nanother = [ 1, [ "x" ] ]\nuri_default = "a:///"\r\n', ['a:///', []]],
  ] as const) {
    it(`reads ${JSON.stringify(text)}`, () => {
      const { uriDefault, uriAliases, problems } = parseClientConfig(text, 'f');
      assert.deepEqual([uriDefault, [...uriAliases], problems], [...expected, []]);
    });
  }

  for (const [text, problem] of [
    ['uri_default qemu:///system', 'f:1: there is no = after uri_default; this setting is ignored'],
    [
      '\n\nuri_default = qemu:///system',
      'f:3: a value must be a text in quotes, a number, or a list in brackets; this setting is ignored',
    ],
    ['uri_default = "qemu:///system', 'f:1: a text has no closing quote; this setting is ignored'],
    ['uri_default = "a" "b"', 'f:1: something stands behind the value of uri_default; this setting is ignored'],
    ['= 1', "f:1: a setting has the form name = 'value'; this setting is ignored"],
    [
      'uri_aliases = [ "a=b:///"\n"c=d:///" ]',
      'f:1: the entries of a list are separated by commas; this setting is ignored',
    ],
    ['uri_aliases = [ "a=b:///"', 'f:1: the entries of a list are separated by commas; this setting is ignored'],
    [
      'uri_aliases = [',
      'f:1: a value must be a text in quotes, a number, or a list in brackets; this setting is ignored',
    ],
    ['uri_default = 1', 'f: uri_default is not a text in quotes; it is ignored'],
    [
      'uri_aliases = "a=b:///"',
      'f: uri_aliases is not a list of texts in quotes, such as [ "prod=qemu+ssh://host/system" ]; it is ignored',
    ],
    [
      'uri_aliases = ["a b=c:///"]',
      'f: uri_aliases: "a b=c:///" is not of the form "name=URI", with a name of letters, digits, _ and -; it is ignored',
    ],
    [
      'uri_aliases = [7]',
      'f: uri_aliases: an entry without quotes is not of the form "name=URI", with a name of letters, digits, _ and -; it is ignored',
    ],
  ] as const) {
    it(`names what is wrong with ${JSON.stringify(text)}, and reads the rest`, () => {
      const rest = '\nuri_default = "later:///"\nuri_aliases = [ "later=test:///default" ]\n';
      const config = parseClientConfig(text + rest, 'f');
      assert.deepEqual(config.problems, [problem]);
      const isRead = { default: config.uriDefault === 'later:///', alias: config.uriAliases.has('later') };
      // The first setting of a name counts, though its type may be wrong.
      const isTypeWrong = !problem.startsWith('f:1') && !problem.startsWith('f:3');
      assert.deepEqual(
        isRead,
        isTypeWrong
          ? { ...isRead, [text.startsWith('uri_d') ? 'alias' : 'default']: true }
          : { default: true, alias: true },
      );
    });
  }

  it('needs a list to be closed', () => {
    const { problems } = parseClientConfig('uri_aliases = [ "a=b:///",\n', 'f');
    assert.deepEqual(problems, ['f:1: a list has no closing ]; this setting is ignored']);
  });

  it('never fails, whatever the text is', () => {
    const piece = fc.constantFrom(
      'uri_default',
      'uri_aliases',
      '=',
      '"',
      "'",
      '"""',
      '[',
      ']',
      ',',
      '\n',
      '#',
      ' ',
      ';',
      '1',
      'a',
    );
    fc.assert(fc.property(fc.string({ unit: piece }), (text) => void parseClientConfig(text, 'f')));
  });

  it('is the file of the system for root, and their own for others', () => {
    const user = { env: {}, homeDirectory: '/home/u', uid: 1000 };
    assert.equal(clientConfigPath({ ...user, uid: 0 }), '/etc/libvirt/libvirt.conf');
    assert.equal(clientConfigPath(user), '/home/u/.config/libvirt/libvirt.conf');
    assert.equal(clientConfigPath({ ...user, env: { XDG_CONFIG_HOME: '/x' } }), '/x/libvirt/libvirt.conf');
    assert.equal(clientConfigPath({ ...user, env: { XDG_CONFIG_HOME: '' } }), '/home/u/.config/libvirt/libvirt.conf');
  });

  it('may be absent; when it cannot be read, that is a problem and no error', () => {
    assert.deepEqual(readClientConfig(join(directory, 'none', 'libvirt.conf')).problems, []);
    mkdirSync(join(directory, 'folder'));
    chmodSync(join(directory, 'folder'), 0o700);
    assert.match(
      readClientConfig(join(directory, 'folder')).problems.join(),
      /folder cannot be read: .*; it is ignored$/,
    );
  });
});

describe('the URI that is meant', () => {
  const path = join(directory, 'libvirt.conf');
  writeFileSync(path, 'uri_aliases = [ "hail=qemu+ssh://hail/system", "loop=hail" ]\nuri_default = "hail"\n');
  const choose = (given: string | undefined, env: NodeJS.ProcessEnv = {}, file = path) =>
    chooseUri(given, 'qemu:///system', { env, homeDirectory: '/nonexistent', uid: 1000 }, file);
  const fromEnv = { LIBVIRT_DEFAULT_URI: 'test:///default' };

  it('is the one given, before the environment, before the file, before the fallback', () => {
    assert.equal(choose('xen:///system', fromEnv).text, 'xen:///system');
    assert.deepEqual(
      [choose(undefined, fromEnv).text, choose(undefined, fromEnv).source],
      ['test:///default', '$LIBVIRT_DEFAULT_URI'],
    );
    assert.equal(choose(undefined, { LIBVIRT_DEFAULT_URI: '' }).source, `uri_default in ${path}`);
    assert.deepEqual(choose(undefined, {}, join(directory, 'none')), {
      text: 'qemu:///system',
      source: undefined,
      alias: undefined,
      problems: [],
    });
  });

  it('may be an alias, wherever it comes from; an alias of an alias is not followed', () => {
    for (const chosen of [choose('hail'), choose(undefined, { LIBVIRT_DEFAULT_URI: 'hail' }), choose(undefined)]) {
      assert.deepEqual([chosen.text, chosen.alias], ['qemu+ssh://hail/system', 'hail']);
    }
    assert.equal(choose('loop').text, 'hail');
    assert.deepEqual([choose('snow').text, choose('snow').alias], ['snow', undefined]);
  });

  it('does not depend on a file that cannot matter', () => {
    const broken = join(directory, 'broken.conf');
    writeFileSync(broken, 'uri_default qemu:///system\n');
    assert.deepEqual(choose('qemu:///system', {}, broken).problems, []);
    assert.deepEqual(choose(undefined, fromEnv, broken).problems, []);
    assert.equal(choose(undefined, {}, broken).problems.length, 1);
  });
});
