/**
 * The known name that a mistyped one most likely stands for: the only one that begins or ends with it, one with a few letters wrong, or
 * one with other separators (`loglevel` for `log.level`). Undefined when none is near, or several are equally near.
 */
export function findNearest(name: string, names: readonly string[]): string | undefined {
  const wanted = name.toLowerCase();
  const containing = wanted.length < PART_LENGTH_MIN ? [] : names.filter((each) => hasPart(each.toLowerCase(), wanted));
  if (containing.length === 1) return containing[0];
  const distances = names.map((candidate) => ({ candidate, distance: nameDistance(wanted, candidate.toLowerCase()) }));
  const least = Math.min(...distances.map(({ distance }) => distance));
  const nearest = distances.filter(({ distance }) => distance === least && distance < Number.POSITIVE_INFINITY);
  if (nearest.length > 0) return nearest.length === 1 ? nearest[0]!.candidate : undefined;
  if (wanted.length < PART_LENGTH_MIN) return undefined;
  const beginning = names.filter((each) => each.toLowerCase().startsWith(wanted));
  return beginning.length === 1 ? beginning[0] : undefined;
}

/** A shorter part of a name says too little. */
const PART_LENGTH_MIN = 3;

/** Whether a name begins or ends with whole words. */
function hasPart(candidate: string, words: string): boolean {
  if (candidate.startsWith(words)) return SEPARATORS.test(candidate[words.length] ?? '');
  return candidate.endsWith(words) && SEPARATORS.test(candidate.at(-words.length - 1) ?? '');
}

/**
 * How many letters are wrong; infinite when they are too many for one of the words, so that `collector.net` is not taken for
 * `collector.perf` because of what they share.
 */
function nameDistance(a: string, b: string): number {
  const wordsA = a.split(SEPARATORS);
  const wordsB = b.split(SEPARATORS);
  if (wordsA.length !== wordsB.length) return distanceUpTo(1, wordsA.join(''), wordsB.join(''));
  return wordsA.reduce((sum, word, index) => {
    const other = wordsB[index]!;
    if (abbreviates(word, other)) return sum + 1;
    return sum + distanceUpTo(Math.floor(Math.max(word.length, other.length) / 3), word, other);
  }, 0);
}

const SEPARATORS = /[._-]/;

/** Whether a word is another with letters left out, such as `cfg` for `config`. */
function abbreviates(word: string, other: string): boolean {
  if (word.length < 2 || word === other || word[0] !== other[0]) return false;
  let at = 0;
  for (const letter of other) if (letter === word[at]) at++;
  return at === word.length;
}

/** Infinite when it is more. */
function distanceUpTo(most: number, a: string, b: string): number {
  if (Math.abs(a.length - b.length) > most) return Number.POSITIVE_INFINITY;
  const distance = editDistance(a, b);
  return distance > most ? Number.POSITIVE_INFINITY : distance;
}

/** Letters to insert, drop, replace or swap with the next one (Damerau and Levenshtein's distance, of adjacent letters). */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    const last = rows[i - 1]!;
    for (let j = 1; j <= b.length; j++) {
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
