import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { describeError, errorCode } from './errno.ts';

function errorOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('the action was expected to fail');
}

it('says a system error in words, without the call and the path that Node adds', () => {
  const error = errorOf(() => readFileSync('/nonexistent/file'));
  assert.equal(errorCode(error), 'ENOENT');
  assert.equal(describeError(error), 'it does not exist');
  assert.equal(describeError(errorOf(() => readFileSync('/'))), 'it is a directory');
});

it('says each reason of an error that holds several once', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED ::1:1'), { code: 'ECONNREFUSED' });
  const also = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' });
  assert.equal(describeError(new AggregateError([refused, also])), 'connection refused');
  assert.equal(describeError(new AggregateError([refused, new Error('other')])), 'connection refused; other');
  assert.equal(describeError(new AggregateError([], 'nothing tried')), 'nothing tried');
});

it('says any other error with the first line of its message', () => {
  assert.equal(describeError(new Error('first \n second')), 'first');
  assert.equal(describeError('a text'), 'a text');
  assert.equal(errorCode('a text'), undefined);
  assert.equal(errorCode(Object.assign(new Error(), { code: 7 })), undefined);
});
