import { parseCriLine } from './cri-line.ts';
import { LINE_BYTES_MAX, type Line } from './line-reader.ts';

interface OpenLine {
  readonly line: Line;
  readonly texts: readonly string[];
  readonly bytes: number;
}

/**
 * Takes the container runtime's form off lines and joins those that it has cut. Lines in another form pass as they are. While a line of
 * one of the two streams is open, those of the other wait, so that what comes out covers the input without a hole.
 */
export class CriJoiner {
  readonly #emit: (line: Line) => void;
  readonly #open = new Map<string, OpenLine>();
  #ready: Line[] = [];
  #readyBytes = 0;
  /** The last line was cut here because it is too long: the next one is its rest. */
  #isContinued = false;

  constructor(emit: (line: Line) => void) {
    this.#emit = emit;
  }

  /** Whether something waits for its rest. */
  get isWithinLine(): boolean {
    return this.#open.size > 0;
  }

  push(line: Line): void {
    const cri = parseCriLine(line.text);
    if (cri === undefined) {
      this.flush();
      return this.#emit(line);
    }
    const { iostream, timeNs, isPartial, text } = cri;
    const before = this.#open.get(iostream);
    const isContinued = before?.line.isContinued ?? (line.isContinued || this.#isContinued);
    this.#isContinued = false;
    const open: OpenLine = {
      line: {
        ...(before?.line ?? line),
        timeNs: before?.line.timeNs ?? timeNs,
        iostream,
        end: line.end,
        isContinued,
      },
      texts: [...(before?.texts ?? []), text],
      bytes: (before?.bytes ?? 0) + line.bytes,
    };
    if (isPartial && open.bytes < LINE_BYTES_MAX && this.#readyBytes < LINE_BYTES_MAX) {
      this.#open.set(iostream, open);
      return;
    }
    this.#open.delete(iostream);
    this.#isContinued = isPartial;
    this.#ready.push(join(open, isPartial || line.isCut));
    this.#readyBytes += open.bytes;
    if (this.#open.size === 0) this.#release();
    else if (this.#readyBytes >= LINE_BYTES_MAX) this.flush();
  }

  /** Ends what is open. */
  flush(): void {
    for (const open of this.#open.values()) this.#ready.push(join(open, false));
    this.#open.clear();
    this.#release();
  }

  #release(): void {
    const ready = this.#ready;
    this.#ready = [];
    this.#readyBytes = 0;
    const [first] = ready;
    if (first === undefined) return;
    // What ends last in the input is not always what is emitted last.
    const end = ready.reduce((last, line) => (isBefore(last, line.end!) ? line.end! : last), first.end!);
    for (const [index, line] of ready.entries()) {
      this.#emit({ ...line, end: index === ready.length - 1 ? end : undefined });
    }
  }
}

function join({ line, texts, bytes }: OpenLine, isCut: boolean): Line {
  return { ...line, text: texts.join(''), bytes, isCut };
}

function isBefore(a: NonNullable<Line['end']>, b: NonNullable<Line['end']>): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}
