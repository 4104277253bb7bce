import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Interner } from './interner.ts';

/** An interner of text that counts how often it had to make one. */
function counting(entriesMax?: number): { get(text: string): string; made: number } {
  const interner = new Interner<string>(entriesMax);
  const self = {
    made: 0,
    get(text: string): string {
      const bytes = Buffer.from(`[${text}]`);
      return interner.get(bytes, 1, bytes.length - 1, () => {
        self.made++;
        return bytes.toString('utf8', 1, bytes.length - 1);
      });
    },
  };
  return self;
}

function fnv(text: string, seed: number): number {
  let hash = seed;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x0100_0193);
  return hash;
}

/** 2^stages different texts with the same FNV-1a hash: two blocks that lead to the same state, again and again. */
function collidingTexts(stages: number): string[] {
  let texts = [''];
  let state = 0x811c9dc5;
  for (let stage = 0; stage < stages; stage++) {
    const seen = new Map<number, string>();
    for (let i = 0; ; i++) {
      const block = i.toString(36).padStart(6, '0');
      const hash = fnv(block, state);
      const other = seen.get(hash);
      if (other !== undefined) {
        texts = texts.flatMap((text) => [text + other, text + block]);
        state = hash;
        break;
      }
      seen.set(hash, block);
    }
  }
  return texts;
}

describe('an interner', () => {
  it('makes a value once and gives it again for equal bytes elsewhere', () => {
    const interner = counting();
    assert.equal(interner.get('vda'), 'vda');
    assert.equal(interner.get('vdb'), 'vdb');
    assert.equal(interner.get('vda'), 'vda');
    assert.equal(interner.get(''), '');
    assert.equal(interner.get(''), '');
    assert.equal(interner.made, 3);
  });

  it('gives the right value whatever came before, however small it is', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 3 })), fc.integer({ min: 1, max: 4 }), (texts, size) => {
        const interner = counting(size);
        for (const text of texts) assert.equal(interner.get(text), text);
      }),
    );
  });

  it('keeps its own copy of the bytes', () => {
    const interner = new Interner<string>();
    const bytes = Buffer.from('vda');
    const make = () => bytes.toString();
    assert.equal(interner.get(bytes, 0, 3, make), 'vda');
    bytes.write('vdb');
    assert.equal(interner.get(bytes, 0, 3, make), 'vdb');
  });

  it('starts over when it is full', () => {
    const interner = counting(2);
    for (const text of ['a', 'b', 'c', 'a']) interner.get(text);
    assert.equal(interner.made, 4);
    interner.get('c');
    assert.equal(interner.made, 4);
  });

  it('does not keep what is too long to be repeated', () => {
    const interner = counting();
    for (const length of [512, 513]) {
      interner.get('x'.repeat(length));
      interner.get('x'.repeat(length));
    }
    assert.equal(interner.made, 3);
  });

  it('keeps a few of those that share a hash, so that no search is long', () => {
    const texts = collidingTexts(5);
    assert.equal(new Set(texts).size, 32);
    assert.equal(new Set(texts.map((text) => fnv(text, 0x811c9dc5))).size, 1);
    const interner = counting();
    for (const text of texts) assert.equal(interner.get(text), text);
    assert.equal(interner.made, 32);
    interner.get(texts.at(-1)!);
    assert.equal(interner.made, 32, 'the last is kept');
    interner.get(texts[0]!);
    assert.equal(interner.made, 33, 'the first is not');
  });
});
