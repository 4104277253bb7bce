import assert from 'node:assert/strict';
import { test } from 'node:test';
import { releaseChangelog } from './release.ts';

test('the unreleased section becomes that of the version, under a new empty one', () => {
  const text = '# Changelog\n\n## Unreleased\n\n- new\n\n## 0.1.0 (2026-01-01)\n\n- old\n';
  assert.equal(
    releaseChangelog(text, '0.2.0', '2026-12-24'),
    '# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-12-24)\n\n- new\n\n## 0.1.0 (2026-01-01)\n\n- old\n',
  );
});

test('a changelog without news is refused, with what to do', () => {
  assert.throws(
    () => releaseChangelog('# Changelog\n\n## Unreleased\n\n## 0.1.0\n', '0.2.0', 'x'),
    /nothing under ## Unreleased/,
  );
  assert.throws(() => releaseChangelog('# Changelog\n', '0.2.0', 'x'), /does not begin with/);
});
