/** How often a VM's XML is read again although no event asked for it: `virsh update-device` sends none. */
const REREAD_INTERVAL_MS = 600_000;
/** An XML that libvirt refuses is asked for again after this long. */
const REFUSED_INTERVAL_MS = 60_000;

const AT_ONCE = Number.NEGATIVE_INFINITY;

/** One reading of a VM's XML, from the call to its end. */
export interface XmlReading {
  readonly startedMs: number;
  readonly changes: number;
}

/** When one VM's XML is to be read. */
export class XmlState {
  #dueMs = AT_ONCE;
  /** Counts the changes announced, so that one that comes while the XML is on its way is not lost. */
  #changes = 0;
  #reading: XmlReading | undefined;
  #lastBeganMs = Number.NEGATIVE_INFINITY;
  /** The differing paths of disks for which the XML was last read again. */
  #pathsReadFor = '';

  /** Whether the XML is on its way. */
  get isBeingRead(): boolean {
    return this.#reading !== undefined;
  }

  /** When it is to be read again, monotonic. */
  get dueMs(): number {
    return this.#dueMs;
  }

  /** Whether it may have changed since it was read, or was never read. */
  get hasChanged(): boolean {
    return this.#dueMs === AT_ONCE;
  }

  /** When it was last asked for, monotonic. */
  get lastBeganMs(): number {
    return this.#lastBeganMs;
  }

  noteChange(): void {
    this.#changes++;
    this.#dueMs = AT_ONCE;
  }

  /** Notes which disks have other paths than the XML says. Each change is a reason to read it once: libvirt may spell the same in two ways. */
  noteDifferingPaths(paths: string): void {
    if (paths === this.#pathsReadFor) return;
    this.#pathsReadFor = paths;
    if (paths !== '') this.noteChange();
  }

  begin(nowMs: number): XmlReading {
    this.#lastBeganMs = nowMs;
    this.#reading = { startedMs: nowMs, changes: this.#changes };
    return this.#reading;
  }

  /** The XML was read. */
  succeed(reading: XmlReading): void {
    this.#end(reading);
    this.#dueMs = this.#changes === reading.changes ? reading.startedMs + REREAD_INTERVAL_MS : AT_ONCE;
  }

  /** libvirt does not give it, or it is none. */
  fail(reading: XmlReading): void {
    this.#end(reading);
    if (this.#changes === reading.changes) this.#dueMs = reading.startedMs + REFUSED_INTERVAL_MS;
  }

  /** The call came back without an answer. */
  abandon(reading: XmlReading): void {
    this.#end(reading);
  }

  /** Everything may have changed, and what is on its way over another connection is not waited for. */
  invalidate(): void {
    this.#reading = undefined;
    this.noteChange();
  }

  #end(reading: XmlReading): void {
    if (this.#reading === reading) this.#reading = undefined;
  }
}
