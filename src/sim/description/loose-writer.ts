import { XdrWriter } from '../../libvirt/wire/xdr.ts';

/** Writes what a daemon sends: any text, with NUL and of any length too, since a hostile or broken daemon keeps to no limits. */
export class LooseWriter extends XdrWriter {
  override string(value: string): void {
    this.bytesValue(Buffer.from(value));
  }
}
