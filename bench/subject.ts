// An exporter under measurement, and what its scrapes cost.
import { cpuMs, residentBytes } from './procfs.ts';
import { countSamples, type ScrapeLimits, Scraper } from './scraper.ts';
import { mean, median, quantile } from './statistics.ts';

/** What one scrape of an exporter costs. */
export interface Cost {
  readonly wallMedianMs: number;
  readonly wallP95Ms: number;
  /** CPU of the exporter's own process, mean. */
  readonly ownCpuMs: number;
  /** CPU of the daemon that it asks, mean. */
  readonly daemonCpuMs: number;
  /** The largest resident set after any of the scrapes. */
  readonly residentBytes: number;
  /** Of the last scrape: the body on the wire, unpacked, and its samples. */
  readonly wireBytes: number;
  readonly bytes: number;
  readonly samples: number;
}

/** How long the processes are left alone after a scrape, so that what they do late is counted to the right one. */
const AFTERMATH_MS = 30;

export class Subject implements Disposable {
  readonly pid: number;
  readonly scraper: Scraper;
  readonly #daemonPid: number;
  readonly #limits: ScrapeLimits;
  readonly #wallMs: number[] = [];
  readonly #ownCpuMs: number[] = [];
  readonly #daemonCpuMs: number[] = [];
  #residentBytes = 0;
  #wireBytes = 0;
  #text = '';

  constructor(pid: number, url: string, daemonPid: number, limits: ScrapeLimits = {}) {
    this.pid = pid;
    this.scraper = new Scraper(url);
    this.#daemonPid = daemonPid;
    this.#limits = limits;
  }

  /** One scrape that counts. */
  async measure(): Promise<void> {
    const own = cpuMs(this.pid);
    const daemon = cpuMs(this.#daemonPid);
    const scrape = await this.scraper.scrape(this.#limits);
    await new Promise((resolve) => setTimeout(resolve, AFTERMATH_MS));
    this.#ownCpuMs.push(cpuMs(this.pid) - own);
    this.#daemonCpuMs.push(cpuMs(this.#daemonPid) - daemon);
    this.#wallMs.push(scrape.wallMs);
    this.#residentBytes = Math.max(this.#residentBytes, residentBytes(this.pid));
    this.#wireBytes = scrape.wireBytes;
    this.#text = scrape.text();
  }

  /** Scrapes that do not count: connections, caches and compiled code come to be. */
  async warmUp(scrapes: number): Promise<void> {
    for (let i = 0; i < scrapes; i++) await this.scraper.scrape(this.#limits);
  }

  cost(): Cost {
    return {
      wallMedianMs: median(this.#wallMs),
      wallP95Ms: quantile(this.#wallMs, 0.95),
      ownCpuMs: mean(this.#ownCpuMs),
      daemonCpuMs: mean(this.#daemonCpuMs),
      residentBytes: this.#residentBytes,
      wireBytes: this.#wireBytes,
      bytes: Buffer.byteLength(this.#text),
      samples: countSamples(this.#text),
    };
  }

  [Symbol.dispose](): void {
    this.scraper[Symbol.dispose]();
  }
}

/**
 * Measures several exporters in turn, so that whatever else the machine does befalls all alike: A B C, B C A, C A B, …
 * @param onRound called before each round, for a line of progress
 */
export async function measureInTurn(
  subjects: readonly Subject[],
  rounds: number,
  onRound: (round: number) => void = () => {},
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    onRound(round);
    for (let i = 0; i < subjects.length; i++) await subjects[(round + i) % subjects.length]!.measure();
  }
}
