import { type Codec, int32, optional, string, struct, uuid } from './codec.ts';
import { Interner } from './interner.ts';
import { STRING_BYTES_MAX } from './xdr.ts';

/** How libvirt names a domain on the wire. */
export interface DomainRef {
  readonly name: string;
  /** Lower-case with dashes. */
  readonly uuid: string;
  /** The runtime id; -1 while the domain is inactive. */
  readonly id: number;
}

const plainDomainRef = struct({ name: string, uuid, id: int32 });
const knownDomains = new Interner<DomainRef>();

/** `remote_nonnull_domain`. The same domain is the same object from reply to reply. */
export const domainRef: Codec<DomainRef> = {
  encode: plainDomainRef.encode,
  decode(reader) {
    const start = reader.offset;
    const nameLength = reader.length(STRING_BYTES_MAX, 'string');
    reader.skip(((nameLength + 3) & ~3) + 20);
    const end = reader.offset;
    return knownDomains.get(reader.bytes, start, end, () => {
      reader.offset = start;
      return Object.freeze(plainDomainRef.decode(reader));
    });
  },
};

/** `remote_nonnull_storage_pool`. */
export const storagePoolRef = struct({ name: string, uuid });
export type StoragePoolRef = { readonly name: string; readonly uuid: string };

const networkRef = struct({ name: string, uuid });

/** `remote_error` (virNetMessageError): what a reply with status 'error' carries. */
export const remoteError = struct({
  code: int32,
  domain: int32,
  message: optional(string),
  level: int32,
  relatedDomain: optional(domainRef),
  str1: optional(string),
  str2: optional(string),
  str3: optional(string),
  int1: int32,
  int2: int32,
  relatedNetwork: optional(networkRef),
});
