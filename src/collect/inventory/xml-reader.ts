import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { cut } from '../../base/text.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { Session } from '../../connection/session.ts';
import { CALL_KINDS, PLACES } from '../../connection/worker-budget.ts';
import { isRemoteError, LibvirtError, REMOTE_ERROR } from '../../libvirt/index.ts';
import { MESSAGE_MAX, NAME_MAX } from '../log-text.ts';
import { type NextTurn, WorkSlice } from '../work-slice.ts';
import type { DomainRecord } from './domain-record.ts';
import { type ParsedDomain, parseLongDomainXml } from './xml/domain-xml.ts';
import { DomainXmlError } from './xml/domain-xml-error.ts';
import type { XmlState } from './xml-state.ts';

/** How long a collection waits for one XML; a later answer is used when it comes. */
const WAIT_MS = 1_000;
/** XMLs asked for at once. */
const CALLS_IN_FLIGHT = PLACES.control.count - CALL_KINDS.domain.leavesFree;
/**
 * One collection parses XML for this long, and the rest is left to the next: a VM's owner decides how large its XML is. A host of a
 * thousand ordinary VMs takes less.
 */
const PARSING_MAX_MS = 1_500;

/** One VM whose XML is to be read. */
export interface XmlDue {
  readonly record: DomainRecord;
  readonly xml: XmlState;
}

export interface XmlReaderOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nextTurn: NextTurn;
  /** Called when the XML has another name than the record. */
  onName(record: DomainRecord, name: string): void;
  /** Called for a VM that the daemon no longer knows. */
  onGone(record: DomainRecord): void;
}

/** Reads the XML of VMs into their records. */
export class XmlReader {
  readonly #options: XmlReaderOptions;
  readonly #slice: WorkSlice;
  /** Settles when what is being parsed has been. */
  #parsing: Promise<unknown> = Promise.resolve();
  /** How long this collection may go on parsing. */
  #parsingLeftMs = PARSING_MAX_MS;

  constructor(options: XmlReaderOptions) {
    this.#options = options;
    this.#slice = new WorkSlice(options.clock, options.nextTurn);
  }

  /** Reads these in their order, until the signal aborts or the time for it is used up; what is not read stays due. */
  async read(session: Session, dues: readonly XmlDue[], signal: AbortSignal): Promise<void> {
    this.#parsingLeftMs = PARSING_MAX_MS;
    const queue = dues.values();
    const reader = async () => {
      for (const due of queue) {
        // Earlier XMLs that have not come occupy the connection: more would only wait.
        if (signal.aborted || !session.isOpen || session.mustWait('domain') || this.#parsingLeftMs <= 0) return;
        const limits = { signal, timeoutMs: WAIT_MS };
        const outcome = await waitFor(this.#readOne(session, due), this.#options.clock, limits);
        if (outcome === LATE) return;
      }
    };
    await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, reader));
  }

  /** Reads one XML, whenever it comes. Never rejects for anything that libvirt or the XML does: what was known stays. */
  async #readOne(session: Session, { record, xml: state }: XmlDue): Promise<void> {
    const { clock, logger, onName, onGone } = this.#options;
    const reading = state.begin(clock.monotonicMs());
    try {
      const { xml } = await session.send('domain', 'domainGetXmlDesc', { domain: record.ref, flags: 0 }).reply;
      const { name, config } = await this.#parse(xml);
      state.succeed(reading);
      record.reported.clear('XML');
      record.takeConfig(config);
      if (name !== record.ref.name) onName(record, name);
    } catch (error) {
      if (!(error instanceof LibvirtError || error instanceof DomainXmlError)) throw error;
      if (isRemoteError(error, REMOTE_ERROR.noDomain)) onGone(record);
      if (record.state === 'gone' || (error instanceof LibvirtError && !SAYS_SOMETHING.has(error.code))) {
        return state.abandon(reading);
      }
      state.fail(reading);
      const err = cut(error.message, MESSAGE_MAX);
      if (!record.reported.note('XML', err)) return;
      logger.warn("a domain's XML could not be read", { domain: cut(record.ref.name, NAME_MAX), err });
    }
  }

  /** Parses one XML at a time, and lets everything else in the process have its turn in between. */
  #parse(xml: string): Promise<ParsedDomain> {
    const { clock } = this.#options;
    const parsed = this.#parsing.then(async () => {
      let startedMs = clock.monotonicMs();
      const spend = () => {
        this.#parsingLeftMs -= clock.monotonicMs() - startedMs;
      };
      const pause = async () => {
        spend();
        if (this.#slice.isUsedUp) await this.#slice.yield();
        startedMs = clock.monotonicMs();
      };
      await pause();
      return parseLongDomainXml(xml, pause).finally(spend);
    });
    this.#parsing = parsed.catch(() => {});
    return parsed;
  }
}

/** Errors that are about the VM; all others are about the connection. */
const SAYS_SOMETHING: ReadonlySet<string> = new Set(['ERR_LIBVIRT_REMOTE', 'ERR_LIBVIRT_ARGUMENT']);
