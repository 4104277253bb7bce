// Prometheus's text format read back, strictly, by the book and not by our own code: what a test compares.

/** One family of a page. */
export interface ParsedFamily {
  readonly type: string;
  readonly help: string;
  /** Series (`name{a="b"}` with its labels sorted, values unescaped as JSON) to its value as text. */
  readonly samples: ReadonlyMap<string, string>;
}

/** A series' identity: the name and its labels, in the order of their names. */
export function seriesOf(name: string, labels: Readonly<Record<string, string>>): string {
  const entries = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${name}${JSON.stringify(entries)}`;
}

/** The labels of a series, from its identity. */
export function labelsOf(series: string): Record<string, string> {
  return Object.fromEntries(JSON.parse(series.slice(series.indexOf('['))) as [string, string][]);
}

const SUFFIX = /_(bucket|sum|count|total|info|created)$/;

/**
 * Reads a page in the text format or in OpenMetrics. Throws on what a strict reader would not take: a family declared twice, a series
 * that is there twice, a sample outside of its family's block, a line that is none.
 */
export function parseExposition(text: string): Map<string, ParsedFamily> {
  const families = new Map<string, { type: string; help: string; samples: Map<string, string> }>();
  let current = '';
  const declare = (name: string, what: 'type' | 'help', value: string) => {
    let family = families.get(name);
    if (family === undefined) {
      family = { type: '', help: '', samples: new Map() };
      families.set(name, family);
    } else if (name !== current || family[what] !== '' || family.samples.size > 0) {
      throw new Error(`the family ${name} is declared twice`);
    }
    family[what] = value;
    current = name;
  };
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  for (const line of text.slice(0, -1).split('\n')) {
    const declaration = /^# (HELP|TYPE|UNIT) (\S+) (.*)$/.exec(line);
    if (declaration !== null) {
      if (declaration[1] !== 'UNIT') {
        declare(declaration[2]!, declaration[1] === 'TYPE' ? 'type' : 'help', declaration[3]!);
      }
      continue;
    }
    if (line === '# EOF') continue;
    const { name, labels, value } = parseSample(line);
    if (name !== current && name.replace(SUFFIX, '') !== current) {
      throw new Error(`a sample of ${name} stands in the block of ${current}`);
    }
    const series = seriesOf(name, labels);
    const { samples } = families.get(current)!;
    if (samples.has(series)) throw new Error(`the series ${line} is there twice`);
    samples.set(series, value);
  }
  return families;
}

/** Every series of a page, without the families. */
export function parseSeries(text: string): Map<string, string> {
  return new Map([...parseExposition(text).values()].flatMap(({ samples }) => [...samples]));
}

function parseSample(line: string): { name: string; labels: Record<string, string>; value: string } {
  const head = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line);
  if (head === null) throw new Error(`no sample: ${line}`);
  let at = head[0].length;
  const labels: Record<string, string> = {};
  if (line[at] === '{') {
    at++;
    const label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|(?=\}))/y;
    while (line[at] !== '}') {
      label.lastIndex = at;
      const match = label.exec(line);
      if (match === null) throw new Error(`no labels: ${line}`);
      if (match[1]! in labels) throw new Error(`the label ${match[1]} is there twice: ${line}`);
      labels[match[1]!] = match[2]!.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char));
      at = label.lastIndex;
    }
    at++;
  }
  const value = /^ ([-+]?(?:\d+(?:\.\d+)?(?:e[-+]?\d+)?|Inf|NaN))$/.exec(line.slice(at));
  if (value === null) throw new Error(`no value: ${line}`);
  return { name: head[0], labels, value: value[1]! };
}
