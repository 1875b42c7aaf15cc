import { Composer, type Document, type ErrorCode, Lexer, Parser, type YAMLError } from "yaml";
import type { Path } from "../../kube/read.ts";
import type { LineNumbers } from "./line-numbers.ts";
import { plainValue } from "./plain-yaml.ts";
import {
  DocumentProblem,
  duplicateKey,
  maxDepth,
  maxProblems,
  Positions,
  quote,
  type SourceDocument,
  type SourceProblem,
  tooDeep,
} from "./source-document.ts";
import type { DocumentMemory } from "./document-memory.ts";
import { type AliasBudget, aliasBudget, type Duplicate, YamlValues } from "./yaml-values.ts";

/** The YAML library needs several hundred bytes of memory for each byte of a document. */
const maxYamlDocument = 8 * 1024 * 1024;

interface Chunk {
  readonly start: number;
  readonly text: string;
  readonly problem?: SourceProblem;
}

/**
 * Reads the documents of a YAML file as kubectl would. Each document is read separately, so that an error in one does
 * not affect the others. Empty documents (nothing, comments, `null`) are left out, as in kubectl. Yields after each document.
 * Never throws.
 */
export function* readYamlDocuments(
  text: string,
  lines: () => LineNumbers,
  { isWanted = () => true, memory }: YamlOptions = {},
): Generator<void, SourceDocument[]> {
  const budget: AliasBudget = { left: aliasBudget };
  const documents: SourceDocument[] = [];
  for (const chunk of splitDocuments(text)) {
    if (!isWanted(chunk.text)) continue;
    const document = readChunk(chunk, { budget, lines, memory });
    if (document !== undefined) documents.push(document);
    yield;
  }
  return documents;
}

export interface YamlOptions {
  /** Only documents whose text it accepts are parsed. */
  readonly isWanted?: ((text: string) => boolean) | undefined;
  readonly memory?: DocumentMemory | undefined;
}

interface ChunkReading {
  /** What the aliases of all documents may add together. */
  readonly budget: AliasBudget;
  readonly lines: () => LineNumbers;
  readonly memory: DocumentMemory | undefined;
}

/**
 * Splits at lines that start with `---`, as `YAMLReader` in k8s.io/apimachinery pkg/util/yaml/decoder.go does, which
 * allows only a comment after the dashes.
 */
function* splitDocuments(text: string): Generator<Chunk> {
  let start = 0;
  let problem: SourceProblem | undefined;
  for (const separator of separators(text)) {
    yield { start, text: text.slice(start, separator.start), ...(problem && { problem }) };
    start = separator.end;
    problem = separator.problem;
  }
  yield { start, text: text.slice(start), ...(problem && { problem }) };
}

function* separators(text: string): Generator<{ start: number; end: number; problem?: SourceProblem }> {
  let start = text.startsWith("---") ? 0 : text.indexOf("\n---") + 1;
  while (start > 0 || text.startsWith("---", start)) {
    const newline = text.indexOf("\n", start);
    const end = newline === -1 ? text.length : newline + 1;
    const rest = text.slice(start + 3, end);
    if (/^\s*(?:#.*)?\s*$/.test(rest)) yield { start, end };
    else if (/^\s/.test(rest)) yield { start, end, problem: { offset: start, message: afterSeparator } };
    start = newline === -1 ? 0 : text.indexOf("\n---", end - 1) + 1;
    if (start === 0) return;
  }
}

const afterSeparator = "kubectl ignores text after --- in the same line; move it to the next line";

function readChunk(chunk: Chunk, { budget, lines, memory }: ChunkReading): SourceDocument | undefined {
  if (chunk.problem !== undefined) return broken([chunk.problem]);
  const content = /^[ \t]*(?![#%\s])\S/m.exec(chunk.text);
  if (content === null) return undefined;
  const offset = chunk.start + content.index + content[0].length - 1;
  try {
    let duplicates: readonly Duplicate[] = [];
    const read = () => {
      const { left } = budget;
      const found = valueOf(chunk, budget);
      duplicates = found.duplicates;
      // Whether aliases can be read depends on the other documents of the file.
      return { value: found.value, isWhole: duplicates.length === 0 && budget.left === left };
    };
    const value = memory === undefined ? read().value : memory.valueOf(chunk.text, read);
    if (value === null) return undefined;
    const problems = duplicates.slice(0, maxProblems).map((duplicate) => ({
      offset: duplicate.offset,
      message: duplicateKey(duplicate.key, lines().at(duplicate.first).line),
    }));
    if (problems.length > 0) return broken(problems);
    return { offset, value, problems, offsetOf: locator(chunk, offset) };
  } catch (error) {
    if (error instanceof DocumentProblem) return broken([{ offset: error.offset, message: error.message }]);
    if (error instanceof RangeError) return broken([{ offset, message: tooDeep }]);
    // An unexpected exception of the library must not affect the other documents.
    return broken([
      { offset, message: `cannot be read as YAML (${String(error).slice(0, 200)}); simplify the document` },
    ]);
  }
}

function broken(problems: SourceProblem[]): SourceDocument {
  const offset = problems[0]?.offset ?? 0;
  return { offset, value: undefined, problems, offsetOf: () => offset };
}

function valueOf(chunk: Chunk, budget: AliasBudget, positions?: Positions) {
  const plain = positions === undefined && chunk.text.length <= maxYamlDocument ? plainValue(chunk.text) : undefined;
  return plain === undefined ? valueOfNodes(chunk, budget, positions) : { value: plain, duplicates: [] };
}

function valueOfNodes(chunk: Chunk, budget: AliasBudget, positions: Positions | undefined) {
  const document = compose(chunk);
  const values = new YamlValues(chunk, budget, positions);
  return { value: document === undefined ? null : values.valueOf(document.contents), duplicates: values.duplicates };
}

/** The nodes of a document take a hundred times its size, so they are parsed again when a position is needed. */
function locator(chunk: Chunk, start: number): (path: Path) => number {
  let located: { value: unknown; positions: Positions } | undefined;
  return (path) => {
    // Most positions that are asked for are those of whole documents.
    if (path.length === 0) return start;
    if (located === undefined) {
      const positions = new Positions();
      located = { value: valueOf(chunk, { left: aliasBudget }, positions).value, positions };
    }
    return located.positions.offsetOf(located.value, start, path);
  };
}

function compose(chunk: Chunk): Document | undefined {
  refuse(chunk);
  // Scalars are resolved in yaml-scalars.ts, duplicate keys found in yaml-values.ts: the library compares each key with
  // each other.
  const composer = new Composer({
    schema: "failsafe",
    resolveKnownTags: false,
    uniqueKeys: false,
    prettyErrors: false,
  });
  const documents: Document[] = [];
  for (const token of tokens(chunk)) {
    for (const document of composer.next(token)) documents.push(document);
  }
  for (const document of composer.end(false, chunk.text.length)) documents.push(document);
  const [document, second] = documents;
  const error = document?.errors.find(({ message }) => !message.startsWith(commentWithoutSpace));
  if (error !== undefined) throw syntaxProblem(error, chunk);
  const { start } = chunk;
  if (second !== undefined) throw new DocumentProblem(start + (second.range?.[0] ?? 0), afterEnd);
  return document;
}

/** kubectl's parser reads `[]# comment` as `[] # comment` (go-yaml scannerc.go yaml_parser_scan_to_next_token); in a plain scalar, # is text. */
const commentWithoutSpace = "Comments must be separated from other tokens";

const afterEnd = 'kubectl ignores text after "..."; start a new document with ---';

const controlCharacter = /(?![\t\n\r\u0085])\p{Cc}|[\ufffe\uffff]/u;

/** Throws for a document that is too large, or that the library accepts and kubectl does not. */
function refuse(chunk: Chunk): void {
  if (chunk.text.length > maxYamlDocument) {
    const limit = `${maxYamlDocument / 1024 / 1024} MiB`;
    throw new DocumentProblem(
      chunk.start,
      `this document is larger than ${limit}: split it with ---, or save it as JSON`,
    );
  }
  const control = controlCharacter.exec(chunk.text);
  if (control === null) return;
  const code = control[0].charCodeAt(0).toString(16).padStart(4, "0").toUpperCase();
  throw new DocumentProblem(chunk.start + control.index, `YAML does not allow the character U+${code}: remove it`);
}

/**
 * The library ends a quoted scalar before a line that is indented less than the YAML specification asks for. kubectl's parser
 * accepts any indentation there (go-yaml scannerc.go yaml_parser_scan_flow_scalar), and generated manifests contain such
 * lines. The members are private in the library's types; a test fails if they are gone.
 */
class KubectlLexer extends (Lexer as unknown as new () => LexerInternals) {
  override *parseQuotedScalar(): Generator<string, unknown> {
    const { indentNext } = this;
    this.indentNext = 0;
    const next = yield* super.parseQuotedScalar();
    this.indentNext = indentNext;
    return next;
  }
}
declare class LexerInternals {
  indentNext: number;
  readonly flowLevel: number;
  lex(text: string): Generator<string>;
  parseQuotedScalar(): Generator<string, unknown>;
}

/**
 * Escapes between double quotes: kubectl's parser knows `\'`, and neither `\/` nor halves of a character (go-yaml v2 scannerc.go
 * yaml_parser_scan_flow_scalar).
 */
class KubectlParser extends (Parser as unknown as new () => ParserInternals) {
  readonly #start: number;

  constructor(start: number) {
    super();
    this.#start = start;
  }

  override flowScalar(type: string): { source: string } {
    const token = super.flowScalar(type);
    if (type !== "double-quoted-scalar" || !token.source.includes("\\")) return token;
    return {
      ...token,
      source: token.source.replaceAll(/\\(?:u[dD][89a-fA-F]..|[^])/g, (escape, at: number) => {
        const problem = refusedEscape(escape);
        if (problem !== undefined) throw new DocumentProblem(this.#start + this.offset + at, problem);
        return escape === "\\'" ? String.raw`\x27` : escape;
      }),
    };
  }
}
declare class ParserInternals {
  readonly offset: number;
  readonly stack: readonly unknown[];
  flowScalar(type: string): { source: string };
  next(lexeme: string): ReturnType<Parser["next"]>;
  end(): ReturnType<Parser["end"]>;
}
function refusedEscape(escape: string): string | undefined {
  if (escape === "\\/") return String.raw`kubectl knows no escape \/ between quotes: write the slash alone`;
  return escape.length > 2 ? `kubectl reads no half of a character such as ${escape}: write the character` : undefined;
}

const plainScalar = "\u001f";

/**
 * Why kubectl reads a text without quotes otherwise between brackets: `?` is the mark of a key there wherever it stands, and a colon at the
 * beginning ends an empty key (go-yaml v2 scannerc.go yaml_parser_fetch_next_token, yaml_parser_scan_plain_scalar).
 */
function refusedInFlow(text: string): string | undefined {
  const mark = text.startsWith(":") ? ":" : text.includes("?") ? "?" : undefined;
  return (
    mark &&
    `kubectl reads the ${quote(mark)} in ${quote(text)} as the mark of a key, because it stands between brackets: quote the text`
  );
}

/** Feeds the library's parser token by token, to stop before its recursion overflows the stack. */
function* tokens(chunk: Chunk) {
  const parser = new KubectlParser(chunk.start);
  const lexer = new KubectlLexer();
  let last = "";
  for (const lexeme of lexer.lex(chunk.text)) {
    const refused = last === plainScalar && lexer.flowLevel > 0 ? refusedInFlow(lexeme) : undefined;
    if (refused !== undefined) throw new DocumentProblem(chunk.start + parser.offset, refused);
    last = lexeme;
    yield* parser.next(lexeme);
    // A level of nesting is at most two entries of the parser's stack.
    if (parser.stack.length > 2 * maxDepth + 2) throw new DocumentProblem(chunk.start + parser.offset, tooDeep);
  }
  yield* parser.end();
}

function syntaxProblem(error: YAMLError, chunk: Chunk): DocumentProblem {
  const offset = chunk.start + Math.min(error.pos[0], chunk.text.length);
  if (error.code === "RESOURCE_EXHAUSTION") return new DocumentProblem(offset, tooDeep);
  const said = error.message.replaceAll(/\s+/g, " ").slice(0, 200);
  return new DocumentProblem(offset, `not valid YAML: ${said}; ${adviceFor(error, chunk.text)}`);
}

const advice: Partial<Record<ErrorCode, string>> = {
  TAB_AS_INDENT: "indent with spaces instead of tabs",
  BAD_INDENT: "align the line with its neighbours",
  MISSING_CHAR: "add the missing character: a quote, a bracket, a comma or a colon",
  BAD_DQ_ESCAPE: "write the backslash twice, or use single quotes",
  BAD_SCALAR_START: "quote the value",
  BLOCK_AS_IMPLICIT_KEY: "put the nested map on its own line, or quote the value",
};

function adviceFor({ code, message }: YAMLError, text: string): string {
  if (text.includes("{{")) return "if this is a template, render it first, or name it in .meshwardignore";
  // The library calls a bracket that is not closed a wrong indentation of what follows.
  if (message.includes("must be sufficiently indented and end with a")) return "close the bracket that is open there";
  return advice[code] ?? "correct the line; if this is no manifest, name the file in .meshwardignore";
}
