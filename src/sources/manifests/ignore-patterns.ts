/** A line of an ignore file, which excludes paths or, with `!`, includes them again. */
interface Pattern {
  readonly expression: RegExp;
  readonly onlyFolders: boolean;
  readonly ignores: boolean;
}

/**
 * The patterns of one `.meshwardignore`, with the syntax of `.gitignore`: `#` starts a comment, `*` and `?` do not match
 * a slash, `**` does, a slash at the end matches folders only, one at the start or in the middle anchors the pattern to
 * this folder, `!` includes a path again, and the last match decides.
 */
export class IgnorePatterns {
  readonly #patterns: readonly Pattern[];

  constructor(text: string) {
    this.#patterns = text.split(/\r?\n/).flatMap((line) => patternOf(line) ?? []);
  }

  /** `path` is relative to the folder of the ignore file, with `/`. Undefined if no line matches it. */
  ignores(path: string, isFolder: boolean): boolean | undefined {
    const last = this.#patterns.findLast(
      (pattern) => (isFolder || !pattern.onlyFolders) && pattern.expression.test(path),
    );
    return last?.ignores;
  }
}

function patternOf(line: string): Pattern | undefined {
  let text = line.replace(/(?<!\\)[ \t]+$/, "");
  if (text === "" || text.startsWith("#")) return undefined;
  const ignores = !text.startsWith("!");
  if (!ignores) text = text.slice(1);
  const onlyFolders = text.endsWith("/");
  if (onlyFolders) text = text.slice(0, -1);
  const fromHere = text.includes("/");
  if (text.startsWith("/")) text = text.slice(1);
  if (text === "") return undefined;
  const expression = expressionOf(fromHere ? text : `**/${text}`);
  return expression && { expression, onlyFolders, ignores };
}

const token = /^\*\*\/|\/\*\*\/|\/\*\*$|\*+|\?|\[[!^]?\]?[^\]]*\]|\\[\s\S]|[\s\S]/g;

function expressionOf(glob: string): RegExp | undefined {
  try {
    return new RegExp(`^${glob.replaceAll(token, (part) => expressionOfPart(part))}$`, "u");
  } catch {
    // A class such as [z-a] matches nothing, as in git.
    return undefined;
  }
}

function expressionOfPart(part: string): string {
  switch (part) {
    case "**/":
      return "(?:.*/)?";
    case "/**/":
      return "/(?:.*/)?";
    case "/**":
      return "/.+";
    case "?":
      return "[^/]";
    default:
      if (part.startsWith("*")) return "[^/]*";
      return part.length > 1 ? longPart(part) : escaped(part);
  }
}

function longPart(part: string): string {
  if (part.startsWith("\\")) return escaped(part.slice(1));
  const negated = part[1] === "!" || part[1] === "^";
  const members = part.slice(negated ? 2 : 1, -1).replaceAll(/[\\\]^[]/g, "\\$&");
  return negated ? `(?!/)[^${members}]` : `[${members}]`;
}

function escaped(character: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(character) ? `\\${character}` : character;
}
