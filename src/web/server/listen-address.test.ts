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
  ['::1:9177', /stands in brackets/],
  ['localhost', /has no port/],
  ['', /has no port/],
  [':', /port "" is no number/],
  [':http', /port "http" is no number/],
  [':65536', /port "65536" is no number/],
  [':-1', /port "-1" is no number/],
  ['[127.0.0.1]:80', /no IPv6 address/],
  ['[]:80', /no IPv6 address/],
  ['http://a:80', /brackets/],
  ['a b:80', /its host is no name/],
  ['unix:/run/x', /is no number/],
] as const) {
  test(`${JSON.stringify(text)} is refused in one line`, () => {
    assert.throws(
      () => parseListenAddress(text),
      (error: unknown) => {
        assert.ok(error instanceof WebError && error.code === 'address-invalid');
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

for (const [system, code, mend] of [
  ['EADDRINUSE', 'address-in-use', /in use/],
  ['EACCES', 'address-denied', /below 1024/],
  ['EADDRNOTAVAIL', 'address-unavailable', /no network interface/],
  ['ENOTFOUND', 'address-unavailable', /not known here/],
  ['EAFNOSUPPORT', 'address-unavailable', /IPv6/],
  ['EOTHER', 'address-unavailable', /first line; choose/],
] as const) {
  test(`${system} is explained`, () => {
    const cause = Object.assign(new Error('first line\nsecond'), { code: system });
    const error = explainListenError(':9177', cause);
    assert.deepEqual([error.code, error.cause], [code, cause]);
    assert.match(error.message, /^cannot listen on ":9177": [^\n]+$/);
    assert.match(error.message, mend);
  });
}
