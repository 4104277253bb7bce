// The extra parameters of libvirt's connection URIs (https://libvirt.org/uri.html): which there are, where each has a meaning, and what
// values it takes.

export type LibvirtTransport = 'unix' | 'tcp' | 'tls' | 'ssh';

/** Refuses the URI: the part at fault, and why. */
export type Fail = (part: string, reason: string) => never;

type ValueCheck = (value: string) => string | undefined;

const notEmpty: ValueCheck = (value) => (value === '' ? 'is empty' : undefined);
const integer: ValueCheck = (value) => (/^[+-]?\d{1,9}$/.test(value) ? undefined : `'${value}' is not 0 or 1`);
const anyText: ValueCheck = () => undefined;
const oneOf =
  (...words: string[]): ValueCheck =>
  (value) =>
    words.includes(value) ? undefined : `'${value}' is unknown; use ${words.join(', ')}`;

const SSH_AUTH_METHODS = ['agent', 'privkey', 'password', 'keyboard-interactive'];

interface ParamRule {
  transports: readonly LibvirtTransport[];
  check: ValueCheck;
}

const EVERY_TRANSPORT: readonly LibvirtTransport[] = ['unix', 'tcp', 'tls', 'ssh'];

/** The extra parameters of libvirt's remote driver (https://libvirt.org/uri.html), and where each has a meaning. */
const PARAM_RULES = new Map<string, ParamRule>([
  ['name', { transports: EVERY_TRANSPORT, check: anyText }],
  [
    'auth',
    {
      transports: EVERY_TRANSPORT,
      check: (value) => (value === 'none' ? undefined : `'${value}' is not supported; only none is`),
    },
  ],
  ['mode', { transports: ['unix', 'ssh'], check: oneOf('auto', 'legacy', 'direct') }],
  ['socket', { transports: ['unix', 'ssh'], check: notEmpty }],
  ['pkipath', { transports: ['tls'], check: notEmpty }],
  ['no_sanity', { transports: ['tls'], check: integer }],
  [
    'tls_priority',
    {
      transports: ['tls'],
      // The strings are GnuTLS's own language; OpenSSL, which Node has, cannot follow them faithfully.
      check: (value) =>
        value === 'NORMAL' ? undefined : `'${value}' is a GnuTLS setting that cannot be honoured here; leave it out`,
    },
  ],
  ['no_verify', { transports: ['tls', 'ssh'], check: integer }],
  ['keyfile', { transports: ['ssh'], check: notEmpty }],
  ['known_hosts', { transports: ['ssh'], check: notEmpty }],
  ['known_hosts_verify', { transports: ['ssh'], check: oneOf('normal', 'auto', 'ignore') }],
  [
    'sshauth',
    {
      transports: ['ssh'],
      check: (value) => {
        const odd = value.split(',').find((word) => !SSH_AUTH_METHODS.includes(word.toLowerCase()));
        return odd === undefined ? undefined : `'${odd}' is unknown; use a list of ${SSH_AUTH_METHODS.join(',')}`;
      },
    },
  ],
  ['authfile', { transports: ['ssh'], check: notEmpty }],
  ['netcat', { transports: ['ssh'], check: notEmpty }],
  ['proxy', { transports: ['ssh'], check: oneOf('auto', 'netcat', 'native') }],
  // Nothing is ever asked on a terminal, so any value is honoured.
  ['no_tty', { transports: ['ssh'], check: integer }],
  [
    'command',
    { transports: ['ssh'], check: () => 'names an ssh program, but SSH is built in and runs none; leave it out' },
  ],
]);

/** Reads what stands after the `?`. Every parameter is known, has a meaning for the transport and a usable value; the last of equal names wins. */
export function parseParams(query: string, transport: LibvirtTransport, fail: Fail): ReadonlyMap<string, string> {
  const params = new Map<string, string>();
  for (const piece of splitQuery(query)) {
    const equals = piece.indexOf('=');
    // libvirt (virURIParseParams) skips empty pieces and pieces without a name, and reads a bare name as an empty value.
    if (piece === '' || equals === 0) continue;
    const name = decode(equals < 0 ? piece : piece.slice(0, equals), 'parameter', fail).toLowerCase();
    const rule = PARAM_RULES.get(name);
    if (!rule) fail(name, `parameter '${name}' is unknown; known are ${[...PARAM_RULES.keys()].join(', ')}`);
    if (!rule.transports.includes(transport)) {
      fail(
        name,
        `parameter '${name}' has no meaning for ${transport}, only for ${rule.transports.join(' and ')}; leave it out`,
      );
    }
    const value = equals < 0 ? '' : decode(piece.slice(equals + 1), name, fail);
    const complaint = /[\0\r\n]/.test(value) ? 'holds a line break or NUL' : rule.check(value);
    if (complaint !== undefined) fail(name, `parameter '${name}' ${complaint}`);
    params.set(name, value);
  }
  checkTogether(params, transport, fail);
  return params;
}

/** libvirt's own splitting: at '&', and at ';' only in what follows the last '&'. */
function splitQuery(query: string): string[] {
  const pieces = query.split('&');
  return [...pieces.slice(0, -1), ...pieces.at(-1)!.split(';')];
}

function checkTogether(params: ReadonlyMap<string, string>, transport: LibvirtTransport, fail: Fail): void {
  if (transport === 'ssh' && params.get('mode') === 'direct') {
    fail('mode', "parameter 'mode' cannot be direct for ssh: the far side chooses; name its socket with socket=");
  }
  if (params.get('proxy') === 'native') {
    if (params.has('netcat')) fail('netcat', "parameter 'netcat' cannot go with proxy=native; drop one of them");
    if (params.has('socket')) fail('socket', "parameter 'socket' cannot go with proxy=native; drop one of them");
  }
}

/** Undoes %-escapes. */
export function decode(text: string, part: string, fail: Fail): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return fail(part, `'${text}' has a broken %-escape; write %25 for a '%'`);
  }
}
