import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { allKinds, type Kind } from "../kube/kinds.ts";
import { firstSentence } from "./comment-text.ts";

/** An exported function of `src/mesh` that needs one object and no mesh, so that a rule declares nothing for it. */
export interface ObjectFunction {
  readonly name: string;
  readonly kind: Kind;
  /** What it takes besides the object: `client: string`; empty: nothing. */
  readonly others: readonly string[];
  /** The file that declares it, below the repository's root. */
  readonly file: string;
  /** The first sentence of the comment above it. */
  readonly summary: string | undefined;
}

/** In the order of their names. */
export function findObjectFunctions(root: string): readonly ObjectFunction[] {
  const files = globSync("src/mesh/**/*.ts", { cwd: root }).map((file) => file.replaceAll("\\", "/"));
  return files
    .flatMap((file) => functionsIn(readFileSync(join(root, file), "utf8"), file))
    .sort((one, other) => compare(`${one.name} ${one.file}`, `${other.name} ${other.file}`));
}

const compare = (one: string, other: string): number => (one < other ? -1 : Number(one > other));

/** The functions of one object in the text of a file. */
export function functionsIn(text: string, file: string): readonly ObjectFunction[] {
  const source = text.replaceAll("\r\n", "\n");
  const statements = source.matchAll(
    /(\/\*\*(?:(?!\*\/)[^])*\*\/\n)?export (?:const (\w+) = |function (\w+)(?:<[^\n(]*>)?)\(/g,
  );
  return [...statements].flatMap((statement): readonly ObjectFunction[] => {
    const [whole, comment, constant, named] = statement;
    const [first, ...others] = parametersAt(source, statement.index + whole.length);
    const kind = kindOf(first?.type);
    if (
      kind === undefined ||
      others.some(({ name, type }) => name === "mesh" || /\b(?:Mesh\w*View|Mesh|View)\b/.test(type))
    )
      return [];
    const summary = comment === undefined ? undefined : firstSentence(comment);
    return [
      {
        name: constant ?? named ?? "",
        kind,
        others: others.map(shown),
        file,
        summary,
      },
    ];
  });
}

interface Parameter {
  readonly name: string;
  readonly type: string;
}

/** The parameters of a list whose opening parenthesis is just before `start`. */
function parametersAt(source: string, start: number): readonly Parameter[] {
  const parts: string[] = [];
  let [depth, from, at] = [0, start, start];
  for (; depth >= 0 && at < source.length; at++) {
    const sign = source[at] ?? "";
    // The arrow of a function type closes nothing.
    const isArrow = source.startsWith("=>", at - 1);
    depth += "([{<".includes(sign) ? 1 : ")]}>".includes(sign) && !isArrow ? -1 : 0;
    if (depth > 0 || (depth === 0 && sign !== ",")) continue;
    parts.push(source.slice(from, at));
    from = at + 1;
  }
  return parts
    .map((part) => part.replaceAll(/\s+/g, " ").trim())
    .filter((part) => part !== "")
    .map(parameterOf);
}

/** `{ spec }: VirtualService` has no name of its own. */
function parameterOf(text: string): Parameter {
  const [, name = text, type = ""] = /^(\{.*?\}|\w+)(?:\??: (.*?))?(?: = .*)?$/.exec(text) ?? [];
  const own = /^\w+$/.test(name) ? name : lowerFirst(/\w+/.exec(type)?.[0] ?? "");
  return { name: own, type };
}

const shown = ({ name, type }: Parameter): string => (type === "" ? name : `${name}: ${type}`);

const lowerFirst = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1);

/** `VirtualService` and `ObjectOf<"VirtualService">` are objects of that kind. */
const kindOf = (type: string | undefined): Kind | undefined =>
  allKinds.find((kind) => type === kind || type === `ObjectOf<"${kind}">`);
