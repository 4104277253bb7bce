// In the shipped program, in the place of undici.

function refuse(): never {
  throw new Error('virtlens has no undici; src/ha/kubernetes/transport.ts sends the requests');
}

export { refuse as Agent, refuse as fetch, refuse as ProxyAgent };
