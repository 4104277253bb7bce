import type { FamilyStream } from '../model/metric.ts';
import { formatOpenMetrics, OPENMETRICS_CONTENT_TYPE } from './openmetrics.ts';
import { formatPrometheus, PROMETHEUS_CONTENT_TYPE } from './prometheus.ts';

/** A way to print metric families, and the Content-Type that names it. */
export interface ExpositionFormat {
  readonly contentType: string;
  readonly format: (families: FamilyStream) => Generator<Uint8Array, void, void>;
}

export const PROMETHEUS_FORMAT: ExpositionFormat = { contentType: PROMETHEUS_CONTENT_TYPE, format: formatPrometheus };
export const OPENMETRICS_FORMAT: ExpositionFormat = {
  contentType: OPENMETRICS_CONTENT_TYPE,
  format: formatOpenMetrics,
};

/** OpenMetrics' last draft, which Prometheus still names as its second choice. virtlens's output is the same in both. */
const OPENMETRICS_DRAFT_FORMAT: ExpositionFormat = {
  contentType: OPENMETRICS_CONTENT_TYPE.replace('1.0.0', '0.0.1'),
  format: formatOpenMetrics,
};

interface Clause {
  readonly format: ExpositionFormat;
  readonly quality: number;
  readonly wildcard: boolean;
}

/**
 * Chooses the format for an Accept header: the one of highest quality, an exact name before a wildcard, the earlier of two. A header
 * without a format that virtlens has gets Prometheus's text format, as with Prometheus's client libraries; nothing is refused.
 */
export function negotiateFormat(accept: string | undefined): ExpositionFormat {
  let best: Clause | undefined;
  for (const part of splitOutsideQuotes(accept ?? '', ',')) {
    const clause = parseClause(part);
    if (clause === undefined || clause.quality === 0) continue;
    if (best === undefined || clause.quality > best.quality) best = clause;
    else if (clause.quality === best.quality && best.wildcard && !clause.wildcard) best = clause;
  }
  return best?.format ?? PROMETHEUS_FORMAT;
}

/** The format that one clause of an Accept header asks for; undefined when virtlens does not have it. */
function parseClause(text: string): Clause | undefined {
  const [range = '', ...parameters] = splitOutsideQuotes(text, ';').map((part) => part.trim());
  let version: string | undefined;
  let quality = 1;
  for (const parameter of parameters) {
    const [name, value] = parseParameter(parameter);
    if (name === 'version') version = value;
    if (name === 'q') quality = parseQuality(value);
  }
  const mediaType = range.toLowerCase();
  const format = findFormat(mediaType, version);
  return format && { format, quality, wildcard: mediaType.includes('*') };
}

function findFormat(mediaType: string, version: string | undefined): ExpositionFormat | undefined {
  switch (mediaType) {
    case 'application/openmetrics-text':
      if (version === undefined || version === '1.0.0') return OPENMETRICS_FORMAT;
      return version === '0.0.1' ? OPENMETRICS_DRAFT_FORMAT : undefined;
    case 'text/plain':
      return version === undefined || version === '0.0.4' ? PROMETHEUS_FORMAT : undefined;
    case 'text/*':
    case '*/*':
      return PROMETHEUS_FORMAT;
    default:
      return undefined;
  }
}

/**
 * The quality with which an Accept-Encoding header takes `coding`, from 0 (not at all) to 1; its own clause counts before `*`
 * (RFC 9110, 12.5.3).
 */
export function encodingQuality(acceptEncoding: string | undefined, coding: string): number {
  let wildcard = 0;
  for (const clause of (acceptEncoding ?? '').split(',')) {
    const [name = '', ...parameters] = clause.split(';').map((part) => part.trim());
    let quality = 1;
    for (const parameter of parameters) {
      const [key, value] = parseParameter(parameter);
      if (key === 'q') quality = parseQuality(value);
    }
    if (name.toLowerCase() === coding) return quality;
    if (name === '*') wildcard = quality;
  }
  return wildcard;
}

function parseParameter(text: string): [name: string, value: string] {
  const equals = text.indexOf('=');
  if (equals < 0) return [text.toLowerCase(), ''];
  return [
    text.slice(0, equals).trim().toLowerCase(),
    text
      .slice(equals + 1)
      .trim()
      .replace(/^"(.*)"$/, '$1'),
  ];
}

/** A quality value; one that is no number from 0 to 1 counts as 1, as if it were not there. */
function parseQuality(text: string): number {
  return /^(0(\.\d*)?|1(\.0*)?|\.\d+)$/.test(text) ? Number(text) : 1;
}

/** Splits at a separator, but not inside a quoted string such as the value of `version="1.0.0"`. */
function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let quoted = false;
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (character === '"') quoted = !quoted;
    else if (character === separator && !quoted) {
      parts.push(text.slice(start, index));
      start = index + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}
