import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Reported } from './reported.ts';

it('reports a trouble once until it is over', () => {
  const reported = new Reported<string>();
  assert.equal(reported.isHealthy('pools'), true);
  assert.equal(reported.note('pools', 'no answer'), true);
  assert.equal(reported.note('pools', 'no answer'), false);
  assert.equal(reported.note('jobs', 'no answer'), true, 'another subject is another trouble');
  assert.equal(reported.isHealthy('pools'), false);
  assert.equal(reported.clear('pools'), true);
  assert.equal(reported.clear('pools'), false, 'it was over already');
  assert.equal(reported.note('pools', 'no answer'), true);
});

it('reports different messages of one subject up to a bound', () => {
  const reported = new Reported<string>({ messagesMax: 2 });
  const news = ['a 1', 'a 2', 'a 1', 'a 3', 'a 4'].map((message) => reported.note('x', message));
  assert.deepEqual(news, [true, true, false, false, false]);
});

it('remembers so many subjects and no more', () => {
  const reported = new Reported<number>({ subjectsMax: 3 });
  for (let subject = 0; subject < 10; subject++) reported.note(subject, 'trouble');
  assert.equal(reported.isHealthy(0), true);
  assert.equal(reported.isHealthy(9), false);
  assert.equal(reported.note(9, 'trouble'), false);
});
