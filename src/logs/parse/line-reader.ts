/** Where a byte of a log is: in which of the files that were read one after the other, and at what offset. */
export interface Place {
  readonly segment: number;
  readonly offset: number;
}

/** One line of a log, or a piece of one that is too long. */
export interface Line {
  /** UTF-8 decoded, without the newline; what is no UTF-8 is U+FFFD. */
  readonly text: string;
  /** With the newline. */
  readonly bytes: number;
  readonly start: Place;
  /** Undefined when no record may end here, because a line that began earlier is still open. */
  readonly end: Place | undefined;
  /** The line goes on: it is longer than `LINE_BYTES_MAX`. */
  readonly isCut: boolean;
  /** What stood before was cut. */
  readonly isContinued: boolean;
  /** Of the container runtime. */
  readonly timeNs?: bigint | undefined;
  readonly iostream?: 'stdout' | 'stderr';
}

/** A longer line is cut into pieces of this size (or up to three bytes less, so that no character is cut). */
export const LINE_BYTES_MAX = 256 * 1024;

interface Piece {
  readonly bytes: Buffer;
  readonly place: Place;
}

const NEWLINE = 0x0a;

/** Cuts bytes into lines, however they arrive. Where it cuts is a function of the bytes alone. */
export class LineReader {
  readonly #emit: (line: Line, bytes: Buffer) => void;
  #pieces: Piece[] = [];
  #length = 0;
  #isContinued: boolean;

  /** @param emit is given the line and its bytes without the newline, which are good until it returns */
  constructor(emit: (line: Line, bytes: Buffer) => void, isContinued: boolean) {
    this.#emit = emit;
    this.#isContinued = isContinued;
  }

  /** Whether there is a line without its newline. */
  get isWithinLine(): boolean {
    return this.#length > 0;
  }

  /** Takes the next bytes, which stand at `place` and are good until it returns. */
  push(bytes: Buffer, place: Place): void {
    let from = 0;
    while (from < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, from);
      const end = newline < 0 ? bytes.length : newline;
      const at = { segment: place.segment, offset: place.offset + from };
      if (this.#length + end - from > LINE_BYTES_MAX) {
        const part = bytes.subarray(from, from + LINE_BYTES_MAX + 1 - this.#length);
        from += part.length;
        this.#cut({ bytes: part, place: at });
      } else if (newline < 0) {
        this.#keep({ bytes: Buffer.from(bytes.subarray(from)), place: at });
        return;
      } else {
        const part = { bytes: bytes.subarray(from, end), place: at };
        from = newline + 1;
        this.#end(part, { segment: place.segment, offset: place.offset + from });
      }
    }
  }

  /** Ends a line that has no newline. */
  flush(): void {
    const last = this.#pieces.at(-1);
    if (last === undefined) return;
    const { bytes, place } = last;
    this.#pieces.pop();
    this.#length -= bytes.length;
    this.#end(last, { segment: place.segment, offset: place.offset + bytes.length }, 0);
  }

  #keep(piece: Piece): void {
    this.#pieces.push(piece);
    this.#length += piece.bytes.length;
  }

  #end(part: Piece, end: Place, newlineBytes = 1): void {
    const isAlone = this.#pieces.length === 0;
    const start = isAlone ? part.place : this.#pieces[0]!.place;
    const bytes = isAlone ? part.bytes : Buffer.concat([...this.#pieces.map((piece) => piece.bytes), part.bytes]);
    const isContinued = this.#isContinued;
    this.#pieces = [];
    this.#length = 0;
    this.#isContinued = false;
    const length = bytes.length + newlineBytes;
    this.#emit({ text: bytes.toString(), bytes: length, start, end, isCut: false, isContinued }, bytes);
  }

  /** With this part the line is one byte too long. */
  #cut(part: Piece): void {
    const pieces = [...this.#pieces, part];
    const bytes = Buffer.concat(pieces.map((piece) => piece.bytes));
    let length = LINE_BYTES_MAX;
    while (length > LINE_BYTES_MAX - 3 && isWithinCharacter(bytes[length]!)) length--;
    if (isWithinCharacter(bytes[length]!)) length = LINE_BYTES_MAX;
    const isContinued = this.#isContinued;
    this.#isContinued = true;
    this.#pieces = dropFirst(pieces, length);
    this.#length = bytes.length - length;
    const head = bytes.subarray(0, length);
    this.#emit(
      {
        text: head.toString(),
        bytes: length,
        start: pieces[0]!.place,
        end: this.#pieces[0]!.place,
        isCut: true,
        isContinued,
      },
      head,
    );
  }
}

/** Whether a byte is not the first of its character in UTF-8. */
function isWithinCharacter(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

function dropFirst(pieces: readonly Piece[], count: number): Piece[] {
  let left = count;
  const rest: Piece[] = [];
  for (const { bytes, place } of pieces) {
    const dropped = Math.min(left, bytes.length);
    left -= dropped;
    if (dropped < bytes.length) {
      const offset = place.offset + dropped;
      rest.push({ bytes: Buffer.from(bytes.subarray(dropped)), place: { segment: place.segment, offset } });
    }
  }
  return rest;
}
