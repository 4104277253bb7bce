import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebError } from '../error.ts';
import { explainListenError, formatAddress, parseListenAddress } from './listen-address.ts';

for (const [text, host, port] of [
  [':9177', undefined, 9177],
  ['127.0.0.1:9177', '127.0.0.1', 9177],
  ['[::1]:9177', '::1', 9177],
  ['[::]:0', '::', 0],
  ['[fe80::1%eth0]:80', 'fe80::1%eth0', 80],
  ['localhost:0', 'localhost', 0],
  ['host-1.example.org:65535', 'host-1.example.org', 65535],
] as const) {
  test(`${text} is read`, () => assert.deepEqual(parseListenAddress(text), { host, port }));
}

for (const [text, rule] of [
  ['9177', /without a colon; write ":9177"/],
  ['::1:9177', /written in brackets/],
  ['localhost', /has no port/],
  ['', /has no port/],
  [':', /port "" is no number/],
  [':http', /port "http" is no number/],
  [':65536', /port "65536" is no number/],
  [':-1', /port "-1" is no number/],
  ['[127.0.0.1]:80', /is no IPv6 address/],
  ['[]:80', /is no IPv6 address/],
  ['http://a:80', /brackets/],
  ['a b:80', /its host is neither/],
  ['unix:/run/x', /is no number/],
] as const) {
  test(`${JSON.stringify(text)} is refused in one line`, () => {
    assert.throws(
      () => parseListenAddress(text),
      (error: unknown) => {
        assert.ok(error instanceof WebError && error.code === 'ERR_WEB_ADDRESS_INVALID');
        assert.match(error.message, rule);
        assert.ok(error.message.startsWith(`listen address ${JSON.stringify(text)}`));
        return true;
      },
    );
  });
}

test('addresses are written as in a URL', () => {
  assert.equal(formatAddress('::1', 80), '[::1]:80');
  assert.equal(formatAddress('127.0.0.1', 80), '127.0.0.1:80');
});

for (const [system, code, fix] of [
  ['EADDRINUSE', 'ERR_WEB_ADDRESS_IN_USE', /in use/],
  ['EACCES', 'ERR_WEB_ADDRESS_DENIED', /below 1024/],
  ['EADDRNOTAVAIL', 'ERR_WEB_ADDRESS_UNAVAILABLE', /no network interface/],
  ['ENOTFOUND', 'ERR_WEB_ADDRESS_UNAVAILABLE', /not known here/],
  ['EAFNOSUPPORT', 'ERR_WEB_ADDRESS_UNAVAILABLE', /IPv6/],
  ['EOTHER', 'ERR_WEB_ADDRESS_UNAVAILABLE', /first line; choose/],
] as const) {
  test(`${system} is explained`, () => {
    const cause = Object.assign(new Error('first line\nsecond'), { code: system });
    const error = explainListenError(':9177', cause);
    assert.deepEqual([error.code, error.cause], [code, cause]);
    assert.match(error.message, /^cannot listen on ":9177": [^\n]+$/);
    assert.match(error.message, fix);
  });
}
