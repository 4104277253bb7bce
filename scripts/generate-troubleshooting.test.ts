import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { TROUBLESHOOTING_DOC, troubleshooting } from './generate-troubleshooting.ts';
import { ERROR_CLASSES, ERROR_CODES } from './troubleshooting/error-codes.ts';
import { LOG_MESSAGES } from './troubleshooting/log-messages.ts';
import { findErrorClasses, findErrorMessages, findLogCalls, readSources } from './troubleshooting/scan.ts';

const sources = readSources();
const logged = new Set(findLogCalls(sources).flatMap(({ messages }) => messages));
const scan = (text: string) => findLogCalls([{ path: 'src/a.ts', text }]).flatMap(({ messages }) => messages);

describe('the tables', () => {
  it('have an entry for each message that is logged, and a message for each entry', () => {
    assert.ok(logged.size > 50, 'the messages are found');
    assert.deepEqual(
      [...logged].filter((message) => !Object.hasOwn(LOG_MESSAGES, message)),
      [],
      'add them to scripts/troubleshooting/log-messages.ts',
    );
    assert.deepEqual(
      Object.keys(LOG_MESSAGES).filter((message) => !logged.has(message)),
      [],
      'nothing logs these any more; remove them from scripts/troubleshooting/log-messages.ts',
    );
  });

  it('have every class of errors, and each code that an error is made with', () => {
    assert.deepEqual(findErrorClasses(sources).toSorted(), Object.keys(ERROR_CLASSES).toSorted());
    const messages = findErrorMessages(sources, ERROR_CLASSES);
    assert.ok(messages.size > 40, 'the errors are found');
    assert.deepEqual(
      [...messages.keys()].filter((code) => !Object.hasOwn(ERROR_CODES, code)),
      [],
    );
  });

  it('say what to do in whole sentences', () => {
    for (const { means, fix } of [...Object.values(LOG_MESSAGES), ...Object.values(ERROR_CODES)]) {
      assert.match(means, /\.$/);
      assert.match(fix, /[.`]$/);
      assert.ok([...`${means} ${fix}`.matchAll(/`/g)].length % 2 === 0, `backquotes come in pairs: ${means} ${fix}`);
    }
  });
});

describe('docs/troubleshooting.md', () => {
  const page = readFileSync(TROUBLESHOOTING_DOC, 'utf8');

  it('is what the source and the tables say', () => {
    assert.equal(page, troubleshooting(), 'run: node scripts/with-runtime.mjs scripts/generate-troubleshooting.ts');
  });

  it('links to places that exist', () => {
    const links = [...page.matchAll(/\]\(([^)#]*)(?:#([^)]+))?\)/g)];
    assert.ok(links.length > 15);
    for (const [, file = '', anchor] of links) {
      const path = file === '' ? TROUBLESHOOTING_DOC : join(dirname(TROUBLESHOOTING_DOC), file);
      assert.ok(existsSync(path), file);
      if (anchor === undefined) continue;
      const anchors = [...readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm)].map((match) =>
        match[1]!
          .toLowerCase()
          .replace(/[^\p{L}\d _-]/gu, '')
          .replaceAll(' ', '-'),
      );
      assert.ok(anchors.includes(anchor), `${file}#${anchor}`);
    }
  });
});

describe('the scanner', () => {
  it('reads literals, sums, templates and choices', () => {
    assert.deepEqual(scan("logger.warn('plain words', { err });"), ['plain words']);
    assert.deepEqual(scan(`logger.error(\n  \`a \${f(\`x\${1}\`)} of \` +\n 'two parts',\n);`), ['a … of two parts']);
    assert.deepEqual(scan("logger.warn(n === 'one' ? 'the first' : 'the other');"), ['the first', 'the other']);
  });

  it('reads a constant of the scope, and none of another one', () => {
    const own = `f() {\n  const text = 'known words';\n  logger.error(\`\${text}; more\`);\n}`;
    assert.deepEqual(scan(own), ['known words; more']);
    const other = "f() {\n  const text = 'known words';\n}\ng(text) {\n  logger.error(text);\n}";
    assert.deepEqual(scan(other), ['src/a.ts: text']);
  });

  it('names the place of a message that is made elsewhere', () => {
    assert.deepEqual(scan('logger.error(explain(path, error));'), ['src/a.ts: explain(path, error)']);
  });
});
