import { SocketAddress } from 'node:net';

/** The network part of an IPv6 address, in groups: who has one address has the 2^64 of its /64 (RFC 4291, 2.5.4). */
const NETWORK_GROUPS = 4;
const GROUPS = 8;

/** The address by which a client is counted: IPv4 as it is, also where it is written as IPv6 (`::ffff:192.0.2.1`); of IPv6 the /64. */
export function clientOf(remoteAddress: string | undefined): string {
  if (remoteAddress === undefined) return 'unknown';
  const address = remoteAddress.replace(/%.*$/, '');
  // Of what a socket has, addresses with a colon are IPv6. isIPv6() would compile an expression for some 10 ms, at the first request.
  if (!address.includes(':')) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = '', tail] = new SocketAddress({ address, family: 'ipv6' }).address.split('::');
  const groupsOf = (text: string) => (text === '' ? [] : text.split(':'));
  const left = groupsOf(head);
  const zeros = tail === undefined ? 0 : GROUPS - left.length - groupsOf(tail).length;
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill('0'), ...groupsOf(tail ?? '')];
  return `${groups.slice(0, NETWORK_GROUPS).join(':')}::/64`;
}
