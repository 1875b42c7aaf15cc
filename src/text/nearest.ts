/**
 * Words that a user can have meant. They are read once, so that many words can be compared with the same thousands of them.
 */
export class Candidates {
  readonly #words: readonly string[];
  readonly #lower: readonly string[];
  /** A bit for each character, of 32 classes, that a word contains. */
  readonly #characters: Int32Array;

  get size(): number {
    return this.#words.length;
  }

  constructor(words: Iterable<string>) {
    this.#words = [...words];
    this.#lower = this.#words.map((word) => word.toLowerCase());
    this.#characters = Int32Array.from(this.#lower, charactersOf);
  }

  /**
   * The one that a user probably meant: the one that needs the fewest edits (insert, delete, replace, swap of two
   * neighbours), if they are few for the length of the word. Case is ignored. Of equally near ones, the first. In a word of
   * three letters, two edits are few only behind the same first letter: `Foo` is not `Job`.
   */
  nearest(word: string): string | undefined {
    const wanted = word.toLowerCase();
    const read: Word = { length: word.length, characters: charactersOf(wanted) };
    const edits = wordOf(wanted);
    let best: string | undefined;
    let fewest = Math.max(2, Math.floor(word.length / 3)) + 1;
    for (let i = 0; i < this.#words.length && fewest > 0; i++) {
      if (!this.#mayBeNear(i, read, fewest)) continue;
      const candidate = this.#lower[i] as string;
      const distance = edits?.distance(candidate, fewest) ?? editDistance(wanted, candidate, fewest);
      if (distance >= fewest || !isFew(distance, wanted, candidate)) continue;
      fewest = distance;
      best = this.#words[i];
    }
    return best;
  }

  /** Whether it can have fewer edits, by its length and characters: an edit adds one character, removes one, or does both. */
  #mayBeNear(i: number, { length, characters }: Word, fewest: number): boolean {
    if (Math.abs((this.#lower[i] as string).length - length) >= fewest) return false;
    return countOfBits(characters ^ (this.#characters[i] as number)) <= 2 * (fewest - 1);
  }
}

const isFew = (distance: number, wanted: string, candidate: string): boolean =>
  distance < candidate.length && (distance <= 1 || wanted.length > 3 || candidate[0] === wanted[0]);

/** Whether one edit makes one word of the other: a letter more, fewer or another, or two neighbours swapped. */
export const isOneEdit = (one: string, other: string): boolean => editDistance(one, other, 2) === 1;

interface Word {
  readonly length: number;
  readonly characters: number;
}

/** See {@link Candidates}. */
export const nearest = (word: string, candidates: Iterable<string>): string | undefined =>
  new Candidates(candidates).nearest(word);

function charactersOf(word: string): number {
  let bits = 0;
  for (let i = 0; i < word.length; i++) bits |= 1 << (word.charCodeAt(i) & 31);
  return bits;
}

/** Of 32 bits, in pairs, then in fours, and so on. */
function countOfBits(bits: number): number {
  const pairs = bits - ((bits >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Returns `; did you mean "deny"?`, or an empty string if no candidate is near. */
export function suggestion(word: string, candidates: Iterable<string>): string {
  const meant = nearest(word, candidates);
  return meant === undefined ? "" : `; did you mean ${JSON.stringify(meant)}?`;
}

/** With a word in bits the distance takes a few operations for each character of the other one. */
const mostBits = 31;

/** The word in bits, if it is short and of ASCII as most names are. */
const wordOf = (word: string): BitWord | undefined =>
  word.length > 0 && word.length <= mostBits && isAscii(word) ? new BitWord(word) : undefined;

function isAscii(word: string): boolean {
  for (let i = 0; i < word.length; i++) if (word.charCodeAt(i) > 127) return false;
  return true;
}

/** Optimal string alignment by columns of bits (Hyyrö, "A Bit-Vector Algorithm for Computing Levenshtein and Damerau Edit Distances"). */
class BitWord {
  readonly #length: number;
  /** For each character, the positions at which the word has it. */
  readonly #positions = new Int32Array(128);

  constructor(word: string) {
    this.#length = word.length;
    for (let i = 0; i < word.length; i++) {
      const code = word.charCodeAt(i);
      this.#positions[code] = (this.#positions[code] as number) | (1 << i);
    }
  }

  /** `most` or more: it has no fewer edits. */
  distance(other: string, most: number): number {
    const last = 1 << (this.#length - 1);
    let [more, fewer, diagonal, before, distance] = [-1, 0, 0, 0, this.#length];
    for (let j = 0; j < other.length; j++) {
      const here = this.#positions[other.charCodeAt(j)] ?? 0;
      const swapped = ((~diagonal & here) << 1) & before;
      diagonal = (((here & more) + more) ^ more) | here | fewer | swapped;
      const [up, down] = [fewer | ~(diagonal | more), diagonal & more];
      if ((up & last) !== 0) distance++;
      if ((down & last) !== 0) distance--;
      // Each of the other characters takes one edit away at most.
      if (distance - (other.length - 1 - j) >= most) return most;
      more = (down << 1) | ~(diagonal | ((up << 1) | 1));
      fewer = ((up << 1) | 1) & diagonal;
      before = here;
    }
    return distance;
  }
}

/** Optimal string alignment: each pair of neighbours is swapped at most once. `most` or more: it has no fewer edits. */
function editDistance(from: string, to: string, most: number): number {
  if (from === to) return 0;
  let rows: Rows = { last: [], row: Array.from({ length: to.length + 1 }, (_, j) => j), next: [] };
  let leastBefore = 0;
  for (let i = 1; i <= from.length; i++) {
    const least = addRow(i, from, to, rows);
    // A swap reaches over one row, and adds an edit to it.
    if (least >= most && leastBefore + 1 >= most) return most;
    leastBefore = least;
    rows = { last: rows.row, row: rows.next, next: rows.last };
  }
  return at(rows.row, to.length);
}

interface Rows {
  readonly last: number[];
  readonly row: number[];
  readonly next: number[];
}

/** Fills the next row and returns its least number of edits. */
function addRow(i: number, from: string, to: string, { last, row, next }: Rows): number {
  next[0] = i;
  let least = i;
  for (let j = 1; j <= to.length; j++) {
    const replaced = at(row, j - 1) + (from[i - 1] === to[j - 1] ? 0 : 1);
    const isSwap = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
    const swapped = isSwap ? at(last, j - 2) + 1 : replaced;
    const edits = Math.min(replaced, swapped, at(row, j) + 1, at(next, j - 1) + 1);
    next[j] = edits;
    least = Math.min(least, edits);
  }
  return least;
}

const at = (row: readonly number[], j: number): number => row[j] ?? 0;
