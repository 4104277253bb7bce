/**
 * What every room throws of its own. The message is one line that names what failed, at what, and what to do; `code` is stable and has
 * the form `ERR_<ROOM>_<WHAT>`.
 */
export abstract class VirtlensError<Code extends `ERR_${string}` = `ERR_${string}`> extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}
