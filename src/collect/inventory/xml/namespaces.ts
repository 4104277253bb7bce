/** Declarations in force at once; a domain has a handful. */
const DECLARATIONS_MAX = 256;

/**
 * The namespaces that the open elements declare. They are resolved here and not by the parser: an undeclared prefix is an error there,
 * but not to libvirt.
 */
export class Namespaces {
  readonly #declarations: { readonly depth: number; readonly prefix: string }[] = [];
  /** The URIs of each prefix, that of the innermost element last. */
  readonly #uris = new Map<string, string[]>();

  /** Whether there are more declarations than any domain has. */
  get areTooMany(): boolean {
    return this.#declarations.length > DECLARATIONS_MAX;
  }

  /** Takes the declarations among the attributes of an element at this depth. */
  declare(depth: number, attributes: Readonly<Record<string, string>>): void {
    for (const name in attributes) {
      if (!name.startsWith('xmlns') || (name.length > 5 && name[5] !== ':')) continue;
      const prefix = name.slice(6);
      const uris = this.#uris.get(prefix);
      if (uris === undefined) this.#uris.set(prefix, [attributes[name]!]);
      else uris.push(attributes[name]!);
      this.#declarations.push({ depth, prefix });
    }
  }

  /** Forgets what elements at this depth and deeper have declared. */
  forget(depth: number): void {
    for (let last = this.#declarations.at(-1); last !== undefined && last.depth >= depth; ) {
      this.#declarations.pop();
      this.#uris.get(last.prefix)!.pop();
      last = this.#declarations.at(-1);
    }
  }

  /** The URI of a prefix; empty when nothing declares it. */
  resolve(prefix: string): string {
    return this.#uris.get(prefix)?.at(-1) ?? '';
  }
}
