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
  ['tls_server_cfg: {}', /: tls_server_cfg: is not known; did you mean tls_server_config\?$/],
  [
    'logging: {}',
    /: logging: is not known; the keys are tls_server_config, http_server_config, basic_auth_users, rate_limit$/,
  ],
  [
    `tls_server_config: { ${PAIR}, cert_fil: x }`,
    /: tls_server_config\.cert_fil: is not known; did you mean cert_file\?$/,
  ],
  [
    'http_server_config: { headers: { X-Powered-By: me } }',
    /: http_server_config\.headers\.X-Powered-By: is not known; the keys are .*X-Frame-Options/,
  ],
  [
    'http_server_config: { headers: { x-frame-options: deny } }',
    /headers\.x-frame-options: is not known; did you mean X-Frame-Options\?$/,
  ],
  [
    'http_server_config: { headers: { X-Frame-Options: maybe } }',
    /X-Frame-Options: must be deny or sameorigin, not "maybe"$/,
  ],
  [
    'http_server_config: { headers: { Content-Security-Policy: "a\\nb" } }',
    /Content-Security-Policy: holds a character/,
  ],
  [
    'http_server_config: { http2: "yes" }',
    /: http_server_config\.http2: must be true or false, not a text; write it without quotes$/,
  ],
  ['http_server_config: [1]', /: http_server_config: must hold keys and values, not a list; write /],
  ['just text', /: must hold keys and values, not a text; write /],
  ['- a', /: must hold keys and values, not a list; write /],
  ['a: [', /is no valid YAML: .+ at line 1, column \d+$/],
  ['a: 1\na: 2', /is no valid YAML: Map keys must be unique at line 2, column 1$/],
  ['a: *nowhere', /is no valid YAML: /],
  ['tls_server_config: { cert_file: a }', /: tls_server_config\.key_file: is missing; name the server's private key/],
  ['tls_server_config: { key_file: a }', /: tls_server_config\.cert_file: is missing; name the server's certificate/],
  ['tls_server_config: { min_version: TLS12 }', /cert_file: is missing/],
  [`tls_server_config: { ${PAIR}, cert: x }`, /: tls_server_config\.cert: stands next to cert_file; keep one/],
  [
    `tls_server_config: { ${PAIR}, min_version: TLS1.2 }`,
    /min_version: must be TLS10, TLS11, TLS12 or TLS13, not "TLS1\.2"; did you mean "TLS1\d"\?$/,
  ],
  [`tls_server_config: { ${PAIR}, min_version: 12 }`, /min_version: must be a text, not a number; write it in quotes$/],
  [
    `tls_server_config: { ${PAIR}, min_version: TLS13, max_version: TLS12 }`,
    /min_version: is above max_version \(TLS12\)/,
  ],
  [
    `tls_server_config: { ${PAIR}, client_auth_type: Maybe }`,
    /client_auth_type: must be NoClientCert, .* or RequireAndVerifyClientCert, not "Maybe"$/,
  ],
  [`tls_server_config: { ${PAIR}, client_ca_file: ca }`, /client_ca_file: has no effect without client_auth_type/],
  [
    `tls_server_config: { ${PAIR}, client_allowed_sans: [a] }`,
    /client_allowed_sans: needs a client certificate; set client_auth_type/,
  ],
  [`tls_server_config: { ${PAIR}, client_allowed_sans: a }`, /client_allowed_sans: must be a list, not a text; write /],
  [`tls_server_config: { ${PAIR}, cipher_suites: [RC4] }`, /cipher_suites\[0\]: must be TLS_ECDHE.*, not "RC4"$/],
  [
    `tls_server_config: { ${PAIR}, curve_preferences: [P-256] }`,
    /curve_preferences\[0\]: must be CurveP256.*, not "P-256"/,
  ],
  ['basic_auth_users: { alice: secret }', /: basic_auth_users\.alice: is no bcrypt hash; make one with: htpasswd/],
  ['basic_auth_users: { alice: }', /basic_auth_users\.alice: is no bcrypt hash/],
  [`basic_auth_users: { alice: ${HASH.replace('$10$', '$99$')} }`, /basic_auth_users\.alice: is no bcrypt hash/],
  [
    `basic_auth_users: { alice: ${HASH.replace('$10$', '$15$')} }`,
    /: basic_auth_users\.alice: is a bcrypt hash of cost 15, which takes seconds to check; make one of cost 10 \(14 at most\) with: htpasswd/,
  ],
  [`basic_auth_users: { "a:b": ${HASH} }`, /basic_auth_users\["a:b"\]: is a user name with a colon/],
  ['basic_auth_users: [alice]', /: basic_auth_users: must hold keys and values/],
  ['"two\\nlines": 1', /: \["two\\nlines"\]: is not known/],
  [
    'rate_limit: { interval: soon }',
    /: rate_limit\.interval: must be a duration, not "soon"; write it as 500ms, 10s or 1m30s$/,
  ],
  ['rate_limit: { interval: 5 }', /rate_limit\.interval: must be a text, not a number/],
  ['rate_limit: { interval: 1s }', /: rate_limit\.burst: is 0, so that no request would ever pass/],
  ['rate_limit: { interval: 1s, burst: 1.5 }', /rate_limit\.burst: must be a whole number from 0 up, not 1\.5$/],
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
