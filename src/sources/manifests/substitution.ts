import { isObject } from "../../kube/read.ts";

/**
 * Values that a tool replaces before a manifest is applied: variables of Flux, envsubst and the shell (`${NS}`, `$NS`), kustomize and Kubernetes
 * (`$(NS)`), templates (`{{ .ns }}`), and words that stand for a value (`__NS__`, `{NS}`, `REPLACE_ME`, `HOST_PLACEHOLDER`, `placeholderName`). Kustomize replaces
 * parts of a host, which are often in upper case with underscores, as no host is.
 */
const placeholder =
  /\$\{[^{}\n]{1,200}\}|\$[A-Za-z_]\w{0,100}|\$\([A-Za-z_][\w.-]{0,200}\)|\{\{[^\n]{0,200}?\}\}|__[A-Z][A-Z0-9_]{0,100}?__|\{[A-Z][A-Z0-9_]{0,100}\}|\bREPLACE_ME\b|\b[A-Z][A-Z0-9_]{0,100}?_PLACEHOLDER\b|\bPLACEHOLDER_[A-Z0-9_]{1,100}\b|\bplaceholder[A-Z]\w{0,100}|\b[A-Z][A-Z0-9]{0,50}_[A-Z0-9_]{1,100}(?=\.[A-Za-z])/;

/**
 * What a reader or a script fills in (`<namespace>`, `<<CLIENT_IP>>`, `<name>.<domain>`): in a text of one line, as long as a name, that is
 * neither HTML nor a group of a regex.
 */
const blank =
  /^[^<>\n?]{0,200}(<<?[A-Za-z_][\w .-]{0,60}>>?)(?:[^<>\n]{0,200}<<?[A-Za-z_][\w .-]{0,60}>>?){0,9}[^<>\n]{0,200}$/;

export const placeholderIn = (text: string): string | undefined => placeholder.exec(text)?.[0] ?? blank.exec(text)?.[1];

/** Some value that is valid in names and hosts, and that no file contains. */
const someName = "value-of-a-placeholder";
/** Values of the forms that fields have: a name, an address, a number and a duration. */
export const valuesOfAllForms: readonly string[] = [someName, "192.0.2.1", "1", "1s"];
const placeholders = new RegExp(placeholder, "g");

/** A part of a manifest in which the value stands for each placeholder. */
export const withValues = (part: Readonly<Record<string, unknown>>, value = someName): Record<string, unknown> =>
  Object.fromEntries(Object.entries(part).map(([key, inner]) => [key, withValue(inner, value)]));

function withValue(part: unknown, value: string): unknown {
  if (Array.isArray(part)) return part.map((inner) => withValue(inner, value));
  if (typeof part !== "string") return isObject(part) ? withValues(part, value) : part;
  const text = part.replaceAll(placeholders, value);
  return blank.test(text) ? text.replaceAll(/<<?[^<>]*>>?/g, value) : text;
}

/** The first placeholder in a value or below it. Without recursion: a document may be thousands of levels deep. */
export function placeholderBelow(root: unknown): string | undefined {
  const open: unknown[] = [root];
  while (open.length > 0) {
    const value = open.pop();
    const found = typeof value === "string" ? placeholderIn(value) : undefined;
    if (found !== undefined) return found;
    const inner: readonly unknown[] = Array.isArray(value) ? value : isObject(value) ? Object.values(value) : [];
    for (let i = inner.length - 1; i >= 0; i--) open.push(inner[i]);
  }
  return undefined;
}

/** Replaces variables in the text of a file. */
export type Substitution = (text: string) => string;

const variable = /\$\{([A-Za-z_]\w{0,100})(?::?[=-]([^{}\n]{0,500}))?\}/g;

/**
 * Substitutes variables as Flux does after a build (`spec.postBuild.substitute`): `${NAME}`, and `${NAME:=default}`, whose
 * default applies if no value is given. A variable without a value stays as it is.
 */
export function substitutionOf(values: ReadonlyMap<string, string>): Substitution {
  return (text) =>
    text.replaceAll(variable, (whole, name: string, otherwise?: string) => values.get(name) ?? otherwise ?? whole);
}

/** Reads `NAME=VALUE`; otherwise returns what is wrong. */
export function assignmentIn(text: string): readonly [name: string, value: string] | string {
  const [, name, value] = /^(?:export\s+)?([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? [];
  if (name !== undefined && value !== undefined) return [name, unquoted(value)];
  return `expected NAME=VALUE, found ${JSON.stringify(text.slice(0, 100))}`;
}

const unquoted = (value: string): string => /^(["'])(.*)\1$/s.exec(value.trim())?.[2] ?? value.trim();
