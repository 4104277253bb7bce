import { SaxesParser } from 'saxes';
import { DomainXmlError } from './domain-xml-error.ts';
import { Namespaces } from './namespaces.ts';

/** What is accepted at most. */
export interface DomainXmlLimits {
  /** Longest document in UTF-16 units; by default REMOTE_STRING_MAX of libvirt's remote_protocol.x, which no reply can exceed. */
  readonly lengthMax?: number;
  /** Deepest nesting; by default 256, as in libxml2. */
  readonly depthMax?: number;
}

const REMOTE_STRING_MAX = 4_194_304;
const LIBXML2_DEPTH_MAX = 256;

export type Attributes = Readonly<Record<string, string>>;

/** An object that is being filled. */
export type Draft<T> = { -readonly [K in keyof T]: T[K] };

/** What to do with one element. Children that neither table names are skipped, with all that is in them. */
export interface Rule<D> {
  /** Children in no namespace, by name. */
  readonly children?: Readonly<Record<string, Rule<D>>>;
  /** Children in the namespaces whose URI begins so, by local name. */
  readonly inNamespace?: { readonly uriPrefix: string; readonly children: Readonly<Record<string, Rule<D>>> };
  /** `version`: the rest of the namespace's URI; empty without a namespace. */
  open?(draft: D, attributes: Attributes, version: string): void;
  /** Takes the element's own text, CDATA sections and references resolved. */
  text?(draft: D, text: string): void;
  close?(draft: D): void;
}

/** Tables are looked up by names from the XML, so they must not have `constructor` and the like. */
export function children<D>(table: Record<string, Rule<D>>): Readonly<Record<string, Rule<D>>> {
  return Object.assign(Object.create(null), table);
}

/** Whether the namespace of an element that this rule or one below it is asked for can matter. Few can; the attributes of all others need no look. */
function asksForNamespaces<D>(rule: Rule<D>): boolean {
  let asks = ASKS.get(rule);
  if (asks === undefined) {
    asks = rule.inNamespace !== undefined || Object.values(rule.children ?? {}).some(asksForNamespaces);
    ASKS.set(rule, asks);
  }
  return asks;
}

const ASKS = new WeakMap<object, boolean>();

/** What may be referred to by name. Without a prototype, so that `&constructor;` is as unknown as it should be. */
const XML_ENTITIES: Record<string, string> = Object.assign(Object.create(null), {
  amp: '&',
  gt: '>',
  lt: '<',
  quot: '"',
  apos: "'",
});

/** Fills a draft from a document by rules, in one pass and in pieces of any length. Its methods throw a DomainXmlError and nothing else. */
export class XmlReader<D> {
  readonly #draft: D;
  readonly #parser = new SaxesParser({ xmlns: false, position: true });
  readonly #depthMax: number;
  /** The rules of the open elements; elements without a rule are only counted, with everything inside them. */
  readonly #rules: Rule<D>[];
  readonly #namespaces = new Namespaces();
  #skippedDepth = 0;
  #text = '';

  /** `length`: of the whole document. */
  constructor(document: Rule<D>, draft: D, length: number, limits: DomainXmlLimits) {
    const { lengthMax = REMOTE_STRING_MAX, depthMax = LIBXML2_DEPTH_MAX } = limits;
    if (length > lengthMax) {
      const message = `domain XML has ${length} characters; at most ${lengthMax} are read`;
      throw new DomainXmlError('ERR_DOMAIN_XML_TOO_LARGE', message);
    }
    this.#draft = draft;
    this.#rules = [document];
    this.#depthMax = depthMax;
    const addText = (piece: string) => {
      if (this.#skippedDepth === 0 && this.#rules[this.#rules.length - 1]!.text !== undefined) this.#text += piece;
    };
    const parser = this.#parser;
    parser.ENTITIES = XML_ENTITIES;
    parser.on('error', (error) => {
      const message = `domain XML is not well-formed: ${error.message}`;
      throw new DomainXmlError('ERR_DOMAIN_XML_MALFORMED', message, { cause: error });
    });
    parser.on('doctype', () => {
      throw new DomainXmlError('ERR_DOMAIN_XML_DOCTYPE', 'domain XML with a document type declaration is refused');
    });
    parser.on('opentag', ({ name, attributes }) => this.#open(name, attributes));
    parser.on('text', addText);
    parser.on('cdata', addText);
    parser.on('closetag', () => this.#close());
  }

  /** Reads the next piece. */
  write(piece: string): void {
    this.#parser.write(piece);
  }

  /** Says that the document ends here. */
  close(): void {
    this.#parser.close();
  }

  #open(name: string, attributes: Attributes): void {
    const depth = this.#rules.length;
    if (depth + this.#skippedDepth > this.#depthMax) {
      const message = `domain XML with more than ${this.#depthMax} nested elements is refused`;
      throw new DomainXmlError('ERR_DOMAIN_XML_TOO_DEEP', message);
    }
    if (this.#skippedDepth > 0) {
      this.#skippedDepth++;
      return;
    }
    const parent = this.#rules[depth - 1]!;
    if (asksForNamespaces(parent)) {
      this.#namespaces.declare(depth, attributes);
      if (this.#namespaces.areTooMany) {
        throw new DomainXmlError('ERR_DOMAIN_XML_TOO_LARGE', 'domain XML with more than 256 namespaces is refused');
      }
    }
    const [rule, version] = this.#find(parent, name);
    if (rule === undefined) {
      this.#namespaces.forget(depth);
      this.#skippedDepth = 1;
      return;
    }
    this.#rules.push(rule);
    this.#text = '';
    rule.open?.(this.#draft, attributes, version);
  }

  #find({ children, inNamespace }: Rule<D>, name: string): [rule: Rule<D> | undefined, version: string] {
    const plain = children?.[name];
    if (plain !== undefined || inNamespace === undefined) return [plain, ''];
    const colon = name.indexOf(':');
    const uri = this.#namespaces.resolve(name.slice(0, Math.max(colon, 0)));
    if (!uri.startsWith(inNamespace.uriPrefix)) return [undefined, ''];
    return [inNamespace.children[name.slice(colon + 1)], uri.slice(inNamespace.uriPrefix.length)];
  }

  #close(): void {
    if (this.#skippedDepth > 0) {
      this.#skippedDepth--;
      return;
    }
    const rule = this.#rules.pop()!;
    rule.text?.(this.#draft, this.#text);
    rule.close?.(this.#draft);
    this.#namespaces.forget(this.#rules.length);
  }
}
