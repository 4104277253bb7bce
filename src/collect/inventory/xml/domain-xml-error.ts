import { VirtlensError } from '../../../base/error.ts';

/** What is wrong with a domain's XML. */
export type DomainXmlErrorCode =
  /** Not well-formed, or it ends early. */
  | 'ERR_DOMAIN_XML_MALFORMED'
  /** It has a document type declaration; libvirt never writes one, and entities are declared there. */
  | 'ERR_DOMAIN_XML_DOCTYPE'
  /** Longer than libvirt's own maximum for a string, or with more namespaces than any domain's. */
  | 'ERR_DOMAIN_XML_TOO_LARGE'
  /** Elements nested deeper than any domain's. */
  | 'ERR_DOMAIN_XML_TOO_DEEP'
  /** Well-formed, but without `<domain>`, or without its name or a valid UUID. */
  | 'ERR_DOMAIN_XML_NOT_A_DOMAIN';

/** The one error of reading a domain's XML. */
export class DomainXmlError extends VirtlensError<DomainXmlErrorCode> {}
