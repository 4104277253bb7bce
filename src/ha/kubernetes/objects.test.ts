import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Condition } from '../cluster.ts';
import {
  isListOf,
  isObjectOf,
  readEviction,
  readHypervisor,
  readPage,
  resourceVersionOf,
  withCondition,
} from './objects.ts';

const OURS: Condition = {
  type: 'GuestReboot',
  status: 'True',
  reason: 'GuestRebooted',
  message: 'once',
  lastTransitionTime: '2026-01-01T00:00:00Z',
};
const THEIRS = { type: 'Ready', status: 'True', reason: 'Ready', message: '', observedGeneration: 7 };

const withConditions = (...conditions: unknown[]) => ({ status: { conditions } });

describe('readHypervisor', () => {
  it('takes an object without labels, spec or status by the defaults of the schema', () => {
    for (const rest of [{}, { spec: null, status: null }, { spec: {}, status: {} }, { spec: [], status: 'x' }]) {
      assert.deepEqual(readHypervisor({ apiVersion: 'g/v1', metadata: { name: 'n', uid: 'u' }, ...rest }), {
        apiVersion: 'g/v1',
        name: 'n',
        uid: 'u',
        labels: {},
        isHighlyAvailable: true,
        maintenance: '',
        conditions: [],
      });
    }
  });

  it('reads any JSON without an error', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (metadata, spec, status) => {
        const object = { metadata, spec, status };
        for (const value of [object, metadata, withConditions(spec, status)]) {
          assert.equal(typeof readHypervisor(value).isHighlyAvailable, 'boolean');
          assert.equal(typeof readEviction(value).hypervisor, 'string');
          assert.ok(Array.isArray(readPage(value).items));
          assert.equal(typeof resourceVersionOf(value), 'string');
          assert.ok(withCondition(value, OURS)?.length ?? true);
        }
      }),
    );
  });
});

describe('isObjectOf and isListOf', () => {
  it('take nothing for an object of another kind or name', () => {
    const object = { kind: 'Hypervisor', metadata: { name: 'n' } };
    assert.ok(isObjectOf('Hypervisor', 'n', object));
    assert.ok(!isObjectOf('Hypervisor', 'm', object));
    assert.ok(!isObjectOf('Eviction', 'n', object));
    assert.ok(!isObjectOf('Hypervisor', 'n', null));
    assert.ok(isListOf('Eviction', { kind: 'EvictionList', items: [] }));
    assert.ok(!isListOf('Eviction', { kind: 'HypervisorList', items: [] }));
    assert.ok(!isListOf('Eviction', { kind: 'EvictionList' }));
  });
});

describe('withCondition', () => {
  it('adds ours after those that are there, and makes the list where there is none', () => {
    assert.deepEqual(withCondition({}, OURS), [OURS]);
    assert.deepEqual(withCondition(withConditions(THEIRS), OURS), [THEIRS, OURS]);
  });

  it('changes nothing when it is so already', () => {
    const later = { ...OURS, lastTransitionTime: '2026-05-05T00:00:00Z' };
    assert.equal(withCondition(withConditions(THEIRS, OURS), later), undefined);
  });

  it('keeps the time of the last transition while the status stays', () => {
    const changed = { ...OURS, message: 'twice', lastTransitionTime: '2026-05-05T00:00:00Z' };
    assert.deepEqual(withCondition(withConditions(OURS), changed), [{ ...OURS, message: 'twice' }]);
    const off = { ...changed, status: 'False' } as const;
    assert.deepEqual(withCondition(withConditions(OURS), off), [off]);
    const { lastTransitionTime: _, ...timeless } = OURS;
    assert.deepEqual(withCondition(withConditions(timeless), changed), [changed]);
  });

  it('leaves one of several of our type', () => {
    const other = { ...OURS, message: 'older' };
    assert.deepEqual(withCondition(withConditions(OURS, THEIRS, other), OURS), [OURS, THEIRS]);
  });

  it('never changes, moves or drops the conditions of others', () => {
    const type = fc.constantFrom('Ready', 'Evicting', 'GuestReboot', 'Tainted');
    const condition = fc.record({ type, status: fc.constantFrom('True', 'False'), extra: fc.jsonValue() });
    fc.assert(
      fc.property(fc.array(condition), (conditions) => {
        const next = withCondition(withConditions(...conditions), OURS) ?? conditions;
        const others = (list: readonly { readonly type?: unknown }[]) => list.filter((each) => each.type !== OURS.type);
        assert.deepEqual(others(next), others(conditions));
        assert.equal(next.length - others(next).length, 1);
      }),
    );
  });
});
