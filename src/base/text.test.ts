import assert from 'node:assert/strict';
import { it } from 'node:test';
import { cut, listWords, oneLine, quote, quoteIfNeeded } from './text.ts';

it('puts a text into one line', () => {
  assert.equal(oneLine(' a\r\n\tb\u0000c\u2028d '), 'a b c d');
});

it('cuts a long text and says how much is missing', () => {
  assert.equal(cut('abc', 3), 'abc');
  assert.equal(cut('abcde', 3), 'abc… (2 more characters)');
  assert.equal(cut('ab😀de', 3), 'ab… (4 more characters)', 'a surrogate pair stays whole');
});

it('quotes what would break a line or a key=value pair, and nothing else', () => {
  assert.equal(quoteIfNeeded('plain-text_1.2/x'), 'plain-text_1.2/x');
  assert.equal(quoteIfNeeded(''), '""');
  assert.equal(quoteIfNeeded('a b'), '"a b"');
  assert.equal(quoteIfNeeded('a=b'), '"a=b"');
  assert.equal(quote('a"b\n\u202e\u{e0001}'), String.raw`"a\"b\n\u202e\udb40\udc01"`);
});

it('lists words', () => {
  assert.equal(listWords([]), '');
  assert.equal(listWords(['a']), 'a');
  assert.equal(listWords(['a', 'b', 'c']), 'a, b or c');
});
