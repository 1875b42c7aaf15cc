import { readFileSync } from "node:fs";
import { join } from "node:path";
import { commentText } from "./comment-text.ts";

/** A field of a JSON object that Meshward writes. */
export interface ShapeField {
  readonly name: string;
  readonly isOptional: boolean;
  /** As in TypeScript, without `readonly`: `ReportedFinding[]`. */
  readonly type: string;
  /** Undefined: nothing has to be said, because the type has one value. */
  readonly meaning: string | undefined;
}

/** The interface of a JSON object, with the fields of those that it extends. */
export interface Shape {
  readonly name: string;
  readonly meaning: string;
  readonly fields: readonly ShapeField[];
}

/** The interfaces that are reachable from some, or one sentence for each that cannot be documented. */
export interface Shapes {
  readonly found: readonly Shape[];
  readonly faults: readonly string[];
}

interface Declared {
  readonly file: string;
  readonly comment: string | undefined;
  readonly bases: readonly string[];
  readonly body: string;
}

const mode = '"deny" | "warn" | "audit" | "off"';

/** Types of other folders, as a reader of JSON sees them. */
const outside: ReadonlyMap<string, string> = new Map([
  ["Kind", "string"],
  ["Mode", mode],
  ["ProtectionModes", `{ protected: ${mode}, elsewhere: ${mode} }`],
  ["Incident", "object"],
  ["Status", '"ok" | "warn" | "fail" | "unknown"'],
  ["ExplanationValue", "string | number | boolean | string[] | object"],
]);

/**
 * Reads the interfaces of output in JSON, with the comments above their fields, from the source. Each field has a comment or
 * one possible value, and objects in it have an interface of their own.
 */
export function jsonShapes(root: string, files: readonly string[], roots: readonly string[]): Shapes {
  const sources = files.map((file) => [file, readFileSync(join(root, file), "utf8").replaceAll("\r\n", "\n")] as const);
  const interfaces = new Map(sources.flatMap(([file, source]) => [...interfacesIn(source, file)]));
  const aliases = new Map([...sources.flatMap(([, source]) => [...aliasesIn(source)]), ...outside]);
  const shapes = new Map<string, Shape>();
  const faults: string[] = [];
  const visit = (name: string): void => {
    const declared = interfaces.get(name);
    if (shapes.has(name)) return;
    if (declared === undefined)
      return void faults.push(`the format page needs the interface ${name}, which no file of it has`);
    const fields = fieldsOf(declared, interfaces).map((field) => ({ ...field, type: resolved(field.type, aliases) }));
    shapes.set(name, { name, meaning: commentText(declared.comment ?? ""), fields });
    faults.push(...faultsOf(name, declared, fields));
    for (const { type } of fields) for (const [other] of type.matchAll(namesInType)) visit(other);
  };
  for (const name of roots) visit(name);
  return { found: [...shapes.values()], faults };
}

/** Names of interfaces in a type; words in quotes are values. */
export const namesInType = /(?<!["\w])(?!(?:Readonly|Record)\b)[A-Z]\w+/g;

function* interfacesIn(source: string, file: string): Iterable<readonly [string, Declared]> {
  const statements = source.matchAll(
    /(\/\*\*(?:(?!\*\/)[^])*\*\/\n)?(?:export )?interface (\w+)(?: extends ([\w, ]+?))? \{(?:\n([^]*?)\n)?\}\n/g,
  );
  for (const [, comment, name = "", bases = "", body = ""] of statements)
    yield [name, { file, comment, bases: bases === "" ? [] : bases.split(", "), body }];
}

function* aliasesIn(source: string): Iterable<readonly [string, string]> {
  for (const [, name = "", type = ""] of source.matchAll(/^(?:export )?type (\w+) =\s+([^;]*);/gm))
    yield [name, simplified(type)];
}

function fieldsOf({ bases, body }: Declared, interfaces: ReadonlyMap<string, Declared>): readonly ShapeField[] {
  const inherited = bases.flatMap((base) => {
    const declared = interfaces.get(base);
    return declared === undefined ? [] : fieldsOf(declared, interfaces);
  });
  const members = body.matchAll(/(?:^ {2}(\/\*\*(?:(?!\*\/)[^])*\*\/)\n)?^ {2}readonly (\w+)(\?)?: ([^]*?);$/gm);
  const own = [...members].map(([, comment, name = "", mark, type = ""]) => ({
    name,
    isOptional: mark !== undefined,
    type: simplified(type),
    meaning: comment === undefined ? undefined : commentText(comment),
  }));
  return [...inherited, ...own];
}

const simplified = (type: string): string =>
  type
    .replaceAll(/\s+/g, " ")
    .replaceAll("readonly ", "")
    .replaceAll(" | undefined", "")
    .replaceAll(/\((\w+\[\])\)\[\]/g, "$1[]")
    .replaceAll(/Exclude<Mode, "off">/g, '"deny" | "warn" | "audit"')
    .replaceAll(/Readonly<Record<(\w+), (\w+)>>/g, "{ [$1]: $2 }")
    .replace(/^\s*\| /, "")
    .trim();

/** A union in a list is in parentheses, as in TypeScript. */
const resolved = (type: string, aliases: ReadonlyMap<string, string>): string =>
  type.replaceAll(namesInType, (name) => {
    const alias = aliases.get(name) ?? name;
    return alias.includes(" | ") && type.includes(`${name}[]`) ? `(${alias})` : alias;
  });

function faultsOf(name: string, { file, comment, body }: Declared, fields: readonly ShapeField[]): readonly string[] {
  const silent = fields.filter(({ meaning, type }) => meaning === undefined && !/^("[^"]*"|\d+)$/.test(type));
  const nested = body.split("\n").filter((line) => /^ {2}readonly .*\{/.test(line));
  return [
    ...(comment === undefined ? [`${file}: ${name} has no comment, which is its text in docs/formats.md`] : []),
    ...silent.map((field) => `${file}: ${name}.${field.name} has no comment, which is its text in docs/formats.md`),
    ...nested.map(
      (line) => `${file}: ${name} has an object without a name in it (${line.trim()}); give it an interface`,
    ),
  ];
}
