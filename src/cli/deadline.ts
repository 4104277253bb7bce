/** How much earlier than the scraper gives up the samples are ready, so that they can be printed and sent: a tenth of its time, … */
const MARGIN_PART = 0.1;
/** … within these bounds, … */
const MARGIN_MIN_MS = 50;
const MARGIN_MAX_MS = 500;
/** … but of a very short time never more than half. */
const MARGIN_PART_MAX = 0.5;

/** How long a collection may take, in milliseconds, for a scraper that waits `scrapeTimeoutMs`. */
export function collectionDeadlineMs(scrapeTimeoutMs: number): number {
  const marginMs = Math.min(MARGIN_MAX_MS, Math.max(MARGIN_MIN_MS, scrapeTimeoutMs * MARGIN_PART));
  return scrapeTimeoutMs - Math.min(marginMs, scrapeTimeoutMs * MARGIN_PART_MAX);
}
