// libvirt connection URIs, as https://libvirt.org/uri.html and libvirt's remote driver (remoteSplitURIScheme, doRemoteOpen)
// understand them. Everything that can be seen to be wrong without touching the network or a file is refused here.
import { isIPv4, isIPv6 } from 'node:net';
import { VirtlensError } from '../base/error.ts';
import { decode, type Fail, type LibvirtTransport, parseParams } from './uri-params.ts';

export type { LibvirtTransport } from './uri-params.ts';

export interface LibvirtUri {
  /** The URI as it was written. It never holds a password: such a URI is refused. */
  readonly text: string;
  /** The hypervisor driver in lower case: `qemu`, `xen`, `test`, …; names that this file does not know are passed on. */
  readonly driver: string;
  /** Explicit (`qemu+tls://`) or implied: unix without a host, tls with one. libssh and libssh2 are ssh. */
  readonly transport: LibvirtTransport;
  readonly username?: string;
  /** Without the brackets of an IPv6 address. Absent: the local host. */
  readonly hostname?: string;
  readonly port?: number;
  /** Decoded, beginning with '/': `/system`. */
  readonly path: string;
  /** Decoded extra parameters by lower-case name; every one is known and has a usable value. The last of equal names wins. */
  readonly params: ReadonlyMap<string, string>;
  /** What the daemon is asked to open: the URI without transport, host and extra parameters, or the value of `name=`. */
  readonly remoteName: string;
}

/** Why a URI is refused. `part` is the part at fault: `driver`, `transport`, `port`, `path`, or a parameter's name. */
export class LibvirtUriError extends VirtlensError<'ERR_LIBVIRT_URI'> {
  readonly part: string;

  constructor(text: string, part: string, reason: string) {
    super('ERR_LIBVIRT_URI', `libvirt URI '${printable(redact(text))}': ${printable(reason)}`);
    this.part = part;
  }
}

/** Parses a libvirt connection URI. Throws LibvirtUriError, and nothing else, naming the part that is wrong. */
export function parseLibvirtUri(text: string): LibvirtUri {
  const fail: Fail = (part, reason) => {
    throw new LibvirtUriError(text, part, reason);
  };
  checkCharacters(text, fail);

  const scheme = /^([^:/?#]*):/.exec(text);
  if (!scheme) fail('driver', "it has no 'driver:' at its beginning; write for example qemu:///system");
  const { driver, transportName } = splitScheme(scheme[1]!, fail);

  const rest = text.slice(scheme[0].length);
  if (rest.includes('#')) fail('path', "a libvirt URI has no '#' part; write %23 for a '#' in a value");
  const queryAt = rest.indexOf('?');
  const beforeQuery = queryAt < 0 ? rest : rest.slice(0, queryAt);
  const query = queryAt < 0 ? '' : rest.slice(queryAt + 1);

  const { authority, rawPath } = splitAuthority(beforeQuery, fail);
  const server = parseAuthority(authority, fail);
  const transport = chooseTransport(transportName, driver, server.hostname, fail);
  const params = parseParams(query, transport, fail);
  const path = checkPath(driver, decode(rawPath, 'path', fail), server.hostname, params.has('name'), fail);

  return {
    text,
    driver,
    transport,
    ...server,
    path,
    params,
    remoteName: params.get('name') ?? (driver === 'remote' ? '' : `${driver}://${encodePath(path)}`),
  };
}

function checkCharacters(text: string, fail: Fail): void {
  if (text === '') fail('uri', 'it is empty; write for example qemu:///system');
  if (!text.isWellFormed()) fail('uri', 'it is not well-formed Unicode text');
  const odd = /[\p{Cc}\p{Z}]/u.exec(text);
  if (odd) fail('uri', `it holds a space or control character at position ${odd.index + 1}; write %20 for a space`);
}

/** Transport names as libvirt has them (remoteDriverTransport), to those that we speak. */
const TRANSPORTS = new Map<string, LibvirtTransport>([
  ['unix', 'unix'],
  ['tcp', 'tcp'],
  ['tls', 'tls'],
  ['ssh', 'ssh'],
  ['libssh', 'ssh'],
  ['libssh2', 'ssh'],
]);

/** Drivers that live in libvirt's C library and speak the vendor's own protocol: there is no libvirt daemon to connect to. */
const CLIENT_SIDE_DRIVERS = new Set([
  'esx',
  'gsx',
  'vpx',
  'hyperv',
  'phyp',
  'vmwareplayer',
  'vmwarews',
  'vmwarefusion',
]);

/** First words that users take for a libvirt driver because other tools begin their URIs so. */
const NOT_DRIVERS = new Set(['unix', 'tcp', 'tls', 'ssh', 'libssh', 'libssh2', 'http', 'https', 'file']);

function splitScheme(scheme: string, fail: Fail): { driver: string; transportName: string | undefined } {
  const plus = scheme.indexOf('+');
  const driver = (plus < 0 ? scheme : scheme.slice(0, plus)).toLowerCase();
  const transportName = plus < 0 ? undefined : scheme.slice(plus + 1).toLowerCase();
  if (driver === '') fail('driver', 'the driver before the transport is missing; write for example qemu:///system');
  if (!/^[a-z][a-z0-9.-]*$/.test(driver))
    fail('driver', `'${driver}' is not a driver name; use qemu, xen, lxc, test, …`);
  if (NOT_DRIVERS.has(driver)) {
    const example = TRANSPORTS.has(driver) ? `qemu+${driver}://…` : 'qemu+tls://…';
    fail('driver', `'${driver}' is not a libvirt driver; put the driver before it, for example ${example}`);
  }
  if (CLIENT_SIDE_DRIVERS.has(driver)) {
    fail('driver', `driver '${driver}' has no libvirt daemon to connect to: only libvirt's C library can reach it`);
  }
  return { driver, transportName };
}

function splitAuthority(hierarchy: string, fail: Fail): { authority: string; rawPath: string } {
  if (hierarchy.startsWith('//')) {
    const slash = hierarchy.indexOf('/', 2);
    return slash < 0
      ? { authority: hierarchy.slice(2), rawPath: '' }
      : { authority: hierarchy.slice(2, slash), rawPath: hierarchy.slice(slash) };
  }
  if (hierarchy !== '' && !hierarchy.startsWith('/')) {
    fail('path', `'//' is missing before '${hierarchy}'; write driver:///path or driver://host/path`);
  }
  return { authority: '', rawPath: hierarchy };
}

interface Server {
  username?: string;
  hostname?: string;
  port?: number;
}

function parseAuthority(authority: string, fail: Fail): Server {
  const at = authority.lastIndexOf('@');
  const userInfo = at < 0 ? undefined : authority.slice(0, at);
  const hostPort = authority.slice(at + 1);
  const server: Server = {};

  if (userInfo !== undefined) {
    if (userInfo.includes(':')) {
      fail('password', "a password in the URI would show in process lists and logs; put it into libvirt's auth.conf");
    }
    const username = decode(userInfo, 'user', fail);
    if (username === '') fail('user', "the user name before '@' is empty");
    if (/\p{Cc}/u.test(username)) fail('user', 'the user name holds a control character');
    server.username = username;
  }
  if (hostPort === '') {
    if (userInfo !== undefined)
      fail('host', `there is a user but no host after '@'; write user@localhost for this host`);
    return server;
  }

  const bracketed = /^\[([^\]]*)\](.*)$/.exec(hostPort);
  let portText: string | undefined;
  if (bracketed) {
    const address = decode(bracketed[1]!, 'host', fail);
    if (!isIPv6(address)) fail('host', `'[${address}]' is not an IPv6 address`);
    server.hostname = address;
    const tail = bracketed[2]!;
    if (tail !== '' && !tail.startsWith(':')) fail('host', `'${tail}' after the IPv6 address is not a ':port'`);
    if (tail !== '') portText = tail.slice(1);
  } else {
    const colon = hostPort.indexOf(':');
    if (colon !== hostPort.lastIndexOf(':')) {
      fail('host', `'${hostPort}' has several colons; write an IPv6 address in brackets: [::1] or [::1]:16509`);
    }
    const hostname = decode(colon < 0 ? hostPort : hostPort.slice(0, colon), 'host', fail);
    if (colon >= 0) portText = hostPort.slice(colon + 1);
    if (hostname === '') fail('host', `there is a port but no host; write localhost:${portText} for this host`);
    checkHostname(hostname, fail);
    server.hostname = hostname;
  }
  if (portText !== undefined) server.port = parsePort(portText, fail);
  return server;
}

function checkHostname(hostname: string, fail: Fail): void {
  if (
    !/^[\p{L}\p{M}\p{N}_][\p{L}\p{M}\p{N}._-]*$/u.test(hostname) ||
    hostname.includes('..') ||
    hostname.length > 253
  ) {
    fail('host', `'${hostname}' is not a host name or address`);
  }
  if (/^\d+\.\d+\.\d+\.\d+$/.test(hostname) && !isIPv4(hostname)) {
    fail('host', `'${hostname}' is not an IPv4 address`);
  }
}

function parsePort(text: string, fail: Fail): number {
  const port = Number(text);
  if (!/^\d{1,6}$/.test(text) || port < 1 || port > 65535) {
    fail('port', `port '${text}' is not a number from 1 to 65535`);
  }
  return port;
}

function chooseTransport(
  name: string | undefined,
  driver: string,
  hostname: string | undefined,
  fail: Fail,
): LibvirtTransport {
  if (name === undefined) return hostname === undefined ? 'unix' : 'tls';
  const transport = TRANSPORTS.get(name);
  if (name === 'ext') {
    fail('transport', "transport 'ext' runs a program of its own, which is not supported; use unix, tcp, tls or ssh");
  }
  if (!transport) fail('transport', `transport '${name}' is unknown; use unix, tcp, tls or ssh`);
  if (transport === 'unix' && hostname !== undefined) {
    fail('host', `a unix socket is on this host, not on '${hostname}'; use ${driver}+ssh, +tls or +tcp, or '///'`);
  }
  return transport;
}

function checkPath(driver: string, path: string, hostname: string | undefined, hasName: boolean, fail: Fail): string {
  if (path.includes('\0')) fail('path', 'the path holds a NUL character');
  if (hasName) return path === '' ? '/' : path;
  if (driver === 'qemu') checkQemuPath(path, hostname, fail);
  if (driver === 'test' && (path === '' || path === '/')) {
    fail('path', "driver 'test' needs a path; write test:///default");
  }
  return path === '' ? '/' : path;
}

function checkQemuPath(path: string, hostname: string | undefined, fail: Fail): void {
  if (path === '/system' || path === '/session') return;
  if (path === '' && (hostname === 'system' || hostname === 'session')) {
    fail('path', `'${hostname}' stands where the host belongs; write three slashes: qemu:///${hostname}`);
  }
  if (path === '' || path === '/') fail('path', "the path is missing; write '/system' (or '/session') after the host");
  if (path === '/embed') fail('path', "'/embed' runs inside libvirt's C library; there is no daemon to connect to");
  fail('path', `path '${path}' is not one of driver 'qemu'; use /system or /session`);
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

/**
 * Hides what may be a password: everything between the first ':' of the user part and the last '@' before a '/', and the values of
 * parameters that nobody knows but whose names say it.
 */
function redact(text: string): string {
  return text
    .replace(/^([^/]*\/\/[^/?#:@]*):.*@/s, '$1:***@')
    .replace(/([?&;][^=&;]*(?:pass|secret|token|pwd)[^=&;]*=)[^&;]*/gi, '$1***');
}

/** Keeps the text of an error on one line, whatever the user wrote. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, '?');
}
