import type { Pattern, Token } from "./patterns.ts";
import type { Work } from "./work.ts";

/** One step of a pattern: a character, one character of a class, or any number of them. */
interface Step {
  readonly character: string | undefined;
  readonly slash: boolean;
  readonly repeats: boolean;
}

const stepsOf = (token: Token): readonly Step[] => {
  if (typeof token === "string") return [...token].map((character) => ({ character, slash: true, repeats: false }));
  const one = { character: undefined, slash: token.slash, repeats: false };
  return [...(token.atLeast === 1 ? [one] : []), { ...one, repeats: true }];
};

const accepts = ({ character, slash }: Step, read: string): boolean =>
  character === undefined ? slash || read !== "/" : character === read;

/** The positions in a pattern that a text can have reached. */
class Run {
  readonly #steps: readonly Step[];
  readonly #at: ReadonlySet<number>;

  constructor(steps: readonly Step[], at: Iterable<number> = [0]) {
    this.#steps = steps;
    this.#at = this.#withRepeats(at);
  }

  get isDead(): boolean {
    return this.#at.size === 0;
  }
  get isMatched(): boolean {
    return this.#at.has(this.#steps.length);
  }
  get key(): string {
    return [...this.#at].sort((a, b) => a - b).join();
  }

  after(read: string): Run {
    const next: number[] = [];
    for (const i of this.#at) {
      const step = this.#steps[i];
      if (step !== undefined && accepts(step, read)) next.push(step.repeats ? i : i + 1);
    }
    return new Run(this.#steps, next);
  }

  #withRepeats(at: Iterable<number>): ReadonlySet<number> {
    const all = new Set<number>();
    for (const start of at) {
      let i = start;
      all.add(i);
      while (this.#steps[i]?.repeats === true) all.add(++i);
    }
    return all;
  }
}

interface State {
  readonly text: string;
  readonly required: readonly Run[];
  readonly excluded: readonly Run[];
}

/**
 * The shortest text that every pattern of the first list matches and none of the second one, by a search in the product
 * of their automata. It ends: there are finitely many states, and each one is visited once.
 */
export function shortestText(
  required: readonly Pattern[],
  excluded: readonly Pattern[],
  work: Work,
): string | undefined {
  const characters = charactersOf([...required, ...excluded]);
  const runOf = ({ tokens }: Pattern) => new Run(tokens.flatMap(stepsOf));
  const states: State[] = [{ text: "", required: required.map(runOf), excluded: excluded.map(runOf) }];
  const seen = new Set<string>();
  for (const { text, ...runs } of states) {
    if (runs.required.every((run) => run.isMatched) && !runs.excluded.some((run) => run.isMatched)) return text;
    for (const character of characters) {
      const next = {
        required: runs.required.map((run) => run.after(character)),
        excluded: runs.excluded.map((run) => run.after(character)),
      };
      if (next.required.some((run) => run.isDead)) continue;
      const key = [...next.required, ...next.excluded].map((run) => run.key).join("|");
      work.spend(next.required.length + next.excluded.length);
      if (seen.has(key)) continue;
      seen.add(key);
      states.push({ text: text + character, ...next });
    }
  }
  return undefined;
}

/** The characters in the patterns, and one that stands for all others. */
function charactersOf(patterns: readonly Pattern[]): readonly string[] {
  const literal = new Set(patterns.flatMap(({ literals }) => literals.flatMap((text) => [...text])));
  const other = ["x", "o", "z", "0", "_", "~", "\u{e000}"].find((character) => !literal.has(character));
  return [...literal, "/", ...(other === undefined ? [] : [other])].filter((one, i, all) => all.indexOf(one) === i);
}
