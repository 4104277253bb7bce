import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeAuthority, opensslMissing } from '../../../test/support/certificates.ts';
import { WebError } from '../error.ts';
import { parseSubjectAltName } from './tls-policy.ts';
import { CIPHER_SUITES, CURVES, parseWebConfig } from './web-config.ts';

const FILE = '/etc/virtlens/web.yml';
const HASH = '$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG';

const EVERYTHING = `
tls_server_config:
  cert_file: tls/server.crt
  key_file: /run/keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus.example]
  min_version: TLS11
  max_version: TLS13
  cipher_suites:
    - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    - TLS_AES_128_GCM_SHA256
  prefer_server_cipher_suites: false
  curve_preferences: [X25519, CurveP256]
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: default-src 'none'
    X-Frame-Options: sameorigin
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 1; mode=block
    Strict-Transport-Security: max-age=31536000
basic_auth_users:
  alice: ${HASH}
  42: ${HASH}
rate_limit:
  interval: 1m30s
  burst: 20
`;

test('every documented field is read', () => {
  const config = parseWebConfig(EVERYTHING, FILE);
  assert.deepEqual(config, {
    tls: {
      cert: { path: '/etc/virtlens/tls/server.crt' },
      key: { path: '/run/keys/server.key' },
      clientCa: { path: '/etc/virtlens/ca.crt' },
      clientAuth: 'RequireAndVerifyClientCert',
      clientAllowedSans: ['prometheus.example'],
      minVersion: 'TLS11',
      maxVersion: 'TLS13',
      cipherSuites: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'TLS_AES_128_GCM_SHA256'],
      preferServerCipherSuites: false,
      curvePreferences: ['X25519', 'CurveP256'],
    },
    http2: false,
    headers: [
      ['Content-Security-Policy', "default-src 'none'"],
      ['X-Frame-Options', 'sameorigin'],
      ['X-Content-Type-Options', 'nosniff'],
      ['X-XSS-Protection', '1; mode=block'],
      ['Strict-Transport-Security', 'max-age=31536000'],
    ],
    users: new Map([
      ['alice', HASH],
      ['42', HASH],
    ]),
    rateLimit: { intervalMs: 90_000, burst: 20 },
  });
});

for (const text of [
  '',
  '# only a comment\n',
  '{}',
  'tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n',
  'tls_server_config: {}\nhttp_server_config: {headers: }\nrate_limit: {interval: 0, burst: 3}\n',
]) {
  test(`${JSON.stringify(text)} asks for nothing`, () => {
    assert.deepEqual(parseWebConfig(text, FILE), {
      tls: undefined,
      http2: true,
      headers: [],
      users: new Map(),
      rateLimit: undefined,
    });
  });
}

test('what the file leaves open has the documented defaults', () => {
  const { tls, http2 } = parseWebConfig('tls_server_config: { cert: c, key: k }', FILE);
  assert.equal(http2, true);
  assert.deepEqual(tls, {
    cert: { pem: 'c' },
    key: { pem: 'k' },
    clientCa: undefined,
    clientAuth: 'NoClientCert',
    clientAllowedSans: undefined,
    minVersion: 'TLS12',
    maxVersion: 'TLS13',
    cipherSuites: [],
    preferServerCipherSuites: true,
    curvePreferences: [],
  });
});

const PAIR = 'cert_file: a, key_file: b';
for (const [text, message] of [
  ['tls_server_cfg: {}', /: tls_server_cfg is not known; the fields are tls_server_config, http_server_config/],
  [
    `tls_server_config: { ${PAIR}, cert_fil: x }`,
    /: tls_server_config\.cert_fil is not known; the fields are cert, key,/,
  ],
  [
    'http_server_config: { headers: { X-Powered-By: me } }',
    /: http_server_config\.headers\.X-Powered-By is not known; .*X-Frame-Options/,
  ],
  ['http_server_config: { headers: { x-frame-options: deny } }', /headers\.x-frame-options is not known/],
  [
    'http_server_config: { headers: { X-Frame-Options: maybe } }',
    /X-Frame-Options cannot be "maybe"; choose from deny, sameorigin/,
  ],
  [
    'http_server_config: { headers: { Content-Security-Policy: "a\\nb" } }',
    /Content-Security-Policy holds a character/,
  ],
  [
    'http_server_config: { http2: "yes" }',
    /: http_server_config\.http2 is neither true nor false; write true or false, without quotes/,
  ],
  ['http_server_config: [1]', /: http_server_config must hold fields/],
  ['just text', /: the file must hold fields/],
  ['- a', /: the file must hold fields/],
  ['a: [', /is no valid YAML: .+ at line 1, column \d+$/],
  ['a: 1\na: 2', /is no valid YAML: Map keys must be unique at line 2, column 1$/],
  ['a: *nowhere', /is no valid YAML: /],
  ['tls_server_config: { cert_file: a }', /: tls_server_config\.key_file is missing; name the server's private key/],
  ['tls_server_config: { key_file: a }', /: tls_server_config\.cert_file is missing; name the server's certificate/],
  ['tls_server_config: { min_version: TLS12 }', /cert_file is missing/],
  [`tls_server_config: { ${PAIR}, cert: x }`, /: tls_server_config\.cert stands next to cert_file; keep one/],
  [
    `tls_server_config: { ${PAIR}, min_version: TLS1.2 }`,
    /min_version cannot be "TLS1\.2"; choose from TLS10, TLS11, TLS12, TLS13/,
  ],
  [`tls_server_config: { ${PAIR}, min_version: 12 }`, /min_version is no text; put it in quotes/],
  [
    `tls_server_config: { ${PAIR}, min_version: TLS13, max_version: TLS12 }`,
    /min_version is above max_version \(TLS12\)/,
  ],
  [
    `tls_server_config: { ${PAIR}, client_auth_type: Maybe }`,
    /client_auth_type cannot be "Maybe"; choose from NoClientCert,/,
  ],
  [`tls_server_config: { ${PAIR}, client_ca_file: ca }`, /client_ca_file has no effect without client_auth_type/],
  [
    `tls_server_config: { ${PAIR}, client_allowed_sans: [a] }`,
    /client_allowed_sans needs a client certificate; set client_auth_type/,
  ],
  [`tls_server_config: { ${PAIR}, client_allowed_sans: a }`, /client_allowed_sans is no list of texts/],
  [`tls_server_config: { ${PAIR}, cipher_suites: [RC4] }`, /cipher_suites cannot be "RC4"; choose from TLS_ECDHE/],
  [
    `tls_server_config: { ${PAIR}, curve_preferences: [P-256] }`,
    /curve_preferences cannot be "P-256"; choose from CurveP256/,
  ],
  ['basic_auth_users: { alice: secret }', /: basic_auth_users\.alice is no bcrypt hash; make one with: htpasswd/],
  ['basic_auth_users: { alice: }', /basic_auth_users\.alice is no bcrypt hash/],
  [`basic_auth_users: { alice: ${HASH.replace('$10$', '$99$')} }`, /basic_auth_users\.alice is no bcrypt hash/],
  [
    `basic_auth_users: { alice: ${HASH.replace('$10$', '$15$')} }`,
    /: basic_auth_users\.alice is a bcrypt hash of cost 15, which takes seconds to check; make one of cost 10 \(14 at most\) with: htpasswd/,
  ],
  [`basic_auth_users: { "a:b": ${HASH} }`, /basic_auth_users\.a:b is a user name with a colon/],
  ['basic_auth_users: [alice]', /: basic_auth_users must hold fields/],
  ['"two\\nlines": 1', /: "two\\nlines" is not known/],
  ['rate_limit: { interval: soon }', /: rate_limit\.interval is no duration; write it as in 1s/],
  ['rate_limit: { interval: 5 }', /rate_limit\.interval is no duration/],
  ['rate_limit: { interval: 1s }', /: rate_limit\.burst is 0, so that no request would ever pass/],
  ['rate_limit: { interval: 1s, burst: 1.5 }', /rate_limit\.burst is no whole number/],
] as const) {
  test(`refused in one line: ${text.replaceAll('\n', '\\n')}`, () => {
    assert.throws(
      () => parseWebConfig(text, FILE),
      (error: unknown) => {
        assert.ok(error instanceof WebError && error.code === 'ERR_WEB_CONFIG_INVALID');
        assert.match(error.message, message);
        assert.match(error.message, /^web config \/etc\/virtlens\/web\.yml[^\n]+$/);
        assert.ok(!error.message.includes('secret'), 'what may be a password is not shown');
        return true;
      },
    );
  });
}

const promtool = spawnSync('promtool', ['--version']);
const skip = promtool.error ? 'promtool is not installed' : opensslMissing;
test('Prometheus itself takes the same file, and the same names of suites and curves', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'virtlens-web-config-'));
  try {
    makeAuthority(directory, 'ca');
    // Suites that Go has since come to count as insecure are known to older releases only.
    const suites = Object.keys(CIPHER_SUITES).filter((name) => name.startsWith('TLS_ECDHE_'));
    const text = EVERYTHING.replace('tls/server.crt', 'ca.crt')
      .replace('/run/keys/server.key', 'ca.key')
      .replace(/ +client_allowed_sans.*\n/, '') // newer than some releases
      .replace(/rate_limit:[\s\S]*$/, '')
      .replace('    - TLS_AES_128_GCM_SHA256', suites.map((name) => `    - ${name}`).join('\n'))
      .replace('[X25519, CurveP256]', `[${Object.keys(CURVES).join(', ')}]`);
    parseWebConfig(text, join(directory, 'web.yml'));
    writeFileSync(join(directory, 'web.yml'), text);
    const check = spawnSync('promtool', ['check', 'web-config', join(directory, 'web.yml')], { encoding: 'utf8' });
    assert.equal(check.status, 0, check.stdout + check.stderr);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('subject alternative names are read from Node’s text of them', () => {
  assert.deepEqual(parseSubjectAltName('DNS:a.example, IP Address:FD00:0:0:0:0:0:0:1, email:a@b, URI:spiffe://a/b'), [
    'a.example',
    'fd00::1',
    'a@b',
    'spiffe://a/b',
  ]);
  assert.deepEqual(parseSubjectAltName('IP Address:127.0.0.1'), ['127.0.0.1']);
  assert.deepEqual(parseSubjectAltName(''), []);
  // A name made to look like several is one name, in a JSON string.
  assert.deepEqual(parseSubjectAltName('URI:"http://x/, DNS:admin", DNS:user'), ['http://x/, DNS:admin', 'user']);
  assert.deepEqual(parseSubjectAltName('othername:<unsupported>, DNS:user'), ['user']);
});
