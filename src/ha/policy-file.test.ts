import assert from 'node:assert/strict';
import { it } from 'node:test';
import { DEFAULT_POLICY } from './policy.ts';
import { applyChanges, PolicyError, readPolicyFile, readRuleSetting } from './policy-file.ts';

const read = (text: string) => readPolicyFile(text, '/etc/virtlens/policy.yaml');

it('reads rules and what counts as many I/O errors; the rest stays as it is', async () => {
  const policy = applyChanges(
    await read(
      'rules:\n  watchdog: log\n  reboot: evict\n  destroyed: evict\nio-error:\n  count: 3\n  window: 1m30s\n',
    ),
  );
  assert.deepEqual(policy, {
    actions: { ...DEFAULT_POLICY.actions, watchdog: 'log', reboot: 'evict', destroyed: 'evict' },
    ioError: { count: 3, windowMs: 90_000 },
  });
  for (const text of ['', '# nothing\n', 'rules:\n', 'rules: {}\n'])
    assert.deepEqual(applyChanges(await read(text)), DEFAULT_POLICY);
});

it('puts later changes before earlier ones', async () => {
  const policy = applyChanges(await read('rules: {watchdog: log, agent: log}\nio-error: {count: 3}\n'), {
    actions: { watchdog: 'ignore' },
    ioErrorCount: undefined,
    ioErrorWindowMs: 1_000,
  });
  assert.equal(policy.actions.watchdog, 'ignore');
  assert.equal(policy.actions.agent, 'log');
  assert.deepEqual(policy.ioError, { count: 3, windowMs: 1_000 });
});

it('says in one line what is wrong with a file, and how it should be', async () => {
  const cases: readonly (readonly [text: string, message: RegExp])[] = [
    [
      'rules:\n  watchdgo: log\n',
      /^policy \/etc\/virtlens\/policy\.yaml: rules\.watchdgo: is not known; did you mean watchdog\?$/,
    ],
    [
      'rules:\n  watchdog: evcit\n',
      /rules\.watchdog: must be ignore, log or evict, not "evcit"; did you mean "evict"\?$/,
    ],
    ['rules:\n  watchdog: condition\n', /rules\.watchdog: must be ignore, log or evict, not "condition"$/],
    ['rules:\n  watchdog: true\n', /rules\.watchdog: must be a text, not true or false; write it in quotes$/],
    ['rules:\n  - watchdog\n', /rules: must hold keys and values, not a list; write "name: value"/],
    ['rule:\n  watchdog: log\n', /: rule: is not known; did you mean rules\?$/],
    ['io-error:\n  count: 0\n', /io-error\.count: must be a whole number from 1 to 1000, not 0$/],
    ['io-error:\n  window: 10\n', /io-error\.window: must be a text, not a number/],
    ['io-error:\n  window: 1ms\n', /io-error\.window: must be at least 100ms; write 10m, say$/],
    ['rules: {\n', /^policy \/etc\/virtlens\/policy\.yaml is no valid YAML: .*; correct it$/],
    ['just a text', /must hold keys and values, not a text/],
    ['a: &a [*a]\nb: *nothing\n', /is no valid YAML/],
  ];
  for (const [text, message] of cases) {
    await assert.rejects(read(text), (error) => {
      assert.ok(error instanceof PolicyError);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  }
});

it('reads the setting of one rule, and says what is wrong with it', () => {
  assert.deepEqual(readRuleSetting('watchdog=log'), ['watchdog', 'log']);
  for (const [text, message] of [
    ['watchdog', 'cannot be "watchdog": write RULE=ACTION, such as watchdog=log'],
    ['wachdog=log', 'cannot be "wachdog=log": there is no such rule; did you mean watchdog?'],
    ['watchdog=LOG', 'cannot be "watchdog=LOG": watchdog must be ignore, log or evict'],
    ['watchdog=log=1', 'cannot be "watchdog=log=1": watchdog must be ignore, log or evict'],
    ['reboot=never', 'cannot be "reboot=never": reboot must be ignore, log, condition or evict'],
  ] as const) {
    assert.throws(() => readRuleSetting(text), { code: 'ERR_HA_POLICY', message });
  }
  assert.throws(() => readRuleSetting('toString=log'), /there is no such rule/);
});
