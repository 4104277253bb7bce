import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { errorOfReply, errorWithoutReply } from './failures.ts';

const NOW_MS = Date.parse('2026-11-21T12:00:00Z');
const SERVER = 'https://10.0.0.1:6443';

function errorOf(status: number, body: string | object = '', headers: Readonly<Record<string, string>> = {}) {
  const text = typeof body === 'string' ? body : JSON.stringify({ kind: 'Status', ...body });
  return errorOfReply('create evictions', SERVER, { status, headers, body: text }, NOW_MS);
}

describe('errorOfReply', () => {
  const kinds = { never: [400, 405, 406, 413, 415, 422], refused: [403, 404] } as const;

  for (const [kind, statuses] of Object.entries(kinds)) {
    it(`says ${kind} for ${statuses.join(', ')}`, () => {
      for (const status of statuses) assert.equal(errorOf(status).kind, kind, String(status));
    });
  }

  it('says retry for all that may go away', () => {
    for (const status of [301, 307, 401, 408, 409, 410, 418, 425, 429, 500, 502, 503, 504, 507, 599]) {
      assert.equal(errorOf(status).kind, 'retry', String(status));
    }
  });

  it("says never for etcd's refusal of a large object, which comes as an internal error", () => {
    assert.equal(errorOf(500, { message: 'etcdserver: request is too large' }).kind, 'never');
    assert.equal(
      errorOf(500, { message: 'rpc error: trying to send message larger than max (3 vs. 2)' }).kind,
      'never',
    );
    assert.equal(errorOf(503, { message: 'etcdserver: request timed out' }).kind, 'retry');
  });

  it('is one line with the call, the status, the words of the server and where it is', () => {
    const { message } = errorOf(403, { reason: 'Forbidden', message: 'User "x"\ncannot\u2028create' });
    assert.equal(
      message,
      'create evictions: 403 Forbidden: User "x" cannot create; grant it, as deploy/kubernetes/ha/ does (https://10.0.0.1:6443)',
    );
    assert.equal(
      errorOf(502, '<html>\n<h1>Bad Gateway</h1>').message,
      `create evictions: 502: <html> <h1>Bad Gateway</h1> (${SERVER})`,
    );
    assert.equal(errorOf(500).message, `create evictions: 500: no reason given (${SERVER})`);
  });

  it('cuts long words', () => {
    assert.ok(errorOf(422, { message: 'x'.repeat(1_000_000) }).message.length < 1_200);
    assert.ok(errorOf(500, 'y'.repeat(1_000_000)).message.length < 1_200);
  });

  it('reads the reason and the name, and bears a Status with neither', () => {
    const { reason, objectName } = errorOf(409, { reason: 'AlreadyExists', details: { name: 'e-1' } });
    assert.deepEqual([reason, objectName], ['AlreadyExists', 'e-1']);
    for (const body of [{}, { reason: 5, message: null, details: null }, { details: [] }, '[]', 'null', '{']) {
      const error = errorOf(409, body);
      assert.deepEqual([error.reason, error.objectName, error.kind], [undefined, undefined, 'retry']);
    }
  });

  it('reads Retry-After as seconds or as a date, ten minutes at most', () => {
    const after = (value: string) => errorOf(429, '', { 'retry-after': value }).retryAfterMs;
    assert.equal(after('7'), 7_000);
    assert.equal(after('0'), 0);
    assert.equal(after('Sat, 21 Nov 2026 12:00:30 GMT'), 30_000);
    assert.equal(after('Sat, 21 Nov 2026 11:00:00 GMT'), 0);
    assert.equal(after('99999999999999999999'), 600_000);
    assert.equal(after('soon'), undefined);
    assert.equal(errorOf(429).retryAfterMs, undefined);
  });

  it('says whether a kind is missing or an object', () => {
    assert.match(errorOf(404, '404 page not found').message, /--kubernetes\.group/);
    assert.doesNotMatch(errorOf(404, { message: 'x', details: { name: 'x' } }).message, /--kubernetes\.group/);
  });
});

describe('errorWithoutReply', () => {
  it('puts the error in words with a fix, and is always tried again', () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:6443'), { code: 'ECONNREFUSED' });
    const error = errorWithoutReply('list evictions', SERVER, refused);
    assert.equal(error.kind, 'retry');
    assert.equal(
      error.message,
      `list evictions: connection refused; check that the API server runs at this address (${SERVER})`,
    );
    assert.equal(
      errorWithoutReply('list evictions', SERVER, new Error('odd')).message,
      `list evictions: odd (${SERVER})`,
    );
  });
});
