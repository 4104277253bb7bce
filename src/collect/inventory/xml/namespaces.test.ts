import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Namespaces } from './namespaces.ts';

describe('the namespaces of a document', () => {
  it('are those of the innermost element that declares the prefix', () => {
    const namespaces = new Namespaces();
    namespaces.declare(1, { xmlns: 'outer', 'xmlns:a': 'a1', xmlnsa: 'none', name: 'x' });
    namespaces.declare(2, { 'xmlns:a': 'a2', 'xmlns:b': 'b2' });
    assert.deepEqual(
      ['', 'a', 'b', 'c', 'constructor'].map((prefix) => namespaces.resolve(prefix)),
      ['outer', 'a2', 'b2', '', ''],
    );
    namespaces.forget(2);
    assert.deepEqual(
      ['', 'a', 'b'].map((prefix) => namespaces.resolve(prefix)),
      ['outer', 'a1', ''],
    );
    namespaces.forget(1);
    assert.equal(namespaces.resolve('a'), '');
  });

  it('cost an element the same, however many there are', () => {
    const duration = (count: number): number => {
      const namespaces = new Namespaces();
      namespaces.declare(1, Object.fromEntries(Array.from({ length: count }, (_, i) => [`xmlns:p${i}`, 'u'])));
      const startMs = performance.now();
      for (let i = 0; i < 200_000; i++) namespaces.resolve('unknown');
      return performance.now() - startMs;
    };
    duration(1);
    const few = Math.min(duration(1), duration(1), duration(1));
    const many = Math.min(duration(256), duration(256), duration(256));
    assert.ok(many < 15 * few + 20, `${many} ms with 256 declarations, ${few} ms with one`);
  });
});
